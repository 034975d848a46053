"""What inputs and variables are called in formulas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.op import Kind


def short_names(graph: Graph) -> Callable[[Tensor], str]:
    """The name of a leaf: the end of its path that no other leaf has, joined by dots.

    >>> import numpy as np
    >>> import graphc as gc
    >>> v, w = (gc.variable(np.zeros(3), name=f"net/{part}/kernel") for part in ("in", "out"))
    >>> called = short_names(gc.Graph([], [v + w]))
    >>> called(v), called(w)
    ('in.kernel', 'out.kernel')
    """
    leaves = [n.output() for n in graph.nodes if n.op.kind is Kind.LEAF]
    paths = [t.name.split("/") for t in leaves if t.name]
    ends = Counter(".".join(p[-k:]) for p in paths for k in range(1, len(p) + 1))

    def called(t: Tensor) -> str:
        parts = t.name.split("/") if t.node.op.kind is Kind.LEAF else []
        shown = (".".join(parts[-k:]) for k in range(1, len(parts) + 1))
        name = next((end for end in shown if ends[end] <= 1), ".".join(parts))
        return name if name.isprintable() else ""

    return called
