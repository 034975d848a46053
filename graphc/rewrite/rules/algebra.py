"""Identities of arithmetic, comparison and choice that hold bit by bit, and two that round less.

Floats are not reals, so some identities are absent on purpose: `x + 0` is not x for x = -0.0 (but
`x - 0` and `x + -0.0` are); `x * 0` is NaN for an infinite x; `x - x` and `x / x` likewise;
`-(x - y)` is -0.0 where `y - x` is 0.0.
"""

from __future__ import annotations

import math

import numpy as np

from graphc.ir.dim import product
from graphc.ir.dtype import DType, bool_
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact
from graphc.ir.shape import broadcast
from graphc.ops.build import cast, constant, scalar_value
from graphc.ops.elementwise import astype, multiply
from graphc.ops.elementwise import where as choose
from graphc.ops.scalar import stretch
from graphc.rewrite.pattern import (
    Pattern,
    abs,
    bitwise_invert,
    complex_of,
    imag,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    real,
    relu,
    root_of_squares,
    sqrt,
    square,
    where,
)
from graphc.rewrite.ruleset import EXACT, STABLE, Formulas, Result, Ruleset

algebra = Ruleset("algebra")
roots = Ruleset("roots")


# -- neutral elements ------------------------------------------------------------------------------
@algebra.rule(EXACT, kinds="iuf")
def drop_multiply_one(x: Pattern) -> Formulas:
    """x * 1 -> x"""
    return x * 1, x


@algebra.rule(EXACT)
def drop_divide_one(x: Pattern) -> Formulas:
    """x / 1 -> x"""
    return x / 1, x


@algebra.rule(EXACT)
def drop_power_one(x: Pattern) -> Formulas:
    """x ** 1 -> x"""
    return x**1, x


@algebra.rule(EXACT, kinds="iuf")
def drop_subtract_zero(x: Pattern) -> Formulas:
    """x - 0 -> x"""
    return x - 0, x


@algebra.rule(EXACT)
def drop_add_negative_zero(x: Pattern) -> Formulas:
    """x + -0.0 -> x"""
    return x + (-0.0), x


@algebra.rule(EXACT, kinds="iu")
def drop_add_zero(x: Pattern) -> Formulas:
    """x + 0 -> x, of integers"""
    return x + 0, x


# -- signs -----------------------------------------------------------------------------------------
@algebra.rule(EXACT, kinds="iuf")
def drop_double_negative(x: Pattern) -> Formulas:
    """-(-x) -> x"""
    return -(-x), x  # noqa: B002


@algebra.rule(EXACT, kinds="iuf")
def subtract_negative(x: Pattern, y: Pattern) -> Formulas:
    """x - (-y) -> x + y"""
    return x - (-y), x + y


@algebra.rule(EXACT, kinds="iuf")
def add_negative(x: Pattern, y: Pattern) -> Formulas:
    """x + (-y) -> x - y"""
    return x + (-y), x - y


@algebra.rule(EXACT, kinds="iuf")
def pull_negative_from_product(x: Pattern, y: Pattern) -> Formulas:
    """(-x) * y -> -(x * y)"""
    return (-x) * y, -(x * y)


@algebra.rule(EXACT)
def pull_negative_from_numerator(x: Pattern, y: Pattern) -> Formulas:
    """(-x) / y -> -(x / y)"""
    return (-x) / y, -(x / y)


@algebra.rule(EXACT)
def pull_negative_from_denominator(x: Pattern, y: Pattern) -> Formulas:
    """x / (-y) -> -(x / y)"""
    return x / (-y), -(x / y)


@algebra.rule(EXACT, kinds="if")
def drop_sign_in_abs(x: Pattern) -> Formulas:
    """abs(-x) -> abs(x)"""
    return abs(-x), abs(x)


@algebra.rule(EXACT, kinds="iuf")
def drop_sign_in_square(x: Pattern) -> Formulas:
    """square(-x) -> square(x)"""
    return square(-x), square(x)


@algebra.rule(EXACT, kinds="if")
def fold_factor_minus_one(x: Pattern) -> Formulas:
    """x * -1 -> -x"""
    return x * -1, -x


@algebra.rewrite(EXACT, "negative")
def merge_negative_into_factor(node: Node) -> Result:
    """-(x * c) -> x * (-c), for a number c"""
    product = node.inputs[0].node
    if product.op.name != "multiply" or not node.types[0].dtype.is_float:
        return None
    found = _split_factor(product)
    return multiply(found[0], _number(-found[1], found[0])) if found is not None else None


# -- powers, doubles, quotients --------------------------------------------------------------------
@algebra.rule(EXACT)
def fold_pow_zero(x: Pattern) -> Formulas:
    """x ** 0 -> 1, which pow says of NaN as well; the second derivative of a square has it"""
    return x**0, 1


@algebra.rule(EXACT)
def fold_pow_two(x: Pattern) -> Formulas:
    """x ** 2 -> square(x)"""
    return x**2, square(x)


@algebra.rule(EXACT, kinds="iuf")
def fold_self_product(x: Pattern) -> Formulas:
    """x * x -> square(x), the one form of a square"""
    return x * x, square(x)


@algebra.rule(STABLE)
def fold_pow_half(x: Pattern) -> Formulas:
    """x ** 0.5 -> sqrt(x)

    Not exact: C's pow gives 0.0 at -0.0 and inf at -inf. (NumPy 2.4 takes this shortcut itself, for
    an exponent that is one number, and earlier releases do not.)
    """
    return x**0.5, sqrt(x)


@algebra.rule(STABLE)
def fold_pow_three(x: Pattern) -> Formulas:
    """x ** 3 -> x * square(x)

    Two roundings, within one unit in the last place, for a tenth of the work.
    """
    return x**3, x * square(x)


@algebra.rule(STABLE)
def fold_pow_minus_one(x: Pattern) -> Formulas:
    """x ** -1 -> 1 / x"""
    return x**-1, 1 / x


@algebra.rule(EXACT, kinds="iuf")
def fold_self_sum(x: Pattern) -> Formulas:
    """x + x -> 2 * x"""
    return x + x, 2 * x


@algebra.rewrite(EXACT, "divide")
def multiply_by_reciprocal(node: Node) -> Result:
    """x / c -> x * (1 / c), for a power of two c whose reciprocal is exact"""
    x, divisor = node.inputs
    value = scalar_value(divisor)
    if value is None or scalar_value(x) is not None:
        return None  # a number over a number: folding has it
    if not _is_normal(value, x) or math.frexp(value)[0] not in (0.5, -0.5):
        return "the divisor is not a power of two"
    reciprocal = 1 / value
    if not _is_normal(reciprocal, x):
        return "the reciprocal would be subnormal"
    return multiply(stretch(x, node.types[0].shape), _number(reciprocal, x))


def _is_shared(x: Tensor, y: Tensor) -> str:
    elements = product(broadcast("multiply", x.shape, y.shape))
    shared = elements != product(y.shape)
    return "the reciprocal is computed once for many elements" if shared else ""


@algebra.rule(STABLE, where=_is_shared)
def fold_reciprocal_factor(x: Pattern, y: Pattern) -> Formulas:
    """x * (1 / y) -> x / y, unless 1 / y is computed once for each row, say

    One rounding instead of two, and finite where 1 / y alone is not.
    """
    return x * (1 / y), x / y


@algebra.rewrite(STABLE, "multiply")
def merge_factors(node: Node) -> Result:
    """(x * a) * b -> x * (a * b), for numbers whose product is exact

    One rounding instead of two, and finite where x * a alone is not.
    """
    outer = _split_factor(node)
    if outer is None or not outer[0].dtype.is_float or outer[0].node.op.name != "multiply":
        return None
    inner = _split_factor(outer[0].node)
    if inner is None:
        return None
    x, a, b = inner[0], inner[1], outer[1]
    kind = x.dtype.numpy.type
    with np.errstate(all="ignore"):
        rounded = kind(a) * kind(b)
    exact = _fits_exactly(a, b, float(rounded))
    if not exact or not _is_normal(float(rounded), x):
        return "the product of the factors is not exact"
    return multiply(stretch(x, node.types[0].shape), _number(float(rounded), x))


def _split_factor(product: Node) -> tuple[Tensor, float] | None:
    """(x, c) of `x * c` or `c * x` where c is a number of no shape and x is no number."""
    for x, c in (product.inputs, product.inputs[::-1]):
        value = scalar_value(c)
        if value is not None and c.ndim <= x.ndim and scalar_value(x) is None:
            return (x, float(value)) if x.type == product.types[0] else None
    return None


def _fits_exactly(a: float, b: float, product: float) -> bool:
    """Whether `product` is a * b without rounding."""
    if not all(map(math.isfinite, (a, b, product))):
        return False
    (an, ad), (bn, bd), (pn, pd) = (v.as_integer_ratio() for v in (a, b, product))
    return an * bn * pd == pn * ad * bd


def _is_normal(value: float, like: Tensor) -> bool:
    info = np.finfo(like.dtype.numpy)
    return float(info.smallest_normal) <= math.fabs(value) <= float(info.max)


def _number(value: float, like: Tensor) -> Tensor:
    return constant(value, like.dtype)


# -- choice, truth, idempotence --------------------------------------------------------------------
@algebra.rule(EXACT, kinds="biuf", masks="c")
def drop_choice_of_equals(c: Pattern, x: Pattern) -> Formulas:
    """where(c, x, x) -> x"""
    return where(c, x, x), x


@algebra.rule(EXACT, kinds="biuf")
def choose_first(x: Pattern, y: Pattern) -> Formulas:
    """where(True, x, y) -> x"""
    return where(True, x, y), x


@algebra.rule(EXACT, kinds="biuf")
def choose_second(x: Pattern, y: Pattern) -> Formulas:
    """where(False, x, y) -> y"""
    return where(False, x, y), y


@algebra.rule(EXACT, kinds="biuf", masks="c")
def swap_negated_choice(c: Pattern, x: Pattern, y: Pattern) -> Formulas:
    """where(not c, x, y) -> where(c, y, x)"""
    return where(logical_not(c), x, y), where(c, y, x)


@algebra.rule(EXACT, kinds="biuf", masks="c")
def drop_choice_decided_above(c: Pattern, x: Pattern, y: Pattern, z: Pattern) -> Formulas:
    """where(c, where(c, x, y), z) -> where(c, x, z)"""
    return where(c, where(c, x, y), z), where(c, x, z)


@algebra.rule(EXACT, kinds="biuf", masks="c")
def drop_choice_decided_below(c: Pattern, x: Pattern, y: Pattern, z: Pattern) -> Formulas:
    """where(c, x, where(c, y, z)) -> where(c, x, z)"""
    return where(c, x, where(c, y, z)), where(c, x, z)


@algebra.rule(EXACT, kinds="b")
def drop_double_not(x: Pattern) -> Formulas:
    """not (not x) -> x"""
    return logical_not(logical_not(x)), x


@algebra.rule(EXACT, kinds="biu")
def drop_double_invert(x: Pattern) -> Formulas:
    """~~x -> x"""
    return bitwise_invert(bitwise_invert(x)), x


@algebra.rule(EXACT, kinds="b")
def drop_and_with_itself(x: Pattern) -> Formulas:
    """x and x -> x"""
    return logical_and(x, x), x


@algebra.rule(EXACT, kinds="b")
def drop_or_with_itself(x: Pattern) -> Formulas:
    """x or x -> x"""
    return logical_or(x, x), x


@algebra.rule(EXACT, kinds="biuf")
def drop_minimum_of_equals(x: Pattern) -> Formulas:
    """minimum(x, x) -> x"""
    return minimum(x, x), x


@algebra.rule(EXACT, kinds="biuf")
def drop_maximum_of_equals(x: Pattern) -> Formulas:
    """maximum(x, x) -> x"""
    return maximum(x, x), x


@algebra.rule(STABLE)
def fold_maximum_with_zero(x: Pattern) -> Formulas:
    """maximum(x, 0) -> relu(x)

    Not exact: of -0.0 and 0.0 NumPy's maximum gives the second.
    """
    return maximum(x, 0), relu(x)


@algebra.rewrite(EXACT, Fact.IDEMPOTENT)
def drop_repeated_idempotent(node: Node) -> Result:
    """f(f(x)) -> f(x), for abs, relu and rounding"""
    first = node.inputs[0]
    return first if len(node.inputs) == 1 and first.node.op is node.op else None


# -- parts of complex numbers ----------------------------------------------------------------------
@algebra.rule(EXACT)
def take_real_part(x: Pattern, y: Pattern) -> Formulas:
    """real(complex(x, y)) -> x"""
    return real(complex_of(x, y)), x


@algebra.rule(EXACT)
def take_imaginary_part(x: Pattern, y: Pattern) -> Formulas:
    """imag(complex(x, y)) -> y"""
    return imag(complex_of(x, y)), y


@algebra.rule(EXACT, kinds="c")
def join_parts(z: Pattern) -> Formulas:
    """complex(real(z), imag(z)) -> z"""
    return complex_of(real(z), imag(z)), z


# -- conversion ------------------------------------------------------------------------------------
@algebra.rewrite(EXACT, "astype")
def drop_same_conversion(node: Node) -> Result:
    """astype(x, its own dtype) -> x"""
    return node.inputs[0] if node.inputs[0].type == node.types[0] else None


@algebra.rewrite(EXACT, "astype", over=["where"])
def convert_chosen_number(node: Node) -> Result:
    """astype(where(c, x, 2), dtype) -> where(c, astype(x, dtype), 2): what is chosen is converted

    Where it costs no conversion: one of the two is a number.
    """
    inner = node.inputs[0].node
    if inner.op.name != "where" or not node.types[0].dtype.is_computed:
        return None
    c, *chosen = inner.inputs
    if all(scalar_value(x) is None for x in chosen):
        return "neither is a number"
    return choose(c, *(cast(x, node.types[0].dtype) for x in chosen))


@algebra.rewrite(EXACT, "astype")
def merge_conversions(node: Node) -> Result:
    """astype(astype(x, wide), dtype) -> astype(x, dtype), where `wide` holds every x"""
    inner = node.inputs[0].node
    if inner.op is not node.op:
        return None
    x, wide, dtype = inner.inputs[0], inner.types[0].dtype, node.types[0].dtype
    if wide.is_float and dtype.is_integer and not (x.dtype.is_float or _holds(dtype, x.dtype)):
        return "floats saturate where ints wrap"
    return astype(x, dtype) if _holds(wide, x.dtype) else "the inner one rounds"


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of `narrow` is one of `wide` (NumPy calls int64 -> float64 safe too)."""
    if wide is bool_ or narrow is bool_:
        return narrow is bool_
    if wide.is_float and narrow.is_integer:
        digits = np.finfo(wide.numpy).nmant + 1
        return narrow.bits - (narrow.kind == "i") <= digits
    return bool(np.can_cast(narrow.numpy, wide.numpy, "safe"))


# -- where nothing is differentiated any more ------------------------------------------------------
@roots.rule(EXACT, kinds="f")
def see_root(x: Pattern) -> Formulas:
    """root_of_squares(x) -> sqrt(x), which differs in its derivative only"""
    return root_of_squares(x), sqrt(x)
