"""Polynomials, whose coefficients stand from that of the highest power on, as NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import ArgumentError, ShapeError
from graphc.ir import origin
from graphc.ir.dim import Dim, Size, maximum
from graphc.ir.dtype import float64, int64
from graphc.ir.node import Tensor
from graphc.ir.shape import show, whole
from graphc.ops.build import cast, operands, scalar_like, tensor
from graphc.ops.create import iota, zeros_like
from graphc.ops.cumulative import cumprod
from graphc.ops.elementwise import add, divide, equal, multiply, sqrt, square, subtract, where
from graphc.ops.getitem import getitem
from graphc.ops.matrix_functions import lstsq
from graphc.ops.reduce import sum
from graphc.ops.resample import pad
from graphc.ops.scan import scan
from graphc.ops.shape import broadcast_to, expand_dims, flip

FUNCTIONS: dict[str, Callable[..., Any]] = {}
WRITTEN_OUT = 32  # coefficients of a polynomial that is one formula; of more it is a loop


def _vector(op: str, what: str, x: Any) -> Tensor:
    t = tensor(x, op)
    if t.ndim != 1:
        raise ShapeError(
            f"{what}: not a vector", op=op, expected="(n,)", given=show(t.shape),
            where=origin.where(),
        )  # fmt: skip
    return t


def polyval(p: Any, x: Any) -> Tensor:
    """The polynomial with coefficients `p` at each element of `x`, by Horner's rule.

    Shapes: p [n], any n, x any -> as x. Errors: `ShapeError` for coefficients that are no vector.

    >>> import graphc as gc
    >>> gc.evaluate(gc.polyval([1, 0, -2], [3, 4]))  # x**2 - 2
    array([ 7, 14])
    """
    coefficients, at = operands("polyval", _vector("polyval", "p", p), x)
    count, value = coefficients.shape[0], zeros_like(at)

    def step(value: Tensor, coefficient: Tensor) -> tuple[Tensor, None]:
        return add(multiply(value, at), coefficient), None

    if isinstance(count, int) and count <= WRITTEN_OUT:
        for i in range(count):
            value, _ = step(value, getitem(coefficients, i))
        return value
    last: Tensor = scan(step, value, coefficients)[0]
    return last


def polyadd(a1: Any, a2: Any) -> Tensor:
    """The sum of two polynomials. Shapes: [m], [n] -> [max(m, n)]. Errors: `ShapeError`."""
    return add(*_of_one_degree("polyadd", a1, a2))


def polysub(a1: Any, a2: Any) -> Tensor:
    """The difference of two polynomials, as `polyadd`."""
    return subtract(*_of_one_degree("polysub", a1, a2))


def _of_one_degree(op: str, a1: Any, a2: Any) -> list[Tensor]:
    """The coefficients of both, with zeros in front of the shorter."""
    both = operands(op, _vector(op, "a1", a1), _vector(op, "a2", a2))
    length = maximum(*(t.size for t in both))
    return [pad(t, [(length - t.size, 0)]) if t.size != length else t for t in both]


def vander(x: Any, N: Any = None, increasing: bool = False) -> Tensor:
    """The matrix of the powers of the elements of `x`, from the `N`-1st down to 1, or with
    `increasing` from 1 on.

    Shapes: [n] -> [n, N], by default square. Dtypes: ints and bools give int64. The derivative is
    right at 0. Errors: `ShapeError` for what is no vector, `ArgumentError` for N < 0.
    """
    t = _vector("vander", "x", x)
    t = t if t.dtype.has_derivative else cast(t, int64)
    count: Size = t.size if N is None else whole("vander", "N", N)
    if not isinstance(count, Dim) and count < 0:
        raise ArgumentError("no columns", op="vander", expected="N >= 0", given=str(count))
    column = broadcast_to(expand_dims(t, 1), (t.size, count))
    first = equal(iota((1, count), 1), 0)
    powers = cumprod(where(first, scalar_like(1, t), column), 1)
    return powers if increasing else flip(powers, 1)


def polyfit(x: Any, y: Any, deg: int, rcond: float | None = None, w: Any = None) -> Tensor:
    """The coefficients of the polynomial of degree `deg` that is nearest to `y` at `x`: least sums
    of squares, of distances times `w`.

    Singular values up to `rcond` times the largest count as 0, as in `lstsq`. Shapes: x [m], y [m]
    or [m, k], w [m] -> [deg + 1] or [deg + 1, k]. Dtypes: ints give float64.
    Errors: `ShapeError`, `ArgumentError` for a degree < 0.
    """
    at, values = operands("polyfit", _vector("polyfit", "x", x), y)
    at, values = (t if t.dtype.has_derivative else cast(t, float64) for t in (at, values))
    degree = whole("polyfit", "deg", deg)
    if isinstance(degree, Dim) or degree < 0:
        raise ArgumentError("not a degree", op="polyfit", expected="an int >= 0", given=repr(deg))
    powers = vander(at, degree + 1)
    if w is not None:
        weights = cast(_vector("polyfit", "w", w), powers.dtype)
        powers = multiply(powers, expand_dims(weights, 1))
        values = multiply(values, weights if values.ndim == 1 else expand_dims(weights, 1))
    scale = sqrt(sum(square(powers), 0))  # columns of one size, so that rcond means something
    found = lstsq(divide(powers, scale), values, rcond=rcond).x
    return divide(found, scale if found.ndim == 1 else expand_dims(scale, 1))


FUNCTIONS |= {f.__name__: f for f in (polyval, polyadd, polysub, vander, polyfit)}
