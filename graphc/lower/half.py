"""float16 in memory, to and from float32, as LLVM IR of integers, which any processor has.

A half is its 16 bits in kernels, which compute with what these functions make of it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from graphc.ir.dtype import DType

_I16, _I32, _F32, _F64 = ir.IntType(16), ir.IntType(32), ir.FloatType(), ir.DoubleType()
_INFINITY = 0x7F800000  # of float32, as its bits
_SMALLEST = 0x38800000  # 2^-14, from which halves are normal
_BEYOND = 0x47800000  # 2^16, above all halves
_HALF = 0x3F000000  # 0.5, whose last place is that of subnormal halves


def from_half(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """The float32 of the same value."""
    bits = b.zext(args[0], _I32)
    sign = b.shl(b.and_(bits, _I32(0x8000)), _I32(16))
    rest = b.and_(bits, _I32(0x7FFF))
    moved = b.shl(rest, _I32(13))
    normal = b.add(moved, _I32(112 << 23))  # the exponents begin at -127, not at -15
    tiny = b.bitcast(b.fmul(b.uitofp(rest, _F32), ir.Constant(_F32, 2.0**-24)), _I32)
    found = b.select(b.icmp_unsigned("<", rest, _I32(0x400)), tiny, normal)
    found = b.select(
        b.icmp_unsigned(">=", rest, _I32(0x7C00)), b.or_(moved, _I32(_INFINITY)), found
    )
    return b.bitcast(b.or_(found, sign), _F32)


def to_half(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """The nearest half, ties to even; of what is 65520 or more, infinity."""
    (x,) = args
    bits = b.bitcast(x, _I32) if d.bits == 32 else _to_odd(b, x)
    sign = b.and_(b.lshr(bits, _I32(16)), _I32(0x8000))
    size = b.and_(bits, _I32(0x7FFFFFFF))
    large = b.select(b.icmp_unsigned(">", size, _I32(_INFINITY)), _I32(0x7E00), _I32(0x7C00))
    shifted = b.fadd(b.bitcast(size, _F32), ir.Constant(_F32, 0.5))  # rounds at the last place
    small = b.sub(b.bitcast(shifted, _I32), _I32(_HALF))
    odd = b.and_(b.lshr(size, _I32(13)), _I32(1))
    rounded = b.add(b.sub(size, _I32(112 << 23)), b.add(odd, _I32(0xFFF)))
    found = b.select(b.icmp_unsigned("<", size, _I32(_SMALLEST)), small, b.lshr(rounded, _I32(13)))
    found = b.select(b.icmp_unsigned(">=", size, _I32(_BEYOND)), large, found)
    return b.trunc(b.or_(found, sign), _I16)


def _to_odd(b: ir.IRBuilder, x: Any) -> Any:
    """The bits of a float32 beside the double x, with the last bit set where x is none: rounded
    once more, it gives what x itself would.

    Source: Boldo and Melquiond, 2008, "Emulation of FMA and correctly rounded sums".
    """
    near = b.fptrunc(x, _F32)
    back, bits = b.fpext(near, _F64), b.bitcast(near, _I32)
    size, limit = (_magnitude(b, v) for v in (x, back))
    below = b.sub(bits, b.zext(b.fcmp_ordered(">", limit, size), _I32))
    return b.select(b.fcmp_ordered("!=", back, x), b.or_(below, _I32(1)), bits)


def _magnitude(b: ir.IRBuilder, x: Any) -> Any:
    word = ir.IntType(64)
    return b.bitcast(b.and_(b.bitcast(x, word), word((1 << 63) - 1)), _F64)
