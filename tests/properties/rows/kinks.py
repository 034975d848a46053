"""R7: derivatives at kinks and ties, at the ends of domains, and beside branches that are not taken
are those of the printed table: in reverse and in forward mode, and after the rules.

One process, and a second or so: the table is small, and its points are always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from graphc.errors import GraphcError
from graphc.ops import scalar
from graphc.ops.elementwise import greater_equal, less, where
from tests.kinks import UNTAKEN, WAYS, At, Kink, check, lines
from tests.properties.planted import redefined

from . import Budget, Result, Tally

FIGURE, HIDDEN = 60, 40  # points, and branches that are not taken


def _to_the_first() -> AbstractContextManager[None]:
    """A tie of two operands, given to the first of them, both ways."""

    def vjp(context: Any, g: Any, out: Any, x: Any, y: Any) -> list[Any]:
        return [where(greater_equal(x, y), g, 0.0), where(less(x, y), g, 0.0)]

    def jvp(context: Any, ts: Any, out: Any, x: Any, y: Any) -> Any:
        moved = [0.0 if t is None else t for t in ts]
        return where(greater_equal(x, y), *moved)

    return redefined("maximum", vjp=vjp, jvp=jvp)


Table = Callable[[], list[Kink | At]]
FAULTS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], Table]] = {
    "no mask": (
        lambda: mock.patch.object(scalar, "branch_of", return_value=None),
        lambda: list(UNTAKEN[:12]),
    ),
    "a tie to the first": (
        _to_the_first,
        lambda: [line for line in lines() if line.expression.startswith("maximum")],
    ),
}


def hold(table: list[Kink | At]) -> Tally:
    """Each line in each way."""
    tally = Tally()
    for line in table:
        tally.counts["hidden" if line in UNTAKEN else "points"] += 1
        for way in WAYS:
            tally.counts["checks"] += 1
            try:
                check(line, way)
            except (AssertionError, GraphcError) as error:
                tally.failures.append(f"{line.expression} at {line.x}, {way}: {error}")
    return tally


class Kinks:
    name = "R7"
    promise = "kinks, ties and what is not taken follow the table"

    def run(self, budget: Budget) -> Result:
        every = list(lines())
        tally = hold(every[:: len(every) // budget.of(len(every), 6)])
        points, hidden = tally.counts["points"], tally.counts["hidden"]
        least = [budget.of(figure) for figure in (FIGURE, HIDDEN)]
        reached = f"{points} points, {hidden} branches not taken, {len(WAYS)} ways"
        holds = points >= least[0] and hidden >= least[1] and not tally.failures
        return Result(holds, reached, f"{least[0]} and {least[1]}, 0 wrong", tally)

    def control(self) -> Result:
        """Cotangents that no branch masks, and ties that are not shared."""
        for what, (plant, table) in FAULTS.items():
            with plant():
                failures = hold(table()).failures
            if len(failures) < len(WAYS):
                return Result(True, f"{what}: not seen", "seen")
        return Result(False, f"{len(FAULTS)} faults seen", "0 wrong")


ROW = Kinks()
