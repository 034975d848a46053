"""The checker of memory plans: runs a program at given dims without computing anything.

It keeps, for every temporary that has been written, where it is; a write over any of its bytes ends
its life, and whoever reads it afterwards is the proof of a wrong plan. It knows nothing of how a
plan is made, nor of lifetimes as `memory.py` computes them. At the given dims it proves that

1. every temporary that is read holds what was written to it, not what another one left there;
2. every temporary lies inside the arena, at a multiple of `ALIGN`;
3. no kernel or product writes to memory that it also has under another name (they count on that);
4. a kernel that works in place reads each element before it writes it, and never after;
5. of a loop whose rows go through it by themselves, no two temporaries overlap;
6. what each thread has for itself is at the end of the arena, inside of the frame.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from graphc.errors import CompileError
from graphc.ir.dim import SIZE_HINT, evaluate
from graphc.loops.grammar import Buffer, For, Kernel, Load, Stmt, Store, statements
from graphc.planning.memory import ALIGN
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Examples,
    Gemm,
    Loop,
    Program,
    Ref,
    Step,
    Storage,
    touched,
    walk_steps,
    working_steps,
)

TURNS = 2  # of a loop: what the first leaves must be there for the second
SAMPLES = 3  # random dims, besides 0, 1 and the hints
SIZES = (2, 3, 5, 17, 64, 100, 513, 4096)


def check_memory(program: Program, dims: Mapping[str, int] | None = None) -> None:
    """Show that the plan is right at `dims`, or at the hints, 0, 1 and several random ones.

    Errors: `CompileError` that names the two temporaries, when they live, and the user's lines.
    """
    for step in walk_steps(program.steps):
        if isinstance(step, Call):
            _check_call(step)
        elif isinstance(step, Gemm):
            _check_product(step)
    for chosen in [dims] if dims is not None else _sampled(program.graph.dims):
        _Run(program, chosen).check()


def _sampled(names: Sequence[str]) -> list[dict[str, int]]:
    if not names:
        return [{}]
    found = [dict.fromkeys(names, size) for size in (SIZE_HINT, 0, 1)]
    rng = random.Random(0)
    return found + [{name: rng.choice(SIZES) for name in names} for _ in range(SAMPLES)]


# -- kernels ---------------------------------------------------------------------------------------
def _check_call(step: Call) -> None:
    written = {s.buffer for s in statements(step.kernel.body) if isinstance(s, Store)}
    pairs = list(zip(step.kernel.buffers, step.buffers, strict=True))
    for buffer, ref in pairs:
        if buffer not in written:
            continue
        for other, its in pairs:
            if other is not buffer and its.meets(other.size, ref, buffer.size):
                raise _error(
                    "a kernel writes to memory that it has under another name too",
                    f"{buffer.name} and {other.name} apart",
                    f"both in one {ref.storage.kind}",
                    step,
                )
        if is_read_first(step.kernel, buffer) and not _in_place(step.kernel.body, buffer):
            raise _error(
                "a kernel that works in place reads what it has written",
                f"each element of {buffer.name} read before, and only before, it is written",
                f"{buffer.dtype}[{buffer.size}]",
                step,
            )


def _check_product(step: Gemm) -> None:
    packed = None if step.packed is None else step.packed.storage
    size = step.c.span(step.m, step.n, step.batch, ())
    operands = ((step.a, step.m, step.k), (step.b, step.k, step.n))
    spans = [(x.ref, x.span(rows, n, step.batch, step.taps)) for x, rows, n in operands]
    over = any(step.c.ref.meets(size, ref, span) for ref, span in spans)
    if over or packed in (step.c.ref.storage, step.a.ref.storage, step.b.ref.storage):
        raise _error(
            "a product writes over what it reads",
            "its result and what it packs apart from its operands",
            f"both in one {step.c.ref.storage.kind}",
            step,
        )


def is_read_first(kernel: Kernel, buffer: Buffer) -> bool:
    """Whether the kernel reads from a buffer what was there before."""
    accesses = (s for s in statements(kernel.body) if isinstance(s, (Load, Store)))
    return isinstance(next((s for s in accesses if s.buffer is buffer), None), Load)


def _in_place(body: Sequence[Stmt], buffer: Buffer) -> bool:
    """Whether all accesses are loads and then one store, in one loop, at one index. A last loop of
    one turn is no loop: it runs when all else has."""
    if body and isinstance(body[-1], For) and body[-1].extent == 1:
        body = [*body[:-1], *body[-1].body]
    bodies = [body, *(s.body for s in statements(list(body)) if isinstance(s, For))]
    homes = [[s for s in b if isinstance(s, (Load, Store)) and s.buffer is buffer] for b in bodies]
    accesses = [found for found in homes if found]
    return (
        len(accesses) == 1
        and [isinstance(s, Store) for s in accesses[0]].index(True) == len(accesses[0]) - 1
        and all(s.index == accesses[0][-1].index for s in accesses[0])
    )


# -- a run -----------------------------------------------------------------------------------------
class _Run:
    """The memory of a program as it runs at some dims."""

    def __init__(self, program: Program, dims: Mapping[str, int]) -> None:
        self.program, self.dims = program, dims
        self.number = {id(s): i for i, s in enumerate(walk_steps(program.steps))}
        self.places: dict[Storage, tuple[int, int]] = {}  # from, to
        self.held: dict[Storage, Step] = {}  # what holds what was written to it, and by which step
        self.lost: dict[Storage, tuple[Step, Storage, Step]] = {}  # writer, who took it, when

    def check(self) -> None:
        try:
            arena, frame = (
                evaluate(s, self.dims) for s in (self.program.arena, self.program.frame)
            )
            for storage in self.program.temps:
                start = evaluate(storage.offset, self.dims)
                size = evaluate(storage.size * storage.dtype.itemsize, self.dims)
                if size < 0:
                    return  # no array has such dims
                self.places[storage] = (start, start + size)
        except ZeroDivisionError:
            return  # nor these
        for storage, (start, stop) in self.places.items():
            low, high = (arena - frame, arena) if storage.frame else (0, arena - frame)
            if start < low or stop > high or start % ALIGN:
                raise _error(
                    "a temporary is not in its place",
                    f"from {low} to {high}, at a multiple of {ALIGN}",
                    f"{storage.dtype}[{storage.size}] from {start} to {stop}",
                    self._user_of(storage),
                )
        self._run(self.program.steps)

    def _run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Blocks):  # the operands are read again after the kernel has written
                self._run([step.product, step.call] * TURNS)
                continue
            reads, writes = _accesses(step)
            for storage in reads:
                self._read(storage, step)
            for storage in writes:
                self._write(storage, step)
            if isinstance(step, (Loop, Examples)):
                for _ in range(TURNS):
                    self._run(step.body)
                if isinstance(step, Examples) or step.rows is not None:
                    self._keeps_all(step)
            elif isinstance(step, Branch):
                self._branch(step)

    def _keeps_all(self, loop: Loop | Examples) -> None:
        """What a loop by rows writes is all there at its end: other rows may be at any step. Those
        of examples have what is in a frame for themselves."""
        for step in working_steps(loop.body):
            for storage in (ref.storage for ref in touched(step)[1] if ref.storage.kind == "temp"):
                if not storage.frame:
                    self._read(storage, step)

    def _branch(self, step: Branch) -> None:
        """Any side may have run: what one of them overwrites is lost."""
        held, lost = dict(self.held), dict(self.lost)
        after: list[tuple[dict[Storage, Step], dict[Storage, tuple[Step, Storage, Step]]]] = []
        for side in step.sides:
            self.held, self.lost = dict(held), dict(lost)
            self._run(side)
            after.append((self.held, self.lost))
        self.lost = {s: why for _, found in after for s, why in found.items()}
        kept = {s: w for found, _ in after for s, w in found.items()}
        self.held = {s: w for s, w in kept.items() if s not in self.lost}

    def _read(self, storage: Storage, step: Step) -> None:
        if storage in self.held:
            return
        if storage not in self.lost:
            raise _error(
                "a temporary is read before it is written",
                "",
                f"{storage.dtype}[{storage.size}] at step {self.number[id(step)]}",
                step,
            )
        writer, other, when = self.lost[storage]
        until = f"still read at step {self.number[id(step)]}{_line(step)}"
        raise _error(
            f"two temporaries that are alive at once overlap (at {_dims(self.dims)})",
            f"{self._show(storage, writer)}, {until}",
            f"{self._show(other, when)}",
            writer,
        )

    def _write(self, storage: Storage, step: Step) -> None:
        start, stop = self.places[storage]
        for other in list(self.held):
            first, last = self.places[other]
            if other is not storage and first < stop and start < last:
                self.lost[other] = (self.held.pop(other), storage, step)
        self.lost.pop(storage, None)
        self.held[storage] = step

    def _show(self, storage: Storage, writer: Step) -> str:
        start, stop = self.places[storage]
        number = self.number[id(writer)]
        kind = f"{storage.dtype}[{storage.size}]"
        return f"{kind} in bytes {start} to {stop}, written at step {number}{_line(writer)}"

    def _user_of(self, storage: Storage) -> Step:
        steps = walk_steps(self.program.steps)
        return next(s for s in steps if any(r.storage is storage for rs in touched(s) for r in rs))


def _accesses(step: Step) -> tuple[list[Storage], list[Storage]]:
    """The temporaries that a step reads, and those that it writes."""
    reads: Sequence[Ref]
    reads, writes = touched(step)
    if isinstance(step, Call):
        pairs = zip(step.kernel.buffers, step.buffers, strict=True)
        reads = [ref for buffer, ref in pairs if is_read_first(step.kernel, buffer)]
    found = [
        dict.fromkeys(r.storage for r in refs if r.storage.kind == "temp")
        for refs in (reads, writes)
    ]
    return list(found[0]), list(found[1])


# -- text ------------------------------------------------------------------------------------------
def _error(message: str, expected: str, given: str, step: Step) -> CompileError:
    return CompileError(
        message,
        op="plan_memory",
        expected=expected,
        given=given,
        where=_line(step).strip(" ()"),
        hint="this is a defect of graphc",
    )


def _line(step: Step) -> str:
    origins = () if isinstance(step, (Copy, Blocks, Examples)) else step.node.origins
    return f" ({origins[0]})" if origins else ""


def _dims(dims: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {size}" for name, size in dims.items()) or "any sizes"
