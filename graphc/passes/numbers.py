"""Stand-ins for the numbers of a graph.

A learning rate, a step of time, the coefficients of a formula: behind the rules nothing depends on
which floats they are, but that they are finite, not 0 and no powers of two, and which of them are
equal. So the compiler goes on with a stand-in for each, the same ones for all graphs that differ in
numbers alone: what it makes cannot depend on them. The code reads its numbers from a table, and
whoever loads it puts those of the user's graph there.

A number is a scalar constant that only arithmetic reads: of its operands alone kernels are given
some (`loops/numbers.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphc.ir.dtype import DType
from graphc.ir.graph import Graph, all_nodes, bodies, map_graph
from graphc.ir.node import ArrayValue, Node, Tensor, apply
from graphc.ir.op import Fact, Kind
from graphc.ir.text import key_text
from graphc.loops.numbers import is_plain
from graphc.ops.closure import in_bodies

SMALL = -61  # of stand-ins the power of two: nothing that a user or a kernel writes is as small
ODD = 0x9E3779B97F4A7  # steps of this size through all mantissas meet none twice


class Apart(NamedTuple):
    """A graph with stand-ins in place of its numbers, and which number each stands for, in the
    order of the numbers."""

    graph: Graph
    numbers: dict[float, float]


def find_numbers(graph: Graph) -> list[Node]:
    """The constants of a graph and its bodies that are numbers, in order."""
    found: dict[Node, None] = {}
    others = {t.node for t in graph.results}
    for node in all_nodes(graph):
        if is_scalar_float(node):
            if is_plain(node.attrs["value"].array[()], node.types[0].dtype):
                found[node] = None
        elif Fact.ARITHMETIC not in node.op.facts:
            others.update([t.node for t in node.inputs])
            for body in bodies(node) if node.op.kind is Kind.CONTROL else ():
                others.update([t.node for t in body.results])
    return [node for node in found if node not in others]


def is_scalar_float(node: Node) -> bool:
    """Whether it is a constant of one float, without axes."""
    if Fact.CONSTANT not in node.op.facts or node.types[0].shape:
        return False
    return node.types[0].dtype.is_float


def form_text(graph: Graph, found: Sequence[Node]) -> str:
    """The text of a graph in which numbers are given by their places."""
    written = {n.output(): f"{n.types[0].dtype.short}(n{i})" for i, n in enumerate(found)}
    return key_text(graph, written)


def order_text(graph: Graph) -> str:
    """The text of a graph without its floats: which nodes there are, and in which order."""
    floats = [n.output() for n in all_nodes(graph) if is_scalar_float(n)]
    return key_text(graph, dict.fromkeys(floats, "float"))


def set_apart(graph: Graph, found: Sequence[Node]) -> Apart:
    """The graph with stand-ins in place of its numbers."""
    floats = {n for n in all_nodes(graph) if is_scalar_float(n)} - set(found)
    taken = {float(n.attrs["value"].array.item()) for n in floats}
    known: dict[float, float] = {}
    replace: dict[Tensor, Tensor] = {}
    for place, node in enumerate(found):
        number, dtype = node.attrs["value"].array, node.types[0].dtype
        while (stand_in := _stand_in(place, dtype)) in taken:
            place += len(found)
        taken.add(stand_in)
        known[stand_in] = float(number.item())
        value = ArrayValue(np.asarray(stand_in, number.dtype))
        replace[node.output()] = apply(node.op, value=value).output()
    return Apart(_replaced(graph, replace), known)


def _stand_in(place: int, dtype: DType) -> float:
    """A float of the dtype for each place."""
    bits = 23 if dtype.bits == 32 else 52
    mantissa = (place + 1) * ODD % (1 << bits)
    return math.ldexp((1 << bits) + mantissa, SMALL - bits)


def _replaced(graph: Graph, replace: dict[Tensor, Tensor]) -> Graph:
    inner = in_bodies(graph, lambda body: _replaced(body, replace))
    present = {n.output() for n in inner.nodes} & replace.keys()
    return map_graph(inner, replace={t: replace[t] for t in present}) if present else inner
