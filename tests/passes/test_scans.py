"""merge_scans and drop_unused_outputs: fewer loops, the same values."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ops.scan import SCAN
from graphc.ops.while_loop import WHILE
from graphc.passes.scans import conditions_behind_steps, drop_unused_outputs, merge_scans


def loops(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op is SCAN]


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


def assert_same_values(a: Graph, b: Graph, sizes: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=[sizes[s] if (s := str(d)) in sizes else int(d) for d in t.shape])
        for t in a.inputs
    ]
    for x, y in zip(evaluate_graph(a, arrays), evaluate_graph(b, arrays), strict=True):
        np.testing.assert_array_equal(x, y)


def rnn(depth: int) -> Graph:
    x, w = f64("x", ("t", 3)), f64("w", (3,))
    ys = x
    for _ in range(depth):
        _, ys = gc.scan(lambda c, v: ((h := gc.tanh(c * w + v) * 0.5), h), x[0] * 0, ys)
    loss = gc.sum(ys * ys)
    return Graph([x, w], [loss, *gc.grad(loss, [x, w])])


def test_the_forward_loop_of_a_gradient_runs_once() -> None:
    for depth in (1, 3):
        graph = rnn(depth)
        merged = merge_scans(graph)
        assert (len(loops(graph)), len(loops(merged))) == (3 * depth, 2 * depth)
        assert_same_values(graph, merged, {"t": 4})
        assert merge_scans(merged) is merged


def test_inner_loops_are_merged_where_outer_ones_were() -> None:
    x, w = f64("x", ("t", "n")), f64("w")

    def outer(c: Any, row: Any) -> Any:
        return gc.scan(lambda s, v: (gc.tanh(s * w + v), s), c, row)

    _, ys = gc.scan(outer, w, x)
    graph = Graph([x, w], [gc.sum(ys), gc.grad(gc.sum(ys * ys), w)])
    merged = merge_scans(graph)
    assert len(loops(merged)) == 2
    for loop in loops(merged):
        assert len(loops(loop.attrs["body"])) == 1
    assert_same_values(graph, merged, {"t": 3, "n": 2})


def test_loops_that_differ_are_not_merged() -> None:
    x = f64("x", ("t",))
    zero = gc.constant(0.0, "float64")
    results = [
        gc.scan(lambda c, v: (c + v, c), zero, x)[1],
        gc.scan(lambda c, v: (c - v, c), zero, x)[1],
        gc.scan(lambda c, v: (c + v, c), zero, x, reverse=True)[1],
        gc.scan(lambda c, v: (c + v, c), zero, x * 2)[1],
    ]
    graph = Graph([x], results)
    assert merge_scans(graph) is graph


def test_unread_outputs_carries_and_inputs_are_dropped() -> None:
    x, y = f64("x", ("t",)), f64("y", ("t",))
    zero = gc.constant(0.0, "float64")

    def step(c: Any, v: Any) -> Any:
        a, b = c
        return (a + v[0], b * v[1] + a), (a, b, v[1])

    (a, b), (first, second, _) = gc.scan(step, (zero, zero), (x, y))
    for results, carries, outputs in (([first], 1, 2), ([second, b], 2, 3), ([a], 1, 1)):
        graph = Graph([x, y], results)
        pruned = drop_unused_outputs(graph)
        (loop,) = loops(pruned)
        assert (loop.attrs["carries"], len(loop.types)) == (carries, outputs)
        assert (y in set(loop.inputs)) == (carries == 2)
        assert_same_values(graph, pruned, {"t": 5})


def test_unread_carries_of_a_while_loop_are_dropped_but_those_of_its_condition() -> None:
    x, y = f64("x"), f64("y")

    def step(c: Any) -> Any:
        a, b, turns = c
        return a * 2 + turns, b * y, turns + 1

    a, b, turns = gc.while_loop(lambda c: c[2] < x, step, (x, y, 0.0))
    for results, carries in (([a], 2), ([b], 2), ([turns], 1), ([a, b], 3)):
        graph = Graph([x, y], results)
        pruned = drop_unused_outputs(graph)
        (loop,) = [node for node in pruned.nodes if node.op is WHILE]
        assert loop.attrs["carries"] == len(loop.types) == carries
        assert (y in set(loop.inputs)) == any(b is t for t in results)
        assert drop_unused_outputs(pruned) is pruned
        for feeds in ([3.5, 0.5], [-1.0, 2.0]):
            assert evaluate_graph(graph, feeds) == evaluate_graph(pruned, feeds)


def test_conditions_are_computed_where_steps_are() -> None:
    """Once before the loop, and then by the step: as often as before, and the same."""
    x, limit = f64("x", (3,)), f64("limit")
    inner = lambda c: gc.while_loop(lambda d: gc.max(d) > 1, lambda d: d / 2, c) * 3  # noqa: E731
    last, turns = gc.while_loop(
        lambda c: (gc.sum(c[0]) < limit) & (c[1] < 9), lambda c: (inner(c[0]) + 1, c[1] + 1), (x, 0)
    )
    graph = Graph([x, limit], [last, turns])
    moved = conditions_behind_steps(graph)
    (loop,) = [node for node in moved.nodes if node.op is WHILE]
    assert [t.node.op.name for t in loop.attrs["condition"].outputs] == ["placeholder"]
    assert conditions_behind_steps(moved) is moved
    for feeds in (np.array([0.1, 0.2, 0.3]), 13.0), (np.ones(3), -1.0), (np.ones(3), np.inf):
        for one, other in zip(
            evaluate_graph(graph, feeds), evaluate_graph(moved, feeds), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_what_is_unread_after_another_drop_is_dropped_too() -> None:
    x = f64("x", ("t",))
    zero = gc.constant(0.0, "float64")
    last, ys = gc.scan(lambda c, v: (c + v, c), zero, x)
    unread = gc.scan(lambda c, v: ((c[0] + 1, c[1] + v), None), (zero, zero), ys)[0]
    pruned = drop_unused_outputs(Graph([x], [last, unread[0]]))
    assert sorted(len(loop.types) for loop in loops(pruned)) == [1, 1]


def test_merged_and_pruned_gradients_keep_their_values() -> None:
    graph = rnn(2)
    small = drop_unused_outputs(merge_scans(graph))
    assert_same_values(graph, small, {"t": 5})
    assert sum(len(n.types) for n in loops(small)) < sum(len(n.types) for n in loops(graph))
