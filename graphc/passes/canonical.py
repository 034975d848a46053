"""Passes that bring a graph into the few forms that fusion knows."""

from __future__ import annotations

from graphc.ir.graph import Graph, map_graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.ops.closure import in_bodies
from graphc.ops.contract import as_multiply_and_sum


def expand_composites(graph: Graph) -> Graph:
    """Composite ops -> their definitions, until none is left."""

    def expand(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if node.op.expand is None:
            return None
        expanded: Tensor = node.op.expand(*inputs, **node.attrs)
        return (expanded,)

    while any(n.op.kind is Kind.COMPOSITE for n in graph.nodes):
        graph = map_graph(graph, expand)
    return in_bodies(graph, expand_composites)


def lower_contractions(graph: Graph) -> Graph:
    """Matrix products that no BLAS takes -> elementwise products and a sum."""

    def lower(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if node.op.kind is not Kind.CONTRACT or node.types[0].dtype.is_float:
            return None
        return (as_multiply_and_sum(*inputs),)

    return in_bodies(map_graph(graph, lower), lower_contractions)
