"""Layers that normalise each example by statistics of its own."""

from __future__ import annotations

from typing import Any

from graphc.errors import ArgumentError
from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType
from graphc.nn import initializers
from graphc.nn.checks import channel_axis, error, features, number, positive_int
from graphc.nn.layouts import Entry, same
from graphc.nn.module import Layer
from graphc.nn.norm_functions import group_norm, layer_norm, rms_norm


def scaled(library: str, *, optional: bool = False) -> list[Entry]:
    """How gamma and beta lie in a state; the latter may be `optional`."""
    names = ("weight", "bias") if library == "torch" else ("gamma", "beta")
    return [same("gamma", names[0]), same("beta", names[1], optional=optional)]


class _Normalization(Layer):
    """What these share: a scale for each feature of the last axis, and epsilon."""

    gamma: Variable
    one_tensor = True

    def __init__(self, epsilon: float, gamma_initializer: Any, name: str | None) -> None:
        super().__init__(name)
        self.epsilon = number(self, "epsilon", epsilon, 0.0)
        self.gamma_initializer = initializers.get(gamma_initializer)

    def build(self, x: TensorType) -> None:
        self._size = features(self, x)
        self.gamma = self.add_variable(
            "gamma", (self._size,), self.gamma_initializer, dtype=x.dtype
        )


class LayerNorm(_Normalization):
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, over the last axis of each example.

    Shapes: x [..., features] -> the same. Dtypes: float; the parameters take that of the first
    input. Errors: `ShapeError`, `DTypeError`; `ArgumentError` for an epsilon below 0.
    Source: Ba, Kiros, Hinton, "Layer Normalization" (2016), equation 4.
    """

    beta: Variable

    def __init__(
        self,
        epsilon: float = 1e-5,
        gamma_initializer: Any = "ones",
        beta_initializer: Any = "zeros",
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(epsilon, gamma_initializer, name)
        self.beta_initializer = initializers.get(beta_initializer)

    def build(self, x: TensorType) -> None:
        super().build(x)
        self.beta = self.add_variable("beta", (self._size,), self.beta_initializer, dtype=x.dtype)

    def layout(self, library: str) -> list[Entry]:
        return scaled(library, optional=True)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        features(self, x.type, self._size)
        return layer_norm(x, self.gamma, self.beta, epsilon=self.epsilon)


class RMSNorm(_Normalization):
    """gamma * x / sqrt(mean(x^2) + epsilon), over the last axis of each example.

    Shapes, dtypes, errors: as `LayerNorm`.
    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), equation 4.
    """

    def __init__(
        self, epsilon: float = 1e-6, gamma_initializer: Any = "ones", *, name: str | None = None
    ) -> None:
        super().__init__(epsilon, gamma_initializer, name)

    def layout(self, library: str) -> list[Entry]:
        return [same("gamma", "weight" if library == "torch" else "scale")]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        features(self, x.type, self._size)
        return rms_norm(x, self.gamma, epsilon=self.epsilon)


class GroupNorm(Layer):
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta; the statistics are those of a group of
    channels of one example, gamma and beta are of each channel.

    `axis` has the channels, by default 1 for images [n, channels, ...] and the last one of up to
    three axes. Shapes: x [n, ...] -> the same; the number of channels is static, and a multiple of
    `groups`. Dtypes: float; the parameters take that of the first input.
    Errors: `ShapeError`, `DTypeError`; `ArgumentError` for groups that are no positive int or do
    not divide the channels, and an epsilon below 0.
    Source: Wu and He, "Group Normalization" (2018), equations 1 to 6.
    """

    gamma: Variable | None
    beta: Variable | None
    one_tensor = True

    def __init__(
        self,
        groups: int = 32,
        axis: int | None = None,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.groups: int | None = positive_int(self, "groups", groups)
        self.axis, self.epsilon = axis, number(self, "epsilon", epsilon, 0.0)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)

    def build(self, x: TensorType) -> None:
        self._axis = channel_axis(self, x, self.axis)
        self._size = features(self, x, axis=self._axis)
        if self._size % self._groups():
            raise error(
                self,
                ArgumentError,
                "the channels cannot be grouped",
                expected=f"a multiple of {self.groups} channels",
                given=str(self._size),
            )
        shape, dtype = (self._size,), x.dtype
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_variable("gamma", shape, self.gamma_initializer, dtype=dtype)
        if self.center:
            self.beta = self.add_variable("beta", shape, self.beta_initializer, dtype=dtype)

    def layout(self, library: str) -> list[Entry]:
        return scaled(library)

    def _groups(self) -> int:
        return self._size if self.groups is None else self.groups

    def forward(self, x: Tensor, training: bool) -> Tensor:
        features(self, x.type, self._size, self._axis)
        options: dict[str, Any] = {"axis": self._axis, "epsilon": self.epsilon}
        return group_norm(x, self._groups(), self.gamma, self.beta, **options)


class InstanceNorm(GroupNorm):
    """`GroupNorm` where each channel is a group: the statistics are those of one channel of one
    example.

    Shapes, dtypes, errors: as `GroupNorm`.
    Source: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization" (2016).
    """

    def __init__(
        self,
        axis: int | None = None,
        epsilon: float = 1e-5,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(1, axis, epsilon, name=name, **options)
        self.groups = None
