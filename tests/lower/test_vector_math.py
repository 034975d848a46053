"""The inline scalar functions: error over the whole range, special values, packed machine code."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest

from graphc.errors import ArgumentError
from graphc.lower import vector_math

from .scalar_functions import (
    ALL,
    BOUND,
    BOUND32,
    DTYPE,
    EXTENDED,
    IN_80_BITS,
    IN_DOUBLE,
    LIBM_BOUND,
    MPMATH,
    UNARY,
    WITHOUT_80_BITS,
    Array,
    Loops,
    errors,
    extended,
    float32_every,
    float64_sample,
    loop_over,
    naive,
    optimise,
    pairs,
    worst,
)

X86 = platform.machine().lower() in ("x86_64", "amd64")


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


# ---------------------------------------------------------------- accuracy


@pytest.mark.parametrize("name", vector_math.UNARY)
def test_float32_error(
    name: str, inline: Loops, table: dict[str, float], record_property: Callable[..., None]
) -> None:
    x = float32_every(10_007)  # row R8 of the scoreboard has ten times as many
    with np.errstate(invalid="ignore"):  # signalling NaN
        exact = naive(name, x.astype(np.float64))
    error, where = worst(name, x, inline(name, x), exact)
    table[f"{name} float32"] = error
    record_property("max_ulp", error)
    assert error <= BOUND32[name], where


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
    size = np.exp(random.uniform(-40, math.log(limit), 500)) if limit > 1 else random.random(500)
    x = np.concatenate([size, -size, random.uniform(-4, 4, 250), np.array(CLOSEST)])
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
    inline_bound = BOUND32[name] if bits == 32 else BOUND[name]
    bound = inline_bound if library == "inline" else LIBM_BOUND[name]
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
    "bessel_i0": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, INF), (1e4, INF)],
    "bessel_i1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (-1e4, -INF)],
    "bessel_i0e": [(0.0, 1.0), (-0.0, 1.0), (INF, 0.0), (-INF, 0.0)],
    "bessel_i1e": [(0.0, 0.0), (-0.0, -0.0), (INF, 0.0), (-INF, -0.0)],
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
