"""Kernel source as Numba's IR, by one walk along its syntax.

Numba reads the byte code of any function: it looks for blocks, for what is on the stack where they
meet, for exceptions and generators. That takes as long as all that comes after it. Kernels are
assignments, loops and choices, so their syntax tree is read as it stands. The IR is what Numba
would make of them, with fewer variables that live for one statement.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from numba.core import ir
from numba.core.bytecode import FunctionIdentity

from graphc.ir.parsing import parse

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}


def read(source: str, name: str, scope: Mapping[str, Any]) -> Any:
    """The function `name` of kernel source as Numba's IR. `scope`: what the source may call.
    `local`: the names of variables that are assigned once, and used only in that block."""
    tree = parse(source)
    function = next(f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == name)
    body, function.body = function.body, [ast.copy_location(ast.Pass(), function)]
    known = {"range": range, **scope}
    exec(compile(tree, f"<{name}>", "exec"), known)
    identity = FunctionIdentity.from_function(known[name])
    reader = _Reader(known, identity.arg_names)
    reader.statements(body)
    reader.end()
    arguments = identity.arg_count, identity.arg_names
    found = ir.FunctionIR(reader.blocks, False, identity, reader.at, {}, *arguments)
    found.local = {name for name, block in reader.homes.items() if block is not None}
    return found


class _Reader:
    """Writes the blocks of one function."""

    def __init__(self, scope: Mapping[str, Any], parameters: list[str]) -> None:
        self.known = scope
        self.at = ir.Loc("<kernel>", 1)
        self.scope = ir.Scope(None, self.at)
        self.blocks: dict[int, Any] = {}
        self.variables: dict[str, Any] = {}
        self.homes: dict[str, int | None] = {}  # the block of a name, None if there are several
        self.made = 0  # variables without a name in the source
        self.labels = 0
        self.open(self.label())
        for index, name in enumerate(parameters):
            self.assign(name, ir.Arg(index=index, name=name, loc=self.at))

    # -- blocks and variables ----------------------------------------------------------------------
    def label(self) -> int:
        self.labels += 1
        return self.labels

    def open(self, label: int) -> None:
        """What comes next is in the block `label`."""
        self.block = self.blocks[label] = ir.Block(self.scope, self.at)
        self.here = label
        self.globals: dict[str, Any] = {}  # what this block has read of the scope
        self.emit = self.block.body.append

    def jump(self, label: int) -> None:
        self.emit(ir.Jump(label, self.at))

    def branch(self, condition: ast.expr, yes: int, no: int) -> None:
        self.emit(ir.Branch(self.value(condition), yes, no, self.at))

    def assign(self, name: str, value: Any) -> Any:
        variable = self.variables.get(name)
        if variable is None:
            self.variables[name] = variable = ir.Var(self.scope, name, self.at)
            self.homes[name] = self.here
        else:
            self.homes[name] = None
        self.emit(ir.Assign(value, variable, self.at))
        return variable

    def temporary(self) -> str:
        self.made += 1
        return f"${self.made}"

    def use(self, name: str) -> Any:
        if self.homes[name] != self.here:
            self.homes[name] = None
        return self.variables[name]

    # -- statements --------------------------------------------------------------------------------
    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign([ast.Name(name)], value):
                self.assign(name, self.expression(value))
            case ast.Assign([ast.Subscript(array, index)], value):
                self.store(array, index, self.value(value))
            case ast.AugAssign(ast.Name(name) as target, op, value):
                self.assign(name, self.expression(ast.BinOp(target, op, value)))
            case ast.AugAssign(ast.Subscript(array, index) as target, op, value):
                self.store(array, index, self.value(ast.BinOp(target, op, value)))
            case ast.While(test, body):
                self.repeat(test, body)
            case ast.For(ast.Name(name), iterable, body):
                self.iterate(name, iterable, body)
            case ast.If(test, body, orelse):
                self.choose(test, lambda: self.statements(body), lambda: self.statements(orelse))
            case ast.Expr(value):
                self.value(value)
            case ast.Pass():
                pass
            case _:
                raise TypeError(f"kernels have no such statement: {ast.unparse(statement)}")

    def store(self, array: ast.expr, index: ast.expr, value: Any) -> None:
        target = self.value(array)
        self.emit(ir.SetItem(target, self.value(index), value, self.at))

    def repeat(self, test: ast.expr, body: list[ast.stmt]) -> None:
        """Tested before the first turn, and behind each: as Python's own compiler does it."""
        inside, after = self.label(), self.label()
        self.branch(test, inside, after)
        self.open(inside)
        self.statements(body)
        self.branch(test, inside, after)
        self.open(after)

    def iterate(self, name: str, iterable: ast.expr, body: list[ast.stmt]) -> None:
        head, inside, after = self.label(), self.label(), self.label()
        source = self.value(iterable)
        turns = self.assign(self.temporary(), ir.Expr.getiter(source, self.at)).name
        self.jump(head)
        self.open(head)
        step = self.assign(self.temporary(), ir.Expr.iternext(self.use(turns), self.at))
        first = self.assign(self.temporary(), ir.Expr.pair_first(step, self.at)).name
        more = self.assign(self.temporary(), ir.Expr.pair_second(step, self.at))
        self.emit(ir.Branch(more, inside, after, self.at))
        self.open(inside)
        self.assign(name, self.use(first))
        self.statements(body)
        self.jump(head)
        self.open(after)

    def choose(self, test: ast.expr, yes: Callable[[], Any], no: Callable[[], Any]) -> None:
        labels, after = (self.label(), self.label()), self.label()
        self.branch(test, *labels)
        for label, write in zip(labels, (yes, no), strict=True):
            self.open(label)
            write()
            self.jump(after)
        self.open(after)

    def end(self) -> None:
        nothing = self.assign(self.temporary(), ir.Const(None, self.at))
        cast = self.assign(self.temporary(), ir.Expr.cast(nothing, self.at))
        self.emit(ir.Return(cast, self.at))
        self.put_in_order()

    def put_in_order(self) -> None:
        """Number the blocks in the order of the source, in which LLVM then sees them."""
        numbers = {label: number for number, label in enumerate(self.blocks)}
        self.blocks = {numbers[label]: block for label, block in self.blocks.items()}
        for block in self.blocks.values():
            last = block.body[-1]
            if isinstance(last, ir.Jump):
                last.target = numbers[last.target]
            elif isinstance(last, ir.Branch):
                last.truebr, last.falsebr = numbers[last.truebr], numbers[last.falsebr]

    # -- expressions -------------------------------------------------------------------------------
    def value(self, node: ast.expr) -> Any:
        """The variable that holds what an expression gives."""
        if isinstance(node, ast.Name):
            if node.id in self.variables:
                return self.use(node.id)
            found = self.globals.get(node.id)
            if found is None:
                value = self.known[node.id]
                read = ir.Global(node.id, value, self.at)
                self.globals[node.id] = found = self.assign(self.temporary(), read)
            return found
        return self.assign(self.temporary(), self.expression(node))

    def expression(self, node: ast.expr) -> Any:
        match node:
            case ast.Name():
                return self.value(node)
            case ast.Constant(value):
                return ir.Const(value, self.at)
            case ast.UnaryOp(ast.USub(), ast.Constant(int(value) | float(value))):
                return ir.Const(-value, self.at)
            case ast.UnaryOp(op, operand):
                return ir.Expr.unary(_OPERATORS[type(op)], self.value(operand), self.at)
            case ast.BinOp(left, op, right) | ast.Compare(left, [op], [right]):
                first = self.value(left)
                function = _OPERATORS[type(op)]
                return ir.Expr.binop(function, first, self.value(right), self.at)
            case ast.Call(function, arguments, []):
                called = self.value(function)
                return ir.Expr.call(called, [self.value(a) for a in arguments], (), self.at)
            case ast.Subscript(array, index):
                source = self.value(array)
                return ir.Expr.getitem(source, self.value(index), self.at)
            case ast.IfExp(test, yes, no):
                name = self.temporary()

                def side(chosen: ast.expr) -> None:
                    self.assign(name, self.expression(chosen))

                self.choose(test, partial(side, yes), partial(side, no))
                return self.use(name)
        raise TypeError(f"kernels have no such expression: {ast.unparse(node)}")
