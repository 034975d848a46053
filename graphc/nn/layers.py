"""Dense, activation, embedding, which is a function as well."""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeError, ShapeError
from graphc.ir.dtype import dtype_or_default
from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType, show
from graphc.keywords import answer
from graphc.nn import activations, initializers
from graphc.nn.checks import error, features, positive_int
from graphc.nn.layouts import Entry, permuted, same
from graphc.nn.module import Layer
from graphc.nn.weights import Weights
from graphc.ops.build import tensor
from graphc.ops.contract import matmul
from graphc.ops.gather import take


class Dense(Layer):
    """activation(x @ kernel + bias).

    Kernel and bias have a regulariser and a constraint each, by name or function; the bias is not
    penalised unless it is given one.
    Shapes: x [..., m], kernel [m, units], bias [units] -> [..., units]; m is static.
    Dtypes: float; the parameters take that of the first input.
    Errors: `ArgumentError` for units that are no positive int, unknown activations, initialisers,
    regularisers or constraints; `ShapeError` for a scalar, a symbolic last axis or another m than
    at first.
    """

    kernel: Variable
    bias: Variable | None
    one_tensor = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.units, self.use_bias, self.seed = positive_int(self, "units", units), use_bias, seed
        self.activation = activations.get(activation)
        self.of_kernel = Weights(kernel_initializer, kernel_regularizer, kernel_constraint)
        self.of_bias = Weights(bias_initializer, bias_regularizer, bias_constraint)

    def build(self, x: TensorType) -> None:
        shape, rng = (features(self, x), self.units), initializers.generator(self.seed)
        self.kernel = self.of_kernel.variable(self, "kernel", shape, rng, x.dtype)
        self.bias = None
        if self.use_bias:
            self.bias = self.of_bias.variable(self, "bias", shape[1:], rng, x.dtype)

    def layout(self, library: str) -> list[Entry]:
        if library == "torch":
            return [permuted("kernel", "weight", (1, 0)), same("bias")]
        return super().layout(library)

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


class Embedding(Layer):
    """The rows of a table at given places: a vector for each int.

    Shapes: x [...] ints -> [..., output_dim]. Dtypes: that of `dtype`, by default the default one.
    Errors: `ArgumentError` for sizes that are no positive ints; `DTypeError` for an input that is
    no int; at the call a `RuntimeFailure` for an int that has no row (a negative one counts from
    the end, as in NumPy).
    """

    table: Variable
    one_tensor = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        *,
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        dtype: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.input_dim = positive_int(self, "input_dim", input_dim)
        self.output_dim = positive_int(self, "output_dim", output_dim)
        self.of_table = Weights(
            embeddings_initializer, embeddings_regularizer, embeddings_constraint
        )
        self.dtype, self.seed = dtype_or_default(dtype), seed

    def build(self, x: TensorType) -> None:
        shape, rng = (self.input_dim, self.output_dim), initializers.generator(self.seed)
        self.table = self.of_table.variable(self, "table", shape, rng, self.dtype)

    def layout(self, library: str) -> list[Entry]:
        return [same("table", "weight" if library == "torch" else "embeddings")]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        return _rows(self, x, self.table)


def embedding(x: Any, table: Any) -> Tensor:
    """The rows of a table at given places: a vector for each int. The gradient of the table adds up
    what its rows get (a scatter).

    Shapes: x [...] ints, table [rows, features] -> [..., features]. Dtypes: that of the table.
    Errors: `DTypeError` for an x that is no int; `ShapeError` for a table that is no matrix; at the
    call a `RuntimeFailure` for an int that has no row (a negative one counts from the end).

    >>> import graphc as gc
    >>> print(gc.evaluate(gc.nn.embedding([2, 0], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])))
    [[5. 6.]
     [1. 2.]]
    """
    rows = tensor(table, "embedding")
    if rows.ndim != 2:
        raise error(
            "embedding",
            ShapeError,
            "the table is no matrix",
            expected="[rows, features]",
            given=show(rows.shape),
        )
    return _rows("embedding", tensor(x, "embedding"), rows)


def _rows(caller: Any, x: Tensor, table: Tensor) -> Tensor:
    if not x.dtype.is_integer:
        raise error(
            caller,
            DTypeError,
            "places are ints",
            expected="an integer dtype",
            given=x.dtype.name,
            hint="use x.astype('int64')",
        )
    return take(table, x, axis=0)


answer(globals())
