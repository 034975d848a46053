"""Convolutions over sequences, images and volumes.

Images are [n, channels, *space], or with `data_format="NHWC"` [n, *space, channels]. A kernel is
stored as [filters, channels / groups, *window] in either format, so that its first values,
constraints and files do not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType, show
from graphc.nn import activations, initializers
from graphc.nn.checks import error, features, positive_int
from graphc.nn.layouts import Entry, permuted, same
from graphc.nn.module import Layer
from graphc.nn.weights import Weights
from graphc.ops.convolution import conv, conv_transpose
from graphc.ops.image import has_channels_last
from graphc.ops.shape import permute_dims, reshape


class Images(Layer):
    """What layers of images share: the number of axes of space, and where the channels are."""

    one_tensor = True
    rank: int | None = None  # axes of space; None is any number

    def __init__(self, data_format: str, name: str | None) -> None:
        super().__init__(name)
        self.data_format = data_format
        if self.rank is not None:
            has_channels_last(f"{type(self).__name__} {self.name!r}", data_format, self.rank)

    def channels_last(self, x: TensorType) -> bool:
        """Whether the channels are the last axis. Errors: `ShapeError` for another rank."""
        wanted = None if self.rank is None else self.rank + 2
        if x.rank < 3 or (wanted is not None and x.rank != wanted):
            axes = "*space" if self.rank is None else ", ".join(_SPACE[self.rank])
            raise error(
                self,
                ShapeError,
                "the input is no batch of images",
                expected=f"(n, channels, {axes}), or (n, {axes}, channels) with "
                'data_format="NHWC"',
                given=show(x.shape),
                hint="x[None] makes a batch of one image, x[:, None] gives images a channel"
                if wanted is not None and x.rank == wanted - 1
                else "",
            )
        return has_channels_last(self.name, self.data_format, x.rank - 2)

    def each(self, what: str, value: Any) -> tuple[int, ...]:
        """Ints >= 1, one for each axis of space. Errors: `ArgumentError`."""
        assert self.rank is not None
        given = value if isinstance(value, (tuple, list)) else (value,) * self.rank
        if len(given) != self.rank:
            raise error(
                self,
                ArgumentError,
                f"another number of {what} than axes of space",
                expected=f"an int, or {self.rank}",
                given=repr(value)[:80],
            )
        return tuple(positive_int(self, what, v) for v in given)

    def output_mask(self, mask: Any) -> None:
        return None


_SPACE = {1: ("time",), 2: ("height", "width"), 3: ("depth", "height", "width")}


class _Kernel(Images):
    """What convolutions and their transposes share."""

    kernel: Variable
    bias: Variable | None

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Any = "valid",
        activation: Any = None,
        use_bias: bool = True,
        *,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        data_format: str = "NCHW",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(data_format, name)
        self.filters = positive_int(self, "filters", filters)
        self.window = self.each("kernel_size", kernel_size)
        self.strides, self.dilation = self.each("strides", strides), self.each("dilation", dilation)
        self.groups, self.seed = positive_int(self, "groups", groups), seed
        self.padding, self.use_bias = padding, bool(use_bias)
        self.activation = activations.get(activation)
        self.of_kernel = Weights(kernel_initializer, kernel_regularizer, kernel_constraint)
        self.of_bias = Weights(bias_initializer, bias_regularizer, bias_constraint)

    def _features(self, x: TensorType, known: int | None = None) -> int:
        """How many channels the input has."""
        if self.channels_last(x):
            return features(self, x, known)
        assert self.rank is not None
        axes = ", ".join(_SPACE[self.rank])
        hint = f'(n, {axes}, channels) with data_format="NHWC"'
        return features(self, x, known, 1, f"it reads (n, channels, {axes}), or {hint}")

    def build(self, x: TensorType) -> None:
        self._channels = self._features(x)
        rng = initializers.generator(self.seed)
        shape = self.kernel_shape(self._channels, self._filters())
        self.kernel = self.of_kernel.variable(
            self, "kernel", shape, rng, x.dtype, self._first_kernel
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.of_bias.variable(self, "bias", (self._filters(),), rng, x.dtype)

    # -- what a subclass defines -------------------------------------------------------------------
    def kernel_shape(self, channels: int, filters: int) -> tuple[int, ...]:
        """The shape of the kernel. Errors: `ArgumentError` for groups that do not divide both."""
        raise NotImplementedError(type(self).__name__)

    def first_kernel(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any) -> Any:
        """The first values of one group."""
        return self.of_kernel.initializer(shape, rng, dtype)

    def convolved(self, x: Tensor) -> Tensor:
        """The convolution of `x`, without bias."""
        raise NotImplementedError(type(self).__name__)

    # -- what they share ---------------------------------------------------------------------------
    def layout(self, library: str) -> list[Entry]:
        if library == "torch":
            return [same("kernel", "weight"), same("bias")]
        rank = len(self.window)  # in Keras [*window, channels, filters]
        return [permuted("kernel", "kernel", (rank + 1, rank, *range(rank))), same("bias")]

    def _filters(self) -> int:
        return self.filters

    def _groups(self) -> int:
        return self.groups

    def _divided(self, channels: int, filters: int) -> None:
        if channels % self._groups() or filters % self._groups():
            raise error(
                self,
                ArgumentError,
                "the groups do not divide the channels and the filters",
                expected=f"multiples of {self._groups()}",
                given=f"{channels} channels, {filters} filters",
            )

    def _first_kernel(self, shape: Any, rng: np.random.Generator, dtype: Any) -> Any:
        """Each group by itself, so that its fans are what its elements are connected to."""
        if self.of_kernel.given:
            return self.of_kernel.initializer(shape, rng, dtype)
        count = self._groups()
        size = (shape[0] // count, *shape[1:])
        parts = [self.first_kernel(size, rng, dtype) for _ in range(count)]
        return np.concatenate(parts)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        last = self.channels_last(x.type)
        self._features(x.type, self._channels)
        result = self.convolved(x)
        if self.bias is not None:
            size: Any = self.bias.shape[0]
            ones = () if last else (1,) * (x.ndim - 2)
            result = result + reshape(self.bias, (size, *ones))
        return self.activation(result)

    def _stored(self, x: Tensor) -> Tensor:
        """The kernel in the order of the format."""
        if not self.channels_last(x.type):
            return self.kernel
        return permute_dims(self.kernel, (*range(2, x.ndim), 1, 0))


class _Conv(_Kernel):
    """What convolutions of any number of axes share."""

    def kernel_shape(self, channels: int, filters: int) -> tuple[int, ...]:
        self._divided(channels, filters)
        return (filters, channels // self._groups(), *self.window)

    def convolved(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.rank == 1 and padding == "causal":
            padding = (((self.window[0] - 1) * self.dilation[0], 0),)
        return conv(
            x,
            self._stored(x),
            stride=self.strides,
            padding=padding,
            dilation=self.dilation,
            groups=self._groups(),
            data_format=self.data_format,
        )


class Conv1D(_Conv):
    """A convolution over sequences [n, channels, time], or with `data_format="NHWC"`
    [n, time, channels]. The rest is as `Conv2D` has it."""

    rank = 1


class Conv2D(_Conv):
    """activation(sum over each window of x * kernel + bias), for each filter.

    `padding` is "valid", "same", an int, or for each axis an int or a pair; "causal", of one axis,
    has zeros before it, so that no result depends on a later time. With `groups` the channels are
    in so many parts, each with filters of its own.
    Shapes: x [n, channels, height, width], kernel [filters, channels / groups, *window],
    bias [filters] -> [n, filters, *places]; the channels are static. Dtypes: float; the parameters
    take that of the first input.
    Errors: `ArgumentError` for sizes that are no positive ints, unknown names, and groups that do
    not divide channels and filters; `ShapeError` for another rank or other channels, and a window
    larger than the image.
    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998).
    """

    rank = 2


class Conv3D(_Conv):
    """A convolution over volumes [n, channels, depth, height, width]. The rest is as `Conv2D` has
    it."""

    rank = 3


class DepthwiseConv2D(_Conv):
    """A convolution of each channel by itself, with `multiplier` filters for each.

    Shapes: x [n, channels, height, width], kernel [channels * multiplier, 1, *window] ->
    [n, channels * multiplier, ...]. The rest is as `Conv2D` has it.
    """

    rank = 2

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Any = "valid",
        multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(1, kernel_size, strides, padding, activation, use_bias, **options)
        self.multiplier = positive_int(self, "multiplier", multiplier)

    def layout(self, library: str) -> list[Entry]:
        """In Keras the kernel is [*window, channels, multiplier]."""
        if library == "torch":
            return super().layout(library)
        window, channels, multiplier = self.window, self._channels, self.multiplier

        def read(kernel: Any) -> list[Any]:
            turned = np.moveaxis(kernel, (-2, -1), (0, 1))
            return [turned.reshape(channels * multiplier, 1, *window)]

        def write(kernel: Any) -> list[Any]:
            parts = kernel.reshape(channels, multiplier, *window)
            return [np.moveaxis(parts, (0, 1), (-2, -1))]

        return [Entry(("kernel",), ("kernel",), read, write), same("bias")]

    def _filters(self) -> int:
        return self._channels * self.multiplier

    def _groups(self) -> int:
        return self._channels


class _ConvTranspose(_Kernel):
    """What transposes of convolutions share."""

    def __init__(
        self, filters: int, kernel_size: Any, *args: Any, output_padding: Any = 0, **options: Any
    ) -> None:
        super().__init__(filters, kernel_size, *args, **options)
        self.output_padding = output_padding

    def kernel_shape(self, channels: int, filters: int) -> tuple[int, ...]:
        self._divided(channels, filters)
        return (channels, filters // self._groups(), *self.window)

    def first_kernel(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: Any) -> Any:
        turned = (shape[1], shape[0], *shape[2:])  # its outputs are the filters
        return np.swapaxes(super().first_kernel(turned, rng, dtype), 0, 1)

    def convolved(self, x: Tensor) -> Tensor:
        return conv_transpose(
            x,
            self._stored(x),
            stride=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self._groups(),
            data_format=self.data_format,
        )


class Conv1DTranspose(_ConvTranspose):
    """The transpose of a convolution over sequences. The rest is as `Conv2DTranspose` has it."""

    rank = 1


class Conv2DTranspose(_ConvTranspose):
    """The transpose of a convolution: what a `Conv2D` of this kernel makes of the result has the
    shape of the input. It makes images larger.

    Shapes: x [n, channels, *places], kernel [channels, filters / groups, *window], bias [filters]
    -> [n, filters, *space], space = (size - 1) * stride - padding + dilation * (window - 1) + 1 +
    output_padding; with "same" it is size * stride. The rest is as `Conv2D` has it.
    Source: Zeiler et al., "Deconvolutional Networks" (2010).
    """

    rank = 2
