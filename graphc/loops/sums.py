"""Long sums are cut into runs, so that their error does not grow with their length.

A float that n numbers are added to one by one loses a digit for every ten times as many. So a loop
that carries a long sum is cut: a run of its turns adds up into a partial sum that starts from zero,
and what a run gives is added to the total with the rounding error of that carried along (Kahan,
"Further remarks on reducing truncation errors", 1965). What is left is the error within a run.

    for i in n: total += x[i]    ->    for r in runs:
                                           part = 0
                                           for i in run r: part += x[i]
                                           total, lost = total + (part - lost), its rounding error

A running sum, whose value at each turn is read, is cut in the same way: what is read is the total
and what its run has so far. Its runs are short, as each of their turns waits for the one before,
and no run for another one's.

    for i in n: s += x[i]        ->    for r in runs:
                f(s)                       part = 0
                                           for i in run r: part += x[i]
                                                           f(total + (part - lost))
                                           total, lost = total + (part - lost), its rounding error

A sum accumulates in memory where loops inside of the reduced one go over its results: then partial
sums and what was lost are in memory too, one for each result that a run reaches. Short loops inside
of the one that is cut add up by themselves first. Sums that are known to be of few numbers stay as
they are, and those whose places are read from data. Of a loop that goes over a part of its turns
only (`shares.py`), the runs are cut instead: the part becomes one of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from graphc.ir.bounds import at_most, certain
from graphc.ir.dim import Size, floordiv
from graphc.ir.dtype import DType, bool_, int64
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
    Buffer,
    Const,
    Declare,
    For,
    Kernel,
    Let,
    Load,
    Run,
    Stmt,
    Store,
    Value,
    Var,
    of,
    statements,
    values,
)

RUN = 1024  # turns of a run in a loop that becomes vectors: some 32 sums at once
ROWS = 64  # where each turn adds to the same number
STEPS = 16  # of a running sum
SHORT = 2  # runs that a loop of known size may have and not be cut


@dataclass(frozen=True, slots=True)
class Element:
    buffer: Buffer
    index: Affine


Place: TypeAlias = "Var | Element"


def cut_long_sums(kernel: Kernel) -> Kernel:
    """`kernel` with its long sums in runs; scratch memory for them comes after its buffers."""
    cutter = _Cutter(kernel)
    body = cutter.block(kernel.body)
    return Kernel(kernel.name, tuple(cutter.buffers), body, kernel.sizes)


# -- which sums, and where they are cut ------------------------------------------------------------
@dataclass(frozen=True, eq=False, slots=True)
class _Sum:
    """A sum, the loops around it from the outermost that it reduces, and those that it keeps.
    `alone`: its innermost loop has no other loop in it, so that it may become vectors. `running`:
    its value at each turn is read."""

    place: Place
    loops: tuple[For, ...]
    kept: tuple[For, ...]
    alone: bool
    running: bool

    @property
    def dtype(self) -> DType:
        return self.place.dtype if isinstance(self.place, Var) else self.place.buffer.dtype

    def kept_inside(self, loop: For) -> tuple[For, ...]:
        """The loops inside of `loop` that go over results."""
        inner = self.loops[_position(self.loops, loop) :]
        return tuple(k for k in self.kept if any(k is i for i in inner))

    def cut(self) -> _Cut | None:
        """Where to cut the sum, or None if it is short: at the innermost loop with which numbers
        that are added one by one become too many."""
        inner, numbers, each = None, 1, 1
        for loop in reversed(self.loops):
            if any(loop is k for k in self.kept):
                continue
            apart = not self.kept_inside(loop)
            most = RUN if self.alone and apart and loop is self.loops[-1] else ROWS
            most = STEPS if self.running else most
            if not certain(SHORT * most - loop.extent * numbers):
                return _Cut(loop, max(most // each, 1), inner)
            turns = loop.extent if isinstance(loop.extent, int) else SHORT * most // max(numbers, 1)
            numbers *= turns
            inner, each = (loop, 1) if apart else (inner, each * max(turns, 1))
        return None


@dataclass(frozen=True, eq=False, slots=True)
class _Cut:
    """`loop` runs for `length` turns at a time; of the loops in it, `inner` adds up by itself."""

    loop: For
    length: int
    inner: For | None


def _position(loops: tuple[For, ...], loop: For) -> int:
    return next(i for i, other in enumerate(loops) if other is loop)


def _sums(body: list[Stmt], loops: tuple[For, ...], outer: Mapping[Var, int]) -> Iterator[_Sum]:
    """The float sums in a body. `outer`: declared scalars, and how many loops are around each."""
    declared = dict(outer)
    alone = not any(isinstance(s, For) for s in body)
    for at, stmt in enumerate(body):
        if isinstance(stmt, For):
            yield from _sums(stmt.body, (*loops, stmt), declared)
        elif isinstance(stmt, Declare):
            declared[stmt.var] = len(loops)
        addition = _addition(body, at)
        if addition is None:
            continue
        place, running = addition.place, addition.is_read(body)
        if isinstance(place, Element):
            found = _in_memory(place, loops, alone, running)
            if found is not None:
                yield found
        elif loops[declared[place] :]:
            yield _Sum(place, loops[declared[place] :], (), alone, running)


@dataclass(frozen=True, slots=True)
class _Addition:
    """`count` statements that add `value` to the float at `place`, whose value is then `new`."""

    place: Place
    value: Value
    new: Value
    count: int

    def is_read(self, body: list[Stmt]) -> bool:
        """Whether others of the statements read what the sum is at this turn."""
        return self.count > 1 and sum(v is self.new for v in values(body)) > 1


def _addition(body: list[Stmt], at: int) -> _Addition | None:
    """The addition that the statements from `at` are, or None."""
    match body[at : at + 3]:
        case [Accumulate(var, "add", value), *_] if var.dtype.is_float:
            return _Addition(var, value, var, 1)
        case [Load(old, b, i, None), Let(new, "add", (first, value)), Store(c, j, stored)]:
            if first is old and stored is new and b is c and i == j and b.dtype.is_float:
                return _Addition(Element(b, i), value, new, 3)
        case [Let(old, _, (var,)), Let(new, "add", (first, value)), Assign(carry, stored)]:
            if first is old and stored is new and var is carry and carry.dtype.is_float:
                return _Addition(carry, value, new, 3)
    return None


def _in_memory(element: Element, loops: tuple[For, ...], alone: bool, running: bool) -> _Sum | None:
    variables = {v for v, _ in element.index.terms}
    kept = tuple(loop for loop in loops if loop.var in variables)
    reduced = [loop for loop in loops if loop.var not in variables]
    if not reduced or len(kept) != len(variables):
        return None
    uses = [s for s in statements(reduced[0].body) if isinstance(s, (Load, Store))]
    additions = _places_of(reduced[0].body, element.buffer)
    if sum(s.buffer is element.buffer for s in uses) != 2 * len(additions):
        return None
    if sum(index == element.index for index in additions) != 1:
        return None
    inside = loops[_position(loops, reduced[0]) :]
    return _Sum(element, inside, kept, alone, running)


def _places_of(body: list[Stmt], buffer: Buffer) -> list[Affine]:
    """The places of a buffer that statements add to, as often as they do."""
    found: list[Affine] = []
    for at, stmt in enumerate(body):
        if isinstance(stmt, For):
            found += _places_of(stmt.body, buffer)
        addition = _addition(body, at)
        if addition is not None and isinstance(addition.place, Element):
            found += [addition.place.index] * (addition.place.buffer is buffer)
    return found


# -- cutting ---------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False, slots=True)
class _Long:
    """A sum that is cut. `parts`: the loops that add up by themselves, innermost first, and where;
    the last is that of the runs. `lost`: what the total lost."""

    sum: _Sum
    parts: tuple[tuple[For, Place], ...]
    lost: Place


class _Cutter:
    def __init__(self, kernel: Kernel) -> None:
        self.buffers = list(kernel.buffers)
        self.count = 0
        self.long: list[_Long] = []
        self.lengths: dict[int, int] = {}  # of runs, by the identity of the loop
        for found in _sums(kernel.body, (), {}):
            cut = found.cut()
            if cut is not None:
                known = self.lengths.get(id(cut.loop), cut.length)
                self.lengths[id(cut.loop)] = min(cut.length, known)
                loops = (cut.loop,) if cut.inner is None else (cut.inner, cut.loop)
                parts = tuple((loop, self._room(found, loop)) for loop in loops)
                self.long.append(_Long(found, parts, self._room(found, found.loops[0])))

    def block(self, body: list[Stmt]) -> list[Stmt]:
        found: list[Stmt] = []
        rest = list(body)
        while rest:
            stmt, addition = rest[0], _addition(rest, 0)
            taken = rest[: 1 if addition is None else addition.count]
            del rest[: len(taken)]
            if isinstance(stmt, For):
                found += self._loop(stmt)
            else:
                found += taken if addition is None else self._added(addition, taken)
        return found

    def _loop(self, loop: For) -> Iterator[Stmt]:
        for long in self.long:
            if long.sum.loops[0] is loop:
                yield from self._fill(long.lost, long.sum.kept_inside(loop), 0.0)
        length = self.lengths.get(id(loop), 0)
        new = replace(loop, body=self.block(loop.body), parallel=loop.parallel and length == 0)
        around: list[Stmt] = [new]
        for long in self.long:
            for number, (at, place) in enumerate(long.parts):
                if at is loop:
                    kept = long.sum.kept_inside(loop)
                    first = -0.0 if long.sum.running else 0.0  # so that sums of -0 are -0
                    start = self._fill(place, kept, first)
                    around = [*start, *around, *self._step(long, number, kept)]
        if length == 0 or (isinstance(loop.extent, int) and loop.extent <= SHORT * length):
            yield from around
        else:
            new.run = Run(self.fresh(int64), length)
            part = loop.run and replace(loop.run, length=_runs(loop.run.length, length))
            yield For(new.run.number, _runs(loop.extent, length), around, run=part)

    def _added(self, addition: _Addition, taken: list[Stmt]) -> list[Stmt]:
        """What adds to a sum adds to a partial one, if the sum is cut."""
        long = next((s for s in self.long if s.sum.place == addition.place), None)
        if long is None:
            return taken
        part, sums = long.parts[0][1], _Sums(self, long.sum.dtype, lambda index: index)
        if long.sum.running and isinstance(addition.new, Var):
            return sums.add_running(long.sum.place, part, long.lost, addition.value, addition.new)
        if isinstance(part, Var):
            return [Accumulate(part, "add", addition.value)]
        return sums.add(part, addition.value)

    # -- partial sums, and what was lost -----------------------------------------------------------
    def fresh(self, dtype: DType) -> Var:
        self.count += 1
        return Var(f"r{self.count}", dtype)

    def _room(self, found: _Sum, loop: For) -> Place:
        """One number for each result that the turns of `loop` reach."""
        kept = found.kept_inside(loop)
        if isinstance(found.place, Var) or not kept:
            return self.fresh(found.dtype)
        shared = any(k.parallel for k in found.kept)  # the loop around, which may stay parallel
        kept = found.kept if found.running or shared else kept
        index: Affine = Affine()
        size: Size = 1
        for k in reversed(kept):
            index, size = of(k.var) * size + index, size * at_most(k.extent)
        self.buffers.append(Buffer(f"sum{len(self.buffers)}", found.dtype, size))
        return Element(self.buffers[-1], index)

    def _fill(self, place: Place, kept: tuple[For, ...], value: float) -> list[Stmt]:
        first = _constant(value, place.dtype if isinstance(place, Var) else place.buffer.dtype)
        if isinstance(place, Var):
            return [Declare(place, first)]
        return self._nest(kept, lambda at: [Store(place.buffer, at(place.index), first)])

    def _step(self, long: _Long, number: int, kept: tuple[For, ...]) -> list[Stmt]:
        """A partial sum is added to the next one, or to the total, for each result it is of."""
        part = long.parts[number][1]
        if number + 1 < len(long.parts):
            more = long.parts[number + 1][1]
            return self._nest(kept, lambda at: _Sums(self, long.sum.dtype, at).add(more, part))
        places = long.sum.place, part, long.lost
        return self._nest(kept, lambda at: _Sums(self, long.sum.dtype, at).add_all(*places))

    def _nest(
        self, loops: tuple[For, ...], inside: Callable[[Callable[[Affine], Affine]], list[Stmt]]
    ) -> list[Stmt]:
        """Loops like `loops`, with variables of their own; `inside` gets what an index is there."""
        fresh = {loop.var: self.fresh(int64) for loop in loops}

        def at(index: Affine) -> Affine:
            return Affine(tuple((fresh.get(v, v), s) for v, s in index.terms), index.const)

        body = inside(at)
        for loop in reversed(loops):
            body = [For(fresh[loop.var], loop.extent, body)]
        return body


class _Sums:
    """The statements of additions at one place: `at` says what an index is there."""

    def __init__(self, cutter: _Cutter, dtype: DType, at: Callable[[Affine], Affine]) -> None:
        self.cutter, self.dtype, self.at = cutter, dtype, at
        self.body: list[Stmt] = []

    def add(self, total: Place, part: Place | Value) -> list[Stmt]:
        """total = total + part"""
        self.put(total, self.let("add", self.value(total), self.value(part)))
        return self.body

    def add_running(
        self, total: Place, part: Place, lost: Place, value: Value, now: Var
    ) -> list[Stmt]:
        """part = part + value; now = total + (part - lost)"""
        after = self.let("add", self.value(part), value)
        self.put(part, after)
        more = self.let("subtract", after, self.value(lost))
        self.body.append(Let(now, "add", (self.value(total), more)))
        return self.body

    def add_all(self, place: Place, part: Place, lost: Place) -> list[Stmt]:
        """total, lost = total + (part - lost), the rounding error of that addition.

        An infinite total has no rounding error: it stays what it is.
        """
        total = self.value(place)
        more = self.let("subtract", self.value(part), self.value(lost))
        after = self.let("add", total, more)
        error = self.let("subtract", self.let("subtract", after, total), more)
        infinity, zero = _constant(np.inf, self.dtype), _constant(0, self.dtype)
        finite = self.let("less", self.let("abs", error), infinity, to=bool_)
        self.put(lost, self.let("select", finite, error, zero))
        self.put(place, after)
        return self.body

    def value(self, place: Place | Value) -> Value:
        if not isinstance(place, Element):
            return place
        loaded = self.cutter.fresh(self.dtype)
        self.body.append(Load(loaded, place.buffer, self.at(place.index)))
        return loaded

    def let(self, primitive: str, *args: Value, to: DType | None = None) -> Value:
        var = self.cutter.fresh(to or self.dtype)
        self.body.append(Let(var, primitive, args))
        return var

    def put(self, place: Place, value: Value) -> None:
        if isinstance(place, Var):
            self.body.append(Assign(place, value))
        else:
            self.body.append(Store(place.buffer, self.at(place.index), value))


def _runs(turns: Size, length: int) -> Size:
    """How many runs so many turns are."""
    return floordiv(turns + (length - 1), length)


def _constant(value: float, dtype: DType) -> Const:
    return Const(dtype.numpy.type(value), dtype)
