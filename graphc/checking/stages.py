"""Bisection: the first stage of the pipeline after which a graph means something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.checking.values import differences
from graphc.errors import RuntimeFailure
from graphc.ir import evaluate as evaluation
from graphc.ir.graph import Graph
from graphc.machines import CPU, Machine
from graphc.pipeline.options import DEFAULTS, Options
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages

Array = np.ndarray[Any, Any]


class Guilt(NamedTuple):
    """A stage that changed the meaning of a graph; `result` is the place of the first result that
    differs, if it is known. A stage of the name '' is none: all is well."""

    stage: str = ""
    found: str = ""
    result: int | None = None


class Recording(Stages):
    """Stages that keep the graph after each of them, which is also verified."""

    def __init__(self) -> None:
        super().__init__(check=True)
        self.graphs: list[tuple[str, Graph]] = []

    def graph(self, name: str, stage: Callable[[Graph], Graph], graph: Graph) -> Graph:
        result = super().graph(name, stage, graph)
        self.graphs.append((name, result))
        return result


def stages_of(
    graph: Graph, options: Options = DEFAULTS, machine: Machine = CPU
) -> list[tuple[str, Graph]]:
    """The graph after each stage of the pipeline that works on graphs, with the stage's name."""
    recording = Recording()
    run_pipeline(graph, recording, options=options, machine=machine)
    return recording.graphs


def first_guilty_stage(
    graph: Graph,
    arrays: Sequence[Array],
    stages: Sequence[tuple[str, Graph]] | None = None,
    explained: Counter[str] | None = None,
) -> Guilt:
    """The first stage after which the graph has another meaning at these inputs, and how it
    differs. Variables have the values that they have now.

    `stages` are the graphs to look at (`stages_of(graph)`); `explained` counts differences that
    are none, by the reason. A failure must stay a failure.
    """
    dims = evaluation.bind_dims(graph, arrays)  # what stages make needs no more than the graph
    expected, failure = attempt(graph, arrays, dims)
    seen = graph
    for name, after in stages_of(graph) if stages is None else stages:
        if after is not seen:
            actual, error = attempt(after, arrays, dims)
            if (failure is None) != (error is None):
                return Guilt(name, f"{error!r}, not {failure!r}")
            if failure is None:
                found = differences(graph, arrays, expected, actual, dims, explained)
                if found and name == "reorder_products" and not _are_finite(expected):
                    # The order of products decides which results of what is not finite are not;
                    # from here on the meaning is that of the new order.
                    graph, expected, found = after, actual, []
                    if explained is not None:
                        explained["what is not finite depends on the order of products"] += 1
                if found:
                    return Guilt(name, "\n".join(found), _place(found[0]))
        seen = after
    return Guilt()


def attempt(
    graph: Graph, arrays: Sequence[Array], dims: Mapping[str, int] | None = None
) -> tuple[list[Array], RuntimeFailure | None]:
    """The results of a graph, or the failure of one of its ops."""
    try:
        return evaluation.evaluate_graph(graph, arrays, dims), None
    except RuntimeFailure as failure:
        return [], failure


def _are_finite(arrays: Sequence[Array]) -> bool:
    return all(np.all(np.isfinite(a)) for a in arrays)


def _place(found: str) -> int:
    return int(found.split()[1].rstrip(":"))
