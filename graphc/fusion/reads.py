"""What the nodes of a graph that do work in kernels read, and at which index.

Ops that only move elements are free: a kernel reads through them. What is left are edges between
nodes that do work, each with the index, in terms of the reader's loops, of the element it reads.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Sequence, Set
from functools import cache
from typing import Any

from graphc.errors import CompileError, GraphcError
from graphc.fusion.region import (
    LOOPS,
    WORK,
    Operand,
    canonical_index,
    full_space,
    is_free,
    is_scalar_constant,
    probe,
)
from graphc.fusion.views import matrix_view
from graphc.ir.dtype import DType
from graphc.ir.graph import Graph, users
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.loops import primitives
from graphc.loops.builder import Builder
from graphc.loops.grammar import Affine, Const
from graphc.ops import scalar
from graphc.ops.scalar import project

# Where no op's own kernel function is: errors name the line in that.
_MACHINERY = (
    os.path.dirname(os.path.abspath(__file__)),
    os.path.dirname(os.path.abspath(primitives.__file__)),
    os.path.abspath(scalar.__file__),
)
STAGE = 8  # statements of a reduction: its loop, its accumulator, what its loop computes again

Index = tuple[Affine, ...]
Read = tuple[Tensor, Index]


class Reads:
    """The reads of every node of `graph` that does work in a kernel, in order of the graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        free = {node for node in graph.nodes if is_free(node)}
        self.stored = _stored_free_nodes(graph, free)
        self._through = free - self.stored
        self.inlined: set[Node] = set()  # nodes that each reader computes for itself
        self.users = self._users()
        self.statements: dict[Node, int] = {}  # a kernel's for the node, but loads of what it reads
        self._blocks: dict[tuple[str, tuple[Tensor, ...]], Node] = {}
        self._printed: dict[tuple[str, DType], int] = {}  # by elementwise ops
        self.of: dict[Node, list[Read]] = {}
        self.readers: dict[Tensor, dict[Node, list[Index]]] = {}  # the same by what is read
        for node in graph.nodes:
            if self.works(node):
                self._note(node)

    def works(self, node: Node) -> bool:
        """Whether the node does work in a kernel: computes, or moves elements into memory."""
        return node not in self._through and (node.op.kind in WORK or node in self.stored)

    def is_read_through(self, node: Node) -> bool:
        return node in self._through

    def inline(self, nodes: Iterable[Node]) -> list[Node]:
        """From now on every reader of `nodes` computes them for itself; gives these readers."""
        found = dict.fromkeys(nodes)
        self.inlined |= found.keys()
        changed: dict[Node, None] = {}
        for node in found:
            for tensor in node.outputs:
                changed |= dict.fromkeys(self.readers.get(tensor, ()))
        readers = [node for node in changed if node not in found]
        for node in (*found, *readers):
            for tensor, _ in self.of[node]:
                self.readers[tensor].pop(node, None)
        for node in found:
            del self.of[node]
        for node in readers:
            self._note(node)
        return readers

    def _note(self, node: Node) -> None:
        """Find what the node reads, and note it as a reader of that."""
        self.of[node] = reads = self._find(node)
        for tensor, index in reads:
            self.readers.setdefault(tensor, {}).setdefault(node, []).append(index)

    def _users(self) -> dict[Node, list[Node]]:
        """The users of each node, seen through nodes that are read through."""
        direct = users(self.graph.nodes)
        found: dict[Node, list[Node]] = {}
        for node in reversed(self.graph.nodes):
            reached: dict[Node, None] = {}
            for user in direct[node]:
                if self.is_read_through(user):
                    reached.update(dict.fromkeys(found[user]))
                else:
                    reached[user] = None
            found[node] = list(reached)
        return found

    def _find(self, node: Node) -> list[Read]:
        if Fact.ELEMENTWISE in node.op.facts and not any(map(self._computes, node.inputs)):
            self.statements[node] = self._computing(node, 0)
            out = node.types[0]
            operands = [t for t in node.inputs if not is_scalar_constant(t.node)]
            index = canonical_index(out.shape, LOOPS)
            return [(t, project(index, t.type, out)) for t in operands]
        found: list[Read] = []
        builder = probe(node)

        def read(tensor: Tensor, at: Index) -> Any:
            source = tensor.node
            if is_scalar_constant(source):
                return _zero(tensor.dtype)
            if source in self.inlined or source in self._through:
                return element(source, builder, read, at)
            found.append((tensor, at))
            return builder.declare(_zero(tensor.dtype))

        _visit(node, builder, read, canonical_index(full_space(node), LOOPS))
        count = len(builder.scopes[0].body) - len(found)
        self.statements[node] = self._computing(node, count)
        return found

    def _computes(self, tensor: Tensor) -> bool:
        """Whether who reads the tensor does so by statements of its own, other than a load."""
        node = tensor.node
        known = node in self._through and not is_scalar_constant(node)
        return known or node in self.inlined

    def _computing(self, node: Node, visited: int) -> int:
        """The statements that compute the node; visiting its reads made `visited`."""
        if node.op.kind in (Kind.REDUCE, Kind.RUNNING):
            return visited + STAGE
        if Fact.ELEMENTWISE not in node.op.facts:  # the words of a random block share it
            first = self._blocks.setdefault((node.op.name, node.inputs), node)
            return visited if first is node else 0
        key = node.op.name, node.inputs[0].dtype
        if key not in self._printed:
            builder = probe(node)

            def read(tensor: Tensor, at: Index) -> Any:
                return builder.declare(_zero(tensor.dtype))

            element(node, builder, read, canonical_index(full_space(node), LOOPS))
            self._printed[key] = len(builder.scopes[0].body) - len(node.inputs)
        return visited + self._printed[key]


@cache
def _zero(dtype: DType) -> Const:
    return Const(dtype.numpy.type(0), dtype)


def _stored_free_nodes(graph: Graph, free: Set[Node]) -> set[Node]:
    """Free nodes that must exist in memory: results, and operands of what is no kernel (or what the
    view that it reads is of). What is stored may lie between a view and what it was of."""
    stored = {t.node for t in graph.results if t.node in free}
    operands = [
        (node, tensor)
        for node in graph.nodes
        if node.op.kind not in WORK and node not in free
        for tensor in node.inputs
        if tensor.node in free
    ]
    while True:
        known = len(stored)
        for node, tensor in operands:
            view = matrix_view(node, tensor, stored) if node.op.multiplies_matrices else None
            needed = tensor.node if view is None else view[0].base.node
            if is_free(needed):
                stored.add(needed)
        if len(stored) == known:
            return stored


def _visit(node: Node, builder: Builder, read: Any, index: Index) -> None:
    """Run the node's kernel meaning for the element at `index`."""
    if node.op.kind is Kind.REDUCE:
        operands = [Operand(t, read) for t in node.inputs]
        with naming(node):
            node.op.reducer.target(builder, operands, index, **node.attrs)
            node.op.reducer.element(builder, operands, index, **node.attrs)
    elif node.op.kind is Kind.KERNEL:  # which reads them all, in an order of its own
        for tensor in node.inputs:
            read(tensor, canonical_index(tensor.shape, LOOPS))
    elif node.op.kind is Kind.RUNNING:
        with naming(node):
            operands = [Operand(t, read) for t in node.inputs]
            node.op.recurrence.element(builder, operands, index)
    elif Fact.ELEMENTWISE in node.op.facts:
        for tensor in node.inputs:
            read(tensor, project(index, tensor.type, node.types[0]))
    elif not is_scalar_constant(node):
        element(node, builder, read, index)


def element(node: Node, builder: Builder, read: Any, index: Index) -> Any:
    """The value of a node's first output at `index`, by the op's own kernel function.

    Errors: `CompileError` naming the op and the line of the function, should that fail.
    """
    operands: Sequence[Operand] = [Operand(t, read) for t in node.inputs]
    with naming(node):
        value = node.op.at(builder, operands, index, node.types[0], **node.attrs)  # type: ignore[misc]
        if value is None:
            raise TypeError("it gives None, and not a value of the kernel")
        return value


class naming:  # noqa: N801  (a class for speed: it is entered for every value)
    """Errors inside are the op's: they name it and the line in the definition of its kernel."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, GraphcError) or not isinstance(error, Exception):
            return
        node = self.node
        frames = [f for f, _ in traceback.walk_tb(error.__traceback__)]
        own = [f for f in frames if not f.f_code.co_filename.startswith(_MACHINERY)]
        place = f"{own[-1].f_code.co_filename}:{own[-1].f_lineno}" if own else ""
        raise CompileError(
            f"the op's kernel function fails: {error}",
            op=node.op.name,
            given=", ".join(str(t.type) for t in node.inputs),
            where=place,
            hint="the primitives are the rows of graphc/loops/primitives.py",
        ) from error
