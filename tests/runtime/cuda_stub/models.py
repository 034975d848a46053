"""Training steps for a card and for the CPU, and data for them."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc


def both(build: Any) -> list[tuple[Any, list[gc.Variable]]]:
    """A program for the CPU and one for the card, with variables of their own."""
    found = []
    for target in ("cpu", "cuda"):
        inputs, outputs, updates = build()
        graph_variables = [v for v, _ in updates.items()]
        found.append((gc.compile(inputs, outputs, updates, target=target), graph_variables))
    return found


def assert_close(actual: Any, expected: Any) -> None:
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)


def weight(*shape: int, seed: int = 0) -> gc.Variable:
    return gc.variable((0.3 * np.random.default_rng(seed).normal(size=shape)).astype("float32"))


def classifier() -> tuple[Any, Any, Any]:
    """Layer norm, softmax cross-entropy, Adam."""
    x, t = gc.placeholder("x", ("n", 20)), gc.placeholder("t", ("n",), "int64")
    w1, b1, w2, b2 = weight(20, 33), weight(33, seed=1), weight(33, 7, seed=2), weight(7, seed=3)
    hidden = x @ w1 + b1
    centred = hidden - gc.mean(hidden, axis=1, keepdims=True)
    scale = gc.sqrt(gc.mean(centred * centred, axis=1, keepdims=True) + 1e-2)
    loss = gc.mean(gc.softmax_cross_entropy(gc.tanh(centred / scale) @ w2 + b2, t))
    return [x, t], [loss], dict(gc.optim.Adam(1e-2).minimize(loss, [w1, b1, w2, b2]))


def recurrent() -> tuple[Any, Any, Any]:
    """A loop of steps and its gradient."""
    x = gc.placeholder("x", ("m", "n", 5))
    w, u = weight(5, 9), weight(9, 9, seed=1)

    def turn(state: Any, row: Any) -> Any:
        state = gc.tanh(row @ w + state @ u)
        return state, gc.sum(state)

    last, sums = gc.scan(turn, (x[0] @ w) * 0.0, x)
    loss = gc.mean(last * last) + gc.mean(sums)
    g, h = gc.grad(loss, [w, u])
    return [x], [loss, last], {w: w - 0.003 * g, u: u - 0.003 * h}


def attention() -> tuple[Any, Any, Any]:
    """An embedding, batches of products, dropout."""
    tokens, labels = gc.placeholder("s", ("n", "m"), "int64"), gc.placeholder("t", ("n",), "int64")
    key = gc.placeholder("key", (2,), "uint32")
    e, q, k, v, w = weight(11, 12), *(weight(12, 8, seed=s) for s in (1, 2, 3)), weight(8, 5)
    x = gc.take(e, tokens)
    scores = gc.softmax((x @ q) @ gc.permute_dims(x @ k, (0, 2, 1)) * np.float32(8**-0.5))
    out = gc.mean(scores @ (x @ v), axis=1)
    kept = gc.where(gc.random.bernoulli(key, 0.8, out.shape), out * 1.25, 0.0)
    loss = gc.mean(gc.softmax_cross_entropy(kept @ w, labels))
    weights = [e, q, k, v, w]
    steps = zip(weights, gc.grad(loss, weights), strict=True)
    return [tokens, labels, key], [loss], {a: a - 0.1 * g for a, g in steps}


def data(name: str, n: int, m: int) -> list[Any]:
    rng = np.random.default_rng(n)
    if name == "classifier":
        return [rng.normal(size=(n, 20)).astype("float32"), rng.integers(0, 7, n)]
    if name == "recurrent":
        return [rng.normal(size=(m, n, 5)).astype("float32")]
    words = rng.integers(0, 1 << 32, 2, np.uint32)
    return [rng.integers(0, 11, (n, m)), rng.integers(0, 5, n), words]
