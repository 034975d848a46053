"""What a program does for safety's sake, and a formula on paper does not say.

These rules are for who reads: drawings and derivations. No program is compiled by them.
"""

from __future__ import annotations

import math

from graphc.ir.node import Node, Tensor
from graphc.ops.build import scalar_value
from graphc.ops.elementwise import sqrt
from graphc.rewrite.ruleset import UNSAFE, Result, Ruleset

people = Ruleset("people")


@people.rewrite(
    UNSAFE, "ensure", "converged", "check_labels", "checkpoint", "after", "custom_gradient"
)
def see_through(node: Node) -> Result:
    """ensure(x, condition) -> x; and so for other ops whose results are their operands

    A check fails and a checkpoint is computed again, which is no part of a formula.
    """
    return node.inputs[: len(node.types)]


@people.rewrite(UNSAFE, "root_of_squares")
def read_root(node: Node) -> Result:
    """root_of_squares(x) -> sqrt(x), whose derivative is that of the textbook"""
    return sqrt(node.inputs[0])


@people.rewrite(UNSAFE, "where")
def drop_guard_of_infinity(node: Node) -> Result:
    """where(c and |v| == inf, y, x) -> x: no real number is infinite

    So `t * where(t == 0 and |v| == inf, 0, v)`, a product that is 0 for t = 0, reads `t * v`, and
    its derivative as that of the product.
    """
    condition, _, x = node.inputs
    if condition.node.op.name != "logical_and":
        return None
    if not any(map(_is_infinite, condition.node.inputs)):
        return "the condition is not about an infinity"
    return x


def _is_infinite(condition: Tensor) -> bool:
    """Whether the condition is |v| == inf."""
    if condition.node.op.name != "equal":
        return False
    value, limit = condition.node.inputs
    return value.node.op.name == "abs" and scalar_value(limit) == math.inf
