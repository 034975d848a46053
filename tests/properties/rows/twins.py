"""R3: twins that algebra says are equal agree, compiled; also permuted, padded, split batches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from unittest import mock

from graphc.errors import GraphcError
from graphc.ir.graph import Graph
from tests.properties.checking import compiled
from tests.properties.shrinking import script
from tests.properties.twins import disagreement, twins
from tests.properties.values import Array

from . import Budget, Result, Tally, chunks
from .planted import planted_result

FIGURE = 1_000


def compiled_twins(seeds: range) -> Tally:
    tally = Tally()
    with mock.patch.dict(os.environ, {"GRAPHC_CACHE": "0"}):
        for seed in seeds:
            pair = twins(seed)
            try:
                found = disagreement(pair, run_compiled)
            except GraphcError as error:
                found = f"{type(error).__name__}: {error}"
            if found:
                shown = "\n".join(script(g, pair.arrays) for g in (pair.first, pair.second))
                tally.failures.append(f"twins({seed}), {pair.name}: {found}\n{shown}")
            tally.counts["pairs"] += 1
            tally.counts[pair.name] += 1
    return tally


def run_compiled(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    results: list[Array] = compiled(graph)(*arrays)
    return results


class Twins:
    name = "R3"
    promise = "twins that algebra says are equal agree"

    def run(self, budget: Budget) -> Result:
        pairs = budget.of(FIGURE)
        tally = Tally.sum(budget.map(compiled_twins, chunks(0, pairs, 20)))
        done = tally.counts["pairs"]
        reached = f"{done:,} pairs of {len(tally.counts) - 1} kinds, {len(tally.failures)} differ"
        holds = done >= pairs and not tally.failures
        return Result(holds, reached, f"{pairs:,} pairs, 0", tally, f"0..{pairs - 1}")

    def control(self) -> Result:
        """A derivative with the wrong sign, which the interpreter shares."""
        return planted_result("tanh' with the wrong sign")


ROW = Twins()
