"""R24: twice the nodes take every stage at most 2.3 times as long, over four doublings.

    python -m tests.properties.rows.growth [--to 64000] [FAMILY ...]

prints the milliseconds of each stage at 1,000 and 10,000 nodes, then the worst ratio of each stage.
Sizes count the nodes of the graph with its gradient. A ratio is the fourth root of t(16n) / t(n):
where a graph outgrows a cache of the processor, each node takes up to 1.4 times as long for the
same steps, so that over one doubling or two linear stages are as near to the limit as machines
differ. Over four, linear stages stay below 2.25, and a quadratic part is above the limit once it
takes as long as the rest. A stage is judged where it takes three microseconds a node: ordering a
graph and planning memory take less, until they grow faster. Times are of the processor, the least
of some repetitions. Where a ratio is above the limit, both sizes are timed again, with nothing
beside them, and the least time of each counts: other work on the machine only ever adds to a time,
and what is quadratic stays so. That no kernel has more than 128 statements is a test of
`tests/test_growth.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from unittest import mock

from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import fuse_all
from tests.properties import stages
from tests.properties.stages import FAMILIES, Built, measure

from . import Budget, Result, Tally

LIMIT = 2.3
LEAST = 3e-6  # seconds a node; what takes less looks at each once, and waits mostly for memory
DOUBLINGS = 4
ATTEMPTS = 6
LOOKED = 200  # operations of the graph whose nodes are counted
SIZES = (250, 1_000, 4_000, 16_000, 64_000)
Make = Callable[[int], Built]
Seconds = dict[str, float]  # by stage
Times = dict[int, Seconds]  # by nodes


def timed(make: Make, sizes: tuple[int, ...], lower: bool = True) -> Times:
    """The least time of each stage at each number of nodes."""
    measure(make, LOOKED, lower)  # first calls fill caches
    nodes = measure(make, LOOKED, lower)[0]
    return {n: _seconds(make, n * LOOKED // nodes, _repetitions(n), lower) for n in sizes}


def _repetitions(n: int) -> int:
    return max(1, min(3, 16_000 // n))


def _seconds(make: Make, n: int, repeat: int, lower: bool = True) -> Seconds:
    least: Seconds = {}
    for _ in range(repeat):
        least = _least(least, measure(make, n, lower)[1].seconds)
    return least


def _least(some: Seconds, others: Seconds) -> Seconds:
    return {stage: min(taken, some.get(stage, taken)) for stage, taken in others.items()}


def ratios(times: Times) -> Iterator[tuple[int, str, float]]:
    """Stage by stage how much longer twice the nodes take, over the doublings up to n: n, the
    stage, the ratio."""
    for n in times:
        for stage, taken in times[n].items():
            if taken >= LEAST * n and _base(n) in times:
                yield n, stage, (taken / max(times[_base(n)][stage], 1e-6)) ** (1 / DOUBLINGS)


def _base(n: int) -> int:
    """The size that n is compared with."""
    return n // 2**DOUBLINGS


def settled(make: Make, times: Times, lower: bool = True, limit: float = LIMIT) -> Times:
    """The times, with what is above the limit timed again, in this process."""
    for _ in range(ATTEMPTS):
        above = {n for n, _, ratio in ratios(times) if ratio > limit}
        if not above:
            break
        again = timed(make, tuple(sorted(above | {_base(n) for n in above})), lower)
        times = {n: _least(again.get(n, {}), found) for n, found in times.items()}
    return times


def of_family(family: str, sizes: tuple[int, ...]) -> Times:
    """The times of a family."""
    return timed(FAMILIES[family], sizes)


def tallied(found: Mapping[str, Times], limit: float = LIMIT) -> Tally:
    """Ratios above the limit are failures."""
    tally = Tally()
    for family, times in found.items():
        for n, stage, ratio in ratios(times):
            tally.counts["ratios"] += 1
            if ratio > limit:
                tally.failures.append(f"{family}: {stage} takes {ratio:.2f} times as long at {n:,}")
    return tally


def _result(found: Mapping[str, Times]) -> Result:
    tally = tallied(found)
    worst = max((ratio for times in found.values() for _, _, ratio in ratios(times)), default=0.0)
    reached = f"{len(tally.failures)} of {tally.counts['ratios']} ratios above, worst {worst:.2f}"
    return Result(not tally.failures, reached, f"<= {LIMIT} for twice", tally)


def all_pairs(graph: Graph) -> Graph:
    """Fusion that looks at every pair of nodes: what a pass must not do."""
    sum(a is b for a in graph.nodes for b in graph.nodes)
    return fuse_all(graph)


class Growth:
    name = "R24"
    promise = "each stage takes twice as long for twice the nodes"

    def run(self, budget: Budget) -> Result:
        sizes = SIZES if budget.share >= 1 else SIZES[:4] if budget.share >= 0.1 else SIZES[:3]
        parts = budget.map(partial(of_family, sizes=sizes), FAMILIES)
        found = dict(zip(FAMILIES, parts, strict=True))
        return _result({f: settled(FAMILIES[f], times) for f, times in found.items()})

    def control(self) -> Result:
        """The same for one family, with a pass that visits all pairs."""
        chain = FAMILIES["chain"]
        with mock.patch.object(stages, "fuse_all", all_pairs):
            return _result({"chain": settled(chain, timed(chain, (500, 8_000)))})


def table(families: list[str], sizes: tuple[int, ...] = (1_000, 10_000)) -> Iterator[str]:
    """Lines of a table: the milliseconds of each stage."""
    times = {}
    for family in families:
        measure(FAMILIES[family], 200)
        times[family] = [_seconds(FAMILIES[family], n, 2) for n in sizes]
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
    parser.add_argument("--to", type=int, default=16_000, help="the most nodes of the ratios")
    given = parser.parse_args()
    sys.stdout.write("\n".join(table(given.families)) + "\n")
    sizes = tuple(n for n in SIZES if n <= given.to)
    for family in given.families:
        tally = tallied({family: settled(FAMILIES[family], of_family(family, sizes))})
        sys.stdout.writelines(f"{failure}\n" for failure in tally.failures)


ROW = Growth()

if __name__ == "__main__":
    main()
