"""R24: four times the nodes take every stage at most 4.6 times the calls.

    python -m tests.properties.rows.growth [FAMILY ...]

prints the calls of each stage for each node, at 16,000 nodes and at 64,000, and the worst ratio.
Sizes count the nodes of the graph with its gradient. Calls are those of functions, Python's and
those in C: the same in every run, whatever else the machine does. Four times as many are linear;
log n a node is 4.6 at these sizes; a quadratic part is above the limit once it is a fifth of the
whole. A stage that makes less than one call for each node counts as one that makes one. What a call
in C does inside is not seen (`list.pop(0)` for each node is a linear number of calls): see
`tests/properties/instructions.py`, by hand. That no kernel has more than 128 statements is a test
of `tests/test_growth.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from unittest import mock

from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import fuse_all
from tests.properties import stages
from tests.properties.stages import FAMILIES, Built, Calls, measure

from . import Budget, Result, Tally

LIMIT = 4.6
LOOKED = 200  # operations of the graph whose nodes are counted
FIGURE = 16_000  # nodes of the smaller graph; the larger has four times as many
SHARE, SHARED = 0.1, 1_000  # of the figure and more: all families at so many nodes
Counts = dict[str, tuple[int, int]]  # by stage: calls at n nodes, at 4n


def counted(make: Callable[[int], Built], n: int, lower: bool = True) -> Counts:
    """The calls of each stage at n nodes and at four times as many."""
    measure(make, LOOKED, Calls(), lower)  # first calls fill caches
    nodes = measure(make, LOOKED, Calls(), lower)
    few, many = Calls(), Calls()
    measure(make, n * LOOKED // nodes, few, lower)
    measure(make, 4 * n * LOOKED // nodes, many, lower)
    return {stage: (calls, many.counts[stage]) for stage, calls in few.counts.items()}


def ratios(counts: Counts, n: int) -> Iterator[tuple[str, float]]:
    """Stage by stage how many times the calls four times the nodes take."""
    for stage, (few, many) in counts.items():
        yield stage, max(many, 4 * n) / max(few, n)


def tallied(family: str, counts: Counts, n: int) -> Tally:
    """Ratios above the limit are failures."""
    tally = Tally()
    for stage, ratio in ratios(counts, n):
        tally.counts["ratios"] += 1
        if ratio > LIMIT:
            few, many = counts[stage]
            tally.failures.append(
                f"{family}: {stage} makes {few:,} calls at {n:,} nodes, {ratio:.2f} times as many "
                f"({many:,}) at {4 * n:,}"
            )
    return tally


def of_family(task: tuple[str, int]) -> tuple[Tally, float]:
    """A family at a number of nodes and four times as many: its tally, its worst ratio."""
    family, n = task
    counts = counted(FAMILIES[family], n)
    return tallied(family, counts, n), max(ratio for _, ratio in ratios(counts, n))


def all_pairs(graph: Graph) -> Graph:
    """Fusion that looks at every pair of nodes: what a pass must not do."""
    sum(a is b for a in graph.nodes for b in graph.nodes)
    return fuse_all(graph)


class Growth:
    name = "R24"
    promise = "each stage makes calls in proportion to the nodes"

    def run(self, budget: Budget) -> Result:
        n = FIGURE
        if budget.share < 1:
            n = SHARED if budget.share >= SHARE else SHARED // 2
        return _result(list(budget.map(of_family, [(family, n) for family in FAMILIES])))

    def control(self) -> Result:
        """The same for one family, with a pass that visits all pairs."""
        with mock.patch.object(stages, "fuse_all", all_pairs):
            return _result([of_family(("chain", 250))])


def _result(parts: list[tuple[Tally, float]]) -> Result:
    tally = Tally.sum(part for part, _ in parts)
    worst = max(ratio for _, ratio in parts)
    reached = f"{len(tally.failures)} of {tally.counts['ratios']} ratios above, worst {worst:.2f}"
    return Result(not tally.failures, reached, f"<= {LIMIT} for four times the nodes", tally)


def table(families: list[str], n: int) -> Iterator[str]:
    """Lines of a table: the calls of each stage for each node, at n nodes and at 4n."""
    found = {family: counted(FAMILIES[family], n) for family in families}
    yield "| stage | " + " | ".join(families) + " |"
    yield "|---" * (1 + len(families)) + "|"
    for stage in dict.fromkeys(s for counts in found.values() for s in counts):
        cells = (
            f"{counts[stage][0] / n:,.1f} / {counts[stage][1] / n / 4:,.1f}"
            if stage in counts
            else "-"
            for counts in found.values()
        )
        yield f"| {stage} | " + " | ".join(cells) + " |"
    for family, counts in found.items():
        stage, ratio = max(ratios(counts, n), key=lambda pair: pair[1])
        yield f"{family}: the worst ratio is {ratio:.2f}, of {stage}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--nodes", type=int, default=FIGURE, help="of the smaller graph")
    given = parser.parse_args()
    sys.stdout.writelines(f"{line}\n" for line in table(given.families, given.nodes))


ROW = Growth()

if __name__ == "__main__":
    main()
