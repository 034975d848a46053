"""Which constants a kernel is given, and that its source gives the same with and without them."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.checking.source import run_source
from graphc.ir.dtype import DType, float32, float64, int64
from graphc.loops.builder import Builder
from graphc.loops.check import check_kernel
from graphc.loops.grammar import Buffer, Const, Kernel, of
from graphc.loops.interpret import interpret_kernel
from graphc.loops.numbers import given, is_number
from graphc.lower.numba_source import print_for_numba, print_source


def const(value: float, dtype: DType = float64) -> Const:
    return Const(dtype.numpy.type(value), dtype)


@pytest.mark.parametrize("value", [0.3, -1.7, 3.0, 1e300, 5e-324 * 3])
@pytest.mark.parametrize("primitive", ["add", "subtract", "multiply", "divide"])
def test_operands_of_arithmetic_are_numbers(primitive: str, value: float) -> None:
    assert is_number(primitive, const(value))


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 2.0**-1074, np.inf, np.nan])
def test_what_code_is_simpler_by_is_none(value: float) -> None:
    assert not is_number("multiply", const(value))


def test_operands_of_other_operations_and_of_other_dtypes_are_none() -> None:
    assert not is_number("maximum", const(0.3))
    assert not is_number("power", const(0.3))
    assert not is_number("multiply", const(3, int64))


def scaled(dtype: DType, *values: float) -> tuple[Kernel, Buffer, Buffer]:
    """max(x * a + b, c) / a of five elements."""
    x, y = (Buffer(name, dtype, 5) for name in "xy")
    a, b, c = (const(v, dtype) for v in values)
    k = Builder()
    with k.loop(5) as i:
        moved = k.add(k.multiply(k.load(x, of(i)), a), b)
        k.store(y, of(i), k.divide(k.maximum(moved, c), const(values[0], dtype)))
    kernel = Kernel("scaled", (x, y), k.scopes[0].body)
    check_kernel(kernel)
    return kernel, x, y


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_kernels_that_differ_in_numbers_have_one_code(dtype: DType) -> None:
    first, x, y = scaled(dtype, 0.3, 7.1, 0.9)
    other, *_ = scaled(dtype, 1.3, -5.5, 0.9)
    assert [value.value for value in given(first)] == [dtype.numpy.type(v) for v in (0.3, 7.1)]
    (text, identity), (changed, same) = print_source(first), print_source(other)
    assert identity == same
    assert print_for_numba(first) == print_for_numba(other)
    assert text != changed
    assert f"{dtype.short}({dtype.numpy.type(7.1).item()!r})" in text
    memory = {x: np.arange(5, dtype=dtype.numpy), y: np.zeros(5, dtype.numpy)}
    a, b, c = (dtype.numpy.type(v) for v in (0.3, 7.1, 0.9))
    expected = np.maximum(memory[x] * a + b, c) / a
    for run in (interpret_kernel, run_source, lambda *args: run_source(*args, text)):
        memory[y][:] = 0
        run(first, memory, {})
        np.testing.assert_array_equal(memory[y], expected)


@pytest.mark.parametrize(
    "values",
    [(0.3, 0.3, 0.9), (0.3, 4.0, 0.9), (0.3, 7.1, 0.8)],
    ids=["two are one", "a power of two", "the bound of a maximum"],
)
def test_what_else_differs_is_in_the_code(values: tuple[float, float, float]) -> None:
    (_, identity), (_, other) = (
        print_source(scaled(float64, *v)[0]) for v in ((0.3, 7.1, 0.9), values)
    )
    assert identity != other


def test_the_dtype_of_a_number_is_in_the_identity() -> None:
    assert print_source(scaled(float32, 0.3, 7.1, 0.9)[0]).identity.startswith("f32, f32\n")
    assert print_source(scaled(float64, 0.3, 0.3, 0.9)[0]).identity.startswith("f64\n")


def test_numbers_are_read_one_by_one() -> None:
    """Two that lie side by side, read as a pair, make pairs of what they are multiplied by: eight
    instructions more in the loop of a Hessian of pairs of atoms."""
    first, second = np.triu_indices(5, 1)
    x = gc.placeholder("places of atoms", (5, 3))
    apart = gc.take(x, first, 0) - gc.take(x, second, 0)
    inverse = (1 / gc.sum(apart * apart, axis=1)) ** 3
    step = gc.compile([x], gc.hessian(4 * gc.sum(inverse * inverse - inverse), x))
    assert any("numbers" in line for line in step.llvm.splitlines())
    assert not [line for line in step.llvm.splitlines() if "load <" in line and "numbers" in line]
