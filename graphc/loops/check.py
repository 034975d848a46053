"""The invariants of a kernel, checked: what every target may rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from graphc.errors import CompileError
from graphc.ir.dim import Size, names
from graphc.ir.dtype import DType, bool_, int64
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
    parallel_loops,
    statements,
)
from graphc.loops.parallel import shared
from graphc.loops.primitives import PRIMITIVES, result_type

SITES = 64  # bits of the word that a kernel reports failures in


def check_kernel(kernel: Kernel) -> None:
    """Nothing if `kernel` is valid; else `CompileError` with the culprit.

    1. The buffers are distinct, and every buffer that is read or written is one of them.
    2. A variable has one definition: Let, Number, Load, Declare or a loop.
    3. A variable is used after its definition, in the loop that has it or inside it.
    4. Only a declared variable is assigned or accumulated, and by a value of its dtype.
    5. A primitive takes its operands' dtypes and gives the variable's; an accumulation is by a
       primitive whose order is free.
    6. Indices are int64 over int64 variables; loads, stores and constants have one dtype with what
       they are of; guards and conditions of failures are bools.
    7. Every name in a size is a parameter of the kernel, but in the extents of the loops whose
       range the caller gives.
    8. A failure has one of the bits of the word in which failures are reported.
    9. A parallel loop is an outer one, and no turn of it touches what another one writes (see
       `parallel.py`): this is shown, for all sizes.
    """
    if len(set(kernel.buffers)) != len(kernel.buffers):
        _fail(kernel, "a buffer is given twice", ", ".join(b.name for b in kernel.buffers))
    checker = _Checker(kernel)
    checker.block(kernel.body, {})
    for stmt in statements(kernel.body):
        if isinstance(stmt, For) and stmt.parallel:
            outer = any(stmt is s for s in kernel.body)
            found = shared(stmt, kernel.sizes) if outer else "it is an inner loop"
            if found:
                _fail(kernel, f"the loop over {stmt.var} is not parallel", found)


def _fail(kernel: Kernel, what: str, given: str) -> NoReturn:
    raise CompileError(what, op=f"kernel {kernel.name}", given=given)


class _Checker:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.shared = parallel_loops(kernel)
        self.defined: set[Var] = set()
        self.stmt: Stmt | None = None

    def fail(self, what: str) -> NoReturn:
        _fail(self.kernel, what, str(self.stmt)[:300])

    def block(self, body: list[Stmt], outer: Mapping[Var, bool]) -> None:
        """`outer`: the variables in scope, and whether each was declared (and so may change)."""
        scope = dict(outer)
        for stmt in body:
            self.stmt = stmt
            self.statement(stmt, scope)
            if isinstance(stmt, For):
                self.block(stmt.body, scope | {stmt.var: False})

    def statement(self, stmt: Stmt, scope: dict[Var, bool]) -> None:
        match stmt:
            case Let(var, primitive, args):
                for arg in args:
                    self.value(arg, scope)
                self.same(var.dtype, self.result(primitive, args))
                self.define(var, scope)
            case Number(var, index):
                self.index(index, scope)
                self.same(var.dtype, int64)
                self.define(var, scope)
            case Load(var, buffer, index, guard):
                if guard is not None:
                    self.same(self.value(guard, scope), bool_)
                self.buffer(buffer, var.dtype)
                self.index(index, scope)
                self.define(var, scope)
            case Store(buffer, index, value):
                self.buffer(buffer, self.value(value, scope))
                self.index(index, scope)
            case Declare(var, value):
                self.same(var.dtype, self.value(value, scope))
                self.define(var, scope, declared=True)
            case Assign(var, value):
                self.change(var, value, scope)
            case Accumulate(var, primitive, value):
                self.change(var, value, scope)
                self.same(var.dtype, self.result(primitive, (var, value)))
                if not PRIMITIVES[primitive].reorders:
                    self.fail("an accumulation by a primitive whose order is not free")
            case For(var, extent, _, _):
                if not any(stmt is loop for loop in self.shared):
                    self.size(extent)
                if stmt.run is not None:
                    self.same(self.value(stmt.run.number, scope), int64)
                    self.size(stmt.run.length)
                    if isinstance(stmt.run.length, int) and stmt.run.length < 1:
                        self.fail("a run of no turns")
                self.same(var.dtype, int64)
                self.define(var, {})
            case Fail(condition, site):
                self.same(self.value(condition, scope), bool_)
                if not 0 <= site < SITES:
                    self.fail(f"a failure that is none of the {SITES} that a kernel can report")

    # -- parts of a statement ----------------------------------------------------------------------
    def define(self, var: Var, scope: dict[Var, bool], declared: bool = False) -> None:
        if var in self.defined:
            self.fail(f"{var} is defined twice")
        self.defined.add(var)
        scope[var] = declared

    def change(self, var: Var, value: Value, scope: Mapping[Var, bool]) -> None:
        self.same(self.value(var, scope), self.value(value, scope))
        if not scope[var]:
            self.fail(f"{var} is changed without a declaration")

    def value(self, value: Value, scope: Mapping[Var, bool]) -> DType:
        if isinstance(value, Const):
            if value.value.dtype != value.dtype.numpy:
                self.fail(f"the constant {value} has another dtype")
        elif value not in scope:
            self.fail(f"{value} is used outside of its scope")
        return value.dtype

    def result(self, primitive: str, args: tuple[Value, ...]) -> DType:
        target = cast_target(primitive)
        if target is not None:
            return target
        try:
            return result_type(primitive, *(a.dtype for a in args))
        except (KeyError, TypeError) as error:
            self.fail(f"not a primitive of these operands: {error}")

    def index(self, index: Affine, scope: Mapping[Var, bool]) -> None:
        for var, factor in index.terms:
            self.same(self.value(var, scope), int64)
            self.size(factor)
        self.size(index.const)

    def size(self, size: Size) -> None:
        unknown = names(size) - self.kernel.sizes.keys()
        if unknown:
            self.fail(f"sizes that are no parameters: {', '.join(sorted(unknown))}")

    def buffer(self, buffer: Buffer, dtype: DType) -> None:
        if buffer not in self.kernel.buffers:
            self.fail(f"{buffer.name} is no buffer of the kernel")
        self.same(buffer.dtype, dtype)

    def same(self, a: DType, b: DType) -> None:
        if a is not b:
            self.fail(f"{a} where {b} is needed")
