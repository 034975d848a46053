"""What runs before what: nodes wait for their operands, and writers for the readers of old values.

A result that is the new value of a variable is computed in the memory of that variable, if all who
read the old value can run before it, and all that may fail; see `Waits.place`.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from graphc.fusion.region import is_free
from graphc.ir.graph import Graph, bodies, users
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.planning.memory import hinted_bytes
from graphc.planning.order import Uses


def base_of(tensor: Tensor) -> Tensor:
    """The tensor whose memory a reshape shows."""
    while tensor.node.op.kind is Kind.VIEW:
        tensor = tensor.node.inputs[0]
    return tensor


def memory_of(tensor: Tensor) -> Tensor:
    """The tensor whose memory is read where `tensor` is, which may show it in another order."""
    while (tensor.node.op.kind is Kind.VIEW or is_free(tensor.node)) and tensor.node.inputs:
        tensor = tensor.node.inputs[0]
    return tensor


class Waits:
    """An order of the nodes in which some run after all readers of what they overwrite."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.users = users(graph.nodes)
        self.after: dict[Node, list[Node]] = {}  # further nodes that a node must wait for
        self.waiting: dict[Node, list[Node]] = {}  # the same, from what is waited for
        self.failing = [n for n in graph.nodes if may_fail(n)]

    def place(self, wanted: Sequence[tuple[Tensor, Tensor | None]]) -> list[Tensor | None]:
        """For each wanted result, with the old value that is where it is wanted: the tensor to
        compute there, or None if it has to be copied there when all else is done."""
        found: dict[Tensor, None] = {}
        direct: list[Tensor | None] = []
        for tensor, old in wanted:
            base = base_of(tensor)
            movable = base.node.op.kind is not Kind.LEAF and base not in found
            if movable and (old is None or self.run_last(base.node, old)):
                found[base] = None
                direct.append(base)
            else:
                direct.append(None)
        return direct

    def run_last(self, producer: Node, old: Tensor) -> bool:
        """Let `producer` overwrite `old`: have it wait for the other readers of `old` and for all
        that may fail. False (and nothing changed) if one of them needs its result."""
        readers = [n for n in self._readers(old) if n is not producer]
        waits = [*readers, *(n for n in self.failing if n is not producer)]
        if may_fail(producer) or producer.op.kind is Kind.CONTROL:
            return False
        if producer.op.kind is not Kind.REGION and producer in self._readers(old):
            return False
        reached = self._reachable(producer)
        if any(n in reached for n in waits):
            return False
        self.after.setdefault(producer, []).extend(waits)
        for node in waits:
            self.waiting.setdefault(node, []).append(producer)
        return True

    def _readers(self, tensor: Tensor) -> list[Node]:
        """The nodes that read a tensor's memory, also through views."""
        found: list[Node] = []
        stack = [tensor.node]
        while stack:
            for user in self.users.get(stack.pop(), ()):
                if user.op.kind is Kind.VIEW or is_free(user):
                    stack.append(user)
                else:
                    found.append(user)
        return found

    def _reachable(self, start: Node) -> set[Node]:
        """What runs after `start` by the edges of the graph and the waits so far."""
        seen: set[Node] = set()
        stack = [start]
        while stack:
            node = stack.pop()
            for user in (*self.users.get(node, ()), *self.waiting.get(node, ())):
                if user not in seen:
                    seen.add(user)
                    stack.append(user)
        return seen

    def uses(self, placed: Container[Tensor]) -> Uses:
        """What the nodes wait for and read, and the bytes of results that are not `placed`."""
        nodes = self.graph.nodes
        before = {
            n: list(dict.fromkeys([*(t.node for t in n.inputs), *self.after.get(n, ())]))
            for n in nodes
        }
        works = [n for n in nodes if n.op.kind not in (Kind.LEAF, Kind.VIEW) and not is_free(n)]
        reads: dict[Node, list[Tensor]] = {n: [] for n in nodes}
        reads |= {n: list(dict.fromkeys(memory_of(t) for t in n.inputs)) for n in works}
        temps = (t for n in works for t in n.outputs if t not in placed)
        return Uses(before, reads, {t: hinted_bytes(t.size, t.dtype) for t in temps})

    def nodes(self, first: Sequence[Node] = ()) -> list[Node]:
        """The nodes, each after its operands and what it must wait for; those of `first` in that
        order, as far as it is possible."""
        order: list[Node] = []
        done: set[Node] = set()
        for root in (*first, *self.graph.nodes):
            stack: list[tuple[Node, bool]] = [(root, False)]
            while stack:
                node, ready = stack.pop()
                if node in done:
                    continue
                if ready:
                    done.add(node)
                    order.append(node)
                    continue
                stack.append((node, True))
                before = [*(t.node for t in node.inputs), *self.after.get(node, ())]
                stack.extend((n, False) for n in reversed(before) if n not in done)
        return order


def may_fail(node: Node) -> bool:
    """Whether running the node can fail, what it holds included; or not end, but by a signal."""
    if node.op.kind is Kind.REGION:
        return any(n.op.may_fail for n in node.attrs["body"].nodes)
    if node.op.kind is Kind.CONTROL and Fact.WHILE not in node.op.facts:
        return any(may_fail(n) for body in bodies(node) for n in body.nodes)
    return node.op.may_fail
