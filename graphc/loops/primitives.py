"""The primitives of the loop IR: what each scalar operation means, by the NumPy function it equals.

A target prints these and nothing else. Arithmetic is at the dtype of its operands (integers wrap),
comparisons give bool, `select(c, x, y)` is x where c. Integer division and remainder by zero give
0, as NumPy does; shifts by the width or more give 0 (or the sign).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from graphc.ir.dtype import BY_SHORT, DType, bool_, complex_of


@dataclass(frozen=True, slots=True)
class Primitive:
    """`kinds`: the dtype kinds of its operands. `to_bool`: it gives bool, else its operand's dtype,
    or what `to` says. `reorders`: an accumulation by it may be reordered within the documented
    error bound."""

    name: str
    arity: int
    numpy: Callable[..., Any]
    kinds: str
    to_bool: bool = False
    reorders: bool = False
    to: Callable[[DType], DType] | None = None

    def result(self, operand: DType) -> DType:
        """The dtype of its result, for operands of a dtype."""
        return bool_ if self.to_bool else operand if self.to is None else self.to(operand)


def special(name: str, arity: int = 1) -> Callable[..., Any]:
    """SciPy's function, loaded when it is called: only the interpreter needs it. SciPy has none of
    80 bits; those are computed in 64."""

    def function(*operands: Any) -> Any:
        from scipy import special

        given = [np.asarray(x) for x in operands]
        narrow = [x.astype(np.float64) if x.itemsize > 8 else x for x in given]
        return np.asarray(getattr(special, name)(*narrow)).astype(given[0].dtype)

    function.nin = arity  # type: ignore[attr-defined]
    return function


def modified_bessel(order: int) -> Callable[..., Any]:
    """SciPy's `i0` or `i1`, with the limits at infinities, where it gives NaN."""
    plain = special(f"i{order}")

    def function(x: Any) -> Any:
        given = np.asarray(x)
        return np.where(np.isinf(given), np.abs(given) if order == 0 else given, plain(given))

    function.nin = 1  # type: ignore[attr-defined]
    return function


def erfc(x: Any) -> Any:
    """SciPy's `erfc`, which is 0 where it should be subnormal."""
    given = np.asarray(x)
    wide = given.astype(np.float64) if given.itemsize > 8 else given
    with np.errstate(all="ignore"):
        small = np.exp(-wide * wide / 2)
        tail = small * special("erfcx")(wide) * small
    plain = special("erfc")(wide)
    lost = (plain == 0) & np.isfinite(wide)
    return np.where(lost, tail, plain).astype(given.dtype)


erfc.nin = 1  # type: ignore[attr-defined]


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) without overflow on either side."""
    small = np.exp(-np.abs(x))
    return np.where(np.signbit(x), small / (1 + small), 1 / (1 + small)).astype(np.asarray(x).dtype)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def log1mexp(x: Any) -> Any:
    """log(1 - exp(-x)): what is near 1 is never subtracted from 1."""
    near, far = np.log(-np.expm1(-x)), np.log1p(-np.exp(-x))
    return np.where(x < np.log(2), near, far).astype(np.asarray(x).dtype)


def integer_power(x: Any, y: Any) -> Any:
    """x ** y of ints, which wraps; a negative y is taken as 0."""
    return np.power(x, np.maximum(y, np.zeros_like(y)))


def rotate_left(x: Any, count: Any) -> Any:
    """The bits of x moved to the left by `count` modulo their number, and round."""
    bits = np.asarray(x).dtype.type(np.asarray(x).dtype.itemsize * 8)
    return np.left_shift(x, count % bits) | np.right_shift(x, (bits - count % bits) % bits)


def of_kind(kind: str) -> Callable[[DType], DType]:
    """The dtype of the same width of a kind."""
    return lambda dtype: BY_SHORT[f"{kind}{dtype.bits}"]


def reinterpreted(kind: str) -> Callable[[Any], Any]:
    """The same bits as a number of another kind: 1.0 is 0x3F800000."""

    def function(x: Any) -> Any:
        given = np.asarray(x)
        return given.view(f"{kind}{given.dtype.itemsize}")[()]

    function.nin = 1  # type: ignore[attr-defined]
    return function


def complex_number(real: Any, imag: Any) -> Any:
    """The complex number of two parts, whatever they are (`x + 1j * y` makes NaN of infinities)."""
    shape = np.broadcast_shapes(np.shape(real), np.shape(imag))
    made = np.empty(shape, np.result_type(real, imag, np.complex64))
    made.real, made.imag = real, imag
    return made


_TABLE = (
    Primitive("add", 2, np.add, "iuf", reorders=True),
    Primitive("subtract", 2, np.subtract, "iuf"),
    Primitive("multiply", 2, np.multiply, "iuf", reorders=True),
    Primitive("divide", 2, np.divide, "f"),
    Primitive("fmod", 2, np.fmod, "f"),
    Primitive("floor_divide", 2, np.floor_divide, "iu"),
    Primitive("remainder", 2, np.remainder, "iu"),
    Primitive("power", 2, np.power, "f"),
    Primitive("minimum", 2, np.minimum, "biuf", reorders=True),
    Primitive("maximum", 2, np.maximum, "biuf", reorders=True),
    Primitive("copysign", 2, np.copysign, "f"),
    Primitive("nextafter", 2, np.nextafter, "f"),
    Primitive("negative", 1, np.negative, "iuf"),
    Primitive("abs", 1, np.abs, "iuf"),
    Primitive("floor", 1, np.floor, "f"),
    Primitive("ceil", 1, np.ceil, "f"),
    Primitive("round", 1, np.rint, "f"),
    Primitive("trunc", 1, np.trunc, "f"),
    Primitive("sqrt", 1, np.sqrt, "f"),
    Primitive("exp", 1, np.exp, "f"),
    Primitive("expm1", 1, np.expm1, "f"),
    Primitive("log", 1, np.log, "f"),
    Primitive("log1p", 1, np.log1p, "f"),
    Primitive("sin", 1, np.sin, "f"),
    Primitive("cos", 1, np.cos, "f"),
    Primitive("tanh", 1, np.tanh, "f"),
    Primitive("tan", 1, np.tan, "f"),
    Primitive("asin", 1, np.arcsin, "f"),
    Primitive("acos", 1, np.arccos, "f"),
    Primitive("atan", 1, np.arctan, "f"),
    Primitive("atan2", 2, np.arctan2, "f"),
    Primitive("sinh", 1, np.sinh, "f"),
    Primitive("cosh", 1, np.cosh, "f"),
    Primitive("asinh", 1, np.arcsinh, "f"),
    Primitive("acosh", 1, np.arccosh, "f"),
    Primitive("atanh", 1, np.arctanh, "f"),
    Primitive("exp2", 1, np.exp2, "f"),
    Primitive("log2", 1, np.log2, "f"),
    Primitive("log10", 1, np.log10, "f"),
    Primitive("cbrt", 1, np.cbrt, "f"),
    Primitive("hypot", 2, np.hypot, "f"),
    Primitive("lgamma", 1, special("gammaln"), "f"),
    Primitive("gamma", 1, special("gamma"), "f"),
    Primitive("digamma", 1, special("digamma"), "f"),
    Primitive("erf", 1, special("erf"), "f"),
    Primitive("erfc", 1, erfc, "f"),
    Primitive("erfcx", 1, special("erfcx"), "f"),
    Primitive("bessel_i0", 1, modified_bessel(0), "f"),
    Primitive("bessel_i1", 1, modified_bessel(1), "f"),
    Primitive("bessel_i0e", 1, special("i0e"), "f"),
    Primitive("bessel_i1e", 1, special("i1e"), "f"),
    Primitive("erfinv", 1, special("erfinv"), "f"),
    Primitive("erfcinv", 1, special("erfcinv"), "f"),
    Primitive("ndtr", 1, special("ndtr"), "f"),
    Primitive("ndtri", 1, special("ndtri"), "f"),
    Primitive("log_ndtr", 1, special("log_ndtr"), "f"),
    Primitive("log1mexp", 1, log1mexp, "f"),
    Primitive("sigmoid", 1, sigmoid, "f"),
    Primitive("softplus", 1, softplus, "f"),
    Primitive("integer_power", 2, integer_power, "iu"),
    Primitive("bitwise_and", 2, np.bitwise_and, "biu"),
    Primitive("bitwise_or", 2, np.bitwise_or, "biu"),
    Primitive("bitwise_xor", 2, np.bitwise_xor, "biu"),
    Primitive("bitwise_invert", 1, np.invert, "biu"),
    Primitive("shift_left", 2, np.left_shift, "iu"),
    Primitive("shift_right", 2, np.right_shift, "iu"),
    Primitive("rotate_left", 2, rotate_left, "u"),
    Primitive("bits", 1, reinterpreted("u"), "f", to=of_kind("u")),
    Primitive("from_bits", 1, reinterpreted("f"), "u", to=of_kind("f")),
    Primitive("equal", 2, np.equal, "biuf", to_bool=True),
    Primitive("not_equal", 2, np.not_equal, "biuf", to_bool=True),
    Primitive("less", 2, np.less, "biuf", to_bool=True),
    Primitive("less_equal", 2, np.less_equal, "biuf", to_bool=True),
    Primitive("greater", 2, np.greater, "biuf", to_bool=True),
    Primitive("greater_equal", 2, np.greater_equal, "biuf", to_bool=True),
    Primitive("select", 3, np.where, "biuf"),
    # A complex number in memory: put together of its parts, and taken apart.
    Primitive("complex", 2, complex_number, "f", to=complex_of),
    Primitive("real", 1, np.real, "c", to=lambda d: d.part),
    Primitive("imag", 1, np.imag, "c", to=lambda d: d.part),
)
PRIMITIVES = {p.name: p for p in _TABLE}
CAST = "cast_"  # `cast_f32` and so on: conversion as NumPy's astype


@cache
def result_type(name: str, *args: DType) -> DType:
    """The dtype of `name(args)`. Errors: `TypeError` for a name that no primitive has, and for
    operands that it does not take."""
    primitive = PRIMITIVES.get(name)
    if primitive is None:
        raise TypeError(f"no primitive is called {name!r}; there are {', '.join(PRIMITIVES)}")
    operands = args[1:] if name == "select" else args
    if (
        len(args) != primitive.arity
        or any(a is not operands[0] for a in operands)
        or operands[0].kind not in primitive.kinds
        or (name == "select" and args[0] is not bool_)
    ):
        raise TypeError(
            f"the primitive {name} does not take ({', '.join(map(str, args))}), but "
            f"{primitive.arity} values{' behind a bool' * (name == 'select')} of one dtype, "
            f"of the kinds {primitive.kinds!r}"
        )
    return primitive.result(operands[0])
