"""Linear algebra made of sums and products: norms, cross products, and `gc.linalg`'s own meaning of
names that `gc` has too, whose axes are the last ones there.
"""

from __future__ import annotations

import math
from typing import Any

from graphc.errors import ArgumentError, OutOfRangeError, ShapeError
from graphc.ir.conditions import never_equal
from graphc.ir.dtype import float64
from graphc.ir.node import Tensor
from graphc.ir.shape import normalize_axes, normalize_axis, show
from graphc.ops.build import cast, operands, tensor
from graphc.ops.complex import imag, real
from graphc.ops.decompositions import svdvals
from graphc.ops.diagonal import diagonal as any_diagonal
from graphc.ops.einsum import outer as outer_of_all
from graphc.ops.elementwise import abs, add, multiply, not_equal, square, subtract
from graphc.ops.getitem import read, select
from graphc.ops.powers import power, root_of_powers, root_of_squares
from graphc.ops.reduce import max, min, restore_axes, sum
from graphc.ops.shape import expand_dims, permute_dims, reshape, stack


# -- norms -----------------------------------------------------------------------------------------
def _float(op: str, x: Any) -> Tensor:
    t = tensor(x, op)
    return t if t.dtype.has_derivative else cast(t, float64)


def _square_of_size(t: Tensor) -> Tensor:
    """|x| squared: of a complex number the sum of the squares of its parts."""
    return add(square(real(t)), square(imag(t))) if t.dtype.is_complex else square(t)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """The norm of the elements over `axis` (an int, several, or None for all) as one vector.

    `ord` is a number p: the p-th root of the sum of p-th powers of absolute values; `inf` and
    `-inf` give the largest and the smallest of these, 0 how many are not 0. Dtypes: ints give
    float64.
    Errors: `ArgumentError` for no number. The derivative of a norm of an order of at least 1 is 0
    where all elements are 0, as torch has it; that of `gc.sqrt(gc.sum(x * x))` is NaN there.

    >>> import graphc as gc
    >>> gc.evaluate(gc.linalg.vector_norm([3.0, 4.0]))
    array(5.)
    """
    t = _float("vector_norm", x)
    if not isinstance(ord, (int, float)) or isinstance(ord, bool):
        raise ArgumentError(
            "not the order of a norm", op="vector_norm", expected="a number", given=repr(ord)
        )
    if ord == 2:
        return root_of_squares(sum(_square_of_size(t), axis, keepdims))
    size = abs(t)
    if math.isinf(ord):
        return max(size, axis, keepdims) if ord > 0 else min(size, axis, keepdims)
    if ord == 0:
        return sum(cast(not_equal(t, 0), t.dtype.part), axis, keepdims)
    if ord == 1:
        return sum(size, axis, keepdims)
    found = sum(power(size, float(ord)), axis, keepdims)
    return root_of_powers(found, ord) if ord > 1 else power(found, 1 / ord)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The norm of matrices, which are the last two axes.

    `ord` is "fro" (the root of the sum of squares), 1 or -1 (the largest or smallest sum of
    absolute values of a column), inf or -inf (of a row); 2 or -2 (the largest or smallest singular
    value), "nuc" (their sum). Dtypes: ints give float64.
    Errors: `ShapeError` for fewer than two axes, `ArgumentError` for another order.
    """
    t = _float("matrix_norm", x)
    if t.ndim < 2:
        raise ShapeError(
            "not matrices", op="matrix_norm", expected="(..., m, n)", given=show(t.shape)
        )
    if ord == "fro":
        return root_of_squares(sum(_square_of_size(t), (-2, -1), keepdims))
    if ord in ("nuc", 2, -2):
        values = svdvals(t)
        found = (sum if ord == "nuc" else max if ord == 2 else min)(values, -1)
        return reshape(found, (*t.shape[:-2], 1, 1)) if keepdims else found
    if ord not in (1, -1, math.inf, -math.inf):
        raise ArgumentError(
            "no such norm of matrices",
            op="matrix_norm",
            expected="'fro', 'nuc', 1, -1, 2, -2, inf or -inf",
            given=repr(ord),
        )
    first, second = (-2, -1) if math.isfinite(ord) else (-1, -2)
    sums = sum(abs(t), first, keepdims=True)
    found = max(sums, second, keepdims=True) if ord > 0 else min(sums, second, keepdims=True)
    return found if keepdims else reshape(found, t.shape[:-2])


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """NumPy's norm: of a matrix where `axis` is a pair, or x has two axes and `ord` is given; of a
    vector where it is an int, and of all elements as one vector where neither is given.

    Errors: those of `vector_norm` and `matrix_norm`; `ShapeError` for other axes.
    """
    t = tensor(x, "norm")
    if axis is None and (ord is None or t.ndim == 1):
        return vector_norm(t, keepdims=keepdims, ord=2 if ord is None else ord)
    axes = normalize_axes("norm", axis, t.ndim)
    if len(axes) == 1:
        return vector_norm(t, axis=axes[0], keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2:
        raise ShapeError(
            "neither vectors nor matrices", op="norm", expected="one or two axes", given=str(axis)
        )
    given = axes if axis is None else tuple(normalize_axis("norm", a, t.ndim) for a in axis)
    rest = tuple(a for a in range(t.ndim) if a not in given)
    found = matrix_norm(permute_dims(t, (*rest, *given)), ord="fro" if ord is None else ord)
    return restore_axes(found, given, t.shape) if keepdims else found


def cdist(x1: Any, x2: Any, p: float = 2) -> Tensor:
    """The distance of each row of x1 from each of x2: the p-norm of their difference.

    `p` as `ord` of `vector_norm`: 2 is Euclid's distance, 1 that of blocks, `inf` that of chess, 0
    how many elements differ. The differences are no array in memory, and nothing cancels, as in
    |a|^2 - 2 a b + |b|^2. Where two rows are equal, as on the diagonal of `cdist(x, x)`, the
    derivative is 0.
    Shapes: [..., m, k], [..., n, k] -> [..., m, n]. Dtypes: as `vector_norm`.
    Errors: `ShapeError` for less than two axes; those of `vector_norm`.

    >>> import graphc as gc
    >>> gc.evaluate(gc.linalg.cdist([[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0]]))
    array([[0.],
           [5.]])
    """
    a, b = operands("cdist", x1, x2)
    for t in (a, b):
        if t.ndim < 2:
            raise ShapeError("not rows", op="cdist", expected="(..., rows, k)", given=show(t.shape))
    if never_equal(a.shape[-1], b.shape[-1]):
        raise ShapeError(
            "rows of two lengths", op="cdist", expected=str(a.shape[-1]), given=str(b.shape[-1])
        )
    apart = subtract(expand_dims(a, -2), expand_dims(b, -3))
    return vector_norm(apart, axis=-1, ord=p)


# -- products --------------------------------------------------------------------------------------
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of 3 elements along `axis`; the other axes broadcast.

    Errors: `ShapeError` for vectors of another size.
    """
    a, b = operands("cross", x1, x2)
    for t in (a, b):
        if not -t.ndim <= axis < t.ndim:
            raise OutOfRangeError(
                "axis out of range", op="cross", expected=f"an axis of {show(t.shape)}",
                given=str(axis),
            )  # fmt: skip
        if never_equal(t.shape[axis], 3):
            raise ShapeError(
                "not vectors of 3 elements", op="cross", expected="3", given=str(t.shape[axis])
            )

    def part(t: Tensor, i: int) -> Tensor:
        at = axis if axis >= 0 else t.ndim + axis
        return read(t, select(t, (slice(None),) * at + (i,)))

    pairs = ((1, 2), (2, 0), (0, 1))
    parts = [
        subtract(multiply(part(a, i), part(b, j)), multiply(part(a, j), part(b, i)))
        for i, j in pairs
    ]
    return stack(parts, axis)


def outer(x1: Any, x2: Any, /) -> Tensor:
    """The product of each element of one vector with each of another. Shapes: [m] x [n] -> [m, n].

    Errors: `ShapeError` for what is no vector (`gc.outer` takes the elements of any tensor).
    """
    x, y = operands("outer", x1, x2)
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(
            "not vectors",
            op="outer",
            expected="two of rank 1",
            given=f"{show(x.shape)} and {show(y.shape)}",
            hint="np.outer and gc.outer take the elements of any tensor",
        )
    return outer_of_all(x, y)


# -- diagonals -------------------------------------------------------------------------------------
def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """The elements x[..., i, i + offset]: the diagonals of matrices, along the last two axes."""
    return any_diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums of the diagonals of matrices, which are the last two axes. Dtypes: as `sum`."""
    return sum(diagonal(tensor(x, "trace"), offset=offset), axis=-1, dtype=dtype)
