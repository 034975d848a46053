"""Complex numbers: two real tensors, which are together in memory where something needs them there.

An op that is given a complex tensor makes real nodes of its parts, and one that puts the result
together: `z * w` is `complex(re z * re w - im z * im w, re z * im w + im z * re w)`, and the real
part of that is its first operand again. So passes, rules, kernels and derivatives know real numbers
only; `complex`, `real` and `imag` are what inputs, results and Fourier transforms are read and
written with. What is below says which op is which formula. An op that moves elements moves pairs as
they are in memory, an op with `Fact.BY_PARTS` is asked for each part, and all others refuse.

A part that is 0 for certain is not there, and nothing is computed with it: for a real x, `x * z` is
`x * re z` and `x * im z`, also where x is infinite.

A cotangent g of z is such that the result changes by the real part of g * dz: for a real result it
is the derivative by the real part, minus i times that by the imaginary part, as in JAX. That is the
vjp of `complex`, `real` and `imag`; all others follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import DTypeError
from graphc.ir import origin
from graphc.ir.dtype import DType, bool_, complex_of, float64
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Attrs, Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, broadcast
from graphc.loops.primitives import PRIMITIVES
from graphc.ops.build import (
    CONSTANT,
    WEAK,
    cast,
    constant,
    float_type,
    scalar_like,
    tensor,
    weak_like,
)
from graphc.ops.build import operands as to_operands
from graphc.ops.contract import matmul
from graphc.ops.create import zeros_like
from graphc.ops.elementwise import abs as magnitude
from graphc.ops.elementwise import (
    add,
    cos,
    divide,
    equal,
    exp,
    expm1,
    less,
    log,
    log1p,
    logical_and,
    logical_or,
    multiply,
    negative,
    not_equal,
    sin,
    sqrt,
    subtract,
    where,
)
from graphc.ops.scalar import at, is_zero, stretch, sum_to
from graphc.ops.signs import copysign
from graphc.ops.trigonometric import asinh, atan2, cosh, hypot, sinh, tan

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- together and apart ----------------------------------------------------------------------------
def _infer_complex(x: TensorType, y: TensorType) -> tuple[TensorType, ...]:
    if not x.dtype.is_float or y.dtype is not x.dtype:
        raise DTypeError(
            "the parts of a complex number are floats",
            op="complex",
            expected="one float dtype",
            given=f"{x.dtype.name}, {y.dtype.name}",
        )
    return (TensorType(complex_of(x.dtype), broadcast("complex", x.shape, y.shape)),)


def _infer_part(name: str) -> Callable[..., tuple[TensorType, ...]]:
    def infer(x: TensorType) -> tuple[TensorType, ...]:
        if not x.dtype.is_complex:
            raise DTypeError("not complex", op=name, expected="complex64, complex128",
                             given=x.dtype.name)
        return (TensorType(x.dtype.part, x.shape),)

    return infer


def _complex_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> list[Any]:
    gx = sum_to(real(g), x.shape) if context.needs(0) else None
    return [gx, sum_to(negative(imag(g)), y.shape) if context.needs(1) else None]


def _complex_jvp(
    context: object, ts: Sequence[Tensor | None], out: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    moved = [scalar_like(0, p) if t is None else t for t, p in zip(ts, (x, y), strict=True)]
    return apply(COMPLEX, moved).output()


def _real_vjp(context: Any, g: Tensor, out: Tensor, z: Tensor) -> list[Any]:
    return [apply(COMPLEX, (g, scalar_like(0, g))).output()]


def _imag_vjp(context: Any, g: Tensor, out: Tensor, z: Tensor) -> list[Any]:
    return [apply(COMPLEX, (scalar_like(0, g), negative(g))).output()]


_FACTS = frozenset({Fact.ELEMENTWISE, Fact.EXACT, Fact.AS_STORED})
COMPLEX = register(
    Op(
        "complex",
        Kind.MAP,
        _infer_complex,
        numpy=PRIMITIVES["complex"].numpy,
        vjp=_complex_vjp,
        jvp=_complex_jvp,
        at=at(lambda k, x, y: k.complex(x, y)),
        facts=_FACTS,
        doc="The complex number of a real and an imaginary part.",
    )
)
REAL = register(
    Op(
        "real",
        Kind.MAP,
        _infer_part("real"),
        numpy=lambda z: np.array(z.real),
        vjp=_real_vjp,
        jvp=lambda context, ts, out, z: real(ts[0]),
        at=at(lambda k, z: k.real(z)),
        facts=_FACTS,
        doc="The real part.",
    )
)
IMAG = register(
    Op(
        "imag",
        Kind.MAP,
        _infer_part("imag"),
        numpy=lambda z: np.array(z.imag),
        vjp=_imag_vjp,
        jvp=lambda context, ts, out, z: imag(ts[0]),
        at=at(lambda k, z: k.imag(z)),
        facts=_FACTS,
        doc="The imaginary part.",
    )
)


def complex(real: Any, imag: Any) -> Tensor:
    """The complex number `real + imag * 1j`, elementwise.

    Dtypes: float32 gives complex64, float64 complex128; ints are converted as NumPy would.
    Errors: `DTypeError` for parts that are complex themselves.

    >>> import graphc as gc
    >>> gc.complex(gc.placeholder("x", ("n",)), 1.0).type
    TensorType(dtype=c64, shape=(n,))
    """
    x, y = to_operands("complex", real, imag)
    to = float_type(x.dtype)
    return apply(COMPLEX, (cast(x, to), cast(y, to))).output()


def real(x: Any) -> Tensor:
    """The real part, elementwise: `x` itself where that is real."""
    return _part(tensor(x, "real"), REAL)


def imag(x: Any) -> Tensor:
    """The imaginary part, elementwise: zeros where x is real."""
    t = tensor(x, "imag")
    return _part(t, IMAG) if t.dtype.is_complex else zeros_like(t)


def _part(t: Tensor, op: Op) -> Tensor:
    """A part of t, without a node where it is known already."""
    source = t.node.inputs[0] if t.node.op is WEAK else t
    if not t.dtype.is_complex:
        return t
    if source.node.op is COMPLEX:
        found = stretch(source.node.inputs[op is IMAG], t.shape)
    elif source.node.op is CONSTANT:
        found = constant(op.numpy(source.node.attrs["value"].array)) if op.numpy else t
    else:
        return apply(op, (t,)).output()
    return weak_like(found, t)


def conj(x: Any) -> Tensor:
    """The complex conjugate, elementwise: `x` itself where that is real.

    Errors: `DTypeError` for bools."""
    t = tensor(x, "conj")
    if t.dtype is bool_:
        raise DTypeError("no numbers", op="conj", expected="ints or floats", given="bool")
    if not t.dtype.is_complex:
        return t
    x, y = real(t), imag(t)
    return apply(COMPLEX, (x, y if is_zero(y) else negative(y))).output()


def angle(x: Any) -> Tensor:
    """The angle of x in the complex plane in radians, in [-pi, pi]: of a real number 0 or pi.

    Dtypes: as `atan2`, and of bools float64, as NumPy. The derivative at 0 is NaN.
    """
    t = tensor(x, "angle")
    t = cast(t, float64) if t.dtype is bool_ else t
    return atan2(imag(t), real(t))


# -- what ops are of complex numbers ---------------------------------------------------------------
# A part that is 0 for certain is None: nothing is computed with it.
Part: TypeAlias = "Tensor | None"
Product: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def _parts(t: Tensor) -> tuple[Part, Part]:
    x, y = (real(t), imag(t)) if t.dtype.is_complex else (t, None)
    return _known(x), _known(y)


def _known(part: Part) -> Part:
    return None if part is None or is_zero(part) else part


def _together(x: Part, y: Part, like: Tensor, shape: Shape) -> Tensor:
    """The complex number of two parts, in a shape."""
    zero = constant(0, like.dtype.part)
    return stretch(apply(COMPLEX, [zero if p is None else p for p in (x, y)]).output(), shape)


def _plus(x: Part, y: Part) -> Part:
    return y if x is None else x if y is None else add(x, y)


def _minus(x: Part, y: Part) -> Part:
    if y is None:
        return x
    return negative(y) if x is None else subtract(x, y)


def _add(z: Tensor, w: Tensor) -> Tensor:
    (a, b), (c, d) = _parts(z), _parts(w)
    return _together(_plus(a, c), _plus(b, d), z, broadcast("add", z.shape, w.shape))


def _subtract(z: Tensor, w: Tensor) -> Tensor:
    (a, b), (c, d) = _parts(z), _parts(w)
    return _together(_minus(a, c), _minus(b, d), z, broadcast("subtract", z.shape, w.shape))


def _multiplied(z: Tensor, w: Tensor, shape: Shape, product: Product = multiply) -> Tensor:
    (a, b), (c, d) = _parts(z), _parts(w)

    def times(x: Part, y: Part) -> Part:
        return None if x is None or y is None else product(x, y)

    x, y = _minus(times(a, c), times(b, d)), _plus(times(a, d), times(b, c))
    return _together(x, y, z, shape)


def _multiply(z: Tensor, w: Tensor) -> Tensor:
    return _multiplied(z, w, broadcast("multiply", z.shape, w.shape))


def _matmul(z: Tensor, w: Tensor) -> Tensor:
    shape = matmul(zeros_like(real(z)), zeros_like(real(w))).shape
    return _multiplied(z, w, shape, matmul)


def _divide(z: Tensor, w: Tensor) -> Tensor:
    """Through the quotient of the divisor's smaller part by the larger one, as NumPy: no square
    overflows or vanishes. Source: Smith, 1962, "Algorithm 116: Complex division"."""
    shape = broadcast("divide", z.shape, w.shape)
    (a, b), (c, d) = _parts(z), _parts(w)
    if c is None or d is None:
        if d is None:
            over, turned = real(w), (a, b)
        else:
            over, turned = d, (b, _minus(None, a))
        x, y = (None if p is None else divide(p, over) for p in turned)
        return _together(x, y, z, shape)
    a, b = (scalar_like(0, c) if p is None else p for p in (a, b))
    swaps = less(magnitude(c), magnitude(d))
    large, small = where(swaps, d, c), where(swaps, c, d)
    nothing = equal(large, scalar_like(0, large))
    ratio = where(nothing, scalar_like(0, large), divide(small, large))
    scale = add(large, multiply(small, ratio))
    x = where(swaps, add(multiply(a, ratio), b), add(a, multiply(b, ratio)))
    y = where(swaps, subtract(multiply(b, ratio), a), subtract(b, multiply(a, ratio)))
    return _together(divide(x, scale), divide(y, scale), z, shape)


def _square(z: Tensor) -> Tensor:
    return _multiply(z, z)


def _abs(z: Tensor) -> Tensor:
    """The distance from 0, whose derivative at 0 is 0."""
    return hypot(real(z), imag(z))


def _exp(z: Tensor) -> Tensor:
    x, y = _parts(z)
    size = None if x is None else exp(x)
    if y is None:
        return _together(exp(real(z)), None, z, z.shape)
    if size is None:
        return _together(cos(y), sin(y), z, z.shape)
    zero = scalar_like(0, y)  # of an infinite size too: sin(0) * inf would be NaN
    turned = where(equal(y, zero), y, multiply(size, sin(y)))
    return _together(multiply(size, cos(y)), turned, z, z.shape)


def _log(z: Tensor) -> Tensor:
    x, y = real(z), imag(z)
    return _together(log(hypot(x, y)), atan2(y, x), z, z.shape)


def _sqrt(z: Tensor) -> Tensor:
    """The root with a real part that is not negative; on the cut the sign of the imaginary part
    decides."""
    x, y = real(z), imag(z)
    half, zero, one = (scalar_like(v, x) for v in (0.5, 0, 1))
    size = sqrt(add(multiply(magnitude(x), half), multiply(hypot(x, y), half)))
    rest = divide(multiply(y, half), where(equal(size, zero), one, size))
    left = less(x, zero)
    root = where(left, magnitude(rest), size), where(left, copysign(size, y), rest)
    return _together(*root, z, z.shape)


def _equal(z: Tensor, w: Tensor) -> Tensor:
    return logical_and(equal(real(z), real(w)), equal(imag(z), imag(w)))


def _not_equal(z: Tensor, w: Tensor) -> Tensor:
    return logical_or(not_equal(real(z), real(w)), not_equal(imag(z), imag(w)))


def _astype(z: Tensor, *, dtype: DType) -> Tensor:
    """Errors: `DTypeError` for a real dtype."""
    if dtype is bool_:
        return _not_equal(z, scalar_like(0, z))
    x, y = (cast(part, dtype.part) for part in (real(z), imag(z)))
    return apply(COMPLEX, (x, y)).output()


# -- trigonometric functions, and what follows from logarithms -------------------------------------
def _sinh(z: Tensor) -> Tensor:
    x, y = real(z), imag(z)
    return _together(multiply(sinh(x), cos(y)), multiply(cosh(x), sin(y)), z, z.shape)


def _cosh(z: Tensor) -> Tensor:
    x, y = real(z), imag(z)
    return _together(multiply(cosh(x), cos(y)), multiply(sinh(x), sin(y)), z, z.shape)


def _tanh(z: Tensor) -> Tensor:
    """With t = tan y, s = sinh x: (r s (1 + t^2) + i t) / (1 + s^2 (1 + t^2)), r = cosh x; far out
    what is left of that. Source: Kahan, 1987, "Branch cuts for complex elementary functions"."""
    x, y = real(z), imag(z)
    one, far = scalar_like(1, x), less(scalar_like(20, x), magnitude(x))
    near = where(far, scalar_like(0, x), x)
    t, s = tan(y), sinh(near)
    spread = add(one, multiply(t, t))
    below = add(one, multiply(spread, multiply(s, s)))
    rest = multiply(multiply(sin(y), cos(y)), multiply(exp(multiply(magnitude(x), -2)), 4))
    u = where(far, copysign(one, x), divide(multiply(multiply(spread, cosh(near)), s), below))
    return _together(u, where(far, rest, divide(t, below)), z, z.shape)


def _turned(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function f(z) with f(iz) = i `function`(z): sin for sinh, and so on, or the other way."""

    def turned(z: Tensor) -> Tensor:
        x, y = real(z), imag(z)
        found = function(apply(COMPLEX, (negative(y), x)).output())
        return _together(imag(found), negative(real(found)), z, z.shape)

    return turned


def _cos(z: Tensor) -> Tensor:
    return _cosh(apply(COMPLEX, (negative(imag(z)), real(z))).output())


def _roots(z: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(1 + z) and sqrt(1 - z)."""
    x, y = real(z), imag(z)
    one = scalar_like(1, x)
    return (
        _sqrt(_together(add(one, x), y, z, z.shape)),
        _sqrt(_together(subtract(one, x), negative(y), z, z.shape)),
    )


def _asin(z: Tensor) -> Tensor:
    """Source: Kahan, as of `_tanh`, as are the others."""
    right, left = _roots(z)
    (a, b), (c, d) = (real(right), imag(right)), (real(left), imag(left))
    u = atan2(real(z), subtract(multiply(a, c), multiply(b, d)))
    return _together(u, asinh(subtract(multiply(c, b), multiply(d, a))), z, z.shape)


def _acos(z: Tensor) -> Tensor:
    right, left = _roots(z)
    (a, b), (c, d) = (real(right), imag(right)), (real(left), imag(left))
    u = multiply(atan2(c, a), scalar_like(2, c))
    return _together(u, asinh(subtract(multiply(a, d), multiply(b, c))), z, z.shape)


def _acosh(z: Tensor) -> Tensor:
    x, y = real(z), imag(z)
    one = scalar_like(1, x)
    right = _sqrt(_together(add(x, one), y, z, z.shape))
    left = _sqrt(_together(subtract(x, one), y, z, z.shape))
    (a, b), (c, d) = (real(right), imag(right)), (real(left), imag(left))
    v = multiply(atan2(d, a), scalar_like(2, a))
    return _together(asinh(add(multiply(c, a), multiply(d, b))), v, z, z.shape)


def _atanh(z: Tensor) -> Tensor:
    """log((1 + z) / (1 - z)) / 2."""
    x, y = real(z), imag(z)
    one, half = scalar_like(1, x), scalar_like(0.5, x)
    away = subtract(one, x)
    size = add(multiply(away, away), multiply(y, y))
    u = multiply(log1p(divide(multiply(x, 4), size)), multiply(half, half))
    side = subtract(subtract(one, multiply(x, x)), multiply(y, y))
    return _together(u, multiply(atan2(multiply(y, 2), side), half), z, z.shape)


def _expm1(z: Tensor) -> Tensor:
    x, y = real(z), imag(z)
    half = sin(multiply(y, scalar_like(0.5, y)))
    u = subtract(multiply(expm1(x), cos(y)), multiply(multiply(half, half), 2))
    return _together(u, multiply(exp(x), sin(y)), z, z.shape)


def _log1p(z: Tensor) -> Tensor:
    """Near 0 by |1 + z|^2 - 1 = x (2 + x) + y^2."""
    x, y = real(z), imag(z)
    one, half = scalar_like(1, x), scalar_like(0.5, x)
    near = less(hypot(x, y), half)
    change = add(multiply(x, add(x, 2)), multiply(y, y))
    small = multiply(log1p(where(near, change, scalar_like(0, x))), half)
    u = where(near, small, log(hypot(add(one, x), y)))
    return _together(u, atan2(y, add(one, x)), z, z.shape)


def _log_to(base: float) -> Callable[[Tensor], Tensor]:
    def log_to(z: Tensor) -> Tensor:
        found, scale = _log(z), scalar_like(1 / math.log(base), real(z))
        return _together(
            multiply(real(found), scale), multiply(imag(found), scale), z, z.shape
        )

    return log_to


def _sign(z: Tensor) -> Tensor:
    """The number of size 1 in the same direction; 0 of 0."""
    size = hypot(real(z), imag(z))
    nothing = equal(size, scalar_like(0, size))
    return _divide(z, where(nothing, scalar_like(1, size), size))


def _power(z: Tensor, w: Tensor) -> Tensor:
    """exp(w log z); z^0 is 1, and 0^w is 0 for a w with a positive real part."""
    whole = _exp(_multiply(w, _log(z if z.dtype.is_complex else _astype_of(z, w))))
    zero = scalar_like(0, real(w))
    at_zero = logical_and(_equal(z, scalar_like(0, z)), less(zero, real(w)))
    constant_one = _equal(w, scalar_like(0, w))
    found = where(at_zero, scalar_like(0, whole), whole)
    return where(constant_one, scalar_like(1, whole), found)


def _astype_of(x: Tensor, like: Tensor) -> Tensor:
    return _together(x, None, like, x.shape)


_OF_COMPLEX: Mapping[str, Callable[..., Tensor]] = {
    "add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide,
    "matmul": _matmul, "square": _square, "abs": _abs, "exp": _exp, "log": _log, "sqrt": _sqrt,
    "equal": _equal, "not_equal": _not_equal, "astype": _astype,
    "sinh": _sinh, "cosh": _cosh, "tanh": _tanh, "sin": _turned(_sinh), "cos": _cos,
    "tan": _turned(_tanh), "asin": _asin, "acos": _acos, "asinh": _turned(_asin),
    "acosh": _acosh, "atanh": _atanh, "atan": _turned(_atanh), "expm1": _expm1, "log1p": _log1p,
    "log2": _log_to(2), "log10": _log_to(10), "sign": _sign, "power": _power,
}  # fmt: skip


def of_complex(op: Op, operands: Sequence[Tensor], attrs: Attrs) -> Node | None:
    """The node of `op` where an operand is complex; None where the op takes it as it is.

    Errors: `DTypeError` for an op that takes no complex numbers.
    """
    if op.name in _OF_COMPLEX:
        return _OF_COMPLEX[op.name](*operands, **attrs).node
    if op.only_moves and operands[0].node.op not in (COMPLEX, WEAK):
        return None
    if not (op.only_moves or op.facts & {Fact.PICKS, Fact.BY_PARTS}):
        raise DTypeError(
            "complex numbers, which the operation does not take",
            op=op.name,
            expected="real numbers",
            given=", ".join(t.dtype.name for t in operands),
            where=origin.where(),
            hint="gc.real(x), gc.imag(x), gc.abs(x) and gc.angle(x) are real; docs/fft.md lists "
            "what takes complex numbers",
        )
    x, y = (
        apply(op, [part(t) if t.dtype.is_complex else t for t in operands], **attrs).output()
        for part in (real, imag)
    )
    return apply(COMPLEX, (x, y))


FUNCTIONS |= {f.__name__: f for f in (complex, real, imag, conj, angle)}
NUMPY: dict[str, Callable[..., Any] | None] = {"conjugate": conj}
