"""The softmax family: composite ops, stable by definition, with the derivatives of the textbooks.

A composite op is one node to the user (in drawings, in derivatives) and its definition in other ops
to the compiler: `expand` replaces it before kernels are made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir.bounds import never
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, agree_on_shape, normalize_axes, show
from graphc.ops.build import cast, float_type, scalar_like, tensor
from graphc.ops.create import full, iota
from graphc.ops.elementwise import clip, divide, equal, exp, log, multiply, subtract, where
from graphc.ops.gather import check_labels, labels_of
from graphc.ops.reduce import max, numpy_sum, restore_axes, sum
from graphc.ops.scalar import masked_multiply, stretch
from graphc.ops.shape import concat, expand_dims

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _same(x: TensorType, *, axes: Any) -> tuple[TensorType, ...]:
    return (x,)


def _reduced(x: TensorType, *, axes: Any) -> tuple[TensorType, ...]:
    return (TensorType(x.dtype, tuple(s for i, s in enumerate(x.shape) if i not in axes)),)


def _shift(x: Tensor, axes: Any) -> Tensor:
    """What keeps exp finite: the largest element over axes, or the largest float where that is
    infinite. An infinity less that stays one and meets the others as in the formula, and whatever
    is finite is nothing beside it. An axis that no sizes > 0 give an element is given one."""
    limit = float(np.finfo(x.dtype.numpy).max)
    for axis in axes:
        if never(x.shape[axis] - 1):
            one = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
            x = concat([x, full(one, -limit, x.dtype)], axis)
    return clip(max(x, axis=axes), -limit, limit)


def _numpy_shift(x: Any, axes: Any) -> Any:
    peak = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    limit = np.finfo(x.dtype).max
    return np.clip(peak, -limit, limit)


# -- softmax ---------------------------------------------------------------------------------------
def _numpy_softmax(x: Any, *, axes: Any) -> Any:
    with np.errstate(all="ignore"):
        e = np.exp(x - _numpy_shift(x, axes))
        return e / numpy_sum(e, axes, keepdims=True)


def _softmax_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: Any) -> list[Any]:
    """out * (g - sum(g * out))"""
    weighted = masked_multiply(context.guarded(g), out)
    centred = g - sum(weighted, axis=axes, keepdims=True)
    return [masked_multiply(context.guarded(centred), out)]


def _expand_softmax(x: Tensor, *, axes: Any) -> Tensor:
    e = exp(subtract(x, restore_axes(_shift(x, axes), axes, x.shape)))
    # The total is at least 1 where the peak is finite: its reciprocal loses no range.
    total = sum(e, axis=axes, keepdims=True)
    return multiply(e, divide(scalar_like(1, x), total))


SOFTMAX = register(
    Op(
        "softmax",
        Kind.COMPOSITE,
        _same,
        numpy=_numpy_softmax,
        vjp=_softmax_vjp,
        expand=_expand_softmax,
        axes={"axes": Axes.SEVERAL},
        facts=frozenset({Fact.POSITIVE}),
        doc="exp(x) / sum(exp(x)) over axes.",
    )
)


# -- log_softmax -----------------------------------------------------------------------------------
def _numpy_log_softmax(x: Any, *, axes: Any) -> Any:
    with np.errstate(all="ignore"):
        shifted = x - _numpy_shift(x, axes)
        total = numpy_sum(np.exp(shifted), axes, keepdims=True)
        return shifted - np.log(total)


def _log_softmax_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: Any) -> list[Any]:
    """g - exp(out) * sum(g)"""
    total = stretch(sum(g, axis=axes, keepdims=True), x.shape)
    return [g - masked_multiply(context.guarded(total), exp(out))]


def _expand_log_softmax(x: Tensor, *, axes: Any) -> Tensor:
    shifted = subtract(x, restore_axes(_shift(x, axes), axes, x.shape))
    return shifted - log(sum(exp(shifted), axis=axes, keepdims=True))


LOG_SOFTMAX = register(
    Op(
        "log_softmax",
        Kind.COMPOSITE,
        _same,
        numpy=_numpy_log_softmax,
        vjp=_log_softmax_vjp,
        expand=_expand_log_softmax,
        axes={"axes": Axes.SEVERAL},
        doc="log(softmax(x)) over axes, finite where the answer is.",
    )
)


# -- logsumexp -------------------------------------------------------------------------------------
def _numpy_logsumexp(x: Any, *, axes: Any) -> Any:
    with np.errstate(all="ignore"):
        shift = _numpy_shift(x, axes)
        total = numpy_sum(np.exp(x - shift), axes)
        return np.log(total) + np.squeeze(shift, axes)


def _logsumexp_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: Any) -> list[Any]:
    """g * softmax(x)"""
    spread = stretch(restore_axes(g, axes, x.shape), x.shape)
    return [masked_multiply(context.guarded(spread), _softmax(x, axes))]


def _expand_logsumexp(x: Tensor, *, axes: Any) -> Tensor:
    """Shifted as softmax is, so that the two share the exponentials."""
    shift = _shift(x, axes)
    total = sum(exp(subtract(x, restore_axes(shift, axes, x.shape))), axis=axes)
    return log(total) + shift


LOGSUMEXP = register(
    Op(
        "logsumexp",
        Kind.COMPOSITE,
        _reduced,
        numpy=_numpy_logsumexp,
        vjp=_logsumexp_vjp,
        expand=_expand_logsumexp,
        axes={"axes": Axes.SEVERAL},
        doc="log(sum(exp(x))) over axes, without overflow.",
    )
)


# -- cross-entropy with integer labels -------------------------------------------------------------
def classes_hint(scores: Shape, labels: Shape) -> str:
    """What to do where the classes are the axis behind the batch, as PyTorch has them."""
    behind = len(scores) > 2 and agree_on_shape(labels, (scores[0], *scores[2:]))
    return "classes are the last axis: gc.moveaxis(scores, 1, -1)" if behind else ""


def _infer_cross_entropy(z: TensorType, labels: TensorType) -> tuple[TensorType, ...]:
    if not z.dtype.is_float or not labels.dtype.is_integer:
        raise DTypeError(
            "needs float logits and integer labels",
            op="softmax_cross_entropy",
            given=f"{z.dtype.name}, {labels.dtype.name}",
            hint="labels are the numbers of classes: gc.argmax(rows, -1) of rows with a single "
            "one, labels.astype('int64') of numbers that are stored as floats",
        )
    if z.rank < 1 or not agree_on_shape(labels.shape, z.shape[:-1]):
        raise ShapeError(
            "labels do not fit the logits",
            op="softmax_cross_entropy",
            expected=f"labels of shape {show(z.shape[:-1])}",
            given=show(labels.shape),
            hint=classes_hint(z.shape, labels.shape),
        )
    return (TensorType(z.dtype, labels.shape),)


def _numpy_cross_entropy(z: Any, labels: Any) -> Any:
    if labels.size and (labels.min() < 0 or labels.max() >= z.shape[-1]):
        raise IndexError(labels_of(1, z.shape[-1]).message)
    with np.errstate(all="ignore"):
        shifted = z - _numpy_shift(z, (-1,))
        total = numpy_sum(np.exp(shifted), (z.ndim - 1,))
        picked = np.take_along_axis(shifted, labels.astype(np.int64)[..., None], -1)[..., 0]
        return np.log(total) - picked


def _is_label(z: Tensor, labels: Tensor) -> Tensor:
    checked = check_labels(labels, z.shape[-1])
    return equal(expand_dims(checked, -1), iota((z.shape[-1],), 0, labels.dtype))


def _expand_cross_entropy(z: Tensor, labels: Tensor) -> Tensor:
    """log(sum(exp(s))) - s[label] for s = z - max(z): exact where large logits nearly cancel."""
    axes = (z.ndim - 1,)
    shifted = subtract(z, restore_axes(_shift(z, axes), axes, z.shape))
    chosen = sum(where(_is_label(z, labels), shifted, scalar_like(0, z)), axis=-1)
    return log(sum(exp(shifted), axis=-1)) - chosen


def _cross_entropy_vjp(context: Any, g: Tensor, out: Tensor, z: Tensor, labels: Tensor) -> Any:
    """g * (softmax(z) - y), where y is 1 at the label."""
    y = cast(_is_label(z, labels), z.dtype)
    spread = stretch(expand_dims(g, -1), z.shape)
    return [masked_multiply(context.guarded(spread), _softmax(z, (z.ndim - 1,)) - y), None]


SOFTMAX_CROSS_ENTROPY = register(
    Op(
        "softmax_cross_entropy",
        Kind.COMPOSITE,
        _infer_cross_entropy,
        numpy=_numpy_cross_entropy,
        vjp=_cross_entropy_vjp,
        expand=_expand_cross_entropy,
        indices=lambda z, labels: [labels_of(1, z.shape[-1])],
        axes={},
        may_fail=True,
        doc="-log(softmax(z)[label]) for each row.",
    )
)


def softmax_cross_entropy(logits: Any, labels: Any) -> Tensor:
    """-log(softmax(logits)[label]) for each row of logits.

    Shapes: logits [..., classes], labels [...] (integers) -> [...].
    Errors: a `RuntimeFailure` at the call for a label outside [0, classes).
    """
    z, y = tensor(logits, "softmax_cross_entropy"), tensor(labels, "softmax_cross_entropy")
    return apply(SOFTMAX_CROSS_ENTROPY, (z, y)).output()


# -- public functions ------------------------------------------------------------------------------
def _softmax(x: Tensor, axes: Any) -> Tensor:
    return apply(SOFTMAX, (x,), axes=axes).output()


def _composite(op: Op, x: Any, axis: Any) -> Tensor:
    t = tensor(x, op.name)
    t = cast(t, float_type(t.dtype))
    return apply(op, (t,), axes=normalize_axes(op.name, axis, t.ndim)).output()


def softmax(x: Any, axis: Any = -1) -> Tensor:
    """exp(x) / sum(exp(x)) over `axis`, without overflow."""
    return _composite(SOFTMAX, x, axis)


def log_softmax(x: Any, axis: Any = -1) -> Tensor:
    """log(softmax(x)) over `axis`, finite where the answer is."""
    return _composite(LOG_SOFTMAX, x, axis)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis` (all axes by default), without overflow."""
    t = tensor(x, "logsumexp")
    axes = normalize_axes("logsumexp", axis, t.ndim)
    result = _composite(LOGSUMEXP, t, axes)
    return restore_axes(result, axes, t.shape) if keepdims else result


FUNCTIONS |= {f.__name__: f for f in (softmax, log_softmax, logsumexp, softmax_cross_entropy)}
