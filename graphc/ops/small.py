"""Matrices of up to 4 rows, written out: what LAPACK computes of larger ones, as work in kernels.

Rows and columns are static, so a kernel has each element as a value and LLVM vectorises over the
batch. Elimination is by partial pivoting, as LAPACK's: rows are exchanged by choices, without a
branch. Minors alone would be faster, but lose all digits of a determinant that is small because
the matrix is close to one of rank 1. Where there are floats of twice the digits, they do not: in
those a product of two elements is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import DTypeError, LinAlgError, RuntimeFailure
from graphc.ir.dtype import DType, bool_, float32, float64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.shape import TensorType
from graphc.loops.values import Affine
from graphc.ops import elimination

LARGEST = 4  # rows of what is written out
SINGULAR = "the matrix is singular"
NOT_POSITIVE = "the matrix is not positive definite"

Rows: TypeAlias = "list[list[Any]]"


def is_small(t: Tensor) -> bool:
    """Whether the matrices of `t` have so few rows that they are written out."""
    n = t.shape[-1]
    return isinstance(n, int) and 0 < n <= LARGEST


def _small(
    name: str, infer: Any, numpy: Any, at: Any, cost: float, doc: str, may_fail: bool = False
) -> Op:
    return register(
        Op(
            name, Kind.MAP, of_floats(name, infer), numpy=numpy, at=at, axes={}, cost=cost,
            facts=frozenset({Fact.ROUNDS, Fact.STEP}), may_fail=may_fail,
            failure=LinAlgError if may_fail else RuntimeFailure, doc=doc,
        )
    )  # fmt: skip


def of_floats(name: str, infer: Callable[..., Any]) -> Callable[..., Any]:
    """A type rule for floats. Errors: `DTypeError` for others."""

    def checked(*types: TensorType, **attrs: Any) -> Any:
        if not types[0].dtype.is_float:
            raise DTypeError(
                "only floats", op=name, expected="a float dtype", given=types[0].dtype.name
            )
        return infer(*types, **attrs)

    return checked


# -- in kernels ------------------------------------------------------------------------------------
def _rows(matrix: Any, batch: Any) -> Rows:
    """The elements of one matrix as values."""
    m, n = matrix.type.shape[-2:]
    return [[matrix((*batch, Affine((), i), Affine((), j))) for j in range(n)] for i in range(m)]


def _choose(k: Any, place: Any, values: Sequence[Any]) -> Any:
    """The value at an index: after unrolling, no choice is left."""
    found, *others = values
    number = k.number(place)
    for i, value in enumerate(others, 1):
        found = k.where(k.equal(number, k.const(i, number.dtype)), value, found)
    return found


def _eliminate(k: Any, rows: Rows, sides: Rows) -> Any:
    """Bring `rows` into upper triangular form and do the same to `sides`, both in place. Gives
    whether the number of exchanges is odd."""
    n = len(rows)
    zero, one = (k.const(c, rows[0][0].dtype) for c in (0, 1))
    odd = k.const(False, bool_)
    for j in range(n):
        for i in range(j + 1, n):
            larger = k.greater(k.abs(rows[i][j]), k.abs(rows[j][j]))
            for part, first in ((rows, j), (sides, 0)):
                for c in range(first, len(part[i])):
                    x, y = part[j][c], part[i][c]
                    part[j][c], part[i][c] = k.where(larger, y, x), k.where(larger, x, y)
            odd = k.bitwise_xor(odd, larger)
        pivot = rows[j][j]
        divisor = k.where(k.equal(pivot, zero), one, pivot)  # of a pivot 0 all below are 0
        for i in range(j + 1, n):
            factor = k.divide(rows[i][j], divisor)
            for part, first in ((rows, j + 1), (sides, 0)):
                for c in range(first, len(part[i])):
                    part[i][c] = k.subtract(part[i][c], k.multiply(factor, part[j][c]))
    return odd


def _substitute(k: Any, rows: Rows, side: Sequence[Any], lower: bool, unit: bool) -> list[Any]:
    """x with `rows` x = `side`, of a triangle."""
    n = len(rows)
    x: list[Any] = [None] * n
    for i in range(n) if lower else reversed(range(n)):
        value = side[i]
        for j in range(i) if lower else range(i + 1, n):
            value = k.subtract(value, k.multiply(rows[i][j], x[j]))
        x[i] = value if unit else k.divide(value, rows[i][i])
    return x


def _fail_if_zero(k: Any, values: Sequence[Any]) -> None:
    for value in values:
        k.fail_if(k.equal(value, k.const(0, value.dtype)), SINGULAR)


# -- solve -----------------------------------------------------------------------------------------
def _solve_at(k: Any, operands: Any, index: Any, out: TensorType, *, told_as: str) -> Any:
    a, b = operands
    *batch, row, column = index
    rows = _rows(a, batch)
    n = len(rows)
    sides = [[b((*batch, Affine((), i), column))] for i in range(n)]
    _eliminate(k, rows, sides)
    _fail_if_zero(k, [rows[i][i] for i in range(n)])
    return _choose(k, row, _substitute(k, rows, [s for (s,) in sides], lower=False, unit=False))


def _numpy_solve(a: Any, b: Any, *, told_as: str) -> Any:
    packed, pivots = elimination.lu(a)
    if (packed.diagonal(0, -2, -1) == 0).any():
        raise LinAlgError(SINGULAR, op=told_as)
    return elimination.lu_solve(packed, pivots, b)


_SOLVE = _small(
    "small_solve", lambda a, b, *, told_as: (b,), _numpy_solve, _solve_at, 40,
    "x with a x = b, for static a of up to 4 rows; the axes before the last two are the same.",
    may_fail=True,
)  # fmt: skip


def solve(a: Tensor, b: Tensor, told_as: str) -> Tensor:
    """x with a x = b, of a batch that both have; a singular a fails as `told_as`."""
    return apply(_SOLVE, (a, b), told_as=told_as).output()


# -- determinants ----------------------------------------------------------------------------------
def _pivots_at(k: Any, operands: Any, index: Any) -> tuple[list[Any], Any]:
    """The pivots, and whether the determinant is minus the product of their absolute values."""
    rows = _rows(operands[0], index)
    odd = _eliminate(k, rows, [[] for _ in rows])
    pivots = [rows[i][i] for i in range(len(rows))]
    for pivot in pivots:
        odd = k.bitwise_xor(odd, k.less(pivot, k.const(0, pivot.dtype)))
    return pivots, odd


def _product(k: Any, sizes: Sequence[Any]) -> Any:
    """The product of sizes, in an order in which nothing leaves the range unless the whole does:
    the largest by the smallest; where that is above 1, next the smaller of what is left."""
    ordered = list(sizes)
    for end in range(len(ordered) - 1, 0, -1):
        for i in range(end):
            x, y = ordered[i], ordered[i + 1]
            larger = k.greater(x, y)
            ordered[i], ordered[i + 1] = k.where(larger, y, x), k.where(larger, x, y)
    if len(ordered) == 1:
        return ordered[0]
    smallest, *between, largest = ordered
    found = k.multiply(smallest, largest)
    if len(between) == 2:
        above = k.greater(found, k.const(1, found.dtype))
        found = k.multiply(found, k.where(above, *between))
        between = [k.where(above, *between[::-1])]
    return k.multiply(found, between[0]) if between else found


def _signed(k: Any, value: Any, odd: Any) -> Any:
    return k.where(odd, k.negative(value), value)


def _wider(dtype: DType) -> DType | None:
    """The floats of twice the digits, if there are some."""
    return float64 if dtype is float32 else None


def _by_minors(rows: Rows, multiply: Any, add: Any, subtract: Any) -> Any:
    """The determinant of `rows` by those of pairs of rows."""
    n = len(rows)
    if n == 1:
        return rows[0][0]
    *above, top, bottom = rows

    def pair(i: int, j: int, x: Sequence[Any], y: Sequence[Any]) -> Any:
        return subtract(multiply(x[i], y[j]), multiply(x[j], y[i]))

    if n == 2:
        return pair(0, 1, top, bottom)
    places = list(combinations(range(n), n - 2))  # of the rows above; the others are below
    terms = []
    for at in places:
        left = above[0][at[0]] if n == 3 else pair(at[0], at[1], *above)
        i, j = (c for c in range(n) if c not in at)
        terms.append(multiply(left, pair(i, j, top, bottom)))
    total = terms[0]
    for at, term in zip(places[1:], terms[1:], strict=True):
        odd = (sum(at) - sum(range(len(at)))) % 2
        total = subtract(total, term) if odd else add(total, term)
    return total


def _det_at(k: Any, operands: Any, index: Any, out: TensorType) -> Any:
    wider = _wider(out.dtype)
    if wider is not None:
        rows = [[k.cast(x, wider) for x in row] for row in _rows(operands[0], index)]
        return k.cast(_by_minors(rows, k.multiply, k.add, k.subtract), out.dtype)
    pivots, odd = _pivots_at(k, operands, index)
    return _signed(k, _product(k, [k.abs(p) for p in pivots]), odd)


def _any_zero(k: Any, pivots: Sequence[Any]) -> Any:
    found = k.const(False, bool_)
    for pivot in pivots:
        found = k.bitwise_or(found, k.equal(pivot, k.const(0, pivot.dtype)))
    return found


def _sign_at(k: Any, operands: Any, index: Any, out: TensorType) -> Any:
    pivots, odd = _pivots_at(k, operands, index)
    sign = _signed(k, k.const(1, out.dtype), odd)
    sign = k.where(_any_zero(k, pivots), k.const(0, out.dtype), sign)
    unknown = k.is_nan(pivots[0])
    for pivot in pivots[1:]:
        unknown = k.bitwise_or(unknown, k.is_nan(pivot))
    return k.where(unknown, k.const(np.nan, out.dtype), sign)


def _logabs_at(k: Any, operands: Any, index: Any, out: TensorType) -> Any:
    pivots, _ = _pivots_at(k, operands, index)
    total = k.log(k.abs(pivots[0]))
    for pivot in pivots[1:]:
        total = k.add(total, k.log(k.abs(pivot)))
    return k.where(_any_zero(k, pivots), k.const(-np.inf, out.dtype), total)


def _numpy_pivots(a: Any) -> tuple[Any, Any]:
    """As `_pivots_at`."""
    packed, exchanges = elimination.lu(a)
    pivots = packed.diagonal(0, -2, -1)
    return pivots, elimination.is_odd(exchanges) ^ np.logical_xor.reduce(pivots < 0, axis=-1)


@np.errstate(all="ignore")
def _numpy_det(a: Any) -> Any:
    if a.dtype == np.float32:
        rows = [list(np.moveaxis(row, -1, 0)) for row in np.moveaxis(a.astype(float), -2, 0)]
        return _by_minors(rows, np.multiply, np.add, np.subtract).astype(a.dtype)
    pivots, odd = _numpy_pivots(a)
    sizes = np.sort(np.abs(pivots), axis=-1)
    n = a.shape[-1]
    found = sizes[..., 0] * sizes[..., -1] if n > 1 else sizes[..., 0]
    if n == 4:
        above = found > 1
        found = found * np.where(above, sizes[..., 1], sizes[..., 2])
        found = found * np.where(above, sizes[..., 2], sizes[..., 1])
    if n == 3:
        found = found * sizes[..., 1]
    return np.where(odd, -found, found).astype(a.dtype)


def _numpy_sign(a: Any) -> Any:
    pivots, odd = _numpy_pivots(a)
    sign = np.where((pivots == 0).any(-1), 0, np.where(odd, -1, 1))
    return np.where(np.isnan(pivots).any(-1), np.nan, sign).astype(a.dtype)


@np.errstate(all="ignore")
def _numpy_logabs(a: Any) -> Any:
    pivots, _ = _numpy_pivots(a)
    total = np.log(np.abs(pivots)).sum(-1)
    return np.where((pivots == 0).any(-1), -np.inf, total).astype(a.dtype)


def _infer_number(a: TensorType) -> tuple[TensorType, ...]:
    return (TensorType(a.dtype, a.shape[:-2]),)


_DET = _small(
    "small_det", _infer_number, _numpy_det, _det_at, 60,
    "The determinant of static matrices of up to 4 rows.",
)  # fmt: skip
_SIGN = _small(
    "small_sign", _infer_number, _numpy_sign, _sign_at, 60,
    "The sign of the determinant of static matrices of up to 4 rows.",
)  # fmt: skip
_LOGABS = _small(
    "small_logabs", _infer_number, _numpy_logabs, _logabs_at, 100,
    "The logarithm of the size of the determinant of static matrices of up to 4 rows.",
)  # fmt: skip


def det(a: Tensor) -> Tensor:
    return apply(_DET, (a,)).output()


def slogdet(a: Tensor) -> tuple[Tensor, Tensor]:
    return apply(_SIGN, (a,)).output(), apply(_LOGABS, (a,)).output()


# -- cofactors -------------------------------------------------------------------------------------
def _minor(k: Any, matrix: Any, index: Any) -> Rows:
    """The matrix without the row and the column at the index."""
    *batch, row, column = index
    rows = _rows(matrix, batch)
    columns = [
        [_choose_pair(k, column, j, (r[j + 1], r[j])) for j in range(len(r) - 1)] for r in rows
    ]
    return [
        [_choose_pair(k, row, i, pair) for pair in zip(below, above, strict=True)]
        for i, (above, below) in enumerate(pairwise(columns))
    ]


def _choose_pair(k: Any, place: Any, i: int, pair: tuple[Any, Any]) -> Any:
    """What is at `i` where the element at `place` is left out: the one behind, or the one there."""
    number = k.number(place)
    return k.where(k.less_equal(number, k.const(i, number.dtype)), *pair)


def _is_odd_place(k: Any, index: Any) -> Any:
    total = k.number(index[-2] + index[-1])
    return k.equal(k.bitwise_and(total, k.const(1, total.dtype)), k.const(1, total.dtype))


def _expanded(k: Any, rows: Rows) -> Any:
    """The determinant of at most 2 rows: exact but for the rounding of its products."""
    if not rows:
        return None
    if len(rows) == 1:
        return rows[0][0]
    (a, b), (c, d) = rows
    return k.subtract(k.multiply(a, d), k.multiply(b, c))


def _cofactor_at(k: Any, operands: Any, index: Any, out: TensorType) -> Any:
    rows = _minor(k, operands[0], index)
    if not rows:
        return k.const(1, out.dtype)
    if len(rows) < 3:
        value = _expanded(k, rows)
        return _signed(k, value, _is_odd_place(k, index))
    odd = k.bitwise_xor(_eliminate(k, rows, [[] for _ in rows]), _is_odd_place(k, index))
    pivots = [rows[i][i] for i in range(3)]
    for pivot in pivots:
        odd = k.bitwise_xor(odd, k.less(pivot, k.const(0, pivot.dtype)))
    return _signed(k, _product(k, [k.abs(p) for p in pivots]), odd)


def _numpy_minors(a: Any, of: Callable[[Any], Any]) -> Any:
    n = a.shape[-1]
    result = np.empty_like(a)
    for i, j in np.ndindex(n, n):
        minor = np.delete(np.delete(a, i, axis=-2), j, axis=-1)
        result[..., i, j] = (-1) ** (i + j) * of(minor)
    return result


def numpy_cofactor(a: Any) -> Any:
    return _numpy_minors(a, _numpy_number)


def _numpy_number(a: Any) -> Any:
    if a.shape[-1] == 0:
        return np.ones(a.shape[:-2], a.dtype)
    if a.shape[-1] == 2:
        return a[..., 0, 0] * a[..., 1, 1] - a[..., 0, 1] * a[..., 1, 0]
    return _numpy_det(a)


_COFACTOR = _small(
    "small_cofactor", lambda a: (a,), np.errstate(all="ignore")(numpy_cofactor), _cofactor_at, 40,
    "The cofactors of static matrices of up to 4 rows.",
)  # fmt: skip


def cofactor(a: Tensor) -> Tensor:
    return apply(_COFACTOR, (a,)).output()


def _change_at(k: Any, operands: Any, index: Any, out: TensorType) -> Any:
    """Each minor changes by its own cofactors times the change of its elements."""
    rows, along = (_minor(k, operand, index) for operand in operands)
    total = k.const(0, out.dtype)
    for i, j in np.ndindex(len(rows), len(rows)):
        inner = [row[:j] + row[j + 1 :] for row in (*rows[:i], *rows[i + 1 :])]
        term = along[i][j] if not inner else k.multiply(_expanded(k, inner), along[i][j])
        total = k.subtract(total, term) if (i + j) % 2 else k.add(total, term)
    return _signed(k, total, _is_odd_place(k, index))


def numpy_change(a: Any, along: Any) -> Any:
    n = a.shape[-1]
    result = np.zeros_like(a)
    for i, j in np.ndindex(n, n):
        minor, change = (np.delete(np.delete(x, i, -2), j, -1) for x in (a, along))
        inner = _numpy_minors(minor, _numpy_number)
        result[..., i, j] = (-1) ** (i + j) * (inner * change).sum((-2, -1))
    return result


_CHANGE = _small(
    "small_cofactor_change", lambda a, along: (a,), np.errstate(all="ignore")(numpy_change),
    _change_at, 60, "The derivative of the cofactors of static matrices of up to 4 rows.",
)  # fmt: skip


def cofactor_change(a: Tensor, along: Tensor) -> Tensor:
    return apply(_CHANGE, (a, along)).output()


# -- cholesky --------------------------------------------------------------------------------------
def _cholesky_at(k: Any, operands: Any, index: Any, out: TensorType, *, told_as: str) -> Any:
    *batch, row, column = index
    n = out.shape[-1]
    (a,) = operands
    zero = k.const(0, out.dtype)
    lower: Rows = [[zero] * n for _ in range(n)]
    for j in range(n):
        for i in range(j, n):
            value = a((*batch, Affine((), i), Affine((), j)))
            for c in range(j):
                value = k.subtract(value, k.multiply(lower[i][c], lower[j][c]))
            if i == j:
                k.fail_if(k.less_equal(value, zero), NOT_POSITIVE)
                lower[j][j] = k.sqrt(value)
            else:
                lower[i][j] = k.divide(value, lower[j][j])
    return _choose(k, row, [_choose(k, column, values) for values in lower])


def _numpy_cholesky(a: Any, *, told_as: str) -> Any:
    found = elimination.cholesky(a)
    pivots = found.diagonal(0, -2, -1)
    if (np.isnan(pivots) & ~np.isnan(a).any((-2, -1))[..., None]).any() or (pivots == 0).any():
        raise LinAlgError(NOT_POSITIVE, op=told_as)
    return found


_CHOLESKY = _small(
    "small_cholesky", lambda a, *, told_as: (a,), _numpy_cholesky, _cholesky_at, 30,
    "The lower triangle L with L L^T = a, for static a of up to 4 rows.", may_fail=True,
)  # fmt: skip


def cholesky(a: Tensor, told_as: str) -> Tensor:
    return apply(_CHOLESKY, (a,), told_as=told_as).output()


# -- triangular ------------------------------------------------------------------------------------
def _triangular_at(
    k: Any, operands: Any, index: Any, out: TensorType, *, lower: bool, unit: bool, told_as: str
) -> Any:
    a, b = operands
    *batch, row, column = index
    rows = _rows(a, batch)
    if not unit:
        _fail_if_zero(k, [rows[i][i] for i in range(len(rows))])
    side = [b((*batch, Affine((), i), column)) for i in range(len(rows))]
    return _choose(k, row, _substitute(k, rows, side, lower, unit))


def numpy_triangular(a: Any, b: Any, *, lower: bool, unit: bool, told_as: str) -> Any:
    """x with a x = b, by substitution. Errors: `LinAlgError` for a 0 on the diagonal."""
    if not unit and (a.diagonal(0, -2, -1) == 0).any():
        raise LinAlgError(SINGULAR, op=told_as)
    return elimination.substitute(a, b, lower, unit)


_TRIANGULAR = _small(
    "small_triangular_solve", lambda a, b, **attrs: (b,), numpy_triangular, _triangular_at, 20,
    "x with a x = b, for static triangular a of up to 4 rows; the batch is the same.",
    may_fail=True,
)  # fmt: skip


def triangular_solve(a: Tensor, b: Tensor, lower: bool, unit: bool, told_as: str) -> Tensor:
    return apply(_TRIANGULAR, (a, b), lower=lower, unit=unit, told_as=told_as).output()
