"""How many kernels and matrix products the programs of this field become, and what their inner
loops are made of."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import walk_steps
from graphc.runtime.kernels import distinct_kernels
from tests.benchmarks.models import attention_graph

Parts = tuple[list[Any], list[Any], list[Any]]
X, R = (gc.placeholder(name, ("n", 1000)) for name in "xr")
Y = gc.placeholder("y", ("n",), "int64")


def gradient(inputs: list[Any], loss: Any, wanted: list[Any]) -> Parts:
    return inputs, [loss, *gc.grad(loss, wanted)], []


def layer_norm() -> tuple[list[Any], Any]:
    scale, shift = (gc.placeholder(name, (1000,)) for name in ("scale", "shift"))
    centred = X - gc.mean(X, axis=1, keepdims=True)
    variance = gc.mean(centred * centred, axis=1, keepdims=True)
    return [X, scale, shift], centred / gc.sqrt(variance + 1e-5) * scale + shift


def gelu() -> Parts:
    x = gc.placeholder("x", ("n",))
    value = 0.5 * x * (1 + gc.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))
    return gradient([x], gc.sum(value), [x])


def cross_entropy() -> Parts:
    return gradient([X, Y], gc.mean(gc.nn.losses.softmax_cross_entropy(X, Y)), [X])


def naive_cross_entropy() -> Parts:
    chosen = (gc.expand_dims(Y, 1) == gc.arange(1000)).astype("float32")
    return gradient([X, Y], -gc.mean(gc.sum(gc.log_softmax(X, axis=1) * chosen, axis=1)), [X])


def layer_norm_gradient() -> Parts:
    inputs, value = layer_norm()
    return [*inputs, R], gc.grad(gc.sum(value * R), inputs), []


def lstm() -> Parts:
    size = 16
    xs = gc.placeholder("xs", ("t", "n", 8))
    h, c = (gc.placeholder(name, ("n", size)) for name in "hc")
    w, u = gc.placeholder("w", (8, 4 * size)), gc.placeholder("u", (size, 4 * size))
    b = gc.placeholder("b", (4 * size,))

    def cell(state: Any, x: Any) -> Any:
        h, c = state
        z = x @ w + h @ u + b
        i, f, g, o = (z[:, k * size : (k + 1) * size] for k in range(4))
        c = gc.sigmoid(f) * c + gc.sigmoid(i) * gc.tanh(g)
        h = gc.sigmoid(o) * gc.tanh(c)
        return (h, c), h

    _, hs = gc.scan(cell, (h, c), xs)
    return [xs, h, c, w, u, b], [hs], []


def mlp(layers: int) -> Parts:
    x, y = gc.placeholder("x", ("n", 64)), gc.placeholder("y", ("n",), "int64")
    parameters: list[Any] = []
    h = x
    for k in range(layers):
        w = gc.variable(np.zeros((64, 64), "float32"), name=f"w{k}")
        b = gc.variable(np.zeros(64, "float32"), name=f"b{k}")
        parameters += [w, b]
        h = h @ w + b
        h = gc.relu(h) if k < layers - 1 else h
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(h, y))
    return [x, y], [loss], list(gc.optim.Adam(1e-3).minimize(loss, parameters).items())


def adam() -> Parts:
    """Parameters of two shape classes, with gradients that are given."""
    parameters = [
        gc.variable(np.zeros(shape, "float32"), name=f"w{k}")
        for k, shape in enumerate([(64, 32), (10, 20), (7,), (9,)])
    ]
    given = [gc.placeholder(f"g{k}", p.shape) for k, p in enumerate(parameters)]
    loss = sum((gc.sum(p * g) for p, g in zip(parameters, given, strict=True)), gc.constant(0.0))
    return given, [], list(gc.optim.Adam(1e-3).minimize(loss, parameters).items())


def attention() -> Parts:
    return (*attention_graph(), [])


# what: (calls of kernels, distinct kernels, matrix products)
COUNTS: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "softmax": (lambda: ([X], [gc.softmax(X, axis=1)], []), (1, 1, 0)),
    "cross-entropy and gradient": (cross_entropy, (1, 1, 0)),
    "naive cross-entropy and gradient": (naive_cross_entropy, (1, 1, 0)),
    "layer norm": (lambda: (layer_norm()[0], [layer_norm()[1]], []), (1, 1, 0)),
    "layer norm gradient": (layer_norm_gradient, (1, 1, 0)),
    "gelu and gradient": (gelu, (1, 1, 0)),
    "lstm cell": (lstm, (1, 1, 2)),
    # two kernels a layer and direction, of which the last layer's forward is the loss, and one for
    # the step's scalars; all parameters are updated by one loop nest
    "mlp of 3 layers": (lambda: mlp(3), (12, 5, 8)),
    "mlp of 10 layers": (lambda: mlp(10), (40, 5, 29)),
    "adam for four parameters": (adam, (5, 2, 0)),
    "attention gradient": (attention, (2, 2, 17)),
}


@pytest.mark.parametrize("what", COUNTS)
def test_counts(what: str) -> None:
    build, expected = COUNTS[what]
    compiled = run_pipeline(Graph(*build(), "counted"), Stages())
    steps = Counter(type(step).__name__ for step in walk_steps(compiled.program.steps))
    found = steps["Call"], len(distinct_kernels(compiled)), steps["Gemm"]
    assert found == expected, compiled.program


# -- machine code ----------------------------------------------------------------------------------
ARITHMETIC = r"\bv(?:f?n?m(?:add|sub)\w*|add|sub|mul|div|max|min|sqrt)"
PACKED = re.compile(ARITHMETIC + r"p[sd]\b.*%[yz]mm")
SCALAR = re.compile(ARITHMETIC + r"s[sd]\b")
LIBRARY = re.compile(r"\bcall\w*\s+\W?(exp|log|tanh|erf|sin|cos)f?\b")


@pytest.mark.parametrize(
    "what", ["softmax", "cross-entropy and gradient", "layer norm gradient", "gelu and gradient"]
)
def test_inner_loops_are_packed(what: str) -> None:
    """Fused kernels compute on vectors: scalar arithmetic is left for what a loop over vectors
    leaves over, which is a copy of its body, while that body is unrolled; no library is called."""
    inputs, outputs, _ = COUNTS[what][0]()
    asm = gc.compile(inputs, outputs).asm
    if "ymm" not in asm:
        pytest.skip("this processor has no vectors of 256 bits")
    packed, scalar = (sum(map(bool, map(p.search, asm.splitlines()))) for p in (PACKED, SCALAR))
    assert packed > 10
    assert packed > scalar, f"{packed} packed, {scalar} scalar"
    assert not LIBRARY.search(asm)


def test_a_loop_that_is_not_packed_is_noticed() -> None:
    """The control: what carries a value from element to element cannot be packed."""
    _, totals = gc.scan(lambda s, x: (gc.tanh(s + x), s), gc.constant(np.float32(0)), X[0])
    asm = gc.compile([X], totals).asm
    assert sum(map(bool, map(PACKED.search, asm.splitlines()))) == 0
    assert sum(map(bool, map(SCALAR.search, asm.splitlines()))) > 5
