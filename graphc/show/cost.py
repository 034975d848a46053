"""The view "cost": what runs, with what it computes and moves, against what a processor can do.

A box for each kernel, product and call. Its intensity is the operations for each byte that it reads
or writes; below the balance of the machine memory decides how long it takes, above it arithmetic
does (Williams, Waterman and Patterson, "Roofline", 2009). The balance is what `gc.machine()` has
measured here, if it was called, else `RIDGE`. An arrow is as wide as its bytes are many.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from graphc.ir.dim import Size, size_hint
from graphc.ir.graph import Graph, bodies
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.planning.work import bytes_of, operations
from graphc.show import labels
from graphc.show.layers import scope_of
from graphc.show.picture import Arrow, Box, Cluster, Look, Picture
from graphc.show.picture import Kind as Line

RIDGE = 8.0  # operations for a byte: one core with vectors of 8 floats, and its share of memory
_NAMED = 3  # operations of a kernel that are named in its box
_TITLE = 48  # characters of a title
_UNITS = ("B", "kB", "MB", "GB", "TB")


def cost_picture(graph: Graph) -> Picture:
    """The picture of an optimised graph; sizes of named dims are typical ones."""
    from graphc.runtime.speed import known  # which can compile programs: loaded for this view only

    measured = known()
    made = _Costs(RIDGE if measured is None else measured.balance)
    made.steps(graph, made.picture.whole, {})
    picture = made.picture
    for i, tensor in enumerate(graph.outputs):
        name = "output" if len(graph.outputs) == 1 else f"output {i}"
        head = picture.mark(picture.whole, Look.OUTPUT, name, tooltip=str(tensor.type))
        made.arrow(made.place(tensor), head, tensor)
    for variable, value in graph.updates:
        picture.arrow(made.place(value), made.place(variable), kind=Line.UPDATE)
    sizes = ", ".join(f"{name} = {size_hint_of(name)}" for name in graph.dims)
    whose = "a typical processor" if measured is None else "measured here"
    picture.note = f"intensity against {made.ridge:.3g} operations for a byte ({whose})" + (
        f"; at {sizes}" if sizes else ""
    )
    return picture


def size_hint_of(name: str) -> int:
    from graphc.ir.dim import named

    return size_hint(named(name))


class _Costs:
    def __init__(self, ridge: float) -> None:
        self.picture, self.ridge = Picture(), ridge
        self.places: dict[Tensor, int] = {}
        self.kernels = 0

    def steps(self, graph: Graph, cluster: Cluster, given: dict[Tensor, int]) -> None:
        self.places |= given
        for node in graph.nodes:
            if node.output() in self.places:
                continue
            if node.op.kind is Kind.LEAF:
                if not labels.is_inline(node.output()):
                    self._leaf(node, cluster)
            elif node.op.only_moves:
                self.places[node.output()] = self.place(node.inputs[0])
            elif bodies(node) and node.op.kind is Kind.CONTROL:
                self._control(node, cluster)
            else:
                self._step(node, cluster)

    def place(self, t: Tensor) -> int:
        if t not in self.places:
            self._leaf(t.node, self.picture.whole)
        return self.places[t]

    def arrow(self, tail: int, head: int, t: Tensor) -> None:
        self.picture.arrows.append(arrow_of(tail, head, size_hint(bytes_of([t]))))

    def _leaf(self, node: Node, cluster: Cluster) -> None:
        t = node.output()
        look = Look.INPUT if Fact.INPUT in node.op.facts else Look.VARIABLE
        name = t.name
        if Fact.CONSTANT in node.op.facts:
            look, name = Look.CONSTANT, labels.constant(node.attrs["value"].array)
        lines = labels.one_line(name), labels.type_text(t.type)
        tip = str(t.type)
        self.places[t] = self.picture.mark(cluster, look, *lines, tooltip=tip, elsewhere=lines)

    def _step(self, node: Node, cluster: Cluster) -> None:
        """The box of a kernel, a product or a call."""
        if node.op.kind is Kind.REGION:
            self.kernels += 1
            body: Graph = node.attrs["body"]
            title = f"kernel {self.kernels} · {operations_of(body.nodes)}"
            flops = operations(body.nodes)
        else:
            title, flops = labels.operation(node)[0], operations([node])
        touched = dict.fromkeys((*node.inputs, *node.outputs))
        count, moved = size_hint(flops), size_hint(bytes_of(touched))
        intensity = count / max(moved, 1)
        look = Look.COMPUTE_BOUND if intensity >= self.ridge else Look.MEMORY_BOUND
        mark = self.picture.mark(
            cluster,
            look,
            labels.one_line(title, _TITLE),
            *([labels.one_line(scope)] if (scope := scope_of(node)) else []),
            f"{in_units(count, ('', 'k', 'M', 'G', 'T'))} operations, {in_bytes(moved)}",
            f"{intensity:.2g} operations for a byte",
            tooltip=f"operations: {flops}",
        )
        self.places |= dict.fromkeys(node.outputs, mark)
        for t in dict.fromkeys(node.inputs):
            if not labels.is_inline(t):
                self.arrow(self.place(t), mark, t)

    def _control(self, node: Node, cluster: Cluster) -> None:
        """A frame with what a loop runs, or all sides of a branch."""
        turns = labels.one_line(str(node.attrs["length"])) if "length" in node.attrs else ""
        title = f"{node.op.name} · {turns} steps" if turns else node.op.name
        frame = cluster.add(Box.LOOP, title)
        results: list[Sequence[Tensor]] = []
        for body in bodies(node):
            offset = len(node.inputs) - len(body.inputs)
            given = {
                p: self.place(t)
                for p, t in zip(body.inputs, node.inputs[offset:], strict=True)
                if not labels.is_inline(t)
            }
            inner = _Costs(self.ridge)
            inner.picture, inner.kernels = self.picture, self.kernels
            inner.steps(body, frame, given)
            self.kernels = inner.kernels
            results.append([*body.outputs])
            for outer, result in zip(node.outputs, body.outputs, strict=False):
                if labels.is_inline(result):
                    continue
                self.places[outer] = inner.place(result)


def arrow_of(tail: int, head: int, moved: int) -> Arrow:
    """An arrow for so many bytes, as wide as they are many."""
    width = round(min(6.0, 0.6 + 0.25 * math.log2(1 + moved / 64)), 1)
    return Arrow(tail, head, in_bytes(moved), width=width)


def operations_of(nodes: Sequence[Node]) -> str:
    """The operations of a kernel that compute something, the most frequent ones first."""
    names = Counter(
        n.op.name for n in nodes if n.op.kind is not Kind.LEAF and not n.op.only_moves
    )
    shown = [name for name, _ in names.most_common(_NAMED)]
    more = len(names) - len(shown)
    listed = ", ".join(shown) or "moved elements"
    return listed + (f" and {more} more" if more > 0 else "")


def in_bytes(count: Size) -> str:
    """A number of bytes: `1.5 kB`."""
    return in_units(size_hint(count), _UNITS)


def in_units(count: float, units: Sequence[str]) -> str:
    """A number in the largest unit, by thousands, in which it is at least 1.

    >>> in_units(1500, ("B", "kB")), in_units(12, ("", "k"))
    ('1.5 kB', '12')
    """
    rank = 0
    while count >= 1000 and rank < len(units) - 1:
        count, rank = count / 1000, rank + 1
    return f"{count:.3g} {units[rank]}".strip()
