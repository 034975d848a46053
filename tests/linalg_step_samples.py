"""Samples of what linear algebra is expanded into: steps that LAPACK computes of matrices stored by
columns, and small matrices written out. The oracle is SciPy, matrix by matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from graphc.ops import by_columns, small
from graphc.ops import factors_by_columns as steps

from .linalg_samples import _cofactor_change, _cofactors, each, lower_mirrored
from .sampling import FLOATS, Array, Case, Draw, Samples, Shape, bounded

SAMPLES: dict[str, Samples] = {}
_MATRICES: tuple[Shape, ...] = ((3, 3), (2, 3, 3), ("n", 3, 3))


def regular(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.uniform(-1, 1, shape) + 3 * np.eye(shape[-1])


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.uniform(-0.3, 0.3, shape) + 3 * np.eye(shape[-1])


def lower_positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """What the step is given of a positive definite matrix: nothing above its diagonal."""
    return np.tril(positive(rng, shape))


def exchanges(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """With which row each is exchanged, itself or one behind it; counted from 1."""
    n = shape[-1]
    return np.arange(n) + 1 + rng.integers(0, n, shape) % np.arange(n, 0, -1)


def _step(
    call: Callable[..., Any],
    numpy: Callable[..., Any],
    draws: tuple[Draw | None, ...] = (regular,),
    others: tuple[Shape, ...] = (),
    dtypes: tuple[str | None, ...] = (),
    batches: tuple[Shape, ...] = _MATRICES,
) -> Samples:
    cases = tuple(
        Case(
            call=call, numpy=each(numpy), draws=draws, dtypes=dtypes,
            shapes=(shape, *((*shape[:-2], *other) for other in others)),
        )
        for shape in batches
    )  # fmt: skip
    return Samples(cases=cases, takes=FLOATS, wild=False, ulp=200, unit=1, domain=None)


# -- by columns ------------------------------------------------------------------------------------
def _lu(t: Array) -> tuple[Array, Array]:
    packed, pivots = scipy.linalg.lu_factor(t.T)
    return packed.T, (pivots + 1).astype(np.int64)


def _exchanged(b: Array, pivots: Array) -> Array:
    rows = b.T.copy()
    for i in reversed(range(len(pivots))):
        rows[[i, pivots[i] - 1]] = rows[[pivots[i] - 1, i]]
    return rows.T


def _lu_solve(transposed: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def numpy(packed: Array, pivots: Array, b: Array) -> Array:
        return scipy.linalg.lu_solve((packed.T, pivots - 1), b.T, trans=int(transposed)).T

    return lambda a, p, b: by_columns.lu_solve(a, p, b, transposed), numpy


SAMPLES["lu_by_columns"] = _step(by_columns.lu, _lu)
SAMPLES["regular"] = _step(
    lambda a, p: by_columns.regular(a, p, "solve"), lambda a, p: p, (regular, exchanges),
    ((3,),), (None, "int64"),
)  # fmt: skip
SAMPLES["exchanged_by_columns"] = _step(
    by_columns.exchanged_back, _exchanged, (None, exchanges), ((3,),), (None, "int64")
)
SAMPLES["lu_solve_by_columns"] = _step(
    *_lu_solve(False), (regular, exchanges, None), ((3,), (2, 3)), (None, "int64", None)
)
SAMPLES["symmetric_solve_by_columns"] = _step(
    lambda a, b: by_columns.symmetric_solve(a, b, "solve"),
    lambda a, b: np.linalg.solve(lower_mirrored(a), b.T).T, (regular, None), ((2, 3),),
)  # fmt: skip
SAMPLES["triangular_solve_by_columns"] = _step(
    lambda a, b: by_columns.triangular_solve(a, b, False, False, False, "solve"),
    lambda a, b: scipy.linalg.solve_triangular(a.T, b.T).T, (regular, None), ((2, 3),),
)  # fmt: skip
SAMPLES["cholesky_by_columns"] = _step(
    lambda t: by_columns.cholesky(t, "cholesky"), np.linalg.cholesky, (lower_positive,)
)


# -- written out -----------------------------------------------------------------------------------
def _triangular(lower: bool, unit: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def numpy(a: Array, b: Array) -> Any:
        return scipy.linalg.solve_triangular(a, b, lower=lower, unit_diagonal=unit)

    return lambda a, b: small.triangular_solve(a, b, lower, unit, "triangular_solve"), numpy


_SIZES: tuple[Shape, ...] = ((1, 1), (2, 2), (3, 3), ("n", 4, 4))
_solve = (lambda a, b: small.solve(a, b, "solve"), np.linalg.solve)
SAMPLES["small_det"] = _step(small.det, np.linalg.det, (bounded,), batches=_SIZES)
SAMPLES["small_sign"] = _step(
    lambda a: small.slogdet(a)[0], lambda a: np.linalg.slogdet(a)[0], (bounded,), batches=_SIZES
)
SAMPLES["small_logabs"] = _step(
    lambda a: small.slogdet(a)[1], lambda a: np.linalg.slogdet(a)[1], (bounded,), batches=_SIZES
)
SAMPLES["small_cofactor"] = _step(small.cofactor, _cofactors, (bounded,), batches=_SIZES)
SAMPLES["small_cofactor_change"] = _step(
    small.cofactor_change, _cofactor_change, (bounded, bounded), ((3, 3),)
)
SAMPLES["small_cholesky"] = _step(
    lambda a: small.cholesky(a, "cholesky"), np.linalg.cholesky, (positive,), batches=_SIZES
)
SAMPLES["small_solve"] = Samples(
    cases=tuple(
        Case(call=_solve[0], numpy=_solve[1], draws=(regular, None), shapes=shapes)
        for shapes in (
            ((1, 1), (1, 2)), ((2, 2), (2, 1)), ((2, 3, 3), (2, 3, 2)), (("n", 4, 4), ("n", 4, 1)),
        )
    ),
    takes=FLOATS, wild=False, ulp=200, unit=1, domain=None,
)  # fmt: skip
SAMPLES["small_triangular_solve"] = _step(*_triangular(False, False), (regular, None), ((3, 2),))


# -- factors by columns ----------------------------------------------------------------------------
def _householder_product(packed: Array, factors: Array) -> Array:
    """The first columns of the product of 1 - f v v^T, as matrices."""
    a = packed.T
    m, n = a.shape
    product = np.eye(m, dtype=a.dtype)
    for j, f in enumerate(factors):
        v = np.concatenate([np.zeros(j), [1], a[j + 1 :, j]]).astype(a.dtype)
        product = product @ (np.eye(m, dtype=a.dtype) - f * np.outer(v, v))
    return product[:, :n].T


def _eigh(t: Array) -> tuple[Array, Array]:
    values, vectors = np.linalg.eigh(t.T)
    return values, vectors.T


def _eig(t: Array) -> tuple[Array, Array, Array]:
    """NumPy's, packed as LAPACK gives them: of a pair the parts of the first."""
    values, vectors = np.linalg.eig(t.T)
    rows = np.empty_like(t)
    for j, value in enumerate(values):
        first = vectors[:, j]
        rows[j] = -np.imag(first) if np.imag(value) < 0 else np.real(first)
    return np.real(values).astype(t.dtype), np.imag(values).astype(t.dtype), rows


def _svd(t: Array) -> tuple[Array, Array, Array]:
    u, s, vh = np.linalg.svd(t.T, full_matrices=False)
    return u.T, s, vh.T


_RECTANGLES: tuple[Shape, ...] = ((3, 4), (2, 4, 3), ("n", 3, 3))
SAMPLES["householder_by_columns"] = _step(
    steps.householder, lambda t: tuple(np.linalg.qr(t.T, mode="raw")), (None,), batches=_RECTANGLES
)
SAMPLES["householder_product_by_columns"] = _step(
    steps.householder_product, _householder_product, (bounded, bounded), ((2,),),
    batches=((2, 4), ("n", 3, 3)),
)  # fmt: skip
SAMPLES["eigh_by_columns"] = _step(lambda t: steps.eigh(t, "eigh"), _eigh)
SAMPLES["eigvalsh_by_columns"] = _step(
    lambda t: steps.eigvalsh(t, "eigvalsh"), lambda t: np.linalg.eigvalsh(t.T)
)
SAMPLES["finite"] = _step(lambda x: steps.finite(x, "eig"), lambda x: x, (None,))
SAMPLES["eig_by_columns"] = _step(lambda t: steps.eig(t, "eig"), _eig, (None,))
SAMPLES["svd_by_columns"] = _step(
    lambda t: steps.svd(t, False, "svd"), _svd, (None,), batches=_RECTANGLES
)
SAMPLES["svdvals_by_columns"] = _step(
    lambda t: steps.svdvals(t, "svdvals"), lambda t: np.linalg.svdvals(t.T), (None,),
    batches=_RECTANGLES,
)  # fmt: skip
