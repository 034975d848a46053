"""Random graphs of running reductions, beside the families of `families.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.node import Tensor

from .growth import Growth

RUNNING: list[tuple[float, Callable[[Growth], Any]]] = []
UFUNCS = (np.add, np.multiply, np.maximum, np.minimum)


def _drawn(b: Growth, t: Tensor) -> Tensor:
    axis, reverse = b.axis(t) if b.chance(0.9) else None, b.chance(0.4)
    kind = b.integer(0, 5)
    if kind == 0:
        along = b.axis(t)
        function = gc.cumulative_sum if b.chance(0.6) else gc.cumulative_prod
        return function(t, axis=along, include_initial=b.chance(0.5), reverse=reverse)
    if kind == 1 and not reverse:
        made: Tensor = b.choose(UFUNCS).accumulate(t, b.axis(t))
        return made
    if kind == 2 and t.dtype.kind == "f":
        return gc.logcumsumexp(t, axis, reverse=reverse)
    return b.choose((gc.cumsum, gc.cumprod, gc.cummax, gc.cummin))(t, axis, reverse=reverse)


def running(b: Growth) -> Any:
    """One or two of one tensor, with work before and after them that may be in their loop."""
    t = b.pick("f" if b.chance(0.8) else "biu", lambda t: t.ndim > 0)
    before = gc.tanh(t) if t.dtype.kind == "f" and b.chance(0.4) else t
    made = _drawn(b, before)
    if b.chance(0.3):
        return [made, _drawn(b, before)]
    if b.chance(0.3) and made.shape == t.shape and made.dtype is t.dtype:
        return made * t
    return _drawn(b, made) if b.chance(0.2) and made.ndim else made


def slopes(b: Growth) -> Tensor:
    """Derivatives of running products and extrema, which are recurrences."""
    t = b.pick("f", lambda t: t.ndim > 0)
    f = b.choose((gc.cumprod, gc.cummax, gc.cummin, gc.logcumsumexp))
    y = f(t, b.axis(t), reverse=b.chance(0.4))
    return gc.vjp(y, t, gc.tanh(y) if b.chance(0.5) else gc.ones_like(y))


RUNNING += [(3.0, running), (1.5, slopes)]
