"""Metrics by name. A trainer takes a name, a function, or a metric that a function here makes.

Functions of (predictions, targets), such as `accuracy`, give a value for each example, which is
averaged over all of them. `precision()` and its kin make a metric of all examples together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.elsewhere import finder
from graphc.errors import ArgumentError
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal
from graphc.keywords import answer, answering
from graphc.nn.losses import mean_absolute_error, mean_squared_error
from graphc.nn.named import find
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import equal, greater
from graphc.ops.places import take_along_axis
from graphc.ops.reduce import sum
from graphc.ops.shape import expand_dims
from graphc.train import classes
from graphc.train.classes import Averaged, Confusion, ratio
from graphc.train.metric import R2, Mean, Metric


# -- of each example -------------------------------------------------------------------------------
def accuracy(predictions: Any, targets: Any) -> Tensor:
    """1 where the largest prediction is that of the target class, else 0.

    Shapes: predictions [n, classes] with integers [n] or one-hot targets [n, classes]; or two
    classes, predictions and targets [n] or [n, 1]: `binary_accuracy`. -> [n].
    Dtypes: the predictions'. Errors: `ShapeError` for any other pair.
    """
    given, true = classes.labels("accuracy", predictions, targets, None)
    return cast(equal(given, true), tensor(predictions, "accuracy").dtype)


def binary_accuracy(threshold: float | None = None) -> Callable[..., Tensor]:
    """The metric that is 1 where `prediction > threshold` is the target's class, else 0.

    Without a threshold it is 0.5 for predictions that are the result of a sigmoid, else 0: that of
    logits. Targets are 0 and 1. Shapes: [n, ...], one shape -> [n, ...]: of an image each pixel
    counts, of several labels each.
    """

    def binary_accuracy(predictions: Any, targets: Any) -> Tensor:
        """1 where the prediction is on the target's side of the threshold, else 0."""
        p, t = classes.both("binary_accuracy", predictions, targets)
        if not p.ndim or not may_be_equal(p.shape, t.shape):
            raise classes.mismatch("binary_accuracy", p, t)
        hits = equal(greater(p, classes.cut(p, threshold)), classes.truth(t))
        return cast(hits, p.dtype)

    return binary_accuracy


def top_k_accuracy(predictions: Any, targets: Any, k: int = 5) -> Tensor:
    """1 where less than `k` classes have a larger prediction than the target's, else 0.

    `functools.partial(top_k_accuracy, k=3)` is the metric of another k.
    Shapes, dtypes, errors: as `accuracy` for several classes; `ArgumentError` for a k below 1.
    """
    p, t = classes.both("top_k_accuracy", predictions, targets)
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ArgumentError(
            "k is not a positive int", op="top_k_accuracy", expected="an int >= 1", given=repr(k)
        )
    if classes.is_binary(p, t) or not isinstance(p.shape[-1], int):
        raise classes.mismatch("top_k_accuracy", p, t)
    _, true = classes.labels("top_k_accuracy", p, t, None)
    own = take_along_axis(p, expand_dims(true, -1))
    above = sum(cast(greater(p, own), true.dtype), axis=-1)
    return cast(above < k, p.dtype)


# -- of all examples -------------------------------------------------------------------------------
def precision(average: str | None = None, threshold: float | None = None) -> Metric:
    """Of the examples that are predicted as a class, the part that are of it.

    Of two classes, given as [n] or [n, 1], that of the second; `threshold` as `binary_accuracy`.
    Of several, `average` over those that occur: "macro" (the default) each alike, "weighted" by how
    often, "micro" of all counts together, "none" an array, one for each class. 0 where nothing is
    counted. Errors: `ArgumentError` for an unknown average; as `accuracy`.
    """
    return Averaged("precision", lambda hit, alarm, _: ratio(hit, hit + alarm), average, threshold)


def recall(average: str | None = None, threshold: float | None = None) -> Metric:
    """Of the examples of a class, the part that are predicted so. Parameters: as `precision`."""
    return Averaged("recall", lambda hit, _, missed: ratio(hit, hit + missed), average, threshold)


def f1(average: str | None = None, threshold: float | None = None) -> Metric:
    """The harmonic mean of precision and recall. Parameters: as `precision`."""
    return Averaged(
        "f1",
        lambda hit, alarm, missed: ratio(2 * hit, 2 * hit + alarm + missed),
        average,
        threshold,
    )


def confusion_matrix(threshold: float | None = None) -> Metric:
    """How many examples (or their weight) of each class, a row, are predicted as each, a column."""
    return Confusion("confusion_matrix", lambda matrix: matrix, threshold)


def auc(average: str | None = None, multi_label: bool | None = None) -> Metric:
    """The area under the ROC curve, exact; of several classes one against the rest.

    `average` over classes, or labels: "macro" (the default), "weighted" by how many are of each,
    "micro" of all decisions together, "none" an array. `multi_label` says whether each column is a
    label of its own; by default it is of [n, labels] for predictions of a sigmoid, and for a
    trainer's loss "binary_cross_entropy". See `graphc.train.classes.AUC`.
    Errors: `ArgumentError` for an unknown average; as `accuracy`.
    """
    return classes.AUC("auc", average, multi_label)


def r2() -> Metric:
    """The coefficient of determination. See `graphc.train.metric.R2`."""
    return R2("r2")


def mae() -> Metric:
    """The mean absolute error."""
    return Mean(mean_absolute_error, "mae")


def mse() -> Metric:
    """The mean squared error."""
    return Mean(mean_squared_error, "mse")


def rmse() -> Metric:
    """The root of the mean squared error, over all examples."""
    return Mean(mean_squared_error, "rmse", math.sqrt)


answer(globals())

_MAKERS: dict[str, Callable[[], Metric]] = {
    f.__name__: f for f in (precision, recall, f1, confusion_matrix, auc, r2, mae, mse, rmse)
}
METRICS: dict[str, Callable[..., Any]] = _MAKERS | {
    "acc": accuracy,
    "accuracy": accuracy,
    "categorical_accuracy": accuracy,
    "sparse_categorical_accuracy": accuracy,
    "binary_accuracy": binary_accuracy(),
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "top_k_accuracy": top_k_accuracy,
}


@answering
def get(metric: Any) -> Metric:
    """The metric for a name, a function or a `Metric`. Errors: `ArgumentError` with the names."""
    if isinstance(metric, Metric):
        return metric
    found = find("metric", METRICS, metric)
    if found in _MAKERS.values():
        return found()  # type: ignore[no-any-return]
    return Mean(found, metric if isinstance(metric, str) else None)


_HERE = {
    "AUC": "auc",
    "F1Score": "f1",
    "MeanIoU": "confusion_matrix: hits over its row and column",
    "mean_iou": "confusion_matrix: hits over its row and column",
}


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__, _HERE)
