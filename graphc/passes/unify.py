"""One name for each size: dims that operations need to be equal become one.

Later passes compare sizes by their form, so they have to see `n` where the user wrote `n` in one
place and `m` in another, and added the two. Inputs change their types too; a call checks its arrays
against the user's (`Graph.sizes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.ir import origin
from graphc.ir.dim import Dim, Size, substitute
from graphc.ir.graph import Graph, transform
from graphc.ir.node import Node, Tensor, apply


def unify(graph: Graph) -> Graph:
    """x [n] + y [m] -> x [n] + y [n]: every named dim as its operations' equations express it."""
    sizes = graph.sizes.sizes
    return with_sizes(graph, sizes) if sizes else graph


def with_sizes(graph: Graph, sizes: Mapping[str, Size]) -> Graph:
    """`graph` with names of dims replaced by sizes everywhere: inputs, attributes, bodies."""
    count = len(graph.inputs)
    made = transform(
        [*graph.inputs, *graph.results], lambda node, inputs: at_sizes(node, inputs, sizes)
    )
    inputs, results = made[:count], made[count:]
    outputs, values = results[: len(graph.outputs)], results[len(graph.outputs) :]
    updates = [(v, t) for (v, _), t in zip(graph.updates, values, strict=True)]
    return Graph(inputs, outputs, updates, graph.name)


def at_sizes(
    node: Node, inputs: Sequence[Tensor], sizes: Mapping[str, Size]
) -> Sequence[Tensor] | None:
    """The outputs of `node` over other inputs, with names of dims replaced by sizes; None where its
    attributes have none of them."""
    attrs = {name: _replaced(value, sizes) for name, value in node.attrs.items()}
    if all(attrs[name] is value for name, value in node.attrs.items()):
        return None
    with origin.inherit(node.origins):
        return apply(node.op, inputs, **attrs).outputs


def _replaced(value: Any, sizes: Mapping[str, Size]) -> Any:
    if isinstance(value, Dim):
        new = substitute(value, sizes)
        return value if new == value else new
    if isinstance(value, Graph):
        return with_sizes(value, sizes)
    if isinstance(value, tuple):
        parts = tuple(_replaced(part, sizes) for part in value)
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    return value
