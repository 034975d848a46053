"""R4: the tests can see. Each fault planted in the compiler is caught by the checks of the rows."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from tests.properties import checking
from tests.properties.faults import Fault, caught_by
from tests.properties.planted import FAULTS

from . import Budget, Result, Tally

FIGURE = 30


def catch(name: str) -> Tally:
    """One fault, by name: faults are not pickled."""
    tally = Tally()
    tally.counts["planted"] += 1
    if caught_by(fault_of(name)) is None:
        tally.failures.append(f"not caught: {name}")
    else:
        tally.counts["caught"] += 1
    return tally


def fault_of(name: str) -> Fault:
    return next(f for f in FAULTS if name in (f.name, str(f)))


def planted_result(name: str) -> Result:
    """What the check of a fault says with it planted: red, at the first graph that shows it."""
    fault = fault_of(name)
    seed = caught_by(fault)
    reached = f"{fault}: " + ("not seen" if seed is None else f"seen at seed {seed}")
    return Result(seed is None, reached, "0 mismatches")


class Planted:
    name = "R4"
    promise = "the tests can see"

    def run(self, budget: Budget) -> Result:
        names = [str(f) for f in FAULTS[:: max(1, round(1 / budget.share))]]
        tally = Tally.sum(budget.map(catch, names))
        wanted = budget.of(FIGURE)
        reached = f"{tally.counts['caught']} of {len(names)} planted faults caught"
        holds = not tally.failures and len(names) >= wanted
        return Result(holds, reached, f"{wanted} or more, all caught", tally, "0..300")

    def control(self) -> Result:
        """A fault that is caught, and a comparer that finds no difference: it is caught no more."""
        fault = fault_of("only the first part of a product")
        seed = caught_by(fault)
        with mock.patch.object(checking, "differences", return_value=[]):
            blind = seed is None or caught_by(replace(fault, seeds=[seed])) is None
        reached = f"{fault}: caught at seed {seed}, by a blind comparer not"
        return Result(not blind, reached, "all caught")


ROW = Planted()
