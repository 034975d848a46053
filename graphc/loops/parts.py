"""Loops along which tensors lie one behind the other are cut where one ends and the next begins.

    for j in 512: a = x[j] if j < 256 else 0        ->   for j in 256: z[j] = x[j]
                  b = y[j - 256] if j >= 256 else 0      for j in 256: z[j + 256] = y[j]
                  z[j] = a if j < 256 else b

In each part all conditions on the turn are known, so nothing is loaded under a condition or chosen:
a `concat`, such as that of the gates' gradients of a recurrent network, is copies. Each load has
its place in plain sight, too, which shows that rows do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from graphc.ir.dtype import bool_
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
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
    of,
    statements,
    values,
)
from graphc.loops.primitives import PRIMITIVES

PARTS = 8  # of a loop, at most
STATEMENTS = 256  # of all parts of a loop together
_CHANGE = {"less": 0, "greater_equal": 0, "less_equal": 1, "greater": 1}  # at limit + so many


class _Condition(NamedTuple):
    """primitive(turn + offset, limit): which is another truth value from the turn `change` on."""

    primitive: str
    offset: int
    limit: int

    @property
    def change(self) -> int:
        return self.limit - self.offset + _CHANGE[self.primitive]

    def at(self, turn: int) -> Const:
        truth = PRIMITIVES[self.primitive].numpy(turn + self.offset, self.limit)
        return Const(bool_.numpy.type(truth), bool_)


def cut_parts(kernel: Kernel) -> Kernel:
    """`kernel` with the loops in parts that load from several buffers under conditions on the turn;
    a loop whose range the caller gives stays whole, and one that carries a value."""
    return Kernel(kernel.name, kernel.buffers, list(_cut(kernel.body)), kernel.sizes)


def _cut(body: Sequence[Stmt]) -> Iterator[Stmt]:
    for stmt in body:
        if isinstance(stmt, For):
            stmt.body = list(_cut(stmt.body))
            yield from [stmt] if stmt.parallel else _in_parts(stmt)
        else:
            yield stmt


def _in_parts(loop: For) -> list[For]:
    """The parts of a loop, one behind the other; the loop itself where it has none."""
    if not isinstance(loop.extent, int) or loop.run is not None:
        return [loop]
    body = list(statements(loop.body))
    conditions = _conditions(loop.var, body)
    guarded = {s.buffer for s in body if isinstance(s, Load) and s.guard is not None}
    cuts = sorted({c.change for c in conditions.values() if 0 < c.change < loop.extent})
    if len(guarded) < 2 or not cuts or len(cuts) >= PARTS:
        return [loop]
    if (len(cuts) + 1) * len(body) > STATEMENTS or _carries(body):
        return [loop]
    parts = []
    for number, (start, stop) in enumerate(pairwise([0, *cuts, loop.extent])):
        known: dict[Var, Value] = {var: c.at(start) for var, c in conditions.items()}
        copy = _Copy(number, loop.var, start, known)
        body_here = _used(list(copy.block(loop.body)))
        parts.append(For(copy.turn, stop - start, body_here))
    return parts


def _carries(body: Sequence[Stmt]) -> bool:
    """Whether a turn changes what others read, in a variable or in memory: `sums.py` cuts a sum
    into runs where it has one loop."""
    own = {s.var for s in body if isinstance(s, Declare)}
    written = {s.buffer for s in body if isinstance(s, Store)}
    return any(
        (isinstance(s, (Assign, Accumulate)) and s.var not in own)
        or (isinstance(s, Load) and s.buffer in written)
        for s in body
    )


def _conditions(turn: Var, body: Sequence[Stmt]) -> dict[Var, _Condition]:
    """The truth values that depend on the turn of a loop alone, as one comparison with a number."""
    offsets = {turn: 0}
    found: dict[Var, _Condition] = {}
    for stmt in body:
        match stmt:
            case Number(var, Affine(terms, int(offset))) if terms == of(turn).terms:
                offsets[var] = offset
            case Let(var, primitive, (Var() as left, Const(value=limit))) if (
                primitive in _CHANGE and left in offsets
            ):
                found[var] = _Condition(primitive, offsets[left], int(limit))
            case _:
                pass
    return found


class _Copy:
    """The body of a loop for one of its parts: over variables of its own, with what is known there.
    `turn` counts from the start of the part."""

    def __init__(self, number: int, turn: Var, start: int, known: dict[Var, Value]) -> None:
        self.number, self.old, self.start, self.known = number, turn, start, known
        self.turn = self._own(turn)

    def _own(self, var: Var) -> Var:
        return var if self.number == 0 else Var(f"{var.name}_{self.number}", var.dtype)

    def _name(self, var: Var) -> Var:
        """The variable that a statement gives its value, from here on."""
        self.known[var] = own = self._own(var)
        return own

    def _value(self, value: Value) -> Value:
        return self.known.get(value, value) if isinstance(value, Var) else value

    def _var(self, var: Var) -> Var:
        own = self._value(var)
        assert isinstance(own, Var)
        return own

    def _index(self, index: Affine) -> Affine:
        found = Affine((), index.const)
        for var, size in index.terms:
            here = of(self.turn) + self.start if var is self.old else of(self._var(var))
            found = found + here * size
        return found

    def block(self, body: Sequence[Stmt]) -> Iterator[Stmt]:
        if any(v is self.old for v in values(list(body))) and self.old not in self.known:
            place = Var(f"{self.old.name}_at{self.number}", self.old.dtype)
            self.known[self.old] = place
            yield Number(place, of(self.turn) + self.start)
        for stmt in body:
            made = self._statement(stmt)
            if made is not None:
                yield made

    def _statement(self, stmt: Stmt) -> Stmt | None:
        match stmt:
            case Let(var, primitive, args):
                return self._let(var, primitive, tuple(map(self._value, args)))
            case Number(var, index):
                index = self._index(index)
                return Number(self._name(var), index)
            case Load(var, buffer, index, guard):
                guard = None if guard is None else self._value(guard)
                if isinstance(guard, Const) and not guard.value:
                    self.known[var] = Const(var.dtype.numpy.type(0), var.dtype)
                    return None
                index = self._index(index)
                guard = None if isinstance(guard, Const) else guard
                return Load(self._name(var), buffer, index, guard)
            case Store(buffer, index, given):
                return Store(buffer, self._index(index), self._value(given))
            case Declare(var, given):
                given = self._value(given)
                return Declare(self._name(var), given)
            case Assign(var, given):
                return Assign(self._var(var), self._value(given))
            case Accumulate(var, primitive, given):
                return Accumulate(self._var(var), primitive, self._value(given))
            case For(var, extent, body, parallel, run):
                turn = self._name(var)
                return For(turn, extent, list(self.block(body)), parallel, run)
            case Fail(condition, site):
                return Fail(self._value(condition), site)
        raise AssertionError(stmt)

    def _let(self, var: Var, primitive: str, args: tuple[Value, ...]) -> Stmt | None:
        if isinstance(self.known.get(var), Const):  # a condition
            return None
        first, *others = args
        if isinstance(first, Const) and primitive == "select":
            self.known[var] = others[0] if first.value else others[1]
            return None
        if primitive == "bitwise_and" and var.dtype is bool_:
            for this, other in (args, args[::-1]):
                if isinstance(this, Const):
                    self.known[var] = other if this.value else this
                    return None
        return Let(self._name(var), primitive, args)


def _used(body: list[Stmt]) -> list[Stmt]:
    """The statements whose values are used, or that do something."""
    kept: list[Stmt] = []
    read: set[Var] = set()
    for stmt in reversed(body):
        if isinstance(stmt, For):
            stmt.body = _used(stmt.body)
        if isinstance(stmt, (Let, Number, Load)) and stmt.var not in read:
            continue
        kept.append(stmt)
        read |= {v for v in values([stmt]) if isinstance(v, Var)}
        read |= {v for s in statements([stmt]) for v in _places(s)}
    return kept[::-1]


def _places(stmt: Stmt) -> Iterator[Var]:
    if isinstance(stmt, (Load, Store, Number)):
        yield from (v for v, _ in stmt.index.terms)
