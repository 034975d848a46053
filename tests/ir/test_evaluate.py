"""The interpreter: sizes from arrays, variables, several outputs, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GraphError, RuntimeFailure, ShapeError
from graphc.ir.dim import dim
from graphc.ir.evaluate import bind_dims, bound, compute, evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import apply
from graphc.ir.op import Kind, Op

A = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_one_value_or_a_list() -> None:
    x = gc.placeholder("x", ("n", 3))
    np.testing.assert_array_equal(gc.evaluate(x * 2, {x: A}), A * 2, strict=True)
    both = gc.evaluate([x, gc.sum(x, axis=1)], {x: A.tolist()})
    np.testing.assert_array_equal(both[0], A, strict=True)
    np.testing.assert_array_equal(both[1], A.sum(1), strict=True)
    assert gc.evaluate([], {x: A}) == []
    assert gc.evaluate(gc.constant(3)) == 3


def test_every_intermediate_can_be_a_result() -> None:
    x = gc.placeholder("x", (2, 3))
    y = x + 1
    value, position = gc.max_and_argmax(y, axis=1)
    results = evaluate_graph(Graph([x], [position, y, value, y, x]), [A])
    for found, expected in zip(
        results, [(A + 1).argmax(1), A + 1, (A + 1).max(1), A + 1, A], strict=True
    ):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_variables_and_updates_read_the_values_before() -> None:
    a, b = gc.variable([1.0, 2.0], name="a"), gc.variable([3.0, 4.0], name="b")
    graph = Graph([], [a + b], [(a, b), (b, a)])
    total, new_a, new_b = evaluate_graph(graph, [])
    np.testing.assert_array_equal(total, [4, 6])
    np.testing.assert_array_equal(new_a, [3, 4])
    np.testing.assert_array_equal(new_b, [1, 2])
    np.testing.assert_array_equal(a.value, [1, 2])  # evaluation writes nothing
    other = evaluate_graph(graph, [], variables={a: np.zeros(2, np.float32)})
    np.testing.assert_array_equal(other[0], [3, 4])


def test_sizes_come_from_the_arrays() -> None:
    x = gc.placeholder("x", ("2*n + 1", "m"))
    y = gc.placeholder("y", ("n + m",))
    graph = Graph([y, x], [])
    assert bind_dims(graph, [np.zeros(5), np.zeros((7, 2))]) == {"n": 3, "m": 2}
    wrong = [np.zeros(6), np.zeros((7, 2))], [np.zeros(4), np.zeros((6, 1))]
    for arrays in wrong:
        with pytest.raises(ShapeError, match=r"graph: input '[xy]'.*\n  expected: f32\["):
            bind_dims(graph, arrays)
    with pytest.raises(ShapeError, match="has another rank"):
        bind_dims(graph, [np.zeros((1, 1)), np.zeros((7, 2))])
    with pytest.raises(ShapeError, match=r"do not determine these dims\n  given:    m, n"):
        bind_dims(Graph([y], []), [np.zeros(5)])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_zero_and_one_are_sizes_like_others(n: int) -> None:
    x = gc.placeholder("x", ("n", 3))
    array = np.ones((n, 3), np.float32)
    np.testing.assert_array_equal(gc.evaluate(gc.sum(x, axis=0), {x: array}), np.full(3, n, "f4"))
    np.testing.assert_array_equal(gc.evaluate(gc.size(x), {x: array}), 3 * n)
    np.testing.assert_array_equal(gc.evaluate(x + gc.zeros(("n", 1)), {x: array}), array)


def test_a_failing_op_names_itself_and_the_line() -> None:
    x = gc.placeholder("x", (3,))
    taken = gc.take(x, gc.constant([7]))
    with pytest.raises(RuntimeFailure, match="take: an index is out of range") as caught:
        gc.evaluate(taken, {x: np.zeros(3)})
    assert caught.value.where == str(taken.node.origins[0])
    assert __file__ in caught.value.where


def test_wrong_calls() -> None:
    x = gc.placeholder("x", (3,))
    with pytest.raises(GraphError, match=r"wrong number of inputs\n  expected: 1\n  given:    0"):
        evaluate_graph(Graph([x], [x]), [])
    with pytest.raises(GraphError, match="not an input"):
        gc.evaluate(x, {})


def test_an_op_whose_meaning_disagrees_with_its_type_is_caught() -> None:
    def infer(*types: Any) -> Any:
        return types

    x = gc.placeholder("x", (3,))
    wrong = Op("wrong", Kind.MAP, infer, numpy=lambda a: a.astype("f8"))
    with pytest.raises(GraphError, match=r"expected: f32\[3\] = \(3,\)\n  given:    float64\(3,\)"):
        compute(apply(wrong, (x,)), [np.zeros(3, "f4")], {})
    with pytest.raises(GraphError, match="no NumPy meaning"):
        compute(apply(Op("none", Kind.MAP, infer), (x,)), [np.zeros(3, "f4")], {})


def test_attributes_are_bound() -> None:
    n = dim("n")
    assert bound((n, (2 * n + 1, "n"), 3.5, None), {"n": 4}) == (4, (9, "n"), 3.5, None)


def test_no_fraction_is_cut() -> None:
    i = gc.placeholder("i", ("n",), "int32")
    np.testing.assert_array_equal(gc.evaluate(i + 1, {i: [1, 2]}), np.int32([2, 3]), strict=True)
    assert gc.evaluate(i, {i: []}).shape == (0,)
    for value, message in (
        ([1.5], "the values do not fit the dtype"),
        ([2.0], "the values do not fit the dtype"),
        (["1"], "not numbers"),
        ([1j], "complex numbers where real ones are wanted"),
    ):
        with pytest.raises((DTypeError, ArgumentError), match=f"input 'i': {message}"):
            gc.evaluate(i, {i: value})
