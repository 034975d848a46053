"""Recompute or store: what is cheaper to compute again than to store is computed by its readers.

A value that one kernel stores and others load costs a store, and a load for each element that is
read. Computing it in its readers costs its ops and the loads of what it is computed from, for each
element that is read; and if it was all that its kernel did, that kernel's loads and ops are saved.
The mask `h > 0` of a relu is computed by its gradient; the sum that an LSTM's gates are slices of
by the gates. The unit is one vectorised kernel operation; sizes are compared at the hints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from graphc.fusion.group import BUFFERS, MEMBERS, STATEMENTS, Group, Groups
from graphc.fusion.reads import Index
from graphc.fusion.region import LOOPS, flat_index, space_of
from graphc.fusion.turns import LENGTH, TAPS
from graphc.ir.dim import size_hint
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import strides
from graphc.loops.grammar import Affine
from graphc.machines import Machine

_KNOWN = frozenset({Fact.ELEMENTWISE, Fact.BORDERS})
CHAIN = 8  # ops that one value is computed from, at the most
ROUNDS = 4
SHORT = 4  # turns of a loop that is unrolled for sure


def inline_cheap(groups: Groups, machine: Machine) -> None:
    """Let readers compute what is cheaper to compute than to store. What is around that is judged
    again, a few times."""
    search = _Search(groups, machine)
    tensors = list(groups.reads.readers)
    for _ in range(ROUNDS):
        found = search.run(tensors)
        if not found:
            return
        tensors = _around(groups, _inline(groups, found))


class _Chain(NamedTuple):
    """The ops that compute one stored value from other stored ones."""

    nodes: tuple[Node, ...]
    sources: tuple[Tensor, ...]
    cost: float
    borders: list[Node]  # ops that put zeros around something: they cost nothing where `_are_rows`


class _Search:
    """Looks for values to inline, all judged as things are when it starts."""

    def __init__(self, groups: Groups, machine: Machine) -> None:
        self.groups, self.machine = groups, machine
        self.results = set(groups.graph.results)

    def run(self, tensors: Iterable[Tensor]) -> dict[Node, None]:
        found: dict[Node, None] = {}
        needed: set[Tensor] = set()  # what the found ones are computed from
        for tensor in tensors:
            if tensor in self.results or tensor in needed or not self._is_of_kernels(tensor.node):
                continue
            readers = self._readers(tensor)
            chain = self._chain(tensor.node) if readers else None
            if chain is None or [t for t in chain.sources if t.node in found]:
                continue
            if self._saves(tensor, chain, readers):
                found.update(dict.fromkeys(chain.nodes))
                needed.update(chain.sources)
        return found

    def _readers(self, tensor: Tensor) -> dict[Group, list[tuple[Node, Index]]]:
        """The groups, but its own, that read the tensor: which nodes at which index."""
        found: dict[Group, list[tuple[Node, Index]]] = {}
        of = self.groups.of
        own = of[tensor.node]
        for node, indices in self.groups.reads.readers[tensor].items():
            group = of[node]
            if group is not own:
                found.setdefault(group, []).extend([(node, index) for index in indices])
        return found

    def _is_of_kernels(self, node: Node) -> bool:
        """Whether kernels compute the node and all that uses it."""
        of = self.groups.of
        return node in of and all(map(of.__contains__, self.groups.reads.users[node]))

    def _chain(self, root: Node) -> _Chain | None:
        """How to compute the node from stored values, if by few elementwise ops and nothing else
        that its kernel stores needs to be computed for it."""
        group = self.groups.of[root]
        nodes: dict[Node, None] = {}
        sources: dict[Tensor, None] = {}
        stack = [root]
        while stack:
            node = stack.pop()
            if node in nodes:
                continue
            stored = node in self.groups.reads.stored or len(node.types) != 1
            if _KNOWN.isdisjoint(node.op.facts) or not node.op.is_pure or stored:
                return None
            nodes[node] = None
            if len(nodes) > CHAIN:
                return None
            for tensor, _ in self.groups.reads.of[node]:
                if self._is_stored(tensor, group):
                    sources[tensor] = None
                else:
                    stack.append(tensor.node)
        cost = sum([node.op.cost for node in nodes])
        borders = [node for node in nodes if Fact.BORDERS in node.op.facts]
        return _Chain(tuple(nodes), tuple(sources), cost, borders)

    def _is_stored(self, tensor: Tensor, group: Group) -> bool:
        """Whether the tensor, which `group` uses, is in memory."""
        inside = self.groups.of.get(tensor.node) is group
        return not inside or self.groups.is_used_outside(tensor)

    def _saves(
        self, tensor: Tensor, chain: _Chain, readers: dict[Group, list[tuple[Node, Index]]]
    ) -> bool:
        """Whether computing the value in its readers costs less than storing it."""
        group, machine = self.groups.of[tensor.node], self.machine
        inside = len(chain.nodes) == len(group.members)
        again = chain.cost + machine.load * len(chain.sources)
        stored = machine.store + (again if inside else 0.0)
        inlined = 0.0
        elements = max(size_hint(tensor.size), 1)
        computed = sum([self.groups.reads.statements[n] for n in chain.nodes])
        free = sum([node.op.cost for node in chain.borders])
        for reader, places in readers.items():
            missing = [t for t in chain.sources if t not in reader.reads]
            loads = len(reader.loads) + len(missing)
            if loads > BUFFERS:
                return False
            if len(reader.members) + len(chain.nodes) > MEMBERS:
                return False
            if reader.statements + loads + computed > STATEMENTS:
                return False
            if chain.borders and not self._are_rows(chain, reader, places):
                return False
            for node, index in {at: (n, at) for n, at in places}.values():
                turns = _turns(node, index) / elements
                load = _load(node, tensor, index, machine)
                staged = reader.outer not in (None, len(reader.space)) and not chain.borders
                sweeps = 2 if staged else 1
                stored += turns * load
                inlined += turns * sweeps * (chain.cost - free + load * len(missing))
        return inlined < stored

    def _are_rows(self, chain: _Chain, reader: Group, places: Iterable[tuple[Node, Index]]) -> bool:
        """Whether a reader goes along rows, each of which is inside of what has a border or beside
        it, all of it, and writes out what it reads at a turn: so that this is asked once a row."""
        taps = 0
        for node, index in places:
            row, space = _row_of(node), space_of(node)
            extent = space[row - 1] if row else 0
            zeros = self.machine.zeros // node.types[0].dtype.itemsize
            if not isinstance(extent, int) or not 0 < extent <= zeros:
                return False
            if not all(_is_same_along(row, border, index) for border in chain.borders):
                return False
            taps += math.prod(int(size) for size in space[row:])
        carried = any(m.op.kind is Kind.RUNNING for m in reader.members)
        return not carried and taps <= TAPS and reader.statements + 4 * taps <= LENGTH


def _turns(node: Node, index: Index) -> int:
    """How often a loop nest reads at the index: the turns of the loops around the read, once it is
    moved out of those that it does not depend on."""
    space = space_of(node)
    used = {var for i in index for var, _ in i.terms}
    depth = max((k + 1 for k in range(len(space)) if LOOPS[k] in used), default=0)
    if used - set(LOOPS):
        depth = len(space)  # an index read from data
    turns = 1
    for size in space[:depth]:
        turns *= max(size_hint(size), 1)
    return turns


def _load(node: Node, tensor: Tensor, index: Index, machine: Machine) -> float:
    """The cost of a load at the index: elements one after another, or apart. Inner loops of a few
    turns, such as those over a window, are unrolled, and the loop around them is the one that
    counts."""
    space = space_of(node)
    flat: Affine = flat_index(index, strides(tensor.shape))
    depths = {len(space), _row_of(node)}
    steps = [flat.coefficient(LOOPS[depth - 1]) for depth in depths if depth]
    together = not steps or any(step in (0, 1, -1) for step in steps)
    return machine.load if together else machine.strided


def _row_of(node: Node) -> int:
    """How many loops there are down to the one that rows go along: short ones inside of it are
    unrolled."""
    space = space_of(node)
    around = len(space)
    while around > 1 and isinstance(size := space[around - 1], int) and size <= SHORT:
        around -= 1
    return around


def _is_same_along(row: int, node: Node, index: Index) -> bool:
    """Whether what the node puts around its operand is the same for a whole row of the reader's,
    which reads the node's results, or what is made of them, at `index`."""
    (operand,), shape = node.inputs, node.types[0].shape
    if len(index) != len(shape) or row == 0:
        return False
    changed = (i for i, a, b in zip(index, operand.shape, shape, strict=True) if a != b)
    return all(i.coefficient(LOOPS[row - 1]) == 0 for i in changed)


def _inline(groups: Groups, nodes: Iterable[Node]) -> list[Group]:
    """Every reader of the nodes computes them; no group has them any more. Gives the groups that
    are others now."""
    changed: dict[Group, None] = {}
    for node in nodes:
        group = groups.of.pop(node)
        group.members.remove(node)
        changed[group] = None
    changed |= dict.fromkeys(groups.of[reader] for reader in groups.reads.inline(nodes))
    for group in changed:
        groups.count(group)
    return list(changed)


def _around(groups: Groups, changed: Iterable[Group]) -> list[Tensor]:
    """What the groups read, and what is read of them."""
    found: set[Tensor] = set()
    for group in changed:
        for member in group.members:
            found.update([t for t, _ in groups.reads.of[member]])
            found.update([t for t in member.outputs if t in groups.reads.readers])
    return sorted(found, key=lambda t: groups.position[t.node])
