"""Pooling: reductions over windows of images, or over all of space."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dim import Size
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor, located
from graphc.ir.shape import Shape, show
from graphc.ops.build import scalar_like, tensor
from graphc.ops.create import ones
from graphc.ops.elementwise import divide, where
from graphc.ops.image import has_channels_last, pairs_of
from graphc.ops.index import zero_pad
from graphc.ops.reduce import lowest, max, mean, sum
from graphc.ops.windows import each, window_count, windows_of

FUNCTIONS: dict[str, Callable[..., Any]] = {}


class _Pool:
    """The windows of an image: where they are, and what is around it."""

    def __init__(
        self, op: str, x: Any, size: Any, stride: Any, padding: Any, dilation: Any, data_format: str
    ) -> None:
        self.x = _image(op, x)
        rank = self.x.ndim - 2
        first = 1 if has_channels_last(op, data_format, rank) else 2
        self.axes = tuple(range(first, first + rank))
        self.window = each(op, "size of a window", size, rank)
        self.strides = self.window if stride is None else each(op, "stride", stride, rank)
        self.dilations = each(op, "dilation", dilation, rank)
        space = tuple(self.x.shape[a] for a in self.axes)
        self.pairs = pairs_of(op, padding, space, self.window, self.strides, self.dilations)
        self._check_padding(op)
        self._check_size(op, space)

    def _check_size(self, op: str, space: Shape) -> None:
        """Errors: `ShapeError` where not one window fits."""
        steps = zip(space, self.pairs, self.window, self.strides, self.dilations, strict=True)
        for s, (a, b), w, stride, dilation in steps:
            try:
                window_count(a + s + b, w, stride, dilation, f"{s} + {a} + {b} with its padding")
            except ShapeError as error:
                raise located(error, op) from None

    def _check_padding(self, op: str) -> None:
        """Errors: `ArgumentError` where a window may lie in the padding alone."""
        for (before, after), w, d in zip(self.pairs, self.window, self.dilations, strict=True):
            covered = (w - 1) * d + 1
            if any(isinstance(side, int) and side >= covered for side in (before, after)):
                raise ArgumentError(
                    "a window would hold nothing but padding",
                    op=op,
                    expected=f"padding below the {covered} places of a window",
                    given=f"({before}, {after})",
                )

    @property
    def is_padded(self) -> bool:
        return any(side != 0 for pair in self.pairs for side in pair)

    def padded(self, t: Tensor) -> Tensor:
        """`t`, an image or one that has axes of size 1, with zeros around it."""
        pairs: list[tuple[Size, Size]] = [(0, 0)] * t.ndim
        for axis, pair in zip(self.axes, self.pairs, strict=True):
            pairs[axis] = pair
        sizes = tuple(a + s + b for (a, b), s in zip(pairs, t.shape, strict=True))
        return zero_pad(t, tuple(a for a, _ in pairs), sizes, (1,) * t.ndim)

    def windows(self, t: Tensor) -> Tensor:
        return windows_of(t, self.axes, self.window, self.strides, self.dilations)

    @property
    def inside(self) -> tuple[int, ...]:
        """The axes of the elements of a window."""
        rank = self.x.ndim
        return tuple(range(rank, rank + len(self.axes)))

    def of_space(self) -> Shape:
        """The shape of an image that is the same for all images and channels."""
        return tuple(s if a in self.axes else 1 for a, s in enumerate(self.x.shape))


def _image(op: str, x: Any) -> Tensor:
    t = tensor(x, op)
    if t.ndim < 3:
        raise ShapeError(
            "the wrong number of axes",
            op=op,
            expected="3 axes or more: batch, channels and those of space",
            given=show(t.shape),
            hint="gc.expand_dims(x, 0) makes a batch of one image",
        )
    if t.dtype is bool_:
        raise DTypeError("not numbers", op=op, expected="a numeric dtype", given=t.dtype.name)
    return t


def max_pool(
    x: Any,
    size: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    data_format: str = "NCHW",
) -> Tensor:
    """The largest element of each window; NaN if one is NaN.

    Shapes: x [n, c, *space] -> [n, c, *places], or with "NHWC" [n, *space, c] -> [n, *places, c];
    places as `conv` has them. `stride` is the window's size if it is not given; what `padding` adds
    is never chosen. The derivative at a tie is shared equally by the largest elements.
    Errors: as `conv`; `ArgumentError` for padding as wide as a window.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n", 16, 28, 28))
    >>> gc.max_pool(x, 2).shape, gc.max_pool(x, 3, stride=2, padding=1).shape
    ((n, 16, 14, 14), (n, 16, 14, 14))
    """
    pool = _Pool("max_pool", x, size, stride, padding, dilation, data_format)
    t = pool.x
    if pool.is_padded:
        within = pool.padded(ones(pool.of_space(), bool_))
        t = where(within, pool.padded(t), scalar_like(lowest(t.dtype), t))
    return max(pool.windows(t), axis=pool.inside)


def avg_pool(
    x: Any,
    size: Any,
    *,
    stride: Any = None,
    padding: Any = "valid",
    dilation: Any = 1,
    count_padding: bool | None = None,
    data_format: str = "NCHW",
) -> Tensor:
    """The mean of each window.

    `count_padding`: whether zeros of the padding count as elements. By default they do if the
    padding is given in numbers, as in PyTorch, and do not if it is "same", as in Keras.
    Shapes, errors: as `max_pool`. Dtypes: floats; ints give floats.

    >>> import graphc as gc
    >>> gc.avg_pool(gc.placeholder("x", ("n", 16, 28, 28)), 2).shape
    (n, 16, 14, 14)
    """
    pool = _Pool("avg_pool", x, size, stride, padding, dilation, data_format)
    t = pool.x if pool.x.dtype.is_float else divide(pool.x, 1)
    counts = padding != "same" if count_padding is None else count_padding
    if pool.is_padded:
        t = pool.padded(t)
    total = sum(pool.windows(t), axis=pool.inside)
    if counts or not pool.is_padded:
        return divide(total, scalar_like(math.prod(pool.window), total))
    within = pool.padded(ones(pool.of_space(), t.dtype))
    return divide(total, sum(pool.windows(within), axis=pool.inside))


def global_max_pool(x: Any, *, keepdims: bool = False, data_format: str = "NCHW") -> Tensor:
    """The largest element of each channel of each image.

    Shapes: x [n, c, *space] -> [n, c]; with `keepdims` [n, c, 1, ...]. Errors: `ShapeError` for no
    elements; as `max_pool`.
    """
    t, axes = _all_of_space("global_max_pool", x, data_format)
    return max(t, axis=axes, keepdims=keepdims)


def global_avg_pool(x: Any, *, keepdims: bool = False, data_format: str = "NCHW") -> Tensor:
    """The mean of each channel of each image. Shapes, errors: as `global_max_pool`."""
    t, axes = _all_of_space("global_avg_pool", x, data_format)
    return mean(t, axis=axes, keepdims=keepdims)


def _all_of_space(op: str, x: Any, data_format: str) -> tuple[Tensor, tuple[int, ...]]:
    t = _image(op, x)
    rank = t.ndim - 2
    first = 1 if has_channels_last(op, data_format, rank) else 2
    return t, tuple(range(first, first + rank))


FUNCTIONS |= {f.__name__: f for f in (max_pool, avg_pool, global_max_pool, global_avg_pool)}
