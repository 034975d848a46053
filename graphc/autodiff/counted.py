"""Sums over an index from and to tensors: as many terms as a call says.

Their terms are added one after another, in a loop that goes on as long as an element has terms
left; what rounding loses is carried along (Kahan, "Further remarks on reducing truncation errors",
1965).
A loop of this kind keeps nothing for a backward pass, and a sum needs nothing: its cotangents are
the sum of those of its terms, one more such loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from graphc.autodiff.derivatives import or_zeros, pulled
from graphc.ir.node import Tensor
from graphc.ops.build import tensor
from graphc.ops.create import zeros_like
from graphc.ops.custom_gradient import custom_gradient
from graphc.ops.elementwise import isfinite, less, less_equal, minimum, stop_gradient, where
from graphc.ops.reduce import max as largest
from graphc.ops.while_loop import while_loop

Terms: TypeAlias = Callable[..., Sequence[Tensor]]  # of the index, or its number, and arguments

_ORDERS = 2  # of derivatives


def counted_sum(terms: Terms, low: Any, high: Any, arguments: Sequence[Tensor]) -> Tensor:
    """The sum of `terms(index, *arguments)`, one tensor, for an index from `low` to `high` by ones.

    Bounds broadcast with the terms, and have the derivative 0, as `floor` has. Of fewer terms than
    none what is missing is taken away (Karr, "Summation in finite terms", 1981); a bound that is
    not finite gives NaN. There are two derivatives.
    """
    first, last = (stop_gradient(tensor(b, "sum")) for b in (low, high))
    backwards = less(last, first - 1.0)
    sign = where(backwards, -1.0, 1.0)
    first, last = where(backwards, last + 1.0, first), where(backwards, first - 1.0, last)
    steps = last - first
    turns = largest(where(isfinite(steps), steps, -1.0))

    def term(i: Tensor, *given: Tensor) -> list[Tensor]:
        index = first + i
        there = less_equal(index, last)
        return [where(there, t, 0.0) for t in terms(minimum(index, last), *given)]

    (total,) = _totals(term, turns, list(arguments), _ORDERS)
    return where(isfinite(steps), sign * total, float("nan"))


def _totals(
    terms: Terms, turns: Tensor, arguments: Sequence[Tensor], orders: int
) -> Sequence[Tensor]:
    """The sums of `terms(i, *arguments)` for i = 0, 1, ... up to `turns`."""

    def total(*given: Tensor) -> list[Tensor]:
        return _added_up(lambda i: terms(i, *given), turns)

    def pull(gs: Sequence[Tensor], outs: Any, *given: Tensor) -> Any:
        def back(i: Tensor, *both: Tensor) -> list[Tensor]:
            cotangents, moved = both[: len(gs)], both[len(gs) :]
            return or_zeros(pulled(terms(i, *moved), moved, cotangents), moved)

        made = _totals(back, turns, [*gs, *given], orders - 1)
        return made[0] if len(given) == 1 else tuple(made)

    if not orders or not arguments:
        return total(*arguments)
    found: Sequence[Tensor] = custom_gradient(total, vjp=pull)(*arguments)
    return found


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
