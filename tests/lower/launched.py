"""Kernels for cards in the simulator, beside what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import graphc as gc
from graphc.checking.simulator import Simulator, run_launches
from graphc.ir.dim import evaluate
from graphc.ir.graph import Graph
from graphc.loops.grammar import Kernel
from graphc.loops.interpret import interpret_kernel
from graphc.lower.gpu_source import print_launches
from graphc.lower.launches import Launches
from graphc.machines import CUDA
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps

Build = Callable[[Any], Any]


def kernels(build: Build, columns: int) -> Iterator[Kernel]:
    x = gc.placeholder("held_x", ("n", columns))
    made = build(x)
    results = list(made) if isinstance(made, tuple) else [made]
    program = run_pipeline(Graph([x], results), Stages(), machine=CUDA).program
    yield from (s.kernel for s in walk_steps(program.steps) if isinstance(s, Call))


def memory_of(kernel: Kernel, rows: int) -> dict[Any, Any]:
    rng = np.random.default_rng(0)
    size = {b: int(b.size) if isinstance(b.size, int) else b.size for b in kernel.buffers}
    return {
        b: rng.normal(size=evaluate(size[b], {"n": rows})).astype(b.dtype.numpy)
        for b in kernel.buffers
    }


def run(launches: Launches, rows: int, aligned: bool = True) -> dict[Any, Any]:
    """The buffers of a kernel after its launches."""
    assert launches.kernel is not None
    memory = memory_of(launches.kernel, rows)
    run_launches(launches, Simulator(), memory, {"n": rows}, aligned)
    return memory


def assert_right(kernel: Kernel, rows: int, aligned: bool = True) -> None:
    found, expected = run(print_launches(kernel), rows, aligned), memory_of(kernel, rows)
    interpret_kernel(kernel, expected, {"n": rows})
    for buffer in kernel.buffers:
        if not buffer.private:
            np.testing.assert_allclose(found[buffer], expected[buffer], rtol=2e-5, atol=2e-6)
