"""What a benchmark is and how it is measured, with no word of processes or frameworks.

A *case* is a function from a contender's name to something `Prepared`. A *lane* runs one prepared
callable and reports seconds. `compare` holds every contender's answers to one reference, `measure`
times the lanes in turn, and `ratio` and `share` divide samples that were taken in the same round,
so that a machine that slows down for a while slows both sides of the division.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Answers = dict[str, npt.NDArray[Any]]

SUBJECT = "graphc"
ORACLE = "numpy"
PART_MARK = ": "
FLOOR_S = 0.02


class MismatchError(Exception):
    """A contender's answer is not the reference's: its time would mean nothing."""


class NotOfferedError(Exception):
    """The case has no program for this contender."""


@dataclass(frozen=True)
class Prepared:
    """A contender's side of a case.

    call: one unit of work, finished (not merely dispatched) when it returns.
    answers: named arrays by which contenders are compared; the oracle's are in float64.
    parts: callables that do a named part of the work alone, timed to print its share.
    """

    call: Callable[[], object]
    answers: Answers
    parts: Mapping[str, Callable[[], object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A named unit of work and the tolerance that its answers are held to."""

    name: str
    title: str
    rtol: float
    atol: float
    prepare: Callable[[str], Prepared]


CASES: dict[str, Case] = {}


def case(
    title: str, *, rtol: float, atol: float = 0.0
) -> Callable[[Callable[[str], Prepared]], Callable[[str], Prepared]]:
    """Register a function `contender -> Prepared` as the case of that function's name."""

    def register(prepare: Callable[[str], Prepared]) -> Callable[[str], Prepared]:
        name = prepare.__name__
        if name in CASES:
            raise ValueError(f"there are two benchmark cases named {name}")
        CASES[name] = Case(name, title, rtol, atol, prepare)
        return prepare

    return register


def compare(answers: Mapping[str, Answers], *, rtol: float, atol: float) -> None:
    """Hold all answers to the oracle's, or to the first contender's where there is no oracle.

    Errors: MismatchError when names, shapes or NaN masks differ or |a - r| > atol + rtol * |r|.
    """
    if not answers:
        return
    judge = ORACLE if ORACLE in answers else next(iter(answers))
    for contender, given in answers.items():
        if given.keys() != answers[judge].keys():
            raise MismatchError(
                f"{contender} answers {sorted(given)}, {judge} {sorted(answers[judge])}"
            )
        for name, expected in answers[judge].items():
            problem = _difference(given[name], expected, rtol, atol)
            if problem:
                raise MismatchError(f"{name}: {contender} against {judge}: {problem}")


def _difference(
    given: npt.NDArray[Any], expected: npt.NDArray[Any], rtol: float, atol: float
) -> str:
    if given.shape != expected.shape:
        return f"shape {given.shape}, expected {expected.shape}"
    far = ~np.isclose(given, expected, rtol=rtol, atol=atol, equal_nan=True)
    if not far.any():
        return ""
    where = tuple(int(i) for i in np.argwhere(far)[0])
    return (
        f"{int(far.sum())} of {far.size} elements differ by more than rtol {rtol:g}, "
        f"atol {atol:g}; at {where}: {given[where]!r}, expected {expected[where]!r}"
    )


@dataclass(frozen=True)
class Batch:
    """Seconds that a number of calls in a row took, by the clock and by the processor.

    faults: pages that the system had to hand out meanwhile, which can cost more than the work.
    """

    wall: float
    cpu: float
    faults: int = 0


class Lane(Protocol):
    """Something that can be timed; between two calls of `run` it must not use the processor."""

    def run(self, calls: int) -> Batch:
        """Time `calls` calls in a row, after an untimed one that fills the caches again."""


@dataclass(frozen=True)
class Samples:
    """One lane's figures per call, a number per round, and how many calls made one number."""

    calls: int
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def calibrate(lane: Lane, floor_s: float = FLOOR_S) -> int:
    """How many calls make a batch that lasts at least `floor_s`; the runs also warm the lane up."""
    calls = 1
    while (wall := lane.run(calls).wall) < floor_s:
        # Aim a quarter above the floor, and grow at most tenfold on the word of one short batch.
        calls = max(calls + 1, min(10 * calls, round(1.25 * floor_s * calls / max(wall, 1e-9))))
    return calls


def measure(
    lanes: Mapping[str, Lane], repeats: int, floor_s: float = FLOOR_S
) -> dict[str, Samples]:
    """Time every lane once a round, in the same order, for `repeats` rounds."""
    samples = {name: Samples(calibrate(lane, floor_s)) for name, lane in lanes.items()}
    for _ in range(repeats):
        for name, lane in lanes.items():
            taken = samples[name]
            batch = lane.run(taken.calls)
            taken.seconds.append(batch.wall / taken.calls)
            taken.cpu_seconds.append(batch.cpu / taken.calls)
            taken.faults.append(batch.faults / taken.calls)
    return samples


@dataclass(frozen=True)
class Ratio:
    """A quotient of two lanes taken round by round: its median and its quartiles."""

    over: str
    median: float
    low: float
    high: float


def quotient(over: str, above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Divide the samples of the same round; `over` names the denominator."""
    pairs = [a / b for a, b in zip(above, below, strict=True)]
    if len(pairs) == 1:
        return Ratio(over, *pairs * 3)
    low, median, high = statistics.quantiles(pairs, n=4, method="inclusive")
    return Ratio(over, median, low, high)


def is_part(lane: str) -> bool:
    return PART_MARK in lane


def ratio(samples: Mapping[str, Samples], subject: str = SUBJECT) -> Ratio | None:
    """The subject over the peer with the lowest median; below 1 the subject is faster.

    The oracle is a baseline that is printed, not a peer, and parts are no contenders.
    """
    peers = [n for n in samples if n not in (subject, ORACLE) and not is_part(n)]
    if subject not in samples or not peers:
        return None
    best = min(peers, key=lambda name: samples[name].median)
    return quotient(best, samples[subject].seconds, samples[best].seconds)


def shares(samples: Mapping[str, Samples]) -> dict[str, float]:
    """For each lane `contender: part`, the part's share of the contender's time."""
    return {
        lane: quotient(whole, taken.seconds, samples[whole].seconds).median
        for lane, taken in samples.items()
        if is_part(lane) and (whole := lane.split(PART_MARK)[0]) in samples
    }


@dataclass
class Result:
    """What one case gave at one thread count."""

    case: str
    title: str
    threads: int
    samples: dict[str, Samples] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """A record of plain types: medians and all samples in seconds per call."""
        against = ratio(self.samples)
        return {
            "case": self.case,
            "title": self.title,
            "threads": self.threads,
            "lanes": {
                name: {
                    "median_s": taken.median,
                    "seconds": taken.seconds,
                    "cpu_seconds": taken.cpu_seconds,
                    "faults": taken.faults,
                    "calls": taken.calls,
                }
                for name, taken in self.samples.items()
            },
            "ratio": None if against is None else vars(against).copy(),
            "shares": shares(self.samples),
            "failures": self.failures,
            "notes": self.notes,
        }
