"""When two evaluations of a graph agree: the rule of `compile(check="all")`, used on random graphs.

`evaluate` is looked up at each call, so that a planted fault in the interpreter is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import graphc as gc
from graphc.checking.values import differences, extended, shaken, snapped
from graphc.ir import evaluate as evaluation

from .values import Array

__all__ = ["differences", "evaluate", "extended", "shaken", "snapped"]


def evaluate(graph: gc.Graph, arrays: Sequence[Array]) -> list[Array]:
    """The meaning of a graph, at its own dtypes."""
    return evaluation.evaluate_graph(graph, arrays)
