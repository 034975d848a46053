"""Ops that move elements and compute nothing: reshape, permute, broadcast, flip, concat.

Each states at which index of its operand an element is read, so a kernel computes through it and
nothing is copied. `reshape` is a view: the same bytes under another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.conditions import agree, never_equal
from graphc.ir.dim import Dim, Size, dim, floordiv
from graphc.ir.dim import product as size_product
from graphc.ir.dim import total as size_total
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Fact, Kind, Op, register
from graphc.ir.operators import function
from graphc.ir.shape import (
    Shape,
    TensorType,
    common,
    moves_unit_axes,
    normalize_axes,
    normalize_axis,
    several,
    shape_of,
    show,
    strides,
)
from graphc.loops.values import Affine
from graphc.ops.build import operands, tensor
from graphc.ops.scalar import project, sum_to

FUNCTIONS: dict[str, Callable[..., Any]] = {}
REINDEX = frozenset({Fact.REINDEX})
KEEPS_ALL = frozenset({Fact.KEEPS_ALL})


# -- reshape ---------------------------------------------------------------------------------------
def _infer_reshape(x: TensorType, *, shape: Shape) -> tuple[TensorType, ...]:
    if not agree(x.size, size_product(shape)):
        raise ShapeError(
            "the number of elements changes",
            op="reshape",
            expected=f"a shape with {x.size} elements",
            given=f"{show(x.shape)} -> {show(shape)}, {size_product(shape)} elements",
        )
    return (TensorType(x.dtype, shape),)


RESHAPE = register(
    Op(
        "reshape",
        Kind.VIEW,
        _infer_reshape,
        numpy=lambda x, *, shape: np.reshape(x, shape),
        vjp=lambda context, g, out, x, *, shape: [reshape(g, x.shape)],
        at=lambda k, values, index, out, *, shape: values[0](
            reshaped_index(k, index, out.shape, values[0].type.shape)
        ),
        facts=KEEPS_ALL,
        axes={"shape": Axes.SIZES},
        doc="The same elements in row-major order under another shape.",
    )
)


def reshaped_index(k: Any, index: Any, target: Shape, source: Shape) -> Any:
    """The index into `source` of the element at `index` of its reshape to `target`."""
    if moves_unit_axes(source, target):
        kept = iter([i for i, s in zip(index, target, strict=True) if s != 1])
        return tuple(Affine() if s == 1 else next(kept) for s in source)
    flat = Affine()
    for i, step in zip(index, strides(target), strict=True):
        flat = flat + i * step
    position, result = k.number(flat), []
    for size, step in zip(source, strides(source), strict=True):
        quotient = k.floor_divide(position, k.size(step)) if step != 1 else position
        result.append(k.index(k.remainder(quotient, k.size(size))))
    return tuple(result)


def reshape(x: Any, shape: Any) -> Tensor:
    """The elements of `x` in row-major order under another shape; one size may be -1.

    Errors: `ShapeError` if the number of elements changes, or -1 cannot be solved; at the call if
    symbolic sizes do not divide, as an odd `n` in `reshape(x, (-1, 2))` of `x` [n].

    >>> import graphc as gc
    >>> gc.reshape(gc.placeholder("x", ("n", 4, 7)), (-1, 28)).shape
    (n, 28)
    """
    t = tensor(x, "reshape")
    sizes = [shape] if isinstance(shape, (int, str, Dim)) else [*several("reshape", "shape", shape)]
    unknown = [i for i, s in enumerate(sizes) if isinstance(s, int) and s == -1]
    if len(unknown) > 1:
        raise ShapeError("only one size can be -1", op="reshape", given=str(tuple(sizes)))
    if unknown:
        known = size_product(dim(s) for i, s in enumerate(sizes) if i != unknown[0])
        quotient = 0 if known == 0 else floordiv(t.size, known)
        if known == 0 or never_equal(t.size, known * quotient):
            raise ShapeError(
                "the size -1 has no solution",
                op="reshape",
                expected=f"sizes that divide {t.size}",
                given=str(tuple(sizes)),
            )
        sizes[unknown[0]] = quotient
    target = shape_of(sizes)
    return t if target == t.shape else apply(RESHAPE, (t,), shape=target).output()


def expand_dims(x: Any, axis: int | Sequence[int] = 0) -> Tensor:
    """`x` with new axes of size 1 at `axis` (positions in the result)."""
    t = tensor(x, "expand_dims")
    count = 1 if hasattr(axis, "__index__") else len(several("expand_dims", "axis", axis))
    new = normalize_axes("expand_dims", axis, t.ndim + count)
    rest = iter(t.shape)
    return reshape(t, tuple(1 if i in new else next(rest) for i in range(t.ndim + count)))


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """`x` without axes of static size 1: all of them, or those at `axis`.

    Errors: `ShapeError` if an axis given has another size.
    """
    t = tensor(x, "squeeze")
    if axis is None:
        axes = tuple(i for i, s in enumerate(t.shape) if s == 1)
    else:
        axes = normalize_axes("squeeze", axis, t.ndim)
    for i in axes:
        if t.shape[i] != 1:
            raise ShapeError(
                "cannot squeeze an axis whose size is not 1",
                op="squeeze",
                expected="static size 1",
                given=f"axis {i} of {show(t.shape)}",
            )
    return reshape(t, tuple(s for i, s in enumerate(t.shape) if i not in axes))


def unit_axes_behind_first(x: Tensor, rank: int) -> Tensor:
    """`x` [n, *s] of a rank, by axes of size 1 between n and s: what has the axis n in front of the
    others, and is stretched along those that it has not."""
    if x.ndim == rank:
        return x
    return reshape(x, (*x.shape[:1], *(1,) * (rank - x.ndim), *x.shape[1:]))


# -- permute, broadcast, flip ----------------------------------------------------------------------
def _infer_permute(x: TensorType, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:
    if sorted(axes) != list(range(x.rank)):
        raise ShapeError(
            "not a permutation of the axes",
            op="permute_dims",
            expected=f"each of 0..{x.rank - 1} once",
            given=str(axes),
        )
    return (TensorType(x.dtype, tuple(x.shape[a] for a in axes)),)


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


PERMUTE = register(
    Op(
        "permute_dims",
        Kind.MAP,
        _infer_permute,
        numpy=lambda x, *, axes: np.transpose(x, axes),
        vjp=lambda context, g, out, x, *, axes: [permute_dims(g, _inverse(axes))],
        at=lambda k, values, index, out, *, axes: values[0](
            tuple(index[i] for i in _inverse(axes))
        ),
        facts=REINDEX | KEEPS_ALL,
        axes={"axes": Axes.ORDER},
        doc="The axes in another order.",
    )
)


def permute_dims(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """`x` with its axes in the order `axes` (reversed by default): `result.shape[i]` is
    `x.shape[axes[i]]`."""
    t = tensor(x, "permute_dims")
    order = tuple(range(t.ndim))[::-1] if axes is None else several("permute_dims", "axes", axes)
    order = tuple(normalize_axis("permute_dims", a, t.ndim) for a in order)
    return t if order == tuple(range(t.ndim)) else apply(PERMUTE, (t,), axes=order).output()


def matrix_transpose(x: Any) -> Tensor:
    """`x` with its last two axes swapped."""
    t = tensor(x, "matrix_transpose")
    if t.ndim < 2:
        raise ShapeError("needs two axes", op="matrix_transpose", given=show(t.shape))
    return permute_dims(t, (*range(t.ndim - 2), t.ndim - 1, t.ndim - 2))


def _infer_broadcast(x: TensorType, *, shape: Shape) -> tuple[TensorType, ...]:
    offset = len(shape) - x.rank
    if offset < 0 or not all(
        s == 1 or agree(s, t) for s, t in zip(x.shape, shape[offset:], strict=True)
    ):
        raise ShapeError(
            "cannot be broadcast",
            op="broadcast_to",
            expected="equal sizes, or a static 1, on every axis counted from the last",
            given=f"{show(x.shape)} -> {show(shape)}",
        )
    return (TensorType(x.dtype, shape),)


BROADCAST = register(
    Op(
        "broadcast_to",
        Kind.MAP,
        _infer_broadcast,
        numpy=lambda x, *, shape: np.broadcast_to(x, shape),
        vjp=lambda context, g, out, x, *, shape: [sum_to(g, x.shape)],
        at=lambda k, values, index, out, *, shape: values[0](project(index, values[0].type, out)),
        formula=lambda s, x, *, shape: x,
        facts=REINDEX | KEEPS_ALL,
        batched=lambda batch, x, *, shape: broadcast_to(
            unit_axes_behind_first(x, 1 + len(shape)), (batch.size, *shape)
        ),
        doc="Stretched along new axes and axes of size 1.",
    )
)


def broadcast_to(x: Any, shape: Any) -> Tensor:
    """`x` stretched to `shape` along new axes and axes of static size 1."""
    t, target = tensor(x, "broadcast_to"), shape_of(shape)
    return t if target == t.shape else apply(BROADCAST, (t,), shape=target).output()


def _infer_flip(x: TensorType, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:
    return (x,)


FLIP = register(
    Op(
        "flip",
        Kind.MAP,
        _infer_flip,
        numpy=lambda x, *, axes: np.flip(x, axes),
        vjp=lambda context, g, out, x, *, axes: [flip(g, axes)],
        at=lambda k, values, index, out, *, axes: values[0](
            tuple(
                -i + (out.shape[a] - 1) if a in axes else i for a, i in enumerate(index)
            )
        ),
        facts=REINDEX | KEEPS_ALL,
        axes={"axes": Axes.SEVERAL},
        doc="Reversed along axes.",
    )
)


def flip(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """`x` reversed along `axis` (all axes by default)."""
    t = tensor(x, "flip")
    axes = normalize_axes("flip", axis, t.ndim)
    return apply(FLIP, (t,), axes=axes).output() if axes else t


# -- concat, stack ---------------------------------------------------------------------------------
def _infer_concat(*types: TensorType, axis: int) -> tuple[TensorType, ...]:
    first = types[0]
    shape = list(first.shape)
    for t in types:
        same = t.rank == first.rank and all(
            agree(a, b) for i, (a, b) in enumerate(zip(shape, t.shape, strict=True)) if i != axis
        )
        if not same or t.dtype is not first.dtype:
            raise ShapeError(
                "parts differ off the axis",
                op="concat",
                expected=f"{first} except on axis {axis}",
                given=", ".join(map(str, types)),
            )
        shape = [common(a, b) for a, b in zip(shape, t.shape, strict=True)]
    shape[axis] = size_total(t.shape[axis] for t in types)
    return (TensorType(first.dtype, tuple(shape)),)


def _concat_at(k: Any, values: Any, index: Any, out: TensorType, *, axis: int) -> Any:
    position = k.number(index[axis])
    result: Any = None
    low: Size = 0
    for value in values:
        high = low + value.type.shape[axis]
        inside = k.bitwise_and(
            k.greater_equal(position, k.size(low)), k.less(position, k.size(high))
        )
        with k.guarded(inside):
            moved = (*index[:axis], index[axis] + -low, *index[axis + 1 :])
            element = value(moved)
        zero = k.const(0, out.dtype)
        result = k.where(inside, element, zero if result is None else result)
        low = high
    return result


def _concat_vjp(context: Any, g: Tensor, out: Tensor, *parts: Tensor, axis: int) -> list[Any]:
    result: list[Any] = []
    low: Size = 0
    for part in parts:
        starts = tuple(low if i == axis else 0 for i in range(g.ndim))
        sizes = (*g.shape[:axis], part.shape[axis], *g.shape[axis + 1 :])
        result.append(function("strided_slice")(g, starts, sizes, (1,) * g.ndim))
        low = low + part.shape[axis]
    return result


JOINED = 16  # parts of a concat at the most in a kernel, which chooses among them at each element


def _joined(*parts: Tensor, axis: int) -> Tensor | None:
    """A concat as a tree: the statements of a kernel grow with the parts that it chooses from."""
    if len(parts) <= JOINED:
        return None
    joined = list(parts)
    while len(joined) > JOINED:
        joined = [concat(joined[i : i + JOINED], axis) for i in range(0, len(joined), JOINED)]
    return concat(joined, axis)


CONCAT = register(
    Op(
        "concat",
        Kind.MAP,
        _infer_concat,
        numpy=lambda *parts, axis: np.concatenate(parts, axis),
        vjp=_concat_vjp,
        at=_concat_at,
        expand=_joined,
        axes={"axis": Axes.ONE},
        facts=frozenset({Fact.PICKS}),
        cost=6,
        doc="Parts one after another along an axis.",
    )
)


def concat(arrays: Sequence[Any], axis: int | None = 0) -> Tensor:
    """The arrays one after another along `axis`, whose other sizes are equal; for None, all their
    elements in row-major order.

    Errors: `ShapeError` for parts that differ off the axis, `ArgumentError` for none at all.
    """
    parts = _same_dtype("concat", arrays)
    if axis is None:
        parts, axis = [reshape(p, (p.size,)) for p in parts], 0
    axis = normalize_axis("concat", axis, parts[0].ndim)
    return parts[0] if len(parts) == 1 else apply(CONCAT, parts, axis=axis).output()


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """The arrays, of one shape, along a new axis."""
    parts = _same_dtype("stack", arrays)
    axis = normalize_axis("stack", axis, parts[0].ndim + 1)
    return concat([expand_dims(p, axis) for p in parts], axis)


def _same_dtype(op: str, arrays: Any) -> list[Tensor]:
    if isinstance(arrays, (Tensor, str)) or not isinstance(arrays, Sequence) or not arrays:
        raise ArgumentError("needs a non-empty sequence of tensors", op=op, given=repr(arrays)[:80])
    return operands(op, *arrays)


FUNCTIONS |= {
    f.__name__: f
    for f in (
        reshape, expand_dims, squeeze, permute_dims, matrix_transpose, broadcast_to, flip,
        concat, stack,
    )
}  # fmt: skip
NUMPY = {"transpose": permute_dims}
