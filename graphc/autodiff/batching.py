"""Batches: a graph of one element becomes the graph of many, along a new axis in front.

One walk, from what is known for each element to what depends on it; the rest stays as it is. How a
node is computed for all elements at once, its op says: it is elementwise, or the same op where one
more axis is in front (`Op.axes`), or states it (`Op.batched`). Of an op that says nothing the
definition is taken (`Op.expand`) unless that loses a derivative, and any other is computed one
element after another. There is nothing about any particular op here. Whether a tensor has the new
axis, its rank tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.ir import origin
from graphc.ir.collector import paused_collector
from graphc.ir.dim import Size
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Batch, Fact
from graphc.ops.closure import close, fresh, made_since
from graphc.ops.scan import SCAN
from graphc.ops.shape import broadcast_to, unit_axes_behind_first


@paused_collector()
def batched(outputs: Sequence[Tensor], given: Mapping[Tensor, Tensor], size: Size) -> list[Tensor]:
    """`outputs` where each key of `given` is replaced by its value: one tensor for each of `size`
    elements, along an axis in front of those of the key; or one of the key's own rank, the same for
    all. An output that depends on no tensor with that axis has none either.

    >>> import graphc as gc
    >>> x, xs = gc.placeholder("x", (3,)), gc.placeholder("xs", ("n", 3))
    >>> [t.shape for t in batched([gc.sum(x * x), x.T], {x: xs}, xs.shape[0])]
    [(n,), (n, 3)]
    """
    done = dict(given)
    start = min((t.node.serial for t in given), default=0) - 1  # what depends on them is younger
    for node in made_since(outputs, start, done.keys()):
        inputs = [done.get(t, t) for t in node.inputs]
        if all(new is old for new, old in zip(inputs, node.inputs, strict=True)):
            continue
        with origin.inherit(node.origins):
            for old, new in zip(node.outputs, _node(node, inputs, size), strict=True):
                done.setdefault(old, new)
    return [done.get(t, t) for t in outputs]


def spread(x: Tensor, size: Size) -> Tensor:
    """`x`, the same for each of `size` elements, along a new axis in front."""
    return broadcast_to(x, (size, *x.shape))


def _node(node: Node, inputs: Sequence[Tensor], size: Size) -> Sequence[Tensor]:
    """The outputs of `node` over `inputs`, some of which may have the new axis."""
    op, attrs = node.op, node.attrs
    batch = Operands(node, inputs, size)
    if not any(map(batch.has, range(len(inputs)))):
        return apply(op, inputs, **attrs).outputs
    if op.batched is not None:
        context: Batch = batch
        return _several(op.batched(context, *inputs, **attrs))
    if Fact.ELEMENTWISE in op.facts:
        rank = 1 + node.output().ndim
        aligned = (
            unit_axes_behind_first(t, rank) if batch.has(i) else t for i, t in enumerate(inputs)
        )
        return apply(op, tuple(aligned), **attrs).outputs
    if op.axes is not None:
        every = (t if batch.has(i) else batch.spread(t) for i, t in enumerate(inputs))
        return apply(op, tuple(every), **op.behind_one_more(attrs, size)).outputs
    smaller = None if op.expand is None or op.vjp else op.expand(*node.inputs, **attrs)
    if smaller is None:
        return batch.one_by_one()
    return batched(_several(smaller), dict(zip(node.inputs, inputs, strict=True)), size)


def _several(result: Any) -> Sequence[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


class Operands:
    """The operands of a node for all elements: what a `batched` rule may ask (`Batch`)."""

    def __init__(self, node: Node, inputs: Sequence[Tensor], size: Size) -> None:
        self.size, self._node, self._inputs = size, node, inputs

    def has(self, position: int) -> bool:
        """Whether operand `position` has the new axis, in front of its others."""
        return self._inputs[position].ndim > self._node.inputs[position].ndim

    def spread(self, x: Tensor) -> Tensor:
        """`x`, which has not the new axis, stretched along one."""
        return spread(x, self.size)

    def outputs(self, graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of a body over inputs some of which may have the new axis."""
        return batched(graph.outputs, dict(zip(graph.inputs, inputs, strict=True)), self.size)

    def one_by_one(self) -> list[Tensor]:
        """The node for one element after another, by a loop: right for any op."""
        positions = range(len(self._inputs))
        order = sorted(positions, key=lambda i: not self.has(i))
        inner = fresh("element", (t.type for t in self._node.inputs))
        outputs = apply(self._node.op, inner, **self._node.attrs).outputs
        loop = apply(
            SCAN,
            [self._inputs[i] for i in order],
            body=close(outputs, [inner[i] for i in order]),
            length=self.size,
            carries=0,
            xs=sum(map(self.has, positions)),
            reverse=False,
        )
        return list(loop.outputs)
