"""Rows that fit into the registers of the threads that share them: read once, written once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.checking.simulator import Memory, RaceError
from graphc.ir.graph import Graph
from graphc.loops.grammar import Kernel
from graphc.lower import gpu_rows
from graphc.lower.gpu_source import print_launches
from graphc.machines import CUDA
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.lower.launched import Build, assert_right, kernels, run


def normalised(x: gc.Tensor) -> gc.Tensor:
    centred = x - gc.mean(x, axis=1, keepdims=True)
    return centred / gc.sqrt(gc.mean(centred * centred, axis=1, keepdims=True) + 1e-5)


def gradient(of: Build) -> Build:
    return lambda x: gc.grad(gc.sum(of(x) * gc.sin(x)), [x])[0]


ROWS: dict[str, Build] = {
    "softmax": gc.softmax,
    "log-softmax": gc.log_softmax,
    "layer norm": normalised,
    "sums": lambda x: gc.sum(x * x, axis=1),
    "softmax, gradient": gradient(gc.softmax),
    "layer norm, gradient": gradient(normalised),
}


@pytest.mark.parametrize("build", ROWS.values(), ids=list(ROWS))
def test_each_element_is_read_once_and_written_once(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[str, Counter[tuple[str, int]]] = {"read": Counter(), "written": Counter()}
    read, write = Memory.__getitem__, Memory.__setitem__

    def counted(memory: Memory, place: Any) -> Any:
        counts["read"][memory.name, int(place)] += 1
        return read(memory, place)

    def noted(memory: Memory, place: Any, value: Any) -> None:
        counts["written"][memory.name, int(place)] += 1
        write(memory, place, value)

    (kernel,) = kernels(build, 256)
    monkeypatch.setattr(Memory, "__getitem__", counted)
    monkeypatch.setattr(Memory, "__setitem__", noted)
    run(print_launches(kernel), 6)
    assert set(counts["read"].values()) == {1}
    assert len(counts["read"]) == 6 * 256
    assert set(counts["written"].values()) == {1}
    assert len(counts["written"]) in (6, 6 * 256)


@pytest.mark.parametrize("columns", [32, 96])
@pytest.mark.parametrize("build", ROWS.values(), ids=list(ROWS))
def test_rows_of_other_lengths(build: Build, columns: int) -> None:
    """Several rows a block, the last ones of which may be none; elements that are no power of 2."""
    (kernel,) = kernels(build, columns)
    launches = print_launches(kernel)
    grid = launches.grid({"n": 5}, 64)
    assert launches.held * grid.width == columns
    assert_right(kernel, 5)
    assert_right(kernel, 1)


def test_arrays_that_begin_anywhere_and_blocks_of_few_threads() -> None:
    (kernel,) = kernels(gc.softmax, 256)
    launches = print_launches(kernel)
    for aligned, threads, kind in ((True, 256, "row"), (False, 256, "plain"), (True, 8, "plain")):
        chosen = launches.chosen(aligned, launches.grid({"n": 5}, threads))
        assert [launch.kind for launch in chosen] == [kind]
    assert_right(kernel, 5, aligned=False)


@pytest.mark.parametrize("columns", [1000, 30, 34, 16384])
def test_rows_that_do_not_fit(columns: int) -> None:
    (kernel,) = kernels(gc.softmax, columns)
    assert not print_launches(kernel).held


def test_rows_at_odd_places_are_not_held() -> None:
    def shifted(x: gc.Tensor) -> gc.Tensor:
        return gc.softmax(x[:, 1:])

    (kernel,) = kernels(shifted, 257)
    assert not print_launches(kernel).held
    assert_right(kernel, 3)


def in_place() -> Kernel:
    v = gc.variable(np.ones((5, 64), "float32"), "held_v")
    graph = Graph([], [gc.sum(v, axis=1)], [(v, v * 2.0)])
    program = run_pipeline(graph, Stages(), machine=CUDA).program
    (call,) = (s for s in walk_steps(program.steps) if isinstance(s, Call))
    assert len(call.kernel.buffers) == 2
    return call.kernel


def test_a_result_in_place_of_its_operand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads without a row read none that another thread writes, and are seen where they do."""
    assert print_launches(in_place()).held
    assert_right(in_place(), 5)
    init = gpu_rows.Registers.__init__

    def blind(self: Any, *given: Any) -> None:
        init(self, *given)
        self.written = set()

    monkeypatch.setattr(gpu_rows.Registers, "__init__", blind)
    with pytest.raises(RaceError):
        run(print_launches(in_place()), 5)
