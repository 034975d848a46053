"""Means of what losses and metrics give, by what each value counts.

A loss with a mask, or with weights of classes, that gives a value for each example says what each
of them counts (`nn.loss.counting`), so that padding has no part in a mean over a batch or an epoch.
The mean of a sum of such losses is the sum of their means, each by its own counts.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from graphc.errors import ArgumentError, LossWarning, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import float64
from graphc.ir.graph import walk
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, show
from graphc.keywords import asked
from graphc.nn import losses
from graphc.nn.loss import Count, along, counting
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import where
from graphc.ops.reduce import mean, sum
from graphc.ops.shape import broadcast_to


class Term(NamedTuple):
    """The mean over examples of `values`, [n], or one number for the batch; `sizes`, [n], is what
    its divisor adds up instead of ones."""

    values: Tensor
    sizes: Tensor | None = None

    def times(self, factor: float) -> Term:
        return Term(self.values * factor, self.sizes)

    def mean(self, weights: Tensor | None) -> Tensor:
        """The mean by weights of examples too; 0 of no weight at all."""
        values, sizes = self
        if not values.ndim:
            return values
        w = None if weights is None else cast(weights, values.dtype)
        given = [s for s in (w, sizes) if s is not None]
        if not given:
            return mean(values)
        whole = sum(functools.reduce(operator.mul, given))
        total = sum(values if w is None else w * values)
        return where(whole > 0, total / where(whole > 0, whole, 1.0), 0.0)

    def sums(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """What it adds to the sum and to the divisor of an epoch, for weights [n] float64."""
        values, sizes = cast(self.values, float64), self.sizes
        count = sum(weights if sizes is None else weights * cast(sizes, float64))
        return (sum(values * weights) if values.ndim else values * count), count


def of_examples(values: Tensor) -> Tensor:
    """A value for each example: the mean over all axes but the first."""
    return mean(values, axis=tuple(range(1, values.ndim))) if values.ndim > 1 else values


def joined(terms: Sequence[Term]) -> list[Term]:
    """The same with one term of all that count alike."""
    found: dict[Tensor | None, Term] = {}
    for values, sizes in terms:
        before = found.get(sizes)
        found[sizes] = Term(values if before is None else before.values + values, sizes)
    return list(found.values())


def given_by(
    name: str,
    function: Callable[..., Any],
    predictions: Any,
    targets: Any,
    weights: Tensor | None = None,
) -> tuple[Tensor, list[Term]]:
    """What a loss or a metric gives, and the terms of its mean.

    Weights of one axis are left to `Term`; those of more, as for each step of a sequence, are in
    the terms. Errors: `CallError`, `ShapeError` for weights that do not fit the values;
    `ArgumentError` for one number with weights.
    """
    within = weights is not None and weights.ndim > 1 and _takes_weights(function)
    called = functools.partial(function, sample_weight=weights) if within else function
    with counting() as counts:
        made = tensor(asked(name, "predictions, targets", called, predictions, targets), name)
    if weights is not None and not made.ndim:
        raise ArgumentError(
            "weights for a loss that is one number", op=name,
            expected="a loss that gives a value for each example", where=origin.where(),
        )  # fmt: skip
    if not made.ndim:
        return made, [Term(made)]
    outer = None if within or weights is None or weights.ndim == 1 else weights
    if outer is not None and not (
        outer.ndim <= made.ndim and may_be_equal(outer.shape, made.shape[: outer.ndim])
    ):
        raise ShapeError(
            "the weights do not fit what the loss gives", op=name, where=origin.where(),
            expected=f"the first axes of {show(made.shape)}", given=show(outer.shape),
        )  # fmt: skip
    parts = _summands(name, made, counts) if counts else [(made, None)]
    return made, joined([_term(values, count, outer) for values, count in parts])


def _takes_weights(function: Any) -> bool:
    """Whether it is a loss of graphc's, which takes weights of elements."""
    while isinstance(function, functools.partial):
        function = function.func
    return any(function is known for known in losses.LOSSES.values())


def _term(values: Tensor, count: Count | None, weights: Tensor | None) -> Term:
    """Of values with axes behind the examples, or with weights of elements, the sums for each
    example, divided by the number of its elements."""
    part, size = (None, None) if count is None else (count.part, count.size(values))
    values = values if part is None else values * part
    if weights is not None:
        w = along(cast(weights, values.dtype), values)
        values, size = values * w, w if size is None else size * w
    if size is None:
        return Term(of_examples(values))
    return Term(of_examples(values), of_examples(broadcast_to(size, values.shape)))


def _summands(
    name: str, made: Tensor, counts: Mapping[Tensor, Count]
) -> list[tuple[Tensor, Count | None]]:
    """What adds up to `made`, each part with what its values count: it is a multiple of a loss that
    says so, or holds none.

    A loss that is in it otherwise counts all alike, with a `LossWarning`.
    """
    noted = {values.node for values in counts}

    def parts(t: Tensor) -> list[tuple[Tensor, Count | None]]:
        if t in counts:
            return [(t, counts[t])]
        inputs = t.node.inputs
        holding = [not noted.isdisjoint(walk([x])) for x in inputs]
        if any(holding):
            first, *rest = inputs
            match t.node.op.name:
                case "add":
                    return [*spread(first, t), *spread(rest[0], t)]
                case "subtract":
                    return [*spread(first, t), *((-v, c) for v, c in spread(rest[0], t))]
                case "negative":
                    return [(-v, c) for v, c in parts(first)]
                case "multiply" if not all(holding):
                    scaled, factor = inputs if holding[0] else inputs[::-1]
                    return [(v * factor, c) for v, c in spread(scaled, t)]
                case "divide" if not holding[1]:
                    return [(v / rest[0], c) for v, c in spread(first, t)]
                case "astype":
                    return [(cast(v, t.dtype), c) for v, c in parts(first)]
            if any(t.shape == values.shape for values in counts):
                origin.warn_once(
                    f"{name}: behind {t.node.op.name} it is not known what a mask or class "
                    "weights leave out, so every value counts 1; give the loss reduction='mean', "
                    "or only add up losses and multiply them by what does not depend on them",
                    LossWarning,
                )
        return [(t, None)]

    def spread(t: Tensor, like: Tensor) -> list[tuple[Tensor, Count | None]]:
        if t.shape == like.shape:
            return parts(t)
        return [(broadcast_to(v, like.shape), c) for v, c in parts(t)]

    return parts(made)
