"""Calls of NumPy's functions of numbers, of polynomials and of sets."""

from __future__ import annotations

import numpy as np

from .numpy_calls import ALL, COMPLEX, FLOATS, NUMBERS, Sample, of

SAMPLES: dict[str, list[Sample]] = {
    # -- elements
    "i0": of(lambda x: np.i0(x), dtypes=FLOATS),
    "sinc": of(lambda x: np.sinc(x), dtypes=(*FLOATS, "int64")),
    "fix": of(lambda x: np.fix(x), dtypes=NUMBERS),
    **{f.__name__: of(lambda x, f=f: f(x), dtypes=COMPLEX) for f in (np.isreal, np.iscomplex)},
    # answers that are no tensors, see `test_what_is_known_of_a_tensor_is_no_tensor`
    **{name: [] for name in ("ndim", "shape", "isrealobj", "iscomplexobj")},
    # -- polynomials
    "polyval": of(
        lambda x: np.polyval(x[0], x), lambda x: np.polyval([1, 0, -2], x),
        lambda x: np.polyval(x[0], 3),
    ),
    **{
        f.__name__: of(
            lambda x, y, f=f: f(x, y), lambda x, y, f=f: f(y, x), shapes=((3,), (2,)),
            dtypes=NUMBERS,
        )
        for f in (np.polyadd, np.polysub)
    },
    "vander": of(
        lambda x: np.vander(x), lambda x: np.vander(x, 2), lambda x: np.vander(x, N=5),
        lambda x: np.vander(x, increasing=True), shapes=((4,),),
        dtypes=tuple(d for d in ALL if d != "uint64"),
    ),
    "polyfit": of(
        lambda x, y: np.polyfit(x, y, 2), lambda x, y: np.polyfit(x, y[:, None] * x, 1),
        lambda x, y: np.polyfit(x, y, 1, w=x * x + 1, rcond=1e-9),
        shapes=((6,), (6,)), dtypes=(*FLOATS,),
    ),
    # -- neighbours
    "ediff1d": of(
        lambda x: np.ediff1d(x), lambda x: np.ediff1d(x, x[0], x[1, :2]),
        lambda x: np.ediff1d(x, to_begin=x), dtypes=NUMBERS,
    ),
    "unwrap": of(
        lambda x: np.unwrap(x), lambda x: np.unwrap(3 * x, axis=0),
        lambda x: np.unwrap(3 * x, discont=4.0), lambda x: np.unwrap(x, 0.25, 0, period=1.5),
        shapes=((3, 4),), dtypes=(*FLOATS, "int64"),
    ) + of(lambda x: np.unwrap(x, period=4), lambda x: np.unwrap(x, period=3),
           shapes=((9,),), dtypes=("int64", "int16")),
    # -- sets and choices
    "isin": of(
        lambda x, y: np.isin(x, y), lambda x, y: np.isin(x, [1, 0], invert=True),
        lambda x, y: np.isin(y, x, assume_unique=True), lambda x, y: np.isin(x, y, kind="sort"),
        shapes=((2, 3), (4,)),
    ) + of(lambda x: np.isin(x / 0, x / 0), dtypes=FLOATS),
    "choose": of(
        lambda x: np.choose([1, 0, 1], x),
        lambda x: np.choose([[2], [-1]], [x[0], x[1]], mode="clip"),
        lambda x: np.choose(np.array([5, -3, 0]), x, mode="wrap"),
    ),
    # -- other sizes
    "resize": of(
        lambda x: np.resize(x, (3, 5)), lambda x: np.resize(x, 4), lambda x: np.resize(x, (0, 2))
    ),
    "block": of(
        lambda x: np.block([x, x[:, :1]]), lambda x: np.block([[x], [x[0]]]), lambda x: np.block(x),
        lambda x: np.block([[x, 2 * x], [1 * x, x]]), lambda x: np.block([x[0], x[1, 2]]),
        dtypes=NUMBERS,
    ),
    "logspace": of(
        lambda x: np.logspace(x, 2, 4), lambda x: np.logspace(0, x, num=3, endpoint=False),
        lambda x: np.logspace(x, x, 2, base=2.0), dtypes=("float64", "int64", "float32"),
    ),
    "geomspace": of(
        lambda x: np.geomspace(abs(x) + 1, 9.0, 4),
        lambda x: np.geomspace(-1 - abs(x), -7.5, num=3, endpoint=False),
        dtypes=("float64", "int64", "float32"),
    ),
}  # fmt: skip
