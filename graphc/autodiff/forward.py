"""Forward mode, from graph to graph: tangents flow from what is moved on to the outputs.

One walk, operands before users. What only moves elements moves those of the tangent. Another op's
tangents are what its `jvp` states, or else come from its `vjp`, which is linear in the cotangent:
the vjp of that linear function, at the tangents of the inputs, is the derivative forwards.
Source: Radul, Paszke, Frostig, Johnson and Maclaurin, 2023, "You only linearize once", backwards.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.autodiff.reverse import Context as Backwards
from graphc.autodiff.reverse import no_derivative, nodes_above, pull_back
from graphc.ir import origin
from graphc.ir.collector import paused_collector
from graphc.ir.graph import transform, walk
from graphc.ir.node import Node, Tensor, apply
from graphc.ops.build import weak_like
from graphc.ops.closure import fresh
from graphc.ops.create import zeros_like
from graphc.ops.scalar import stretch

Tangents = Sequence[Tensor | None]


class Context:
    """What an op's `jvp` may ask: the jvp of a sub-graph."""

    @staticmethod
    def push_forward(
        outputs: Sequence[Tensor], wrt: Sequence[Tensor], tangents: Tangents
    ) -> list[Tensor | None]:
        """Tangents of `outputs` from those of `wrt` (for ops that hold sub-graphs)."""
        return push_forward(outputs, wrt, tangents)


_CONTEXT = Context()


@paused_collector()
def push_forward(
    outputs: Sequence[Tensor], wrt: Sequence[Tensor], tangents: Tangents
) -> list[Tensor | None]:
    """The tangents of `outputs`; None where one does not depend on `wrt`. A tensor of `wrt` that is
    computed from others of them moves by its own tangent and with them."""
    order = walk(outputs)
    above = nodes_above(order, {t.node for t in wrt})
    found: dict[Tensor, Tensor] = {}
    for x, t in zip(wrt, tangents, strict=True):
        if t is not None:
            found[x] = found[x] + t if x in found else t
    for node in order:
        if node not in above:
            continue
        ts = [found.get(x) for x in node.inputs]
        if all(t is None for t in ts):
            continue
        with origin.inherit(node.origins):
            for y, t in zip(node.outputs, _apply_jvp(node, ts), strict=True):
                if t is not None and y.dtype.has_derivative:
                    moved = stretch(t, y.shape)  # sizes may be equal by assumption
                    found[y] = found[y] + moved if y in found else moved
    return [found.get(y) for y in outputs]


def _apply_jvp(node: Node, ts: Tangents) -> Tangents:
    op = node.op
    if not op.differentiable:
        return [None] * len(node.types)
    if op.only_moves and op.vjp is not None:
        moved = ts[0]
        if moved is None:
            return [None]
        return [apply(op, (moved, *node.inputs[1:]), **node.attrs).output()]
    if op.jvp is None:
        return _transposed(node, ts)
    several = len(node.types) > 1
    result = op.jvp(
        _CONTEXT, ts, node.outputs if several else node.output(), *node.inputs, **node.attrs
    )
    return list(result) if several else [result]


def _transposed(node: Node, ts: Tangents) -> Tangents:
    """The tangents of a node's outputs: the vjp, by the cotangents of the outputs, of the node's
    own vjp, with the tangents of the inputs as cotangents of what that gives."""
    op = node.op
    if op.vjp is None:
        raise no_derivative(node)
    floats = [y for y in node.outputs if y.dtype.has_derivative]
    stands = dict(zip(floats, fresh("cotangent", (y.type for y in floats)), strict=True))
    gs = [weak_like(stands[y], y) if y in stands else None for y in node.outputs]
    several = len(node.types) > 1
    back = op.vjp(
        Backwards([t is not None for t in ts]),
        gs if several else gs[0],
        node.outputs if several else node.output(),
        *node.inputs,
        **node.attrs,
    )
    pairs = [
        (c, stretch(t, c.shape))
        for c, t in zip(back, ts, strict=True)
        if c is not None and t is not None
    ]
    known = {*node.inputs, *node.outputs, *(t for t in ts if t is not None)}
    stood = list(stands.values())
    result = pull_back([c for c, _ in pairs], [t for _, t in pairs], stood, known)
    moved = dict(zip(stands, _without(stood, result, known), strict=True))
    return [moved.get(y) for y in node.outputs]


def _without(stood: Sequence[Tensor], found: Tangents, known: set[Tensor]) -> Tangents:
    """`found`, which does not depend on the tensors `stood`, as it is linear in them, without them:
    a loop may have computed with them beside what is needed of it."""
    present = [t for t in found if t is not None]
    if {t.node for t in stood}.isdisjoint(walk(present, known)):
        return found
    zeros = {t: zeros_like(t) for t in stood}
    made = iter(transform(present, replace={t: t for t in known} | zeros))
    return [None if t is None else next(made) for t in found]
