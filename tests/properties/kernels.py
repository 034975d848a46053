"""The kernels of a random graph, or of a program of the corpus, checked, interpreted and run as
plain Python, one by one. The interpreter refuses every load and store outside of its buffer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import graphc as gc
from graphc.checking.kernels import check_region, regions_of
from graphc.loops.check import check_kernel
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps

from .generator import random_graph
from .values import Array

STEPS = 15_000  # statements that one kernel may run: an interpreted one takes a microsecond or more


def check_kernels(seed: int, counts: Counter[str] | None = None) -> int:
    """How many kernels of the random graph of a seed were run, in all of its calls.

    Errors: as `check_program`.
    """
    made = random_graph(seed)
    calls = [made.arrays(call) for call in range(len(made.sizes))]
    return check_program(made.graph, calls, f"random_graph({seed})", counts)


def check_program(
    graph: gc.Graph,
    calls: Iterable[Sequence[Array]],
    what: str,
    counts: Counter[str] | None = None,
) -> int:
    """How many kernels of a graph were run, in all calls: their loop IR by the interpreter, and
    their printed source by Python. `counts` counts what was not run.

    Errors: `CompileError` for a kernel of the program that breaks an invariant; `AssertionError`
    for one that means something else than its region, or leaves its buffers.
    """
    compiled = run_pipeline(graph, Stages())
    for step in walk_steps(compiled.program.steps):
        if isinstance(step, Call):
            check_kernel(step.kernel)
    run = 0
    for call, arrays in enumerate(calls):
        for region in regions_of(compiled.optimized, arrays):
            found = check_region(region, STEPS)
            assert not found, f"{what}, call {call}: {found}\n{region.body}"
            run += found is not None
            if counts is not None:
                counts["kernels run" if found is not None else "kernels too long"] += 1
    return run
