"""Cotangents of means: what is apart from its own mean adds up to zero.

The derivative of a variance reaches the mean in it as a sum of multiples of `x - mean(x)`, which is
zero whatever the data, and the graph does not show it. Without that sum, and with factors that do
not vary along it behind it, the gradient of a normalisation is that of the textbooks, whose sums
are those of the gradients by scale and shift.
"""

from __future__ import annotations

import functools
import operator
from typing import NamedTuple

from graphc.ir.dim import product
from graphc.ir.node import Tensor
from graphc.ir.op import Context
from graphc.ir.shape import moves_unit_axes
from graphc.ops.build import scalar_value, size_as_tensor

TERMS = 16  # of a sum that are looked at

Axes = frozenset[int]


class Sum(NamedTuple):
    """`rest` summed, then multiplied and divided by what does not vary along the axes, and with the
    other sign; zero where there is no rest."""

    rest: Tensor | None
    multiplied: tuple[Tensor, ...] = ()
    divided: tuple[Tensor, ...] = ()
    negated: bool = False


def without_centred(context: Context, g: Tensor, axes: Axes) -> Sum | None:
    """How to sum `g` over axes without the terms that add up to zero; None where there are none.
    No mean is seen through whose own cotangent is asked for."""
    terms = _terms(g)
    kept = [(t, negated) for t, negated in terms if not _is_centred(context, t, axes)]
    if len(kept) == len(terms):
        return None
    if not kept:
        return Sum(None)
    signed = [-t if negated else t for t, negated in kept]
    rest: Tensor = functools.reduce(operator.add, signed)
    multiplied: list[Tensor] = []
    divided: list[Tensor] = []
    negated = False
    while True:
        found = _without_factor(rest, axes)
        if found is not None:
            rest, factor, divides = found
            (divided if divides else multiplied).append(factor)
        elif rest.node.op.name == "negative":
            (rest,), negated = rest.node.inputs, not negated
        else:
            return Sum(rest, tuple(multiplied), tuple(divided), negated)


def _without_factor(t: Tensor, axes: Axes) -> tuple[Tensor, Tensor, bool] | None:
    """(x, c, whether it divides) where t is x * c or x / c and c is the same along the axes."""
    name, inputs = t.node.op.name, t.node.inputs
    pairs = (inputs, inputs[::-1])[: {"multiply": 2, "divide": 1}.get(name, 0)]
    for x, c in pairs:
        if x.shape == t.shape and _is_constant(c, axes, t.ndim):
            return x, _unstretched(c), name == "divide"
    return None


def _unstretched(t: Tensor) -> Tensor:
    while t.node.op.name == "broadcast_to":
        (t,) = t.node.inputs
    return t


def _terms(g: Tensor) -> list[tuple[Tensor, bool]]:
    """What is added up in `g`, and whether with a minus; `g` itself where it is too much."""
    found: list[tuple[Tensor, bool]] = []
    stack = [(g, False)]
    while stack:
        t, negated = stack.pop()
        name, inputs = t.node.op.name, t.node.inputs
        if any(x.shape != g.shape for x in inputs) or name not in ("add", "subtract", "negative"):
            found.append((t, negated))
        else:
            second = not negated if name != "add" else negated
            first = negated if name != "negative" else second
            stack += [(x, s) for x, s in zip(inputs, (first, second), strict=False)]
        if len(found) + len(stack) > TERMS:
            return [(g, False)]
    return found


def _is_constant(t: Tensor, axes: Axes, ndim: int) -> bool:
    """Whether a tensor, broadcast to `ndim` axes, is the same along those."""
    if t.node.op.name == "broadcast_to" and _is_constant(t.node.inputs[0], axes, ndim):
        return True
    offset = ndim - t.ndim
    return all(a < offset or t.shape[a - offset] == 1 for a in axes)


def _is_centred(context: Context, t: Tensor, axes: Axes) -> bool:
    """Whether `t` is `x - mean(x)`, over some of the axes, times what does not vary along these."""
    factors, parts, ndim = [t], [], t.ndim
    while factors:
        factor = factors.pop()
        name, inputs = factor.node.op.name, factor.node.inputs
        if name in ("multiply", "negative", "broadcast_to"):
            factors += inputs
        elif name == "divide":
            factors.append(inputs[0])
            parts.append(inputs[1])
        else:
            parts.append(factor)
        if len(factors) + len(parts) > TERMS:
            return False
    for part in parts:
        over = _centred_over(context, part) if part.shape == t.shape else None
        if not over or not over <= axes:
            continue
        if all(p is part or _is_constant(p, over, ndim) for p in parts):
            return sum(p is part for p in parts) == 1
    return False


def _centred_over(context: Context, t: Tensor) -> Axes | None:
    """The axes of size other than 1 over which t is `x - mean(x)`."""
    if t.node.op.name != "subtract":
        return None
    x, mean = t.node.inputs
    while not context.asks(mean) and mean.node.op.name in ("reshape", "broadcast_to"):
        (below,) = mean.node.inputs
        if mean.node.op.name == "reshape" and not moves_unit_axes(below.shape, mean.shape):
            break
        mean = below
    found = None if context.asks(mean) else as_mean(mean)
    if found is None or found[0] is not x or x.shape != t.shape or context.asks(found[2]):
        return None
    over = frozenset(a for a in found[1] if x.shape[a] != 1)
    return over if _is_constant(t.node.inputs[1], over, t.ndim) else None


def as_mean(t: Tensor) -> tuple[Tensor, tuple[int, ...], Tensor] | None:
    """(x, axes, the sum) of a mean: sum(x) / count, or sum(x) * (1 / count), with axes kept or
    not."""
    if t.node.op.name not in ("divide", "multiply"):
        return None
    total, scale = t.node.inputs
    if scalar_value(total) is not None:
        total, scale = scale, total
    if total.node.op.name == "reshape":
        total = total.node.inputs[0]
    if total.node.op.name != "sum":
        return None
    (x,), axes = total.node.inputs, total.node.attrs["axes"]
    count = product([x.shape[a] for a in axes])
    if isinstance(count, int):
        value, wanted = scalar_value(scale), count if t.node.op.name == "divide" else 1 / count
        return (x, axes, total) if value == wanted else None
    same = scale.node is size_as_tensor(count, x.dtype).node
    return (x, axes, total) if same and t.node.op.name == "divide" else None
