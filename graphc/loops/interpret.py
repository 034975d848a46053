"""What a kernel means: each statement by NumPy, one element at a time. Slow and simple."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.ir.dim import evaluate
from graphc.ir.dtype import DType
from graphc.loops.builder import cast_target
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
    Buffer,
    Const,
    Declare,
    Fail,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Value,
    Var,
    parallel_loops,
)
from graphc.loops.primitives import PRIMITIVES

Array = np.ndarray[Any, Any]


def interpret_kernel(
    kernel: Kernel,
    memory: Mapping[Buffer, Array],
    dims: Mapping[str, int],
    count: Counter[str] | None = None,
) -> int:
    """Run `kernel` on flat arrays, one for each buffer, which it writes to. The word of failures:
    bit i is set if site i failed. `count` is told how often each primitive was computed,
    and as `accumulate` how often something was accumulated.

    Errors: `IndexError` for an element outside of its buffer, a negative one too, before anything
    is read or written there.
    """
    sizes = {name: evaluate(size, dims) for name, size in kernel.sizes.items()}
    ends = {buffer: evaluate(buffer.size, dims) for buffer in kernel.buffers}
    run = _Run(memory, ends, sizes, parallel_loops(kernel), dims)
    run.count = Counter() if count is None else count
    with np.errstate(all="ignore"):
        run.block(kernel.body)
    return run.failed


class _Run:
    def __init__(
        self,
        memory: Mapping[Buffer, Array],
        ends: Mapping[Buffer, int],
        sizes: Mapping[str, int],
        shared: tuple[For, ...],
        dims: Mapping[str, int],
    ) -> None:
        self.memory, self.ends, self.sizes = memory, ends, sizes
        self.shared, self.dims = shared, dims
        self.values: dict[Var, Any] = {}
        self.count: Counter[str] = Counter()
        self.failed = 0

    def block(self, body: list[Stmt]) -> None:
        for stmt in body:
            self.statement(stmt)

    def statement(self, stmt: Stmt) -> None:
        match stmt:
            case Let(var, primitive, args):
                self.count[primitive] += 1
                self.values[var] = apply(primitive, var.dtype, *map(self.value, args))
            case Number(var, index):
                self.values[var] = np.int64(self.index(index))
            case Load(var, buffer, index, guard):
                inside = guard is None or self.value(guard)
                zero = buffer.dtype.numpy.type(0)
                self.values[var] = self.load(buffer, index) if inside else zero
            case Store(buffer, index, value):
                self.memory[buffer][self.place(buffer, index)] = self.value(value)
            case Declare(var, value) | Assign(var, value):
                self.values[var] = self.value(value)
            case Accumulate(var, primitive, value):
                self.count["accumulate"] += 1
                self.values[var] = apply(primitive, var.dtype, self.values[var], self.value(value))
            case For(var, _, body):
                for i in self.turns(stmt):
                    self.values[var] = np.int64(i)
                    self.block(body)
            case Fail(condition, site):
                self.failed |= int(bool(self.value(condition))) << site

    def turns(self, loop: For) -> range:
        given = any(loop is shared for shared in self.shared)
        turns = range(evaluate(loop.extent, self.dims if given else self.sizes))
        if loop.run is None:
            return turns
        length = evaluate(loop.run.length, self.sizes)
        start = int(self.values[loop.run.number]) * length
        return turns[start : start + length]

    def value(self, value: Value) -> Any:
        return value.value if isinstance(value, Const) else self.values[value]

    def index(self, index: Affine) -> int:
        terms = (int(self.values[var]) * evaluate(size, self.sizes) for var, size in index.terms)
        return sum(terms) + evaluate(index.const, self.sizes)

    def load(self, buffer: Buffer, index: Affine) -> Any:
        return self.memory[buffer][self.place(buffer, index)]

    def place(self, buffer: Buffer, index: Affine) -> int:
        position, end = self.index(index), self.ends[buffer]
        if not 0 <= position < end:
            size = f"{end}" if end == buffer.size else f"{buffer.size} = {end}"
            raise IndexError(f"element {position} of {buffer.name}, which has {size}, at {index}")
        if buffer.part != 0:
            self.check_part(buffer, index, position)
        return position

    def check_part(self, buffer: Buffer, index: Affine, position: int) -> None:
        """An element of a buffer in parts is in the part of the turn that touches it."""
        loops = [loop for loop in self.shared if index.coefficient(loop.var) != 0]
        turns = [int(self.values[loop.var]) for loop in loops]
        part = evaluate(buffer.part, self.dims)
        if any(position // part != turn for turn in turns):
            raise IndexError(f"element {position} of {buffer.name} is in no part of turn {turns}")


def apply(primitive: str, result: DType, *values: Any) -> Any:
    """The value of a primitive, as a NumPy scalar of the dtype `result`."""
    if cast_target(primitive) is not None:
        return convert(values[0], result)
    return result.numpy.type(PRIMITIVES[primitive].numpy(*values))


def convert(value: Any, to: DType) -> Any:
    """NumPy's conversion; a float that an int cannot hold gives the nearest that it can, NaN 0."""
    if not (to.is_integer and value.dtype.kind == "f"):
        return value.astype(to.numpy)
    info = np.iinfo(to.numpy)
    if np.isnan(value):
        return to.numpy.type(0)
    if np.isinf(value):
        return to.numpy.type(info.max if value > 0 else info.min)
    return to.numpy.type(min(max(int(value), info.min), info.max))
