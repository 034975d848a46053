"""Losses of numbers."""

from __future__ import annotations

import math
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.nn.loss import elementwise, loss, numbers, pair, times
from graphc.ops.elementwise import (
    abs,
    equal,
    exp,
    expm1,
    less,
    log,
    log1p,
    maximum,
    minimum,
    sqrt,
    square,
    where,
)
from graphc.ops.reduce import sum


@elementwise
def mean_squared_error(predictions: Any, targets: Any) -> Tensor:
    """(prediction - target)^2, the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    """
    p, t = numbers("mean_squared_error", predictions, targets)
    return square(p - t)


@elementwise
def mean_absolute_error(predictions: Any, targets: Any) -> Tensor:
    """|prediction - target|, the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    """
    p, t = numbers("mean_absolute_error", predictions, targets)
    return abs(p - t)


@elementwise
def huber(predictions: Any, targets: Any, delta: float = 1.0) -> Tensor:
    """e^2 / 2 where |e| <= delta, else delta * (|e| - delta / 2), for the error e = prediction -
    target; the mean over all axes but the first.

    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`; `ArgumentError` for a
    delta that is not > 0. Source: Huber, "Robust Estimation of a Location Parameter" (1964).
    """
    p, t = numbers("huber", predictions, targets)
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
    return near * (size - 0.5 * near)


@elementwise
def log_cosh(predictions: Any, targets: Any) -> Tensor:
    """log(cosh(e)) for the error e = prediction - target: nearly e^2 / 2 where it is small, |e| -
    log(2) where it is large; the mean over all axes but the first.

    Computed below 1 as log1p(cosh(e) - 1), where cosh(e) - 1 = (exp(|e|) - 1) (1 - exp(-|e|)) / 2,
    and from there as |e| + log1p(exp(-2 |e|)) - log(2): neither cancels, neither overflows.
    Shapes: [n, ...], [n, ...] -> [n]. Errors: as `binary_cross_entropy`.
    """
    p, t = numbers("log_cosh", predictions, targets)
    size = abs(p - t)
    low = minimum(size, 1)
    near = log1p(expm1(low) * expm1(-low) * -0.5)
    far = size + (log1p(exp(-2 * size)) - math.log(2))
    return where(less(size, 1), near, far)


@elementwise
def mean_absolute_percentage_error(predictions: Any, targets: Any) -> Tensor:
    """100 * |prediction - target| / |target|, the mean over all axes but the first.

    A target of 0 counts as 1e-7. Shapes, errors: as `mean_squared_error`.
    """
    p, t = numbers("mean_absolute_percentage_error", predictions, targets)
    return 100 * abs(p - t) / maximum(abs(t), 1e-7)


@elementwise
def mean_squared_logarithmic_error(predictions: Any, targets: Any) -> Tensor:
    """(log(1 + prediction) - log(1 + target))^2, the mean over all axes but the first.

    What is below 0 counts as 0. Shapes, errors: as `mean_squared_error`.
    """
    p, t = numbers("mean_squared_logarithmic_error", predictions, targets)
    return square(log1p(maximum(p, 0)) - log1p(maximum(t, 0)))


@elementwise
def poisson(predictions: Any, targets: Any, from_logarithms: bool = False) -> Tensor:
    """p - t * log(p) for rates p and counts t, up to what does not depend on p; for logarithms z of
    rates exp(z) - t * z. The mean over all axes but the first; a count of 0 takes no logarithm.

    Shapes, errors: as `mean_squared_error`.
    """
    p, t = numbers("poisson", predictions, targets)
    if from_logarithms:
        return exp(p) - t * p
    return p - times(t, log(p))


@loss
def cosine_similarity(predictions: Any, targets: Any) -> Tensor:
    """-sum(p * t) / (|p| |t|) over the last axis: -1 where both have one direction; 0 of a zero.

    Shapes: [n, ..., k], [n, ..., k] -> [n, ...]. Errors: as `mean_squared_error`.
    """
    p, t = pair("cosine_similarity", predictions, targets)
    size = sum(square(p), axis=-1) * sum(square(t), axis=-1)
    return where(equal(size, 0), 0.0, -sum(p * t, axis=-1) / sqrt(where(equal(size, 0), 1.0, size)))
