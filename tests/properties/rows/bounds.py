"""R31: no access outside of an array. Every load and store of every kernel, of the corpus and of
random graphs about sizes, where what they need just holds; where it just fails, nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import GraphcError, ShapeError
from graphc.ir.dim import evaluate, is_nonnegative
from graphc.ir.evaluate import bind_dims
from tests.corpus import PROGRAMS
from tests.properties.generator import SIZES_FROM, random_graph
from tests.properties.kernels import check_kernels, check_program
from tests.properties.planted import redefined
from tests.properties.sizes import calls
from tests.properties.values import draw

from . import Budget, Result, Tally, chunks

FIGURE, FIRST = 2_000, SIZES_FROM + 10_000  # graphs about sizes; seeds from FIRST on
CONTROL = 200  # graphs among which the fault must be seen
SMALL = 3  # calls of a program of the corpus at the sizes where what it needs just holds


def check_refused(seed: int) -> int:
    """How many sizes the random graph of a seed refuses, before anything runs."""
    made = random_graph(seed)
    for call in range(len(made.sizes), len(made.sizes) + len(made.refused)):
        try:
            bind_dims(made.graph, made.arrays(call))
        except ShapeError:
            continue
        raise AssertionError(f"random_graph({seed}), call {call}: the sizes are not refused")
    return len(made.refused)


def bounds_of_graphs(seeds: range) -> Tally:
    """The kernels of random graphs about sizes."""
    tally = Tally()
    for seed in seeds:
        try:
            check_kernels(seed, tally.counts)
            tally.counts["refused"] += check_refused(seed)
        except (AssertionError, GraphcError) as error:
            tally.failures.append(f"random_graph({seed}): {error}")
        tally.counts["graphs"] += 1
    return _told(tally)


def bounds_of_corpus(name: str) -> Tally:
    """The kernels of a program of the corpus, at its own sizes and at the smallest it takes."""
    tally = Tally()
    graph, arrays = PROGRAMS[name]()
    rng = np.random.default_rng(31)
    smallest = calls(graph, rng)[0] if graph.dims else []
    try:
        given = [arrays, *(_arrays(graph, dims, rng) for dims in smallest[:SMALL])]
        check_program(graph, given, name, tally.counts)
    except (AssertionError, GraphcError) as error:
        tally.failures.append(f"{name}: {error}")
    tally.counts["programs"] += 1
    return _told(tally)


def _arrays(graph: gc.Graph, dims: dict[str, int], rng: np.random.Generator) -> list[Any]:
    shapes = [tuple(evaluate(s, dims) for s in t.shape) for t in graph.inputs]
    pairs = zip(graph.inputs, shapes, strict=True)
    return [draw(rng, shape, t.dtype.numpy, False) for t, shape in pairs]


def _told(tally: Tally) -> Tally:
    long = tally.counts.pop("kernels too long", 0)
    if long:
        tally.skipped["kernels longer than 15,000 statements"] += long
    return tally


@contextmanager
def wrapped_bounds() -> Iterator[None]:
    """Kernels that read a slice count a symbolic start from the end where it may be negative."""

    def at(k: Any, values: Any, place: Any, out: Any, starts: Any, sizes: Any, steps: Any) -> Any:
        axes = zip(place, starts, steps, values[0].type.shape, strict=True)
        wrapped = ((i * d + s, size, is_nonnegative(s)) for i, s, d, size in axes)
        return values[0](tuple(i if plain else i + size for i, size, plain in wrapped))

    with redefined("slice", at=at):
        yield


class Bounds:
    name = "R31"
    promise = "no access outside of an array"

    def run(self, budget: Budget) -> Result:
        graphs = budget.of(FIGURE, least=4)
        names = list(PROGRAMS)[:: max(1, round(0.02 / budget.share))]
        tally = Tally.sum(budget.map(bounds_of_corpus, names))
        tally += Tally.sum(budget.map(bounds_of_graphs, chunks(FIRST, graphs, 10)))
        done, run = tally.counts["graphs"], tally.counts["kernels run"]
        reached = f"{done:,} graphs, {tally.counts['programs']} programs, {run:,} kernels run"
        holds = done >= graphs and not tally.failures and run > 0
        notes = [f"{tally.counts['refused']:,} calls refused, at sizes where a need just fails"]
        seeds = f"{FIRST}..{FIRST + graphs - 1}"
        return Result(holds, reached, f"{graphs:,}, 0 outside", tally, seeds, tuple(notes))

    def control(self) -> Result:
        """A symbolic bound wrapped as if negative."""
        with wrapped_bounds():
            for seed in range(FIRST, FIRST + CONTROL):
                found = bounds_of_graphs(range(seed, seed + 1)).failures
                if found and "element" in found[0]:
                    return Result(False, f"seen at seed {seed}", "0 outside")
        return Result(True, "not seen", "0 outside")


ROW = Bounds()
