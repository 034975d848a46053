"""Which index was out of range: its value, where it stands, and what is allowed.

A kernel that meets such an index sets a word, and does not say which it was. The values are there
still, so they are looked at once the call has failed, and a call that does not fail costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import RuntimeFailure
from graphc.ir.dim import evaluate as evaluate_size
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Indices, Kind

Array = np.ndarray[Any, Any]
Values = Callable[[Tensor], Array]
MOST = 100  # nodes between the inputs and an index, beyond which it is not computed again


class Found(NamedTuple):
    """What is said, and the two sides of the error."""

    message: str
    expected: str
    given: str


def in_node(
    node: Node, values: Values, sizes: Mapping[str, int], rows: Array | None = None
) -> Found | None:
    """The first index of a node's operands that is out of range; None if all are in it. `rows`: the
    examples of the data that stand along a first axis whose size the inputs have there too."""
    for indices in _indices(node):
        operand = node.inputs[indices.operand]
        array = values(operand)
        low, high = (evaluate_size(n, sizes) for n in (indices.low, indices.high))
        outside = (array < low) | (array >= high)
        if outside.any():
            place = tuple(int(i) for i in np.argwhere(outside)[0])
            given = f"{array[place]}{_place(operand, place, rows)}"
            allowed = f"{low} <= {indices.what} < {high}{_table(node, indices)}"
            return Found(indices.message, allowed, given)
    return None


def in_graph(
    graph: Graph,
    message: str,
    line: str,
    arrays: Sequence[Array],
    sizes: Mapping[str, int],
    rows: Array | None,
    compute: Callable[[Graph], Sequence[Array]],
) -> Found | None:
    """The same of a call of a graph that failed with this message, in a node of this line: of those
    that can fail so, the first that does. `compute` gives the outputs of a graph of these inputs,
    for these arrays. What is in the body of a loop is not looked for, as each turn has other
    values, nor what takes long to compute again."""
    nodes = [n for n in graph.nodes if any(_says(i, message) for i in _indices(n))]
    nodes.sort(key=lambda n: line not in map(str, n.origins))
    known = dict(zip(graph.inputs, arrays, strict=True))

    def values(t: Tensor) -> Array:
        if t not in known:
            part = Graph(graph.inputs, [t])
            if len(part.nodes) > MOST or any(n.op.kind is Kind.CONTROL for n in part.nodes):
                raise RuntimeFailure("not looked for")
            (known[t],) = compute(part)
        return known[t]

    for node in nodes:
        try:
            found = in_node(node, values, sizes, rows)
        except RuntimeFailure:  # an index that is made by what has failed itself
            continue
        if found is not None:
            return found
    return None


def _indices(node: Node) -> Iterator[Indices]:
    if node.op.indices is not None:
        yield from node.op.indices(*(t.type for t in node.inputs), **node.attrs)


def _says(indices: Indices, message: str) -> bool:
    """Whether it is this message, in which a size may have another name."""
    return indices.message.partition(" of size ")[0] == message.partition(" of size ")[0]


def _table(node: Node, indices: Indices) -> str:
    """What is indexed, where it has a name."""
    table = node.inputs[0]
    if indices.axis is None or indices.operand == 0:
        return ""
    named = f"{table.name!r}: " if table.name else ""
    return f", along axis {indices.axis} of {named}{table.type}"


def _place(operand: Tensor, place: tuple[int, ...], rows: Array | None) -> str:
    sources = [t for n in walk([operand]) if n.op.kind is Kind.LEAF and (t := n.output()).name]
    (source,) = sources if len(sources) == 1 else (None,)
    at = f" at [{', '.join(map(str, place))}]" if place else ""
    if source is None:
        return at
    of = "" if source is operand else "what is made of "
    example = ""
    if rows is not None and place and source.ndim and operand.shape[0] == source.shape[0]:
        example = f" (example {int(rows[place[0]])})"
    return f"{at} of {of}{source.name!r}{example}"
