"""Prints a kernel as the Python source of a Numba function.

The source is over pointers and sizes, and plain: one statement a line, every scalar operation at
the dtype of its operands (of ints by a function: Numba's operators widen them, and may not
overflow). It is shown to users, compiled by `numba_cpu.py`, and can be run as ordinary Python.
What is compiled is given the numbers that users see in it (`loops/numbers.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from graphc.ir.dim import Call, Dim, Size
from graphc.ir.dtype import DType, bool_, float16, float32, float64
from graphc.loops.builder import cast_target
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
    Buffer,
    Const,
    Declare,
    Fail,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Value,
    Var,
    may_fail,
    of,
    parallel_loops,
)
from graphc.loops.numbers import is_number, numbers
from graphc.loops.primitives import PRIMITIVES
from graphc.loops.simplify import canonical_names, ends_of
from graphc.machines import CPU

Terms: TypeAlias = tuple[tuple[Var, Size], ...]
INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}


def parameters(kernel: Kernel) -> list[str]:
    """The kernel's parameters in order: buffers, sizes, the range, the failure word."""
    names = [f"b{i}" for i in range(len(kernel.buffers))] + list(kernel.sizes)
    if parallel_loops(kernel):
        names += ["start", "stop"]
    return names + (["failures"] if may_fail(kernel) else [])


def ranges(kernel: Kernel) -> dict[Var, tuple[str, str]]:
    """Where the parallel loops start and end: what of `start` to `stop` is theirs, where their
    turns are counted through from one to the next."""
    loops = parallel_loops(kernel)
    names = {size: name for name, size in kernel.sizes.items()}
    ends = [_end(size, names) for size in ends_of(loops)]
    found: dict[Var, tuple[str, str]] = {}
    for i, loop in enumerate(loops):
        stop = f"minimum(stop, {ends[i]})" if i < len(ends) else "stop"
        begin = ends[i - 1] if i > 0 else ""
        start = f"maximum(start, {begin}) - {begin}" if begin else "start"
        found[loop.var] = start, f"{stop} - {begin}" if begin else stop
    return found


def _end(size: Size, names: Mapping[Size, str]) -> str:
    if isinstance(size, int):
        return f"i64({size})"
    return names[size] if size in names else f"-{names[-size]}"


class Source(NamedTuple):
    """A kernel as people see it, and what its code depends on, beside the types of its buffers."""

    text: str
    identity: str


def print_source(kernel: Kernel) -> Source:
    """The kernel as Python source, with its numbers and without them."""
    printer = _General(kernel)
    text = printer.text()
    if not printer.numbers:
        return Source(text, text)
    known = {place: value for value, place in printer.numbers.items()}
    shown = _NUMBER.sub(lambda match: _literal(known[int(match[1])]), text)
    kinds = ", ".join(known[place].dtype.short for place in range(len(known)))
    return Source(shown, f"{kinds}\n{text}")


def print_kernel(kernel: Kernel) -> str:
    """The kernel as Python source; equal kernels give equal text."""
    return print_source(kernel).text


def print_for_numba(kernel: Kernel) -> str:
    """The same with less in it for Numba and LLVM: what is compiled."""
    return _ForNumba(kernel).text()


_NUMBER = re.compile(r"\bn(\d+)\b")


class Printer:
    """Prints the statements of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.names = canonical_names(kernel)
        self.ranges = ranges(kernel)
        self.lines: list[str] = []

    def head(self) -> list[str]:
        return [f"def kernel({', '.join(parameters(self.kernel))}):"]

    def text(self) -> str:
        fails = may_fail(self.kernel)
        self.lines = self.head()
        if fails:
            self.lines.append("    failed = i64(0)")
        self._block(self.kernel.body, 1)
        if fails:
            self.lines.append("    failures[0] = failed")
        if len(self.lines) == 1:
            self.lines.append("    pass")
        return "\n".join(self.lines) + "\n"

    def _block(self, body: list[Stmt], depth: int) -> None:
        for stmt in body:
            self.lines.append("    " * depth + self.statement(stmt))
            if isinstance(stmt, For):
                self._block(stmt.body, depth + 1)
                if not stmt.body:
                    self.lines.append("    " * (depth + 1) + "pass")

    def statement(self, stmt: Stmt) -> str:
        name = self.names.get
        match stmt:
            case Let(var, primitive, args):
                return f"{name(var)} = {self._expression(primitive, args)}"
            case Number(var, index):
                return f"{name(var)} = {self.affine(index)}"
            case Load(var, buffer, index, guard):
                element = loaded(self.element(buffer, index), buffer.dtype)
                if guard is not None:
                    element = f"({element}) if {self.value(guard)} else {_literal_zero(buffer)}"
                return f"{name(var)} = {element}"
            case Store(buffer, index, value):
                return f"{self.element(buffer, index)} = {stored(self.value(value), buffer.dtype)}"
            case Declare(var, value) | Assign(var, value):
                return f"{name(var)} = {self.value(value)}"
            case Accumulate(var, primitive, value):
                return f"{name(var)} = {self.accumulated(var, primitive, value)}"
            case For(var):
                start, stop = self.bounds(stmt)
                return f"for {name(var)} in range({stop if start == '0' else f'{start}, {stop}'}):"
            case Fail(condition, site):
                bit = f"select({self.value(condition)}, i64({1 << site}), i64(0))"
                return f"failed = failed | {bit}"

    def bounds(self, loop: For) -> tuple[str, str]:
        """Where a loop starts, and where it ends."""
        if loop.var in self.ranges:
            return self.ranges[loop.var]
        stop = size_text(loop.extent)
        if loop.run is None:
            return "0", stop
        length = size_text(loop.run.length)
        start = f"{self.names[loop.run.number]} * {length}"
        stop = f"i64({stop})" if isinstance(loop.extent, int) else stop
        return start, f"minimum({start} + {length}, {stop})"

    def accumulated(self, var: Var, primitive: str, value: Value) -> str:
        if var.dtype.is_float and primitive in ("add", "multiply", "maximum", "minimum"):
            return f"{primitive}_any_order({self.names[var]}, {self.value(value)})"
        return self._expression(primitive, (var, value))

    def _expression(self, primitive: str, args: tuple[Value, ...]) -> str:
        values = [self.operand(primitive, a) for a in args]
        target = cast_target(primitive)
        if target is not None:
            return _cast(values[0], args[0].dtype, target)
        if primitive in INFIX and (args[0].dtype.is_float or PRIMITIVES[primitive].to_bool):
            return f"{values[0]} {INFIX[primitive]} {values[1]}"
        return f"{primitive}({', '.join(values)})"

    def element(self, buffer: Buffer, index: Affine) -> str:
        """The element of a buffer, as Python source."""
        return f"{self.names[buffer]}[{self.affine(index)}]"

    def operand(self, primitive: str, value: Value) -> str:
        """A value that a primitive is given."""
        return self.value(value)

    def value(self, value: Value) -> str:
        return _literal(value) if isinstance(value, Const) else self.names[value]

    def affine(self, index: Affine) -> str:
        parts = []
        for var, size in index.terms:
            factor = size_text(size)
            factor = f"({factor})" if isinstance(size, Dim) and len(size.terms) > 1 else factor
            parts.append(self.names[var] if size == 1 else f"{self.names[var]} * {factor}")
        if index.const != 0 or not parts:
            parts.append(size_text(index.const))
        return " + ".join(parts)


class _General(Printer):
    """The numbers of a kernel are n0, n1, ..."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.numbers = numbers(kernel)

    def operand(self, primitive: str, value: Value) -> str:
        if isinstance(value, Const) and is_number(primitive, value):
            return f"n{self.numbers[value]}"
        return self.value(value)


class _ForNumba(_General):
    """Loops count by hand: a range, its iterator and what it yields are 120 lines of LLVM IR for
    each loop, most of the text of a small kernel. What the positions of several elements have in
    common is computed once where they are used, and literals are globals, made before: Numba takes
    as long for each as for the first. What an innermost loop reads under a condition that is none
    of its own is a row, of zeros where the condition does not hold: no branch is in the loop, which
    becomes vectors."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.shared: dict[Terms, str] = {}
        self.loops: set[Var] = set()
        self.literals: dict[str, str] = {}
        self.rows: dict[int, str] = {}  # by the identities of loads, the element of a row
        self.made = 0

    def text(self) -> str:
        function = super().text()
        return "".join(f"{name} = {text}\n" for text, name in self.literals.items()) + function

    def head(self) -> list[str]:
        if not self.numbers:
            return super().head()
        names = parameters(self.kernel)
        names.insert(len(self.kernel.buffers) + len(self.kernel.sizes), "numbers")
        kinds = {place: value.dtype for value, place in self.numbers.items()}
        read = [
            f"    n{i} = alone({f'numbers[{i}]' if d is float64 else f'{d.short}(numbers[{i}])'})"
            for i, d in kinds.items()
        ]
        return [f"def kernel({', '.join(names)}):", *read]

    def value(self, value: Value) -> str:
        text = super().value(value)
        if isinstance(value, Var) or not value.dtype.is_computed or value.dtype is bool_:
            return text
        return self.literals.setdefault(text, f"c{len(self.literals)}")

    def _block(self, body: list[Stmt], depth: int) -> None:
        indent, outer = "    " * depth, self.shared
        counts = Counter(terms for stmt in body for terms in self._terms(stmt))
        self.shared = {terms: name for terms, name in outer.items() if terms in counts}
        for stmt in body:
            for terms in self._terms(stmt):
                if counts[terms] > 1 and terms not in self.shared:
                    self.lines.append(f"{indent}{self._new('p')} = {self.affine(Affine(terms))}")
                    self.shared[terms] = f"p{self.made}"
            if isinstance(stmt, For):
                self._loop(stmt, depth)
            else:
                self.lines.append(indent + self.statement(stmt))
        self.shared = outer

    def _loop(self, loop: For, depth: int) -> None:
        indent, name = "    " * depth, self.names[loop.var]
        start, stop = self.bounds(loop)
        if not stop.isalnum():
            self.lines.append(f"{indent}{self._new('e')} = {stop}")
            stop = f"e{self.made}"
        self._find_rows(loop, indent)
        self.lines += [f"{indent}{name} = {start}", f"{indent}while {name} < {stop}:"]
        self.loops.add(loop.var)
        self._block(loop.body, depth + 1)
        self.lines.append(f"{indent}    {name} = {name} + 1")

    def _find_rows(self, loop: For, indent: str) -> None:
        if any(isinstance(stmt, For) for stmt in loop.body):
            return
        inside = {s.var for s in loop.body if isinstance(s, (Let, Load, Number, Declare))}
        known: dict[tuple[Value, Buffer, Affine], str] = {}
        for stmt in loop.body:
            if not isinstance(stmt, Load) or stmt.guard is None or stmt.guard in inside:
                continue
            step = stmt.index.coefficient(loop.var)
            first = stmt.index + of(loop.var) * -step
            if not _is_row(stmt.buffer, step, loop.extent) or inside & {v for v, _ in first.terms}:
                continue
            key = (stmt.guard, stmt.buffer, first)
            if key not in known:
                known[key] = self._new("r")
                operands = self.value(stmt.guard), self.names[stmt.buffer], self.affine(first)
                self.lines.append(f"{indent}{known[key]} = row({', '.join(operands)})")
            self.rows[id(stmt)] = f"{known[key]}[{self.affine(of(loop.var) * step)}]"

    def statement(self, stmt: Stmt) -> str:
        if isinstance(stmt, Load) and id(stmt) in self.rows:
            return f"{self.names[stmt.var]} = {self.rows[id(stmt)]}"
        return super().statement(stmt)

    def _new(self, letter: str) -> str:
        self.made += 1
        return f"{letter}{self.made}"

    def _terms(self, stmt: Stmt) -> list[Terms]:
        """Of the element that a statement reads or writes, if it takes computing."""
        if id(stmt) in self.rows:
            return []
        match stmt:
            case Load(_, _, Affine(terms, _), _) | Store(_, Affine(terms, _), _):
                trivial = not terms or (len(terms) == 1 and terms[0][1] == 1)
                return [] if trivial or not self.loops.issuperset(v for v, _ in terms) else [terms]
        return []

    def affine(self, index: Affine) -> str:
        name = self.shared.get(index.terms)
        if name is None:
            return super().affine(index)
        return name if index.const == 0 else f"{name} + {size_text(index.const)}"


def _is_row(buffer: Buffer, step: Size, extent: Size) -> bool:
    """Whether as many zeros stand for the elements of a loop, which are `step` apart."""
    if not (buffer.dtype.is_float and buffer.dtype.is_computed):
        return False
    if not isinstance(extent, int) or not isinstance(step, int) or step < 0:
        return False
    return ((extent - 1) * step + 1) * buffer.dtype.itemsize <= CPU.zeros


def loaded(element: str, dtype: DType) -> str:
    """An element of memory as a value: bools are bytes there."""
    return f"{element} != u8(0)" if dtype is bool_ else element


def stored(value: str, dtype: DType) -> str:
    """A value as an element of memory."""
    return f"u8({value})" if dtype is bool_ else value


def _cast(value: str, source: DType, target: DType) -> str:
    if source is target:
        return value
    if source is float16:
        return _cast(f"from_half({value})", float32, target)
    if target is float16:
        return f"to_half({value if source.is_float else _cast(value, source, float32)})"
    if target is bool_:
        return f"{value} != {source.short}(0)"
    if source.is_float and target.is_integer:
        return f"to_{target.short}({value})"
    return f"{target.short}({value})"


def _literal(value: Const) -> str:
    if value.dtype.is_complex:
        parts = (Const(part, value.dtype.part) for part in (value.value.real, value.value.imag))
        return f"complex({', '.join(map(_literal, parts))})"
    if value.dtype is float16:
        return f"to_half({_literal(Const(np.float32(value.value), float32))})"
    number = value.value.item()
    if value.dtype is bool_:
        return str(number)
    if value.dtype.is_float and (number != number or number in (float("inf"), -float("inf"))):
        sign = "-" if number < 0 else ""
        return f"{value.dtype.short}({sign}{'nan' if number != number else 'inf'})"
    return f"{value.dtype.short}({number!r})"


def _literal_zero(buffer: Buffer) -> str:
    if not buffer.dtype.is_computed:
        return _literal(Const(buffer.dtype.numpy.type(0), buffer.dtype))
    return "False" if buffer.dtype is bool_ else f"{buffer.dtype.short}(0)"


def size_text(size: Size) -> str:
    """A size as a Python expression over the kernel's size parameters."""
    if isinstance(size, int):
        return str(size)
    parts = []
    for monomial, coefficient in size.terms:
        factors = [a if isinstance(a, str) else _call(a) for a, p in monomial for _ in range(p)]
        if coefficient != 1 or not factors:
            factors.insert(0, str(coefficient))
        parts.append(" * ".join(factors))
    return " + ".join(parts)


def _call(call: Call) -> str:
    raise AssertionError(f"{call} is a parameter of the kernel, never computed in it")
