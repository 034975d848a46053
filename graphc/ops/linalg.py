"""Linear algebra: solve, inv, det, slogdet, cholesky, on the last two axes; leading axes are a
batch. LAPACK computes them (through NumPy), so a kernel calls back into the host. What is made of
sums and products is in `norms.py`; `gc.linalg` has it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, DTypeError, LinAlgError, ShapeError
from graphc.ir.conditions import agree, never_equal
from graphc.ir.dim import product as size_product
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Batch, Batched, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, agree_on_shape, broadcast, show
from graphc.ops.build import operands, scalar_like, tensor
from graphc.ops.contract import matmul as matmul
from graphc.ops.create import eye, iota
from graphc.ops.einsum import tensordot as tensordot
from graphc.ops.einsum import vecdot as vecdot
from graphc.ops.elementwise import greater, multiply, where
from graphc.ops.norms import cross as cross
from graphc.ops.norms import diagonal as diagonal
from graphc.ops.norms import matrix_norm as matrix_norm
from graphc.ops.norms import norm as norm
from graphc.ops.norms import outer as outer
from graphc.ops.norms import trace as trace
from graphc.ops.norms import vector_norm as vector_norm
from graphc.ops.reduce import sum
from graphc.ops.scalar import sum_to
from graphc.ops.shape import (
    broadcast_to,
    expand_dims,
    permute_dims,
    reshape,
    unit_axes_behind_first,
)
from graphc.ops.shape import matrix_transpose as matrix_transpose

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _named(op: str, function: Callable[..., Any], why: str) -> Callable[..., Any]:
    """NumPy's function, with the failure that it reports as a `LinAlgError` that says why."""

    def numpy(*arrays: Any) -> Any:
        try:
            found = function(*arrays)
        except np.linalg.LinAlgError as error:
            raise LinAlgError(why, op=op, given=str(error)) from None
        return tuple(found) if isinstance(found, tuple) else found

    return numpy


_NO_ATTRIBUTES: Mapping[str, Axes] = {}  # leading axes are a batch, to NumPy too


def _host(
    name: str,
    infer: Any,
    numpy: Any,
    vjp: Any,
    doc: str,
    why: str = "the matrix is singular",
    batched: Batched | None = None,
) -> Op:
    return register(
        Op(
            name,
            Kind.HOST,
            infer,
            numpy=_named(name, numpy, why),
            vjp=vjp,
            axes=_NO_ATTRIBUTES,
            batched=batched,
            may_fail=True,
            doc=doc,
        )
    )


def _square(op: str, x: TensorType) -> Shape:
    """The batch axes. Errors: `DTypeError` for no float, `ShapeError` for no square matrices."""
    if not x.dtype.is_float:
        raise DTypeError("only floats", op=op, expected="a float dtype", given=x.dtype.name)
    if x.rank < 2 or not agree(x.shape[-2], x.shape[-1]):
        raise ShapeError("not square", op=op, expected="(..., n, n)", given=show(x.shape))
    return x.shape[:-2]


# -- solve, inv ------------------------------------------------------------------------------------
def _infer_solve(a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
    batch = _square("solve", a)
    if a.dtype is not b.dtype:
        raise DTypeError("one dtype", expected=a.dtype.name, given=b.dtype.name)
    if b.rank < 2 or not agree(a.shape[-1], b.shape[-2]):
        raise ShapeError(
            "the right side does not fit the matrix",
            expected=f"(..., {a.shape[-1]}, k), or one vector ({a.shape[-1]},)",
            given=show(b.shape),
        )
    return (TensorType(a.dtype, (*broadcast("solve", batch, b.shape[:-2]), *b.shape[-2:])),)


def _solve_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> list[Any]:
    """gb = a^-T g and ga = -gb x^T (Giles 2008, section 2.3.1)."""
    gb = apply(SOLVE, (matrix_transpose(a), g)).output()
    ga = sum_to(-matmul(gb, matrix_transpose(out)), a.shape) if context.needs(0) else None
    return [ga, sum_to(gb, b.shape) if context.needs(1) else None]


def _batched_solve(batch: Batch, a: Tensor, b: Tensor) -> Tensor:
    """One matrix is decomposed once: the new axis of b joins its columns."""
    if batch.has(0) or a.ndim > 2:
        rank = max(a.ndim, b.ndim)
        pair = (
            unit_axes_behind_first(t, rank) if batch.has(i) else t for i, t in enumerate((a, b))
        )
        return apply(SOLVE, tuple(pair)).output()
    last, rows = b.ndim - 1, b.ndim - 2
    columns = permute_dims(b, (rows, *range(rows), last))
    flat = reshape(columns, (b.shape[rows], size_product((*b.shape[:rows], b.shape[last]))))
    x = reshape(apply(SOLVE, (a, flat)).output(), columns.shape)
    return permute_dims(x, (*range(1, last), 0, last))


SOLVE = _host(
    "solve", _infer_solve, np.linalg.solve, _solve_vjp, "x with a x = b.", batched=_batched_solve
)


def solve(a: Any, b: Any) -> Tensor:
    """x with `a @ x = b`, as NumPy 2: b is one vector only if its rank is 1.

    Shapes: a [..., n, n], b [n] or [..., n, k] -> as b; the batch axes broadcast. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; at the call `LinAlgError` for a singular matrix.
    Source: derivative by Giles, Collected matrix derivative results, 2008.

    >>> import graphc as gc
    >>> gc.evaluate(gc.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0]))
    array([0.5 , 0.25])
    """
    left, right = operands("solve", a, b)
    if right.ndim != 1:
        return apply(SOLVE, (left, right)).output()
    x = apply(SOLVE, (left, expand_dims(right, 1))).output()
    return reshape(x, x.shape[:-1])


def _infer_inv(a: TensorType) -> tuple[TensorType, ...]:
    _square("inv", a)
    return (a,)


def _inv_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    """-x^T g x^T, for x = a^-1."""
    transposed = matrix_transpose(out)
    return [-matmul(matmul(transposed, g), transposed)]


INV = _host("inv", _infer_inv, np.linalg.inv, _inv_vjp, "The inverse of square matrices.")


def inv(a: Any) -> Tensor:
    """The inverse of square matrices; to solve equations, `solve` is faster and more exact.

    Shapes: [..., n, n] -> the same. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; at the call `LinAlgError` for a singular matrix.
    """
    return apply(INV, (tensor(a, "inv"),)).output()


# -- determinants ----------------------------------------------------------------------------------
def _infer_det(a: TensorType) -> tuple[TensorType, ...]:
    return (TensorType(a.dtype, _square("det", a)),)


def _det_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    """g times the cofactors: the derivative by an element is what it is multiplied with."""
    return [multiply(expand_dims(g, (-2, -1)), apply(COFACTOR, (a,)).output())]


DET = _host("det", _infer_det, np.linalg.det, _det_vjp, "The determinant of square matrices.")


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
    zero or the determinant leaves the range, by singular values."""
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


COFACTOR = _host(
    "cofactor", _infer_inv, _numpy_cofactor, _cofactor_vjp,
    "The cofactors of square matrices: the derivative of the determinant.",
)  # fmt: skip


def _infer_change(a: TensorType, g: TensorType) -> tuple[TensorType, ...]:
    _square("cofactor_change", a)
    if a.dtype is not g.dtype or not agree_on_shape(a.shape, g.shape):
        raise ShapeError("not of one type", expected=str(a), given=str(g))
    return (a,)


def _numpy_change(a: Any, g: Any) -> Any:
    """With h = u^T g v and p[i, j] the product of all singular values but those of i and j: the
    cofactors of a diagonal change by -p[i, j] h[j, i] beside it, and on it by sum p[i, j] h[j, j].
    """
    n = a.shape[-1]
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


COFACTOR_CHANGE = _host(
    "cofactor_change", _infer_change, _numpy_change, _change_vjp,
    "The derivative of the cofactors of a matrix along another.",
)  # fmt: skip


# -- the logarithm of the determinant --------------------------------------------------------------
def _infer_slogdet(a: TensorType) -> tuple[TensorType, ...]:
    result = TensorType(a.dtype, _square("slogdet", a))
    return result, result


def _slogdet_vjp(context: Any, g: Any, out: Any, a: Tensor) -> list[Any]:
    """g a^-T for the logarithm; the sign is constant."""
    if g[1] is None:
        return [None]
    return [multiply(expand_dims(g[1], (-2, -1)), matrix_transpose(inv(a)))]


SLOGDET = _host(
    "slogdet", _infer_slogdet, np.linalg.slogdet, _slogdet_vjp,
    "The sign of the determinant, and the logarithm of its absolute value: two outputs.",
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


# -- cholesky --------------------------------------------------------------------------------------
def _infer_cholesky(a: TensorType) -> tuple[TensorType, ...]:
    _square("cholesky", a)
    return (a,)


def _cholesky_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    """(s + s^T) / 2 with s = L^-T p L^-1, where p is the lower triangle of L^T g, its diagonal
    halved (Murray 2016, equation 10)."""
    upper = matrix_transpose(out)
    p = matmul(upper, g)
    row, column = (iota(p.shape[-2:], axis) for axis in (0, 1))
    half = where(greater(row, column), scalar_like(1, p), scalar_like(0.5, p))
    p = where(greater(column, row), scalar_like(0, p), multiply(p, half))
    left = apply(SOLVE, (upper, p)).output()  # L^-T p
    s = apply(SOLVE, (upper, matrix_transpose(left))).output()  # its transpose is left L^-1
    return [multiply(s + matrix_transpose(s), scalar_like(0.5, s))]


CHOLESKY = _host(
    "cholesky", _infer_cholesky, np.linalg.cholesky, _cholesky_vjp,
    "The lower triangle L with L L^T = a.", why="the matrix is not positive definite",
)  # fmt: skip


def cholesky(a: Any, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L with `L @ L.T = a`, for positive definite matrices, or L.T if `upper`.

    Only the lower triangle of `a` is read, or the upper one, as NumPy does; the derivative is the
    symmetric one.

    Shapes: [..., n, n] -> the same. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; at the call `LinAlgError` where not positive definite.
    Source: derivative by Murray, Differentiation of the Cholesky decomposition, 2016.
    """
    t = tensor(a, "cholesky")
    _square("cholesky", t.type)
    if not upper:
        return apply(CHOLESKY, (t,)).output()
    return matrix_transpose(apply(CHOLESKY, (matrix_transpose(t),)).output())


# -- powers ----------------------------------------------------------------------------------------
def matrix_power(x: Any, n: int, /) -> Tensor:
    """The product of `n` times the same square matrices; of the inverse, where n is negative.

    Shapes: [..., n, n] -> the same. Errors: `ArgumentError` for a power that is no int,
    `ShapeError`; `DTypeError` for the inverse of ints; `LinAlgError` at the call for that of a
    singular matrix.
    """
    t = tensor(x, "matrix_power")
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise ArgumentError(
            "not a number of times", op="matrix_power", expected="an int", given=repr(n)
        )
    if t.ndim < 2 or never_equal(t.shape[-2], t.shape[-1]):
        raise ShapeError(
            "not square", op="matrix_power", expected="(..., n, n)", given=show(t.shape)
        )
    if n == 0:
        return broadcast_to(eye(t.shape[-1], dtype=t.dtype), t.shape)
    square, result = (inv(t) if n < 0 else t), None
    count = -n if n < 0 else n
    while count:
        if count % 2:
            result = square if result is None else matmul(result, square)
        count //= 2
        square = matmul(square, square) if count else square
    assert result is not None
    return result


FUNCTIONS |= {f.__name__: f for f in (solve, inv, det, slogdet, cholesky)}
ALSO = {  # of `gc.linalg`, and of no other name
    f.__name__: f
    for f in (
        matrix_power, matmul, matrix_transpose, vector_norm, matrix_norm, norm, cross, outer,
        tensordot, vecdot, diagonal, trace,
    )
}  # fmt: skip
NUMPY = {f"linalg.{name}": f for name, f in (FUNCTIONS | ALSO).items()}
