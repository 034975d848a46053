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

from graphc.errors import ArgumentError
from graphc.fusion.views import strided_view
from graphc.ir.dim import Size, evaluate, maximum, named, names, size_hint, total
from graphc.ir.node import Node, Tensor
from graphc.planning.program import Blocks, Branch, Call, Copy, Gemm, Leave, Loop, Program, Step
from graphc.planning.work import bytes_of, operations
from graphc.symbolic.dims import to_sympy


class Figures(NamedTuple):
    """The numbers of a cost at given dims."""

    flops: int
    bytes: int
    peak_bytes: int


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


@dataclass(frozen=True)
class Cost:
    """The cost of a program; `.flops`, `.bytes` and `.peak_bytes` are SymPy expressions.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n", 8))
    >>> cost = gc.compile([x], gc.tanh(x) + 1).cost()
    >>> cost.flops, cost.bytes, cost.at(n=2)
    (136*n, 64*n, Figures(flops=272, bytes=128, peak_bytes=64))
    """

    steps: tuple[StepCost, ...]
    sizes: tuple[Size, Size, Size]  # flops, bytes and peak bytes as sizes
    turns: tuple[tuple[str, str], ...] = ()  # the dims of loops that only data end; their lines

    @cached_property
    def flops(self) -> Any:
        """Scalar operations of one call."""
        return to_sympy(self.sizes[0])

    @cached_property
    def bytes(self) -> Any:
        """Bytes that one call reads and writes."""
        return to_sympy(self.sizes[1])

    @cached_property
    def peak_bytes(self) -> Any:
        """Bytes that one call allocates: the arena and the outputs."""
        return to_sympy(self.sizes[2])

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

    def table(self) -> str:
        """A line for each step, and one for all."""
        head: tuple[str, ...] = ("step", "kind", "flops", "bytes read", "bytes written", "line")
        rows: list[tuple[str, ...]] = [
            (s.name, s.kind, str(s.flops), str(s.bytes_read), str(s.bytes_written), s.line)
            for s in self.steps
        ]
        if any(s.launches for s in self.steps):
            head = (*head, "launches")
            rows = [(*row, s.launches) for row, s in zip(rows, self.steps, strict=True)]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *rows)
        ]
        flops, moved, peak = self.sizes
        lines += [
            f"{name}: the turns of a while loop, which only its data tell  {line}".rstrip()
            for name, line in self.turns
        ]
        return "\n".join([*lines, f"flops: {flops}", f"bytes: {moved}", f"peak bytes: {peak}"])

    __str__ = table


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
        elif isinstance(step, Blocks):
            more = _sum((step.product, step.call), turns, found, unknown, launches)
        elif isinstance(step, Branch):
            sides = [_sum(side, turns, found, unknown, launches) for side in step.sides]
            more = tuple(reduce(maximum, figures) for figures in zip(*sides, strict=True))
        elif isinstance(step, Leave):
            continue
        else:
            cost = _of_step(step, turns, launches)
            found.append(cost)
            more = cost.flops, cost.bytes_read + cost.bytes_written
        flops, moved = flops + more[0], moved + more[1]
    return flops, moved


def _halves(body: Sequence[Step]) -> tuple[Sequence[Step], Sequence[Step]]:
    """What runs before a loop is left, and after."""
    at = next(i for i, step in enumerate(body) if isinstance(step, Leave))
    return body[:at], body[at + 1 :]


def _of_step(step: Any, turns: Size, launches: Callable[[Call], str]) -> StepCost:
    if isinstance(step, Copy):
        size = step.size * step.target.storage.dtype.itemsize * turns
        return StepCost("copy", "copy", 0, size, size, "")
    node: Node = step.node
    flops: Size = 0
    name, kind, shape = node.op.name, "host", ""
    if isinstance(step, Call):
        shape = launches(step)
        name, kind = step.name or "kernel", "kernel"
        flops = operations(node.attrs["body"].nodes)
    elif isinstance(step, Gemm):
        more = step.bias.node.attrs["body"].nodes if step.bias else ()
        kind, flops = "product", operations([node, *more])
    operands = map(_in_memory, node.inputs) if node.op.multiplies_matrices else node.inputs
    read, written = (bytes_of(ts) * turns for ts in (dict.fromkeys(operands), node.outputs))
    line = str(node.origins[0]) if node.origins else ""
    return StepCost(name, kind, flops * turns, read, written, line, shape)


def _in_memory(operand: Tensor) -> Tensor:
    """What a product reads: a view has its elements more than once, as windows have, or not all."""
    base = strided_view(operand).base
    return base if size_hint(base.size) < size_hint(operand.size) else operand
