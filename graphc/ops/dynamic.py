"""Slices that begin where integer tensors say, and that have a length that is known.

To the ops a start may have axes, which are then the first ones of all operands: each of their
elements has starts of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir.conditions import require
from graphc.ir.dim import Size, dim
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Batch, Fact, Index, Indices, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, agree_on_shape, several, show
from graphc.ops.build import cast, constant, tensor
from graphc.ops.create import zeros
from graphc.ops.shape import reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _check_starts(op: str, x: TensorType, sizes: Shape, starts: Sequence[TensorType]) -> Shape:
    """The axes that starts and x share. Errors: `ShapeError`, `DTypeError` if they do not fit."""
    shared = starts[0].shape if starts else ()
    for t in starts:
        if not t.dtype.is_integer or not agree_on_shape(t.shape, shared):
            raise _no_start(op, t)
    whole = x.shape[len(shared) :]
    if not (len(starts) == len(sizes) == len(whole)) or not whole:
        raise ShapeError(
            "a start and a size for each axis",
            op=op,
            expected=f"{len(whole) or 'some'} of each",
            given=f"{len(starts)} starts, {len(sizes)} sizes",
        )
    if not agree_on_shape(x.shape[: len(shared)], shared):
        raise ShapeError("starts for other elements", op=op, expected=str(x), given=show(shared))
    for size, part in zip(whole, sizes, strict=True):
        require(size - part, f"a slice of {part} elements of an axis of size {size}")
    return shared


def _no_start(op: str, given: TensorType) -> DTypeError:
    return DTypeError(
        "a start is an integer scalar", op=op, expected="an int of rank 0", given=str(given)
    )


def _first(k: Any, start: Any, element: Index, whole: Size, part: Size) -> Any:
    """Where the slice begins: a negative start counts from the end; then as near as it fits."""
    zero = k.const(0, int64)
    at = k.cast(start(element), int64)
    at = k.where(k.less(at, zero), k.add(at, k.size(whole)), at)
    return k.index(k.maximum(zero, k.minimum(at, k.size(whole - part))))


def _numpy_slices(x: Any, starts: Any, sizes: Any) -> tuple[slice, ...]:
    found = []
    for start, whole, part in zip(map(int, starts), x.shape, sizes, strict=True):
        first = max(0, min(start + whole if start < 0 else start, whole - part))
        found.append(slice(first, first + part))
    return tuple(found)


# -- read ------------------------------------------------------------------------------------------
def _infer_slice(x: TensorType, *starts: TensorType, sizes: Shape) -> tuple[TensorType, ...]:
    shared = _check_starts("dynamic_slice", x, sizes, starts)
    return (TensorType(x.dtype, (*x.shape[: len(shared)], *sizes)),)


def _numpy_slice(x: Any, *starts: Any, sizes: Any) -> Any:
    shared = starts[0].shape
    result = np.empty((*shared, *sizes), x.dtype)
    for at in np.ndindex(shared):
        result[at] = x[at][_numpy_slices(x[at], [s[at] for s in starts], sizes)]
    return result


def _slice_at(k: Any, operands: Any, index: Index, out: TensorType, *, sizes: Shape) -> Any:
    x, *starts = operands
    element, rest = index[: -len(sizes)], index[-len(sizes) :]
    parts = zip(starts, x.type.shape[len(element) :], sizes, strict=True)
    firsts = (_first(k, start, element, *part) for start, *part in parts)
    return x((*element, *(i + first for i, first in zip(rest, firsts, strict=True))))


def _slice_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *starts: Tensor, sizes: Shape
) -> list[Any]:
    return [update(zeros(x.shape, g.dtype), g, starts), *(None for _ in starts)]


def _batched_slice(context: Batch, x: Tensor, *starts: Tensor, sizes: Shape) -> Any:
    if not (starts[0].shape or any(context.has(1 + j) for j in range(len(starts)))):
        return read(x, [constant(0, int64), *starts], (context.size, *sizes))
    every = _of_each(context, x, *starts)
    return read(every[0], every[1:], sizes)


def _of_each(context: Batch, *operands: Tensor) -> list[Tensor]:
    return [t if context.has(i) else context.spread(t) for i, t in enumerate(operands)]


DYNAMIC_SLICE = register(
    Op(
        "dynamic_slice",
        Kind.MAP,
        _infer_slice,
        numpy=_numpy_slice,
        vjp=_slice_vjp,
        at=_slice_at,
        batched=_batched_slice,
        facts=frozenset({Fact.PICKS}),
        cost=2,
        doc="`sizes` elements from `starts` on, which are moved to where they fit.",
    )
)


# -- written ---------------------------------------------------------------------------------------
def _infer_update(
    x: TensorType, value: TensorType, *starts: TensorType
) -> tuple[TensorType, ...]:
    before = starts[0].rank if starts else 0
    shared = _check_starts("dynamic_update_slice", x, value.shape[before:], starts)
    if not agree_on_shape(value.shape[:before], shared):
        raise ShapeError(
            "values for other elements", op="dynamic_update_slice", expected=show(shared),
            given=str(value),
        )  # fmt: skip
    if x.dtype is not value.dtype:
        raise DTypeError(
            "one dtype", op="dynamic_update_slice", expected=x.dtype.name, given=value.dtype.name
        )
    return (x,)


def _update_at(k: Any, operands: Any, index: Index, out: TensorType) -> Any:
    x, value, *starts = operands
    element, rest = index[: -len(starts)], index[-len(starts) :]
    inside: Any = None
    place = []
    sizes = zip(out.shape[len(element) :], value.type.shape[len(element) :], strict=True)
    for i, start, (whole, part) in zip(rest, starts, sizes, strict=True):
        moved = i + -_first(k, start, element, whole, part)
        place.append(moved)
        position = k.number(moved)
        for bound in (
            k.greater_equal(position, k.const(0, int64)),
            k.less(position, k.size(part)),
        ):
            inside = bound if inside is None else k.bitwise_and(inside, bound)
    with k.guarded(inside):
        new = value((*element, *place))
    return k.where(inside, new, x(index))


def _numpy_update(x: Any, value: Any, *starts: Any) -> Any:
    result = x.copy()
    for at in np.ndindex(starts[0].shape):
        inner = _numpy_slices(x[at], [s[at] for s in starts], value[at].shape)
        result[at][inner] = value[at]
    return result


def _update_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, value: Tensor, *starts: Tensor
) -> list[Any]:
    kept = update(g, zeros(value.shape, g.dtype), starts) if context.needs(0) else None
    taken = read(g, starts, value.shape[-len(starts) :]) if context.needs(1) else None
    return [kept, taken, *(None for _ in starts)]


def _batched_update(context: Batch, x: Tensor, value: Tensor, *starts: Tensor) -> Any:
    if starts[0].shape or any(context.has(2 + j) for j in range(len(starts))):
        every = _of_each(context, x, value, *starts)
        return update(every[0], every[1], every[2:])
    x, value = _of_each(context, x, value)
    return update(x, value, [constant(0, int64), *starts])


DYNAMIC_UPDATE = register(
    Op(
        "dynamic_update_slice",
        Kind.MAP,
        _infer_update,
        numpy=_numpy_update,
        vjp=_update_vjp,
        at=_update_at,
        batched=_batched_update,
        facts=frozenset({Fact.PICKS}),
        cost=6,
        doc="x with a slice from `starts` on replaced; these are moved to where it fits.",
    )
)


# -- a start that is checked -----------------------------------------------------------------------
def _outside(length: Size, size: Size) -> str:
    if length == 1:
        return f"an index is out of range for an axis of size {size}"
    return f"{length} elements from there on are not on an axis of size {size}"


def _numpy_check(start: Any, *, length: int, size: int) -> Any:
    found = start.astype(np.int64)
    found = np.where(found < 0, found + size, found)
    if found.size and (found.min() < 0 or found.max() > size - length):
        raise IndexError(_outside(length, size))
    return found


def _infer_check(start: TensorType, *, length: Size, size: Size) -> tuple[TensorType, ...]:
    if not start.dtype.is_integer:
        raise DTypeError(
            "a start is an integer", op="check_start", expected="an int", given=start.dtype.name
        )
    return (TensorType(int64, start.shape),)


def _check_at(
    k: Any, operands: Any, index: Index, out: TensorType, *, length: Size, size: Size
) -> Any:
    at, zero = k.cast(operands[0](index), int64), k.const(0, int64)
    at = k.where(k.less(at, zero), k.add(at, k.size(size)), at)
    outside = k.bitwise_or(k.less(at, zero), k.greater(at, k.size(size - length)))
    k.fail_if(outside, _outside(length, size))
    return at


CHECK_START = register(
    Op(
        "check_start",
        Kind.MAP,
        _infer_check,
        numpy=_numpy_check,
        at=_check_at,
        indices=lambda start, *, length, size: [
            Indices(0, -size, size - length + 1, _outside(length, size), "start")
        ],
        facts=frozenset({Fact.ELEMENTWISE, Fact.EXACT}),
        may_fail=True,
        differentiable=False,
        cost=3,
        doc="A start counted from the front, after checking that `length` elements are there.",
    )
)


def check_start(start: Tensor, length: Size, size: Size) -> Tensor:
    """The start counted from the front; at the call a `RuntimeFailure` where less than `length`
    elements of an axis of that size are from there on."""
    return apply(CHECK_START, (start,), length=length, size=size).output()


# -- public functions ------------------------------------------------------------------------------
def read(x: Tensor, starts: Sequence[Tensor], sizes: Shape) -> Tensor:
    """`sizes` elements of `x` from `starts` on."""
    return apply(DYNAMIC_SLICE, (x, *starts), sizes=sizes).output() if starts else x


def update(x: Tensor, value: Tensor, starts: Sequence[Tensor]) -> Tensor:
    """`x` with `value` from `starts` on."""
    return apply(DYNAMIC_UPDATE, (x, value, *starts)).output() if starts else value


def _starts(op: str, given: Any) -> list[Tensor]:
    """A scalar for each axis, of a sequence of them or of a vector."""
    if isinstance(given, (list, tuple)):
        starts = [tensor(s, op) for s in given]
        for t in starts:
            if t.shape:
                raise _no_start(op, t.type)
        return starts
    vector = tensor(given, op)
    if vector.ndim != 1 or not isinstance(vector.shape[0], int):
        raise ShapeError(
            "a start for each axis", op=op, expected="a sequence", given=show(vector.shape)
        )
    return [reshape(vector[i], ()) for i in range(vector.shape[0])]


def dynamic_slice(x: Any, start_indices: Any, slice_sizes: Any) -> Tensor:
    """`slice_sizes` elements from `start_indices` on, integer scalars that may be tensors.

    A negative start counts from the end. A slice that would reach beyond an end begins where it
    just fits (`x[i : i + 3]` is an error at the call there).
    Shapes: x of rank r, r starts, r sizes -> the sizes. Errors: `ShapeError` for sizes that are
    larger than the axes, `DTypeError` for starts that are no ints.

    >>> import graphc as gc
    >>> gc.evaluate(gc.dynamic_slice([1, 2, 3, 4], [gc.argmax([0, 5, 1])], [2]))
    array([2, 3])
    """
    sizes = tuple(dim(s) for s in several("dynamic_slice", "slice_sizes", slice_sizes))
    return read(tensor(x, "dynamic_slice"), _starts("dynamic_slice", start_indices), sizes)


def dynamic_update_slice(x: Any, value: Any, start_indices: Any) -> Tensor:
    """`x` with `value` in place of the elements from `start_indices` on, as `dynamic_slice`.

    Shapes: x and value of one rank -> as x. Dtypes: x's; the value is converted. Errors: as
    `dynamic_slice`.
    """
    t = tensor(x, "dynamic_update_slice")
    new = cast(tensor(value, "dynamic_update_slice"), t.dtype)
    return update(t, new, _starts("dynamic_update_slice", start_indices))


FUNCTIONS |= {f.__name__: f for f in (dynamic_slice, dynamic_update_slice)}
