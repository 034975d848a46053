"""From a graph to a picture: what becomes a mark, an arrow, a frame.

The bodies of fused kernels, loops and branches are drawn where their node stands. Their inputs are
mostly not drawn: an arrow goes from the tensor outside to its reader inside.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from graphc.ir.dtype import bool_
from graphc.ir.graph import Graph, bodies, users
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import TensorType
from graphc.ir.text import format_node, value_labels
from graphc.show import labels
from graphc.show.layers import Part, layer_paths, scope_of
from graphc.show.picture import Box, Cluster, Look, Picture
from graphc.show.picture import Kind as Line

_TOOLTIP = 400  # characters


class End(NamedTuple):
    """Where the arrows of a tensor start: a mark, and the type of what is in memory there."""

    mark: int
    type: TensorType


Places: TypeAlias = dict[Tensor, End]


def size(graph: Graph, enough: int) -> int:
    """The number of nodes, those of bodies included; counting stops beyond `enough`."""
    total, pending = 0, [graph]
    while pending and total <= enough:
        nodes = pending.pop().nodes
        total += len(nodes)
        if total <= enough:
            pending += [body for n in nodes for body in bodies(n)]
    return total


def sketch(
    graph: Graph,
    layers: bool,
    simple: bool = False,
    tips: bool = True,
    launches: Mapping[Node, str] = MappingProxyType({}),
) -> Picture:
    """The picture of `graph`: with a frame for each layer, or without. A simple one has no texts at
    its arrows. `tips`: operations have their line of text as a tooltip. `launches`: what a card
    runs for a kernel."""
    picture = Picture(simple=simple)
    _Sketch(picture, layers, tips, launches).whole(graph)
    return picture


class _Sketch:
    def __init__(
        self, picture: Picture, layers: bool, tips: bool, launches: Mapping[Node, str]
    ) -> None:
        self.picture, self.layers, self.tips, self.launches = picture, layers, tips, launches
        self.kernels = 0
        self.kernel_of: dict[int, int] = {}  # the number of the kernel that a mark is in
        self.typed: set[int] = set()  # marks that show their type themselves

    def whole(self, graph: Graph) -> None:
        cluster, places = self.picture.whole, Places()
        self._leaves([t.node for t in graph.inputs], cluster, places)
        self._nodes(graph, cluster, places)
        self._leaves([v.node for v, _ in graph.updates], cluster, places)
        for i, tensor in enumerate(graph.outputs):
            name = "output" if len(graph.outputs) == 1 else f"output {i}"
            end = self._place(tensor, cluster, places)
            head = self.picture.mark(cluster, Look.OUTPUT, name, tooltip=_cut(str(tensor.type)))
            self._arrow(end, head)
        for variable, value in graph.updates:
            tail = self._place(value, cluster, places).mark
            self.picture.arrow(tail, places[variable].mark, kind=Line.UPDATE)

    def _nodes(self, graph: Graph, cluster: Cluster, places: Places, scope: str = "") -> None:
        """Marks for the nodes that `places` does not have yet, in frames by layer."""
        names = value_labels(graph)
        paths = layer_paths(graph, scope) if self.layers else {}
        folded = set[Node]() if self.layers else _only_in_products(graph)
        frames: dict[tuple[Part, ...], Cluster] = {(): cluster}
        for node in graph.nodes:
            known = node.output() in places or node in folded
            if known or labels.is_inline(node.output()):
                continue
            frame = _frame(frames, paths.get(node, ()))
            match node.op.kind, node.op.name:
                case Kind.LEAF, _:
                    self._leaves([node], frame, places)
                case Kind.REGION, _:
                    self._kernel(node, frame, places)
                case Kind.CONTROL, "scan":
                    self._scan(node, frame, places)
                case Kind.CONTROL, "while_loop":
                    self._while(node, frame, places)
                case Kind.CONTROL, "switch":
                    self._switch(node, frame, places)
                case _:
                    self._operation(node, frame, places, self._tooltip(node, names), folded)

    # -- single marks ------------------------------------------------------------------------------
    def _leaves(self, nodes: Sequence[Node], cluster: Cluster, places: Places) -> None:
        """Marks for inputs, variables and constants."""
        for node in nodes:
            tensor = node.output()
            if tensor in places:
                continue
            if Fact.CONSTANT in node.op.facts:
                look, name = Look.CONSTANT, labels.constant(node.attrs["value"].array)
            elif isinstance(tensor, Variable):
                look, name = Look.VARIABLE, tensor.name or "variable"
            else:
                look, name = Look.INPUT, tensor.name
            in_layer = cluster.box is Box.LAYER  # which says the first part of the name already
            shown = name.removeprefix(scope_of(node) + "/") if in_layer else name
            places[tensor] = self._leaf(cluster, look, shown, tensor, tip=name)

    def _leaf(self, cluster: Cluster, look: Look, name: str, tensor: Tensor, tip: str) -> End:
        type_ = labels.type_text(tensor.type)
        mark = self.picture.mark(
            cluster, look, labels.one_line(name), type_, tooltip=_cut(f"{tip}: {tensor.type}"),
            elsewhere=(labels.one_line(tip), type_),
        )  # fmt: skip
        self.typed.add(mark)
        return End(mark, tensor.type)

    def _operation(
        self,
        node: Node,
        cluster: Cluster,
        places: Places,
        tooltip: str,
        folded: Collection[Node] = (),
    ) -> None:
        """A mark, and arrows from its operands; `folded` transposes are part of its label."""
        turned = [t.node in folded for t in node.inputs]
        lines = labels.operation(node, turned)
        if not self.layers and cluster.box is not Box.KERNEL and scope_of(node):
            lines = (*lines, labels.one_line(scope_of(node)))
        mark = self.picture.mark(cluster, _look(node), *lines, tooltip=tooltip)
        if cluster.box is Box.KERNEL:
            self.kernel_of[mark] = self.kernels
        for tensor in node.outputs:
            places[tensor] = End(mark, tensor.type)
        letters = labels.letters(node)
        for i, tensor in enumerate(node.inputs):
            if not labels.is_inline(tensor):
                source = tensor.node.inputs[0] if turned[i] else tensor
                self._arrow(self._place(source, cluster, places), mark, letters.get(i, ""))

    def _tooltip(self, node: Node, names: dict[Tensor, str]) -> str:
        """The node's line of text, and the user's lines."""
        if not self.tips:
            return ""
        places = ", ".join(f"{os.path.basename(o.file)}:{o.line}" for o in node.origins)
        return _cut(format_node(node, names)) + (f"  # {_cut(places)}" if places else "")

    def _place(self, tensor: Tensor, cluster: Cluster, places: Places) -> End:
        """Where arrows of `tensor` start; a scalar constant that has no user to be written in
        gets a mark."""
        if tensor not in places:
            value = labels.scalar(tensor)
            places[tensor] = self._leaf(cluster, Look.CONSTANT, value, tensor, tip=value)
        return places[tensor]

    def _arrow(self, tail: End, head: int, word: str = "") -> None:
        """An arrow with the type, unless the tail shows it, or it never leaves the registers."""
        kernel = self.kernel_of.get(tail.mark)
        if kernel is not None and kernel == self.kernel_of.get(head):
            self.picture.arrow(tail.mark, head, word, Line.REGISTER)
            return
        shown = self.picture.simple or tail.mark in self.typed
        parts = [word, "" if shown else labels.type_text(tail.type)]
        self.picture.arrow(tail.mark, head, ": ".join(p for p in parts if p))

    # -- nodes with bodies -------------------------------------------------------------------------
    def _kernel(self, node: Node, cluster: Cluster, places: Places) -> None:
        """A frame with the ops of a fused region. A tensor that several of them read arrives once,
        at a dot; reshapes and broadcasts do nothing in a kernel and are not drawn."""
        body: Graph = node.attrs["body"]
        self.kernels += 1
        number = self.kernels
        title = f"kernel {number} · {labels.space(node.attrs['space'])}"
        if node in self.launches:
            title += f" · {self.launches[node]}"
        frame = cluster.add(Box.KERNEL, title, *_scopes(body))
        readers = Counter(t for n in body.nodes for t in n.inputs)
        inner = Places()
        for outer, parameter in zip(node.inputs, body.inputs, strict=True):
            inner[parameter] = end = self._place(outer, cluster, places)
            if readers[parameter] > 1:
                port = self.picture.mark(frame, Look.BUFFER, tooltip=_cut(str(outer.type)))
                self._arrow(end, port)
                self.kernel_of[port] = number
                inner[parameter] = End(port, outer.type)
        names = value_labels(body)
        for n in body.nodes:
            if n.output() in inner or labels.is_inline(n.output()):
                continue
            if n.op.name in ("reshape", "broadcast_to"):
                inner[n.output()] = self._place(n.inputs[0], frame, inner)
            else:
                self._operation(n, frame, inner, self._tooltip(n, names))
        for outer, result in zip(node.outputs, body.outputs, strict=True):
            places[outer] = End(self._place(result, frame, inner).mark, outer.type)

    def _scan(self, node: Node, cluster: Cluster, places: Places) -> None:
        """A frame with the body; dashed arrows take a step's carries to the next step."""
        body: Graph = node.attrs["body"]
        carries, xs = node.attrs["carries"], node.attrs["xs"]
        backwards = ", last to first" if node.attrs["reverse"] else ""
        length = labels.one_line(str(node.attrs["length"]))
        frame = cluster.add(Box.LOOP, f"scan · {length} steps{backwards}")
        inner = Places()
        for i, (outer, parameter) in enumerate(zip(node.inputs, body.inputs, strict=True)):
            end = self._place(outer, cluster, places)
            if i >= carries + xs:
                inner[parameter] = end
                continue
            name = f"carry {i}" if i < carries else f"x {i - carries}"
            inner[parameter] = self._leaf(frame, Look.STEP, name, parameter, tip=name)
            self._arrow(end, inner[parameter].mark)
        self._nodes(body, frame, inner, scope_of(node))
        for i, (outer, result) in enumerate(zip(node.outputs, body.outputs, strict=True)):
            tail = self._place(result, frame, inner).mark
            places[outer] = End(tail, outer.type)
            if i < carries and tail != inner[body.inputs[i]].mark:
                self.picture.arrow(tail, inner[body.inputs[i]].mark, kind=Line.LOOP)

    def _while(self, node: Node, cluster: Cluster, places: Places) -> None:
        """A frame with the step and, in a frame inside, the condition, which ends at a diamond."""
        body: Graph = node.attrs["body"]
        test: Graph = node.attrs["condition"]
        carries = node.attrs["carries"]
        frame = cluster.add(Box.LOOP, "while_loop")
        inner = Places()
        for i, (outer, parameter) in enumerate(zip(node.inputs, body.inputs, strict=True)):
            end = self._place(outer, cluster, places)
            inner[parameter] = end
            if i < carries:
                name = f"carry {i}"
                inner[parameter] = self._leaf(frame, Look.STEP, name, parameter, tip=name)
                self._arrow(end, inner[parameter].mark)
        tested = frame.add(Box.BRANCH, "as long as")
        given = Places(zip(test.inputs, (inner[t] for t in body.inputs), strict=True))
        self._nodes(test, tested, given, scope_of(node))
        mark = self.picture.mark(tested, Look.CHOICE, "while")
        self._arrow(self._place(test.outputs[0], tested, given), mark)
        self._nodes(body, frame, inner, scope_of(node))
        for outer, parameter, result in zip(node.outputs, body.inputs, body.outputs, strict=False):
            tail = self._place(result, frame, inner).mark
            places[outer] = End(tail, outer.type)
            if tail != inner[parameter].mark:
                self.picture.arrow(tail, inner[parameter].mark, kind=Line.LOOP)

    def _switch(self, node: Node, cluster: Cluster, places: Places) -> None:
        """A frame with the branches, and a diamond at which the results of one go on."""
        by_truth = node.inputs[0].dtype is bool_
        title = "cond" if by_truth else "switch"
        frame = cluster.add(Box.LOOP, title)
        ends: list[tuple[str, End]] = []
        branches: list[Graph] = list(node.attrs["branches"])
        words = ["else", "then"] if by_truth else [str(i) for i in range(len(branches))]
        pairs = list(zip(words, branches, strict=True))
        for word, body in pairs[::-1] if by_truth else pairs:
            branch = frame.add(Box.BRANCH, word)
            inner = Places()
            for outer, parameter in zip(node.inputs[1:], body.inputs, strict=True):
                inner[parameter] = self._place(outer, cluster, places)
            self._nodes(body, branch, inner, scope_of(node))
            ends += [(word, self._place(t, branch, inner)) for t in body.outputs]
        mark = self.picture.mark(frame, Look.CHOICE, title)
        word = "if" if by_truth else "index"
        self._arrow(self._place(node.inputs[0], cluster, places), mark, word)
        for word, end in ends:
            self._arrow(end, mark, word)
        for outer in node.outputs:
            places[outer] = End(mark, outer.type)


def _look(node: Node) -> Look:
    if node.op.only_moves:
        return Look.MOVE
    found = {
        Kind.REDUCE: Look.REDUCE,
        Kind.RUNNING: Look.REDUCE,
        Kind.CONTRACT: Look.CONTRACT,
        Kind.CONVOLVE: Look.CONTRACT,
        Kind.HOST: Look.HOST,
    }
    return found.get(node.op.kind, Look.OP)


def _frame(frames: dict[tuple[Part, ...], Cluster], path: tuple[Part, ...]) -> Cluster:
    """The cluster at `path`, made with those around it where it does not exist yet."""
    for depth in range(1, len(path) + 1):
        if path[:depth] not in frames:
            title = labels.one_line(path[depth - 1].title)
            frames[path[:depth]] = frames[path[: depth - 1]].add(Box.LAYER, title)
    return frames[path]


def _only_in_products(graph: Graph) -> set[Node]:
    """Transposes of matrices that only matrix products read: the BLAS takes them as they are."""
    results = {t.node for t in graph.results}
    return {
        node
        for node, readers in users(graph.nodes).items()
        if labels.is_transpose(node)
        and node not in results
        and all(r.op.kind is Kind.CONTRACT for r in readers)
        and not labels.is_inline(node.inputs[0])
    }


def _scopes(body: Graph) -> list[str]:
    """The layers that a kernel's ops come from."""
    members = [n for n in body.nodes if n.op.kind is not Kind.LEAF]
    found = list(dict.fromkeys(s for s in map(scope_of, members) if s))
    more = [f"and {len(found) - 3} more layers"] if len(found) > 3 else []
    return [labels.one_line(s) for s in found[:3]] + more


def _cut(text: str) -> str:
    return labels.shorten(labels.one_line(text, _TOOLTIP), _TOOLTIP)
