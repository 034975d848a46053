"""The order in which a program computes: the one that needs least memory of those tried.

Two orders are compared by the most bytes that are alive at once, as XLA's memory scheduler does
with its list and depth-first schedules: the given one, and a greedy one. The greedy order runs,
among the nodes that are ready, the one after which fewest bytes are alive; with a node count those
of its users that then become ready and free more than they make, so that a weight's gradient is
followed by the update that consumes it. Both take time n log n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from graphc.ir.node import Node, Tensor

LOOKED_AT = 8  # users of a node that may follow it at once


class Uses(NamedTuple):
    """What nodes need. `before`: the nodes that a node must wait for, each once; `reads`: the
    tensors whose memory it reads, each once; `bytes`: of the tensors that are temporaries."""

    before: Mapping[Node, Sequence[Node]]
    reads: Mapping[Node, Sequence[Tensor]]
    bytes: Mapping[Tensor, int]

    def made(self, node: Node) -> int:
        """The bytes of temporaries that the node makes."""
        return sum([self.bytes.get(t, 0) for t in node.outputs])


def order_for_memory(nodes: Sequence[Node], uses: Uses) -> list[Node]:
    """`nodes`, given in a valid order, in one that has no more bytes alive at once."""
    given = list(nodes)
    if not any(uses.bytes.values()):
        return given
    return min((given, _Greedy(given, uses).order()), key=lambda order: peak(order, uses))


def peak(order: Sequence[Node], uses: Uses) -> int:
    """The most bytes of temporaries alive at once if the nodes run in this order; what a node reads
    lives until the node is done."""
    left = _readers(order, uses)
    alive = most = 0
    for node in order:
        alive += uses.made(node)
        most = max(most, alive)
        for tensor in node.outputs:
            if not left.get(tensor):
                alive -= uses.bytes.get(tensor, 0)
        for tensor in uses.reads[node]:
            left[tensor].discard(node)
            if not left[tensor]:
                alive -= uses.bytes.get(tensor, 0)
    return most


def _readers(nodes: Sequence[Node], uses: Uses) -> dict[Tensor, set[Node]]:
    found: dict[Tensor, set[Node]] = {}
    for node in nodes:
        for tensor in uses.reads[node]:
            found.setdefault(tensor, set()).add(node)
    return found


class _Greedy:
    def __init__(self, nodes: Sequence[Node], uses: Uses) -> None:
        self.nodes, self.uses = nodes, uses
        self.position = {node: p for p, node in enumerate(nodes)}
        self.readers = _readers(nodes, uses)
        self.waits = {node: set(uses.before[node]) for node in nodes}
        self.followers: dict[Node, list[Node]] = {node: [] for node in nodes}
        for node in nodes:
            for other in self.waits[node]:
                self.followers[other].append(node)

    def order(self) -> list[Node]:
        """All nodes, the ready one that leaves fewest bytes alive first."""
        heap = [self._entry(n) for n in self.nodes if not self.waits[n]]
        heapify(heap)
        order: list[Node] = []
        done: set[Node] = set()
        while heap:
            entry = heappop(heap)
            node = self.nodes[entry[-1]]
            if node in done:
                continue
            now = self._entry(node)
            if now > entry:  # it has become worse since it was put there
                heappush(heap, now)
                continue
            done.add(node)
            order.append(node)
            for other in self._run(node):
                if other not in done and not self.waits[other]:
                    heappush(heap, self._entry(other))
        return order

    def _run(self, node: Node) -> list[Node]:
        """Take the node as done; the nodes that are ready or worth more because of it."""
        changed: list[Node] = []
        for follower in self.followers[node]:
            waits = self.waits[follower]
            waits.discard(node)
            if not waits:
                changed.append(follower)
            elif len(waits) == 1:
                changed += waits
        for tensor in self.uses.reads[node]:
            readers = self.readers[tensor]
            readers.discard(node)
            if len(readers) == 1:
                (last,) = readers
                changed.append(last)
                if len(self.waits[last]) == 1:
                    changed += self.waits[last]
        return changed

    def _entry(self, node: Node) -> tuple[int, int, int]:
        """How good it is to run the node now, less is better: the bytes alive after it and after
        the users that it leads to, the bytes that it makes, its place in the given order."""
        after = self._growth(node, {node})
        for follower in self.followers[node][:LOOKED_AT]:
            if len(self.waits[follower]) == 1:
                after += min(self._growth(follower, {node, follower}), 0)
        return after, self.uses.made(node), self.position[node]

    def _growth(self, node: Node, done: set[Node]) -> int:
        """By how many bytes the live temporaries grow if the node runs and all of `done` have."""
        growth = self.uses.made(node)
        for tensor in self.uses.reads[node]:
            if self.readers[tensor] <= done:
                growth -= self.uses.bytes.get(tensor, 0)
        return growth
