"""Medians and quantiles: elements at places of an order, and what lies between two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dim import floordiv, mod, product
from graphc.ir.dtype import float64, int64
from graphc.ir.node import Tensor
from graphc.ir.shape import normalize_axes
from graphc.ops.build import (
    as_array,
    cast,
    constant,
    float_type,
    scalar_like,
    size_as_tensor,
    tensor,
)
from graphc.ops.elementwise import (
    ceil,
    divide,
    equal,
    floor,
    floor_divide,
    isinf,
    isnan,
    less,
    logical_and,
    logical_not,
    maximum,
    minimum,
    round,
    where,
)
from graphc.ops.index import strided_slice
from graphc.ops.places import take_along_axis
from graphc.ops.random_bits import checked_probability
from graphc.ops.reduce import restore_axes, sum
from graphc.ops.shape import permute_dims, reshape
from graphc.ops.sorting import sort

FUNCTIONS: dict[str, Callable[..., Any]] = {}

# How the place of q in an order of n elements is counted: at q n + a + q (1 - a - b) - 1, where the
# places are 0, 1, ... (Hyndman and Fan, Sample Quantiles in Statistical Packages, 1996).
_PLACES = {
    "linear": (1.0, 1.0),
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
_ROUNDED = {"lower": floor, "higher": ceil, "nearest": round}  # places of "linear"


class _Rows:
    """A tensor with the axes that are reduced as its last one, in order, and how many elements of
    each row count: all, or those that are not NaN."""

    def __init__(
        self, op: str, x: Any, axis: Any, skips_nan: bool, keeps_ints: bool = False
    ) -> None:
        t = tensor(x, op)
        t = t if t.dtype.is_float or keeps_ints else cast(t, float_type(int64))
        self.given, self.axes = t, normalize_axes(op, axis, t.ndim)
        kept = [a for a in range(t.ndim) if a not in self.axes]
        self.size = product(t.shape[a] for a in self.axes)
        self.rows = reshape(
            permute_dims(t, [*kept, *self.axes]), (*(t.shape[a] for a in kept), self.size)
        )
        if self.size == 0:
            raise ShapeError("no elements to choose from", op=op, given=str(t.type))
        self.order = sort(self.rows)
        self.skips_nan = skips_nan
        if skips_nan:
            self.count = sum(cast(logical_not(isnan(self.rows)), int64), -1, keepdims=True)
        else:
            self.count = size_as_tensor(self.size, int64)

    def at(self, place: Tensor) -> Tensor:
        """The elements at places of the order: [..., p], [p] or [] -> [..., p]."""
        place = minimum(place, maximum(self.count - 1, 0))
        places = cast(maximum(place, scalar_like(0, place)), int64)
        ones = (1,) * (self.rows.ndim - places.ndim)
        return take_along_axis(self.order, reshape(places, (*ones, *places.shape)), -1)

    def slice(self, place: Any) -> Tensor:
        """The elements at one place that is the same for all rows, a size: [..., 1]."""
        rank, shape = self.rows.ndim, self.rows.shape
        start, sizes = (*(0,) * (rank - 1), place), (*shape[:-1], 1)
        return strided_slice(self.order, start, sizes, (1,) * rank)

    def finished(self, found: Tensor) -> Tensor:
        """`found` [..., p], and NaN for rows with a NaN, or with nothing else."""
        if not found.dtype.is_float:
            return found
        last = self.size - 1
        unknown = equal(self.count, 0) if self.skips_nan else isnan(self.slice(last))
        return where(unknown, float("nan"), found)


def _median(op: str, x: Any, axis: Any, keepdims: bool, skips_nan: bool) -> Tensor:
    rows = _Rows(op, x, axis, skips_nan)
    if skips_nan:
        places = floor_divide(maximum(rows.count - 1, 0), 2), floor_divide(rows.count, 2)
        low, high = map(rows.at, places)
        is_one = equal(*places)
    else:
        low, high = (rows.slice(floordiv(n, 2)) for n in (rows.size - 1, rows.size))
        is_one = equal(size_as_tensor(mod(rows.size, 2), int64), 1)
    # of one element half of twice as much might overflow
    middle = where(is_one, low, divide(low + high, scalar_like(2, low)))
    found = reshape(rows.finished(middle), rows.rows.shape[:-1])
    return restore_axes(found, rows.axes, rows.given.shape) if keepdims else found


def median(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The middle of the elements over `axis` (an int, several, or None for all) in order, or the
    mean of the two middle ones; NaN if one is NaN.

    The gradient goes to these elements. Dtypes: ints give floats. Errors: `ShapeError` for no
    elements.

    >>> import graphc as gc
    >>> gc.evaluate(gc.median([4.0, 1.0, 7.0, 2.0]))
    array(3.)
    """
    return _median("median", x, axis, keepdims, False)


def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The median over `axis` of the elements that are not NaN; NaN of none."""
    return _median("nanmedian", x, axis, keepdims, True)


def _quantile(
    op: str, x: Any, q: Tensor, axis: Any, keepdims: bool, method: str, skips_nan: bool
) -> Tensor:
    known = (*_PLACES, *_ROUNDED, "midpoint")
    if method not in known:
        raise ArgumentError(
            "no such method", op=op, expected=", ".join(known),
            given=repr(method)[:80],
        )  # fmt: skip
    q = checked_probability(op, q)
    rows = _Rows(op, x, axis, skips_nan, method in _ROUNDED)
    first, last = _PLACES.get(method, _PLACES["linear"])
    count, share = cast(rows.count, float64), reshape(q, (q.size,))
    if (first, last) == (1.0, 1.0):
        place = share * (count - 1)
    else:
        place = count * share + (first + share * (1 - first - last)) - 1
    if method in _ROUNDED:
        found = rows.at(_ROUNDED[method](place))
    else:
        low, high = rows.at(floor(place)), rows.at(ceil(place))
        part = place - floor(place)
        if method == "midpoint":
            part = where(equal(part, 0.0), 0.0, 0.5)
        found = _between(low, high, cast(part, low.dtype))
    found = rows.finished(found)
    kept = rows.rows.shape[:-1]
    found = permute_dims(found, [len(kept), *range(len(kept))])
    if not keepdims:
        return reshape(found, (*q.shape, *kept))
    shape = tuple(1 if a in rows.axes else s for a, s in enumerate(rows.given.shape))
    return reshape(found, (*q.shape, *shape))


def _between(low: Tensor, high: Tensor, part: Tensor) -> Tensor:
    """`low + part (high - low)`, from the nearer end, as NumPy has it; of two equal infinities that
    infinity."""
    apart = where(logical_and(equal(low, high), isinf(low)), 0.0, high - low)
    return where(less(part, 0.5), low + apart * part, high - apart * (1 - part))


def quantile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, *, method: str = "linear"
) -> Tensor:
    """What a share `q` of the elements over `axis` is below: 0 gives the smallest, 1 the largest,
    and what is between two elements lies between them; NaN if one is NaN.

    method: "linear" and, as NumPy has them, "lower", "higher", "midpoint", "nearest", "hazen",
    "weibull", "median_unbiased", "normal_unbiased", "interpolated_inverted_cdf". The gradient goes
    to the two elements, and to q.
    Shapes: q [*q], then the axes that are left. Dtypes: that of x; ints give floats. Errors:
    `ShapeError` for no elements; for a q outside [0, 1] `ArgumentError` where it is known, else a
    `RuntimeFailure` at the call.

    >>> import graphc as gc
    >>> gc.evaluate(gc.quantile([4.0, 1.0, 2.0], [0.5, 0.75]))
    array([2., 3.])
    """
    return _quantile("quantile", x, _shares(q), axis, keepdims, method, False)


def percentile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, *, method: str = "linear"
) -> Tensor:
    """The quantiles of `q` in percent."""
    return _quantile("percentile", x, _shares(q, 100.0), axis, keepdims, method, False)


def nanquantile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, *, method: str = "linear"
) -> Tensor:
    """The quantiles of the elements that are not NaN; NaN of none."""
    return _quantile("nanquantile", x, _shares(q), axis, keepdims, method, True)


def nanpercentile(
    x: Any, q: Any, axis: Any = None, keepdims: bool = False, *, method: str = "linear"
) -> Tensor:
    """The quantiles of `q` in percent of the elements that are not NaN; NaN of none."""
    return _quantile("nanpercentile", x, _shares(q, 100.0), axis, keepdims, method, True)


def _shares(q: Any, whole: float = 1.0) -> Tensor:
    """q of a whole, in float64: places are counted in that, whatever the dtype of the elements."""
    if isinstance(q, Tensor):
        return cast(q, float64) if whole == 1 else cast(q, float64) / whole
    return constant(as_array("quantile", q, float64) / whole)


FUNCTIONS |= {
    f.__name__: f
    for f in (median, nanmedian, quantile, percentile, nanquantile, nanpercentile)
}
