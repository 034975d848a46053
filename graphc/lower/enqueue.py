"""The steps of a program as plain data, for who enqueues them on a device.

A reference is `[kind, index, offset]`: an input, output, variable or constant and a place in it, or
a temporary and a place in the arena; places and sizes are in bytes, as text over dims and counters
of loops.

    call    kernel, its number among what may fail, references, launch facts, whether it is left
            out where the product before did its work
    gemm    the three matrices, sizes, batch, taps, bits, epilogue or None: scale, what is
            added and the row or None, whether what is less than zero becomes zero; where
            `keeps`, `masked` and `sums` are, of these that there are
    copy    target, source, size
    host    site, operands, results, each with its shape
    loop    counter, extent or None, steps
    leave   condition
    branch  selector, sides, whether by truth
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.ir.dim import Size
from graphc.loops.grammar import may_fail
from graphc.lower.gpu_source import print_launches
from graphc.planning.program import (
    Branch,
    Call,
    Copy,
    Epilogue,
    Gemm,
    Host,
    Leave,
    Loop,
    Matrix,
    Program,
    Ref,
    Step,
    Storage,
)

Data = list[Any]


def enqueued(program: Program) -> dict[str, Any]:
    """The steps; what may fail: the sites of each call that may, in order; and where in the arena
    the temporaries begin and end."""
    writer = _Writer(program)
    steps = writer.steps(program.steps)
    temps = [[str(t.offset), str(t.offset + t.size * t.dtype.itemsize)] for t in writer.temps]
    return {"steps": steps, "failing": writer.failing, "temps": temps}


class _Writer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.constants = {storage: i for i, storage in enumerate(program.constants)}
        self.failing: list[list[int]] = []
        self.temps: dict[Storage, int] = {}

    def steps(self, steps: Sequence[Step]) -> list[Data]:
        return [self.step(step) for step in steps]

    def step(self, step: Step) -> Data:
        match step:
            case Call():
                return self.call(step)
            case Gemm(a=a, b=b, c=c):
                matrices = [self.matrix(x) for x in (a, b, c)]
                sizes = [str(size) for size in (step.m, step.n, step.k)]
                batch, taps = (list(map(str, extents)) for extents in (step.batch, step.taps))
                epilogue = self.epilogue(step.epilogue)
                return ["gemm", *matrices, sizes, batch, taps, step.dtype.bits, epilogue]
            case Copy(target=target, source=source, size=size):
                count = str(size * target.storage.dtype.itemsize)
                return ["copy", self.ref(target), self.ref(source), count]
            case Host(site=site, node=node):
                operands = [
                    [self.ref(r), list(map(str, t.shape))]
                    for r, t in zip(step.operands, node.inputs, strict=True)
                ]
                results = [
                    [self.ref(r), list(map(str, t.shape))]
                    for r, t in zip(step.results, node.outputs, strict=True)
                ]
                return ["host", site, operands, results]
            case Loop(counter=counter, extent=extent, body=body):
                turns = None if extent is None else str(extent)
                return ["loop", counter, turns, self.steps(body)]
            case Leave(condition=condition):
                return ["leave", self.ref(condition)]
            case Branch(selector=selector):
                sides = [self.steps(side) for side in step.sides]
                return ["branch", self.ref(selector), sides, step.is_by_truth]
        raise AssertionError(f"{type(step).__name__} is missing, which `print_driver` says")

    def call(self, step: Call) -> Data:
        kernel, number = step.kernel, -1
        if may_fail(kernel):
            number = len(self.failing)
            self.failing.append(list(step.sites))
        refs = [self.ref(ref) for ref in step.buffers]
        facts = print_launches(kernel).facts()
        return ["call", step.name, number, refs, facts, step.spared]

    def epilogue(self, epilogue: Epilogue | None) -> Data | None:
        if epilogue is None:
            return None
        added, row = (
            None if ref is None else self.ref(ref) for ref in (epilogue.added, epilogue.row)
        )
        offers = {name: getattr(epilogue, name) for name in ("keeps", "masked", "sums")}
        refs = {name: self.ref(ref) for name, ref in offers.items() if ref is not None}
        return [epilogue.scale, added, row, epilogue.positive, refs]

    def matrix(self, matrix: Matrix) -> Data:
        batch, taps = (list(map(str, steps)) for steps in (matrix.batch, matrix.taps))
        return [self.ref(matrix.ref), str(matrix.leading), matrix.transposed, batch, taps]

    def ref(self, ref: Ref) -> Data:
        storage, size = ref.storage, ref.storage.dtype.itemsize
        offset: Size = ref.offset * size
        if storage.kind == "temp":
            number = self.temps.setdefault(storage, len(self.temps))
            return ["temp", number, str(storage.offset + offset)]
        if storage.kind == "constant":
            return ["constant", self.constants[storage], str(offset)]
        return [storage.kind, storage.index, str(offset)]


def kernel_names(steps: Sequence[Data]) -> Mapping[str, None]:
    """The kernels that steps call, in order."""
    found: dict[str, None] = {}
    for step in steps:
        if step[0] == "call":
            found[step[1]] = None
        for inner in {"loop": step[3:4], "branch": step[2:3]}.get(step[0], ()):
            for part in [inner] if step[0] == "loop" else inner:
                found |= kernel_names(part)
    return found
