"""plan_memory and the order of steps: right at all dims, and small at the hints."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CompileError
from graphc.ir.dim import evaluate
from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning import memory
from graphc.planning.check_memory import check_memory
from graphc.planning.order import Uses, order_for_memory, peak
from graphc.planning.program import Program
from tests.pipeline.programs import ALL
from tests.properties.generator import random_graph

JAX = {"mlp": 12_646_468, "deep": 20_742_212}  # temp_size_in_bytes of JAX 0.10.2, state donated


def program(graph: Graph) -> Program:
    return run_pipeline(graph, Stages()).program


def training_step(widths: tuple[int, ...]) -> Graph:
    x, y = gc.placeholder("x", ("n", widths[0])), gc.placeholder("y", ("n",), "int64")
    h, parameters = x, []
    for i, shape in enumerate(pairwise(widths)):
        w = gc.variable(np.zeros(shape, "float32"), name=f"w{i}")
        b = gc.variable(np.zeros(shape[1], "float32"), name=f"b{i}")
        parameters += [w, b]
        h = h @ w + b
        h = gc.relu(h) if i < len(widths) - 2 else h
    loss = gc.mean(gc.softmax_cross_entropy(h, y))
    updates = gc.optim.Adam(1e-3).minimize(loss, parameters)
    return Graph([x, y], [loss], dict(updates).items(), "step")


# -- how small -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "widths", "ratio"),
    [("mlp", (784, 1024, 1024, 10), 0.9), ("deep", (256,) * 20 + (10,), 0.6)],
)
def test_a_training_step_takes_less_than_jax(
    name: str, widths: tuple[int, ...], ratio: float
) -> None:
    arena = evaluate(program(training_step(widths)).arena, {"n": 512})
    assert arena <= ratio * JAX[name]


def test_a_chain_takes_two_buffers() -> None:
    x, h = gc.placeholder("x", ("n", 64)), gc.placeholder("x", ("n", 64))
    for _ in range(10):
        h = h @ gc.variable(np.zeros((64, 64), "float32"))
    made = program(Graph([x], [gc.sum(h)]))
    assert evaluate(made.arena, {"n": 512}) == 2 * 512 * 64 * 4


def test_no_plan_is_larger_than_shared_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = [random_graph(seed).graph for seed in range(20)]
    stacked = [memory.size_hint(program(g).arena) for g in graphs]
    monkeypatch.setattr(memory, "STACKED", 0)
    slots = [memory.size_hint(program(g).arena) for g in graphs]
    assert all(a <= b for a, b in zip(stacked, slots, strict=True))
    assert sum(stacked) < sum(slots)


def test_rounding_leaves_whole_cache_lines_alone() -> None:
    n = gc.dim("n")
    assert memory.aligned(n * 128 + 64) == n * 128 + 64
    assert str(memory.aligned(n * 128 + n * 4)) == str(memory.aligned(n * 132))
    for size, expected in ((0, 0), (1, 64), (64, 64), (65, 128)):
        assert memory.aligned(size) == expected


# -- the order -------------------------------------------------------------------------------------
def test_what_is_large_and_short_lived_runs_on_its_own() -> None:
    """Two large values, each reduced to a small one: the second waits until the first is gone."""
    x = gc.placeholder("x", ())
    a, b = x + 1, x + 2
    sa, sb = gc.exp(a), gc.exp(b)
    total = sa + sb
    nodes = [t.node for t in (x, a, b, sa, sb, total)]
    reads: dict[Any, list[Any]] = {n: [t for t in n.inputs if t is not x] for n in nodes}
    before = {n: [t.node for t in n.inputs if t.node in nodes] for n in nodes}
    sizes = {a: 100, b: 100, sa: 1, sb: 1, total: 1}
    uses = Uses(before, {n: [t for t in reads[n] if t in sizes] for n in nodes}, sizes)
    order = order_for_memory(nodes, uses)
    assert peak(nodes, uses) == 201
    assert peak(order, uses) == 102
    assert sorted(order, key=nodes.index) == nodes
    assert all(order.index(o) < order.index(n) for n in nodes for o in before[n])


# -- the checker -----------------------------------------------------------------------------------
@pytest.mark.parametrize("make", ALL)
def test_plans_of_programs_are_right(make: Callable[[], Graph]) -> None:
    check_memory(program(make()))


@pytest.mark.parametrize("chunk", range(4))
def test_plans_of_random_graphs_are_right(chunk: int) -> None:
    for seed in range(chunk * 25, chunk * 25 + 25):
        check_memory(program(random_graph(seed).graph))


def test_a_scatter_without_loops_starts_from_zero() -> None:
    """The accumulator of a scatter over one element was not set before; the checker found it."""
    x, at = gc.placeholder("x", (1, 1)), gc.placeholder("at", (), "int64")
    check_memory(program(Graph([x, at], [gc.grad(gc.sum(gc.take(x, at) * 2), x)])))


def test_plans_of_deep_steps_are_right() -> None:
    made = program(training_step((16,) * 12 + (10,)))
    for n in (0, 1, 2, 7, 16, 64, 1000):
        check_memory(made, {"n": n})


def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every temporary is free for others one step after it is written."""
    lifetimes = memory._lifetimes
    monkeypatch.setattr(
        memory, "_lifetimes", lambda steps: {s: (a, a) for s, (a, _) in lifetimes(steps).items()}
    )


def test_storages_that_overlap_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch)
    made = program(training_step((32, 32, 32, 10)))
    with pytest.raises(CompileError, match="alive at once overlap") as error:
        check_memory(made)
    text = str(error.value)
    assert text.count("written at step") == 2
    assert "still read at step" in text
    assert "test_memory.py:" in text


def test_overlaps_are_found_in_random_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch)
    found = 0
    for seed in range(20):
        made = program(random_graph(seed).graph)
        try:
            check_memory(made)
        except CompileError:
            found += 1
    assert found > 5


def test_a_wrong_plan_at_one_size_only_is_found() -> None:
    """Offsets as numbers are right at the hint and wrong above it."""
    made = program(training_step((32, 32, 32, 10)))
    for storage in made.temps:
        storage.offset = memory.size_hint(storage.offset)
    check_memory(made, {"n": 64})
    made.arena = made.arena * 1000
    with pytest.raises(CompileError, match="overlap"):
        check_memory(made, {"n": 65})


@pytest.mark.parametrize(("offset", "given"), [(-64, "from -64"), (4, "from 4"), (1 << 40, "to 1")])
def test_a_place_outside_the_arena_is_found(offset: int, given: str) -> None:
    made = program(training_step((32, 32, 32, 10)))
    made.temps[0].offset = offset
    with pytest.raises(CompileError, match="not in its place") as error:
        check_memory(made, {"n": 64})
    assert given in str(error.value)


def test_an_operand_under_two_names_is_found() -> None:
    x = gc.placeholder("x", ("n",))
    made = program(Graph([x], [gc.exp(x)]))
    step: Any = made.steps[-1]
    step.buffers = (step.buffers[-1],) * len(step.buffers)
    with pytest.raises(CompileError, match="under another name"):
        check_memory(made)


def test_check_runs_the_checker(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch)
    with pytest.raises(CompileError, match="overlap"):
        run_pipeline(training_step((32, 32, 32, 10)), Stages(check=True))
