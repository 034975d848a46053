"""Samples of elementwise ops: special values of every dtype, and every way to broadcast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.special

import graphc as gc
from graphc.ops.formula import Elementwise
from graphc.ops.special import special

from .sampling import ALL, Array, Case, Samples, Shape, in_float, long_double, of_kinds

UNARY_SHAPES: tuple[Shape, ...] = ((), (1,), (7,), (0,), (3, 4), (1, 1), (2, 0), ("n", 2))
BINARY_SHAPES: tuple[tuple[Shape, Shape], ...] = (
    ((), ()), ((7,), (7,)), ((1,), (1,)), ((0,), (0,)), ((3, 4), (3, 4)), (("n", 2), ("n", 2)),
    ((), (3,)), ((3, 1), ()), ((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 1, 3), (4, 1)),
    ((0,), (1,)), ((2, 0), (2, 1)), ((1,), ("n",)), (("n", 1), ("n", 4)), (("n", 4), (4,)),
)  # fmt: skip


def unary(name: str, numpy: Callable[..., Any], takes: str = "iuf", **options: Any) -> None:
    call = getattr(gc, name)
    SAMPLES[name] = Samples(
        cases=tuple(Case(call=call, numpy=numpy, shapes=(s,)) for s in UNARY_SHAPES),
        takes=of_kinds(takes),
        **options,
    )


def float_unary(name: str, numpy: Callable[..., Any], **options: Any) -> None:
    unary(name, lambda x: numpy(in_float(x)), "biuf", **options)


def float_binary(name: str, numpy: Callable[..., Any], **options: Any) -> None:
    binary(name, lambda x, y: numpy(in_float(x), in_float(y)), "biuf", **options)


def binary(
    name: str,
    numpy: Callable[..., Any],
    takes: str = "iuf",
    dtypes: tuple[str | None, ...] = (),
    **options: Any,
) -> None:
    call = getattr(gc, name)
    SAMPLES[name] = Samples(
        cases=tuple(
            Case(call=call, numpy=numpy, shapes=s, dtypes=dtypes) for s in BINARY_SHAPES
        ),
        takes=of_kinds(takes),
        **options,
    )


SAMPLES: dict[str, Samples] = {}

binary("add", np.add, "biuf")
binary("subtract", np.subtract)
binary("multiply", np.multiply, "biuf")
binary("divide", np.divide, "biuf", domain=(0.3, 2.0))
binary("floor_divide", np.floor_divide, domain=None)
binary("remainder", np.remainder, domain=(2.1, 3.9), smooth=False)
binary("power", np.power, "f", domain=(0.3, 2.0))
SAMPLES["integer_power"] = Samples(
    cases=tuple(
        Case(
            call=gc.power,
            numpy=np.power,
            shapes=shapes,
            draws=(None, lambda rng, shape: rng.integers(0, 70, shape)),
        )
        for shapes in BINARY_SHAPES
    ),
    takes=of_kinds("biu"),
    domain=None,
)
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    binary(_name, getattr(np, _name), "biuf", domain=None)
for _name in ("logical_and", "logical_or", "logical_xor"):
    binary(_name, getattr(np, _name), "biuf", domain=None)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    binary(_name, getattr(np, _name), "biu", domain=None)
binary("shift_left", np.left_shift, "iu", domain=None)
binary("shift_right", np.right_shift, "iu", domain=None)
binary("minimum", np.minimum, "biuf", smooth=False)
binary("maximum", np.maximum, "biuf", smooth=False)
unary("logical_not", np.logical_not, "biuf", domain=None)
unary("bitwise_invert", np.invert, "biu", domain=None)

unary("negative", np.negative)
unary("positive", np.positive)
unary("abs", np.abs, domain=(0.2, 2.0), smooth=False)
unary("sign", np.sign, domain=None)
for _name, _numpy in (
    ("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("round", np.rint)
):  # fmt: skip
    unary(_name, lambda x, f=_numpy: f(x) if x.dtype.kind == "f" else x, "biuf", domain=None)
unary("square", np.square)
float_unary("sqrt", np.sqrt, domain=(0.2, 3.0))
float_unary("root_of_squares", np.sqrt, domain=(0.2, 3.0))
float_unary("log", np.log, domain=(0.2, 3.0))
float_unary("log1p", np.log1p, domain=(-0.5, 3.0))
for _name in ("exp", "expm1", "sin", "cos", "tanh"):
    float_unary(_name, getattr(np, _name))
for _name in ("erf", "erfc", "erfcx", "log_ndtr"):
    float_unary(_name, getattr(scipy.special, _name))
float_unary(
    "log1mexp",
    long_double(lambda x: np.where(x < 1, np.log(-np.expm1(-x)), np.log1p(-np.exp(-x)))),
    domain=(0.1, 3.0),
    ulp=4,
)
float_unary("tan", np.tan)
for _name, _numpy, _domain in (
    ("asin", np.arcsin, (-0.9, 0.9)), ("acos", np.arccos, (-0.9, 0.9)), ("atan", np.arctan, None),
    ("sinh", np.sinh, None), ("cosh", np.cosh, None), ("asinh", np.arcsinh, None),
    ("acosh", np.arccosh, (1.2, 4.0)), ("atanh", np.arctanh, (-0.9, 0.9)),
    ("exp2", np.exp2, None), ("log2", np.log2, (0.2, 3.0)), ("log10", np.log10, (0.2, 3.0)),
    ("cbrt", np.cbrt, (0.2, 3.0)), ("sinc", np.sinc, (-1.5, 1.5)),
    ("deg2rad", np.deg2rad, None), ("rad2deg", np.rad2deg, None),
):  # fmt: skip
    float_unary(_name, _numpy, domain=_domain or (-2.0, 2.0))
float_unary("lgamma", scipy.special.gammaln, domain=(0.3, 4.0))
float_unary("gamma", scipy.special.gamma, domain=(0.3, 4.0))
float_unary("digamma", scipy.special.digamma, domain=(0.3, 4.0))
SAMPLES["polygamma"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, n=n: gc.polygamma(n, x),
            numpy=lambda x, n=n: scipy.special.polygamma(n, in_float(x)).astype(in_float(x).dtype),
            shapes=((7,),),
        )
        for n in (1, 2, 3)
    ),
    domain=(0.5, 4.0),
    ulp=64,
)
float_unary("ndtr", scipy.special.ndtr)
float_unary("ndtri", scipy.special.ndtri, domain=(0.05, 0.95))
float_unary("erfinv", scipy.special.erfinv, domain=(-0.9, 0.9))
float_unary("erfcinv", scipy.special.erfcinv, domain=(0.1, 1.9))
float_unary("logit", scipy.special.logit, domain=(0.05, 0.95))
for _name, _plain, _limit in (  # SciPy has NaN for their limits
    ("i0", scipy.special.i0, np.abs), ("i1", scipy.special.i1, np.positive)
):  # fmt: skip
    float_unary(
        _name,
        lambda x, plain=_plain, limit=_limit: np.where(np.isinf(x), limit(x), plain(x)),
        domain=(0.3, 4.0),
    )
for _name in ("i0e", "i1e", "j0", "j1"):
    float_unary(_name, getattr(scipy.special, _name), domain=(0.3, 4.0))
float_unary("signbit", np.signbit, domain=None)
for _name, _numpy, _domain in (
    ("atan2", np.arctan2, (0.3, 2.0)), ("hypot", np.hypot, (0.3, 2.0)),
    ("logaddexp", np.logaddexp, None), ("xlogy", scipy.special.xlogy, (0.3, 2.0)),
    ("xlog1py", scipy.special.xlog1py, (0.3, 2.0)),
):  # fmt: skip
    float_binary(_name, _numpy, domain=_domain or (-2.0, 2.0))


def last_of(name: str, *first: float, **options: Any) -> None:
    """By the last operand, which the function has a derivative by; numbers for the others."""
    ours, scipys = getattr(gc, name), getattr(scipy.special, name)

    def numpy(x: Array) -> Array:
        wide = x if x.dtype.kind == "f" else x.astype(np.float64)
        return np.asarray(scipys(*first, wide), wide.dtype)

    unary(name, numpy, "biuf", **options)
    cases = (replace(case, call=lambda x: ours(*first, x)) for case in SAMPLES[name].cases)
    SAMPLES[name] = replace(SAMPLES[name], cases=tuple(cases))


last_of("gammainc", 2.5, domain=(0.3, 4.0), ulp=4)
last_of("gammaincc", 2.5, domain=(0.3, 4.0), ulp=4)
last_of("betainc", 1.5, 2.5, domain=(0.1, 0.9), ulp=4)
binary("beta", scipy.special.beta, "f", domain=(0.3, 3.0), wild=False, ulp=256)
float_binary("copysign", np.copysign, domain=(0.3, 2.0), smooth=False)
float_binary("heaviside", np.heaviside, domain=(0.3, 2.0), smooth=False)
float_binary("nextafter", np.nextafter, domain=(0.3, 2.0), smooth=False)
float_unary("sigmoid", long_double(lambda x: 1 / (1 + np.exp(-x))), ulp=4)
float_unary("softplus", long_double(lambda x: np.logaddexp(x, 0)), ulp=4)
unary("relu", lambda x: np.maximum(x, x.dtype.type(0)), domain=(0.2, 2.0), smooth=False)
unary("stop_gradient", lambda x: x, "biuf", domain=None)

SAMPLES["where"] = Samples(
    cases=tuple(
        Case(call=gc.where, numpy=np.where, shapes=(c, *s), dtypes=("bool", None, None))
        for s in BINARY_SHAPES
        for c in dict.fromkeys(((), s[0]))
    )
)
SAMPLES["astype"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, to=to: gc.astype(x, to),
            numpy=lambda x, to=to: saturating(x, np.dtype(to)),
            shapes=(shape,),
        )
        for to in ALL
        for shape in ((7,), ("n", 2))
    ),
    domain=None,
)


def saturating(x: Array, to: np.dtype[Any]) -> Array:
    """NumPy's astype, where NumPy defines it; floats outside of an int type go to its nearest."""
    if x.dtype.kind != "f" or to.kind not in "iu":
        return x.astype(to)
    info = np.iinfo(to)
    whole = [
        0 if np.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v)
        for v in x.ravel().tolist()
    ]
    return np.array(whole, to).reshape(x.shape)


# -- functions made of elementwise ops -------------------------------------------------------------
unary("reciprocal", lambda x: 1 / x, "biuf", domain=(0.3, 2.0))
for _name in ("isnan", "isfinite", "isinf"):
    unary(_name, getattr(np, _name), domain=None)
float_unary("leaky_relu", lambda x: np.where(x > 0, x, x * x.dtype.type(0.01)), smooth=False)
SAMPLES["clip"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: gc.clip(x, 1, 3),
            numpy=lambda x: np.clip(x, x.dtype.type(1), x.dtype.type(3)),
            shapes=(s,),
        )
        for s in UNARY_SHAPES
    ),
    takes=of_kinds("iuf"),
    domain=(1.1, 2.9),
    smooth=False,
)
for _name in ("zeros_like", "ones_like"):
    unary(_name, getattr(np, _name), "biuf", domain=None)

def _bessel(x: Array) -> Array:
    floats = x if x.dtype.kind == "f" else x.astype(np.float64)  # as beside a Python float
    return np.asarray(scipy.special.jv(floats.dtype.type(1), floats))


SAMPLES["special"] = Samples(
    cases=tuple(
        Case(call=lambda x: special("besselj", 1.0, x), numpy=_bessel, shapes=(s,))
        for s in UNARY_SHAPES
    )
)


def _own(x: Array, y: Array) -> Array:
    a, b = in_float(x), in_float(y)
    with np.errstate(all="ignore"):
        return np.where(a > 30, a.dtype.type(30), np.sqrt(a * a + b * b + a.dtype.type(1)))


SAMPLES["formula"] = Samples(
    cases=tuple(
        Case(
            call=Elementwise("own", "sqrt(x0**2 + x1**2 + 1)", (("x0 > 30", "30"),), 2),
            numpy=_own,
            shapes=s,
        )
        for s in BINARY_SHAPES
    ),
    ulp=2,
)
