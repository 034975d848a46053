"""Layers that normalise each example by statistics of its own."""

from __future__ import annotations

from typing import Any

from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType
from graphc.nn import initializers
from graphc.nn.checks import features, number
from graphc.nn.module import Layer
from graphc.ops.elementwise import sqrt, square
from graphc.ops.reduce import mean


class _Normalization(Layer):
    """What both share: a scale for each feature of the last axis, and epsilon."""

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

    def forward(self, x: Tensor, training: bool) -> Tensor:
        features(self, x.type, self._size)
        centred = x - mean(x, axis=-1, keepdims=True)
        spread = mean(square(centred), axis=-1, keepdims=True)
        return centred / sqrt(spread + self.epsilon) * self.gamma + self.beta


class RMSNorm(_Normalization):
    """gamma * x / sqrt(mean(x^2) + epsilon), over the last axis of each example.

    Shapes, dtypes, errors: as `LayerNorm`.
    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), equation 4.
    """

    def __init__(
        self, epsilon: float = 1e-6, gamma_initializer: Any = "ones", *, name: str | None = None
    ) -> None:
        super().__init__(epsilon, gamma_initializer, name)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        features(self, x.type, self._size)
        size = mean(square(x), axis=-1, keepdims=True)
        return x / sqrt(size + self.epsilon) * self.gamma
