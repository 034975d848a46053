"""Powers and remainders of floats, where there is no C library.

x**y = e**(y log |x|), the logarithm and its product with y each carried as a sum of two floats;
float32 is computed in float64. A remainder is exact: the division of the significands as integers,
a bit at a time, as many as the exponents are apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from graphc.lower.vector_math.emit import FORMATS, Code, Format, Value
from graphc.lower.vector_math.exponential import exp_of_sum
from graphc.lower.vector_math.logarithm import log_as_sum


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
