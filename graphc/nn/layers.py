"""Dense, activation, dropout, flatten, embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dim import product
from graphc.ir.dtype import dtype_or_default
from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType
from graphc.nn import activations, initializers
from graphc.nn.module import Layer, error, features, positive_int
from graphc.ops.contract import matmul
from graphc.ops.elementwise import where
from graphc.ops.gather import take
from graphc.ops.random import bernoulli, fold_in
from graphc.ops.shape import reshape


class Dense(Layer):
    """activation(x @ kernel + bias).

    Shapes: x [..., m], kernel [m, units], bias [units] -> [..., units]; m is static.
    Dtypes: float; the parameters take that of the first input.
    Errors: `ArgumentError` for units that are no positive int, unknown activations or
    initialisers; `ShapeError` for a scalar, a symbolic last axis or another m than at first.
    """

    kernel: Variable
    bias: Variable | None

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.units, self.use_bias, self.seed = positive_int(self, "units", units), use_bias, seed
        self.activation = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, x: TensorType) -> None:
        shape, rng = (features(self, x), self.units), initializers.generator(self.seed)
        self.kernel = self.add_variable(
            "kernel", shape, self.kernel_initializer, rng=rng, dtype=x.dtype
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_variable(
                "bias", shape[1:], self.bias_initializer, rng=rng, dtype=x.dtype
            )

    def forward(self, x: Tensor, training: bool) -> Tensor:
        features(self, x.type, self.kernel.value.shape[0])
        result = matmul(x, self.kernel)
        return self.activation(result if self.bias is None else result + self.bias)


class Activation(Layer):
    """An activation, by name or callable, as a layer."""

    def __init__(self, activation: Any, name: str | None = None) -> None:
        super().__init__(name)
        self.activation = activations.get(activation)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        return self.activation(x)


class Flatten(Layer):
    """All axes but the first as one: [n, a, b, ...] -> [n, a * b * ...]."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not x.ndim:
            raise error(self, ShapeError, "the input is a scalar", expected="(n, ...)", given="()")
        return reshape(x, (x.shape[0], product(x.shape[1:])))


class Dropout(Layer):
    """In training each element is 0 with probability `rate`, else scaled by 1 / (1 - rate).

    The random key is a variable; a training call notes its successor in `updates()`. Without
    that update in the compiled step, every step draws the same elements.
    Errors: `ArgumentError` for a rate outside [0, 1).
    Source: Srivastava et al., "Dropout" (2014); scaled in training, as section 10 describes.
    """

    key: Variable

    def __init__(self, rate: float, *, seed: int | None = None, name: str | None = None) -> None:
        super().__init__(name)
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise error(
                self,
                ArgumentError,
                "rate is out of range",
                expected="a number in [0, 1)",
                given=repr(rate)[:80],
            )
        self.rate, self.seed = float(rate), seed

    def build(self, x: TensorType) -> None:
        rng = initializers.generator(self.seed)
        self.key = self.add_variable(
            "key", (2,), _random_key, rng=rng, dtype="uint32", trainable=False
        )

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not training or not self.rate:
            return x
        now = self.current(self.key)
        self.note_update(self.key, fold_in(now, 1))
        keep = bernoulli(now, 1 - self.rate, x.shape)
        return where(keep, x * (1 / (1 - self.rate)), 0.0)


class Embedding(Layer):
    """The rows of a table at given places: a vector for each int.

    Shapes: x [...] ints -> [..., output_dim]. Dtypes: that of `dtype`, by default the default one.
    Errors: `ArgumentError` for sizes that are no positive ints; `DTypeError` for an input that is
    no int; at the call a `RuntimeFailure` for an int that has no row (a negative one counts from
    the end, as in NumPy).
    """

    table: Variable

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        *,
        dtype: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.input_dim = positive_int(self, "input_dim", input_dim)
        self.output_dim = positive_int(self, "output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.dtype, self.seed = dtype_or_default(dtype), seed

    def build(self, x: TensorType) -> None:
        self.table = self.add_variable(
            "table",
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            rng=initializers.generator(self.seed),
            dtype=self.dtype,
        )

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not x.dtype.is_integer:
            raise error(
                self,
                DTypeError,
                "places are ints",
                expected="an integer dtype",
                given=x.dtype.name,
                hint="use x.astype('int64')",
            )
        return take(self.table, x, axis=0)


def _random_key(shape: Any, rng: np.random.Generator, dtype: Any) -> Any:
    return rng.integers(1 << 32, size=shape, dtype=dtype)
