"""The functions that kernel source calls, as LLVM IR.

Each entry emits one instruction or one call of an LLVM intrinsic; transcendental functions are
declared here (`gc.exp.f32`) and defined by `vector_math` when the program is linked. Nothing here
can fail or touch Python, and every result is defined for every input, as NumPy's is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from graphc.ir.dtype import BY_SHORT, DTYPES, DType, bool_
from graphc.lower import vector_math
from graphc.machines import CPU, LINE

Emit = Callable[[ir.IRBuilder, DType, list[Any]], Any]
FLOATS = tuple(d for d in DTYPES if d.is_float)
INTEGERS = tuple(d for d in DTYPES if d.is_integer)


def declared(
    b: ir.IRBuilder, name: str, result: Any, args: list[Any], flags: tuple[str, ...] = ()
) -> Any:
    """A call of a function declared in the builder's module."""
    module = b.module
    found = module.globals.get(name)
    if found is None:
        found = ir.Function(module, ir.FunctionType(result, [a.type for a in args]), name)
    return b.call(found, args, fastmath=flags)


def _intrinsic(name: str) -> Emit:
    def emit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
        return declared(b, f"llvm.{name}.f{d.bits}", args[0].type, args)

    return emit


def _vector_function(name: str) -> Emit:
    def emit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
        return declared(b, vector_math.symbol(name, d.bits), args[0].type, args)

    return emit


def _power(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """A function of its own where the exponent is a number that has one."""
    y = args[1].constant if isinstance(args[1], ir.Constant) else None
    name = None if y is None else vector_math.of_exponent(float(y))
    emit = _intrinsic("pow") if name is None else _vector_function(name)
    return emit(b, d, args if name is None else args[:1])


def _extremum(name: str, relation: str) -> Emit:
    """llvm.maximum keeps NaN and vectorises; integers and bools compare and select."""

    def emit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
        if d.is_float:
            return declared(b, f"llvm.{name}.f{d.bits}", args[0].type, args)
        compare = b.icmp_signed if d.kind == "i" else b.icmp_unsigned
        return b.select(compare(relation, *args), *args)

    return emit


def _abs(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    (x,) = args
    if d.is_float:
        return declared(b, f"llvm.fabs.f{d.bits}", x.type, args)
    if d.kind == "u":
        return x
    return b.select(b.icmp_signed("<", x, x.type(0)), b.sub(x.type(0), x), x)


def _negative(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    (x,) = args
    return b.fneg(x) if d.is_float else b.sub(x.type(0), x)


def _divide(b: ir.IRBuilder, d: DType, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
    """A divisor that is safe to divide by, and what the guarded cases are: (divisor, is zero,
    overflows, zero constant)."""
    zero = x.type(0)
    is_zero = b.icmp_unsigned("==", y, zero)
    overflows = ir.IntType(1)(0)
    if d.kind == "i":
        least = x.type(-(1 << (d.bits - 1)))
        overflows = b.and_(b.icmp_signed("==", x, least), b.icmp_signed("==", y, x.type(-1)))
    divisor = b.select(b.or_(is_zero, overflows), x.type(1), y)
    return divisor, is_zero, overflows, zero


def _floor_divide(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """Rounds towards minus infinity; by zero gives 0; the least number by -1 is itself."""
    x, y = args
    divisor, is_zero, _, zero = _divide(b, d, x, y)
    if d.kind == "u":
        return b.select(is_zero, zero, b.udiv(x, divisor))
    quotient, rest = b.sdiv(x, divisor), b.srem(x, divisor)
    inexact = b.and_(
        b.icmp_signed("!=", rest, zero),
        b.icmp_signed("!=", b.icmp_signed("<", rest, zero), b.icmp_signed("<", divisor, zero)),
    )
    floored = b.select(inexact, b.sub(quotient, x.type(1)), quotient)
    return b.select(is_zero, zero, floored)


def _remainder(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """Has the sign of the divisor; by zero gives 0."""
    x, y = args
    divisor, is_zero, overflows, zero = _divide(b, d, x, y)
    if d.kind == "u":
        return b.select(is_zero, zero, b.urem(x, divisor))
    rest = b.srem(x, divisor)
    differs = b.and_(
        b.icmp_signed("!=", rest, zero),
        b.icmp_signed("!=", b.icmp_signed("<", rest, zero), b.icmp_signed("<", divisor, zero)),
    )
    moved = b.select(differs, b.add(rest, divisor), rest)
    return b.select(b.or_(is_zero, overflows), zero, moved)


def _shift(left: bool) -> Emit:
    """Shifts by the width or more give 0, or all sign bits."""

    def emit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
        x, count = args
        wide = b.icmp_unsigned(">=", count, x.type(d.bits))
        arithmetic = not left and d.kind == "i"
        limit = x.type(d.bits - 1) if arithmetic else x.type(0)
        safe = b.select(wide, limit, count)
        shift = b.shl if left else b.ashr if arithmetic else b.lshr
        shifted = shift(x, safe)
        return shifted if arithmetic else b.select(wide, x.type(0), shifted)

    return emit


def _rotate(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    x, count = args
    return declared(b, f"llvm.fshl.i{d.bits}", x.type, [x, x, count])


def _integer_power(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """A call of a function with a loop over the bits of the exponent: squares, multiplied up."""
    type = args[0].type
    name = f"graphc.power.{d.short}"
    function = b.module.globals.get(name)
    if function is None:
        function = ir.Function(b.module, ir.FunctionType(type, [type, type]), name)
        function.linkage = "internal"
        _define_integer_power(function, signed=d.kind == "i")
    return b.call(function, args)


def _define_integer_power(function: ir.Function, signed: bool) -> None:
    x, y = function.args
    start, loop, done = (function.append_basic_block(name) for name in ("start", "loop", "done"))
    b = ir.IRBuilder(start)
    zero, one = x.type(0), x.type(1)
    some = b.icmp_signed(">", y, zero) if signed else b.icmp_unsigned("!=", y, zero)
    b.cbranch(some, loop, done)
    b.position_at_end(loop)
    result, base, bits = (b.phi(x.type) for _ in range(3))
    odd = b.icmp_unsigned("!=", b.and_(bits, one), zero)
    after = b.select(odd, b.mul(result, base), result)
    rest = b.lshr(bits, one)
    for value, first, then in ((result, one, after), (base, x, b.mul(base, base)), (bits, y, rest)):
        value.add_incoming(first, start)
        value.add_incoming(then, loop)
    b.cbranch(b.icmp_unsigned("!=", rest, zero), loop, done)
    b.position_at_end(done)
    found = b.phi(x.type)
    found.add_incoming(one, start)
    found.add_incoming(after, loop)
    b.ret(found)


def _next_after(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """One step of the bits as an integer: up away from zero, down towards it. From zero the step is
    to the smallest number of the sign of y; where both are equal it is y, whose zero may differ."""
    x, y = args
    word = ir.IntType(d.bits)
    bits, one = b.bitcast(x, word), word(1)
    away = b.icmp_unsigned("==", b.fcmp_ordered("<", x, y), b.fcmp_ordered(">", x, x.type(0)))
    stepped = b.bitcast(b.select(away, b.add(bits, one), b.sub(bits, one)), x.type)
    least = b.bitcast(one, x.type)
    from_zero = declared(b, f"llvm.copysign.f{d.bits}", x.type, [least, y])
    moved = b.select(b.fcmp_ordered("==", x, x.type(0)), from_zero, stepped)
    moved = b.select(b.fcmp_ordered("==", x, y), y, moved)
    return b.select(b.fcmp_unordered("uno", x, y), b.fadd(x, y), moved)


def _any_order(instruction: str) -> Emit:
    def emit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
        return getattr(b, instruction)(*args, flags=("reassoc",))

    return emit


def _extremum_any_order(name: str) -> Emit:
    """Of zeros of both signs any may be the result, as in NumPy: half the instructions."""

    def emit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
        return declared(b, f"llvm.{name}.f{d.bits}", args[0].type, args, ("nsz",))

    return emit


def row(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """Where memory begins behind some elements, or zeros where the condition does not hold."""
    condition, pointer, place = args
    kind = ir.ArrayType(ir.IntType(8), CPU.zeros)
    zeros = b.module.globals.get("graphc.zeros")
    if zeros is None:
        zeros = ir.GlobalVariable(b.module, kind, "graphc.zeros")
        zeros.linkage, zeros.global_constant, zeros.align = "internal", True, LINE
        zeros.initializer = ir.Constant(kind, None)
    return b.select(condition, b.gep(pointer, [place]), b.bitcast(zeros, pointer.type))


def _saturating(target: DType) -> Emit:
    """Float to int: what does not fit becomes the nearest limit, NaN becomes 0."""

    def emit(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
        sign = "s" if target.kind == "i" else "u"
        name = f"llvm.fpto{sign}i.sat.i{target.bits}.f{d.bits}"
        return declared(b, name, ir.IntType(target.bits), args)

    return emit


def _alone(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """A number that a kernel is given, of which LLVM does not see that it was read from memory,
    beside others: it would pair what is multiplied by neighbours, which costs more than it saves.
    """
    word, value = ir.IntType(d.bits), args[0]
    unknown = ir.InlineAsm(ir.FunctionType(word, [word]), "", "=r,0")
    found = b.call(unknown, [b.bitcast(value, word)], attrs=("readnone", "nounwind"))
    return b.bitcast(found, value.type)


UNARY: dict[str, tuple[Emit, tuple[DType, ...]]] = {
    "sqrt": (_intrinsic("sqrt"), FLOATS),
    "floor": (_intrinsic("floor"), FLOATS),
    "ceil": (_intrinsic("ceil"), FLOATS),
    "trunc": (_intrinsic("trunc"), FLOATS),
    "round": (_intrinsic("roundeven"), FLOATS),
    "abs": (_abs, FLOATS + INTEGERS),
    "negative": (_negative, FLOATS + INTEGERS),
    "alone": (_alone, FLOATS),
    "bitwise_invert": (lambda b, d, args: b.not_(args[0]), (bool_, *INTEGERS)),
    **{name: (_vector_function(name), FLOATS) for name in vector_math.UNARY},
}
BINARY: dict[str, tuple[Emit, tuple[DType, ...]]] = {
    "minimum": (_extremum("minimum", "<"), DTYPES),
    "maximum": (_extremum("maximum", ">"), DTYPES),
    "copysign": (_intrinsic("copysign"), FLOATS),
    **{name: (_vector_function(name), FLOATS) for name in vector_math.BINARY},
    "nextafter": (_next_after, FLOATS),
    "power": (_power, FLOATS),
    "fmod": (lambda b, d, args: b.frem(*args), FLOATS),
    "floor_divide": (_floor_divide, INTEGERS),
    "remainder": (_remainder, INTEGERS),
    "bitwise_and": (lambda b, d, args: b.and_(*args), (bool_, *INTEGERS)),
    "bitwise_or": (lambda b, d, args: b.or_(*args), (bool_, *INTEGERS)),
    "bitwise_xor": (lambda b, d, args: b.xor(*args), (bool_, *INTEGERS)),
    "shift_left": (_shift(left=True), INTEGERS),
    "shift_right": (_shift(left=False), INTEGERS),
    "integer_power": (_integer_power, INTEGERS),
    "rotate_left": (_rotate, tuple(d for d in INTEGERS if d.kind == "u")),
    # Of ints: they wrap. Numba's own operators tell LLVM that signed ints never overflow.
    "add": (lambda b, d, args: b.add(*args), INTEGERS),
    "subtract": (lambda b, d, args: b.sub(*args), INTEGERS),
    "multiply": (lambda b, d, args: b.mul(*args), INTEGERS),
    "add_any_order": (_any_order("fadd"), FLOATS),
    "multiply_any_order": (_any_order("fmul"), FLOATS),
    "maximum_any_order": (_extremum_any_order("maximum"), FLOATS),
    "minimum_any_order": (_extremum_any_order("minimum"), FLOATS),
}
# How a complex number is in memory: two floats, which LLVM keeps apart.
COMPLEX_PARTS: dict[str, Emit] = {
    "real": lambda b, d, args: b.extract_value(args[0], 0),
    "imag": lambda b, d, args: b.extract_value(args[0], 1),
}


def complex_number(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """The pair of two floats."""
    made = ir.Constant(ir.LiteralStructType([a.type for a in args]), ir.Undefined)
    for position, value in enumerate(args):
        made = b.insert_value(made, value, position)
    return made


CONVERSIONS = {f"to_{d.short}": (_saturating(d), d) for d in INTEGERS}


def _reinterpreted(to: Callable[[int], ir.Type]) -> Emit:
    return lambda b, d, args: b.bitcast(args[0], to(d.bits))


def _float_type(bits: int) -> ir.Type:
    return {16: ir.HalfType, 32: ir.FloatType, 64: ir.DoubleType}[bits]()


# The same bits as another number: for each name, from which dtypes to which.
BITS: dict[str, tuple[Emit, tuple[tuple[DType, DType], ...]]] = {
    "bits": (_reinterpreted(ir.IntType), tuple((d, BY_SHORT[f"u{d.bits}"]) for d in FLOATS)),
    "from_bits": (_reinterpreted(_float_type), tuple((BY_SHORT[f"u{d.bits}"], d) for d in FLOATS)),
}


def select(b: ir.IRBuilder, d: DType, args: list[Any]) -> Any:
    """The second operand where the first holds, else the third.

    An infinity there is hidden from LLVM. It is what masks put in place of an element, and changes
    no extremum: where LLVM sees that, it makes `c ? max(m, x) : m` of `max(m, c ? x : -inf)`, and
    the loop, which was vectors, goes element by element.
    """
    condition, *values = args
    return b.select(condition, *(_hidden(b, d, v) if _is_infinity(v) else v for v in values))


def _is_infinity(value: Any) -> bool:
    constant = value.constant if isinstance(value, ir.Constant) else None
    return isinstance(constant, (float, np.floating)) and math.isinf(constant)


def _hidden(b: ir.IRBuilder, d: DType, value: Any) -> Any:
    """`value`, which is a constant, of which nothing is known: with the bits of a 0 that no
    instruction moves into a register."""
    word, single = ir.IntType(d.bits), ir.IntType(32)
    unknown = ir.InlineAsm(ir.FunctionType(single, [single]), "", "=r,0")
    zero = b.call(unknown, [single(0)], attrs=("readnone", "nounwind"))
    bits = b.or_(b.zext(zero, word) if d.bits > 32 else zero, _bits(d, value.constant))
    return b.bitcast(bits, value.type)


def _bits(d: DType, number: float) -> ir.Constant:
    bits = np.array(number, d.numpy).view(f"u{d.bits // 8}")
    return ir.Constant(ir.IntType(d.bits), int(bits))
