"""Trigonometric and hyperbolic functions beside sin, cos and tanh, and the inverses of all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.ir.node import Tensor
from graphc.ir.op import Fact
from graphc.ops.build import scalar_like
from graphc.ops.elementwise import abs, cos, equal, sqrt, where
from graphc.ops.scalar import binary_float_function, float_function

DOMAIN = {Fact.JUMPS}  # NaN beyond an integer

tan = float_function("tan", lambda s, x: s.tan(x), "The tangent of x in radians.", cost=26)
asin = float_function(
    "asin", lambda s, x: s.asin(x), "The angle in [-pi/2, pi/2] whose sine is x.", cost=30,
    partials=lambda f, out, x: (lambda: 1 / sqrt((1 - x) * (1 + x)),), facts=DOMAIN,
)  # fmt: skip
acos = float_function(
    "acos", lambda s, x: s.acos(x), "The angle in [0, pi] whose cosine is x.", cost=30,
    partials=lambda f, out, x: (lambda: -1 / sqrt((1 - x) * (1 + x)),), facts=DOMAIN,
)  # fmt: skip
atan = float_function(
    "atan", lambda s, x: s.atan(x), "The angle in [-pi/2, pi/2] whose tangent is x.", cost=30
)


def _atan2_partials(f: Any, out: Tensor, y: Tensor, x: Tensor) -> tuple[Any, Any]:
    """x / r**2 and -y / r**2, where r**2 neither overflows nor vanishes."""

    def over_square(z: Tensor) -> Tensor:
        r = hypot(x, y)
        return z / r / r

    return lambda: over_square(x), lambda: -over_square(y)


atan2 = binary_float_function(
    "atan2", np.arctan2, lambda s, y, x: s.atan2(y, x),
    "The angle in [-pi, pi] of the point whose coordinates are x and y: atan2(y, x).",
    partials=_atan2_partials, cost=40, facts=DOMAIN,
)  # fmt: skip
def _hypot_partials(f: Any, out: Tensor, x: Tensor, y: Tensor) -> tuple[Any, Any]:
    """x and y over the distance, 0 at the origin."""

    def over_distance(z: Tensor) -> Tensor:
        zero, one = scalar_like(0, out), scalar_like(1, out)
        return z / where(equal(out, zero), one, out)

    return lambda: over_distance(x), lambda: over_distance(y)


hypot = binary_float_function(
    "hypot", np.hypot, lambda s, x, y: s.sqrt(x**2 + y**2),
    "sqrt(x**2 + y**2), where no square overflows or vanishes.",
    partials=_hypot_partials, cost=12,
    facts={Fact.COMMUTATIVE, Fact.JUMPS},
)  # fmt: skip

sinh = float_function(
    "sinh", lambda s, x: s.sinh(x), "The hyperbolic sine.", cost=24,
    partials=lambda f, out, x: (lambda: f("cosh")(x),),
)  # fmt: skip
cosh = float_function(
    "cosh", lambda s, x: s.cosh(x), "The hyperbolic cosine.", cost=20, facts={Fact.POSITIVE},
    partials=lambda f, out, x: (lambda: f("sinh")(x),),
)  # fmt: skip
asinh = float_function(
    "asinh", lambda s, x: s.asinh(x), "The inverse of sinh.", cost=36,
    partials=lambda f, out, x: (lambda: 1 / hypot(x, 1),),
)  # fmt: skip
acosh = float_function(
    "acosh", lambda s, x: s.acosh(x), "The inverse of cosh, >= 0; NaN below 1.", cost=36,
    partials=lambda f, out, x: (lambda: 1 / (sqrt(x - 1) * sqrt(x + 1)),), facts=DOMAIN,
)  # fmt: skip
atanh = float_function(
    "atanh", lambda s, x: s.atanh(x), "The inverse of tanh; infinite at 1 and -1.", cost=30,
    partials=lambda f, out, x: (lambda: 1 / ((1 - x) * (1 + x)),), facts={Fact.POLE, Fact.JUMPS},
)  # fmt: skip

deg2rad = float_function(
    "deg2rad", lambda s, x: x * s.pi / 180, "x / 180 * pi: degrees in radians.", numpy=np.deg2rad,
    kernel=lambda k, x: k.multiply(x, k.const(math.pi / 180, x.dtype)),
    partials=lambda f, out, x: (math.pi / 180,),
)  # fmt: skip
rad2deg = float_function(
    "rad2deg", lambda s, x: x * 180 / s.pi, "x / pi * 180: radians in degrees.", numpy=np.rad2deg,
    kernel=lambda k, x: k.multiply(x, k.const(180 / math.pi, x.dtype)),
    partials=lambda f, out, x: (180 / math.pi,),
)  # fmt: skip

def _sinc(k: Any, x: Any) -> Any:
    angle, one = k.multiply(x, k.const(math.pi, x.dtype)), k.const(1, x.dtype)
    zero = k.equal(angle, k.const(0, x.dtype))
    angle = k.where(zero, one, angle)
    return k.where(zero, one, k.divide(k.sin(angle), angle))


def _sinc_slope(x: Tensor, out: Tensor) -> Tensor:
    """(cos(pi x) - sinc x) / x, which cancels near 0: there it is the sum of the power series
    2 k (-1)**k pi**(2 k) / (2 k + 1)! x**(2 k - 1), of terms enough for derivatives of it too."""
    near = abs(x) < 0.25
    square = x * x
    terms = [2 * k * (-math.pi**2) ** k / math.factorial(2 * k + 1) for k in range(1, 13)]
    series: Any = terms.pop()
    while terms:
        series = series * square + terms.pop()
    far = where(near, 1.0, x)
    return where(near, series * x, (cos(far * math.pi) - out) / far)


sinc = float_function(
    "sinc", lambda s, x: s.Piecewise((1, s.Eq(x, 0)), (s.sin(s.pi * x) / (s.pi * x), True)),
    "sin(pi x) / (pi x), and 1 at 0.", numpy=np.sinc, kernel=_sinc, cost=30,
    partials=lambda f, out, x: (lambda: _sinc_slope(x, out),),
)  # fmt: skip

FUNCTIONS = {
    f.__name__: f
    for f in (
        tan, asin, acos, atan, atan2, hypot, sinh, cosh, asinh, acosh, atanh, deg2rad, rad2deg, sinc
    )
}  # fmt: skip
NUMPY = {"degrees": rad2deg, "radians": deg2rad}
