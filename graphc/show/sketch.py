"""From a graph to a picture: what becomes a mark, an arrow, a frame.

The bodies of fused kernels, loops and branches are drawn where their node stands. Their inputs are
mostly not drawn: an arrow goes from the tensor outside to its reader inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Kind
from graphc.ir.text import format_node, value_labels
from graphc.show import labels
from graphc.show.layers import Part, layer_paths, scope_of
from graphc.show.picture import Box, Cluster, Look, Picture
from graphc.show.picture import Kind as Arrow

_TOOLTIP = 400  # characters

Places: TypeAlias = dict[Tensor, int]  # the mark that a tensor's arrows start from


def size(graph: Graph, enough: int) -> int:
    """The number of nodes, those of bodies included; counting stops beyond `enough`."""
    total, pending = 0, [graph]
    while pending and total <= enough:
        nodes = pending.pop().nodes
        total += len(nodes)
        if total <= enough:
            pending += [v for n in nodes for v in n.attrs.values() if isinstance(v, Graph)]
    return total


def sketch(graph: Graph, layers: bool, simple: bool = False) -> Picture:
    """The picture of `graph`: with a frame for each layer, or without. A simple one has no texts at
    its arrows."""
    picture = Picture(simple=simple)
    _Sketch(picture, layers).whole(graph)
    return picture


class _Sketch:
    def __init__(self, picture: Picture, layers: bool) -> None:
        self.picture, self.layers = picture, layers
        self.kernels = 0
        self.inside: set[int] = set()  # the marks inside kernels
        self.typed: set[int] = set()  # the marks that show their type themselves

    def whole(self, graph: Graph) -> None:
        whole, places = self.picture.whole, Places()
        self._leaves([t.node for t in graph.inputs], whole, places)
        self._nodes(graph, whole, places)
        self._leaves([v.node for v, _ in graph.updates], whole, places)
        for i, tensor in enumerate(graph.outputs):
            name = "output" if len(graph.outputs) == 1 else f"output {i}"
            head = self.picture.mark(whole, Look.OUTPUT, name, tooltip=str(tensor.type))
            self._arrow(tensor, head, whole, places)
        for variable, value in graph.updates:
            tail = self._place(value, whole, places)
            self.picture.arrow(tail, places[variable], kind=Arrow.UPDATE)

    # -- nodes -------------------------------------------------------------------------------------
    def _nodes(self, graph: Graph, cluster: Cluster, places: Places, scope: str = "") -> None:
        """Marks for the nodes that `places` does not have yet, in frames by layer."""
        names = value_labels(graph)
        paths = layer_paths(graph.nodes, scope) if self.layers else {}
        frames: dict[tuple[Part, ...], Cluster] = {(): cluster}
        for node in graph.nodes:
            if node.output() in places or labels.is_inline(node.output()):
                continue
            frame = _frame(frames, paths.get(node, ()))
            match node.op.kind, node.op.name:
                case Kind.LEAF, _:
                    self._leaves([node], frame, places)
                case Kind.REGION, _:
                    self._kernel(node, frame, places)
                case Kind.CONTROL, "scan":
                    self._scan(node, frame, places)
                case Kind.CONTROL, "cond":
                    self._cond(node, frame, places)
                case _:
                    self._operation(node, frame, places, _tooltip(node, names))

    def _leaves(self, nodes: Sequence[Node], cluster: Cluster, places: Places) -> None:
        """Marks for inputs, variables and constants; the layer's path is cut off their names."""
        for node in nodes:
            tensor = node.output()
            if tensor in places:
                continue
            type_ = labels.type_of(tensor.type)
            if node.op.name == "constant":
                look, name = Look.CONSTANT, labels.constant(node.attrs["value"].array)
            elif isinstance(tensor, Variable):
                look, name = Look.VARIABLE, tensor.name or "variable"
            else:
                look, name = Look.INPUT, tensor.name
            shown = name
            if self.layers and cluster.box is Box.LAYER:
                shown = name.removeprefix(scope_of(node) + "/")
            tip = f"{name}: {tensor.type}"
            places[tensor] = self.picture.mark(
                cluster, look, labels.user_name(shown), type_, tooltip=_cut(tip)
            )
            self.typed.add(places[tensor])

    def _operation(self, node: Node, cluster: Cluster, places: Places, tooltip: str) -> None:
        inputs = list(node.inputs)
        turned: tuple[bool, ...] = ()
        if not self.layers and node.op.kind is Kind.CONTRACT:
            turned = tuple(labels.is_matrix_transpose(t.node) for t in inputs)
            inputs = [t.node.inputs[0] if f else t for t, f in zip(inputs, turned, strict=True)]
        mark = self.picture.mark(
            cluster, _look(node), *labels.operation(node, turned), tooltip=tooltip
        )
        for i in range(len(node.types)):
            places[node.output(i)] = mark
        letters = labels.letters(node)
        for i, tensor in enumerate(inputs):
            if not labels.is_inline(tensor):
                self._arrow(tensor, mark, cluster, places, letters.get(i, ""))
