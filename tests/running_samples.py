"""Samples of running reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.node import apply
from graphc.ir.op import registry

from .sampling import FLOATS, Array, Case, Samples, Shape, in_float

SAMPLES: dict[str, Samples] = {}
_ALONG: tuple[tuple[Shape, int], ...] = (
    ((4,), 0), ((3, 4), 0), ((3, 4), 1), ((2, 3, 2), 1), ((2, 1, 3), 1), (("n", 3), 0),
    (("n", 3), 1), ((0, 2), 0),
)  # fmt: skip


def _turned(f: Callable[..., Array], reverse: bool) -> Callable[..., Array]:
    """`f(*arrays, axis)`, from the end if `reverse`."""

    def function(*arrays: Array, axis: int) -> Array:
        if not reverse:
            return f(*arrays, axis)
        return np.flip(f(*(np.flip(a, axis) for a in arrays), axis), axis)

    return function


def _cases(call: Callable[..., Any], f: Callable[..., Array]) -> tuple[Case, ...]:
    return tuple(
        Case(
            call=lambda x, a=axis, r=reverse: call(x, a, reverse=r),
            numpy=lambda x, a=axis, r=reverse: _turned(f, r)(x, axis=a),
            shapes=(shape,),
        )
        for shape, axis in _ALONG
        for reverse in (False, True)
    )


SAMPLES["cumsum"] = SAMPLES["cumulative_sum"] = Samples(cases=_cases(gc.cumsum, np.cumsum))
SAMPLES["cumprod"] = SAMPLES["cumulative_prod"] = Samples(cases=_cases(gc.cumprod, np.cumprod))
SAMPLES["cumulative_max"] = SAMPLES["cummax"] = Samples(
    cases=_cases(gc.cummax, np.maximum.accumulate), smooth=False
)
SAMPLES["cumulative_min"] = SAMPLES["cummin"] = Samples(
    cases=_cases(gc.cummin, np.minimum.accumulate), smooth=False
)


def _logsumexp(x: Array, axis: int) -> Array:
    dtype = in_float(x).dtype
    return np.logaddexp.accumulate(x.astype(np.longdouble), axis=axis).astype(dtype)


SAMPLES["cumulative_logsumexp"] = SAMPLES["logcumsumexp"] = Samples(
    cases=_cases(gc.logcumsumexp, _logsumexp), ulp=4, unit=1.0, wild=False
)


def _recurrence(a: Array, b: Array, axis: int) -> Array:
    """y = a * y + b, element by element; a product with 0 is 0."""
    result = np.empty_like(b)
    for at in np.ndindex(b.shape):
        before = tuple(i - (n == axis) for n, i in enumerate(at))
        y = result[before] if at[axis] else b.dtype.type(0)
        result[at] = b[at] if y == 0 else a[at] * y + b[at]
    return result


SAMPLES["linear_recurrence"] = Samples(
    cases=tuple(
        Case(
            call=lambda a, b, axis=axis, r=reverse: apply(
                registry()["linear_recurrence"], (a, b), axis=axis, reverse=r
            ).output(),
            numpy=lambda a, b, axis=axis, r=reverse: _turned(_recurrence, r)(a, b, axis=axis),
            shapes=(shape, shape),
        )
        for shape, axis in _ALONG
        for reverse in (False, True)
    ),
    takes=FLOATS,
)
SAMPLES["cumulative_sum"] = Samples(
    cases=SAMPLES["cumsum"].cases
    + tuple(
        Case(
            call=lambda x, a=axis: gc.cumulative_sum(x, axis=a, include_initial=True),
            numpy=lambda x, a=axis: np.cumulative_sum(x, axis=a, include_initial=True),
            shapes=(shape,),
        )
        for shape, axis in (((4,), None), ((2, 3), -1), (("n", 3), 0))
    ),
)
