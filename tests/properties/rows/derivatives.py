"""R6: derivatives of every differentiable op's samples are what differences say: in reverse and in
forward mode, in float64 and float32; second ones, where they exist, of every nesting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import product
from typing import Any

from graphc.errors import GraphcError
from graphc.ir.op import registry
from tests.op_samples import SAMPLES
from tests.properties.derivatives import (
    DIFFERENTIABLE,
    SMOOTH,
    WAYS,
    check_first,
    check_second,
    check_single,
)
from tests.properties.planted import redefined

from . import Budget, Result, Tally

FIGURE = 3_000
Check = Callable[[], None]


def checks(name: str, number: int) -> Iterator[tuple[str, Check]]:
    """What is checked of one case, by name."""
    for way in WAYS:
        yield f"{way}, float64", partial(check_first, name, number, way)
        yield f"{way}, float32", partial(check_single, name, number, way)
    if name in SMOOTH:
        for outer, inner in product(WAYS, WAYS):
            yield f"{outer} over {inner}", partial(check_second, name, number, outer, inner)


def derivatives_of(case: tuple[str, int]) -> Tally:
    """All checks of one case of an op."""
    tally = Tally()
    for what, check in checks(*case):
        tally.counts["checks"] += 1
        try:
            check()
        except (AssertionError, GraphcError) as error:
            tally.failures.append(f"{case[0]}, case {case[1]}, {what}: {error}")
    return tally


def cases(names: list[str]) -> list[tuple[str, int]]:
    return [(name, number) for name in names for number in range(len(SAMPLES[name].cases))]


def _changed(op: str, change: Callable[[Any], Any]) -> AbstractContextManager[None]:
    """The derivative that an op states, changed, both ways."""
    found = registry()[op]
    vjp, jvp = found.vjp, found.jvp
    assert vjp is not None
    fields: dict[str, Any] = {
        "vjp": lambda *args, **attrs: [c if c is None else change(c) for c in vjp(*args, **attrs)]
    }
    if jvp is not None:
        fields["jvp"] = lambda *args, **attrs: change(jvp(*args, **attrs))
    return redefined(op, **fields)


FAULTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a sign": ("tanh", lambda c: -c),
    "a factor 2": ("square", lambda c: c * 0.5),
    "a sign of what states no jvp": ("sum", lambda c: -c),
}


class Derivatives:
    name = "R6"
    promise = "derivatives are what differences say"

    def run(self, budget: Budget) -> Result:
        every = cases(DIFFERENTIABLE)
        chosen = every[:: max(1, round(1 / budget.share))]
        wanted = budget.of(FIGURE) if len(chosen) == len(every) else len(chosen)
        tally = Tally.sum(budget.map(derivatives_of, chosen))
        done = tally.counts["checks"]
        ops = len({name for name, _ in chosen})
        reached = f"{done:,} checks of {ops} ops"
        holds = done >= wanted and not tally.failures
        return Result(holds, reached, f"{wanted:,}, 0 wrong", tally)

    def control(self) -> Result:
        """A sign, and a factor, of what ops state."""
        for what, (op, change) in FAULTS.items():
            with _changed(op, change):
                failures = derivatives_of((op, 0)).failures
            if len(failures) < len(WAYS):
                return Result(True, f"{what} of {op} not seen", "seen")
        return Result(False, f"{len(FAULTS)} faults seen", "0 wrong")


ROW = Derivatives()
