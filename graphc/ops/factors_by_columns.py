"""Orthogonal factors, eigenvalues and singular values of matrices stored by columns: steps that
LAPACK computes, as in `by_columns.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import LinAlgError
from graphc.ir.dim import Size, maximum, minimum
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Kind, Op, register
from graphc.ir.routine import Argument, Count, Flag, Leading, Operand, Result, Routine, Work
from graphc.ir.shape import TensorType
from graphc.ops.by_columns import STEP, matrix_step, turned, vectors
from graphc.ops.small import of_floats

NOT_CONVERGED = "the iteration did not converge"
BLOCK = 64  # columns that LAPACK takes at once where it is given the memory


def _converging(told_as: str, function: Any, *arrays: Any, **options: Any) -> Any:
    try:
        return function(*arrays, **options)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(NOT_CONVERGED, op=told_as, given=str(error)) from None


# -- orthogonal factors ----------------------------------------------------------------------------
def _numpy_householder(t: Any) -> Any:
    """LAPACK's own form of q, which is `np.linalg.qr`'s mode "raw"."""
    return tuple(np.linalg.qr(turned(t), mode="raw"))


def _lapack_householder(operands: Sequence[TensorType], results: Any) -> Routine:
    n, m = operands[0].shape[-2:]
    arguments = (
        Count(m), Count(n), Result(0, copy=0), Leading(m), Result(1), Work(_wide(n)),
        Count(_wide(n)),
    )  # fmt: skip
    return Routine("geqrf", (2,), (2, 1), arguments, 2 * m * n * minimum(m, n))


def _wide(n: Size) -> Size:
    return maximum(n, 1) * BLOCK


_HOUSEHOLDER = matrix_step(
    "householder_by_columns", lambda t: (t, vectors(t)), _numpy_householder, _lapack_householder,
    "r, and below it the vectors of the reflections whose product is q; their factors.",
)  # fmt: skip


def householder(t: Tensor) -> tuple[Tensor, Tensor]:
    packed, factors = apply(_HOUSEHOLDER, (t,)).outputs
    return packed, factors


def _numpy_product(packed: Any, factors: Any) -> Any:
    """The columns of the product of the reflections 1 - f v v^T, v with a 1 on the diagonal."""
    a = turned(packed)
    m, n = a.shape[-2:]
    q = np.broadcast_to(np.eye(m, n, dtype=a.dtype), a.shape).copy()
    for j in reversed(range(factors.shape[-1])):
        v = np.concatenate([np.ones_like(a[..., :1, j]), a[..., j + 1 :, j]], axis=-1)[..., None]
        change = factors[..., j, None, None] * v @ (turned(v) @ q[..., j:, :])
        q[..., j:, :] -= change
    return turned(q)


def _lapack_product(operands: Sequence[TensorType], results: Any) -> Routine:
    (n, m), (k,) = operands[0].shape[-2:], operands[1].shape[-1:]
    arguments = (
        Count(m), Count(n), Count(k), Result(0, copy=0), Leading(m), Operand(1), Work(_wide(n)),
        Count(_wide(n)),
    )  # fmt: skip
    return Routine("orgqr", (2, 1), (2,), arguments, 2 * m * n * k)


_PRODUCT = matrix_step(
    "householder_product_by_columns", lambda t, factors: (t,), _numpy_product, _lapack_product,
    "The first columns of q, from the reflections whose product it is.",
)  # fmt: skip


def householder_product(packed: Tensor, factors: Tensor) -> Tensor:
    return apply(_PRODUCT, (packed, factors)).output()


# -- eigenvalues -----------------------------------------------------------------------------------
def _numpy_eigh(t: Any, *, told_as: str) -> Any:
    values, columns = _converging(told_as, np.linalg.eigh, turned(t))
    return values, turned(columns)


def _eigen(flag: str, vectors: Argument, n: Size, results: tuple[int, ...]) -> Routine:
    """Divide and conquer; the sizes of its memory are those that its documentation asks for, and
    more of it where that lets it work by blocks."""
    with_vectors = flag == "V"
    size = 1 + 6 * n + 2 * n * n if with_vectors else 1 + (2 + BLOCK) * n
    integers = 3 + 5 * n if with_vectors else 1
    arguments = (
        Flag(flag), Flag("L"), Count(n), vectors, Leading(n), Result(0), Work(size), Count(size),
        Work(integers, integers=True), Count(integers),
    )  # fmt: skip
    work = (9 if with_vectors else 2) * n * n * n
    return Routine("syevd", (2,), results, arguments, work, failure=NOT_CONVERGED)


def _lapack_eigh(operands: Sequence[TensorType], results: Any, *, told_as: str) -> Routine:
    return _eigen("V", Result(1, copy=0), operands[0].shape[-1], (1, 2))


def _lapack_eigvalsh(operands: Sequence[TensorType], results: Any, *, told_as: str) -> Routine:
    n = operands[0].shape[-1]
    return _eigen("N", Work(n * n, copy=0), n, (1,))


_EIGH = matrix_step(
    "eigh_by_columns", lambda t, *, told_as: (vectors(t), t), _numpy_eigh, _lapack_eigh,
    "Eigenvalues and eigenvectors of symmetric matrices, by their lower triangles.", may_fail=True,
)  # fmt: skip
_EIGVALSH = matrix_step(
    "eigvalsh_by_columns", lambda t, *, told_as: (vectors(t),),
    lambda t, *, told_as: _converging(told_as, np.linalg.eigvalsh, turned(t)), _lapack_eigvalsh,
    "Eigenvalues of symmetric matrices, by their lower triangles.", may_fail=True,
)  # fmt: skip


def eigh(t: Tensor, told_as: str) -> tuple[Tensor, Tensor]:
    values, columns = apply(_EIGH, (t,), told_as=told_as).outputs
    return values, columns


def eigvalsh(t: Tensor, told_as: str) -> Tensor:
    return apply(_EIGVALSH, (t,), told_as=told_as).output()


# -- singular values -------------------------------------------------------------------------------
def _infer_svd(t: TensorType, *, full: bool, told_as: str) -> tuple[TensorType, ...]:
    *batch, n, m = t.shape
    k = minimum(m, n)
    rows, columns = (m, n) if full else (k, k)
    u, v = TensorType(t.dtype, (*batch, rows, m)), TensorType(t.dtype, (*batch, n, columns))
    return u, vectors(t), v


def _numpy_svd(t: Any, *, full: bool, told_as: str) -> Any:
    u, s, v = _converging(told_as, np.linalg.svd, turned(t), full_matrices=full)
    return turned(u), s, turned(v)


def _singular(
    flag: str, types: Sequence[TensorType], u: Argument, v: Argument, ld: tuple[Size, Size]
) -> tuple[Argument, ...]:
    n, m = types[0].shape[-2:]
    k, long = minimum(m, n), maximum(m, n)
    size = 4 * k * k + 7 * k + long + BLOCK * (long + 2 * k) + 1
    return (
        Flag(flag), Count(m), Count(n), Work(m * n, copy=0), Leading(m), Result(_place(u)), u,
        Leading(ld[0]), v, Leading(ld[1]), Work(size), Count(size), Work(8 * k, integers=True),
    )  # fmt: skip


def _place(u: Argument) -> int:
    """Where the singular values are among the results: behind u, if that is one."""
    return 1 if isinstance(u, Result) else 0


def _lapack_svd(
    operands: Sequence[TensorType], results: Sequence[TensorType], *, full: bool, told_as: str
) -> Routine:
    n, m = operands[0].shape[-2:]
    ld = m, results[2].shape[-1]
    arguments = _singular("A" if full else "S", operands, Result(0), Result(2), ld)
    work = 20 * m * n * minimum(m, n)
    return Routine("gesdd", (2,), (2, 1, 2), arguments, work, failure=NOT_CONVERGED)


def _lapack_svdvals(
    operands: Sequence[TensorType], results: Sequence[TensorType], *, told_as: str
) -> Routine:
    n, m = operands[0].shape[-2:]
    arguments = _singular("N", operands, Work(1), Work(1), (1, 1))
    work = 3 * m * n * minimum(m, n)
    return Routine("gesdd", (2,), (1,), arguments, work, failure=NOT_CONVERGED)


_SVD = matrix_step(
    "svd_by_columns", _infer_svd, _numpy_svd, _lapack_svd,
    "u, s and v^T with u s v^T = a, of which the first and the last are by columns.", may_fail=True,
)  # fmt: skip
_SVDVALS = matrix_step(
    "svdvals_by_columns", lambda t, *, told_as: (vectors(t),),
    lambda t, *, told_as: _converging(told_as, np.linalg.svdvals, turned(t)), _lapack_svdvals,
    "Singular values.", may_fail=True,
)  # fmt: skip


def svd(t: Tensor, full: bool, told_as: str) -> tuple[Tensor, Tensor, Tensor]:
    u, s, v = apply(_SVD, (t,), full=full, told_as=told_as).outputs
    return u, s, v


def svdvals(t: Tensor, told_as: str) -> Tensor:
    return apply(_SVDVALS, (t,), told_as=told_as).output()


# -- eigenvalues of general matrices ---------------------------------------------------------------
NO_EIGENVALUES = "the matrix is not finite, or the iteration did not converge"


def _finite_at(k: Any, operands: Any, index: Any, out: TensorType, *, told_as: str) -> Any:
    x = operands[0](index)
    inside = k.less(k.abs(x), k.const(np.inf, x.dtype))
    k.fail_if(k.bitwise_invert(inside), NO_EIGENVALUES)
    return x


def _numpy_finite(x: Any, *, told_as: str) -> Any:
    if not np.isfinite(x).all():
        raise LinAlgError(NO_EIGENVALUES, op=told_as)
    return x


_FINITE = register(
    Op(
        "finite", Kind.MAP, of_floats("finite", lambda t, *, told_as: (t,)), numpy=_numpy_finite,
        at=_finite_at, axes={}, facts=STEP, may_fail=True, failure=LinAlgError, cost=3,
        doc="The elements, after checking that all are finite: LAPACK prints where they are not.",
    )
)  # fmt: skip


def finite(t: Tensor, told_as: str) -> Tensor:
    return apply(_FINITE, (t,), told_as=told_as).output()


def _infer_eig(t: TensorType, *, told_as: str) -> tuple[TensorType, ...]:
    return vectors(t), vectors(t), t


def _numpy_eig(t: Any, *, told_as: str) -> Any:
    try:
        values, columns = np.linalg.eig(turned(t))
    except np.linalg.LinAlgError as error:
        raise LinAlgError(NO_EIGENVALUES, op=told_as, given=str(error)) from None
    real, imag = (part(values).astype(t.dtype) for part in (np.real, np.imag))
    packed = np.where(imag[..., None, :] < 0, -np.imag(columns), np.real(columns))
    return real, imag, turned(packed).astype(t.dtype)


def _lapack_eig(operands: Sequence[TensorType], results: Any, *, told_as: str) -> Routine:
    n = operands[0].shape[-1]
    size = (4 + BLOCK) * maximum(n, 1)
    arguments = (
        Flag("N"), Flag("V"), Count(n), Work(n * n, copy=0), Leading(n), Result(0), Result(1),
        Work(1), Leading(1), Result(2), Leading(n), Work(size), Count(size),
    )  # fmt: skip
    return Routine("geev", (2,), (1, 1, 2), arguments, 25 * n * n * n, failure=NO_EIGENVALUES)


_EIG = matrix_step(
    "eig_by_columns", _infer_eig, _numpy_eig, _lapack_eig,
    "Real and imaginary parts of eigenvalues; eigenvectors, of a complex pair the real part and "
    "then the imaginary part of the first.", may_fail=True,
)  # fmt: skip


def eig(t: Tensor, told_as: str) -> tuple[Tensor, Tensor, Tensor]:
    real, imag, packed = apply(_EIG, (finite(t, told_as),), told_as=told_as).outputs
    return real, imag, packed
