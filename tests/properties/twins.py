"""Twins: two programs that algebra says are equal, compiled apart and compared with each other.

They are written with other ops, so a fault that the interpreter shares with the compiler (a wrong
derivative, a wrong definition) is seen too. Each twin is a function and its gradient; the formulas
are textbook identities. The batch twins run one function of rows on all rows, on permuted, padded
and split rows, with a named batch size, and by `vmap` of the function of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.graph import walk
from graphc.ir.node import Tensor

from .values import Array

Form = Callable[..., Tensor]
SIZES = (2, 3, 5, 7)


@dataclass(frozen=True)
class Pair:
    """Two graphs over the same arrays whose results are equal up to rounding."""

    name: str
    first: gc.Graph
    second: gc.Graph
    arrays: list[Array]


def _where_both(x: Any, y: Any) -> Tensor:
    return gc.where(x > y, x * y, x - y)


def _cumulative(x: Any) -> Tensor:
    """Prefix sums along axis 0, by a loop."""
    return gc.scan(lambda c, row: (c + row, c + row), gc.zeros_like(x[0]), x)[1]


def _triangular(x: Any) -> Tensor:
    return gc.constant(np.tri(x.shape[0]), x.dtype) @ x


# Of x and y: [n, m] with values near 1; [n, m] -> any shape.
IDENTITIES: dict[str, tuple[Form, Form]] = {
    # In forms that no stable rule makes one of the other before it is differentiated.
    "tanh": (lambda x, y: gc.tanh(x), lambda x, y: 1 - 2 / (1 + gc.exp(2 * x))),
    "sigmoid": (lambda x, y: gc.sigmoid(x), lambda x, y: 0.5 + 0.5 * gc.tanh(x / 2)),
    "softplus": (lambda x, y: gc.softplus(x), lambda x, y: gc.log(1 + gc.exp(x))),
    "exp of a sum": (lambda x, y: gc.exp(x + y), lambda x, y: gc.exp(x) * gc.exp(y)),
    "distributed": (lambda x, y: (x + y) * gc.sin(y), lambda x, y: x * gc.sin(y) + y * gc.sin(y)),
    "square": (lambda x, y: gc.square(x - y), lambda x, y: x * x - 2 * x * y + y * y),
    "sine of a sum": (
        lambda x, y: gc.sin(x + y),
        lambda x, y: gc.sin(x) * gc.cos(y) + gc.cos(x) * gc.sin(y),
    ),
    "expm1, log1p": (lambda x, y: gc.expm1(gc.log1p(x * x)), lambda x, y: x * x),
    "norm": (lambda x, y: gc.sqrt(1 + x * x), lambda x, y: gc.exp(gc.log(1 + x * x) / 2)),
    "numbers": (
        lambda x, y: x * gc.sqrt(2.0) + gc.where(y > 0, 1 / 3, 0.1) * y,
        lambda x, y: (
            x * np.sqrt(np.array(2.0)).astype(x.dtype.name)
            + gc.where(y > 0, *np.array([1 / 3, 0.1], x.dtype.name)) * y
        ),
    ),
    "relu": (lambda x, y: gc.relu(x - y), lambda x, y: gc.where(x > y, x - y, 0.0)),
    "abs": (lambda x, y: gc.abs(x * y), lambda x, y: gc.where(x * y < 0, -x * y, x * y)),
    "maximum": (lambda x, y: gc.maximum(x, y), lambda x, y: -gc.minimum(-x, -y)),
    "both branches": (
        lambda x, y: _where_both(x, y),
        lambda x, y: gc.where(gc.logical_not(x > y), x - y, x * y),
    ),
    "quotient": (lambda x, y: x / (2 + y * y), lambda x, y: x * (2 + y * y) ** -1.0),
    "softmax": (
        lambda x, y: gc.softmax(x + y, 1),
        lambda x, y: gc.exp(x + y - gc.logsumexp(x + y, 1)[:, None]),
    ),
    "log softmax": (
        lambda x, y: gc.log_softmax(x * y, 1),
        lambda x, y: x * y - gc.log(gc.sum(gc.exp(x * y), 1, keepdims=True)),
    ),
    "mean, variance": (
        lambda x, y: gc.variance(x, 0) + gc.mean(x, 0),
        lambda x, y: gc.mean(x * x, 0) - gc.mean(x, 0) ** 2 + gc.sum(x, 0) / x.shape[0],
    ),
    "order of sums": (lambda x, y: gc.sum(x * y), lambda x, y: gc.sum(gc.sum(x * y, 0))),
    "sum by product": (
        lambda x, y: gc.sum(gc.tanh(x), 1),
        lambda x, y: gc.tanh(x) @ gc.ones((x.shape[1],), x.dtype),
    ),
    "matmul by sum": (
        lambda x, y: x @ y.T,
        lambda x, y: gc.sum(gc.expand_dims(x, 1) * gc.expand_dims(y, 0), 2),
    ),
    "matmul, transposed": (lambda x, y: gc.tanh(x @ y.T).T, lambda x, y: gc.tanh(y @ x.T)),
    "matmul, associative": (lambda x, y: (x @ y.T) @ x, lambda x, y: x @ (y.T @ x)),
    "matmul, in blocks": (
        lambda x, y: gc.sin(x) @ y.T,
        lambda x, y: gc.sin(x[:, :1]) @ y[:, :1].T + gc.sin(x[:, 1:]) @ y[:, 1:].T,
    ),
    "extremum": (
        lambda x, y: gc.max(x, 1) + gc.min(y, 0)[0],
        lambda x, y: -gc.min(-x, 1) - gc.max(-y, 0)[0],
    ),
    "taken": (
        lambda x, y: gc.take(x, gc.constant(np.array([1, 0, 1])), 0) * 2,
        lambda x, y: gc.stack([x[1], x[0], x[1]], 0) * 2,
    ),
    "taken by product": (
        lambda x, y: gc.take(x * y, gc.constant(np.array([1, 1, 0])), 0),
        lambda x, y: gc.one_hot(gc.constant(np.array([1, 1, 0])), x.shape[0], x.dtype) @ (x * y),
    ),
    "moved and back": (
        lambda x, y: gc.flip(gc.flip(x, 0) * gc.flip(y, 0), 0),
        lambda x, y: gc.reshape(gc.reshape(x * y, (-1,)), x.shape),
    ),
    "padded sum": (
        lambda x, y: gc.sum(gc.pad(gc.sin(x), [(1, 2), (0, 1)]), 1)[1 : 1 + x.shape[0]],
        lambda x, y: gc.sum(gc.sin(x), 1),
    ),
    "stretched": (
        lambda x, y: gc.sum(x[:, :1] * y + y[:1], 0),
        lambda x, y: gc.sum(gc.broadcast_to(x[:, :1], x.shape) * y, 0) + x.shape[0] * y[0],
    ),
    "loop": (lambda x, y: _cumulative(x * y), lambda x, y: _triangular(x * y)),
    "loop, reversed": (
        lambda x, y: gc.scan(
            lambda c, r: (c * 0.5 + r, None), gc.zeros_like(x[0]), x + y, reverse=True
        )[0],
        lambda x, y: gc.sum(
            (x + y) * gc.constant(0.5 ** np.arange(x.shape[0])[:, None], x.dtype), 0
        ),
    ),
    "mapped over rows": (
        lambda x, y: gc.vmap(lambda a, b: gc.tanh(a) * gc.logsumexp(b))(x, y),
        lambda x, y: gc.scan(
            lambda _, rows: (None, gc.tanh(rows[0]) * gc.logsumexp(rows[1])), None, (x, y)
        )[1],
    ),
    "mapped gradient": (
        lambda x, y: gc.vmap(lambda a: gc.grad(gc.sum(gc.sin(y @ a) * gc.max(a)), a))(x),
        lambda x, y: gc.grad(gc.sum(gc.sin(x @ y.T) * gc.max(x, 1, keepdims=True)), x),
    ),
    "branch": (
        lambda x, y: gc.cond(gc.sum(x) > gc.sum(y), lambda: gc.sum(x * y), lambda: gc.sum(x - y)),
        lambda x, y: gc.where(gc.sum(x) > gc.sum(y), gc.sum(x * y), gc.sum(x - y)),
    ),
}
ROWWISE: tuple[Callable[[Any, Any], Tensor], ...] = (
    lambda x, w: gc.tanh(x @ w),
    lambda x, w: gc.softmax(x, -1) + x,
    lambda x, w: (x - gc.mean(x, 1, keepdims=True)) / gc.sqrt(gc.variance(x, 1)[:, None] + 0.5),
    lambda x, w: gc.relu(x) - gc.sigmoid(x) * gc.max(x, 1, keepdims=True),
    lambda x, w: x * gc.sum(w, 0) + gc.exp(-x * x),
)
BATCHES = ("permuted", "padded", "split", "named", "mapped")


def twins(seed: int) -> Pair:
    """The pair of a seed: in turn every identity and every way to cut a batch, at random sizes."""
    rng = np.random.default_rng((seed, 7))
    kinds = [*IDENTITIES, *BATCHES, *BATCHES]
    kind = kinds[seed % len(kinds)]
    dtype = "float64" if rng.random() < 0.7 else "float32"
    n, m = (int(s) for s in rng.choice(SIZES, 2, replace=False))
    return (
        _batch(kind, rng, n + 2, m, dtype) if kind in BATCHES else _identity(kind, rng, n, m, dtype)
    )


def _identity(kind: str, rng: np.random.Generator, n: int, m: int, dtype: str) -> Pair:
    x, y = (gc.placeholder(name, (n, m), dtype) for name in "xy")
    arrays = [rng.normal(size=(n, m)).astype(dtype) for _ in range(2)]
    graphs = [with_gradient([x, y], form(x, y)) for form in IDENTITIES[kind]]
    return Pair(kind, *graphs, arrays)


def with_gradient(inputs: Sequence[Tensor], out: Tensor) -> gc.Graph:
    """The graph of a value and of its gradient, with cotangents that tell elements apart."""
    weights = gc.cos(gc.reshape(gc.iota((out.size,), 0, out.dtype), out.shape))
    used = set(walk([out]))
    gradients = [gc.vjp(out, x, weights) for x in inputs if x.node in used]
    return gc.Graph(inputs, [out, *gradients], name="twin")


def _batch(kind: str, rng: np.random.Generator, n: int, m: int, dtype: str) -> Pair:
    w = gc.placeholder("w", (m, m), dtype)
    steps = [ROWWISE[int(i)] for i in rng.integers(0, len(ROWWISE), int(rng.integers(1, 4)))]

    def rows(x: Any) -> Tensor:
        for step in steps:
            x = step(x, w)
        return x

    x = gc.placeholder("x", (n, m), dtype)
    arrays = [rng.normal(size=s).astype(dtype) for s in ((n, m), (m, m))]
    first = gc.Graph([x, w], [rows(x)], name="twin")
    if kind == "named":
        named = gc.placeholder("x", ("n", m), dtype)
        return Pair(kind, first, gc.Graph([named, w], [rows(named)], name="twin"), arrays)
    if kind == "permuted":
        order = rng.permutation(n)
        there, back = (gc.constant(a) for a in (order, np.argsort(order)))
        out = gc.take(rows(gc.take(x, there, 0)), back, 0)
    elif kind == "mapped":
        out = gc.vmap(lambda row: rows(row[None])[0])(x)
    elif kind == "padded":
        out = rows(gc.concat([x, gc.ones((3, m), dtype)], 0))[:n]
    else:
        at = int(rng.integers(1, n))
        out = gc.concat([rows(x[:at]), rows(x[at:])], 0)
    return Pair(kind, first, gc.Graph([x, w], [out], name="twin"), arrays)


def disagreement(pair: Pair, run: Callable[[gc.Graph, list[Array]], Sequence[Array]]) -> str:
    """How the twins differ when each is run; '' if only by rounding. Values are of order one, so
    the bound is absolute and relative: 1e-9 in float64, 1e-3 in float32."""
    first, second = (run(graph, pair.arrays) for graph in (pair.first, pair.second))
    bound = 1e-3 if pair.arrays[0].dtype == np.float32 else 1e-9
    if [a.shape for a in first] != [a.shape for a in second]:
        return f"shapes {[a.shape for a in first]} and {[a.shape for a in second]}"
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        scale = 1 + np.max(np.abs(a), initial=0)
        if not np.allclose(a, b, rtol=bound, atol=bound * scale):
            return f"result {i}:\n{a}\nand\n{b}"
    return ""
