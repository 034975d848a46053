"""The groups of nodes that fusion works on: each will be a kernel."""

from __future__ import annotations

from graphc.fusion.quotient import Vertex, put_in_order
from graphc.fusion.reads import Reads
from graphc.fusion.region import directions, is_free, space_of
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.shape import Shape

# The most in one region, so that its kernel compiles fast: ops, and about as many statements.
MEMBERS = 48
STATEMENTS = 128
BUFFERS = 20  # arrays that one region reads at the most


class Group(Vertex):
    """Nodes that will be one kernel, over one iteration space."""

    __slots__ = ("directions", "loads", "members", "outer", "reads", "space", "statements")

    def __init__(self, node: Node, reads: set[Tensor], statements: int) -> None:
        super().__init__()
        self.members: list[Node] = [node]
        self.space: Shape = space_of(node)
        self.outer: int | None = None  # fixed once a reduction is used inside the group
        self.reads = reads
        self.loads = reads  # those of what other groups, and no groups, compute
        self.directions = directions([node])
        self.count(statements)

    def count(self, *statements: int) -> None:
        """Note how many statements the members have, about: a store each, but no loads."""
        self.statements = sum(statements) + len(statements)


class Groups:
    """A graph's nodes in groups; what is in none stands for itself in the order of the work."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.reads = Reads(graph)
        self.position = {node: p for p, node in enumerate(graph.nodes)}
        self.of: dict[Node, Group] = {}
        self.tails: set[Group] = set()  # those that were split off another
        vertices: dict[Node, Vertex] = {}
        for node in graph.nodes:
            if node in self.reads.of:
                reads = {t for t, _ in self.reads.of[node]}
                group = Group(node, reads, self.reads.statements[node])
                vertices[node] = self.of[node] = group
            elif node.inputs and not self.reads.is_read_through(node):
                vertices[node] = Vertex()
        self.kept = self._kept()
        put_in_order(vertices.values())
        for node, vertex in vertices.items():
            for user in self.reads.users[node]:
                vertices[user].use(vertex)

    def merge(self, big: Group, small: Group, outer: int | None) -> None:
        """Move the members of `small` to `big`."""
        big.members += small.members
        big.outer = outer
        big.reads = big.reads | small.reads
        big.directions = {**big.directions, **small.directions}
        big.statements += small.statements
        for member in small.members:
            self.of[member] = big
        loads = big.loads | small.loads
        big.loads = {t for t in loads if self.of.get(t.node) is not big}

    def count(self, group: Group) -> None:
        """Note again what a group reads and how much it does, as its members are others."""
        reads, of = self.reads, self.of
        group.reads = {t for m in group.members for t, _ in reads.of[m]}
        group.loads = {t for t in group.reads if of.get(t.node) is not group}
        group.directions = directions(group.members)
        group.count(*(reads.statements[m] for m in group.members))

    def split(self, group: Group, members: list[Node]) -> None:
        """Move members, which no others of `group` depend on, to a group of their own."""
        apart = Group(members[0], set(), 0)
        apart.members = members
        apart.space = max((space_of(m) for m in members), key=len)
        group.members = [m for m in group.members if m not in set(members)]
        for member in members:
            self.of[member] = apart
        for part in (group, apart):
            self.count(part)
        self.tails.add(apart)

    def is_used_outside(self, tensor: Tensor) -> bool:
        """Whether another group than its own, another op or the caller needs the tensor."""
        of, readers = self.of, self.reads.readers.get(tensor, ())
        mine = of[tensor.node]
        return tensor in self.kept or any(of[node] is not mine for node in readers)

    def _kept(self) -> set[Tensor]:
        """The tensors that the caller and ops that are in no kernel need."""
        found: set[Tensor] = set(self.graph.results)
        for node in self.graph.nodes:
            if node not in self.of and not is_free(node):
                found.update(node.inputs)
                found.update(self._base(t) for t in node.inputs)
        return found

    def _base(self, tensor: Tensor) -> Tensor:
        """The tensor in memory that a view reads."""
        while self.reads.is_read_through(tensor.node) and tensor.node.inputs:
            tensor = tensor.node.inputs[0]
        return tensor
