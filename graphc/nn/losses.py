"""Losses: (predictions, targets) -> the loss of each example, to be averaged by the user.

Integer and bool targets are converted to the dtype of the predictions, which is never widened.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, show
from graphc.nn.named import find
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import (
    abs,
    equal,
    less,
    log,
    log1p,
    logical_and,
    softplus,
    square,
    where,
)
from graphc.ops.reduce import mean, sum
from graphc.ops.softmax import log_softmax
from graphc.ops.softmax import softmax_cross_entropy as label_cross_entropy


def softmax_cross_entropy(predictions: Any, targets: Any) -> Tensor:
    """-sum(t * log(softmax(z))) over the last axis, for logits z and targets t.

    A target of 0 at a logit of -inf, a class that is ruled out, adds 0.
    Shapes: z [..., classes]; t [...] integer labels, or [..., classes] probabilities -> [...].
    Errors: `ShapeError`, `DTypeError`; at the call a `RuntimeFailure` for a label that is no class.
    Source: Goodfellow et al., "Deep Learning" (2016), section 6.2.2.3.
    """
    z = _floats(tensor(predictions, "softmax_cross_entropy"), "softmax_cross_entropy")
    t = tensor(targets, "softmax_cross_entropy")
    if z.ndim and may_be_equal(t.shape, z.shape):
        return -sum(_weighted(cast(t, z.dtype), log_softmax(z, axis=-1)), axis=-1)
    if t.ndim != z.ndim - 1 or not t.dtype.is_integer:
        raise ShapeError(
            "the targets do not fit the predictions",
            op="softmax_cross_entropy",
            expected=f"integers of shape {show(z.shape[:-1])}, or probabilities of shape "
            f"{show(z.shape)}",
            given=str(t.type),
            where=origin.where(),
            hint="labels are integers: use .astype('int64')" if t.dtype.is_float else "",
        )
    return label_cross_entropy(z, t)


def binary_cross_entropy(predictions: Any, targets: Any, from_logits: bool = True) -> Tensor:
    """-(t * log(p) + (1 - t) * log(1 - p)), where p is sigmoid(predictions), or the predictions.

    From logits z it is t * softplus(-z) + (1 - t) * softplus(z): the same value, finite for every
    finite z, with a derivative that is exact where p is near 0 or 1. From probabilities, log(0)
    counts as the logarithm of the smallest positive number of the dtype; probabilities that are
    sigmoid(z) in the program are compiled to the form for logits.
    Shapes: predictions and targets [n, ...] -> [n], the mean over all axes but the first.
    Errors: `ShapeError` where the two shapes differ; `DTypeError` for integer predictions.
    Source: Goodfellow et al., "Deep Learning" (2016), section 6.2.2.2.
    """
    z, t = _pair("binary_cross_entropy", predictions, targets)
    if from_logits:
        return _per_example(_weighted(t, softplus(-z)) + _weighted(1 - t, softplus(z)))
    floor = float(np.log(np.finfo(z.dtype.numpy).smallest_subnormal))
    # Where z >= 1/2, 1 - z is exact; and of a sigmoid it is another one, which has digits left.
    logs = log(z), where(less(z, 0.5), log1p(-z), log(1 - z))
    log_p, log_q = (where(equal(x, -math.inf), floor, x) for x in logs)
    return _per_example(-(t * log_p + (1 - t) * log_q))


def mean_squared_error(predictions: Any, targets: Any) -> Tensor:
    """(prediction - target)^2, the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    """
    p, t = _pair("mean_squared_error", predictions, targets)
    return _per_example(square(p - t))


def mean_absolute_error(predictions: Any, targets: Any) -> Tensor:
    """|prediction - target|, the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    """
    p, t = _pair("mean_absolute_error", predictions, targets)
    return _per_example(abs(p - t))


def _floats(predictions: Tensor, op: str) -> Tensor:
    if not predictions.dtype.is_float:
        raise DTypeError(
            "predictions are floats",
            op=op,
            expected="float32 or float64",
            given=predictions.dtype.name,
            where=origin.where(),
        )
    return predictions


def _pair(op: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one dtype and one shape: broadcasting here is a mistake, [n, 1] with [n]
    would silently compare every prediction with every target."""
    p, t = _floats(tensor(predictions, op), op), tensor(targets, op)
    if p.ndim == 0 or not may_be_equal(p.shape, t.shape):
        raise ShapeError(
            "the targets do not fit the predictions",
            op=op,
            expected="two equal shapes (n, ...)",
            given=f"predictions {show(p.shape)}, targets {show(t.shape)}",
            where=origin.where(),
            hint="targets[:, None] adds an axis of size 1" if p.ndim == t.ndim + 1 else "",
        )
    return p, cast(t, p.dtype)


def _weighted(weight: Tensor, value: Tensor) -> Tensor:
    """weight * value, where a weight of 0 takes nothing of an infinite value."""
    nothing = logical_and(equal(weight, 0), equal(abs(value), math.inf))
    return weight * where(nothing, 0, value)


def _per_example(values: Tensor) -> Tensor:
    return mean(values, axis=tuple(range(1, values.ndim))) if values.ndim > 1 else values


LOSSES: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        softmax_cross_entropy, binary_cross_entropy, mean_squared_error, mean_absolute_error
    )
}  # fmt: skip


def get(loss: Any) -> Callable[..., Tensor]:
    """The loss for a name or a callable. Errors: `ArgumentError` with the known names."""
    return find("loss", LOSSES, loss)
