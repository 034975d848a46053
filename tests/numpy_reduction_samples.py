"""Calls of NumPy's reductions and statistics, of its orders and places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .numpy_calls import FLOATS, NUMBERS, Sample, of

METHODS = (
    "lower", "higher", "midpoint", "nearest", "hazen", "weibull", "median_unbiased",
    "normal_unbiased", "interpolated_inverted_cdf",
)  # fmt: skip


def _reduction(f: Callable[..., Any]) -> list[Sample]:
    return of(
        lambda x: f(x), lambda x: f(x, 1), lambda x: f(x, axis=-2), lambda x: f(x, axis=(0, 2)),
        lambda x: f(x, axis=None, out=None), lambda x: f(x, axis=1, keepdims=True),
        lambda x: f(x, keepdims=True), lambda x: f(x, axis=()),
        shapes=((2, 3, 4),),
    ) + of(lambda x: f(x), shapes=((),))  # fmt: skip


def _position(f: Callable[..., Any]) -> list[Sample]:
    return of(
        lambda x: f(x), lambda x: f(x, 1), lambda x: f(x, axis=-1), lambda x: f(x, keepdims=True),
        lambda x: f(x, axis=0, keepdims=True),
        shapes=((2, 3, 4),),
    ) + of(lambda x: f(x), shapes=((),))  # fmt: skip


def _with_nans(x: Any) -> Any:
    """NaN in place of what is below 0, in each column but the last, and of all of the first."""
    nan = np.array([[np.nan, 1.0, 1.0]], x.dtype if isinstance(x, np.ndarray) else x.dtype.name)
    return np.where(x < 0, x * nan, x) + 0 * np.where(nan == nan, 1, nan)


SAMPLES: dict[str, list[Sample]] = {
    # -- reductions
    **{f.__name__: _reduction(f) for f in (np.all, np.any)},
    **{
        f.__name__: _reduction(f) + of(
            lambda x, f=f: f(x, initial=1), lambda x, f=f: f(x[:, :0], 1, initial=0),
            lambda x, f=f: f(x, 0, initial=1, where=x > 0), lambda x, f=f: f(x, (), initial=1),
        )
        for f in (np.max, np.min, np.amax, np.amin)
    },
    **{f.__name__: _position(f) for f in (np.argmax, np.argmin)},
    # -- statistics
    **{
        name: samples + of(
            lambda x, f=f: f(x, axis=0, dtype="float64"), lambda x, f=f: f(x, 1, np.float32),
            shapes=((2, 3),),
        ) + of(lambda x, f=f: f(x, where=x > 0, axis=1), shapes=((2, 3),)) + of(
            *(
                call for call in (lambda x, f=f: f(x, initial=2), lambda x, f=f: f(x, 1, initial=0))
                if f is not np.mean
            ), dtypes=NUMBERS,
        )
        for f in (np.sum, np.prod, np.mean)
        for name, samples in ((f.__name__, _reduction(f)),)
    },
    **{
        f.__name__: _reduction(f) + of(
            lambda x, f=f: f(x, ddof=1), lambda x, f=f: f(x, axis=1, correction=0.5),
            lambda x, f=f: f(x, 1, "float64", None, 1, True), shapes=((2, 3),),
        ) for f in (np.std, np.var)
    },
    **{
        f.__name__: of(
            lambda x, f=f: f(x), lambda x, f=f: f(x, 1), lambda x, f=f: f(x, axis=-2),
            lambda x, f=f: f(x, axis=0, dtype="float64"), lambda x, f=f: f(x, 2, np.int16, None),
            shapes=((2, 3, 4),),
        ) + of(lambda x, f=f: f(x), shapes=((),))
        for f in (np.cumsum, np.cumprod)
    },
    **{
        f.__name__: of(lambda x, f=f: f(x)) + of(
            lambda x, f=f: f(_with_nans(x)), lambda x, f=f: f(_with_nans(x), 1),
            lambda x, f=f: f(_with_nans(x), axis=0, dtype="float64"), dtypes=FLOATS,
        ) for f in (np.nancumsum, np.nancumprod)
    },
    **{
        f.__name__: of(
            lambda x, f=f: f(x, axis=1), lambda x, f=f: f(x, axis=-2, include_initial=True),
            lambda x, f=f: f(x, axis=0, dtype="float64"), shapes=((2, 3),),
        ) + of(
            lambda x, f=f: f(x), lambda x, f=f: f(x, include_initial=True), shapes=((4,),)
        ) for f in (np.cumulative_sum, np.cumulative_prod)
    },
    "ptp": [s._replace(dtypes=NUMBERS) for s in _reduction(np.ptp)],
    "count_nonzero": of(
        lambda x: np.count_nonzero(x), lambda x: np.count_nonzero(x, 1),
        lambda x: np.count_nonzero(x, axis=(0, 2), keepdims=True), shapes=((2, 3, 4),),
    ),
    "average": of(
        lambda x: np.average(x), lambda x: np.average(x, 1, keepdims=True),
        lambda x: np.average(x, weights=np.array([[1, 2, 3], [2, 5, 0]])),
        lambda x: np.average(x, axis=1, weights=np.array([0.5, 2.0, 1.0])),
        dtypes=("int64", "float64"),
    ),
    "cov": of(
        lambda x: np.cov(x), lambda x: np.cov(x, rowvar=False), lambda x: np.cov(x, bias=True),
        lambda x: np.cov(x, x[::-1], ddof=0), lambda x: np.cov(x[0]), dtypes=NUMBERS,
    ),
    "corrcoef": of(
        lambda x: np.corrcoef(x), lambda x: np.corrcoef(x, x * x), lambda x: np.corrcoef(x[0]),
        dtypes=FLOATS,
    ) + of(lambda x: np.corrcoef(x, rowvar=False), shapes=((4, 2),), dtypes=FLOATS),
    "nan_to_num": of(
        lambda x: np.nan_to_num(x), lambda x: np.nan_to_num(x / 0),
        lambda x: np.nan_to_num(x / 0, nan=1.5, posinf=2.0, neginf=-3), dtypes=FLOATS,
    ) + of(lambda x: np.nan_to_num(x)),
    **{
        f.__name__: _reduction(f) + of(lambda x, f=f: f(_with_nans(x)), dtypes=FLOATS) + of(
            lambda x, f=f: f(_with_nans(x), axis=0),
            lambda x, f=f: f(_with_nans(x), 1, keepdims=True), dtypes=FLOATS,
        ) + of(lambda x, f=f: f(_with_nans(x), 1, where=x > 0), dtypes=FLOATS if f in (
            np.nansum, np.nanprod, np.nanmean
        ) else ())
        for f in (np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin)
    },
    **{
        f.__name__: of(
            lambda x, y, f=f: f(x, y), lambda x, y, f=f: f(x, x), lambda x, y, f=f: f(x, x + 1e-6),
            lambda x, y, f=f: f(x, y, rtol=1, atol=0.5), shapes=((2, 3), (3,)),
        ) + of(
            lambda x, f=f: f(_with_nans(x), _with_nans(x)), lambda x, f=f: f(x / 0, x / 0),
            lambda x, f=f: f(_with_nans(x), _with_nans(x), equal_nan=True), dtypes=FLOATS,
        ) for f in (np.isclose, np.allclose)
    },
    **{
        f.__name__: of(
            lambda x, f=f: f(x), lambda x, f=f: f(x, 1), lambda x, f=f: f(x, axis=0, keepdims=True)
        ) + of(lambda x, f=f: f(_with_nans(x), axis=1), dtypes=FLOATS)
        for f in (np.nanargmax, np.nanargmin)
    },
    "array_equiv": of(
        lambda x, y: np.array_equiv(x, y), lambda x, y: np.array_equiv(x, x[:1]),
        lambda x, y: np.array_equiv(x * 0, y[:1] * 0), lambda x, y: np.array_equiv(x, y[:2]),
        shapes=((2, 3), (3,)),
    ),
    **{
        f.__name__: of(lambda x, f=f: f(x)) + of(lambda x, f=f: f(x / 0), dtypes=FLOATS)
        for f in (np.isposinf, np.isneginf)
    },
    "array_equal": of(
        lambda x, y: np.array_equal(x, y), lambda x, y: np.array_equal(x, x.copy()),
        lambda x, y: np.array_equal(x, x[:1]), lambda x, y: np.array_equal(y, x[0]),
        shapes=((2, 3), (3,)),
    ) + of(
        lambda x: np.array_equal(_with_nans(x), _with_nans(x)),
        lambda x: np.array_equal(_with_nans(x), _with_nans(x), equal_nan=True), dtypes=FLOATS,
    ),
    "bincount": of(
        lambda x: np.bincount(x, minlength=7), lambda x: np.bincount(x, x * 0.5, 6),
        lambda x: np.bincount(x, weights=x, minlength=8), shapes=((9,),),
        dtypes=("uint8", "uint32"),
    ),
    "histogram": of(
        lambda x: np.histogram(x), lambda x: np.histogram(x, 3),
        lambda x: np.histogram(x, bins=4, range=(-1, 2)),
        lambda x: np.histogram(x, 3, density=True), lambda x: np.histogram(x, 5, weights=x * x),
        lambda x: np.histogram(x, np.array([-1.0, 0, 0.5, 3])), lambda x: np.histogram(x[0] * 0, 2),
        lambda x: np.histogram(x, [0, 1, 2, 4], weights=x), shapes=((4, 9),),
        dtypes=("float64", "int64"),
    ) + of(lambda x: np.histogram(x, 7), shapes=((30,),), dtypes=("float32",)),
    # -- indices; how many elements are not 0 is not known, so these two need a size
    "sort": of(
        lambda x: np.sort(x), lambda x: np.sort(x, 0), lambda x: np.sort(x, axis=None),
        lambda x: np.sort(x, kind="stable"), lambda x: np.sort(x, -1, stable=True),
    ),
    "argsort": of(
        lambda x: np.argsort(x, kind="stable"), lambda x: np.argsort(x, 0, stable=True),
        lambda x: np.argsort(x, axis=None, kind="mergesort"),
    ),
    # only that one place is NumPy's
    "partition": of(
        lambda x: np.partition(x, 1)[:, 1], lambda x: np.partition(x, 0, axis=0)[0],
        lambda x: np.partition(x, 4, axis=None)[4],
    ),
    "argpartition": of(lambda x: np.take_along_axis(x, np.argpartition(x, 2), -1)[:, 2]),
    "lexsort": of(
        lambda x: np.lexsort(x), lambda x: np.lexsort((x[0], x[1])), lambda x: np.lexsort(x, 0),
        shapes=((2, 3),),
    ),
    "searchsorted": of(
        lambda x, v: np.searchsorted(np.sort(x), v),
        lambda x, v: np.searchsorted(np.sort(x), v, "right"),
        lambda x, v: np.searchsorted(x, v, sorter=np.argsort(x, kind="stable")),
        shapes=((5,), (2, 3)),
    ),
    "digitize": of(
        lambda x: np.digitize(x, [-1, 0.5, 1]), lambda x: np.digitize(x, [1.0, 0, -2], right=True),
        lambda x: np.digitize(x, np.array([0, 1]), True), dtypes=NUMBERS,
    ),
    **{
        f.__name__: of(
            lambda x, f=f: f(x), lambda x, f=f: f(x, 1), lambda x, f=f: f(x, axis=(0, 2)),
            lambda x, f=f: f(x, axis=-1, keepdims=True), shapes=((2, 3, 4),), dtypes=NUMBERS,
        )
        for f in (np.median, np.nanmedian)
    },
    **{
        f.__name__: of(
            lambda x, f=f: f(x, 1.0), lambda x, f=f: f(x, 0.25, 1),
            lambda x, f=f: f(x, [0, 0.75], 0),
            lambda x, f=f: f(x, 0.5, axis=(0, 2), keepdims=True),
            lambda x, f=f: f(x, [[0.3, 1.0]], -1, keepdims=True),
            *(lambda x, f=f, m=m: f(x, 0.4, -1, method=m) for m in METHODS),
            shapes=((2, 3, 4),),
            dtypes=("float64", "int64", "uint8"),
        )
        for f in (np.quantile, np.percentile, np.nanquantile, np.nanpercentile)
    },
    # refused: how many there are only data tell
    **{f"unique{part}": [] for part in ("", "_values", "_all", "_counts", "_inverse")},
    "nonzero": [],
    "flatnonzero": [],
    "take_along_axis": of(
        lambda x: np.take_along_axis(x, np.array([[1, 0]]), 1),
        lambda x: np.take_along_axis(x, np.array([[0, 1, -1]]), axis=0),
        lambda x: np.take_along_axis(x, np.array([5, 0]), None),
        lambda x: np.take_along_axis(x, np.array([[2], [-3]])),
    ),
}  # fmt: skip
