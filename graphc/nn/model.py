"""`Model`: a graph of layers as a layer; or a base for layers of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dim import Size, names
from graphc.ir.graph import Graph, rebuild
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact
from graphc.ir.shape import may_be_equal
from graphc.ir.structure import flatten, flatten_like, unflatten
from graphc.nn.calls import Called, call_of, vanished
from graphc.nn.checks import error
from graphc.nn.module import Layer
from graphc.passes.unify import at_sizes

Step = Called | Node


class Model(Layer):
    """What leads from `inputs` to `outputs`, as a layer: `Model(x, y)`, `Model([a, b], {"y": y})`.

    Inputs are placeholders (or `gc.nn.Input`), outputs what layers and functions made of them, both
    in any structure. A call goes through the same layers, in training as such. Without inputs and
    outputs it is a `Layer`, for a subclass with a `forward`.
    Errors: `ArgumentError` for outputs that need another input, what is no tensor, and a layer that
    left no trace; at the call for another structure; `ShapeError` for another shape.

    >>> import graphc as gc
    >>> x = gc.nn.Input(("n", 4))
    >>> h = gc.nn.Dropout(0.5)(gc.nn.Dense(8, "relu")(x))
    >>> model = gc.nn.Model(x, gc.nn.Dense(2)(h + 1), name="net")
    >>> model(gc.placeholder("z", ("n", 4)), training=True).shape
    (n, 2)
    >>> len(model.parameters())
    4
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None) -> None:
        super().__init__(name)
        self._graph: _Graph | None = None
        if inputs is not None or outputs is not None:
            self._graph = _Graph(self, inputs, outputs)
            self._layers, self.numbers_layers = self._graph.layers(), True
            for path, v in self.paths().items():  # they were made outside of any model
                v.cell.name = path

    def forward(self, *inputs: Any, **options: Any) -> Any:
        if self._graph is None:
            raise NotImplementedError(f"{type(self).__name__} does not define forward")
        return self._graph.run(inputs, options["training"])

    def traced(self) -> Graph:
        if self._graph is not None and not self._record.built:
            self(*self._graph.given)
        return super().traced()

    def summary(self, shape: Any = None, dtype: Any = None) -> str:
        if shape is None and self._graph is not None and not self._record.built:
            self(*self._graph.given)
        return super().summary(shape, dtype)


class _Graph:
    """The steps of a functional model, in order: calls of layers, and nodes of functions."""

    def __init__(self, model: Model, inputs: Any, outputs: Any) -> None:
        self.model = model
        self.given = [inputs]
        self.inputs, self.structure = _leaves(model, "inputs", inputs)
        self.outputs, self.result = _leaves(model, "outputs", outputs)
        for x in self.inputs:
            self._has_trace(x)
            if Fact.INPUT not in x.node.op.facts:
                raise error(
                    model,
                    ArgumentError,
                    "an input is no placeholder",
                    expected="gc.nn.Input(shape) or gc.placeholder(...)",
                    given=str(x),
                )
        self.steps = self._order()

    def _order(self) -> list[tuple[Step, list[Tensor]]]:
        """Each step, with the tensors that it gives, after those that it needs."""
        done: set[Tensor] = set(self.inputs)
        steps: list[tuple[Step, list[Tensor]]] = []
        stack = list(reversed(self.outputs))
        while stack:
            t = stack[-1]
            if t in done:
                stack.pop()
                continue
            step = self._step(t)
            missing = [n for n in _needs(step) if n not in done]
            if missing:
                stack += missing
                continue
            results = list(step.outputs) if isinstance(step, Node) else _alive(step)
            steps.append((step, results))
            done.update(r for r in results if r is not None)
            stack.pop()
        return steps

    def _step(self, t: Tensor) -> Step:
        self._has_trace(t)
        called = call_of(t.node)
        if called is None and Fact.INPUT in t.node.op.facts:
            raise error(
                self.model,
                ArgumentError,
                "the outputs need another input",
                expected=", ".join(str(x) for x in self.inputs),
                given=str(t),
            )
        return t.node if called is None else called

    def _has_trace(self, t: Tensor) -> None:
        if lost := vanished(t.node):
            raise error(
                self.model,
                ArgumentError,
                f"layer {lost[0].name!r} left no trace, for it gives its input",
                hint="begin the model with gc.nn.Input(shape)",
            )

    def layers(self) -> list[Layer]:
        """The layers that are called, each once."""
        return list(dict.fromkeys(step.layer for step, _ in self.steps if isinstance(step, Called)))

    def run(self, given: tuple[Any, ...], training: bool) -> Any:
        """The outputs for other inputs."""
        values = self._values(given)
        sizes = _sizes(values)
        made: Sequence[Tensor]
        for step, results in self.steps:
            if isinstance(step, Node):
                inputs = [values[t] for t in step.inputs]
                made = at_sizes(step, inputs, sizes) or rebuild(step, inputs).outputs
            else:
                made = step.again(values, training)
            values |= {t: v for t, v in zip(results, made, strict=True) if t is not None}
        return unflatten(self.result, [values[t] for t in self.outputs])

    def _values(self, inputs: tuple[Any, ...]) -> dict[Tensor, Tensor]:
        tree = inputs[0] if len(inputs) == 1 else list(inputs)
        op = f"Model {self.model.name!r}"
        found = flatten_like(op, "the input", "inputs", self.structure, tree)
        for x, value in zip(self.inputs, found, strict=True):
            fits = isinstance(value, Tensor) and x.ndim == value.ndim and x.dtype is value.dtype
            if not fits or not may_be_equal(x.shape, value.shape):
                raise error(
                    self.model,
                    ShapeError,
                    "an input is of another type",
                    expected=str(x.type),
                    given=str(getattr(value, "type", value))[:80],
                )
        return dict(zip(self.inputs, found, strict=True))


def _sizes(values: Mapping[Tensor, Tensor]) -> dict[str, Size]:
    """What stands in a call for the named dims of the model's inputs."""
    found: dict[str, Size] = {}
    for x, value in values.items():
        for own, given in zip(x.shape, value.shape, strict=True):
            if own != given and names(own) == {str(own)}:
                found.setdefault(str(own), given)
    return found


def _needs(step: Step) -> list[Tensor]:
    return list(step.inputs) if isinstance(step, Node) else step.needs


def _alive(called: Called) -> list[Any]:
    """The results of a call; None for those that nobody uses."""
    return [ref() for ref in called.results]


def _leaves(model: Model, what: str, tree: Any) -> tuple[list[Tensor], Any]:
    leaves, structure = flatten(tree)
    if not leaves or not all(isinstance(t, Tensor) for t in leaves):
        raise error(
            model,
            ArgumentError,
            f"{what} are tensors, in any structure",
            expected="Model(inputs, outputs)",
            given=repr(tree)[:80],
        )
    return leaves, structure
