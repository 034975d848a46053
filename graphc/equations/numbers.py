"""Graphs as people read them: numbers that are made of numbers are computed, and nothing else.

A derivative of `x ** y` says what holds for every y; of `h ** 2` a reader expects `2 * h`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphc.ir.evaluate import compute
from graphc.ir.graph import Graph, map_graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact
from graphc.ops.build import constant
from graphc.ops.closure import in_bodies
from graphc.ops.elementwise import where
from graphc.symbolic.recognize import everywhere


def computed(graph: Graph, named: Collection[Tensor] = ()) -> Graph:
    """`graph`, and the graphs inside, with numbers in place of what is made of numbers; what is
    `named` stays.

    >>> import graphc as gc
    >>> h = gc.placeholder("h")
    >>> gc.latex(gc.grad(h**2, h))
    '2 \\\\cdot h'
    """
    return map_graph(in_bodies(graph, computed), lambda n, inputs: _rewrite(n, inputs, named))


def _rewrite(
    node: Node, inputs: tuple[Tensor, ...], named: Collection[Tensor]
) -> Sequence[Tensor] | None:
    name, output = node.op.name, node.types[0]
    if not inputs or Fact.ELEMENTWISE not in node.op.facts or not node.op.is_pure:
        return None
    if Fact.CONVERTS in node.op.facts and node.inputs[0].node.weak and inputs[0] not in named:
        return _converted(node, inputs[0])
    numbers = [everywhere(t) for t in inputs]
    if name == "where" and numbers[0] is not None:
        chosen = inputs[1 if numbers[0].node.attrs["value"].array else 2]
        return [chosen] if chosen.type == output else None
    if name in ("power", "integer_power") and numbers[1] is not None:
        is_one = numbers[1].node.attrs["value"].array == 1
        return [inputs[0]] if is_one and inputs[0].type == output else None
    known = [t.node.attrs["value"].array for t in numbers if t is not None]
    if output.shape or len(known) < len(inputs):
        return None
    (value,) = compute(node, known, {})
    return [constant(value, output.dtype)]


def _converted(node: Node, x: Tensor) -> Sequence[Tensor] | None:
    """What was made of Python's numbers, in the dtype of the tensor beside it: the numbers
    themselves, or a choice between two of them."""
    choice = x.node.inputs if x.node.op.name == "where" else (x,)
    numbers = [everywhere(t) for t in choice[-2:]]
    sides = [
        constant(compute(node, [t.node.attrs["value"].array], {})[0], node.types[0].dtype)
        for t in numbers
        if t is not None
    ]
    if len(sides) < len(numbers):
        return None
    made = where(choice[0], *sides) if len(sides) == 2 else sides[0]
    return [made] if made.type == node.types[0] else None
