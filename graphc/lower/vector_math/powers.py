"""Powers and remainders of floats.

Where y is a whole number of halves, and a small one, x**y is a chain of products of sums of two
floats, which begins with x, 1 / x, sqrt(x) or 1 / sqrt(x): right to a little more than half a unit
in the last place, and a loop around it becomes vectors. Other powers are the C library's.

What follows is for where there is no C library. x**y = e**(y log |x|), the logarithm and its
product with y each carried as a sum of two floats; float32 is computed in float64. A remainder is
exact: the division of the significands as integers, a bit at a time, as many as the exponents are
apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

from graphc.lower.vector_math.emit import FORMATS, Code, Format, Value
from graphc.lower.vector_math.exponential import exp_of_sum
from graphc.lower.vector_math.logarithm import log_as_sum

HALVES = 32  # of an exponent, at the most
_NAME = re.compile(r"power_(minus_)?(\d+)_halves")


# -- exponents that are known ----------------------------------------------------------------------
def of_exponent(y: float) -> str | None:
    """The name of the function x**y, if there is one for this y."""
    halves = 2 * y
    if not 0 < abs(halves) <= HALVES or halves != int(halves):
        return None
    return f"power_{'minus_' * (halves < 0)}{abs(int(halves))}_halves"


def exponent_of(name: str) -> float | None:
    """The y of the function x**y of this name; None for other functions."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[2]) / (-2 if found[1] else 2)


def fixed_power(code: Code, x: Value, y: float) -> Value:
    """x**y as in C, for a y of which `of_exponent` has a name."""
    return _whole(code, x, int(y)) if y == int(y) else _half(code, x, int(2 * y))


def _whole(code: Code, x: Value, n: int) -> Value:
    high, low = x, None
    if n < 0:
        high = 1.0 / x
        low = _known(code, code.fma(-x, high, 1.0) * high)
    found = _product(code, high, low, abs(n))
    return code.copysign(found, high) if n % 2 else found  # what underflows has a sign


def _half(code: Code, x: Value, halves: int) -> Value:
    """C says of -0.0 and of -inf what holds of 0.0 and inf."""
    x = code.select(x.equals(-math.inf), math.inf, x)
    root = code.intrinsic("sqrt", x)
    if halves > 0:
        high, low = root, code.fma(-root, root, x) / (root + root)
    else:
        high = 1.0 / root
        near = high * x
        missing = code.fma(-high, near, 1.0) - code.fma(high, x, -near) * high  # 1 - high**2 x
        low = missing * 0.5 * high
    return code.abs(_product(code, high, _known(code, low), abs(halves)))


def _known(code: Code, rest: Value) -> Value:
    """What a rounded number lacks; nothing where that is 0 or infinite."""
    return code.select(rest.equals(rest), rest, 0.0)


def _product(code: Code, x: Value, rest: Value | None, n: int) -> Value:
    """(x + rest)**n, n >= 1, rounded."""
    high, low = x, rest
    for digit in f"{n:b}"[1:]:
        high, low = _times(code, (high, low), (high, low))
        if digit == "1":
            high, low = _times(code, (high, low), (x, rest))
    if low is None:
        return high
    found = high + low
    return code.select(found.equals(found), found, high)


def _times(
    code: Code, a: tuple[Value, Value | None], b: tuple[Value, Value | None]
) -> tuple[Value, Value]:
    """The product of two sums of two floats: its rounding error, and what the lesser ones add."""
    product = a[0] * b[0]
    low = code.fma(a[0], b[0], -product)
    for one, other in ((a[0], b[1]), (b[0], a[1])):
        low = low if other is None else code.fma(one, other, low)
    return product, low


# -- without a C library ---------------------------------------------------------------------------
def power(code: Code, x: Value, y: Value) -> Value:
    """x**y as in C: 1 for y = 0 and for x = 1, NaN for x < 0 where y is no whole number."""
    if code.format.bits == 32:
        wide = replace(code, format=FORMATS[64])
        operands = (wide.convert("fpext", v, "double") for v in (x, y))
        return code.convert("fptrunc", power(wide, *operands), "float")
    size = code.abs(x)
    high, low = log_as_sum(code, size)
    product = high * y
    rest = code.fma(high, y, -product) + low * y
    rest = code.select(code.abs(product) < 1e4, rest, 0.0)  # beyond it is 0 or inf in any case
    found = exp_of_sum(code, product, rest)
    # what the logarithm does not say
    falls = y < 0.0
    at_zero = code.select(falls, math.inf, code.constant("double", 0.0))
    at_infinity = code.select(falls, 0.0, code.constant("double", math.inf))
    found = code.select(size.equals(0.0), at_zero, found)
    found = code.select(size.equals(math.inf), at_infinity, found)
    whole = code.rint(y).equals(y)
    half = y * 0.5
    odd = code.rint(half).equals(half) ^ 1
    signed = code.select(whole & odd, code.copysign(found, x), found)
    undefined = (x < 0.0) & (size < math.inf)
    found = code.select(whole, signed, code.select(undefined, math.nan, found))
    # an infinite y, and x = -1
    large = code.abs(y).equals(math.inf)
    found = code.select(large & size.equals(1.0), 1.0, code.select(large, code.abs(signed), found))
    unordered = (x.equals(x) & y.equals(y)) ^ 1
    found = code.select(unordered, x + y, found)
    return code.select(x.equals(1.0), 1.0, code.select(y.equals(0.0), 1.0, found))


_REMAINDER = """
declare {word} @llvm.ctlz.{word}({word}, i1)
define linkonce_odr {kind} @gc.fmod.f{bits}({kind} %x, {kind} %y) alwaysinline nounwind {{
  %bx = bitcast {kind} %x to {word}
  %by = bitcast {kind} %y to {word}
  %sign = and {word} %bx, {sign}
  %ax = and {word} %bx, {rest}
  %ay = and {word} %by, {rest}
  %none = icmp eq {word} %ay, 0
  %huge = icmp uge {word} %ax, {infinity}
  %nan = icmp ugt {word} %ay, {infinity}
  %one = or i1 %none, %huge
  %bad = or i1 %one, %nan
  br i1 %bad, label %undefined, label %defined
undefined:
  %product = fmul {kind} %x, %y
  %quotient = fdiv {kind} %product, %product
  ret {kind} %quotient
defined:
  %less = icmp ult {word} %ax, %ay
  br i1 %less, label %same, label %parts
same:
  ret {kind} %x
parts:
  %zx = call {word} @llvm.ctlz.{word}({word} %ax, i1 false)
  %zy = call {word} @llvm.ctlz.{word}({word} %ay, i1 false)
  %lx = sub {word} %zx, {lead}
  %ly = sub {word} %zy, {lead}
  %fx = lshr {word} %ax, {fraction}
  %fy = lshr {word} %ay, {fraction}
  %nx = icmp ne {word} %fx, 0
  %ny = icmp ne {word} %fy, 0
  %ox = and {word} %ax, {mask}
  %oy = and {word} %ay, {mask}
  %px = or {word} %ox, {implicit}
  %py = or {word} %oy, {implicit}
  %kx = select i1 %nx, {word} 0, {word} %lx
  %ky = select i1 %ny, {word} 0, {word} %ly
  %qx = shl {word} %ax, %kx
  %qy = shl {word} %ay, %ky
  %mx = select i1 %nx, {word} %px, {word} %qx
  %my = select i1 %ny, {word} %py, {word} %qy
  %gx = sub {word} 1, %lx
  %gy = sub {word} 1, %ly
  %ex = select i1 %nx, {word} %fx, {word} %gx
  %ey = select i1 %ny, {word} %fy, {word} %gy
  br label %loop
loop:
  %m = phi {word} [ %mx, %parts ], [ %doubled, %step ]
  %e = phi {word} [ %ex, %parts ], [ %before, %step ]
  %fits = icmp uge {word} %m, %my
  %difference = sub {word} %m, %my
  %left = select i1 %fits, {word} %difference, {word} %m
  %more = icmp sgt {word} %e, %ey
  br i1 %more, label %step, label %done
step:
  %doubled = shl {word} %left, 1
  %before = sub {word} %e, 1
  br label %loop
done:
  %gone = icmp eq {word} %left, 0
  %z = call {word} @llvm.ctlz.{word}({word} %left, i1 false)
  %l = sub {word} %z, {lead}
  %s = select i1 %gone, {word} 0, {word} %l
  %normal = shl {word} %left, %s
  %exponent = sub {word} %e, %s
  %large = icmp sgt {word} %exponent, 0
  %field = shl {word} %exponent, {fraction}
  %low = sub {word} %normal, {implicit}
  %whole = or {word} %low, %field
  %under = sub {word} 1, %exponent
  %shift = select i1 %large, {word} 0, {word} %under
  %subnormal = lshr {word} %normal, %shift
  %size = select i1 %large, {word} %whole, {word} %subnormal
  %number = select i1 %gone, {word} 0, {word} %size
  %signed = or {word} %number, %sign
  %result = bitcast {word} %signed to {kind}
  ret {kind} %result
}}
"""


def remainder(bits: int) -> str:
    """The text of `gc.fmod.f32` or `gc.fmod.f64`: x - n y for the whole n towards zero, exactly
    (as in `fmod` of the C library)."""
    format: Format = FORMATS[bits]
    return _REMAINDER.format(
        bits=bits,
        kind=format.llvm,
        word=format.word,
        fraction=format.fraction,
        sign=format.sign_mask,
        rest=format.sign_mask - 1,
        mask=(1 << format.fraction) - 1,
        implicit=1 << format.fraction,
        infinity=format.exponent_mask,
        lead=bits - 1 - format.fraction,
    )


WITHOUT_LIBM: dict[str, Callable[[Code, Value, Value], Value]] = {"power": power}
