"""Gathering by an integer tensor, its transpose, and labels.

The first `batch` axes of the operands of `take` and `scatter_add` are the same ones: each of their
elements has indices of its own. A node without such axes has no attribute `batch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir.conditions import require_elements
from graphc.ir.dim import Size, dim, product
from graphc.ir.dtype import bool_, dtype_or_default, int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Batch, Fact, Indices, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, agree_on_shape, normalize_axis, show
from graphc.ops.build import tensor
from graphc.ops.create import iota
from graphc.ops.elementwise import astype, equal
from graphc.ops.reduce import Reducer
from graphc.ops.shape import expand_dims, permute_dims

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- take ------------------------------------------------------------------------------------------
def _infer_take(
    x: TensorType, indices: TensorType, *, axis: int, batch: int = 0
) -> tuple[TensorType, ...]:
    if not indices.dtype.is_integer:
        raise DTypeError(
            "indices are integers",
            op="take",
            expected="an integer dtype",
            given=indices.dtype.name,
            hint="how many elements a mask keeps is not known yet: gc.where(mask, x, 0) keeps "
            "the shape"
            if indices.dtype is bool_
            else "use .astype('int64')",
        )
    _same_batch("take", x.shape, indices.shape, batch)
    require_elements(x.shape[axis], product(indices.shape[batch:]))
    rest = x.shape[axis + 1 :]
    return (TensorType(x.dtype, (*x.shape[:axis], *indices.shape[batch:], *rest)),)


def _same_batch(op: str, x: Shape, indices: Shape, batch: int) -> None:
    if not agree_on_shape(x[:batch], indices[:batch]):
        raise ShapeError(
            f"the first {batch} axes differ", op=op, expected=show(x[:batch]),
            given=show(indices[:batch]),
        )  # fmt: skip


def indices_along(operand: int, size: Size, axis: int | None = None) -> Indices:
    """An operand of indices along an axis of that size, from either end."""
    message = f"an index is out of range for an axis of size {size}"
    return Indices(operand, -size, size, message, axis=axis)


def labels_of(operand: int, classes: Size) -> Indices:
    """An operand of labels."""
    message = f"a label is out of range for {classes} classes"
    return Indices(operand, 0, classes, message, "label")


def checked_index(k: Any, value: Any, size: Size) -> Any:
    """The i64 index, reported if out of range and brought into it, so that the read is safe: type
    rules see to it that there is an element (`require_elements`)."""
    position = k.cast(value, int64)
    zero = k.const(0, int64)
    wrapped = k.where(k.less(position, zero), k.add(position, k.size(size)), position)
    outside = k.bitwise_or(k.less(wrapped, zero), k.greater_equal(wrapped, k.size(size)))
    k.fail_if(outside, indices_along(0, size).message)
    return k.index(k.where(outside, zero, wrapped))


def _numpy_take(x: Any, indices: Any, *, axis: int, batch: int = 0) -> Any:
    result = np.empty((*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :]), x.dtype)
    for at in np.ndindex(x.shape[:batch]):
        result[at] = np.take(x[at], indices[at], axis - batch)
    return result


def _take_at(
    k: Any, values: Any, index: Any, out: TensorType, *, axis: int, batch: int = 0
) -> Any:
    x, indices = values
    end = axis + indices.type.rank - batch
    value = indices((*index[:batch], *index[axis:end]))
    picked = checked_index(k, value, x.type.shape[axis])
    return x((*index[:axis], picked, *index[end:]))


def _take_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, indices: Tensor, *, axis: int, **batch: int
) -> list[Any]:
    size = x.shape[axis]
    return [apply(SCATTER_ADD, (indices, g), axis=axis, size=size, **batch).output(), None]


def _batched_take(
    context: Batch, x: Tensor, indices: Tensor, *, axis: int, batch: int = 0
) -> Tensor:
    if context.has(0) and not (context.has(1) or batch):
        return take(x, indices, axis + 1)
    if context.has(1) and not (context.has(0) or batch):  # the new axis is before the others of i
        return permute_dims(take(x, indices, axis), _to_front(axis, x.ndim + indices.ndim - 1))
    x, indices = (t if context.has(i) else context.spread(t) for i, t in enumerate((x, indices)))
    return apply(TAKE, (x, indices), axis=axis + 1, batch=batch + 1).output()


def _to_front(axis: int, rank: int) -> tuple[int, ...]:
    return (axis, *(a for a in range(rank) if a != axis))


TAKE = register(
    Op(
        "take",
        Kind.MAP,
        _infer_take,
        numpy=_numpy_take,
        vjp=_take_vjp,
        at=_take_at,
        batched=_batched_take,
        indices=lambda x, i, *, axis, **batch: [indices_along(1, x.shape[axis], axis)],
        facts=frozenset({Fact.PICKS}),
        cost=4,
        may_fail=True,
        doc="Elements along an axis, at the positions that an integer tensor gives.",
    )
)


def take(x: Any, indices: Any, axis: int = 0) -> Tensor:
    """The elements of `x` along `axis` at `indices`; negative ones count from the end.

    Shapes: x [..., n, ...], indices [*i] -> [..., *i, ...].
    Errors: a `RuntimeFailure` at the call for an index out of range.
    """
    t, i = tensor(x, "take"), tensor(indices, "take")
    axis = normalize_axis("take", axis, t.ndim)
    return apply(TAKE, (t, i), axis=axis).output()


# -- its transpose -------------------------------------------------------------------------------
def _infer_scatter(
    indices: TensorType, updates: TensorType, *, axis: int, size: Size, batch: int = 0
) -> tuple[TensorType, ...]:
    if not indices.dtype.is_integer or updates.dtype is bool_:
        raise DTypeError(
            "needs integer indices and numbers to add",
            op="scatter_add",
            given=f"{indices.dtype.name}, {updates.dtype.name}",
        )
    _same_batch("scatter_add", updates.shape, indices.shape, batch)
    require_elements(size, product(indices.shape[batch:]))
    end = axis + indices.rank - batch
    shape = (*updates.shape[:axis], size, *updates.shape[end:])
    return (TensorType(updates.dtype, shape),)


def _numpy_scatter(indices: Any, updates: Any, *, axis: int, size: int, batch: int = 0) -> Any:
    end = axis + indices.ndim - batch
    result = np.zeros((*updates.shape[:axis], size, *updates.shape[end:]), updates.dtype)
    for at in np.ndindex(updates.shape[:batch]):
        np.add.at(result[at], (slice(None),) * (axis - batch) + (indices[at],), updates[at])
    return result


def _scatter_vjp(
    context: Any,
    g: Tensor,
    out: Tensor,
    indices: Tensor,
    updates: Tensor,
    *,
    size: Size,
    **attrs: int,
) -> list[Any]:
    return [None, apply(TAKE, (g, indices), **attrs).output()]


def _batched_scatter(
    context: Batch, indices: Tensor, updates: Tensor, *, axis: int, size: Size, batch: int = 0
) -> Tensor:
    if not (context.has(0) or batch):
        return apply(SCATTER_ADD, (indices, updates), axis=axis + 1, size=size).output()
    pair = (t if context.has(i) else context.spread(t) for i, t in enumerate((indices, updates)))
    return apply(SCATTER_ADD, tuple(pair), axis=axis + 1, size=size, batch=batch + 1).output()


class _Scatter(Reducer):
    """Adds each element of `updates` at the position that `indices` gives."""

    scatters = True

    def space(self, types: Any, **attrs: Any) -> Shape:
        shape: Shape = types[1].shape
        return shape

    def target(self, k: Any, values: Any, index: Any, **attrs: Any) -> Any:
        axis, batch = attrs["axis"], attrs.get("batch", 0)
        end = axis + values[0].type.rank - batch
        value = values[0]((*index[:batch], *index[axis:end]))
        picked = checked_index(k, value, attrs["size"])
        return (*index[:axis], picked, *index[end:])

    def element(self, k: Any, values: Any, index: Any, **attrs: Any) -> Any:
        return values[1](index)


SCATTER_ADD = register(
    Op(
        "scatter_add",
        Kind.REDUCE,
        _infer_scatter,
        numpy=_numpy_scatter,
        vjp=_scatter_vjp,
        reducer=_Scatter("add", lambda dtype: 0),
        batched=_batched_scatter,
        indices=lambda *types, size, **attrs: [indices_along(0, size)],
        facts=frozenset({Fact.BY_PARTS}),
        may_fail=True,
        doc="Zeros, with each update added at the position along an axis that indices give.",
    )
)


# -- labels --------------------------------------------------------------------------------------
def _infer_check(indices: TensorType, *, size: Size) -> tuple[TensorType, ...]:
    if not indices.dtype.is_integer:
        raise DTypeError("labels are integers", expected="an int dtype", given=indices.dtype.name)
    return (indices,)


def _numpy_check(indices: Any, *, size: int) -> Any:
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise IndexError(labels_of(0, size).message)
    return indices


def _check_at(k: Any, values: Any, index: Any, out: TensorType, *, size: Size) -> Any:
    value = values[0](index)
    position = k.cast(value, int64)
    outside = k.bitwise_or(
        k.less(position, k.const(0, int64)), k.greater_equal(position, k.size(size))
    )
    k.fail_if(outside, labels_of(0, size).message)
    return value


CHECK_LABELS = register(
    Op(
        "check_labels",
        Kind.MAP,
        _infer_check,
        numpy=_numpy_check,
        at=_check_at,
        indices=lambda labels, *, size: [labels_of(0, size)],
        facts=frozenset({Fact.ELEMENTWISE, Fact.EXACT, Fact.CHECKS}),
        may_fail=True,
        differentiable=False,
        doc="The labels, after checking that each is in [0, size).",
    )
)


def check_labels(labels: Any, size: Size) -> Tensor:
    """The labels; at the call a `RuntimeFailure` if one is not in [0, size)."""
    return apply(CHECK_LABELS, (tensor(labels, "check_labels"),), size=size).output()


def one_hot(indices: Any, size: Any, dtype: Any = None) -> Tensor:
    """1 at each index and 0 elsewhere, along a new last axis; out-of-range indices give zeros.

    Shapes: [*i] -> [*i, size]. Dtypes: the default dtype where none is given.
    """
    t = tensor(indices, "one_hot")
    if not t.dtype.is_integer:
        raise DTypeError("indices are integers", op="one_hot", given=t.dtype.name)
    here = equal(expand_dims(t, -1), iota((dim(size),), 0, t.dtype))
    return astype(here, dtype_or_default(dtype))


FUNCTIONS |= {f.__name__: f for f in (take, one_hot, check_labels)}
