"""Indexing: slices, padding, `x[...]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, OutOfRangeError, ShapeError
from graphc.ir.bounds import never
from graphc.ir.conditions import require
from graphc.ir.dim import Dim, Size, difference, dim, floordiv, maximum, minimum, mod
from graphc.ir.dtype import bool_, int64
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, normalize_axis, show
from graphc.ops.build import cast, is_python_scalar, size_as_tensor, tensor
from graphc.ops.create import ones
from graphc.ops.elementwise import where
from graphc.ops.gather import take
from graphc.ops.shape import REINDEX, flip, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- slices and padding ----------------------------------------------------------------------------
def _require_inside(outer: Shape, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> None:
    """`sizes` elements, every `steps`-th from `starts` on, are all within axes of sizes `outer`."""
    for size, start, count, step in zip(outer, starts, sizes, steps, strict=True):
        what = f"{count} elements from {start} on, {step} apart, are not on an axis of size {size}"
        require(start, what)
        require(size - 1 - (start + (count - 1) * step), what)


def _infer_slice(
    x: TensorType, *, starts: Shape, sizes: Shape, steps: tuple[int, ...]
) -> tuple[TensorType, ...]:
    _require_inside(x.shape, starts, sizes, steps)
    return (TensorType(x.dtype, sizes),)


def _numpy_slice(x: Any, *, starts: Any, sizes: Any, steps: Any) -> Any:
    stops = (s + (n - 1) * d + 1 if n else s for s, n, d in zip(starts, sizes, steps, strict=True))
    return x[tuple(slice(s, e, d) for s, e, d in zip(starts, stops, steps, strict=True))]


def _slice_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *, starts: Any, sizes: Any, steps: Any
) -> list[Any]:
    return [_pad(g, starts, x.shape, steps)]


_ON_EACH_AXIS = {"starts": Axes.STARTS, "sizes": Axes.SIZES, "steps": Axes.STEPS}
SLICE = register(
    Op(
        "slice",
        Kind.MAP,
        _infer_slice,
        numpy=_numpy_slice,
        vjp=_slice_vjp,
        at=lambda k, values, index, out, *, starts, sizes, steps: values[0](
            tuple(i * d + s for i, s, d in zip(index, starts, steps, strict=True))
        ),
        facts=REINDEX,
        axes=_ON_EACH_AXIS,
        doc="Every `steps`-th element from `starts` on, `sizes` of them.",
    )
)


def strided_slice(x: Tensor, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> Tensor:
    """Element i of the result is `x[starts + i * steps]` on each axis; what `x[a:b:c]` makes."""
    if sizes == x.shape and all(s == 0 for s in starts):
        return x
    return apply(SLICE, (x,), starts=starts, sizes=sizes, steps=steps).output()


def _infer_pad(
    x: TensorType, *, starts: Shape, sizes: Shape, steps: tuple[int, ...]
) -> tuple[TensorType, ...]:
    _require_inside(sizes, starts, x.shape, steps)
    return (TensorType(x.dtype, sizes),)


def _numpy_pad(x: Any, *, starts: Any, sizes: Any, steps: Any) -> Any:
    result = np.zeros(sizes, x.dtype)
    inside = _numpy_slice(result, starts=starts, sizes=x.shape, steps=steps)
    inside[...] = x
    return result


def _pad_at(k: Any, values: Any, index: Any, out: TensorType, **where: Any) -> Any:
    """The element where the index falls on a slice element, else 0."""
    (value,) = values
    inside: Any = None
    source: list[Any] = []
    for axis, i in enumerate(index):
        start, step = where["starts"][axis], where["steps"][axis]
        size = value.type.shape[axis]
        if start == 0 and step == 1 and size == out.shape[axis]:
            source.append(i)
            continue
        moved = i + -start
        position = k.number(moved)
        if step != 1:
            divisor = k.const(step, int64)
            on_grid = k.equal(k.remainder(position, divisor), k.const(0, int64))
            moved = k.index(k.floor_divide(position, divisor))
            position = k.number(moved)
            inside = on_grid if inside is None else k.bitwise_and(inside, on_grid)
        for bound in (
            k.greater_equal(position, k.const(0, int64)),
            k.less(position, k.size(size)),
        ):
            inside = bound if inside is None else k.bitwise_and(inside, bound)
        source.append(moved)
    if inside is None:
        return value(tuple(source))
    with k.guarded(inside):
        element = value(tuple(source))
    return k.where(inside, element, k.const(0, out.dtype))


PAD = register(
    Op(
        "pad",
        Kind.MAP,
        _infer_pad,
        numpy=_numpy_pad,
        vjp=lambda context, g, out, x, *, starts, sizes, steps: [
            strided_slice(g, starts, x.shape, steps)
        ],
        at=_pad_at,
        axes=_ON_EACH_AXIS,
        cost=6,
        doc="Zeros of shape `sizes`, with x at every `steps`-th element from `starts` on.",
    )
)


def _pad(x: Tensor, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> Tensor:
    return apply(PAD, (x,), starts=starts, sizes=sizes, steps=steps).output()


def pad(x: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Tensor:
    """`x` with elements of one value around it, as `numpy.pad`.

    `pad_width` is a size for both sides of every axis, a pair (before, after) for every axis, or a
    list of such a pair for each axis.
    Errors: `ArgumentError` for another mode or another value for each side; `ShapeError` for
    another number of pairs than there are axes.

    >>> import graphc as gc
    >>> gc.pad(gc.placeholder("x", ("n", 3)), [(0, 1), (2, 2)]).shape
    (n + 1, 7)
    """
    t = tensor(x, "pad")
    if mode != "constant" or isinstance(constant_values, (list, tuple, dict)):
        raise ArgumentError(
            "only one value around the tensor",
            op="pad",
            expected="mode 'constant' and one number",
            given=f"mode {mode!r}, constant_values={constant_values!r}",
            hint="gc.concat joins parts of any values",
        )
    pairs = _pad_pairs(pad_width, t)
    starts, steps = tuple(a for a, _ in pairs), (1,) * t.ndim
    sizes = tuple(a + s + b for (a, b), s in zip(pairs, t.shape, strict=True))
    padded = _pad(t, starts, sizes, steps)
    if is_python_scalar(constant_values) and constant_values == 0:
        return padded
    inside = _pad(ones(t.shape, bool_), starts, sizes, steps)
    return where(inside, padded, cast(tensor(constant_values, "pad"), t.dtype))


def _pad_pairs(pad_width: Any, t: Tensor) -> list[tuple[Size, Size]]:
    """The sizes before and after each axis."""

    def is_list(value: Any) -> bool:
        return isinstance(value, (list, tuple, np.ndarray))

    given = pad_width.tolist() if isinstance(pad_width, np.ndarray) else pad_width
    parts = list(given) if is_list(given) else [given, given]
    if len(parts) == 1:
        parts = (parts if is_list(parts[0]) else [parts * 2]) * t.ndim
    elif len(parts) == 2 and not any(map(is_list, parts)):
        parts = [parts] * t.ndim
    if len(parts) != t.ndim or not all(is_list(p) and len(p) == 2 for p in parts):
        raise ShapeError(
            "one pair for each axis",
            op="pad",
            expected=f"a size, a pair of sizes, or {t.ndim} pairs",
            given=str(pad_width),
        )
    return [(dim(before), dim(after)) for before, after in parts]


# -- indexing --------------------------------------------------------------------------------------
def getitem(x: Any, key: Any) -> Tensor:
    """`x[key]` for ints, sizes, slices, `None`, `...`, and one integer tensor or array (as `take`).

    A negative int counts from the end, as in NumPy. A size (`n - 1` for `n = x.shape[0]`) is always
    a position counted from the start: a bound of a slice beyond the end is the end, as in NumPy.
    Errors: `ShapeError` for too many indices, an index out of range or a bound that is a negative
    size (at the call where that depends on named dims); `ArgumentError` for another kind of index.
    """
    t = tensor(x, "getitem")
    items = list(key) if isinstance(key, tuple) else [key]
    consumed = sum(1 for item in items if item is not None and item is not Ellipsis)
    if consumed > t.ndim:
        raise OutOfRangeError(
            "too many indices", op="getitem", expected=f"at most {t.ndim}", given=str(consumed)
        )
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ArgumentError("only one ... is allowed", op="getitem", given=repr(key))
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [slice(None)] * (t.ndim - consumed)
    return _index_axes(t, items)


def _index_axes(t: Tensor, items: list[Any]) -> Tensor:
    ends: list[Size] = []
    starts: list[Size] = []
    sizes: list[Size] = []
    steps: list[int] = []
    flips: list[int] = []
    shape: list[Size] = []
    takes: list[tuple[int, Any]] = []
    for item in items:
        if item is None:
            shape.append(1)
            continue
        axis = len(starts)
        end = size = t.shape[axis]
        start: Size
        count: Size
        if isinstance(item, slice):
            end, start, count, step = _resolve_slice(item, size)
            if step < 0:
                flips.append(axis)
                start, step = start + (count - 1) * step, -step
            shape.append(count)
        elif isinstance(item, Dim):
            start, count, step = _position(item, size), 1, 1
        elif hasattr(item, "__index__") and not isinstance(item, (bool, Tensor, np.ndarray)):
            start, count, step = _resolve_int(item, size, axis), 1, 1
        elif isinstance(item, (Tensor, np.ndarray, list)) and not takes:
            start, count, step = 0, size, 1
            takes.append((len(shape), item))
            shape.append(count)
        else:
            raise ArgumentError(
                "cannot index by this",
                op="getitem",
                expected="ints, slices, None, ... and at most one integer tensor",
                given=repr(item)[:80],
            )
        ends.append(end)
        starts.append(start)
        sizes.append(count)
        steps.append(step)
    # What is before the ends has sizes, which have to be >= 0: so the ends are stated, too.
    ended = strided_slice(t, (0,) * t.ndim, tuple(ends), (1,) * t.ndim)
    result = strided_slice(ended, tuple(starts), tuple(sizes), tuple(steps))
    result = reshape(flip(result, tuple(flips)) if flips else result, tuple(shape))
    for axis, indices in takes:
        result = take(result, indices, axis=axis)
    return result


def _resolve_int(item: Any, size: Size, axis: int) -> Size:
    index = int(item.__index__())
    if isinstance(size, int) and not -size <= index < size:
        raise OutOfRangeError(
            "index out of range",
            op="getitem",
            expected=f"-{size} <= index < {size} on axis {axis}",
            given=str(index),
        )
    return index if index >= 0 else size + index


def _resolve_slice(item: slice, size: Size) -> tuple[Size, Size, Size, int]:
    """(end, start, count, step): of what is before `end`, the size of the axis unless the slice
    ends at a symbolic size, every `step`-th element from `start` on, `count` of them."""
    step = 1 if item.step is None else item.step
    if not isinstance(step, int) or step == 0:
        raise ArgumentError("a slice step is an int other than 0", op="getitem", given=repr(step))
    bounds = (item.start, item.stop)
    for bound in bounds:
        if bound is not None and not isinstance(bound, Dim) and not hasattr(bound, "__index__"):
            raise ArgumentError("a slice bound is an int or a size", op="getitem", given=repr(item))
    if isinstance(size, int) and not any(isinstance(b, Dim) for b in bounds):
        low, high, step = item.indices(size)
        return size, low, len(range(low, high, step)), step
    if step < 0:
        if bounds != (None, None):
            raise ArgumentError(
                "a bounded slice with a negative step needs a static size",
                op="getitem",
                given=f"{item} of an axis of size {size}",
            )
        return size, size - 1, floordiv(size + (-step - 1), -step), step
    first = 0 if item.start is None else _position(item.start, size)
    stop = size if item.stop is None else _position(item.stop, size)
    if not _from_end(item.stop):
        stop = minimum(stop, size)
    end = stop if isinstance(item.stop, Dim) else size
    # A start beyond the end leaves nothing, clamped or not: unclamped, x[1:] is as long as x[:-1].
    length = maximum(difference(stop, first), 0)
    start = first if end is size and _from_end(item.start) else minimum(first, end)
    return end, start, floordiv(length + (step - 1), step), step


def _from_end(bound: Any) -> bool:
    """Whether a bound counts from the end: such a position is never beyond it."""
    return bound is not None and not isinstance(bound, Dim) and bound.__index__() < 0


def _position(bound: Any, size: Size) -> Size:
    """Where a bound of a slice is: a negative int counts from the end, a size never does."""
    if _from_end(bound):
        return maximum(size + int(bound.__index__()), 0)
    if not isinstance(bound, Dim):
        return int(bound.__index__())
    if never(bound):
        raise ShapeError(
            "a symbolic bound is a position counted from the start, and this one is negative",
            op="getitem",
            given=str(bound),
            hint="a literal such as -2 counts from the end, as n - 2 does for a size n",
        )
    return bound


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """`x` cut along `axis` into `sections` equal parts, or at the given positions.

    Errors: `ShapeError` where the size is not a multiple of `sections`; `ArgumentError` for
    `sections` of another kind, such as a symbolic number of parts.
    """
    t = tensor(x, "split")
    axis = normalize_axis("split", axis, t.ndim)
    size = t.shape[axis]
    if isinstance(sections, (int, np.integer)):
        sections = int(sections)
        if sections < 1 or mod(size, sections) != 0:
            raise ShapeError(
                "cannot be cut into equal parts",
                op="split",
                expected=f"a multiple of {sections}",
                given=f"axis {axis} of {show(t.shape)}",
            )
        part = floordiv(size, sections)
        cuts: list[Size] = [part * i for i in range(sections + 1)]
    elif isinstance(sections, (list, tuple, np.ndarray)):
        cuts = [0, *sections, size]
    else:
        raise ArgumentError(
            "neither a number of parts nor where to cut",
            op="split",
            expected="an int, or a list of positions",
            given=repr(sections)[:80],
        )
    prefix = (slice(None),) * axis
    return [
        getitem(t, (*prefix, slice(low, high))) for low, high in pairwise(cuts)
    ]


def size(x: Any, axis: int | None = None, dtype: Any = "int64") -> Tensor:
    """The number of elements of `x`, or its size along `axis`, as a scalar tensor."""
    t = tensor(x, "size")
    wanted = t.size if axis is None else t.shape[normalize_axis("size", axis, t.ndim)]
    return size_as_tensor(wanted, to_dtype(dtype))


FUNCTIONS |= {
    f.__name__: f
    for f in (getitem, strided_slice, pad, split, size)
}
