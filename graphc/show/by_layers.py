"""The level "model": each layer that has no layers inside is one box, with its variables.

What belongs to no layer, and what a layer computes beside the layers inside of it, is drawn as at
the level "math". Where a lane would have too many boxes, layers are cut off at a smaller depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.ir.graph import Graph, users
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Fact, Kind
from graphc.show import labels
from graphc.show.layers import Path, layer_paths, scope_of
from graphc.show.picture import Arrow, Cluster, Look, Picture
from graphc.show.picture import Kind as Line
from graphc.show.sketch import End, Places, Sketch
from graphc.show.words import Words

MOST = 24  # boxes in one lane
_VARIABLES = 4  # of a layer that are named in its box


def layer_boxes(graph: Graph, lanes: Mapping[Node, str]) -> dict[Node, Path]:
    """The path of the box of each node that is in one."""
    first = 1 if lanes else 0  # the lane is the first part of a path
    paths = {
        node: tuple(part for part in path if not part.updates)
        for node, path in layer_paths(graph, "", lanes).items()
        if node.op.kind is not Kind.LEAF and len(path) > first
    }
    depth = max(map(len, paths.values()), default=0)
    while _most(paths, depth, first) > MOST and _most(paths, depth - 1, first) > 1:
        depth -= 1
    cut = {node: path[:depth] for node, path in paths.items()}
    holders = {path[:k] for path in cut.values() for k in range(first + 1, len(path))}
    return {node: path for node, path in cut.items() if path not in holders}


def _most(paths: Mapping[Node, Path], depth: int, first: int) -> int:
    """The number of boxes of the lane that has most of them at this depth."""
    lanes: dict[Path, int] = {}
    for path in {path[:depth] for path in paths.values() if depth > first}:
        lanes[path[:first]] = lanes.get(path[:first], 0) + 1
    return max(lanes.values(), default=0)


class ByLayers(Sketch):
    """`kinds` are the kinds of layers by their paths."""

    def __init__(
        self,
        graph: Graph,
        words: Words,
        lanes: Mapping[Node, str],
        boxes: Mapping[Node, Path],
        kinds: Mapping[str, str],
    ) -> None:
        super().__init__(Picture(), words, True, True, lanes)
        self._boxes, self._kinds = boxes, kinds
        self._inside = _only_read_in(graph, boxes)
        self._box_of: dict[Path, int] = {}
        self._owned: dict[int, list[Variable]] = {}  # what a layer's box stands for, beside it
        self._drawn: set[tuple[End, int]] = set()

    def whole(self, graph: Graph, outputs: Sequence[str] = ()) -> None:
        super().whole(graph, outputs)
        self._describe()
        self._join_arrows()

    def _join_arrows(self) -> None:
        """Between two layers there is one arrow of a kind, which says what goes along it."""
        found: dict[tuple[int, int, Line], list[Arrow]] = {}
        for i, arrow in enumerate(self.picture.arrows):
            is_update = arrow.kind is Line.UPDATE
            if is_update and arrow.tail == arrow.head:
                continue
            marks = self.picture.marks[arrow.tail], self.picture.marks[arrow.head]
            joins = is_update or all(mark.look is Look.LAYER for mark in marks)
            place = (arrow.tail, arrow.head, arrow.kind) if joins else (i, -1, arrow.kind)
            found.setdefault(place, []).append(arrow)
        self.picture.arrows[:] = [
            replace(several[0], text=_together([a.text for a in several]))
            for several in found.values()
        ]

    def skips(self, node: Node, places: Places) -> bool:
        if node in self._boxes:
            return False
        return node.output() in self._inside or super().skips(node, places)

    def path(self, node: Node, paths: Mapping[Node, Path]) -> Path:
        return self._boxes[node][:-1] if node in self._boxes else super().path(node, paths)

    def node(self, node: Node, frame: Cluster, places: Places, names: dict[Tensor, str]) -> None:
        if node not in self._boxes:
            super().node(node, frame, places, names)
            return
        mark = self._box(node, frame)
        for tensor in node.outputs:
            places[tensor] = End(mark, places.words.type(tensor))
        for tensor in map(places.words.source, node.inputs):
            if isinstance(tensor, Variable) and tensor in self._inside:
                if tensor not in places:
                    places[tensor] = End(mark, places.words.type(tensor))
                    self._owned[mark].append(tensor)
            elif Fact.CONSTANT not in tensor.node.op.facts and not places.words.number(tensor):
                end = self.place(tensor, frame, places)
                if end.mark != mark and (end, mark) not in self._drawn:
                    self._drawn.add((end, mark))
                    self.arrow(end, mark)

    def _box(self, node: Node, cluster: Cluster) -> int:
        """The box of the layer that a node belongs to, made at its first node."""
        path, scope = self._boxes[node], scope_of(node)
        if path not in self._box_of:
            depth = len(path) - bool(self.lanes)
            kind = self._kinds.get("/".join(scope.split("/")[:depth]), "")
            title = path[-1].title
            lines = map(labels.one_line, [title] + [kind] * (kind.lower() not in ("", title)))
            self._box_of[path] = self.picture.mark(cluster, Look.LAYER, *lines, tooltip=scope)
            self._owned[self._box_of[path]] = []
        return self._box_of[path]

    def _describe(self) -> None:
        """The variables of each layer stand in its box."""
        for number, variables in self._owned.items():
            mark = self.picture.marks[number]
            lines = [
                labels.one_line(f"{v.name.rpartition('/')[2]} {labels.sizes(v.shape)}")
                for v in variables[:_VARIABLES]
            ]
            if len(variables) > _VARIABLES:
                lines.append(f"and {len(variables) - _VARIABLES} more")
            self.picture.marks[number] = replace(mark, lines=(*mark.lines, *lines))


def _together(texts: Sequence[str]) -> str:
    """What stands at one arrow for several tensors: the types of two, the number of more."""
    if len(texts) > 2 and any(texts):
        return f"{len(texts)} tensors"
    return ", ".join(filter(None, texts))


def _only_read_in(graph: Graph, boxes: Mapping[Node, Path]) -> set[Tensor]:
    """The variables that only nodes of `boxes` read."""
    readers = users(graph.nodes)
    results = {t.node for t in graph.results}
    return {
        v
        for v in graph.variables
        if v.node not in results
        and readers.get(v.node)
        and all(reader in boxes for reader in readers[v.node])
    }
