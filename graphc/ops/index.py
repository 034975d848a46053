"""Slices and padding: parts of a grid, and a grid around its part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.ir.conditions import require
from graphc.ir.dim import Size, dim
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, normalize_axis
from graphc.ops.build import size_as_tensor, tensor
from graphc.ops.shape import REINDEX

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
    return [zero_pad(g, starts, x.shape, steps)]


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


def on_grid(k: Any, moved: Any, step: int, size: Size) -> tuple[Any, Any]:
    """The element of an axis of `size` that is put `step` apart at the place `moved`, and whether
    there is one, None where there always is: places between and beside the elements have none."""
    inside = None
    if step != 1:
        position = k.number(moved)
        divisor = k.const(step, int64)
        inside = k.equal(k.remainder(position, divisor), k.const(0, int64))
        moved = k.index(k.floor_divide(position, divisor))
    if not k.is_nonnegative(moved):
        inside = both(k, inside, k.greater_equal(k.number(moved), k.const(0, int64)))
    if not k.is_nonnegative(-moved + (size - 1)):
        inside = both(k, inside, k.less(k.number(moved), k.size(size)))
    return moved, inside


def both(k: Any, a: Any, b: Any) -> Any:
    """Two conditions as one; None is one that always holds."""
    if a is None or b is None:
        return b if a is None else a
    return k.bitwise_and(a, b)


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
        moved, here = on_grid(k, i + -start, step, size)
        inside = both(k, inside, here)
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
        facts=frozenset({Fact.PICKS, Fact.BORDERS}),
        cost=6,
        doc="Zeros of shape `sizes`, with x at every `steps`-th element from `starts` on.",
    )
)


def zero_pad(x: Tensor, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> Tensor:
    """Zeros of shape `sizes`, with x at every `steps`-th element from `starts` on."""
    return apply(PAD, (x,), starts=starts, sizes=sizes, steps=steps).output()


def pad_pairs(pad_width: Any, t: Tensor) -> list[tuple[Size, Size]]:
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


def size(x: Any, axis: int | None = None, dtype: Any = "int64") -> Tensor:
    """The number of elements of `x`, or its size along `axis`, as a scalar tensor."""
    t = tensor(x, "size")
    wanted = t.size if axis is None else t.shape[normalize_axis("size", axis, t.ndim)]
    return size_as_tensor(wanted, to_dtype(dtype))


FUNCTIONS |= {
    f.__name__: f
    for f in (strided_slice, size)
}
