"""Powers, roots and logarithms to other bases, and what is made of logarithms: logaddexp, xlogy."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, RuntimeFailure
from graphc.ir.dtype import bool_, int8
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Fact
from graphc.loops.primitives import special
from graphc.ops.build import cast, operands, scalar_like, tensor
from graphc.ops.elementwise import divide, equal, log, log1p, sigmoid, where
from graphc.ops.scalar import COMMUTES, binary_float_function, define, float_function, named


def _power_partials(f: Any, out: Tensor, x: Tensor, y: Tensor) -> tuple[Any, Any]:
    zero, one = scalar_like(0, x), scalar_like(1, x)

    def by_base() -> Tensor:  # y * x**(y-1), and 0 (not 0 * inf) for y = 0
        return where(equal(y, zero), zero, y * power(x, y - one))

    def by_exponent() -> Tensor:  # x**y * log(x), and 0 (not 0 * -inf) at x = 0
        return out * log(where(equal(x, zero), one, x))

    return by_base, by_exponent


def _root_partials(f: Any, out: Tensor, x: Tensor) -> tuple[Any, ...]:
    return (lambda: 0.5 / where(equal(out, scalar_like(0, out)), math.inf, out),)


root_of_squares = float_function(
    "root_of_squares", lambda s, x: s.sqrt(x),
    "The square root of a sum of squares: `sqrt`, but for its derivative, which is 0 at 0. So a "
    "norm has the gradient 0 where all elements are 0, a subgradient.",
    numpy=lambda x: np.sqrt(x), partials=_root_partials, cost=4,
    kernel=lambda k, x: k.prim("sqrt", x), facts={Fact.EXACT},
)  # fmt: skip


def root_of_powers(x: Tensor, p: float) -> Tensor:
    """The p-th root of a sum of p-th powers, p > 1, whose gradient is 0 where all of them are 0."""
    return where(equal(x, scalar_like(0, x)), 0, power(x, 1 / p))


_POWER = define(
    "power", np.power, lambda s, x, y: x**y, partials=_power_partials, cost=40,
    facts={Fact.JUMPS, Fact.POLE, Fact.BY_VALUE},
    doc="x ** y, elementwise. Of ints, a negative y is an error, at the call if it is a tensor.",
)  # fmt: skip


@named(_POWER)
def power(x: Any, y: Any) -> Tensor:
    if isinstance(y, int) and not isinstance(y, bool):
        base = tensor(x, "power")
        if base.dtype.is_integer:
            return _integer_power(base, y)
        if base.dtype.is_complex:
            product = _integer_power(base, builtins.abs(y))
            return product if y >= 0 else divide(scalar_like(1, product), product)
    a, b = operands("power", x, y)
    if a.dtype is bool_:
        a, b = cast(a, int8), cast(b, int8)
    return apply(_INTEGER_POWER if a.dtype.is_integer else _POWER, (a, b)).output()


def _integer_power(base: Tensor, exponent: int) -> Tensor:
    if exponent < 0:
        raise ArgumentError(
            "integers to negative integer powers are not integers",
            op="power",
            expected="an exponent >= 0",
            given=str(exponent),
        )
    result = scalar_like(1, base) + base * scalar_like(0, base) if exponent == 0 else None
    square_ = base
    while exponent:
        if exponent & 1:
            result = square_ if result is None else result * square_
        exponent >>= 1
        square_ = square_ * square_ if exponent else square_
    assert result is not None
    return result


_NEGATIVE = "integers to negative integer powers are not integers"


def _numpy_integer_power(x: Any, y: Any) -> Any:
    if np.any(np.less(y, 0)):
        raise RuntimeFailure(_NEGATIVE, op="integer_power")
    return np.power(x, y)


def _integer_power_kernel(k: Any, x: Any, y: Any) -> Any:
    if y.dtype.kind == "i":
        k.fail_if(k.less(y, k.const(0, y.dtype)), _NEGATIVE)
    return k.integer_power(x, y)


_INTEGER_POWER = define(
    "integer_power", _numpy_integer_power, None, kinds="iu", kernel=_integer_power_kernel,
    cost=20, facts={Fact.EXACT}, may_fail=True, doc="x ** y of ints, y >= 0.",
)  # fmt: skip


exp2 = float_function("exp2", lambda s, x: 2**x, "2 ** x.", cost=12, facts={Fact.POSITIVE})
log2 = float_function(
    "log2", lambda s, x: s.log(x, 2), "The logarithm in base 2.", cost=18,
    facts={Fact.JUMPS, Fact.POLE},
)  # fmt: skip
log10 = float_function(
    "log10", lambda s, x: s.log(x, 10), "The logarithm in base 10.", cost=18,
    facts={Fact.JUMPS, Fact.POLE},
)  # fmt: skip
cbrt = float_function(
    "cbrt", lambda s, x: s.sign(x) * s.Abs(x) ** s.Rational(1, 3), "The real cube root.", cost=24,
    partials=lambda f, out, x: (lambda: 1 / (3 * out * out),),
)  # fmt: skip


def _logaddexp(k: Any, x: Any, y: Any) -> Any:
    """The larger, and softplus of minus the distance, which is 0 of equal infinities too."""
    distance = k.where(k.equal(x, y), k.const(0, x.dtype), k.abs(k.subtract(x, y)))
    return k.add(k.maximum(x, y), k.softplus(k.negative(distance)))


def _logaddexp_partials(f: Any, out: Tensor, x: Tensor, y: Tensor) -> tuple[Any, Any]:
    def share(one: Tensor, other: Tensor) -> Tensor:
        return sigmoid(where(equal(one, other), 0.0, one - other))

    return lambda: share(x, y), lambda: share(y, x)


logaddexp = binary_float_function(
    "logaddexp", np.logaddexp, lambda s, x, y: s.log(s.exp(x) + s.exp(y)),
    "log(exp(x) + exp(y)), without overflow.", kernel=_logaddexp, partials=_logaddexp_partials,
    cost=40, facts=COMMUTES,
)  # fmt: skip


def _unless_zero(k: Any, x: Any, y: Any, logarithm: Any) -> Any:
    """x times the logarithm of y; 0 where x is 0, unless y is NaN."""
    zero = k.const(0, x.dtype)
    nothing = k.bitwise_and(k.equal(x, zero), k.equal(y, y))
    return k.where(nothing, zero, k.multiply(x, logarithm(y)))


xlogy = binary_float_function(
    "xlogy", special("xlogy", 2),
    lambda s, x, y: s.Piecewise((0, s.Eq(x, 0)), (x * s.log(y), True)),
    "x * log(y), and 0 where x is 0.", kernel=lambda k, x, y: _unless_zero(k, x, y, k.log),
    partials=lambda f, out, x, y: (lambda: log(y), lambda: where(equal(x, 0), 0.0, x / y)),
    cost=18, facts={Fact.JUMPS, Fact.POLE},
)  # fmt: skip
xlog1py = binary_float_function(
    "xlog1py", special("xlog1py", 2),
    lambda s, x, y: s.Piecewise((0, s.Eq(x, 0)), (x * s.log(1 + y), True)),
    "x * log(1 + y), and 0 where x is 0.", kernel=lambda k, x, y: _unless_zero(k, x, y, k.log1p),
    partials=lambda f, out, x, y: (
        lambda: log1p(y), lambda: where(equal(x, 0), 0.0, x / (1 + y))
    ),
    cost=22, facts={Fact.JUMPS, Fact.POLE},
)  # fmt: skip

FUNCTIONS = {
    f.__name__: f
    for f in (power, exp2, log2, log10, cbrt, root_of_squares, logaddexp, xlogy, xlog1py)
} | {"pow": power}
