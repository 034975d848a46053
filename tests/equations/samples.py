"""Sixty outputs of gc.latex and gc.derive, of every kind: what KaTeX is asked to take."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import graphc as gc


@cache
def outputs() -> dict[str, str]:
    """LaTeX by what it is of."""
    return {**_formulas(), **_models(), **_derivations(), **_programs()}


def _formulas() -> dict[str, str]:
    x, w = gc.placeholder("x_katex", ("n", 4)), gc.placeholder("w_katex", (4, 4))
    v, s = gc.placeholder("v1", (4,)), gc.placeholder("alpha")
    i = gc.placeholder("i", (3,), "int64")
    image = gc.placeholder("image", (1, 3, 8, 8))
    kernel = gc.placeholder("kernel", (5, 3, 3, 3))
    last, sums = gc.scan(lambda h, row: (gc.tanh(row @ w + h), h), v, x)
    inner = lambda r: gc.scan(lambda c, a: (c * a, None), s, r)[0]  # noqa: E731
    nested = gc.scan(lambda h, r: (h + inner(r), None), s, x)[0]
    tensors: dict[str, Any] = {
        "sum of a scalar": x + s * x - 1, "negative numbers": x + -2 - -3, "product": 2 * x * x * v,
        "outer": gc.outer(v, v), "matmul": x @ w @ v, "transpose": w.T @ w, "power": x**2 + s**3,
        "fraction": 1 / (1 + gc.exp(-x)), "functions": gc.sin(x) + gc.log2(x) + gc.asinh(x),
        "roots": gc.sqrt(x) + gc.cbrt(x), "abs": abs(x) + gc.floor(x) + gc.ceil(x),
        "relations": (x > 0) & ~(x <= 1) | (x != s), "where": gc.where(x > 0, x, 0.0),
        "special": gc.lgamma(x) + gc.digamma(x) + gc.i0e(x), "sigmoid": gc.sigmoid(x) * s,
        "sum": gc.sum(x), "mean": gc.mean(x, axis=0), "variance": gc.var(x, axis=1),
        "prod and max": gc.prod(x, axis=1) + gc.max(x, axis=1), "argmax": gc.argmax(x, axis=1),
        "keepdims": gc.sum(x, axis=1, keepdims=True) * x, "one element": gc.sum(x[:, :1], axis=1),
        "softmax": gc.softmax(x), "logsumexp": gc.logsumexp(x, axis=0), "slice": x[1:, ::2],
        "index": w[0] + w[:, 1], "take": gc.take(w, i), "reshape": gc.reshape(w, (2, 8)),
        "concat": gc.concat([w, w]), "stack": gc.stack([v, v]), "one hot": gc.one_hot(i, 4),
        "iota": gc.iota((3, 4)),
        "matrix": gc.constant([[1.0, 2.5], [-3.0, 1e-9]]) @ gc.ones((2, 2)),
        "long constant": gc.constant(np.arange(40.0)), "convolution": gc.conv(image, kernel),
        "strided convolution": gc.conv(image, kernel, stride=2), "astype": x.astype("int32"),
        "inverse": gc.linalg.inv(w), "complex": gc.complex(1.0, x),
        "einsum": gc.einsum("ij,kj->ik", w, w),
        "cond": gc.cond(s > 0, gc.log, lambda t: t * 2, s),
        "switch": gc.switch(i[0], [gc.sin, gc.cos, abs], s), "scan": last, "stacked": sums[:2],
        "reversed": gc.scan(lambda h, r: (h * r, h + 1), v, x, reverse=True)[1], "nested": nested,
        "while": gc.while_loop(lambda t: t < 100.0, lambda t: t * 2, s),
        "gradient": gc.grad(gc.sum(gc.tanh(x @ w) ** 2), w), "cumsum": gc.cumsum(x, axis=0),
        "hostile name": gc.placeholder("\\input{/etc}$%&#_^~{}é<b>") * 2,
        "long name": gc.placeholder("word_" * 20) + 1, "path": gc.placeholder("net/dense_1/kernel"),
    }  # fmt: skip
    return {name: gc.latex(t) for name, t in tensors.items()}


def _models() -> dict[str, str]:
    nn = gc.nn
    net = nn.Sequential([nn.Dense(8, "relu"), nn.Dropout(0.5), nn.Dense(3)])
    net.init(("n", 4))
    x = gc.placeholder("x", ("n", 4))
    lstm = nn.LSTM(3).init(("n", 5, 2))
    return {
        "dropout": gc.latex(net(x, training=True)),
        "model": gc.latex(net),
        "LSTM": gc.latex(lstm),
    }


def _derivations() -> dict[str, str]:
    x, w = gc.placeholder("x", ("m", 2)), gc.placeholder("W", (2, 1))
    b, y = gc.placeholder("b", (1,)), gc.placeholder("y", ("m", 1))
    p = gc.sigmoid(x @ w + b)
    loss = gc.mean((p - y) ** 2)
    s, t = gc.placeholder("s"), gc.placeholder("t")
    h = gc.tanh(s * t)
    names = {"p": p, "loss": loss, "h": h}
    return {
        "derivation": gc.derive(loss, [w, b], names=names).latex,
        "by columns": gc.derive(loss, [w, b], names=names, layout="columns").latex,
        "of numbers": gc.derive((h - s) ** 2, [s, t], names=names).latex,
    }


def _programs() -> dict[str, str]:
    x = gc.placeholder("x", ("n", 4))
    w = gc.variable(np.ones((4, 3), "float32"), name="w_hidden")
    h = gc.softmax(x @ w)
    loss = gc.mean(h**2)
    step = gc.compile([x], {"loss": loss, "h": h}, {w: w - 0.1 * gc.grad(loss, w)}, name="step")
    return {
        "function": gc.latex(step),
        "optimised": gc.latex(step, optimized=True),
        "list": gc.latex([loss, h]),
        **{f"kernel {k.name}": gc.latex(k) for k in step.kernels},
    }
