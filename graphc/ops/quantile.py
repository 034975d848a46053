"""The normal distribution and its inverses, and logit, the inverse of sigmoid."""

from __future__ import annotations

import math
from typing import Any

from graphc.ir.op import Fact
from graphc.loops.primitives import special
from graphc.ops.elementwise import exp, square
from graphc.ops.scalar import float_function

ENDS = {Fact.POLE, Fact.JUMPS}  # infinite at whole numbers, NaN beyond

ndtr = float_function(
    "ndtr", lambda s, x: s.erfc(-x / s.sqrt(2)) / 2, "P(Z <= x) for a standard normal Z.", cost=50,
    facts={Fact.POSITIVE},
    partials=lambda f, out, x: (lambda: 1 / math.sqrt(2 * math.pi) * exp(-0.5 * square(x)),),
)  # fmt: skip
ndtri = float_function(
    "ndtri", lambda s, x: s.sqrt(2) * s.erfinv(2 * x - 1),
    "The inverse of ndtr: the quantile of a standard normal variable.", cost=100, facts=ENDS,
    partials=lambda f, out, x: (lambda: math.sqrt(2 * math.pi) * exp(0.5 * square(out)),),
)  # fmt: skip
erfinv = float_function(
    "erfinv", lambda s, x: s.erfinv(x), "The inverse of erf.", cost=100, facts=ENDS,
    partials=lambda f, out, x: (lambda: math.sqrt(math.pi) / 2 * exp(square(out)),),
)  # fmt: skip
erfcinv = float_function(
    "erfcinv", lambda s, x: s.erfinv(1 - x), "The inverse of erfc.", cost=100, facts=ENDS,
    partials=lambda f, out, x: (lambda: -math.sqrt(math.pi) / 2 * exp(square(out)),),
)  # fmt: skip


def _logit(k: Any, x: Any) -> Any:
    """Near 1/2 by atanh, where the difference of logarithms would cancel."""
    half = k.subtract(x, k.const(0.5, x.dtype))
    near = k.less(k.abs(half), k.const(0.25, x.dtype))
    angle = k.atanh(k.add(half, half))
    far = k.subtract(k.log(x), k.log1p(k.negative(x)))
    return k.where(near, k.add(angle, angle), far)


logit = float_function(
    "logit", lambda s, x: s.log(x / (1 - x)), "log(x / (1 - x)), the inverse of sigmoid.",
    numpy=special("logit"), kernel=_logit, cost=70, facts=ENDS,
    partials=lambda f, out, x: (lambda: 1 / (x * (1 - x)),),
)  # fmt: skip

FUNCTIONS = {f.__name__: f for f in (ndtr, ndtri, erfinv, erfcinv, logit)}
