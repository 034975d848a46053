"""Functions of matrices: pseudoinverse, rank, condition, least squares, powers, exponential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.conditions import agree, never_equal
from graphc.ir.dim import Size, maximum, product
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor, apply
from graphc.ir.shape import Shape, TensorType, broadcast, normalize_axis, show
from graphc.ops import factors_by_columns as steps
from graphc.ops.build import cast, operands, scalar_like, size_as_tensor, tensor
from graphc.ops.contract import matmul
from graphc.ops.create import eye
from graphc.ops.decompositions import matrices, svdvals
from graphc.ops.elementwise import (
    ceil,
    divide,
    greater,
    less,
    minimum,
    multiply,
    square,
    where,
)
from graphc.ops.norms import matrix_norm
from graphc.ops.powers import exp2, log2
from graphc.ops.reduce import max as largest_of
from graphc.ops.reduce import min as smallest_of
from graphc.ops.reduce import sum
from graphc.ops.shape import (
    broadcast_to,
    concat,
    expand_dims,
    matrix_transpose,
    permute_dims,
    reshape,
)
from graphc.ops.solving import inv, of_numpy, solve
from graphc.ops.solving import square as square_of
from graphc.ops.while_loop import while_loop


# -- pseudoinverse ---------------------------------------------------------------------------------
# A tolerance is an attribute where it is known, an operand of the batch's shape where it is not.
def _infer_pinv(a: TensorType, *given: TensorType, rtol: float | None) -> tuple[TensorType, ...]:
    m, n = matrices("pinv", a)
    return (TensorType(a.dtype, (*a.shape[:-2], n, m)),)


def _numpy_rtol(a: Any, rtol: float | None) -> float:
    """What is kept of the largest singular value, by default."""
    return float(np.finfo(a.dtype).eps) * max(*a.shape[-2:], 1) if rtol is None else rtol


def _numpy_pinv(a: Any, *given: Any, rtol: float | None) -> Any:
    return np.linalg.pinv(a, rtol=given[0] if given else _numpy_rtol(a, rtol))


def _pinv_vjp(
    context: Any, g: Tensor, out: Tensor, a: Tensor, *given: Tensor, rtol: float | None
) -> list[Any]:
    """-p^T g p^T + (1 - a p) g^T p p^T + p^T p g^T (1 - p a), for p = a^+ (Golub and Pereyra
    1973), which is right as long as the rank stays."""
    p, turned = matrix_transpose(out), matrix_transpose(g)
    first = matmul(matmul(p, g), p)
    left = matmul(matmul(turned, out), p)  # g^T p p^T
    left = left - matmul(a, matmul(out, left))
    right = matmul(matmul(p, out), turned)  # p^T p g^T
    right = right - matmul(matmul(right, out), a)
    return [left + right - first, *(None for _ in given)]


def _tolerance(a: Tensor, s: Tensor, rtol: float | Tensor | None) -> Tensor:
    """The size below which singular values count as 0: [..., 1]."""
    zero = broadcast_to(scalar_like(0, s), (*s.shape[:-1], 1))  # there may be no singular value
    largest = largest_of(concat([s, zero], -1), -1, True)
    if isinstance(rtol, Tensor):
        return multiply(largest, expand_dims(cast(rtol, s.dtype), -1))
    if rtol is not None:
        return multiply(largest, scalar_like(rtol, s))
    size = size_as_tensor(maximum(maximum(*a.shape[-2:]), 1), int64)
    return multiply(largest, cast(size, s.dtype) * float(np.finfo(s.dtype.numpy).eps))


def _expand_pinv(a: Tensor, *given: Tensor, rtol: float | None) -> Tensor:
    turned_u, s, v = steps.svd(matrix_transpose(a), False, "pinv")
    kept = greater(s, _tolerance(a, s, given[0] if given else rtol))
    inverse = where(kept, 1 / where(kept, s, scalar_like(1, s)), scalar_like(0, s))
    return matmul(multiply(v, expand_dims(inverse, -2)), turned_u)


PINV = of_numpy(
    "pinv", _infer_pinv, _numpy_pinv, _pinv_vjp, "The pseudoinverse of matrices.",
    expand=_expand_pinv, why=steps.NOT_CONVERGED,
)  # fmt: skip


def _ratio(op: str, rtol: Any) -> float | Tensor | None:
    if rtol is None:
        return None
    if isinstance(rtol, (int, float, np.number)) and not isinstance(rtol, bool):
        return float(rtol)
    if isinstance(rtol, (Tensor, np.ndarray)):
        return tensor(rtol, op)
    raise ArgumentError(
        "not a relative tolerance", op=op, expected="a number, one for each matrix, or None",
        given=repr(rtol)[:80],
    )  # fmt: skip


def pinv(x: Any, /, *, rtol: Any = None) -> Tensor:
    """The pseudoinverse of Moore and Penrose.

    Singular values of up to `rtol` times the largest count as 0; by default that is the larger size
    times the dtype's epsilon. Shapes: [..., m, n] -> [..., n, m], rtol [...]. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`, `ArgumentError` for no number; at the call `LinAlgError`
    where LAPACK does not converge. The derivative is that for a rank that does not change.
    Source: Golub and Pereyra, The differentiation of pseudo-inverses and nonlinear least squares
    problems whose variables separate, 1973.
    """
    t, ratio = tensor(x, "pinv"), _ratio("pinv", rtol)
    if not isinstance(ratio, Tensor):
        return apply(PINV, (t,), rtol=ratio).output()
    matrices("pinv", t.type)
    batch = broadcast("pinv", t.shape[:-2], ratio.shape)
    given = broadcast_to(cast(ratio, t.dtype), batch)
    return apply(PINV, (broadcast_to(t, (*batch, *t.shape[-2:])), given), rtol=None).output()


# -- rank, condition -------------------------------------------------------------------------------
def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    """How many singular values are above `rtol` times the largest one (int64).

    By default `rtol` is the larger size times the dtype's epsilon. Shapes: [..., m, n] -> [...].
    Errors: as `pinv`. It has no derivative.
    """
    t = tensor(x, "matrix_rank")
    matrices("matrix_rank", t.type)
    s = svdvals(t)
    return count_of(greater(s, _tolerance(t, s, _ratio("matrix_rank", rtol))))


def count_of(found: Tensor) -> Tensor:
    """How many are true, along the last axis."""
    return sum(cast(found, int64), -1)



def cond(x: Any, p: Any = None) -> Tensor:
    """The condition of matrices: the norm times that of the inverse; in the 2-norm (`p` None, or 2)
    the largest singular value over the smallest, and for -2 the other way round.

    `p` is an order of `matrix_norm`. Shapes: [..., n, n] -> [...]; in the 2-norm [..., m, n].
    Errors: those of `matrix_norm` and `inv`: in other norms than 2 and -2, that of a singular
    matrix is a `LinAlgError` at the call (NumPy gives inf).
    """
    t = tensor(x, "cond")
    if p not in (None, 2, -2):
        square_of("cond", t.type)
        return multiply(matrix_norm(t, ord=p), matrix_norm(inv(t), ord=p))
    matrices("cond", t.type)
    s = svdvals(t)
    largest, smallest = largest_of(s, -1), smallest_of(s, -1)
    return divide(smallest, largest) if p == -2 else divide(largest, smallest)


# -- least squares ---------------------------------------------------------------------------------
class LstsqResult(NamedTuple):
    """What `lstsq` gives."""

    x: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def lstsq(a: Any, b: Any, rcond: float | None = None) -> LstsqResult:
    """x with the least |a x - b|, and of these the one of least |x|.

    Beside x: the sums of squares of a x - b for each column of b, which NumPy leaves empty where
    the rank is below n or m is not above n; the rank; the singular values of a. Those of up to
    `rcond` times the largest count as 0, as in `pinv`.
    Shapes: a [m, n], b [m] or [m, k] -> x [n] or [n, k], residuals [1] or [k]. Dtypes: float.
    Errors: `ShapeError`, `DTypeError`; those of `pinv`.
    """
    left, right = operands("lstsq", a, b)
    m, _ = matrices("lstsq", left.type)
    if right.ndim not in (1, 2) or left.ndim != 2 or not agree(m, right.shape[0]):
        raise ShapeError(
            "the right side does not fit the matrix", op="lstsq",
            expected=f"({m},) or ({m}, k), and one matrix",
            given=f"{show(right.shape)} for {show(left.shape)}",
        )  # fmt: skip
    sides = expand_dims(right, 1) if right.ndim == 1 else right
    x = matmul(pinv(left, rtol=rcond), sides)
    residuals = sum(square(matmul(left, x) - sides), 0)
    s = svdvals(left)
    rank = count_of(greater(s, _tolerance(left, s, _ratio("lstsq", rcond))))
    found = reshape(x, x.shape[:1]) if right.ndim == 1 else x
    return LstsqResult(found, residuals, rank, s)


# -- powers, products ------------------------------------------------------------------------------
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
    base, result = (inv(t) if n < 0 else t), None
    count = -n if n < 0 else n
    while count:
        if count % 2:
            result = base if result is None else matmul(result, base)
        count //= 2
        base = matmul(base, base) if count else base
    assert result is not None
    return result


def multi_dot(arrays: Sequence[Any]) -> Tensor:
    """The product of two or more matrices, in the order of least cost, as chains of `@` are. The
    first and the last may be vectors.

    Errors: `ArgumentError` for fewer than two, `ShapeError` for other ranks or sizes.
    """
    parts = operands("multi_dot", *arrays) if len(arrays) > 1 else ()
    if not parts:
        raise ArgumentError(
            "too few matrices", op="multi_dot", expected="two or more", given=str(len(arrays))
        )
    for i, t in enumerate(parts):
        ranks = (1, 2) if i in (0, len(parts) - 1) else (2,)
        if t.ndim not in ranks:
            raise ShapeError(
                "not a matrix", op="multi_dot", expected="rank 2, or a vector at an end",
                given=f"{show(t.shape)}, number {i + 1} of {len(parts)}",
            )  # fmt: skip
    result, *others = parts
    for t in others:
        result = matmul(result, t)
    return result


# -- the exponential -------------------------------------------------------------------------------
# Of the Pade approximant of degree 13, and the norm up to which it is exact to float64 (Higham
# 2005).
_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
    10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip
_NORM = 5.371920351148152
_HALVINGS = 1100  # more leave nothing of a float64


def _numpy_expm(a: Any) -> Any:
    import scipy.linalg

    return scipy.linalg.expm(a).astype(a.dtype) if a.size else a.copy()


def _infer_expm(a: TensorType) -> tuple[TensorType, ...]:
    square_of("expm", a)
    return (a,)


def _expm_vjp(context: Any, g: Tensor, out: Tensor, a: Tensor) -> list[Any]:
    """The block above the diagonal of exp([[a^T, g], [0, a^T]]) (Mathias 1996, theorem 2.1)."""
    n, turned = a.shape[-1], matrix_transpose(a)
    above = concat([turned, g], -1)
    below = concat([scalar_like(0, a) * g, turned], -1)
    return [apply(EXPM, (concat([above, below], -2),)).output()[..., :n, n:]]


def _expand_expm(a: Tensor) -> Tensor:
    """By scaling and squaring: the matrix is halved until its norm is small, and the result squared
    as often."""
    size = expand_dims(matrix_norm(a, ord=1), (-2, -1)) if a.shape[-1] != 0 else None
    if size is None:
        return a
    large = greater(size, scalar_like(_NORM, a))
    ratio = where(large, size, scalar_like(_NORM, a)) * (1 / _NORM)
    halvings = cast(minimum(ceil(log2(ratio)), scalar_like(_HALVINGS, a)), int64)
    x = multiply(a, exp2(-cast(halvings, a.dtype)))
    c = [number / _PADE[0] for number in _PADE]
    x2 = matmul(x, x)
    x4 = matmul(x2, x2)
    x6 = matmul(x4, x2)
    one = eye(a.shape[-1], dtype=a.dtype)
    odd = matmul(x6, x6 * c[13] + x4 * c[11] + x2 * c[9]) + x6 * c[7] + x4 * c[5] + x2 * c[3]
    odd = matmul(x, odd + one * c[1])
    even = matmul(x6, x6 * c[12] + x4 * c[10] + x2 * c[8]) + x6 * c[6] + x4 * c[4] + x2 * c[2]
    even = even + one
    first = solve(even - odd, even + odd)
    most = largest_of(halvings)

    def squared(carry: Any) -> Any:
        turn, y = carry
        return turn + 1, where(less(turn, halvings), matmul(y, y), y)

    zero = scalar_like(0, most)
    found: Tensor = while_loop(lambda c: less(c[0], most), squared, (zero, first))[1]
    return found


EXPM = of_numpy(
    "expm", _infer_expm, _numpy_expm, _expm_vjp, "The exponential of square matrices.",
    expand=_expand_expm,
)  # fmt: skip


def expm(a: Any) -> Tensor:
    """The exponential of square matrices: 1 + a + a @ a / 2 + ...

    Shapes: [..., n, n] -> the same. Dtypes: float. Errors: `ShapeError`, `DTypeError`.
    Source: Higham, The scaling and squaring method for the matrix exponential revisited, 2005;
    derivative by Mathias, A chain rule for matrix functions and applications, 1996.

    >>> import graphc as gc
    >>> gc.evaluate(gc.linalg.expm([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]])
    """
    return apply(EXPM, (tensor(a, "expm"),)).output()


# -- tensors as matrices ---------------------------------------------------------------------------
def tensorinv(a: Any, ind: int = 2) -> Tensor:
    """The inverse of `a` as a map from its last axes to its first `ind`: `tensordot(tensorinv(a),
    a, ind)` is the identity.

    Shapes: [*m, *n], m the first `ind` axes, as many elements as n -> [*n, *m].
    Errors: `ShapeError`, `ArgumentError` for ind < 1; those of `inv`.
    """
    t = tensor(a, "tensorinv")
    if not isinstance(ind, (int, np.integer)) or ind <= 0:
        raise ArgumentError(
            "not a number of axes", op="tensorinv", expected="ind >= 1", given=repr(ind)
        )
    rows, columns = t.shape[:ind], t.shape[ind:]
    matrix = reshape(t, (_square("tensorinv", t, rows, columns),) * 2)
    return reshape(inv(matrix), (*columns, *rows))


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Tensor:
    """x with `tensordot(a, x, x.ndim) == b`; `axes` of a go to its end before.

    Shapes: a [*m, *n] with as many elements in m as in n, b [*m] -> [*n].
    Errors: `ShapeError`; those of `solve`.
    """
    left, right = operands("tensorsolve", a, b)
    if axes is not None:
        moved = [normalize_axis("tensorsolve", axis, left.ndim) for axis in axes]
        rest = [axis for axis in range(left.ndim) if axis not in moved]
        left = permute_dims(left, [*rest, *moved])
    rows, columns = left.shape[: right.ndim], left.shape[right.ndim :]
    size = _square("tensorsolve", left, rows, columns)
    if never_equal(size, right.size):
        raise ShapeError(
            "the right side does not fit", op="tensorsolve", expected=show(rows),
            given=show(right.shape),
        )  # fmt: skip
    return reshape(solve(reshape(left, (size, size)), reshape(right, (size,))), columns)


def _square(op: str, t: Tensor, rows: Shape, columns: Shape) -> Size:
    """How many rows there are, which are as many as columns. Errors: `ShapeError`."""
    size = product(rows)
    if never_equal(size, product(columns)):
        raise ShapeError(
            "no square matrix", op=op, expected="as many elements in the first axes as in the rest",
            given=f"{show(rows)} and {show(columns)}",
        )  # fmt: skip
    return size
