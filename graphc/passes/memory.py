"""The memory plan: where each temporary lives in the arena.

Lifetimes are intervals over the steps; a temporary of an outer level that a loop uses lives until
the loop ends. Temporaries whose lifetimes do not meet may share a slot. Slots are filled greedily
in order of first use, best fit first (Pisarchyk and Lee, 2020, "Efficient memory management for
deep neural net inference", shared objects, greedy by breadth); sizes are compared at a hint for
named dims, and a slot is as large as the largest of its members: the plan is right for all sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.ir.dim import Size, evaluate, floordiv, maximum, names
from graphc.passes.program import Branch, Loop, Program, Step, Storage, touched

ALIGN = 64  # bytes: a cache line, and the widest vector
HINT = 64  # the size that a named dim is taken to have when slots are compared


@dataclass(slots=True)
class _Slot:
    size: Size
    members: list[Storage] = field(default_factory=list)


def plan_memory(program: Program) -> Program:
    """Give every temporary an offset, and the program its arena size (both in bytes)."""
    lifetimes = _lifetimes(program.steps)
    order = sorted(lifetimes, key=lambda s: (lifetimes[s][0], lifetimes[s][1]))
    slots: list[_Slot] = []
    free: list[_Slot] = []
    busy: list[tuple[int, _Slot]] = []
    for storage in order:
        first, last = lifetimes[storage]
        for entry in [b for b in busy if b[0] < first]:
            busy.remove(entry)
            free.append(entry[1])
        size = storage.size * storage.dtype.itemsize
        slot = _best_fit(free, size)
        if slot is None:
            slot = _Slot(size)
            slots.append(slot)
        else:
            free.remove(slot)
            slot.size = maximum(slot.size, size)
        slot.members.append(storage)
        busy.append((last, slot))
    offset: Size = 0
    for slot in slots:
        for storage in slot.members:
            storage.offset = offset
        offset = offset + aligned(slot.size)
    program.arena = offset
    program.temps = order
    return program


def aligned(size: Size) -> Size:
    """`size` rounded up to a multiple of `ALIGN`."""
    return floordiv(size + (ALIGN - 1), ALIGN) * ALIGN


def _best_fit(free: list[_Slot], size: Size) -> _Slot | None:
    """The free slot that wastes least, or grows least if none is large enough."""
    wanted = _estimate(size)

    def waste(slot: _Slot) -> tuple[bool, int]:
        difference = _estimate(slot.size) - wanted
        return difference < 0, abs(difference)

    return min(free, key=waste, default=None)


def _estimate(size: Size) -> int:
    return evaluate(size, dict.fromkeys(names(size), HINT))


def _lifetimes(steps: list[Step]) -> dict[Storage, tuple[int, int]]:
    """The first and last position at which each temporary is needed."""
    found: dict[Storage, tuple[int, int]] = {}
    loops: list[tuple[int, int]] = []
    _visit(steps, 0, found, loops)
    for start, end in sorted(loops, reverse=True):  # inner loops before those around them
        for storage, (first, last) in found.items():
            if first < start <= last < end:
                found[storage] = (first, end)  # used again at the next turn
            elif start <= first < end <= last:
                found[storage] = (start, last)  # written turn by turn, used after the loop
    return found


def _visit(
    steps: list[Step],
    position: int,
    found: dict[Storage, tuple[int, int]],
    loops: list[tuple[int, int]],
) -> int:
    for step in steps:
        for ref in (r for refs in touched(step) for r in refs):
            if ref.storage.kind == "temp":
                first, _ = found.get(ref.storage, (position, position))
                found[ref.storage] = (first, position)
        start = position
        position += 1
        if isinstance(step, Loop):
            position = _visit(step.body, position, found, loops)
            loops.append((start, position))
        elif isinstance(step, Branch):
            position = _visit(step.then, position, found, loops)
            position = _visit(step.otherwise, position, found, loops)
    return position
