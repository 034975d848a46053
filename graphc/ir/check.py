"""The invariants of a graph, checked: what every pass may rely on and must keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from graphc.errors import GraphcError, GraphError
from graphc.ir.dim import Dim, names
from graphc.ir.graph import Graph, bodies
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Fact, registry
from graphc.ir.text import format_node, is_inline, value_labels

_CONTEXT = 3  # lines of text shown before and after the culprit


def check_graph(graph: Graph) -> None:
    """Nothing if `graph` is valid; else `GraphError` with the text around the culprit.

    1. Inputs are placeholders, each once, of distinct names.
    2. The graph is closed: every placeholder that it reaches is an input, and every named dim in
       a type or an attribute is one of the inputs' dims.
    3. The op of every node is the registered one of its name.
    4. Operands are outputs that exist, of nodes made earlier: there is no cycle.
    5. Attributes are hashable (they are part of the node's identity).
    6. The type rule, asked again, gives the types that the node has.
    7. Results are outputs that exist; an update is of a variable, of its type, and the only one.
    8. A sub-graph in an attribute keeps 1 to 7 with the outer graph's dims; it has no updates, and
       variables reach it as operands only, so that `Graph.variables` sees them all.
    """
    _check(graph, set(graph.dims))


def _check(graph: Graph, dims: set[str]) -> None:
    inputs = [t.node for t in graph.inputs]
    for tensor in graph.inputs:
        if Fact.INPUT not in tensor.node.op.facts:
            _fail(graph, tensor.node, "an input is not a placeholder", given=repr(tensor))
    if len({t.name for t in graph.inputs}) != len(inputs):
        given = ", ".join(repr(t.name) for t in graph.inputs)
        _fail(graph, None, "two inputs have one name", "distinct names", given)
    known = set(inputs)
    for node in graph.nodes:
        if Fact.INPUT in node.op.facts and node not in known:
            names_ = ", ".join(repr(t.name) for t in graph.inputs)
            _fail(graph, node, "a placeholder is not an input", names_, repr(node.attrs["name"]))
        _check_node(graph, node, dims)
    _check_results(graph)


def _check_node(graph: Graph, node: Node, dims: set[str]) -> None:
    if registry().get(node.op.name) is not node.op:
        _fail(graph, node, "the op is not the registered one of its name")
    for operand in node.inputs:
        _check_exists(graph, node, operand)
        if operand.node.serial >= node.serial:
            _fail(graph, node, "an operand is not older than its user", given=repr(operand))
    for name, value in node.attrs.items():
        try:
            hash(value)
        except TypeError as error:
            _fail(graph, node, f"the attribute {name} is not hashable: {error}")
    try:
        types = node.op.infer(*(t.type for t in node.inputs), **node.attrs)
    except GraphcError as error:
        message = f"the type rule refuses: {error.message}"
        _fail(graph, node, message, error.expected, error.given)
    if types != node.types:
        expected, given = (", ".join(map(str, ts)) for ts in (types, node.types))
        _fail(graph, node, "the types are not those of the type rule", expected, given)
    unbound = set(_names([t.shape for t in node.types], list(node.attrs.values()))) - dims
    if unbound and Fact.INPUT not in node.op.facts:
        expected = "dims of the inputs: " + ", ".join(sorted(dims))
        _fail(graph, node, "a dim has no value", expected, ", ".join(sorted(unbound)))
    for body in bodies(node):
        if body.updates or body.variables:
            what = "updates" if body.updates else "reads"
            _fail(graph, node, f"a sub-graph {what} a variable", "operands of its node", body.name)
        _check(body, dims)


def _check_results(graph: Graph) -> None:
    for tensor in graph.results:
        _check_exists(graph, tensor.node, tensor)
    updated: set[Node] = set()
    for variable, value in graph.updates:
        if not isinstance(variable, Variable) or Fact.STATE not in variable.node.op.facts:
            _fail(graph, value.node, "an update is not of a variable", given=repr(variable))
        if variable.node in updated:
            _fail(graph, value.node, "a variable is updated twice", given=repr(variable.name))
        updated.add(variable.node)
        if variable.type != value.type:
            message = f"an update of {variable.name!r} has another type"
            _fail(graph, value.node, message, str(variable.type), str(value.type))


def _check_exists(graph: Graph, node: Node, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        _fail(graph, node, "not a tensor", given=repr(tensor)[:80])
    count = len(tensor.node.types)
    if not 0 <= tensor.index < count:
        message = f"an output of {tensor.node.op.name} that does not exist"
        _fail(graph, node, message, f"0 <= index < {count}", str(tensor.index))


def _names(*values: Any) -> Iterator[str]:
    """The named dims in sizes, and in tuples and lists of them."""
    for value in values:
        if isinstance(value, Dim):
            yield from names(value)
        elif isinstance(value, (tuple, list)):
            yield from _names(*value)


def _fail(
    graph: Graph, node: Node | None, message: str, expected: str = "", given: str = ""
) -> NoReturn:
    place = "\n" + _around(graph, node) if node is not None else ""
    raise GraphError(
        f"the graph {graph.name!r} is not valid: {message}{place}",
        op=node.op.name if node is not None else "",
        expected=expected,
        given=given,
        where=str(node.origins[0]) if node is not None and node.origins else "",
    )


def _around(graph: Graph, culprit: Node) -> str:
    """The lines of the nodes before and after `culprit`, which is marked."""
    labels = value_labels(graph)
    nodes = [n for n in graph.nodes if n is culprit or not is_inline(n)]
    at = nodes.index(culprit) if culprit in nodes else 0
    shown = nodes[max(at - _CONTEXT, 0) : at + _CONTEXT + 1]
    return "\n".join(
        f"  {'>' if node is culprit else ' '} {format_node(node, labels)}" for node in shown
    )
