"""Equations: solve, inv, triangles, Cholesky's and LU's factors, on the last two axes; leading axes
are a batch.

Matrices of up to 4 rows, if that is known, are work in kernels (`small.py`); LAPACK computes others
(`by_columns.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, DTypeError, LinAlgError, ShapeError
from graphc.ir import origin
from graphc.ir.conditions import agree
from graphc.ir.dim import minimum
from graphc.ir.dim import product as size_product
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Batch, Batched, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, broadcast, show
from graphc.ops import by_columns, elimination, small
from graphc.ops.build import operands, scalar_like, tensor
from graphc.ops.contract import matmul, swaps_last_axes
from graphc.ops.create import eye, iota
from graphc.ops.elementwise import greater, multiply, where
from graphc.ops.manipulate import tril, triu
from graphc.ops.scalar import sum_to
from graphc.ops.shape import (
    broadcast_to,
    expand_dims,
    matrix_transpose,
    permute_dims,
    reshape,
    unit_axes_behind_first,
)
from graphc.ops.small import NOT_POSITIVE, SINGULAR, is_small

NO_ATTRIBUTES: Mapping[str, Axes] = {}  # leading axes are a batch, to NumPy too


def _named(op: str, function: Callable[..., Any], why: str) -> Callable[..., Any]:
    """NumPy's function, with the failure that it reports as a `LinAlgError` that says why."""

    def numpy(*arrays: Any, **attrs: Any) -> Any:
        try:
            found = function(*arrays, **attrs)
        except np.linalg.LinAlgError as error:
            raise LinAlgError(why, op=op, given=str(error)) from None
        return tuple(found) if isinstance(found, tuple) else found

    return numpy


def of_numpy(
    name: str,
    infer: Any,
    numpy: Any,
    vjp: Any,
    doc: str,
    expand: Any = None,
    why: str = SINGULAR,
    batched: Batched | None = None,
) -> Op:
    """An op whose meaning is a function of `np.linalg`."""
    return register(
        Op(
            name,
            Kind.HOST,
            infer,
            numpy=_named(name, numpy, why),
            vjp=vjp,
            expand=expand,
            axes=NO_ATTRIBUTES,
            batched=batched,
            may_fail=True,
            failure=LinAlgError,
            doc=doc,
        )
    )


def square(op: str, x: TensorType) -> Shape:
    """The batch axes. Errors: `DTypeError` for no float, `ShapeError` for no square matrices."""
    if not x.dtype.is_float:
        raise DTypeError(
            "only floats", op=op, expected="a float dtype", given=x.dtype.name,
            hint="use .astype('float64')",
        )  # fmt: skip
    if x.rank < 2 or not agree(x.shape[-2], x.shape[-1]):
        raise ShapeError("not square", op=op, expected="(..., n, n)", given=show(x.shape))
    return x.shape[:-2]


def _sides(op: str, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
    """The type of x with a x = b."""
    batch = square(op, a)
    if a.dtype is not b.dtype:
        raise DTypeError("one dtype", op=op, expected=a.dtype.name, given=b.dtype.name)
    if b.rank < 2 or not agree(a.shape[-1], b.shape[-2]):
        raise ShapeError(
            "the right side does not fit the matrix",
            op=op,
            expected=f"(..., {a.shape[-1]}, k), or one vector ({a.shape[-1]},)",
            given=show(b.shape),
        )
    return (TensorType(a.dtype, (*broadcast(op, batch, b.shape[:-2]), *b.shape[-2:])),)


def _together(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the batch that they have together."""
    batch = broadcast("solve", a.shape[:-2], b.shape[:-2])
    left, right = (broadcast_to(t, (*batch, *t.shape[-2:])) for t in (a, b))
    return left, right


def _as_column(solve: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Of one vector, as NumPy 2: b is one only if its rank is 1."""
    if b.ndim != 1:
        return solve(a, b)
    x = solve(a, expand_dims(b, 1))
    return reshape(x, x.shape[:-1])


# -- solve -----------------------------------------------------------------------------------------
def _solve_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> list[Any]:
    """gb = a^-T g and ga = -gb x^T (Giles 2008, section 2.3.1)."""
    gb = apply(SOLVE, (matrix_transpose(a), g)).output()
    ga = sum_to(-matmul(gb, matrix_transpose(out)), a.shape) if context.needs(0) else None
    return [ga, sum_to(gb, b.shape) if context.needs(1) else None]


def _with_new_axis(batch: Batch, *pair: Tensor) -> list[Tensor]:
    """Two operands whose axes are aligned at the last ones, the new axis before all others."""
    rank = 1 + max(t.ndim - batch.has(i) for i, t in enumerate(pair))
    return [unit_axes_behind_first(t, rank) if batch.has(i) else t for i, t in enumerate(pair)]


def _batched_solve(batch: Batch, a: Tensor, b: Tensor) -> Tensor:
    """One matrix is decomposed once: the new axis of b joins its columns."""
    if batch.has(0) or a.ndim > 2:
        return apply(SOLVE, _with_new_axis(batch, a, b)).output()
    last, rows = b.ndim - 1, b.ndim - 2
    columns = permute_dims(b, (rows, *range(rows), last))
    flat = reshape(columns, (b.shape[rows], size_product((*b.shape[:rows], b.shape[last]))))
    x = reshape(apply(SOLVE, (a, flat)).output(), columns.shape)
    return permute_dims(x, (*range(1, last), 0, last))


def _expand_solve(a: Tensor, b: Tensor, told_as: str = "solve") -> Tensor:
    if is_small(a):
        return small.solve(*_together(a, b), told_as)
    transposed = swaps_last_axes(a.node)  # of a and its transposed, one is decomposed
    packed, pivots = by_columns.lu(matrix_transpose(a.node.inputs[0] if transposed else a))
    pivots = by_columns.regular(packed, pivots, told_as)
    return matrix_transpose(
        by_columns.lu_solve(packed, pivots, matrix_transpose(b), transposed=transposed)
    )


SOLVE = of_numpy(
    "solve",
    lambda a, b: _sides("solve", a, b),
    np.linalg.solve,
    _solve_vjp,
    "x with a x = b.",
    expand=_expand_solve,
    batched=_batched_solve,
)


def solve(a: Any, b: Any, *, assume_a: str = "gen") -> Tensor:
    """x with `a @ x = b`, as NumPy 2: b is one vector only if its rank is 1.

    `assume_a="sym"`: a is symmetric, "pos": and positive definite, which takes half the work; its
    lower triangle is read, and the derivative by it is the symmetric one.
    Shapes: a [..., n, n], b [n] or [..., n, k] -> as b; the batch axes broadcast. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`, `ArgumentError` for what else a could be; at the call
    `LinAlgError` for a singular matrix, or one that is not positive definite.
    Source: derivative by Giles, Collected matrix derivative results, 2008.

    >>> import graphc as gc
    >>> gc.evaluate(gc.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0]))
    array([0.5 , 0.25])
    """
    left, right = operands("solve", a, b)
    if assume_a == "pos":
        return cho_solve((cholesky(left), True), right)
    if assume_a not in ("gen", "sym"):
        raise ArgumentError(
            "no such matrices", op="solve", expected="'gen', 'sym' or 'pos'", given=repr(assume_a),
            hint="gc.linalg.triangular_solve is for triangles",
        )  # fmt: skip
    op = SYMMETRIC_SOLVE if assume_a == "sym" else SOLVE
    return _as_column(lambda a, b: apply(op, (a, b)).output(), left, right)


# -- symmetric matrices ----------------------------------------------------------------------------
def _numpy_symmetric(a: Any, b: Any) -> Any:
    """By the elimination that each size has in programs."""
    if a.shape[-1] <= small.LARGEST:
        return np.linalg.solve(np.tril(a) + np.tril(a, -1).swapaxes(-1, -2), b)
    turned = b.swapaxes(-1, -2)
    return by_columns.numpy_symmetric(a, turned, told_as="solve").swapaxes(-1, -2)


def _symmetric_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> list[Any]:
    """As that of `solve`, the half of it from either triangle."""
    gb, ga = apply(SYMMETRIC_SOLVE, (a, g)).output(), None
    if context.needs(0):
        change = -matmul(gb, matrix_transpose(out))
        half = multiply(change + matrix_transpose(change), scalar_like(0.5, change))
        ga = sum_to(half, a.shape)
    return [ga, sum_to(gb, b.shape) if context.needs(1) else None]


def _expand_symmetric(a: Tensor, b: Tensor) -> Tensor:
    if is_small(a):
        whole = tril(a) + matrix_transpose(tril(a, k=-1))
        return small.solve(*_together(whole, b), "solve")
    return matrix_transpose(by_columns.symmetric_solve(a, matrix_transpose(b), "solve"))


def _batched_symmetric(batch: Batch, *pair: Tensor) -> Tensor:
    return apply(SYMMETRIC_SOLVE, _with_new_axis(batch, *pair)).output()


SYMMETRIC_SOLVE = of_numpy(
    "symmetric_solve", lambda a, b: _sides("solve", a, b), _numpy_symmetric, _symmetric_vjp,
    "x with a x = b, where a is symmetric and its lower triangle is read.",
    expand=_expand_symmetric, batched=_batched_symmetric,
)  # fmt: skip


# -- inverses --------------------------------------------------------------------------------------
def _infer_inv(a: TensorType) -> tuple[TensorType, ...]:
    square("inv", a)
    return (a,)


def _inv_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    """-x^T g x^T, for x = a^-1."""
    transposed = matrix_transpose(out)
    return [-matmul(matmul(transposed, g), transposed)]


INV = of_numpy(
    "inv", _infer_inv, np.linalg.inv, _inv_vjp, "The inverse of square matrices.",
    expand=lambda a: _expand_solve(a, eye(a.shape[-1], dtype=a.dtype), "inv"),
)  # fmt: skip


def inv(a: Any) -> Tensor:
    """The inverse of square matrices; to solve equations, `solve` is faster and more exact.

    Shapes: [..., n, n] -> the same. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; at the call `LinAlgError` for a singular matrix.
    """
    return apply(INV, (tensor(a, "inv"),)).output()


# -- triangles -------------------------------------------------------------------------------------
def _triangle(t: Tensor, lower: bool, unit: bool) -> Tensor:
    """What `triangular_solve` reads of a matrix, zeros elsewhere."""
    return tril(t, k=-unit) if lower else triu(t, k=int(unit))


def _triangular(a: Tensor, b: Tensor, lower: bool, unit: bool) -> Tensor:
    return apply(TRIANGULAR_SOLVE, (a, b), lower=lower, unit=unit).output()


def _triangular_vjp(
    context: Any, g: Tensor, out: Tensor, a: Tensor, b: Tensor, *, lower: bool, unit: bool
) -> list[Any]:
    """As that of `solve`; what is not read has no influence."""
    gb = _triangular(matrix_transpose(a), g, not lower, unit)
    ga = None
    if context.needs(0):
        ga = sum_to(_triangle(-matmul(gb, matrix_transpose(out)), lower, unit), a.shape)
    return [ga, sum_to(gb, b.shape) if context.needs(1) else None]


def _expand_triangular(a: Tensor, b: Tensor, *, lower: bool, unit: bool) -> Tensor:
    if is_small(a):
        return small.triangular_solve(*_together(a, b), lower, unit, "triangular_solve")
    transposed = not swaps_last_axes(a.node)  # what is in memory by columns is a transposed
    stored = a if transposed else a.node.inputs[0]
    x = by_columns.triangular_solve(
        stored, matrix_transpose(b), lower, transposed, unit, "triangular_solve"
    )
    return matrix_transpose(x)


def _batched_pair(batch: Batch, a: Tensor, b: Tensor, **attrs: Any) -> Tensor:
    return apply(TRIANGULAR_SOLVE, _with_new_axis(batch, a, b), **attrs).output()


def _numpy_triangular(a: Any, b: Any, *, lower: bool, unit: bool) -> Any:
    return small.numpy_triangular(a, b, lower=lower, unit=unit, told_as="triangular_solve")


TRIANGULAR_SOLVE = of_numpy(
    "triangular_solve",
    lambda a, b, *, lower, unit: _sides("triangular_solve", a, b),
    _numpy_triangular,
    _triangular_vjp,
    "x with a x = b, where one triangle of a is read.",
    expand=_expand_triangular,
    batched=_batched_pair,
)


def triangular_solve(
    a: Any, b: Any, *, lower: bool = False, trans: bool = False, unit_diagonal: bool = False
) -> Tensor:
    """x with `a @ x = b`, or `a.T @ x = b` if `trans`, for triangular a.

    The upper triangle of a is read, the lower one if `lower`; the diagonal is taken as ones if
    `unit_diagonal`. Shapes: a [..., n, n], b [n] or [..., n, k] -> as b. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; at the call `LinAlgError` for a 0 on the diagonal.
    """
    left, right = operands("triangular_solve", a, b)
    lower, unit = bool(lower) != bool(trans), bool(unit_diagonal)
    if trans:
        square("triangular_solve", left.type)
        left = matrix_transpose(left)
    return _as_column(lambda a, b: _triangular(a, b, lower, unit), left, right)


def solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False
) -> Tensor:
    """`triangular_solve` by SciPy's name and signature: `trans` is 0 or "N", else 1, "T", 2 or "C"
    for the transposed matrix.

    Shapes, dtypes, errors: as `triangular_solve`; `ArgumentError` for another `trans`.
    """
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ArgumentError(
            "no way to transpose",
            op="solve_triangular",
            expected='0 or "N", 1 or "T", 2 or "C"',
            given=repr(trans)[:80],
            where=origin.where(),
        )
    transposed = trans not in (0, "N")
    return triangular_solve(a, b, lower=lower, trans=transposed, unit_diagonal=unit_diagonal)


# -- cholesky --------------------------------------------------------------------------------------
def _infer_cholesky(a: TensorType) -> tuple[TensorType, ...]:
    square("cholesky", a)
    return (a,)


def _cholesky_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    """(s + s^T) / 2 with s = L^-T p L^-1, where p is the lower triangle of L^T g, its diagonal
    halved (Murray 2016, equation 10)."""
    upper = matrix_transpose(out)
    p = matmul(upper, g)
    row, column = (iota(p.shape[-2:], axis) for axis in (0, 1))
    half = where(greater(row, column), scalar_like(1, p), scalar_like(0.5, p))
    p = where(greater(column, row), scalar_like(0, p), multiply(p, half))
    left = _triangular(upper, p, False, False)  # L^-T p
    s = _triangular(upper, matrix_transpose(left), False, False)  # its transpose is left L^-1
    return [multiply(s + matrix_transpose(s), scalar_like(0.5, s))]


def _expand_cholesky(a: Tensor) -> Tensor:
    if is_small(a):
        return small.cholesky(a, "cholesky")
    return by_columns.cholesky(tril(a), "cholesky")


CHOLESKY = of_numpy(
    "cholesky", _infer_cholesky, np.linalg.cholesky, _cholesky_vjp,
    "The lower triangle L with L L^T = a.", expand=_expand_cholesky, why=NOT_POSITIVE,
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
    square("cholesky", t.type)
    if not upper:
        return apply(CHOLESKY, (t,)).output()
    return matrix_transpose(apply(CHOLESKY, (matrix_transpose(t),)).output())


class CholeskyFactor(NamedTuple):
    """What `cho_factor` gives, as SciPy: for `cho_solve`."""

    c: Tensor
    lower: bool


def cho_factor(a: Any, lower: bool = False) -> CholeskyFactor:
    """What `cholesky` gives, and whether it is the lower triangle: for `cho_solve`.

    Shapes, Dtypes, Errors: as `cholesky`.
    """
    return CholeskyFactor(cholesky(a, upper=not lower), bool(lower))


def cho_solve(c_and_lower: Any, b: Any) -> Tensor:
    """x with `a @ x = b`, where `cho_factor(a)` gave the first argument.

    Shapes: c [..., n, n], b [n] or [..., n, k] -> as b. Dtypes: float.
    Errors: `ArgumentError` for what is no such pair, `ShapeError`, `DTypeError`.

    >>> import graphc as gc
    >>> gc.evaluate(gc.linalg.cho_solve(gc.linalg.cho_factor([[4.0, 2.0], [2.0, 2.0]]), [2.0, 0.0]))
    array([ 1., -1.])
    """
    if not isinstance(c_and_lower, tuple) or len(c_and_lower) != 2:
        raise ArgumentError(
            "no factor and whether it is the lower one",
            op="cho_solve",
            expected="what cho_factor gives, or (c, lower)",
            given=type(c_and_lower).__name__,
        )
    c, lower = c_and_lower
    y = triangular_solve(c, b, lower=bool(lower), trans=not lower)
    return triangular_solve(c, y, lower=bool(lower), trans=bool(lower))


# -- lu --------------------------------------------------------------------------------------------
def _infer_lu(a: TensorType) -> tuple[TensorType, ...]:
    if not a.dtype.is_float:
        raise DTypeError(
            "only floats", op="lu", expected="a float dtype", given=a.dtype.name,
            hint="use .astype('float64')",
        )  # fmt: skip
    if a.rank < 2:
        raise ShapeError("not matrices", op="lu", expected="(..., m, n)", given=show(a.shape))
    *batch, m, n = a.shape
    k = minimum(m, n)
    return tuple(TensorType(a.dtype, (*batch, *s)) for s in ((m, m), (m, k), (k, n)))


def _numpy_lu(a: Any) -> Any:
    packed, pivots = elimination.lu(a)
    m, k = a.shape[-2], pivots.shape[-1]
    p = elimination.exchanged(np.eye(m, dtype=a.dtype), pivots, back=True)
    low = np.tril(packed[..., :k], -1) + np.eye(m, k, dtype=a.dtype)
    return np.broadcast_to(p, (*a.shape[:-2], m, m)), low, np.triu(packed[..., :k, :])


def _expand_lu(a: Tensor) -> tuple[Tensor, ...]:
    m, n = a.shape[-2:]
    k = minimum(m, n)
    packed, pivots = by_columns.lu(matrix_transpose(a))
    one = eye(m, dtype=a.dtype)
    p = by_columns.exchanged_back(broadcast_to(one, (*a.shape[:-2], m, m)), pivots)
    rows = matrix_transpose(packed)
    low = tril(rows[..., :, :k], k=-1) + eye(m, k, dtype=a.dtype)
    return matrix_transpose(p), low, triu(rows[..., :k, :])


def _lu_vjp(context: Any, g: Any, out: Any, a: Tensor) -> list[Any]:
    """p L^-T (tril(L^T gL, -1) + triu(gU U^T)) U^-T, of square matrices (the exchanges are
    constant)."""
    p, low, up = out
    if not agree(a.shape[-2], a.shape[-1]):
        raise ShapeError(
            "only LU of square matrices has a derivative here", op="lu", expected="(..., n, n)",
            given=show(a.shape),
        )  # fmt: skip
    parts = []
    if g[1] is not None:
        parts.append(tril(matmul(matrix_transpose(low), g[1]), k=-1))
    if g[2] is not None:
        parts.append(triu(matmul(g[2], matrix_transpose(up))))
    if not parts:
        return [None]
    middle = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    left = _triangular(matrix_transpose(low), middle, False, True)
    right = matrix_transpose(_triangular(up, matrix_transpose(left), False, False))
    return [matmul(p, right)]


LU = of_numpy(
    "lu", _infer_lu, _numpy_lu, _lu_vjp, "p, l and u with p l u = a: elimination with exchanges.",
    expand=_expand_lu,
)  # fmt: skip


class LUResult(NamedTuple):
    """What `lu` gives."""

    p: Tensor
    l: Tensor  # noqa: E741 (SciPy's name)
    u: Tensor


def lu(a: Any) -> LUResult:
    """p, l, u with `p @ l @ u = a`: p permutes rows, l is a lower triangle with ones on its
    diagonal, u an upper one.

    Shapes: [..., m, n] -> [..., m, m], [..., m, k], [..., k, n], k = min(m, n). Dtypes: float.
    Errors: `ShapeError`, `DTypeError`. Of square matrices it has a derivative; p is constant.
    Source: de Hoog, Anderssen and Lukas, Differentiation of matrix functionals using triangular
    factorization, 2011.
    """
    return LUResult(*apply(LU, (tensor(a, "lu"),)).outputs)
