"""The time that each stage of the compiler takes, by hand: nothing is decided by it.

    python -m tests.benchmarks.stages [FAMILY ...]

prints the milliseconds of the processor at 1,000 and 10,000 operations, the least of two runs. What
grows faster than the graph is what `tests/properties/rows/growth.py` counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tests.properties.stages import FAMILIES, Built, measure

T = TypeVar("T")
SIZES = (1_000, 10_000)


@dataclass
class Clock:
    """Seconds of the processor, stage by stage: the least of all runs."""

    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, name: str, stage: Callable[[], T]) -> T:
        start = time.process_time()
        result = stage()
        taken = time.process_time() - start
        self.seconds[name] = min(taken, self.seconds.get(name, taken))
        return result


def seconds(make: Callable[[int], Built], n: int, repeat: int = 2) -> dict[str, float]:
    """The least time of each stage."""
    clock = Clock()
    for _ in range(repeat):
        measure(make, n, clock)
    return clock.seconds


def table(families: list[str]) -> Iterator[str]:
    """Lines of a table: the milliseconds of each stage."""
    times = {}
    for family in families:
        measure(FAMILIES[family], 200, Clock())  # first calls fill caches
        times[family] = [seconds(FAMILIES[family], n) for n in SIZES]
    yield "| stage | " + " | ".join(families) + " |"
    yield "|---" * (1 + len(families)) + "|"
    for stage in dict.fromkeys(s for parts in times.values() for part in parts for s in part):
        cells = (
            " / ".join(f"{part[stage] * 1e3:,.0f}" if stage in part else "-" for part in parts)
            for parts in times.values()
        )
        yield f"| {stage} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), metavar="FAMILY")
    for line in table(parser.parse_args().families):
        print(line)


if __name__ == "__main__":
    main()
