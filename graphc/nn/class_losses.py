"""Losses of classes: from logits and from probabilities, with integer labels or one-hot ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, LossWarning, ShapeError
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.ir.op import Kind, registry
from graphc.ir.shape import may_be_equal, show
from graphc.nn.loss import elementwise, floats, labels, loss, numbers, pair, part_of, times
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import (
    equal,
    less,
    log,
    log1p,
    maximum,
    sigmoid,
    softplus,
    square,
    where,
)
from graphc.ops.gather import take
from graphc.ops.powers import power
from graphc.ops.reduce import max, mean, sum
from graphc.ops.softmax import classes_hint, log_softmax
from graphc.ops.softmax import softmax_cross_entropy as label_cross_entropy

_INTEGERS = "labels are integers: use .astype('int64')"


@loss
def softmax_cross_entropy(
    predictions: Any, targets: Any, label_smoothing: float = 0.0, *, class_weight: Any = None
) -> Any:
    """-sum(t * log(softmax(z))) over the last axis, for logits z and targets t.

    A target of 0 at a logit of -inf, a class that is ruled out, adds 0. `label_smoothing` takes
    that part of each target and spreads it over all classes; `class_weight` has a weight for each
    class, as an array or a dict, which multiplies its term, and the mean divides by the weights of
    the targets.
    Predictions that are probabilities already, the result of `gc.softmax`, are warned about:
    `categorical_cross_entropy` takes these.
    Shapes: z [..., classes]; t [...] or [..., 1] integer labels, or [..., classes] probabilities
    -> [...].
    Errors: `ShapeError`, `DTypeError`, `ArgumentError` for a part outside of [0, 1]; at the call a
    `RuntimeFailure` for a label that is no class.
    Source: Goodfellow et al., "Deep Learning" (2016), section 6.2.2.3; for smoothing Szegedy et
    al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7.
    """
    op = "softmax_cross_entropy"
    return _of_logits(op, tensor(predictions, op), targets, label_smoothing, class_weight)


@loss
def categorical_cross_entropy(
    predictions: Any,
    targets: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    *,
    class_weight: Any = None,
) -> Any:
    """-sum(t * log(p)) over the last axis, for probabilities p, which are scaled to a sum of 1.

    Targets are as for `softmax_cross_entropy`, which this is with `from_logits`. log(0) counts as
    the logarithm of the smallest positive number of the dtype; probabilities that are softmax(z) in
    the program are compiled to the form for logits.
    Shapes, errors: as `softmax_cross_entropy`.
    """
    return _categorical(predictions, targets, from_logits, label_smoothing, class_weight)


@loss
def sparse_categorical_cross_entropy(
    predictions: Any, targets: Any, from_logits: bool = False, *, class_weight: Any = None
) -> Any:
    """`categorical_cross_entropy` of integer labels, by Keras's name."""
    return _categorical(predictions, targets, from_logits, 0.0, class_weight)


def _categorical(
    predictions: Any, targets: Any, from_logits: bool, smoothing: float, weights: Any
) -> Any:
    op = "categorical_cross_entropy"
    p = floats(tensor(predictions, op), op)
    if from_logits:
        return _of_logits(op, p, targets, smoothing, weights)
    _warn_of_scores(p, "softmax", op)
    return _cross_entropy(op, _log(p), targets, smoothing, weights)


def _of_logits(op: str, z: Tensor, targets: Any, smoothing: float, weights: Any) -> Any:
    _warn_of(z, "softmax", op, "use categorical_cross_entropy")
    return _cross_entropy(op, z, targets, smoothing, weights)


def _warn_of(z: Tensor, function: str, op: str, instead: str) -> None:
    """Probabilities where logits are wanted."""
    if z.node.op is registry()[function]:
        origin.warn_once(
            f"{op} takes logits, and these are probabilities: leave the {function} out, or "
            f"{instead}",
            LossWarning,
        )


def _warn_of_scores(p: Tensor, function: str, op: str) -> None:
    """The result of a linear layer where probabilities are wanted."""
    p = _moved(p)
    parts = p.node.inputs if p.node.op is registry()["add"] else (p,)
    if any(_moved(part).node.op.kind is Kind.CONTRACT for part in parts):
        origin.warn_once(
            f"{op} takes probabilities, and these are the scores of a linear layer: give "
            f"from_logits=True, or put a {function} behind the layer",
            LossWarning,
        )


def _moved(t: Tensor) -> Tensor:
    """What a tensor is moved elements of."""
    while t.node.op.only_moves and len(t.node.inputs) == 1:
        (t,) = t.node.inputs
    return t


def _cross_entropy(op: str, logits: Tensor, targets: Any, smoothing: float, weights: Any) -> Any:
    """The loss of each example; with weights of classes, and those of the targets."""
    z = floats(logits, op)
    t = labels(z, tensor(targets, op))
    part = part_of(op, "label_smoothing", smoothing)
    w = None if weights is None else _of_classes(op, weights, z)
    if z.ndim and may_be_equal(t.shape, z.shape):
        t = cast(t, z.dtype)
        shares = t if w is None else t * w
        values = _smoothed(z, -sum(times(shares, log_softmax(z)), axis=-1), part, w)
        return values if w is None else (values, sum(shares, axis=-1))
    if t.ndim != z.ndim - 1 or not t.dtype.is_integer:
        raise ShapeError(
            "the targets do not fit the predictions",
            op=op,
            expected=f"integers of shape {show(z.shape[:-1])}, or probabilities of shape "
            f"{show(z.shape)}",
            given=str(t.type),
            where=origin.where(),
            hint=classes_hint(z.shape, t.shape)
            or ("" if t.dtype.is_integer or t.ndim == z.ndim else _INTEGERS),
        )
    found = label_cross_entropy(z, t)
    if w is None:
        return _smoothed(z, found, part, None)
    of_labels = take(w, t, axis=0)
    return _smoothed(z, found * of_labels, part, w), of_labels


def _of_classes(op: str, weights: Any, z: Tensor) -> Tensor:
    if isinstance(weights, Mapping):  # as `fit` has them
        count: Any = z.shape[-1]
        weights = [weights.get(i) for i in range(count)] if isinstance(count, int) else [None]
        if None in weights:
            raise ArgumentError(
                "a class has no weight", op=op, expected=f"a weight for each of {count}",
                given=f"none for {weights.index(None)}", where=origin.where(),
            )  # fmt: skip
    found = cast(tensor(weights, op), z.dtype)
    if found.ndim != 1 or not may_be_equal(found.shape, z.shape[-1:]):
        raise ShapeError(
            "the weights do not fit the classes",
            op=op,
            expected=f"one for each class: {show(z.shape[-1:])}",
            given=show(found.shape),
            where=origin.where(),
        )
    return found


def _smoothed(z: Tensor, found: Tensor, part: float, weights: Tensor | None) -> Tensor:
    """The loss, and for a part of it that of equal targets for all classes."""
    if not part:
        return found
    logs = log_softmax(z)
    return (1 - part) * found - part * mean(logs if weights is None else logs * weights, axis=-1)


def _log(p: Tensor) -> Tensor:
    """log(p); of 0, the logarithm of the smallest positive number."""
    found = log(p)
    return where(equal(found, -math.inf), _floor(p), found)


def _floor(p: Tensor) -> float:
    return float(np.log(np.finfo(p.dtype.numpy).smallest_subnormal))


@loss
def kl_divergence(predictions: Any, targets: Any) -> Tensor:
    """sum(t * log(t / p)) over the last axis, for probabilities p and t; a t of 0 adds 0.

    Shapes: [n, ..., classes], [n, ..., classes] -> [n, ...].
    Errors: as `binary_cross_entropy`.
    Source: Kullback and Leibler, "On Information and Sufficiency" (1951).
    """
    p, t = pair("kl_divergence", predictions, targets)
    return sum(where(equal(t, 0), 0, t * (log(where(equal(t, 0), 1, t)) - _log(p))), axis=-1)


@elementwise
def binary_cross_entropy(
    predictions: Any, targets: Any, from_logits: bool = True, label_smoothing: float = 0.0
) -> Tensor:
    """-(t * log(p) + (1 - t) * log(1 - p)), where p is sigmoid(predictions), or the predictions.

    From logits z it is t * softplus(-z) + (1 - t) * softplus(z): the same value, finite for every
    finite z, with a derivative that is exact where p is near 0 or 1. From probabilities, log(0)
    counts as the logarithm of the smallest positive number of the dtype; probabilities that are
    sigmoid(z) in the program are compiled to the form for logits. `label_smoothing` takes that
    part of each target and gives half of it to either class.
    Shapes: predictions and targets [n, ...] -> [n], the mean over all axes but the first; one
    number for each example may be [n] in one and [n, 1] in the other.
    Errors: `ShapeError` where the two shapes differ else; `DTypeError` for integer predictions;
    `ArgumentError` for a part outside of [0, 1].
    Source: Goodfellow et al., "Deep Learning" (2016), section 6.2.2.2.
    """
    z, t = numbers("binary_cross_entropy", predictions, targets)
    part = part_of("binary_cross_entropy", "label_smoothing", label_smoothing)
    t = (1 - part) * t + part / 2 if part else t
    if from_logits:
        _warn_of(z, "sigmoid", "binary_cross_entropy", "give from_logits=False")
        return times(t, softplus(-z)) + times(1 - t, softplus(z))
    _warn_of_scores(z, "sigmoid", "binary_cross_entropy")
    log_p, log_q = _logs(z)
    return -(t * log_p + (1 - t) * log_q)


@elementwise
def hinge(predictions: Any, targets: Any) -> Tensor:
    """max(1 - t * p, 0) for targets of -1 and 1, the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    Source: Cortes and Vapnik, "Support-Vector Networks" (1995).
    """
    p, t = numbers("hinge", predictions, targets)
    return maximum(1 - t * p, 0)


@elementwise
def squared_hinge(predictions: Any, targets: Any) -> Tensor:
    """max(1 - t * p, 0)^2 for targets of -1 and 1, the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    """
    p, t = numbers("squared_hinge", predictions, targets)
    return square(maximum(1 - t * p, 0))


@loss
def categorical_hinge(predictions: Any, targets: Any) -> Tensor:
    """max(1 + the largest wrong prediction - the right one, 0), for one-hot targets.

    Shapes: [n, ..., classes], [n, ..., classes] -> [n, ...]. Errors: as `binary_cross_entropy`.
    Source: Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
    Machines" (2001).
    """
    p, t = pair("categorical_hinge", predictions, targets)
    right, wrong = sum(t * p, axis=-1), max(where(equal(t, 1), -math.inf, p), axis=-1)
    return maximum(1 + wrong - right, 0)


@elementwise
def focal(
    predictions: Any,
    targets: Any,
    gamma: float = 2.0,
    alpha: float = 0.25,
    from_logits: bool = True,
) -> Tensor:
    """-a * (1 - q)^gamma * log(q), where q is the probability of what is the case: p for a target
    of 1, else 1 - p; a is alpha for a target of 1, else 1 - alpha. What is right already counts
    little.

    Shapes, errors: as `binary_cross_entropy`.
    Source: Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 5.
    """
    z, t = numbers("focal", predictions, targets)
    log_p, log_q = (-softplus(-z), -softplus(z)) if from_logits else _logs(z)
    p = sigmoid(z) if from_logits else z
    wrong = t * (1 - p) + (1 - t) * p
    share = t * alpha + (1 - t) * (1 - alpha)
    return share * power(wrong, gamma) * -(t * log_p + (1 - t) * log_q)


def _logs(p: Tensor) -> tuple[Tensor, Tensor]:
    """log(p) and log(1 - p); of 0, the logarithm of the smallest positive number."""
    # Where p >= 1/2, 1 - p is exact; and of a sigmoid it is another one, which has digits left.
    logs = log(p), where(less(p, 0.5), log1p(-p), log(1 - p))
    first, second = (where(equal(x, -math.inf), _floor(p), x) for x in logs)
    return first, second
