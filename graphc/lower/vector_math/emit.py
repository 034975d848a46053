"""A tiny emitter of LLVM IR: formulas written with Python operators, printed as one function.

A `Value` is an SSA name with its type; an operator on it appends one instruction to its `Code`.
`a * b + c` is a multiplication and an addition, each rounded: nothing is contracted, no instruction
carries a fast-math flag. Only `Code.fma` rounds once, where the processor can. There are no
branches: a formula computes all its pieces and selects, which is what lets a loop around it be
vectorised.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Format:
    """An IEEE binary format: its LLVM types, and the numbers that bit tricks on it need."""

    bits: int
    llvm: str  # the type of a number
    word: str  # the integer type of the same width
    fraction: int  # stored bits of the significand
    bias: int  # of the exponent

    @property
    def shift(self) -> float:
        """1.5 * 2**fraction: adding it rounds to an integer, kept in the low bits of the sum."""
        return 1.5 * 2.0**self.fraction

    @property
    def exponent_mask(self) -> int:
        """The bits of the exponent field."""
        return (2 * self.bias + 1) << self.fraction

    @property
    def sign_mask(self) -> int:
        """The bit of the sign."""
        return 1 << (self.bits - 1)

    def pattern(self, value: float) -> int:
        """The bits of `value` rounded to this format."""
        source, target = ("f", "I") if self.bits == 32 else ("d", "Q")
        return int(struct.unpack(target, struct.pack(source, value))[0])


FLOAT32 = Format(32, "float", "i32", 23, 127)
FLOAT64 = Format(64, "double", "i64", 52, 1023)
FORMATS = {32: FLOAT32, 64: FLOAT64}
FLOATS = {"float": FLOAT32, "double": FLOAT64}

Operand: TypeAlias = "Value | float"


@dataclass(frozen=True, eq=False)
class Value:
    """An SSA value or a constant. Floats have arithmetic and ordered comparison; integers have
    wrapping arithmetic, bit operations and `equals`.
    """

    code: Code
    type: str
    name: str

    def _binary(self, word: str, other: Operand) -> Value:
        op = "f" + word if self.type in FLOATS else word
        right = self.code.constant(self.type, other)
        return self.code.emit(self.type, f"{op} {self.type} {self.name}, {right.name}")

    def __add__(self, other: Operand) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Operand) -> Value:
        return self._binary("sub", other)

    def __rsub__(self, other: float) -> Value:
        return self.code.constant(self.type, other) - self

    def __mul__(self, other: Operand) -> Value:
        return self._binary("mul", other)

    def __rtruediv__(self, other: float) -> Value:
        return self.code.constant(self.type, other) / self

    def __truediv__(self, other: Operand) -> Value:
        return self._binary("div", other)

    def __neg__(self) -> Value:
        return self.code.emit(self.type, f"fneg {self.type} {self.name}")

    def __and__(self, other: Operand) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Operand) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Operand) -> Value:
        return self._binary("xor", other)

    def __lshift__(self, count: int) -> Value:
        return self._binary("shl", count)

    def __rshift__(self, count: int) -> Value:
        """A logical shift: the only one of 64 bits that AVX2 has."""
        return self._binary("lshr", count)

    def _compare(self, relation: str, other: Operand) -> Value:
        op = f"fcmp o{relation}" if self.type in FLOATS else f"icmp {relation}"
        right = self.code.constant(self.type, other)
        return self.code.emit("i1", f"{op} {self.type} {self.name}, {right.name}")

    def __lt__(self, other: Operand) -> Value:
        return self._compare("lt", other)

    def __gt__(self, other: Operand) -> Value:
        return self._compare("gt", other)

    def __le__(self, other: Operand) -> Value:
        return self._compare("le", other)

    def __ge__(self, other: Operand) -> Value:
        return self._compare("ge", other)

    def equals(self, other: Operand) -> Value:
        """Whether both are equal; false where one is NaN."""
        return self._compare("eq", other)


@dataclass
class Code:
    """The body of one function over one `Format`, while it is being written."""

    format: Format
    fused: bool = True  # whether there is an instruction for `fma`
    card: bool = False  # whether it is for a card of NVIDIA's
    lines: list[str] = field(default_factory=list)
    declarations: set[str] = field(default_factory=set)

    def emit(self, type: str, instruction: str) -> Value:
        """Append `instruction` and name its result."""
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {instruction}")
        return Value(self, type, name)

    def constant(self, type: str, value: Operand) -> Value:
        """`value` as an operand of `type`: itself, or a literal (float32 is rounded here)."""
        if isinstance(value, Value):
            return value
        if type not in FLOATS:
            return Value(self, type, str(int(value)))
        bits = FLOATS[type].pattern(value)
        if type == "float":  # LLVM writes a float as the bits of the equal double
            bits = FLOAT64.pattern(struct.unpack("f", struct.pack("I", bits))[0])
        return Value(self, type, f"0x{bits:016X}")

    def _call(self, function: str, *operands: Value) -> Value:
        type = operands[0].type
        self.declarations.add(f"declare {type} @{function}({', '.join([type] * len(operands))})")
        arguments = ", ".join(f"{type} {operand.name}" for operand in operands)
        return self.emit(type, f"call {type} @{function}({arguments})")

    def intrinsic(self, name: str, *operands: Value) -> Value:
        """A call of `llvm.<name>` on operands of one float type."""
        return self._call(f"llvm.{name}.f{FLOATS[operands[0].type].bits}", *operands)

    def libm(self, name: str, *operands: Value) -> Value:
        """A call of the C library's function: `exp`, or `expf` for a float32."""
        return self._call(name + ("f" if operands[0].type == "float" else ""), *operands)

    def fma(self, x: Value, y: Operand, z: Operand) -> Value:
        """x * y + z, rounded once; twice if not `fused`."""
        if not self.fused:
            return x * y + z
        return self.intrinsic("fma", x, self.constant(x.type, y), self.constant(x.type, z))

    def abs(self, x: Value) -> Value:
        """|x|."""
        return self.intrinsic("fabs", x)

    def copysign(self, x: Operand, sign: Value) -> Value:
        """|x| with the sign of `sign`."""
        return self.intrinsic("copysign", self.constant(sign.type, x), sign)

    def rint(self, x: Value) -> Value:
        """The nearest integer, ties to even, as a float."""
        return self.intrinsic("roundeven", x)

    def select(self, condition: Value, yes: Operand, no: Operand) -> Value:
        """`yes` where the condition holds, else `no`; one of the two is a `Value`."""
        type = next(side.type for side in (yes, no) if isinstance(side, Value))
        one, other = self.constant(type, yes), self.constant(type, no)
        return self.emit(
            type, f"select i1 {condition.name}, {type} {one.name}, {type} {other.name}"
        )

    def at_least(self, x: Value, low: float) -> Value:
        """max(x, low); NaN stays NaN. In this form it is one instruction on x86, and on a card."""
        return self.select(x < low, low, x)

    def at_most(self, x: Value, high: float) -> Value:
        """min(x, high); NaN stays NaN."""
        return self.select(x > high, high, x)

    def reciprocal(self, x: Value) -> Value:
        """1 / x, where that is a normal number or NaN; below, it may be 0.

        A card divides by looking at the exponent first, and has a function for those beyond; what
        it does of the others is this, an approximation within one unit in the last place and one
        step of Newton's iteration, which rounds as a division does (P. Markstein, "Computation of
        elementary functions on the IBM RISC System/6000 processor", 1990).
        """
        if not self.card or x.type != "float":
            return 1.0 / x
        near = self._call("llvm.nvvm.rcp.approx.ftz.f", x)
        return self.fma(self.fma(-x, near, 1.0), near, near)

    def quotient(self, power: float, x: Value) -> Value:
        """power / x, of a power of two and an x as for `reciprocal`: also below the normal numbers
        rounded once. There what the first quotient lacks is exact."""
        if not self.card or x.type != "float":
            return power / x
        inverse = self.reciprocal(x)
        first = inverse * power
        second = self.fma(self.fma(-x, first, power), inverse, first)
        return self.select(self.abs(first) <= 2.0 ** (1 - self.format.bias), second, first)

    def word(self, x: Value) -> Value:
        """The bits of a float."""
        format = FLOATS[x.type]
        return self.emit(format.word, f"bitcast {x.type} {x.name} to {format.word}")

    def number(self, word: Value) -> Value:
        """The float of these bits."""
        type = "float" if word.type == "i32" else "double"
        return self.emit(type, f"bitcast {word.type} {word.name} to {type}")

    def convert(self, instruction: str, x: Value, type: str) -> Value:
        """A conversion: fpext, fptrunc, sitofp."""
        return self.emit(type, f"{instruction} {x.type} {x.name} to {type}")

    def polynomial(self, x: Value, table: Mapping[int, Sequence[float]]) -> Value:
        """c[0] + c[1] x + c[2] x**2 + ..., c the coefficients of this code's format.

        A long sum is c[0] + x (c[1] + x (even + x odd)), the even and the odd terms being sums in
        x**2: half the latency, and the first two terms still hide the errors of the others.
        """
        coefficients = table[self.format.bits]
        if len(coefficients) < 7:
            return self._horner(x, coefficients)
        first, second, *rest = coefficients
        square = x * x
        even, odd = self._horner(square, rest[0::2]), self._horner(square, rest[1::2])
        return self.fma(x, self.fma(x, self.fma(x, odd, even), second), first)

    def _horner(self, x: Value, coefficients: Sequence[float]) -> Value:
        *rest, last = coefficients
        total = self.constant(x.type, last)
        for coefficient in reversed(rest):
            total = self.fma(x, total, coefficient)
        return total

    def table(self, name: str, values: Sequence[float]) -> None:
        """Declare the constant array of doubles `name`."""
        elements = ", ".join(f"double {self.constant('double', value).name}" for value in values)
        array = f"[{len(values)} x double] [{elements}]"
        self.declarations.add(f"{name} = private unnamed_addr constant {array}, align 64")

    def element(self, table: str, length: int, index: Value) -> Value:
        """The double at `index` of the constant array `table`; vectorised, a gather."""
        array = f"[{length} x double]"
        pointer = self.emit(
            "ptr", f"getelementptr inbounds {array}, ptr {table}, i64 0, i64 {index.name}"
        )
        return self.emit("double", f"load double, ptr {pointer.name}, align 8")

    def parameters(self, count: int) -> list[Value]:
        """The parameters of the function: %x and %y."""
        return [Value(self, self.format.llvm, name) for name in ("%x", "%y")[:count]]

    def function(self, symbol: str, parameters: Sequence[Value], result: Value) -> str:
        """The finished definition."""
        type = self.format.llvm
        listed = ", ".join(f"{x.type} {x.name}" for x in parameters)
        return "\n".join(
            [
                f"define linkonce_odr {type} @{symbol}({listed}) alwaysinline nounwind {{",
                *self.lines,
                f"  ret {type} {result.name}",
                "}",
            ]
        )
