"""Bessel functions of orders 0 and 1: the modified ones, plain and scaled, and j0, j1 by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.ir.node import Tensor
from graphc.loops.primitives import modified_bessel, special
from graphc.ops.elementwise import equal, sign, where
from graphc.ops.scalar import float_function


def _over(y: Tensor, x: Tensor) -> Tensor:
    """y / x of an odd function y with the slope 1/2 at 0."""
    zero = equal(x, 0)
    return where(zero, 0.5, y / where(zero, 1.0, x))


def _modified(order: int, scaled: bool) -> Callable[..., Any]:
    def formula(s: Any, x: Any) -> Any:
        value = s.besseli(order, x)
        return s.exp(-s.Abs(x)) * value if scaled else value

    return formula


i0 = float_function(
    "i0", _modified(0, False), "The modified Bessel function of order 0.", cost=70,
    numpy=modified_bessel(0), kernel=lambda k, x: k.bessel_i0(x),
    partials=lambda f, out, x: (lambda: f("i1")(x),),
)  # fmt: skip
i1 = float_function(
    "i1", _modified(1, False), "The modified Bessel function of order 1.", cost=70,
    numpy=modified_bessel(1), kernel=lambda k, x: k.bessel_i1(x),
    partials=lambda f, out, x: (lambda: i0(x) - _over(out, x),),
)  # fmt: skip
i0e = float_function(
    "i0e", _modified(0, True), "exp(-|x|) * i0(x), which does not overflow.", cost=70,
    numpy=special("i0e"), kernel=lambda k, x: k.bessel_i0e(x),
    partials=lambda f, out, x: (lambda: f("i1e")(x) - sign(x) * out,),
)  # fmt: skip
i1e = float_function(
    "i1e", _modified(1, True), "exp(-|x|) * i1(x), which does not overflow.", cost=70,
    numpy=special("i1e"), kernel=lambda k, x: k.bessel_i1e(x),
    partials=lambda f, out, x: (lambda: i0e(x) - _over(out, x) - sign(x) * out,),
)  # fmt: skip
j0 = float_function(
    "j0", lambda s, x: s.besselj(0, x), "The Bessel function of order 0, by SciPy.", cost=200,
    numpy=special("j0"), host=True, partials=lambda f, out, x: (lambda: -f("j1")(x),),
)  # fmt: skip
j1 = float_function(
    "j1", lambda s, x: s.besselj(1, x), "The Bessel function of order 1, by SciPy.", cost=200,
    numpy=special("j1"), host=True, partials=lambda f, out, x: (lambda: j0(x) - _over(out, x),),
)  # fmt: skip

FUNCTIONS = {f.__name__: f for f in (i0, i1, i0e, i1e, j0, j1)}
NUMPY = {"i0": i0}
