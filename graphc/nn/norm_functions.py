"""Normalisation as functions: what the layers of these names compute, of tensors that users give.

y = gc.nn.layer_norm(x, gamma, beta)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dim import Size, floordiv
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, normalize_axis, show
from graphc.keywords import answer
from graphc.nn.checks import channel_axis, error, floats, number, positive_int
from graphc.ops.build import operands, tensor
from graphc.ops.elementwise import not_equal, sqrt, square, where
from graphc.ops.norms import vector_norm
from graphc.ops.reduce import mean as mean_of
from graphc.ops.shape import reshape


def _float(op: str, x: Any) -> Tensor:
    t = tensor(x, op)
    floats(op, t.type)
    return t


def _along(op: str, name: str, value: Any, x: Tensor, axis: int) -> Tensor:
    """One number for each place of `axis` of x, so that it broadcasts along the others."""
    _, t = operands(op, x, value)
    size = x.shape[axis]
    if t.ndim != 1 or not may_be_equal(t.shape, (size,)):
        raise error(
            op,
            ShapeError,
            f"{name} does not fit axis {axis} of {show(x.shape)}",
            expected=show((size,)),
            given=show(t.shape),
        )
    return reshape(t, (t.shape[0], *(1 for _ in range(x.ndim - 1 - axis))))


def _affine(op: str, y: Tensor, gamma: Any, beta: Any, axis: int) -> Tensor:
    if gamma is not None:
        y = y * _along(op, "gamma", gamma, y, axis)
    return y if beta is None else y + _along(op, "beta", beta, y, axis)


def _standard(x: Tensor, axes: Sequence[int], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over axes."""
    apart = x - mean_of(x, axis=tuple(axes), keepdims=True)
    return apart / sqrt(mean_of(square(apart), axis=tuple(axes), keepdims=True) + epsilon)


def layer_norm(
    x: Any, gamma: Any = None, beta: Any = None, *, axis: int = -1, epsilon: float = 1e-5
) -> Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, over one axis of each example.

    Shapes: x [..., m, ...] -> the same; gamma and beta [m], for an `axis` of size m. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; `ArgumentError` for an epsilon below 0.
    Source: Ba, Kiros, Hinton, "Layer Normalization" (2016), equation 4.

    >>> import graphc as gc
    >>> gc.evaluate(gc.nn.layer_norm(gc.constant([1.0, 3.0]), epsilon=0.0), {})
    array([-1.,  1.], dtype=float32)
    """
    op = "layer_norm"
    t, epsilon = _float(op, x), number(op, "epsilon", epsilon, 0.0)
    place = normalize_axis(op, axis, t.ndim)
    return _affine(op, _standard(t, (place,), epsilon), gamma, beta, place)


def normalize(x: Any, axis: Any = -1, ord: Any = 2) -> Tensor:
    """x over its norm along `axis`, an int or several: vectors of length 1.

    What is 0 everywhere has no direction: it stays 0, and its derivative is 0. (torch divides by
    at least 1e-12, so that its derivative there is 1e12.) `ord` is that of `linalg.vector_norm`.
    Errors: `ArgumentError`, `ShapeError` as `linalg.vector_norm`; `DTypeError` for ints.

    >>> import graphc as gc
    >>> gc.evaluate(gc.nn.normalize([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    t = _float("normalize", x)
    size = vector_norm(t, axis=axis, keepdims=True, ord=ord)
    return where(not_equal(size, 0), t / size, 0)


def rms_norm(x: Any, gamma: Any = None, *, axis: int = -1, epsilon: float = 1e-6) -> Tensor:
    """gamma * x / sqrt(mean(x^2) + epsilon), over one axis of each example.

    Shapes, dtypes, errors: as `layer_norm`.
    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), equation 4.
    """
    op = "rms_norm"
    t, epsilon = _float(op, x), number(op, "epsilon", epsilon, 0.0)
    place = normalize_axis(op, axis, t.ndim)
    size = mean_of(square(t), axis=place, keepdims=True)
    return _affine(op, t / sqrt(size + epsilon), gamma, None, place)


def group_norm(
    x: Any,
    groups: int,
    gamma: Any = None,
    beta: Any = None,
    *,
    axis: int | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta; the statistics are those of a group of
    channels of one example.

    `axis` has the channels, by default 1 for images [n, channels, ...] and the last one of up to
    three axes.
    Shapes: x [n, ...] -> the same; gamma and beta [channels]. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; `ArgumentError` for groups that are no positive int or do
    not divide the channels, and an epsilon below 0.
    Source: Wu and He, "Group Normalization" (2018), equations 1 to 6.
    """
    op = "group_norm"
    t, epsilon = _float(op, x), number(op, "epsilon", epsilon, 0.0)
    place, count = channel_axis(op, t.type, axis), positive_int(op, "groups", groups)
    return _grouped(op, t, place, count, gamma, beta, epsilon)


def instance_norm(
    x: Any, gamma: Any = None, beta: Any = None, *, axis: int | None = None, epsilon: float = 1e-5
) -> Tensor:
    """`group_norm` where each channel is a group: the statistics are those of one channel of one
    example.

    Shapes, dtypes, errors: as `group_norm`.
    Source: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization" (2016).
    """
    op = "instance_norm"
    t, epsilon = _float(op, x), number(op, "epsilon", epsilon, 0.0)
    place = channel_axis(op, t.type, axis)
    return _grouped(op, t, place, t.shape[place], gamma, beta, epsilon)


def _grouped(
    op: str, x: Tensor, place: int, groups: Size, gamma: Any, beta: Any, epsilon: float
) -> Tensor:
    channels, before, after = x.shape[place], x.shape[:place], x.shape[place + 1 :]
    each: Size = 1 if groups == channels else floordiv(channels, groups)
    if groups * each != channels:
        raise error(
            op,
            ArgumentError,
            "the channels cannot be grouped",
            expected=f"a multiple of {groups} channels",
            given=str(channels),
        )
    parts = reshape(x, (*before, groups, each, *after))
    axes = [i for i in range(1, parts.ndim) if i != place]
    return _affine(op, reshape(_standard(parts, axes, epsilon), x.shape), gamma, beta, place)


def batch_statistics(x: Any, *, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """The mean and the variance of each channel, over all other axes: what `batch_norm` takes of a
    batch. The variance is the mean of squares.

    Shapes: x [n, ...] -> [channels] each. Dtypes, errors: as `batch_norm`.
    """
    t = _float("batch_statistics", x)
    place = channel_axis("batch_statistics", t.type, axis)
    centre, _, spread = _statistics(t, place)
    return centre, spread


def _statistics(x: Tensor, place: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of each channel, what is apart from it, and the mean of the squares of that."""
    axes = tuple(i for i in range(x.ndim) if i != place)
    centre = mean_of(x, axis=axes)
    apart = x - _along("batch_norm", "the mean", centre, x, place)
    return centre, apart, mean_of(square(apart), axis=axes)


def batch_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    mean: Any = None,
    variance: Any = None,
    axis: int | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, for each channel.

    Mean and variance are given, as moving averages of training are, or else those of the batch
    (`batch_statistics`). `axis` has the channels, by default 1 for images [n, channels, ...] and
    the last one of up to three axes.
    Shapes: x [n, ...] -> the same; gamma, beta, mean and variance [channels]. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; `ArgumentError` for an epsilon below 0, axis 0, and a mean
    without a variance.
    Source: Ioffe and Szegedy, "Batch Normalization" (2015), algorithms 1 and 2.
    """
    op = "batch_norm"
    t, epsilon = _float(op, x), number(op, "epsilon", epsilon, 0.0)
    place = channel_axis(op, t.type, axis)
    if (mean is None) != (variance is None):
        raise error(
            op,
            ArgumentError,
            "mean and variance belong together",
            expected="both, or none for those of the batch",
            given="variance only" if mean is None else "mean only",
        )
    if mean is None:
        _, apart, variance = _statistics(t, place)
    else:
        apart = t - _along(op, "mean", mean, t, place)
        _, variance = operands(op, t, variance)
    factor = 1 / sqrt(variance + epsilon)
    if gamma is not None:
        _along(op, "gamma", gamma, t, place)
        factor = factor * gamma
    return _affine(op, apart * _along(op, "variance", factor, t, place), None, beta, place)


answer(globals())
