"""Calls of each of NumPy's functions that graphc answers, for NumPy's arrays and for tensors.

`SAMPLES` has an entry for every such function (`test_every_function_has_samples` holds it to that):
calls that have every argument that graphc takes, and its default, on arguments of several ranks and
dtypes. `np.f(x)` is the same expression for an array, where it is the truth, and for a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from graphc.ir.dtype import DTYPES
from graphc.ir.operators import numpy_function

Array = np.ndarray[Any, Any]
MODULES = (np, np.linalg, np.fft, np.char, np.strings, np.lib.scimath, np.lib.stride_tricks)
ALL = tuple(d.name for d in DTYPES)
NUMBERS = tuple(name for name in ALL if name != "bool")
FLOATS = ("float32", "float64")
METHODS = (
    "lower", "higher", "midpoint", "nearest", "hazen", "weibull", "median_unbiased",
    "normal_unbiased", "interpolated_inverted_cdf",
)  # fmt: skip
COMPLEX = (*ALL, "complex64", "complex128")


class Sample(NamedTuple):
    """A call, and the shapes of its arguments; `dtypes`: of all of them, one after another."""

    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...] = ALL


def _transformed(name: str, x: Any, **options: Any) -> Any:
    return getattr(np.fft, name)(x, **options)


def of(*calls: Callable[..., Any], shapes: Any = ((2, 3),), dtypes: Any = ALL) -> list[Sample]:
    return [Sample(call, tuple(shapes), tuple(dtypes)) for call in calls]


def answered() -> dict[str, Any]:
    """NumPy's functions by their full names, but for ufuncs of elements, that graphc answers."""
    found = {}
    for module in MODULES:
        for attribute in dir(module):
            function = getattr(module, attribute)
            if hasattr(function, "_implementation"):  # of those that look for the protocol
                name = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
                if numpy_function(name) is not None:
                    found[name] = function
    return found


def answered_ufuncs() -> Iterator[np.ufunc]:
    names = {f.__name__ for f in vars(np).values() if isinstance(f, np.ufunc)}
    return (getattr(np, name) for name in sorted(names) if numpy_function(name) is not None)


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    kind = np.dtype(dtype).kind
    if kind in "fc":
        parts = rng.normal(size=(2, *shape))
        return (parts[0] + (1j * parts[1] if kind == "c" else 0)).astype(dtype)
    return rng.integers(0 if kind in "bu" else -5, 2 if kind == "b" else 6, shape).astype(dtype)


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


def _diagonals(f: Callable[..., Any]) -> list[Sample]:
    return of(
        lambda x: f(x), lambda x: f(x, offset=1), lambda x: f(x, -1), lambda x: f(x, 0, 2, 1),
        lambda x: f(x, axis1=-1, axis2=0),
        shapes=((2, 3, 4),),
    ) + of(lambda x: f(x), shapes=((3, 3),))  # fmt: skip


def _pairs(f: Callable[..., Any], *shapes: Any, dtypes: Any = ALL) -> list[Sample]:
    return [s for pair in shapes for s in of(lambda x, y: f(x, y), shapes=pair, dtypes=dtypes)]


def _matrices(f: Callable[..., Any]) -> list[Sample]:
    return [
        sample
        for shape in ((3, 3), (2, 3, 3))
        for sample in of(f, shapes=(shape,), dtypes=FLOATS)
    ]


def _regular(x: Any) -> Any:
    """A positive definite matrix made of x."""
    return x @ np.matrix_transpose(x) + 3 * np.eye(3, dtype=getattr(x.dtype, "name", x.dtype))


_TENSORDOT = (
    (lambda f: (lambda x, y: f(x, y)), ((2, 3, 4), (3, 4, 2))),
    (lambda f: (lambda x, y: f(x, y, axes=1)), ((2, 3), (3, 4))),
    (lambda f: (lambda x, y: f(x, y, axes=0)), ((2,), (3, 4))),
    (lambda f: (lambda x, y: f(x, y, axes=([1, 0], [0, 1]))), ((2, 3, 4), (3, 2, 5))),
)



def _with_nans(x: Any) -> Any:
    """NaN in place of what is below 0, in each column but the last, and of all of the first."""
    nan = np.array([[np.nan, 1.0, 1.0]], x.dtype if isinstance(x, np.ndarray) else x.dtype.name)
    return np.where(x < 0, x * nan, x) + 0 * np.where(nan == nan, 1, nan)


SAMPLES: dict[str, list[Sample]] = {
    # -- elements
    "i0": of(lambda x: np.i0(x), dtypes=FLOATS),
    "sinc": of(lambda x: np.sinc(x), dtypes=(*FLOATS, "int64")),
    # -- reductions
    **{f.__name__: _reduction(f) for f in (np.all, np.any)},
    **{f.__name__: _reduction(f) for f in (np.max, np.min, np.amax, np.amin)},
    **{f.__name__: _position(f) for f in (np.argmax, np.argmin)},
    # -- statistics
    **{
        name: samples + of(
            lambda x, f=f: f(x, axis=0, dtype="float64"), lambda x, f=f: f(x, 1, np.float32),
            shapes=((2, 3),),
        ) + of(lambda x, f=f: f(x, where=x > 0, axis=1), shapes=((2, 3),))
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
        ) for f in (np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin)
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
    # -- what moves elements
    "reshape": of(
        lambda x: np.reshape(x, (3, 4)), lambda x: np.reshape(x, -1), lambda x: np.reshape(x, 12),
        lambda x: np.reshape(x, (2, -1), order="C"), lambda x: np.reshape(x, [1, 12], "C"),
        shapes=((2, 6),),
    ),
    "transpose": of(
        lambda x: np.transpose(x), lambda x: np.transpose(x, (2, 0, 1)),
        lambda x: np.transpose(x, axes=[0, -1, 1]), lambda x: np.transpose(x, None),
        shapes=((2, 3, 4),),
    ),
    "matrix_transpose": of(lambda x: np.matrix_transpose(x), shapes=((2, 3, 4),)),
    "expand_dims": of(
        lambda x: np.expand_dims(x, 1), lambda x: np.expand_dims(x, axis=(0, -1)),
    ),
    "squeeze": of(
        lambda x: np.squeeze(x), lambda x: np.squeeze(x, 0), lambda x: np.squeeze(x, axis=(0, 2)),
        shapes=((1, 3, 1),),
    ),
    "flip": of(
        lambda x: np.flip(x), lambda x: np.flip(x, 1), lambda x: np.flip(x, axis=(0, -1)),
        shapes=((2, 3, 4),),
    ),
    "broadcast_to": of(
        lambda x: np.broadcast_to(x, (2, 2, 3)), lambda x: np.broadcast_to(x, (2, 3), subok=False)
    ) + of(lambda x: np.broadcast_to(x, 4), shapes=((),)),
    "concatenate": of(
        lambda x, y: np.concatenate([x, y]), lambda x, y: np.concatenate((x, y), -2),
        lambda x, y: np.concatenate([x, y, x], axis=0, casting="same_kind"),
        lambda x, y: np.concatenate([x, y], axis=None),
        shapes=((2, 3), (4, 3)),
    ) + of(lambda x, y: np.concatenate([x, y], None), shapes=((2, 3), (4,)))
    + of(lambda x: np.concatenate([x, np.ones((1, 3), "float32")])),
    "stack": of(
        lambda x, y: np.stack([x, y]), lambda x, y: np.stack((x, y), 1),
        lambda x, y: np.stack([y, x], axis=-1),
        shapes=((2, 3), (2, 3)),
    ),
    "split": of(
        lambda x: np.split(x, 2), lambda x: np.split(x, [1, 3]), lambda x: np.split(x, 3, 1),
        lambda x: np.split(x, (1,), axis=-1), lambda x: np.split(x, [2, 2, 9]),
        lambda x: np.split(x, [-1]), lambda x: np.split(x, np.int64(2)),
        shapes=((4, 3),),
    ),
    "take": of(
        lambda x: np.take(x, [1]), lambda x: np.take(x, [[0, 5], [-1, -6]]),
        lambda x: np.take(x, [1, 0], 0), lambda x: np.take(x, [2, -3], axis=-1),
        lambda x: np.take(x, 1), lambda x: np.take(x, 1, axis=1), lambda x: np.take(x, [0], None),
        lambda x: np.take(x, np.array([[1, 0]]), 0, mode="raise"),
    ),
    "pad": of(
        lambda x: np.pad(x, 1), lambda x: np.pad(x, (1, 2)), lambda x: np.pad(x, ((1, 2), (0, 3))),
        lambda x: np.pad(x, [(2, 1)]), lambda x: np.pad(x, 1, "constant"),
        lambda x: np.pad(x, (0, 2), constant_values=3), lambda x: np.pad(x, np.array(1)),
        lambda x: np.pad(x, 1, mode="constant", constant_values=0), lambda x: np.pad(x, [2]),
        *(lambda x, m=m: np.pad(x, (1, 2), m) for m in ("edge", "reflect", "symmetric", "wrap")),
    ),
    "diagonal": _diagonals(np.diagonal),
    "diag": of(*(lambda x, k=k: np.diag(x, k) for k in (-1, 0, 2)))
    + of(*(lambda x, k=k: np.diag(x, k=k) for k in (-2, 0, 1)), shapes=((3,),)),
    "diagflat": of(lambda x: np.diagflat(x), lambda x: np.diagflat(x, -1)),
    "kron": _pairs(np.kron, ((2, 3), (3, 2)), ((3,), (2,)), ((2, 2), (3,)), ((), (2, 3))),
    "select": of(
        lambda x, y: np.select([x > 1, y > 0], [x, y], x), lambda x, y: np.select([x != 0], [y]),
        lambda x, y: np.select([x > y, x < y, y > 0], [x, y, x * y], default=y),
        shapes=((2, 3), (2, 3)),
    ),
    "trace": _diagonals(np.trace),
    "ravel": of(lambda x: np.ravel(x), lambda x: np.ravel(x, "C")),
    "moveaxis": of(
        lambda x: np.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, [0, 2], [1, 0]),
        lambda x: np.moveaxis(x, (-1, 0), (0, -1)), shapes=((2, 3, 4),),
    ),
    "swapaxes": of(
        lambda x: np.swapaxes(x, 0, 2), lambda x: np.swapaxes(x, axis1=-1, axis2=1),
        shapes=((2, 3, 4),),
    ),
    "rollaxis": of(
        lambda x: np.rollaxis(x, 2), lambda x: np.rollaxis(x, 0, 3), lambda x: np.rollaxis(x, 1, 1),
        lambda x: np.rollaxis(x, -1, start=-2), shapes=((2, 3, 4),),
    ),
    "roll": of(
        lambda x: np.roll(x, 2), lambda x: np.roll(x, -1, axis=1), lambda x: np.roll(x, 7, 0),
        lambda x: np.roll(x, (1, -2), (0, 1)), lambda x: np.roll(x, 1, axis=(0, -1)),
        lambda x: np.roll(x, (1, 1), axis=0), lambda x: np.roll(x, 0), lambda x: np.roll(x, 3, 1),
    ),
    "repeat": of(
        lambda x: np.repeat(x, 3), lambda x: np.repeat(x, 2, axis=1), lambda x: np.repeat(x, 0, 0),
        lambda x: np.repeat(x, [2, 0, 1], axis=-1), lambda x: np.repeat(x, [2], 0),
    ),
    "tile": of(
        lambda x: np.tile(x, 2), lambda x: np.tile(x, (2, 1)), lambda x: np.tile(x, [2, 1, 3]),
        lambda x: np.tile(x, (0, 1)), lambda x: np.tile(x, ()),
    ),
    **{
        f.__name__: of(
            lambda x, f=f: f(x), lambda x, f=f: f(x, 1), lambda x, f=f: f(x, k=-1),
            lambda x, f=f: f(x, k=9), shapes=((2, 3, 4),),
        ) for f in (np.tril, np.triu)
    },
    "broadcast_arrays": of(
        lambda x, y: np.broadcast_arrays(x, y), lambda x, y: np.broadcast_arrays(y, x, y),
        lambda x, y: np.broadcast_arrays(x, subok=False), shapes=((2, 1), (3,)),
    ),
    **{
        f.__name__: of(lambda x, f=f: f(x), lambda x, f=f: f(x, x[0]))
        + of(lambda x, f=f: f(x), shapes=((),)) + of(lambda x, f=f: f(x), shapes=((3,),))
        for f in (np.atleast_1d, np.atleast_2d, np.atleast_3d)
    },
    "unstack": of(lambda x: np.unstack(x), lambda x: np.unstack(x, axis=-1)),
    **{
        f.__name__: of(lambda x, y, f=f: f([x, y]), shapes=((2, 3), (2, 3)))
        + of(lambda x, y, f=f: f((x, y, x)), shapes=((3,), (3,)))
        for f in (np.hstack, np.vstack, np.dstack, np.column_stack)
    },
    "append": of(
        lambda x, y: np.append(x, y), lambda x, y: np.append(x, y, axis=0),
        lambda x, y: np.append(x, values=y, axis=-2), shapes=((2, 3), (1, 3)),
    ),
    "array_split": of(
        lambda x: np.array_split(x, 3), lambda x: np.array_split(x, [1, 3], axis=0),
        lambda x: np.array_split(x, 2, 1), shapes=((5, 3),),
    ),
    "vsplit": of(lambda x: np.vsplit(x, 2), lambda x: np.vsplit(x, [1, 3]), shapes=((4, 3),)),
    "hsplit": of(lambda x: np.hsplit(x, 3), lambda x: np.hsplit(x, [1]), shapes=((4, 3),))
    + of(lambda x: np.hsplit(x, 2), shapes=((4,),)),
    "dsplit": of(lambda x: np.dsplit(x, 2), shapes=((2, 3, 4),)),
    "fliplr": of(lambda x: np.fliplr(x), shapes=((2, 3, 2),)),
    "flipud": of(lambda x: np.flipud(x)),
    "rot90": of(
        *(lambda x, k=k: np.rot90(x, k) for k in range(-1, 5)), lambda x: np.rot90(x),
        lambda x: np.rot90(x, axes=(1, 2)), lambda x: np.rot90(x, 3, (2, 0)), shapes=((2, 3, 4),),
    ),
    "diff": of(
        lambda x: np.diff(x), lambda x: np.diff(x, 2), lambda x: np.diff(x, n=0),
        lambda x: np.diff(x, axis=0), lambda x: np.diff(x, 1, -2, x[:1]),
        lambda x: np.diff(x, prepend=x[:, 1:3], append=x), lambda x: np.diff(x, n=9),
        shapes=((3, 4),),
    ),
    "trapezoid": of(
        lambda x: np.trapezoid(x), lambda x: np.trapezoid(x, dx=0.5),
        lambda x: np.trapezoid(x, axis=0), lambda x: np.trapezoid(x, np.array([1.0, 2.0, 4.0])),
        lambda x: np.trapezoid(x, x=np.array([1.0, 3.0]), axis=-2), dtypes=FLOATS,
    ) + of(lambda x: np.trapezoid(x, x * x), lambda x: np.trapezoid(x), dtypes=("int64", "int16")),
    "gradient": of(
        lambda x: np.gradient(x), lambda x: np.gradient(x, axis=1), lambda x: np.gradient(x, 2.0),
        lambda x: np.gradient(x, 0.5, np.array([0.0, 1.0, 3.0, 4.0])),
        lambda x: np.gradient(x, np.array([0.0, 1.0, 3.0]), axis=(0,)),
        lambda x: np.gradient(x, 2, 3), shapes=((3, 4),), dtypes=("float32", "float64", "int64"),
    ),
    # -- elementwise
    "clip": of(
        lambda x: np.clip(x, 1, 3), lambda x: np.clip(x, None, 3), lambda x: np.clip(x, 1, None),
        lambda x: np.clip(x, min=1), lambda x: np.clip(x, max=3), lambda x: np.clip(x, 3, 1),
        lambda x: np.clip(x, a_min=1, a_max=3), lambda x: np.clip(x, max=3, min=1),
        dtypes=NUMBERS,
    ) + of(lambda x: np.clip(x, 0.5, 1.5), dtypes=NUMBERS)
    + of(lambda x, y: np.clip(x, y, y + 1), shapes=((2, 3), (3,)), dtypes=NUMBERS),
    "where": of(
        lambda x, y: np.where(x > y, x, y), lambda x, y: np.where(x, y, 1),
        lambda x, y: np.where(y > 0, 0.5, x), lambda x, y: np.where(x > 0, 1, 2),
        shapes=((2, 3), (3,)),
    ),
    "around": of(lambda x: np.around(x), lambda x: np.around(x, 0), dtypes=NUMBERS),
    "round": of(lambda x: np.round(x), lambda x: np.round(x, decimals=0), dtypes=NUMBERS),
    "astype": of(
        lambda x: np.astype(x, np.float32), lambda x: np.astype(x, "int8"),
        lambda x: np.astype(x, bool, copy=True),
    ),
    **{
        f.__name__: of(
            lambda x, f=f: f(x), lambda x, f=f: f(x, None, "K"), lambda x, f=f: f(x, "float32"),
            lambda x, f=f: f(x, dtype=np.int8, order="K"),
        ) for f in (np.zeros_like, np.ones_like)
    },
    "empty_like": of(lambda x: 0 * np.empty_like(x), lambda x: 0 * np.empty_like(x, "int8")),
    "full_like": of(
        lambda x: np.full_like(x, 1), lambda x: np.full_like(x, 2.5, "float32"),
        lambda x: np.full_like(x, fill_value=True, dtype="int16"),
    ),
    **{
        f.__name__: of(lambda x, f=f: f(x), dtypes=COMPLEX) for f in (np.real, np.imag, np.angle)
    },
    "copy": of(lambda x: np.copy(x), lambda x: np.copy(x, order="K")),
    "linspace": of(
        lambda x: np.linspace(x, 7, 5), lambda x: np.linspace(0, x, num=4, endpoint=False),
        lambda x: np.linspace(x, x, 1), lambda x: np.linspace(x, 2, 3, dtype="float32"),
        lambda x: np.linspace(0.5, x, 2), dtypes=NUMBERS,
    ),
    "meshgrid": of(
        lambda x, y: np.meshgrid(x, y), lambda x, y: np.meshgrid(x, y, indexing="ij"),
        lambda x, y: np.meshgrid(x, y, x), lambda x, y: np.meshgrid(y), shapes=((2,), (3,)),
    ),
    "size": of(lambda x: np.size(x), lambda x: np.size(x, 1), lambda x: np.size(x, axis=-2)),
    # -- products
    "dot": _pairs(
        np.dot, ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((3,), (3, 4)), ((4, 2, 3), (3,)),
        ((2, 3), (2, 3, 2)), ((4, 2, 3), (5, 3, 2)), ((2, 3, 3), (2, 3, 3)), ((), (2, 3)),
        ((2, 3), ()), ((3,), (2, 3, 4)), dtypes=NUMBERS,
    ),
    "inner": _pairs(
        np.inner, ((3,), (3,)), ((2, 3), (4, 3)), ((2, 5, 3), (4, 3)), ((), (2, 3)), ((3,), (2, 3))
    ),
    "outer": _pairs(np.outer, ((3,), (4,)), ((2, 3), (4,)), ((), (2,))),
    "vdot": _pairs(np.vdot, ((3,), (3,)), ((2, 3), (2, 3)), ((2, 3), (6,))),
    "tensordot": [
        sample for make, shapes in _TENSORDOT for sample in of(make(np.tensordot), shapes=shapes)
    ],
    "einsum": of(
        lambda x, y: np.einsum("ij,jk->ik", x, y), lambda x, y: np.einsum("ij,jk", x, y),
        lambda x, y: np.einsum("ij,jk->", x, y, optimize=True),
        lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [2, 0]),
        lambda x, y: np.einsum("i...->...i", x),
        shapes=((2, 3), (3, 4)),
    ) + of(lambda x: np.einsum("ii", x), lambda x: np.einsum("ii->i", x), shapes=((3, 3),)),
    # -- linear algebra
    "linalg.matmul": _pairs(
        np.linalg.matmul, ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), dtypes=NUMBERS
    ),
    "linalg.outer": _pairs(np.linalg.outer, ((3,), (4,))),
    "linalg.tensordot": [
        sample
        for make, shapes in _TENSORDOT
        for sample in of(make(np.linalg.tensordot), shapes=shapes)
    ],
    "linalg.vecdot": of(
        lambda x, y: np.linalg.vecdot(x, y), lambda x, y: np.linalg.vecdot(x, y, axis=-1),
        shapes=((2, 3), (3,)),
    ) + of(lambda x, y: np.linalg.vecdot(x, y, axis=0), shapes=((2, 3), (2, 3))),
    "linalg.matrix_transpose": of(lambda x: np.linalg.matrix_transpose(x), shapes=((2, 3, 4),)),
    "linalg.diagonal": of(
        lambda x: np.linalg.diagonal(x), lambda x: np.linalg.diagonal(x, offset=1),
        shapes=((2, 3, 4),),
    ),
    "linalg.trace": of(
        lambda x: np.linalg.trace(x), lambda x: np.linalg.trace(x, offset=-1), shapes=((2, 3, 4),)
    ) + of(lambda x: np.linalg.trace(x, dtype="float64"), shapes=((2, 3, 4),)),
    **{
        name: of(
            lambda x, y, f=f: f(x, y), lambda x, y, f=f: f(y, x, axis=-1),
            lambda x, y, f=f: f(x, x[::-1]),
            shapes=((2, 3), (3,)), dtypes=("float64", "float32", "int64"),
        ) + of(lambda x, y, f=f: f(x, y, axis=0), shapes=((3, 2), (3, 1)), dtypes=FLOATS)
        for name, f in (("cross", np.cross), ("linalg.cross", np.linalg.cross))
    },
    "linalg.matrix_power": _matrices(lambda x: np.linalg.matrix_power(x, 3))
    + _matrices(lambda x: np.linalg.matrix_power(x, 0))
    + _matrices(lambda x: np.linalg.matrix_power(_regular(x), -2))
    + of(lambda x: np.linalg.matrix_power(x, 2), shapes=((2, 2),), dtypes=("int64",)),
    "linalg.norm": of(
        lambda x: np.linalg.norm(x), lambda x: np.linalg.norm(x, axis=1),
        lambda x: np.linalg.norm(x, 1, axis=0), lambda x: np.linalg.norm(x, np.inf, 1, True),
        lambda x: np.linalg.norm(x, -np.inf, axis=-1), lambda x: np.linalg.norm(x, 0, axis=0),
        lambda x: np.linalg.norm(x, 3, axis=0), lambda x: np.linalg.norm(x, axis=(1, 0)),
        lambda x: np.linalg.norm(x, "fro"), lambda x: np.linalg.norm(x, 1, axis=(0, 1)),
        lambda x: np.linalg.norm(x, np.inf, axis=(0, 1)), lambda x: np.linalg.norm(x, -1),
        lambda x: np.linalg.norm(x, -np.inf, keepdims=True),
        lambda x: np.linalg.norm(x, keepdims=True), lambda x: np.linalg.norm(x[0], 3),
        dtypes=("float64", "float32", "int64"),
    ) + of(lambda x: np.linalg.norm(x, 1, axis=(2, 0)), shapes=((2, 3, 4),), dtypes=FLOATS),
    "linalg.vector_norm": of(
        lambda x: np.linalg.vector_norm(x), lambda x: np.linalg.vector_norm(x, axis=(0, 2)),
        lambda x: np.linalg.vector_norm(x, keepdims=True, ord=1),
        lambda x: np.linalg.vector_norm(x, axis=1, ord=2.5), shapes=((2, 3, 4),), dtypes=FLOATS,
    ),
    "linalg.matrix_norm": of(
        lambda x: np.linalg.matrix_norm(x),
        lambda x: np.linalg.matrix_norm(x, ord=1, keepdims=True),
        lambda x: np.linalg.matrix_norm(x, ord=-1), lambda x: np.linalg.matrix_norm(x, ord=np.inf),
        shapes=((2, 3, 4),), dtypes=FLOATS,
    ),
    "linalg.det": _matrices(lambda x: np.linalg.det(x)),
    "linalg.eigh": _matrices(lambda x: np.linalg.eigh(_regular(x)))
    + _matrices(lambda x: np.linalg.eigh(_regular(x), UPLO="U")[0]),
    "linalg.eigvalsh": _matrices(lambda x: np.linalg.eigvalsh(_regular(x), "U")),
    "linalg.svd": _matrices(lambda x: np.linalg.svd(x))
    + _matrices(lambda x: np.linalg.svd(x[..., :1], full_matrices=False))
    + _matrices(lambda x: np.linalg.svd(x, compute_uv=False)),
    "linalg.svdvals": _matrices(lambda x: np.linalg.svdvals(x)),
    "linalg.qr": _matrices(lambda x: np.linalg.qr(x[..., :1]))
    + _matrices(lambda x: np.linalg.qr(x[..., :1], mode="complete"))
    + _matrices(lambda x: np.linalg.qr(x, "r")),
    "linalg.pinv": _matrices(lambda x: np.linalg.pinv(_regular(x)[..., :1]))
    + _matrices(lambda x: np.linalg.pinv(_regular(x), rtol=1e-3)),
    "linalg.matrix_rank": _matrices(lambda x: np.linalg.matrix_rank(x))
    + _matrices(lambda x: np.linalg.matrix_rank(x, tol=0.5)),
    "linalg.cond": _matrices(lambda x: np.linalg.cond(_regular(x)))
    + _matrices(lambda x: np.linalg.cond(_regular(x), p=1)),
    "linalg.lstsq": of(
        lambda x, y: np.linalg.lstsq(x, y)[0], lambda x, y: np.linalg.lstsq(x, y, rcond=None)[1],
        shapes=((4, 2), (4, 3)), dtypes=FLOATS,
    ),
    "linalg.multi_dot": of(
        lambda x, y: np.linalg.multi_dot([x, y, x]), lambda x, y: np.linalg.multi_dot((x[0], y)),
        shapes=((2, 3), (3, 2)), dtypes=FLOATS,
    ),
    "linalg.inv": _matrices(lambda x: np.linalg.inv(_regular(x))),
    "linalg.cholesky": _matrices(lambda x: np.linalg.cholesky(_regular(x)))
    + _matrices(lambda x: np.linalg.cholesky(_regular(x), upper=False))
    + _matrices(lambda x: np.linalg.cholesky(_regular(x), upper=True)),
    "linalg.slogdet": _matrices(lambda x: np.linalg.slogdet(x))
    + _matrices(lambda x: np.linalg.slogdet(x).logabsdet),
    "linalg.solve": [
        sample
        for shapes in (((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 1)))
        for sample in of(
            lambda x, y: np.linalg.solve(_regular(x), y), shapes=shapes, dtypes=FLOATS
        )
    ],
}  # fmt: skip

# Transforms, of real and of complex numbers, by every argument.
for _name, _dtypes, _options in (
    ("fft", COMPLEX, {"n": 5, "axis": 0, "norm": "ortho"}),
    ("ifft", COMPLEX, {"n": 2, "axis": -2, "norm": "forward"}),
    ("rfft", ALL, {"n": 6, "axis": 0, "norm": "ortho"}),
    ("irfft", COMPLEX, {"n": 5, "axis": 0, "norm": "forward"}),
    ("hfft", COMPLEX, {"n": 5, "axis": 0, "norm": "ortho"}),
    ("ihfft", ALL, {"n": 3, "axis": 0, "norm": "forward"}),
    *(
        (name, ALL if name.startswith("r") else COMPLEX, {"s": (3, 4), "axes": (1, 0)})
        for name in ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn")
    ),
    ("fftshift", COMPLEX, {"axes": 1}),
    ("ifftshift", COMPLEX, {"axes": (0, 1)}),
):
    SAMPLES[f"fft.{_name}"] = [
        Sample(partial(_transformed, _name, **options), ((4, 3),), _dtypes)
        for options in ({}, _options)
    ]

for _name in ("convolve", "correlate"):
    SAMPLES[_name] = _pairs(
        getattr(np, _name), ((5,), (3,)), ((2,), (4,)), dtypes=COMPLEX
    ) + [
        Sample(partial(getattr(np, _name), mode=mode), ((5,), (4,)), COMPLEX)
        for mode in ("full", "same", "valid")
    ]
SAMPLES["interp"] = of(
    lambda x, f: np.interp(x, [-0.5, 0.25, 1.0], f), lambda x, f: np.interp(x, [0.0, 1, 2], f, -1),
    lambda x, f: np.interp(x, [-2, 0, 5], f, left=0.5, right=9.0),
    lambda x, f: np.interp(x, [5.5, -2, 0.5], f, period=2.25), shapes=((4, 2), (3,)),
)

# Ufuncs that work on whole axes; those of elements are called with all dtypes.
GUFUNCS: dict[str, list[Sample]] = {
    "matmul": _pairs(np.matmul, ((2, 3), (3, 4)), ((3,), (3, 4)), ((5, 2, 3), (3,)),
                     ((5, 1, 2, 3), (4, 3, 2)), dtypes=NUMBERS),
    "vecdot": _pairs(np.vecdot, ((2, 3), (3,)), ((4, 1, 3), (2, 3)), ((3,), (3,))),
}  # fmt: skip
