"""Samples of sorts, searches, and elements at places of an order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import graphc as gc

from .sampling import FLOATS, Array, Case, Samples, Shape, same

SAMPLES: dict[str, Samples] = {}


def _before(x: Array) -> Any:
    """How Python orders an element: NaN is the last."""
    return (bool(np.isnan(x)) if x.dtype.kind == "f" else False, x.item() if x == x else 0)


def order(x: Array, axis: int, descending: bool = False) -> Array:
    """Where the elements of each row are in order, by Python's sort, which is stable both ways."""

    def of_row(row: Array) -> list[int]:
        return sorted(range(row.size), key=lambda i: _before(row[i]), reverse=descending)

    moved = np.moveaxis(x, axis, -1)
    found = np.empty(moved.shape, np.int64)
    for row in np.ndindex(moved.shape[:-1]):
        found[row] = of_row(moved[row])
    return np.moveaxis(found, -1, axis)


def _both(x: Array, axis: int, descending: bool = False) -> tuple[Array, Array]:
    places = order(x, axis, descending)
    return np.take_along_axis(x, places, axis), places


def _apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers that differ from each other by more than differences are taken over."""
    count = int(np.prod(shape))
    return (rng.permutation(count) / max(count, 1) * 3 - 1.5).reshape(shape)


# more than 64 elements are sorted by digits
_SORTED: tuple[tuple[Shape, int, bool], ...] = (
    ((2, 5), 1, False), ((67,), 0, False), ((4, 3), 0, True), (("n", 3), -1, True),
    (("n", 2), 0, False), ((0, 2), 0, False), ((2, 1, 3), 1, True), ((66, 2), 0, True),
)  # fmt: skip


def _sorts(call: Callable[..., Any], which: Callable[[tuple[Array, Array]], Any]) -> Samples:
    return Samples(
        cases=tuple(
            Case(
                call=lambda x, a=axis, d=descending: call(x, a, descending=d),
                numpy=lambda x, a=axis, d=descending: which(_both(x, a, d)),
                shapes=(shape,),
            )
            for shape, axis, descending in _SORTED
        ),
        domain=(-50.0, 50.0),  # so wide that no two of many are as near as differences are taken
        smooth=False,
    )


def _of_one_sort(x: Any, axis: int, descending: bool) -> Any:
    return gc.sort(x, axis, descending=descending), gc.argsort(x, axis, descending=descending)


SAMPLES["sort_and_argsort"] = _sorts(_of_one_sort, lambda both: both)
SAMPLES["sort"] = _sorts(gc.sort, lambda both: both[0])
SAMPLES["argsort"] = replace(_sorts(gc.argsort, lambda both: both[1]), domain=None)


def _largest(x: Array, count: int, axis: int, largest: bool) -> tuple[Array, Array]:
    values, places = _both(x, axis, largest)
    first = np.arange(count)
    return values.take(first, axis), places.take(first, axis)


SAMPLES["topk"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, k=k, a=axis, b=largest: gc.topk(x, k, a, largest=b),
            numpy=lambda x, k=k, a=axis, b=largest: _largest(x, k, a, b),
            shapes=(shape,),
        )
        for shape, k, axis, largest in (
            ((140,), 4, 0, True), ((130, 2), 3, 0, False), (("n", 2), 0, 0, False),
            ((2, 5), 2, 1, True), ((4, 3), 3, 0, False), (("n", 3), 0, -1, True),
        )
    ),
    domain=(-50.0, 50.0),
    smooth=False,
)  # fmt: skip
SAMPLES["lexsort"] = Samples(
    cases=(
        same(lambda m, x, y: m.lexsort((x, y)), (9,), (9,)),
        same(lambda m, x: m.lexsort(x, axis=0), (3, 5, 2)),
        same(lambda m, x: m.lexsort((x,)), ("n",)),
    ),
    wild=False,
    domain=None,
)  # fmt: skip


# -- searches --------------------------------------------------------------------------------------
def _ordered(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.sort(rng.integers(0, 5, shape), -1)


def _any(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.integers(0, 6, shape)


def _searched(x: Shape, v: Shape, side: Any) -> Case:
    return Case(
        call=lambda a, b: gc.searchsorted(a, b, side),
        numpy=lambda a, b: np.searchsorted(a, b, side),
        shapes=(x, v),
        draws=(_ordered, _any),
    )


SAMPLES["searchsorted"] = Samples(
    cases=(
        _searched((7,), (2, 3), "left"), _searched(("n",), (5,), "right"),
        _searched((1,), (), "right"), _searched((0,), (3,), "left"),
        _searched((8,), ("n",), "left"),
        Case(
            call=lambda x, v: gc.searchsorted(gc.sort(x), v, "right"),
            numpy=lambda x, v: np.stack(
                [np.searchsorted(np.sort(a), b, "right") for a, b in zip(x, v, strict=True)]
            ),
            shapes=((2, 5), (2, "n")),
        ),
    ),
    domain=None,
)  # fmt: skip
SAMPLES["digitize"] = Samples(
    cases=(
        same(lambda m, x: m.digitize(x, np.array([0, 1, 2.5])), (3, 4)),
        same(lambda m, x: m.digitize(x, np.array([2.0, 1, 0]), right=True), ("n",)),
        same(lambda m, x: m.digitize(x, np.array([2.0, 1, 1, 0])), (9,)),
    ),
    takes=FLOATS,
    domain=None,
)


# -- at places of an order -------------------------------------------------------------------------
def _of_one(name: str, *cases: tuple[Shape, Callable[..., Any]], **options: Any) -> None:
    made = tuple(same(call, shape, draws=(_apart,)) for shape, call in cases)
    SAMPLES[name] = Samples(cases=made, takes=FLOATS, smooth=False, **options)


_of_one(
    "median",
    ((5,), lambda m, x: m.median(x)), ((3, 4), lambda m, x: m.median(x, axis=1)),
    ((4, "n"), lambda m, x: m.median(x, axis=0, keepdims=True)),
    ((2, 3, 2), lambda m, x: m.median(x, axis=(0, 2))),
)  # fmt: skip
_of_one(
    "quantile",
    ((5,), lambda m, x: m.quantile(x, 0.3)), ((3, 4), lambda m, x: m.quantile(x, 0.9, axis=1)),
    ((4, "n"), lambda m, x: m.quantile(x, 0.25, axis=0, keepdims=True)),
    ((2, 3, 2), lambda m, x: m.quantile(x, 0.6, axis=(0, 2), method="hazen")), ulp=16,
)  # fmt: skip
_of_one("percentile", ((5,), lambda m, x: m.percentile(x, 30.0)), ulp=16)
for _name in ("nanmedian", "nanquantile", "nanpercentile"):
    SAMPLES[_name] = Samples(
        cases=tuple(
            same(lambda m, x, f=_name, a=axis: getattr(m, f)(x, *_share(f), axis=a), shape)
            for shape, axis in (((5,), None), ((3, 4), 1), ((4, 3), 0))
        ),
        takes=FLOATS,
        ulp=16,
        smooth=False,
        wild=False,
        domain=(-2.0, 2.0),
    )


def _share(name: str) -> tuple[float, ...]:
    return {"nanmedian": (), "nanquantile": (0.4,), "nanpercentile": (40.0,)}[name]


