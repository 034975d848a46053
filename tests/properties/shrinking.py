"""From a failing graph to a small one, and to a script that shows the failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

import graphc as gc
from graphc.ir import evaluate as evaluation
from graphc.ir.graph import transform
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind

from .values import Array

Fails = Callable[[gc.Graph, list[Array]], bool]
_read = [True]  # whether anybody reads what failed


def shrink(
    graph: gc.Graph, arrays: Sequence[Array], fails: Fails, attempts: int = 150
) -> tuple[gc.Graph, list[Array]]:
    """A smaller graph that fails too, with its inputs: results are dropped, then every node whose
    value may as well be given becomes an input, from the results down."""
    if not _read[-1]:
        return graph, list(arrays)
    current = graph, list(arrays)

    def attempt(inputs: Sequence[Tensor], results: Sequence[Tensor], given: list[Array]) -> bool:
        nonlocal current, attempts
        attempts -= 1
        candidate = gc.Graph(inputs, results, name=graph.name)
        used = [i for i, t in enumerate(inputs) if t.node in set(candidate.nodes)]
        candidate = gc.Graph([inputs[i] for i in used], results, name=graph.name)
        given = [given[i] for i in used]
        if attempts < 0 or candidate.dims != graph.dims or not fails(candidate, given):
            return False
        current = candidate, given
        return True

    results = list(graph.results)
    for tensor in results:
        if attempt(graph.inputs, [tensor], current[1]):
            break
    else:
        for tensor in results:
            rest = [t for t in current[0].results if t is not tensor]
            if len(rest) < len(current[0].results) and rest:
                attempt(graph.inputs, rest, list(arrays))
    done: set[Tensor] = set()
    while attempts > 0:
        found = _next_cut(current[0], done)
        if found is None:
            break
        done.add(found)
        _cut(current, found, attempt)
    return current


@contextmanager
def unread() -> Iterator[None]:
    """Where a failure is what a planted fault should make, its graph is left as large as it is:
    shrinking compiles up to 150 others."""
    _read.append(False)
    try:
        yield
    finally:
        _read.pop()


def _next_cut(graph: gc.Graph, done: set[Tensor]) -> Tensor | None:
    """The tensor nearest to the results that has not been tried."""
    kept = {*graph.results, *done}
    for node in reversed(graph.nodes):
        if node.op.kind is not Kind.LEAF or node.op.name == "variable":
            for tensor in node.outputs:
                if tensor not in kept:
                    return tensor
    return None


def _cut(
    current: tuple[gc.Graph, list[Array]],
    tensor: Tensor,
    attempt: Callable[[Sequence[Tensor], Sequence[Tensor], list[Array]], bool],
) -> bool:
    graph, arrays = current
    below = gc.Graph(graph.inputs, [tensor], name="below")
    (value,) = evaluation.evaluate_graph(below, arrays, _dims(graph, arrays))
    given = gc.placeholder(f"c{tensor.node.serial}_{tensor.index}", tensor.shape, tensor.dtype)
    results = transform(graph.results, replace={tensor: given})
    return attempt([*graph.inputs, given], results, [*arrays, np.array(value)])


def _dims(graph: gc.Graph, arrays: Sequence[Array]) -> dict[str, int]:
    return evaluation.bind_dims(graph, arrays)


def script(graph: gc.Graph, arrays: Sequence[Array]) -> str:
    """Python that compiles the graph and prints what it gives and what it should give."""
    lines = [
        "import numpy as np",
        "from numpy import array, inf, nan",
        "import graphc as gc",
        "from graphc.ir.evaluate import evaluate_graph",
        f'graph = gc.parse_graph("""{gc.print_graph(graph)}""")',
        "arrays = [",
        *(f"    np.array({a.tolist()!r}, {a.dtype.name!r}).reshape({a.shape})," for a in arrays),
        "]",
    ]
    for i, variable in enumerate(graph.variables):
        value = f"np.array({variable.value.tolist()!r}, {variable.dtype.name!r})"
        lines.append(f"graph.variables[{i}].value = {value}.reshape({variable.value.shape})")
    lines += [
        "function = gc.compile(list(graph.inputs), list(graph.outputs), list(graph.updates))",
        "print(evaluate_graph(graph, arrays)[:len(graph.outputs)], function(*arrays), sep='\\n')",
    ]
    return "\n".join(lines) + "\n"


def size_of(graph: gc.Graph) -> int:
    """Nodes that compute something."""
    return sum(1 for node in graph.nodes if _works(node))


def _works(node: Node) -> bool:
    return node.op.kind is not Kind.LEAF
