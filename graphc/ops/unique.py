"""The different elements of a tensor, as many as the user says: only data tell the number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dim import dim
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor
from graphc.ops.build import cast, size_as_tensor, tensor
from graphc.ops.create import iota, ones
from graphc.ops.elementwise import (
    isnan,
    less,
    logical_and,
    logical_not,
    minimum,
    not_equal,
    subtract,
    where,
)
from graphc.ops.gather import take
from graphc.ops.index import strided_slice
from graphc.ops.places import SCATTER_SUM, scatter
from graphc.ops.reduce import sum
from graphc.ops.searching import searchsorted
from graphc.ops.shape import concat, reshape
from graphc.ops.sorting import argsort

FUNCTIONS: dict[str, Callable[..., Any]] = {}


class UniqueAll(NamedTuple):
    """The different elements in order, where each is first, which of them each element is, and how
    often each is there."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """The different elements in order, and how often each is there."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """The different elements in order, and which of them each element is."""

    values: Tensor
    inverse_indices: Tensor


class _Unique:
    """The first `size` different elements in order. In the sorted elements each begins a run of
    equal ones; `starts` has where, one more than there are results, behind the last the number of
    all."""

    def __init__(self, op: str, x: Any, size: Any, fill_value: Any, equal_nan: bool) -> None:
        self.given = t = tensor(x, op)
        if size is None:
            raise ArgumentError(
                "how many different elements there are is not known yet",
                op=op,
                expected=f"{op}(x, size=...): how many the result has",
                hint="gc.sort(x) has equal elements beside each other",
            )
        if t.size == 0:
            raise ShapeError("no elements", op=op, given=str(t.type))
        flat, self.all = reshape(t, (t.size,)), size_as_tensor(t.size, int64)
        self.places = argsort(flat)
        order = take(flat, self.places)
        before, here = (
            strided_slice(order, (first,), (t.size - 1,), (1,)) for first in (0, 1)
        )
        begins = not_equal(before, here)
        if equal_nan and t.dtype.is_float:
            begins = logical_and(begins, logical_not(logical_and(isnan(before), isnan(here))))
        begins = concat([ones((1,), bool), begins])
        number = iota((dim(size) + 1,))
        starts = take(argsort(logical_not(begins)), minimum(number, self.all - 1))
        self.starts = where(less(number, sum(cast(begins, int64))), starts, self.all)
        self.size = dim(size)
        self.first = self._part(0)
        self.there = less(self.first, self.all)
        values = take(order, minimum(self.first, self.all - 1))
        fill = take(order, 0) if fill_value is None else fill_value
        self.values = where(self.there, values, cast(tensor(fill, op), t.dtype))

    def _part(self, begin: int) -> Tensor:
        return strided_slice(self.starts, (begin,), (self.size,), (1,))

    def indices(self) -> Tensor:
        """Where each value is first, and where there is none, -1."""
        return where(self.there, take(self.places, minimum(self.first, self.all - 1)), -1)

    def counts(self) -> Tensor:
        return subtract(self._part(1), self.first)

    def inverse(self) -> Tensor:
        """Which run each sorted element is in, brought back to where the elements were."""
        t = self.given
        run = searchsorted(self.first, iota((t.size,)), side="right") - 1
        return reshape(scatter(SCATTER_SUM, [self.places], run, (t.size,), (-1,), 0), t.shape)


def unique(
    x: Any, *, size: Any = None, fill_value: Any = None, equal_nan: bool = True
) -> Tensor:
    """The different elements of `x` in order: the first `size` of them, and where there are fewer,
    `fill_value`, or without one the smallest again.

    NaNs are one, unless `equal_nan` is False. Shapes: any -> [size]. Errors: `ArgumentError`
    without a size; `ShapeError` for no elements.

    >>> import graphc as gc
    >>> gc.evaluate(gc.unique([3, 1, 3, 2], size=4, fill_value=9))
    array([1, 2, 3, 9])
    """
    return _Unique("unique", x, size, fill_value, equal_nan).values


def unique_values(x: Any, /, *, size: Any = None, fill_value: Any = None) -> Tensor:
    """As `unique`, each NaN by itself."""
    return _Unique("unique_values", x, size, fill_value, False).values


def unique_counts(x: Any, /, *, size: Any = None, fill_value: Any = None) -> UniqueCounts:
    """As `unique_values`, and how often each is there (int64)."""
    found = _Unique("unique_counts", x, size, fill_value, False)
    return UniqueCounts(found.values, found.counts())


def unique_inverse(x: Any, /, *, size: Any = None, fill_value: Any = None) -> UniqueInverse:
    """As `unique_values`, and which of them each element of `x` is (int64); one that is behind the
    first `size` counts as the last."""
    found = _Unique("unique_inverse", x, size, fill_value, False)
    return UniqueInverse(found.values, found.inverse())


def unique_all(x: Any, /, *, size: Any = None, fill_value: Any = None) -> UniqueAll:
    """As `unique_values`, where each is first, -1 where there is none, which of them each element
    of `x` is, and how often each is there (int64)."""
    found = _Unique("unique_all", x, size, fill_value, False)
    return UniqueAll(found.values, found.indices(), found.inverse(), found.counts())




FUNCTIONS |= {
    f.__name__: f
    for f in (unique, unique_values, unique_counts, unique_inverse, unique_all)
}
