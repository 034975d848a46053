"""Decompositions with derivatives: eigenvalues of symmetric matrices, singular values, QR.

LAPACK computes them. Where values are equal, the vectors that belong to them are not determined:
derivatives count the turns among these as 0. So those of sums over equal values are right there,
and other functions of the matrix (`expm`, `pinv`) state their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, DTypeError, GradientError, ShapeError
from graphc.ir.dim import Size, minimum
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor, apply
from graphc.ir.shape import TensorType, show
from graphc.ops import factors_by_columns as steps
from graphc.ops.build import scalar_like, size_as_tensor, tensor
from graphc.ops.contract import matmul
from graphc.ops.create import eye
from graphc.ops.elementwise import equal, multiply, subtract, where
from graphc.ops.manipulate import tril, triu
from graphc.ops.shape import broadcast_to, concat, expand_dims, matrix_transpose
from graphc.ops.solving import of_numpy, square, triangular_solve


def matrices(op: str, x: TensorType) -> tuple[Size, Size]:
    """The sizes of matrices. Errors: `DTypeError` for no float, `ShapeError` for fewer axes."""
    if not x.dtype.is_float:
        raise DTypeError(
            "only floats", op=op, expected="a float dtype", given=x.dtype.name,
            hint="use .astype('float64')",
        )  # fmt: skip
    if x.rank < 2:
        raise ShapeError("not matrices", op=op, expected="(..., m, n)", given=show(x.shape))
    return x.shape[-2], x.shape[-1]


def _vector_type(x: TensorType) -> TensorType:
    return TensorType(x.dtype, (*x.shape[:-2], minimum(*x.shape[-2:])))


def _scaled(matrix: Tensor, columns: Tensor) -> Tensor:
    """The columns of a matrix, each times a number."""
    return multiply(matrix, expand_dims(columns, -2))


def _inverse_differences(values: Tensor) -> Tensor:
    """1 / (values[j] - values[i]) at [i, j]; 0 where they are equal."""
    apart = subtract(expand_dims(values, -2), expand_dims(values, -1))
    same = equal(apart, scalar_like(0, apart))
    return where(same, scalar_like(0, apart), 1 / where(same, scalar_like(1, apart), apart))


def _total(parts: list[Tensor]) -> Tensor | None:
    found: Tensor | None = None
    for part in parts:
        found = part if found is None else found + part
    return found


# -- eigenvalues of symmetric matrices -------------------------------------------------------------
def _infer_eigh(a: TensorType) -> tuple[TensorType, ...]:
    square("eigh", a)
    return _vector_type(a), a


def _eigh_vjp(context: Any, g: Any, out: Any, a: Tensor) -> list[Any]:
    """V (diag(gw) + F * V^T gV) V^T, F[i, j] = 1 / (w[j] - w[i]), made symmetric (Giles 2008,
    section 3.1)."""
    w, v = out
    turned, parts = matrix_transpose(v), []
    if g[0] is not None:
        parts.append(matmul(_scaled(v, g[0]), turned))
    if g[1] is not None:
        inner = multiply(_inverse_differences(w), matmul(turned, g[1]))
        parts.append(matmul(matmul(v, inner), turned))
    return [_symmetric(_total(parts))]


def _symmetric(x: Tensor | None) -> Tensor | None:
    return None if x is None else multiply(x + matrix_transpose(x), scalar_like(0.5, x))


def _expand_eigh(a: Tensor) -> tuple[Tensor, ...]:
    values, columns = steps.eigh(matrix_transpose(a), "eigh")
    return values, matrix_transpose(columns)


EIGH = of_numpy(
    "eigh", _infer_eigh, np.linalg.eigh, _eigh_vjp,
    "Eigenvalues and eigenvectors of symmetric matrices.", expand=_expand_eigh,
    why=steps.NOT_CONVERGED,
)  # fmt: skip


class EighResult(NamedTuple):
    """What `eigh` gives, by NumPy's names."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigh(x: Any, /) -> EighResult:
    """The eigenvalues of symmetric matrices, the smallest first, and the eigenvectors that belong
    to them, as columns.

    Only the lower triangle is read; the derivative is the symmetric one. Where eigenvalues are
    equal, the choice of their vectors has derivative 0.
    Shapes: [..., n, n] -> [..., n] and [..., n, n]. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; at the call `LinAlgError` where LAPACK does not converge.
    Source: derivative by Giles, Collected matrix derivative results, 2008, section 3.1.

    >>> import graphc as gc
    >>> gc.evaluate(gc.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues)
    array([1., 2.])
    """
    return EighResult(*apply(EIGH, (tensor(x, "eigh"),)).outputs)


def _eigvalsh_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    _, v = apply(EIGH, (a,)).outputs
    return [matmul(_scaled(v, g), matrix_transpose(v))]


def _infer_eigvalsh(a: TensorType) -> tuple[TensorType, ...]:
    square("eigvalsh", a)
    return (_vector_type(a),)


EIGVALSH = of_numpy(
    "eigvalsh", _infer_eigvalsh, np.linalg.eigvalsh, _eigvalsh_vjp,
    "Eigenvalues of symmetric matrices.",
    expand=lambda a: steps.eigvalsh(matrix_transpose(a), "eigvalsh"), why=steps.NOT_CONVERGED,
)  # fmt: skip


def eigvalsh(x: Any, /) -> Tensor:
    """The eigenvalues of symmetric matrices, the smallest first.

    Only the lower triangle is read. Shapes: [..., n, n] -> [..., n]. Dtypes, Errors: as `eigh`.
    """
    return apply(EIGVALSH, (tensor(x, "eigvalsh"),)).output()


# -- singular values -------------------------------------------------------------------------------
def _infer_svd(a: TensorType, *, full: bool) -> tuple[TensorType, ...]:
    m, n = matrices("svd", a)
    batch, k = a.shape[:-2], minimum(m, n)
    u, v = ((*batch, m, m if full else k), (*batch, n if full else k, n))
    return TensorType(a.dtype, u), _vector_type(a), TensorType(a.dtype, v)


def _svd_vjp(context: Any, g: Any, out: Any, a: Tensor, *, full: bool) -> list[Any]:
    """u (diag(gs) + F * skew(u^T gu) s + s F * skew(v^T gv)) v^T, and for the parts of gu and gv
    that are orthogonal to u and v: (1 - u u^T) gu s^-1 v^T + u s^-1 gv^T (1 - v v^T), where
    F[i, j] = 1 / (s[j]^2 - s[i]^2) and skew(x) = x - x^T (Townsend 2016)."""
    u, s, vh = out
    gu, gs, gvh = g
    m, n = a.shape[-2:]
    if full and m != n:
        if gu is not None or gvh is not None:
            raise GradientError(
                "vectors that belong to no singular value have no derivative", op="svd",
                expected="full_matrices=False", given=show(a.shape),
            )  # fmt: skip
        k = s.shape[-1]
        u, vh = u[..., :, :k], vh[..., :k, :]
    inner = []
    if gu is not None or gvh is not None:
        f = _inverse_differences(multiply(s, s))
    if gs is not None:
        inner.append(multiply(eye(s.shape[-1], dtype=s.dtype), expand_dims(gs, -2)))
    if gu is not None:
        inner.append(_scaled(multiply(f, _skew(matmul(matrix_transpose(u), gu))), s))
    if gvh is not None:
        skewed = multiply(f, _skew(matmul(vh, matrix_transpose(gvh))))
        inner.append(multiply(expand_dims(s, -1), skewed))
    middle = _total(inner)
    if middle is None:
        return [None]
    parts = [matmul(matmul(u, middle), vh)]
    if gu is not None or gvh is not None:
        zero = equal(s, scalar_like(0, s))
        inverse = where(zero, scalar_like(0, s), 1 / where(zero, scalar_like(1, s), s))
    if gu is not None and m != s.shape[-1]:
        outside = gu - matmul(u, matmul(matrix_transpose(u), gu))
        parts.append(matmul(_scaled(outside, inverse), vh))
    if gvh is not None and n != s.shape[-1]:
        outside = gvh - matmul(matmul(gvh, matrix_transpose(vh)), vh)
        parts.append(matmul(_scaled(u, inverse), outside))
    return [_total(parts)]


def _skew(x: Tensor) -> Tensor:
    return x - matrix_transpose(x)


def _numpy_svd(a: Any, *, full: bool) -> Any:
    return np.linalg.svd(a, full_matrices=full)


def _expand_svd(a: Tensor, *, full: bool) -> tuple[Tensor, ...]:
    turned_u, s, turned_v = steps.svd(matrix_transpose(a), full, "svd")
    u, vh = matrix_transpose(turned_u), matrix_transpose(turned_v)
    return (_or_identity(u, s), s, _or_identity(vh, s)) if full else (u, s, vh)


def _or_identity(x: Tensor, s: Tensor) -> Tensor:
    """x, or 1 where there are no singular values, of which LAPACK computes nothing."""
    count = s.shape[-1]
    if isinstance(count, int) and count > 0:
        return x
    none = equal(size_as_tensor(count, int64), 0)
    return where(none, broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape), x)


SVD = of_numpy(
    "svd", _infer_svd, _numpy_svd, _svd_vjp, "u, s and v^T with u diag(s) v^T = a.",
    expand=_expand_svd, why=steps.NOT_CONVERGED,
)  # fmt: skip


class SVDResult(NamedTuple):
    """What `svd` gives, by NumPy's names."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """U, S and Vh with `(U * S) @ Vh = x`: the columns of U and the rows of Vh are orthonormal, the
    singular values S are the largest first.

    Shapes, k = min(m, n): [..., m, n] -> [..., m, m], [..., k], [..., n, n]; [..., m, k], [..., k],
    [..., k, n] without `full_matrices`, whose other columns and rows have no derivative.
    Dtypes: float. Errors: `ShapeError`, `DTypeError`; at the call `LinAlgError` where LAPACK does
    not converge.
    Source: derivative by Townsend, Differentiating the singular value decomposition, 2016.
    """
    return SVDResult(*apply(SVD, (tensor(x, "svd"),), full=bool(full_matrices)).outputs)


def _infer_svdvals(a: TensorType) -> tuple[TensorType, ...]:
    matrices("svdvals", a)
    return (_vector_type(a),)


def _svdvals_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    u, _, vh = apply(SVD, (a,), full=False).outputs
    return [matmul(_scaled(u, g), vh)]


SVDVALS = of_numpy(
    "svdvals", _infer_svdvals, np.linalg.svdvals, _svdvals_vjp, "Singular values.",
    expand=lambda a: steps.svdvals(matrix_transpose(a), "svdvals"), why=steps.NOT_CONVERGED,
)  # fmt: skip


def svdvals(x: Any, /) -> Tensor:
    """The singular values of matrices, the largest first.

    Shapes: [..., m, n] -> [..., min(m, n)]. Dtypes, Errors: as `svd`.
    """
    return apply(SVDVALS, (tensor(x, "svdvals"),)).output()


# -- QR --------------------------------------------------------------------------------------------
def _infer_qr(a: TensorType, *, complete: bool) -> tuple[TensorType, ...]:
    m, n = matrices("qr", a)
    batch, k = a.shape[:-2], m if complete else minimum(m, n)
    return TensorType(a.dtype, (*batch, m, k)), TensorType(a.dtype, (*batch, k, n))


def _numpy_qr(a: Any, *, complete: bool) -> Any:
    return np.linalg.qr(a, "complete" if complete else "reduced")


def _qr_vjp(context: Any, g: Any, out: Any, a: Tensor, *, complete: bool) -> list[Any]:
    """(gq + q copyltu(r gr^T - gq^T q)) r^-T for as many rows as columns or more, where
    copyltu(x) has the lower triangle of x on both sides of the diagonal (Walter and Lehmann 2018);
    of fewer, a = [x, y] and r = [u, q^T y], which adds y gw^T to gq and q gw to the gradient of y
    (Roberts and Roberts 2020)."""
    q, r = out
    gq, gr = g
    m, n = a.shape[-2:]
    wide = isinstance(m, int) and isinstance(n, int) and m < n
    if complete and not wide and m != n:
        raise GradientError(
            "columns of q that belong to no column of the matrix have no derivative", op="qr",
            expected='mode="reduced"', given=show(a.shape),
        )  # fmt: skip
    if not wide:
        return [_tall_qr(q, r, gq, gr)]
    rest = a[..., :, m:]
    gu = None if gr is None else gr[..., :, :m]
    gw = None if gr is None else gr[..., :, m:]
    if gw is not None:
        more = matmul(rest, matrix_transpose(gw))
        gq = more if gq is None else gq + more
    left = _tall_qr(q, r[..., :, :m], gq, gu)
    if left is None:
        return [None]
    right = scalar_like(0, a) * rest if gw is None else matmul(q, gw)
    return [concat([left, right], -1)]


def _tall_qr(q: Tensor, r: Tensor, gq: Tensor | None, gr: Tensor | None) -> Tensor | None:
    parts = []
    if gr is not None:
        parts.append(matmul(r, matrix_transpose(gr)))
    if gq is not None:
        parts.append(-matmul(matrix_transpose(gq), q))
    middle = _total(parts)
    if middle is None:
        return None
    both = tril(middle) + matrix_transpose(tril(middle, k=-1))
    rows = matmul(q, both) if gq is None else gq + matmul(q, both)
    return matrix_transpose(triangular_solve(r, matrix_transpose(rows)))


def _expand_qr(a: Tensor, *, complete: bool) -> tuple[Tensor, ...]:
    m, n = a.shape[-2:]
    k = minimum(m, n)
    packed, factors = steps.householder(matrix_transpose(a))
    r = triu(matrix_transpose(packed)) if complete else triu(matrix_transpose(packed)[..., :k, :])
    columns = packed[..., :k, :]
    if complete and k != m:
        zeros = broadcast_to(scalar_like(0, a), (*a.shape[:-2], m - k, m))
        columns = concat([columns, zeros], -2)
    return matrix_transpose(steps.householder_product(columns, factors)), r


QR = of_numpy(
    "qr", _infer_qr, _numpy_qr, _qr_vjp, "q with orthonormal columns and an upper r, q r = a.",
    expand=_expand_qr,
)  # fmt: skip


class QRResult(NamedTuple):
    """What `qr` gives, by NumPy's names."""

    Q: Tensor
    R: Tensor


def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """Q and R with `Q @ R = x`: the columns of Q are orthonormal, R is an upper triangle.

    Shapes, k = min(m, n): [..., m, n] -> [..., m, k] and [..., k, n]; in mode "complete"
    [..., m, m] and [..., m, n], of which the other columns have no derivative. Dtypes: float.
    Errors: `ArgumentError` for another mode, `ShapeError`, `DTypeError`; at the call `LinAlgError`
    for the derivative where the first columns are linearly dependent.
    Source: derivative by Walter and Lehmann, Algorithmic differentiation of linear algebra
    functions with application in optimum experimental design, 2018; of wide matrices by Roberts and
    Roberts, QR and LQ decomposition matrix backpropagation algorithms, 2020.
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(
            "no such mode", op="qr", expected="'reduced' or 'complete'", given=repr(mode)
        )
    return QRResult(*apply(QR, (tensor(x, "qr"),), complete=mode == "complete").outputs)
