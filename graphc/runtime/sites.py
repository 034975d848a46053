"""The sites of a program, read from its manifest: calls back into Python, and what failed where."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import RuntimeFailure
from graphc.ir import literal, origin
from graphc.ir.evaluate import bound, evaluate_graph, learn_dims, names_within
from graphc.ir.graph import Graph, all_nodes
from graphc.ir.node import Node
from graphc.ir.op import registry
from graphc.ir.outside import in_graph
from graphc.ir.parsing import parse_expression
from graphc.runtime.executable import Manifest

Array: TypeAlias = np.ndarray[Any, Any]


class HostCall:
    """A host op at one site: arrays are made over the program's memory, results copied into it.
    Its attributes have `dims` named dims, whose values are given last."""

    def __init__(
        self, compute: Any, operands: list[tuple[Any, int]], results: list[Any], dims: int
    ) -> None:
        self._compute, self._parts, self._count = compute, [*operands, *results], len(operands)
        self._axes = sum(rank for _, rank in self._parts)
        self._words = self._axes + dims
        # What the last call read, and its arrays: turns of a loop are given the same memory.
        self._seen: tuple[Any, list[Array]] = (None, [])

    def __call__(self, pointers: Any, sizes: Any) -> None:
        read = pointers[: len(self._parts)], sizes[: self._words]
        seen, arrays = self._seen
        if seen != read:
            arrays = self._arrays(*read)
            self._seen = read, arrays
        found = self._compute([a.copy() for a in arrays[: self._count]], read[1][self._axes :])
        for target, value in zip(arrays[self._count :], found, strict=True):
            target[...] = value

    def _arrays(self, pointers: Sequence[int | None], sizes: Sequence[int]) -> list[Array]:
        ends = accumulate((rank for _, rank in self._parts), initial=0)
        return [
            _array_at(pointer, dtype, tuple(sizes[start : start + rank]))
            for pointer, (dtype, rank), start in zip(pointers, self._parts, ends, strict=False)
        ]


def _array_at(pointer: int | None, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """An array over memory that the program owns."""
    if 0 in shape or pointer is None:
        return np.empty(shape, dtype)
    size = prod(shape) * dtype.itemsize
    memory = (ctypes.c_char * size).from_address(pointer)
    return np.frombuffer(memoryview(memory), dtype).reshape(shape)


def host_calls(graph: Graph, manifest: Manifest) -> list[tuple[int, HostCall]]:
    """The functions of the program's host sites; their errors name the user's line in `graph`."""
    hosts = manifest["hosts"]
    nodes = all_nodes(graph) if hosts else []
    return [(h["site"], _host_call(h, _node(nodes, manifest, h["site"]))) for h in hosts]


def _host_call(host: Manifest, node: Node | None) -> HostCall:
    op = registry()[host["op"]]
    attrs = {k: literal.read(parse_expression(v), iter(())) for k, v in host["attrs"].items()}
    origins = node.origins if node is not None else ()
    unknown = names_within(*attrs.values())
    fixed = {} if unknown else {k: bound(v, {}) for k, v in attrs.items()}

    def compute(arrays: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
        assert op.numpy is not None
        dims = dict(zip(unknown, sizes, strict=True))
        known = fixed if not unknown else {k: bound(v, dims) for k, v in attrs.items()}
        with origin.inherit(origins), np.errstate(all="ignore"):
            found = op.numpy(*arrays, **known)
        return list(found) if isinstance(found, tuple) else [found]

    def typed(parts: Any) -> list[tuple[Any, int]]:
        return [(np.dtype(name), rank) for name, rank in parts]

    return HostCall(compute, typed(host["operands"]), typed(host["results"]), len(unknown))


def failure(
    graph: Graph, manifest: Manifest, code: int, arrays: Sequence[Any], rows: Any = None
) -> RuntimeFailure:
    """The error of a call with these arrays that failed at the site `code`; `rows`: which examples
    of the data they are."""
    site, line = manifest["sites"][code - 1], where(graph, manifest, code)
    kind = registry()[site["op"]].failure
    return explained(kind(site["message"], op=site["op"], where=line), graph, arrays, rows)


def explained(
    error: RuntimeFailure, graph: Graph, arrays: Sequence[Any], rows: Any = None
) -> RuntimeFailure:
    """The error of a call, with the index that was out of range, if that is what it is about."""
    given = [np.asarray(a, t.dtype.numpy) for a, t in zip(arrays, graph.inputs, strict=True)]
    sizes = learn_dims(graph, given)

    def compute(part: Graph) -> Sequence[Any]:
        return evaluate_graph(part, given, sizes)

    told = in_graph(graph, error.message, error.where, given, sizes, rows, compute)
    if told is None:
        return error
    sides = {"expected": told.expected, "given": told.given}
    return type(error)(error.message, op=error.op, where=error.where, **sides)


def where(graph: Graph, manifest: Manifest, code: int) -> str:
    """The user's line of the site `code`."""
    node = _node(all_nodes(graph), manifest, code)
    return str(node.origins[0]) if node is not None and node.origins else ""


def _node(nodes: Sequence[Node], manifest: Manifest, code: int) -> Node | None:
    index = manifest["sites"][code - 1]["node"]
    return nodes[index] if 0 <= index < len(nodes) else None
