"""Derivatives of SciPy's functions that SymPy lacks, or has in a form that is 0/0 at a point where
the function has one. The others are SymPy's (`special.py`).

`PARTIALS[name](position, *arguments)` is the derivative by an argument, an expression, or None
where it is SymPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp
from sympy.codegen.cfunctions import expm1


def _elliptic_by_m(power: int, m: Any, angle: Any = None) -> Any:
    """The derivative of an integral of (1 - m sin(t)^2)^(power/2), complete or to an angle: an
    integral for small m, where SymPy's form cancels, and is 0/0 at 0."""
    function = sp.elliptic_e if power == 1 else sp.elliptic_k if angle is None else sp.elliptic_f
    at = sp.Dummy("m", real=True)
    form = function(at) if angle is None else function(angle, at)
    is_small = sp.Abs(m) < sp.S.Half
    # The value of a branch that is not taken has to be there, too.
    small = sp.Piecewise((m, is_small), (0, True))
    large = sp.Piecewise((sp.S.Half, is_small), (m, True))

    def by_integral(end: Any) -> Any:
        t = sp.Dummy("t", real=True)
        square = sp.sin(t) ** 2
        term = -square * power / 2 * (1 - small * square) ** sp.Rational(power - 2, 2)
        return sp.Integral(term, (t, 0, end))

    quarter = sp.pi / 2
    if angle is None:
        near = by_integral(quarter)
    else:  # half turns, and the rest of at most a quarter
        turns = sp.floor(angle / sp.pi + sp.S.Half)
        near = by_integral(angle - sp.pi * turns) + 2 * turns * by_integral(quarter)
    return sp.Piecewise((near, is_small), (form.diff(at).subs(at, large), True))


def _elliptic_e_partial(position: int, *given: Any) -> Any:
    if position == len(given) - 1:
        return _elliptic_by_m(1, *reversed(given))
    return sp.sqrt(1 - given[1] * sp.sin(given[0]) ** 2)


def _elliptic_f_partial(position: int, angle: Any, m: Any) -> Any:
    if position:
        return _elliptic_by_m(-1, m, angle)
    return 1 / sp.sqrt(1 - m * sp.sin(angle) ** 2)


def _lambertw_partial(position: int, x: Any, *branch: Any) -> Any:
    """exp(-w) / (1 + w), where SymPy has w / (x (1 + w))."""
    w = sp.LambertW(x, *branch, evaluate=False)
    return None if position else sp.exp(-w) / (1 + w)


def _sinhc(x: Any) -> Any:
    """sinh(x) / x; near 0 by its series."""
    series = sum(x ** (2 * k) / sp.factorial(2 * k + 1) for k in range(9))
    return sp.Piecewise((series, sp.Abs(x) < 1), (sp.sinh(x) / x, True))


def _spherical_partial(name: str, position: int, n: Any, x: Any) -> Any:
    """(n f_(n-1) - (n+1) f_(n+1)) / (2n + 1), which divides nothing by x. Source: DLMF 10.51."""
    f = getattr(sp, name)
    if position == 0 or not n.is_Integer:
        return None
    below = n * f(n - 1, x) if n > 0 else 0
    return (below - (n + 1) * f(n + 1, x)) / (2 * n + 1)


def _zeta_partial(position: int, s: Any, q: Any = 1) -> Any:
    """By s > 1: of the integral of t^(s-1) e^(-q t) / (1 - e^-t) over gamma(s)."""
    if position:
        return -s * sp.zeta(s + 1, q)
    t = sp.Dummy("t", positive=True)
    density = t ** (s - 1) * sp.exp(-q * t) / -expm1(-t)
    return sp.Integral(density * (sp.log(t) - sp.digamma(s)), (t, 0, sp.oo)) / sp.gamma(s)


def _binomial_partial(position: int, n: Any, k: Any) -> Any:
    """Of a whole k > 0: the polynomial's; else as SymPy has it."""
    if position == 0 and k.is_Integer and 0 <= k <= _LARGEST_POLYNOMIAL:
        x = sp.Dummy("x")
        slope = sp.ff(x, k).expand(func=True).diff(x) / sp.factorial(k)
        return sp.horner(slope).subs(x, n) if k else sp.S.Zero
    return None


_LARGEST_POLYNOMIAL = 20

PARTIALS: dict[str, Callable[..., Any]] = {
    "elliptic_k": lambda position, m: _elliptic_by_m(-1, m),
    "elliptic_e": _elliptic_e_partial,
    "elliptic_f": _elliptic_f_partial,
    "LambertW": _lambertw_partial,
    "Si": lambda position, x: sp.sinc(x),
    "Shi": lambda position, x: _sinhc(x),
    "jn": lambda position, n, x: _spherical_partial("jn", position, n, x),
    "yn": lambda position, n, x: _spherical_partial("yn", position, n, x),
    "zeta": _zeta_partial,
    "binomial": _binomial_partial,
}
