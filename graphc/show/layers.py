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

MANY = 5  # updates from which on, beside other lanes, each has a frame, and equal ones are one
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
    nodes = graph.nodes
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
            for node, visit in _visits(nodes, found).items():
                title = f"{name} · visit {visit + 1}" if visit else name
                paths[node] = (*path, Part(title, visit))
    _split_updates(graph, paths, MANY if lanes else 2)
    return paths


def _split_updates(graph: Graph, paths: dict[Node, Path], least: int) -> None:
    """Where a layer computes several updates that share no arrays, at `least` so many, as an
    optimiser does, each gets a frame of its own inside the layer's, named by the variable."""
    root: dict[Node, Node] = {node: node for node in paths}

    def find(node: Node) -> Node:
        while root[node] is not node:
            root[node] = node = root[root[node]]
        return node

    for node in graph.nodes:
        for tensor in node.inputs:
            if tensor.shape and paths[tensor.node] == paths[node] != ():
                root[find(tensor.node)] = find(node)
    names: dict[Node, str] = {}  # a group's representative -> the shortest name it updates
    for variable, value in graph.updates:
        found = find(value.node)
        if value.shape and paths[value.node]:
            name = variable.name or "variable"
            names[found] = min(names.get(found, name), name, key=len)
    numbers = {found: i for i, found in enumerate(names)}
    groups = Counter(paths[node] for node in names)
    for node, path in list(paths.items()):
        found = find(node)
        if found in names and groups[path] >= least:
            name = names[found]
            paths[node] = (*path, Part(f"update {name}", numbers[found], name))


def _split(scope: str, within: str) -> list[str]:
    if within and (scope == within or scope.startswith(within + "/")):
        scope = scope[len(within) + 1 :]
    names = [name for name in scope.split("/") if name]
    return names if len(names) <= DEPTH else [*names[: DEPTH - 1], "/".join(names[DEPTH - 1 :])]


def _visits(nodes: Sequence[Node], members: set[Node]) -> dict[Node, int]:
    """For each member how often a path to it has come back to the members; a leaf whose
    elements are only moved, such as a transposed weight, goes with its first user."""
    latest: dict[Node, int] = {}  # the last visit on any path to the node, itself included
    floating: set[Node] = set()
    users: dict[Node, int] = {}  # the earliest visit among the users of what floats
    for node in nodes:
        inside = node in members
        if _only_reads(node) and all(t.node in floating for t in node.inputs):
            floating.add(node)
            continue
        best = 0 if inside else -1
        for source in node.inputs:
            visit = latest.get(source.node, -1)
            if inside and visit >= 0 and source.node not in members:
                visit += 1
            best = max(best, visit)
        if best >= 0:
            latest[node] = best
    for node in reversed(nodes):
        visit = latest.get(node, -1) if node not in floating else users.get(node, -1)
        if node in floating and node in members:
            latest[node] = visit = max(visit, 0)
        for source in node.inputs if node in members else ():
            if source.node in floating:
                users[source.node] = min(visit, users.get(source.node, visit))
    return {node: latest[node] for node in nodes if node in members}


def _only_reads(node: Node) -> bool:
    return not node.inputs or node.op.only_moves
