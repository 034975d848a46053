"""Steps that treat the examples of a batch one by one: all run for one, then all for the next one.

Attention is a chain of products and kernels. Each writes a value for the whole batch, and the next
one reads it; where that is more than a cache holds, it comes from memory each time. But example `i`
of what such steps write depends on example `i` of what they read, and on what is there for all, as
weights are. So the chain becomes one `Examples` step: what its steps hand on to each other is in
cache, and has memory for one example only, in a frame that each thread has for itself. Threads take
some examples each through the whole chain, and meet once, at the end.

That is shown from the memory that steps touch, as in `strips.py`: each storage that the chain
writes is an array of as many parts as there are examples, and of each the steps for example `i`
touch part `i` only. Steps that stand between those of the chain come behind it, if the chain does
not touch what they write, nor write what they touch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from graphc.ir.dim import Size, divide, floordiv, is_nonnegative, named, product, total
from graphc.loops.grammar import (
    Buffer,
    For,
    Kernel,
    Load,
    Number,
    Store,
    Var,
    parallel_loop,
    statements,
    values,
)
from graphc.machines import CPU, Machine
from graphc.planning.blocks import elements_per_turn
from graphc.planning.program import (
    Blocks,
    Call,
    Examples,
    Gemm,
    Matrix,
    Program,
    Ref,
    Step,
    Storage,
    touched,
    walk_steps,
)

ROWS = 8  # of an example in a product of all rows, at least: what our own product computes at once
LEAST = 1 << 17  # bytes that a chain hands on in one example: for fewer it is not worth its code
SHORT = 1 << 18  # multiply-adds or scalar operations of one example, below which it is too little

Place: TypeAlias = Callable[[Ref, Size], Ref]  # where it is for one example, from how much each has


@dataclass(frozen=True)
class Touch:
    """What a step touches from a place on for one example: `reach` elements of the `width` that
    each example has there. `width` None: what all examples read."""

    ref: Ref
    width: Size | None
    reach: Size = 0


@dataclass(frozen=True)
class Cut:
    """A step that can be computed for one example alone: what it touches, and the step for one."""

    touches: tuple[Touch, ...]
    of_one: Callable[[Place], Step]
    work: Size


def cut_examples(program: Program, machine: Machine = CPU) -> Program:
    """`program` with chains of steps that treat examples one by one as `Examples` steps."""
    if machine.product_columns == 0:  # a library computes the products of a batch at once
        return program
    steps = list(program.steps)
    batches = [_gemm(s).batch for s in steps if isinstance(s, (Gemm, Blocks))]
    extents = dict.fromkeys(batch[0] for batch in batches if batch and batch[0] not in (0, 1))
    for extent in extents:
        entries = _joined([_Entry.of(step, extent) for step in steps], extent, machine)
        entries = [replace(e, cut=None) if _is_weighted(e.step) else e for e in entries]
        steps = [entry.step for entry in _joined(entries, extent, machine)]
    return replace(program, steps=steps)


@dataclass(frozen=True)
class _Entry:
    """A step of the program, its cut if it has one, and the storages that it and what is inside of
    it reads and writes; those `packed` are a product's own."""

    step: Step
    cut: Cut | None
    read: frozenset[Storage]
    written: frozenset[Storage]
    packed: frozenset[Storage] = frozenset()

    @classmethod
    def of(cls, step: Step, extent: Size) -> _Entry:
        inside = list(walk_steps([step]))
        parts = [touched(part) for part in inside]
        packed = frozenset(s.packed.storage for s in inside if isinstance(s, Gemm) and s.packed)
        read, written = (frozenset(r.storage for p in parts for r in p[side]) for side in (0, 1))
        return cls(step, _cut(step, extent), read, written - packed, packed)


def _joined(entries: list[_Entry], extent: Size, machine: Machine) -> list[_Entry]:
    """The steps, with those chains joined that pay."""
    start = 0
    while (chain := _Chain.of(entries, extent, start)) is not None:
        first = chain.places[0]
        if chain.pays(machine):
            number = sum(isinstance(e.step, Examples) for e in entries) + 1
            step = chain.joined(f"__example{number}")
            rest = [e for i, e in enumerate(entries) if i > first and i not in chain.places]
            entries = [*entries[:first], _Entry.of(step, extent), *rest]
            start = first + 1
        else:
            places = range(first, len(entries))
            start = next((i for i in places if i not in chain.places), len(entries))
    return entries


def _is_weighted(step: Step) -> bool:
    """Whether it is a product by a matrix that is read again for each example."""
    return isinstance(step, (Gemm, Blocks)) and not _gemm(step).batch


def _gemm(step: Gemm | Blocks) -> Gemm:
    return step.product if isinstance(step, Blocks) else step


class _Chain:
    """Steps of a program, at some places, that treat `extent` examples one by one."""

    def __init__(self, entries: Sequence[_Entry], extent: Size, places: Sequence[int]) -> None:
        self.extent, self.places = extent, places
        self.entries = [entries[i] for i in places]
        self.cuts = [entry.cut for entry in self.entries if entry.cut is not None]
        inside = {s for e in self.entries for s in (*e.read, *e.written)}
        chosen = set(places)
        for i, entry in enumerate(entries):
            if i not in chosen:
                inside -= entry.read
                inside -= entry.written
        self.handed = {s for s in inside if s.kind == "temp"}  # what only the chain touches
        self.packed = {s for e in self.entries for s in e.packed}

    @classmethod
    def of(cls, entries: Sequence[_Entry], extent: Size, start: int) -> _Chain | None:
        """The chain that begins behind `start`; None where no step has a cut."""
        found: list[int] = []
        read, written = set[Storage](), set[Storage]()  # by the steps that stand between
        whole, parted = set[Storage](), set[Storage]()  # not touched by parts, and written, by it
        for i in range(start, len(entries)):
            entry, cut = entries[i], entries[i].cut
            apart = not (entry.read & written or entry.written & read or entry.written & written)
            if cut is not None and apart:
                more = {t.ref.storage for t in cut.touches if not _is_part(t, extent)}
                kept = all(s.kind in ("temp", "output") for s in entry.written)
                if kept and not (whole | more) & (parted | entry.written):
                    found.append(i)
                    whole |= more
                    parted |= entry.written
                    continue
            if found:
                read |= entry.read
                written |= entry.written
        return cls(entries, extent, found) if found else None

    def pays(self, machine: Machine) -> bool:
        """Whether what the chain hands on is more than a cache holds, and more than all that is
        read or packed again for each example, and threads have enough to do in one. (What is handed
        on is written and read, so its bytes count twice.)"""
        handed = total(_bytes(s, self.extent) for s in self.handed)
        shared = {t.ref.storage for cut in self.cuts for t in cut.touches if t.width is None}
        again = total(_bytes(s, 1) for s in shared | self.packed)
        works = total(cut.work for cut in self.cuts)
        known = isinstance(handed, int) and isinstance(again, int) and isinstance(works, int)
        if not known or handed < LEAST or 2 * handed < again or works < SHORT * len(self.cuts):
            return False
        return not (isinstance(self.extent, int) and self.extent * handed <= machine.cached_bytes)

    def joined(self, counter: str) -> Examples:
        """The chain as one step."""
        example, frames = named(counter), dict[Storage, Storage]()
        for storage in self.handed:
            size = divide(storage.size, self.extent)
            assert size is not None
            frames[storage] = replace(storage, frame=True, size=size)
        for storage in self.packed:
            frames[storage] = replace(storage, frame=True)

        def place(ref: Ref, width: Size) -> Ref:
            frame = frames.get(ref.storage)
            return ref + width * example if frame is None else Ref(frame, ref.offset)

        return Examples(counter, self.extent, [cut.of_one(place) for cut in self.cuts])


def _is_part(touch: Touch, extent: Size) -> bool:
    """Whether it is inside the example's part of the storage."""
    ref, width = touch.ref, touch.width
    if width is None or divide(ref.storage.size, extent) != width:
        return False
    return is_nonnegative(ref.offset) and is_nonnegative(width - ref.offset - touch.reach)


def _bytes(storage: Storage, parts: Size) -> Size:
    return floordiv(storage.size, parts) * storage.dtype.itemsize


# -- one step --------------------------------------------------------------------------------------
def _cut(step: Step, extent: Size) -> Cut | None:
    match step:
        case Call():
            return _call(step, extent)
        case Gemm():
            return _product(step, extent)
        case Blocks(product=gemm, call=call, turns=turns):
            first, second = _product(gemm, extent), _call(call, extent)
            if first is None or second is None:
                return None

            def both(place: Place) -> Step:
                one, other = first.of_one(place), second.of_one(place)
                assert isinstance(one, Gemm)
                assert isinstance(other, Call)
                return Blocks(one, other, turns)

            return Cut((*first.touches, *second.touches), both, first.work + second.work)
        case _:
            return None


def _product(step: Gemm, extent: Size) -> Cut | None:
    """Some products of a batch, or some rows of a product by one matrix."""
    if step.taps or step.epilogue is not None:
        return None
    a, b, c = step.a, step.b, step.c
    widths: tuple[Size | None, Size | None, Size | None]
    if step.batch:
        if step.batch[0] != extent or c.batch[0] == 0:
            return None
        batch, m = step.batch[1:] or (1,), step.m
        widths = (_width(a), _width(b), c.batch[0])
    else:
        rows = divide(step.m, extent)
        if not isinstance(rows, int) or rows < ROWS or a.transposed:
            return None
        batch, m = (), rows
        widths = (rows * a.leading, None, rows * c.leading)
    matrices = [replace(x, batch=x.batch[len(x.batch) - len(batch) :]) for x in (a, b, c)]
    shapes = ((m, step.k), (step.k, step.n), (m, step.n))
    touches = tuple(
        Touch(x.ref, width, x.span(*shape, batch, ()))
        for x, width, shape in zip(matrices, widths, shapes, strict=True)
    )

    def of_one(place: Place) -> Gemm:
        places = [place(t.ref, 0 if t.width is None else t.width) for t in touches]
        x, y, z = (replace(x, ref=ref) for x, ref in zip(matrices, places, strict=True))
        packed = None if step.packed is None else place(step.packed, 0)
        return replace(step, a=x, b=y, c=z, m=m, batch=batch, packed=packed)

    return Cut(touches, of_one, m * step.n * step.k * product(batch))


def _width(matrix: Matrix) -> Size | None:
    """How far the matrices of two examples are apart; None where it is one."""
    first = matrix.batch[0]
    return None if first == 0 else first


def _call(step: Call, extent: Size) -> Cut | None:
    """Some turns of a kernel's loop."""
    if step.work is None or len(step.extents) != 1 or step.sites:
        return None
    turns, loop = divide(step.extents[0], extent), parallel_loop(step.kernel)
    if turns is None or turns == 0 or loop is None or _says(step.kernel, loop.var):
        return None
    touches = []
    for buffer, ref in zip(step.kernel.buffers, step.buffers, strict=True):
        width = elements_per_turn(step.kernel, buffer)
        if width is None and not _is_for_all(step, buffer, loop):
            return None
        whole = None if width is None else width * turns
        touches.append(Touch(ref, whole, 0 if whole is None else whole))
    widths = {id(t.ref): 0 if t.width is None else t.width for t in touches}
    work = floordiv(step.work, extent)

    def of_one(place: Place) -> Call:
        refs = tuple(place(ref, widths[id(ref)]) for ref in step.buffers)
        moved = dict(zip(step.buffers, refs, strict=True))
        written = tuple(moved[ref] for ref in step.written)
        return replace(step, buffers=refs, written=written, extents=(turns,), work=work)

    return Cut(tuple(touches), of_one, work)


def _says(kernel: Kernel, var: Var) -> bool:
    """Whether a kernel uses the number of a turn other than to find its elements."""
    for s in statements(kernel.body):
        if isinstance(s, Number) and any(v is var for v, _ in s.index.terms):
            return True
        if isinstance(s, For) and s.run is not None and s.run.number is var:
            return True
    return any(value is var for value in values(kernel.body))


def _is_for_all(step: Call, buffer: Buffer, loop: For) -> bool:
    """Whether each turn reads a buffer at the same places."""
    accesses = [s for s in statements(step.kernel.body) if isinstance(s, (Load, Store))]
    own = [s for s in accesses if s.buffer is buffer]
    return all(isinstance(s, Load) and s.index.coefficient(loop.var) == 0 for s in own)
