"""Statistics and comparisons of whole tensors, by NumPy's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.ir.dtype import float64, int64
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, normalize_axis, show
from graphc.ops.build import (
    cast,
    constant,
    no_real_value,
    operands,
    scalar_like,
    size_as_tensor,
    tensor,
)
from graphc.ops.complex import complex, conj, imag, real
from graphc.ops.contract import matmul
from graphc.ops.create import ones, zeros
from graphc.ops.diagonal import diagonal
from graphc.ops.elementwise import (
    abs,
    add,
    astype,
    clip,
    divide,
    equal,
    isfinite,
    isnan,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    multiply,
    not_equal,
    sqrt,
    subtract,
    where,
)
from graphc.ops.powers import root_of_squares
from graphc.ops.reduce import all, any, argmax, argmin, max, mean, min, prod, sum, variance
from graphc.ops.shape import broadcast_to, concat, expand_dims, matrix_transpose, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def std(
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: Any = None,
    ddof: Any = 0,
    dtype: Any = None,
    where: Any = None,
) -> Tensor:
    """The square root of `var`. Its derivative where all elements are equal is 0, as torch's."""
    options = {"correction": correction, "ddof": ddof, "dtype": dtype, "where": where}
    return root_of_squares(variance(x, axis, keepdims, **options))


def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The largest element over `axis` minus the smallest."""
    t = tensor(x, "ptp")
    return subtract(max(t, axis, keepdims), min(t, axis, keepdims))


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements over `axis` are not 0 (int64); NaN is none."""
    t = tensor(x, "count_nonzero")
    return sum(cast(not_equal(t, scalar_like(0, t)), int64), axis, keepdims)


def average(x: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Tensor:
    """The mean over `axis`, of elements that count as much as `weights` say.

    Shapes: weights as x, or one for each place along a single axis. Dtypes: ints give floats.
    Errors: `ShapeError` for weights of another shape.
    """
    t = tensor(x, "average")
    if weights is None:
        return mean(t, axis, keepdims)
    t, w = operands("average", t, weights)
    t, w = (v if v.dtype.has_derivative else cast(v, float64) for v in (t, w))
    if w.ndim == 1 and t.ndim != 1:
        at = None if axis is None or isinstance(axis, (tuple, list)) else axis
        if at is None:
            raise _no_weights(t, w)
        at = normalize_axis("average", at, t.ndim)
        w = reshape(w, (w.size, *(1,) * (t.ndim - 1 - at)))
    elif w.ndim != t.ndim:
        raise _no_weights(t, w)
    w = broadcast_to(w, t.shape)
    return divide(sum(multiply(t, w), axis, keepdims), sum(w, axis, keepdims))


def _no_weights(t: Tensor, w: Tensor) -> ShapeError:
    return ShapeError(
        "a weight for each element, or for each place along the axis",
        op="average",
        expected=f"{show(t.shape)}, or a vector and one axis",
        given=show(w.shape),
    )


# -- how variables vary together -------------------------------------------------------------------
def cov(
    x: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
) -> Tensor:
    """The covariances of variables, which are the rows of `x` and of `y` (without `rowvar`, the
    columns) with a column for each observation.

    Sums of products are divided by the number of observations less `ddof`, which is 1, or 0 with
    `bias`. Shapes: [v, n] -> [v, v]; of one variable a scalar. Dtypes: ints give float64.
    Errors: `ShapeError` for more than two axes.
    """
    rows = _variables(x, rowvar)
    if y is not None:
        rows = concat([rows, _variables(y, rowvar)], 0)
    less = (0 if bias else 1) if ddof is None else ddof
    centred = subtract(rows, mean(rows, axis=1, keepdims=True))
    left = subtract(size_as_tensor(rows.shape[1], rows.dtype), less)
    found = divide(matmul(centred, matrix_transpose(conj(centred))), left)
    return reshape(found, ()) if found.shape == (1, 1) else found


def _variables(x: Any, rowvar: bool) -> Tensor:
    t = tensor(x, "cov")
    if t.ndim > 2:
        raise ShapeError("a matrix", op="cov", expected="rank 1 or 2", given=show(t.shape))
    t = t if t.dtype.has_derivative else cast(t, float64)
    if t.ndim < 2:
        return reshape(t, (1, t.size))
    return t if rowvar or t.shape[0] == 1 else matrix_transpose(t)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Tensor:
    """The correlations of variables, as `cov`: covariances over standard deviations."""
    found = cov(x, y, rowvar)
    if found.ndim == 0:
        return divide(found, found)
    spread = sqrt(diagonal(found))
    scaled = divide(divide(found, expand_dims(spread, 1)), expand_dims(spread, 0))
    return clip(scaled, -1, 1)


# -- without NaNs ----------------------------------------------------------------------------------
def nan_to_num(
    x: Any, *, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Tensor:
    """`x` with `nan` in place of NaN, and for infinities `posinf` and `neginf`, by default the
    largest and the least number of the dtype."""
    t = tensor(x, "nan_to_num")
    if t.dtype.is_complex:
        parts = (nan_to_num(p, nan=nan, posinf=posinf, neginf=neginf) for p in (real(t), imag(t)))
        return complex(*parts)
    if not t.dtype.has_derivative:
        return t
    info = np.finfo(t.dtype.numpy)
    high = float(info.max) if posinf is None else posinf
    low = float(info.min) if neginf is None else neginf
    infinity = scalar_like(np.inf, t)
    t = where(equal(t, infinity), high, where(equal(t, -infinity), low, t))
    return where(isnan(t), nan, t)


def _without_nan(x: Any, op: str) -> tuple[Tensor, Tensor | None]:
    """The tensor and where it is a number; None where it always is."""
    t = tensor(x, op)
    return t, logical_not(isnan(t)) if t.dtype.has_derivative else None


def _known(x: Any, mask: Any, op: str) -> tuple[Tensor, Tensor | None]:
    """The tensor, and where it is a number among those for which the mask holds."""
    t, known = _without_nan(x, op)
    if mask is None:
        return t, known
    mask = tensor(mask, op)
    return t, mask if known is None else logical_and(known, mask)


def nansum(
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    where: Any = None,
    initial: Any = None,
) -> Tensor:
    """The sum over `axis` of the elements that are not NaN, as `sum`; 0 of none."""
    t, known = _known(x, where, "nansum")
    return sum(t, axis, keepdims, dtype=dtype, where=known, initial=initial)


def nanprod(
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    where: Any = None,
    initial: Any = None,
) -> Tensor:
    """The product over `axis` of the elements that are not NaN, as `prod`; 1 of none."""
    t, known = _known(x, where, "nanprod")
    return prod(t, axis, keepdims, dtype=dtype, where=known, initial=initial)


def nanmean(
    x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, where: Any = None
) -> Tensor:
    """The mean over `axis` of the elements that are not NaN, as `mean`; NaN of none."""
    t, known = _known(x, where, "nanmean")
    return mean(t, axis, keepdims, dtype=dtype, where=known)


def nanvar(
    x: Any,
    axis: Any = None,
    ddof: Any = 0,
    keepdims: bool = False,
    *,
    correction: Any = None,
    dtype: Any = None,
    where: Any = None,
) -> Tensor:
    """The variance over `axis` of the elements that are not NaN, as `var`."""
    t, known = _known(x, where, "nanvar")
    options = {"correction": correction, "ddof": ddof, "dtype": dtype, "where": known}
    return variance(t, axis, keepdims, **options)


def nanstd(
    x: Any,
    axis: Any = None,
    ddof: Any = 0,
    keepdims: bool = False,
    *,
    correction: Any = None,
    dtype: Any = None,
    where: Any = None,
) -> Tensor:
    """The standard deviation over `axis` of the elements that are not NaN, as `std`."""
    options = {"correction": correction, "dtype": dtype, "where": where}
    return root_of_squares(nanvar(x, axis, ddof, keepdims, **options))


def _nan_extremum(
    op: Callable[..., Tensor], x: Any, axis: Any, keepdims: bool, mask: Any, initial: Any
) -> Tensor:
    t, known = _known(x, mask, f"nan{op.__name__}")
    chosen = op(t, axis, keepdims, where=known, initial=initial)
    if known is None or initial is not None or not t.dtype.has_derivative:
        return chosen
    return where(any(known, axis, keepdims), chosen, float("nan"))


def nanmax(
    x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = None, initial: Any = None
) -> Tensor:
    """The largest element over `axis` that is not NaN, as `max`; NaN if all are."""
    return _nan_extremum(max, x, axis, keepdims, where, initial)


def nanmin(
    x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = None, initial: Any = None
) -> Tensor:
    """The smallest element over `axis` that is not NaN, as `min`; NaN if all are."""
    return _nan_extremum(min, x, axis, keepdims, where, initial)


def _nan_position(
    op: Callable[..., Tensor], beyond: float, x: Any, axis: Any, keepdims: bool
) -> Tensor:
    t, known = _without_nan(x, f"nan{op.__name__}")
    return op(t if known is None else where(known, t, beyond), axis, keepdims)


def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the first largest element that is not NaN; 0 where all are NaN or -inf."""
    return _nan_position(argmax, -np.inf, x, axis, keepdims)


def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the first smallest element that is not NaN; 0 where all are NaN or inf."""
    return _nan_position(argmin, np.inf, x, axis, keepdims)


# -- comparisons -----------------------------------------------------------------------------------
def isclose(
    x: Any, y: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether `|x - y| <= atol + rtol * |y|`, elementwise; infinities are close to themselves.

    NaN is close to NaN only with `equal_nan`.
    """
    a, b = operands("isclose", x, y)
    if not a.dtype.has_derivative:
        a, b = cast(a, float64), cast(b, float64)
    near = less_equal(abs(subtract(a, b)), add(multiply(abs(b), rtol), atol))
    found = logical_or(logical_and(near, isfinite(b)), equal(a, b))
    return logical_or(found, logical_and(isnan(a), isnan(b))) if equal_nan else found


def allclose(
    x: Any, y: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether all elements are close, as `isclose`: a scalar."""
    return all(isclose(x, y, rtol, atol, equal_nan))


def array_equal(x: Any, y: Any, equal_nan: bool = False) -> Tensor:
    """Whether two tensors have equal elements: a scalar, False where the shapes are never equal."""
    a, b = tensor(x, "array_equal"), tensor(y, "array_equal")
    if not may_be_equal(a.shape, b.shape):
        return astype(constant(False), bool)
    same = equal(a, b)
    if equal_nan:
        same = logical_or(same, logical_and(isnan(a), isnan(b)))
    return all(same)


def array_equiv(x: Any, y: Any) -> Tensor:
    """Whether two tensors are equal once one is stretched to the other: a scalar, False where their
    shapes do not broadcast."""
    a, b = tensor(x, "array_equiv"), tensor(y, "array_equiv")
    try:
        return all(equal(a, b))
    except ShapeError:
        return astype(constant(False), bool)


def isreal(x: Any) -> Tensor:
    """Whether x has no imaginary part, elementwise."""
    t = tensor(x, "isreal")
    return equal(imag(t), 0) if t.dtype.is_complex else ones(t.shape, bool)


def iscomplex(x: Any) -> Tensor:
    """Whether x has an imaginary part other than 0, elementwise."""
    return logical_not(isreal(x))


def _ordered(op: str, x: Any) -> Tensor:
    t = tensor(x, op)
    if t.dtype.is_complex:
        raise no_real_value(op, t.dtype.name)
    return t


def isposinf(x: Any) -> Tensor:
    """Whether x is plus infinity, elementwise."""
    t = _ordered("isposinf", x)
    return equal(t, np.inf) if t.dtype.has_derivative else zeros(t.shape, bool)


def isneginf(x: Any) -> Tensor:
    """Whether x is minus infinity, elementwise."""
    t = _ordered("isneginf", x)
    return equal(t, -np.inf) if t.dtype.has_derivative else zeros(t.shape, bool)


FUNCTIONS |= {
    f.__name__: f
    for f in (
        std, ptp, count_nonzero, average, cov, corrcoef, nan_to_num, nansum, nanprod, nanmean,
        nanvar, nanstd, nanmax, nanmin, nanargmax, nanargmin, isclose, allclose, array_equal,
        array_equiv, isposinf, isneginf, isreal, iscomplex,
    )
}  # fmt: skip
