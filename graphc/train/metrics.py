"""Metrics: (predictions, targets) -> a value for each example, averaged over the examples.

A trainer takes one as a name or as a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import ShapeError
from graphc.ir import origin
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, show
from graphc.nn.losses import mean_absolute_error, mean_squared_error
from graphc.nn.named import find
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import equal, greater
from graphc.ops.reduce import argmax
from graphc.ops.shape import reshape


def accuracy(predictions: Any, targets: Any) -> Tensor:
    """1 where the largest prediction is that of the target class, else 0.

    Shapes: predictions [n, classes] with integers [n] or one-hot targets [n, classes]; or two
    classes, predictions [n] or [n, 1] with targets of that shape: `binary_accuracy` of logits.
    -> [n]. Dtypes: the predictions'. Errors: `ShapeError` for any other pair.
    """
    p, t = tensor(predictions, "accuracy"), tensor(targets, "accuracy")
    if p.ndim and may_be_equal(p.shape, t.shape) and (p.ndim == 1 or p.shape[1:] == (1,)):
        return binary_accuracy()(p, t)
    if p.ndim and may_be_equal(p.shape, t.shape):
        labels = argmax(t, axis=-1)
    elif p.ndim and may_be_equal(p.shape[:-1], t.shape) and not t.dtype.is_float:
        labels = cast(t, argmax(p, axis=-1).dtype)
    else:
        raise _mismatch("accuracy", p, t)
    return cast(equal(argmax(p, axis=-1), labels), p.dtype)


def binary_accuracy(threshold: float = 0.0) -> Callable[..., Tensor]:
    """The metric that is 1 where `prediction > threshold` is the target's class, else 0.

    The threshold is 0 for logits; it is 0.5 for probabilities. Targets are 0 and 1.
    Shapes: [n] or [n, 1], both -> [n].
    """

    def binary_accuracy(predictions: Any, targets: Any) -> Tensor:
        p, t = tensor(predictions, "binary_accuracy"), tensor(targets, "binary_accuracy")
        if not p.ndim or not may_be_equal(p.shape, t.shape) or p.shape[1:] not in ((), (1,)):
            raise _mismatch("binary_accuracy", p, t)
        truth = t if t.dtype is bool_ else greater(t, 0.5 if t.dtype.is_float else 0)
        hit = equal(greater(p, threshold), truth)
        return cast(reshape(hit, (p.shape[0],)), p.dtype)

    return binary_accuracy


def _mismatch(op: str, predictions: Tensor, targets: Tensor) -> ShapeError:
    return ShapeError(
        "the targets do not fit the predictions",
        op=op,
        expected="predictions (n, classes) with integers (n,) or one-hot (n, classes); "
        "or both (n,) or (n, 1)",
        given=f"predictions {show(predictions.shape)}, targets {targets.dtype.name} "
        f"{show(targets.shape)}",
        where=origin.where(),
    )


METRICS: dict[str, Callable[..., Tensor]] = {
    "accuracy": accuracy,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
}


def get(metric: Any) -> Callable[..., Tensor]:
    """The metric for a name or a callable. Errors: `ArgumentError` with the known names."""
    return find("metric", METRICS, metric)
