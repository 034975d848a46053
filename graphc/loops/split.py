"""Loops whose turns wait for each other are split, so that what they do beside becomes vectors.

A loop that carries a value from turn to turn is no vector, and neither is what else is in its
body, such as an `exp` of what is added up. Where that is dear, the loop goes block by block, and
over each block several times: what is carried has a loop of its own, and values go from loop to
loop through a row of memory.

    for i in n: s += exp(x[i])   ->   for b in blocks:
                y[i] = log(s)             for i in block b: row0[i] = exp(x[i])
                                          for i in block b: s += row0[i]; row1[i] = s
                                          for i in block b: y[i] = log(row1[i])

What is quick to compute from memory again is not kept in a row. A loop that is cut into runs
(`sums.py`) keeps them inside of its blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from graphc.ir.dim import Size, floordiv
from graphc.ir.dtype import DType, int64
from graphc.loops.builder import cast_target
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
    Buffer,
    Fail,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Run,
    Stmt,
    Store,
    Value,
    Var,
    of,
    statements,
    values,
)

BLOCK = 256  # turns: a row of them is in the first-level cache
AGAIN = 6  # statements that a loop computes again rather than loads
QUICK = {
    "add", "subtract", "multiply", "divide", "minimum", "maximum", "copysign", "negative", "abs",
    "sqrt", "floor", "ceil", "trunc", "round", "equal", "not_equal", "less", "less_equal",
    "greater", "greater_equal", "select", "bitwise_and", "bitwise_or", "bitwise_xor",
    "bitwise_invert", "shift_left", "shift_right", "rotate_left",
}  # fmt: skip


def split_loops(kernel: Kernel) -> Kernel:
    """`kernel` with its loops split where that pays; memory for rows comes after its buffers."""
    splitter = _Splitter(kernel)
    body = splitter.block(kernel.body, None)
    return Kernel(kernel.name, tuple(splitter.buffers), body, kernel.sizes)


@dataclass(frozen=True, eq=False, slots=True)
class _Unit:
    """A loop without loops in it, and the loop over its runs around it, if it is cut."""

    loop: For
    runs: For | None

    @property
    def whole(self) -> For:
        return self.loop if self.runs is None else self.runs


def _unit(loop: For) -> _Unit | None:
    inner = [s for s in loop.body if isinstance(s, For)]
    if not inner and loop.run is None:
        return _Unit(loop, None)
    if len(inner) == 1 and loop.run is None and not loop.parallel and inner[0].run is not None:
        alone = not any(isinstance(s, For) for s in inner[0].body)
        if alone and inner[0].run.number is loop.var:
            return _Unit(inner[0], loop)
    return None


# -- which statements go where ---------------------------------------------------------------------
class _Phases:
    """The statements of a loop by the loops that they will be in: those of odd number carry what
    the turns wait for, and those of even number will be vectors."""

    def __init__(self, unit: _Unit) -> None:
        self.body = body = unit.loop.body
        self.defined = {s.var: n for n, s in enumerate(body) if isinstance(s, (Let, Load, Number))}
        changing = (s for s in statements([unit.whole]) if isinstance(s, (Assign, Accumulate)))
        carried = {s.var for s in changing if unit.runs is not None or isinstance(s, Assign)}
        self.above = [self._operands(s) for s in body]
        self.waits = [n for n, s in enumerate(body) if carried & {*_reads(s), *_changed(s)}]
        self._close(carried)
        self.of = self._numbers(one=unit.runs is not None)

    def _operands(self, stmt: Stmt) -> set[int]:
        return {self.defined[v] for v in _reads(stmt) if v in self.defined}

    def _close(self, carried: set[Var]) -> None:
        """What leads from a statement that reads something carried to one that changes it waits
        too."""
        below: list[set[int]] = [set() for _ in self.body]
        for n, operands in enumerate(self.above):
            for m in operands:
                below[m].add(n)
        for var in carried:
            users = [n for n, s in enumerate(self.body) if var in {*_reads(s), *_changed(s)}]
            together = _reached(users, below) & _reached(users, self.above)
            self.waits = sorted({*self.waits, *together})
            for n in together:  # they are in one loop
                self.above[n] |= together - {n}

    def _numbers(self, one: bool) -> list[int]:
        """The number of each statement's loop; `one`: all that waits is in one."""
        waits = set(self.waits)
        numbers = [int(n in waits) for n in range(len(self.body))]
        changed = True
        while changed:
            changed = False
            for n, operands in enumerate(self.above):
                least = max(
                    (numbers[m] + ((m in waits) is not (n in waits)) for m in operands), default=0
                )
                if least > numbers[n]:
                    numbers[n], changed = least, True
        if one and waits:
            last = max(numbers[n] for n in waits)
            numbers = [n if n == 0 or n > last else 1 for n in numbers]
        return self._joined(numbers)

    def _joined(self, numbers: list[int]) -> list[int]:
        """Loops that have nothing dear join the ones that wait beside them."""
        dear = {numbers[n] for n, s in enumerate(self.body) if _is_dear(s)}
        joined: dict[int, int] = {}
        last = -1  # of what waits
        for number in sorted(set(numbers)):
            if number % 2 == 0 and number in dear:
                joined[number] = number
                last = -1
            else:
                last = joined[number] = number | 1 if last < 0 else last
        return [joined[n] for n in numbers]

    def parts(self) -> list[tuple[int, list[int]]]:
        return [
            (number, [n for n, own in enumerate(self.of) if own == number])
            for number in sorted(set(self.of))
        ]

    def again(self, at: int) -> list[int] | None:
        """The statements that compute the value of a statement anew, in order, or None where that
        is dear, or depends on what is carried."""
        found: set[int] = set()
        stack = [at]
        while stack:
            n = stack.pop()
            if n in self.waits or _is_dear(self.body[n]):
                return None
            found.add(n)
            stack += self.above[n] - found
            if len(found) > AGAIN:
                return None
        return sorted(found)


def _reached(start: list[int], edges: list[set[int]]) -> set[int]:
    found, stack = set(start), list(start)
    while stack:
        new = edges[stack.pop()] - found
        found |= new
        stack += new
    return found


def _is_dear(stmt: Stmt) -> bool:
    return (
        isinstance(stmt, Let)
        and stmt.primitive not in QUICK
        and cast_target(stmt.primitive) is None
    )


def _reads(stmt: Stmt) -> Iterator[Var]:
    yield from (v for v in values([stmt]) if isinstance(v, Var))
    if isinstance(stmt, (Load, Store, Number)):
        yield from (v for v, _ in stmt.index.terms)


def _changed(stmt: Stmt) -> tuple[Var, ...]:
    return (stmt.var,) if isinstance(stmt, (Assign, Accumulate)) else ()


def _is_plain(body: list[Stmt]) -> bool:
    """Whether the statements can be put into loops of their own: no element is read that they
    write."""
    loads = {s.buffer for s in body if isinstance(s, Load)}
    stores = {s.buffer for s in body if isinstance(s, Store)}
    known = (Let, Load, Number, Store, Assign, Accumulate, Fail)
    return not loads & stores and all(isinstance(s, known) for s in body)


# -- splitting -------------------------------------------------------------------------------------
class _Splitter:
    def __init__(self, kernel: Kernel) -> None:
        self.buffers = list(kernel.buffers)
        self.count = 0

    def block(self, body: list[Stmt], outer: For | None) -> list[Stmt]:
        """`outer`: the outermost loop around the statements."""
        found: list[Stmt] = []
        for stmt in body:
            if isinstance(stmt, For):
                unit = _unit(stmt)
                if unit is None:
                    stmt.body = self.block(stmt.body, outer or stmt)
                else:
                    found += self._split(unit, outer)
                    continue
            found.append(stmt)
        return found

    def fresh(self, dtype: DType) -> Var:
        self.count += 1
        return Var(f"w{self.count}", dtype)

    def _split(self, unit: _Unit, outer: For | None) -> list[Stmt]:
        loop, whole = unit.loop, unit.whole
        length = 1 if loop.run is None else loop.run.length
        assert isinstance(length, int)
        block = max(BLOCK // length, 1) * length
        short = isinstance(loop.extent, int) and loop.extent <= block
        if not _is_plain(loop.body) or (isinstance(loop.extent, int) and loop.extent <= 2 * length):
            return [whole]
        if not any(isinstance(s, Assign) for s in loop.body):
            return [whole]  # what is accumulated in any order is a vector as it is
        phases = _Phases(unit)
        if not phases.waits or len(phases.parts()) == 1:
            return [whole]
        number = self.fresh(int64)
        place = Affine() if short else of(number) * -block
        if outer is not None and outer.parallel:
            place = place + of(outer.var) * block
        size = block if outer is None or not outer.parallel else outer.extent * block
        loops = _Loops(self, phases, loop, place, size)
        made: list[Stmt] = []
        for which, part in phases.parts():
            run = None if short else Run(number, block)
            new = loops.of_part(which, part)
            if which % 2 and unit.runs is not None:
                around = None if short else Run(number, block // length)
                inside = [replace(new, run=loop.run) if s is loop else s for s in unit.runs.body]
                new = replace(unit.runs, body=inside, parallel=False, run=around)
            else:
                new.run = run
            made.append(new)
        if short:
            return made
        return [For(number, floordiv(loop.extent + (block - 1), block), made)]


class _Loops:
    """Writes the loops that one is split into. `place` and `size`: of a row, and where in it the
    loop's turns begin."""

    def __init__(
        self, splitter: _Splitter, phases: _Phases, loop: For, place: Affine, size: Size
    ) -> None:
        self.splitter, self.phases, self.loop = splitter, phases, loop
        self.place, self.size = place, size
        self.rows = {n: self._row(n) for n in self._kept()}

    def _kept(self) -> list[int]:
        """The statements whose values other loops load."""
        found: set[int] = set()
        for number, part in self.phases.parts():
            for at in self._from_others(number, part):
                if self.phases.again(at) is None:
                    found.add(at)
        return sorted(found)

    def _from_others(self, number: int, part: list[int]) -> list[int]:
        body, defined = self.phases.body, self.phases.defined
        used = {defined[v] for n in part for v in _reads(body[n]) if v in defined}
        return sorted(n for n in used if self.phases.of[n] != number)

    def _row(self, at: int) -> Buffer:
        stmt = self.phases.body[at]
        assert isinstance(stmt, (Let, Load, Number))
        buffers = self.splitter.buffers
        buffers.append(Buffer(f"block{len(buffers)}", stmt.var.dtype, self.size))
        return buffers[-1]

    def of_part(self, number: int, part: list[int]) -> For:
        turn = self.splitter.fresh(int64)
        here = self.place + of(turn)
        known: dict[Var, Var] = {self.loop.var: turn}
        made: list[Stmt] = []
        for at in self._from_others(number, part):
            self._bring(at, here, known, made)
        for n in part:
            stmt = self.phases.body[n]
            made.append(_renamed(stmt, known))
            if n in self.rows and isinstance(stmt, (Let, Load, Number)):
                made.append(Store(self.rows[n], here, stmt.var))
        return For(turn, self.loop.extent, made)

    def _bring(self, at: int, here: Affine, known: dict[Var, Var], made: list[Stmt]) -> None:
        """The value of a statement of another loop: loaded, or computed again."""
        for n in [at] if at in self.rows else self.phases.again(at) or []:
            stmt = self.phases.body[n]
            if not isinstance(stmt, (Let, Load, Number)) or stmt.var in known:
                continue
            fresh = self.splitter.fresh(stmt.var.dtype)
            if n in self.rows:
                made.append(Load(fresh, self.rows[n], here))
            else:
                made.append(_renamed(stmt, {**known, stmt.var: fresh}))
            known[stmt.var] = fresh


def _renamed(stmt: Stmt, known: dict[Var, Var]) -> Stmt:
    """The statement over the variables that those of `known` are here."""

    def name(v: Var) -> Var:
        return known.get(v, v)

    def value(v: Value) -> Value:
        return name(v) if isinstance(v, Var) else v

    def place(index: Affine) -> Affine:
        return Affine(tuple((name(v), s) for v, s in index.terms), index.const)

    match stmt:
        case Let(var, primitive, args):
            return Let(name(var), primitive, tuple(map(value, args)))
        case Number(var, index):
            return Number(name(var), place(index))
        case Load(var, buffer, index, guard):
            guard = None if guard is None else value(guard)
            return Load(name(var), buffer, place(index), guard)
        case Store(buffer, index, given):
            return Store(buffer, place(index), value(given))
        case Assign(var, given):
            return Assign(var, value(given))
        case Accumulate(var, primitive, given):
            return Accumulate(var, primitive, value(given))
        case Fail(condition, site):
            return Fail(value(condition), site)
    raise AssertionError(stmt)
