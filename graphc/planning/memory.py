"""The memory plan: where each temporary lives in the arena.

Lifetimes are intervals over the steps; a temporary of an outer level that a loop uses lives until
the loop ends, and one inside of a loop whose rows go through it by themselves as long as that loop.
Temporaries whose lifetimes meet must not overlap, whatever the named dims are. So a
plan is not a list of numbers but a stack: it says which of two temporaries that are alive together
lies above the other, and the offset of one is the largest end of those below it, an expression over
the dims. No dims can make such a plan wrong; the dims' hints only decide how good it is.

Which lies above which is found at the hints, by the greedy-by-size calculation of offsets of
Pisarchyk and Lee (2020, "Efficient memory management for deep neural net inference"): temporaries
by decreasing size, each into the smallest gap that holds it. By decreasing size times lifetime is
tried as well, and slots that several temporaries share (the same paper's shared objects), which is
all that is done for programs with many temporaries. The second stack is tried if the first is more
than 2 % above what is alive at one step. The plan with the smallest arena at the hints is kept.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain

import numpy as np

from graphc.ir.dim import Dim, Size, floordiv, is_at_least, largest, maximum, size_hint
from graphc.ir.dtype import DType
from graphc.planning.beside import kept_for_others
from graphc.planning.program import (
    Branch,
    Examples,
    Loop,
    Program,
    Step,
    Storage,
    touched,
)

ALIGN = 64  # bytes: a cache line, and the widest vector
STACKED = 1000  # temporaries for which offsets are calculated one by one
GOOD = 1.02  # the arena of a stack that no other is tried for, over the least that there can be
TERMS = 8  # sizes of which an offset is the largest, at the most

Lifetimes = dict[Storage, tuple[int, int]]
Offsets = dict[Storage, Size]


def plan_memory(program: Program, apart: int = 0) -> Program:
    """Give every temporary an offset, and the program its arena size (both in bytes). Where the
    arena has up to `apart` bytes at the hints, no step waits for another one's memory."""
    found = _lifetimes(program.steps)
    program.temps = sorted(found, key=found.__getitem__)
    outside = [s for s in program.temps if not s.frame]
    if apart:
        longer = kept_for_others(program.steps, *timeline(program))
        program.arena = _place({s: longer[s] for s in outside}, 0)
    if not apart or size_hint(program.arena) > apart:
        program.arena = _place({s: found[s] for s in outside}, 0)
    if own := {s: found[s] for s in program.temps if s.frame}:
        start = aligned(program.arena)
        program.frame = aligned(_place(own, start))
        program.arena = start + program.frame
    return program


def _place(lifetimes: Lifetimes, start: Size) -> Size:
    """Give temporaries, in order of first use, offsets from `start` on; the bytes of all."""
    best, size = min(_plans([*lifetimes], lifetimes), key=lambda plan: size_hint(plan[1]))
    for storage, offset in best.items():
        storage.offset = start + offset
    return size


def lifetimes(program: Program) -> Lifetimes:
    """The first and last place, among all steps in order, those inside of others too, at which each
    temporary is needed."""
    return _lifetimes(program.steps)


def bytes_alive(program: Program) -> list[tuple[Step, int]]:
    """The steps in order, those inside of others too, each with the bytes of temporaries that are
    alive at it at the hints."""
    steps: list[Step] = []
    lifetimes = _lifetimes(program.steps, steps)
    sizes = {s: hinted_bytes(s.size, s.dtype) for s in lifetimes}
    return list(zip(steps, _alive(sizes, lifetimes), strict=False))


def timeline(program: Program) -> tuple[list[Step], Lifetimes]:
    """The steps in order, those inside of others too, and the first and last of them at which each
    temporary is needed."""
    steps: list[Step] = []
    return steps, _lifetimes(program.steps, steps)


def alive_at(program: Program, step: Step) -> list[Storage]:
    """The temporaries alive at a step, the largest at the hints first."""
    steps: list[Step] = []
    lifetimes = _lifetimes(program.steps, steps)
    place = next(i for i, other in enumerate(steps) if other is step)
    found = [s for s, (first, last) in lifetimes.items() if first <= place <= last]
    return sorted(found, key=lambda s: hinted_bytes(s.size, s.dtype), reverse=True)


def hinted_bytes(size: Size, dtype: DType) -> int:
    """The bytes that a temporary of `size` elements takes at the hints."""
    return size_hint(aligned(size * dtype.itemsize))


@lru_cache(4096)
def aligned(size: Size) -> Size:
    """`size` rounded up to a multiple of `ALIGN`."""
    whole: Size = 0
    if isinstance(size, Dim):  # the terms that are multiples need no rounding
        whole = Dim(tuple((m, c) for m, c in size.terms if c % ALIGN == 0))
        whole = whole if whole.terms else 0
    return whole + floordiv(size - whole + (ALIGN - 1), ALIGN) * ALIGN


def _plans(order: Sequence[Storage], lifetimes: Lifetimes) -> Iterator[tuple[Offsets, Size]]:
    """The plans tried, with their arenas; no further one where none can be smaller, or much smaller
    than a stack."""
    slots = _share_slots(order, lifetimes)
    yield slots
    if len(order) > STACKED:
        return
    sizes = {s: hinted_bytes(s.size, s.dtype) for s in order}
    least = max(_alive(sizes, lifetimes))  # no plan has a smaller arena at the hints
    if size_hint(slots[1]) == least:
        return

    def bytes_and_time(storage: Storage) -> int:
        first, last = lifetimes[storage]
        return sizes[storage] * (last - first + 1)

    for key in (sizes.__getitem__, bytes_and_time):
        offsets = _by_size(sorted(order, key=key, reverse=True), sizes, lifetimes)
        stack = _stacked(sorted(order, key=offsets.__getitem__), lifetimes)
        if stack is not None:
            yield stack
            if size_hint(stack[1]) <= GOOD * least:
                return


# -- a stack ---------------------------------------------------------------------------------------
def _by_size(
    order: Sequence[Storage], sizes: dict[Storage, int], lifetimes: Lifetimes
) -> dict[Storage, int]:
    """Offsets at the hints: each in turn into the smallest gap between those that are alive with it
    and have their place, or above them."""
    offsets: dict[Storage, int] = {}
    # Those that have their place, by `start`: first step, last step, start, stop.
    placed = np.zeros((4, len(order)), np.int64)
    end = np.zeros(len(order) + 1, np.int64)  # up to where those alive reach, one after the other
    for count, storage in enumerate(order):
        (first, last), size = lifetimes[storage], sizes[storage]
        firsts, lasts, starts, _ = placed[:, :count]
        alive = ((firsts <= last) & (lasts >= first)).nonzero()[0]
        start, stop = placed[2:, alive]
        reached = end[: len(alive) + 1]
        np.maximum.accumulate(stop, out=reached[1:])
        gaps = start - reached[:-1]
        large = (gaps >= size).nonzero()[0]
        where = large[gaps[large].argmin()] if len(large) else -1
        offsets[storage] = place = int(reached[where])
        at = starts.searchsorted(place, side="right")
        placed[:, at + 1 : count + 1] = placed[:, at:count]
        placed[:, at] = first, last, place, place + size
    return offsets


def _stacked(upwards: Sequence[Storage], lifetimes: Lifetimes) -> tuple[Offsets, Size] | None:
    """Each storage as low as those before it that are alive with it allow, at any dims. None where
    an offset would be too long an expression."""
    ends: list[tuple[Size, ...]] = [(0,)]
    starts, top = [0], [0]  # from which step on, which of `ends` is where the stack ends
    offsets: Offsets = {}
    for storage in upwards:
        first, last = lifetimes[storage]
        low, high = _cut(starts, top, first), _cut(starts, top, last + 1)
        below = _largest(ends[i] for i in set(top[low:high]))
        if len(below) > TERMS:
            return None
        size = aligned(storage.size * storage.dtype.itemsize)
        starts[low:high], top[low:high] = [first], [len(ends)]
        ends.append(tuple(b + size for b in below))
        offsets[storage] = largest(below)
    arena = _largest(ends[i] for i in set(top))
    return (offsets, largest(arena)) if len(arena) <= 4 * TERMS else None


def _cut(starts: list[int], top: list[int], step: int) -> int:
    """The place of the run of steps that starts at `step`; there is one from now on."""
    place = bisect_left(starts, step)
    if place == len(starts) or starts[place] != step:
        starts.insert(place, step)
        top.insert(place, top[place - 1])
    return place


def _largest(groups: Iterable[tuple[Size, ...]]) -> tuple[Size, ...]:
    """The sizes of all groups without those that are never larger than another one."""
    sizes = {s for group in groups for s in group}
    kept: list[Size] = []
    for size in sorted(sizes, key=lambda s: (size_hint(s), str(s)), reverse=True):
        if not any(is_at_least(k, size) for k in kept):
            kept = [k for k in kept if not is_at_least(size, k)]
            kept.append(size)
    return tuple(kept)


def _alive(sizes: dict[Storage, int], lifetimes: Lifetimes) -> list[int]:
    """The bytes alive at each step at the hints."""
    change = [0] * (2 + max((last for _, last in lifetimes.values()), default=0))
    for storage, (first, last) in lifetimes.items():
        change[first] += sizes[storage]
        change[last + 1] -= sizes[storage]
    return list(accumulate(change))


# -- slots -----------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Slot:
    size: Size
    bytes: int  # at the hints
    offset: Size = 0


class _Free:
    """Free slots by size; of one size, the one that is free longest is the first."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.slots: dict[int, deque[_Slot]] = {}

    def put(self, slot: _Slot) -> None:
        if slot.bytes not in self.slots:
            insort(self.sizes, slot.bytes)
            self.slots[slot.bytes] = deque()
        self.slots[slot.bytes].append(slot)

    def take(self, wanted: int) -> _Slot | None:
        """The smallest slot that is large enough, else the largest one."""
        if not self.sizes:
            return None
        size = self.sizes[min(bisect_left(self.sizes, wanted), len(self.sizes) - 1)]
        slot = self.slots[size].popleft()
        if not self.slots[size]:
            del self.slots[size]
            self.sizes.remove(size)
        return slot


def _share_slots(order: Sequence[Storage], lifetimes: Lifetimes) -> tuple[Offsets, Size]:
    """Slots one after the other, filled in order of first use, best fit first; a slot is as large
    as the largest of its members."""
    slots: list[_Slot] = []
    taken: list[_Slot] = []  # by each of `order`
    free = _Free()
    lasts = [lifetimes[s][1] for s in order]
    ending = sorted(range(len(order)), key=lasts.__getitem__)
    ended = 0  # those of `ending` whose slots are free again
    for storage in order:
        while lasts[ending[ended]] < lifetimes[storage][0]:
            free.put(taken[ending[ended]])
            ended += 1
        size = storage.size * storage.dtype.itemsize
        wanted = size_hint(size)
        slot = free.take(wanted)
        if slot is None:
            slot = _Slot(size, wanted)
            slots.append(slot)
        else:
            slot.size, slot.bytes = maximum(slot.size, size), max(slot.bytes, wanted)
        taken.append(slot)
    arena: Size = 0
    for slot in slots:
        slot.offset, arena = arena, arena + aligned(slot.size)
    return {storage: slot.offset for storage, slot in zip(order, taken, strict=True)}, arena


# -- lifetimes -------------------------------------------------------------------------------------
def _lifetimes(steps: list[Step], order: list[Step] | None = None) -> Lifetimes:
    """The first and last position at which each temporary is needed; `order` is filled with the
    steps, which are the positions."""
    found: Lifetimes = {}
    loops: list[tuple[int, int]] = []
    order = [] if order is None else order
    _visit(steps, found, loops, order)
    for start, end in sorted(loops, reverse=True):  # inner loops before those around them
        loop = order[start]
        by_rows = isinstance(loop, Examples) or (isinstance(loop, Loop) and loop.rows is not None)
        for storage, (first, last) in found.items():
            if storage.frame:  # of each example anew
                continue
            if by_rows and start <= first <= last < end:
                found[storage] = (start, end - 1)  # some rows are at one step, some at another
            elif first < start <= last < end:
                found[storage] = (first, end)  # used again at the next turn
            elif start <= first < end <= last:
                found[storage] = (start, last)  # written turn by turn, used after the loop
    return found


def _visit(
    steps: list[Step], found: Lifetimes, loops: list[tuple[int, int]], order: list[Step]
) -> None:
    for step in steps:
        position = len(order)
        for ref in chain(*touched(step)):
            if ref.storage.kind == "temp":
                first, _ = found.setdefault(ref.storage, (position, position))
                if first != position:
                    found[ref.storage] = (first, position)
        order.append(step)
        if isinstance(step, (Loop, Examples)):
            _visit(step.body, found, loops, order)
            loops.append((position, len(order)))
        elif isinstance(step, Branch):
            for side in step.sides:
                _visit(side, found, loops, order)
