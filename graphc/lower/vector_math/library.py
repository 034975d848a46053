"""The modules of IR text: the vectorisable functions, or the same symbols over libm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from graphc.errors import ArgumentError
from graphc.lower.vector_math.bessel import bessel_i0, bessel_i0e, bessel_i1, bessel_i1e
from graphc.lower.vector_math.emit import FORMATS, Code, Value
from graphc.lower.vector_math.error_function import erf, erfc, erfcx, log_ndtr, ndtr
from graphc.lower.vector_math.exponential import (
    exp,
    exp2,
    expm1,
    log1mexp,
    sigmoid,
    softplus,
    tanh,
)
from graphc.lower.vector_math.gamma import digamma, gamma, lgamma
from graphc.lower.vector_math.hyperbolic import acosh, asinh, atanh, cosh, sinh
from graphc.lower.vector_math.inverse_trigonometric import acos, asin, atan, atan2
from graphc.lower.vector_math.logarithm import log, log1p, log2, log10
from graphc.lower.vector_math.over_libm import OVER_LIBM
from graphc.lower.vector_math.powers import (
    WITHOUT_LIBM,
    exponent_of,
    fixed_power,
    remainder,
)
from graphc.lower.vector_math.quantile import erfcinv, erfinv, ndtri
from graphc.lower.vector_math.roots import cbrt, hypot
from graphc.lower.vector_math.trigonometric import cos, sin, tan

_FORMULAS: dict[str, Callable[..., Value]] = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "log1mexp": log1mexp,
    "erf": erf,
    "erfc": erfc,
    "erfcx": erfcx,
    "log_ndtr": log_ndtr,
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "asin": asin,
    "acos": acos,
    "atan": atan,
    "atan2": atan2,
    "sinh": sinh,
    "cosh": cosh,
    "asinh": asinh,
    "acosh": acosh,
    "atanh": atanh,
    "exp2": exp2,
    "log2": log2,
    "log10": log10,
    "cbrt": cbrt,
    "hypot": hypot,
    "lgamma": lgamma,
    "gamma": gamma,
    "digamma": digamma,
    "ndtr": ndtr,
    "erfinv": erfinv,
    "erfcinv": erfcinv,
    "ndtri": ndtri,
    "bessel_i0": bessel_i0,
    "bessel_i1": bessel_i1,
    "bessel_i0e": bessel_i0e,
    "bessel_i1e": bessel_i1e,
}
BINARY: tuple[str, ...] = ("atan2", "hypot")
UNARY: tuple[str, ...] = tuple(name for name in _FORMULAS if name not in BINARY)
FUNCTIONS: tuple[str, ...] = tuple(_FORMULAS)
OF_LIBM: tuple[str, ...] = tuple(name for name in _FORMULAS if name not in OVER_LIBM)


def symbol(name: str, bits: int) -> str:
    """The symbol of function `name` over floats of `bits` (32 or 64), for example `gc.exp.f32`.

    Beside `FUNCTIONS` there are powers: `of_exponent` has their names.
    """
    if name not in _FORMULAS and exponent_of(name) is None:
        raise ArgumentError(
            "no such function", op="vector_math", expected=", ".join(FUNCTIONS), given=name
        )
    if bits not in FORMATS:
        raise ArgumentError(
            "no such float", op="vector_math", expected="32 or 64 bits", given=str(bits)
        )
    return f"gc.{name}.f{bits}"


def available(cpu_features: str) -> bool:
    """Whether a CPU with these LLVM features ("+avx2,+fma,...") runs `definitions` well.

    It needs a fused multiply-add (without one, `llvm.fma` is a call) and integer vectors as wide as
    the float ones: x86-64-v3, or any AArch64.
    """
    features = set(cpu_features.split(","))
    return {"+avx2", "+fma"} <= features or {"+neon", "+fp-armv8"} <= features


def definitions(wanted: Iterable[tuple[str, int]]) -> str:
    """The text of a module that defines exactly the functions (name, bits) of `wanted`.

    Every one is self-contained, without branches, and calls only intrinsics that are instructions
    where `available`. They are inlined into the loops that call them, which then vectorise.
    """
    return _module(wanted, _inline_definition)


def definitions_anywhere(wanted: Iterable[tuple[str, int]], card: bool = False) -> str:
    """As `definitions`, for where there is no C library either: `power` and `fmod` too. With the
    instructions of a `card`, or else for this processor; the results are the same."""
    given = set(wanted)
    own = {(name, bits) for name, bits in given if name in WITHOUT_LIBM}
    remainders = {bits for name, bits in given if name == "fmod"}
    rest = given - own - {("fmod", bits) for bits in remainders}
    texts = [_module(rest, partial(_inline_definition, card=card))]
    for name, bits in sorted(own):
        code = Code(FORMATS[bits], card=card)
        x, y = code.parameters(2)
        result = WITHOUT_LIBM[name](code, x, y)
        function = code.function(f"gc.{name}.f{bits}", [x, y], result)
        texts += [*code.declarations, function]
    texts += [remainder(bits) for bits in sorted(remainders)]
    lines = "\n".join(texts).split("\n")
    declared = dict.fromkeys(line for line in lines if line.startswith("declare "))
    return "\n".join([*declared, *(line for line in lines if line not in declared)]) + "\n"


def libm_definitions(wanted: Iterable[tuple[str, int]]) -> str:
    """The same symbols as `definitions`, over the scalar functions of libm (expf, exp, ...)."""
    return _module(wanted, _libm_definition)


def _module(
    wanted: Iterable[tuple[str, int]], define: Callable[[str, int], tuple[str, set[str]]]
) -> str:
    """Definitions in the order of `FUNCTIONS`, then powers, after every declaration that they need,
    each once."""
    functions: list[str] = []
    declarations: set[str] = set()
    unique = {(name, bits): symbol(name, bits) for name, bits in wanted}
    order = {name: number for number, name in enumerate(FUNCTIONS)}
    for name, bits in sorted(unique, key=lambda u: (order.get(u[0], len(order)), *u)):
        text, needs = define(name, bits)
        functions.append(text)
        declarations |= needs
    return "\n\n".join(["\n".join(sorted(declarations)), *functions]) + "\n"


def _inline_definition(name: str, bits: int, card: bool = False) -> tuple[str, set[str]]:
    y = exponent_of(name)
    formula = _FORMULAS[name] if y is None else partial(fixed_power, y=y)
    return _definition(name, Code(FORMATS[bits], card=card), formula)


def _libm_definition(name: str, bits: int) -> tuple[str, set[str]]:
    code = Code(FORMATS[bits], fused=False)
    y = exponent_of(name)
    own = OVER_LIBM.get(name) or partial(_of_libm, name)
    return _definition(name, code, own if y is None else partial(_power_of_libm, y=y))


def _of_libm(name: str, code: Code, *operands: Value) -> Value:
    return code.libm(name, *operands)


def _power_of_libm(code: Code, x: Value, y: float) -> Value:
    return code.libm("pow", x, code.constant(x.type, y))


def _definition(name: str, code: Code, formula: Callable[..., Value]) -> tuple[str, set[str]]:
    parameters = code.parameters(2 if name in BINARY else 1)
    result = formula(code, *parameters)
    symbol_ = symbol(name, code.format.bits)
    return code.function(symbol_, parameters, result), code.declarations
