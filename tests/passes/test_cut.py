"""Graphs in stages: valid, as even as asked for, and no more bytes than the best of all cuts."""

from __future__ import annotations

from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.ir.dim import size_hint
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, Variable
from graphc.ir.op import Fact, Kind
from graphc.passes.cut import PIECES, SLACK, Cut, cut, operations_of


def weights(name: str, *shape: int) -> Variable:
    return gc.variable(np.ones(shape, np.float32), f"cut/{name}")


def stage_of(found: Cut) -> dict[Any, int]:
    return {n: k for k, stage in enumerate(found.stages) for n in stage.nodes}


def received(graph: Graph, stages: dict[Any, int]) -> int:
    """The bytes that cross, written down anew: each tensor once for each later stage."""
    crossing = {
        (t, stages[n])
        for n in stages
        for t in n.inputs
        if t.node in stages and stages[t.node] != stages[n]
    }
    last = max(stages.values())
    crossing |= {(t, last) for t in graph.outputs if stages.get(t.node, last) != last}
    return sum(size_hint(t.size) * t.dtype.itemsize for t, _ in crossing)


def loads(stages: dict[Any, int], count: int) -> list[int]:
    found = [0] * count
    for node, k in stages.items():
        found[k] += size_hint(operations_of(node))
    return found


def best(graph: Graph, nodes: list[Any], count: int, most: float) -> int:
    """The fewest bytes of all assignments in which nothing flows back."""
    found = None
    for choice in product(range(count), repeat=len(nodes)):
        stages = dict(zip(nodes, choice, strict=True))
        if any(stages[t.node] > stages[n] for n in nodes for t in n.inputs if t.node in stages):
            continue
        if not 0 < min(loads(stages, count)) <= max(loads(stages, count)) <= most:
            continue
        size = received(graph, stages)
        found = size if found is None else min(found, size)
    assert found is not None
    return found


def check(graph: Graph, count: int) -> tuple[Cut, dict[Any, int]]:
    """The cut, of all that is computed from inputs or variables; nothing flows back."""
    found = cut(graph, count)
    stages = stage_of(found)
    everywhere = [n for n in graph.nodes if n not in stages]
    assert all(Fact.INPUT in n.op.facts or not n.inputs for n in everywhere)
    for node, k in stages.items():
        for t in node.inputs:
            if t.node in stages:
                assert stages[t.node] <= k
                assert stages[t.node] == k or any(t is r for r in found.stages[k].received)
    assert all(stages[v.node] == stages[new.node] for v, new in graph.updates)
    assert sum(len(s.nodes) for s in found.stages) == len(stages)
    return found, stages


def chain(seed: int) -> Graph:
    """Layers of drawn widths, some of which skip to the one after the next."""
    rng = np.random.default_rng(seed)
    widths = [int(w) for w in rng.choice([1, 2, 4, 8, 16], 5)]
    h = x = gc.placeholder(f"cutx{seed}", ("n", widths[0]))
    seen = [h]
    for i, (a, b) in enumerate(pairwise(widths)):
        w = weights(f"{seed}w{i}", a, b)
        h = h @ w
        if seen[-1].shape == h.shape and rng.random() < 0.7:
            h = h + seen[-1]
        seen.append(h)
    return Graph([x], [gc.sum(h)], name=f"chain{seed}")


def branching(seed: int) -> Graph:
    """Nodes over earlier ones, drawn: reductions, products by a vector, sums."""
    rng = np.random.default_rng(seed)
    x = gc.placeholder(f"cutb{seed}", ("n", 4))
    w = weights(f"{seed}b", 4, 4)
    values: list[Tensor] = [x @ w, x * 2.0]
    for _ in range(4):
        a, b = (values[int(i)] for i in rng.integers(len(values), size=2))
        choice = rng.integers(3)
        if choice == 0:
            values.append(gc.exp(a) if a.shape[1] == 1 else gc.sum(a, axis=1, keepdims=True))
        elif choice == 1:
            values.append(gc.tanh(a))
        else:
            values.append(a + b)
    return Graph([x], [gc.sum(values[-1]) + gc.sum(values[-2]) + gc.sum(w)], name=f"dag{seed}")


def test_no_cut_of_a_chain_moves_fewer_bytes() -> None:
    for seed in range(10):
        graph = chain(seed)
        for count in (2, 3):
            _, stages = check(graph, count)
            most = max(loads(stages, count))
            assert received(graph, stages) == best(graph, list(stages), count, most)


def test_few_cuts_of_other_graphs_do() -> None:
    """A search over all cuts takes exponential time: of drawn graphs most are cut as well as can
    be, and none needs twice the bytes."""
    exact = 0
    for seed in range(12):
        graph = branching(seed)
        _, stages = check(graph, 2)
        found = received(graph, stages)
        least = best(graph, list(stages), 2, max(loads(stages, 2)))
        assert found < 2 * least
        exact += found == least
    assert exact >= 10


def test_stages_are_even() -> None:
    """No stage has more than a tenth above what the most even runs of layers have."""
    rng = np.random.default_rng(0)
    widths = [int(w) for w in rng.integers(3, 40, 9)]
    h = x = gc.placeholder("cut_even", ("n", widths[0]))
    for i, (a, b) in enumerate(pairwise(widths)):
        h = h @ weights(f"even{i}", a, b)
    graph = Graph([x], [h])
    work = [2 * 64 * a * b for a, b in pairwise(widths)]
    for count in (2, 3, 4):
        _, stages = check(graph, count)
        ends = combinations(range(1, len(work)), count - 1)
        least = min(
            max(sum(work[a:b]) for a, b in pairwise([0, *inner, len(work)])) for inner in ends
        )
        assert max(loads(stages, count)) <= SLACK * least


def test_new_values_are_made_where_their_variables_are() -> None:
    x = gc.placeholder("cut_state", ("n", 8))
    mean = weights("mean", 8)
    h = gc.tanh(x @ weights("state0", 8, 8))
    new = 0.9 * mean + 0.1 * gc.mean(h, axis=0)
    out = gc.sum((gc.tanh(h @ weights("state1", 8, 8)) - mean) ** 2)
    found, stages = check(Graph([x], [out], [(mean, new)]), 2)
    assert stages[mean.node] == stages[new.node]
    assert any(v is mean for v in found.stages[stages[mean.node]].variables)


def test_loops_and_composites_count() -> None:
    x = gc.placeholder("cut_loop", (10, 4), "float64")
    last, _ = gc.scan(lambda c, row: (gc.tanh(c + row), c), gc.zeros((4,), "float64"), x)
    (loop,) = (n for n in Graph([x], [last]).nodes if n.op.kind is Kind.CONTROL)
    assert size_hint(operations_of(loop)) >= 10 * 4 * 2
    assert size_hint(operations_of(gc.softmax(x).node)) >= 40


def test_a_large_graph_is_cut_at_its_narrowest_places() -> None:
    """Of a thousand nodes few places are looked at, the waists among them."""
    h = x = gc.placeholder("cut_long", ("n", 64))
    down, up = weights("down", 64, 2), weights("up", 2, 64)
    for i in range(120):
        for _ in range(8):
            h = gc.tanh(h)
        if i % 40 == 39:
            h = (h @ down) @ up
    graph = Graph([x], [gc.sum(h)])
    assert len(graph.nodes) > PIECES
    found, _ = check(graph, 3)
    moving = [str(t.shape) for stage in found.stages for t in stage.received if t.shape[0] != 2]
    assert moving.count("(n, 2)") == 2


def test_the_text() -> None:
    x = gc.placeholder("cut_text", ("n", 4))
    h = gc.tanh(x @ weights("text0", 4, 8) + weights("text1", 8))
    graph = Graph([x], [gc.sum(h @ weights("text2", 8, 4))], name="net")
    assert str(cut(graph, 2)) == TEXT.strip()
    with pytest.raises(ArgumentError, match="at most 5 stages"):
        cut(graph, 6)


TEXT = """
net in 2 stages
stage 1: 200*n operations, 75 %: matmul, add, tanh
  holds cut/text0, cut/text1
stage 2: 68*n operations, 25 %: matmul, sum
  holds cut/text2
  receives the tanh: f32[n,8], 32*n bytes
"""
