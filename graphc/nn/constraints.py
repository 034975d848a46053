"""Constraints of parameters: functions that optimisers apply to each new value.

A layer takes one as a name or a function: `Dense(10, kernel_constraint="non_negative")`. A norm is
that of all weights that lead to one output: of a dense kernel [inputs, outputs] along axis 0, of a
convolution's [outputs, inputs, *window] along all axes but 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.elsewhere import finder
from graphc.ir.node import Tensor
from graphc.keywords import answer, answering
from graphc.nn.named import find, given_number
from graphc.ops.elementwise import equal, maximum, minimum, sqrt, square, where
from graphc.ops.reduce import sum

Axes = int | tuple[int, ...] | None


def non_negative(w: Tensor) -> Tensor:
    """w, where it is negative 0."""
    return maximum(w, 0)


def max_norm(limit: float = 2.0, axis: Axes = None) -> Callable[[Tensor], Tensor]:
    """Weights whose norm along `axis` is greater than the limit are scaled to it.

    Errors: `ArgumentError` for a limit that is no finite number > 0.
    Source: Srivastava et al., "Dropout" (2014), section 5.1.

    >>> import graphc as gc
    >>> gc.evaluate(max_norm(1.0)(gc.constant([[3.0, 0.5], [4.0, 0.0]])))
    array([[0.6, 0.5],
           [0.8, 0. ]], dtype=float32)
    """
    most = given_number("max_norm", "limit", limit, 0.0, above=True)
    return lambda w: w * minimum(most / _positive(norm(w, axis)), 1.0)


def unit_norm(axis: Axes = None) -> Callable[[Tensor], Tensor]:
    """Weights scaled to norm 1 along `axis`; 0 stays 0."""
    return lambda w: w / _positive(norm(w, axis))


def min_max_norm(
    low: float = 0.0, high: float = 1.0, rate: float = 1.0, axis: Axes = None
) -> Callable[[Tensor], Tensor]:
    """Weights scaled so that their norm along `axis` is at least `low` and at most `high`; by
    `rate` of the way only.

    Errors: `ArgumentError` for limits that are no finite numbers >= 0.
    """
    least = given_number("min_max_norm", "low", low, 0.0)
    most = given_number("min_max_norm", "high", high, least)
    part = given_number("min_max_norm", "rate", rate, 0.0)

    def constraint(w: Tensor) -> Tensor:
        size = norm(w, axis)
        wanted = part * minimum(maximum(size, least), most) + (1 - part) * size
        return w * (wanted / _positive(size))

    return constraint


def norm(w: Tensor, axis: Axes = None) -> Tensor:
    """sqrt(sum(w^2)) along `axis`, kept with size 1; by default of what leads to each output."""
    if axis is None:
        axis = 0 if w.ndim <= 2 else tuple(range(1, w.ndim))
    return sqrt(sum(square(w), axis=axis, keepdims=True))


def _positive(size: Tensor) -> Tensor:
    """What can be divided by: 1 for 0."""
    return where(equal(size, 0), 1.0, size)


answer(globals())

CONSTRAINTS: dict[str, Callable[..., Any]] = {
    "non_neg": non_negative,
    "non_negative": non_negative,
    "max_norm": max_norm(),
    "unit_norm": unit_norm(),
    "min_max_norm": min_max_norm(),
}


@answering
def get(constraint: Any) -> Callable[[Any], Tensor] | None:
    """The constraint for a name, a function, or None. Errors: `ArgumentError` with the known
    names."""
    return None if constraint is None else find("constraint", CONSTRAINTS, constraint)


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__)
