"""The launches of a kernel as plain Python: a simulator of blocks of threads.

Each thread is a generator that stops at barriers. An access outside of an array, a barrier that not
all threads of a block reach, and a race (two threads at one element, one of them writing, with no
barrier between) are errors: each would be a rare wrong digit on a card. Numbers that threads add up
are added in the order in which a card adds them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

from graphc.checking.source import stand_ins
from graphc.ir.dim import evaluate
from graphc.ir.dtype import DTYPES
from graphc.ir.parsing import parse, parse_expression
from graphc.loops.grammar import Buffer, Kernel
from graphc.loops.primitives import PRIMITIVES
from graphc.lower.gpu_source import print_launches
from graphc.lower.launches import Grid, Launch, Launches

Array = np.ndarray[Any, Any]
WARP = 32
UNWRITTEN = 0xA5  # the bytes of memory that nobody has written


class RaceError(Exception):
    """Two threads at one element without a barrier between, or threads at different barriers."""


# -- memory ----------------------------------------------------------------------------------------
class _Now:
    """The thread that runs."""

    block = thread = epoch = 0


_now = _Now()
_Stamp = tuple[int, int, int]


class Memory:
    """An array on the device. `writers` and `readers`: who touched an element last, as (block,
    thread, barriers passed); None where that is not looked at."""

    def __init__(self, name: str, array: Array, races: bool = True) -> None:
        self.name = name
        self.array = array.view(np.uint8) if array.dtype == np.bool_ else array
        self.races = races
        self.forget()

    def forget(self) -> None:
        """A launch begins: what others did is done."""
        self.writers: dict[int, _Stamp] = {}
        self.readers: dict[int, set[_Stamp]] = {}

    def __getitem__(self, position: Any) -> Any:
        place = self._inside(position)
        if self.races:
            self._meet(place, self.writers.get(place), "a read")
            self.readers.setdefault(place, set()).add((_now.block, _now.thread, _now.epoch))
        return self.array[place]

    def __setitem__(self, position: Any, value: Any) -> None:
        if np.asarray(value).dtype != self.array.dtype:
            raise TypeError(f"{value!r} is stored into memory of {self.array.dtype}")
        place = self._inside(position)
        if self.races:
            self._meet(place, self.writers.get(place), "a write")
            for stamp in self.readers.pop(place, ()):
                self._meet(place, stamp, "a write")
            self.writers[place] = _now.block, _now.thread, _now.epoch
        self.array[place] = value

    def _inside(self, position: Any) -> int:
        place = int(position)
        if not 0 <= place < self.array.size:
            raise IndexError(f"element {place} of {self.name}, which has {self.array.size}")
        return place

    def _meet(self, place: int, other: _Stamp | None, what: str) -> None:
        if other is None or other[:2] == (_now.block, _now.thread):
            return
        if other[0] != _now.block or other[2] == _now.epoch:
            raise RaceError(
                f"{what} of element {place} of {self.name} by thread {_now.thread} of block "
                f"{_now.block} meets thread {other[1]} of block {other[0]}, with no barrier between"
            )


# -- what a thread sees ----------------------------------------------------------------------------
class _Index:
    def __init__(self, x: int) -> None:
        self.x = np.int64(x)


class _Cuda:
    """What the name `cuda` stands for in one thread. `shared`: what threads of a block exchange."""

    def __init__(self, block: int, thread: int, blocks: int, threads: int) -> None:
        self.blockIdx, self.threadIdx = _Index(block), _Index(thread)
        self.gridDim, self.blockDim = _Index(blocks), _Index(threads)
        self.shared: dict[int, Any] = {}
        self.atomic = self

    def grid(self, rank: int) -> Any:
        return self.blockIdx.x * self.blockDim.x + self.threadIdx.x

    def gridsize(self, rank: int) -> Any:
        return self.gridDim.x * self.blockDim.x

    def or_(self, memory: Memory, index: int, value: Any) -> None:
        memory.array[index] |= value


def _halves(step: Callable[[Any, Any], Any], values: list[Any]) -> Any:
    while len(values) > 1:
        half = len(values) // 2
        values = [step(values[i], values[i + half]) for i in range(half)]
    return values[0]


def _collective(across: bool, step: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """What a group of threads, or those of a column, add up: each thread gets the result."""

    def run(site: int, cuda: _Cuda, value: Any, width: Any) -> Generator[Any, None, Any]:
        thread, threads, wide = int(cuda.threadIdx.x), int(cuda.blockDim.x), int(width)
        cuda.shared[thread] = value
        yield site, wide
        if across:
            values = [cuda.shared[i] for i in range(thread % wide, threads, wide)]
        else:
            start = thread - thread % wide
            lanes = [cuda.shared[i] for i in range(start, start + wide)]
            warps = [lanes[i : i + WARP] for i in range(0, wide, WARP)]
            values = [_halves(step, warp) for warp in warps]
        result = _halves(step, values)
        yield -site, wide
        return result

    return run


def _ballot(site: int, cuda: _Cuda, flag: Any) -> Generator[Any, None, Any]:
    """A bit for each thread of the warp: whether its flag is set."""
    thread, threads = int(cuda.threadIdx.x), int(cuda.blockDim.x)
    cuda.shared[thread] = bool(flag)
    yield site, WARP
    start = thread - thread % WARP
    bits = sum(cuda.shared[i] << (i - start) for i in range(start, min(start + WARP, threads)))
    yield -site, WARP
    return np.int64(bits)


def first_bit(flags: Any) -> Any:
    """The number of the lowest bit that is set."""
    bits = int(flags)
    return np.int64((bits & -bits).bit_length() - 1)


def _lost(total: Any, before: Any, added: Any) -> Any:
    error = (total - before) - added
    return error if np.isfinite(error) else error.dtype.type(0)


class _Generators(ast.NodeTransformer):
    """A launch as a generator: collectives are `yield from`, and `cuda` is an argument."""

    waits = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.args.args.insert(0, ast.arg("cuda"))
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and re.match(r"(group|column)_|ballot$", node.func.id):
            self.waits = True
            node.args[:0] = [ast.Constant(node.lineno), ast.Name("cuda", ast.Load())]
            return ast.YieldFrom(node)
        if ast.unparse(node) == "cuda.syncthreads()":
            self.waits = True
            return ast.Yield(parse_expression(f"({node.lineno}, 0)"))
        return node


@lru_cache(maxsize=1)
def _scope() -> dict[str, Any]:
    scope = stand_ins() | {"lost": _lost, "ballot": _ballot, "first_bit": first_bit}
    for name, primitive in PRIMITIVES.items():
        for dtype in DTYPES if primitive.reorders else ():
            scope[f"group_{name}_{dtype.short}"] = _collective(False, scope[name])
            scope[f"column_{name}_{dtype.short}"] = _collective(True, scope[name])
    return scope


@lru_cache(maxsize=1000)
def _compiled(source: str) -> tuple[CodeType, bool]:
    changer = _Generators()
    tree = ast.fix_missing_locations(changer.visit(parse(source)))
    return compile(tree, "<launch>", "exec"), changer.waits


# -- running ---------------------------------------------------------------------------------------
class Simulator:
    """Runs launches on arrays of this process, with blocks of so many threads."""

    def __init__(self, threads: int = 64, races: bool = True) -> None:
        self.threads, self.races = threads, races

    def run(self, launch: Launch, blocks: int, arguments: Sequence[Any]) -> None:
        """Errors: `IndexError` for an element outside of its array, `RaceError`."""
        code, waits = _compiled(launch.source)
        scope = dict(_scope())
        exec(code, scope)
        function = scope[launch.name]
        for argument in arguments:
            if isinstance(argument, Memory):
                argument.forget()
        for block in range(blocks):
            views = [_Cuda(block, t, blocks, self.threads) for t in range(self.threads)]
            _now.block, _now.epoch = block, 0
            if waits:
                for view in views:
                    view.shared = views[0].shared
                _together([function(view, *arguments) for view in views])
                continue
            for _now.thread, view in enumerate(views):
                function(view, *arguments)


def _together(running: Sequence[Iterator[Any]]) -> None:
    """All threads of a block, from one barrier to the next."""
    while True:
        reached = []
        for _now.thread, thread in enumerate(running):
            reached.append(next(thread, None))
        if any(r != reached[0] for r in reached):
            raise RaceError(f"threads of one block wait at different barriers: {set(reached)}")
        if reached[0] is None:
            return
        _now.epoch += 1


def run_launches(
    launches: Launches,
    machine: Any,
    memory: Mapping[Buffer, Array],
    dims: Mapping[str, int],
    aligned: bool = True,
) -> int:
    """Run the launches of a kernel by a `Simulator` or something like it, on flat arrays, one for
    each buffer: those for arrays that are `aligned`, or that begin anywhere. The word of failures.
    """
    assert launches.kernel is not None
    grid, threads = launches.grid(dims, machine.threads), machine.threads
    values: dict[str, Any] = {
        f"b{i}": Memory(f"b{i}", memory[buffer], machine.races)
        for i, buffer in enumerate(launches.kernel.buffers)
    }
    values |= {name: np.int64(evaluate(size, dims)) for name, size in launches.sizes.items()}
    for room in launches.rooms:
        array = np.empty(room.elements(grid, dims), room.dtype.numpy)
        array.view(np.uint8)[...] = UNWRITTEN
        values[room.name] = Memory(room.name, array, machine.races)
    values["failures"] = Memory("failures", np.zeros(1, np.int64), False)
    values |= _numbers(grid)
    arguments = [values[name] for name in launches.parameters]
    with np.errstate(all="ignore"):
        for launch in launches.chosen(aligned, grid):
            machine.run(launch, launches.blocks(launch, grid, dims, threads), arguments)
    return int(values["failures"].array[0])


def _numbers(grid: Grid) -> dict[str, Any]:
    named = {"shift": grid.shift, "groups": grid.groups, "blocks": grid.blocks}
    return {name: np.int64(value) for name, value in named.items()}


def simulate(kernel: Kernel, memory: Mapping[Buffer, Array], dims: Mapping[str, int]) -> int:
    """The kernel as its launches, simulated: as `interpret_kernel`."""
    return run_launches(print_launches(kernel), Simulator(), memory, dims)
