"""Reverse mode, from graph to graph: cotangents flow from the outputs back to what is asked for.

One walk: a node's cotangents are complete when its users have been visited; its op's `vjp` then
gives those of its inputs. There is nothing about any particular op here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphc.autodiff.hidden import Hidden, guarded
from graphc.autodiff.local import Local, functions_of_one
from graphc.errors import GradientError
from graphc.ir import origin
from graphc.ir.collector import paused_collector
from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Context as Asked
from graphc.ir.op import Fact
from graphc.ops.build import scalar_like
from graphc.ops.elementwise import where
from graphc.ops.scalar import branch_of, masked_multiply, stretch


class Context:
    """What an op's `vjp` may ask: which inputs need a cotangent, and the vjp of a sub-graph.

    `hidden`: the op's result is used through `where` only, so where its cotangent is zero it may
    be infinite or NaN. What is in its bodies may be so, too.
    """

    def __init__(
        self, wanted: Sequence[bool], hidden: bool = False, asked: Collection[Tensor] = ()
    ) -> None:
        self._wanted, self._hidden, self._asked = tuple(wanted), hidden, asked

    def needs(self, position: int) -> bool:
        """Whether a cotangent of input `position` will be used."""
        return self._wanted[position]

    def asks(self, tensor: Tensor) -> bool:
        """Whether the derivative by the tensor is asked for, as a variable of its own."""
        return tensor in self._asked

    def guarded(self, g: Tensor) -> Tensor:
        """`g` in a form of which `masked_multiply` makes no `0 * inf`, if the result is hidden."""
        return guarded(g) if self._hidden else g

    def pull_back(
        self, outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None], wrt: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Cotangents of `wrt` from those of `outputs` (for ops that hold sub-graphs)."""
        return pull_back(outputs, cotangents, wrt, behind=self._hidden)


@paused_collector()
def pull_back(
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    wrt: Sequence[Tensor],
    known: Collection[Tensor] = (),
    *,
    behind: bool = False,
) -> list[Tensor | None]:
    """The cotangents of `wrt`; None where an output does not depend on it. No tensor of `known`
    depends on `wrt`: the walk ends there. `behind`: what uses the outputs is behind a `where`."""
    order = walk(outputs, known)
    on_path = nodes_above(order, {t.node for t in wrt})
    found: dict[Tensor, Tensor] = {}
    hidden = Hidden(outputs, behind)
    for y, g in zip(outputs, cotangents, strict=True):
        if g is not None:
            _accumulate(found, y, g)
    wanted = set(wrt)
    functions = functions_of_one(order, on_path, {*wanted, *outputs})
    for node in reversed(order):
        if node not in on_path:
            continue
        gs = [found.get(t) if t in wanted else found.pop(t, None) for t in node.outputs]
        if all(g is None for g in gs) or not node.inputs:
            continue
        with origin.inherit(node.origins):
            if Fact.ELEMENTWISE in node.op.facts:
                gs = [
                    None if g is None else hidden.restore(t, g)
                    for t, g in zip(node.outputs, gs, strict=True)
                ]
            function = functions.get(node.outputs[0])
            if function is not None and gs[0] is not None:
                factor = _derivative(function, on_path)
                if factor is not None:
                    _accumulate(found, function.x, masked_multiply(gs[0], factor))
                    hidden.record(function.x, node)
                continue
            found_by = _apply_vjp(node, gs, on_path, hidden.all(node.outputs), wanted)
            for x, g in zip(node.inputs, found_by, strict=True):
                if g is not None and x.node in on_path:
                    _accumulate(found, x, stretch(g, x.shape))  # sizes may be equal by assumption
                    hidden.record(x, node)
    return [found.get(t) for t in wrt]


def _derivative(function: Local, on_path: set[Node]) -> Tensor | None:
    """That of a function of one tensor; None where it is zero everywhere."""
    y = function.nodes[-1].output()
    one = stretch(scalar_like(1, y), y.shape)
    found = {y: one}
    for node in reversed(function.nodes):
        with origin.inherit(node.origins):
            g = found.pop(node.output(), None)
            parts = [] if g is None else _apply_vjp(node, [g], on_path, False, ())
            for x, part in zip(node.inputs, parts, strict=False):
                if part is not None and x.node in on_path:
                    _accumulate(found, x, stretch(_without_one(part, one), x.shape))
    return found.get(function.x)


def _without_one(g: Tensor, one: Tensor) -> Tensor:
    """`g`, or its other factor where it is `one` times that."""
    if Fact.MULTIPLIES in g.node.op.facts:
        first, second = g.node.inputs
        if first is one and second.shape == one.shape:
            return second
    return g


def nodes_above(order: Sequence[Node], sources: set[Node]) -> set[Node]:
    """The nodes of `order` that are in `sources` or whose derivative by one may be other than 0."""
    above: set[Node] = set()
    for node in order:
        flows = (t.dtype.has_derivative and t.node in above for t in node.inputs)
        if node in sources or (node.op.differentiable and any(flows)):
            above.add(node)
    return above


def _apply_vjp(
    node: Node,
    gs: list[Tensor | None],
    on_path: set[Node],
    hidden: bool,
    asked: Collection[Tensor],
) -> list[Tensor | None]:
    op = node.op
    if not op.differentiable:
        return [None] * len(node.inputs)
    if op.vjp is None:
        raise no_derivative(node)
    wanted = [t.node in on_path and t.dtype.has_derivative for t in node.inputs]
    context: Asked = Context(wanted, hidden, asked)
    several = len(node.types) > 1
    result = op.vjp(
        context,
        gs if several else gs[0],
        node.outputs if several else node.output(),
        *node.inputs,
        **node.attrs,
    )
    return list(result)


def no_derivative(node: Node) -> GradientError:
    """Of an op that states no derivative, though it may have one."""
    return GradientError(
        "the op states no derivative",
        op=node.op.name,
        given=f"a derivative through {node.op.name}",
        where=str(node.origins[0]) if node.origins else "",
        hint="gc.stop_gradient takes the operand as a constant; gc.custom_gradient states one",
    )


def _accumulate(found: dict[Tensor, Tensor], x: Tensor, g: Tensor) -> None:
    found[x] = add_cotangents(found[x], g) if x in found else g


def add_cotangents(a: Tensor, b: Tensor) -> Tensor:
    """a + b; two halves of one branch stay a branch, which keeps masking what was not taken."""
    first, second = branch_of(a), branch_of(b)
    if first is not None and second is not None and first[0] is second[0]:
        return where(first[0], first[1] + second[1], scalar_like(0, a))
    return a + b
