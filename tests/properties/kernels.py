"""The kernels of a random graph, checked, interpreted and run as plain Python, one by one."""

from __future__ import annotations

from collections import Counter

from graphc.checking.kernels import check_region, regions_of
from graphc.loops.check import check_kernel
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps

from .generator import random_graph

STEPS = 15_000  # statements that one kernel may run: an interpreted one takes a microsecond or more


def check_kernels(seed: int, counts: Counter[str] | None = None) -> int:
    """How many kernels of the random graph of a seed were run, in all of its calls: their loop IR
    by the interpreter, and their printed source by Python. `counts` counts what was not run.

    Errors: `CompileError` for a kernel of the program that breaks an invariant; `AssertionError`
    for one that means something else than its region, or leaves its buffers.
    """
    made = random_graph(seed)
    compiled = run_pipeline(made.graph, Stages())
    for step in walk_steps(compiled.program.steps):
        if isinstance(step, Call):
            check_kernel(step.kernel)
    run = 0
    for call in range(len(made.sizes)):
        for region in regions_of(compiled.optimized, made.arrays(call)):
            found = check_region(region, STEPS)
            assert not found, f"random_graph({seed}), call {call}: {found}\n{region.body}"
            run += found is not None
            if counts is not None:
                counts["kernels run" if found is not None else "kernels too long"] += 1
    return run
