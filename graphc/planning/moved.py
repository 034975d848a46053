"""Kernels that store their results where the next kernel would only move them.

A `concat` of what one kernel computes, such as that of the gates' gradients of a recurrent network,
is a kernel of its own: its rows are longer than theirs. Where many threads share a kernel each one
is a launch; so the first one stores the rows where they belong, and the second one is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from graphc.ir.dim import Size, substitute
from graphc.ir.dtype import int64
from graphc.loops.grammar import (
    Affine,
    Buffer,
    For,
    Kernel,
    Load,
    Number,
    Stmt,
    Store,
    Var,
    statements,
    values,
)
from graphc.loops.nest import take_apart
from graphc.loops.parts import cut_parts
from graphc.loops.simplify import finish
from graphc.machines import Machine
from graphc.planning.program import Call, Ref, Step, Storage, touched, walk_steps


class _Move(NamedTuple):
    """A matrix of so many rows and columns goes to another buffer, its rows `step` apart there,
    the first one from `start` on."""

    rows: Size
    columns: Size
    step: Size
    start: Size


def store_where_moved(
    steps: Sequence[Step], uses: Mapping[Storage, int], machine: Machine
) -> list[Step]:
    """The steps, without kernels that only move what one kernel before them has stored."""
    found: list[Step] = []
    for step in steps:
        made = _taken(found, step, uses, machine) if isinstance(step, Call) else None
        found = [*found, step] if made is None else made
    return found


def _taken(
    steps: Sequence[Step], mover: Call, uses: Mapping[Storage, int], machine: Machine
) -> list[Step] | None:
    moves = _moves(mover.kernel)
    if moves is None:
        return None
    refs = dict(zip(mover.kernel.buffers, mover.buffers, strict=True))
    (target,) = mover.written
    sources = {refs[buffer]: move for buffer, move in moves.items()}
    at = _writer(steps, [ref.storage for ref in sources])
    maker = None if at is None else steps[at]
    if at is None or not isinstance(maker, Call) or not all(_is_free(r, uses) for r in sources):
        return None
    if target.storage in _storages(steps[at:]):
        return None
    out = next(b for b, ref in refs.items() if ref is target or ref == target)
    made = _moved(maker, sources, out, target, machine)
    return None if made is None else [*steps[:at], made, *steps[at + 1 :]]


def _writer(steps: Sequence[Step], wanted: Sequence[Storage]) -> int | None:
    """Which step writes all of these, the last one that writes any."""
    for at in reversed(range(len(steps))):
        written = {ref.storage for s in walk_steps([steps[at]]) for ref in touched(s)[1]}
        if not written.isdisjoint(wanted):
            return at if written.issuperset(wanted) else None
    return None


def _storages(steps: Sequence[Step]) -> set[Storage]:
    parts = [part for step in walk_steps(steps) for part in touched(step)]
    return {ref.storage for part in parts for ref in part}


def _is_free(ref: Ref, uses: Mapping[Storage, int]) -> bool:
    """Whether nobody touches it but two kernels, of which it is an operand, and one writes it."""
    return ref.storage.kind == "temp" and uses[ref.storage] == 3


# -- what only moves -------------------------------------------------------------------------------
def _moves(kernel: Kernel) -> dict[Buffer, _Move] | None:
    """What goes where in a kernel that does nothing but move whole matrices to one buffer."""
    found: dict[Buffer, _Move] = {}
    targets = {s.buffer for s in statements(kernel.body) if isinstance(s, Store)}
    loops = [s for s in kernel.body if isinstance(s, For)]
    if len(targets) != 1 or len(loops) != 1 or len(kernel.body) != 1 or len(kernel.buffers) < 3:
        return None
    body = cut_parts(Kernel(kernel.name, kernel.buffers, _over(kernel.body, kernel.sizes))).body
    match body:
        case [For(row, rows, [*parts])]:
            pass
        case _:
            return None
    for part in parts:
        match part:
            case For(column, columns, [Load(var, source, read, None), Store(_, written, value)]):
                steps = dict(written.terms)
                whole = dict(read.terms) == {row: columns, column: 1} and read.const == 0
                plain = steps.keys() == {row, column} and steps[column] == 1 and value is var
                if not whole or not plain or source.size != rows * columns or source in found:
                    return None
                found[source] = _Move(rows, columns, steps[row], written.const)
            case _:
                return None
    return found or None


def _over(
    body: Sequence[Stmt], sizes: Mapping[str, Size], split: Mapping[Var, Affine] | None = None
) -> list[Stmt]:
    """A copy of the statements over the program's dims, with places in place of some variables."""
    made: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, For):
            inner = _over(stmt.body, sizes, split)
            made.append(replace(stmt, extent=substitute(stmt.extent, sizes), body=inner))
        elif isinstance(stmt, (Load, Store, Number)):
            made.append(replace(stmt, index=_place(stmt.index, sizes, split or {})))
        else:
            made.append(replace(stmt))
    return made


def _place(index: Affine, sizes: Mapping[str, Size], split: Mapping[Var, Affine]) -> Affine:
    found = Affine((), substitute(index.const, sizes))
    for var, size in index.terms:
        step = substitute(size, sizes)
        for inner, factor in split.get(var, Affine(((var, 1),))).terms:
            found = found + Affine(((inner, factor * step),))
    return found


# -- who stores there ------------------------------------------------------------------------------
def _moved(
    call: Call, sources: Mapping[Ref, _Move], out: Buffer, target: Ref, machine: Machine
) -> Call | None:
    """The kernel, storing where the moves go; None if its loop is none over all elements."""
    kernel = call.kernel
    pairs = list(zip(kernel.buffers, call.buffers, strict=True))
    moves = {buffer: sources[ref] for buffer, ref in pairs if ref in sources}
    shapes = {(move.rows, move.columns) for move in moves.values()}
    if len(kernel.body) != 1 or not isinstance(loop := kernel.body[0], For) or len(shapes) != 1:
        return None
    ((rows, columns),) = shapes
    flat = not any(isinstance(s, For) for s in loop.body)
    over = substitute(loop.extent, kernel.sizes) == rows * columns
    if not flat or not over or loop.var in values(loop.body) or len(moves) != len(sources):
        return None
    row, column = Var("row", int64), Var("column", int64)
    body = _over(loop.body, kernel.sizes, {loop.var: Affine(((row, columns), (column, 1)))})
    whole = {row: columns, column: 1}
    for number, stmt in enumerate(body):
        if not isinstance(stmt, (Load, Store)) or stmt.buffer not in moves:
            continue
        if isinstance(stmt, Load) or dict(stmt.index.terms) != whole or stmt.index.const != 0:
            return None
        move = moves[stmt.buffer]
        body[number] = Store(out, Affine(((row, move.step), (column, 1)), move.start), stmt.value)
    kept = [(buffer, ref) for buffer, ref in pairs if buffer not in moves]
    kept.append((out, target))
    nest = [For(row, rows, [For(column, columns, body)])]
    made = finish(Kernel(kernel.name, tuple(b for b, _ in kept), list(nest)), machine)
    if take_apart(made).kind not in ("map", "row"):
        return None
    refs = tuple(ref for _, ref in kept)
    written = (*(ref for ref in call.written if ref not in sources), target)
    sizes = tuple(made.sizes.values())
    return replace(call, kernel=made, buffers=refs, sizes=sizes, written=written)
