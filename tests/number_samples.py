"""Samples of numbers in parts, of polynomials, and of what joins, chooses and unwraps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc

from .sampling import ALL, FLOATS, Array, Case, Samples, Shape, below, in_float, of_kinds, same

SAMPLES: dict[str, Samples] = {}
ONE: tuple[tuple[Shape, ...], ...] = (((),), ((7,),), (("n", 2),), ((0,),))
TWO: tuple[tuple[Shape, ...], ...] = (
    ((), ()), ((3, 4), (4,)), (("n", 2), ("n", 2)), ((0,), (1,)), ((3, 1), (1, 5)),
)  # fmt: skip


def _elements(
    name: str,
    shapes: tuple[tuple[Shape, ...], ...],
    takes: str,
    numpy: Callable[..., Any] | None = None,
    dtypes: tuple[str | None, ...] = (),
    draws: Any = (),
    **options: Any,
) -> None:
    """A function of elements, which is NumPy's of the same name."""
    call, meaning = getattr(gc, name), numpy or getattr(np, name)
    SAMPLES[name] = Samples(
        cases=tuple(
            Case(call=call, numpy=meaning, shapes=s, dtypes=dtypes, draws=draws) for s in shapes
        ),
        takes=of_kinds(takes),
        **options,
    )


_elements("fmod", TWO, "iuf", domain=(0.6, 3.0), smooth=False)
_elements("modf", ONE, "biuf", lambda x: np.modf(in_float(x)), domain=(0.1, 0.9), smooth=False)
_elements("frexp", ONE, "biuf", lambda x: np.frexp(in_float(x)), domain=(1.1, 1.9), smooth=False)
_elements(
    "ldexp", TWO, "biuf", lambda x, n: np.ldexp(in_float(x), n), (None, "int32"),
    (None, lambda rng, shape: rng.integers(-20, 20, shape)),
)  # fmt: skip
_elements("spacing", ONE, "f", domain=(1.1, 1.9), smooth=False)
_elements(
    "logaddexp2", TWO, "biuf", lambda x, y: np.logaddexp2(in_float(x), in_float(y)), ulp=4, unit=1,
    wild=False,
)
_elements("gcd", TWO, "iu", domain=None)
_elements("lcm", TWO, "iu", domain=None)
_elements("bitwise_count", ONE, "biu", domain=None)


# -- polynomials -----------------------------------------------------------------------------------
def _powers(x: Array, *arguments: Any) -> Array:
    """NumPy's, which has floats of 64 bits whatever it is given."""
    return np.vander(x, *arguments).astype(x.dtype if x.dtype.kind == "f" else np.int64)


SAMPLES["polyval"] = Samples(
    cases=tuple(
        same(lambda m, p, x: m.polyval(p, x), *shapes)
        for shapes in (((3,), (2, 3)), ((1,), ()), (("n",), (2,)), ((40,), (3,)), ((0,), (2,)))
    ),
    takes=of_kinds("iuf"),
    wild=False,
    ulp=64,
    unit=1e3,
    domain=(-1.0, 1.0),
)
for _name in ("polyadd", "polysub"):
    SAMPLES[_name] = Samples(
        cases=tuple(
            same(lambda m, p, q, f=_name: getattr(m, f)(p, q), *shapes)
            for shapes in (((3,), (2,)), ((2,), ("n",)))
        ),
        takes=of_kinds("iuf"),
    )
SAMPLES["vander"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, a=arguments: gc.vander(x, *a),
            numpy=lambda x, a=arguments: _powers(x, *a),
            shapes=(shape,),
        )
        for shape, arguments in (((3,), ()), ((4,), (3, True)), (("n",), (2,)), ((2,), (0,)))
    ),
    takes=of_kinds("iuf"),
    wild=False,
    ulp=2,
    unit=1,
)
# -- differences, choices --------------------------------------------------------------------------
SAMPLES["unwrap"] = Samples(
    cases=(
        same(lambda m, x: m.unwrap(3 * x), (6,)),
        same(lambda m, x: m.unwrap(x, axis=0, period=1.5), (3, 2)),
        same(lambda m, x: m.unwrap(x, 2.0), ("n", 3)),
    ),
    takes=FLOATS,
    wild=False,
    ulp=8,
    unit=8,
    smooth=False,
)
SAMPLES["ediff1d"] = Samples(
    cases=(
        same(lambda m, x: m.ediff1d(x), (2, 3)),
        same(lambda m, x, y: m.ediff1d(x, y, y[:1]), ("n",), (2,)),
    ),
    takes=of_kinds("iuf"),
)
SAMPLES["isin"] = Samples(
    cases=(
        same(lambda m, x, y: m.isin(x, y), (3, 4), (2, 3)),
        same(lambda m, x, y: m.isin(x, y, invert=True), (2,), ("n",)),
    ),
    domain=None,
)
SAMPLES["block"] = Samples(
    cases=(
        same(lambda m, x, y: m.block([[x, y], [x, 2 * y]]), (2, 3), (2, 1)),
        same(lambda m, x, y: m.block([x, y, x]), (3,), ("n",)),
        same(lambda m, x, y: m.block([[x], [y]]), (3,), (2, 3)),
        same(lambda m, x: m.block(x), ()),
    ),
    takes=of_kinds("iuf"),
)
SAMPLES["choose"] = Samples(
    cases=tuple(
        Case(
            call=lambda i, x, y, o=options: gc.choose(i, [x, y], **o),
            numpy=lambda i, x, y, o=options: np.choose(i, [x, y], **o),
            shapes=((2, 3), (2, 3), (3,)),
            dtypes=("int64", None, None),
            draws=(draw, None, None),
        )
        for options, draw in (
            ({}, below(2)),
            ({"mode": "clip"}, below(9, negative=True)),
            ({"mode": "wrap"}, below(9, negative=True)),
        )
    ),
)
SAMPLES["resize"] = Samples(
    cases=(
        same(lambda m, x: m.resize(x, (3, 3)), (2, 2)),
        same(lambda m, x: m.resize(x, 2), (5,)),
        same(lambda m, x: m.resize(x, (2, 2)), (0,)),
        Case(
            call=lambda x: gc.resize(x, (2 * x.shape[0], 2)),
            numpy=lambda x: np.resize(x, (2 * x.shape[0], 2)),
            shapes=(("n", 3),),
        ),
    ),
    takes=ALL,
)
