"""Which layer cluster a node is drawn in, from the scopes of the user's program.

The gradient of a layer has the layer's scope too, yet comes long after it. One frame around both
would span the whole drawing, so a scope has one cluster for each visit: a node belongs to visit k
if some path to it has left the scope and come back k times. No path leaves and re-enters a visit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from graphc.ir.node import Node

DEPTH = 6  # nested clusters at the most; what lies deeper is named in the last one

Part: TypeAlias = tuple[str, int]  # a scope's name below its parent, and the visit


def scope_of(node: Node) -> str:
    """The layer scope of a node: that of its first origin."""
    return node.origins[0].scope if node.origins else ""


def layer_paths(nodes: Sequence[Node], within: str = "") -> dict[Node, tuple[Part, ...]]:
    """The clusters of each node from the outermost inwards; `nodes` are in topological order.

    `within` is a scope that is drawn already: it is taken off the front of every scope.
    """
    parts = {node: _split(scope_of(node), within) for node in nodes}
    paths: dict[Node, tuple[Part, ...]] = dict.fromkeys(nodes, ())
    for level in range(DEPTH):
        members: dict[tuple[tuple[Part, ...], str], set[Node]] = {}
        for node in nodes:
            if len(parts[node]) > level:
                members.setdefault((paths[node], parts[node][level]), set()).add(node)
        if not members:
            break
        for (path, name), found in members.items():
            for node, visit in _visits(nodes, found).items():
                paths[node] = (*path, (name, visit))
    return paths


def _split(scope: str, within: str) -> list[str]:
    if within and (scope == within or scope.startswith(within + "/")):
        scope = scope[len(within) + 1 :]
    names = [name for name in scope.split("/") if name]
    return names if len(names) <= DEPTH else [*names[: DEPTH - 1], "/".join(names[DEPTH - 1 :])]


def _visits(nodes: Sequence[Node], members: set[Node]) -> dict[Node, int]:
    """For each member how often a path to it has come back to the members."""
    latest: dict[Node, int] = {}  # the last visit on any path to the node, itself included
    left = len(members)
    for node in nodes:
        if not left:
            break
        inside = node in members
        best = -1
        for source in node.inputs:
            visit = latest.get(source.node, -1)
            if inside and visit >= 0 and source.node not in members:
                visit += 1
            best = max(best, visit)
        if inside:
            best, left = max(best, 0), left - 1
        if best >= 0:
            latest[node] = best
    return {node: visit for node, visit in latest.items() if node in members}
