"""How much a node of a fused graph computes and moves, as sizes.

The operations of a region are those of the ops in it, by `Op.cost` (an addition is 1, an `exp` 12);
what only moves elements, or is known from its place, has none. Those of a product of [m, k] and
[k, n] are 2*m*n*k (of a sum of products that of each), and what LAPACK computes is counted so too.
What loops of NumPy do is what their op says.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.fusion.region import is_free
from graphc.ir.dim import Size, product, total
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind


def operations(nodes: Iterable[Node]) -> Size:
    """The scalar operations of nodes: ops of a kernel, or products of matrices."""
    return total(map(_of_op, nodes))


def bytes_of(tensors: Iterable[Tensor]) -> Size:
    """The bytes that tensors take."""
    return total(t.size * t.dtype.itemsize for t in tensors)


def _of_op(node: Node) -> Size:
    if node.op.kind is Kind.CONTRACT:
        return 2 * node.types[0].size * node.inputs[0].shape[-1]
    if node.op.kind is Kind.CONVOLVE:
        *left, _, k = node.inputs[0].shape
        return 2 * node.types[0].size * k * product(left[len(left) - node.attrs["taps"] :])
    if node.op.kind is Kind.REDUCE:
        return product(node.op.reducer.space([t.type for t in node.inputs], **node.attrs))
    if node.op.kind in (Kind.MAP, Kind.RUNNING, Kind.KERNEL):
        return 0 if is_free(node) else node.types[0].size * round(node.op.cost)
    if node.op.loops is not None:
        types = [t.type for t in node.inputs]
        return total(loop.work for loop in node.op.loops(types, node.types, **node.attrs))
    if node.op.lapack is not None:
        routine = node.op.lapack([t.type for t in node.inputs], node.types, **node.attrs)
        batch = node.types[0].shape[: node.types[0].rank - routine.results[0]]
        return 2 * routine.work * product(batch)
    return 0
