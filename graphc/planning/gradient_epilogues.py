"""What libraries do to a product for a gradient, beside what `epilogues.py` has.

    relu, there     a product that keeps what is positive stores a bit for each element, too
    relu, back      a product becomes zero where such a bit is not set
    bias            a product adds up the rows of its right operand, which it reads anyway

A library may refuse each of these when the program runs, for the sizes that there are, or mean
something else by it. So the kernel that does the same stays behind the product, and is left out
where the library did its work (`Call.spared`). What is the kernel's value otherwise is the
library's: the mask exactly, a sum but for roundings such as the product itself has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from graphc.ir.dim import Size, floordiv, substitute
from graphc.ir.dtype import float32, int64, uint8
from graphc.ir.shape import strides
from graphc.loops.grammar import (
    Affine,
    Buffer,
    Const,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Var,
    reads,
    statements,
)
from graphc.loops.nest import Sum, with_reductions
from graphc.loops.simplify import finish
from graphc.machines import Machine
from graphc.planning.alias import alias_in_place
from graphc.planning.epilogues import has_epilogues, is_whole, product_at
from graphc.planning.program import (
    Call,
    Epilogue,
    Gemm,
    Leave,
    Ref,
    Step,
    Storage,
    touched,
    walk_steps,
)

MASK_ROW = 128  # a row of bits is a multiple of so many


class _ColumnSum(NamedTuple):
    """A sum of a kernel that adds up the rows of `matrix`, which the kernel has read or written
    whole, of so many rows and columns."""

    found: Sum
    matrix: Buffer
    rows: Size
    columns: Size


class _Gate(NamedTuple):
    """All that a kernel does: it stores `value`, and zero where `gate` is not positive."""

    store: Store
    gate: Load
    value: Load


def take_up_gradients(
    steps: Sequence[Step], uses: Mapping[Storage, int], machine: Machine
) -> list[Step]:
    """The steps, with products that do kernels' work if their library has it."""
    found = list(steps)
    for call in [step for step in steps if isinstance(step, Call)]:
        found = _with_sums(found, call, uses, machine)
    for call in [step for step in found if isinstance(step, Call) and not step.spared]:
        found = _with_mask(found, call, uses) or found
    return found


# -- sums of columns -------------------------------------------------------------------------------
def _with_sums(
    steps: list[Step], call: Call, uses: Mapping[Storage, int], machine: Machine
) -> list[Step]:
    """The sum of columns of a kernel is the work of a product that reads the matrix; where there is
    none, and the rest may be a mask, of a kernel of its own."""
    total = next(_column_sums(call.kernel), None)
    if total is None:
        return steps
    refs = dict(zip(call.kernel.buffers, call.buffers, strict=True))
    matrix, sums = refs[total.matrix], refs[total.found.buffer]
    rest = _without(call, total, machine)
    alone = _alone(call, total, matrix, sums, machine)
    at = _index(steps, call)
    for number, step in enumerate(steps):
        if not isinstance(step, Gemm) or not _adds_up(step, matrix, total):
            continue
        order = _moved(steps, at, number, matrix, sums)
        if order is None:
            continue
        product = replace(step, epilogue=Epilogue(sums=sums))
        made: list[Step] = []
        for other in order:
            if other is call:
                made += [] if rest is None else [rest]
            elif other is step:
                made += [product, replace(alone, spared=True)]
            else:
                made.append(other)
        return made
    apart = [*steps[:at], *([] if rest is None else [rest]), alone, *steps[at + 1 :]]
    return steps if rest is None or _with_mask(apart, rest, uses) is None else apart


def _index(steps: Sequence[Step], wanted: Step) -> int:
    return next(i for i, step in enumerate(steps) if step is wanted)


def _adds_up(step: Gemm, matrix: Ref, total: _ColumnSum) -> bool:
    """Whether the product has the matrix, as it is, as its right operand."""
    b, sizes = step.b, (step.k, step.n)
    plain = step.epilogue is None and not step.batch and not step.taps and not b.transposed
    return plain and b.ref == matrix and (*sizes, b.leading) == (*total[2:], total.columns)


def _moved(steps: list[Step], at: int, product: int, matrix: Ref, sums: Ref) -> list[Step] | None:
    """The steps in an order in which the sums are there when the product is, and are read behind
    it; None if there is none."""
    first, last = sorted((at, product))
    between = steps[first + 1 : last]
    if any(isinstance(inner, Leave) for inner in walk_steps(between)):
        return None
    writes_matrix = any(matrix.storage in _touched([step])[1] for step in between)
    kept = sums.storage.kind in ("temp", "output")  # a product cannot be stopped
    if writes_matrix or not kept or sums.storage in set().union(*_touched([steps[product]])):
        return None
    late: list[Step] = []  # what reads the sums, and what needs that
    stay: list[Step] = []
    for step in between:
        meets = sums.storage in set().union(*_touched([step])) or _conflict(step, late)
        (late if meets else stay).append(step)
    if product < at:
        return None if late else steps
    if _conflict(steps[product], late):
        return None
    return [*steps[: at + 1], *stay, steps[product], *late, *steps[product + 1 :]]


def _touched(steps: Sequence[Step]) -> tuple[set[Storage], set[Storage]]:
    parts = [touched(step) for step in walk_steps(steps)]
    read, written = ({r.storage for part in parts for r in part[k]} for k in (0, 1))
    return read, written


def _conflict(step: Step, others: Sequence[Step]) -> bool:
    """Whether the step may not run before these."""
    (reads, writes), (their_reads, their_writes) = _touched([step]), _touched(others)
    return bool(writes & (their_reads | their_writes) or reads & their_writes)


def _column_sums(kernel: Kernel) -> Iterator[_ColumnSum]:
    nest = with_reductions(kernel)
    for total in [] if nest is None else nest.sums:
        made = _column_sum(kernel, total)
        if made is not None:
            yield made


def _column_sum(kernel: Kernel, total: Sum) -> _ColumnSum | None:
    if total.primitive != "add" or total.buffer.dtype is not float32:
        return None
    extents = {
        s.var: substitute(s.extent, kernel.sizes)
        for s in statements(kernel.body)
        if isinstance(s, For)
    }
    match total.index:
        case Affine(terms=((column, 1),), const=0) if column in extents:
            columns = extents[column]
        case _:
            return None
    bodies = (s.body for s in statements(kernel.body) if isinstance(s, For))
    body = next(b for b in bodies if any(s is total.parts[2] for s in b))
    for stmt in body:
        matches = isinstance(stmt, Store) and stmt.value is total.value
        loads = isinstance(stmt, Load) and stmt.var is total.value and stmt.guard is None
        if not (matches or loads) or not isinstance(stmt, (Load, Store)):
            continue
        steps = {var: substitute(size, kernel.sizes) for var, size in stmt.index.terms}
        row = next((var for var in steps if var is not column), None)
        if row is None or row not in extents or stmt.index.const != 0:
            continue
        whole = extents[row] * columns == stmt.buffer.size
        if whole and steps == {row: columns, column: 1} and total.buffer.size == columns:
            return _ColumnSum(total, stmt.buffer, extents[row], columns)
    return None


def _without(call: Call, total: _ColumnSum, machine: Machine) -> Call | None:
    """The kernel without the sum, or None if it does nothing then."""
    kernel, buffer = call.kernel, total.found.buffer
    body = _copied(kernel.body, kernel.sizes, {id(part) for part in total.found.parts}, buffer)
    body = _without_unused(body)
    if not any(isinstance(s, Store) for s in statements(body)):
        return None
    buffers = _touched_buffers(body)
    pairs = [pair for pair in zip(kernel.buffers, call.buffers, strict=True) if pair[0] in buffers]
    made = finish(Kernel(kernel.name, tuple(b for b, _ in pairs), body), machine)
    kept = {ref for _, ref in pairs}
    return replace(
        call,
        kernel=made,
        buffers=tuple(ref for _, ref in pairs),
        sizes=tuple(made.sizes.values()),
        written=tuple(ref for ref in call.written if ref in kept),
    )


def _touched_buffers(body: list[Stmt]) -> set[Buffer]:
    return {s.buffer for s in statements(body) if isinstance(s, (Load, Store))}


def _alone(call: Call, total: _ColumnSum, matrix: Ref, sums: Ref, machine: Machine) -> Call:
    """A kernel that does nothing but the sum."""
    buffer = total.found.buffer
    fill, row, column = (Var(name, int64) for name in ("fill", "row", "column"))
    read, old, new = (Var(name, float32) for name in ("x", "old", "new"))
    place = Affine(((column, 1),))
    inner: list[Stmt] = [
        Load(read, total.matrix, Affine(((row, total.columns), (column, 1)))),
        Load(old, buffer, place),
        Let(new, "add", (old, read)),
        Store(buffer, place, new),
    ]
    first: list[Stmt] = [Store(buffer, Affine(((fill, 1),)), Const(np.float32(0), float32))]
    body: list[Stmt] = [
        For(fill, total.columns, first),
        For(row, total.rows, [For(column, total.columns, inner)]),
    ]
    made = finish(Kernel("sums", (total.matrix, buffer), body), machine)
    sizes = tuple(made.sizes.values())
    return Call(made, "", (matrix, sums), sizes, (sums,), (), None, (), call.node)


def _copied(
    body: Sequence[Stmt], sizes: Mapping[str, Size], dropped: set[int], filled: Buffer
) -> list[Stmt]:
    """The statements over the program's dims, without what is dropped, and what fills a buffer."""

    def over(index: Affine) -> Affine:
        terms = tuple((var, substitute(size, sizes)) for var, size in index.terms)
        return Affine(terms, substitute(index.const, sizes))

    found: list[Stmt] = []
    for stmt in body:
        if id(stmt) in dropped or (isinstance(stmt, Store) and stmt.buffer is filled):
            continue
        if isinstance(stmt, For):
            inner = _copied(stmt.body, sizes, dropped, filled)
            if inner:
                extent = substitute(stmt.extent, sizes)
                found.append(replace(stmt, extent=extent, body=inner))
        elif isinstance(stmt, (Load, Store, Number)):
            found.append(replace(stmt, index=over(stmt.index)))
        else:
            found.append(replace(stmt))
    return found


def _without_unused(body: list[Stmt]) -> list[Stmt]:
    """The statements, without loads and scalars that nobody reads."""
    used = {id(value) for stmt in statements(body) for value in reads(stmt)}
    dead = {id(s) for s in statements(body) if isinstance(s, (Let, Load)) and id(s.var) not in used}
    return _without_unused(_pruned(body, dead)) if dead else body


def _pruned(body: Sequence[Stmt], dead: set[int]) -> list[Stmt]:
    kept = [s for s in body if id(s) not in dead]
    made = (replace(s, body=_pruned(s.body, dead)) if isinstance(s, For) else s for s in kept)
    return [s for s in made if not isinstance(s, For) or s.body]


# -- masks of relu ---------------------------------------------------------------------------------
def _with_mask(steps: Sequence[Step], call: Call, uses: Mapping[Storage, int]) -> list[Step] | None:
    """The steps, with the kernel's work done by the product before it; None where that is not what
    it does."""
    gate = _gate(call.kernel)
    if gate is None:
        return None
    refs = dict(zip(call.kernel.buffers, call.buffers, strict=True))
    result = refs[gate.store.buffer]
    before, behind = list(steps[: _index(steps, call)]), steps[_index(steps, call) + 1 :]
    source = _source(before, refs[gate.gate.buffer])
    found = _first(before, call, refs[gate.value.buffer], uses)
    if source is None or found is None:
        return None
    at, place = found
    positive, product = before[source], before[at]
    if not isinstance(positive, Gemm) or not isinstance(product, Gemm):
        return None
    same = (positive.m, positive.n) == (product.m, product.n) and not product.batch
    own = result.storage not in {r.storage for r in (product.a.ref, product.b.ref)}
    own = own and result.storage is not refs[gate.gate.buffer].storage
    kernel = alias_in_place(call.kernel, gate.store.buffer, gate.value.buffer)
    kept = result.storage.kind in ("temp", "output")  # a product cannot be stopped
    if not (same and own and kept) or kernel is None or not has_epilogues(product):
        return None
    marked = _keeping(positive)
    assert marked.epilogue is not None
    product = replace(
        product,
        c=replace(product.c, ref=result),
        epilogue=Epilogue(masked=marked.epilogue.keeps, node=call.node),
    )
    places = {**refs, gate.value.buffer: result}
    buffers = tuple(places[buffer] for buffer in kernel.buffers)
    done = replace(call, kernel=kernel, buffers=buffers, written=(result,), spared=True)
    before[source] = marked
    return [*before[:at], *before[at + 1 : place], product, done, *before[place:], *behind]


def _first(
    steps: Sequence[Step], call: Call, place: Ref, uses: Mapping[Storage, int]
) -> tuple[int, int] | None:
    """Which step is the product that is there, and before which one the kernel can be, with the
    product: right behind where that is, or where the kernel is."""
    gemms = (at for at, s in enumerate(steps) if isinstance(s, Gemm) and s.c.ref == place)
    at = next(gemms, None)
    if at is None or product_at(steps[: at + 1], place, uses) is None:
        return None
    between = steps[at + 1 :]
    leaves = any(isinstance(step, Leave) for step in walk_steps(between))
    if not leaves and not _conflict(call, between):
        return at, at + 1
    return None if product_at(steps, place, uses) is None else (at, len(steps))


def _source(steps: Sequence[Step], place: Ref) -> int | None:
    """Which step is the product that wrote all that is there, and keeps what is positive."""
    for at in reversed(range(len(steps))):
        if place.storage in _touched([steps[at]])[1]:
            step = steps[at]
            return at if isinstance(step, Gemm) and _marks(step, place) else None
    return None


def _marks(step: Gemm, place: Ref) -> bool:
    """Whether the product writes what is positive of one matrix there."""
    whole = step.c.ref == place and (step.c.leading, 1) == strides((step.m, step.n))
    plain = not step.batch and not step.taps and has_epilogues(step)
    return whole and plain and step.epilogue is not None and step.epilogue.positive


def _keeping(step: Gemm) -> Gemm:
    """The product, which stores its mask."""
    epilogue = step.epilogue
    assert epilogue is not None
    if epilogue.keeps is not None:
        return step
    row = floordiv(step.n + (MASK_ROW - 1), MASK_ROW) * (MASK_ROW // 8)
    mask = Storage("temp", 0, uint8, step.m * row)
    return replace(step, epilogue=replace(epilogue, keeps=Ref(mask)))


def _gate(kernel: Kernel) -> _Gate | None:
    """A kernel that does no more than that."""
    *before, store = [s for s in statements(kernel.body) if not isinstance(s, For)]
    made: dict[object, Stmt] = {s.var: s for s in before if isinstance(s, (Let, Load))}
    if not isinstance(store, Store) or len(made) < len(before) or len(made) != 4:
        return None
    match made.get(store.value):
        case Let(primitive="select", args=(chosen, value, Const(value=no))) if no == 0:
            match made.get(chosen), made.get(value):
                case (
                    Let(primitive="greater", args=(compared, Const(value=zero))),
                    Load(guard=None) as read,
                ) if zero == 0:
                    gate = made.get(compared)
                    if not isinstance(gate, Load) or gate.guard is not None:
                        return None
                    if is_whole(gate, store) and is_whole(read, store):
                        return _Gate(store, gate, read)
    return None
