"""Matrices that all turns of a loop multiply by get the order in which products read them.

A product of few rows reads its right operand as fast as it can multiply; one that is stored
transposed has to be brought into order first, at every turn. In a loop that is done once, before
it: the body is given the matrix itself in place of what it is the transpose of. So the gradient of
a recurrent network reads the transpose of its weights, and threads that take some rows of it each
(`planning/strips.py`) share nothing that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from graphc.fusion.views import matrix_view
from graphc.ir import origin
from graphc.ir.graph import Graph, map_graph, transform
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Fact, Kind
from graphc.machines import CPU, Machine
from graphc.ops.closure import close, frontier, in_bodies


def order_operands(graph: Graph, machine: Machine = CPU) -> Graph:
    """Transposes of what no turn of a loop changes -> operands of the loop, for its products."""
    if machine.product_columns == 0 or not any(n.op.kind is Kind.CONTROL for n in graph.nodes):
        return graph
    graph = in_bodies(graph, partial(order_operands, machine=machine))

    def rewrite(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if Fact.LOOP not in node.op.facts:
            return None
        return _ordered(node, inputs, machine)

    return map_graph(graph, rewrite)


def _ordered(node: Node, inputs: Sequence[Tensor], machine: Machine) -> Sequence[Tensor] | None:
    """The outputs of a scan that is given matrices in order; None where they all are."""
    body: Graph = node.attrs["body"]
    first = node.attrs["carries"] + node.attrs["xs"]
    given = dict(zip(body.inputs[first:], inputs[first:], strict=True))
    turned = dict.fromkeys(y for n in body.nodes for y in _transposed(n, given, machine))
    if not turned:
        return None
    outside = transform(list(turned), replace=given)
    parameters = {*body.inputs, *turned}
    read = set(frontier(body.outputs, lambda t: t not in parameters))
    kept = [t for t in given if t in read]
    places = [*body.inputs[:first], *kept, *turned]
    operands = [*inputs[:first], *(given[t] for t in kept), *outside]
    attrs = {**node.attrs, "body": close(body.outputs, places)}
    with origin.inherit(node.origins):
        return apply(node.op, operands, **attrs).outputs


def _transposed(node: Node, given: dict[Tensor, Tensor], machine: Machine) -> Sequence[Tensor]:
    """The right operand of a product that our own routine would bring into order, if it is all of
    what the loop is given in another order."""
    if node.op.kind is not Kind.CONTRACT or node.inputs[1].ndim != 2:
        return ()
    y = node.inputs[1]
    columns, least = y.shape[-1], machine.least_columns
    if isinstance(columns, int) and not least <= columns <= machine.product_columns:
        return ()
    found = matrix_view(node, y)
    if found is None or not found[1] or found[0].base not in given:
        return ()
    return (y,) if found[0].base.size == y.size else ()
