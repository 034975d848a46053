"""Launches under Numba's own `@cuda.jit`, in its simulator, for `test_numba_cuda.py`: a process
with NUMBA_ENABLE_CUDASIM=1, which has to be set before Numba is imported.

    NUMBA_ENABLE_CUDASIM=1 python -m tests.lower.numba_simulator

What threads add up together is written here with `cuda.shared` and `cuda.syncthreads` alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import cuda

from graphc.checking.kernels import regions_of
from graphc.checking.simulator import Memory, Simulator, first_bit, run_launches
from graphc.checking.source import stand_ins
from graphc.fusion.kernel import build_kernel
from graphc.ir.dim import evaluate
from graphc.lower.gpu_source import print_launches
from graphc.lower.launches import Launch
from graphc.machines import CUDA
from tests.properties import launches as programs

THREADS, WARP = 64, 32
CASES = (
    (programs.cross_entropy, 5, 7),
    (programs.layer_norm, 3, 40),
    (programs.column_sums, 9, 5),
    (programs.embedding, 6, 3),
    (programs.chain, 70, 1),
)


def _halves(step: Callable[[Any, Any], Any], values: list[Any]) -> Any:
    while len(values) > 1:
        half = len(values) // 2
        values = [step(values[i], values[i + half]) for i in range(half)]
    return values[0]


def _collective(step: Callable[[Any, Any], Any], across: bool) -> Any:
    @cuda.jit(device=True)  # type: ignore[untyped-decorator]
    def together(value: Any, width: Any) -> Any:
        kept = cuda.shared.array(THREADS, value.dtype)
        thread, wide = cuda.threadIdx.x, int(width)
        kept[thread] = value
        cuda.syncthreads()
        if across:
            values = [kept[i] for i in range(thread % wide, THREADS, wide)]
        else:
            start = thread - thread % wide
            lanes = [kept[i] for i in range(start, start + wide)]
            warps = [lanes[i : i + WARP] for i in range(0, wide, WARP)]
            values = [_halves(step, warp) for warp in warps]
        result = _halves(step, values)
        cuda.syncthreads()
        return result

    return together


@cuda.jit(device=True)  # type: ignore[untyped-decorator]
def _ballot(flag: Any) -> Any:
    kept = cuda.shared.array(THREADS, np.int64)
    thread = cuda.threadIdx.x
    kept[thread] = bool(flag)
    cuda.syncthreads()
    start = thread - thread % WARP
    bits = sum(int(kept[i]) << (i - start) for i in range(start, start + WARP))
    cuda.syncthreads()
    return np.int64(bits)


def _lost(total: Any, before: Any, added: Any) -> Any:
    error = (total - before) - added
    return error if np.isfinite(error) else error.dtype.type(0)


class Numba:
    """As `Simulator`: blocks of so many threads, by Numba."""

    threads, races = THREADS, False

    def __init__(self) -> None:
        self.scope = stand_ins() | {"lost": _lost, "cuda": cuda}
        self.scope |= {"ballot": _ballot, "first_bit": first_bit}
        for name in ("add", "maximum", "minimum"):
            for across, kind in ((False, "group"), (True, "column")):
                self.scope[f"{kind}_{name}_f32"] = _collective(self.scope[name], across)

    def run(self, launch: Launch, blocks: int, arguments: Sequence[Any]) -> None:
        exec(launch.source, self.scope)
        kernel = cuda.jit(self.scope[launch.name])
        kernel[blocks, THREADS](*(a.array if isinstance(a, Memory) else a for a in arguments))


def differing(program: programs.Program, n: int, m: int) -> int:
    """How many buffers of a program's kernel have other bits than graphc's simulator gives."""
    graph = program()
    (region,) = regions_of(programs.optimised(graph), programs.arrays_at(graph, n, m))
    built = build_kernel(**region.node.attrs, machine=CUDA)
    found = []
    for machine in (Simulator(THREADS), Numba()):
        memory = {
            buffer: np.zeros(evaluate(buffer.size, region.dims), buffer.dtype.numpy)
            for buffer in built.kernel.buffers
        }
        for buffer, array in zip(built.inputs, region.operands, strict=True):
            memory[buffer][...] = np.ravel(array)
        run_launches(print_launches(built.kernel), machine, memory, region.dims)
        found.append(memory)
    ours, theirs = found
    return sum(not np.array_equal(ours[b].view(np.uint8), theirs[b].view(np.uint8)) for b in ours)


if __name__ == "__main__":
    for program, n, m in CASES:
        sys.stdout.write(f"{program.__name__} {differing(program, n, m)}\n")
