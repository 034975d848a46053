"""Fusion: elementwise ops, reductions and what lies between them become regions.

Every node that does scalar work starts as a group of its own. Two groups merge along an edge if
the consumer reads the producer at its own position (so the value is still in a register), their
iteration spaces nest, and no path between them leaves them (which would make a cycle). Ops that
only move elements are read through and belong to every consumer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from graphc.errors import GraphError
from graphc.ir import origin
from graphc.ir.graph import Graph, transform, users, with_results
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import Shape
from graphc.loops.builder import Builder
from graphc.loops.grammar import Affine
from graphc.ops.leaf import placeholder
from graphc.ops.scalar import project
from graphc.passes.region import (
    FUSED,
    LOOPS,
    Operand,
    canonical_index,
    fits,
    full_space,
    is_free,
    is_member,
    is_scalar_constant,
    kept_loops,
    probe,
    space_of,
    squeezed,
)
from graphc.passes.views import blas_view

MEMBERS = 48  # ops in one region at the most: kernels stay small enough to compile fast
CHEAP = 1.0  # kernel operations that a reader repeats rather than loads
BUFFERS = 20  # inputs and outputs of one region at the most

Index = tuple[Affine, ...]


class Group:
    """Nodes that will be one kernel."""

    __slots__ = ("first", "last", "members", "outer", "reads", "space")

    def __init__(self, node: Node, position: int) -> None:
        self.members: list[Node] = [node]
        self.space: Shape = space_of(node)
        self.outer: int | None = None  # fixed once a reduction is used inside the group
        self.reads: set[Tensor] = set()
        self.first = self.last = position  # of its first and last member in the graph's order


def fuse(graph: Graph) -> Graph:
    """Every node that does scalar work in a region; what only moves elements inside them."""
    return _Fusion(graph).run()


class _Fusion:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.position = {node: p for p, node in enumerate(graph.nodes)}
        self.results = set(graph.results)
        self.stored = self._stored_nodes()
        self.users = self._users()
        self.cloned: set[Node] = set()  # cheap nodes that each reader computes for itself
        self.groups: dict[Node, Group] = {}
        self.covered: dict[int, int] = {}  # p -> a later position, where a group spans p and p + 1
        self.reads: dict[Node, list[tuple[Tensor, Index]]] = {}

    def _stored_nodes(self) -> set[Node]:
        """Free nodes that must exist in memory: results, and operands of what is no kernel (or
        what the view that it reads is of)."""
        stored: set[Node] = set()
        for tensor in self.graph.results:
            if is_free(tensor.node):
                stored.add(tensor.node)
        for node in self.graph.nodes:
            if is_member(node) or is_free(node):
                continue
            for tensor in node.inputs:
                if is_free(tensor.node):
                    view = blas_view(tensor) if node.op.kind is Kind.CONTRACT else None
                    stored.add(tensor.node if view is None else view[0].base.node)
        return {node for node in stored if is_free(node)}

    def _works(self, node: Node) -> bool:
        return is_member(node) or node in self.stored

    def _is_read_through(self, node: Node) -> bool:
        return is_free(node) and node not in self.stored

    def _users(self) -> dict[Node, list[Node]]:
        """The users of each node, seen through free nodes."""
        direct = users(self.graph.nodes)
        found: dict[Node, list[Node]] = {}
        for node in reversed(self.graph.nodes):
            reached: dict[Node, None] = {}
            for user in direct[node]:
                if self._is_read_through(user):
                    reached.update(dict.fromkeys(found[user]))
                else:
                    reached[user] = None
            found[node] = list(reached)
        return found

    # -- the pass ----------------------------------------------------------------------------------
    def run(self) -> Graph:
        for node in self.graph.nodes:
            if self._works(node):
                self.groups[node] = Group(node, self.position[node])
                self.reads[node] = self._reads_of(node)
                self.groups[node].reads = {t for t, _ in self.reads[node]}
        for node in self.graph.nodes:
            if node in self.groups:
                for tensor, _ in self.reads[node]:
                    if tensor.node in self.groups:
                        self._try_merge(tensor.node, node)
        self._merge_siblings()
        self._clone_cheap_outputs()
        return self._rebuild()

    def _clone_cheap_outputs(self) -> None:
        """An output that costs next to nothing to compute from other stored values is not stored:
        each reader computes it (the mask `h > 0` of a relu, in its gradient)."""
        while True:
            outside = self._used_outside()
            found = {
                t.node
                for t in outside
                if self._is_cheap(t.node, outside) and self._only_kernels_read(t)
            }
            if not found:
                return
            self.cloned |= found
            for node in self.reads:
                if any(t.node in found for t, _ in self.reads[node]):
                    self.reads[node] = self._reads_of(node)
            for node in found:
                self.groups[node].members.remove(node)
                del self.groups[node]

    def _is_cheap(self, node: Node, outside: set[Tensor]) -> bool:
        group = self.groups[node]
        return (
            Fact.ELEMENTWISE in node.op.facts
            and node.op.cost <= CHEAP
            and node.op.is_pure
            and node not in self.stored
            and len(group.members) > 1
            and not any(t.node is node for m in group.members for t, _ in self.reads[m])
            and all(t in outside or t.node not in self.groups for t, _ in self.reads[node])
        )

    def _only_kernels_read(self, tensor: Tensor) -> bool:
        return tensor not in self.results and all(u in self.groups for u in self.users[tensor.node])

    def _merge_siblings(self) -> None:
        """Groups over one space that read one tensor at their own position share a loop."""
        readers: dict[Tensor, list[Node]] = {}
        for node, reads in self.reads.items():
            for tensor, index in reads:
                if tensor.shape and index == canonical_index(tensor.shape, LOOPS):
                    readers.setdefault(tensor, []).append(node)
        for nodes in readers.values():
            for first, second in pairwise(nodes):
                a, b = self.groups[first], self.groups[second]
                if a.space == b.space and len(a.space) > 0:
                    self._try_merge(first, second)

    # -- what a node reads, and where --------------------------------------------------------------
    def _reads_of(self, node: Node) -> list[tuple[Tensor, Index]]:
        """The tensors that the node reads through free nodes, and at which index, in terms of the
        loops over its own space."""
        found: list[tuple[Tensor, Index]] = []
        index = canonical_index(full_space(node), LOOPS)
        builder = probe(node)

        def read(tensor: Tensor, at: Index) -> Any:
            source = tensor.node
            if is_scalar_constant(source):
                return builder.const(0, tensor.dtype)
            if source in self.cloned or self._is_read_through(source):
                return _element(source, builder, read, at)
            found.append((tensor, at))
            return builder.declare(builder.const(0, tensor.dtype))

        _visit(node, builder, read, index)
        return found

    # -- merging -----------------------------------------------------------------------------------
    def _try_merge(self, producer: Node, consumer: Node) -> bool:
        a, b = self.groups[producer], self.groups[consumer]
        if a is b or len(a.members) + len(b.members) > MEMBERS:
            return False
        outside = [t for t in a.reads | b.reads if self.groups.get(t.node) not in (a, b)]
        if len(outside) > BUFFERS:
            return False
        outer = self._common_outer(a, b)
        if outer is None or self._makes_cycle(a, b):
            return False
        big, small = (a, b) if len(a.space) >= len(b.space) else (b, a)
        big.members += small.members
        big.outer = outer if outer >= 0 else None
        big.reads |= small.reads
        big.first, big.last = min(a.first, b.first), max(a.last, b.last)
        self._cover(big.first, big.last)
        for member in small.members:
            self.groups[member] = big
        return True

    def _common_outer(self, a: Group, b: Group) -> int | None:
        """The number of shared loops if the groups can be one region: -1 if it is not fixed yet,
        None if they cannot."""
        short, long = sorted((a.space, b.space), key=len)
        if long[: len(short)] != short:
            return None
        wanted = {g.outer for g in (a, b) if g.outer is not None}
        if len(short) < len(long):
            if short:
                wanted.add(len(short))
            elif not self._is_reduced_scalar(a, b):
                return None  # scalar work on its own stays in its own kernel, shared by all users
        for x, y in ((a, b), (b, a)):
            for member in x.members:
                for tensor, index in self.reads[member]:
                    if self.groups.get(tensor.node) is y:
                        needed = self._edge(tensor, index, member)
                        if needed is None:
                            return None
                        if needed >= 0:
                            wanted.add(needed)
        if len(wanted) > 1:
            return None
        outer = wanted.pop() if wanted else -1
        if outer >= 0 and not all(fits(m, long, outer) for g in (a, b) for m in g.members):
            return None
        return outer

    def _outer_of(self, group: Group) -> int:
        """The number of shared loops: fixed by an edge, else such that a reduction over the last
        axes accumulates in a register."""
        if group.outer is not None:
            return group.outer
        for node in group.members:
            kept, space = len(squeezed(node.types[0].shape)), space_of(node)
            if (
                node.op.kind is Kind.REDUCE
                and not node.op.reducer.scatters
                and 0 < kept < len(space) == len(group.space)
                and kept_loops(node) == list(LOOPS[:kept])
                and all(fits(m, group.space, kept) for m in group.members)
            ):
                return kept
        return len(group.space)

    def _is_reduced_scalar(self, a: Group, b: Group) -> bool:
        """Whether the scalar group uses, or is used by, a full reduction of the other."""
        for x, y in ((a, b), (b, a)):
            for member in x.members:
                for tensor, _ in self.reads[member]:
                    if self.groups.get(tensor.node) is y and not squeezed(tensor.shape):
                        return any(m.op.kind is Kind.REDUCE for m in a.members + b.members)
        return False

    def _edge(self, tensor: Tensor, index: Index, consumer: Node) -> int | None:
        """None if the consumer reads elsewhere than at its own position; else the number of outer
        loops that the edge fixes, or -1."""
        producer = tensor.node
        if index != canonical_index(tensor.shape, LOOPS):
            return None
        if producer.op.kind is Kind.REDUCE and producer.op.reducer.scatters:
            return None  # complete only when all loops are, and in memory
        if not squeezed(tensor.shape):  # a scalar: used after the loops, or inside if none is outer
            return -1 if not space_of(consumer) else 0
        if producer.op.kind is not Kind.REDUCE:
            return -1
        rank, kept = len(space_of(producer)), len(squeezed(tensor.shape))
        if kept == rank:
            return None
        return kept if kept_loops(producer) == list(LOOPS[:kept]) else None

    def _makes_cycle(self, a: Group, b: Group) -> bool:
        """Whether a path leads from one group through others to the other."""
        return self._path_outside(a, b) or self._path_outside(b, a)

    def _path_outside(self, start: Group, goal: Group) -> bool:
        inside = {id(start), id(goal)}
        stack = [u for m in start.members for u in self.users[m]]
        seen: set[Any] = set()
        limit = self._end_of_span(goal.last)
        while stack:
            node = stack.pop()
            group = self.groups.get(node)
            key = id(group) if group is not None else node
            if key in seen or (group.first if group else self.position[node]) > limit:
                continue
            if group is not None and id(group) in inside:
                continue
            seen.add(key)
            for member in group.members if group is not None else (node,):
                for user in self.users[member]:
                    if self.groups.get(user) is goal:
                        return True
                    stack.append(user)
        return False

    def _cover(self, first: int, last: int) -> None:
        """Note that a group has members at both positions."""
        position = self._end_of_span(first)
        while position < last:
            self.covered[position] = position + 1
            position = self._end_of_span(position)

    def _end_of_span(self, position: int) -> int:
        """The first position from `position` on that no group has members on both sides of: a path
        that is past it never comes back."""
        end = position
        while end in self.covered:
            end = self.covered[end]
        while position != end:
            self.covered[position], position = end, self.covered[position]
        return end

    # -- building the regions ----------------------------------------------------------------------
    def _rebuild(self) -> Graph:
        order = self._group_order()
        outside = self._used_outside()
        done: dict[Tensor, Tensor] = {}
        for item in order:
            if isinstance(item, Group):
                self._build_region(item, outside, done)
            elif item not in self.cloned and (not is_free(item) or self._is_kept_view(item)):
                inputs = [done.get(t, t) for t in item.inputs]
                with origin.inherit(item.origins):
                    new = apply(item.op, inputs, **item.attrs) if item.inputs else item
                done.update(zip(item.outputs, new.outputs, strict=True))
        results = [done.get(t, t) for t in self.graph.results]
        return with_results(self.graph, results)

    def _is_kept_view(self, node: Node) -> bool:
        """A free node that a contraction reads through stays in the graph as a view."""
        return node not in self.stored and bool(node.inputs)

    def _used_outside(self) -> set[Tensor]:
        """The tensors of members that another region, another op or the caller needs."""
        needed: set[Tensor] = set(self.graph.results)
        for node in self.graph.nodes:
            if node in self.groups:
                mine = self.groups[node]
                needed |= {t for t, _ in self.reads[node] if self.groups.get(t.node) is not mine}
            elif node not in self.cloned and not is_free(node):
                needed |= {_base(t, self.stored) for t in node.inputs}
                needed |= set(node.inputs)
        return {t for t in needed if t.node in self.groups}

    def _group_order(self) -> list[Group | Node]:
        """Groups and other nodes, each after all that it depends on."""
        order: list[Group | Node] = []
        done: set[int] = set()
        opened: set[int] = set()
        for root in self.graph.nodes:
            stack: list[tuple[Group | Node, bool]] = [(self.groups.get(root, root), False)]
            while stack:
                item, ready = stack.pop()
                if id(item) in done:
                    continue
                if ready:
                    done.add(id(item))
                    order.append(item)
                    continue
                if id(item) in opened:
                    raise GraphError("fusion made a cycle", op="fuse")
                opened.add(id(item))
                stack.append((item, True))
                for tensor in reversed(self._operands(item)):
                    source = self.groups.get(tensor.node, tensor.node)
                    if id(source) not in done and source is not item:
                        stack.append((source, False))
        return order

    def _operands(self, item: Group | Node) -> list[Tensor]:
        if isinstance(item, Node):
            return list(item.inputs)
        return [t for m in item.members for t, _ in self.reads[m]]

    def _build_region(self, group: Group, outside: set[Tensor], done: dict[Tensor, Tensor]) -> None:
        members = sorted(group.members, key=self.position.__getitem__)
        inside = set(members)
        inputs = list(
            dict.fromkeys(t for m in members for t, _ in self.reads[m] if t.node not in inside)
        )
        outputs = [t for m in members for t in m.outputs if t in outside]
        parameters = [placeholder(f"p{i}", t.shape, t.dtype) for i, t in enumerate(inputs)]
        results = transform(outputs, replace=dict(zip(inputs, parameters, strict=True)))
        body = Graph(parameters, results, name="region")
        outer = self._outer_of(group)
        origins: tuple[origin.Origin, ...] = ()
        for member in members:
            origins = origin.merge(origins, member.origins)
        with origin.inherit(origins):
            node = apply(
                FUSED, [done.get(t, t) for t in inputs], body=body, space=group.space, outer=outer
            )
        done.update(zip(outputs, node.outputs, strict=True))


def _base(tensor: Tensor, stored: set[Node]) -> Tensor:
    """The tensor in memory that a view reads."""
    while is_free(tensor.node) and tensor.node not in stored and tensor.node.inputs:
        tensor = tensor.node.inputs[0]
    return tensor


def _visit(node: Node, builder: Builder, read: Any, index: Index) -> None:
    """Run the node's kernel meaning for the element at `index`."""
    if node.op.kind is Kind.REDUCE:
        operands = [Operand(t, read) for t in node.inputs]
        node.op.reducer.target(builder, operands, index, **node.attrs)
        node.op.reducer.element(builder, operands, index, **node.attrs)
    elif Fact.ELEMENTWISE in node.op.facts:
        for tensor in node.inputs:
            read(tensor, project(index, tensor.type, node.types[0]))
    elif not is_scalar_constant(node):
        _element(node, builder, read, index)


def _element(node: Node, builder: Builder, read: Any, index: Index) -> Any:
    operands: Sequence[Operand] = [Operand(t, read) for t in node.inputs]
    return node.op.at(builder, operands, index, node.types[0], **node.attrs)  # type: ignore[misc]
