"""`Metric`: a number over all examples of an epoch, by state that every batch adds to.

It is exact over the epoch, not a mean of what batches gave. The state are variables that the same
native step updates; what cannot be added up, as the scores of a curve, is kept for each example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import float64
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, show
from graphc.keywords import Answering
from graphc.nn.loss import aligned, along
from graphc.ops.build import cast
from graphc.ops.create import ones
from graphc.ops.reduce import sum
from graphc.ops.shape import broadcast_to
from graphc.train.terms import Term, given_by

Array: TypeAlias = np.ndarray[Any, Any]
State: TypeAlias = dict[str, Tensor]


class Metric(Answering):
    """Base of metrics. A subclass says what it adds up, or what it keeps, and what that comes to.

    `start` gives the first values of its state, by name, `update` the state behind a batch, with a
    weight for each example; `examples` gives tensors [n, ...] that are kept whole. `result` makes
    the number, or an array, of all of them.

    >>> import graphc as gc
    >>> class Largest(gc.train.Metric):
    ...     def start(self, predictions, targets):
    ...         return {"most": -np.inf}
    ...     def update(self, state, predictions, targets, weights):
    ...         here = gc.max(predictions).astype("float64")
    ...         return {"most": gc.maximum(state["most"], here)}
    ...     def result(self, state):
    ...         return float(state["most"])
    >>> Largest().name
    'largest'
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or type(self).__name__.lower()

    def start(self, predictions: Any, targets: Any) -> Mapping[str, Any]:
        """First values of the state, for predictions and targets like these tensors."""
        return {}

    def update(self, state: State, predictions: Any, targets: Any, weights: Tensor) -> State:
        """The state behind a batch; weights float64, [n], or those of steps that were given."""
        return {}

    def examples(self, predictions: Any, targets: Any, weights: Tensor) -> State:
        """What is kept of each example: tensors [n, ...]."""
        return {}

    def merge(self, state: State, other: State) -> State:
        """The state behind the batches of `state` and those of `other`, each counted from `start`:
        what a training by several workers needs. Errors: `ArgumentError` unless a subclass says."""
        raise ArgumentError(
            "this metric does not say how the states of two workers become one",
            op=self.name, where=origin.where(),
            hint=f"define {type(self).__name__}.merge(state, other), or evaluate it after training",
        )  # fmt: skip

    def result(self, state: Mapping[str, Array]) -> Any:
        """What state and examples come to: a number, or an array."""
        kind = type(self).__name__
        raise ArgumentError(
            "this metric does not say what its state comes to", op=kind,
            expected="a method result(state) -> a number, or an array", where=origin.where(),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<metric {self.name!r}>"


class Means(Metric):
    """The sum of the means of terms over an epoch."""

    def __init__(
        self, name: str, count: int = 1, finish: Callable[[float], float] = float
    ) -> None:
        super().__init__(name)
        self.count, self.finish = count, finish

    def _keys(self) -> list[tuple[str, str]]:
        """The names of sum and divisor of each term."""
        ends = ("", *map(str, range(1, self.count)))
        return [(f"total{end}", f"weight{end}") for end in ends]

    def start(self, predictions: Any, targets: Any) -> Mapping[str, Any]:
        return {key: 0.0 for pair in self._keys() for key in pair}

    def add(self, state: State, terms: Sequence[Term], weights: Tensor) -> State:
        """The state behind a batch, for weights of examples [n]."""
        found = {}
        for keys, term in zip(self._keys(), terms, strict=True):
            for key, more in zip(keys, term.sums(weights), strict=True):
                found[key] = state[key] + more
        return found

    def merge(self, state: State, other: State) -> State:
        return added(state, other)

    def result(self, state: Mapping[str, Array]) -> float:
        pairs = [(float(state[t]), float(state[w])) for t, w in self._keys()]
        means = [total / weight for total, weight in pairs if weight]
        return self.finish(math.fsum(means)) if means else float("nan")


class Mean(Means):
    """The mean, by weights, of a function (predictions, targets) -> a value for each example, or
    one number for the batch; what its mask leaves out counts nowhere. `finish` is applied to the
    mean."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        finish: Callable[[float], float] = float,
    ) -> None:
        super().__init__(name or named(function), 1, finish)
        self.function = function

    def update(self, state: State, predictions: Any, targets: Any, weights: Tensor) -> State:
        steps = weights if weights.ndim > 1 else None
        made, terms = given_by(self.name, self.function, predictions, targets, steps)
        if len(terms) > 1:
            raise ArgumentError(
                "a metric with several masks", op=self.name, where=origin.where(),
                expected="one mean over what counts alike", hint="give them as several metrics",
            )  # fmt: skip
        return self.add(state, terms, weights if steps is None else ones((made.shape[0],), float64))


class R2(Metric):
    """1 - sum((t - p)^2) / sum((t - mean(t))^2), the part of the targets' variance that predictions
    explain; the mean over columns. Targets that are all equal count 1 where they are met, else 0.

    Mean and sum of squares are merged batch by batch, so that a large mean costs no digits.
    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979), equation 2.1.
    """

    def start(self, predictions: Any, targets: Any) -> Mapping[str, Any]:
        p, _ = same_shapes("r2", predictions, targets)
        columns = tuple(p.shape[1:])
        if not all(isinstance(s, int) for s in columns):
            raise ShapeError("columns of named sizes", op="r2", given=show(p.shape))
        zeros = np.zeros(tuple(int(s) for s in columns))
        return {"weight": zeros, "mean": zeros, "squares": zeros, "errors": zeros}

    def update(self, state: State, predictions: Any, targets: Any, weights: Tensor) -> State:
        p, t = (cast(x, float64) for x in same_shapes("r2", predictions, targets))
        w = broadcast_to(along(weights, t), t.shape)
        here = sum(w, axis=0)
        middle = sum(w * t, axis=0) / (here + (here == 0))
        batch = {
            "weight": here,
            "mean": middle,
            "squares": sum(w * (t - middle) ** 2, axis=0),
            "errors": sum(w * (t - p) ** 2, axis=0),
        }
        return self.merge(state, batch)

    def merge(self, state: State, other: State) -> State:
        here = other["weight"]
        after = state["weight"] + here
        share = here / (after + (after == 0))
        apart = other["mean"] - state["mean"]
        return {
            "weight": after,
            "mean": state["mean"] + apart * share,
            "squares": state["squares"] + other["squares"] + apart**2 * state["weight"] * share,
            "errors": state["errors"] + other["errors"],
        }

    def result(self, state: Mapping[str, Array]) -> float:
        squares, errors = np.ravel(state["squares"]), np.ravel(state["errors"])
        flat = squares == 0
        scores = np.where(flat, errors == 0, 1 - errors / np.where(flat, 1, squares))
        return float(scores.mean())


# -- what they share -------------------------------------------------------------------------------
def added(state: State, other: State) -> State:
    """The merged state of a metric that only adds up."""
    return {key: value + other[key] for key, value in state.items()}


def named(function: Any) -> str:
    """The name of a function, also of one with parameters bound by `functools.partial`."""
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__name__", type(function).__name__))


def same_shapes(op: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape; one number for each example may be [n] in one and [n, 1] in the
    other. Errors: `ShapeError` if their shapes differ else, or they have no examples."""
    if not isinstance(predictions, Tensor) or not isinstance(targets, Tensor):
        raise ArgumentError(
            "a metric of one output", op=op, expected="a tensor of predictions and one of targets",
            given=f"{type(predictions).__name__}, {type(targets).__name__}",
            hint="give metrics by output: metrics={'output': [...]}",
        )  # fmt: skip
    targets = aligned(predictions, targets)
    if not predictions.ndim or not may_be_equal(predictions.shape, targets.shape):
        raise ShapeError(
            "the targets do not fit the predictions",
            op=op,
            expected="two equal shapes (n, ...)",
            given=f"predictions {show(predictions.shape)}, targets {show(targets.shape)}",
            where=origin.where(),
        )
    return predictions, targets
