"""R2: compiled code gives what NumPy gives, forward and gradient; the printed source of the
kernels, run as plain Python, gives it too; and where torch is installed, so does torch, with
gradients of its own."""

from __future__ import annotations

import importlib.util
import os
from unittest import mock

from graphc.errors import GraphcError
from tests.properties.checking import check_compiled
from tests.properties.kernels import check_kernels

from . import Budget, Result, Tally, chunks
from .planted import planted_result

FIGURE, FIRST = 600, 10_000  # graphs, of four inputs each; seeds from FIRST on
MORE = 30_000  # the seed of the first of 1,000 graphs whose kernels are checked without compiling


def compiled_graphs(seeds: range) -> Tally:
    """Each graph compiled and called, then its kernels run by the interpreter and as Python."""
    tally = Tally()
    with mock.patch.dict(os.environ, {"GRAPHC_CACHE": "0"}):
        for seed in seeds:
            try:
                made = check_compiled(seed, tally.explained)
                tally.counts["calls"] += len(made.sizes)
                check_kernels(seed, tally.counts)
            except (AssertionError, GraphcError) as error:
                tally.failures.append(f"random_graph({seed}): {error}")
            tally.counts["graphs"] += 1
    long = tally.counts.pop("kernels too long", 0)
    if long:
        tally.skipped["kernels longer than 15,000 statements (compiled only)"] += long
    return tally


def kernels_of_graphs(seeds: range) -> Tally:
    """The kernels of further graphs, by the interpreter and as Python only."""
    tally = Tally()
    for seed in seeds:
        try:
            check_kernels(seed, tally.counts)
        except (AssertionError, GraphcError) as error:
            tally.failures.append(f"random_graph({seed}): {error}")
    long = tally.counts.pop("kernels too long", 0)
    if long:
        tally.skipped["kernels longer than 15,000 statements, of graphs not compiled"] += long
    return tally


def asked_of_torch(seeds: range) -> Tally:
    """The meaning of the graphs, with their gradients, against torch's."""
    from tests.properties.torch_oracle import check_by_torch  # where there is torch

    tally = Tally()
    for seed in seeds:
        try:
            tally.counts["by torch"] += check_by_torch(seed, tally.skipped, tally.explained)
        except (AssertionError, GraphcError) as error:
            tally.failures.append(str(error))
    return tally


class Compiled:
    name = "R2"
    promise = "compiled = NumPy meaning, forward and gradient"

    def run(self, budget: Budget) -> Result:
        graphs = budget.of(FIGURE)
        tally = Tally.sum(budget.map(compiled_graphs, chunks(FIRST, graphs, 10)))
        tally += Tally.sum(budget.map(kernels_of_graphs, chunks(MORE, budget.of(1_000), 20)))
        done, calls = tally.counts["graphs"], tally.counts["calls"]
        sources = tally.counts["kernels run"]
        if importlib.util.find_spec("torch") is None:
            tally.skipped["second oracle: torch is not installed"] += 1
        else:
            tally += Tally.sum(budget.map(asked_of_torch, chunks(FIRST, graphs, 50)))
        reached = f"{done} graphs x {calls / max(done, 1):.1f} inputs, {len(tally.failures)} differ"
        wanted = f"{graphs} x 4, 0"
        notes = [f"{sources:,} runs of printed kernel source as plain Python agree as well"]
        if tally.counts["by torch"]:
            notes.append(f"{tally.counts['by torch']:,} calls agree with torch and its gradients")
        holds = done >= graphs and calls >= 4 * graphs and not tally.failures and sources > 0
        seeds = f"{FIRST}..{FIRST + graphs - 1}"
        return Result(holds, reached, wanted, tally, seeds, tuple(notes))

    def control(self) -> Result:
        """Temporaries that share memory although both are needed."""
        return planted_result("temporaries that overlap")


ROW = Compiled()
