"""Numbers in parts: fractions, mantissas and exponents, neighbours, divisors, bits.

All are made of other ops, so that kernels fuse them and derivatives follow; those of a part that
jumps are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.ir import origin
from graphc.ir.dtype import BY_SHORT, DType, bool_, float32, float64, int32, int64, uint8, uint64
from graphc.ir.node import Tensor
from graphc.ops.build import cast, constant, float_type, operands, scalar_like, tensor
from graphc.ops.elementwise import (
    abs,
    add,
    bitwise_and,
    clip,
    divide,
    equal,
    floor_divide,
    greater,
    isfinite,
    isinf,
    less,
    log1p,
    logical_and,
    maximum,
    multiply,
    not_equal,
    remainder,
    round,
    shift_right,
    stop_gradient,
    subtract,
    trunc,
    where,
)
from graphc.ops.powers import exp2, log2
from graphc.ops.reduce import any
from graphc.ops.shape import broadcast_to
from graphc.ops.signs import copysign, nextafter, signbit
from graphc.ops.while_loop import while_loop

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _real(op: str, x: Any) -> Tensor:
    """x as a tensor of real numbers. Errors: `DTypeError` for complex ones."""
    t = tensor(x, op)
    if t.dtype.is_complex:
        raise _refused(op, "real numbers", t)
    return t


def _float(op: str, x: Any) -> Tensor:
    t = _real(op, x)
    return cast(t, float_type(t.dtype))


def _refused(op: str, expected: str, given: Tensor) -> DTypeError:
    return DTypeError(
        "not for this dtype", op=op, expected=expected, given=given.dtype.name,
        where=origin.where(),
    )  # fmt: skip


# -- whole part and rest ---------------------------------------------------------------------------
def fmod(x: Any, y: Any) -> Tensor:
    """What is left of x after as many y as fit into it, towards 0: it has the sign of x, where
    that of `remainder` is y's. Of ints 0 where y is 0. Errors: `DTypeError` for bools.

    >>> import graphc as gc
    >>> gc.evaluate([gc.fmod(-7, 3), gc.remainder(-7, 3)])
    [array(-1), array(2)]
    """
    a, b = operands("fmod", x, y)
    if a.dtype is bool_ or a.dtype.is_complex:
        raise _refused("fmod", "ints or floats", a)
    if a.dtype.is_integer:
        rest = remainder(a, b)
        if a.dtype.kind == "u":
            return rest
        beyond = not_equal(less(a, 0), less(b, 0))
        return where(logical_and(not_equal(rest, 0), beyond), subtract(rest, b), rest)
    # of |x| and |y| both have the same rest, to the bit; a factor, not |x|: its slope at 0 is 1
    sign = where(signbit(a), scalar_like(-1, a), scalar_like(1, a))
    return multiply(remainder(multiply(a, sign), abs(b)), sign)


def modf(x: Any) -> tuple[Tensor, Tensor]:
    """The part behind the point and the whole part, both with the sign of x. Dtypes: ints give
    floats. The slope of the first is 1, of the second 0."""
    t = _float("modf", x)
    behind = where(isinf(t), copysign(scalar_like(0, t), t), fmod(t, scalar_like(1, t)))
    return behind, trunc(t)


def fix(x: Any) -> Tensor:
    """The whole part of x, towards 0: `trunc`."""
    return trunc(_real("fix", x))


# -- mantissa and exponent -------------------------------------------------------------------------
LIFT, SINK = 120, -64  # powers of 2 that move tiny and huge numbers to where neighbours are exact


def frexp(x: Any) -> tuple[Tensor, Tensor]:
    """m in [0.5, 1) and an exponent e (int32) with `x = m * 2**e`; of 0, infinities and NaN x and
    0. Dtypes: ints give floats. The slope of m is 2**-e.

    >>> import graphc as gc
    >>> gc.evaluate(list(gc.frexp(12.0)))
    [array(0.75), array(4, dtype=int32)]
    """
    given = _float("frexp", x)
    t = cast(given, float32) if given.dtype.bits < 32 else given
    info, one = np.finfo(t.dtype.numpy), scalar_like(1, t)
    digits, size = int(info.nmant) + 1, abs(t)
    tiny = less(size, scalar_like(float(info.smallest_normal) * 2.0 ** (digits + 1), t))
    huge = greater(size, scalar_like(2.0 ** (int(info.maxexp) - 2), t))
    factor = where(tiny, scalar_like(2.0**LIFT, t), where(huge, scalar_like(2.0**SINK, t), one))
    moved = multiply(size, factor)
    # the distance to the next number is the power of 2 below, but for the digits between them
    apart = stop_gradient(subtract(nextafter(moved, scalar_like(np.inf, t)), moved))
    part = copysign(divide(moved, multiply(apart, scalar_like(2.0**digits, t))), t)
    back = where(tiny, -LIFT, where(huge, -SINK, 0))
    exponent = add(add(cast(round(log2(apart)), int32), digits), cast(back, int32))
    usual = logical_and(isfinite(t), not_equal(t, scalar_like(0, t)))
    mantissa = cast(where(usual, part, t), given.dtype)
    return mantissa, where(usual, exponent, constant(0, int32))


def ldexp(x: Any, n: Any) -> Tensor:
    """`x * 2**n` for ints n, rounded once. Dtypes: ints x give floats; n an int, no uint64.
    Errors: `DTypeError` for another n."""
    given, exponent = _float("ldexp", x), tensor(n, "ldexp")
    if not (exponent.dtype.is_integer or exponent.dtype is bool_) or exponent.dtype is uint64:
        raise _refused("ldexp", "n of ints, no uint64", exponent)
    t = cast(given, float32) if given.dtype.bits < 32 else given
    info, left = np.finfo(t.dtype.numpy), cast(exponent, int64)
    most, least = int(info.maxexp) - 1, int(info.minexp)
    # What a power of 2 cannot say in one is two steps more. One that goes down ends far enough from
    # the subnormal numbers that what the last step rounds was exact, or is 0 anyway.
    down = least + int(info.nmant) + 1
    for _ in range(2):
        up, low = greater(left, most), less(left, least)
        far = where(up, most, where(low, down, 0))
        factor = where(up, 2.0**most, where(low, 2.0**down, 1.0))
        t, left = multiply(t, cast(factor, t.dtype)), subtract(left, far)
    power = exp2(cast(clip(left, least, most), float64))  # of 32 bits NumPy's is not always one
    return cast(multiply(t, cast(power, t.dtype)), given.dtype)


def spacing(x: Any) -> Tensor:
    """The distance from x to the float next to it, away from 0; with the sign of x. Of infinities
    NaN. Its slope is 0. Errors: `DTypeError` for what is no float."""
    t = tensor(x, "spacing")
    if not t.dtype.is_float:
        raise _refused("spacing", "float32 or float64", t)
    away = where(less(t, 0), scalar_like(-np.inf, t), scalar_like(np.inf, t))
    return subtract(nextafter(t, away), t)


def logaddexp2(x: Any, y: Any) -> Tensor:
    """log2(2**x + 2**y), without overflow. Dtypes: ints give floats."""
    a, b = operands("logaddexp2", x, y)
    a, b = (_float("logaddexp2", t) for t in (a, b))
    same = equal(a, b)  # equal infinities have no distance
    apart = where(same, scalar_like(0, a), abs(subtract(a, b)))
    return add(maximum(a, b), multiply(log1p(exp2(-apart)), scalar_like(1 / np.log(2), a)))


# -- divisors and bits -----------------------------------------------------------------------------
def _magnitudes(op: str, x: Any, y: Any) -> tuple[DType, Tensor, Tensor]:
    """The dtype of ints, and their absolute values without a sign, of one shape."""
    a, b = operands(op, x, y)
    if not a.dtype.is_integer:
        raise _refused(op, "ints", a)
    to = BY_SHORT[f"u{a.dtype.bits}"]
    first, second = (cast(abs(t) if t.dtype.kind == "i" else t, to) for t in (a, b))
    shape = add(first, second).shape
    return a.dtype, broadcast_to(first, shape), broadcast_to(second, shape)


def _divisor(a: Tensor, b: Tensor) -> Tensor:
    """By Euclid's algorithm, of all elements at once: as many turns as the slowest needs."""

    def step(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        larger, smaller = pair
        ended = equal(smaller, 0)
        return where(ended, larger, smaller), remainder(larger, smaller)  # by 0 it is 0

    found: tuple[Tensor, Tensor] = while_loop(lambda p: any(not_equal(p[1], 0)), step, (a, b))
    return found[0]


def gcd(x: Any, y: Any) -> Tensor:
    """The greatest common divisor of ints, >= 0; that of 0 and x is |x|. Errors: `DTypeError`.

    >>> import graphc as gc
    >>> gc.evaluate([gc.gcd(12, -18), gc.lcm(4, 6)])
    [array(6), array(12)]
    """
    dtype, a, b = _magnitudes("gcd", x, y)
    return cast(_divisor(a, b), dtype)


def lcm(x: Any, y: Any) -> Tensor:
    """The least common multiple of ints, >= 0; 0 where one is 0. It wraps, as products do.
    Errors: `DTypeError`."""
    dtype, a, b = _magnitudes("lcm", x, y)
    return cast(multiply(floor_divide(a, _divisor(a, b)), b), dtype)  # 0 // 0 is 0


def bitwise_count(x: Any) -> Tensor:
    """How many bits of |x| are 1 (uint8). Errors: `DTypeError` for what is no int.

    Source: the sums of pairs, of fours and of bytes, side by side (Warren, Hacker's Delight, 5-1).
    """
    t = tensor(x, "bitwise_count")
    if t.dtype.is_float or t.dtype.is_complex:
        raise _refused("bitwise_count", "ints", t)
    t = cast(t, uint8) if t.dtype is bool_ else t
    to = BY_SHORT[f"u{t.dtype.bits}"]
    v = cast(abs(t) if t.dtype.kind == "i" else t, to)
    ones = (1 << to.bits) - 1

    def mask(width: int) -> Tensor:
        """`width` ones, `width` zeros, and so on."""
        return constant(ones // ((1 << width) + 1), to)

    v = subtract(v, bitwise_and(shift_right(v, 1), mask(1)))
    v = add(bitwise_and(v, mask(2)), bitwise_and(shift_right(v, 2), mask(2)))
    v = bitwise_and(add(v, shift_right(v, 4)), mask(4))
    if to.bits > 8:  # all bytes, added up in the highest one
        v = shift_right(multiply(v, constant(ones // 255, to)), to.bits - 8)
    return cast(v, uint8)


FUNCTIONS |= {
    f.__name__: f
    for f in (
        fmod, modf, fix, frexp, ldexp, spacing, logaddexp2, gcd, lcm, bitwise_count,
    )
}  # fmt: skip
