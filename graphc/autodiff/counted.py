"""Sums and products over an index from and to tensors: as many terms as a call says.

Their terms are added one after another, in a loop that goes on as long as an element has terms
left; what rounding loses is carried along (Kahan, "Further remarks on reducing truncation errors",
1965).
A loop of this kind keeps nothing for a backward pass, and a sum needs nothing: its cotangents are
the sum of those of its terms, one more such loop. In that of a product each term is beside the
product of all others, which is a loop for each term: nothing is divided by a term that may be 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from graphc.autodiff.derivatives import or_zeros, pulled
from graphc.ir.node import Tensor
from graphc.ir.shape import Shape
from graphc.ops.build import tensor
from graphc.ops.complex import complex, imag, real
from graphc.ops.create import ones_like, zeros_like
from graphc.ops.custom_gradient import custom_gradient
from graphc.ops.elementwise import (
    equal,
    isfinite,
    less,
    less_equal,
    minimum,
    stop_gradient,
    where,
)
from graphc.ops.reduce import max as largest
from graphc.ops.while_loop import while_loop

Terms: TypeAlias = Callable[..., Sequence[Tensor]]  # of the index, or its number, and arguments

_ORDERS = 2  # of derivatives


def counted_sum(terms: Terms, low: Any, high: Any, arguments: Sequence[Tensor]) -> Tensor:
    """The sum of `terms(index, *arguments)`, one tensor, for an index from `low` to `high` by ones.

    Bounds broadcast with the terms, and have the derivative 0, as `floor` has. Of fewer terms than
    none what is missing is taken away (Karr, "Summation in finite terms", 1981); a bound that is
    not finite gives NaN. There are two derivatives, and none where an argument is complex.
    """
    first, last, backwards = _ends(low, high)
    sign = where(backwards, -1.0, 1.0)
    steps = last - first
    turns = _turns(steps)

    def term(i: Tensor, *given: Tensor) -> list[Tensor]:
        index = first + i
        (found,) = terms(minimum(index, last), *given)
        one = where(less_equal(index, last), found, 0.0)
        return [real(one), imag(one)] if one.dtype.is_complex else [one]

    given = list(arguments)
    parts = _totals(term, turns, given, 0 if any(t.dtype.is_complex for t in given) else _ORDERS)
    total = parts[0] if len(parts) == 1 else complex(*parts)
    return where(isfinite(steps), sign * total, float("nan"))


def counted_product(terms: Terms, low: Any, high: Any, arguments: Sequence[Tensor]) -> Tensor:
    """The product of `terms(index, *arguments)`, as `counted_sum` has their sum; of fewer factors
    than none it is divided by what is missing. An n-th derivative has n more loops in each other.
    """
    first, last, backwards = _ends(low, high)
    steps = last - first
    turns = _turns(steps)

    def term(i: Tensor, *given: Tensor) -> Tensor:
        index = first + i
        (found,) = terms(minimum(index, last), *given)
        return where(less_equal(index, last), found, 1.0)

    given = list(arguments)
    orders = 0 if any(t.dtype.is_complex for t in given) else _ORDERS
    total = _product(term, turns, given, orders)
    return where(isfinite(steps), where(backwards, 1.0 / total, total), float("nan"))


def _ends(low: Any, high: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The first and the last index, and whether they stand for what is missing."""
    ends = (tensor(b, "sum") for b in (low, high))
    first, last = (stop_gradient(real(b) if b.dtype.is_complex else b) for b in ends)
    backwards = less(last, first - 1.0)
    return (
        where(backwards, last + 1.0, first),
        where(backwards, first - 1.0, last),
        backwards,
    )


def _turns(steps: Tensor) -> Tensor:
    """The number of the last turn of a loop over all elements' terms."""
    return largest(where(isfinite(steps), steps, -1.0))


def _product(
    term: Callable[..., Tensor], turns: Tensor, arguments: Sequence[Tensor], orders: int
) -> Tensor:
    """The product of `term(i, *arguments)` for i = 0, 1, ... up to `turns`."""

    def total(*given: Tensor) -> Tensor:
        def step(carry: Any) -> Any:
            i, found = carry
            return i + 1.0, found * term(i, *given)

        zero = zeros_like(turns)
        one = ones_like(term(zero, *given))
        found: Tensor = while_loop(lambda c: c[0] <= turns, step, (zero, one))[1]
        return found

    def pull(g: Tensor, out: Any, *given: Tensor) -> Any:
        def back(i: Tensor, g: Tensor, *moved: Tensor) -> list[Tensor]:
            def other(j: Tensor, i: Tensor, *given: Tensor) -> Tensor:
                return where(equal(i, j), 1.0, term(j, *given))

            rest = _product(other, turns, [i, *moved], orders - 1)
            by = list(moved)
            return or_zeros(pulled([term(i, *moved)], by, [g * rest]), by)

        found = _totals(back, turns, [g, *given], orders - 1)
        return found[0] if len(given) == 1 else tuple(found)

    if not orders or not arguments:
        return total(*arguments)
    made: Tensor = custom_gradient(total, vjp=pull)(*arguments)
    return made


def _totals(
    terms: Terms, turns: Tensor, arguments: Sequence[Tensor], orders: int
) -> Sequence[Tensor]:
    """The sums of `terms(i, *arguments)` for i = 0, 1, ... up to `turns`."""

    def total(*given: Tensor) -> list[Tensor]:
        return _added_up(lambda i: terms(i, *given), turns)

    def pull(gs: Sequence[Tensor], outs: Any, *given: Tensor) -> Any:
        def back(places: Sequence[int], i: Tensor, *both: Tensor) -> list[Tensor]:
            cotangents, moved = both[: len(gs)], both[len(gs) :]
            by = [moved[place] for place in places]
            return or_zeros(pulled(terms(i, *moved), by, cotangents), by)

        # A loop for the arguments of each shape: no turn goes over an array that none asks for.
        found: dict[int, Tensor] = {}
        for places in _by_shape(given):
            made = _totals(partial(back, places), turns, [*gs, *given], orders - 1)
            found.update(zip(places, made, strict=True))
        return found[0] if len(given) == 1 else tuple(found[i] for i in range(len(given)))

    if not orders or not arguments:
        return total(*arguments)
    found: Sequence[Tensor] = custom_gradient(total, vjp=pull)(*arguments)
    return found


def _by_shape(tensors: Sequence[Tensor]) -> list[list[int]]:
    groups: dict[Shape, list[int]] = {}
    for i, t in enumerate(tensors):
        groups.setdefault(t.shape, []).append(i)
    return list(groups.values())


def _added_up(terms: Callable[[Tensor], Sequence[Tensor]], turns: Tensor) -> list[Tensor]:
    def step(carry: Any) -> Any:
        i, totals, lost = carry
        found = [_added(*each) for each in zip(totals, lost, terms(i), strict=True)]
        return i + 1.0, [total for total, _ in found], [rest for _, rest in found]

    zero = zeros_like(turns)
    zeros = [zeros_like(t) for t in terms(zero)]
    totals: list[Tensor] = while_loop(lambda c: c[0] <= turns, step, (zero, zeros, zeros))[1]
    return totals


def _added(total: Tensor, lost: Tensor, term: Tensor) -> tuple[Tensor, Tensor]:
    """The sum, and what it has too much."""
    part = term - lost
    after = total + part
    return after, where(isfinite(after), (after - total) - part, 0.0)
