"""Fusion: elementwise ops, reductions and what lies between them become regions.

Every node that does scalar work starts as a group of its own. Two groups merge along an edge if
the consumer reads the producer at its own position (so the value is still in a register), their
iteration spaces nest, and no path between them leaves them (which would make a cycle). Groups over
one space that read one tensor merge too. What is then cheaper to compute than to store is computed
by its readers (`recompute.py`), and what is heavy for single numbers gets a loop of its own
(`tails.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from graphc.errors import GraphError
from graphc.fusion.group import BUFFERS, MEMBERS, STATEMENTS, Group, Groups
from graphc.fusion.quotient import join
from graphc.fusion.reads import Index
from graphc.fusion.recompute import inline_cheap
from graphc.fusion.region import (
    FUSED,
    LOOPS,
    canonical_index,
    fits,
    is_free,
    kept_loops,
    space_of,
    squeezed,
)
from graphc.fusion.tails import split_tails
from graphc.ir import origin
from graphc.ir.graph import Graph, transform, with_results
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Kind
from graphc.ir.shape import show
from graphc.machines import CPU, Machine
from graphc.ops.leaf import placeholder


class Border(NamedTuple):
    """Two neighbouring regions of a fused graph, and why they are two."""

    producer: Node
    consumer: Node
    reason: str

    def moved(self, became: Mapping[Node, Node]) -> Border:
        """The border between what the nodes have become."""
        producer, consumer = (became.get(n, n) for n in (self.producer, self.consumer))
        return Border(producer, consumer, self.reason)


def fuse(graph: Graph, borders: list[Border] | None = None, machine: Machine = CPU) -> Graph:
    """Every node that does scalar work in a region; what only moves elements inside them.
    `borders` is filled with why neighbouring regions were not merged."""
    groups = Groups(graph)
    _merge_along_edges(groups)
    _merge_siblings(groups)
    inline_cheap(groups, machine)
    split_tails(groups, machine)
    return _Regions(groups, borders).build()


# -- merging ---------------------------------------------------------------------------------------
def _merge_along_edges(groups: Groups) -> None:
    for node, reads in groups.reads.of.items():
        for tensor, _ in reads:
            producer = groups.of.get(tensor.node)
            if producer is not None:
                _try_merge(groups, producer, groups.of[node])


def _merge_siblings(groups: Groups) -> None:
    """Groups over one space that read one tensor at their own position share a loop."""
    for tensor, readers in groups.reads.readers.items():
        if not tensor.shape:
            continue
        here = canonical_index(tensor.shape, LOOPS)
        nodes = [node for node, indices in readers.items() if here in indices]
        for first, second in pairwise(nodes):
            a, b = groups.of[first], groups.of[second]
            if a.space == b.space and len(a.space) > 0:
                _try_merge(groups, a, b)


def _try_merge(groups: Groups, a: Group, b: Group) -> None:
    if a is b:
        return
    outer = _shared_loops(groups, a, b)
    if isinstance(outer, str):
        return
    big, small = (a, b) if len(a.space) >= len(b.space) else (b, a)
    if join(big, small):
        groups.merge(big, small, outer)


_TAIL = "heavy work on the result of each row is done for many rows at once"
_CYCLE = "a path between them leads through other work, which would have to run in the middle"


def _shared_loops(groups: Groups, a: Group, b: Group) -> int | str | None:
    """How many outer loops the groups share as one region (None if that is still open), or why
    they cannot be one."""
    for group in (a, b):
        if group.members[0].op.kind is Kind.KERNEL:  # which is merged with nothing
            return f"{group.members[0].op.name} has a kernel of its own"
    if len(a.members) + len(b.members) > MEMBERS:
        return f"together they would have more than {MEMBERS} ops, which compile slowly"
    of = groups.of.get
    loads = len(a.loads) + len(b.loads)
    if loads > BUFFERS or a.statements + b.statements + loads > STATEMENTS:
        loads = len([t for t in a.loads | b.loads if of(t.node) is not a and of(t.node) is not b])
    if loads > BUFFERS:
        return f"together they would read more than {BUFFERS} arrays"
    if a.statements + b.statements + loads > STATEMENTS:
        return f"together they would have more than {STATEMENTS} statements, which compile slowly"
    first, second = a.directions, b.directions
    if first and any(first[loop] != second[loop] for loop in first.keys() & second.keys()):
        return "they go through one loop in opposite directions"
    short, long = (a.space, b.space) if len(a.space) <= len(b.space) else (b.space, a.space)
    if long[: len(short)] != short:
        return f"their loops differ: {show(a.space)} and {show(b.space)}"
    wanted = {g.outer for g in (a, b) if g.outer is not None}
    if len(short) < len(long):
        if short:
            wanted.add(len(short))
        elif not _is_reduced_scalar(groups, a, b):
            return "scalar work stays in a kernel of its own, which all its users share"
    for producer, consumer in ((a, b), (b, a)):
        if not [t for t in consumer.loads if of(t.node) is producer]:
            continue
        for member in consumer.members:
            for tensor, index in groups.reads.of[member]:
                if of(tensor.node) is producer:
                    needed = _edge(tensor, index, member)
                    if isinstance(needed, str):
                        return needed
                    if needed is not None:
                        wanted.add(needed)
    if len(wanted) > 1:
        return "they need different numbers of shared outer loops: " + ", ".join(
            map(str, sorted(wanted))
        )
    outer = wanted.pop() if wanted else None
    if outer is not None and not all(fits(m, long, outer) for g in (a, b) for m in g.members):
        return f"an op of theirs has no turn in loops over {show(long)} of which {outer} are shared"
    return outer


def _is_reduced_scalar(groups: Groups, a: Group, b: Group) -> bool:
    """Whether the scalar group uses, or is used by, a full reduction of the other."""
    for x, y in ((a, b), (b, a)):
        for member in x.members:
            for tensor, _ in groups.reads.of[member]:
                if groups.of.get(tensor.node) is y and not squeezed(tensor.shape):
                    return any(m.op.kind is Kind.REDUCE for m in a.members + b.members)
    return False


def _edge(tensor: Tensor, index: Index, consumer: Node) -> int | str | None:
    """The number of shared outer loops that a read of another group's tensor fixes, None if it
    fixes none, or why it cannot be a read inside one region."""
    producer = tensor.node
    name, reduces = producer.op.name, producer.op.kind is Kind.REDUCE
    kept = len(squeezed(tensor.shape))
    if reduces and producer.op.reducer.scatters:
        return f"{name} is complete only when all its loops have run"
    if reduces and kept and kept_loops(producer) != list(LOOPS[:kept]):
        return f"{name} is complete only when its outer loops have run"
    if index != canonical_index(tensor.shape, LOOPS):
        return f"{name} is read at other positions than where it is computed"
    if not kept:  # a scalar: used after the loops, or inside if none is outer
        return None if not space_of(consumer) else 0
    if not reduces:
        return None
    if kept == len(space_of(producer)):
        return f"{name} is complete only when all its loops have run"
    return kept


# -- building the regions --------------------------------------------------------------------------
class _Regions:
    """The graph in which each group is a region."""

    def __init__(self, groups: Groups, borders: list[Border] | None) -> None:
        self.groups, self.borders = groups, borders
        self.graph, self.reads = groups.graph, groups.reads
        self.done: dict[Tensor, Tensor] = {}
        self.regions: dict[Group, Node] = {}

    def build(self) -> Graph:
        done = self.done
        for item in self._order():
            if isinstance(item, Group):
                self._region(item)
            elif item not in self.reads.inlined and (not is_free(item) or self._is_kept_view(item)):
                inputs = [done.get(t, t) for t in item.inputs]
                with origin.inherit(item.origins):
                    new = apply(item.op, inputs, **item.attrs) if item.inputs else item
                done.update(zip(item.outputs, new.outputs, strict=True))
        if self.borders is not None:
            self.borders += self._borders()
        return with_results(self.graph, [done.get(t, t) for t in self.graph.results])

    def _is_kept_view(self, node: Node) -> bool:
        """A free node that a contraction reads through stays in the graph as a view."""
        return node not in self.reads.stored and bool(node.inputs)

    def _order(self) -> list[Group | Node]:
        """Groups and other nodes, each after all that it depends on."""
        group_of = self.groups.of
        order: list[Group | Node] = []
        done: set[int] = set()
        opened: set[int] = set()
        for root in self.graph.nodes:
            stack: list[tuple[Group | Node, bool]] = [(group_of.get(root, root), False)]
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
                    source = group_of.get(tensor.node, tensor.node)
                    if id(source) not in done and source is not item:
                        stack.append((source, False))
        return order

    def _operands(self, item: Group | Node) -> Sequence[Tensor]:
        if isinstance(item, Node):
            return item.inputs
        return [t for m in item.members for t, _ in self.reads.of[m]]

    def _region(self, group: Group) -> None:
        members = sorted(group.members, key=self.groups.position.__getitem__)
        inside = set(members)
        reads = [t for m in members for t, _ in self.reads.of[m] if t.node not in inside]
        inputs = list(dict.fromkeys(reads))
        outputs = [t for m in members for t in m.outputs if self.groups.is_used_outside(t)]
        with origin.inherit(()):  # they are the user's nowhere
            parameters = [placeholder(f"p{i}", t.shape, t.dtype) for i, t in enumerate(inputs)]
        results = transform(outputs, replace=dict(zip(inputs, parameters, strict=True)))
        body = Graph(parameters, results, name="region")
        origins: tuple[origin.Origin, ...] = ()
        for member in members:
            origins = origin.merge(origins, member.origins)
        operands = [self.done.get(t, t) for t in inputs]
        attrs = {"body": body, "space": group.space, "outer": _outer_of(group)}
        with origin.inherit(origins):
            node = apply(FUSED, operands, **attrs)
        self.regions[group] = node
        self.done.update(zip(outputs, node.outputs, strict=True))

    def _borders(self) -> list[Border]:
        found: dict[tuple[Group, Group], None] = {}
        for group in self.regions:
            for tensor in self._operands(group):
                producer = self.groups.of.get(tensor.node)
                if producer is not None and producer is not group:
                    found[producer, group] = None
        borders = []
        for a, b in found:
            reason = _shared_loops(self.groups, a, b)
            apart = _TAIL if b in self.groups.tails else _CYCLE
            text = reason if isinstance(reason, str) else apart
            borders.append(Border(self.regions[a], self.regions[b], text))
        return borders


def _outer_of(group: Group) -> int:
    """The number of shared loops: fixed by an edge, else such that a reduction over the last axes
    accumulates in a register."""
    if group.outer is not None:
        return group.outer
    for node in group.members:
        if node.op.kind is not Kind.REDUCE or node.op.reducer.scatters:
            continue
        kept, space = len(squeezed(node.types[0].shape)), space_of(node)
        if (
            0 < kept < len(space) == len(group.space)
            and kept_loops(node) == list(LOOPS[:kept])
            and all(fits(m, group.space, kept) for m in group.members)
        ):
            return kept
    return len(group.space)
