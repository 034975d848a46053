"""Whether a program only carries its numbers: a check of what was compiled for stand-ins.

Behind `set_apart` nothing should do anything with a number but hand it to arithmetic in a kernel.
This looks at what came of it: a program may serve graphs with other numbers only if each number is
read from the table, wherever the graph has it, and is nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from graphc.ir.graph import Graph, all_nodes
from graphc.ir.node import Node
from graphc.ir.op import Fact
from graphc.loops.grammar import Const, Kernel, Let, statements
from graphc.loops.numbers import given, is_number
from graphc.passes.numbers import Apart
from graphc.pipeline.pipeline import Compiled
from graphc.planning.program import Call, Gemm, Program, walk_steps


def only_carries(compiled: Compiled, apart: Apart) -> bool:
    """Whether numbers of `apart`, which was compiled, reach the code through the table alone."""
    known = apart.numbers.keys()
    program = compiled.program
    kernels = [(s.node, s.kernel) for s in walk_steps(program.steps) if isinstance(s, Call)]
    tables = [{float(c.value.item()) for c in given(kernel)} for _, kernel in kernels]
    return (
        _floats(compiled.optimized) <= _floats(apart.graph)
        and set().union(*tables) >= known
        and all(
            _scalars(node.attrs["body"]) & known <= table
            for (node, _), table in zip(kernels, tables, strict=True)
        )
        and not any(float(c.value.item()) in known for _, k in kernels for c in _in_code(k))
        and not any(abs(scale) in known for scale in _scales(program))
        and not any(_value(t.node) in known for t in program.constants.values())
    )


def _floats(graph: Graph) -> set[Node]:
    """The constants of floats in a graph and its bodies."""
    return {
        n for n in all_nodes(graph) if Fact.CONSTANT in n.op.facts and n.types[0].dtype.is_float
    }


def _scalars(graph: Graph) -> set[float]:
    return {value for node in _floats(graph) if (value := _value(node)) is not None}


def _value(node: Node) -> float | None:
    """The value of a constant of one float."""
    if not (node.types[0].dtype.is_float and node.types[0].size == 1):
        return None
    return float(node.attrs["value"].array.item())


def _in_code(kernel: Kernel) -> Iterator[Const]:
    """The floats of a kernel that its code has, rather than its table."""
    for stmt in statements(kernel.body):
        for field in fields(stmt):
            part = getattr(stmt, field.name)
            for value in part if isinstance(part, tuple) else (part,):
                if not isinstance(value, Const) or not value.dtype.is_float:
                    continue
                if not (isinstance(stmt, Let) and is_number(stmt.primitive, value)):
                    yield value


def _scales(program: Program) -> Iterator[float]:
    for step in walk_steps(program.steps):
        if isinstance(step, Gemm) and step.epilogue is not None:
            yield step.epilogue.scale
