"""Loops whose rows go through all turns without each other: the examples of a recurrent network.

A step of a recurrence is too small to be shared by threads: they would wait for each other behind
each of its products. But most recurrences are many side by side: row `i` of all that a step makes
depends on row `i` of what it is given, and on what no step writes. Such a loop gets the number of
its rows, and the target may let each thread take some of them through the whole loop; where no
two touch the same memory, none waits for another before the end.

That is shown from the memory that steps touch. What the loop writes nowhere is read by all. Each
storage that it writes is an array of blocks of `rows * w` elements (a value, or a turn's part of
the values of all turns), and of each block row `i` touches `[i * w, (i + 1) * w)` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from graphc.ir.dim import Size, divide, is_nonnegative
from graphc.machines import CPU, Machine
from graphc.planning.blocks import elements_per_turn
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Gemm,
    Loop,
    Program,
    Ref,
    Step,
    touched,
    walk_steps,
)

FEW = 16  # rows: of fewer that are multiplied, no two threads get the 8 that go together

# A place, and how much of it a row has; None: each row reads all of it.
Touched: TypeAlias = "tuple[Ref, Size | None]"


def cut_loops(program: Program, machine: Machine = CPU) -> Program:
    """`program`, whose outermost loops by rows know how many rows they have."""
    if machine.product_columns == 0:  # no product is computed some rows at a time
        return program
    return replace(program, steps=_cut(program.steps, machine))


def turns_per_row(call: Call, rows: Size) -> Size:
    """The turns of the kernel's loop for each row."""
    (extent,) = call.extents
    turns = divide(extent, rows)
    assert turns is not None
    return turns


def _cut(steps: Sequence[Step], machine: Machine) -> list[Step]:
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Branch):
            step = replace(step, sides=[_cut(side, machine) for side in step.sides])
        elif isinstance(step, Loop):
            rows = None if step.extent is None else _rows(step, machine)
            step = replace(step, rows=rows)
            if rows is None:
                step = replace(step, body=_cut(step.body, machine))
        found.append(step)
    return found


def _rows(loop: Loop, machine: Machine) -> Size | None:
    """The number of rows that go through the loop by themselves, or None."""
    steps = list(walk_steps(loop.body))
    sizes = [s.m for s in steps if isinstance(s, Gemm)] or [
        s.extents[0] for s in steps if isinstance(s, Call) and s.extents
    ]
    candidates = dict.fromkeys(s for s in sizes if not (isinstance(s, int) and s < FEW))
    return next((rows for rows in candidates if _are_apart(loop, rows, machine)), None)


def _are_apart(loop: Loop, rows: Size, machine: Machine) -> bool:
    places: list[Touched] = []
    for step in loop.body:
        found = _step(step, rows, machine)
        if found is None:
            return False
        places += found
    written = {ref.storage for step in walk_steps(loop.body) for ref in touched(step)[1]}
    widths: dict[object, Size] = {}
    for ref, width in places:
        if ref.storage not in written:
            continue
        if width is None or width == 0 or widths.setdefault(ref.storage, width) != width:
            return False
        if divide(ref.offset, rows * width) is None:
            return False
    return True


def _step(step: Step, rows: Size, machine: Machine) -> list[Touched] | None:
    """What a step touches, by rows; None where it cannot be computed for some rows alone."""
    match step:
        case Call():
            return _call(step, rows)
        case Gemm():
            return _product(step, rows, machine)
        case Blocks(product=product, call=call):
            return _together(_step(part, rows, machine) for part in (product, call))
        case Copy(target=target, source=source, size=size):
            width = divide(size, rows)
            return None if width is None else [(target, width), (source, width)]
        case Loop(extent=extent, body=body) if extent is not None:
            return _together(_step(part, rows, machine) for part in body)
        case Branch(selector=selector, sides=sides):
            inside = _together(_step(part, rows, machine) for side in sides for part in side)
            return None if inside is None else [(selector, None), *inside]
        case _:
            return None


def _together(parts: Iterator[list[Touched] | None]) -> list[Touched] | None:
    found: list[Touched] = []
    for part in parts:
        if part is None:
            return None
        found += part
    return found


def _call(step: Call, rows: Size) -> list[Touched] | None:
    if step.work is None or len(step.extents) != 1 or step.sites:
        return None
    turns = divide(step.extents[0], rows)
    if turns is None or turns == 0:
        return None
    found: list[Touched] = []
    for buffer, ref in zip(step.kernel.buffers, step.buffers, strict=True):
        width = elements_per_turn(step.kernel, buffer)
        found.append((ref, None if width is None else width * turns))
    return found


def _product(step: Gemm, rows: Size, machine: Machine) -> list[Touched] | None:
    """A product of the rows by one matrix, which our own routine may compute."""
    a, b, c = step.a, step.b, step.c
    if step.taps or step.batch or step.epilogue or b.transposed or step.m != rows:
        return None
    if isinstance(step.n, int) and not machine.least_columns <= step.n <= machine.product_columns:
        return None
    if not is_nonnegative(c.leading - step.n):
        return None
    by_rows = not a.transposed and is_nonnegative(a.leading - step.k)
    return [(a.ref, a.leading if by_rows else None), (b.ref, None), (c.ref, c.leading)]
