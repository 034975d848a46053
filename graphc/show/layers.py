"""Which layer cluster a node is drawn in, from the scopes of the user's program.

The gradient of a layer has the layer's scope too, yet comes long after it. One frame around both
would span the whole drawing, so a scope has one cluster for each visit: a node belongs to visit k
if some path to it has left the scope and come back k times. No path leaves and re-enters a visit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.op import Fact

MANY = 5  # updates from which on, beside other lanes, each has a frame, and is called w
DEPTH = 6  # nested clusters at the most; what lies deeper is named in the last one


class Part(NamedTuple):
    """One step of a path of clusters: two with the same title may differ by their number."""

    title: str
    number: int = 0
    updates: str = ""  # the name of the variable whose update the cluster holds


Path: TypeAlias = tuple[Part, ...]


def scope_of(node: Node) -> str:
    """The layer scope of a node: that of its first origin."""
    return node.origins[0].scope if node.origins else ""


def layer_paths(
    graph: Graph, within: str = "", lanes: Mapping[Node, str] = MappingProxyType({})
) -> dict[Node, Path]:
    """The clusters of each node from the outermost inwards: its lane, if it has one, then layers.

    `within` is a scope that is drawn already: it is taken off the front of every scope.
    """
    nodes, flow = graph.nodes, _Flow(graph.nodes)
    parts = {node: _split(scope_of(node), within) for node in nodes}
    if lanes:
        parts = {node: [lanes[node], *names] for node, names in parts.items()}
    paths: dict[Node, Path] = dict.fromkeys(nodes, ())
    for level in range(DEPTH + bool(lanes)):
        members: dict[tuple[Path, str], set[Node]] = {}
        for node in nodes:
            if len(parts[node]) > level:
                members.setdefault((paths[node], parts[node][level]), set()).add(node)
        if not members:
            break
        for (path, name), found in members.items():
            for node, visit in flow.visits(found).items():
                title = f"{name} · visit {visit + 1}" if visit else name
                paths[node] = (*path, Part(title, visit))
    _split_optimizers(graph, paths)
    _split_updates(graph, paths, MANY if lanes else 2)
    return paths


class _Groups:
    """Nodes in the same cluster that tensors connect: arrays only, or scalars too."""

    def __init__(self, graph: Graph, paths: Mapping[Node, Path], by_scalars: bool) -> None:
        self._root: dict[Node, Node] = {node: node for node in paths}
        for node in graph.nodes:
            for tensor in node.inputs:
                together = paths[tensor.node] == paths[node] != ()
                if together and (tensor.shape or (by_scalars and _varies(tensor.node))):
                    self._root[self.of(tensor.node)] = self.of(node)
        self.updates: dict[Node, list[str]] = {}  # a group -> the arrays that it updates
        for variable, value in graph.updates:
            if value.shape and paths[value.node]:
                names = self.updates.setdefault(self.of(value.node), [])
                names.append(variable.name or "variable")

    def of(self, node: Node) -> Node:
        """The node that stands for the group of `node`."""
        root = self._root
        while root[node] is not node:
            root[node] = node = root[root[node]]
        return node


def _split_optimizers(graph: Graph, paths: dict[Node, Path]) -> None:
    """Several optimisers of one name, as those of the two networks that play against each other,
    have a frame each, named after what it updates: each counts its steps for all it updates."""
    groups = _Groups(graph, paths, by_scalars=True)
    found: dict[Path, list[Node]] = {}
    for group, names in groups.updates.items():
        if len(names) > 1:
            found.setdefault(paths[group], []).append(group)
    titles: dict[Node, Part] = {}
    for path, several in found.items():
        for number, group in enumerate(several if len(several) > 1 else ()):
            common = _common([n.removeprefix(path[-1].title + "/") for n in groups.updates[group]])
            named = f" of {common}" if common else f" · {number + 1}"
            titles[group] = Part(path[-1].title + named, number)
    for node, path in list(paths.items()):
        if (group := groups.of(node)) in titles:
            paths[node] = (*path[:-1], titles[group])


def _common(names: Sequence[str]) -> str:
    """The layers that all of the paths begin with.

    >>> _common(["net/dense1/kernel", "net/dense2/bias"]), _common(["a", "b"])
    ('net', '')
    """
    first, *others = [name.split("/")[:-1] for name in names]
    shared = first[: min(map(len, (first, *others)))]
    while any(other[: len(shared)] != shared for other in others):
        shared.pop()
    return "/".join(shared)


def _split_updates(graph: Graph, paths: dict[Node, Path], least: int) -> None:
    """Where a layer computes several updates that share no arrays, as an optimiser does, each has a
    frame of its own inside the layer's, named by the variable, if there are `least` in all."""
    groups = _Groups(graph, paths, by_scalars=False)
    numbers = {group: i for i, group in enumerate(groups.updates)}
    counted = Counter(paths[group] for group in groups.updates)
    for node, path in list(paths.items()):
        group = groups.of(node)
        if group in numbers and counted[path] > 1 and len(numbers) >= least:
            name = min(groups.updates[group], key=len)
            paths[node] = (*path, Part(f"update {name}", numbers[group], name))


def _split(scope: str, within: str) -> list[str]:
    if within and (scope == within or scope.startswith(within + "/")):
        scope = scope[len(within) + 1 :]
    names = [name for name in scope.split("/") if name]
    return names if len(names) <= DEPTH else [*names[: DEPTH - 1], "/".join(names[DEPTH - 1 :])]


class _Flow:
    """The nodes of a graph by their places, and where the arrays that each one reads come from."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.place = {node: i for i, node in enumerate(nodes)}
        floating: set[Node] = set()  # leaves, and what only moves their elements
        for node in nodes:
            if _only_reads(node) and all(t.node in floating for t in node.inputs):
                floating.add(node)
        self.floating = [node in floating for node in nodes]
        sources = [[self.place[t.node] for t in node.inputs] for node in nodes]
        self.read = [[s for s in found if not self.floating[s]] for found in sources]
        self.moved = [[s for s in found if self.floating[s]] for found in sources]

    def visits(self, members: set[Node]) -> dict[Node, int]:
        """For each member how often a path to it has come back to the members; a leaf whose
        elements are only moved, such as a transposed weight, goes with its first user."""
        places = sorted(self.place[node] for node in members)
        inside = bytearray(len(self.nodes))
        for i in places:
            inside[i] = True
        latest = [-1] * len(self.nodes)  # the last visit on any path to the node, itself included
        for i in range(places[0], places[-1] + 1):
            if self.floating[i]:
                continue
            best = -1
            if inside[i]:
                best = 0
                for source in self.read[i]:
                    visit = latest[source]
                    if visit >= best:
                        best = visit if inside[source] else visit + 1
            else:
                for source in self.read[i]:
                    if latest[source] > best:
                        best = latest[source]
            latest[i] = best
        users: dict[int, int] = {}  # the earliest visit among the users of what floats
        for i in reversed(places):
            if self.floating[i]:
                latest[i] = users.get(i, 0)
            for source in self.moved[i]:
                users[source] = min(latest[i], users.get(source, latest[i]))
        return {self.nodes[i]: latest[i] for i in places}


def _varies(node: Node) -> bool:
    return Fact.CONSTANT not in node.op.facts


def _only_reads(node: Node) -> bool:
    return not node.inputs or node.op.only_moves
