"""What has a name besides the tensors that the user gave one: results of layers."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.graph import users, walk
from graphc.ir.node import Node, Tensor


def layer_results(roots: Sequence[Tensor]) -> dict[str, Tensor]:
    """The results of the layers that tensors are made of, by the layers' names: what is made inside
    of a layer, innermost first, and read outside of it.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n", 3))
    >>> hidden = gc.nn.Dense(2, "tanh", name="hidden")(x)
    >>> layer_results([gc.sum(hidden)])["hidden"] is hidden
    True
    """
    nodes = walk(roots)
    readers = users(nodes)
    found: dict[str, Tensor] = {}
    named: set[Tensor] = set()
    scopes = {node: _scope(node) for node in nodes}
    depths = sorted({s for s in scopes.values() if s}, key=lambda s: -s.count("/"))
    for scope in depths:
        inside = [n for n, s in scopes.items() if s == scope or s.startswith(f"{scope}/")]
        within = set(inside)
        results = [n for n in inside if n.inputs and not within.issuperset(readers[n])]
        if results and (t := results[-1].output()) not in named and t.dtype.is_float:
            named.add(t)
            found.setdefault(scope.rpartition("/")[2], t)
    return found


def _scope(node: Node) -> str:
    return node.origins[0].scope if node.origins else ""
