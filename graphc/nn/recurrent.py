"""Recurrent layers: one step for each time, over sequences [batch, time, features].

Each is a `scan` over the time axis. The product of the inputs with the kernel does not wait for the
step before, so that it is one product over all times.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import TensorType, show
from graphc.nn import activations, initializers
from graphc.nn.checks import error, features, positive_int
from graphc.nn.module import Layer
from graphc.ops.contract import matmul
from graphc.ops.create import zeros
from graphc.ops.elementwise import sigmoid, tanh
from graphc.ops.getitem import split
from graphc.ops.scan import scan
from graphc.ops.shape import concat, permute_dims


class Recurrent(Layer):
    """Base of recurrent layers: parameters, the scan, and what comes out of it.

    A subclass says how many `gates` of `units` columns the kernels have, how many tensors its
    `state` has, and what one `step` does: from W x, the kernels' products with the inputs, to the
    next state, whose first tensor is the output.
    """

    kernel: Variable
    recurrent_kernel: Variable
    bias: Variable
    gates = 1
    states = 1
    one_tensor = True

    def __init__(
        self,
        units: int,
        return_sequences: bool = False,
        go_backwards: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        *,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.units, self.seed = positive_int(self, "units", units), seed
        self.return_sequences, self.go_backwards = bool(return_sequences), bool(go_backwards)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    # -- what a subclass defines -------------------------------------------------------------------
    def step(self, products: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """The state after a step, its first tensor being the output."""
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    def first_bias(self, rng: np.random.Generator, dtype: Any) -> Any:
        """The bias before training."""
        return self.bias_initializer((self.gates * self.units,), rng, dtype)

    # -- what they share ---------------------------------------------------------------------------
    def twin(self) -> Recurrent:
        """A new layer like this one, for the other direction."""
        other = copy.deepcopy(self)
        other.go_backwards = not self.go_backwards
        other.seed = None if self.seed is None else self.seed + 1
        return other

    def build(self, x: TensorType) -> None:
        rng, width = initializers.generator(self.seed), self.gates * self.units
        self._size = self._features(x)
        self.kernel = self.add_variable(
            "kernel", (self._size, width), self.kernel_initializer, rng=rng, dtype=x.dtype
        )
        self.recurrent_kernel = self.add_variable(
            "recurrent_kernel",
            (self.units, width),
            self._first_recurrent,
            rng=rng,
            dtype=x.dtype,
        )
        self.bias = self.add_variable(
            "bias", (width,), lambda shape, rng, dtype: self.first_bias(rng, dtype),
            rng=rng, dtype=x.dtype,
        )  # fmt: skip

    def _first_recurrent(self, shape: Any, rng: np.random.Generator, dtype: Any) -> Any:
        """Each gate's matrix by itself."""
        square = (self.units, self.units)
        parts = [self.recurrent_initializer(square, rng, dtype) for _ in range(self.gates)]
        return np.concatenate(parts, axis=1)

    def _features(self, x: TensorType, known: int | None = None) -> int:
        if x.rank != 3:
            raise error(
                self,
                ShapeError,
                "the input is no batch of sequences",
                expected="(batch, time, features)",
                given=show(x.shape),
                hint="x[..., None] adds an axis of one feature" if x.rank == 2 else "",
            )
        return features(self, x, known)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self._features(x.type, self._size)

        def step(state: Any, now: Tensor) -> tuple[Any, Tensor | None]:
            products = matmul(now, self.kernel) + self.bias
            state = self.step(products, state)
            return state, state[0] if self.return_sequences else None

        start = [zeros((x.shape[0], self.units), x.dtype) for _ in range(self.states)]
        times = permute_dims(x, (1, 0, 2))
        last, outputs = scan(step, start, times, reverse=self.go_backwards)
        if not self.return_sequences:
            result: Tensor = last[0]
            return result
        return permute_dims(outputs, (1, 0, 2))


class SimpleRNN(Recurrent):
    """h <- activation(x W + h U + b).

    Shapes: x [batch, time, features] -> [batch, units], the last h, or with `return_sequences`
    [batch, time, units]; features and units are static. `go_backwards` begins at the last time;
    each output stays at the time of its input. Dtypes: float; the parameters take that of the first
    input. Errors: `ShapeError`, `DTypeError`; `ArgumentError` for units that are no positive int.
    Source: Elman, "Finding Structure in Time" (1990).
    """

    def __init__(self, units: int, activation: Any = "tanh", **options: Any) -> None:
        super().__init__(units, **options)
        self.activation = activations.get(activation)

    def step(self, products: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        (h,) = state
        return [self.activation(products + matmul(h, self.recurrent_kernel))]


class LSTM(Recurrent):
    """i, f, g, o = x W + h U + b; c <- sigmoid(f) c + sigmoid(i) tanh(g); h <- sigmoid(o) tanh(c).

    The columns of W, U and b are those of i, f, g, o, in this order (Keras's and PyTorch's). The
    bias of f starts at 1, so that a new layer remembers, unless `unit_forget_bias` is False.
    Shapes, dtypes, errors: as `SimpleRNN`.
    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997); the gate f by Gers,
    Schmidhuber, Cummins, "Learning to Forget" (2000); its bias by Jozefowicz, Zaremba, Sutskever,
    "An Empirical Exploration of Recurrent Network Architectures" (2015).
    """

    gates, states = 4, 2

    def __init__(self, units: int, *, unit_forget_bias: bool = True, **options: Any) -> None:
        super().__init__(units, **options)
        self.unit_forget_bias = bool(unit_forget_bias)

    def first_bias(self, rng: np.random.Generator, dtype: Any) -> Any:
        first = np.array(super().first_bias(rng, dtype))
        if self.unit_forget_bias:
            first[self.units : 2 * self.units] = 1
        return first

    def step(self, products: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        h, c = state
        i, f, g, o = split(products + matmul(h, self.recurrent_kernel), 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return [sigmoid(o) * tanh(c), c]


class GRU(Recurrent):
    """z, r = sigmoid(x W + h U + b) of their columns; then a candidate c, and a step towards it.

    With `form="course"`, by default: c = tanh(x W_c + (r h) U_c + b_c), h <- (1 - z) h + z c.
    With `form="keras"` or "torch": c = tanh(x W_c + b_c + r (h U_c + b')), h <- z h + (1 - z) c.
    The columns of W, U and b are those of z, r, c, in this order; b' is `recurrent_bias`.
    Shapes, dtypes, errors: as `SimpleRNN`; `ArgumentError` for another form.
    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014); Chung et
    al., "Empirical Evaluation of Gated Recurrent Neural Networks" (2014) for the first form.
    """

    recurrent_bias: Variable | None
    gates = 3

    def __init__(self, units: int, *, form: str = "course", **options: Any) -> None:
        super().__init__(units, **options)
        if form not in ("course", "keras", "torch"):
            raise error(
                self,
                ArgumentError,
                "an unknown form",
                expected="'course', 'keras' or 'torch'",
                given=repr(form)[:80],
            )
        self.form = form

    def build(self, x: TensorType) -> None:
        super().build(x)
        self.recurrent_bias = None
        if self.form != "course":
            self.recurrent_bias = self.add_variable(
                "recurrent_bias", (self.units,), self.bias_initializer, dtype=x.dtype
            )

    def step(self, products: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        (h,), n = state, self.units
        u = self.recurrent_kernel
        if self.recurrent_bias is None:
            z, r = split(sigmoid(products[:, : 2 * n] + matmul(h, u[:, : 2 * n])), 2, axis=-1)
            c = tanh(products[:, 2 * n :] + matmul(r * h, u[:, 2 * n :]))
            return [(1 - z) * h + z * c]
        back = matmul(h, u)
        z, r = split(sigmoid(products[:, : 2 * n] + back[:, : 2 * n]), 2, axis=-1)
        c = tanh(products[:, 2 * n :] + r * (back[:, 2 * n :] + self.recurrent_bias))
        return [z * h + (1 - z) * c]


class Bidirectional(Layer):
    """Two recurrent layers over the same sequences, one from either end; what both give is joined.

    `forward_layer` reads from the first time on; its twin, with parameters of its own, from the
    last. `merge` is "concat" (along the last axis), "sum", "mul" or "ave".
    Shapes: as those of the layer; "concat" doubles the last axis.
    Errors: `ArgumentError` for what is no recurrent layer, and another merge.
    Source: Schuster and Paliwal, "Bidirectional Recurrent Neural Networks" (1997).
    """

    def __init__(
        self, forward_layer: Recurrent, merge: str = "concat", *, name: str | None = None
    ) -> None:
        super().__init__(name)
        if not isinstance(forward_layer, Recurrent) or forward_layer._record.built:
            raise error(
                self,
                ArgumentError,
                "not a new recurrent layer",
                expected="SimpleRNN(...), LSTM(...) or GRU(...), not called yet",
                given=repr(forward_layer)[:80],
            )
        if merge not in _MERGES:
            raise error(
                self,
                ArgumentError,
                "an unknown merge",
                expected=", ".join(map(repr, _MERGES)),
                given=repr(merge)[:80],
            )
        self.merge = merge
        self.ahead = forward_layer
        self.back = forward_layer.twin()
        for layer, name_ in ((self.ahead, "forward"), (self.back, "backward")):
            layer.name, layer.is_named = name_, True

    def forward(self, x: Tensor, training: bool) -> Tensor:
        joined: Tensor = _MERGES[self.merge](
            self.ahead(x, training=training), self.back(x, training=training)
        )
        return joined


_MERGES: dict[str, Any] = {
    "concat": lambda a, b: concat([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) * 0.5,
}
