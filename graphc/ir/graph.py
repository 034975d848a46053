"""Graphs: inputs, outputs and updates; and the few walks that everything else is made of.

Every walk is iterative, so depth is bounded by memory and not by Python's recursion limit.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from graphc.errors import ArgumentError, GraphError
from graphc.ir import origin
from graphc.ir.collector import paused_collector
from graphc.ir.conditions import Condition, needed_bounds
from graphc.ir.dim import Dim, named, names
from graphc.ir.equations import NOTHING, Solution, solve
from graphc.ir.node import Node, Tensor, Variable, apply, graph_lock
from graphc.ir.op import Fact, Kind
from graphc.ir.operators import functions
from graphc.keywords import answering


class Graph:
    """A function as a value: outputs and variable updates computed from inputs.

    Interned like nodes: two graphs with the same parts are the same object, so a graph can be an
    attribute of a node (the body of a scan, the inside of a fused region).
    Errors: `GraphError` for an output that depends on a placeholder that is not an input, two
    inputs of one name, or two updates of one variable.
    """

    __slots__ = (
        "__weakref__", "_conditions", "_order", "_sizes", "inputs", "name", "outputs", "updates"
    )  # fmt: skip

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    updates: tuple[tuple[Variable, Tensor], ...]
    name: str

    @answering
    def __new__(
        cls,
        inputs: Iterable[Tensor],
        outputs: Iterable[Tensor],
        updates: Iterable[tuple[Variable, Tensor]] = (),
        name: str = "graph",
    ) -> Graph:
        if not isinstance(name, str):
            raise ArgumentError(
                "a name is a string", op="Graph", expected="a str", given=repr(name)[:80]
            )
        parts = (tuple(inputs), tuple(outputs), tuple((v, t) for v, t in updates))
        key = (
            *(tuple((id(t.node), t.index) for t in ts) for ts in parts[:2]),
            tuple((id(v.node), id(t.node), t.index) for v, t in parts[2]),
            name,
        )
        with graph_lock:
            found = _table.get(key)
            if found is None:
                found = super().__new__(cls)
                found.inputs, found.outputs, found.updates = parts
                found.name, found._order = name, None
                found._sizes, found._conditions = None, None
                _check_closed(found)
                _table[key] = found
            return found

    @property
    def results(self) -> tuple[Tensor, ...]:
        """All tensors that the graph computes: outputs, then the updates' new values."""
        return self.outputs + tuple(value for _, value in self.updates)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node in a deterministic topological order: operands before users."""
        if self._order is None:
            self._order = tuple(walk(self.results))
        return self._order

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Every variable read or updated, in order of first use."""
        return variables_of((*self.nodes, *(v.node for v, _ in self.updates)))

    @property
    def dims(self) -> tuple[str, ...]:
        """The named dims of the inputs, sorted."""
        return tuple(sorted({d for t in self.inputs for s in t.shape for d in names(s)}))

    @property
    def sizes(self) -> Solution:
        """What the equations between named dims say that its operations, those of loops and
        branches too, need.

        Errors: `ShapeError` for operations that no sizes satisfy, with their lines.
        """
        if self._sizes is None:
            self._sizes = _solve_sizes(self)
        return self._sizes

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the sizes of its inputs have to satisfy: equations, then bounds, those that follow
        from others left out. Who runs a graph checks them before anything else.

        Errors: `ShapeError` for operations that no sizes satisfy, with their lines.
        """
        if self._conditions is None:
            given = [c for t in self.inputs for c in t.node.needs]
            known = self.sizes
            bounds = needed_bounds(_needs(self, ">="), given, known.sizes, known.needed)
            self._conditions = self.sizes.needed + bounds
        return self._conditions

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self.inputs)} inputs, {len(self.nodes)} nodes>"

    def __str__(self) -> str:
        return str(functions()["_text_"](self))  # print_graph, in text.py

    def _repr_svg_(self) -> str:
        return str(functions()["_repr_svg_"](self))

    def _repr_latex_(self) -> str | None:
        found: str | None = functions()["_repr_latex_"](self)
        return found

    def _repr_html_(self) -> str | None:
        found: str | None = functions()["_repr_html_"](self)
        return found

    def __copy__(self) -> Graph:
        return self

    def __deepcopy__(self, memo: Any) -> Graph:
        copy: Graph = functions()["_deepcopy_graph_"](self, memo)  # in copying.py
        return copy

    def __reduce__(self) -> Any:
        return functions()["_reduce_graph_"](self)  # as text

    _order: tuple[Node, ...] | None
    _sizes: Solution | None
    _conditions: tuple[Condition, ...] | None


_table: weakref.WeakValueDictionary[Any, Graph] = weakref.WeakValueDictionary()


def _unknown_input(name: str) -> str:
    """What to do about a placeholder that is no input: a user's, or what a function is called with
    (`scan#3.0`), which has got out of it."""
    what, mark, _ = name.partition("#")
    if mark:
        return (
            f"it is what the function of {what} is called with, and means nothing outside: return "
            "what is computed from it from that function"
        )
    return (
        "name it among the inputs, or give gc.evaluate an array for it; `at` is where it was made"
    )


def _check_closed(graph: Graph) -> None:
    inputs = {t.node for t in graph.inputs}
    for tensor in graph.inputs:
        if Fact.INPUT not in tensor.node.op.facts:
            raise GraphError(
                "an input must be a placeholder", op=graph.name, given=repr(tensor)
            )
    seen: set[str] = set()
    for tensor in graph.inputs:
        if tensor.name in seen:
            raise GraphError("two inputs have one name", op=graph.name, given=repr(tensor.name))
        seen.add(tensor.name)
    for node in graph.nodes:
        if Fact.INPUT in node.op.facts and node not in inputs:
            raise GraphError(
                "an output depends on a placeholder that is not an input",
                op=graph.name,
                expected="inputs " + (", ".join(repr(t.name) for t in graph.inputs) or "(none)"),
                given=repr(node.attrs["name"]),
                where=str(node.origins[0]) if node.origins else "",
                hint=_unknown_input(node.attrs["name"]),
            )
    updated: set[Node] = set()
    for variable, value in graph.updates:
        if variable.node in updated:
            raise GraphError("a variable is updated twice", op=graph.name, given=variable.name)
        updated.add(variable.node)
        if variable.type != value.type:
            raise GraphError(
                "an update has another type than its variable",
                op=graph.name,
                expected=f"{variable.name}: {variable.type}",
                given=str(value.type),
                where=str(value.node.origins[0]) if value.node.origins else "",
            )


def _needs(graph: Graph, relation: str) -> list[Condition]:
    """What the nodes need, of bodies too, each with the operation and the line of the first."""
    found: dict[Condition, Condition] = {}
    stack = [graph]
    while stack:
        for node in stack.pop().nodes:
            for need in node.needs:
                if need.relation == relation and need not in found:
                    where = str(node.origins[0]) if node.origins else ""
                    found[need] = need._replace(op=node.op.name, where=where)
            if node.op.kind in (Kind.CONTROL, Kind.REGION):
                stack.extend(bodies(node))
    return list(found.values())


def _solve_sizes(graph: Graph) -> Solution:
    """Names are expressed by those that are the size of an input's axis, the first ones first."""
    equations = _needs(graph, "=")
    if not equations:
        return NOTHING
    sizes = [s for t in graph.inputs for s in t.shape if isinstance(s, Dim)]
    order = list(dict.fromkeys(name for s in sizes for name in sorted(names(s))))
    return solve(equations, order, {n for n in order if named(n) in sizes})


# -- graphs inside of nodes ------------------------------------------------------------------------
def bodies(node: Node) -> list[Graph]:
    """The graphs that a node holds, in the order of its attributes."""
    return [graph for value in node.attrs.values() for graph in _graphs(value)]


def _graphs(value: Any) -> list[Graph]:
    if isinstance(value, tuple):
        return [graph for part in value for graph in _graphs(part)]
    return [value] if isinstance(value, Graph) else []


def all_nodes(graph: Graph) -> list[Node]:
    """The nodes of a graph, and after them those of the graphs that they hold."""
    found: list[Node] = []
    pending = [graph]
    for inside in pending:  # which grows meanwhile
        found += inside.nodes
        pending += [body for node in inside.nodes for body in bodies(node)]
    return found


def with_bodies(value: Any, change: Callable[[Graph], Graph]) -> Any:
    """The value of an attribute, each graph in it changed; itself where none is another one."""
    if isinstance(value, Graph):
        return change(value)
    if isinstance(value, tuple) and _graphs(value):
        parts = tuple(with_bodies(part, change) for part in value)
        return value if all(map(operator.is_, parts, value)) else parts
    return value


# -- walks -----------------------------------------------------------------------------------------
def walk(roots: Iterable[Tensor], stop: Collection[Tensor] = ()) -> list[Node]:
    """The nodes below `roots`, operands before users, in a deterministic order; what only tensors
    of `stop` depend on is left out."""
    order: list[Node] = []
    done: set[Node] = set()
    stack: list[tuple[Node, Iterator[Tensor]]] = []
    for root in roots:
        if root.node in done or root in stop:
            continue
        stack.append((root.node, iter(root.node.inputs)))
        done.add(root.node)
        while stack:
            node, rest = stack[-1]
            for operand in rest:
                child = operand.node
                if child not in done and operand not in stop:
                    done.add(child)
                    stack.append((child, iter(child.inputs)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def variables_of(nodes: Iterable[Node]) -> tuple[Variable, ...]:
    """The variables among `nodes`, each once, in order."""
    found = {node.output(): None for node in nodes if Fact.STATE in node.op.facts}
    return tuple(v for v in found if isinstance(v, Variable))


def users(nodes: Sequence[Node]) -> dict[Node, list[Node]]:
    """For each node those of `nodes` that use it, each once, in order."""
    found: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for source in dict.fromkeys(t.node for t in node.inputs):
            found.setdefault(source, []).append(node)
    return found


def rebuild(node: Node, inputs: Sequence[Tensor]) -> Node:
    """`node` over other inputs, keeping its origins."""
    if all(map(operator.is_, inputs, node.inputs)):
        return node
    with origin.inherit(node.origins):
        return apply(node.op, inputs, **node.attrs)


Rewrite = Callable[[Node, tuple[Tensor, ...]], "Sequence[Tensor] | None"]


@paused_collector()
def transform(
    roots: Sequence[Tensor],
    rewrite: Rewrite | None = None,
    replace: Mapping[Tensor, Tensor] | None = None,
) -> list[Tensor]:
    """`roots` rebuilt bottom-up.

    `replace` gives tensors to substitute; `rewrite(node, new_inputs)` may return replacements for
    a node's outputs, or None to rebuild it as it is. What it makes has the origins of the node.
    """
    done: dict[Tensor, Tensor] = dict(replace or {})
    for node in walk(roots, replace or ()):
        outputs = node.outputs
        inputs = tuple(done[t] for t in node.inputs)
        new = None
        if rewrite is not None:
            with origin.inherit(node.origins):
                new = rewrite(node, inputs)
        for old, value in zip(
            outputs, rebuild(node, inputs).outputs if new is None else new, strict=True
        ):
            done.setdefault(old, value)
    return [done[t] for t in roots]


def map_graph(
    graph: Graph, rewrite: Rewrite | None = None, replace: Mapping[Tensor, Tensor] | None = None
) -> Graph:
    """`graph` with its results transformed; inputs and updated variables stay."""
    results = transform(graph.results, rewrite, replace)
    return with_results(graph, results)


def with_results(graph: Graph, results: Sequence[Tensor]) -> Graph:
    """`graph` with other results, in the order of `graph.results`."""
    n = len(graph.outputs)
    updates = [(v, t) for (v, _), t in zip(graph.updates, results[n:], strict=True)]
    return Graph(graph.inputs, results[:n], updates, graph.name)


def inline(graph: Graph, arguments: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of `graph` with its inputs replaced by `arguments`."""
    return transform(graph.outputs, replace=dict(zip(graph.inputs, arguments, strict=True)))


