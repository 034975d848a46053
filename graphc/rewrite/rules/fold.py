"""Folding: what can be computed before the program runs, is.

A fold has a budget: it never makes more than a megabyte beyond what it had, nor takes long; a large
constant made of a small formula stays a formula, which a kernel computes where it needs it.
"""

from __future__ import annotations

from graphc.ir.dim import product
from graphc.ir.evaluate import compute
from graphc.ir.node import Node
from graphc.ir.op import Fact, Kind
from graphc.ops.build import constant, size_as_tensor
from graphc.rewrite.pattern import Pattern, stop_gradient, weak
from graphc.rewrite.ruleset import EXACT, Formulas, Result, Ruleset

fold = Ruleset("fold")

GROWTH = 1 << 20  # bytes that a folded constant may have beyond its operands
WORK = 1 << 22  # elements times the op's cost: some milliseconds of NumPy
_SMALL_AS_THEY_ARE = ("broadcast_to", "random_bits")  # much from little: computed where it is read


@fold.rewrite(
    EXACT, Kind.MAP, Kind.VIEW, Kind.REDUCE, Kind.RUNNING, Kind.COMPOSITE, over=["constant"]
)
def fold_constants(node: Node) -> Result:
    """op(constants) -> constant"""
    if node.op.kind is Kind.COMPOSITE and Fact.EXACT not in node.op.facts:
        return "what it is expanded to may round otherwise"
    if not node.inputs or any(t.node.op.name != "constant" for t in node.inputs):
        return None
    if not node.op.is_pure:
        return "the op may fail"
    if node.op.name in _SMALL_AS_THEY_ARE:
        return None
    arrays = [t.node.attrs["value"].array for t in node.inputs]
    elements, size = max(a.size for a in arrays), 0
    for kind in node.types:
        count = product(kind.shape)
        if not isinstance(count, int):
            return "the size is not known yet"
        elements, size = max(elements, count), size + count * kind.dtype.itemsize
    if size > sum(a.nbytes for a in arrays) + GROWTH:
        return f"the result would take {size} bytes"
    if elements * node.op.cost > WORK:
        return f"computing {elements} elements would take long"
    values = compute(node, arrays, {})
    return [constant(v, kind.dtype) for v, kind in zip(values, node.types, strict=True)]


@fold.rewrite(EXACT, "size")
def fold_size(node: Node) -> Result:
    """size(known) -> constant"""
    size = node.attrs["size"]
    return size_as_tensor(size, node.attrs["dtype"]) if isinstance(size, int) else None


@fold.rule(EXACT, kinds="biuf")
def drop_weak(x: Pattern) -> Formulas:
    """weak(x) -> x

    What else the user's program meets is decided: every dtype is fixed.
    """
    return weak(x), x


@fold.rule(EXACT, kinds="biuf")
def drop_stop_gradient(x: Pattern) -> Formulas:
    """stop_gradient(x) -> x

    After differentiation only: it is what derivatives look for.
    """
    return stop_gradient(x), x
