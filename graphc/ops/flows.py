"""Where a cotangent flows: whether it is not zero, in place of a condition that was lost.

`where(c, a, 0)` summed up is zero where no `c` holds, and where numbers happen to cancel. As a
function the cotangent `g` is the same as `where(g != 0, g, 0)`, but not to derivatives: of `g * f`
by `g` there would be 0 rather than `f` where `g` happens to be 0. So such a condition is a mark,
and `widened` lets what is 0 pass too, as long as the factor is finite:

    where(g != 0, g, 0) * f        where(g != 0 or isfinite(f), g * f, 0)

The factor is constant to derivatives where `g` is 0, as its tangent may be infinite there. So first
and second derivatives are those of the product; a third one lacks that of the factor there.
"""

from __future__ import annotations

from graphc.ir.node import Tensor, apply
from graphc.ir.op import Fact
from graphc.ir.operators import function
from graphc.ops.build import scalar_like

_MOST = 16  # conditions in one that are looked at


def flows(g: Tensor) -> Tensor:
    """The mark: a condition that is no part of what is differentiated, in a form of its own."""
    is_zero = function("equal")(g, scalar_like(0, g))
    found: Tensor = function("stop_gradient")(function("logical_not")(is_zero))
    return found


def widened(condition: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """A condition with its marks widened to where `factor` is finite, and the factor."""
    parts = [condition]
    kept: list[Tensor] = []
    marked: list[Tensor] = []
    while parts and len(parts) + len(kept) + len(marked) < _MOST:
        part = _moved_inside(parts.pop())
        if part.node.op.name == "logical_and":
            parts += part.node.inputs
        else:
            (marked if _mark_of(part) is not None else kept).append(part)
    if not marked:
        return condition, factor
    either, both = function("logical_or"), function("logical_and")
    finite = function("isfinite")(factor)
    held = factor
    result: Tensor | None = None
    for part in (*parts, *kept, *marked):
        mark = _mark_of(part)
        if mark is not None:
            first, rest = mark
            part = either(first, finite if rest is None else both(rest, finite))
            negated = function("logical_not")
            flowing = negated(negated(first))  # no mark: what it hides is not 0
            held = function("where")(flowing, held, function("stop_gradient")(held))
        result = part if result is None else both(result, part)
    assert result is not None
    return result, held


def _mark_of(condition: Tensor) -> tuple[Tensor, Tensor | None] | None:
    """A mark, and which factors it was widened for; None where it is no mark."""
    node = condition.node
    if node.op.name == "logical_or" and _is_mark(node.inputs[0]):
        return node.inputs[0], node.inputs[1]
    return (condition, None) if _is_mark(condition) else None


def _is_mark(condition: Tensor) -> bool:
    while Fact.REINDEX in condition.node.op.facts:
        condition = condition.node.inputs[0]
    names: list[str] = []
    while len(names) < 3 and len(condition.node.inputs) >= 1:
        names.append(condition.node.op.name)
        condition = condition.node.inputs[0]
    return names == ["stop_gradient", "logical_not", "equal"]


def _moved_inside(condition: Tensor) -> Tensor:
    """Both parts moved, where it is a moved `and` or `or`."""
    moves = []
    inner = condition
    while Fact.REINDEX in inner.node.op.facts:
        moves.append(inner.node)
        inner = inner.node.inputs[0]
    if not moves or inner.node.op.name not in ("logical_and", "logical_or"):
        return condition
    stretch = function("broadcast_to")
    parts = [t if t.shape == inner.shape else stretch(t, inner.shape) for t in inner.node.inputs]
    for move in reversed(moves):
        parts = [apply(move.op, (t,), **move.attrs).output() for t in parts]
    found: Tensor = function(inner.node.op.name)(*parts)
    return found
