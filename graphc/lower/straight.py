"""Kernels without loops as LLVM IR, statement by statement.

Such a kernel is one block of instructions: each variable has its type, each statement is an
instruction or a call, and nothing is left of what Numba would find out. Formulas of scalars have no
other kernels, so for them Numba is not even loaded, which takes longer than all of their code. What
a function of kernels is stands in `numba_functions.py`, for both.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir

from graphc.ir.dim import Size
from graphc.ir.dtype import DType, bool_
from graphc.loops.builder import cast_target
from graphc.loops.grammar import (
    Affine,
    Buffer,
    Const,
    Fail,
    Kernel,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Value,
    Var,
    may_fail,
)
from graphc.loops.numbers import given, is_number, numbers
from graphc.lower.numba_functions import BINARY, BITS, CONVERSIONS, UNARY, select
from graphc.lower.numba_source import INFIX
from graphc.lower.processor import target_machine

_WORD, _BYTE = ir.IntType(64), ir.IntType(8)
_ARITHMETIC = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_COMPARED = {name: sign for name, sign in INFIX.items() if name not in _ARITHMETIC}


def is_straight(kernel: Kernel) -> bool:
    """Whether a kernel is one block of instructions, over numbers that are what they are in
    memory."""
    return all(map(_is_straight, kernel.body)) and all(b.dtype.is_computed for b in kernel.buffers)


def _is_straight(stmt: Stmt) -> bool:
    match stmt:
        case Let(var, _, args):
            return all(v.dtype.is_computed for v in (var, *args))
        case Load(_, _, _, guard):
            return guard is None
        case Number() | Store() | Fail():
            return True
    return False


def compile_kernel(kernel: Kernel, name: str) -> str:
    """The kernel as the text of an LLVM module, as `numba_cpu.compile_kernel` gives it."""
    return _Writer(kernel, name).text()


@cache
def _machine() -> tuple[str, str]:
    machine = target_machine()
    return machine.triple, str(machine.target_data)


class _Writer:
    """Writes the one function of a module."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.module = ir.Module(name)
        self.module.triple, self.module.data_layout = _machine()
        fails, places = may_fail(kernel), numbers(kernel)
        kinds = [_BYTE.as_pointer(), _BYTE.as_pointer()]
        kinds += [_memory(b.dtype).as_pointer() for b in kernel.buffers]
        kinds += [_WORD] * len(kernel.sizes)
        kinds += [ir.DoubleType().as_pointer()] * bool(places) + [_WORD.as_pointer()] * fails
        function = ir.Function(self.module, ir.FunctionType(ir.IntType(32), kinds), name)
        parameters = iter(function.args[2:])
        for argument in function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        self.b = ir.IRBuilder(function.append_basic_block())
        self.buffers: dict[Buffer, Any] = {b: next(parameters) for b in kernel.buffers}
        self.sizes = {size: next(parameters) for size in kernel.sizes}
        self.places = places
        self.numbers = self._numbers(next(parameters)) if places else []
        self.failures = next(parameters) if fails else None
        self.failed: Any = _WORD(0)
        self.values: dict[Var, Any] = {}

    def text(self) -> str:
        for stmt in self.kernel.body:
            self._statement(stmt)
        if self.failures is not None:
            self.b.store(self.failed, self.failures)
        self.b.ret(ir.IntType(32)(0))
        return str(self.module)

    def _numbers(self, pointer: Any) -> list[Any]:
        b, read = self.b, []
        for place, constant in enumerate(given(self.kernel)):
            value = b.load(b.gep(pointer, [_WORD(place)]))
            kind = _register(constant.dtype)
            read.append(value if value.type == kind else b.fptrunc(value, kind))
        return read

    def _statement(self, stmt: Stmt) -> None:
        b = self.b
        match stmt:
            case Let(var, primitive, args):
                values = [self._operand(primitive, a) for a in args]
                self.values[var] = _applied(b, primitive, var.dtype, args, values)
            case Number(var, index):
                self.values[var] = self._index(index)
            case Load(var, buffer, index, None):
                value = b.load(self._element(buffer, index))
                self.values[var] = _truth(b, value) if buffer.dtype is bool_ else value
            case Store(buffer, index, value):
                stored = self._value(value)
                stored = b.zext(stored, _BYTE) if buffer.dtype is bool_ else stored
                b.store(stored, self._element(buffer, index))
            case Fail(condition, site):
                bit = b.select(self._value(condition), _WORD(1 << site), _WORD(0))
                self.failed = b.or_(self.failed, bit)

    def _operand(self, primitive: str, value: Value) -> Any:
        if isinstance(value, Const) and is_number(primitive, value):
            return self.numbers[self.places[value]]
        return self._value(value)

    def _value(self, value: Value) -> Any:
        if isinstance(value, Const):
            return ir.Constant(_register(value.dtype), value.value.item())
        return self.values[value]

    # -- places ------------------------------------------------------------------------------------
    def _element(self, buffer: Buffer, index: Affine) -> Any:
        return self.b.gep(self.buffers[buffer], [self._index(index)])

    def _index(self, index: Affine) -> Any:
        total = self._size(index.const)
        for var, size in index.terms:
            total = self.b.add(total, self.b.mul(self.values[var], self._size(size)))
        return total

    def _size(self, size: Size) -> Any:
        if isinstance(size, int):
            return _WORD(size)
        total: Any = None
        for monomial, coefficient in size.terms:
            term: Any = _WORD(coefficient)
            for atom, power in monomial:
                assert isinstance(atom, str), f"{atom} is a parameter of the kernel"
                for _ in range(power):
                    term = self.b.mul(term, self.sizes[atom])
            total = term if total is None else self.b.add(total, term)
        return total


def _memory(dtype: DType) -> ir.Type:
    return _BYTE if dtype is bool_ else _register(dtype)


def _register(dtype: DType) -> ir.Type:
    if dtype.is_float:
        return ir.DoubleType() if dtype.bits == 64 else ir.FloatType()
    return ir.IntType(1 if dtype is bool_ else dtype.bits)


def _truth(b: ir.IRBuilder, value: Any) -> Any:
    return b.icmp_unsigned("!=", value, value.type(0))


def _applied(
    b: ir.IRBuilder, primitive: str, to: DType, args: tuple[Value, ...], values: list[Any]
) -> Any:
    """The value of a primitive of some operands, whose result is `to`."""
    source = args[-1].dtype
    if cast_target(primitive) is not None:
        return _converted(b, source, to, values[0])
    if primitive == "select":
        return select(b, source, values)
    if primitive in _COMPARED:
        return _compared(b, source, _COMPARED[primitive], *values)
    if source.is_float and primitive in _ARITHMETIC:
        return getattr(b, _ARITHMETIC[primitive])(*values)
    table = BITS if primitive in BITS else UNARY if primitive in UNARY else BINARY
    return table[primitive][0](b, source, values)


def _compared(b: ir.IRBuilder, dtype: DType, sign: str, x: Any, y: Any) -> Any:
    """NaN equals nothing."""
    if dtype.is_float:
        return (b.fcmp_unordered if sign == "!=" else b.fcmp_ordered)(sign, x, y)
    return (b.icmp_signed if dtype.kind == "i" else b.icmp_unsigned)(sign, x, y)


def _converted(b: ir.IRBuilder, source: DType, to: DType, value: Any) -> Any:
    """As NumPy's astype; of floats to ints the nearest one."""
    kind = _register(to)
    if source is to:
        return value
    if to is bool_:
        return _compared(b, source, "!=", value, ir.Constant(value.type, 0))
    if source.is_float and to.is_float:
        return b.fpext(value, kind) if to.bits > source.bits else b.fptrunc(value, kind)
    if source.is_float:
        return CONVERSIONS[f"to_{to.short}"][0](b, source, [value])
    if to.is_float:
        return b.sitofp(value, kind) if source.kind == "i" else b.uitofp(value, kind)
    if source is not bool_ and to.bits == source.bits:
        return value
    if source is not bool_ and to.bits < source.bits:
        return b.trunc(value, kind)
    return b.sext(value, kind) if source.kind == "i" else b.zext(value, kind)
