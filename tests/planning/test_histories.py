"""Carries that a loop also gives at every step are in one array, where a copy is a launch."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.machines import CPU, CUDA, Machine
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Copy, Loop, walk_steps

X, H = gc.placeholder("history_x", (6, "n", 4)), gc.placeholder("history_h", ("n", 4))
U = gc.placeholder("history_u", (4, 4))


def copies(outputs: list[gc.Tensor], machine: Machine = CUDA) -> int:
    """Copies in loops."""
    program = run_pipeline(Graph([X, H, U], outputs), Stages(check=True), machine=machine).program
    loops = [step for step in walk_steps(program.steps) if isinstance(step, Loop)]
    assert loops
    return sum(isinstance(step, Copy) for loop in loops for step in loop.body)


def gradient(reverse: bool) -> list[gc.Tensor]:
    """A loop whose gradient reads the carry before and after each step."""

    def turn(state: gc.Tensor, x: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        state = gc.tanh(state @ U + x)
        return state, state

    last, states = gc.scan(turn, H, X, reverse=reverse)
    return [gc.sum(last * 2.0), *gc.grad(gc.sum(states * states) + gc.sum(last), [X, H, U])]


@pytest.mark.parametrize("reverse", [False, True])
def test_no_step_copies_a_carry(reverse: bool) -> None:
    assert copies(gradient(reverse)) == 0
    assert copies(gradient(reverse), CPU) > 0


def test_what_is_the_programs_output_is_where_the_caller_wants_it() -> None:
    _, states = gc.scan(lambda s, x: (gc.tanh(s @ U + x), s), H, X)
    assert copies([states]) > 0
    assert copies([states * 2.0]) == 0
