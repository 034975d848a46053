"""The gamma function, its logarithm, the derivatives of that, and beta."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir.dtype import float64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Fact
from graphc.loops.primitives import special
from graphc.ops.build import cast, float_type, operands, tensor
from graphc.ops.elementwise import exp, floor, less, logical_and, not_equal, remainder, where
from graphc.ops.scalar import define, float_function, publish

if TYPE_CHECKING:
    from fractions import Fraction

POLES = {Fact.POLE, Fact.JUMPS}

lgamma = float_function(
    "lgamma", lambda s, x: s.loggamma(x), "The logarithm of |gamma(x)|.", cost=110,
    partials=lambda f, out, x: (lambda: digamma(x),), facts=POLES,
)  # fmt: skip
gamma = float_function(
    "gamma", lambda s, x: s.gamma(x), "The gamma function: (x - 1)! of whole x.", cost=130,
    partials=lambda f, out, x: (lambda: out * digamma(x),), facts=POLES,
)  # fmt: skip
_DIGAMMA = define(
    "digamma", special("digamma"), lambda s, x: s.digamma(x), cost=120, facts=POLES,
    partials=lambda f, out, x: (lambda: polygamma(1, x),),
    doc="The derivative of log gamma(x).",
)  # fmt: skip


def digamma(x: Any) -> Tensor:
    t = tensor(x, "digamma")
    return apply(_DIGAMMA, (cast(t, float_type(t.dtype)),)).output()


publish(_DIGAMMA, digamma)


# -- its derivatives -------------------------------------------------------------------------------
_TERMS = 9  # of the Euler-Maclaurin sum, which starts at 8 + order or above


def _cotangent(order: int) -> list[int]:
    """The coefficients of the derivative of cot as a polynomial in cot: cot' = -(1 + cot**2)."""
    found = [0, 1]
    for _ in range(order):
        slope = [-i * c for i, c in enumerate(found)][1:]
        found = [a + b for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return found


def _bernoulli(count: int) -> list[Fraction]:
    """B_2, B_4, ... B_(2 count)."""
    from fractions import Fraction

    b = [Fraction(1)]
    for m in range(1, 2 * count + 1):
        b.append(-sum((math.comb(m + 1, i) * b[i] for i in range(m)), Fraction(0)) / (m + 1))
    return b[2::2]


def _polygamma_kernel(k: Any, x: Any, *, order: int) -> Any:
    """(-1)**(order + 1) order! times the sum of (b + j)**-(order + 1) over all j >= 0, in float64.

    The first terms are added one by one, the others by the formula of Euler and Maclaurin. Negative
    x by reflection: (-1)**order psi(1 - x) - psi(x) is the derivative of pi cot(pi x).
    """
    from fractions import Fraction

    wide = k.cast(x, float64)

    def number(value: float) -> Any:
        return k.const(value, float64)

    def polynomial(v: Any, coefficients: list[float]) -> Any:
        total = number(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            total = k.multiply(total, v)
            total = total if c == 0 else k.add(total, number(c))
        return total

    def power(v: Any, exponent: int) -> Any:
        result = v
        for _ in range(exponent - 1):
            result = k.multiply(result, v)
        return result

    zero, one = number(0), number(1)
    below = k.less(wide, zero)
    b = k.where(below, k.subtract(one, wide), k.abs(wide))
    total, steps = None, 8 + order
    for j in reversed(range(steps)):
        term = k.divide(one, power(k.add(b, number(j)) if j else b, order + 1))
        total = term if total is None else k.add(total, term)
    z = k.add(b, number(steps))
    inverse = k.divide(one, z)
    rising, terms = Fraction(order + 1), [Fraction(1, 2)]
    for i, b2 in enumerate(_bernoulli(_TERMS), 1):
        terms.append(b2 / math.factorial(2 * i) * rising)
        rising *= (order + 2 * i) * (order + 2 * i + 1)
    rest = polynomial(k.multiply(inverse, inverse), [float(t) for t in terms[1:]])
    rest = k.add(k.multiply(rest, inverse), number(0.5))
    rest = k.add(k.multiply(rest, inverse), number(1 / order))
    total = k.add(total, k.multiply(rest, power(inverse, order)))
    above = k.multiply(total, number((-1) ** (order + 1) * math.factorial(order)))

    nearest = k.round(wide)
    r = k.subtract(wide, nearest)
    cot = k.divide(one, k.tan(k.multiply(r, number(math.pi))))
    turned = polynomial(cot, [float(c) for c in _cotangent(order)])
    turned = k.multiply(turned, number(math.pi ** (order + 1)))
    mirrored = k.subtract(k.multiply(above, number((-1) ** order)), turned)
    pole = number((-1) ** (order + 1) * math.inf)
    mirrored = k.where(k.equal(wide, nearest), pole, mirrored)  # minus infinity too
    return k.cast(k.where(below, mirrored, above), x.dtype)


def _numpy_polygamma(x: Any, *, order: int) -> Any:
    """SciPy's for x >= 0; below, where SciPy's takes |x| steps, by reflection."""
    from scipy.special import polygamma

    given = np.asarray(x)
    wide = given.astype(np.float64)
    with np.errstate(all="ignore"):
        below = wide < 0
        above = polygamma(order, np.where(below, 1 - wide, wide))
        cot = 1 / np.tan((wide - np.rint(wide)) * np.pi)
        *others, leading = _cotangent(order)
        turned: Any = float(leading)
        for c in reversed(others):
            turned = turned * cot + c  # from the leading term on: cot may be infinite
        turned = turned * np.pi ** (order + 1)
        pole = (-1) ** (order + 1) * np.inf
        mirrored = np.where(wide == np.rint(wide), pole, (-1) ** order * above - turned)
    return np.where(below, mirrored, above).astype(given.dtype)


_POLYGAMMA = define(
    "polygamma", _numpy_polygamma, lambda s, x, *, order: s.polygamma(order, x),
    kernel=_polygamma_kernel, cost=200, facts=POLES,
    partials=lambda f, out, x, *, order: (lambda: polygamma(order + 1, x),),
    doc="The derivative of digamma(x) of a static order >= 0; digamma itself is that of order 0.",
)  # fmt: skip


def polygamma(n: Any, x: Any) -> Tensor:
    order = _static_order(n)
    if order == 0:
        return digamma(x)
    t = tensor(x, "polygamma")
    return apply(_POLYGAMMA, (cast(t, float_type(t.dtype)),), order=order).output()


def _static_order(n: Any) -> int:
    """Errors: `ArgumentError` for what is no whole number >= 0, or not known before the call."""
    if isinstance(n, Tensor) and Fact.CONSTANT in n.node.op.facts and n.ndim == 0:
        n = n.node.attrs["value"].array[()]
    whole = isinstance(n, (int, float, np.integer, np.floating)) and not isinstance(n, bool)
    if not whole or n < 0 or n != int(n):
        raise ArgumentError(
            "the order of a derivative is a static whole number",
            op="polygamma",
            expected="polygamma(n, x) with an int n >= 0",
            given=f"n = {n!r}",
        )
    return int(n)


publish(_POLYGAMMA, polygamma)


# -- beta ------------------------------------------------------------------------------------------
def _sign_of_gamma(x: Tensor) -> Tensor:
    """-1 where gamma(x) is negative: between an odd negative integer and the next one."""
    odd = not_equal(remainder(floor(x), 2), 0)
    return where(logical_and(less(x, 0), odd), -1.0, 1.0)


def beta(a: Any, b: Any) -> Tensor:
    """gamma(a) gamma(b) / gamma(a + b), by the logarithms of these, in float64.

    Its relative error is that of the logarithms: 1e-16 times the largest of them.
    """
    x, y = operands("beta", a, b)
    to = float_type(x.dtype)
    p, q = cast(x, float64), cast(y, float64)
    both = p + q
    size = exp(lgamma(p) + lgamma(q) - lgamma(both))
    return cast(size * (_sign_of_gamma(p) * _sign_of_gamma(q) * _sign_of_gamma(both)), to)


FUNCTIONS = {f.__name__: f for f in (lgamma, gamma, digamma, polygamma, beta)}
