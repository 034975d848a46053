"""Functions of one tensor inside of what is differentiated: elementwise ops by which one value
comes from another in several ways.

`x * sigmoid(x)` is a function of x that uses it twice. Cotangents that flow through its ops one by
one meet in x as `g * s + g * x * s * (1 - s)`, and the backward pass needs a value for each way
from y to x. Taken as one function it has one derivative, and the cotangent is
`g * (s + x * s * (1 - s))`: the factor depends on nothing of the backward pass, so it is computed
where y is, and is all that is kept. It is fewer products, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact

OPS = 16  # between a function's operand and its result, at the most


@dataclass(frozen=True, slots=True)
class Local:
    """A function of `x`: its operations, in order. Nobody else uses what they compute, but for the
    last one, its result."""

    x: Tensor
    nodes: tuple[Node, ...]


def functions_of_one(
    order: Sequence[Node], on_path: Collection[Node], kept: Collection[Tensor]
) -> dict[Tensor, Local]:
    """The results of `order` that are functions of one tensor, by several ways. Only operands on a
    path count, the others are constants here; no tensor of `kept` is inside of a function."""
    users: dict[Tensor, list[Node]] = {}
    above: dict[Tensor, tuple[Tensor, int]] = {}  # what all ways to it go through; how deep it is
    places: dict[Node, int] = {}
    merged: list[Tensor] = []
    for node in order:
        if node not in on_path:
            continue
        places[node] = len(places)
        operands = list(dict.fromkeys(t for t in node.inputs if t.node in on_path))
        for t in operands:
            users.setdefault(t, []).append(node)
        x = _meet(operands, above) if _is_scalar(node, operands) else None
        if x is None:
            continue
        y = node.output()
        above[y] = x, _depth(x, above) + 1
        if len(operands) > 1:
            merged.append(y)
    found: dict[Tensor, Local] = {}
    for y in merged:
        x, _ = above[y]
        inside = _between(y, x, on_path)
        if inside is not None and _is_closed(inside, y, users, kept):
            found[y] = Local(x, tuple(sorted(inside, key=places.__getitem__)))
    return found


def _is_scalar(node: Node, operands: Sequence[Tensor]) -> bool:
    """Whether each element of the result is a function of the operands' elements there, none of
    which a branch hides."""
    facts = node.op.facts
    if Fact.ELEMENTWISE not in facts or Fact.PICKS in facts or len(node.types) != 1:
        return False
    return node.types[0].dtype.is_float and all(t.type == node.types[0] for t in operands)


def _depth(t: Tensor, above: Mapping[Tensor, tuple[Tensor, int]]) -> int:
    return above[t][1] if t in above else 0


def _meet(
    operands: Sequence[Tensor], above: Mapping[Tensor, tuple[Tensor, int]]
) -> Tensor | None:
    """The nearest tensor that all ways to the operands go through, if it is near."""
    if not operands:
        return None
    first = operands[0]
    for other in operands[1:]:
        for _ in range(2 * OPS):
            if first is other:
                break
            if _depth(first, above) < _depth(other, above):
                first, other = other, first
            if first not in above:
                return None
            first = above[first][0]
        if first is not other:
            return None
    return first


def _between(y: Tensor, x: Tensor, on_path: Collection[Node]) -> set[Node] | None:
    """The operations from x to y; None if they are too many."""
    inside, stack = {y.node}, [y.node]
    while stack:
        for t in stack.pop().inputs:
            if t is not x and t.node in on_path and t.node not in inside:
                inside.add(t.node)
                stack.append(t.node)
        if len(inside) > OPS:
            return None
    return inside


def _is_closed(
    inside: Collection[Node],
    y: Tensor,
    users: Mapping[Tensor, Sequence[Node]],
    kept: Collection[Tensor],
) -> bool:
    """Whether what is computed on the way to `y` is for it alone."""
    values = (node.output() for node in inside if node is not y.node)
    return all(
        t not in kept and all(user in inside for user in users.get(t, ())) for t in values
    )
