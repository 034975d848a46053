"""Large graphs: the rows R23 and R24 of the scoreboard in small."""

from __future__ import annotations

from collections import Counter

import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.loops.grammar import statements
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from graphc.rewrite import driver
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.ruleset import Rule
from tests.corpus import PROGRAMS
from tests.properties.rows import growth, size
from tests.properties.stages import FAMILIES

STATEMENTS = 128  # Numba's time grows faster than the kernel, and Python nests 200 parentheses


@pytest.mark.parametrize("family", ["layers", "products"])
def test_four_times_the_nodes_take_four_times_the_calls(family: str) -> None:
    tally, _ = growth.of_family((family, 300))
    assert tally.counts["ratios"] > 15
    assert not tally.failures, "\n".join(tally.failures)


@pytest.mark.parametrize(
    ("quadratic", "seen"), [(0.0, False), (0.1, False), (0.3, True), (1.0, True)]
)
def test_a_quadratic_part_is_seen_once_it_is_a_fifth_of_the_whole(
    quadratic: float, seen: bool
) -> None:
    n = growth.FIGURE
    few, many = (int(100 * k * (1 + quadratic * k / (4 * n))) for k in (n, 4 * n))
    assert bool(growth.tallied("family", {"stage": (few, many)}, n).failures) == seen


def test_less_than_a_call_for_each_node_is_not_judged() -> None:
    n = growth.FIGURE
    assert not growth.tallied("family", {"stage": (10, 4 * n)}, n).failures
    assert growth.tallied("family", {"stage": (10, 5 * n)}, n).failures


def test_an_all_pairs_pass_is_seen() -> None:
    assert not growth.ROW.control().holds


@pytest.mark.parametrize("family", ["chain", "diamond"])
def test_graphs_deeper_than_the_recursion_limit(family: str) -> None:
    tally = size.check((family, 120 if family == "diamond" else 2_000))
    assert not tally.failures, "\n".join(tally.failures)


def test_a_recursive_walk_is_seen() -> None:
    assert not size.ROW.control().holds


def kernel_lengths(graph: Graph) -> list[int]:
    """The number of statements of each kernel."""
    steps = walk_steps(run_pipeline(graph, Stages()).program.steps)
    return [sum(1 for _ in statements(s.kernel.body)) for s in steps if isinstance(s, Call)]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_kernel_has_more_statements_than_compile_fast(family: str) -> None:
    built = FAMILIES[family](600)
    counts = kernel_lengths(Graph(built.inputs, built.outputs, built.updates))
    assert counts
    assert max(counts) <= STATEMENTS


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_kernel_of_the_corpus_is_longer(name: str) -> None:
    assert max(kernel_lengths(PROGRAMS[name]().graph), default=0) <= STATEMENTS


def test_random_numbers_leave_room_in_their_kernels() -> None:
    key, x = gc.placeholder("key", (2,), "uint32"), gc.placeholder("x", ("n", 64))
    noise = gc.random.normal(key, x.shape)
    keep = gc.random.bernoulli(gc.random.fold_in(key, 1), 0.5, x.shape)
    graph = Graph([key, x], [gc.where(keep, gc.tanh(x + noise), 0.0)])
    lengths = kernel_lengths(graph)
    assert 80 < max(lengths) <= STATEMENTS  # a Threefry block has about 80


@pytest.mark.parametrize("family", FAMILIES)
def test_rules_are_tried_as_often_for_each_node(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Counter[int]()
    rules_for = driver._Walk._rules_for

    def counting(walk: driver._Walk, node: Node) -> tuple[Rule, ...]:
        found = rules_for(walk, node)
        tried[n] += len(found)
        return found

    monkeypatch.setattr(driver._Walk, "_rules_for", counting)
    for n in (300, 600):
        built = FAMILIES[family](n)
        results = built.outputs if len(built.outputs) > 1 else built.outputs[0]
        gradient = gc.vjp(results, built.wrt) if built.wrt else []
        graph = Graph(built.inputs, [*built.outputs, *gradient], built.updates)
        tried.pop(n, None)  # differentiation simplifies too
        driver.apply_rules(graph, *DEFAULT)
    assert 0 < tried[600] <= 2.1 * tried[300]
    assert tried[600] <= 20 * 600
