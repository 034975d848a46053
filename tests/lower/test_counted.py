"""What a card computes for an element of a map: how many instructions, and which bits."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from graphc.lower import vector_math
from graphc.lower.vector_math import emit
from tests.lower import counted
from tests.lower.scalar_functions import LOOP, Array, Loops, float32_every, loop_over, pairs

OF_FLOAT32 = [(name, 32) for name in vector_math.FUNCTIONS]
DECLARED = "declare float @llvm.nvvm.rcp.approx.ftz.f(float)"
# The approximation of a card, less what it is off: nothing of a small reciprocal is left; no number
# where none may be asked for, so that a formula that does is seen.
EXACT = """
declare float @llvm.fabs.f32(float)
define linkonce_odr float @approximation(float %x) alwaysinline {
  %size = call float @llvm.fabs.f32(float %x)
  %above = fcmp oge float %size, 0x3810000000000000
  %finite = fcmp olt float %size, 0x7FF0000000000000
  %inside = and i1 %above, %finite
  %normal = fcmp olt float %size, 0x47D0000000000000
  %exact = fdiv float 1.0, %x
  %flushed = select i1 %normal, float %exact, float 0.0
  %found = select i1 %inside, float %flushed, float 0x7FF8000000000000
  ret float %found
}
"""


def for_a_card(wanted: Sequence[tuple[str, int]]) -> str:
    """The functions as a card has them, and for this processor what they ask for."""
    text = vector_math.definitions_anywhere(wanted, card=True)
    assert DECLARED in text
    text = text.replace(DECLARED, "").replace("llvm.nvvm.rcp.approx.ftz.f", "approximation")
    given = EXACT.replace("declare float @llvm.fabs.f32(float)", "")
    return text + (given if "@llvm.fabs.f32(float)" in text else EXACT)


def test_a_card_has_the_bits_of_this_processor() -> None:
    """And asks for no reciprocal that its instructions do not round as a division does."""
    loops = "".join(loop_over(name, bits) for name, bits in OF_FLOAT32)
    card, cpu = (
        Loops(loops, define(OF_FLOAT32)) for define in (for_a_card, vector_math.definitions)
    )
    every = float32_every(10_007, 17)
    two = pairs(np.dtype(np.float32), 50_000)
    for name, _ in OF_FLOAT32:
        given = two if name in vector_math.BINARY else (every,)
        found, expected = card(name, *given), cpu(name, *given)
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.isnan(found), ~number, name)
        same = found.view(np.uint32)[number] == expected.view(np.uint32)[number]
        assert same.all(), name


def test_results_below_the_normal_numbers_are_rounded_once() -> None:
    """Every float32 at which sigmoid has one."""
    loops, wanted = loop_over("sigmoid", 32), [("sigmoid", 32)]
    card, cpu = (Loops(loops, define(wanted)) for define in (for_a_card, vector_math.definitions))
    first, last = np.array([87.0, 105.0], np.float32).view(np.uint32)
    x = -np.arange(first, last, dtype=np.uint32).view(np.float32)
    found, expected = card("sigmoid", x), cpu("sigmoid", x)
    subnormal = (expected > 0) & (expected < np.finfo(np.float32).tiny)
    assert subnormal.sum() > 2_000_000
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def _refined(x: Array, units: int) -> tuple[Array, Array]:
    """What a card makes of an approximation of 1 / x that is so many units off the nearest float;
    and that approximation."""
    code = emit.Code(emit.FLOAT32, card=True)
    function = code.function("refined", [v := code.parameters(1)[0]], code.reciprocal(v))
    near = f"""
define linkonce_odr float @approximation(float %x) alwaysinline {{
  %exact = fdiv float 1.0, %x
  %bits = bitcast float %exact to i32
  %other = add i32 %bits, {units}
  %found = bitcast i32 %other to float
  ret float %found
}}
"""
    declared = "\n".join(code.declarations - {DECLARED}) + "\n"
    text = function.replace("llvm.nvvm.rcp.approx.ftz.f", "approximation")
    loops = "".join(
        LOOP.format(
            name=f"{callee}.32",
            callee=callee,
            element="float",
            argument="float",
            result="float",
            second="",
            operands="float %x",
        )
        for callee in ("refined", "approximation")
    )
    found = Loops(loops, declared + near + text)
    return found("refined", x), found("approximation", x)


@pytest.mark.parametrize("units", [-1, 0, 1])
def test_what_is_within_a_unit_is_rounded_as_a_division_is(units: int) -> None:
    """But for one significand, all of whose bits are set. NVIDIA's assembler makes the same three
    instructions of a division of such numbers, so theirs is right there, too."""
    x = (np.arange(2**23, dtype=np.uint32) | np.uint32(127 << 23)).view(np.float32)
    found, near = _refined(x, units)
    exact = 1.0 / x.astype(np.float64)
    within = np.abs(near - exact) <= np.spacing(exact.astype(np.float32))
    assert within.mean() > 0.4
    wrong = within & (found != exact.astype(np.float32))
    assert set(x[wrong]) <= {np.nextafter(np.float32(2), np.float32(0))}


def test_as_many_instructions_as_ever(golden: Callable[[str, str], None]) -> None:
    """A number that falls is good news; one that grows has to be worth it."""
    golden("lower/instructions", counted.table())


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "silu", "log", "erf", "softplus"])
def test_memory_is_what_takes_the_time(name: str) -> None:
    found = counted.counts(counted.FUNCTIONS[name])
    found.pop("memory")
    slots = found.total() / counted.TOGETHER
    assert slots <= 45
    assert not found["checked divisions and roots"] + found["float64"]
