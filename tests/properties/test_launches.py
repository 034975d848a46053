"""Kernels as launches for a card: every kind at a few sizes, simulated; some random graphs."""

import pytest

from tests.properties.generator import random_graph
from tests.properties.launches import (
    NATIVE,
    PROGRAMS,
    Program,
    calls_at,
    check_launches,
    optimised,
)
from tests.properties.rows.cuda import FAULTS, seen


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_at_a_few_sizes(program: Program) -> None:
    graph = program()
    counts = check_launches(optimised(graph), calls_at(graph, (0, 1, 33), (1, 33)), "program")
    assert counts.total() >= 3


def test_a_program_as_machine_code() -> None:
    graph = next(p for p in PROGRAMS if p.__name__ == "column_sums")()
    counts = check_launches(optimised(graph), calls_at(graph, (300,), (65,)), "", NATIVE, None)
    assert counts["column"] == 1


@pytest.mark.parametrize("seed", range(10_700, 10_708))
def test_random_graphs(seed: int) -> None:
    made = random_graph(seed)
    check_launches(optimised(made.graph), [made.arrays(0)], f"random_graph({seed})")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_text_is_seen(fault: str) -> None:
    assert seen(fault)
