"""What NumPy's functions are for tensors where graphc's of the same name mean something else.

`gc.take(x, i)` takes along the first axis, as the array API's functions do; `np.take(x, i)` takes
from all elements, whatever x is. Each function here is NumPy's, with its names and defaults.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dtype import DType, bool_, complex128, float64, int8
from graphc.ir.node import Tensor
from graphc.ops import bessel, gamma, incomplete, powers, quantile
from graphc.ops.build import cast, float_type, scalar_like, settle, tensor
from graphc.ops.build import operands as to_operands
from graphc.ops.contract import dot
from graphc.ops.create import geomspace
from graphc.ops.einsum import tensordot
from graphc.ops.elementwise import (
    abs,
    add,
    clip,
    divide,
    equal,
    erf,
    erfc,
    erfcx,
    expm1,
    floor_divide,
    greater,
    isnan,
    less,
    log1p,
    log_ndtr,
    maximum,
    minimum,
    multiply,
    remainder,
    round,
    sigmoid,
    subtract,
    where,
)
from graphc.ops.elementwise import reciprocal as quotient
from graphc.ops.gather import take
from graphc.ops.norms import cross
from graphc.ops.polynomials import polyfit, polyval, vander
from graphc.ops.reduce import all, any, max, min, prod, sum
from graphc.ops.shape import concat, reshape
from graphc.ops.signal import interp
from graphc.ops.statistics import corrcoef, cov


# -- elementwise -----------------------------------------------------------------------------------
def _of_float(
    function: Callable[..., Tensor], dtype: Callable[[DType], DType] = float_type
) -> Callable[..., Tensor]:
    """`function` of x as a float, as of a ufunc that has no loop for ints."""

    def of_float(x: Any) -> Tensor:
        t = tensor(x, function.__name__)
        return function(t if t.dtype.is_float else cast(t, dtype(t.dtype)))

    return of_float


def _double(dtype: DType) -> DType:
    """The dtype to which most of SciPy's ufuncs convert ints."""
    return float64


def _of_floats(
    function: Callable[..., Tensor], dtype: Callable[[DType], DType]
) -> Callable[..., Tensor]:
    """`function` of several operands as floats, as `_of_float`."""

    def of_floats(*given: Any) -> Tensor:
        tensors = to_operands(function.__name__, *given)
        return function(*(t if t.dtype.is_float else cast(t, dtype(t.dtype)) for t in tensors))

    return of_floats


def _reciprocal(x: Any) -> Tensor:
    """1 / x without its fraction, for ints: x itself if that is 1 or -1, else 0, also where x is 0
    (for which NumPy's result depends on the processor)."""
    t = tensor(x, "numpy.reciprocal")
    if t.dtype.has_derivative:
        return quotient(t)
    t = cast(t, int8) if t.dtype is bool_ else t
    is_unit = equal(abs(t) if t.dtype.kind == "i" else t, scalar_like(1, t))
    return where(is_unit, t, scalar_like(0, t))


def _rounded(a: Any, decimals: int = 0) -> Tensor:
    """As NumPy: scaled, rounded to the nearest with ties to even, and scaled back."""
    t = tensor(a, "round")
    if not isinstance(decimals, (int, np.integer)) or isinstance(decimals, bool):
        raise ArgumentError(
            "not a number of digits", op="round", expected="an int", given=repr(decimals)[:80]
        )
    if decimals == 0 or not t.dtype.has_derivative:
        return round(t)
    scale = scalar_like(10.0 ** builtins.abs(int(decimals)), t)
    if decimals > 0:
        return divide(round(multiply(t, scale)), scale)
    return multiply(round(divide(t, scale)), scale)


def _of_numbers(choose: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """`maximum` or `minimum` of what is not NaN, if one of both is not."""

    def of_numbers(x: Any, y: Any) -> Tensor:
        a, b = to_operands(f"numpy.f{choose.__name__[:3]}", x, y)
        return where(isnan(a), b, where(isnan(b), a, choose(a, b)))

    return of_numbers


def _divmod(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Of bools as int8, as NumPy's."""
    a, b = to_operands("numpy.divmod", x, y)
    if a.dtype is bool_:
        a, b = cast(a, int8), cast(b, int8)
    return floor_divide(a, b), remainder(a, b)


def _float_power(x: Any, y: Any) -> Tensor:
    a, b = to_operands("numpy.float_power", x, y)
    to = complex128 if a.dtype.is_complex else float64
    return powers.power(cast(a, to), cast(b, to))


def _reduced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`ufunc.reduce`, which goes along the first axis unless it is told."""

    def reduced(array: Any, axis: Any = 0, *, keepdims: bool = False) -> Tensor:
        return function(array, axis, keepdims)

    return reduced


def _outer(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`ufunc.outer`: of each element of one with each of the other."""

    def outer(a: Any, b: Any) -> Tensor:
        x, y = tensor(a, "outer"), tensor(b, "outer")
        return function(reshape(x, (*x.shape, *(1,) * y.ndim)), y)

    return outer


def _clip(
    a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None
) -> Tensor:
    return clip(a, min if a_min is None else a_min, max if a_max is None else a_max)


def _where(condition: Any, x: Any = None, y: Any = None) -> Tensor:
    if x is None or y is None:
        raise ArgumentError(
            "how many elements a condition holds for is not known yet",
            op="numpy.where",
            expected="where(condition, x, y)",
            given="a condition alone",
            where=origin.where(),
            hint="gc.where(condition, x, 0) keeps the shape",
        )
    return where(condition, x, y)


# -- what moves elements ---------------------------------------------------------------------------
def _flat(t: Tensor) -> Tensor:
    return reshape(t, (t.size,))


def _take(a: Any, indices: Any, axis: int | None = None) -> Tensor:
    """From all elements in row-major order, where no axis is given."""
    t = tensor(a, "numpy.take")
    return take(_flat(t), indices) if axis is None else take(t, indices, axis)


# -- products --------------------------------------------------------------------------------------
def _dot(a: Any, b: Any) -> Tensor:
    """Over the last axis of a and the last but one of b, none of whose axes is a batch."""
    x, y = to_operands("numpy.dot", a, b)
    return dot(x, y) if y.ndim <= 2 else tensordot(x, y, ([-1], [-2]))


def _cross(a: Any, b: Any, *, axis: int | None = None) -> Tensor:
    return cross(a, b, axis=-1 if axis is None else axis)


# -- statistics ------------------------------------------------------------------------------------
def _in_double(x: Any) -> Any:
    return x if x is None else cast(tensor(x, "numpy.cov"), float64)


def _cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None
) -> Tensor:
    """In float64, whatever the dtype."""
    return cov(_in_double(m), _in_double(y), rowvar, bias, ddof)


def _corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Tensor:
    return corrcoef(_in_double(x), _in_double(y), rowvar)


def _polyval(p: Any, x: Any) -> Tensor:
    """Numbers are arrays of 64 bits, as `numpy.asarray` makes them."""
    return polyval(*(settle(t, t.dtype) for t in (tensor(v, "numpy.polyval") for v in (p, x))))


def _vander(x: Any, N: Any = None, increasing: bool = False) -> Tensor:
    """Of floats in float64, whatever the dtype."""
    t = tensor(x, "numpy.vander")
    return vander(cast(t, float64) if t.dtype.is_float else t, N, increasing)


def _polyfit(x: Any, y: Any, deg: int, rcond: float | None = None, w: Any = None) -> Tensor:
    """In float64, whatever the dtypes."""
    return polyfit(_in_double(x), _in_double(y), deg, rcond, w)


def _geomspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None
) -> Tensor:
    """In float64, whatever the dtypes."""
    return geomspace(_in_double(start), _in_double(stop), num, endpoint=endpoint, dtype=dtype)


def _interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Tensor:
    """In float64, whatever the dtypes; of complex values in complex128."""
    at, points, values = (tensor(t, "numpy.interp") for t in (x, xp, fp))
    values = cast(values, complex128 if values.dtype.is_complex else float64)
    return interp(cast(at, float64), cast(points, float64), values, left, right, period)


# What methods of tensors call.
FUNCTIONS: dict[str, Callable[..., Any]] = {"_rounded_": _rounded, "_divmod_": _divmod}
NUMPY: dict[str, Callable[..., Any] | None] = {
    "interp": _interp,
    "geomspace": _geomspace,
    "polyval": _polyval,
    "vander": _vander,
    "polyfit": _polyfit,
    "corrcoef": _corrcoef,
    "cov": _cov,
    "cross": _cross,
    "clip": _clip,
    "concatenate": concat,
    "dot": _dot,
    "fabs": _of_float(abs),
    "reciprocal": _reciprocal,
    "rint": _of_float(round),
    "round": _rounded,
    "around": _rounded,
    "fmax": _of_numbers(maximum),
    "fmin": _of_numbers(minimum),
    "divmod": _divmod,
    "float_power": _float_power,
    "add.reduce": _reduced(sum),
    "multiply.reduce": _reduced(prod),
    "maximum.reduce": _reduced(max),
    "minimum.reduce": _reduced(min),
    "logical_and.reduce": _reduced(all),
    "logical_or.reduce": _reduced(any),
    **{
        f"{f.__name__}.outer": _outer(f)
        for f in (
            add, subtract, multiply, divide, powers.power, maximum, minimum, equal, less, greater,
        )
    },
    "take": _take,
    "where": _where,
    "scipy.special.expit": _of_float(sigmoid, _double),
    "scipy.special.round": _of_float(round),
    "scipy.special.gammaln": _of_float(gamma.lgamma, _double),
    "scipy.special.psi": _of_float(gamma.digamma, _double),
    **{
        f"scipy.special.{f.__name__}": _of_float(f, _double)
        for f in (
            erf, erfc, erfcx, log_ndtr, expm1, log1p, gamma.gamma, quantile.ndtr, quantile.logit,
            bessel.i0, bessel.i1, bessel.i0e, bessel.i1e, bessel.j0, bessel.j1,
        )
    },
    **{
        f"scipy.special.{f.__name__}": _of_float(f)
        for f in (quantile.ndtri, quantile.erfinv, quantile.erfcinv)
    },
    **{
        f"scipy.special.{f.__name__}": _of_floats(f, _double)
        for f in (
            gamma.beta, incomplete.gammainc, incomplete.gammaincc, powers.xlogy, powers.xlog1py
        )
    },
    "scipy.special.betainc": _of_floats(incomplete.betainc, float_type),
}

# Functions that look for NumPy's protocols and are not here: what says so gives these as a hint.
ABSENT = {
    "intersect1d setdiff1d setxor1d union1d in1d trim_zeros extract compress unique_all "
    "unique_counts unique_inverse unique_values": "how many elements there are only data tell: "
    "`gc.unique(x, size=...)`, `gc.isin`, `x[mask]` to be reduced",
    "argwhere": "`gc.nonzero(x, size=...)` gives as many places as it is told",
    "put_along_axis copyto fill_diagonal place put putmask": "it writes into its argument; "
    "`x.at[key].set(value)` gives a new tensor",
    "array2string array_repr array_str savetxt save savez savez_compressed":
    "text and files of numbers are for what a call gives",
    "common_type min_scalar_type result_type can_cast real_if_close may_share_memory "
    "shares_memory einsum_path": "its answer is a dtype of NumPy's, or depends on values, memory "
    "or its own plans: `gc.result_type`, `gc.can_cast`",
    "apply_along_axis apply_over_axes piecewise": "`gc.vmap` of the function; `gc.select`",
    "poly polydiv polymul roots": "leading zeros, which only data tell, decide the shape: "
    "`gc.convolve(p, q)`, `gc.linalg.eigvals`",
    "polyder polyint": "`p[:-1] * gc.arange(n, 0, -1)`, and the inverse of it",
    "diag_indices_from tril_indices_from triu_indices_from ix_": "places that a shape alone says "
    "are NumPy's: `np.tril_indices(n)`",
    "ravel_multi_index unravel_index packbits unpackbits sort_complex bmat asmatrix require":
    "rare; a line of `//`, `%` and sums",
    "histogram2d histogramdd histogram_bin_edges": "`gc.histogram` gives counts and edges; of "
    "pairs `gc.bincount` of `i * n + j`",
    "linalg.eig linalg.eigvals": "NumPy's are real or complex by the values: `gc.linalg.eig`",
    "busday_count busday_offset datetime_as_string is_busday isnat": "there are no dates",
}  # fmt: skip
