"""Views: what a tensor is in memory when its elements are only moved, not computed.

A strided view is a base tensor with an offset and one stride for each axis; the BLAS reads
transposed and sliced operands that way, so they are never copied.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NamedTuple

from graphc.fusion.region import Operand, flat_index, reindexes
from graphc.ir.dim import Size, divide, is_at_least, is_nonnegative
from graphc.ir.dtype import int64
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.ir.shape import strides
from graphc.loops.grammar import Affine, Var, of

_AXES = tuple(Var(f"a{k}", int64) for k in range(16))


class View(NamedTuple):
    """The element at index i of the view is element `offset + sum(i * strides)` of `base`."""

    base: Tensor
    offset: Size
    strides: tuple[Size, ...]


def strided_view(tensor: Tensor, stored: Container[Node] = ()) -> View:
    """The tensor as a view of the nearest tensor that is in memory: one that is not merely moved
    elements, or is `stored` all the same."""
    base, index = _place(tensor, stored)
    flat: Affine = flat_index(index, strides(base.shape))
    return View(base, flat.const, tuple(flat.coefficient(a) for a in _AXES[: tensor.ndim]))


def _place(tensor: Tensor, stored: Container[Node]) -> tuple[Tensor, tuple[Affine, ...]]:
    """The tensor in memory, and the index there of an element, by the indices of the element."""
    index = tuple(of(_AXES[k]) for k in range(tensor.ndim))
    base = tensor
    while base.node not in stored and reindexes(base.node):
        base, index = _source(base, index)
    return base, index


def _source(tensor: Tensor, index: Any) -> tuple[Tensor, Any]:
    """The tensor, and the index in it, that an op which only moves elements reads."""
    found: list[tuple[Tensor, Any]] = []
    node = tensor.node
    assert node.op.at is not None
    operand = Operand(node.inputs[0], lambda t, at: found.append((t, at)))
    node.op.at(None, [operand], index, tensor.type, **node.attrs)  # see Fact.REINDEX
    return found[0]


def blas_view(tensor: Tensor, stored: Container[Node] = ()) -> tuple[View, bool, Size] | None:
    """(view, transposed, leading dimension) if the BLAS can read the tensor's last two axes as a
    matrix in place, else None."""
    view = strided_view(tensor, stored)
    rows, columns = tensor.shape[-2:]
    row_step, column_step = view.strides[-2:]
    if rows == 0 or columns == 0:  # nothing is read: any strides will do
        return view, False, columns
    if column_step == 1 or columns == 1:
        leading, transposed = (row_step if rows != 1 else columns), False
    elif row_step == 1 or rows == 1:
        leading, transposed = column_step, True
    else:
        return None
    return (view, transposed, leading) if _forward(leading, view.base) else None


def matrix_view(
    node: Node, tensor: Tensor, stored: Container[Node] = ()
) -> tuple[View, bool, Size] | None:
    """The operand of a node that multiplies matrices as matrices in place, else None. Of a sum of
    products the right operands are read again and again, so that they have to be in order."""
    found = blas_view(tensor, stored)
    if found is None:
        return None
    _, transposed, leading = found
    if node.op.kind is Kind.CONVOLVE:
        return None if transposed and tensor is node.inputs[1] else found
    return found if _apart(tensor, transposed, leading, stored) else None


def _apart(tensor: Tensor, transposed: bool, leading: Size, stored: Container[Node]) -> bool:
    """Whether the rows of a matrix (its columns, if it is transposed) lie one behind the other, as
    the BLAS demands. Those of windows overlap: both axes go along one axis of what is in memory."""
    row, column = (_AXES[axis] for axis in (tensor.ndim - 2, tensor.ndim - 1))
    if is_at_least(leading, tensor.shape[-2 if transposed else -1]):
        return True
    _, index = _place(tensor, stored)
    return not any(i.coefficient(row) != 0 and i.coefficient(column) != 0 for i in index)


def _forward(step: Size, base: Tensor) -> bool:
    """Whether a stride is positive: by its coefficients, or as a multiple of one of the base's (of
    axes `n - 1`, say, which no tensor has with a negative size)."""
    if step == 0 or is_nonnegative(step):
        return step != 0
    parts = (divide(step, own) for own in strides(base.shape) if own != 0)
    return any(part is not None and is_nonnegative(part) for part in parts)


def permuted_strides(body: Graph) -> tuple[Size, ...] | None:
    """The strides that the axes of a region's operand have in its result, where the region does
    nothing but put the elements of that one operand in another order; else None."""
    if len(body.inputs) != 1 or len(body.outputs) != 1:
        return None
    if not all(n.op.kind is Kind.LEAF or n.op.only_moves for n in body.nodes):
        return None
    (operand,), (result,) = body.inputs, body.outputs
    while result.node.op.kind is Kind.VIEW:
        result = result.node.inputs[0]
    view = strided_view(result)
    if view.base is not operand or view.offset != 0 or result.size != operand.size:
        return None
    axes = zip(view.strides, strides(result.shape), result.shape, strict=True)
    places = {own: (step, extent) for own, step, extent in axes if extent != 1}
    found: list[Size] = []
    for size, step in zip(operand.shape, strides(operand.shape), strict=True):
        place, extent = (0, 1) if size == 1 else places.pop(step, (0, 0))
        if extent != size:
            return None
        found.append(place)
    return tuple(found)
