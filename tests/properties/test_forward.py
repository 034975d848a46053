"""Forward mode on random graphs: the transpose of reverse mode, of first and second order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.dim import evaluate as size_value
from graphc.ir.evaluate import bind_dims, evaluate_graph

from .generator import random_graph

QUICK, SECOND = range(40), range(40, 60)


def along(slopes: list[gc.Tensor], vs: list[gc.Tensor]) -> gc.Tensor:
    total: Any = 0.0
    for g, v in zip(slopes, vs, strict=True):
        total = total + gc.sum((g * v).astype("float64"))
    result: gc.Tensor = total
    return result


def check(seed: int, order: int) -> None:
    """The derivative of the sum of all float outputs along a direction, computed both ways."""
    made = random_graph(seed)
    inputs = [t for t in made.forward.inputs if t.dtype.is_float]
    outputs = [t for t in made.forward.outputs if t.dtype.is_float]
    if made.wild or not inputs or not outputs:
        return
    y: Any = 0.0
    for t in outputs:
        y = y + gc.sum(t.astype("float64"))
    vs = [gc.placeholder(f"v{seed}_{i}", t.shape, t.dtype) for i, t in enumerate(inputs)]
    for _ in range(order - 1):
        y = along(gc.grad(y, inputs, unconnected="zero"), vs)
    backwards = along(gc.grad(y, inputs, unconnected="zero"), vs)
    forwards = gc.jvp(y, inputs, vs)
    arrays = made.arrays(0)
    dims = bind_dims(made.graph, arrays)
    rng = np.random.default_rng(seed)
    given = dict(zip(made.graph.inputs, arrays, strict=True))
    for v in vs:
        shape = tuple(size_value(s, dims) for s in v.shape)
        given[v] = rng.normal(size=shape).astype(v.dtype.numpy)
    a, b = evaluate_graph(gc.Graph(given, [backwards, forwards]), list(given.values()))
    if np.isfinite(a) and np.isfinite(b):
        assert abs(a - b) <= 1e-3 * max(abs(a), abs(b), 1e-2), seed


@pytest.mark.filterwarnings("ignore::graphc.errors.DTypeWarning")
def test_forward_is_the_transpose_of_reverse() -> None:
    for seed in QUICK:
        check(seed, 1)


@pytest.mark.filterwarnings("ignore::graphc.errors.DTypeWarning")
def test_forward_over_reverse_is_reverse_over_reverse() -> None:
    for seed in SECOND:
        check(seed, 2)
