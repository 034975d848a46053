"""The rows of the scoreboard: each a promise, the check that shows it, a fault that it sees.

A row is a module with one object of the protocol `Row`, listed in `tests/properties/scoreboard.py`:

    class Rewrites:
        name = "R1"
        promise = "every rewrite and pass keeps meaning"
        def run(self, budget: Budget) -> Result: ...      # green if the promise holds
        def control(self) -> Result: ...                  # the same check with a planted fault: red

Work that is split in parts goes through `budget.map(function, items)`, which runs them in the
processes of the scoreboard (`function` is then one of a module, its arguments and its result can be
pickled); what cannot be split just runs. A row counts in a `Tally`: what was
checked, what was skipped and why, what differed but is explained, and the reports of failures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def one_process(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map`, as a budget without processes of its own has it."""
    return map(function, items)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of its figure a row checks, and the processes that it may use.

    `share` is 1 for the row's figure and less for a look; `map` runs a function over items.
    """

    share: float = 1.0
    map: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = one_process

    def of(self, figure: int, least: int = 1) -> int:
        """As many of `figure` as the share allows, and at least `least` of them."""
        return max(min(least, figure), round(figure * self.share))


@dataclass(slots=True)
class Tally:
    """What a check counted. Tallies of parts are added; `failures` keeps the first reports."""

    counts: Counter[str] = field(default_factory=Counter)  # what was checked: how often
    skipped: Counter[str] = field(default_factory=Counter)  # why not: how often
    explained: Counter[str] = field(default_factory=Counter)  # why a difference is none
    failures: list[str] = field(default_factory=list)

    @classmethod
    def sum(cls, parts: Iterable[Tally]) -> Tally:
        """The tallies of all parts as one."""
        total = cls()
        for part in parts:
            total += part
        return total

    def __iadd__(self, other: Tally) -> Tally:
        self.counts += other.counts
        self.skipped += other.skipped
        self.explained += other.explained
        self.failures += other.failures
        return self


@dataclass(frozen=True, slots=True)
class Result:
    """What a row reached. `holds`: nothing failed and the figure is the one wanted.

    `reached` and `wanted` are figures as text (`20,000 graphs`, `9.1 s`); `seeds` says which random
    numbers were used; `notes` are lines that the scoreboard prints below its table.
    """

    holds: bool
    reached: str
    wanted: str
    tally: Tally = field(default_factory=Tally)
    seeds: str = ""
    notes: tuple[str, ...] = ()


class Row(Protocol):
    """One row of the scoreboard."""

    @property
    def name(self) -> str:
        """`R1`: as in the list of promises."""

    @property
    def promise(self) -> str:
        """What the row shows, in a few words."""

    def run(self, budget: Budget) -> Result:
        """The check. Green: `holds`."""

    def control(self) -> Result:
        """The same check, small, with a planted fault. It must be red: not `holds`."""


def chunks(first: int, count: int, size: int) -> list[range]:
    """`count` seeds from `first` on, in parts of at most `size`."""
    last = first + count
    return [range(start, min(start + size, last)) for start in range(first, last, size)]
