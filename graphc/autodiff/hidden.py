"""What `where` hides: cotangents that must stay zero whatever their factors are.

The derivative of `where(x > 0, log(x), 0)` at 0 is `where(x > 0, g / x, 0)`, not `0 * inf`. As long
as a cotangent is itself `where(c, a, 0)`, `masked_multiply` sees to that. A sum or a matrix product
between the `where` and the `log` loses the form and keeps the zeros; then the cotangent takes the
form `where(g != 0, g, 0)` before it is multiplied again. Which zeros are of a `where` and which are
there by chance is not known then, so a factor that is finite is multiplied by both: the product has
the derivatives of a product (`ops/flows.py`).

This is done only for tensors that all their users hide behind a `where`: anything else that is not
finite reaches an output, and the gradient may say so.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact
from graphc.ops.build import scalar_like
from graphc.ops.elementwise import WHERE, where
from graphc.ops.flows import flows
from graphc.ops.scalar import branch_of


class Hidden:
    """The tensors used through `where` only, and those of them whose cotangent lost its form."""

    def __init__(self, outputs: Sequence[Tensor], behind: bool) -> None:
        """`behind`: the outputs themselves are used through `where` only."""
        self._hidden: dict[Tensor, bool] = dict.fromkeys(outputs, behind)
        self._formless: set[Tensor] = set()

    def all(self, tensors: Sequence[Tensor]) -> bool:
        """Whether a `where` hides every use of `tensors` that has a cotangent."""
        return all(self._hidden.get(t, True) for t in tensors)

    def restore(self, t: Tensor, g: Tensor) -> Tensor:
        """The cotangent of `t` as `where(c, a, 0)`, if `t` is hidden."""
        if not self._hidden[t] or (t not in self._formless and branch_of(g) is not None):
            return g
        return guarded(g)

    def record(self, x: Tensor, node: Node) -> None:
        """A cotangent of `x`, an input of `node`, has been found."""
        by_where, behind = node.op is WHERE, self.all(node.outputs)
        self._hidden[x] = self._hidden.get(x, True) and (by_where or behind)
        moves = Fact.REINDEX in node.op.facts and not self._formless.intersection(node.outputs)
        if not (moves or Fact.ELEMENTWISE in node.op.facts):
            self._formless.add(x)


def guarded(g: Tensor) -> Tensor:
    """`g` as a branch that is taken where `g` is not zero."""
    return where(flows(g), g, scalar_like(0, g))
