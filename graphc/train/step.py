"""`Step`: loss and metrics of a batch as one compiled function, with training or without.

The function adds to the state of the loss and of the metrics in the same native call. A training
step whose loss is not finite fails, and so it changes nothing: `gc.ensure` stands around its loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from graphc.errors import ArgumentError, RuntimeFailure
from graphc.ir import origin
from graphc.ir.dtype import float64
from graphc.ir.node import Tensor, Variable
from graphc.ir.structure import flatten, paths, unflatten
from graphc.ops.build import cast
from graphc.ops.create import ones
from graphc.ops.elementwise import isfinite
from graphc.ops.ensure import ensure
from graphc.ops.leaf import placeholder, variable
from graphc.runtime.batches import Batches
from graphc.runtime.compile import Function
from graphc.runtime.compile import compile as compile_function
from graphc.train.batches import Array, Data
from graphc.train.metric import Means, Metric, State
from graphc.train.objective import Loss, Part, each_metric

NOT_FINITE = "the loss is not finite"
Logs = dict[str, Any]


def diverged(error: RuntimeFailure) -> bool:
    """Whether a training step failed because its loss is not finite."""
    return error.op == "ensure" and error.message == NOT_FINITE


class Tally:
    """A metric over predictions and targets, with its state for one compiled function.

    `after` gives the state behind a batch; `kept` is what it keeps of each example.
    """

    def __init__(
        self,
        metric: Metric,
        name: str,
        predictions: Any,
        targets: Any,
        after: Callable[[State], State],
        kept: State | None = None,
    ) -> None:
        self.metric, self.name, self._after, self.kept = metric, name, after, dict(kept or {})
        with origin.scope(name):
            first = metric.start(predictions, targets)
        self.first = {key: np.asarray(value) for key, value in first.items()}
        self.state: dict[str, Variable] = {
            key: variable(value, f"metric/{name}/{key}", False, str(value.dtype))
            for key, value in self.first.items()
        }

    def after(self, state: State) -> State:
        """The state behind the batch, for what it is before. Errors: `ArgumentError` for names it
        did not start with."""
        with origin.scope(self.name):
            new = self._after(state)
        if set(new) != set(self.state):
            raise ArgumentError(
                "a metric updates other state than it started with",
                op=self.name,
                expected=", ".join(self.state) or "none",
                given=", ".join(new) or "none",
            )
        return {key: new[key] for key in self.state}

    def updates(self) -> dict[Variable, Tensor]:
        """The new state as updates."""
        new = self.after(dict(self.state))
        return {self.state[key]: value for key, value in new.items()}

    def reset(self) -> None:
        for key, value in self.first.items():
            self.state[key].value = value

    def value(self, kept: Sequence[Array] = ()) -> Any:
        """The result over all batches since `reset`; `kept` is of all their examples."""
        state = {key: v.value for key, v in self.state.items()}
        return self.metric.result(state | dict(zip(self.kept, kept, strict=False)))


class Walk(Protocol):
    """Steps over arrays, as `runtime/batches.py` makes them."""

    size: int  # examples of a step
    count: int  # steps
    done: int  # of the last run

    @property
    def results(self) -> list[Array]:
        """What metrics keep, of all examples."""

    def run(self, first: int, count: int, order: Array | None = None) -> None:
        """Make `count` steps, from step `first` on, of the examples in this order."""


class Types(NamedTuple):
    """What a step is made for: the structure of its data and each array's shape and dtype."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]  # of an example
    dtypes: tuple[str, ...]

    @staticmethod
    def of(data: Data) -> Types:
        dtypes = tuple(str(a.dtype) for a in data.arrays)
        return Types(data.structure, tuple(a.shape[1:] for a in data.arrays), dtypes)

    @property
    def weighted(self) -> bool:
        """Whether the last array are the weights of examples."""
        return unflatten(self.structure, self.shapes)[2] is not None

    def placeholders(self) -> tuple[list[Tensor], Any]:
        """The inputs of a step, and how x, y and weights are nested."""
        structure = self.structure
        found: list[Tensor] = []
        names = iter(_names(structure))
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            found.append(placeholder(next(names), ("n", *shape), dtype))
        return found, unflatten(structure, found)


def _names(structure: Any) -> list[str]:
    """`x`, `y`, `weights` and how their parts are written."""
    every = paths(structure, "")
    roots = ("x", "y", "weights")
    return [roots[int(p[1])] + p[3:] for p in every]


class Batch(NamedTuple):
    """A batch as tensors: the inputs of a step, what is minimised, and what is told of it."""

    inputs: list[Tensor]
    total: Tensor
    tallies: list[Tally]


def batch(
    types: Types,
    predict: Callable[[Any], Any],
    loss: Callable[[Any, Any, Tensor | None], Loss],
    metrics: list[Part],
) -> Batch:
    """Predictions, loss and metrics for data of some types."""
    inputs, (x, targets, weights) = types.placeholders()
    predictions = predict(x)
    total, means = loss(predictions, targets, weights)
    with origin.scope("loss"):
        count = inputs[0].shape[0]
        each = alike = ones((count,), float64)
        if weights is not None:
            each = cast(weights, float64)
            alike = alike if weights.ndim > 1 else each  # those of steps are in the terms
    tallies = []
    for name, terms in means.items():
        mean = Means(name, len(terms))
        after = partial(_after, mean.add, terms, alike)
        tallies.append(Tally(mean, name, predictions, targets, after))
    for name, metric, p, t in each_metric(metrics, predictions, targets):
        with origin.scope(name):
            kept = metric.examples(p, t, each)
        after = partial(_after, metric.update, p, t, each)
        tallies.append(Tally(metric, name, p, t, after, kept))
    return Batch(inputs, total, tallies)


def _after(update: Callable[..., State], *batch: Any) -> State:
    """The state of a metric behind a batch; the state before comes last."""
    *of_batch, state = batch
    return update(state, *of_batch)


class Step:
    """One compiled function for data of some types.

    `training` gives the updates of model and optimiser for a loss, or is None. `function` takes the
    arrays of a batch and gives `{"loss": ...}`, and what metrics keep of each example.
    """

    def __init__(
        self,
        types: Types,
        predict: Callable[[Any], Any],
        loss: Callable[[Any, Any, Tensor | None], Loss],
        metrics: list[Part],
        training: Callable[[Tensor], dict[Variable, Tensor]] | None,
        target: str,
        device: int | None,
    ) -> None:
        inputs, total, self.tallies = batch(types, predict, loss, metrics)
        updates: dict[Variable, Tensor] = {}
        if training is not None:
            updates = training(total)
            with origin.scope("loss"):  # beside the updates: trials inside of them may be infinite
                total = ensure(total, isfinite(total), NOT_FINITE)
        outputs: dict[str, Any] = {"loss": total}
        for tally in self.tallies:
            updates |= tally.updates()
            if tally.kept:
                outputs[tally.name] = tally.kept
        self.function: Function = compile_function(
            inputs,
            outputs,
            updates=updates,
            target=target,
            device=device,
            name="evaluate" if training is None else "fit",
            flush_subnormals=True,
        )

    def walk(self, arrays: Sequence[Array], size: int) -> Walk:
        """The steps over arrays, `size` examples each."""
        return Batches(self.function, arrays, size)

    def kept(self, arrays: Sequence[Array]) -> list[Array]:
        """One step over these arrays; what metrics keep of them."""
        return [r for r in self.function.flat(*arrays) if np.ndim(r)]

    def reset(self) -> None:
        """Begin an epoch."""
        for tally in self.tallies:
            tally.reset()

    def running(self) -> Logs:
        """The numbers so far, of the metrics that keep no examples."""
        return {t.name: t.value() for t in self.tallies if not t.kept}

    def shown(self) -> Logs:
        """What the bar shows meanwhile."""
        return self.running()

    def logs(self, kept: Sequence[Array]) -> Logs:
        """The numbers of an epoch; `kept` are the outputs of all examples, in their order."""
        arrays, found = iter(kept), {}
        for tally in self.tallies:
            found[tally.name] = tally.value([next(arrays) for _ in tally.kept])
        return found


def prediction(
    types: Types, predict: Callable[[Any], Any], target: str, device: int | None
) -> tuple[Function, Any]:
    """The model's results as a compiled function of the arrays of x, and their structure."""
    inputs, (x, _, _) = types.placeholders()
    outputs = predict(x)
    function = compile_function(
        inputs, outputs, target=target, device=device, name="predict", flush_subnormals=True
    )
    return function, flatten(outputs, sort=False)[1]
