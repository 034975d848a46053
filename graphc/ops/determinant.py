"""Determinants of square matrices, their derivatives at singular matrices too, their logarithms."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ShapeError
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor, apply
from graphc.ir.shape import TensorType, agree_on_shape
from graphc.ops import by_columns, small
from graphc.ops.branch import cond
from graphc.ops.build import cast, scalar_like, tensor
from graphc.ops.contract import matmul
from graphc.ops.create import eye, iota
from graphc.ops.cumulative import cumulative_prod
from graphc.ops.decompositions import svd
from graphc.ops.diagonal import main_diagonal
from graphc.ops.elementwise import (
    abs,
    equal,
    exp,
    isfinite,
    isnan,
    less,
    log,
    logical_and,
    logical_not,
    logical_or,
    multiply,
    negative,
    not_equal,
    round,
    where,
)
from graphc.ops.reduce import all, any, sum
from graphc.ops.shape import expand_dims, flip, matrix_transpose
from graphc.ops.small import is_small
from graphc.ops.solving import inv, of_numpy, square


# -- determinants ----------------------------------------------------------------------------------
def _infer_det(a: TensorType) -> tuple[TensorType, ...]:
    return (TensorType(a.dtype, square("det", a)),)


def _det_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    """g times the cofactors: the derivative by an element is what it is multiplied with."""
    return [multiply(expand_dims(g, (-2, -1)), apply(COFACTOR, (a,)).output())]


def _expand_det(a: Tensor) -> Tensor:
    if is_small(a):
        return small.det(a)
    sign, size = slogdet(a)
    return multiply(sign, exp(size))  # as NumPy


DET = of_numpy(
    "det", _infer_det, np.linalg.det, _det_vjp, "The determinant of square matrices.",
    expand=_expand_det,
)  # fmt: skip


def det(a: Any) -> Tensor:
    """The determinant of square matrices.

    Its first and second derivatives are right at singular matrices too; a third one is a
    `LinAlgError` there, at the call.

    Shapes: [..., n, n] -> [...]. Dtypes: float. Errors: `ShapeError`, `DTypeError`.
    """
    return apply(DET, (tensor(a, "det"),)).output()


# -- cofactors: the derivative of the determinant, a polynomial of the elements --------------------
def _by_svd(a: Any) -> tuple[Any, Any, Any, Any]:
    """u, s, v^T and the sign det(u) det(v): cofactors of u s v^T are sign u (those of s) v^T."""
    u, s, v = np.linalg.svd(a)
    sign = np.rint(np.linalg.det(u) * np.linalg.det(v))[..., None, None].astype(a.dtype)
    return u, s, v, sign


def _others(s: Any) -> Any:
    """The product of the others, along the last axis."""
    before, behind = np.ones_like(s), np.ones_like(s)
    np.cumprod(s[..., :-1], axis=-1, out=before[..., 1:])
    np.cumprod(s[..., :0:-1], axis=-1, out=behind[..., -2::-1])
    return before * behind


def _numpy_cofactor(a: Any) -> Any:
    """det(a) a^-T, which is accurate however ill-conditioned a is (Stewart 1998); where a pivot is
    zero or the determinant leaves the range, by singular values. Of few rows, the polynomial: it
    has no NaN where the elements of which it is made are none."""
    if 0 < a.shape[-1] <= small.LARGEST:
        return small.numpy_cofactor(a)
    flat = a.reshape(math.prod(a.shape[:-2]), *a.shape[-2:])
    result, found = np.full_like(flat, np.nan), np.linalg.det(flat)
    finite = np.isfinite(flat).all(axis=(-2, -1))
    regular = finite & (found != 0) & np.isfinite(found)
    inverse = np.linalg.inv(flat[regular]).swapaxes(-1, -2)
    result[regular] = found[regular, None, None] * inverse
    u, s, v, sign = _by_svd(flat[finite & ~regular])
    result[finite & ~regular] = sign * ((u * _others(s)[..., None, :]) @ v)
    return result.reshape(a.shape)


def _cofactor_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    return [apply(COFACTOR_CHANGE, (a, g)).output()]


def _infer_cofactor(a: TensorType) -> tuple[TensorType, ...]:
    square("cofactor", a)
    return (a,)


def _expand_cofactor(a: Tensor) -> Tensor:
    """As NumPy's: by an inverse without the check of its pivots, and by singular values where there
    is a matrix for which that is no answer."""
    if is_small(a):
        return small.cofactor(a)
    one, value = eye(a.shape[-1], dtype=a.dtype), expand_dims(det(a), (-2, -1))
    packed, pivots = by_columns.lu(matrix_transpose(a))
    inverse = matrix_transpose(by_columns.lu_solve(packed, pivots, one, transposed=True))
    finite = all(isfinite(a), (-2, -1), keepdims=True)
    rest = logical_and(finite, logical_or(equal(value, 0), logical_not(isfinite(value))))
    found = cond(
        any(rest),
        lambda: where(rest, _by_singular_values(where(rest, a, one)), value * inverse),
        lambda: value * inverse,
    )
    result: Tensor = where(finite, found, scalar_like(np.nan, a))
    return result


def _by_singular_values(a: Tensor) -> Tensor:
    """The cofactors of u s v^T: those of s, between u and v^T, and the sign det(u) det(v)."""
    u, s, vh, sign = _svd_with_sign(a)
    return multiply(sign, matmul(multiply(u, expand_dims(_product_of_others(s), -2)), vh))


def _svd_with_sign(a: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `_by_svd`."""
    u, s, vh = svd(a, full_matrices=False)
    return u, s, vh, expand_dims(round(det(u) * det(vh)), (-2, -1))


def _product_of_others(s: Tensor) -> Tensor:
    """As `_others`."""
    n = s.shape[-1]
    before = cumulative_prod(s, axis=-1, include_initial=True)[..., :n]
    behind = flip(cumulative_prod(flip(s, -1), axis=-1, include_initial=True)[..., :n], -1)
    return before * behind


COFACTOR = of_numpy(
    "cofactor", _infer_cofactor, _numpy_cofactor, _cofactor_vjp,
    "The cofactors of square matrices: the derivative of the determinant.", expand=_expand_cofactor,
)  # fmt: skip


def _infer_change(a: TensorType, g: TensorType) -> tuple[TensorType, ...]:
    square("cofactor_change", a)
    if a.dtype is not g.dtype or not agree_on_shape(a.shape, g.shape):
        raise ShapeError("not of one type", expected=str(a), given=str(g))
    return (a,)


def _numpy_change(a: Any, g: Any) -> Any:
    """With h = u^T g v and p[i, j] the product of all singular values but those of i and j: the
    cofactors of a diagonal change by -p[i, j] h[j, i] beside it, and on it by sum p[i, j] h[j, j].
    Of few rows, the polynomial: it has no NaN where the elements of which it is made are none.
    """
    n = a.shape[-1]
    if 0 < n <= small.LARGEST:
        return small.numpy_change(a, g)
    flat, along = (x.reshape(math.prod(a.shape[:-2]), n, n) for x in (a, g))
    result = np.full_like(flat, np.nan)
    finite = np.isfinite(flat).all(axis=(-2, -1))
    u, s, v, sign = _by_svd(flat[finite])
    h = u.swapaxes(-1, -2) @ along[finite] @ v.swapaxes(-1, -2)
    p = np.zeros_like(h)
    for i in range(n):
        rest = s.copy()
        rest[:, i] = 1
        p[:, i] = _others(rest)
        p[:, i, i] = 0
    change = -p * h.swapaxes(-1, -2)
    here = np.arange(n)
    change[:, here, here] = (p @ h[:, here, here, None])[..., 0]
    result[finite] = sign * (u @ change @ v)
    return result.reshape(a.shape)


def _change_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor, along: Tensor) -> list[Any]:
    """By `along` the same, as second derivatives are symmetric; by `a`, with x = a^-T, from
    det(a) (<x, along> <x, g> - <g, x along^T x>), which needs the inverse."""
    ga = _third_derivative(a, along, g) if context.needs(0) else None
    return [ga, apply(COFACTOR_CHANGE, (a, g)).output() if context.needs(1) else None]


def _third_derivative(a: Tensor, first: Tensor, second: Tensor) -> Tensor:
    x = matrix_transpose(inv(a))

    def inner(y: Tensor, z: Tensor) -> Tensor:
        return sum(multiply(y, z), axis=(-2, -1), keepdims=True)

    def through(y: Tensor, z: Tensor) -> Tensor:
        return matmul(matmul(y, matrix_transpose(z)), x)

    by_first, by_second = through(x, first), through(x, second)
    size, other = inner(x, first), inner(x, second)
    value = size * other - inner(second, by_first)
    change = size * by_second + other * by_first
    change = change - through(by_first, second) - through(by_second, first)
    return multiply(expand_dims(det(a), (-2, -1)), value * x - change)


def _expand_change(a: Tensor, g: Tensor) -> Tensor:
    """As NumPy's."""
    if is_small(a):
        return small.cofactor_change(a, g)
    n = a.shape[-1]
    finite = all(isfinite(a), (-2, -1), keepdims=True)
    one, zero = eye(n, dtype=a.dtype), scalar_like(0, a)
    u, s, vh, sign = _svd_with_sign(where(finite, a, one))
    h = matmul(matmul(matrix_transpose(u), g), matrix_transpose(vh))
    on_diagonal = equal(one, scalar_like(1, one))
    without = where(on_diagonal, scalar_like(1, s), expand_dims(s, -2))  # row i: all but s[i]
    p = where(on_diagonal, zero, _product_of_others(without))
    along = expand_dims(main_diagonal(h, (h.ndim - 2, h.ndim - 1)), -1)
    change = where(on_diagonal, matmul(p, along), negative(multiply(p, matrix_transpose(h))))
    found = multiply(sign, matmul(matmul(u, change), vh))
    result: Tensor = where(finite, found, scalar_like(np.nan, a))
    return result


COFACTOR_CHANGE = of_numpy(
    "cofactor_change", _infer_change, _numpy_change, _change_vjp,
    "The derivative of the cofactors of a matrix along another.", expand=_expand_change,
)  # fmt: skip


# -- the logarithm of the determinant --------------------------------------------------------------
def _infer_slogdet(a: TensorType) -> tuple[TensorType, ...]:
    result = TensorType(a.dtype, square("slogdet", a))
    return result, result


def _numpy_slogdet(a: Any) -> tuple[Any, Any]:
    """NumPy's sign of what is NaN is 1 or -1, by the order of its pivots: here it is NaN too."""
    sign, size = np.linalg.slogdet(a)
    return np.where(np.isnan(size), size, sign), size


def _slogdet_vjp(context: Any, g: Any, out: Any, a: Tensor) -> list[Any]:
    """g a^-T for the logarithm; the sign is constant."""
    if g[1] is None:
        return [None]
    return [multiply(expand_dims(g[1], (-2, -1)), matrix_transpose(inv(a)))]


def _expand_slogdet(a: Tensor) -> tuple[Tensor, Tensor]:
    """By the pivots of an elimination: the sign changes with each that is negative, and with each
    exchange."""
    if is_small(a):
        return small.slogdet(a)
    packed, exchanges = by_columns.lu(matrix_transpose(a))
    pivots = main_diagonal(packed, (a.ndim - 2, a.ndim - 1))
    moved = not_equal(exchanges, iota(exchanges.shape[-1:], 0) + 1)
    turns = cast(moved, int64) + cast(less(pivots, scalar_like(0, pivots)), int64)
    odd = equal(sum(turns, -1) % 2, 1)
    one, zero = scalar_like(1, pivots), scalar_like(0, pivots)
    sign = where(any(equal(pivots, zero), -1), zero, where(odd, -one, one))
    size = sum(log(abs(pivots)), -1)
    return where(isnan(size), size, sign), size


SLOGDET = of_numpy(
    "slogdet", _infer_slogdet, _numpy_slogdet, _slogdet_vjp,
    "The sign of the determinant, and the logarithm of its absolute value: two outputs.",
    expand=_expand_slogdet,
)  # fmt: skip


class SlogdetResult(NamedTuple):
    """What `slogdet` gives, by NumPy's names."""

    sign: Tensor
    logabsdet: Tensor


def slogdet(a: Any) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its absolute value, without overflow.

    Shapes: [..., n, n] -> two of [...]. Dtypes: float. A singular matrix gives 0 and -inf.
    Errors: `ShapeError`, `DTypeError`. There is no derivative at a singular matrix: it is a
    `LinAlgError` at the call.
    """
    return SlogdetResult(*apply(SLOGDET, (tensor(a, "slogdet"),)).outputs)
