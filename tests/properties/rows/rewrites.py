"""R1: the graph after each stage of the pipeline means what it meant before, by the interpreter."""

from __future__ import annotations

from graphc.errors import GraphcError
from tests.properties.checking import check_stages

from . import Budget, Result, Tally, chunks
from .planted import planted_result

FIGURE, FIRST = 20_000, 20_000  # graphs; seeds from FIRST on


def stages_of_graphs(seeds: range) -> Tally:
    """Check each graph; every fifth on special values, as the rest draws them one in ten."""
    tally = Tally()
    for seed in seeds:
        try:
            check_stages(seed, seed % 5 == 0, tally.explained, one_call=True)
        except AssertionError as error:
            tally.failures.append(str(error))
        except GraphcError as error:  # the compiler refuses what it should compile
            tally.failures.append(f"random_graph({seed}): {error}")
        tally.counts["graphs"] += 1
    return tally


class Rewrites:
    name = "R1"
    promise = "every rewrite and pass keeps meaning"

    def run(self, budget: Budget) -> Result:
        graphs = budget.of(FIGURE)
        tally = Tally.sum(budget.map(stages_of_graphs, chunks(FIRST, graphs, 100)))
        done = tally.counts["graphs"]
        reached = f"{done:,} graphs, {len(tally.failures)} mismatches"
        wanted = f"{graphs:,} graphs, 0"
        seeds = f"{FIRST}..{FIRST + graphs - 1}"
        return Result(done >= graphs and not tally.failures, reached, wanted, tally, seeds)

    def control(self) -> Result:
        """`x < y -> not x >= y`, which differs for NaN."""
        return planted_result("x < y -> not x >= y")


ROW = Rewrites()
