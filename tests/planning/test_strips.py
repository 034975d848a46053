"""cut_loops: which loops have rows that go through them by themselves, and what that asks of
memory; order_operands: transposes that are made once, before the loop; values on several threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CompileError
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.op import Kind
from graphc.lower.driver import print_driver
from graphc.passes.operands import order_operands
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.check_memory import check_memory
from graphc.planning.memory import plan_memory
from graphc.planning.program import Gemm, Loop, Program, walk_steps
from graphc.planning.show import print_program

UNITS = 136  # so many that the sum of gradients of the weights leaves the loop
X, H = gc.placeholder("strips_x", ("t", "b", UNITS)), gc.placeholder("strips_h", ("b", UNITS))
W = gc.placeholder("strips_w", (UNITS, UNITS))
INPUTS = [X, H, W]
Step = Callable[[Any, Any], Any]


def compiled(outputs: Any, inputs: list[gc.Tensor] = INPUTS) -> Program:
    program = run_pipeline(Graph(inputs, list(outputs)), Stages(check=True)).program
    check_memory(program)
    return program


def rows(program: Program) -> list[str]:
    """Of each loop; "-" where its rows depend on each other."""
    found = [s for s in walk_steps(program.steps) if isinstance(s, Loop)]
    return ["-" if loop.rows is None else str(loop.rows) for loop in found]


def recurrence(h: Any, x: Any) -> Any:
    new = gc.tanh(h @ W + x) * gc.sigmoid(x)
    return new, new


def gated() -> gc.Tensor:
    last, ys = gc.scan(recurrence, H, X)
    return gc.sum(last * last) + gc.sum(gc.sin(ys))


# -- which loops -----------------------------------------------------------------------------------
def test_a_recurrence_forwards_and_backwards() -> None:
    program = compiled(gc.grad(gated(), INPUTS))
    assert rows(program) == ["b", "b"]
    assert "for __step1 in t, each of b rows by itself:" in print_program(program)


def test_the_transpose_of_weights_is_made_before_the_loop() -> None:
    program = compiled(gc.grad(gated(), INPUTS))
    loops = [s for s in program.steps if isinstance(s, Loop)]
    inside = [s for s in walk_steps(loops) if isinstance(s, Gemm)]
    assert len(inside) == 2
    assert all(s.packed is None and not s.b.transposed for s in inside)


LOOPS: dict[str, tuple[Step, str]] = {
    "elements": (lambda h, x: (h * 0.5 + gc.exp(x), h), f"{UNITS}*b"),
    "each row's softmax": (lambda h, x: (gc.softmax(h + x), h), "b"),
    "a product that others read too": (lambda h, x: (gc.tanh(h @ W), h @ W), "b"),
    "two products": (lambda h, x: (gc.tanh(gc.tanh(h @ W) @ W + x), h), "b"),
    "a mean over rows": (lambda h, x: (h + x - gc.mean(h, axis=0), h), "-"),
    "rows in turn": (lambda h, x: (h[::-1] + gc.tanh(h @ W), h), "-"),
    "a matrix that changes": (lambda h, x: (gc.tanh(h @ (x.T @ h)), h), "-"),
    "what may fail": (lambda h, x: (gc.ensure(h @ W + x, gc.all(h < 9), "no"), h), "-"),
}


@pytest.mark.parametrize("name", LOOPS)
def test_of_many_kinds(name: str) -> None:
    step, expected = LOOPS[name]
    assert rows(compiled(gc.scan(step, H, X))) == [expected]


def test_a_loop_inside_of_one() -> None:
    def outer(h: Any, x: Any) -> Any:
        inner, _ = gc.scan(lambda c, _: (gc.tanh(c @ W), None), h, length=3)
        return inner + x, inner

    assert rows(compiled(gc.scan(outer, H, X))) == ["b", "-"]  # the inner one is part of the rows'


def test_carries_in_columns_and_two_widths() -> None:
    """A long and a short state, and a product of part of the columns."""
    v = gc.placeholder("strips_v", (UNITS // 2, UNITS))

    def step(state: Any, x: Any) -> Any:
        h, c = state
        c = gc.tanh(c @ v[:, : UNITS // 2] + x[:, : UNITS // 2])
        return (gc.tanh(h @ W + c @ v), c), c

    (h, c), ys = gc.scan(step, (H, H[:, : UNITS // 2]), X)
    assert rows(compiled([h, c, ys], [*INPUTS, v])) == ["b"]


# -- memory ----------------------------------------------------------------------------------------
def test_what_such_a_loop_writes_is_all_alive_in_it() -> None:
    """While some rows are at one step others may be at any: a plan for rows in order is refused."""

    def step(h: Any, x: Any) -> Any:
        for _ in range(4):
            h = gc.softmax(gc.tanh(h @ W) @ W + x)
        return h, None

    program = compiled([gc.scan(step, H, X)[0]])
    (loop,) = [s for s in program.steps if isinstance(s, Loop)]
    assert loop.rows is not None
    before = program.arena
    loop.rows = None
    planned = plan_memory(program)
    assert str(planned.arena) != str(before)  # fewer places, one after the other
    check_memory(planned)
    loop.rows = gc.dim("b")
    with pytest.raises(CompileError, match="alive at once overlap"):
        check_memory(planned)


# -- order_operands --------------------------------------------------------------------------------
def inner_views(graph: Graph) -> list[str]:
    bodies = [n.attrs["body"] for n in graph.nodes if n.op.name == "scan"]
    products = [n for b in bodies for n in b.nodes if n.op.kind is Kind.CONTRACT]
    return [n.inputs[1].node.op.name for n in products]


def test_a_transpose_becomes_an_operand() -> None:
    last, ys = gc.scan(lambda h, x: (gc.tanh(h @ W.T + x), gc.sum(h)), H, X)
    before = Graph(INPUTS, [last, ys])
    after = order_operands(before)
    assert inner_views(before) == ["permute_dims"]
    assert inner_views(after) == ["placeholder"]
    rng = np.random.default_rng(3)
    given = [rng.normal(size=s).astype("f4") for s in ((5, 3, UNITS), (3, UNITS), (UNITS, UNITS))]
    pairs = zip(evaluate_graph(before, given), evaluate_graph(after, given), strict=True)
    for expected, value in pairs:
        np.testing.assert_array_equal(value, expected)


def test_what_is_in_order_changes_or_is_wide_stays() -> None:
    wide = gc.placeholder("strips_u", (600, UNITS))
    for step in (
        lambda h, x: (gc.tanh(h @ W), None),
        lambda h, x: (gc.tanh(h @ (x.T @ x).T), None),
        lambda h, x: (gc.tanh(gc.tanh(h @ wide.T) @ wide), None),
    ):
        before = Graph([*INPUTS, wide], [gc.scan(step, H, X)[0]])
        assert order_operands(before) is before


# -- values ----------------------------------------------------------------------------------------
def numpy_recurrence(x: Any, h: Any, w: Any) -> Any:
    """The value of `gated` and its gradients, by hand, in float64."""
    x, h, w = (a.astype(np.float64) for a in (x, h, w))
    states, gates = [h], 1 / (1 + np.exp(-x))
    inner = []
    for step, gate in zip(x, gates, strict=True):
        inner.append(np.tanh(states[-1] @ w + step))
        states.append(inner[-1] * gate)
    value = np.sum(states[-1] ** 2) + sum(np.sum(np.sin(s)) for s in states[1:])
    g, dw, dx = 2 * states[-1], np.zeros_like(w), np.zeros_like(x)
    for i in reversed(range(len(x))):
        g = g + np.cos(states[i + 1])
        before = g * gates[i] * (1 - inner[i] ** 2)
        dx[i] = before + g * inner[i] * gates[i] * (1 - gates[i])
        dw += states[i].T @ before
        g = before @ w.T
    return [value, dx, g, dw]


@pytest.mark.parametrize("own", [True, False])
def test_threads_take_rows_of_a_recurrence(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By our routine, and where the processor has none; any number of threads gives one result."""
    if not own:
        monkeypatch.setattr("graphc.runtime.executable.product_addresses", lambda bits: (0, 0))
    loss = gated()
    rng = np.random.default_rng(1)
    steps = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", threads)
        steps.append(gc.compile(INPUTS, [loss, *gc.grad(loss, INPUTS)], name=f"strips{own:d}"))
    for t, b in ((40, 53), (40, 24), (3, 1), (0, 20), (5, 0)):
        shapes = (t, b, UNITS), (b, UNITS), (UNITS, UNITS)
        given = [rng.normal(size=s).astype("f4") * 0.1 for s in shapes]
        first, *others = [step(*given) for step in steps]
        for found, expected in zip(first, numpy_recurrence(*given), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        for other in others:
            assert [v.tobytes() for v in other] == [v.tobytes() for v in first]


def test_the_driver_shares_whole_loops() -> None:
    """Both loops are ranges of rows that the pool is given; clocks look at each step instead."""
    program = compiled(gc.grad(gated(), INPUTS))
    shared = re.compile(r"call void %v\d+\(ptr @turns\d+, ptr %words")  # what shares a range
    assert len(shared.findall(print_driver(program, 32).text)) == 2
    assert not shared.findall(print_driver(program, 32, timed=True).text)
