"""Batch normalisation."""

from __future__ import annotations

from typing import Any

from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType
from graphc.nn.checks import channel_axis, features, number
from graphc.nn.layouts import Entry, same
from graphc.nn.module import Layer
from graphc.nn.norm_functions import batch_norm, batch_statistics
from graphc.nn.normalization import scaled
from graphc.nn.weights import Weights
from graphc.ops.elementwise import maximum
from graphc.ops.index import size


class BatchNorm(Layer):
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, for each feature or channel.

    In training mean and variance are those of the batch, over all axes but `axis`, and the moving
    ones go on in the same step: moving <- momentum * moving + (1 - momentum) * batch. Without
    training, and where the layer is not `trainable`, the moving ones are used, and stay. `axis` is
    by default 1 for images [n, channels, ...] and the last one of up to three axes. The variance is
    the mean of squares, the moving one too, unless `unbiased` (as torch has it). `center` and
    `scale` say whether there are beta and gamma.
    Shapes: x [n, ...] -> the same; the size of `axis` is static. Dtypes: float; the parameters take
    that of the first input.
    Errors: `ShapeError`, `DTypeError`; `ArgumentError` for a momentum outside of [0, 1), an epsilon
    below 0, and axis 0.
    Source: Ioffe and Szegedy, "Batch Normalization" (2015), algorithms 1 and 2.

    >>> import graphc as gc
    >>> layer = gc.nn.BatchNorm().init(("n", 5))
    >>> [(v.name, v.trainable) for v in layer.variables()][1:3]
    [('batchnorm/beta', True), ('batchnorm/moving_mean', False)]
    """

    gamma: Variable | None
    beta: Variable | None
    moving_mean: Variable
    moving_variance: Variable
    one_tensor = True

    def __init__(
        self,
        axis: int | None = None,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        *,
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        unbiased: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.axis = axis
        self.momentum = number(self, "momentum", momentum, 0.0, 1.0)
        self.epsilon = number(self, "epsilon", epsilon, 0.0)
        self.of_beta = Weights(beta_initializer, beta_regularizer, beta_constraint)
        self.of_gamma = Weights(gamma_initializer, gamma_regularizer, gamma_constraint)
        self.of_moving = Weights(moving_mean_initializer), Weights(moving_variance_initializer)
        self.center, self.scale, self.unbiased = bool(center), bool(scale), bool(unbiased)

    def build(self, x: TensorType) -> None:
        self._axis = channel_axis(self, x, self.axis)
        shape = (features(self, x, axis=self._axis),)
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.of_gamma.variable(self, "gamma", shape, None, x.dtype)
        if self.center:
            self.beta = self.of_beta.variable(self, "beta", shape, None, x.dtype)
        first, second = (w.initializer for w in self.of_moving)
        options: dict[str, Any] = {"dtype": x.dtype, "trainable": False}
        self.moving_mean = self.add_variable("moving_mean", shape, first, **options)
        self.moving_variance = self.add_variable("moving_variance", shape, second, **options)

    def layout(self, library: str) -> list[Entry]:
        if library != "torch":
            return super().layout(library)
        moving = [same("moving_mean", "running_mean"), same("moving_variance", "running_var")]
        return [*scaled(library), *moving]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        features(self, x.type, self.moving_mean.value.size, self._axis)
        options: dict[str, Any] = {"axis": self._axis, "epsilon": self.epsilon}
        if not training or not self.trainable:
            options |= {"mean": self.moving_mean, "variance": self.moving_variance}
            return batch_norm(x, self.gamma, self.beta, **options)
        centre, spread = batch_statistics(x, axis=self._axis)
        self._move(self.moving_mean, centre)
        self._move(self.moving_variance, spread * self._correction(x) if self.unbiased else spread)
        return batch_norm(x, self.gamma, self.beta, mean=centre, variance=spread, **options)

    def _move(self, moving: Variable, batch: Tensor) -> None:
        part = 1 - self.momentum
        self.note_update(moving, self.momentum * self.current(moving) + part * batch)

    def _correction(self, x: Tensor) -> Tensor:
        """n / (n - 1), for n elements of each feature."""
        count = size(x, dtype=x.dtype) / self.moving_mean.value.size
        return count / maximum(count - 1, 1)
