"""What repeats elements, by NumPy's names: `repeat`, `tile`, `resize`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dim import Dim, Size, product
from graphc.ir.dtype import bool_, int64
from graphc.ir.node import Tensor
from graphc.ir.shape import Shape, may_be_equal, normalize_axis, shape_of, show
from graphc.ops.build import cast, size_as_tensor, tensor
from graphc.ops.create import iota, zeros
from graphc.ops.cumulative import cumsum
from graphc.ops.elementwise import minimum, remainder, subtract
from graphc.ops.gather import take
from graphc.ops.searching import searchsorted
from graphc.ops.shape import broadcast_to, expand_dims, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def repeat(
    x: Any, repeats: Any, axis: int | None = None, *, total_repeat_length: Any = None
) -> Tensor:
    """Each element along `axis` (by default of all elements) `repeats` times, one after another.

    `repeats` is an int, a size, or an array with one number for each element, known here. A tensor
    would decide a shape: with it goes `total_repeat_length`, the size of the result. If there are
    more, the last ones are left out; if fewer, the last one is repeated.
    Errors: `ArgumentError` for another kind; `ShapeError` for another number of them than there are
    elements.

    >>> import graphc as gc
    >>> gc.evaluate(gc.repeat([1, 2], [3, 1]))
    array([1, 1, 1, 2])
    """
    t = tensor(x, "repeat")
    if axis is None:
        t, axis = reshape(t, (t.size,)), 0
    axis = normalize_axis("repeat", axis, t.ndim)
    if total_repeat_length is not None:
        return _repeat_to(t, tensor(repeats, "repeat"), axis, total_repeat_length)
    count = repeats
    if not isinstance(repeats, (int, Dim)):
        numbers = np.asarray(repeats if not isinstance(repeats, Tensor) else None)
        if numbers.dtype.kind not in "iu" or (numbers.size and numbers.min() < 0):
            raise ArgumentError(
                "not how often each element is repeated",
                op="repeat",
                expected="an int >= 0, a size, or an array of such ints",
                given=repr(repeats)[:80],
                hint="the shape of a tensor is known before its values are: with a tensor of "
                "numbers, say total_repeat_length=",
            )
        if numbers.size != 1:
            if numbers.shape != (t.shape[axis],):
                raise _not_one_each(t.shape[axis], numbers.shape)
            return take(t, np.repeat(np.arange(numbers.size), numbers), axis)
        count = int(numbers.reshape(()))
    count = _times("repeat", count)
    wide = (*t.shape[: axis + 1], count, *t.shape[axis + 1 :])
    merged = (*t.shape[:axis], t.shape[axis] * count, *t.shape[axis + 1 :])
    return reshape(broadcast_to(expand_dims(t, axis + 1), wide), merged)


def _not_one_each(size: Size, given: Shape) -> ShapeError:
    return ShapeError(
        "a number for each element", op="repeat", expected=show((size,)), given=show(given)
    )


def _repeat_to(t: Tensor, numbers: Tensor, axis: int, length: Any) -> Tensor:
    """Of each place of the result the element: how many of them have ended before it."""
    size = t.shape[axis]
    if not (numbers.dtype.is_integer or numbers.dtype is bool_):
        raise DTypeError(
            "not how often each element is repeated", op="repeat", expected="ints",
            given=numbers.dtype.name,
        )  # fmt: skip
    if numbers.ndim > 1 or (numbers.ndim == 1 and not may_be_equal(numbers.shape, (size,))):
        raise _not_one_each(size, numbers.shape)
    ends = cumsum(broadcast_to(cast(numbers, int64), (size,)))
    places = iota(shape_of(_times("repeat", length)), 0)
    which = searchsorted(ends, places, "right")
    return take(t, minimum(which, subtract(size_as_tensor(size, int64), 1)), axis)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _times(op: str, count: Any) -> Size:
    if not isinstance(count, (int, np.integer, Dim)) or (not isinstance(count, Dim) and count < 0):
        raise ArgumentError(
            "not a number of times", op=op, expected="an int >= 0, or a size", given=repr(count)
        )
    return count if isinstance(count, Dim) else int(count)


def tile(x: Any, repetitions: Any, /) -> Tensor:
    """`x` put side by side: `repetitions` times along each axis, the last one last.

    Shapes: [n, m] by (a, b) -> [a n, b m]; the shorter of the two gets ones in front.
    """
    t = tensor(x, "tile")
    counts: list[Size] = [_times("tile", c) for c in _several(repetitions)]
    counts = [*(1,) * (t.ndim - len(counts)), *counts]
    shape = (*(1,) * (len(counts) - t.ndim), *t.shape)
    pairs = list(zip(counts, shape, strict=True))
    narrow = [s for pair in pairs for s in (1, pair[1])]
    wide = [s for pair in pairs for s in pair]
    tiled = broadcast_to(reshape(t, narrow), wide)
    return reshape(tiled, [count * size for count, size in pairs])


def resize(x: Any, new_shape: Any) -> Tensor:
    """The elements of `x` in row-major order in another shape, again and again where it has more.

    Of a tensor without elements it is zeros. Shapes: any -> `new_shape`.
    """
    t, shape = tensor(x, "resize"), shape_of(new_shape)
    if t.size == 0:
        return zeros(shape, t.dtype)
    places = remainder(iota((product(shape),), 0), size_as_tensor(t.size, int64))
    return reshape(take(reshape(t, (t.size,)), places), shape)


FUNCTIONS |= {f.__name__: f for f in (repeat, tile, resize)}
