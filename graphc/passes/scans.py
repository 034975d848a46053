"""Passes over loops: one loop where several walk the same data, and no output that nobody reads.

The derivative of a scan makes the forward loop again with further ys; `merge_scans` makes the two
loops one, and `drop_unused_outputs` then removes what the program does not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.ir import origin
from graphc.ir.graph import Graph, inline, map_graph, walk
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Fact
from graphc.ops.closure import close, fresh, in_bodies, is_source
from graphc.ops.scan import SCAN


def merge_scans(graph: Graph) -> Graph:
    """Scans over the same inputs with the same carries -> one scan with the ys of all.

    Where the merged bodies bring two inner scans together, those are merged too.
    """
    while True:
        groups: dict[Any, list[Node]] = {}
        for node in graph.nodes:
            if Fact.LOOP in node.op.facts:
                groups.setdefault(_loop(node), []).append(node)
        merged = {n: _united(group) for group in groups.values() if len(group) > 1 for n in group}
        if not merged:
            return in_bodies(graph, merge_scans)

        def rewrite(
            node: Node, inputs: tuple[Tensor, ...], merged: dict[Node, Graph] = merged
        ) -> list[Tensor] | None:
            return _as_part(node, inputs, merged[node]) if node in merged else None

        graph = map_graph(graph, rewrite)


def _loop(node: Node) -> tuple[Any, ...]:
    """What two scans share if they are the same loop but for their ys."""
    body, carries = node.attrs["body"], node.attrs["carries"]
    tensors = (*node.inputs, *body.inputs, *body.outputs[:carries])
    shared = tuple(node.attrs[name] for name in ("length", "carries", "xs", "reverse"))
    return (len(node.inputs), *shared, *((id(t.node), t.index) for t in tensors))


def _united(group: Sequence[Node]) -> Graph:
    bodies: list[Graph] = [node.attrs["body"] for node in group]
    carries = group[0].attrs["carries"]
    ys = dict.fromkeys(y for body in bodies for y in body.outputs[carries:])
    return Graph(bodies[0].inputs, [*bodies[0].outputs[:carries], *ys], name=bodies[0].name)


def _as_part(node: Node, inputs: Sequence[Tensor], united: Graph) -> list[Tensor]:
    """The outputs of a scan, read from the scan of the united body."""
    carries = node.attrs["carries"]
    with origin.inherit(node.origins):
        made = apply(SCAN, inputs, **{**node.attrs, "body": united})
    place = {y: carries + i for i, y in enumerate(united.outputs[carries:])}
    ys = node.attrs["body"].outputs[carries:]
    return [*made.outputs[:carries], *(made.output(place[y]) for y in ys)]


def drop_unused_outputs(graph: Graph) -> Graph:
    """Loops without the ys that nothing reads, the carries that nothing read depends on, and the
    inputs that are then not needed."""
    if not any(map(_is_loop, graph.nodes)):
        return in_bodies(graph, drop_unused_outputs)
    needed = set(graph.results)
    kept: dict[Node, tuple[list[int], list[int]]] = {}
    for node in reversed(graph.nodes):
        used = [i for i, t in enumerate(node.outputs) if t in needed]
        if not _is_loop(node):
            needed.update(node.inputs if used else ())
            continue
        kept[node] = _live(node, used)
        needed.update(node.inputs[i] for i in kept[node][1])

    def rewrite(node: Node, inputs: tuple[Tensor, ...]) -> list[Tensor] | None:
        if node not in kept or len(kept[node][0]) == len(node.types):
            return None
        return _pruned(node, inputs, *kept[node])

    return in_bodies(map_graph(graph, rewrite), drop_unused_outputs)


def conditions_behind_steps(graph: Graph) -> Graph:
    """While loops whose condition is computed at the end of each step, for the next turn, and once
    before the first: then kernels of the step can compute it. The turns are the same."""

    def rewrite(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if Fact.WHILE not in node.op.facts or is_source(node.attrs["condition"].outputs[0].node):
            return None
        test: Graph = node.attrs["condition"]
        body: Graph = node.attrs["body"]
        carries = node.attrs["carries"]
        (goes_on,) = fresh("goes_on", [test.outputs[0].type])
        operands = body.inputs[carries:]
        after = [*body.outputs, *inline(test, [*body.outputs, *operands])]
        parameters = [*body.inputs[:carries], goes_on, *operands]
        made = apply(
            node.op,
            [*inputs[:carries], *inline(test, inputs), *inputs[carries:]],
            condition=close([goes_on], parameters),
            body=close(after, parameters),
            carries=carries + 1,
        )
        return made.outputs[:carries]

    if not any(Fact.WHILE in node.op.facts for node in graph.nodes):
        return graph
    return map_graph(graph, rewrite)


def _is_loop(node: Node) -> bool:
    return Fact.LOOP in node.op.facts or Fact.WHILE in node.op.facts


def _live(node: Node, used: list[int]) -> tuple[list[int], list[int]]:
    """The positions of the outputs and inputs that a loop needs to give the outputs `used`."""
    body, carries = node.attrs["body"], node.attrs["carries"]
    test: Graph | None = node.attrs.get("condition")
    tested = set() if test is None else _read(test, test.outputs)
    outputs = set(used)
    while True:
        inputs = _read(body, [body.outputs[i] for i in outputs]) | tested
        more = {i for i in inputs if i < carries} - outputs
        if not more:
            return sorted(outputs), sorted(inputs | {i for i in outputs if i < carries})
        outputs |= more


def _read(graph: Graph, outputs: Sequence[Tensor]) -> set[int]:
    """The positions of the inputs that outputs depend on."""
    below = set(walk(outputs))
    return {i for i, t in enumerate(graph.inputs) if t.node in below}


def _pruned(
    node: Node, given: Sequence[Tensor], outputs: list[int], inputs: list[int]
) -> list[Tensor]:
    body, carries = node.attrs["body"], node.attrs["carries"]
    attrs = {
        **node.attrs,
        "body": close([body.outputs[i] for i in outputs], [body.inputs[i] for i in inputs]),
        "carries": sum(i < carries for i in inputs),
    }
    if "xs" in attrs:
        attrs["xs"] = sum(carries <= i < carries + node.attrs["xs"] for i in inputs)
    if "condition" in attrs:
        test: Graph = node.attrs["condition"]
        attrs["condition"] = close(test.outputs, [test.inputs[i] for i in inputs])
    with origin.inherit(node.origins):
        made = apply(node.op, [given[i] for i in inputs], **attrs)
    # An output that nothing reads still needs a tensor to stand for it.
    places = {i: made.output(k) for k, i in enumerate(outputs)}
    return [places.get(i, t) for i, t in enumerate(node.outputs)]
