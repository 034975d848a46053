"""Calls of NumPy's products, of its linear algebra, and of its transforms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .numpy_calls import ALL, COMPLEX, FLOATS, NUMBERS, Sample, of, pairs_of


def _matrices(f: Callable[..., Any]) -> list[Sample]:
    return [
        sample
        for shape in ((3, 3), (2, 3, 3))
        for sample in of(f, shapes=(shape,), dtypes=(*FLOATS, "int64"))
    ]


def _regular(x: Any) -> Any:
    """A positive definite matrix made of x."""
    return x @ np.matrix_transpose(x) + 3 * np.eye(3, dtype=getattr(x.dtype, "name", x.dtype))


def _transformed(name: str, x: Any, **options: Any) -> Any:
    return getattr(np.fft, name)(x, **options)


_TENSORDOT = (
    (lambda f: (lambda x, y: f(x, y)), ((2, 3, 4), (3, 4, 2))),
    (lambda f: (lambda x, y: f(x, y, axes=1)), ((2, 3), (3, 4))),
    (lambda f: (lambda x, y: f(x, y, axes=0)), ((2,), (3, 4))),
    (lambda f: (lambda x, y: f(x, y, axes=([1, 0], [0, 1]))), ((2, 3, 4), (3, 2, 5))),
)

SAMPLES: dict[str, list[Sample]] = {
    # -- products
    "dot": pairs_of(
        np.dot, ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((3,), (3, 4)), ((4, 2, 3), (3,)),
        ((2, 3), (2, 3, 2)), ((4, 2, 3), (5, 3, 2)), ((2, 3, 3), (2, 3, 3)), ((), (2, 3)),
        ((2, 3), ()), ((3,), (2, 3, 4)), dtypes=NUMBERS,
    ),
    "inner": pairs_of(
        np.inner, ((3,), (3,)), ((2, 3), (4, 3)), ((2, 5, 3), (4, 3)), ((), (2, 3)), ((3,), (2, 3))
    ),
    "outer": pairs_of(np.outer, ((3,), (4,)), ((2, 3), (4,)), ((), (2,))),
    "vdot": pairs_of(np.vdot, ((3,), (3,)), ((2, 3), (2, 3)), ((2, 3), (6,))),
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
    "linalg.matmul": pairs_of(
        np.linalg.matmul, ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), dtypes=NUMBERS
    ),
    "linalg.outer": pairs_of(np.linalg.outer, ((3,), (4,))),
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
        shapes=((4, 2), (4, 3)), dtypes=(*FLOATS, "int64"),
    ),
    "linalg.multi_dot": of(
        lambda x, y: np.linalg.multi_dot([x, y, x]), lambda x, y: np.linalg.multi_dot((x[0], y)),
        shapes=((2, 3), (3, 2)), dtypes=FLOATS,
    ),
    "linalg.tensorinv": of(
        lambda x: np.linalg.tensorinv(x), shapes=((2, 3, 6),), dtypes=FLOATS
    ) + of(lambda x: np.linalg.tensorinv(x, ind=1), shapes=((6, 3, 2),), dtypes=FLOATS),
    "linalg.tensorsolve": of(
        lambda x, y: np.linalg.tensorsolve(x, y), shapes=((2, 3, 6), (2, 3)), dtypes=FLOATS
    ) + of(
        lambda x, y: np.linalg.tensorsolve(x, y, axes=(0,)), shapes=((6, 2, 3), (2, 3)),
        dtypes=FLOATS,
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
            lambda x, y: np.linalg.solve(_regular(x), y), shapes=shapes,
            dtypes=(*FLOATS, "int64"),
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
    SAMPLES[_name] = pairs_of(
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
    "matmul": pairs_of(np.matmul, ((2, 3), (3, 4)), ((3,), (3, 4)), ((5, 2, 3), (3,)),
                     ((5, 1, 2, 3), (4, 3, 2)), dtypes=NUMBERS),
    "matvec": pairs_of(
        np.matvec, ((2, 3), (3,)), ((5, 1, 2, 3), (4, 3)), dtypes=(*NUMBERS, "complex64")
    ),
    "vecmat": pairs_of(
        np.vecmat, ((2,), (2, 3)), ((5, 1, 2), (4, 2, 3)), dtypes=(*NUMBERS, "complex64")
    ),
    "vecdot": pairs_of(np.vecdot, ((2, 3), (3,)), ((4, 1, 3), (2, 3)), ((3,), (3,))),
}  # fmt: skip
