"""Large graphs, quickly: the rows R23 and R24 of the scoreboard in small."""

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

LOOSE = 2.6  # short times on a busy machine vary; a pass over all pairs takes 4 times as long
STATEMENTS = 128  # Numba's time grows faster than the kernel, and Python nests 200 parentheses


@pytest.mark.parametrize("family", ["layers"])
def test_twice_the_nodes_take_twice_the_time(family: str) -> None:
    make = FAMILIES[family]
    times = growth.timed(make, (1_000, 16_000), lower=False)
    tally = growth.tallied({family: growth.settled(make, times, False, LOOSE)}, LOOSE)
    assert tally.counts["ratios"] > 5
    assert not tally.failures, "\n".join(tally.failures)


@pytest.mark.parametrize(
    ("quadratic", "seen"), [(0.0, False), (0.3, False), (1.0, True), (9.0, True)]
)
def test_a_quadratic_part_is_seen_once_it_takes_as_long_as_the_rest(
    quadratic: float, seen: bool
) -> None:
    parts = {n: n / 64_000 for n in growth.SIZES}  # of the largest size
    times = {n: {"stage": p + quadratic * p * p} for n, p in parts.items()}
    assert bool(growth.tallied({"family": times}).failures) == seen


def test_what_takes_next_to_nothing_is_not_judged() -> None:
    times = {n: {"stage": n**2 * 1e-6 / 64_000} for n in growth.SIZES}  # up to 1 us a node
    assert not growth.tallied({"family": times}).counts["ratios"]


def test_an_all_pairs_pass_is_seen() -> None:
    assert not growth.ROW.control().holds


@pytest.mark.parametrize("family", ["chain", "diamond", "stack"])
def test_graphs_deeper_than_the_recursion_limit(family: str) -> None:
    tally = size.check((family, 120 if family == "diamond" else 4_000))
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
