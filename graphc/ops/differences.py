"""Differences of neighbours and what is made of them: slopes, integrals, phases without jumps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.ir import origin
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor
from graphc.ir.shape import normalize_axes, normalize_axis
from graphc.ops.build import cast, operands, tensor
from graphc.ops.cumulative import cumsum
from graphc.ops.elementwise import (
    abs,
    add,
    divide,
    equal,
    floor_divide,
    greater,
    less,
    logical_and,
    multiply,
    negative,
    not_equal,
    remainder,
    subtract,
    where,
)
from graphc.ops.getitem import getitem
from graphc.ops.reduce import sum
from graphc.ops.shape import broadcast_to, concat, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def diff(
    x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None
) -> Tensor:
    """Each element along `axis` minus the one before it, `n` times.

    `prepend` and `append` are joined to `x` before; of bools it is whether the two differ.
    Errors: `ArgumentError` for a negative `n`; `ShapeError` for a scalar.
    """
    t = tensor(x, "diff")
    if not isinstance(n, int) or n < 0:
        raise ArgumentError("not a number of times", op="diff", expected="n >= 0", given=repr(n))
    axis = normalize_axis("diff", axis, t.ndim)
    ends = [tensor(e, "diff") if e is not None else None for e in (prepend, append)]
    unit = tuple(1 if a == axis else s for a, s in enumerate(t.shape))
    before, behind = (
        [] if e is None else [broadcast_to(e, unit) if e.ndim == 0 else e] for e in ends
    )
    if before or behind:
        t = concat([*before, t, *behind], axis)
    operator = not_equal if t.dtype is bool_ else subtract
    front = (slice(None),) * axis
    for _ in range(n):
        if t.shape[axis] == 0:  # and so it stays
            break
        t = operator(getitem(t, (*front, slice(1, None))), getitem(t, (*front, slice(None, -1))))
    return t


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """The differences of neighbours of all elements in row-major order, with `to_begin` in front
    and `to_end` behind.

    Dtypes: that of `ary`. Errors: `DTypeError` for ends of a kind that it cannot hold, and bools.
    """
    t = tensor(ary, "ediff1d")
    if t.dtype is bool_:
        raise DTypeError(
            "truth values have no differences", op="ediff1d", expected="numbers", given="bool",
            where=origin.where(),
        )  # fmt: skip
    inner = diff(reshape(t, (t.size,)))
    ends = [None if e is None else _as_end(t, e) for e in (to_begin, to_end)]
    return concat([part for part in (ends[0], inner, ends[1]) if part is not None], 0)


def _as_end(t: Tensor, value: Any) -> Tensor:
    end = tensor(value, "ediff1d")
    if not np.can_cast(end.dtype.numpy, t.dtype.numpy, "same_kind"):
        raise DTypeError(
            "an end is of another kind", op="ediff1d", expected=t.dtype.name, given=end.dtype.name,
            where=origin.where(),
        )  # fmt: skip
    return cast(reshape(end, (end.size,)), t.dtype)


def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Tensor:
    """`p` with whole periods added, so that neighbours along `axis` are at most half a period (or
    `discont`, if that is more) apart.

    Dtypes: ints keep theirs if the period is an int. Its derivative is that of `p`.
    """
    t = tensor(p, "unwrap")
    axis = normalize_axis("unwrap", axis, t.ndim)
    step, around = operands("unwrap", diff(t, axis=axis), period)
    whole = step.dtype.is_integer
    half = floor_divide(around, 2) if whole else divide(around, 2)
    near = subtract(remainder(add(step, half), around), half)
    # a step of just half a period up may be one down as well: it stays what it is
    up = logical_and(equal(near, negative(half)), greater(step, 0))
    up = logical_and(up, equal(remainder(around, 2), 0)) if whole else up
    near = where(up, add(near, around), near)  # that is half, and moves with the step
    small = less(abs(step), divide(around, 2) if discont is None else discont)
    change = where(small, 0, subtract(near, step))
    front = (slice(None),) * axis
    first, rest = (getitem(t, (*front, at)) for at in (slice(None, 1), slice(1, None)))
    return concat([first, add(rest, cumsum(change, axis, step.dtype))], axis)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral of `y` along `axis` by the trapezoidal rule, at places `x` or `dx` apart.

    Shapes: y [..., n, ...], x [n] or as y -> [..., ...]. Dtypes: ints give floats.
    """
    t = tensor(y, "trapezoid")
    axis = normalize_axis("trapezoid", axis, t.ndim)
    front = (slice(None),) * axis
    low, high = ((*front, slice(None, -1)), (*front, slice(1, None)))
    apart: Any = dx
    if x is not None:
        places = tensor(x, "trapezoid")
        apart = diff(places, axis=-1 if places.ndim == 1 else axis)
        if places.ndim == 1:
            apart = reshape(apart, (apart.size, *(1,) * (t.ndim - 1 - axis)))
    heights = add(getitem(t, high), getitem(t, low))
    return sum(divide(multiply(apart, heights), 2.0), axis=axis)


def gradient(x: Any, *spacing: Any, axis: Any = None) -> Any:
    """The derivative along each axis of values on a grid, by central differences, one-sided ones at
    its ends. `spacing` is one number, one for each axis, or the places along it.

    Gives a tensor for one axis, else a tuple of them. Dtypes: ints give floats.
    Errors: `ShapeError` for an axis of fewer than two elements.
    """
    t = tensor(x, "gradient")
    t = t if t.dtype.is_float else cast(t, operands("gradient", t, 1.0)[0].dtype)
    axes = normalize_axes("gradient", axis, t.ndim)
    if len(spacing) not in (0, 1, len(axes)):
        raise ArgumentError(
            "one spacing, or one for each axis",
            op="gradient",
            expected=f"{len(axes)}",
            given=str(len(spacing)),
        )
    steps = spacing * len(axes) if len(spacing) == 1 else spacing or (1.0,) * len(axes)
    found = tuple(cast(_slope(t, a, s), t.dtype) for a, s in zip(axes, steps, strict=True))
    return found[0] if len(axes) == 1 else found


def _slope(t: Tensor, axis: int, spacing: Any) -> Tensor:
    """By the second-order formula for unequal distances: (a b' - b a') over a b (a + b) in all."""
    front = (slice(None),) * axis
    step = tensor(spacing, "gradient")
    rise = diff(t, axis=axis)
    if step.ndim == 0:
        inner = divide(
            subtract(getitem(t, (*front, slice(2, None))), getitem(t, (*front, slice(None, -2)))),
            multiply(2.0, step),
        )
        first, last = (
            divide(getitem(rise, (*front, at)), step) for at in (slice(None, 1), slice(-1, None))
        )
        return concat([first, inner, last], axis)
    apart = reshape(diff(step), (step.shape[0] - 1, *(1,) * (t.ndim - 1 - axis)))
    a, b = getitem(apart, slice(None, -1)), getitem(apart, slice(1, None))
    below, at, above = (
        getitem(t, (*front, slice(low, high))) for low, high in ((None, -2), (1, -1), (2, None))
    )
    total = add(a, b)
    inner = add(
        add(
            multiply(divide(-b, multiply(a, total)), below),
            multiply(divide(subtract(b, a), multiply(a, b)), at),
        ),
        multiply(divide(a, multiply(b, total)), above),
    )
    slopes = divide(rise, apart)
    ends = (getitem(slopes, (*front, at)) for at in (slice(None, 1), slice(-1, None)))
    first, last = ends
    return concat([first, inner, last], axis)


FUNCTIONS |= {f.__name__: f for f in (diff, ediff1d, unwrap, trapezoid, gradient)}
