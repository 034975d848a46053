"""Formulas as they stand in textbooks, replaced by ones that do not overflow or cancel.

Where the formula in extended precision is finite, so is the replacement, and it is no further from
it; where the formula is infinite, it is the same infinity; where the formula is NaN (`exp(log(x))`
for x < 0), so is the replacement, but for a NaN that infinite operands make:
`exp(x) / (1 + exp(x))` is inf / inf at inf, and sigmoid(x) is its limit. At zero the sign may
differ (`log(1 + -0.0)` is 0.0, `log1p(-0.0)` is -0.0). Derivatives are taken of the replacement
(`rewrite/derivative.py`), so that there is no rule here for what autodiff makes of a naive formula.

Absent on purpose: `log(exp(x) / y) -> x - log(y)`, `exp(x) / exp(y) -> exp(x - y)` and
`log(x / y) -> log(x) - log(y)` lose digits where the terms cancel (`rules/fastmath.py` has them);
a float64 norm scaled by its largest element reads x twice, for operands beyond 1e154.
"""

from __future__ import annotations

import functools
import math
import operator

import numpy as np

from graphc.ir.dtype import float32, float64
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.shape import Shape
from graphc.ops import elementwise, reduce
from graphc.ops.build import scalar_like, scalar_value
from graphc.ops.centred import as_mean
from graphc.ops.reduce import variance
from graphc.ops.shape import reshape
from graphc.rewrite.pattern import (
    Pattern,
    abs,
    cos,
    cosh,
    equal,
    erf,
    erfc,
    erfcx,
    exp,
    expm1,
    greater_equal,
    less,
    log,
    log1mexp,
    log1p,
    log_softmax,
    logaddexp,
    logsumexp,
    max,
    reshaped,
    sigmoid,
    sin,
    softmax,
    softplus,
    sqrt,
    square,
    sum,
    tanh,
    where,
)
from graphc.rewrite.ruleset import STABLE, Formulas, Result, Ruleset

stable = Ruleset("stable")


def _are_opposite(x: Tensor, y: Tensor) -> str:
    """Whether `y` is `-x`, as written."""
    for a, b in ((x, y), (y, x)):
        if a.node.op.name == "negative" and a.node.inputs[0] is b:
            return ""
    if x.node.op.name == y.node.op.name == "multiply":
        for a, c in (x.node.inputs, x.node.inputs[::-1]):
            for b, d in (y.node.inputs, y.node.inputs[::-1]):
                first, second = scalar_value(c), scalar_value(d)
                if a is b and first is not None and second is not None and first == -second:
                    return ""
    return "the arguments are not each other's negative"


# -- hyperbolic functions; before the logistic family, which has quotients of the same form --------
@stable.rule(STABLE, where=_are_opposite)
def fold_sinh(x: Pattern, y: Pattern) -> Formulas:
    """exp(x) - exp(y) -> expm1(x) - expm1(y), for y = -x: nothing cancels near 0"""
    return exp(x) - exp(y), expm1(x) - expm1(y)


@stable.rule(STABLE, where=_are_opposite)
def fold_tanh_quotient(x: Pattern, y: Pattern) -> Formulas:
    """(exp(x) - exp(y)) / (exp(x) + exp(y)) -> tanh(x), for y = -x, after the rule above"""
    return (expm1(x) - expm1(y)) / (exp(x) + exp(y)), tanh(x)


@stable.rule(STABLE)
def fold_tanh_of_double(x: Pattern) -> Formulas:
    """(exp(x) - 1) / (exp(x) + 1) -> tanh(x / 2), after exp(x) - 1 -> expm1(x)"""
    return expm1(x) / (exp(x) + 1), tanh(x * 0.5)


@stable.rule(STABLE)
def fold_tanh_of_sigmoid(x: Pattern) -> Formulas:
    """2 * sigmoid(x) - 1 -> tanh(x / 2)"""
    return 2 * sigmoid(x) - 1, tanh(x * 0.5)


def _log_cosh(x: Pattern) -> Pattern:
    """cosh(x) is 1 + t^2 / (2 + 2t) for t = exp(|x|) - 1, and e^|x| (1 + t / 2) for
    t = exp(-2|x|) - 1; the first has its digits near 0, the second does not overflow."""
    size, near = abs(x), less(abs(x), 1)
    t = expm1(where(near, size, -2 * size))
    rest = where(near, square(t) / (2 + 2 * t), t * 0.5)
    return where(near, 0, size) + log1p(rest)


@stable.rule(STABLE, where=_are_opposite)
def fold_log_cosh(x: Pattern, y: Pattern) -> Formulas:
    """log((exp(x) + exp(y)) / 2) -> where(|x| < 1, 0, |x|) + log1p(...), for y = -x"""
    return log((exp(x) + exp(y)) * 0.5), _log_cosh(x)


@stable.rule(STABLE)
def fold_log_of_cosh(x: Pattern) -> Formulas:
    """log(cosh(x)) -> where(|x| < 1, 0, |x|) + log1p(...), as above"""
    return log(cosh(x)), _log_cosh(x)


# -- the logistic family ---------------------------------------------------------------------------
@stable.rule(STABLE)
def fold_softplus(x: Pattern) -> Formulas:
    """log(1 + exp(x)) -> softplus(x)"""
    return log(1 + exp(x)), softplus(x)


@stable.rule(STABLE)
def fold_softplus_of_log1p(x: Pattern) -> Formulas:
    """log1p(exp(x)) -> softplus(x)"""
    return log1p(exp(x)), softplus(x)


@stable.rule(STABLE)
def fold_sigmoid(x: Pattern) -> Formulas:
    """1 / (1 + exp(x)) -> sigmoid(-x)"""
    return 1 / (1 + exp(x)), sigmoid(-x)


@stable.rule(STABLE)
def fold_sigmoid_quotient(x: Pattern) -> Formulas:
    """exp(x) / (1 + exp(x)) -> sigmoid(x)"""
    return exp(x) / (1 + exp(x)), sigmoid(x)


@stable.rule(STABLE)
def fold_sigmoid_denominator(x: Pattern, y: Pattern) -> Formulas:
    """y / (1 + exp(x)) -> y * sigmoid(-x)"""
    return y / (1 + exp(x)), y * sigmoid(-x)


@stable.rule(STABLE, where=_are_opposite)
def fold_log_odds(x: Pattern, y: Pattern) -> Formulas:
    """log(sigmoid(x) / sigmoid(y)) -> x, for y = -x: the log odds of a probability"""
    return log(sigmoid(x) / sigmoid(y)), x


@stable.rule(STABLE)
def fold_log_sigmoid(x: Pattern) -> Formulas:
    """log(sigmoid(x)) -> -softplus(-x)"""
    return log(sigmoid(x)), -softplus(-x)


@stable.rule(STABLE)
def fold_one_minus_sigmoid(x: Pattern) -> Formulas:
    """1 - sigmoid(x) -> sigmoid(-x); with the rule above, log(1 - sigmoid(x)) -> -softplus(x)"""
    return 1 - sigmoid(x), sigmoid(-x)


# -- near one and zero -----------------------------------------------------------------------------
@stable.rule(STABLE)
def fold_log1p(x: Pattern) -> Formulas:
    """log(1 + x) -> log1p(x)"""
    return log(1 + x), log1p(x)


@stable.rule(STABLE)
def fold_log1p_of_difference(x: Pattern) -> Formulas:
    """log(1 - x) -> log1p(-x)"""
    return log(1 - x), log1p(-x)


@stable.rule(STABLE)
def fold_expm1(x: Pattern) -> Formulas:
    """exp(x) - 1 -> expm1(x)"""
    return exp(x) - 1, expm1(x)


@stable.rule(STABLE)
def fold_expm1_of_difference(x: Pattern) -> Formulas:
    """1 - exp(x) -> -expm1(x)"""
    return 1 - exp(x), -expm1(x)


@stable.rule(STABLE)
def fold_log1mexp(x: Pattern) -> Formulas:
    """log(-expm1(x)) -> log1mexp(-x), which is log(1 - exp(x))"""
    return log(-expm1(x)), log1mexp(-x)


@stable.rule(STABLE)
def fold_log1mexp_of_log1p(x: Pattern) -> Formulas:
    """log1p(-exp(x)) -> log1mexp(-x)"""
    return log1p(-exp(x)), log1mexp(-x)


@stable.rule(STABLE)
def drop_log_of_exp(x: Pattern) -> Formulas:
    """log(exp(x)) -> x"""
    return log(exp(x)), x


@stable.rule(STABLE)
def fold_exp_of_log(x: Pattern) -> Formulas:
    """exp(log(x)) -> where(x >= 0, x, nan)"""
    return exp(log(x)), where(greater_equal(x, 0), x, math.nan)


@stable.rule(STABLE)
def fold_one_minus_cosine(x: Pattern) -> Formulas:
    """1 - cos(x) -> 2 * sin(x / 2)^2"""
    return 1 - cos(x), 2 * square(sin(x * 0.5))


# -- tails of the normal distribution --------------------------------------------------------------
@stable.rule(STABLE)
def fold_erfc(x: Pattern) -> Formulas:
    """1 - erf(x) -> erfc(x)"""
    return 1 - erf(x), erfc(x)


@stable.rule(STABLE)
def fold_erfc_of_sum(x: Pattern) -> Formulas:
    """1 + erf(x) -> erfc(-x)"""
    return 1 + erf(x), erfc(-x)


@stable.rewrite(STABLE, "log", over=("multiply",), needs=("erfc",), absolute=True)
def fold_log_ndtr(node: Node) -> Result:
    """log(erfc(x) / 2) -> log_ndtr(x * -sqrt(2)), that factor merged into one of x

    So log((1 + erf(z / sqrt(2))) / 2) is log_ndtr(z).
    """
    halved = node.inputs[0].node
    for tail, half in (halved.inputs, halved.inputs[::-1]):
        if tail.node.op.name != "erfc" or scalar_value(half) != 0.5 or tail.type != node.types[0]:
            continue
        x, factor = tail.node.inputs[0], -math.sqrt(2)
        while (found := _factor_of(x)) is not None:
            x, factor = found[0], factor * found[1]
        if math.fabs(math.fabs(factor) - 1) <= 4 * float(np.finfo(x.dtype.numpy).eps):
            return elementwise.log_ndtr(x if factor > 0 else -x)
        return elementwise.log_ndtr(elementwise.multiply(x, scalar_like(factor, x)))
    return None


def _factor_of(x: Tensor) -> tuple[Tensor, float] | None:
    """(y, c) if x is y * c, y / (1 / c) or, for c = -1, -y, for a number c of ordinary size."""
    name, inputs = x.node.op.name, x.node.inputs
    if name == "negative":
        return inputs[0], -1.0
    if name not in ("multiply", "divide"):
        return None
    for y, number in (inputs, inputs[::-1])[: 2 if name == "multiply" else 1]:
        value = scalar_value(number)
        if value is not None and y.type == x.type and 1e-3 < math.fabs(value) < 1e3:
            return y, value if name == "multiply" else 1 / value
    return None


@stable.rule(STABLE)
def fold_log_erfc(x: Pattern) -> Formulas:
    """log(erfc(x)) -> where(x < 1, log1p(-erf(x)), log(erfcx(x)) - square(x))"""
    return log(erfc(x)), where(less(x, 1), log1p(-erf(x)), log(erfcx(x)) - square(x))


# -- roots -----------------------------------------------------------------------------------------
@stable.rule(STABLE)
def fold_sqrt_of_square(x: Pattern) -> Formulas:
    """sqrt(square(x)) -> abs(x)"""
    return sqrt(square(x)), abs(x)


@stable.rule(STABLE)
def fold_square_of_sqrt(x: Pattern) -> Formulas:
    """sqrt(x) * sqrt(x) -> where(x >= 0, x, nan), by way of square(sqrt(x))"""
    return square(sqrt(x)), where(greater_equal(x, 0), x, math.nan)


@stable.rule(STABLE)
def fold_divide_by_sqrt(x: Pattern) -> Formulas:
    """x / sqrt(x) -> where(x == 0, nan, sqrt(x))"""
    return x / sqrt(x), where(equal(x, 0), math.nan, sqrt(x))


def _is_positive(y: Tensor) -> str:
    value = scalar_value(y)
    positive = value is not None and 0 < value < math.inf
    return "" if positive else "the difference is no positive number"


@stable.rule(STABLE, where=_is_positive)
def fold_difference_of_roots(x: Pattern, y: Pattern) -> Formulas:
    """sqrt(x + y) - sqrt(x) -> y / (sqrt(x + y) + sqrt(x)), for a number y > 0"""
    return sqrt(x + y) - sqrt(x), y / (sqrt(x + y) + sqrt(x))


# -- moments ---------------------------------------------------------------------------------------
@stable.rewrite(STABLE, "subtract", over=("square",), needs=("sum",))
def fold_variance(node: Node) -> Result:
    """mean(square(x)) - square(mean(x)) -> mean(square(x - mean(x)))"""
    of_squares, square_of = node.inputs
    if square_of.node.op.name != "square":
        return None
    first, second = as_mean(of_squares), as_mean(square_of.node.inputs[0])
    if first is None or second is None:
        return None
    squares, x = first[0], second[0]
    if squares.node.op.name != "square" or squares.node.inputs[0] is not x:
        return "these are not moments of one tensor"
    if first[1] != second[1] or of_squares.shape != square_of.shape:
        return "the moments are over different axes"
    return reshape(variance(x, axis=first[1]), node.types[0].shape)


@stable.rewrite(STABLE, "sqrt", "root_of_squares", needs=("sum", "square"))
def norm_in_double(node: Node) -> Result:
    """sqrt(sum(square(x))) of float32 -> the same in float64, where no square of a float32
    overflows or vanishes; so too of several tensors, sqrt(sum(square(x)) + sum(square(y)))"""
    if node.types[0].dtype is not float32:
        return None
    parts: list[Tensor] = []
    pending = [node.inputs[0]]
    while pending:
        t = pending.pop()
        if t.node.op.name == "add":
            pending += reversed(t.node.inputs)
            continue
        total = t.node.inputs[0] if t.node.op.name == "reshape" else t
        if total.node.op.name != "sum" or total.node.inputs[0].node.op.name != "square":
            return "there is more than squares in the sum" if parts else None
        x = elementwise.astype(total.node.inputs[0].node.inputs[0], float64)
        squares = reduce.sum(elementwise.square(x), axis=total.node.attrs["axes"])
        parts.append(reshape(squares, t.shape))
    norm = apply(node.op, (functools.reduce(operator.add, parts),)).output()
    return elementwise.astype(norm, float32)


# -- two exponentials ------------------------------------------------------------------------------
@stable.rule(STABLE, absolute=True)
def fold_logaddexp(x: Pattern, y: Pattern) -> Formulas:
    """log(exp(x) + exp(y)) -> logaddexp(x, y)"""
    return log(exp(x) + exp(y)), logaddexp(x, y)


@stable.rule(STABLE, absolute=True)
def fold_softmax_of_two(x: Pattern, y: Pattern) -> Formulas:
    """exp(x) / (exp(x) + exp(y)) -> sigmoid(x - y)"""
    return exp(x) / (exp(x) + exp(y)), sigmoid(x - y)


# -- the softmax family ----------------------------------------------------------------------------
def _is_aligned(x: Tensor, axes: tuple[int, ...], shape: Shape) -> str:
    kept = tuple(1 if a in axes else s for a, s in enumerate(x.shape))
    whole = (1,) * (len(kept) - len(shape)) + shape
    return "" if whole == kept else "what was reduced does not line up with x"


@stable.rule(STABLE)
def fold_logsumexp(x: Pattern, axes: Pattern, shape: Pattern) -> Formulas:
    """log(sum(exp(x))) -> logsumexp(x)"""
    total = reshaped(sum(exp(x), axes=axes), shape)
    return log(total), reshaped(logsumexp(x, axes=axes), shape)


@stable.rule(STABLE)
def fold_log_of_scaled_sum(x: Pattern, y: Pattern, axes: Pattern, shape: Pattern) -> Formulas:
    """log(sum(exp(x)) / y) -> logsumexp(x) - log(y): a mean of exponentials"""
    total = reshaped(sum(exp(x), axes=axes), shape)
    return log(total / y), reshaped(logsumexp(x, axes=axes), shape) - log(y)


@stable.rule(STABLE)
def fold_log_of_weighted_sum(x: Pattern, y: Pattern, axes: Pattern, shape: Pattern) -> Formulas:
    """log(sum(exp(x)) * y) -> logsumexp(x) + log(y), as above for 1 / y"""
    total = reshaped(sum(exp(x), axes=axes), shape)
    return log(total * y), reshaped(logsumexp(x, axes=axes), shape) + log(y)


@stable.rule(STABLE, where=_is_aligned)
def fold_softmax(x: Pattern, axes: Pattern, shape: Pattern) -> Formulas:
    """exp(x) / sum(exp(x)) -> softmax(x)"""
    return exp(x) / reshaped(sum(exp(x), axes=axes), shape), softmax(x, axes=axes)


@stable.rule(STABLE, where=_is_aligned)
def drop_shift_in_softmax(x: Pattern, axes: Pattern, shape: Pattern) -> Formulas:
    """softmax(x - max(x)) -> softmax(x), which shifts by itself"""
    peak = reshaped(max(x, axes=axes), shape)
    return softmax(x - peak, axes=axes), softmax(x, axes=axes)


@stable.rule(STABLE, where=_is_aligned)
def drop_shift_in_log_softmax(x: Pattern, axes: Pattern, shape: Pattern) -> Formulas:
    """log_softmax(x - max(x)) -> log_softmax(x), which shifts by itself"""
    peak = reshaped(max(x, axes=axes), shape)
    return log_softmax(x - peak, axes=axes), log_softmax(x, axes=axes)


@stable.rule(STABLE)
def fold_log_softmax(x: Pattern, axes: Pattern) -> Formulas:
    """log(softmax(x)) -> log_softmax(x)"""
    return log(softmax(x, axes=axes)), log_softmax(x, axes=axes)


@stable.rule(STABLE)
def fold_log_of_softmax_quotient(x: Pattern, y: Pattern, i: Pattern, j: Pattern) -> Formulas:
    """log(softmax(x) / softmax(y)) -> log_softmax(x) - log_softmax(y)"""
    quotient = softmax(x, axes=i) / softmax(y, axes=j)
    return log(quotient), log_softmax(x, axes=i) - log_softmax(y, axes=j)


@stable.rule(STABLE, where=_is_aligned)
def fold_log_softmax_difference(x: Pattern, axes: Pattern, shape: Pattern) -> Formulas:
    """x - logsumexp(x) -> log_softmax(x)"""
    return x - reshaped(logsumexp(x, axes=axes), shape), log_softmax(x, axes=axes)
