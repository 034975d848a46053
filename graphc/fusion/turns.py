"""Which loop of a kernel takes several of its turns together.

Windows that lie beside each other share most of their elements, and all of them meet one kernel.
So where the innermost loop reads many places of one array, the loop around it takes some turns at
a time, and the short loops over a window are written out: what the turns share is loaded once, and
each adds up in a register of its own.

    for w: for c:                          for w in 0, 2, 4, ...: for c:
        s = 0                        ->        s, t = 0, 0
        for j in 2:                            s += x[w, c] * k[0, c] + x[w + 1, c] * k[1, c]
            s += x[w + j, c] * k[j, c]         t += x[w + 1, c] * k[0, c] + x[w + 2, c] * k[1, c]
        y[w, c] = s                            y[w, c], y[w + 1, c] = s, t

The same with one turn at a time is for pairs of points: their few coordinates, innermost, are
written out, so that the loop over the other points is one over vectors. What is added up for each
coordinate over that loop is in registers, not in memory.

    for i: for j:                        ->    for i:
        for c in 3: f[i, c] += g(i, j, c)          p, q, r = 0, 0, 0
                                                   for j: p, q, r += g(i, j, 0), g(i, j, 1), ...
                                                   f[i, 0], f[i, 1], f[i, 2] = p, q, r
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from graphc.fusion.kernel_plan import KernelPlan
from graphc.ir.dim import Size
from graphc.loops.grammar import For, Let, Load, Stmt, statements

MOST = 8  # turns together
TAPS = 32  # turns of the loops over a window that are written out
SAVED = 0.75  # of the loads, from which on it pays
LENGTH = 160  # statements of a kernel with turns together
COORDINATES = 12  # of a point: 16 of float32 gain nothing


class Together(NamedTuple):
    """The loop at depth `loop` takes `turns` at a time; those from `inner` on are written out."""

    loop: int
    turns: int
    inner: int


def candidates(plan: KernelPlan) -> Iterator[Together]:
    """Most turns first: for a kernel whose last loop around its stages goes along its arrays, with
    at most the short loops of a window in it. One turn is its window written out."""
    inner, loop = plan.outer, max(plan.outer - 2, 0)
    simple = not plan.running and not plan.backwards and not plan.scratch
    if any(node.op.reducer.scatters for node in plan.reductions) or not simple:
        return
    if inner == 0 or not plan.stages or not _is_short(plan.space[inner:]):
        return
    extent = plan.space[loop]
    if loop > 0 and isinstance(extent, int):
        yield from (Together(loop, t, inner) for t in range(MOST, 1, -1) if extent % t == 0)
    yield Together(loop, 1, inner)


def sums_rows(plan: KernelPlan) -> bool:
    """Whether a kernel adds up coordinates of points over the loop around them."""
    few = _is_short(plan.space[plan.outer :], COORDINATES)
    return few and any(plan.sums_rows(node) for node in plan.reductions)


def _is_short(sizes: Iterable[Size], most: int = TAPS) -> bool:
    taps = 1
    for size in sizes:
        if not isinstance(size, int):
            return False
        taps *= size
    return 0 < taps <= most


def pays(before: list[Stmt], after: list[Stmt], rows: bool) -> bool:
    """Whether a kernel is better with some turns together: with fewer loads, and not too long. One
    whose windows reach over a border is, since what is asked for there is then before the loops;
    and one with sums of `rows`, which are in registers then."""
    fewer = rows or _loads(after) <= SAVED * _loads(before) or _asks_inside(before)
    return fewer and sum(1 for _ in statements(after)) <= LENGTH


def _asks_inside(body: list[Stmt]) -> bool:
    """Whether some loop finds out for itself where it may read."""
    for loop in (s for s in statements(body) if isinstance(s, For)):
        inside = {s.var for s in loop.body if isinstance(s, Let)}
        if any(isinstance(s, Load) and s.guard in inside for s in loop.body):
            return True
    return False


def _loads(body: list[Stmt]) -> int:
    """How often something is loaded, where loops of unknown sizes have one turn."""
    found = 0
    for stmt in body:
        if isinstance(stmt, Load):
            found += 1
        elif isinstance(stmt, For):
            turns = stmt.extent if isinstance(stmt.extent, int) else 1
            found += turns * _loads(stmt.body)
    return found
