"""What a program is compiled for: a name, a machine's numbers, and the functions that make code.

`compile` finds a target by name and hands it down; nothing asks which one it is. Another target is
another `Target`, with files of its own in `graphc/lower/`. What a function needs is loaded when it
is called, so that a program from the cache loads no compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.machines import CPU, CUDA, Machine
from graphc.pipeline.options import Options

if TYPE_CHECKING:
    from graphc.loops.grammar import Kernel
    from graphc.planning.program import Program


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    gives_numbers                        whether kernels get the numbers of their arithmetic from a
                                         table of the program's, which is the fact `numbers` of its
                                         driver: then one program serves all that differ in these
    identity() -> parts                  what of this computer the code depends on, for the cache's
                                         key, which has the target's name besides
    prepare(kernels)                     loads what compiling them needs, so that what a process
                                         does once is a stage by itself
    prepare_program(program)             makes what a program needs beside its own code, and is made
                                         once for a machine; it runs while kernels are compiled
    print_kernel(kernel) -> source, identity   one kernel, as people see it, and what its code
                                         depends on, beside the types of its buffers
    compile_kernel(kernel, symbol) -> text   the same, not optimised
    compile_piece(text, symbol, inline) -> piece   its native code, optimised; `inline`: with all
                                         that it calls, so that loops vectorise
    compile_function(symbol) -> piece    one of `piece.functions`, what a piece calls otherwise
    write_piece(piece) -> manifest, data     as the cache keeps it; `read_piece` is its inverse, and
                                             gives None for what is none
    print_driver(program, options)       what runs the steps, as `.text`, with the `.table` and
                                         `.facts` that its manifest needs; of the options it heeds
                                         what its machine can do. Errors: `CompileError` for
                                         operations that it lacks
    link(driver, kernels, functions) -> linked   with `.objects`, the bytes to load and to keep;
                                         `.llvm_ir` and `.asm` for people; `kernels`: symbol and
                                         piece by name; `functions`: the pieces that they call
    load(graph, manifest, code, constants) -> caller   with `.call` and `.rows`, which run the
                                         program on arrays and give arrays of the host, and `.kept`,
                                         whose results stay where they are computed
    launches(kernel, dims) -> text       the shape of its launches at given sizes, for people; empty
                                         where a kernel is a function
    on(device) -> target                 the same for another device than its first one; None where
                                         there is one only
    """

    name: str
    machine: Machine
    gives_numbers: bool
    identity: Callable[[], Mapping[str, str]]
    prepare: Callable[[Sequence[Kernel]], None]
    prepare_program: Callable[[Program], None]
    print_kernel: Callable[[Kernel], tuple[str, str]]
    compile_kernel: Callable[[Kernel, str], str]
    compile_piece: Callable[[str, str, bool], Any]
    compile_function: Callable[[str], Any]
    write_piece: Callable[[Any], tuple[Mapping[str, Any], bytes]]
    read_piece: Callable[[Mapping[str, Any], bytes], Any]
    print_driver: Callable[[Program, Options], Any]
    link: Callable[[str, Mapping[str, tuple[str, Any]], Sequence[Any]], Any]
    load: Callable[[Graph, Any, bytes, bytes], Any]
    launches: Callable[[Kernel, Mapping[str, int]], str] = lambda kernel, dims: ""
    on: Callable[[int], Target] | None = None


# -- the processor that this runs on ---------------------------------------------------------------
def _identity() -> dict[str, str]:
    from graphc.lower.processor import cpu
    from graphc.runtime.blas import find_blas

    name, features = cpu()
    return {"cpu": name, "features": features, "blas": str(find_blas().integer_bits)}


def _prepare(kernels: Sequence[Kernel]) -> None:
    from graphc.lower.straight import is_straight

    if not all(map(is_straight, kernels)):
        from graphc.lower import numba_cpu

        numba_cpu.prepare()


def _prepare_program(program: Program) -> None:
    from graphc.lower.products import own_widths
    from graphc.runtime.product import prepare_product

    for bits in own_widths(program):
        prepare_product(bits)


def _print_kernel(kernel: Kernel) -> tuple[str, str]:
    from graphc.lower.numba_source import print_source

    return print_source(kernel)


def _compile_kernel(kernel: Kernel, name: str) -> str:
    from graphc.lower import straight

    if straight.is_straight(kernel):
        return straight.compile_kernel(kernel, name)
    from graphc.lower import numba_cpu

    return numba_cpu.compile_kernel(kernel, name)


def _compile_piece(text: str, symbol: str, inline: bool) -> Any:
    from graphc.lower.link import compile_piece

    return compile_piece(text, inline)


def _compile_function(symbol: str) -> Any:
    from graphc.lower.link import compile_function

    return compile_function(symbol)


def _write_piece(piece: Any) -> tuple[Mapping[str, Any], bytes]:
    manifest = {"data": len(piece.data), "functions": list(piece.functions)}
    return manifest, piece.data + piece.bitcode


def _read_piece(manifest: Mapping[str, Any], data: bytes) -> Any:
    from graphc.lower.link import Piece

    size, functions = manifest.get("data"), manifest.get("functions")
    if not isinstance(size, int) or not isinstance(functions, list):
        return None
    return Piece(data[:size], data[size:], tuple(functions))


def _print_driver(program: Program, options: Options) -> Any:
    from graphc.lower import subnormals
    from graphc.lower.driver import print_driver
    from graphc.runtime.blas import find_blas

    flush = options.flush_subnormals and subnormals.is_supported()
    bits = find_blas().integer_bits
    return print_driver(program, bits, flush, options.timed, options.announces)


def _link(driver: str, kernels: Mapping[str, tuple[str, Any]], functions: Sequence[Any]) -> Any:
    from graphc.lower.link import link

    return link(driver, kernels, functions)


def _load(graph: Graph, manifest: Any, code: bytes, constants: bytes) -> Any:
    from graphc.runtime.caller import Caller, aligned_constants
    from graphc.runtime.executable import Executable
    from graphc.runtime.sites import host_calls

    executable = Executable(manifest, code, host_calls(graph, manifest))
    arrays = aligned_constants(manifest["constants"], constants)
    return Caller(graph, graph.name, manifest, executable, arrays)


_CPU = Target(
    "cpu",
    CPU,
    True,
    _identity,
    _prepare,
    _prepare_program,
    _print_kernel,
    _compile_kernel,
    _compile_piece,
    _compile_function,
    _write_piece,
    _read_piece,
    _print_driver,
    _link,
    _load,
)


# -- NVIDIA's cards --------------------------------------------------------------------------------
_BY_CARD = ("identity", "compile_piece", "load")  # what depends on which card it is


def _cuda(device: int | None = None) -> Target:
    """Its functions are those of `runtime/cuda_target.py`, which is loaded when one is called."""

    def later(name: str) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            from graphc.runtime import cuda_target

            more = (device,) if name in _BY_CARD else ()
            return getattr(cuda_target, name)(*given, *more)

        return call

    return replace(Target("cuda", CUDA, False, *map(later, Target.__slots__[3:-1])), on=_cuda)


TARGETS = {target.name: target for target in (_CPU, _cuda())}


# -- by name ---------------------------------------------------------------------------------------
AUTO = "auto"  # a card where there is one, else the CPU


def find_target(name: str, device: int | None = None) -> Target:
    """The target of that name, for that device, or its first one.
    Errors: `ArgumentError` for one without devices."""
    if name == AUTO:
        from graphc.runtime.cuda_driver import usable

        cards = [card.index for card in usable()]
        name = "cuda" if (cards if device is None else device in cards) else "cpu"
        if name == "cpu":
            return _CPU
        device = cards[0] if device is None else device
    target = TARGETS[name]
    if device is None:
        return target
    if target.on is None:
        raise ArgumentError(
            "a device of a target that has no choice of devices",
            op="compile",
            expected="device=None",
            given=f"device={device}, target={name!r}",
        )
    return target.on(device)
