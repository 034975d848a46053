"""What a program costs: operations, bytes moved and peak memory, as formulas in its dims.

FLOPs of a kernel are those of the ops in it, by `Op.cost` (an addition is 1, an `exp` 12); those of
a product of [m, k] and [k, n] are 2*m*n*k. Bytes are those of the tensors that a step reads and of
those that it writes, each once: what caches save and what a kernel reads again is not in them. A
loop costs its body times its turns, a branch the more expensive of its sides. How many turns a
`while_loop` takes only its data tell, so that they are further dims, `turns1`, `turns2`, ... in the
order of the loops; the condition is tested once more. Peak memory is the arena and the outputs;
inputs, variables and constants are there before the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import count
from typing import Any, NamedTuple

import sympy as sp

from graphc.errors import ArgumentError
from graphc.fusion.views import strided_view
from graphc.ir.dim import Size, evaluate, maximum, named, names, size_hint, total
from graphc.ir.node import Node, Tensor
from graphc.machines import Speed
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Examples,
    Gemm,
    Leave,
    Loop,
    Program,
    Step,
)
from graphc.planning.show import columns
from graphc.planning.work import bytes_of, operations
from graphc.shown import Shown
from graphc.symbolic.dims import readable, shortest
from graphc.symbolic.recognize import is_convolution

LARGEST = 1 << 40  # the largest size of which it is asked whether operations take the time


class Figures(NamedTuple):
    """The numbers of a cost at given dims."""

    flops: int
    bytes: int
    peak_bytes: int

    @property
    def intensity(self) -> float:
        """Operations for each byte that is read or written."""
        return self.flops / self.bytes if self.bytes else 0.0


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step of a program, loops around it included. `kind` is kernel, product, copy or host;
    `launches` is what a card runs for a kernel, at typical sizes."""

    name: str
    kind: str
    flops: Size
    bytes_read: Size
    bytes_written: Size
    line: str
    launches: str = ""

    @property
    def bytes(self) -> Size:
        """What it reads and what it writes."""
        return self.bytes_read + self.bytes_written


@dataclass(frozen=True, repr=False)
class Cost:
    """The cost of a program; `.flops`, `.bytes`, `.peak_bytes` and `.intensity` (operations for a
    byte) are SymPy expressions, in the shorter of the forms that sums and products have.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n", 8))
    >>> cost = gc.compile([x], gc.tanh(x) + 1).cost()
    >>> cost.flops, cost.bytes, cost.intensity, cost.at(n=2)
    (136*n, 64*n, 17/8, Figures(flops=272, bytes=128, peak_bytes=64))
    """

    steps: tuple[StepCost, ...]
    sizes: tuple[Size, Size, Size]  # flops, bytes and peak bytes as sizes
    turns: tuple[tuple[str, str], ...] = ()  # the dims of loops that only data end; their lines

    @cached_property
    def flops(self) -> Any:
        """Scalar operations of one call."""
        return readable(self.sizes[0])

    @cached_property
    def bytes(self) -> Any:
        """Bytes that one call reads and writes."""
        return readable(self.sizes[1])

    @cached_property
    def peak_bytes(self) -> Any:
        """Bytes that one call allocates: the arena and the outputs."""
        return readable(self.sizes[2])

    @cached_property
    def intensity(self) -> Any:
        """Operations for each byte that is read or written; 0 where there are no bytes."""
        return shortest(self.flops / self.bytes) if self.bytes != 0 else sp.Integer(0)

    def at(self, **dims: int) -> Figures:
        """The numbers at these sizes. Errors: `ArgumentError` if a dim is missing or unknown."""
        needed = set().union(*(names(s) for s in self.sizes))
        if not needed <= dims.keys():
            raise ArgumentError(
                "a dim has no size",
                op="cost.at",
                expected=", ".join(sorted(needed)),
                given=", ".join(sorted(dims)) or "none",
            )
        return Figures(*(evaluate(s, dims) for s in self.sizes))

    def compute_bound(self, machine: Speed, **dims: int) -> int | None:
        """The size, of the one dim that `dims` leaves open, from which on operations and not bytes
        take the time on a machine (`gc.machine()`): where the intensity has reached its balance.
        None where that is never so.

        Errors: `ArgumentError` unless one dim is open.

        >>> import graphc as gc
        >>> x, y = gc.placeholder("x", ("n", "n")), gc.placeholder("y", ("n", "n"))
        >>> cost = gc.compile([x, y], x @ y).cost()
        >>> cost.intensity, cost.compute_bound(Speed(1e11, 1e10, 4e10))
        (n/6, 60)
        """
        flops, moved, _ = self.sizes
        needed = names(flops) | names(moved)
        free = sorted(needed - dims.keys())
        if len(free) != 1:
            raise ArgumentError(
                "one size is solved for",
                op="cost.compute_bound",
                expected=f"sizes for all but one of {', '.join(sorted(needed)) or 'no dims'}",
                given=", ".join(sorted(dims)) or "none",
                hint="" if free else "cost.at().intensity and machine.balance tell at once",
            )

        def is_bound(size: int) -> bool:
            at = {**dims, free[0]: size}
            return evaluate(flops, at) >= machine.balance * evaluate(moved, at)

        if not is_bound(LARGEST):
            return None
        high = LARGEST
        while high > 1 and is_bound(high // 2):
            high //= 2
        low = high // 2  # where it is not, or 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_bound(middle) else (middle, high)
        return high

    def table(self) -> str:
        """A line for each step, and one for all."""
        head: tuple[str, ...] = ("step", "kind", "flops", "bytes read", "bytes written", "line")
        rows: list[tuple[str, ...]] = [
            (
                s.name,
                s.kind,
                *(str(readable(size)) for size in (s.flops, s.bytes_read, s.bytes_written)),
                s.line,
            )
            for s in self.steps
        ]
        if any(s.launches for s in self.steps):
            head = (*head, "launches")
            rows = [(*row, s.launches) for row, s in zip(rows, self.steps, strict=True)]
        lines = columns([head, *rows])
        lines += [
            f"{name}: the turns of a while loop, which only its data tell  {line}".rstrip()
            for name, line in self.turns
        ]
        lines += [f"flops: {self.flops}", f"bytes: {self.bytes}", f"peak bytes: {self.peak_bytes}"]
        return Shown("\n".join([*lines, f"flops per byte: {self.intensity}"]))

    __str__ = __repr__ = table


def program_cost(program: Program, launches: Callable[[Call], str] = lambda _: "") -> Cost:
    """The cost of a program that has its memory plan. `launches` says what a card runs for a call
    of a kernel."""
    found: list[StepCost] = []
    turns: dict[str, str] = {}
    free = (name for i in count(1) if (name := f"turns{i}") not in program.graph.dims)

    def unknown(loop: Loop) -> Size:
        name = next(free)
        turns[name] = str(loop.node.origins[0]) if loop.node.origins else ""
        return named(name)

    flops, moved = _sum(program.steps, 1, found, unknown, launches)
    outputs = total(s.size * s.dtype.itemsize for s in program.outputs)
    sizes = flops, moved, program.arena + outputs
    return Cost(tuple(found), sizes, tuple(turns.items()))


def _sum(
    steps: Sequence[Step],
    turns: Size,
    found: list[StepCost],
    unknown: Callable[[Loop], Size],
    launches: Callable[[Call], str],
) -> tuple[Size, Size]:
    """The operations and bytes of steps that run `turns` times; each step is added to `found`.
    `unknown` gives the turns of loops that only their data end."""
    flops: Size = 0
    moved: Size = 0
    for step in steps:
        if isinstance(step, Loop) and step.extent is None:
            extent, (test, body) = unknown(step), _halves(step.body)
            tested = _sum(test, turns * (extent + 1), found, unknown, launches)
            ran = _sum(body, turns * extent, found, unknown, launches)
            more = tested[0] + ran[0], tested[1] + ran[1]
        elif isinstance(step, Loop) and step.extent is not None:
            more = _sum(step.body, turns * step.extent, found, unknown, launches)
        elif isinstance(step, Examples):  # a node is of all of them
            more = _sum(step.body, turns, found, unknown, launches)
        elif isinstance(step, Blocks):
            more = _sum((step.product, step.call), turns, found, unknown, launches)
        elif isinstance(step, Branch):
            sides = [_sum(side, turns, found, unknown, launches) for side in step.sides]
            more = tuple(reduce(maximum, figures) for figures in zip(*sides, strict=True))
        elif isinstance(step, Leave) or (isinstance(step, Call) and step.spared):
            continue  # of a call that may be left out the product has the cost
        else:
            cost = step_cost(step, turns, launches)
            found.append(cost)
            more = cost.flops, cost.bytes
        flops, moved = flops + more[0], moved + more[1]
    return flops, moved


def _halves(body: Sequence[Step]) -> tuple[Sequence[Step], Sequence[Step]]:
    """What runs before a loop is left, and after."""
    at = next(i for i, step in enumerate(body) if isinstance(step, Leave))
    return body[:at], body[at + 1 :]


def step_cost(
    step: Any, turns: Size = 1, launches: Callable[[Call], str] = lambda _: ""
) -> StepCost:
    """The cost of a step that is no loop and no branch and runs `turns` times. Of a product and the
    kernel that takes it up, that of both."""
    if isinstance(step, Blocks):
        first, second = step_cost(step.product, turns), step_cost(step.call, turns)
        return StepCost(
            f"{first.name}, {second.name}",
            "product, kernel",
            first.flops + second.flops,
            first.bytes_read + second.bytes_read,
            first.bytes_written + second.bytes_written,
            first.line,
        )
    if isinstance(step, Copy):
        size = step.size * step.target.storage.dtype.itemsize * turns
        return StepCost("copy", "copy", 0, size, size, "")
    node: Node = step.node
    flops: Size = 0
    name, kind, shape = node.op.name, "host", ""
    read_besides: Sequence[Tensor] = ()
    if isinstance(step, Call):
        shape = launches(step)
        name, kind = step.name or "kernel", "kernel"
        flops = operations(node.attrs["body"].nodes)
    elif isinstance(step, Gemm):
        behind = step.epilogue.node if step.epilogue else None
        more = () if behind is None else behind.attrs["body"].nodes
        kind, flops = "product", operations([node, *more])
        if behind is not None:
            read_besides = [t for t in behind.inputs if not t.node.op.multiplies_matrices]
        name = "convolution" if is_convolution(node) else name
    operands = map(_in_memory, node.inputs) if node.op.multiplies_matrices else node.inputs
    read, written = (
        bytes_of(ts) * turns for ts in (dict.fromkeys([*operands, *read_besides]), node.outputs)
    )
    line = str(node.origins[0]) if node.origins else ""
    return StepCost(name, kind, flops * turns, read, written, line, shape)


def _in_memory(operand: Tensor) -> Tensor:
    """What a product reads: a view has its elements more than once, as windows have, or not all."""
    base = strided_view(operand).base
    return base if size_hint(base.size) < size_hint(operand.size) else operand
