"""From a graph to a picture: what becomes a mark, an arrow, a frame.

The bodies of fused kernels, loops and branches are drawn where their node stands. Their inputs are
mostly not drawn: an arrow goes from the tensor outside to its reader inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from types import MappingProxyType
from typing import NamedTuple

from graphc.ir.dtype import bool_
from graphc.ir.graph import Graph, bodies
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Fact, Kind
from graphc.ir.text import format_node, value_labels
from graphc.show import labels
from graphc.show.layers import Path, layer_paths, scope_of
from graphc.show.picture import Box, Cluster, Look, Picture
from graphc.show.picture import Kind as Line
from graphc.show.reading import BACKWARD, LANES
from graphc.show.words import Plain, Words

_TOOLTIP = 400  # characters


class End(NamedTuple):
    """Where the arrows of a tensor start: a mark, and the text of the type of what is there."""

    mark: int
    type: str


class Places(dict[Tensor, End]):
    """Where the arrows of the tensors of one graph start, and how its nodes read."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words = words


_NO_LANES: Mapping[Node, str] = MappingProxyType({})


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
    words: Words,
    layers: bool,
    tips: bool = True,
    lanes: Mapping[Node, str] = _NO_LANES,
    outputs: Sequence[str] = (),
) -> Picture:
    """The picture of `graph`: with a frame for each layer, or without, and for each of `lanes`.
    `tips`: operations have their line of text as a tooltip. `outputs` are the names of results."""
    picture = Picture()
    Sketch(picture, words, layers, tips, lanes).whole(graph, outputs)
    return picture


def sketch_both(before: Graph, after: Graph, tips: bool = True) -> Picture:
    """Two graphs in one picture: what they share once, what only one of them has marked."""
    picture = Picture()
    made = Sketch(picture, Plain(before), False, tips)
    places = Places(made.words)
    made.leaves([t.node for t in before.inputs], picture.whole, places)
    made.nodes(before, picture.whole, places)
    places.words = Plain(after)
    made.nodes(after, picture.whole, places)
    first, second = set(before.nodes), set(after.nodes)
    for number, node in made.node_of.items():
        if (node in first) != (node in second):
            look = Look.GONE if node in first else Look.NEW
            picture.marks[number] = replace(picture.marks[number], look=look)
    for i, pair in enumerate(zip_longest(before.results, after.results)):
        updated = i >= len(before.outputs)
        name = f"update {i - len(before.outputs)}" if updated else f"output {i}"
        for tensor in dict.fromkeys(t for t in pair if t is not None):
            end = made.place(tensor, picture.whole, places)
            head = picture.mark(picture.whole, Look.OUTPUT, name, tooltip=_cut(str(tensor.type)))
            made.arrow(end, head)
    return picture


class Sketch:
    def __init__(
        self,
        picture: Picture,
        words: Words,
        layers: bool,
        tips: bool,
        lanes: Mapping[Node, str] = _NO_LANES,
    ) -> None:
        self.picture, self.layers, self.tips = picture, layers, tips
        self.words, self.lanes = words, lanes
        self.launches: Mapping[Node, str] = {}  # what a card runs for a kernel
        self.node_of: dict[int, Node] = {}  # what the mark of an operation stands for
        self.kernel_of: dict[int, int] = {}  # the number of the kernel that a mark is in
        self.backward: set[int] = set()  # marks of the backward pass
        self.typed: set[int] = set()  # marks that show their type themselves

    def whole(self, graph: Graph, outputs: Sequence[str] = ()) -> None:
        cluster, places = self.picture.whole, Places(self.words)
        if not self.lanes:
            self.leaves([t.node for t in graph.inputs], cluster, places)
        self.nodes(graph, cluster, places, lanes=self.lanes)
        self.leaves([t.node for t in graph.inputs], cluster, places)
        self.leaves([v.node for v, _ in graph.updates], cluster, places)
        for i, tensor in enumerate(graph.outputs):
            name = "output" if len(graph.outputs) == 1 else f"output {i}"
            name = labels.one_line(outputs[i]) if i < len(outputs) and outputs[i] else name
            end = self.place(tensor, cluster, places)
            head = self.picture.mark(cluster, Look.OUTPUT, name, tooltip=_cut(str(tensor.type)))
            self.arrow(end, head)
        for variable, value in graph.updates:
            tail = self.place(value, cluster, places).mark
            self.picture.arrow(tail, places[variable].mark, kind=Line.UPDATE)
        self._turn_arrows()
        if self.lanes:
            cluster.children.sort(key=_lane)

    def _turn_arrows(self) -> None:
        """The backward pass is drawn upwards, beside the forward pass."""
        arrows = self.picture.arrows
        for i, arrow in enumerate(arrows):
            if arrow.kind is Line.DATA and {arrow.tail, arrow.head} <= self.backward:
                arrows[i] = replace(arrow, kind=Line.BACKWARD)

    def nodes(
        self,
        graph: Graph,
        cluster: Cluster,
        places: Places,
        scope: str = "",
        lanes: Mapping[Node, str] = _NO_LANES,
    ) -> None:
        """Marks for the nodes that `places` does not have yet, in frames by layer."""
        names = value_labels(graph)
        paths = layer_paths(graph, scope, lanes) if self.layers else {}
        frames: dict[Path, Cluster] = {(): cluster}
        for node in graph.nodes:
            if self.skips(node, places):
                continue
            frame = _frame(frames, self.path(node, paths), bool(lanes))
            start = len(self.picture.marks)
            self.node(node, frame, places, names)
            if lanes.get(node) == BACKWARD and node.op.kind is not Kind.LEAF:
                self.backward.update(range(start, len(self.picture.marks)))

    def skips(self, node: Node, places: Places) -> bool:
        """Whether a node has no mark of its own."""
        return node.output() in places or places.words.hides(node)

    def path(self, node: Node, paths: Mapping[Node, Path]) -> Path:
        """The frames that a node is in."""
        return paths.get(node, ())

    def node(self, node: Node, frame: Cluster, places: Places, names: dict[Tensor, str]) -> None:
        """What is drawn for a node."""
        match node.op.kind, node.op.name:
            case Kind.LEAF, _:
                self.leaves([node], frame, places)
            case Kind.REGION, _:
                self._kernel(node, frame, places)
            case Kind.CONTROL, "scan":
                self._scan(node, frame, places)
            case Kind.CONTROL, "while_loop":
                self._while(node, frame, places)
            case Kind.CONTROL, "switch":
                self._switch(node, frame, places)
            case _:
                self._operation(node, frame, places, self._tooltip(node, names))

    # -- single marks ------------------------------------------------------------------------------
    def leaves(self, nodes: Sequence[Node], cluster: Cluster, places: Places) -> None:
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
            in_layer = cluster.box in (Box.LAYER, Box.UPDATE)  # whose title is part of the name
            shown = name.removeprefix(scope_of(node) + "/") if in_layer else name
            places[tensor] = self._leaf(cluster, places, look, shown, tensor, tip=name)

    def _leaf(
        self, cluster: Cluster, places: Places, look: Look, name: str, tensor: Tensor, tip: str
    ) -> End:
        type_ = places.words.type(tensor)
        types = (type_,) if type_ else ()
        mark = self.picture.mark(
            cluster, look, labels.one_line(name), *types, tooltip=_cut(f"{tip}: {tensor.type}"),
            elsewhere=(labels.one_line(tip), *types),
        )  # fmt: skip
        self.typed.add(mark)
        return End(mark, type_)

    def _operation(self, node: Node, cluster: Cluster, places: Places, tooltip: str) -> None:
        """A mark, and arrows from its operands."""
        said = places.words.said(node)
        lines = said.lines
        if not self.layers and cluster.box is not Box.KERNEL and scope_of(node):
            lines = (*lines, labels.one_line(scope_of(node)))
        look = Look.GRADIENT if said.gradient else _look(node)
        mark = self.picture.mark(cluster, look, *lines, tooltip=tooltip)
        if cluster.box is Box.KERNEL:
            self.kernel_of[mark] = len(self.picture.kernels)
        self.node_of[mark] = node
        for tensor in node.outputs:
            places[tensor] = End(mark, places.words.type(tensor))
        for tensor, letter in said.operands:
            self.arrow(self.place(tensor, cluster, places), mark, letter)

    def _tooltip(self, node: Node, names: dict[Tensor, str]) -> str:
        """The node's line of text, and the user's lines."""
        if not self.tips:
            return ""
        places = ", ".join(o.short for o in node.origins)
        return _cut(format_node(node, names)) + (f"  # {_cut(places)}" if places else "")

    def place(self, tensor: Tensor, cluster: Cluster, places: Places) -> End:
        """Where arrows of `tensor` start; a number that has no user to be written in gets a
        mark."""
        tensor = places.words.source(tensor)
        if tensor not in places:
            value = places.words.number(tensor)
            places[tensor] = self._leaf(cluster, places, Look.CONSTANT, value, tensor, tip=value)
        return places[tensor]

    def arrow(self, tail: End, head: int, word: str = "") -> None:
        """An arrow with the type, unless the tail shows it, or it never leaves the registers."""
        kernel = self.kernel_of.get(tail.mark)
        if kernel is not None and kernel == self.kernel_of.get(head):
            self.picture.arrow(tail.mark, head, word, Line.REGISTER)
            return
        parts = [word, "" if tail.mark in self.typed else tail.type]
        self.picture.arrow(tail.mark, head, ": ".join(p for p in parts if p))

    # -- nodes with bodies -------------------------------------------------------------------------
    def _kernel(self, node: Node, cluster: Cluster, places: Places) -> None:
        """A frame with the ops of a fused region. A tensor that several of them read arrives once,
        at a dot; reshapes and broadcasts do nothing in a kernel and are not drawn."""
        body: Graph = node.attrs["body"]
        self.picture.kernels.append(node)
        number = len(self.picture.kernels)
        title = f"kernel {number} · {labels.space(node.attrs['space'])}"
        if node in self.launches:
            title += f" · {self.launches[node]}"
        frame = cluster.add(Box.KERNEL, title, *_scopes(node))
        readers = Counter(t for n in body.nodes for t in n.inputs)
        inner = Places(places.words.inside(body))
        for outer, parameter in zip(node.inputs, body.inputs, strict=True):
            inner[parameter] = end = self.place(outer, cluster, places)
            if readers[parameter] > 1:
                port = self.picture.mark(frame, Look.BUFFER, tooltip=_cut(str(outer.type)))
                self.arrow(end, port)
                self.kernel_of[port] = number
                inner[parameter] = End(port, places.words.type(outer))
        names = value_labels(body)
        for n in body.nodes:
            if n.output() in inner or inner.words.hides(n):
                continue
            if n.op.name in ("reshape", "broadcast_to"):
                inner[n.output()] = self.place(n.inputs[0], frame, inner)
            else:
                self._operation(n, frame, inner, self._tooltip(n, names))
        for outer, result in zip(node.outputs, body.outputs, strict=True):
            places[outer] = End(self.place(result, frame, inner).mark, places.words.type(outer))

    def _scan(self, node: Node, cluster: Cluster, places: Places) -> None:
        """A frame with the body; dashed arrows take a step's carries to the next step."""
        body: Graph = node.attrs["body"]
        carries, xs = node.attrs["carries"], node.attrs["xs"]
        backwards = ", last to first" if node.attrs["reverse"] else ""
        length = labels.one_line(str(node.attrs["length"]))
        frame = cluster.add(Box.LOOP, f"scan · {length} steps{backwards}")
        names = _step_names(places.words, node)
        inner = Places(places.words.inside(body, names))
        for i, (outer, parameter) in enumerate(zip(node.inputs, body.inputs, strict=True)):
            end = self.place(outer, cluster, places)
            if i >= carries + xs:
                inner[parameter] = end
                continue
            name = f"carry {i}" if i < carries else f"x {i - carries}"
            name = names.get(parameter) or name
            inner[parameter] = self._leaf(frame, inner, Look.STEP, name, parameter, tip=name)
            self.arrow(end, inner[parameter].mark)
        self.nodes(body, frame, inner, scope_of(node))
        for i, (outer, result) in enumerate(zip(node.outputs, body.outputs, strict=True)):
            tail = self.place(result, frame, inner).mark
            places[outer] = self._result(tail, outer, cluster, places)
            if i < carries and tail != inner[body.inputs[i]].mark:
                self.picture.arrow(tail, inner[body.inputs[i]].mark, kind=Line.LOOP)

    def _result(self, tail: int, outer: Tensor, cluster: Cluster, places: Places) -> End:
        """Where arrows of a loop's result start: at what computes it in a step, but a gradient has
        a mark with its name."""
        name = places.words.gradient(outer)
        if name:
            mark = self.picture.mark(cluster, Look.GRADIENT, labels.one_line(name))
            self.arrow(End(tail, places.words.type(outer)), mark)
            tail = mark
        return End(tail, places.words.type(outer))

    def _while(self, node: Node, cluster: Cluster, places: Places) -> None:
        """A frame with the step and, in a frame inside, the condition, which ends at a diamond.
        Results are the values of which the condition does not hold: a step may never be made."""
        body: Graph = node.attrs["body"]
        test: Graph = node.attrs["condition"]
        carries = node.attrs["carries"]
        frame = cluster.add(Box.LOOP, "while_loop")
        inner = Places(places.words.inside(body))
        for i, (outer, parameter) in enumerate(zip(node.inputs, body.inputs, strict=True)):
            end = self.place(outer, cluster, places)
            inner[parameter] = end
            if i < carries:
                name = "carry" if carries == 1 else f"carry {i}"
                inner[parameter] = self._leaf(frame, inner, Look.STEP, name, parameter, tip=name)
                self.arrow(end, inner[parameter].mark)
        tested = frame.add(Box.BRANCH, "as long as")
        given = Places(places.words.inside(test))
        given |= zip(test.inputs, (inner[t] for t in body.inputs), strict=True)
        self.nodes(test, tested, given, scope_of(node))
        mark = self.picture.mark(tested, Look.CHOICE, "while")
        self.arrow(self.place(test.outputs[0], tested, given), mark)
        self.nodes(body, frame, inner, scope_of(node))
        for outer, parameter, result in zip(node.outputs, body.inputs, body.outputs, strict=False):
            tail = self.place(result, frame, inner).mark
            first = inner[parameter].mark
            places[outer] = End(first, places.words.type(outer))
            if tail != first:
                self.picture.arrow(tail, first, kind=Line.LOOP)

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
            inner = Places(places.words.inside(body))
            for outer, parameter in zip(node.inputs[1:], body.inputs, strict=True):
                inner[parameter] = self.place(outer, cluster, places)
            self.nodes(body, branch, inner, scope_of(node))
            ends += [(word, self.place(t, branch, inner)) for t in body.outputs]
        mark = self.picture.mark(frame, Look.CHOICE, title)
        word = "if" if by_truth else "index"
        self.arrow(self.place(node.inputs[0], cluster, places), mark, word)
        for word, end in ends:
            self.arrow(end, mark, word)
        for outer in node.outputs:
            places[outer] = End(mark, places.words.type(outer))


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


def _step_names(words: Words, node: Node) -> dict[Tensor, str]:
    """What the inputs of a loop's step are called in formulas: operands as outside; and where the
    loop goes from the first step to the last, its carries `h` and its slices `x`, with numbers if
    there are several."""
    body: Graph = node.attrs["body"]
    carries, xs = node.attrs["carries"], node.attrs["xs"]
    found: dict[Tensor, str] = {}
    for i, (outer, parameter) in enumerate(zip(node.inputs, body.inputs, strict=True)):
        if i >= carries + xs:
            found[parameter] = words.name(outer)
        elif not node.attrs["reverse"] and not isinstance(words, Plain):
            letter, count, place = ("h", carries, i) if i < carries else ("x", xs, i - carries)
            found[parameter] = letter if count == 1 else f"{letter}{place + 1}"
    return found


def _lane(cluster: Cluster) -> int:
    """The place of a lane among its like; what is none comes first."""
    return LANES.index(cluster.lines[0]) if cluster.box is Box.LANE else -1


def _frame(
    frames: dict[Path, Cluster], path: Path, lanes: bool
) -> Cluster:
    """The cluster at `path`, made with those around it where it does not exist yet; the outermost
    ones may be lanes."""
    for depth in range(1, len(path) + 1):
        if path[:depth] not in frames:
            part = path[depth - 1]
            title = labels.one_line(part.title)
            box = Box.UPDATE if part.updates else Box.LAYER
            box = Box.LANE if lanes and depth == 1 else box
            frames[path[:depth]] = frames[path[: depth - 1]].add(box, title)
    return frames[path]


def _scopes(kernel: Node) -> list[str]:
    """The layers that a kernel's ops come from: equal kernels share their ops."""
    found = list(dict.fromkeys(origin.scope for origin in kernel.origins if origin.scope))
    more = [f"and {len(found) - 3} more layers"] if len(found) > 3 else []
    return [labels.one_line(s) for s in found[:3]] + more


def _cut(text: str) -> str:
    return labels.shorten(labels.one_line(text, _TOOLTIP), _TOOLTIP)
