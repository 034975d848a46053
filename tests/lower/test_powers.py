"""Powers and remainders of floats: against NumPy in a wider float, mpmath, and at all pairs of
special values."""

import itertools
import re
from functools import cache

import mpmath
import numpy as np
import pytest

import graphc as gc
from graphc.lower import vector_math
from tests.lower.scalar_functions import DTYPE, LLVM_TYPE, LOOP, Array, Loops, errors, pairs

SPECIAL = (0.0, 1.0, 0.5, 2.0, 3.0, 2.5, 1e-310, 1e300, 4503599627370497.0, np.inf, np.nan)
BOUND = {32: 0.51, 64: 1.0}  # units in the last place, of powers that are not near the ends
LARGE = 32.0  # of a float64 power near the ends of the range


@cache
def loops() -> Loops:
    wanted = [(name, bits) for name in ("power", "fmod") for bits in (32, 64)]
    text = "".join(
        LOOP.format(
            name=f"{name}.{bits}",
            callee=f"gc.{name}.f{bits}",
            element=(kind := LLVM_TYPE[bits]),
            argument=f"{kind}, {kind}",
            result=kind,
            second=f"%second = load {kind}, ptr %beside",
            operands=f"{kind} %x, {kind} %second",
        )
        for name, bits in wanted
    )
    return Loops(text, vector_math.definitions_anywhere(wanted))


def specials(bits: int) -> tuple[Array, Array]:
    signed = [s * v for v in SPECIAL for s in (1, -1)]
    with np.errstate(over="ignore"):
        x, y = np.array(list(itertools.product(signed, signed))).T.astype(DTYPE[bits])
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


@pytest.mark.parametrize("bits", [32, 64])
def test_powers_of_moderate_numbers(bits: int) -> None:
    random = np.random.default_rng(1)
    x = np.exp(random.uniform(-3, 3, 50_000)).astype(DTYPE[bits])
    y = random.uniform(-4, 4, x.size).astype(DTYPE[bits])
    wide = np.float64 if bits == 32 else np.longdouble
    error = errors(loops()("power", x, y), np.power(x.astype(wide), y.astype(wide)))
    assert error.max() <= BOUND[bits]


@pytest.mark.parametrize("bits", [32, 64])
def test_powers_of_all_magnitudes(bits: int) -> None:
    random = np.random.default_rng(2)
    reach = np.finfo(DTYPE[bits]).maxexp
    x = np.ldexp(1 + random.random(50_000), random.integers(2 - reach, reach, 50_000))
    x = x.astype(DTYPE[bits])
    with np.errstate(all="ignore"):
        y = (random.uniform(-reach, reach, x.size) / np.abs(np.log2(x))).astype(DTYPE[bits])
        wide = np.float64 if bits == 32 else np.longdouble
        error = errors(loops()("power", x, y), np.power(x.astype(wide), y.astype(wide)))
    assert error.max() <= (BOUND[32] if bits == 32 else LARGE)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(("name", "meaning"), [("power", np.power), ("fmod", np.fmod)])
def test_special_values(name: str, meaning: np.ufunc, bits: int) -> None:
    x, y = specials(bits)
    with np.errstate(all="ignore"):
        expected = meaning(x, y)
    found = loops()(name, x, y)
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))
    np.testing.assert_allclose(found, expected, rtol=4e-15 if bits == 64 else 2e-7)


@pytest.mark.parametrize("bits", [32, 64])
def test_remainders_are_exact(bits: int) -> None:
    x, y = pairs(DTYPE[bits], 20_000)
    with np.errstate(all="ignore"):
        expected = np.fmod(x, y)
    assert np.array_equal(loops()("fmod", x, y), expected)


# -- exponents that are known ----------------------------------------------------------------------
EXPONENTS = [h / 2 for h in range(-32, 33) if h]


@cache
def known(library: str) -> Loops:
    wanted = [(str(vector_math.of_exponent(y)), bits) for y in EXPONENTS for bits in (32, 64)]
    text = "".join(
        LOOP.format(
            name=f"{name}.{bits}",
            callee=f"gc.{name}.f{bits}",
            element=LLVM_TYPE[bits],
            argument=LLVM_TYPE[bits],
            result=LLVM_TYPE[bits],
            second="",
            operands=f"{LLVM_TYPE[bits]} %x",
        )
        for name, bits in wanted
    )
    return Loops(text, getattr(vector_math, library)(wanted))


def test_functions_are_there_for_small_whole_numbers_of_halves() -> None:
    assert len({vector_math.of_exponent(y) for y in EXPONENTS}) == len(EXPONENTS)
    for y in (0.0, 0.25, 16.5, -17.0, 1e300, np.inf, np.nan):
        assert vector_math.of_exponent(y) is None, y


@pytest.mark.parametrize("y", EXPONENTS[::3])
@pytest.mark.parametrize("bits", [32, 64])
def test_known_exponents_are_right_to_half_a_unit(y: float, bits: int) -> None:
    """Where neither a result nor its own last place is subnormal; below, to 1.5 units."""
    kind, format = DTYPE[bits], np.finfo(DTYPE[bits])
    random = np.random.default_rng(int(100 + 2 * y))
    reach = format.maxexp / max(abs(y), 1)
    x = np.exp2(random.uniform(-reach, reach, 600)).astype(kind)
    x *= random.choice([-1, 1], x.size).astype(kind) if y == int(y) else kind.type(1)
    found = known("definitions")(str(vector_math.of_exponent(y)), x)
    with mpmath.workprec(200):
        for a, b in zip(x, found, strict=True):
            exact = mpmath.power(mpmath.mpf(float(a)), mpmath.mpf(y))
            size = float(abs(exact)) if abs(exact) < format.max else np.inf
            if size == np.inf or float(a) == 0:
                continue
            unit = float(np.spacing(kind.type(size)))
            bound = 0.505 if size > float(format.tiny) / float(format.eps) else 1.5
            assert abs(float((mpmath.mpf(float(b)) - exact) / unit)) <= bound, (a, y)


@pytest.mark.parametrize("library", ["definitions", "libm_definitions"])
@pytest.mark.parametrize("bits", [32, 64])
def test_known_exponents_at_special_values(bits: int, library: str) -> None:
    kind, format = DTYPE[bits], np.finfo(DTYPE[bits])
    ends = [format.max, format.tiny, format.smallest_subnormal, format.tiny / 3, np.inf, np.nan]
    x = np.array([s * v for v in (0.0, 1.0, 1.5, *ends) for s in (1, -1)], kind)
    for y in EXPONENTS:
        with np.errstate(all="ignore"):
            expected = np.power(x, np.full_like(x, y))  # of one number 0.5 NumPy makes a root
        found = known(library)(str(vector_math.of_exponent(y)), x)
        numbers = ~np.isnan(expected)
        assert np.array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers])), y
        np.testing.assert_allclose(found, expected, rtol=4e-15 if bits == 64 else 3e-7, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loops_with_known_exponents_are_vectors_and_call_nothing(dtype: str) -> None:
    x = gc.placeholder("powers_x", ("n",), dtype)
    text = gc.compile([x], [x**-6, x**-1.5, x**12]).llvm
    assert "@llvm.pow" not in text
    assert "@pow" not in text
    assert re.search(r"fdiv <\d+ x (float|double)>", text)
