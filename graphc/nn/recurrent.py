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
from graphc.ir.shape import TensorType, may_be_equal, show
from graphc.ir.structure import flatten
from graphc.nn import activations, initializers
from graphc.nn.checks import error, features, positive_int, times_mask
from graphc.nn.layouts import Entry, blocks, permuted, same
from graphc.nn.module import Layer
from graphc.nn.weights import Weights
from graphc.ops.build import tensor
from graphc.ops.contract import matmul
from graphc.ops.create import zeros
from graphc.ops.elementwise import sigmoid, tanh, where
from graphc.ops.getitem import split
from graphc.ops.scan import scan
from graphc.ops.shape import concat, permute_dims


class Recurrent(Layer):
    """Base of recurrent layers: parameters, the scan, and what comes out of it.

    Called as `layer(x, mask=None, initial_state=None)`. Where a mask [batch, time] is False the
    step is left out: the state stays, and the output is that of the step before. The first state is
    0 unless it is given: a tensor [batch, units], or a list of as many as the state has. With
    `return_state` the result is a pair: the output, and the last state as such a list.

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
        return_state: bool = False,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.units, self.seed = positive_int(self, "units", units), seed
        self.return_sequences, self.go_backwards = bool(return_sequences), bool(go_backwards)
        self.return_state = bool(return_state)
        self.of_kernel = Weights(kernel_initializer, kernel_regularizer, kernel_constraint)
        self.of_recurrent = Weights(
            recurrent_initializer, recurrent_regularizer, recurrent_constraint
        )
        self.of_bias = Weights(bias_initializer, bias_regularizer, bias_constraint)

    # -- what a subclass defines -------------------------------------------------------------------
    def step(self, products: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """The state after a step, its first tensor being the output."""
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    def first_bias(self, rng: np.random.Generator, dtype: Any) -> Any:
        """The bias before training."""
        return self.of_bias.initializer((self.gates * self.units,), rng, dtype)

    # -- what they share ---------------------------------------------------------------------------
    def layout(self, library: str) -> list[Entry]:
        """torch has rows for our columns, and two biases that are added."""
        if library != "torch":
            return [same("kernel"), same("recurrent_kernel"), same("bias", optional=True)]
        both = Entry(
            ("bias",), ("bias_ih", "bias_hh"), lambda a, b: [a + b],
            lambda bias: [bias, np.zeros_like(bias)], optional=True,
        )  # fmt: skip
        kernels = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh"}
        return [*(permuted(ours, theirs, (1, 0)) for ours, theirs in kernels.items()), both]

    def twin(self) -> Recurrent:
        """A new layer like this one, for the other direction."""
        other = copy.deepcopy(self)
        other.go_backwards = not self.go_backwards
        other.seed = None if self.seed is None else self.seed + 1
        return other

    def build(self, x: TensorType) -> None:
        rng, width = initializers.generator(self.seed), self.gates * self.units
        self._size = self._features(x)
        self.kernel = self.of_kernel.variable(self, "kernel", (self._size, width), rng, x.dtype)
        self.recurrent_kernel = self.of_recurrent.variable(
            self, "recurrent_kernel", (self.units, width), rng, x.dtype, self._first_recurrent
        )
        self.bias = self.of_bias.variable(
            self, "bias", (width,), rng, x.dtype, lambda _, rng, dtype: self.first_bias(rng, dtype)
        )

    def _first_recurrent(self, shape: Any, rng: np.random.Generator, dtype: Any) -> Any:
        """Each gate's matrix by itself."""
        square = (self.units, self.units)
        parts = [self.of_recurrent.initializer(square, rng, dtype) for _ in range(self.gates)]
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

    def forward(self, x: Tensor, *, mask: Any = None, initial_state: Any = None) -> Any:
        self._features(x.type, self._size)

        def step(state: Any, now: Any) -> tuple[Any, Tensor | None]:
            value, *there = now
            after = self.step(matmul(value, self.kernel) + self.bias, state)
            if there:
                after = [where(there[0], a, b) for a, b in zip(after, state, strict=True)]
            return after, after[0] if self.return_sequences else None

        times = [permute_dims(x, (1, 0, 2))]
        if mask is not None:
            times.append(permute_dims(times_mask(self, mask, x), (1, 0))[..., None])
        last, outputs = scan(step, self._start(x, initial_state), times, reverse=self.go_backwards)
        result = permute_dims(outputs, (1, 0, 2)) if self.return_sequences else last[0]
        return (result, last) if self.return_state else result

    def _start(self, x: Tensor, given: Any) -> list[Tensor]:
        """The state before the first step."""
        shape = (x.shape[0], self.units)
        if given is None:
            return [zeros(shape, x.dtype) for _ in range(self.states)]
        found = [tensor(s, self.name) for s in flatten(given)[0]]
        fits = [s.dtype is x.dtype and may_be_equal(s.shape, shape) for s in found]
        if len(found) != self.states or not all(fits):
            raise error(
                self,
                ShapeError,
                "the initial state does not fit",
                expected=f"{self.states} of {TensorType(x.dtype, shape)}",
                given=", ".join(str(s.type) for s in found),
            )
        return found

    def output_mask(self, mask: Any) -> Any:
        return mask if self.return_sequences else None


class SimpleRNN(Recurrent):
    """h <- activation(x W + h U + b).

    Shapes: x [batch, time, features] -> [batch, units], the last h, or with `return_sequences`
    [batch, time, units]; features and units are static. `go_backwards` begins at the last time;
    each output stays at the time of its input. Mask, initial state and `return_state` are as
    `Recurrent` says. Dtypes: float; the parameters take that of the first input.
    Errors: `ShapeError`, `DTypeError`; `ArgumentError` for units that are no positive int.
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
            shape, rng = (self.units,), initializers.generator(self.seed)
            self.recurrent_bias = self.of_bias.variable(
                self, "recurrent_bias", shape, rng, x.dtype
            )

    def layout(self, library: str) -> list[Entry]:
        """Keras has the columns in our order, torch those of r before those of z. The first form is
        Keras's without `reset_after`, where 1 - z is called z, which is sigmoid of the opposite."""
        if self.form == "course" and library == "torch":
            raise error(
                self, ArgumentError, "torch's equations are of another form",
                expected='form="torch"', given=f"form={self.form!r}",
            )  # fmt: skip
        entries = super().layout(library)
        if self.form == "course":
            return [blocks(entry, (0, 1, 2), negated=(0,)) for entry in entries]
        order, kernels = ((1, 0, 2) if library == "torch" else (0, 1, 2)), entries[:2]
        return [*(blocks(entry, order) for entry in kernels), self._biases(library, order)]

    def _biases(self, library: str, order: Sequence[int]) -> Entry:
        """Two biases of theirs, which add for z and r, as our two."""
        n = 2 * self.units

        def ordered(a: Any) -> Any:
            return np.concatenate([np.split(a, 3)[i] for i in order])  # its own inverse

        def read(*theirs: Any) -> list[Any]:
            first, second = map(ordered, theirs if len(theirs) == 2 else theirs[0])
            return [np.concatenate([first[:n] + second[:n], first[n:]]), second[n:]]

        def write(first: Any, last: Any) -> list[Any]:
            pair = ordered(first), np.concatenate([np.zeros(n, last.dtype), last])
            return list(pair) if library == "torch" else [np.stack(pair)]

        theirs = ("bias_ih", "bias_hh") if library == "torch" else ("bias",)
        return Entry(("bias", "recurrent_bias"), theirs, read, write, optional=True)

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
    last. The initial state is a pair, and so is the last one. `merge` is "concat" (along the last
    axis), "sum", "mul" or "ave".
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

    def forward(self, x: Tensor, *, mask: Any = None, initial_state: Any = None) -> Any:
        starts = (None, None) if initial_state is None else initial_state
        if not isinstance(starts, (list, tuple)) or len(starts) != 2:
            raise error(
                self,
                ArgumentError,
                "the initial state is no pair",
                expected="(that of the first layer, that of the other)",
                given=repr(initial_state)[:80],
            )
        pair = [
            layer(x, mask=mask, initial_state=start)
            for layer, start in zip((self.ahead, self.back), starts, strict=True)
        ]
        if not self.ahead.return_state:
            return _MERGES[self.merge](*pair)
        (a, first), (b, second) = pair
        return _MERGES[self.merge](a, b), (first, second)

    def output_mask(self, mask: Any) -> Any:
        return self.ahead.output_mask(mask)


_MERGES: dict[str, Any] = {
    "concat": lambda a, b: concat([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) * 0.5,
}
