"""What SymPy's functions are in ops: the table that `from_formula.py` reads.

`BUILDERS[name]` makes the value from the values of the arguments, or None where there is no op for
it; `REWRITES[name]` is another expression that means the same. A name is that of SymPy's class.
Functions without an op of their own are computed by SciPy (`special.py`), one call for an array.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p
from sympy.functions.special.tensor_functions import eval_levicivita

from graphc.ir.node import Tensor
from graphc.ir.operators import function
from graphc.ops.scipy_functions import SCIPY_FUNCTIONS


def name_of(e: Any) -> str:
    return str(e.func.__name__)


# -- ops of one name -------------------------------------------------------------------------------
# SymPy's name -> the public function.
_SAME = (
    "sign", "floor", "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "atan2",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "erfinv", "erfcinv",
    "gamma", "digamma", "polygamma", "beta", "expm1", "log1p", "log2", "log10", "exp2",
    "hypot", "logaddexp", "isnan", "isinf", "sigmoid", "softplus", "log1mexp", "erfcx",
    "log_ndtr",
)  # fmt: skip
_NAMES = {name: name for name in _SAME} | {
    "Abs": "abs", "ceiling": "ceil", "Mod": "remainder", "loggamma": "lgamma", "Cbrt": "cbrt",
    "Equality": "equal", "Unequality": "not_equal", "StrictLessThan": "less",
    "LessThan": "less_equal", "StrictGreaterThan": "greater", "GreaterThan": "greater_equal",
    "Not": "logical_not",
}  # fmt: skip


def _special(name: str, *values: Any) -> Any:
    return function("_special_")(name, *values)


def _op(ours: str) -> Callable[..., Any]:
    return lambda *values: function(ours)(*values)


def _all(ours: str) -> Callable[..., Any]:
    return lambda *values: reduce(function(ours), values)


def _polygamma(order: Any, x: Any) -> Any:
    known = isinstance(order, int) and order >= 0
    return function("polygamma")(order, x) if known else _special("polygamma", order, x)


def _besseli(order: Any, x: Any) -> Any:
    native = {0: "i0", 1: "i1"}.get(order) if isinstance(order, int) else None
    return function(native)(x) if native else _special("besseli", order, x)


def _lower_gamma(a: Any, x: Any) -> Any:
    return function("multiply")(function("gammainc")(a, x), function("gamma")(a))


def _upper_gamma(a: Any, x: Any) -> Any:
    return function("multiply")(function("gammaincc")(a, x), function("gamma")(a))


def _betainc(a: Any, b: Any, x: Any, y: Any) -> Any:
    """The integral of the density of beta from x to y."""
    upper = function("betainc")(a, b, y)
    return upper if x == 0 and not isinstance(x, Tensor) else upper - function("betainc")(a, b, x)


def _heaviside(x: Any, at_zero: Any = 0.5) -> Any:
    where = function("where")
    below = where(function("less")(x, 0.0), 0.0, where(function("equal")(x, 0.0), at_zero, x))
    return where(function("greater")(x, 0.0), 1.0, below)


def _delta(x: Any, y: Any, *limits: Any) -> Any:
    return None if limits else function("where")(function("equal")(x, y), 1.0, 0.0)


def _is_complex(x: Any) -> bool:
    return isinstance(x, complex) if not isinstance(x, Tensor) else x.dtype.is_complex


def _part(ours: str, of_real: Callable[[Any], Any]) -> Callable[..., Any]:
    """What an op makes of complex numbers, and what that is of real ones."""
    return lambda x: function(ours)(x) if _is_complex(x) else of_real(x)


def _if(condition: Any, x: Any, y: Any) -> Any:
    return function("where")(condition, x, y)


BUILDERS: dict[str, Callable[..., Any]] = {
    **{name: (lambda *values, name=name: _special(name, *values)) for name in SCIPY_FUNCTIONS},
    **{name: _op(ours) for name, ours in _NAMES.items()},
    "Max": _all("maximum"),
    "Min": _all("minimum"),
    "And": _all("logical_and"),
    "Or": _all("logical_or"),
    "Xor": _all("logical_xor"),
    "ITE": _if,
    "polygamma": _polygamma,
    "besseli": _besseli,
    "lowergamma": _lower_gamma,
    "uppergamma": _upper_gamma,
    "betainc_regularized": _betainc,
    "betainc": lambda a, b, x, y: function("multiply")(
        _betainc(a, b, x, y), function("beta")(a, b)
    ),
    "Determinant": lambda m: function("det")(m),
    "Trace": lambda m: function("sum")(function("diagonal")(m, axis1=-2, axis2=-1), axis=-1),
    "sinc": lambda x: function("_sinc_")(x),
    "Heaviside": _heaviside,
    "re": _part("real", lambda x: x),
    "im": _part("imag", lambda x: 0.0),
    "conjugate": _part("conj", lambda x: x),
    "arg": lambda x: function("angle")(x),
    "KroneckerDelta": _delta,
    "UnevaluatedExpr": lambda x: x,
}


# -- functions that are others ---------------------------------------------------------------------
def _of(formula: Callable[..., Any]) -> Callable[[Any], Any]:
    """A formula of the arguments."""
    return lambda e: formula(*e.args)


def _logaddexp2(x: Any, y: Any) -> Any:
    """log2(2**x + 2**y)"""
    return sp.Max(x, y) + log1p(sp.Integer(2) ** -sp.Abs(x - y)) / sp.log(2)


def _harmonic(n: Any, order: Any = None) -> Any:
    if order is None:
        return sp.digamma(n + 1) + sp.EulerGamma
    return sp.zeta(order) - sp.zeta(order, n + 1)


def _in_gamma(e: Any) -> Any:
    return e.rewrite(sp.gamma)


def _in_bessel(e: Any) -> Any:
    """Of an order that is no whole number; SciPy has the others."""
    if e.args[0].is_Integer and e.args[0] >= 0:
        return None
    return e.rewrite(sp.besselj if e.func is sp.jn else sp.bessely)


def _expanded(e: Any) -> Any:
    """A hypergeometric function as elementary and special ones, where it is."""
    found = sp.hyperexpand(e)
    return e if found.has(sp.hyper, sp.meijerg) else found


def in_closed_form(e: Any) -> Any:
    """An infinite sum or product as SymPy knows it, NaN where it does not converge; else None."""
    found = e.doit()
    if isinstance(found, sp.Piecewise):
        pairs = [(sp.nan if _is_infinite(x) else x, holds) for x, holds in found.args]
        found = sp.Piecewise(*pairs) if any(x is not sp.nan for x, _ in pairs) else found
    diverges = found.has(sp.oo, -sp.oo, sp.zoo)
    return None if diverges or _is_infinite(found) else found


def _is_infinite(e: Any) -> bool:
    return any(b.is_infinite for s in e.atoms(sp.Sum, sp.Product) for x in s.limits for b in x[1:])


def _expint(n: Any, x: Any) -> Any:
    """Of orders up to 0 it is elementary."""
    return sp.expand_func(sp.expint(n, x)) if n.is_Integer and n <= 0 else None


def _step_power(x: Any, at: Any, power: Any) -> Any:
    """Macaulay's bracket; of a negative power it is an impulse, which has no values."""
    if power.is_negative:
        return None
    return (x - at) ** power * sp.Heaviside(x - at, 1)


_T = sp.Dummy("t", positive=True)


def _polylog(s: Any, z: Any) -> Any:
    """The integral of Bose and Einstein, z / gamma(s) int_0^oo t^(s-1) / (e^t - z) dt, for s > 0
    and z <= 1. For large -z it has an edge near t = log(-z), at which it is cut. Nothing cancels in
    1 - z e^-t = (1 - z) e^-t + (1 - e^-t)."""
    if s.is_Integer and s <= 1:
        return sp.expand_func(sp.polylog(s, z))
    decay = sp.exp(-_T)
    term = _T ** (s - 1) * decay / ((1 - z) * decay - expm1(-_T))
    edge = 1 + sp.log(1 + z**2) / 2
    parts = sp.Integral(term, (_T, 0, edge)) + sp.Integral(term, (_T, edge, sp.oo))
    return z / sp.gamma(s) * parts


def _elliptic_pi(n: Any, *given: Any) -> Any:
    """The integral of Legendre: complete, from the end where it is large; else one of at most a
    quarter turn, and half turns."""
    if len(given) == 1:
        (m,) = given
        rest = (1 - n) + n * sp.sin(_T) ** 2
        term = 1 / (rest * sp.sqrt((1 - m) + m * sp.sin(_T) ** 2))
        return sp.Integral(term, (_T, 0, sp.pi / 2))
    angle, m = given
    turns = sp.floor(angle / sp.pi + sp.S.Half)
    term = 1 / ((1 - n * sp.sin(_T) ** 2) * sp.sqrt(1 - m * sp.sin(_T) ** 2))
    part = sp.Integral(term, (_T, 0, angle - sp.pi * turns))
    return part + sp.Piecewise((0, sp.Eq(turns, 0)), (2 * turns * sp.elliptic_pi(n, m), True))


def _done(e: Any) -> Any:
    """What an unevaluated derivative or substitution is, if SymPy finds it: of what is real, as
    SymPy gives the derivative of |x| in terms of those of re(x) and im(x)."""
    found = e.doit()
    if found == e:
        real = e.replace(sp.re, lambda u: u).replace(sp.im, lambda u: sp.S.Zero)
        found = real.doit()
    return found


REWRITES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("Derivative", "Subs", "DotProduct"), _done),
    "sec": _of(lambda x: 1 / sp.cos(x)),
    "csc": _of(lambda x: 1 / sp.sin(x)),
    "cot": _of(lambda x: 1 / sp.tan(x)),
    "asec": _of(lambda x: sp.acos(1 / x)),
    "acsc": _of(lambda x: sp.asin(1 / x)),
    "acot": _of(lambda x: sp.atan(1 / x)),
    "sech": _of(lambda x: 1 / sp.cosh(x)),
    "csch": _of(lambda x: 1 / sp.sinh(x)),
    "coth": _of(lambda x: 1 / sp.tanh(x)),
    "asech": _of(lambda x: sp.acosh(1 / x)),
    "acsch": _of(lambda x: sp.asinh(1 / x)),
    "acoth": _of(lambda x: sp.atanh(1 / x)),
    "frac": _of(lambda x: x - sp.floor(x)),
    "erf2": _of(lambda x, y: sp.erf(y) - sp.erf(x)),
    "Implies": _of(lambda x, y: sp.Or(sp.Not(x), y)),
    "Equivalent": lambda e: sp.And(*(sp.Not(sp.Xor(e.args[0], x)) for x in e.args[1:])),
    "polygamma": lambda e: sp.digamma(e.args[1]) if e.args[0] == 0 else None,
    "factorial": _in_gamma,
    "RisingFactorial": _in_gamma,
    "FallingFactorial": _in_gamma,
    "harmonic": _of(_harmonic),
    "polylog": _of(_polylog),
    "elliptic_pi": _of(_elliptic_pi),
    "expint": _of(_expint),
    "SingularityFunction": _of(_step_power),
    "catalan": _in_gamma,
    "li": _of(lambda x: sp.Ei(sp.log(x))),
    "Li": _of(lambda x: sp.Ei(sp.log(x)) - sp.Ei(sp.log(2))),
    "dirichlet_eta": lambda e: e.rewrite(sp.zeta),
    "hyper": _expanded,
    "meijerg": _expanded,
    "LeviCivita": _of(eval_levicivita),
    "Contains": lambda e: e.args[1].as_relational(e.args[0]),
    "hankel1": _of(lambda n, x: sp.besselj(n, x) + sp.I * sp.bessely(n, x)),
    "hankel2": _of(lambda n, x: sp.besselj(n, x) - sp.I * sp.bessely(n, x)),
    "hn1": _of(lambda n, x: sp.jn(n, x) + sp.I * sp.yn(n, x)),
    "hn2": _of(lambda n, x: sp.jn(n, x) - sp.I * sp.yn(n, x)),
    "Ynm": lambda e: e.expand(func=True),
    "Znm": lambda e: sp.re(e.expand(func=True), evaluate=False),  # as the imaginary part is 0
    "jn": _in_bessel,
    "yn": _in_bessel,
    "Sqrt": _of(sp.sqrt),
    "fma": _of(lambda x, y, z: x * y + z),
    "cosm1": _of(lambda x: -2 * sp.sin(x / 2) ** 2),
    "powm1": _of(lambda x, y: expm1(y * sp.log(x))),
    "logaddexp2": _of(_logaddexp2),
    "minimum": _of(sp.Min),
    "maximum": _of(sp.Max),
}
