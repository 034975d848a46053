"""What the compiler makes of the fifteen programs, as counts.

    python -m tests.benchmarks.first.counts [small]

A process of its own prints the table, since nodes that other tests keep alive can order steps
otherwise. Nothing is compiled by Numba or LLVM.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from graphc.ir.graph import Graph
from graphc.lower.driver import print_driver
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import walk_steps
from graphc.runtime.kernels import distinct_kernels

from .data import SIZES, Sizes
from .with_graphc import PROGRAMS

INTEGER_BITS = 64  # of the BLAS, so that the count is the same on every machine


def counts(program: str, sizes: Sizes, seen: set[str]) -> dict[str, Any]:
    """Nodes and steps of a program, its distinct kernels, their lines, and the driver's lines.
    `compiled`: the kernels that are not in `seen`, which Numba compiles if the cache has those."""
    made = PROGRAMS[program](sizes)
    updates = made.updates.items() if isinstance(made.updates, dict) else made.updates
    graph = Graph(made.inputs, made.outputs, list(updates), program)
    compiled = run_pipeline(graph, Stages())
    kernels = distinct_kernels(compiled)
    new = {k.identity for k in kernels} - seen
    seen |= new
    return {
        "nodes": len(graph.nodes),
        "steps": sum(1 for _ in walk_steps(compiled.program.steps)),
        "kernels": len(kernels),
        "compiled": len(new),
        "kernel lines": sum(k.source.count("\n") for k in kernels),
        "driver lines": print_driver(compiled.program, INTEGER_BITS).text.count("\n"),
    }


def table(size: str) -> Iterator[str]:
    """A line for each program; what one compiles, the next ones find in the cache."""
    seen: set[str] = set()
    for i, program in enumerate(PROGRAMS):
        found = counts(program, SIZES[size], seen)
        if i == 0:
            yield " ".join(f"{name:>12}" for name in found)
        yield " ".join(f"{value:12,}" for value in found.values()) + f"  {program}"


if __name__ == "__main__":
    for line in table(sys.argv[1] if sys.argv[1:] else "full"):
        sys.stdout.write(line + "\n")
