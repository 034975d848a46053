"""Compiled code equals the interpreter on random graphs: outputs, gradients, updates, failures.

Forward and gradient are one program. The cache is off, so that everything is really compiled.
"""

from __future__ import annotations

import pytest

from graphc.ir.dtype import DTYPES
from graphc.ir.op import Fact, Kind, registry
from graphc.passes.canonical import expand_composites

from .checking import check_compiled
from .generator import RandomGraph, all_nodes, histogram, random_graph

CHUNKS, IN_A_CHUNK = 7, 10  # graphs; row R2 of the scoreboard draws more
DRAWN, LEAST = 600, 3  # graphs that are drawn; those that use each op and each dtype, at least


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_compiled_equals_interpreter(chunk: int) -> None:
    for seed in range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK):
        check_compiled(seed)


# -- what is drawn ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def graphs() -> list[RandomGraph]:
    return [random_graph(seed) for seed in range(DRAWN)]


def test_every_op_and_dtype_is_drawn(
    graphs: list[RandomGraph], record_property: pytest.RecordProperty
) -> None:
    ops, dtypes = histogram(graphs)
    counts = [*sorted(ops.items()), *sorted(dtypes.items())]
    text = ", ".join(f"{name} {count}" for name, count in counts)
    record_property("shown", f"graphs in which each op and dtype is drawn: {text}")
    made = {n for n, op in registry().items() if op.kind is Kind.REGION or Fact.STEP in op.facts}
    drawn = [n for n in registry() if n not in made]
    seldom = {n: ops[n] for n in drawn if ops[n] < LEAST}
    seldom |= {d.name: dtypes[d.name] for d in DTYPES if dtypes[d.name] < LEAST}
    assert not seldom, f"drawn in fewer than {LEAST} graphs: {seldom}"


def test_every_step_that_ops_are_expanded_into_is_drawn(graphs: list[RandomGraph]) -> None:
    steps = {n for n, op in registry().items() if Fact.STEP in op.facts}
    found: set[str] = set()
    for random in graphs:
        expanded = expand_composites(random.graph)
        found |= {node.op.name for node in all_nodes(expanded)} & steps
    assert found == steps


def test_graphs_are_as_varied_as_promised(graphs: list[RandomGraph]) -> None:
    """At least 20% with named dims, 30% that reduce or contract, 5% with special values."""
    reducing = {Kind.REDUCE, Kind.CONTRACT, Kind.COMPOSITE}
    named = sum(bool(g.graph.dims) for g in graphs)
    reduced = sum(any(n.op.kind in reducing for n in g.graph.nodes) for g in graphs)
    wild = sum(g.wild for g in graphs)
    updated = sum(bool(g.graph.updates) for g in graphs)
    layouts = {layout for g in graphs for layout in g.layouts.values()}
    sizes = {n for g in graphs for dims in g.sizes for n in dims.values()}
    assert named >= 0.2 * len(graphs)
    assert reduced >= 0.3 * len(graphs)
    assert wild >= 0.05 * len(graphs)
    assert updated >= 0.2 * len(graphs)
    assert len(layouts) == 8
    assert {0, 1} <= sizes
    assert max(sizes) > 16


def test_graphs_depend_on_the_seed_only() -> None:
    for seed in range(10):
        first, second = random_graph(seed), random_graph(seed)
        assert str(first.graph) == str(second.graph)
        assert first.sizes == second.sizes
        for a, b in zip(first.arrays(0), second.arrays(0), strict=True):
            assert a.tobytes() == b.tobytes()
