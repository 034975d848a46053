"""Passes that bring a graph into the few forms that fusion knows."""

from __future__ import annotations

from functools import partial
from math import prod

from graphc.fusion.views import strided_view
from graphc.ir.dim import product as size_product
from graphc.ir.graph import Graph, map_graph
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Kind
from graphc.machines import CPU, Machine
from graphc.ops.closure import in_bodies
from graphc.ops.shape import reshape


def expand_composites(graph: Graph) -> Graph:
    """Composite ops -> their definitions, until none is left; wide concats -> trees of them."""

    def expand(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        expanded = None if node.op.expand is None else node.op.expand(*inputs, **node.attrs)
        return (expanded,) if isinstance(expanded, Tensor) else expanded

    while any(n.op.expand is not None for n in graph.nodes):
        before, graph = graph, map_graph(graph, expand)
        if all(x is y for x, y in zip(before.results, graph.results, strict=True)):
            break  # what is left gives None
    return in_bodies(graph, expand_composites)


def lower_contractions(graph: Graph, machine: Machine = CPU) -> Graph:
    """Matrix products that no BLAS takes, or that loops do faster -> elementwise products and a
    sum."""

    tiny = partial(_is_tiny, most=machine.tiny_product)

    def lower(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        op = node.op
        if op.kind is not Kind.CONTRACT:
            return None
        x, y = inputs
        if not x.dtype.is_float or _is_outer(x) or tiny(x, y) or _are_rows(x, y):
            assert op.written_out is not None
            return (op.written_out(x, y),)
        if _is_one_matrix(x, y):
            rows = reshape(x, (size_product(x.shape[:-1]), x.shape[-1]))
            flat = apply(op, (rows, reshape(y, y.shape[-2:]))).output()
            return (reshape(flat, (*x.shape[:-1], y.shape[-1])),)
        return None

    if any(n.op.kind is Kind.CONTRACT for n in graph.nodes):
        graph = map_graph(graph, lower)
    return in_bodies(graph, partial(lower_contractions, machine=machine))


def _is_outer(x: Tensor) -> bool:
    """Nothing to sum. 512 x 1 by 1 x 512 took the BLAS 12 us, a kernel 8."""
    return x.shape[-1] == 1


def _is_tiny(x: Tensor, y: Tensor, most: int) -> bool:
    """Small matrices of known sizes in a batch: the loops over them have constant bounds."""
    sizes = [s for s in (*x.shape[-2:], y.shape[-1]) if isinstance(s, int)]
    batched = any(s != 1 for t in (x, y) for s in t.shape[:-2])
    return batched and len(sizes) == 3 and prod(sizes) <= most


def _are_rows(x: Tensor, y: Tensor) -> bool:
    """A vector by a matrix (or a vector) that is read along its rows: each element of the result
    is a sum over contiguous memory, in a register.

    512 x 512 by 512 took the BLAS 12 us, a kernel 8; two vectors of 100,000: 33 and 7. Down the
    columns a kernel is far slower (134 to 16).
    """
    if x.shape[-2] != 1 and y.shape[-1] != 1:
        return False
    return strided_view(x).strides[-1] == 1 and strided_view(y).strides[-2] == 1


def _is_one_matrix(x: Tensor, y: Tensor) -> bool:
    """Several matrices in row-major order by one: they are the rows of a single one."""
    return (
        x.ndim > 2
        and strided_view(x).base is x
        and y.ndim <= x.ndim
        and all(s == 1 for s in y.shape[:-2])
    )
