"""How each family of ops is drawn: a function of the growth that gives new tensors.

`FAMILIES` lists them with their weights. To add an op, add its name to a list or a function here;
the histogram of `test_compiled.py` fails until random graphs use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import graphc as gc
from graphc.ir.dtype import DTYPES
from graphc.ir.node import Tensor
from graphc.ops.formula import Elementwise
from graphc.ops.special import special

from .growth import Growth, UnsuitedError

Maker = Callable[[Growth], Any]


class Family(NamedTuple):
    weight: float
    make: Maker
    every: int = 1  # the seeds that draw it: the multiples of this


FAMILIES: list[Family] = []


def family(weight: float, every: int = 1) -> Callable[[Maker], Maker]:
    """One that comes later takes a share of the seeds only: the others name the graphs that they
    named before, of which all are known to hold, and in which known faults show."""

    def add(make: Maker) -> Maker:
        FAMILIES.append(Family(weight, make, every))
        return make

    return add


FLOAT_UNARY = [
    "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "erf", "sigmoid", "softplus", "sqrt",
    "erfc", "log_ndtr", "log1mexp", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh",
    "atanh", "exp2", "log2", "log10", "cbrt", "sinc", "deg2rad", "rad2deg", "signbit",
    "lgamma", "gamma", "digamma", "ndtr", "ndtri", "erfinv", "erfcinv", "logit",
    "i0", "i1", "i0e", "i1e", "j0", "j1",
]  # fmt: skip
# SciPy's, which the interpreter calls, lose digits near their zeros, where ours do not; and that
# of gamma's slope, digamma, near poles.
NEAR_ZEROS = ["lgamma", "digamma", "gamma"]
ACTIVATIONS = [
    "relu6", "elu", "celu", "selu", "gelu", "silu", "mish", "softsign", "hard_sigmoid",
    "hard_swish", "log_sigmoid", "step",
]  # fmt: skip
FLOAT_BINARY = [
    "atan2", "hypot", "logaddexp", "xlogy", "xlog1py", "copysign", "nextafter", "heaviside",
]  # fmt: skip
ROUNDING = [
    "floor", "ceil", "trunc", "round", "isnan", "isfinite", "isinf", "reciprocal", "leaky_relu",
]  # fmt: skip
UNARY = ["negative", "abs", "sign", "square", "relu"]
BINARY = [
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "minimum", "maximum",
]  # fmt: skip
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
LOGICAL = ["logical_and", "logical_or", "logical_xor"]
BITWISE = ["bitwise_and", "bitwise_or", "bitwise_xor"]
REDUCTIONS = ["sum", "prod", "mean", "max", "min", "variance"]


# -- elementwise -----------------------------------------------------------------------------------
@family(9)
def float_unary(b: Growth) -> list[Tensor]:
    """Some functions of one tensor: there are many of them."""
    t = b.pick("f" if b.chance(0.9) else "biu")
    names = [b.choose(FLOAT_UNARY) for _ in range(b.integer(2, 5))]
    return [getattr(gc, name)(gc.abs(t) + 3 if name in NEAR_ZEROS else t) for name in names]


@family(1)
def of_a_formula(b: Growth) -> Tensor:
    name, text = b.choose((("mish", "x0*tanh(log(1 + exp(x0)))"), ("bump", "exp(-x0**2)*cos(x0)")))
    return Elementwise(name, text, (("x0 > 20", "x0"),), 1)(b.pick("f"))


@family(0.5)
def of_scipy(b: Growth) -> Tensor:
    return special(b.choose(("Si", "fresnels", "airyai")), b.pick("f"))


@family(2)
def rounding(b: Growth) -> Tensor:
    return getattr(gc, b.choose(ROUNDING))(b.pick("f"))


@family(3)
def unary(b: Growth) -> Tensor:
    return getattr(gc, b.choose(UNARY))(b.pick("iuf"))


@family(1)
def inversion(b: Growth) -> Tensor:
    t = b.pick("biu")
    return gc.logical_not(t) if b.chance(0.5) else gc.bitwise_invert(t)


@family(9)
def binary(b: Growth) -> Tensor:
    t = b.pick("iuf")
    pair = [t, b.partner(t)]
    first, second = pair if b.chance(0.5) else pair[::-1]
    return getattr(gc, b.choose(BINARY))(first, second)


@family(1)
def activation(b: Growth) -> Tensor:
    t = b.pick("f")
    return getattr(gc, b.choose(ACTIVATIONS))(t)


@family(1.5)
def of_gamma(b: Growth) -> Any:
    t = b.pick("f")
    other, kind = b.partner(t), b.integer(0, 2)
    a, c = gc.stop_gradient(t), gc.stop_gradient(other)  # no derivative by a parameter of these
    if kind == 0:
        return [gc.gammainc(a, other), gc.gammaincc(a, other)]
    if kind == 1:
        return [gc.betainc(a, c, gc.sigmoid(t)), gc.beta(t, other)]
    return gc.polygamma(b.integer(1, 2), t)


@family(3)
def float_binary(b: Growth) -> list[Tensor]:
    t = b.pick("f" if b.chance(0.9) else "iu")
    other = b.partner(t)
    return [getattr(gc, b.choose(FLOAT_BINARY))(t, other) for _ in range(b.integer(1, 2))]


@family(1)
def power(b: Growth) -> Tensor:
    t = b.pick("iuf")
    if t.dtype.is_integer and b.chance(0.5):
        return t ** (b.partner(t) % 8)
    if b.chance(0.5) or t.dtype.is_integer:
        return t ** b.integer(0, 5)
    return gc.power(gc.abs(t), b.partner(t) if b.chance(0.5) else b.choose((0.5, -1.0, 2.0, 1.5)))


@family(3)
def comparison(b: Growth) -> Tensor:
    t = b.pick()
    return getattr(gc, b.choose(COMPARISONS))(t, b.partner(t))


@family(2)
def logical(b: Growth) -> Tensor:
    t = b.pick("b")
    return getattr(gc, b.choose(LOGICAL))(t, b.partner(t))


@family(2)
def bitwise(b: Growth) -> Tensor:
    t = b.pick("iub")
    return getattr(gc, b.choose(BITWISE))(t, b.partner(t))


@family(2)
def shift(b: Growth) -> Tensor:
    t = b.pick("iu")
    return (gc.shift_left if b.chance(0.5) else gc.shift_right)(t, b.partner(t))


@family(4)
def choice(b: Growth) -> Tensor:
    condition = b.pick("b")
    t = b.pick("biuf", lambda t: t.shape == condition.shape or condition.ndim == 0 or t.ndim == 0)
    return gc.where(condition, t, b.partner(t))


@family(2)
def limits(b: Growth) -> Tensor:
    t = b.pick("iuf")
    return gc.clip(t, 0 if b.chance(0.7) else None, 1 if b.chance(0.7) else None)


@family(2)
def python_numbers(b: Growth) -> Tensor:
    """A tensor beside what is made of Python numbers alone."""
    t, made = b.pick("iuf"), python_number(b)
    if made.shape not in ((), t.shape) and t.ndim > 0:
        raise UnsuitedError
    if t.ndim == 0 and made.ndim == 0 and b.chance(0.4):
        return gc.stack([t, made])
    pair = [t, made] if b.chance(0.5) else [made, t]
    return getattr(gc, b.choose(("add", "subtract", "multiply", "minimum", "maximum")))(*pair)


def python_number(b: Growth) -> Tensor:
    first, second = (b.choose((1 / 3, 0.1, 0.75, 2.0, 3, 7)) for _ in range(2))
    kind = b.integer(0, 4)
    if kind == 0:
        return getattr(gc, b.choose(FLOAT_UNARY))(first)
    if kind == 1:
        return getattr(gc, b.choose(("add", "multiply", "maximum", "divide")))(first, second)
    if kind == 2:
        return gc.full(b.shape(), first)
    p = b.pick("b", lambda p: kind == 3 or p.ndim == 0)
    if kind == 3:
        return gc.where(p, first, second)
    return gc.cond(p, lambda: first, lambda: gc.sqrt(second))


@family(4)
def conversion(b: Growth) -> Tensor:
    """One or two: the first of two may lose what the second cannot bring back."""
    t = b.pick().astype(b.dtype("biuf") if b.chance(0.7) else b.choose(DTYPES))
    return t.astype(b.choose(DTYPES)) if b.chance(0.3) else t


@family(0.5)
def stopped(b: Growth) -> Tensor:
    return gc.stop_gradient(b.pick())


# -- reductions, softmax, contractions -------------------------------------------------------------
@family(6)
def reduction(b: Growth) -> Tensor:
    t = b.pick("biuf" if b.chance(0.3) else "f")
    return getattr(gc, b.choose(REDUCTIONS))(t, axis=b.subset(t), keepdims=b.chance(0.4))


@family(1)
def truth(b: Growth) -> Tensor:
    t = b.pick("bif")
    return (gc.any if b.chance(0.5) else gc.all)(t, axis=b.subset(t), keepdims=b.chance(0.4))


@family(1.5)
def position(b: Growth) -> Any:
    t = b.pick()
    if b.chance(0.5):
        return gc.max_and_argmax(t, axis=b.axis(t))
    axis = None if b.chance(0.2) else b.axis(t)
    return (gc.argmax if b.chance(0.5) else gc.argmin)(t, axis=axis, keepdims=b.chance(0.4))


@family(2.5)
def softmax(b: Growth) -> Tensor:
    t = b.pick("f")
    kind = b.choose((gc.softmax, gc.log_softmax, gc.logsumexp))
    return kind(t, axis=b.axis(t) if b.chance(0.8) else b.subset(t))


@family(1)
def cross_entropy(b: Growth) -> Tensor:
    z = b.pick("f", lambda t: t.ndim >= 1 and isinstance(t.shape[-1], int) and t.shape[-1] > 0)
    return gc.softmax_cross_entropy(z, index(b, z.shape[:-1], z.shape[-1]))


@family(4)
def contraction(b: Growth) -> Tensor:
    x = b.pick("f" if b.chance(0.85) else "iu", lambda t: 1 <= t.ndim <= 3)
    inner = x.shape[-1]
    found = [
        t
        for t in b.pool
        if t.dtype is x.dtype and 1 <= t.ndim <= 3 and t.shape[-2 if t.ndim > 1 else -1] == inner
    ]
    flipped = [t for t in b.pool if t.dtype is x.dtype and t.ndim == 2 and t.shape[1] == inner]
    if flipped and b.chance(0.4):
        return x @ b.choose(flipped).T
    if found and b.chance(0.5):
        return x @ b.choose(found)
    tail = b.shape(1) if b.chance(0.8) else ()
    batch = x.shape[:-2] if x.ndim > 2 and b.chance(0.4) else ()
    y = b.fresh((*batch, inner, *tail) if tail else (inner,), x.dtype.name)
    return x @ y if b.chance(0.8) or x.ndim != 2 or y.ndim != 2 else (y.T @ x.T)


@family(2)
def summed_products(b: Growth) -> Tensor:
    """Sums of products over letters: any axes of one to three operands, in any order."""
    first = b.pick("f" if b.chance(0.8) else "biu", lambda t: 1 <= t.ndim <= 3)
    sizes = dict(zip("ijk", first.shape, strict=False))
    operands, parts = [first], ["ijk"[: first.ndim]]
    for _ in range(b.integer(0, 2)):
        found = [(a, s) for a, s in sizes.items() if b.chance(0.6)]
        if b.chance(0.5) and "l" not in sizes:
            found.append(("l", b.shape(1)[0]))
            sizes |= dict(found)
        order = [found[int(i)] for i in b.rng.permutation(len(found))]
        operands.append(b.fresh([s for _, s in order], first.dtype.name))
        parts.append("".join(a for a, _ in order))
    kept = [a for a in sizes if b.chance(0.5)]
    out = "".join(kept[int(i)] for i in b.rng.permutation(len(kept)))
    if b.chance(0.2) and first.ndim == 2:
        return gc.tensordot(first, first, ([1], [1])) if b.chance(0.5) else gc.outer(first, first)
    return gc.einsum(f"{','.join(parts)}->{out}", *operands)


@family(1)
def diagonals(b: Growth) -> Tensor:
    t = b.pick("biuf", lambda t: t.ndim >= 2)
    first, second = (int(a) for a in b.rng.permutation(t.ndim)[:2])
    if b.chance(0.3) and t.dtype.kind != "b":
        return gc.trace(t, b.integer(-1, 1), first, second)
    return gc.diagonal(t, b.integer(-1, 1), first, second)


# -- elements moved --------------------------------------------------------------------------------
@family(3)
def reshape(b: Growth) -> Tensor:
    t = b.pick()
    kind = b.integer(0, 3)
    if kind == 0:
        return gc.reshape(t, (-1,)) if t.size != 0 else gc.reshape(t, t.shape[::-1])
    if kind == 1:
        return gc.expand_dims(t, b.integer(-t.ndim - 1, t.ndim))
    if kind == 2:
        return gc.squeeze(t)
    if t.ndim < 2:
        raise UnsuitedError
    at = b.integer(0, t.ndim - 2)
    return gc.reshape(t, (*t.shape[:at], t.shape[at] * t.shape[at + 1], *t.shape[at + 2 :]))


@family(3)
def permute(b: Growth) -> Tensor:
    t = b.pick("biuf", lambda t: t.ndim > 1)
    return gc.permute_dims(t, [int(i) for i in b.rng.permutation(t.ndim)])


@family(2)
def broadcast(b: Growth) -> Tensor:
    t = b.pick()
    stretched = tuple(b.choose(b.axes)[0] if s == 1 else s for s in t.shape)
    front = b.shape(1) if b.chance(0.5) else ()
    return gc.broadcast_to(t, (*front, *stretched))


@family(1.5)
def flip(b: Growth) -> Tensor:
    t = b.pick()
    return gc.flip(t, None if b.chance(0.3) else b.axis(t))


@family(1)
def roll(b: Growth) -> Tensor:
    t = b.pick("biuf", lambda t: t.ndim > 0)
    axes = [int(a) for a in b.rng.permutation(t.ndim)[: b.integer(1, 2)]]
    return gc.roll(t, [b.integer(-4, 4) for _ in axes], axes)


@family(5)
def slices(b: Growth) -> Tensor:
    t = b.pick("biuf", lambda t: t.ndim > 0)
    return t[tuple(_item(b, size) for size in t.shape[: b.integer(1, t.ndim)])]


def _item(b: Growth, size: Any) -> Any:
    if not isinstance(size, int):
        if b.chance(0.4):
            return slice(None, None, b.choose((-1, -2)))
        low = b.choose((None, 1))
        return slice(low, None if low else b.choose((None, -1)), b.choose((None, 1, 2)))
    if size and b.chance(0.25):
        return b.integer(-size, size - 1)
    low, high = (None if b.chance(0.3) else b.integer(-size - 1, size + 1) for _ in range(2))
    return slice(low, high, b.choose((None, 1, 2, -1, -1, -2, 3)))


@family(2.5)
def pad(b: Growth) -> Tensor:
    t = b.pick("biuf", lambda t: t.ndim > 0)
    return gc.pad(t, [(b.integer(0, 2), b.integer(0, 2)) for _ in t.shape])


@family(2.5)
def joined(b: Growth) -> Tensor:
    t = b.pick("biuf")
    if b.chance(0.4) or t.ndim == 0:
        others = [p for p in b.pool if p.type == t.type]
        return gc.stack([t, b.choose(others), t * t if t.dtype.is_float else t], b.axis(t[None]))
    axis = b.axis(t) % t.ndim
    shape = list(t.shape)
    shape[axis] = b.choose((1, 2, shape[axis]))
    parts = [t, b.fresh(shape, t.dtype.name), t]
    return gc.concat(parts[: b.integer(1, 3)], axis)


@family(1.5)
def split(b: Growth) -> Any:
    t = b.pick("biuf", lambda t: t.ndim > 0)
    axis = b.axis(t) % t.ndim
    size = t.shape[axis]
    if not isinstance(size, int) or size < 2:
        raise UnsuitedError
    return gc.split(t, size if b.chance(0.3) else [b.integer(1, size - 1)], axis)


# -- indices ---------------------------------------------------------------------------------------
def index(b: Growth, shape: tuple[Any, ...], size: int) -> Tensor:
    """Integers in [0, size), computed or constant."""
    static = all(isinstance(s, int) for s in shape)
    if static and b.chance(0.4):
        value = b.rng.integers(0, size, shape).astype(b.choose(("int32", "int64", "uint8")))
        return gc.constant(value)
    found = [t for t in b.pool if t.dtype.is_integer and t.shape == shape]
    t = b.choose(found) if found else b.fresh(shape, b.choose(("int64", "int32", "uint8")))
    return gc.remainder(t, size)


@family(2.5)
def take(b: Growth) -> Tensor:
    t = b.pick("biuf", lambda t: t.ndim > 0)
    axis = b.axis(t) % t.ndim
    size = t.shape[axis]
    if not isinstance(size, int) or size == 0:
        raise UnsuitedError
    at = index(b, b.shape(b.integer(0, 2)), size)
    if at.dtype.kind == "i" and b.chance(0.3):
        at = at - size
    return gc.take(t, at, axis)


def _rows(b: Growth, kinds: str = "biuf") -> Tensor:
    """A tensor whose first axis has a known size above 0."""
    return b.pick(kinds, lambda t: t.ndim > 0 and isinstance(t.shape[0], int) and t.shape[0] > 0)


@family(2.5)
def keyed(b: Growth) -> Tensor:
    """Read or written at places that several integer tensors say."""
    t = _rows(b, "iuf")
    static = [s for s in t.shape[:2] if isinstance(s, int) and s > 0]
    shape = b.shape(b.integer(0, 2))
    key = tuple(index(b, shape, s) for s in static) if len(static) == min(t.ndim, 2) else (
        index(b, shape, static[0]),
    )  # fmt: skip
    read = t[key]
    if b.chance(0.3):
        return read
    how = b.choose(("set", "add", "multiply", "min", "max"))
    made: Tensor = getattr(t.at[key], how)(read * 2 if b.chance(0.5) else 3)
    return made


@family(1)
def segments(b: Growth) -> Tensor:
    t = b.pick("iuf", lambda t: t.ndim > 0)
    reduce = b.choose((gc.segment_sum, gc.segment_prod, gc.segment_max, gc.segment_min))
    return reduce(t, index(b, t.shape[:1], 3), 3)


@family(2.5)
def moving(b: Growth) -> Tensor:
    """Slices that begin at a tensor."""
    t = _rows(b)
    size = int(t.shape[0])
    length = b.integer(0, size)
    start = index(b, (), size - length + 1).astype("int64")
    kind = b.integer(0, 2)
    if kind == 0:
        return t[start : start + length]
    starts = [start * b.choose((1, 3, -2)), *(0 for _ in t.shape[1:])]
    part = gc.dynamic_slice(t, starts, (length, *t.shape[1:]))
    return part if kind == 1 else gc.dynamic_update_slice(t, gc.flip(part), starts)


@family(0.8)
def places(b: Growth) -> Any:
    t = b.pick()
    if b.chance(0.5) or t.ndim == 0:
        return gc.flatnonzero(t, size=b.integer(0, 4), fill_value=b.integer(-1, 1))
    return gc.nonzero(t, size=b.integer(0, 4))


@family(1)
def one_hot(b: Growth) -> Tensor:
    return gc.one_hot(b.pick("iu"), b.choose(b.axes)[0], b.dtype("biuf"))


@family(1.5)
def made(b: Growth) -> Tensor:
    shape, dtype = b.shape(), b.dtype("iuf")
    if shape and b.chance(0.5):
        return gc.iota(shape, b.integer(0, len(shape) - 1), dtype)
    if b.chance(0.3):
        return gc.size(b.pick(), None, dtype)
    return b.choose((gc.zeros, gc.ones))(shape, dtype)
