"""Every differentiable op against central differences; ops without a derivative say so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GradientError

from .op_samples import SAMPLES
from .properties.derivatives import (
    DIFFERENTIABLE,
    SMOOTH,
    assert_near,
    check_first,
    check_second,
    check_single,
    sampled,
)
from .sampling import FLOATS

# Samples with arrays of their own promote.
pytestmark = pytest.mark.filterwarnings("ignore::graphc.errors.DTypeWarning")


def cases(name: str) -> Iterator[int]:
    yield from range(len(SAMPLES[name].cases))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_is_the_difference_quotient(name: str) -> None:
    for number in cases(name):
        check_first(name, number, "reverse")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_in_float32(name: str) -> None:
    for number in cases(name):
        check_single(name, number, "reverse")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_is_the_transpose_of_reverse(name: str) -> None:
    """To rounding, so that what one of them has right the other has."""
    for number in cases(name):
        at = sampled(name, number)
        along = at.directions()
        backwards, forwards = at.backwards(at.y, along), at.forwards(at.y, along)
        assert_near(at.value(forwards), at.value(backwards), 1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivative_is_the_difference_quotient_of_the_first(name: str) -> None:
    for number in cases(name):
        check_second(name, number, "reverse", "reverse")


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - set(DIFFERENTIABLE)))
def test_without_a_derivative_the_error_says_so(name: str) -> None:
    case = SAMPLES[name].cases[0]
    dtype = next((d for d in FLOATS if d in SAMPLES[name].takes), None)
    if dtype is None or name == "astype":
        return
    inputs = [x for x in case.placeholders(dtype) if x.dtype.is_float]
    results = case.call(*case.placeholders(dtype))
    for y in results if isinstance(results, tuple) else (results,):
        for x in inputs:
            with pytest.raises(GradientError):
                gc.grad(gc.sum(y), x)


@pytest.mark.parametrize(("first", "second"), [("float32", "float64"), ("float64", "float32")])
def test_conversion_between_floats_passes_the_gradient(first: str, second: str) -> None:
    x = gc.placeholder("x", (3,), first)
    g = gc.grad(gc.sum(gc.astype(x, second) * np.array([1.0, 2.0, 3.0], second)), x)
    found = gc.evaluate(g, {x: np.zeros(3)})
    assert found.dtype == np.dtype(first)
    np.testing.assert_array_equal(found, [1, 2, 3])
