"""Target "cuda": the functions of its record in `target.py`.

A program is compiled, and can be looked at, on any computer; it runs where there is a card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np

from graphc import locks
from graphc.errors import CompileError, DeviceError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.loops.grammar import Kernel
from graphc.lower.gpu_source import print_launches
from graphc.machines import DEFAULT_ARCHITECTURE, PTX_VERSIONS
from graphc.pipeline.options import Options
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Gemm,
    Host,
    Leave,
    Loop,
    Program,
    Step,
    walk_steps,
)
from graphc.planning.show import print_program
from graphc.runtime import cuda_driver, cuda_memory
from graphc.runtime.cuda_loaded import LoadedProgram
from graphc.runtime.cuda_program import CudaProgram


class Piece(NamedTuple):
    """The PTX of a kernel, and the LLVM IR that it was made from."""

    ptx: str
    llvm_ir: str
    functions: tuple[str, ...] = ()


class Driver(NamedTuple):
    """What runs the steps: the program as it stands, whose steps the host enqueues."""

    text: str
    facts: Mapping[str, Any]
    table: int = 0


@dataclass(frozen=True)
class LinkedPtx:
    """The code of a program: a module of PTX for each kernel."""

    pieces: tuple[Piece, ...]

    @property
    def objects(self) -> tuple[bytes, ...]:
        return tuple(piece.ptx.encode() for piece in self.pieces)

    @property
    def ptx(self) -> str:
        return "\n".join(piece.ptx for piece in self.pieces)

    @property
    def asm(self) -> str:
        return self.ptx

    @property
    def llvm_ir(self) -> str:
        return "\n".join(piece.llvm_ir for piece in self.pieces)


def architecture(device: int | None) -> str:
    """That of a card; where there is none, one that all newer cards take."""
    try:
        found = cuda_driver.device(device).architecture
    except DeviceError:
        return DEFAULT_ARCHITECTURE
    known = [name for name in PTX_VERSIONS if _number(name) <= _number(found)]
    return found if found in known else max(known, key=_number)


def _number(architecture: str) -> int:
    return int(architecture.removeprefix("sm_"))


# -- compiling -------------------------------------------------------------------------------------
def identity(device: int | None) -> dict[str, str]:
    return {"architecture": architecture(device)}


def prepare(kernels: Sequence[Kernel]) -> None:
    from graphc.lower import nvptx

    nvptx.contexts()


def prepare_program(program: Program) -> None:
    """Nothing: what products need, the card's driver has."""


def print_kernel(kernel: Kernel) -> tuple[str, str]:
    source = print_launches(kernel).source
    return source, source


def compile_kernel(kernel: Kernel, symbol: str) -> str:
    from graphc.lower import nvptx

    return nvptx.join(nvptx.unoptimized(print_launches(kernel)))


def compile_piece(text: str, symbol: str, inline: bool, device: int | None) -> Piece:
    from graphc.lower import nvptx

    return Piece(*nvptx.compile_texts(nvptx.split(text), architecture(device)))


def compile_function(symbol: str) -> NoReturn:
    raise CompileError("a kernel for a card has all that it calls", op="cuda", given=symbol)


def write_piece(piece: Piece) -> tuple[Mapping[str, Any], bytes]:
    ptx = piece.ptx.encode()
    return {"ptx": len(ptx)}, ptx + piece.llvm_ir.encode()


def read_piece(manifest: Mapping[str, Any], data: bytes) -> Piece | None:
    size = manifest.get("ptx")
    return Piece(data[:size].decode(), data[size:].decode()) if isinstance(size, int) else None


def print_driver(program: Program, options: Options) -> Driver:
    """Cards keep numbers below the normal range, at no cost, so `flush_subnormals` is not heeded.
    Errors: `CompileError` that lists all operations that the target lacks."""
    missing = dict.fromkeys(_missing(program))
    if missing:
        raise CompileError(
            "target 'cuda' lacks some operations of the program",
            op="compile",
            expected="operations that it has",
            given="; ".join(missing),
            hint="compile it for target='cpu'",
        )
    from graphc.lower.enqueue import enqueued, kernel_names

    facts = enqueued(program) | {"tf32": options.tf32}
    return Driver(print_program(program), {**facts, "kernels": list(kernel_names(facts["steps"]))})


def _missing(program: Program) -> Iterator[str]:
    for step in walk_steps(program.steps):
        if not isinstance(step, (Call, Gemm, Copy, Host, Loop, Leave, Branch)):
            yield f"{type(step).__name__.lower()} of {_name(step)}{_at(step)}"


def _node(step: Step) -> Node | None:
    node: Node | None = getattr(step.product if isinstance(step, Blocks) else step, "node", None)
    return node


def _name(step: Step) -> str:
    node = _node(step)
    return node.op.name if node is not None else "steps"


def _at(step: Step) -> str:
    node = _node(step)
    return f" at {node.origins[0]}" if node is not None and node.origins else ""


def link(
    driver: str, kernels: Mapping[str, tuple[str, Any]], functions: Sequence[Any]
) -> LinkedPtx:
    return LinkedPtx(tuple(piece for _, piece in kernels.values()))


def launches(kernel: Kernel, dims: Mapping[str, int]) -> str:
    return print_launches(kernel).described(dims)


# -- running ---------------------------------------------------------------------------------------
def load(
    graph: Graph, manifest: Any, code: bytes, constants: bytes, device: int | None
) -> LazyProgram:
    ends = list(accumulate(manifest["objects"], initial=0))
    modules = [code[start:end] for start, end in pairwise(ends)]

    def loaded() -> CudaProgram:
        card = cuda_memory.card(device)
        return CudaProgram(LoadedProgram(graph, manifest, modules, constants, card))

    return LazyProgram(loaded)


class LazyProgram:
    """A program that is loaded onto a card when it is first called.
    Errors of calls: `DeviceError` where no card can run it, with what was found."""

    def __init__(self, load: Callable[[], CudaProgram]) -> None:
        self._load, self._lock = load, locks.private()
        self._made: CudaProgram | None = None

    def _program(self) -> CudaProgram:
        with self._lock:
            if self._made is None:
                self._made = self._load()
            return self._made

    def call(self, *arrays: Any) -> tuple[Any, ...]:
        return self._program().call(*arrays)

    def kept(self, *arrays: Any) -> tuple[Any, ...]:
        return self._program().kept(*arrays)

    def rows(self, *arrays: Any) -> np.ndarray[Any, Any]:
        return np.stack(self.call(*arrays))
