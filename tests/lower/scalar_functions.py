"""The inline scalar functions in compiled loops, what is true of them, and how far they may be off.

float32 is compared with float64 functions of NumPy and SciPy (about 1e-8 of its unit in the last
place), float64 with 80-bit functions of the C library and with mpmath.
"""

from __future__ import annotations

import ctypes
import math
import platform
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
from scipy import special

from graphc.lower import vector_math

Array = np.ndarray[Any, np.dtype[Any]]
ALL = [(name, bits) for name in vector_math.FUNCTIONS for bits in (32, 64)]
UNARY = [(name, bits) for name, bits in ALL if name in vector_math.UNARY]
LLVM_TYPE = {32: "float", 64: "double"}
DTYPE = {32: np.dtype(np.float32), 64: np.dtype(np.float64)}
EXTENDED = np.finfo(np.longdouble).nmant == 63
BOUND = dict.fromkeys(vector_math.FUNCTIONS, 1.0) | {
    **dict.fromkeys(("asin", "acos", "atan", "atan2", "sinh", "cosh"), 2.0),
    **dict.fromkeys(("asinh", "acosh", "atanh"), 2.0),
    **dict.fromkeys(("log2", "log10"), 1.25),
    **dict.fromkeys(("lgamma", "gamma"), 3.0),
    "digamma": 4.5,
    **dict.fromkeys(("bessel_i0", "bessel_i1", "bessel_i0e", "bessel_i1e"), 6.5),
    "ndtr": 2.5,
    **dict.fromkeys(("erfinv", "erfcinv", "ndtri"), 4.5),
    "sigmoid": 2.0,
    "softplus": 2.0,
    "log1mexp": 2.0,
    "erfc": 3.0,
    "erfcx": 2.5,
    "log_ndtr": 3.5,
}
# computed in double, also of float32: half a unit in the last place and what rounds the double
IN_DOUBLE = (
    "sin", "cos", "tan", "hypot", "lgamma", "gamma", "digamma", "erfinv", "erfcinv", "ndtri",
    "bessel_i0", "bessel_i1", "bessel_i0e", "bessel_i1e",
)  # fmt: skip
BOUND32 = BOUND | dict.fromkeys(IN_DOUBLE, 0.6)
# the composed ones add up; glibc's own tests grant its float64 tanh a little over 2
LIBM_BOUND = dict.fromkeys(vector_math.FUNCTIONS, 2.0) | {
    "sigmoid": 4.0,
    "softplus": 4.0,
    "tanh": 2.5,
    "cbrt": 4.0,
    "gamma": 6.0,
    "log1mexp": 4.0,
    "erfc": 4.0,
    "erfcx": 5.0,
    "log_ndtr": 5.0,
    "ndtr": 5.0,
}

LOOP = """
declare {result} @{callee}({argument})

define void @"{name}"(ptr noalias %from, ptr noalias %other, ptr noalias %to, i64 %n) {{
entry:
  %empty = icmp eq i64 %n, 0
  br i1 %empty, label %end, label %body
body:
  %i = phi i64 [0, %entry], [%next, %body]
  %source = getelementptr inbounds {element}, ptr %from, i64 %i
  %x = load {element}, ptr %source
  %beside = getelementptr inbounds {element}, ptr %other, i64 %i
  {second}
  %y = call {result} @{callee}({operands})
  %target = getelementptr inbounds {result}, ptr %to, i64 %i
  store {result} %y, ptr %target
  %next = add nuw nsw i64 %i, 1
  %done = icmp eq i64 %next, %n
  br i1 %done, label %end, label %body
end:
  ret void
}}
"""


# ---------------------------------------------------------------- compiling loops


def loop_over(name: str, bits: int) -> str:
    """A loop `name.bits` that stores the function of every element of one array, and of that of
    another beside it if it has two operands, in a third."""
    type = LLVM_TYPE[bits]
    binary = name in vector_math.BINARY
    return LOOP.format(
        name=f"{name}.{bits}",
        callee=vector_math.symbol(name, bits),
        element=type,
        argument=", ".join([type] * (2 if binary else 1)),
        result=type,
        second=f"%second = load {type}, ptr %beside" if binary else "",
        operands=f"{type} %x, {type} %second" if binary else f"{type} %x",
    )


def extended_loop(callee: str) -> str:
    """A loop over a function of the C library in 80 bits."""
    return LOOP.format(
        name=f"extended_{callee}",
        callee=f"{callee}l",
        element="double",
        argument="x86_fp80",
        result="x86_fp80",
        second="%wide = fpext double %x to x86_fp80",
        operands="x86_fp80 %wide",
    )


def optimise(loops: str, library: str, cpu: str, features: str) -> tuple[Any, Any]:
    """The loops linked with the library and put through LLVM's O3; and the target machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
    )
    module = llvm.parse_assembly(loops)
    module.triple = llvm.get_default_triple()
    linked = llvm.parse_assembly(library)
    linked.triple = module.triple
    module.link_in(linked)
    for function in module.functions:
        if function.name.startswith("gc."):
            function.linkage = "internal"
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    builder.getModulePassManager().run(module, builder)
    return module, machine


class Loops:
    """Compiled loops for this machine: `loops(name, array)`."""

    def __init__(self, text: str, library: str) -> None:
        for libm in ("libm.so.6", "libSystem.B.dylib"):
            if (platform.system() == "Darwin") == libm.startswith("libSystem"):
                llvm.load_library_permanently(libm)
        module, machine = optimise(
            text, library, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        )
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()

    def run(self, name: str, x: Array, other: Array, dtype: np.dtype[Any]) -> Array:
        address = self.engine.get_function_address(name)
        call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(address)
        y = np.empty(x.shape, dtype)
        call(x.ctypes.data, other.ctypes.data, y.ctypes.data, x.size)
        return y

    def __call__(self, name: str, x: Array, *others: Array) -> Array:
        return self.run(f"{name}.{8 * x.itemsize}", x, *(others or (x,)), x.dtype)


# ---------------------------------------------------------------- oracles

# where SciPy has another name
SCIPY = {"lgamma": "gammaln"} | {f"bessel_{name}": name for name in ("i0", "i1", "i0e", "i1e")}


def naive(name: str, x: Array, *others: Array) -> Array:
    """The function in the (wider) float type of x."""
    with np.errstate(all="ignore"):
        if name == "sigmoid":
            e = np.exp(-np.abs(x))
            return np.asarray(np.where(x < 0, e, np.ones_like(x)) / (1 + e))
        if name == "softplus":
            e = np.exp(-np.abs(x))
            return np.asarray(np.where(x > 0, x, np.zeros_like(x)) + np.log1p(e))
        if name == "log1mexp":
            near, far = np.log(-np.expm1(-x)), np.log1p(-np.exp(-x))
            return np.asarray(np.where(x < math.log(2), near, far))
        given = np if hasattr(np, name) else special
        return np.asarray(getattr(given, SCIPY.get(name, name))(x, *others))


def extended(name: str, x: Array, *others: Array) -> Array:
    """The function of float64 x in 80 bits; NumPy and SciPy have no such erf, the C library has."""
    if name in ("erf", "erfc"):
        loops = Loops(extended_loop(name), "")
        return loops.run(f"extended_{name}", x, x, np.dtype(np.longdouble))
    with np.errstate(invalid="ignore"):
        return naive(name, *(v.astype(np.longdouble) for v in (x, *others)))


def inverse(function: Callable[[Any], Any], guess: float, value: Any) -> Any:
    """Where the function has this value, by Newton's method from a good guess."""
    found = mpmath.mpf(guess)
    for _ in range(3):
        found -= (function(found) - value) / mpmath.diff(function, found)
    return found


MPMATH: dict[str, Callable[..., Any]] = {
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "log1mexp": lambda x: mpmath.log1p(-mpmath.exp(-x)),
    "lgamma": mpmath.loggamma,
    "bessel_i0": lambda x: mpmath.besseli(0, x),
    "bessel_i1": lambda x: mpmath.besseli(1, x),
    "bessel_i0e": lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)),
    "bessel_i1e": lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)),
    "ndtr": lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "erfcinv": lambda x: inverse(mpmath.erfc, special.erfcinv(float(x)), x),
    "erfinv": lambda x: inverse(mpmath.erf, special.erfinv(float(x)), x),
    "ndtri": lambda x: inverse(MPMATH["ndtr"], special.ndtri(float(x)), x),
    "erfcx": lambda x: mpmath.exp(x**2) * mpmath.erfc(x),
    "log_ndtr": lambda x: (
        mpmath.log(mpmath.erfc(-x / mpmath.sqrt(2)) / 2)
        if x < 0
        else mpmath.log1p(-mpmath.erfc(x / mpmath.sqrt(2)) / 2)
    ),
}
# mpmath alone has their digits
WITHOUT_80_BITS = (
    "erfcx", "ndtr", "log_ndtr", "lgamma", "gamma", "digamma", "erfinv", "erfcinv", "ndtri",
    "bessel_i0", "bessel_i1", "bessel_i0e", "bessel_i1e",
)  # fmt: skip
IN_80_BITS = [name for name in vector_math.UNARY if name not in WITHOUT_80_BITS]


def errors(got: Array, exact: Array) -> Array:
    """|got - exact| in units in the last place of the exact value; inf where a special differs."""
    kind = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        exponent = np.maximum(np.frexp(exact)[1] - 1, kind.minexp) - kind.nmant
        error = np.abs(got.astype(exact.dtype) - exact) / np.ldexp(exact.dtype.type(1), exponent)
        rounded = exact.astype(got.dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    error = np.where(same & ~np.isfinite(rounded), 0, error)
    return np.where(np.isnan(error), np.inf, error)


def worst(name: str, x: Array, got: Array, exact: Array) -> tuple[float, str]:
    """The largest error, and where it is."""
    error = errors(got, exact)
    at = int(error.argmax())
    return float(error[at]), f"{name}({x[at]!r}) = {got[at]!r}, exactly {exact[at]!r}"


def float32_every(stride: int, first: int = 0) -> Array:
    """Every stride-th of all float32."""
    patterns = np.arange(first, 2**32, stride, dtype=np.int64).astype(np.uint32)
    return patterns.view(np.float32)


def float64_sample() -> Array:
    """Random bit patterns, random exponents around 1, and the intervals where formulas change."""
    random = np.random.default_rng(20240607)
    patterns = random.integers(0, 2**64, 100_000, dtype=np.uint64).view(np.float64)
    spread = np.ldexp(1 + random.random(100_000), random.integers(-60, 11, 100_000))
    signed = spread * random.choice([-1.0, 1.0], spread.size)
    near_multiples = random.integers(1, 2**40, 20_000) * (math.pi / 2)
    return np.concatenate(
        [
            patterns,
            signed,
            random.uniform(-3, 3, 100_000),
            random.uniform(-750, 750, 50_000),
            near_multiples,
        ]
    )


def pairs(dtype: np.dtype[Any], count: int, seed: int = 3) -> tuple[Array, Array]:
    """Of random magnitudes; half of them are within a factor of 4 of each other."""
    random = np.random.default_rng(seed)
    reach = np.finfo(dtype).maxexp - 4
    size = np.ldexp(1 + random.random((2, count)), random.integers(-reach, reach, (2, count)))
    size[1, ::2] = size[0, ::2] * np.exp2(random.uniform(-2, 2, count // 2))
    x, y = (size * random.choice([-1.0, 1.0], size.shape)).astype(dtype)
    return x, y
