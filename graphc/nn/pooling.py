"""Layers that make images smaller or larger without parameters: pooling, padding, upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir.node import Tensor
from graphc.nn.checks import chosen, error
from graphc.nn.convolution import Images
from graphc.ops.pooling import avg_pool, global_avg_pool, global_max_pool, max_pool
from graphc.ops.resample import interpolate, pad


class _Pool(Images):
    """What pooling by windows shares."""

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: Any = "valid",
        *,
        data_format: str = "NCHW",
        name: str | None = None,
    ) -> None:
        super().__init__(data_format, name)
        self.window = self.each("pool_size", pool_size)
        self.strides = self.window if strides is None else self.each("strides", strides)
        self.padding = padding

    def _options(self, x: Tensor) -> dict[str, Any]:
        self.channels_last(x.type)
        return {"stride": self.strides, "padding": self.padding, "data_format": self.data_format}


class MaxPool2D(_Pool):
    """The largest element of each window; what `padding` adds is never chosen.

    Shapes: x [n, channels, *space] -> [n, channels, *places]; `strides` are those of `pool_size`
    if they are not given. Errors: `ShapeError` for another rank, and a window larger than the
    image; `ArgumentError` for sizes that are no positive ints.
    """

    rank = 2

    def forward(self, x: Tensor) -> Tensor:
        return max_pool(x, self.window, **self._options(x))


class MaxPool1D(MaxPool2D):
    """The largest element of each window along sequences. The rest is as `MaxPool2D` has it."""

    rank = 1


class AvgPool2D(_Pool):
    """The mean of each window. Zeros of a padding count as elements, unless it is "same".

    Shapes, errors: as `MaxPool2D`.
    """

    rank = 2

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool(x, self.window, **self._options(x))


class AvgPool1D(AvgPool2D):
    """The mean of each window along sequences. The rest is as `AvgPool2D` has it."""

    rank = 1


class GlobalAvgPool(Images):
    """The mean of each channel: [n, channels, *space] -> [n, channels], for any number of axes.

    Errors: `ShapeError` for no axis of space.
    """

    def __init__(self, data_format: str = "NCHW", *, name: str | None = None) -> None:
        super().__init__(data_format, name)

    def forward(self, x: Tensor) -> Tensor:
        self.channels_last(x.type)
        return global_avg_pool(x, data_format=self.data_format)


class GlobalMaxPool(Images):
    """The largest element of each channel: as `GlobalAvgPool`."""

    def __init__(self, data_format: str = "NCHW", *, name: str | None = None) -> None:
        super().__init__(data_format, name)

    def forward(self, x: Tensor) -> Tensor:
        self.channels_last(x.type)
        return global_max_pool(x, data_format=self.data_format)


class ZeroPad2D(Images):
    """Zeros around images: `padding` is an int for all sides, or for each axis an int or a pair.

    Shapes: x [n, channels, h, w] -> [n, channels, above + h + below, left + w + right].
    Errors: `ArgumentError` for what is no int >= 0.
    """

    rank = 2

    def __init__(
        self, padding: Any = 1, *, data_format: str = "NCHW", name: str | None = None
    ) -> None:
        super().__init__(data_format, name)
        given = padding if isinstance(padding, (tuple, list)) else (padding, padding)
        sides = [tuple(p) if isinstance(p, (tuple, list)) else (p, p) for p in given]
        ints = all(type(s) is int and s >= 0 for pair in sides for s in pair)
        if len(sides) != 2 or not all(len(pair) == 2 for pair in sides) or not ints:
            raise error(
                self,
                ArgumentError,
                "not a padding",
                expected="an int >= 0, or for each axis one or a pair of them",
                given=repr(padding)[:80],
            )
        self.padding = sides

    def forward(self, x: Tensor) -> Tensor:
        pairs = [(0, 0), *self.padding]
        pairs.insert(3 if self.channels_last(x.type) else 1, (0, 0))
        return pad(x, pairs)


class UpSampling2D(Images):
    """Images that are `size` times as large: the nearest element, or by `mode="bilinear"` what is
    on the line between neighbours.

    Shapes: x [n, channels, h, w] -> [n, channels, h * size, w * size].
    Errors: `ArgumentError` for sizes that are no positive ints, and another mode.
    """

    rank = 2

    def __init__(
        self,
        size: int | Sequence[int] = 2,
        mode: str = "nearest",
        *,
        data_format: str = "NCHW",
        name: str | None = None,
    ) -> None:
        super().__init__(data_format, name)
        self.size = self.each("size", size)
        self.mode = chosen(self, "mode", mode, ("nearest", "bilinear"))

    def forward(self, x: Tensor) -> Tensor:
        self.channels_last(x.type)
        return interpolate(x, scale=self.size, mode=self.mode, data_format=self.data_format)
