"""Samples of statistics, comparisons and groups, and of linear algebra that is made of sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc

from .sampling import ALL, FLOATS, Array, Case, Samples, Shape, below, of_kinds, same

SAMPLES: dict[str, Samples] = {}
Call = Callable[[Any, Any], Any]


def _of_one(name: str, *cases: tuple[Shape, Call], **options: Any) -> None:
    close = {"ulp": 32, "unit": 1.0, "wild": False}
    made = tuple(same(call, shape) for shape, call in cases)
    SAMPLES[name] = Samples(cases=made, **(close | options))


_of_one(
    "std",
    ((5,), lambda m, x: m.std(x)), ((3, 4), lambda m, x: m.std(x, axis=0, ddof=1)),
    (("n", 3), lambda m, x: m.std(x, axis=1, keepdims=True)), takes=FLOATS,
)  # fmt: skip
_of_one(
    "ptp", ((5,), lambda m, x: m.ptp(x)), (("n", 3), lambda m, x: m.ptp(x, axis=1)),
    takes=of_kinds("iuf"), ulp=0, smooth=False,
)  # fmt: skip
_of_one(
    "count_nonzero", ((5,), lambda m, x: m.count_nonzero(x)),
    (("n", 3), lambda m, x: m.count_nonzero(x, axis=1, keepdims=True)), ulp=0, domain=None,
)  # fmt: skip
_of_one(
    "average",
    ((3, 4), lambda m, x: m.average(x, axis=0)),
    ((2, 3), lambda m, x: m.average(x, 1, np.array([1.0, 2.0, 0.5], "float32"))), takes=FLOATS,
)  # fmt: skip
_of_one(
    "cov",
    ((3, 5), lambda m, x: m.cov(x) if m is gc else np.cov(x, dtype=x.dtype)),
    ((4, 2), lambda m, x: m.cov(x, None, False) if m is gc else np.cov(x.T, dtype=x.dtype)),
    ((5,), lambda m, x: m.cov(x, ddof=0) if m is gc else np.cov(x, ddof=0, dtype=x.dtype)),
    takes=FLOATS,
)
_of_one(
    "corrcoef",
    ((3, 5), lambda m, x: m.corrcoef(x) if m is gc else np.corrcoef(x, dtype=x.dtype)),
    takes=FLOATS, smooth=False, domain=(0.2, 2.0),
)  # fmt: skip
_of_one(
    "nan_to_num", ((5,), lambda m, x: m.nan_to_num(x)),
    (("n", 2), lambda m, x: m.nan_to_num(x, nan=1, posinf=2, neginf=3)), ulp=0, wild=True,
)  # fmt: skip
for _name in ("nansum", "nanprod", "nanmean", "nanmax", "nanmin"):
    _of_one(
        _name,
        ((3, 4), lambda m, x, f=_name: getattr(m, f)(x, axis=1)),
        ((5,), lambda m, x, f=_name: getattr(m, f)(x)),
        takes=FLOATS, smooth=False,
    )  # fmt: skip
for _name in ("isclose", "allclose", "array_equal"):
    SAMPLES[_name] = Samples(
        cases=(
            same(lambda m, x, y, f=_name: np.asarray(getattr(np, f)(x, y)) if m is np
                 else getattr(gc, f)(x, y), (2, 3), (2, 3)),
            same(lambda m, x, f=_name: np.asarray(getattr(np, f)(x, x)) if m is np
                 else getattr(gc, f)(x, x), ("n", 2)),
        ),
        takes=ALL if _name == "array_equal" else FLOATS,
        domain=None,
    )  # fmt: skip


# -- groups ----------------------------------------------------------------------------------------
def _grouped(name: str, first: float, step: Any, x: Shape) -> Case:
    def numpy(data: Array, ids: Array) -> Array:
        start = np.full((3, *data.shape[1:]), first, data.dtype)
        for row, i in zip(data, ids, strict=True):
            start[i] = step(start[i], row)
        return start

    def every(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.permutation(np.arange(shape[0]) % 3)

    return Case(
        call=lambda data, ids: getattr(gc, name)(data, ids, 3),
        numpy=numpy,
        shapes=(x, x[:1]),
        dtypes=(None, "int64"),
        draws=(None, every),
    )


_GROUPS: dict[str, tuple[float, Any]] = {
    "segment_sum": (0, lambda a, b: a + b), "segment_prod": (1, lambda a, b: a * b),
    "segment_max": (-np.inf, np.maximum), "segment_min": (np.inf, np.minimum),
}  # fmt: skip
for _name, (_first, _step) in _GROUPS.items():
    SAMPLES[_name] = Samples(
        cases=tuple(_grouped(_name, _first, _step, shape) for shape in ((7,), (4, 2), (5, "n"))),
        takes=FLOATS,
        wild=False,
        smooth=_name == "segment_sum",
    )
SAMPLES["segment_mean"] = Samples(
    cases=(
        Case(
            call=lambda data: gc.segment_mean(data, [0, 1, 0, 2, 1], 3),
            numpy=lambda x: np.stack([(x[0] + x[2]) / 2, (x[1] + x[4]) / 2, x[3]]),
            shapes=((5, 2),),
        ),
    ),
    takes=FLOATS,
    ulp=2,
    wild=False,
)
SAMPLES["bincount"] = Samples(
    cases=(
        Case(
            call=lambda i, w: gc.bincount(i, w, 4),
            numpy=lambda i, w: np.bincount(i, w.astype("float64"), 4).astype(w.dtype),
            shapes=(("n",), ("n",)),
            dtypes=("uint8", None),
            draws=(below(4), None),
        ),
        Case(
            call=lambda i, w: gc.bincount(i, minlength=4).astype(w.dtype) * w,
            numpy=lambda i, w: np.bincount(i, minlength=4).astype(w.dtype) * w,
            shapes=((7,), ()),
            dtypes=("int32", None),
            draws=(below(4), None),
        ),
    ),
    takes=FLOATS,
    ulp=4,
    unit=1.0,
    wild=False,
)
_of_one(
    "histogram",
    ((20,), lambda m, x: m.histogram(x, 5)[0]),
    ((4, 9), lambda m, x: m.histogram(x, 4, range=(-1, 1))[0]),
    ((9,), lambda m, x: m.histogram(x, np.array([-2.0, 0, 0.5, 3]))[0]), takes=("float64",),
    domain=None,
)  # fmt: skip
