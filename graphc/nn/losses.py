"""Losses: (predictions, targets) -> the loss of each example, to be averaged by the user.

Integer and bool targets are converted to the dtype of the predictions, which is never widened.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, LossWarning, ShapeError
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, show
from graphc.nn.named import find
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import (
    abs,
    equal,
    exp,
    expm1,
    less,
    log,
    log1p,
    logical_and,
    maximum,
    minimum,
    softplus,
    square,
    where,
)
from graphc.ops.reduce import mean, sum
from graphc.ops.softmax import SOFTMAX, log_softmax
from graphc.ops.softmax import softmax_cross_entropy as label_cross_entropy


# -- classes ---------------------------------------------------------------------------------------
def softmax_cross_entropy(
    predictions: Any, targets: Any, label_smoothing: float = 0.0
) -> Tensor:
    """-sum(t * log(softmax(z))) over the last axis, for logits z and targets t.

    A target of 0 at a logit of -inf, a class that is ruled out, adds 0. `label_smoothing` takes
    that part of each target and spreads it over all classes. Predictions that are probabilities
    already, the result of `gc.softmax`, are warned about: `categorical_cross_entropy` takes these.
    Shapes: z [..., classes]; t [...] integer labels, or [..., classes] probabilities -> [...].
    Errors: `ShapeError`, `DTypeError`, `ArgumentError` for a part outside of [0, 1]; at the call a
    `RuntimeFailure` for a label that is no class.
    Source: Goodfellow et al., "Deep Learning" (2016), section 6.2.2.3; for smoothing Szegedy et
    al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7.
    """
    z = tensor(predictions, "softmax_cross_entropy")
    if z.node.op is SOFTMAX:
        origin.warn_once(
            "softmax_cross_entropy takes logits, and these are probabilities: leave the softmax "
            "out, or use categorical_cross_entropy",
            LossWarning,
        )
    return _cross_entropy("softmax_cross_entropy", z, targets, label_smoothing)


def categorical_cross_entropy(
    predictions: Any, targets: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Tensor:
    """-sum(t * log(p)) over the last axis, for probabilities p, which are scaled to a sum of 1.

    Targets are as for `softmax_cross_entropy`, which this is with `from_logits`. log(0) counts as
    the logarithm of the smallest positive number of the dtype; probabilities that are softmax(z) in
    the program are compiled to the form for logits.
    Shapes, errors: as `softmax_cross_entropy`.
    """
    op = "categorical_cross_entropy"
    p = _floats(tensor(predictions, op), op)
    return _cross_entropy(op, p if from_logits else _log(p), targets, label_smoothing)


def sparse_categorical_cross_entropy(
    predictions: Any, targets: Any, from_logits: bool = False
) -> Tensor:
    """`categorical_cross_entropy` of integer labels, by Keras's name."""
    return categorical_cross_entropy(predictions, targets, from_logits)


def _cross_entropy(op: str, logits: Tensor, targets: Any, smoothing: float) -> Tensor:
    z, t = _floats(logits, op), tensor(targets, op)
    part = _part(op, smoothing)
    if z.ndim and may_be_equal(t.shape, z.shape):
        return _smoothed(z, -sum(_weighted(cast(t, z.dtype), log_softmax(z)), axis=-1), part)
    if t.ndim != z.ndim - 1 or not t.dtype.is_integer:
        raise ShapeError(
            "the targets do not fit the predictions",
            op=op,
            expected=f"integers of shape {show(z.shape[:-1])}, or probabilities of shape "
            f"{show(z.shape)}",
            given=str(t.type),
            where=origin.where(),
            hint="labels are integers: use .astype('int64')" if t.dtype.is_float else "",
        )
    return _smoothed(z, label_cross_entropy(z, t), part)


def _smoothed(z: Tensor, loss: Tensor, part: float) -> Tensor:
    """The loss, and for a part of it that of equal targets for all classes."""
    return (1 - part) * loss - part * mean(log_softmax(z), axis=-1) if part else loss


def _part(op: str, smoothing: Any) -> float:
    number = isinstance(smoothing, (int, float)) and not isinstance(smoothing, bool)
    if not number or not 0 <= smoothing <= 1:
        raise ArgumentError(
            "label_smoothing is a part of each target",
            op=op,
            expected="a number in [0, 1]",
            given=repr(smoothing)[:80],
            where=origin.where(),
        )
    return float(smoothing)


def _log(p: Tensor) -> Tensor:
    """log(p); of 0, the logarithm of the smallest positive number."""
    found = log(p)
    return where(equal(found, -math.inf), _floor(p), found)


def _floor(p: Tensor) -> float:
    return float(np.log(np.finfo(p.dtype.numpy).smallest_subnormal))


def kl_divergence(predictions: Any, targets: Any) -> Tensor:
    """sum(t * log(t / p)) over the last axis, for probabilities p and t; a t of 0 adds 0.

    Shapes: [n, ..., classes], [n, ..., classes] -> [n, ...].
    Errors: as `binary_cross_entropy`.
    Source: Kullback and Leibler, "On Information and Sufficiency" (1951).
    """
    p, t = _pair("kl_divergence", predictions, targets)
    return sum(where(equal(t, 0), 0, t * (log(where(equal(t, 0), 1, t)) - _log(p))), axis=-1)


def binary_cross_entropy(
    predictions: Any, targets: Any, from_logits: bool = True, label_smoothing: float = 0.0
) -> Tensor:
    """-(t * log(p) + (1 - t) * log(1 - p)), where p is sigmoid(predictions), or the predictions.

    From logits z it is t * softplus(-z) + (1 - t) * softplus(z): the same value, finite for every
    finite z, with a derivative that is exact where p is near 0 or 1. From probabilities, log(0)
    counts as the logarithm of the smallest positive number of the dtype; probabilities that are
    sigmoid(z) in the program are compiled to the form for logits. `label_smoothing` takes that
    part of each target and gives half of it to either class.
    Shapes: predictions and targets [n, ...] -> [n], the mean over all axes but the first.
    Errors: `ShapeError` where the two shapes differ; `DTypeError` for integer predictions;
    `ArgumentError` for a part outside of [0, 1].
    Source: Goodfellow et al., "Deep Learning" (2016), section 6.2.2.2.
    """
    z, t = _pair("binary_cross_entropy", predictions, targets)
    part = _part("binary_cross_entropy", label_smoothing)
    t = (1 - part) * t + part / 2 if part else t
    if from_logits:
        return _per_example(_weighted(t, softplus(-z)) + _weighted(1 - t, softplus(z)))
    # Where z >= 1/2, 1 - z is exact; and of a sigmoid it is another one, which has digits left.
    logs = log(z), where(less(z, 0.5), log1p(-z), log(1 - z))
    log_p, log_q = (where(equal(x, -math.inf), _floor(z), x) for x in logs)
    return _per_example(-(t * log_p + (1 - t) * log_q))


def hinge(predictions: Any, targets: Any) -> Tensor:
    """max(1 - t * p, 0) for targets of -1 and 1, the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    Source: Cortes and Vapnik, "Support-Vector Networks" (1995).
    """
    p, t = _pair("hinge", predictions, targets)
    return _per_example(maximum(1 - t * p, 0))


def squared_hinge(predictions: Any, targets: Any) -> Tensor:
    """max(1 - t * p, 0)^2 for targets of -1 and 1, the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    """
    p, t = _pair("squared_hinge", predictions, targets)
    return _per_example(square(maximum(1 - t * p, 0)))


# -- numbers ---------------------------------------------------------------------------------------
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


def huber(predictions: Any, targets: Any, delta: float = 1.0) -> Tensor:
    """e^2 / 2 where |e| <= delta, else delta * (|e| - delta / 2), for the error e = prediction -
    target; the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`; `ArgumentError` for a
    delta that is not > 0. Source: Huber, "Robust Estimation of a Location Parameter" (1964).
    """
    p, t = _pair("huber", predictions, targets)
    number = isinstance(delta, (int, float)) and not isinstance(delta, bool)
    if not number or not 0 < delta < math.inf:
        raise ArgumentError(
            "not a threshold",
            op="huber",
            expected="a finite delta > 0",
            given=repr(delta)[:80],
            where=origin.where(),
        )
    size = abs(p - t)
    near = minimum(size, delta)  # no square of what is far away, which may overflow
    return _per_example(near * (size - 0.5 * near))


def log_cosh(predictions: Any, targets: Any) -> Tensor:
    """log(cosh(e)) for the error e = prediction - target: nearly e^2 / 2 where it is small, |e| -
    log(2) where it is large; the mean over all axes but the first.

    Computed below 1 as log1p(cosh(e) - 1), where cosh(e) - 1 = (exp(|e|) - 1) (1 - exp(-|e|)) / 2,
    and from there as |e| + log1p(exp(-2 |e|)) - log(2): neither cancels, neither overflows.
    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    """
    p, t = _pair("log_cosh", predictions, targets)
    size = abs(p - t)
    low = minimum(size, 1)
    near = log1p(expm1(low) * expm1(-low) * -0.5)
    far = size + (log1p(exp(-2 * size)) - math.log(2))
    return _per_example(where(less(size, 1), near, far))


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
        softmax_cross_entropy, categorical_cross_entropy, sparse_categorical_cross_entropy,
        binary_cross_entropy, kl_divergence, hinge, squared_hinge,
        mean_squared_error, mean_absolute_error, huber, log_cosh,
    )
} | {  # as Keras spells them, with its meaning: of probabilities
    "categorical_crossentropy": categorical_cross_entropy,
    "sparse_categorical_crossentropy": sparse_categorical_cross_entropy,
    "binary_crossentropy": functools.partial(binary_cross_entropy, from_logits=False),
    "mse": mean_squared_error,
    "mae": mean_absolute_error,
}  # fmt: skip


def get(loss: Any) -> Callable[..., Tensor]:
    """The loss for a name or a callable. Errors: `ArgumentError` with the known names."""
    return find("loss", LOSSES, loss)
