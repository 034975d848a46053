"""R24: twice the nodes take every stage at most 2.3 times as long.

    python -m tests.properties.rows.growth [--to 64000] [FAMILY ...]

prints the milliseconds of each stage at 1,000 and 10,000 nodes, then the worst ratio of each stage.
Sizes count the nodes of the graph with its gradient. Times are of the processor, the least of some
repetitions; a doubling above the limit is measured again, at last with nothing beside it, before it
is reported: other work on the machine only ever makes a ratio larger, a quadratic stays one.
That no kernel has more than 128 statements is a test of `tests/test_growth.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise

import graphc as gc
from tests.properties.stages import FAMILIES, Built, measure

from . import Budget, Result, Tally

LIMIT = 2.3
LEAST = 0.02  # seconds below which a ratio says nothing
ATTEMPTS = 2
LOOKED = 200  # operations of the graph whose nodes are counted
SIZES = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)
Times = dict[str, float]
Found = tuple[str, int, str, float]  # a family, the larger number of nodes, a stage, its ratio


def seconds(make: Callable[[int], Built], n: int, repeat: int, lower: bool = True) -> Times:
    """The least time of each stage over some repetitions."""
    least: Times = {}
    for _ in range(repeat):
        for stage, taken in measure(make, n, lower)[1].seconds.items():
            least[stage] = min(taken, least.get(stage, taken))
    return least


def ratios(
    make: Callable[[int], Built], sizes: tuple[int, ...], lower: bool = True, limit: float = LIMIT
) -> Iterator[tuple[int, str, float]]:
    """Stage by stage t(2n)/t(n) of graphs of `sizes` nodes: the larger n, the stage, the ratio.
    Times between which a ratio is above the limit are taken again."""
    measure(make, LOOKED, lower)  # first calls fill caches
    nodes = measure(make, LOOKED, lower)[0]
    least: dict[int, Times] = {}
    again = set(sizes)
    for _ in range(ATTEMPTS):
        for n in sorted(again):
            before = least.get(n, {})
            now = seconds(make, n * LOOKED // nodes, max(1, min(5, 16_000 // n)), lower)
            least[n] = {stage: min(taken, before.get(stage, taken)) for stage, taken in now.items()}
        found = [
            (n, stage, taken / max(least[half][stage], 1e-6))
            for half, n in pairwise(sizes)
            for stage, taken in least[n].items()
            if taken >= LEAST
        ]
        above = {n for n, _, ratio in found if ratio > limit}
        again = {m for half, n in pairwise(sizes) if n in above for m in (half, n)}
        if not again:
            break
    yield from found


def of_family(family: str, sizes: tuple[int, ...] = SIZES) -> list[Found]:
    """The ratios of a family."""
    return [(family, *found) for found in ratios(FAMILIES[family], sizes)]


def tallied(found: Iterable[Found], limit: float = LIMIT) -> Tally:
    """Ratios above the limit are failures."""
    tally = Tally()
    for family, n, stage, ratio in found:
        tally.counts["ratios"] += 1
        if ratio > limit:
            tally.failures.append(f"{family}: {stage} takes {ratio:.2f} times as long at {n:,}")
    return tally


def settled(found: list[Found]) -> list[Found]:
    """The ratios, with those above the limit measured once more in this process."""
    slow = {(family, n) for family, n, _, ratio in found if ratio > LIMIT}
    alone = {
        (f, n, stage): ratio
        for f, n in sorted(slow)
        for _, _, stage, ratio in of_family(f, (n // 2, n))
    }
    return [(f, n, stage, min(r, alone.get((f, n, stage), r))) for f, n, stage, r in found]


def all_pairs(n: int) -> Built:
    """Building that compares every pair: what a pass must not do."""
    built = FAMILIES["chain"](n)
    same = sum(a is b for a in range(n) for b in range(n))
    return Built(built.inputs, [gc.sum(t * float(same)) for t in built.outputs])


class Growth:
    name = "R24"
    promise = "each stage takes twice as long for twice the nodes"

    def run(self, budget: Budget) -> Result:
        sizes = SIZES if budget.share >= 1 else SIZES[:4] if budget.share >= 0.1 else SIZES[:2]
        parts = budget.map(partial(of_family, sizes=sizes), FAMILIES)
        tally = tallied(settled([found for part in parts for found in part]))
        reached = f"{len(tally.failures)} of {tally.counts['ratios']} ratios above {LIMIT}"
        return Result(not tally.failures, reached, f"t(2n)/t(n) <= {LIMIT}", tally)

    def control(self) -> Result:
        """The same with a stage that visits all pairs."""
        found = [r for _, stage, r in ratios(all_pairs, SIZES[:2], lower=False) if stage == "build"]
        worst = max(found)
        return Result(worst <= LIMIT, f"{worst:.2f} for an all-pairs pass", f"<= {LIMIT}")


def table(families: list[str], sizes: tuple[int, ...] = (1_000, 10_000)) -> Iterator[str]:
    """Lines of a table: the milliseconds of each stage."""
    times = {}
    for family in families:
        measure(FAMILIES[family], 200)
        times[family] = [seconds(FAMILIES[family], n, 2) for n in sizes]
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
    parser.add_argument("--to", type=int, default=8_000, help="the most nodes of the ratios")
    given = parser.parse_args()
    sys.stdout.write("\n".join(table(given.families)) + "\n")
    sizes = tuple(n for n in SIZES if n <= given.to)
    for family in given.families:
        tally = tallied(settled(of_family(family, sizes)))
        sys.stdout.writelines(f"{failure}\n" for failure in tally.failures)


ROW = Growth()

if __name__ == "__main__":
    main()
