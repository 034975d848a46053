"""Metrics of classes: from the confusion matrix of all examples, or from all their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import bool_, float64, int64
from graphc.ir.node import Tensor
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import may_be_equal, show
from graphc.nn.loss import aligned, along
from graphc.nn.loss import labels as class_labels
from graphc.ops.build import cast, tensor
from graphc.ops.create import arange
from graphc.ops.elementwise import equal, greater
from graphc.ops.reduce import argmax
from graphc.ops.segments import segment_sum
from graphc.ops.shape import broadcast_to, expand_dims, reshape
from graphc.ops.softmax import softmax
from graphc.train.metric import Array, Metric, State, added

AVERAGES = ("macro", "micro", "weighted", "none")


def labels(op: str, predictions: Any, targets: Any, threshold: float | None) -> tuple[Any, Any]:
    """The predicted and the true class of each example, int64 [n].

    Shapes: predictions [n, classes] with integers [n] or one-hot targets [n, classes]; or two
    classes, predictions [n] or [n, 1] with targets [n] or [n, 1]. Errors: `ShapeError`.
    """
    p, t = both(op, predictions, targets)
    if is_binary(p, t):
        rows = (p.shape[0],)
        here = cast(reshape(greater(p, cut(p, threshold)), rows), int64)
        return here, cast(reshape(truth(t), rows), int64)
    if p.ndim and may_be_equal(p.shape, t.shape):
        return argmax(p, axis=-1), argmax(t, axis=-1)
    if p.ndim and may_be_equal(p.shape[:-1], t.shape) and not t.dtype.is_float:
        return argmax(p, axis=-1), cast(t, int64)
    raise mismatch(op, p, t)


def both(op: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Predictions and targets as tensors; [n] and [n, 1] are alike."""
    p, t = tensor(predictions, op), tensor(targets, op)
    return p, class_labels(p, aligned(p, t))


def is_binary(p: Tensor, t: Tensor) -> bool:
    """Whether they are of two classes, one number for each example."""
    return bool(p.ndim) and may_be_equal(p.shape, t.shape) and p.shape[1:] in ((), (1,))


def truth(t: Tensor) -> Tensor:
    """Targets 0 and 1 as truth values."""
    return t if t.dtype is bool_ else greater(t, 0.5 if t.dtype.is_float else 0)


def cut(p: Tensor, threshold: float | None) -> float:
    """What a prediction of the second class is above: 0.5 for the result of a sigmoid, which is a
    probability, else 0, which is that of a logit."""
    if threshold is not None:
        return threshold
    return 0.5 if is_result(p, "sigmoid") else 0.0


def is_result(p: Tensor, function: str) -> bool:
    """Whether elements are those of the result of a function, in any order."""
    while p.node.inputs and (p.node.op.kind is Kind.VIEW or Fact.REINDEX in p.node.op.facts):
        p = p.node.inputs[0]
    return p.node.op.name == function


def spread(op: str, weights: Tensor, values: Tensor) -> Tensor:
    """Weights of the first axes as one for each value. Errors: `ShapeError`."""
    if not may_be_equal(weights.shape, values.shape[: weights.ndim]):
        raise ShapeError(
            "the weights do not fit what is counted", op=op, given=show(weights.shape),
            expected=f"the first axes of {show(values.shape)}", where=origin.where(),
        )  # fmt: skip
    return broadcast_to(along(weights, values), values.shape)


def known_average(op: str, average: str | None) -> str | None:
    """`average` as given. Errors: `ArgumentError` for an unknown one."""
    average = average if average is None else str(average)
    if average is not None and average not in AVERAGES:
        raise ArgumentError(
            "unknown average", op=op, expected=" or ".join(map(repr, AVERAGES)),
            given=repr(average),
        )  # fmt: skip
    return average


def mismatch(op: str, predictions: Tensor, targets: Tensor) -> ShapeError:
    return ShapeError(
        "the targets do not fit the predictions",
        op=op,
        expected="predictions (n, classes) with integers (n,) or one-hot (n, classes); "
        "or of two classes (n,) or (n, 1)",
        given=f"predictions {show(predictions.shape)}, targets {targets.dtype.name} "
        f"{show(targets.shape)}",
        where=origin.where(),
    )


class Confusion(Metric):
    """What `finish` makes of the confusion matrix: how much weight each pair of a true class (row)
    and a predicted one (column) has."""

    def __init__(
        self, name: str, finish: Callable[[Array], Any], threshold: float | None = None
    ) -> None:
        super().__init__(name)
        self.finish, self.threshold = finish, threshold

    def start(self, predictions: Any, targets: Any) -> Mapping[str, Any]:
        p, t = both(self.name, predictions, targets)
        labels(self.name, p, t, self.threshold)
        classes = 2 if is_binary(p, t) else p.shape[-1]
        if not isinstance(classes, int):
            raise ShapeError("the number of classes has a name", op=self.name, given=show(p.shape))
        return {"matrix": np.zeros((classes, classes))}

    def update(self, state: State, predictions: Any, targets: Any, weights: Tensor) -> State:
        given, true = labels(self.name, predictions, targets, self.threshold)
        classes = state["matrix"].shape[0]
        assert isinstance(classes, int)
        weights = spread(self.name, weights, given).reshape((-1,))
        given, true = given.reshape((-1,)), true.reshape((-1,))
        pairs = segment_sum(weights, true * classes + given, classes * classes)
        return {"matrix": state["matrix"] + pairs.reshape((classes, classes))}

    def merge(self, state: State, other: State) -> State:
        return added(state, other)

    def result(self, state: Mapping[str, Array]) -> Any:
        return self.finish(state["matrix"])


class Decisions(Metric):
    """What `metric` is of each decision between two classes by itself: of the pixels of an image,
    of several labels."""

    def __init__(self, metric: Confusion) -> None:
        super().__init__(metric.name)
        self.metric = metric

    def _flat(self, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
        p, t = both(self.name, predictions, targets)
        if not p.ndim or not may_be_equal(p.shape, t.shape):
            raise mismatch(self.name, p, t)
        return reshape(p, (-1,)), reshape(t, (-1,))

    def start(self, predictions: Any, targets: Any) -> Mapping[str, Any]:
        return self.metric.start(*self._flat(predictions, targets))

    def update(self, state: State, predictions: Any, targets: Any, weights: Tensor) -> State:
        each = reshape(spread(self.name, weights, predictions), (-1,))
        return self.metric.update(state, *self._flat(predictions, targets), each)

    def merge(self, state: State, other: State) -> State:
        return self.metric.merge(state, other)

    def result(self, state: Mapping[str, Array]) -> Any:
        return self.metric.result(state)


class Averaged(Confusion):
    """A score of each class from its counts (hits, false alarms, misses), averaged over classes."""

    def __init__(
        self,
        name: str,
        score: Callable[[Array, Array, Array], Array],
        average: str | None,
        threshold: float | None,
    ) -> None:
        super().__init__(name, self._average, threshold)
        self.score, self.average = score, known_average(name, average)
        self._binary = False

    def start(self, predictions: Any, targets: Any) -> Mapping[str, Any]:
        first = super().start(predictions, targets)
        self._binary = is_binary(*both(self.name, predictions, targets))
        return first

    def _average(self, matrix: Array) -> Any:
        hits = np.diagonal(matrix)
        alarms, misses = matrix.sum(0) - hits, matrix.sum(1) - hits
        if self.average == "micro":
            return float(self.score(hits.sum(), alarms.sum(), misses.sum()))
        scores = self.score(hits, alarms, misses)
        if self.average == "none":
            return scores
        if self.average is None and self._binary:
            return float(scores[1])
        if self.average == "weighted":
            return float(ratio(np.sum(scores * (hits + misses)), np.sum(hits + misses)))
        seen = hits + alarms + misses > 0  # a class that is nowhere has no score
        return float(scores[seen].mean()) if seen.any() else 0.0


class AUC(Metric):
    """The area under the curve of the true by the false positive rate: how often an example of a
    class has the higher score than one of the others, a tie counted half.

    Of several classes one against the rest, by their probabilities: scores that are not the result
    of a softmax are put through one. Of several labels [n, labels] each by itself; of decisions in
    more axes, as pixels, all together, unless `multi_label` says that the last axis is labels.
    `average` is as for `precision`; a column that is all of one kind has no area, and NaN is what
    remains where none has one.
    Exact: the scores of all examples are kept, sorted at the end.
    Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve" (1982); Provost and Domingos, "Well-Trained PETs" (2000), for
    several classes.
    """

    def __init__(
        self,
        name: str,
        average: str | None = None,
        multi_label: bool | None = None,
        decisions: bool = False,
    ) -> None:
        """`decisions` says that a loss makes each prediction one between two classes."""
        super().__init__(name)
        self.average = known_average(name, average) or "macro"
        self.multi_label, self.decisions = multi_label, decisions

    def examples(self, predictions: Any, targets: Any, weights: Tensor) -> State:
        p, t = both(self.name, predictions, targets)
        if not p.dtype.is_float:
            raise DTypeError("scores are floats", op=self.name, given=p.dtype.name)
        scores, true = self._columns(p, t)
        return {
            "scores": scores, "true": true, "weights": spread(self.name, weights, scores[..., 0])
        }  # fmt: skip

    def _columns(self, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and truth values [..., columns]."""
        same = bool(p.ndim) and may_be_equal(p.shape, t.shape)
        if is_binary(p, t):
            return reshape(p, (p.shape[0], 1)), reshape(truth(t), (p.shape[0], 1))
        several = self.multi_label
        if several is None and same:
            several = self.decisions or is_result(p, "sigmoid")
            if several and p.ndim > 2:
                return expand_dims(p, -1), expand_dims(truth(t), -1)
        if several and same:
            return p, truth(t)
        _, true = labels(self.name, p, t, None)
        if not isinstance(p.shape[-1], int):
            raise ShapeError("the number of classes has a name", op=self.name, given=show(p.shape))
        if p.shape[-1] == 2:
            return p[..., 1:] - p[..., :1], cast(expand_dims(true, -1), bool_)
        share = p if is_result(p, "softmax") else softmax(p)
        return share, equal(expand_dims(true, -1), arange(p.shape[-1]))

    def result(self, state: Mapping[str, Array]) -> Any:
        scores, true = (state[k].reshape(-1, state[k].shape[-1]) for k in ("scores", "true"))
        weights = state["weights"].reshape(-1)
        count = scores.shape[1]
        if self.average == "micro":
            return area(scores.ravel(), true.ravel(), np.repeat(weights, count))
        areas = np.array([area(scores[:, k], true[:, k], weights) for k in range(count)])
        if self.average == "none" and count > 1:
            return areas
        there = ~np.isnan(areas)
        if np.isnan(scores).any() or not there.any():
            return float("nan")
        shares = weights @ true if self.average == "weighted" else np.ones(count)
        return float(np.average(areas[there], weights=shares[there]))


def area(scores: Array, true: Array, weights: Array) -> float:
    """The area under the curve of one class; NaN where it, or the rest, has no weight."""
    if np.isnan(scores).any():
        return float("nan")
    _, places = np.unique(scores, return_inverse=True)
    ones = np.bincount(places, weights * true)
    zeros = np.bincount(places, weights * ~true)
    below = np.cumsum(zeros) - zeros
    pairs = ones.sum() * zeros.sum()
    return float((ones * (below + zeros / 2)).sum() / pairs) if pairs else float("nan")


def ratio(part: Any, whole: Any) -> Any:
    """part / whole, and 0 where there is nothing."""
    part, whole = np.asarray(part, float64.numpy), np.asarray(whole, float64.numpy)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
