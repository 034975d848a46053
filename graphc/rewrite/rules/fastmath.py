"""Identities of real numbers, not of floats: used only by `gc.compile(..., fastmath=True)`.

They assume that operands are finite and not zero where one is divided by, that nothing overflows,
and that the last digits do not matter where terms cancel. `isfinite`, which is `x - x == x - x`,
is then always true.
"""

from __future__ import annotations

import math

from graphc.ir.node import Node
from graphc.ops.build import scalar_like, scalar_value
from graphc.ops.elementwise import multiply
from graphc.rewrite.pattern import Pattern, exp, log, sqrt, square
from graphc.rewrite.ruleset import UNSAFE, Formulas, Result, Ruleset

fastmath = Ruleset("fastmath")


# -- what cancels: finite operands, no zero divisor ------------------------------------------------
@fastmath.rule(UNSAFE)
def cancel_quotient(x: Pattern) -> Formulas:
    """x / x -> 1"""
    return x / x, 1


@fastmath.rule(UNSAFE)
def cancel_difference(x: Pattern) -> Formulas:
    """x - x -> 0"""
    return x - x, 0


@fastmath.rule(UNSAFE)
def drop_multiply_zero(x: Pattern) -> Formulas:
    """x * 0 -> 0"""
    return x * 0, 0


@fastmath.rule(UNSAFE)
def drop_add_zero(x: Pattern) -> Formulas:
    """x + 0 -> x, which is not x for -0.0"""
    return x + 0, x


@fastmath.rule(UNSAFE)
def cancel_factor(x: Pattern, y: Pattern) -> Formulas:
    """(x * y) / y -> x"""
    return (x * y) / y, x


# -- quotients and powers: a digit less, a fraction of the work ------------------------------------
@fastmath.rewrite(UNSAFE, "divide")
def multiply_by_number(node: Node) -> Result:
    """x / c -> x * (1 / c), for any number c whose reciprocal is finite and not zero"""
    x, divisor = node.inputs
    value = scalar_value(divisor)
    if value is None or x.shape != node.types[0].shape or scalar_value(x) is not None:
        return None
    with_digits = bool(value) and math.isfinite(value) and 1e-30 < math.fabs(value) < 1e30
    return multiply(x, scalar_like(1 / value, x)) if with_digits else "no reciprocal of full digits"


@fastmath.rule(UNSAFE)
def fold_pow_minus_half(x: Pattern) -> Formulas:
    """x ** -0.5 -> 1 / sqrt(x)"""
    return x**-0.5, 1 / sqrt(x)


@fastmath.rule(UNSAFE)
def fold_pow_three_halves(x: Pattern) -> Formulas:
    """x ** 1.5 -> x * sqrt(x)"""
    return x**1.5, x * sqrt(x)


@fastmath.rule(UNSAFE)
def fold_pow_four(x: Pattern) -> Formulas:
    """x ** 4 -> square(square(x))"""
    return x**4, square(square(x))


@fastmath.rule(UNSAFE)
def merge_roots(x: Pattern, y: Pattern) -> Formulas:
    """sqrt(x) * sqrt(y) -> sqrt(x * y), for operands >= 0"""
    return sqrt(x) * sqrt(y), sqrt(x * y)


# -- exponentials and logarithms: one instead of two -----------------------------------------------
@fastmath.rule(UNSAFE)
def merge_exponentials(x: Pattern, y: Pattern) -> Formulas:
    """exp(x) * exp(y) -> exp(x + y)"""
    return exp(x) * exp(y), exp(x + y)


@fastmath.rule(UNSAFE)
def merge_exponentials_of_quotient(x: Pattern, y: Pattern) -> Formulas:
    """exp(x) / exp(y) -> exp(x - y)"""
    return exp(x) / exp(y), exp(x - y)


@fastmath.rule(UNSAFE)
def split_log_of_product(x: Pattern, y: Pattern) -> Formulas:
    """log(exp(x) * y) -> x + log(y)"""
    return log(exp(x) * y), x + log(y)


@fastmath.rule(UNSAFE)
def split_log_of_quotient(x: Pattern, y: Pattern) -> Formulas:
    """log(exp(x) / y) -> x - log(y): the log of a density"""
    return log(exp(x) / y), x - log(y)


@fastmath.rule(UNSAFE)
def merge_logarithms(x: Pattern, y: Pattern) -> Formulas:
    """log(x) + log(y) -> log(x * y), for positive operands"""
    return log(x) + log(y), log(x * y)


@fastmath.rule(UNSAFE)
def merge_logarithms_of_difference(x: Pattern, y: Pattern) -> Formulas:
    """log(x) - log(y) -> log(x / y), for positive operands"""
    return log(x) - log(y), log(x / y)
