"""What a program does for safety's sake, and a formula on paper does not say.

These rules are for who reads: drawings and derivations. No program is compiled by them.
"""

from __future__ import annotations

import math

from graphc.ir.node import Node, Tensor
from graphc.ops.build import constant, scalar_value
from graphc.ops.elementwise import multiply, sqrt
from graphc.ops.shape import reshape
from graphc.rewrite.ruleset import UNSAFE, Result, Ruleset

people = Ruleset("people")
vectors = Ruleset("vectors")  # for equations: products of vectors that were made matrices


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


@vectors.rewrite(UNSAFE, "reshape", needs=["matmul"])
def product_with_one_number(node: Node) -> Result:
    """reshape(x[m, 1] @ y[1, 1], (m,)) -> x * y, for a vector x and a number y that were made
    matrices; and so with the number on the left

    The derivative of `x @ w`, of two vectors, is `x` times a number.
    """
    product = node.inputs[0]
    if product.node.op.name != "matmul" or node.types[0].rank != 1:
        return None
    left, right = product.node.inputs
    for x, y in ((left, right), (right, left)):
        vector, number = _vector(x), _number(y)
        if vector is not None and number is not None and vector.shape == node.types[0].shape:
            return vector if scalar_value(number) == 1 else multiply(vector, number)
    return "they are no vector and no number"


@vectors.rewrite(UNSAFE, "matmul")
def product_of_column_and_row(node: Node) -> Result:
    """x[m, 1] @ y[1, n] -> x * y, each stretched along the other, for vectors that were made
    matrices: as equations write an outer product
    """
    left, right = node.inputs
    if (1, 1) in (left.shape, right.shape):
        return "one of them is a number"
    x, y = _vector(left), _vector(right)
    if x is None or y is None or left.shape[1] != 1 or right.shape[0] != 1:
        return "they are not a column and a row that were vectors"
    return multiply(reshape(x, left.shape), reshape(y, right.shape))


def _vector(t: Tensor) -> Tensor | None:
    """The vector that was made this matrix of one row or one column."""
    source = _source(t, 1)
    return source if source.ndim == 1 and t.ndim == 2 and 1 in t.shape else None


def _number(t: Tensor) -> Tensor | None:
    """The number that was made this matrix of one element."""
    known = scalar_value(t)
    if known is not None:
        return constant(known, t.dtype) if t.shape == (1, 1) else None
    source = _source(t, 0)
    return None if source.ndim else source


def _source(t: Tensor, rank: int) -> Tensor:
    """What was made `t`, of so many axes if there was such."""
    while t.ndim > rank and t.node.op.name in ("reshape", "permute_dims"):
        t = t.node.inputs[0]
    return t


def _is_infinite(condition: Tensor) -> bool:
    """Whether the condition is |v| == inf."""
    if condition.node.op.name != "equal":
        return False
    value, limit = condition.node.inputs
    return value.node.op.name == "abs" and scalar_value(limit) == math.inf
