"""fit_budget: less memory by computing values again, judged by the plan and shown to be right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import MemoryBudgetError
from graphc.ir.dim import evaluate, typical_sizes
from graphc.ir.graph import Graph
from graphc.pipeline.options import DEFAULTS
from graphc.pipeline.pipeline import Compiled, run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning import budget as budgets
from graphc.planning.check_memory import check_memory
from graphc.planning.cost import program_cost
from graphc.planning.program import Copy, Program
from graphc.planning.show import print_program
from tests.counting import calls_of
from tests.planning.test_memory import training_step

DEEP = (64,) * 20 + (10,)
CALLS_A_NODE = 5_000  # 3,600 now; each plan that is tried looks at each node
DIMS = {"n": 512}


def fitted(graph: Graph, budget: int | None, **sizes: int) -> Compiled:
    options = replace(DEFAULTS, memory_budget=budget, sizes=sizes)
    return run_pipeline(graph, Stages(check=True), options=options)


def copies(program: Program) -> int:
    return sum(isinstance(step, Copy) for step in program.steps)


# -- how small -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("percent", "again"), [(80, 10), (60, 18), (45, 26), (20, 350)])
def test_a_deep_step_fits(percent: int, again: int) -> None:
    """20 layers: at 45% of the memory most layers run twice, at 20% about every one 4 times."""
    graph = training_step(DEEP)
    plain = fitted(graph, None, **DIMS).program
    budget = evaluate(plain.arena, DIMS) * percent // 100
    made = fitted(graph, budget, **DIMS)
    assert evaluate(made.program.arena, DIMS) <= budget
    assert 0 < len(made.again) <= again
    assert copies(made.program) == copies(plain)
    costs = [program_cost(p).at(**DIMS) for p in (made.program, plain)]
    assert costs[0].peak_bytes <= budget + 4  # the loss
    assert costs[0].flops > costs[1].flops
    for n in (0, 1, 2, 17, 64, 511, 3000):
        check_memory(made.program, {"n": n})


def test_a_larger_budget_changes_nothing() -> None:
    graph = training_step(DEEP)
    plain = fitted(graph, None).program
    made = fitted(graph, evaluate(plain.arena, {"n": 64}))
    assert not made.again
    assert print_program(made.program) == print_program(plain)


def test_only_as_much_is_computed_again_as_the_budget_needs() -> None:
    graph = training_step(DEEP)
    peak = evaluate(fitted(graph, None).program.arena, {"n": 64})
    steps = [len(fitted(graph, peak * p // 100).program.steps) for p in (100, 90, 70, 50, 30)]
    assert steps == sorted(steps)
    assert steps[0] < steps[-1]


def test_budgets_are_judged_at_the_typical_sizes() -> None:
    graph = training_step(DEEP)
    peaks = {n: evaluate(fitted(graph, None, n=n).program.arena, {"n": n}) for n in (64, 2048)}
    assert not fitted(graph, peaks[64]).again
    assert not fitted(graph, peaks[64], n=64).again
    assert not fitted(graph, peaks[2048], n=2048).again
    made = fitted(graph, peaks[2048] // 2, n=2048)
    assert made.again
    assert evaluate(made.program.arena, {"n": 2048}) <= peaks[2048] // 2
    assert not fitted(graph, peaks[2048] // 2).again


def test_part_of_a_kernel_is_computed_again() -> None:
    """Of a kernel that makes a large value and its sums, the large value alone."""
    x = gc.placeholder("x", (512, 64))
    w, v = (gc.variable(np.zeros((64, 64), "float32"), name=n) for n in "wv")
    early = gc.sin(gc.tanh(x))
    sums = gc.sum(early, axis=0)
    late = gc.sum(gc.exp((x * sums) @ w) @ v, axis=0)
    graph = Graph([x], [sums, gc.sum(early[::-1] * late, axis=1)])
    plain = fitted(graph, None).program
    made = fitted(graph, evaluate(plain.arena, {}) * 7 // 10)
    (again,) = made.again
    assert again.tensor.shape == (512, 64)
    assert again.bytes == 512 * 64 * 4
    regions = [n for n in made.optimized.nodes if n.op.name == "fused"]
    sines = [n for n in regions if any(m.op.name == "sin" for m in n.attrs["body"].nodes)]
    assert sorted(len(n.types) for n in sines) == [1, 2]


def test_deep_graphs_take_few_calls() -> None:
    graph = training_step((256,) * 20 + (10,))
    assert len(graph.nodes) == 838
    peak = evaluate(fitted(graph, None).program.arena, {"n": 64})
    made, calls = calls_of(lambda: fitted(graph, peak * 7 // 10))
    assert made.again
    assert calls <= CALLS_A_NODE * len(graph.nodes)


# -- what must not be computed again ---------------------------------------------------------------
def overwritten(rows: int = 512) -> Graph:
    """`big` is read after the update of w, which it is computed from."""
    rng = np.random.default_rng(0)
    x = gc.placeholder("x", (rows,))
    a, b = (gc.constant(rng.standard_normal((64, 64)).astype("float32")) for _ in range(2))
    w = gc.variable(rng.standard_normal(64).astype("float32"), name="w")
    big = gc.tanh(x[:, None] * w) @ a
    new = w - 0.1 * gc.mean(big, axis=0)
    other = gc.tanh(gc.tanh(x[:, None] * new) @ b) @ a
    out = gc.mean(big * gc.mean(other * other, axis=0) * new, axis=0)
    return Graph([x], [out], [(w, new)])


def test_what_an_update_has_overwritten_is_kept_or_the_update_waits() -> None:
    """Either the update is in place and `big` is kept, or it is a copy at the end."""
    graph = overwritten()
    plain = fitted(graph, None).program
    assert copies(plain) == 0
    work = budgets.work_of(graph=fitted(graph, None).optimized, program=plain)
    (position,) = work.overwritten.values()
    assert 0 < position < len(work.steps) - 1
    kept = budgets.run_within(work, plain_bytes(plain) * 7 // 10)
    assert kept is not None
    assert not kept.again
    made = fitted(graph, plain_bytes(plain) * 7 // 10)
    assert len(made.again) == 2
    assert copies(made.program) == 1
    last = made.program.steps[-1]
    assert isinstance(last, Copy)
    assert last.target.storage.kind == "variable"


def plain_bytes(program: Program) -> int:
    return evaluate(program.arena, {})


def test_no_update_is_copied_for_it_where_all_can_stay_in_place() -> None:
    """Without the steps at which variables are overwritten, it would be."""
    compiled = run_pipeline(overwritten(), Stages())
    work = budgets.work_of(compiled.optimized, compiled.program)
    limit = plain_bytes(compiled.program) * 7 // 10
    counts = []
    for allowed in (work, replace(work, overwritten={})):
        found = budgets.run_within(allowed, limit)
        assert found is not None
        program = run_pipeline(found.graph, Stages()).program
        counts.append(copies(program) - copies(compiled.program))
    assert counts == [0, 1]


def test_what_may_fail_and_calls_back_are_done_once() -> None:
    """Layers behind them are computed again from what they gave, which stays."""
    x, at = gc.placeholder("x", (64, 64)), gc.placeholder("at", (64,), "int64")
    h = gc.linalg.inv(gc.take(x, at, axis=0))
    layers = []
    for _ in range(12):
        h = gc.tanh(h @ x)
        layers.append(h)
    for layer in reversed(layers):
        h = gc.tanh(h @ layer)
    graph = Graph([x, at], [gc.sum(h)])
    plain = fitted(graph, None).program
    made = fitted(graph, plain_bytes(plain) * 6 // 10)
    assert len(made.again) > 5
    nodes = made.optimized.nodes
    names = [n.op.name for n in nodes]
    assert names.count("lu_by_columns") == names.count("lu_solve_by_columns") == 1
    regions = [n.attrs["body"].nodes for n in nodes if n.op.name == "fused"]
    assert sum(any(m.op.name == "take" for m in body) for body in regions) == 1


# -- budgets that are too small --------------------------------------------------------------------
def test_an_impossible_budget_names_what_fills_the_memory() -> None:
    graph = training_step(DEEP)
    with pytest.raises(MemoryBudgetError, match="do not fit in the memory budget") as error:
        fitted(graph, 100_000, **DIMS)
    text = str(error.value)
    assert "at most 100,000 bytes at n = 512" in text
    least = int(error.value.given.split()[0].replace(",", ""))
    peak = evaluate(fitted(graph, None, **DIMS).program.arena, DIMS)
    assert 3 * 512 * 64 * 4 < least < 0.3 * peak
    assert "f32[64*n], 131,072 bytes  # " in text
    assert "test_memory.py:" in text
    assert "stage 'fit_budget'" in "".join(error.value.__notes__)
    assert fitted(graph, least, **DIMS).again  # what it says can be had


def test_one_step_that_is_too_large() -> None:
    x = gc.placeholder("x", (64, 64))
    graph = Graph([x], [gc.sum(gc.tanh(x @ x) @ x)])
    with pytest.raises(MemoryBudgetError) as error:
        fitted(graph, 100)
    assert error.value.given.count("16,384 bytes") == 2


def test_memory_inside_of_loops_counts() -> None:
    """A loop's own temporaries are at the peak: what is alive beside it is dropped."""
    x = gc.placeholder("x", (256, 64))
    kept = gc.tanh(x @ x.T)

    def step(carry: Any, row: Any) -> Any:
        return gc.tanh(carry @ carry.T) @ carry + row, gc.sum(carry)

    _, sums = gc.scan(step, x * gc.sum(kept), x[:4, None])
    graph = Graph([x], [gc.sum(kept[::-1] * gc.sum(sums), axis=0)])
    square = 256 * 256 * 4
    peak = plain_bytes(fitted(graph, None).program)
    assert peak > 2 * square
    made = fitted(graph, peak - square)
    assert [a.bytes for a in made.again].count(square) >= 1
    check_memory(made.program)


def test_typical_sizes_end_with_the_pipeline() -> None:
    graph: Any = training_step((16, 16, 10))
    before = str(run_pipeline(graph, Stages()).program.arena)
    with typical_sizes({"n": 7}):
        pass
    fitted(graph, None, n=4096)
    assert str(run_pipeline(graph, Stages()).program.arena) == before
