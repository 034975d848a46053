"""Definite integrals by sums over places: what an `Integral` of a formula is.

The rules are those of Takahasi and Mori, Double exponential formulas for numerical integration,
1974. A change of variable turns the integral into one over all u, whose integrand decays so fast
that a sum at even steps of u has all digits; singularities at an end do no harm:

    a to b            x = a + (b - a) s(pi sinh u)        s the logistic function
    a to infinity     x = a + exp(pi/2 sinh u)
    all numbers       x = sinh(pi/2 sinh u)

The places do not depend on the data, so a derivative of the sum is the sum of the derivatives:
Leibniz's rule, with the moving ends in it, to any order. Every second place alone gives another
sum, whose error is about the square root of that of the first; where the two differ by more than
`64 * sqrt(eps)` of the sum of absolute values, the call fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.ir.node import Tensor
from graphc.ir.shape import broadcast
from graphc.ops.build import tensor
from graphc.ops.complex import complex, imag, real
from graphc.ops.custom_gradient import custom_gradient
from graphc.ops.elementwise import (
    abs,
    equal,
    isfinite,
    less,
    logical_not,
    logical_or,
    stop_gradient,
    where,
)
from graphc.ops.ensure import ensure
from graphc.ops.reduce import sum
from graphc.ops.scalar import stretch, sum_to
from graphc.ops.shape import expand_dims

STEP = 1 / 32  # of u; half of it over an infinite length, where peaks may be anywhere
TOLERANCE = 64  # by which two sums may differ, in roots of eps
NEAREST = 1e-32  # place to an end, of the length of what is integrated over
FAR = 100.0  # from here on a term that is not finite is one of 0 times infinity


def integral(integrand: Callable[[Tensor], Any], low: Any, high: Any, name: str) -> Any:
    """The integral of a function from `low` to `high`, tensors or numbers, which may be infinite.

    `integrand` takes places along a new last axis, behind those of the bounds, and gives terms at
    these. None where it gives None, and where what it gives does not depend on the place and the
    length is infinite. `name` is that of the variable, for the error.
    Errors: at the call `RuntimeFailure` where the sum is not near the integral.
    """
    if _is(low, math.inf) or _is(high, -math.inf):
        found = integral(integrand, high, low, name)
        return None if found is None else -found
    places, weights, kept = _places(low, high)
    terms = integrand(places if kept is not None else guarded(places, places))
    if terms is None:
        return None
    if not isinstance(terms, Tensor):
        return None if kept is None else terms * (_number(high) - low)
    parts = where(_counts(places, terms) if kept is None else kept, terms, 0.0) * weights
    total = sum(parts, -1)
    fixed = stop_gradient(parts)
    lost = abs(sum(fixed * _number([(-1.0) ** i for i in range(places.shape[-1])]), -1))
    eps = float(np.finfo(fixed.dtype.numpy).eps)
    differs = less(TOLERANCE * math.sqrt(eps) * sum(abs(fixed), -1), lost)  # not of NaN
    message = (
        f"the integral over {name} is not found to its tolerance: split it where the integrand has "
        "a kink, a jump or a narrow peak, or turns often (t = m + s*u moves a peak of width s at m "
        "to u = 0)"
    )
    near = logical_not(differs)
    if total.dtype.is_complex:
        return complex(ensure(real(total), near, message), imag(total))
    return ensure(total, near, message)


def guarded(x: Tensor, places: Tensor) -> Tensor:
    """`x`, whose cotangents from far out are 0 where they are no numbers, as terms are."""

    def pull(g: Tensor, out: Tensor, x: Tensor, places: Tensor) -> tuple[Tensor, None]:
        return sum_to(where(_counts(places, g), g, 0.0), x.shape), None

    def wide(x: Tensor, places: Tensor) -> Tensor:
        return stretch(x, broadcast("integral", x.shape, places.shape))

    made: Tensor = custom_gradient(wide, vjp=pull)(x, stop_gradient(places))
    return made


def _is(bound: Any, value: float) -> bool:
    return not isinstance(bound, Tensor) and bound == value


def _counts(places: Tensor, terms: Tensor) -> Tensor:
    """Where terms count: all but those far out that are no numbers, as 0 times infinity is none."""
    return logical_or(isfinite(terms), less(abs(places), FAR))


def _grid(largest: float, step: float) -> np.ndarray[Any, Any]:
    """Values of u at even steps, so far that sinh(u) is `largest`; as many on either side."""
    count = int(math.asinh(largest) / step)
    return np.arange(-count, count + 1) * step


def _places(low: Any, high: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """The places, the weights, and, of a finite length, which places are not at an end."""
    reach = -math.log(NEAREST)
    if _is(low, -math.inf) and _is(high, math.inf):
        u = _grid(reach * 2 / math.pi, STEP / 2)
        x = np.sinh(math.pi / 2 * np.sinh(u))
        w = STEP / 2 * math.pi / 2 * np.cosh(u) * np.hypot(1.0, x)
        return _number(x.tolist()), _number(w.tolist()), None
    if _is(low, -math.inf) or _is(high, math.inf):
        u = _grid(reach * 2 / math.pi, STEP / 2)
        distance = np.exp(math.pi / 2 * np.sinh(u))
        w = _number((STEP / 2 * math.pi / 2 * np.cosh(u) * distance).tolist())
        away = _number(distance.tolist())
        return _along(high) - away if _is(low, -math.inf) else _along(low) + away, w, None
    u = _grid(reach / math.pi, STEP)
    from_low = 1 / (1 + np.exp(-math.pi * np.sinh(u)))
    part, rest = _number(from_low.tolist()), _number(from_low[::-1].tolist())
    a, b = _along(low), _along(high)
    length = b - a
    x = where(less(part, 0.5), a + length * part, b - length * rest)
    w = length * _number((STEP * math.pi * np.cosh(u) * from_low * from_low[::-1]).tolist())
    inside = logical_not(logical_or(equal(x, a), equal(x, b)))
    return x, w, logical_or(inside, equal(a, b))


def _along(bound: Any) -> Tensor:
    """A bound, with one axis more for the places."""
    return expand_dims(bound if isinstance(bound, Tensor) else _number(float(bound)), -1)


def _number(value: Any) -> Tensor:
    """Python's numbers, which take the dtype of what they meet."""
    return tensor(value, "integral")
