"""Reductions over an outer loop are cut into parts, which threads share.

The turns of a loop that adds to one number meet there. So the loop is cut into a few parts, each of
which adds up in memory of its own; what the parts gave is added up in order, when all have run:

    for i in n: total += x[i]    ->    for c in parts, parallel:
                                           part = 0
                                           for i in part c of n: part += x[i]
                                           parts[c] = part
                                       once:
                                           for c in parts: total += parts[c]

Column sums, scatters, and extrema and products of any kind are the same, with a row of memory for
each part where the sum has one. How many parts there are depends on sizes alone, so any number of
threads gives the same bits. They are so few that adding them up costs little, which for a scatter
into much memory may mean one: it stays as it is. So does a loop of which it is known that it is
short, or whose turns need each other in another way, and sums over so many places that nobody
knows how many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.ir.bounds import at_most
from graphc.ir.dim import Size, floordiv, maximum, minimum, substitute, total
from graphc.ir.dtype import DType, int64
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Buffer,
    Declare,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Run,
    Stmt,
    Store,
    Var,
    of,
    reads,
    statements,
)
from graphc.loops.nest import Nest, Sum, Total, with_reductions
from graphc.loops.parallel import shared

PARTS = 32  # at the most: threads get several, and adding up stays quick
MEMORY = 1 << 14  # numbers that all parts have together, at the most
MORE = 1 << 18  # where the work is known, and adding them up nearly nothing: of pairs of points
LEAST = 1 << 18  # scalar operations of a part: half of what threads are woken for
EACH = 64  # operations for each number that a part has to be added up
NEARLY_NOTHING = 16  # times as many operations for each


def share_reductions(kernel: Kernel) -> Kernel:
    """`kernel` with the turns of its outer loop in parts, if they meet in reductions only and may
    be many; memory for the parts comes after its buffers."""
    nest = with_reductions(kernel)
    if nest is None or not shared(nest.loops[0], kernel.sizes):
        return kernel
    loop = nest.loops[0]
    if any(s.index.coefficient(loop.var) != 0 for s in nest.sums):
        return kernel
    count = _parts(nest, loop)
    return kernel if count == 1 else _Parts(nest, loop, count).kernel() or kernel


def operations(body: Sequence[Stmt], sizes: Mapping[str, Size]) -> Size:
    """About how many scalar operations statements are: one each, times the turns of loops. The
    extents of parallel loops are over the program's dims, others over `sizes`. All runs of a loop
    together are all of its turns."""
    count: Size = 0
    around: dict[Var, Size] = {}  # how often a loop has all of its turns
    stack: list[tuple[Sequence[Stmt], Size]] = [(body, 1)]
    while stack:
        inside, turns = stack.pop()
        for stmt in inside:
            if isinstance(stmt, For):
                extent = stmt.extent if stmt.parallel else substitute(stmt.extent, sizes)
                times = turns if stmt.run is None else around[stmt.run.number]
                around[stmt.var] = times
                stack.append((stmt.body, times * extent))
            else:
                count = count + turns
    return count


def _parts(nest: Nest, loop: For) -> Size:
    """How many parts the turns of `loop` are cut into; 1 if they are known to be few, or if nobody
    knows how much memory a part takes."""
    memory = total(buffer.size for buffer in nest.fills)
    if not isinstance(memory, int):
        return 1
    most, more = (min(PARTS, m // max(memory, 1)) for m in (MEMORY, MORE))
    work = operations([replace(loop, parallel=False)], {})
    parts = minimum(floordiv(work, maximum(LEAST, memory * EACH)), most)
    if isinstance(work, int) and more > most:  # else the memory would be taken at all sizes
        least = maximum(LEAST, memory * EACH * NEARLY_NOTHING)
        parts = maximum(parts, minimum(floordiv(work, least), more))
    return maximum(parts - 1, 0) + 1  # a form that is seen to be positive


class _Parts:
    """Writes the loop over parts, and what adds up what they gave."""

    def __init__(self, nest: Nest, loop: For, count: Size) -> None:
        self.nest, self.loop, self.count = nest, loop, count
        self.made = 0
        self.number = self.fresh(int64)
        self.scalars = {t.var: self.fresh(t.var.dtype) for t in nest.totals}
        self.memory: dict[Var | Buffer, Buffer] = {
            t.var: self._parts(t.var.dtype, 1) for t in nest.totals
        }
        self.memory |= {b: self._parts(b.dtype, b.size) for b in nest.fills}

    def _parts(self, dtype: DType, size: Size) -> Buffer:
        """Memory for all parts that there may be, whose size is a simple one."""
        self.made += 1
        return Buffer(f"parts{self.made}", dtype, size * at_most(self.count), part=size)

    def fresh(self, dtype: DType) -> Var:
        self.made += 1
        return Var(f"c{self.made}", dtype)

    def kernel(self) -> Kernel | None:
        """The kernel in parts; None where the turns meet in more than what is reduced."""
        nest = self.nest
        first = For(self.number, self.count, self._part(), parallel=True)
        early, late = _needed(first, nest.before)
        if not self._knows_all(first, early) or shared(first, nest.kernel.sizes):
            return None
        once = For(self.fresh(int64), 1, [*late, *self._together(), *nest.after], parallel=True)
        buffers = (*nest.kernel.buffers, *self.memory.values())
        return Kernel(nest.kernel.name, buffers, [*early, first, once], nest.kernel.sizes)

    def _knows_all(self, loop: For, early: Sequence[Stmt]) -> bool:
        """Whether the loop uses nothing that is computed once, behind it."""
        known = {s.var for s in (*early, *statements([loop])) if hasattr(s, "var")}
        used = {v for s in (*early, *statements([loop])) for v in reads(s) if isinstance(v, Var)}
        return used <= known

    # -- a part ------------------------------------------------------------------------------------
    def _part(self) -> list[Stmt]:
        nest, loop = self.nest, self.loop
        length = floordiv(loop.extent + (self.count - 1), self.count)
        body: list[Stmt] = [Declare(self.scalars[t.var], t.first) for t in nest.totals]
        for buffer, first in nest.fills.items():
            i = self.fresh(int64)
            place = self._place(buffer, of(i), self.number)
            body.append(For(i, buffer.size, [Store(self.memory[buffer], place, first)]))
        run = Run(self.number, length)
        body.append(replace(loop, body=self._over(loop.body), parallel=False, run=run))
        for t in nest.totals:
            body.append(Store(self.memory[t.var], of(self.number), self.scalars[t.var]))
        return body

    def _place(self, buffer: Buffer, index: Affine, number: Var) -> Affine:
        return of(number) * buffer.size + index

    def _over(self, body: Sequence[Stmt]) -> list[Stmt]:
        """The statements with what they add to in place of the results."""
        return [self._moved(stmt) for stmt in body]

    def _moved(self, stmt: Stmt) -> Stmt:
        match stmt:
            case For(_, _, body):
                return replace(stmt, body=self._over(body))
            case Accumulate(var, primitive, value) if var in self.scalars:
                return Accumulate(self.scalars[var], primitive, value)
            case Load(var, buffer, index) if buffer in self.memory:
                return Load(var, self.memory[buffer], self._place(buffer, index, self.number))
            case Store(buffer, index, value) if buffer in self.memory:
                place = self._place(buffer, index, self.number)
                return Store(self.memory[buffer], place, value)
        return stmt

    # -- what the parts gave, added up -------------------------------------------------------------
    def _together(self) -> list[Stmt]:
        """The results: each begins as it did, and parts are added one by one."""
        body: list[Stmt] = []
        if self.nest.totals:
            number = self.fresh(int64)
            inside = [s for t in self.nest.totals for s in self._add_total(t, number)]
            body.append(For(number, self.count, inside))
        for found in {s.buffer: s for s in self.nest.sums}.values():
            body += self._add_sum(found)
        return body

    def _add_total(self, found: Total, number: Var) -> list[Stmt]:
        part = self.fresh(found.var.dtype)
        return [
            Load(part, self.memory[found.var], of(number)),
            Accumulate(found.var, found.primitive, part),
        ]

    def _add_sum(self, found: Sum) -> list[Stmt]:
        buffer, dtype = found.buffer, found.buffer.dtype
        fill, number, i = (self.fresh(int64) for _ in range(3))
        before, part, after = (self.fresh(dtype) for _ in range(3))
        inside: list[Stmt] = [
            Load(before, buffer, of(i)),
            Load(part, self.memory[buffer], self._place(buffer, of(i), number)),
            Let(after, found.primitive, (before, part)),
            Store(buffer, of(i), after),
        ]
        return [
            For(fill, buffer.size, [Store(buffer, of(fill), found.first)]),
            For(number, self.count, [For(i, buffer.size, inside)]),
        ]


def _needed(loop: For, body: Sequence[Stmt]) -> tuple[list[Stmt], list[Stmt]]:
    """The statements that compute what a loop needs, which all may run, and those that run once."""
    needed = {v for stmt in statements([loop]) for v in reads(stmt)}
    early: list[Stmt] = []
    late: list[Stmt] = []
    for stmt in reversed(body):
        if isinstance(stmt, (Let, Load, Number)) and stmt.var in needed:
            needed |= set(reads(stmt))
            early.insert(0, stmt)
        else:
            late.insert(0, stmt)
    return early, late
