"""The inline scalar functions: error over the whole range, special values, packed machine code.

float32 is compared with float64 functions of NumPy and SciPy (about 1e-8 of its unit in the last
place), float64 with 80-bit functions of the C library and with mpmath.
"""

from __future__ import annotations

import ctypes
import math
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
from scipy import special

from graphc.errors import ArgumentError
from graphc.lower import vector_math

Array = np.ndarray[Any, np.dtype[Any]]
ALL = [(name, bits) for name in vector_math.FUNCTIONS for bits in (32, 64)]
UNARY = [(name, bits) for name, bits in ALL if name in vector_math.UNARY]
LLVM_TYPE = {32: "float", 64: "double"}
DTYPE = {32: np.dtype(np.float32), 64: np.dtype(np.float64)}
X86 = platform.machine().lower() in ("x86_64", "amd64")
EXTENDED = np.finfo(np.longdouble).nmant == 63
BOUND = dict.fromkeys(vector_math.FUNCTIONS, 1.0) | {
    **dict.fromkeys(("asin", "acos", "atan", "atan2", "sinh", "cosh"), 2.0),
    **dict.fromkeys(("asinh", "acosh", "atanh"), 2.0),
    **dict.fromkeys(("log2", "log10"), 1.25),
    **dict.fromkeys(("lgamma", "gamma"), 3.0),
    "digamma": 4.5,
    "ndtr": 2.5,
    **dict.fromkeys(("erfinv", "erfcinv", "ndtri"), 4.5),
    "sigmoid": 2.0,
    "softplus": 2.0,
    "log1mexp": 2.0,
    "erfc": 3.0,
    "erfcx": 2.5,
    "log_ndtr": 3.0,
}
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


@pytest.fixture(scope="module")
def inline() -> Loops:
    text = "".join(loop_over(name, bits) for name, bits in ALL)
    return Loops(text, vector_math.definitions(ALL))


@pytest.fixture(scope="module")
def libm() -> Loops:
    text = "".join(loop_over(name, bits) for name, bits in ALL)
    return Loops(text, vector_math.libm_definitions(ALL))


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Largest errors by function and dtype; written to the terminal at the end of the module."""
    rows: dict[str, float] = {}
    yield rows
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    if reporter is not None and capture is not None and rows:
        with capture.global_and_fixture_disabled():
            reporter.write_line("")
            for label, error in rows.items():
                reporter.write_line(f"  {label:<24} max {error:.4f} ULP")


# ---------------------------------------------------------------- oracles


SCIPY = {"lgamma": "gammaln"}  # where it has another name


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


# ---------------------------------------------------------------- accuracy


@pytest.mark.parametrize("name", vector_math.UNARY)
def test_float32_error(
    name: str, inline: Loops, table: dict[str, float], record_property: Callable[..., None]
) -> None:
    x = float32_every(1021)
    with np.errstate(invalid="ignore"):  # signalling NaN
        exact = naive(name, x.astype(np.float64))
    error, where = worst(name, x, inline(name, x), exact)
    table[f"{name} float32"] = error
    record_property("max_ulp", error)
    assert error <= BOUND[name], where


@pytest.mark.skipif(not EXTENDED, reason="needs an 80-bit long double")
@pytest.mark.parametrize("name", IN_80_BITS)
def test_float64_error(
    name: str, inline: Loops, table: dict[str, float], record_property: Callable[..., None]
) -> None:
    x = float64_sample()
    error, where = worst(name, x, inline(name, x), extended(name, x))
    table[f"{name} float64"] = error
    record_property("max_ulp", error)
    assert error <= BOUND[name], where


# the finite float64, and a float32, whose quarter turns come closest to an integer
CLOSEST = [6381956970095103 * 2.0**797, 16367173 * 2.0**72]


WITHIN_ONE = ("asin", "acos", "atanh", "erfinv", "erfcinv", "ndtri")
UNBOUNDED = ("log", "log2", "log10", "log1p", "sin", "cos", "tan", "atan", "asinh", "acosh", "cbrt")


@pytest.mark.parametrize("name", vector_math.UNARY)
def test_float64_error_by_mpmath(name: str, inline: Loops) -> None:
    random = np.random.default_rng(7)
    limit = 1e300 if name in UNBOUNDED else 1.0 if name in WITHIN_ONE else 700.0
    limit = {"erfc": 26.0, "erfcx": 26.0, "log_ndtr": 37.0, "ndtr": 37.0}.get(name, limit)
    limit = 50.0 if name == "gamma" else limit
    size = np.exp(random.uniform(-40, math.log(limit), 1500)) if limit > 1 else random.random(1500)
    x = np.concatenate([size, -size, random.uniform(-4, 4, 500), np.array(CLOSEST)])
    if name in ("log", "log2", "log10", "log1p", "log1mexp"):
        x = np.abs(x)
    if name in ("erfcinv", "ndtri"):
        x = np.abs(np.concatenate([x, np.exp(-np.exp(random.uniform(0, 6.5, 200)))]))
    if name in ("lgamma", "digamma"):  # the other side is in tests/ops/test_gamma.py
        x = np.abs(x)
    x = np.abs(x) + 1 if name == "acosh" else x
    if name in ("erfcx", "log_ndtr"):  # the side that goes on
        tail = np.exp(random.uniform(3, 340, 200))
        x = np.concatenate([x, tail if name == "erfcx" else -tail])
        limit = 1e150
    x = x[np.abs(x) <= limit]
    function = MPMATH.get(name) or getattr(mpmath, name)
    y = inline(name, x)
    with mpmath.workprec(1200 if limit > 1e200 else 200):
        for argument, got in zip(x, y, strict=True):
            exact = function(mpmath.mpf(float(argument)))
            unit = math.ulp(float(exact))
            assert abs(mpmath.mpf(float(got)) - exact) <= BOUND[name] * unit, (argument, got)


# ---------------------------------------------------------------- two operands


def pairs(dtype: np.dtype[Any], count: int) -> tuple[Array, Array]:
    """Of random magnitudes; half of them are within a factor of 4 of each other."""
    random = np.random.default_rng(3)
    reach = np.finfo(dtype).maxexp - 4
    size = np.ldexp(1 + random.random((2, count)), random.integers(-reach, reach, (2, count)))
    size[1, ::2] = size[0, ::2] * np.exp2(random.uniform(-2, 2, count // 2))
    x, y = (size * random.choice([-1.0, 1.0], size.shape)).astype(dtype)
    return x, y


@pytest.mark.parametrize("library", ["inline", "libm"])
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", vector_math.BINARY)
def test_error_of_two_operands(
    name: str, bits: int, library: str, request: pytest.FixtureRequest, table: dict[str, float]
) -> None:
    if bits == 64 and not EXTENDED:
        pytest.skip("needs an 80-bit long double")
    x, y = pairs(DTYPE[bits], 400_000 if bits == 32 else 100_000)
    loops: Loops = request.getfixturevalue(library)
    wide = np.float64 if bits == 32 else np.longdouble
    got, exact = loops(name, x, y), naive(name, x.astype(wide), y.astype(wide))
    error = errors(got, exact)
    at = int(error.argmax())
    if library == "inline":
        table[f"{name} float{bits}"] = float(error[at])
    bound = BOUND[name] if library == "inline" else LIBM_BOUND[name]
    assert error[at] <= bound, f"{name}({x[at]!r}, {y[at]!r}) = {got[at]!r}, not {exact[at]!r}"


@pytest.mark.parametrize("library", ["inline", "libm"])
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", vector_math.BINARY)
def test_special_pairs(
    name: str, bits: int, library: str, request: pytest.FixtureRequest
) -> None:
    """Zeros, infinities and NaN of both signs beside each other and beside numbers, as NumPy."""
    loops: Loops = request.getfixturevalue(library)
    kind = np.finfo(DTYPE[bits])
    values = [0.0, INF, NAN, 1.0, kind.smallest_subnormal, kind.tiny]
    edges = np.array([s * v for v in values for s in (1, -1)], DTYPE[bits])
    x, y = (v.ravel().copy() for v in np.meshgrid(edges, edges))
    with np.errstate(all="ignore"):
        expected = naive(name, x, y)
    found = loops(name, x, y)
    np.testing.assert_array_max_ulp(found[~np.isnan(expected)], expected[~np.isnan(expected)], 1)
    assert_same(np.where(expected == 0, found, 0), np.where(expected == 0, expected, 0))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))


@pytest.mark.parametrize(("name", "base"), [("log2", 2), ("log10", 10)])
def test_powers_have_whole_logarithms(name: str, base: int, inline: Loops) -> None:
    for dtype, last in ((np.float32, 10), (np.float64, 22)):
        exponents = np.arange(last + 1, dtype=dtype)
        powers = np.array([base**n for n in range(last + 1)], dtype)
        np.testing.assert_array_equal(inline(name, powers), exponents)
        if base == 2:
            every = np.arange(np.finfo(dtype).minexp, np.finfo(dtype).maxexp, dtype=np.int32)
            powers = np.ldexp(dtype(1), every)
            np.testing.assert_array_equal(inline("log2", powers), every)
            np.testing.assert_array_equal(inline("exp2", every.astype(dtype)), powers)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_float32_next_to_multiples_of_a_quarter_turn(name: str, inline: Loops) -> None:
    multiples = np.arange(1, 2_000_000, dtype=np.float64) * (math.pi / 2)
    x = np.concatenate([multiples, multiples * 2.0**20]).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(0)), np.array(CLOSEST[1:], np.float32)])
    error, where = worst(name, x, inline(name, x), naive(name, x.astype(np.float64)))
    assert error <= 1.0, where


@pytest.mark.parametrize(("name", "bits"), UNARY)
def test_libm_error(name: str, bits: int, libm: Loops) -> None:
    if bits == 64 and (not EXTENDED or name in WITHOUT_80_BITS):
        pytest.skip("needs an 80-bit long double")
    x = float32_every(40_009) if bits == 32 else float64_sample()
    with np.errstate(invalid="ignore"):
        exact = naive(name, x.astype(np.float64)) if bits == 32 else extended(name, x)
    error, where = worst(name, x, libm(name, x), exact)
    assert error <= LIBM_BOUND[name], where


@pytest.mark.sweep
@pytest.mark.parametrize("name", vector_math.UNARY)
def test_float32_sweep(name: str, inline: Loops, table: dict[str, float]) -> None:
    """70 million float32, in parts."""
    stride, parts = 61, 16
    for part in range(parts):
        x = float32_every(stride * parts, stride * part)
        with np.errstate(invalid="ignore"):
            exact = naive(name, x.astype(np.float64))
        error, where = worst(name, x, inline(name, x), exact)
        table[f"{name} float32 sweep"] = max(error, table.get(f"{name} float32 sweep", 0.0))
        assert error <= BOUND[name], where


# ---------------------------------------------------------------- special values

INF, NAN = math.inf, math.nan
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (-INF, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-1.5, NAN), (-INF, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (30.0, 1.0), (-30.0, -1.0)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (50.0, 1.0)],
    "softplus": [(INF, INF), (-INF, 0.0), (1e30, 1e30), (-1e30, 0.0)],
    "log1mexp": [(0.0, -INF), (-0.0, -INF), (INF, -0.0), (1e30, -0.0), (-1.0, NAN), (-INF, NAN)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (7.0, 1.0), (-7.0, -1.0)],
    "erfc": [(0.0, 1.0), (-0.0, 1.0), (INF, 0.0), (-INF, 2.0), (30.0, 0.0), (-7.0, 2.0)],
    "erfcx": [(0.0, 1.0), (-0.0, 1.0), (INF, 0.0), (-INF, INF), (-30.0, INF)],
    "log_ndtr": [(INF, -0.0), (-INF, -INF), (1e30, -0.0)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.5, NAN), (-1.5, NAN), (INF, NAN)],
    "acos": [(1.0, 0.0), (1.5, NAN), (-1.5, NAN), (-INF, NAN)],
    "atan": [(0.0, 0.0), (-0.0, -0.0)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1e30, INF), (-1e30, -INF)],
    "cosh": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, INF), (1e30, INF)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "acosh": [(1.0, 0.0), (0.5, NAN), (-1e30, NAN), (INF, INF), (-INF, NAN)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (-INF, NAN)],
    "exp2": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (100.0, 2.0**100), (-3.0, 0.125)],
    "log2": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (2.0**-126, -126.0)],
    "log10": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (1e10, 10.0)],
    "lgamma": [(0.0, INF), (-0.0, INF), (1.0, 0.0), (2.0, 0.0), (-2.0, INF), (INF, INF)],
    "gamma": [(0.0, INF), (-0.0, -INF), (1.0, 1.0), (200.0, INF), (-3.0, NAN), (-INF, NAN)],
    "digamma": [(0.0, -INF), (-0.0, INF), (-3.0, NAN), (INF, INF), (-INF, NAN)],
    "ndtr": [(0.0, 0.5), (INF, 1.0), (-INF, 0.0), (50.0, 1.0), (-50.0, 0.0)],
    "erfinv": [(0.0, 0.0), (1.0, INF), (-1.0, -INF), (1.5, NAN), (-INF, NAN)],
    "erfcinv": [(0.0, INF), (-0.0, INF), (1.0, 0.0), (2.0, -INF), (-0.5, NAN), (INF, NAN)],
    "ndtri": [(0.0, -INF), (0.5, 0.0), (1.0, INF), (-0.5, NAN), (1.5, NAN), (INF, NAN)],
    "cbrt": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1.0, 1.0), (-8.0, -2.0)],
}


def assert_same(got: Array, expected: Array) -> None:
    """Equal values, NaN equal to NaN, and equal signs."""
    np.testing.assert_array_equal(got, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(expected[number]))


@pytest.mark.parametrize("library", ["inline", "libm"])
@pytest.mark.parametrize(("name", "bits"), UNARY)
def test_special_values(name: str, bits: int, library: str, request: pytest.FixtureRequest) -> None:
    loops: Loops = request.getfixturevalue(library)
    pairs = [*SPECIAL[name], (NAN, NAN)]
    x, expected = (np.array(column, DTYPE[bits]) for column in zip(*pairs, strict=True))
    repeated = np.tile(x, 16)  # long enough for the vector loop; the last ones go one by one
    assert_same(loops(name, repeated), np.tile(expected, 16))


@pytest.mark.parametrize("dtype", DTYPE.values())
@pytest.mark.parametrize(
    "name", ["expm1", "log1p", "tanh", "sin", "tan", "asin", "atan", "sinh", "asinh", "atanh"]
)
def test_tiny_arguments_are_their_own_values(
    name: str, dtype: np.dtype[Any], inline: Loops
) -> None:
    kind = np.finfo(dtype)
    sizes = np.array([1, 2, 3, 5, 1001], dtype) * kind.smallest_subnormal
    tiny = np.concatenate([sizes, [kind.tiny, np.nextafter(kind.tiny, dtype.type(0))]])
    x = np.concatenate([tiny, -tiny]).astype(dtype)
    assert_same(inline(name, x), x)


@pytest.mark.parametrize("dtype", DTYPE.values())
def test_ends_of_the_range(dtype: np.dtype[Any], inline: Loops) -> None:
    kind = np.finfo(dtype)
    top = np.log(kind.max.astype(np.longdouble)).astype(dtype)
    while np.longdouble(top) > np.log(np.longdouble(kind.max)):
        top = np.nextafter(top, dtype.type(0))
    x = np.array([top, np.nextafter(top, dtype.type(np.inf))], dtype)
    for name in ("exp", "expm1"):
        assert np.isfinite(inline(name, x)).tolist() == [True, False]
    smallest = np.array([kind.smallest_subnormal], dtype)
    bottom = np.log(np.longdouble(smallest[0]))
    for name in ("exp", "sigmoid", "softplus"):
        ends = np.array([bottom + 0.01, bottom - 0.68, bottom - 0.7], dtype)
        expected = np.array([smallest[0], smallest[0], 0], dtype)
        assert_same(inline(name, ends), expected)
    assert_same(inline("log", np.array([kind.max], dtype)), np.log(np.array([kind.max], dtype)))


def test_sigmoid_keeps_the_left_tail(inline: Loops) -> None:
    x = np.array([-100.0], np.float32)
    np.testing.assert_array_equal(inline("sigmoid", x), np.array([3.78e-44], np.float32))


@pytest.mark.parametrize(("name", "bits"), ALL)
def test_vector_and_scalar_code_agree(name: str, bits: int, inline: Loops) -> None:
    x = np.random.default_rng(1).uniform(-30, 30, 257).astype(DTYPE[bits])
    others = (x[::-1].copy(),) if name in vector_math.BINARY else ()
    alone = [[v[i : i + 1] for v in (x, *others)] for i in range(x.size)]
    one_by_one = np.concatenate([inline(name, *values) for values in alone])
    np.testing.assert_array_equal(inline(name, x, *others), one_by_one)


# ---------------------------------------------------------------- machine code and module text

# of float32 too
IN_DOUBLE = (
    "sin", "cos", "tan", "hypot", "lgamma", "gamma", "digamma", "erfinv", "erfcinv", "ndtri",
)  # fmt: skip


@pytest.mark.skipif(not X86, reason="x86 assembly")
@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize(("name", "bits"), ALL)
def test_loops_are_packed_and_call_nothing(name: str, bits: int, cpu: str) -> None:
    library = vector_math.definitions([(name, bits)])
    module, machine = optimise(loop_over(name, bits), library, cpu, "")
    assembly = machine.emit_assembly(module)
    kind = "pd" if bits == 64 or name in IN_DOUBLE else "ps"
    packed = re.findall(rf"\svfn?m\w+{kind}\s.*[yz]mm", assembly)
    assert len(packed) >= library.count("@llvm.fma") - 1  # less the declaration
    assert re.search(rf"\svmul{kind}\s.*[yz]mm", assembly)
    assert not re.search(r"\bcallq?\b|@PLT", assembly)


def functions_of(text: str) -> tuple[list[str], list[str]]:
    """The names that a module defines, and those that it declares."""
    functions = list(llvm.parse_assembly(text).functions)
    defined = [function.name for function in functions if not function.is_declaration]
    return defined, [function.name for function in functions if function.is_declaration]


@pytest.mark.parametrize("define", [vector_math.definitions, vector_math.libm_definitions])
def test_modules_define_what_is_wanted(
    define: Callable[[Iterable[tuple[str, int]]], str],
) -> None:
    text = define([("tanh", 64), ("cos", 64), ("exp", 32), ("sin", 64), ("tanh", 64)])
    assert functions_of(text)[0] == ["gc.exp.f32", "gc.tanh.f64", "gc.sin.f64", "gc.cos.f64"]
    assert text == define([("sin", 64), ("exp", 32), ("cos", 64), ("tanh", 64)])
    assert functions_of(define([])) == ([], [])


def test_only_intrinsics_or_libm_stay_undefined() -> None:
    assert all(name.startswith("llvm.") for name in functions_of(vector_math.definitions(ALL))[1])
    declared = functions_of(vector_math.libm_definitions(ALL))[1]
    plain = {*vector_math.OF_LIBM, "tgamma"}
    expected = plain | {f"{name}f" for name in plain}
    assert {name for name in declared if not name.startswith("llvm.")} == expected


def test_no_instruction_has_a_flag() -> None:
    text = vector_math.definitions(ALL)
    operations = re.findall(r"= (?:fadd|fsub|fmul|fdiv|fneg|fcmp \w+|call) (\w+)", text)
    assert set(operations) == {"float", "double"}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ArgumentError, match="sec"):
        vector_math.symbol("sec", 32)
    with pytest.raises(ArgumentError, match="16"):
        vector_math.definitions([("exp", 16)])


def test_availability_follows_the_cpu() -> None:
    assert vector_math.available("+sse4.2,+avx2,+fma")
    assert not vector_math.available("+sse4.2,+avx,-avx2,+fma")
    assert not vector_math.available("+avx2,-fma")
    assert vector_math.available("+fp-armv8,+neon")
