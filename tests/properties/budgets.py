"""Random graphs under the tightest memory budget of those tried, against the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import graphc as gc
from graphc.errors import MemoryBudgetError
from graphc.ir.dim import size_hint
from graphc.pipeline.options import DEFAULTS
from graphc.pipeline.pipeline import Compiled, run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.check_memory import check_memory

from .checking import compiled_mismatch, report
from .generator import random_graph
from .shrinking import shrink
from .values import Array

PERCENT = (95, 85, 70, 55)  # of the peak without a budget


def tightest(graph: gc.Graph) -> tuple[int, Compiled] | None:
    """The smallest of the budgets for which there is a program, and what the pipeline makes for it;
    None if there is none that values are computed again for."""
    found = None
    peak = size_hint(run_pipeline(graph, Stages()).program.arena)
    for percent in PERCENT:
        budget = max(peak * percent // 100, 1)
        try:
            made = run_pipeline(graph, Stages(), options=replace(DEFAULTS, memory_budget=budget))
        except MemoryBudgetError:
            break
        assert size_hint(made.program.arena) <= budget
        found = (budget, made) if made.again else found
    return found


def check_budget(seed: int) -> int:
    """The random graph of a seed, compiled for its tightest budget, equals its meaning; gives how
    many values it computes again. Errors: `AssertionError` with a script of the shrunk graph."""
    made = random_graph(seed)
    found = tightest(made.graph)
    if found is None:
        return 0
    budget, compiled = found
    check_memory(compiled.program)
    for call in range(len(made.sizes)):
        arrays = made.arrays(call)
        differs = _mismatch(made.graph, arrays, budget)
        if differs:
            smaller = shrink(made.graph, arrays, lambda g, a: bool(_mismatch(g, a, budget)))
            raise AssertionError(report(seed, call, differs, *smaller))
    return len(compiled.again)


def _mismatch(graph: gc.Graph, arrays: Sequence[Array], budget: int) -> str:
    outputs, updates = list(graph.outputs), list(graph.updates)
    try:
        function = gc.compile(list(graph.inputs), outputs, updates, memory_budget=budget)
    except MemoryBudgetError:
        return ""  # of a graph that is being shrunk
    return compiled_mismatch(graph, arrays, function)
