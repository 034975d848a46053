"""Why there is no derivative: nothing leads from the one to the other, or only what has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.autodiff.reverse import Context
from graphc.errors import GradientError
from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor
from graphc.ops.closure import above
from graphc.ops.create import zeros_like

SHOWN = 4


def unconnected(op: str, outputs: Sequence[Tensor], wrt: Tensor, path: str) -> GradientError:
    """The error that says why `outputs` have no derivative by `wrt`; the user calls it `path`."""
    zeros = f'if zeros are meant, gc.{op}(..., unconnected="zero") gives them'
    ends = list(_ends(outputs, wrt))
    if not ends:
        return GradientError(
            f"the output does not depend on {path}",
            op=op,
            expected="a tensor that the output is computed from",
            given=repr(wrt),
            hint=zeros,
        )
    more = ["..."] * (len(ends) > SHOWN)
    return GradientError(
        f"the output depends on {path} only through operations that have no derivative but zero",
        op=op,
        expected="a tensor that the output depends on differentiably",
        given=f"{wrt!r}, through " + ", ".join([*map(_named, ends[:SHOWN]), *more]),
        hint=zeros,
    )


def _named(node: Node) -> str:
    return f"{node.op.name} ({node.origins[0]})" if node.origins else node.op.name


def _ends(outputs: Sequence[Tensor], wrt: Tensor) -> Iterator[Node]:
    """The nodes that `wrt` moves differentiably, and that pass nothing on."""
    order = walk(outputs)
    below = above(order, [wrt.node])
    moved = {wrt}
    for node in order:
        if node in below and any(x in moved for x in node.inputs):
            if _passes(node, [x in moved for x in node.inputs]):
                moved.update(y for y in node.outputs if y.dtype.has_derivative)
            else:
                yield node


def _passes(node: Node, wanted: Sequence[bool]) -> bool:
    op, several = node.op, len(node.types) > 1
    if op.vjp is None or not op.differentiable:
        return False
    gs = [zeros_like(y) if y.dtype.has_derivative else None for y in node.outputs]
    found = op.vjp(
        Context(wanted),
        gs if several else gs[0],
        node.outputs if several else node.output(),
        *node.inputs,
        **node.attrs,
    )
    return any(c is not None for c in found)
