"""`Layer`: a function of a tensor that owns variables.

A subclass makes its variables in `build`, which runs at the first call, when the input's type is
known, and its result in `forward`. Variables and layers that are attributes (also in lists, tuples
and dicts) belong to it. State that a training call changes, such as a random key, is not written:
the call notes the new value, and `updates()` hands it to `compile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, GraphcError, ShapeError
from graphc.ir import origin
from graphc.ir.copying import Unsaved
from graphc.ir.dtype import DType, default_dtype, dtype_or_default
from graphc.ir.node import Tensor, Variable, as_flag
from graphc.ir.shape import TensorType, show
from graphc.nn import initializers
from graphc.ops.build import settle, tensor
from graphc.ops.leaf import variable


@dataclass
class _Record:
    """What a layer remembers of its calls."""

    built: bool = False
    output: TensorType | None = None
    pending: dict[Variable, Tensor] = field(default_factory=dict)
    trainable: bool = True
    collected: bool = False  # whether `updates()` has handed out what is pending


class Layer(Unsaved):
    """Base of layers and models. Call it: `layer(x, training=False)`.

    Nodes that it makes belong to the scope `name`, by which drawings group them.
    """

    _instead = "[v.value for v in model.variables()]"

    def __init__(self, name: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise ArgumentError(
                "not a name",
                op=type(self).__name__,
                expected="a string that is not empty",
                given=repr(name)[:80],
                where=origin.where(),
            )
        self.is_named = name is not None
        self.name = name or type(self).__name__.lower()
        self._record = _Record()

    # -- what a subclass defines -------------------------------------------------------------------
    def build(self, x: TensorType) -> None:
        """Make the variables for inputs of type `x`. Runs once, at the first call."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """The result for the input `x`."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    # -- calling -----------------------------------------------------------------------------------
    def __call__(self, x: Any, training: bool = False) -> Tensor:
        with origin.scope(self.name):
            value = tensor(x, self.name)
            if value.weak and value.dtype.is_float:
                value = settle(value, default_dtype())
            if not self._record.built:
                self.build(value.type)
                self._record.built = True
            result = self.forward(value, training)
            self._record.output = result.type
            return result

    def add_variable(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Any = "zeros",
        *,
        rng: np.random.Generator | None = None,
        dtype: DType | str | None = None,
        trainable: bool = True,
    ) -> Variable:
        """A new variable called `<scopes>/<layer>/<name>`; for use in `build`.

        `rng` is the layer's own generator, by default the one that `gc.nn.seed` sets; of the
        default dtype where none is given.
        Errors: `ArgumentError` for an unknown initialiser; `ShapeError` if its array does not fit.
        """
        kind = dtype_or_default(dtype).numpy
        source = initializers.generator() if rng is None else rng
        first = initializers.get(initializer)(shape, source, kind)
        if np.shape(first) != shape:
            raise ShapeError(
                f"the initializer of {name!r} gave another shape",
                op=self.name,
                expected=show(shape),
                given=show(np.shape(first)),
                where=origin.where(),
            )
        path = origin.here()[0].scope
        return variable(first, f"{path}/{name}" if path else name, trainable, kind)

    # -- what belongs to it ------------------------------------------------------------------------
    def layers(self) -> list[Layer]:
        """This layer and all layers inside it, each once, outer before inner."""
        found: dict[Layer, None] = {}
        stack = [self]
        while stack:
            layer = stack.pop()
            if layer not in found:
                found[layer] = None
                inner = [m for m in _members(vars(layer)) if isinstance(m, Layer)]
                stack += reversed(inner)
        return list(found)

    def variables(self) -> list[Variable]:
        """All variables, in order of their layers.

        Errors: `ArgumentError` if a layer has not been called yet, so that it has none.
        """
        found: dict[Variable, None] = {}
        for layer in self.layers():
            if not layer._record.built and type(layer).build is not Layer.build:
                raise ArgumentError(
                    f"layer {layer.name!r} has no variables before its first call",
                    op=self.name,
                    where=origin.where(),
                    hint="call the model on a placeholder first: model(x)",
                )
            found |= dict.fromkeys(layer._own_variables())
        return list(found)

    def _own_variables(self) -> list[Variable]:
        return [m for m in _members(vars(self)) if isinstance(m, Variable)]

    def parameters(self) -> list[Variable]:
        """The trainable variables of trainable layers, in order. Errors: as `variables`."""
        self.variables()  # all there are
        trainable = [layer._own_parameters() for layer in self.layers() if layer.trainable]
        return list(dict.fromkeys(v for own in trainable for v in own))

    def _own_parameters(self) -> list[Variable]:
        return [v for v in self._own_variables() if v.trainable]

    @property
    def trainable(self) -> bool:
        """Whether `parameters()` has this layer's. Setting it sets it for all layers inside too,
        and not for the variables themselves; a step that is compiled goes on as it is."""
        return self._record.trainable

    @trainable.setter
    def trainable(self, new: bool) -> None:
        for layer in self.layers():
            layer._record.trainable = as_flag(new, self.name)

    # -- state that a training call changes --------------------------------------------------------
    def current(self, state: Variable) -> Tensor:
        """The value of `state` at this point of a training call: what is noted, or itself."""
        return state if self._record.collected else self._record.pending.get(state, state)

    def note_update(self, state: Variable, value: Tensor) -> None:
        """Note the new value of `state`, which `updates()` will hand to `compile`."""
        if self._record.collected:
            self._record.pending, self._record.collected = {}, False
        self._record.pending[state] = value

    def updates(self) -> dict[Variable, Tensor]:
        """New values of state variables by the training calls since they were last collected.

        They belong into the `updates` of the compiled step, beside the optimiser's. The next
        training call starts afresh.
        """
        found: dict[Variable, Tensor] = {}
        for layer in self.layers():
            found |= layer._record.pending
            layer._record.collected = True
        return found

    # -- for people --------------------------------------------------------------------------------
    def summary(self) -> str:
        """A table of the layers: name and kind, shape of the last result, number of parameters.

        Errors: as `variables`.
        """
        owned = {layer: layer._own_parameters() for layer in self.layers()}
        every = {v for own in owned.values() for v in own}
        totals = [("total", "", f"{_count(every):,}")]
        if frozen := every - set(self.parameters()):
            totals.append(("frozen", "", f"{_count(frozen):,}"))
        rows = [("layer", "output shape", "parameters")]
        for layer, own in owned.items():
            if own or len(layer.layers()) == 1:  # a container of layers has no row of its own
                output = layer._record.output
                shape = "not called" if output is None else show(output.shape)
                kind = f"{layer.name} ({type(layer).__name__})"
                rows.append((kind, shape, f"{_count(own):,}"))
        widths = [max(len(row[i]) for row in (*rows, *totals)) for i in range(3)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in (*rows, *totals)
        ]
        rule, body = "-" * len(lines[0]), lines[1 : len(rows)]
        return "\n".join([self.name, rule, lines[0], rule, *body, rule, *lines[len(rows) :]])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def _count(variables: Iterable[Variable]) -> int:
    return sum(v.value.size for v in variables)


def _members(attributes: dict[str, Any]) -> Iterator[Any]:
    """Attribute values, those in lists, tuples and dicts one by one."""
    for value in attributes.values():
        if isinstance(value, (list, tuple)):
            yield from value
        elif isinstance(value, dict):
            yield from value.values()
        else:
            yield value


def error(layer: Layer, kind: type[GraphcError], message: str, **sides: str) -> GraphcError:
    """An error of `layer` at the user's line."""
    op = f"{type(layer).__name__} {layer.name!r}"
    return kind(message, op=op, where=origin.where(), **sides)


def positive_int(layer: Layer, name: str, value: Any) -> int:
    """`value` as an int >= 1. Errors: `ArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise error(
            layer,
            ArgumentError,
            f"{name} is not a positive int",
            expected="an int >= 1",
            given=repr(value)[:80],
        )
    return int(value)


def features(layer: Layer, x: TensorType, known: int | None = None) -> int:
    """The size of the last axis of a float input, which is static, and `known` after the first
    call. Errors: `DTypeError`, `ShapeError`."""
    if not x.dtype.is_float:
        raise error(
            layer,
            DTypeError,
            "the input is not float",
            expected="float32 or float64",
            given=x.dtype.name,
            hint="use x.astype('float32')",
        )
    if not x.rank or not isinstance(x.shape[-1], int):
        raise error(
            layer,
            ShapeError,
            "the last axis must have a static size" if x.rank else "the input is a scalar",
            expected="a shape (..., m) with an int m",
            given=show(x.shape),
        )
    if known is not None and x.shape[-1] != known:
        raise error(
            layer,
            ShapeError,
            "the input has another size than at the first call",
            expected=f"(..., {known})",
            given=show(x.shape),
        )
    return x.shape[-1]
