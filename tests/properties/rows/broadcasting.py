"""R11: broadcasting is NumPy's: all pairs of shapes of up to three axes of 0 to 3, forward and
gradient; what does not fit is a named error; reductions over every set of axes. Interpreted, and
compiled for every pair of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, product
from typing import Any

import numpy as np

import graphc as gc
from graphc.errors import GraphcError, ShapeError
from tests.properties.op_programs import every
from tests.properties.planted import FAULTS
from tests.sampling import Array

from . import Budget, Result, Tally

SHAPES = [shape for rank in range(4) for shape in product(range(4), repeat=rank)]
PAIRS = list(product(SHAPES, SHAPES))
FIGURE = len(PAIRS)
REDUCTIONS = ("sum", "prod", "mean", "all")
PART = 300

Pair = tuple[tuple[int, ...], tuple[int, ...]]


def array(shape: tuple[int, ...], seed: int) -> Array:
    """Small integers: sums of their products are exact, in any order."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype("float64")


def summed_to(g: Array, shape: tuple[int, ...]) -> Array:
    """The sum of a cotangent over the axes along which an operand was stretched."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    axes = tuple(i for i, size in enumerate(shape) if size == 1 and g.shape[i] != 1)
    return np.asarray(g.sum(axis=axes, keepdims=True) if axes else g)


def tensors(pair: Pair, number: int) -> tuple[list[Any], list[Any], list[Array], list[Array]]:
    """Inputs and results (a value, two gradients) of a pair of shapes that fit, with their arrays
    and NumPy's results."""
    a, b = (array(shape, i) for i, shape in enumerate(pair))
    g = array((a * b).shape, 2)
    arrays = [a, b, g]
    inputs = [
        gc.placeholder(f"pair {number} {i}", x.shape, "float64") for i, x in enumerate(arrays)
    ]
    x, y, cotangent = inputs
    value = x * y - y
    made = [value, *gc.vjp(value, [x, y], cotangent)]
    expected = [a * b - b, summed_to(g * b, a.shape), summed_to(g * a - g, b.shape)]
    return inputs, made, arrays, expected


def interpreted(pairs: list[Pair]) -> Tally:
    tally = Tally()
    for number, pair in enumerate(pairs):
        tally.counts["pairs"] += 1
        try:
            shape: Any = np.broadcast_shapes(*pair)
        except ValueError:
            shape = None
        try:
            if shape is None:
                tally.failures += refused(pair)
                continue
            inputs, made, arrays, expected = tensors(pair, number)
            found = gc.evaluate(made, dict(zip(inputs, arrays, strict=True)))
            tally.failures += different(pair, found, expected)
        except (AssertionError, GraphcError) as error:
            tally.failures.append(f"{pair}: {error}")
    return tally


def refused(pair: Pair) -> list[str]:
    x, y = (gc.placeholder(f"bad {i}", shape, "float64") for i, shape in enumerate(pair))
    try:
        made = x * y
    except ShapeError as error:
        told = error.op == "multiply" and error.expected and error.given and error.where
        return [] if told else [f"{pair}: an error that does not say enough: {error}"]
    return [f"{pair}: gives {made!r}"]


def different(what: Any, found: Any, expected: list[Array]) -> list[str]:
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if np.shape(ours) != theirs.shape or not np.array_equal(ours, theirs):
            return [f"{what}, result {i}: {np.shape(ours)} {ours!r}, not {theirs!r}"[:300]]
    return []


def compiled(ranks: tuple[int, int]) -> Tally:
    """Every seventh pair of these ranks that fits, in programs of ten."""
    tally = Tally()
    fitting = [p for p in PAIRS if tuple(map(len, p)) == ranks and _fits(p)][::7]
    for start in range(0, min(len(fitting), 40), 10):
        parts = [tensors(pair, n) for n, pair in enumerate(fitting[start : start + 10])]
        inputs, made, arrays, expected = ([t for part in parts for t in part[i]] for i in range(4))
        try:
            found = gc.compile(inputs, made)(*arrays)
            tally.failures += different((ranks, start), found, expected)
        except GraphcError as error:
            tally.failures.append(f"{ranks}, {start}: {error}")
        tally.counts["compiled pairs"] += len(parts)
    return tally


def _fits(pair: Pair) -> bool:
    try:
        np.broadcast_shapes(*pair)
    except ValueError:
        return False
    return True


def axes_of(rank: int) -> Iterator[tuple[int, ...] | None]:
    yield None
    yield from chain.from_iterable(combinations(range(rank), k) for k in range(rank + 1))


def reduced(shapes: list[tuple[int, ...]]) -> Tally:
    """Reductions over every set of axes, with and without keeping them."""
    tally = Tally()
    for shape in shapes:
        a = array(shape, 3)
        x = gc.placeholder("reduced", shape, "float64")
        for name, axes, keepdims in product(REDUCTIONS, axes_of(len(shape)), (False, True)):
            tally.counts["reductions"] += 1
            with np.errstate(all="ignore"):
                expected = np.asarray(getattr(np, name)(a, axis=axes, keepdims=keepdims))
            try:
                found: Any = gc.evaluate(getattr(gc, name)(x, axis=axes, keepdims=keepdims), {x: a})
            except GraphcError as error:
                found = error
            same = np.shape(found) == expected.shape and np.allclose(
                found, expected, rtol=1e-15, atol=0, equal_nan=True
            )
            if not same:
                tally.failures.append(f"{name} of {shape} over {axes}, {keepdims}: {found}"[:300])
    return tally


class Broadcasting:
    name = "R11"
    promise = "broadcasting is NumPy's"

    def run(self, budget: Budget) -> Result:
        pairs = every(PAIRS, budget.of(FIGURE))
        parts = [pairs[i : i + PART] for i in range(0, len(pairs), PART)]
        ranks = every(list(product(range(4), range(4))), budget.of(16))
        tally = Tally.sum(budget.map(interpreted, parts))
        tally += Tally.sum(budget.map(compiled, ranks))
        tally += Tally.sum(budget.map(reduced, [every(SHAPES, budget.of(len(SHAPES)))]))
        counts = tally.counts
        reached = (
            f"{counts['pairs']:,} pairs, {counts['compiled pairs']} of them compiled, "
            f"{counts['reductions']:,} reductions, {len(tally.failures)} differ"
        )
        return Result(not tally.failures, reached, f"{len(pairs):,} pairs, 0", tally)

    def control(self) -> Result:
        """Cotangents are not summed over what was stretched."""
        (fault,) = (f for f in FAULTS if f.name == "no sum to shape")
        with fault.plant():
            tally = interpreted([((2, 1), (3,)), ((3,), (2, 3))])
        return Result(not tally.failures, "; ".join(tally.failures)[:100], "red", tally)


ROW = Broadcasting()
