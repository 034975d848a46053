"""Large graphs, quickly: the rows R23 and R24 of the scoreboard in small."""

from __future__ import annotations

import pytest

from graphc.ir.graph import Graph
from graphc.loops.grammar import statements
from graphc.passes.pipeline import run_pipeline
from graphc.passes.program import Call, walk_steps
from graphc.passes.stages import Stages
from tests.properties.rows import growth, size
from tests.properties.stages import FAMILIES

LOOSE = 3.0  # short times on a busy machine vary; a pass over all pairs takes 4 times as long
STATEMENTS = 128  # Numba's time grows faster than the kernel, and Python nests 200 parentheses


@pytest.mark.parametrize("family", ["layers"])
def test_twice_the_nodes_take_twice_the_time(family: str) -> None:
    tally = growth.check(family, (1_000, 2_000), lower=False, limit=LOOSE)
    assert tally.counts["ratios"] > 5
    assert not tally.failures, "\n".join(tally.failures)


def test_an_all_pairs_pass_is_seen() -> None:
    assert not growth.ROW.control().holds


@pytest.mark.parametrize("family", ["chain", "diamond", "stack"])
def test_graphs_deeper_than_the_recursion_limit(family: str) -> None:
    tally = size.check((family, 120 if family == "diamond" else 4_000))
    assert not tally.failures, "\n".join(tally.failures)


def test_a_recursive_walk_is_seen() -> None:
    assert not size.ROW.control().holds


@pytest.mark.parametrize("family", FAMILIES)
def test_no_kernel_has_more_statements_than_compile_fast(family: str) -> None:
    built = FAMILIES[family](600)
    graph = Graph(built.inputs, built.outputs, built.updates)
    steps = list(walk_steps(run_pipeline(graph, Stages()).program.steps))
    counts = [sum(1 for _ in statements(s.kernel.body)) for s in steps if isinstance(s, Call)]
    assert counts
    assert max(counts) <= STATEMENTS
