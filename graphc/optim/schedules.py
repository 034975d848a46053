"""Learning rates that change: functions from the count of steps so far to a rate.

Give one as `learning_rate` to any optimiser: the rate is computed in the same native step that
uses it. Every function of an int64 scalar tensor that gives a scalar is a schedule; those here
make one from its numbers. Rates are float64 until an optimiser casts them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from graphc.elsewhere import finder
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dtype import float64
from graphc.ir.node import Tensor
from graphc.keywords import answer
from graphc.ops.build import cast, constant
from graphc.ops.elementwise import ceil, cos, floor, log1p, maximum, minimum, where
from graphc.ops.powers import power

Schedule: TypeAlias = Callable[[Tensor], Any]


def step(initial: float, step_size: int, factor: float = 0.1) -> Schedule:
    """`initial` times `factor` after every `step_size` steps.

    >>> import graphc as gc
    >>> rate = gc.optim.schedules.step(0.5, 2, 0.5)
    >>> [float(gc.evaluate(rate(gc.constant(t)))) for t in range(5)]
    [0.5, 0.5, 0.25, 0.25, 0.125]
    """
    size = _count("step", "step_size", step_size)
    return _named("step", lambda t: initial * power(factor, floor(t / size)), initial, factor)


def exponential(
    initial: float, decay_steps: int, factor: float, staircase: bool = False
) -> Schedule:
    """initial * factor^(t / decay_steps), the exponent cut to whole numbers with `staircase`."""
    size = _count("exponential", "decay_steps", decay_steps)

    def rate(t: Tensor) -> Tensor:
        return initial * power(factor, floor(t / size) if staircase else t / size)

    return _named("exponential", rate, initial, factor)


def polynomial(
    initial: float, decay_steps: int, final: float = 1e-4, power: float = 1.0, cycle: bool = False
) -> Schedule:
    """From `initial` down to `final` as (1 - t / decay_steps)^power, then `final`.

    With `cycle` it begins again with each multiple of `decay_steps` that is reached, from the same
    line to a later end.
    """
    size = _count("polynomial", "decay_steps", decay_steps)

    def rate(t: Tensor) -> Tensor:
        end: Any = size * maximum(ceil(t / size), 1.0) if cycle else float(size)
        left: Tensor = 1 - minimum(t, end) / end
        return (initial - final) * left**power + final

    return _named("polynomial", rate, initial, final, power)


def cosine(initial: float, decay_steps: int, final: float = 0.0) -> Schedule:
    """From `initial` to `final` along half a cosine, then `final`.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017),
    equation 5, without restarts.
    """
    size = _count("cosine", "decay_steps", decay_steps)
    return _named("cosine", lambda t: _half_cosine(initial, final, t / size), initial, final)


def cosine_restarts(
    initial: float, first_steps: int, growth: float = 2.0, shrink: float = 1.0, final: float = 0.0
) -> Schedule:
    """`cosine` over `first_steps`, then again and again: each time over `growth` times as many
    steps, from `shrink` times the rate.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).
    Errors: `ArgumentError` for a growth below 1, and numbers that are not finite and >= 0.

    >>> import graphc as gc
    >>> rate = gc.optim.schedules.cosine_restarts(1.0, 2, 2.0, 0.5)
    >>> [round(float(gc.evaluate(rate(gc.constant(t)))), 3) for t in range(7)]
    [1.0, 0.5, 0.5, 0.427, 0.25, 0.073, 0.25]
    """
    op, size = "cosine_restarts", _count("cosine_restarts", "first_steps", first_steps)
    if _number(op, growth) < 1:
        raise _error(op, "runs become shorter", "growth >= 1", growth)

    def start(run: Tensor) -> Tensor:
        return size * run if growth == 1 else size * (power(growth, run) - 1) / (growth - 1)

    def rate(t: Tensor) -> Tensor:
        near = t / size if growth == 1 else log1p(t * (growth - 1) / size) / math.log(growth)
        run = floor(near + 0.5)  # or the one before it: the quotient is rounded
        run = where(start(run) > t, run - 1, run)
        part = (t - start(run)) / (start(run + 1) - start(run))
        return final + power(shrink, run) * (_half_cosine(initial, final, part) - final)

    return _named(op, rate, initial, shrink, final)


def piecewise(boundaries: Sequence[int], values: Sequence[float]) -> Schedule:
    """`values[0]` for the first `boundaries[0]` steps, then `values[1]` until `boundaries[1]`, and
    so on; the last value stays.

    Errors: `ArgumentError` for boundaries that are no ascending ints >= 1, and another number of
    values than one more.

    >>> import graphc as gc
    >>> rate = gc.optim.schedules.piecewise([2, 4], [0.5, 0.25, 0.125])
    >>> [float(gc.evaluate(rate(gc.constant(t)))) for t in range(6)]
    [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    """
    ends = [_count("piecewise", "each boundary", end) for end in boundaries]
    if not ends or any(a >= b for a, b in pairwise(ends)):
        raise _error("piecewise", "the boundaries do not ascend", "counts of steps", boundaries)
    if len(values) != len(ends) + 1:
        raise _error("piecewise", "not a value for each part", f"{len(ends) + 1} values", values)
    first, *others = [_number("piecewise", value) for value in values]

    def rate(t: Tensor) -> Tensor:
        found = constant(first, float64)
        for end, value in zip(ends, others, strict=True):
            found = where(t < end, found, value)
        return found

    return _named("piecewise", rate)


def warmup(schedule: Schedule | float, steps: int, start: float = 0.0) -> Schedule:
    """Up on a line from `start` for `steps` steps to where `schedule`, or a rate, begins; then on
    with it from its own beginning."""
    size = _count("warmup", "steps", steps)
    then = schedule if callable(schedule) else _constant(schedule)

    def rate(count: Tensor) -> Tensor:
        t = cast(count, float64)
        top = cast(then(constant(0, "int64")), float64)
        after = cast(then(maximum(count - size, 0)), float64)
        return where(count < size, start + (top - start) * t / size, after)

    _number("warmup", start)
    return rate


def one_cycle(
    peak: float,
    total_steps: int,
    rise: float = 0.3,
    start_divisor: float = 25.0,
    final_divisor: float = 1e4,
) -> Schedule:
    """From peak / start_divisor to `peak` in the part `rise` of all steps, then down to
    peak / start_divisor / final_divisor; both along half a cosine.

    Source: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates" (2018); lines as half cosines, as PyTorch has them.
    """
    last = _count("one_cycle", "total_steps", total_steps) - 1
    if not 0 < _number("one_cycle", rise) < 1:
        raise _error("one_cycle", "not a part of all steps", "0 < rise < 1", rise)
    top = rise * (last + 1) - 1
    first = peak / _number("one_cycle", start_divisor)
    final = first / _number("one_cycle", final_divisor)

    def rate(t: Tensor) -> Tensor:
        up = _half_cosine(first, peak, t / max(top, 1e-9))
        down = _half_cosine(peak, final, (t - top) / max(last - top, 1e-9))
        return where(t <= top, up, down)

    return _named("one_cycle", rate, peak)


# -- what they share -------------------------------------------------------------------------------
def _half_cosine(first: float, last: float, part: Tensor) -> Tensor:
    """From `first` at 0 to `last` at 1 and after."""
    angle = math.pi * minimum(maximum(part, 0.0), 1.0)
    return last + (first - last) * (0.5 + 0.5 * cos(angle))


def _named(op: str, rate: Callable[[Tensor], Tensor], *numbers: Any) -> Schedule:
    """The schedule `rate` of a float64 count, made of numbers that are checked now."""
    for number in numbers:
        _number(op, number)
    return lambda count: rate(cast(count, float64))


def _constant(rate: Any) -> Schedule:
    number = _number("warmup", rate)
    return lambda count: constant(number, float64)


def _number(op: str, value: Any) -> float:
    """A finite number >= 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        raise _error(op, "not a rate or factor", "a finite number >= 0", value)
    return float(value)


def _count(op: str, name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _error(op, f"{name} is a count of steps", "an int >= 1", value)
    return value


def _error(op: str, message: str, expected: str, given: Any) -> ArgumentError:
    where_ = origin.where()
    return ArgumentError(message, op=op, expected=expected, given=repr(given)[:80], where=where_)


answer(globals())

_HERE = {
    "CosineAnnealingLR": "cosine",
    "CosineAnnealingWarmRestarts": "cosine_restarts",
    "CosineDecay": "cosine",
    "CosineDecayRestarts": "cosine_restarts",
    "ExponentialDecay": "exponential",
    "ExponentialLR": "exponential",
    "InverseTimeDecay": "a function of the count: lambda t: rate / (1 + factor * t / steps)",
    "LinearLR": "warmup or polynomial",
    "OneCycleLR": "one_cycle",
    "MultiStepLR": "piecewise",
    "PiecewiseConstantDecay": "piecewise",
    "PolynomialDecay": "polynomial",
    "PolynomialLR": "polynomial",
    "StepLR": "step",
}


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__, _HERE)
