"""When two evaluations agree: what may differ at infinities."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import graphc as gc
from graphc.checking.values import differences
from graphc.ir.evaluate import evaluate_graph


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_nan_of_infinite_operands_may_become_the_limit(dtype: str) -> None:
    """x / sqrt(x): inf / inf is NaN, and the formula goes to infinity there."""
    x = gc.placeholder("x", (4,), dtype)
    graph = gc.Graph([x], [x / gc.sqrt(x)])
    arrays = [np.array([np.inf, 4, 0, np.nan], dtype)]
    expected = evaluate_graph(graph, arrays)
    limit = np.array([np.inf, 2, np.nan, np.nan], dtype)
    explained: Counter[str] = Counter()
    assert differences(graph, arrays, expected, [limit], explained=explained) == []
    assert explained == {"it is the limit at an infinity": 1}
    for wrong in (0.0, -np.inf, 1.0):
        assert differences(graph, arrays, expected, [np.where(limit == np.inf, wrong, limit)])
    (problem,) = differences(graph, arrays, expected, [np.nan_to_num(limit, nan=0, posinf=np.inf)])
    assert "2 of 4 elements" in problem  # no operand is infinite there


@pytest.mark.parametrize("shape", [(), (3,)])
def test_the_sign_of_a_nan_that_was_computed_is_nobodys(shape: tuple[int, ...]) -> None:
    """That of one that was given is kept, as by NumPy."""
    x = gc.placeholder("x of nobody", shape)
    given = [np.full(shape, np.nan, "float32")]
    for made, free in ((gc.softplus(x), True), (x, False)):
        graph = gc.Graph([x], [gc.signbit(made)])
        explained: Counter[str] = Counter()
        other = [~evaluate_graph(graph, given)[0]]
        found = differences(graph, given, [~other[0]], other, explained=explained)
        assert (found == []) is free
        assert explained == ({"a rounding decides a step": 1} if free else {})


def test_other_roundings_of_what_cancels_are_those_of_its_definition() -> None:
    """Where a query sees one key, the cotangent of that key is 0. Blocks leave rounding errors of
    what cancels there; what is larger is wrong."""
    names, shapes = ("q", "k", "v", "g"), ((2, 3, 4), (2, 1, 4), (2, 1, 2), (2, 3, 2))
    inputs = [
        gc.placeholder(f"cancels_{n}", s, "float64") for n, s in zip(names, shapes, strict=True)
    ]
    y = gc.dot_product_attention(*inputs[:3])
    graph = gc.Graph(inputs, [gc.grad(gc.sum(y * inputs[3]), inputs[1])])
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=shape) for shape in shapes]
    expected = evaluate_graph(graph, arrays)
    assert not expected[0].any()
    assert differences(graph, arrays, expected, [expected[0] + 1e-17]) == []
    assert differences(graph, arrays, expected, [expected[0] + 1e-12])
