"""The manifest of a program: plain data that says how to call its object.

It is made once, when the program is compiled, and stored with the object. Symbolic sizes are kept
as text; nothing in it refers to Python objects.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir import literal, origin
from graphc.ir.evaluate import bound, names_within
from graphc.ir.graph import Graph, all_nodes
from graphc.ir.node import Node
from graphc.ir.op import registry
from graphc.lower.context import routines
from graphc.planning.program import Call, Gemm, Host, Program, Storage, product_widths, walk_steps
from graphc.runtime.executable import HostCall

Manifest = dict[str, Any]
ABI = 6  # of the entry and its context


def make_manifest(graph: Graph, program: Program, table: int, objects: Sequence[int]) -> Manifest:
    """The manifest of `program`, which computes `graph`; `table`: the words of the table;
    `objects`: the bytes of each, which follow each other."""
    steps = list(walk_steps(program.steps))
    hosts = [s for s in steps if isinstance(s, Host)]
    place = {v: i for i, v in enumerate(graph.variables)}
    # `where` tells a node's first line, so nodes that have the line first are preferred.
    nodes = list(enumerate(all_nodes(graph)))[::-1]
    origins = {o: i for i, n in nodes for o in n.origins[1:]}
    origins |= {n.origins[0]: i for i, n in nodes if n.origins}
    return {
        "abi": ABI,
        "objects": list(objects),
        "dims": list(program.graph.dims),
        "arena": str(program.arena),
        # The program's order of variables may differ from the graph's, and it may need fewer.
        "variables": [place[v] for v in program.graph.variables],
        "table": table,
        "constants": [_constant_bytes(s) for s in program.constants],
        "sites": [
            {
                "message": site.message,
                "op": site.node.attrs.get("told_as", site.node.op.name),
                "node": next((origins[o] for o in site.node.origins if o in origins), -1),
            }
            for site in program.sites
        ],
        "hosts": [_host(step) for step in hosts],
        "routines": routines(program),
        "products": product_widths(program),
        "parallel": any(
            isinstance(s, Gemm) or (isinstance(s, Call) and s.work is not None) for s in steps
        ),
    }


def _constant_bytes(storage: Storage) -> int:
    assert isinstance(storage.size, int)
    return storage.size * storage.dtype.itemsize


def _host(step: Host) -> Manifest:
    node = step.node
    return {
        "site": step.site,
        "op": node.op.name,
        "attrs": {k: literal.write(v, []) for k, v in node.attrs.items()},
        "operands": [(t.dtype.name, t.ndim) for t in node.inputs],
        "results": [(t.dtype.name, t.rank) for t in node.types],
    }


def host_calls(graph: Graph, manifest: Manifest) -> list[tuple[int, HostCall]]:
    """The functions of the program's host sites; their errors name the user's line in `graph`."""
    hosts = manifest["hosts"]
    nodes = all_nodes(graph) if hosts else []
    return [(h["site"], _host_call(h, _node(nodes, manifest, h["site"]))) for h in hosts]


def _host_call(host: Manifest, node: Node | None) -> HostCall:
    op = registry()[host["op"]]
    attrs = {
        k: literal.read(ast.parse(v, mode="eval").body, iter(())) for k, v in host["attrs"].items()
    }
    origins = node.origins if node is not None else ()
    unknown = names_within(*attrs.values())

    def compute(arrays: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
        assert op.numpy is not None
        dims = dict(zip(unknown, sizes, strict=True))
        known = {k: bound(v, dims) for k, v in attrs.items()}
        with origin.inherit(origins), np.errstate(all="ignore"):
            found = op.numpy(*arrays, **known)
        return list(found) if isinstance(found, tuple) else [found]

    def typed(parts: Any) -> list[tuple[Any, int]]:
        return [(np.dtype(name), rank) for name, rank in parts]

    return HostCall(compute, typed(host["operands"]), typed(host["results"]), len(unknown))


def where(graph: Graph, manifest: Manifest, code: int) -> str:
    """The user's line of the site `code`."""
    node = _node(all_nodes(graph), manifest, code)
    return str(node.origins[0]) if node is not None and node.origins else ""


def _node(nodes: Sequence[Node], manifest: Manifest, code: int) -> Node | None:
    index = manifest["sites"][code - 1]["node"]
    return nodes[index] if 0 <= index < len(nodes) else None
