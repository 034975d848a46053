"""Each kernel of a fused graph against the meaning of its region: loop IR, then printed source.

Regions are taken from an evaluation of the graph, with the operands that they have there, also
inside loops and branches; a region that runs many times is checked at its first turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.checking.simulator import RaceError
from graphc.checking.source import run_source
from graphc.checking.stages import attempt
from graphc.checking.values import differences
from graphc.errors import GraphcError, RuntimeFailure
from graphc.fusion.kernel import BuiltKernel, build_kernel
from graphc.ir import evaluate as evaluation
from graphc.ir.dim import evaluate as size_value
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.op import Kind
from graphc.loops.check import check_kernel
from graphc.loops.grammar import For, Kernel, Stmt
from graphc.loops.interpret import interpret_kernel
from graphc.machines import CPU, Machine

Array = np.ndarray[Any, Any]
Dims = Mapping[str, int]
Run = Callable[[Kernel, Mapping[Any, Array], Dims], int]
WAYS: dict[str, Run] = {"loop IR": interpret_kernel, "source": run_source}
UNWRITTEN = 0xA5  # the bytes of memory that nobody has written


@dataclass(frozen=True, slots=True)
class Region:
    """A region of a graph with the values that its operands have in one evaluation."""

    node: Node
    operands: list[Array]
    dims: Dims

    @property
    def body(self) -> Graph:
        body: Graph = self.node.attrs["body"]
        return body


def regions_of(graph: Graph, arrays: Sequence[Array]) -> list[Region]:
    """The regions of a graph that an evaluation reaches, each once, as long as no node fails."""
    found: dict[Node, Region] = {}

    def compute(node: Node, values: Sequence[Array], sizes: Dims) -> list[Array]:
        if node.op.kind is Kind.REGION and node not in found:
            found[node] = Region(node, [np.array(v) for v in values], dict(sizes))
        return evaluation.compute(node, values, sizes)

    with evaluation.computing(compute):
        attempt(graph, arrays, evaluation.learn_dims(graph, arrays))
    return list(found.values())


def check_region(
    region: Region,
    limit: int | None = None,
    explained: Counter[str] | None = None,
    ways: Mapping[str, Run] = WAYS,
    machine: Machine = CPU,
) -> str | None:
    """How the kernel of a region differs from its meaning; '' if it does not, None if it would run
    more than `limit` statements and was not run.

    Looked at are the invariants of loop IR, and what it means by each of `ways`: interpreted, and
    as printed source. `machine`: the one that it is built for.
    """
    try:
        built = build_kernel(**region.node.attrs, machine=machine)
        check_kernel(built.kernel)
    except GraphcError as error:
        return f"the kernel is not valid: {error}"
    if limit is not None and statement_count(built.kernel, region.dims) > limit:
        return None
    expected, failure = _meaning(region)
    for way, run in ways.items():
        found = _difference(region, built, run, expected, failure, explained)
        if found:
            return f"its {way}: {found}"
    return ""


def _meaning(region: Region) -> tuple[list[Array], RuntimeFailure | None]:
    try:
        return evaluation.evaluate_graph(region.body, region.operands, region.dims), None
    except RuntimeFailure as failure:
        return [], failure


def _difference(
    region: Region,
    built: BuiltKernel,
    run: Run,
    expected: Sequence[Array],
    failure: RuntimeFailure | None,
    explained: Counter[str] | None,
) -> str:
    memory = {}
    for buffer in built.kernel.buffers:
        memory[buffer] = np.empty(size_value(buffer.size, region.dims), buffer.dtype.numpy)
        memory[buffer].view(np.uint8)[...] = UNWRITTEN
    for buffer, array in zip(built.inputs, region.operands, strict=True):
        memory[buffer][...] = np.ravel(array)
    try:
        failed = run(built.kernel, memory, region.dims)
    except (IndexError, TypeError, NameError, RaceError) as error:
        return f"{type(error).__name__}: {error}"
    if failure is not None:
        return "" if failed else f"a failure is not reported: {failure.message}"
    if failed:
        return "a failure is reported that is none"
    actual = [memory[b].reshape(e.shape) for b, e in zip(built.outputs, expected, strict=True)]
    body, operands, dims = region.body, region.operands, region.dims
    return "\n".join(differences(body, operands, expected, actual, dims, explained))


def statement_count(kernel: Kernel, dims: Dims) -> int:
    """How many statements a run of the kernel executes."""
    sizes = {**dims, **{name: size_value(size, dims) for name, size in kernel.sizes.items()}}

    def count(body: Sequence[Stmt]) -> Iterator[int]:
        for stmt in body:
            yield 1
            if isinstance(stmt, For):
                turns = size_value(stmt.extent, sizes)
                turns = min(turns, size_value(stmt.run.length, sizes)) if stmt.run else turns
                yield turns * sum(count(stmt.body))

    return sum(count(kernel.body))
