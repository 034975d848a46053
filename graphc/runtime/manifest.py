"""The manifest of a program: plain data that says how to call its object.

It is made once, when the program is compiled, and stored with the object. Symbolic sizes are kept
as text; nothing in it refers to Python objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.ir import literal
from graphc.ir.graph import Graph, all_nodes
from graphc.ir.node import Node
from graphc.lower.context import routines, vector_loops
from graphc.lower.products import own_widths
from graphc.planning.program import Call, Gemm, Host, Passes, Program, Storage, walk_steps

Manifest = dict[str, Any]
ABI = 10  # of the entry and its context


def make_manifest(graph: Graph, program: Program, table: int, objects: Sequence[int]) -> Manifest:
    """The manifest of `program`, which computes `graph`; `table`: the words of the table;
    `objects`: the bytes of each, which follow each other."""
    steps = list(walk_steps(program.steps))
    hosts = [s for s in steps if isinstance(s, Host)]
    place = {v: i for i, v in enumerate(graph.variables)}
    place_of = _places(graph) if program.sites else lambda node: -1
    return {
        "abi": ABI,
        "objects": list(objects),
        "dims": list(program.graph.dims),
        "arena": str(program.arena),
        "frame": str(program.frame),
        # The program's order of variables may differ from the graph's, and it may need fewer.
        "variables": [place[v] for v in program.graph.variables],
        "table": table,
        "constants": [_constant_bytes(s) for s in program.constants],
        "sites": [
            {
                "message": site.message,
                "op": site.node.attrs.get("told_as", site.node.op.name),
                "node": place_of(site.node),
            }
            for site in program.sites
        ],
        "hosts": [_host(step) for step in hosts],
        "routines": routines(program),
        "loops": vector_loops(program),
        "products": own_widths(program),
        "parallel": any(
            isinstance(s, Gemm)
            or (isinstance(s, Call) and s.work is not None)
            or (isinstance(s, Host) and isinstance(s.native, Passes))
            for s in steps
        ),
    }


def _places(graph: Graph) -> Callable[[Node], int]:
    """For a node of the program that may fail, the place of the one that it comes from among all of
    the graph: of those with its lines the one that is of its op, since the same program may be run
    for a graph of which other lines are one. Else -1."""
    nodes = list(enumerate(all_nodes(graph)))[::-1]
    # `where` tells a node's first line, so nodes that have the line first are preferred.
    lines = {o: i for i, n in nodes for o in n.origins[1:]}
    lines |= {n.origins[0]: i for i, n in nodes if n.origins}
    ops = {(n.op, o): i for i, n in nodes for o in n.origins[1:]}
    ops |= {(n.op, n.origins[0]): i for i, n in nodes if n.origins}

    def place_of(node: Node) -> int:
        alike = [ops[node.op, o] for o in node.origins if (node.op, o) in ops]
        others = [lines[o] for o in node.origins if o in lines]
        return next(iter([*alike, *others]), -1)

    return place_of


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
