"""The kernels of a random graph, checked and interpreted one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import RuntimeFailure
from graphc.ir.dim import evaluate as size_value
from graphc.ir.evaluate import bind_dims, compute, evaluate_graph
from graphc.ir.node import Node
from graphc.ir.op import Kind
from graphc.loops.check import check_kernel
from graphc.loops.grammar import For, Stmt
from graphc.loops.interpret import interpret_kernel
from graphc.passes.kernel import build_kernel
from graphc.passes.pipeline import run_pipeline
from graphc.passes.program import Call, walk_steps
from graphc.passes.stages import Stages

from .comparing import differences
from .generator import random_graph
from .values import Array

STEPS = 15_000  # statements that one kernel may run: an interpreted one takes a microsecond or more


def check_kernels(seed: int) -> int:
    """How many kernels of the random graph of a seed were interpreted, in all of its calls.

    Errors: `CompileError` for a kernel that breaks an invariant; `AssertionError` for one that
    means something else than its region; `IndexError` for one that leaves its buffers.
    """
    made = random_graph(seed)
    compiled = run_pipeline(made.graph, Stages())
    for step in walk_steps(compiled.program.steps):
        if isinstance(step, Call):
            check_kernel(step.kernel)
    interpreted = 0
    for call in range(len(made.sizes)):
        arrays = made.arrays(call)
        dims = bind_dims(compiled.optimized, arrays)
        for region, values in _regions(compiled.optimized, arrays, dims):
            interpreted += _check_region(seed, region, values, dims)
    return interpreted


def _regions(
    graph: gc.Graph, arrays: list[Array], dims: dict[str, int]
) -> Iterator[tuple[Node, list[Array]]]:
    """The regions of a graph with the values of their operands, as long as no node fails."""
    values = dict(zip(graph.inputs, arrays, strict=True))
    values |= {v: v.value for v in graph.variables}
    for node in graph.nodes:
        if node.output() in values:
            continue
        operands = [values[t] for t in node.inputs]
        if node.op.kind is Kind.REGION:
            yield node, operands
        try:
            values.update(zip(node.outputs, compute(node, operands, dims), strict=True))
        except RuntimeFailure:
            return


def _check_region(seed: int, node: Node, operands: list[Array], dims: dict[str, int]) -> bool:
    """Whether the kernel was interpreted, and not too long; its results are asserted."""
    body: Any = node.attrs["body"]
    built = build_kernel(body, node.attrs["space"], node.attrs["outer"])
    check_kernel(built.kernel)
    sizes = dims | {n: size_value(s, dims) for n, s in built.kernel.sizes.items()}
    if _steps(built.kernel.body, sizes) > STEPS:
        return False
    memory = {b: np.empty(size_value(b.size, dims), b.dtype.numpy) for b in built.kernel.buffers}
    for buffer, array in zip(built.inputs, operands, strict=True):
        memory[buffer][...] = np.ravel(array)
    for buffer in (*built.outputs, *built.scratch):
        memory[buffer].view(np.uint8)[...] = 0xA5  # what nobody has written
    failed = interpret_kernel(built.kernel, memory, dims)
    try:
        expected = evaluate_graph(body, operands, dims)
    except RuntimeFailure:
        assert failed, f"random_graph({seed}): a failure is not reported\n{body}"
        return True
    assert not failed, f"random_graph({seed}): a failure is reported\n{body}"
    actual = [memory[b].reshape(e.shape) for b, e in zip(built.outputs, expected, strict=True)]
    found = differences(body, operands, expected, actual, dims)
    assert not found, f"random_graph({seed}):\n" + "\n".join(found) + f"\n{body}"
    return True


def _steps(body: list[Stmt], sizes: dict[str, int]) -> int:
    total = 0
    for stmt in body:
        turns = size_value(stmt.extent, sizes) if isinstance(stmt, For) else 0
        total += 1 + (turns * _steps(stmt.body, sizes) if isinstance(stmt, For) else 0)
    return total
