"""Signs, neighbours and steps: copysign, signbit, nextafter, heaviside, positive."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor
from graphc.ir.op import Fact
from graphc.ops.build import tensor
from graphc.ops.elementwise import equal, sign, where
from graphc.ops.scalar import binary_float_function, float_function

copysign = binary_float_function(
    "copysign", np.copysign, lambda s, x, y: s.Piecewise((-s.Abs(x), y < 0), (s.Abs(x), True)),
    "|x| with the sign of y, of a zero too.", facts={Fact.EXACT, Fact.JUMPS},
    partials=lambda f, out, x, y: (lambda: sign(x) * f("copysign")(1, y), None),
)  # fmt: skip
nextafter = binary_float_function(
    "nextafter", np.nextafter, None, "The float next to x on the way to y.", cost=8,
    facts={Fact.EXACT, Fact.JUMPS}, partials=lambda f, out, x, y: (1, None),
)  # fmt: skip
signbit = float_function(
    "signbit", lambda s, x: x < 0, "Whether x has a minus: below 0, or -0.", numpy=np.signbit,
    kernel=lambda k, x: k.less(k.copysign(k.const(1, x.dtype), x), k.const(0, x.dtype)),
    result=bool_, facts={Fact.EXACT, Fact.JUMPS},
)  # fmt: skip


def _heaviside(k: Any, x: Any, y: Any) -> Any:
    zero, one = k.const(0, x.dtype), k.const(1, x.dtype)
    step = k.where(k.greater(x, zero), one, k.where(k.less(x, zero), zero, x))
    return k.where(k.equal(x, zero), y, step)


heaviside = binary_float_function(
    "heaviside", np.heaviside, lambda s, x, y: s.Piecewise((0, x < 0), (1, x > 0), (y, True)),
    "0 below 0, 1 above, and y where x is 0.", kernel=_heaviside,
    facts={Fact.EXACT, Fact.JUMPS},
    partials=lambda f, out, x, y: (None, lambda: where(equal(x, 0), 1.0, 0.0)),
)  # fmt: skip


def positive(x: Any) -> Tensor:
    """x itself, of numbers."""
    t = tensor(x, "positive")
    if t.dtype is bool_:
        raise DTypeError(
            "truth values have no sign", op="positive", expected="numbers", given="bool"
        )
    return t


FUNCTIONS = {f.__name__: f for f in (copysign, nextafter, signbit, heaviside, positive)}
