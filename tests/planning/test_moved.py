"""Kernels that store what they compute where the next kernel would move it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.dim import evaluate
from graphc.ir.graph import Graph
from graphc.loops.interpret import interpret_kernel
from graphc.lower.gpu_source import print_launches
from graphc.machines import CPU, CUDA, Machine
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, Program, walk_steps

X, Y = gc.placeholder("moved_x", ("n", 48)), gc.placeholder("moved_y", ("n", 48))
Z = gc.placeholder("moved_z", ("n", 40))
N = 5


def parts() -> list[gc.Tensor]:
    """What one kernel computes."""
    shared = gc.tanh(X * Y)
    return [shared * X, shared + Y, gc.exp(shared)]


MOVED: dict[str, Callable[[], list[gc.Tensor]]] = {
    "parts of rows": lambda: [gc.concat(parts(), axis=1)],
    "beside another result": lambda: [gc.concat(parts()[:2], axis=1), parts()[2]],
}
NOT: dict[str, Callable[[], list[gc.Tensor]]] = {
    "of who else wants them": lambda: [gc.concat(parts(), axis=1), gc.flip(parts()[0], 1)],
    "of inputs": lambda: [gc.concat([X, Y], axis=1)],
    "of two sizes": lambda: [gc.concat([parts()[0], gc.sin(Z)], axis=1)],
}


def program(build: Callable[[], list[gc.Tensor]], machine: Machine = CUDA) -> Program:
    return run_pipeline(Graph([X, Y, Z], build()), Stages(check=True), machine=machine).program


def calls(given: Program) -> list[Call]:
    return [step for step in walk_steps(given.steps) if isinstance(step, Call)]


def outputs(given: Program, arrays: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """What a program of kernels computes, kernel by kernel."""
    dims = {"n": N}
    memory: dict[Any, np.ndarray[Any, Any]] = {}
    for call in calls(given):
        views = {}
        for buffer, ref in zip(call.kernel.buffers, call.buffers, strict=True):
            storage = ref.storage
            if storage.kind == "input":
                memory[storage] = np.ravel(arrays[storage.index])
            elif storage not in memory:
                size = evaluate(storage.size, dims)
                memory[storage] = np.full(size, np.nan, storage.dtype.numpy)
            start = evaluate(ref.offset, dims)
            views[buffer] = memory[storage][start : start + evaluate(buffer.size, dims)]
        interpret_kernel(call.kernel, views, dims)
    return [memory[storage] for storage in given.outputs]


@pytest.mark.parametrize("build", MOVED.values(), ids=list(MOVED))
def test_they_are_one_kernel(build: Callable[[], list[gc.Tensor]]) -> None:
    given = program(build)
    (call,) = calls(given)
    assert len(calls(program(build, CPU))) == 2
    assert print_launches(call.kernel).kind == "row"  # threads share a row
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(N, k)).astype("float32") for k in (48, 48, 40)]
    expected = gc.evaluate(build(), dict(zip([X, Y, Z], arrays, strict=True)))
    for found, value in zip(outputs(given, arrays), expected, strict=True):
        np.testing.assert_allclose(found, np.ravel(value), rtol=1e-6)


@pytest.mark.parametrize("build", NOT.values(), ids=list(NOT))
def test_moves_that_stay(build: Callable[[], list[gc.Tensor]]) -> None:
    assert len(calls(program(build))) == len(calls(program(build, CPU)))


def test_a_loop_has_a_launch_less() -> None:
    """The gradients of gates, which a product reads side by side."""
    w, h = gc.placeholder("moved_w", (48, 192)), gc.placeholder("moved_h", ("n", 48))

    def cell(state: Any, x: Any) -> Any:
        h, c = state
        i, f, g, o = gc.split(h @ w + x, 4, axis=1)
        c = gc.sigmoid(f) * c + gc.sigmoid(i) * gc.tanh(g)
        h = gc.sigmoid(o) * gc.tanh(c)
        return (h, c), h

    xs = gc.placeholder("moved_xs", (6, "n", 192))
    loss = gc.sum(gc.square(gc.scan(cell, (h, h * 0.0), xs)[1]))
    graph = Graph([w, h, xs], gc.grad(loss, [w]))
    given = run_pipeline(graph, Stages(check=True), machine=CUDA).program
    loops = [step for step in given.steps if hasattr(step, "extent")]
    assert [len(calls_of(loop)) for loop in loops] == [1, 1]


def calls_of(loop: Any) -> list[Call]:
    return [step for step in walk_steps(loop.body) if isinstance(step, Call)]
