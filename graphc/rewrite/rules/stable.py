"""Formulas as they stand in textbooks, replaced by ones that do not overflow or cancel.

Where the formula in extended precision is finite, so is the replacement, and it is no further from
it. At zero the sign may differ (`log(1 + -0.0)` is 0.0, `log1p(-0.0)` is -0.0). Some identities are
absent because they change where the formula itself is not finite: `exp(log(x))` and
`sqrt(x) * sqrt(x)` are NaN for x < 0, `x / sqrt(x)` is NaN at 0.
"""

from __future__ import annotations

from graphc.ir.node import Node, Tensor
from graphc.ir.operators import function
from graphc.ir.shape import Shape, broadcasts_to
from graphc.ops.elementwise import multiply
from graphc.ops.scalar import stretch
from graphc.ops.shape import reshape
from graphc.rewrite.pattern import (
    Forms,
    Pattern,
    Variable,
    abs,
    exp,
    expm1,
    log,
    log1p,
    log_softmax,
    logsumexp,
    max,
    reshaped,
    scalar_value,
    sigmoid,
    softmax,
    softplus,
    sqrt,
    square,
    sum,
)
from graphc.rewrite.ruleset import STABLE, Formulas, Result, Ruleset

stable = Ruleset("stable")


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


@stable.rule(STABLE, finite=True)
def fold_sigmoid_quotient(x: Pattern) -> Formulas:
    """exp(x) / (1 + exp(x)) -> sigmoid(x)"""
    return exp(x) / (1 + exp(x)), sigmoid(x)


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
def drop_log_of_exp(x: Pattern) -> Formulas:
    """log(exp(x)) -> x"""
    return log(exp(x)), x


@stable.rule(STABLE)
def fold_sqrt_of_square(x: Pattern) -> Formulas:
    """sqrt(square(x)) -> abs(x)"""
    return sqrt(square(x)), abs(x)


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


@stable.rule(STABLE, where=_is_aligned, finite=True)
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


@stable.rule(STABLE, where=_is_aligned, finite=True)
def fold_log_softmax_difference(x: Pattern, axes: Pattern, shape: Pattern) -> Formulas:
    """x - logsumexp(x) -> log_softmax(x)"""
    return x - reshaped(logsumexp(x, axes=axes), shape), log_softmax(x, axes=axes)


# -- gradients of the naive formulas, where one factor is 0 and another infinite -------------------
def _share(g: Pattern, x: Pattern, axes: Pattern, shape: Pattern) -> Forms:
    return Forms(reshaped(g / sum(exp(x), axes=axes), shape) * exp(x))


_SHARE = _share(*(Variable(name) for name in ("g", "x", "axes", "shape")))


@stable.rewrite(STABLE, "multiply", finite=True)
def fold_scaled_softmax(node: Node) -> Result:
    """(g / sum(exp(x))) * exp(x) -> g * softmax(x): the gradient of log(sum(exp(x)))"""
    reason = None
    for found in _SHARE.matches(node):
        g, x, axes, shape = (found.bindings[name] for name in ("g", "x", "axes", "shape"))
        reduced = tuple(s for a, s in enumerate(x.shape) if a not in axes)
        reason = _is_aligned(x, axes, shape)
        if not reason and broadcasts_to(g.shape, reduced):
            scale = reshape(stretch(g, reduced), shape)
            return multiply(scale, function("softmax")(x, axes))
    return reason


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


@stable.rule(STABLE, where=_are_opposite, finite=True)
def fold_sigmoid_times_exp(x: Pattern, y: Pattern) -> Formulas:
    """sigmoid(x) * exp(y) -> sigmoid(y), for y = -x"""
    return sigmoid(x) * exp(y), sigmoid(y)


@stable.rule(STABLE, where=_are_opposite, finite=True)
def fold_scaled_sigmoid_times_exp(g: Pattern, x: Pattern, y: Pattern) -> Formulas:
    """(g * sigmoid(x)) * exp(y) -> g * sigmoid(y), for y = -x"""
    return (g * sigmoid(x)) * exp(y), g * sigmoid(y)


@stable.rule(STABLE, finite=True)
def cancel_sigmoid(g: Pattern, x: Pattern, y: Pattern) -> Formulas:
    """(g / sigmoid(x)) * (sigmoid(x) * y) -> g * y: the gradient of log(sigmoid(x))"""
    return (g / sigmoid(x)) * (sigmoid(x) * y), g * y


@stable.rule(STABLE, finite=True)
def cancel_softmax(g: Pattern, x: Pattern, axes: Pattern) -> Formulas:
    """(g / softmax(x)) * softmax(x) -> g"""
    return (g / softmax(x, axes=axes)) * softmax(x, axes=axes), g


@stable.rule(STABLE, finite=True)
def divide_softmax_by_itself(x: Pattern, axes: Pattern) -> Formulas:
    """p / p -> p * 0 + 1 for p = softmax(x): 1 also where p is 0, NaN where it is NaN

    It is in the gradient of an entropy.
    """
    p = softmax(x, axes=axes)
    return p / p, p * 0 + 1


@stable.rule(STABLE, finite=True)
def distribute_softmax(g: Pattern, x: Pattern, y: Pattern, axes: Pattern) -> Formulas:
    """softmax(x) * (g / softmax(x) - y) -> g - softmax(x) * y: the gradient of log(softmax(x))"""
    p = softmax(x, axes=axes)
    return p * (g / p - y), g - p * y


@stable.rule(STABLE, finite=True)
def distribute_softmax_negated(g: Pattern, x: Pattern, y: Pattern, axes: Pattern) -> Formulas:
    """softmax(x) * (-(g / softmax(x)) - y) -> -g - softmax(x) * y, as above for -g"""
    p = softmax(x, axes=axes)
    return p * (-(g / p) - y), -g - p * y
