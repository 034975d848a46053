"""`Step`: loss and metrics of a batch as one compiled function, with training or without.

The function adds to the state of the loss and of the metrics in the same native call. A training
step whose loss is not finite fails, and so it changes nothing: `gc.ensure` stands around its loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
from graphc.runtime.compile import Function
from graphc.runtime.compile import compile as compile_function
from graphc.train.batches import Array, Data
from graphc.train.metric import Mean, Metric
from graphc.train.objective import Loss, Part, each_metric

NOT_FINITE = "the loss is not finite"
Logs = dict[str, Any]


def diverged(error: RuntimeFailure) -> bool:
    """Whether a training step failed because its loss is not finite."""
    return error.op == "ensure" and error.message == NOT_FINITE


class Tally:
    """A metric with its state, for one compiled function."""

    def __init__(self, metric: Metric, name: str, predictions: Any, targets: Any) -> None:
        self.metric, self.name = metric, name
        first = metric.start(predictions, targets)
        self._first = {key: np.asarray(value) for key, value in first.items()}
        self._state = {
            key: variable(value, f"metric/{name}/{key}", False, str(value.dtype))
            for key, value in self._first.items()
        }
        self.kept: list[str] = []

    def updates(self, new: dict[str, Tensor]) -> dict[Variable, Tensor]:
        """The new state as updates. Errors: `ArgumentError` for names it did not start with."""
        if set(new) != set(self._state):
            raise ArgumentError(
                "a metric updates other state than it started with",
                op=self.name,
                expected=", ".join(self._state) or "none",
                given=", ".join(new) or "none",
            )
        return {self._state[key]: value for key, value in new.items()}

    @property
    def state(self) -> dict[str, Tensor]:
        return dict(self._state)

    def reset(self) -> None:
        for key, value in self._first.items():
            self._state[key].value = value

    def value(self, kept: Sequence[Array] = ()) -> Any:
        """The result over all batches since `reset`; `kept` is of all their examples."""
        state = {key: v.value for key, v in self._state.items()}
        return self.metric.result(state | dict(zip(self.kept, kept, strict=False)))


class Types(NamedTuple):
    """What a step is made for: the structure of its data and each array's shape and dtype."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]  # of an example
    dtypes: tuple[str, ...]

    @staticmethod
    def of(data: Data) -> Types:
        dtypes = tuple(str(a.dtype) for a in data.arrays)
        return Types(data.structure, tuple(a.shape[1:] for a in data.arrays), dtypes)

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
        inputs, (x, targets, weights) = types.placeholders()
        predictions = predict(x)
        total, values = loss(predictions, targets, weights)
        updates: dict[Variable, Tensor] = {}
        if training is not None:
            updates = training(total)
            with origin.scope("loss"):  # beside the updates: trials inside of them may be infinite
                total = ensure(total, isfinite(total), NOT_FINITE)
        count = inputs[0].shape[0]
        with origin.scope("loss"):
            each = ones((count,), float64) if weights is None else cast(weights, float64)
        self.tallies: list[Tally] = []
        outputs: dict[str, Any] = {"loss": total}
        for name, value in values.items():
            with origin.scope(name):
                mean = Mean(lambda p, t: p, name)
                tally = self._add(mean, name, predictions, targets)
                updates |= tally.updates(mean.add(tally.state, value, each))
        for name, metric, p, t in each_metric(metrics, predictions, targets):
            with origin.scope(name):
                tally = self._add(metric, name, p, t)
                updates |= tally.updates(metric.update(tally.state, p, t, each))
                kept = metric.examples(p, t, each)
            tally.kept = list(kept)
            if kept:
                outputs[name] = kept
        self.function: Function = compile_function(
            inputs,
            outputs,
            updates=updates,
            target=target,
            device=device,
            name="evaluate" if training is None else "fit",
            flush_subnormals=True,
        )

    def _add(self, metric: Metric, name: str, predictions: Any, targets: Any) -> Tally:
        tally = Tally(metric, name, predictions, targets)
        self.tallies.append(tally)
        return tally

    def reset(self) -> None:
        """Begin an epoch."""
        for tally in self.tallies:
            tally.reset()

    def running(self) -> Logs:
        """The numbers so far, of the metrics that keep no examples."""
        return {t.name: t.value() for t in self.tallies if not t.kept}

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
