"""When two evaluations of one graph agree.

Integers, bools, shapes, dtypes, NaN and infinities: exactly. Floats: by how far the meaning itself
moves when every operation that may round otherwise (transcendental functions, sums, products of
matrices) gives results a few units in the last place away. That is an error bound which knows the
conditioning of the graph: cancellation, kinks and steps widen it only for the elements behind them,
and an element that no rounding can reach is compared exactly. It is measured only for elements that
differ.

A `stable` rule may give what is nearer to the truth, or finite where the formula as written is not:
then the meaning in extended precision (80-bit floats) decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest import mock

import numpy as np

import graphc as gc
from graphc.ir import evaluate as evaluation
from graphc.ir.node import Node
from graphc.ir.op import Fact, Kind

from .values import Array

SHAKES = 12  # evaluations with other roundings
AMPLITUDE = 8.0  # units in the last place by which they differ, at most
MARGIN = 4.0  # times the spread that these evaluations show
ROUNDED_ONCE = frozenset(
    (
        "add", "subtract", "multiply", "negative", "floor_divide", "remainder", "where",
        "minimum", "maximum", "abs", "sign", "floor", "ceil", "round", "sqrt", "square",
        "relu", "stop_gradient", "astype", "check_labels",
    )
)  # no rule rounds these otherwise; x / y may become x * (1 / y) or come from it

Dims = Mapping[str, int]


def evaluate(graph: gc.Graph, arrays: Sequence[Array]) -> list[Array]:
    """The meaning of a graph, at its own dtypes."""
    return evaluation.evaluate_graph(graph, arrays)


@contextmanager
def _computing(compute: Callable[..., list[Array]]) -> Iterator[None]:
    with mock.patch.object(evaluation, "compute", compute):
        yield


def shaken(
    graph: gc.Graph, arrays: Sequence[Array], seed: int, dims: Dims | None = None
) -> list[Array]:
    """The meaning of a graph with other roundings."""
    rng = np.random.default_rng(seed)
    exact = evaluation.compute

    def shake(a: Array) -> Array:
        if a.dtype.kind != "f":
            return a
        noise = rng.uniform(-AMPLITUDE, AMPLITUDE, a.shape) * np.finfo(a.dtype).eps
        with np.errstate(all="ignore"):
            return (a * (1 + noise)).astype(a.dtype)

    def compute(node: Node, values: Sequence[Array], sizes: Dims) -> list[Array]:
        if node.op.kind in (Kind.REDUCE, Kind.CONTRACT, Kind.COMPOSITE, Kind.HOST):
            if node.op.name.startswith(("max", "min")):
                return exact(node, values, sizes)
            return [shake(a) for a in exact(node, [shake(v) for v in values], sizes)]
        found = exact(node, values, sizes)
        moves = Fact.ELEMENTWISE not in node.op.facts or node.op.name in ROUNDED_ONCE
        return found if moves else [shake(a) for a in found]

    with _computing(compute):
        return evaluation.evaluate_graph(graph, arrays, dims)


def extended(
    graph: gc.Graph, arrays: Sequence[Array], dims: Dims | None = None
) -> list[Array]:
    """The meaning of a graph with floats in 80 bits (linear algebra, extrema, erf: their own)."""
    exact = evaluation.compute

    def widen(a: Array) -> Array:
        return a.astype(np.longdouble) if a.dtype.kind == "f" else a

    def compute(node: Node, values: Sequence[Array], sizes: Dims) -> list[Array]:
        narrows = node.op.kind in (Kind.HOST, Kind.LEAF) or node.op.name == "erf"
        if narrows or node.op.name.startswith(("max", "min")):
            narrow = [v.astype(t.dtype.numpy) for v, t in zip(values, node.inputs, strict=True)]
            return [widen(a) for a in exact(node, narrow, sizes)]
        attrs = {k: evaluation.bound(v, sizes) for k, v in node.attrs.items()}
        if node.op.kind is Kind.CONTROL:
            attrs["sizes"] = sizes
        if node.op.name == "astype" and node.types[0].dtype.is_float:
            return [values[0].astype(np.longdouble)]
        with np.errstate(all="ignore"):
            found = node.op.numpy(*values, **attrs)
        return [widen(np.asarray(a)) for a in (found if isinstance(found, tuple) else (found,))]

    with _computing(compute):
        return evaluation.evaluate_graph(graph, [widen(np.asarray(a)) for a in arrays], dims)


def differences(
    graph: gc.Graph,
    arrays: Sequence[Array],
    expected: Sequence[Array],
    actual: Sequence[Array],
    dims: Dims | None = None,
) -> list[str]:
    """What differs between the meaning of a graph and another evaluation of it, result by result.

    `dims`: the named dims, where the arrays do not give them.
    """
    unequal = [i for i, pair in enumerate(zip(expected, actual, strict=True)) if not _same(*pair)]
    if not unequal:
        return []
    others = [shaken(graph, arrays, s, dims) for s in range(SHAKES)]
    found = []
    for i in unequal:
        e, a = expected[i], actual[i]
        if e.dtype != a.dtype or e.shape != a.shape:
            found.append(f"result {i}: {a.dtype}{a.shape}, not {e.dtype}{e.shape}")
            continue
        wrong = ~_allowed(e, a, [other[i] for other in others])
        if np.any(wrong):
            wide = extended(graph, arrays, dims)[i]
            wrong &= ~_is_meant(a, wide)
            if e.dtype.kind == "f":
                wrong &= ~(_is_better(a, e, wide) | _has_overflowed(a, e, wide))
        if np.any(wrong):
            where = tuple(int(p) for p in np.argwhere(wrong)[0])
            spread = [str(other[i][where]) for other in others[:2]]
            found.append(
                f"result {i} {e.dtype}{e.shape}: {int(wrong.sum())} of {wrong.size} elements, "
                f"first at {where}: {a[where]!r}, not {e[where]!r} (other roundings: {spread})"
            )
    return found


def _same(expected: Array, actual: Array) -> bool:
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        return False
    return bool(np.array_equal(expected, actual, equal_nan=expected.dtype.kind == "f"))


def _allowed(expected: Array, actual: Array, others: list[Array]) -> Array:
    """Where `actual` is as near to `expected` as rounding allows."""
    equal = (expected == actual) | ((expected != expected) & (actual != actual))
    if expected.dtype.kind != "f":
        moved = np.any([o != expected for o in others], axis=0)
        return np.asarray(equal | moved)
    with np.errstate(all="ignore"):
        finite = np.isfinite(expected)
        shifts = [np.abs(o.astype(np.float64) - expected) for o in others]
        spread = np.max(shifts, axis=0)
        unstable = np.any([np.isfinite(o) != finite for o in others], axis=0)
        bound = MARGIN * spread
        near = np.abs(actual.astype(np.float64) - expected) <= bound
    return np.asarray(equal | unstable | (finite & np.isfinite(actual) & near))


def _is_meant(actual: Array, wide: Array) -> Array:
    """Where `actual` is the extended value, rounded to its dtype: no overflow on the way to it."""
    with np.errstate(all="ignore"):
        narrow = wide.astype(actual.dtype)
    return np.asarray((actual == narrow) | ((actual != actual) & (narrow != narrow)))


def _has_overflowed(actual: Array, expected: Array, wide: Array) -> Array:
    """Where a finite value overflowed on the way: to infinity or, by inf - inf, to NaN; which of
    them depends on the order of a sum, and that is free."""
    return np.asarray(~np.isfinite(actual) & ~np.isfinite(expected) & np.isfinite(wide))


def _is_better(actual: Array, expected: Array, wide: Array) -> Array:
    """Where `actual` is as near to the extended value as `expected` is, or nearer."""
    with np.errstate(all="ignore"):
        error, allowed = np.abs(actual - wide), 2 * np.abs(expected - wide)
        allowed += AMPLITUDE * np.finfo(actual.dtype).eps * np.abs(wide)
    return np.asarray(np.isfinite(actual) & np.isfinite(wide) & ~(error > allowed))
