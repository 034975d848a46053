"""Elementwise ops: one scalar function applied to every element, with NumPy's broadcasting.

Each definition states, in this order: name, NumPy meaning, SymPy formula, kernel (the loop-IR
primitive of the same name unless given), type rule, facts. Derivatives come from the table that
SymPy generated from the formulas (`symbolic/partials.py`), or are stated here where SymPy's are
not what is wanted (kinks, ties).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.ir.dtype import DType, bool_, promote, uint64
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.operators import function
from graphc.ir.shape import TensorType
from graphc.ir.structure import flatten, unflatten
from graphc.loops.primitives import PRIMITIVES
from graphc.loops.primitives import log1mexp as numpy_log1mexp
from graphc.loops.primitives import sigmoid as numpy_sigmoid
from graphc.loops.primitives import softplus as numpy_softplus
from graphc.ops.build import (
    WEAK,
    cast,
    constant,
    float_type,
    is_python_scalar,
    no_real_value,
    operands,
    scalar_like,
    tensor,
)
from graphc.ops.scalar import (
    COMMUTES,
    FUNCTIONS,
    NUMPY,
    at,
    binary_function,
    define,
    float_function,
    named,
    numeric_function,
    publish,
    sum_to,
)

# -- arithmetic ------------------------------------------------------------------------------------
add = binary_function(
    "add", np.add, lambda s, x, y: x + y, "x + y, elementwise; `or` of bools.",
    kinds="iuf", for_bool="logical_or", facts=COMMUTES | {Fact.ADDS, Fact.ARITHMETIC, Fact.EXACT},
)  # fmt: skip
subtract = binary_function(
    "subtract", np.subtract, lambda s, x, y: x - y, "x - y, elementwise.", kinds="iuf",
    facts={Fact.ARITHMETIC, Fact.EXACT},
)  # fmt: skip
multiply = binary_function(
    "multiply", np.multiply, lambda s, x, y: x * y, "x * y, elementwise; `and` of bools.",
    kinds="iuf", for_bool="logical_and",
    facts=COMMUTES | {Fact.MULTIPLIES, Fact.ARITHMETIC, Fact.EXACT},
)  # fmt: skip
_DIVIDE = define(
    "divide", np.divide, lambda s, x, y: x / y, cost=4, doc="x / y, elementwise; ints give floats.",
    # Not exact: it may become x * (1 / y), or come from it.
    facts={Fact.ARITHMETIC, Fact.JUMPS, Fact.POLE},
)  # fmt: skip
negative = numeric_function(
    "negative", lambda s, x: -x, "-x, elementwise.", facts={Fact.EXACT, Fact.BY_PARTS}
)


@named(_DIVIDE)
def divide(x: Any, y: Any) -> Tensor:
    a, b = operands("divide", x, y)
    to = float_type(a.dtype)
    if a.dtype.is_integer or a.dtype is bool_:
        to = to_dtype("float64")
    return apply(_DIVIDE, (cast(a, to), cast(b, to))).output()


def _floor_divide_kernel(k: Any, x: Any, y: Any) -> Any:
    """NumPy's npy_divmod: the quotient of `x - fmod`, snapped to the nearest integer below."""
    if not x.dtype.is_float:
        return k.floor_divide(x, y)
    zero, one = k.const(0, x.dtype), k.const(1, x.dtype)
    mod = k.fmod(x, y)
    negative_mod = k.not_equal(k.less(y, zero), k.less(mod, zero))
    quotient = k.divide(k.subtract(x, mod), y)
    adjust = k.bitwise_and(k.not_equal(mod, zero), negative_mod)
    quotient = k.where(adjust, k.subtract(quotient, one), quotient)
    floor = k.floor(quotient)
    snapped = k.where(
        k.greater(k.subtract(quotient, floor), k.const(0.5, x.dtype)), k.add(floor, one), floor
    )
    ratio = k.divide(x, y)
    result = k.where(k.equal(quotient, zero), k.copysign(zero, ratio), snapped)
    return k.where(k.equal(y, zero), ratio, result)


def _remainder_kernel(k: Any, x: Any, y: Any) -> Any:
    """C's fmod, moved to the sign of the divisor."""
    if not x.dtype.is_float:
        return k.remainder(x, y)
    zero = k.const(0, x.dtype)
    mod = k.fmod(x, y)
    adjust = k.not_equal(k.less(y, zero), k.less(mod, zero))
    moved = k.where(adjust, k.add(mod, y), mod)
    return k.where(
        k.equal(y, zero), mod, k.where(k.equal(mod, zero), k.copysign(zero, y), moved)
    )


floor_divide = binary_function(
    "floor_divide", np.floor_divide, lambda s, x, y: s.floor(x / y),
    "The largest integer not above x / y.", kinds="iuf", kernel=_floor_divide_kernel, cost=12,
    partials=lambda f, out, x, y: (None, None), facts={Fact.EXACT, Fact.JUMPS, Fact.POLE},
)  # fmt: skip
remainder = binary_function(
    "remainder", np.remainder, lambda s, x, y: s.Mod(x, y),
    "x - y * floor(x / y), with the sign of y.", kinds="iuf", kernel=_remainder_kernel, cost=12,
    partials=lambda f, out, x, y: (1, lambda: -f("floor_divide")(x, y)),
    facts={Fact.EXACT, Fact.JUMPS},
)  # fmt: skip


# -- comparison, logic, choice ---------------------------------------------------------------------
def _comparison(name: str, numpy: Any, relation: Any, doc: str) -> Callable[..., Tensor]:
    op = define(name, numpy, relation, kinds="biuf", result=bool_, doc=doc, facts={Fact.COMPARES})

    def frontend(x: Any, y: Any) -> Tensor:
        a, b = (v if is_python_scalar(v) else tensor(v, name) for v in (x, y))
        if isinstance(a, Tensor) and isinstance(b, Tensor) and _needs_sign(a.dtype, b.dtype):
            return _compare_across_signs(frontend, numpy, a, b)
        for value, other, sides in ((a, b, (1, 0)), (b, a, (0, 1))):
            if isinstance(other, Tensor) and (sign := _outside(value, other.dtype)):
                return _always(other, bool(numpy(*(side * sign for side in sides))))
        return apply(op, operands(name, a, b)).output()

    return publish(op, frontend)


def _outside(value: Any, dtype: DType) -> int:
    """1 for a Python int above all that integers or bools beside it can be, -1 for one below."""
    if isinstance(value, Tensor) or not isinstance(value, int) or dtype.has_derivative:
        return 0
    info = np.iinfo(dtype.numpy if dtype.is_integer else np.int64)
    return int(value > info.max) - int(value < info.min)


def _always(x: Tensor, answer: bool) -> Tensor:
    """`answer` for each element of the integers or bools x."""
    smallest = 0 if x.dtype is bool_ else int(np.iinfo(x.dtype.numpy).min)
    return greater_equal(x, smallest) if answer else less(x, smallest)


def _needs_sign(a: DType, b: DType) -> bool:
    """Whether integers promote to float64, which would round them: uint64 beside a signed one."""
    return a.is_integer and b.is_integer and promote(a, b).is_float


def _compare_across_signs(compare: Any, numpy: Any, a: Tensor, b: Tensor) -> Tensor:
    """As uint64 where the signed operand is >= 0; below 0 its sign decides."""
    first = a.dtype.kind == "i"
    signed = a if first else b
    decided = bool(numpy(-1, 0) if first else numpy(0, -1))
    return where(
        less(signed, scalar_like(0, signed)), decided, compare(cast(a, uint64), cast(b, uint64))
    )


equal = _comparison("equal", np.equal, lambda s, x, y: s.Eq(x, y), "x == y, elementwise.")
not_equal = _comparison("not_equal", np.not_equal, lambda s, x, y: s.Ne(x, y), "x != y.")
less = _comparison("less", np.less, lambda s, x, y: x < y, "x < y, elementwise.")
less_equal = _comparison("less_equal", np.less_equal, lambda s, x, y: x <= y, "x <= y.")
greater = _comparison("greater", np.greater, lambda s, x, y: x > y, "x > y, elementwise.")
greater_equal = _comparison("greater_equal", np.greater_equal, lambda s, x, y: x >= y, "x >= y.")


def _logical(
    name: str, numpy: Any, primitive: str, formula: Any, doc: str
) -> Callable[..., Tensor]:
    op = define(
        name, numpy, formula, kinds="b", doc=doc, facts=COMMUTES,
        kernel=lambda k, *values: k.prim(primitive, *values),
    )  # fmt: skip

    def of_one(x: Any) -> Tensor:
        return apply(op, (_truth(tensor(x, name)),)).output()

    def of_two(x: Any, y: Any) -> Tensor:
        return apply(op, (_truth(tensor(x, name)), _truth(tensor(y, name)))).output()

    return publish(op, of_one if name == "logical_not" else of_two)


def _truth(x: Tensor) -> Tensor:
    return x if x.dtype is bool_ else not_equal(x, scalar_like(0, x))


logical_and = _logical(
    "logical_and", np.logical_and, "bitwise_and", lambda s, x, y: s.And(x, y),
    "x and y, elementwise.",
)  # fmt: skip
logical_or = _logical(
    "logical_or", np.logical_or, "bitwise_or", lambda s, x, y: s.Or(x, y), "x or y, elementwise."
)
logical_xor = _logical(
    "logical_xor", np.logical_xor, "bitwise_xor", lambda s, x, y: s.Xor(x, y),
    "x != y of truth values.",
)  # fmt: skip
logical_not = _logical(
    "logical_not", np.logical_not, "bitwise_invert", lambda s, x: s.Not(x), "not x, elementwise."
)


def _bitwise(name: str, numpy: Any, doc: str, for_bool: str = "") -> Callable[..., Tensor]:
    kinds = "biu" if for_bool else "iu"
    return binary_function(name, numpy, None, doc, kinds=kinds, for_bool=for_bool)


bitwise_and = _bitwise("bitwise_and", np.bitwise_and, "x & y; `and` of bools.", "logical_and")
bitwise_or = _bitwise("bitwise_or", np.bitwise_or, "x | y; `or` of bools.", "logical_or")
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor, "x ^ y; `xor` of bools.", "logical_xor")
shift_left = _bitwise("shift_left", np.left_shift, "x << y of ints.")
shift_right = _bitwise("shift_right", np.right_shift, "x >> y of ints, keeping the sign.")
_INVERT = define("bitwise_invert", np.invert, None, kinds="biu", doc="~x of ints or bools.")


@named(_INVERT)
def bitwise_invert(x: Any) -> Tensor:
    t = tensor(x, "bitwise_invert")
    return logical_not(t) if t.dtype is bool_ else apply(_INVERT, (t,)).output()


def _where_vjp(context: Any, g: Tensor, out: Tensor, c: Tensor, x: Tensor, y: Tensor) -> list[Any]:
    zero = scalar_like(0, g)
    gx = sum_to(where(c, g, zero), x.shape) if context.needs(1) else None
    gy = sum_to(where(logical_not(c), g, zero), y.shape) if context.needs(2) else None
    return [None, gx, gy]


def _where_jvp(
    context: object, ts: Sequence[Tensor | None], out: Tensor, c: Tensor, *branches: Tensor
) -> Tensor:
    """The tangent of the branch that is taken."""
    moved = (scalar_like(0, x) if t is None else t for t, x in zip(ts[1:], branches, strict=True))
    return apply(WHERE, (c, *moved)).output()


WHERE = define(
    "where", np.where, lambda s, c, x, y: s.Piecewise((x, c), (y, True)), kinds="biuf",
    kernel=lambda k, c, x, y: k.where(c, x, y), doc="x where condition holds, else y.",
    vjp=_where_vjp, jvp=_where_jvp, facts={Fact.EXACT, Fact.PICKS},
)  # fmt: skip


@named(WHERE)
def where(condition: Any, x: Any, y: Any) -> Tensor:
    c = _truth(tensor(condition, "where"))
    return apply(WHERE, (c, *operands("where", x, y))).output()


def _extremum(wins: str) -> dict[str, Any]:
    """What flows belongs to the chosen operand, half of it to each at a tie, and 0 to the other."""

    def share(t: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
        half, zero = scalar_like(0.5, t), scalar_like(0, t)
        taken = where(equal(chosen, other), t * half, t)
        return where(FUNCTIONS[wins](chosen, other), taken, zero)

    def vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> list[Any]:
        gx = sum_to(share(g, x, y), x.shape) if context.needs(0) else None
        return [gx, sum_to(share(g, y, x), y.shape) if context.needs(1) else None]

    def jvp(context: object, ts: Any, out: Tensor, x: Tensor, y: Tensor) -> Any:
        tx = None if ts[0] is None else share(ts[0], x, y)
        ty = None if ts[1] is None else share(ts[1], y, x)
        return ty if tx is None else tx if ty is None else tx + ty

    return {"vjp": vjp, "jvp": jvp}


minimum = binary_function(
    "minimum", np.minimum, lambda s, x, y: s.Min(x, y), "The smaller; NaN if one is NaN.",
    kinds="biuf", **_extremum("less_equal"),
    facts=COMMUTES | {Fact.IDEMPOTENT, Fact.EXACT},
)  # fmt: skip
maximum = binary_function(
    "maximum", np.maximum, lambda s, x, y: s.Max(x, y), "The larger; NaN if one is NaN.",
    kinds="biuf", **_extremum("greater_equal"),
    facts=COMMUTES | {Fact.IDEMPOTENT, Fact.EXACT},
)  # fmt: skip


# -- unary -----------------------------------------------------------------------------------------
abs = numeric_function(
    "abs", lambda s, x: s.Abs(x), "|x|, elementwise; the derivative at 0 is 0.",
    partials=lambda f, out, x: (lambda: f("sign")(x),), facts={Fact.IDEMPOTENT, Fact.EXACT},
)  # fmt: skip


def _sign(k: Any, x: Any) -> Any:
    """-1, 0 or 1; NaN stays NaN and zero becomes +0, as NumPy's."""
    zero, one = k.const(0, x.dtype), k.const(1, x.dtype)
    rest = k.where(k.equal(x, zero), zero, x) if x.dtype.is_float else zero
    result = k.where(k.greater(x, zero), one, rest)
    if x.dtype.kind == "u":
        return result
    return k.where(k.less(x, zero), k.const(-1, x.dtype), result)


sign = numeric_function(
    "sign", lambda s, x: s.sign(x), "-1, 0 or 1 by the sign of x.", numpy=np.sign, kernel=_sign,
    partials=lambda f, out, x: (None,), facts={Fact.EXACT, Fact.JUMPS, Fact.WHOLE},
)  # fmt: skip


def _rounding(name: str, formula: Any, doc: str) -> Callable[..., Tensor]:
    op = define(
        name, PRIMITIVES[name].numpy, formula, doc=doc, partials=lambda f, out, x: (None,),
        facts={Fact.IDEMPOTENT, Fact.EXACT, Fact.JUMPS, Fact.WHOLE},
    )  # fmt: skip

    def frontend(x: Any) -> Tensor:
        t = tensor(x, name)
        return t if t.dtype.is_integer or t.dtype is bool_ else apply(op, (t,)).output()

    return publish(op, frontend)


floor = _rounding("floor", lambda s, x: s.floor(x), "The largest integer not above x.")
ceil = _rounding("ceil", lambda s, x: s.ceiling(x), "The smallest integer not below x.")
trunc = _rounding(
    "trunc", lambda s, x: s.sign(x) * s.floor(s.Abs(x)), "The integer part, towards 0."
)
round = _rounding("round", lambda s, x: s.floor(x + s.Rational(1, 2)), "Nearest; ties to even.")

sqrt = float_function(
    "sqrt", lambda s, x: s.sqrt(x), "The square root; NaN below 0.", cost=4, facts={Fact.EXACT}
)
square = numeric_function(
    "square", lambda s, x: x**2, "x * x, elementwise.", numpy=np.square,
    kernel=lambda k, x: k.multiply(x, x), facts={Fact.EXACT},
)  # fmt: skip
exp = float_function(
    "exp", lambda s, x: s.exp(x), "e ** x.", cost=12, facts={Fact.POSITIVE}
)
expm1 = float_function(
    "expm1", lambda s, x: s.exp(x) - 1, "e ** x - 1, exact near 0.", cost=16,
    partials=lambda f, out, x: (lambda: f("exp")(x),),  # out + 1 has no digits left at -20
)  # fmt: skip
log = float_function(
    "log", lambda s, x: s.log(x), "The natural logarithm.", cost=14, facts={Fact.JUMPS, Fact.POLE}
)
log1p = float_function(
    "log1p", lambda s, x: s.log(1 + x), "log(1 + x), exact near 0.", cost=18, facts={Fact.POLE}
)
sin = float_function("sin", lambda s, x: s.sin(x), "The sine of x in radians.", cost=20)
cos = float_function("cos", lambda s, x: s.cos(x), "The cosine of x in radians.", cost=20)
tanh = float_function("tanh", lambda s, x: s.tanh(x), "The hyperbolic tangent.", cost=16)
erf = float_function("erf", lambda s, x: s.erf(x), "The error function.", cost=24)
erfc = float_function(
    "erfc", lambda s, x: s.erfc(x), "1 - erf(x), which has digits where erf(x) is 1.", cost=50,
    facts={Fact.POSITIVE},
)  # fmt: skip
erfcx = float_function(
    "erfcx", lambda s, x: s.exp(x**2) * s.erfc(x), "exp(x^2) * erfc(x), which does not underflow.",
    cost=50, facts={Fact.POSITIVE},
    partials=lambda f, out, x: (lambda: 2 * x * out - 2 / math.sqrt(math.pi),),
)  # fmt: skip
log_ndtr = float_function(
    "log_ndtr", lambda s, x: s.log(s.erfc(-x / s.sqrt(2)) / 2),
    "The logarithm of P(Z <= x) for a standard normal Z.", cost=80,
    # the density over the distribution, without an exponential: finite where both are 0
    partials=lambda f, out, x: (
        lambda: math.sqrt(2 / math.pi) / f("erfcx")(-math.sqrt(0.5) * x),
    ),
)  # fmt: skip
log1mexp = float_function(
    "log1mexp", lambda s, x: s.log(1 - s.exp(-x)), "log(1 - exp(-x)), for x > 0.", cost=40,
    numpy=numpy_log1mexp, facts={Fact.POLE},
    partials=lambda f, out, x: (lambda: -f("exp")(-x) / f("expm1")(-x),),
)  # fmt: skip
sigmoid = float_function(
    "sigmoid", lambda s, x: 1 / (1 + s.exp(-x)), "1 / (1 + exp(-x)), stable.", cost=16,
    numpy=numpy_sigmoid, facts={Fact.POSITIVE},
)  # fmt: skip
softplus = float_function(
    "softplus", lambda s, x: s.log(1 + s.exp(x)), "log(1 + exp(x)), stable.", cost=28,
    numpy=numpy_softplus, facts={Fact.POSITIVE},
)  # fmt: skip
relu = numeric_function(
    "relu", lambda s, x: s.Max(x, 0), "max(x, 0); the derivative at 0 is 0.",
    numpy=lambda x: np.maximum(x, x.dtype.type(0)),
    kernel=lambda k, x: k.maximum(x, k.const(0, x.dtype)),
    vjp=lambda context, g, out, x: [where(greater(out, scalar_like(0, out)), g, scalar_like(0, g))],
    facts={Fact.IDEMPOTENT, Fact.EXACT},
)  # fmt: skip


STOP_GRADIENT = register(
    Op(
        "stop_gradient",
        Kind.MAP,
        lambda x: (x,),
        numpy=lambda x: x,
        at=at(lambda k, x: x),
        formula=lambda s, x: x,
        facts=frozenset({Fact.ELEMENTWISE, Fact.EXACT, Fact.PICKS}),
        cost=0,
        differentiable=False,
        doc="x itself, constant to derivatives.",
    )
)


def stop_gradient(x: Any) -> Any:
    """x itself, a tensor or tensors in any structure; derivatives do not flow through it."""
    leaves, structure = flatten(x)
    stopped = (apply(STOP_GRADIENT, (tensor(leaf, "stop_gradient"),)).output() for leaf in leaves)
    return unflatten(structure, stopped)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else `negative_slope * x`; the derivative at 0 is the slope.

    Shapes: any. Dtypes: float.
    """
    t = tensor(x, "leaky_relu")
    t = cast(t, float_type(t.dtype))
    slope = where(greater(t, scalar_like(0, t)), scalar_like(1, t), scalar_like(negative_slope, t))
    return t * slope


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max]; a limit that is None does not limit.

    At a limit the derivative is one half, as for `maximum` and `minimum`.
    """
    t = tensor(x, "clip")
    if min is not None:
        t = maximum(*operands("clip", t, min))
    return t if max is None else minimum(*operands("clip", t, max))


def reciprocal(x: Any) -> Tensor:
    """1 / x, elementwise; ints give floats."""
    t = tensor(x, "reciprocal")
    return divide(scalar_like(1, t), t)


def isnan(x: Any) -> Tensor:
    """Whether x is NaN."""
    t = tensor(x, "isnan")
    return not_equal(t, t)


def isfinite(x: Any) -> Tensor:
    """Whether x is neither infinite nor NaN: x - x is 0 then, else NaN."""
    t = tensor(x, "isfinite")
    difference = t - t
    return equal(difference, difference)


def isinf(x: Any) -> Tensor:
    """Whether x is plus or minus infinity; of a complex number, whether one of its parts is."""
    t = tensor(x, "isinf")
    if t.dtype.is_complex:
        return logical_or(*(isinf(function(part)(t)) for part in ("real", "imag")))
    return logical_not(logical_or(isfinite(t), isnan(t)))


# -- conversion ------------------------------------------------------------------------------------
def _infer_astype(x: TensorType, *, dtype: DType) -> tuple[TensorType, ...]:
    return (TensorType(dtype, x.shape),)


def _astype_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, *, dtype: DType) -> list[Any]:
    differentiable = dtype.has_derivative and x.dtype.has_derivative
    return [cast(g, x.dtype) if differentiable else None]


def _astype_formula(s: Any, x: Any, *, dtype: DType) -> Any:
    """A truth value is 0 or 1, an int the float without its fraction; rounding is not shown."""
    boolean = isinstance(x, s.logic.boolalg.Boolean)  # symbols are too
    truth = boolean and not getattr(x, "is_extended_real", False)
    if dtype is bool_:
        return x if truth else s.Ne(x, 0)
    if truth:
        return s.Piecewise((1, x), (0, True))
    return x if dtype.has_derivative or x.is_integer else s.sign(x) * s.floor(s.Abs(x))


def _numpy_astype(x: Any, *, dtype: DType) -> Any:
    array = np.asarray(x)
    with np.errstate(all="ignore"):
        if array.dtype.kind == "f" and dtype.is_integer:  # C leaves what does not fit undefined
            info = np.iinfo(dtype.numpy)
            inside = np.where((array > info.min) & (array < info.max), array, 0).astype(dtype.numpy)
            above = np.where(array >= info.max, dtype.numpy.type(info.max), inside)
            return np.where(array <= info.min, dtype.numpy.type(info.min), above)
        return array.astype(dtype.numpy)


ASTYPE = register(
    Op(
        "astype",
        Kind.MAP,
        _infer_astype,
        numpy=_numpy_astype,
        vjp=_astype_vjp,
        at=at(lambda k, x, *, dtype: k.cast(x, dtype)),
        formula=_astype_formula,
        facts=frozenset({Fact.ELEMENTWISE, Fact.CONVERTS, Fact.EXACT, Fact.JUMPS}),
        weak=False,
        doc="x converted to a dtype, as NumPy's astype.",
    )
)


def astype(x: Any, dtype: Any) -> Tensor:
    """x converted to `dtype`, as NumPy's astype (out-of-range floats to ints saturate).

    The result is of that dtype for good, even if x is weak (made of Python numbers alone).
    """
    t, to = tensor(x, "astype"), to_dtype(dtype)
    if to.is_complex and not t.dtype.is_complex:
        made: Tensor = function("complex")(astype(t, to.part), constant(0, to.part))
        return made
    if t.dtype.is_complex and not to.is_complex and to is not bool_:
        raise no_real_value("astype", t)
    t = t.node.inputs[0] if t.node.op is WEAK else t
    return t if t.dtype is to and not t.weak else apply(ASTYPE, (t,), dtype=to).output()


# a table of its own: what other families define is theirs
FUNCTIONS = FUNCTIONS | {
    f.__name__: f
    for f in (stop_gradient, leaky_relu, clip, reciprocal, isnan, isfinite, isinf, astype)
}
# the array API's names, and SciPy's
FUNCTIONS |= {
    "bitwise_left_shift": shift_left,
    "bitwise_right_shift": shift_right,
    "expit": sigmoid,
}
NUMPY["around"] = round
