"""Powers and remainders of floats without a C library: against NumPy in a wider float, and at all
pairs of special values."""

import itertools
from functools import cache

import numpy as np
import pytest

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
