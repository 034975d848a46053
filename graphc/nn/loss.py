"""What losses share: weights, masks, means; predictions and targets that fit each other.

A loss is a function (predictions, targets) that gives the loss of each example. `loss` makes of it
one that takes weights of examples, a mask and a reduction too; `elementwise` does of one that gives
a value for each element, which are averaged over all axes but the first. Who averages values
without a reduction asks `counting` what each of them counts.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, show
from graphc.keywords import answering
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import abs, equal, logical_and, where
from graphc.ops.reduce import mean, sum
from graphc.ops.shape import broadcast_to, reshape

Loss = Callable[..., Tensor]
REDUCTIONS = ("none", "mean", "sum")


def loss(function: Callable[..., Any]) -> Loss:
    """A loss of examples with weights, mask and reduction.

    `function` gives the values, or a pair: values, and the weights that their mean divides by.
    """
    return _with_weights(function, lambda values, mask, weight: (values, mask, weight, None, ()))


def elementwise(function: Callable[..., Any]) -> Loss:
    """A loss of elements with weights, mask and reduction: of each example the mean over its
    elements where the mask is True, and in the mean it counts as much as it has of them. Weights
    may be of the first axes of its elements, as of the steps of a sequence."""
    return _with_weights(function, _per_example)


def _with_weights(function: Callable[..., Any], of_examples: Callable[..., Any]) -> Loss:
    name, inner = function.__name__, answering(function, lambda: weighted)

    @answering
    @functools.wraps(function)
    def weighted(
        predictions: Any,
        targets: Any,
        *args: Any,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str = "none",
        **options: Any,
    ) -> Tensor:
        if reduction not in REDUCTIONS:
            raise ArgumentError(
                "an unknown reduction",
                op=name,
                expected=", ".join(map(repr, REDUCTIONS)),
                given=repr(reduction)[:80],
                where=origin.where(),
            )
        there = None if mask is None else _mask(name, mask, tensor(targets, name))
        if there is not None:
            targets = _where(there, tensor(targets, name), 0)
        made = inner(predictions, targets, *args, **options)
        values, counts = made if isinstance(made, tuple) else (made, None)
        weight = None if sample_weight is None else _weight(name, sample_weight, values)
        values, there, weight, part, further = of_examples(values, there, weight)
        return _reduced(values, there, weight, Count(part, (*further, counts)), reduction)

    given = inspect.signature(function)
    further = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in _OPTIONS]
    signature = given.replace(parameters=[*given.parameters.values(), *further])
    weighted.__signature__ = signature  # type: ignore[attr-defined]
    return weighted


_OPTIONS = (("sample_weight", None), ("mask", None), ("reduction", "none"))


class Count(NamedTuple):
    """What values count in their mean: it is the sum of `part * values` over the sum of the product
    of `sizes`, where None is 1. `part` is how much of its elements a value is the mean of."""

    part: Tensor | None
    sizes: tuple[Tensor | None, ...]

    def size(self, values: Tensor) -> Tensor | None:
        """What each counts, in a shape that fits that of `values`; None where all are 1."""
        given = [cast(f, values.dtype) for f in self.sizes if f is not None]
        if not given:
            return None
        return functools.reduce(operator.mul, [along(f, values) for f in given])


def _reduced(
    values: Tensor, mask: Tensor | None, weight: Tensor | None, count: Count, reduction: str
) -> Tensor:
    """Values of examples by their weights; a mean is 0 of no weight at all."""
    if mask is not None:
        values = _where(mask, values, 0)
    if weight is not None:
        values = values * along(weight, values)
    if reduction == "sum":
        return sum(values)
    count = Count(count.part, (weight, mask, *count.sizes))
    size = count.size(values)
    if reduction == "none":
        noted = _NOTED.get()
        if noted is not None and size is not None:
            noted[values] = count
        return values
    if size is None:
        return mean(values)
    whole = sum(broadcast_to(size, values.shape))
    total = sum(values if count.part is None else values * count.part)
    return where(equal(whole, 0), 0.0, total / where(equal(whole, 0), 1.0, whole))


_NOTED: ContextVar[dict[Tensor, Count] | None] = ContextVar("counts of losses", default=None)


@contextmanager
def counting() -> Iterator[dict[Tensor, Count]]:
    """What values of losses count that are made meanwhile without a reduction, unless all 1."""
    found: dict[Tensor, Count] = {}
    token = _NOTED.set(found)
    try:
        yield found
    finally:
        _NOTED.reset(token)


def _per_example(
    values: Tensor, mask: Tensor | None, weight: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, tuple[Tensor, ...]]:
    """Values of examples; the mask and the weights that are left; the part of its elements that
    each has, and what it counts besides."""
    axes = tuple(range(1, values.ndim))
    if not axes:
        return values, mask, weight, None, ()
    of_elements = weight is not None and weight.ndim > 1
    if mask is None or mask.ndim == 1:
        if weight is None or not of_elements:
            return mean(values, axis=axes), mask, weight, None, ()
        each = broadcast_to(along(weight, values), values.shape)
        return mean(values * each, axis=axes), mask, None, None, (mean(each, axis=axes),)
    there = cast(broadcast_to(along(mask, values), values.shape), values.dtype)
    part = size = mean(there, axis=axes)
    if weight is not None and of_elements:
        each, weight = along(weight, values), None
        values, size = values * each, mean(there * each, axis=axes)
    kept = mean(_where(mask, values, 0), axis=axes)
    return kept / where(equal(part, 0), 1.0, part), None, weight, part, (size,)


# -- arguments -------------------------------------------------------------------------------------
def _mask(op: str, mask: Any, targets: Tensor) -> Tensor:
    found = tensor(mask, op)
    leading = targets.shape[: found.ndim]
    if found.dtype is not bool_ or not found.ndim or not may_be_equal(found.shape, leading):
        raise (DTypeError if found.dtype is not bool_ else ShapeError)(
            "the mask does not fit the targets",
            op=op,
            expected=f"bools of the first axes of {show(targets.shape)}",
            given=str(found.type),
            where=origin.where(),
            hint="compare it: mask > 0" if found.dtype is not bool_ else "",
        )
    return found


def _weight(op: str, weight: Any, values: Tensor) -> Tensor:
    found = tensor(weight, op)
    if not found.ndim or not may_be_equal(found.shape, values.shape[: found.ndim]):
        raise ShapeError(
            "the weights do not fit the examples",
            op=op,
            expected=f"the first axes of {show(values.shape)}",
            given=show(found.shape),
            where=origin.where(),
        )
    return cast(found, values.dtype)


def along(first: Tensor, values: Tensor) -> Tensor:
    """A tensor of the first axes, with axes of size 1 for the others."""
    return reshape(first, (*first.shape, *(1 for _ in range(values.ndim - first.ndim))))


def _where(mask: Tensor, values: Tensor, other: Any) -> Tensor:
    return where(along(mask, values), values, other)


def floats(predictions: Tensor, op: str) -> Tensor:
    """`predictions`, which are floats. Errors: `DTypeError`."""
    if not predictions.dtype.is_float:
        raise DTypeError(
            "predictions are floats",
            op=op,
            expected="float32 or float64",
            given=predictions.dtype.name,
            where=origin.where(),
        )
    return predictions


def pair(op: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one dtype and one shape: broadcasting here is a mistake, [n, 1] with [n]
    would silently compare every prediction with every target. Numbers without classes: `numbers`.
    """
    return _pair(op, floats(tensor(predictions, op), op), tensor(targets, op))


def numbers(op: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """The same, where one number for each example may be [n] in one of the two and [n, 1] in the
    other."""
    p, t = floats(tensor(predictions, op), op), tensor(targets, op)
    return _pair(op, p, aligned(p, t))


def aligned(p: Tensor, t: Tensor) -> Tensor:
    """Targets in the shape of the predictions, where only an axis of size 1 at the end of one of
    them makes the difference; else as they are."""
    if p.ndim == t.ndim + 1 > 1 and p.shape[-1] == 1 and may_be_equal(p.shape[:-1], t.shape):
        return reshape(t, (*t.shape, 1))
    if t.ndim == p.ndim + 1 > 1 and t.shape[-1] == 1 and may_be_equal(t.shape[:-1], p.shape):
        return reshape(t, t.shape[:-1])
    return t


def labels(p: Tensor, t: Tensor) -> Tensor:
    """Integer labels [n, 1] of several classes as [n]; other targets as they are."""
    one = t.dtype.is_integer and t.ndim == p.ndim > 1 and t.shape[-1] == 1 != p.shape[-1]
    return reshape(t, t.shape[:-1]) if one else t


def _pair(op: str, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    if p.ndim == 0 or not may_be_equal(p.shape, t.shape):
        raise ShapeError(
            "the targets do not fit the predictions",
            op=op,
            expected="two equal shapes (n, ...)",
            given=f"predictions {show(p.shape)}, targets {show(t.shape)}",
            where=origin.where(),
            hint="targets[:, None] adds an axis of size 1" if p.ndim == t.ndim + 1 else "",
        )
    return p, cast(t, p.dtype)


def times(weight: Tensor, value: Tensor) -> Tensor:
    """weight * value, where a weight of 0 takes nothing of an infinite value."""
    nothing = logical_and(equal(weight, 0), equal(abs(value), math.inf))
    return weight * where(nothing, 0, value)


def part_of(op: str, name: str, value: Any) -> float:
    """A number in [0, 1]. Errors: `ArgumentError`."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ArgumentError(
            f"{name} is a part of each target",
            op=op,
            expected="a number in [0, 1]",
            given=repr(value)[:80],
            where=origin.where(),
        )
    return float(value)
