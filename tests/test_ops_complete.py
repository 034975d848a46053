"""Every registered op equals NumPy: each dtype, each class of shapes, bit for bit.

A new op is tested before its author writes a test; until it has samples, this file fails.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeWarning, GraphcError
from graphc.ir.graph import walk
from graphc.ir.op import Kind, registry
from graphc.ir.operators import functions

from .op_samples import SAMPLES, arrays_of
from .sampling import ALL, Array, Case

pytestmark = pytest.mark.filterwarnings("ignore:.*gives float64:graphc.errors.DTypeWarning")

for _module in pkgutil.iter_modules(gc.ops.__path__):
    importlib.import_module(f"graphc.ops.{_module.name}")


def outputs(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def evaluate(case: Case, tested: str, arrays: list[Array]) -> list[Array]:
    inputs = case.placeholders(tested)
    targets = list(outputs(case.call(*inputs)))
    found: list[Array] = gc.evaluate(targets, dict(zip(inputs, arrays, strict=True)))
    return found


def assert_same(actual: Array, expected: Array, ulp: float = 0, unit: float = 0) -> None:
    """Equal in dtype, shape, values, NaN and sign of zero; or within `ulp` where that is > 0."""
    expected = np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    if not ulp:
        np.testing.assert_array_equal(actual, expected)
        np.testing.assert_array_equal(np.signbit(actual)[~nan], np.signbit(expected)[~nan])
        return
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(actual[infinite], expected[infinite])
    finite = ~(nan | infinite)
    actual, expected = actual[finite], expected[finite]
    allowed = ulp * np.spacing(np.maximum(np.abs(expected), actual.dtype.type(unit)))
    np.testing.assert_array_less(np.abs(actual - expected), np.nextafter(allowed, np.inf))


# -- the registry ----------------------------------------------------------------------------------
def test_every_op_has_samples() -> None:
    made_by_passes = {n for n, op in registry().items() if op.kind is Kind.REGION}
    missing = registry().keys() - SAMPLES.keys() - made_by_passes
    assert not missing, (
        f"ops without samples: {sorted(missing)}; add unary(name, numpy) or binary(name, numpy) "
        "to tests/elementwise_samples.py, or SAMPLES[name] = Samples(cases=(Case(call=..., "
        "numpy=..., shapes=...),)) to tests/structural_samples.py"
    )


def test_samples_are_of_ops_or_public_functions() -> None:
    assert not SAMPLES.keys() - registry().keys() - functions().keys()


@pytest.mark.parametrize("name", [n for n in SAMPLES if n in registry()])
def test_the_samples_use_the_op(name: str) -> None:
    samples = SAMPLES[name]
    case = samples.cases[0]
    made = outputs(case.call(*case.placeholders(samples.takes[-1])))
    assert registry()[name] in {node.op for node in walk(made)}


@pytest.mark.parametrize("name", list(SAMPLES))
def test_equals_numpy(name: str) -> None:
    for tested in SAMPLES[name].takes:
        for case in SAMPLES[name].cases:
            for arrays in arrays_of(name, tested, case):
                with np.errstate(all="ignore"):
                    expected = outputs(case.numpy(*arrays))
                actual = evaluate(case, tested, arrays)
                for a, e in zip(actual, expected, strict=True):
                    assert_same(a, e, SAMPLES[name].ulp, SAMPLES[name].unit)


@pytest.mark.parametrize("name", [n for n in SAMPLES if n in registry()])
def test_other_dtypes_are_errors_that_name_the_op(name: str) -> None:
    """Or the function takes them by another op, as `power` does ints."""
    case = SAMPLES[name].cases[0]
    for tested in set(ALL) - set(SAMPLES[name].takes):
        inputs, caught = case.placeholders(tested), GraphcError("")
        try:
            made = outputs(case.call(*inputs))
        except GraphcError as error:
            caught, made = error, ()
        taken = registry()[name] in {node.op for node in walk(made)}
        assert not taken, tested
        assert made or (caught.op and caught.given), tested


_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


# -- promotion -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["add", "multiply", "divide", "maximum", "less", "equal", "where", "bitwise_and"]
)
def test_every_pair_of_dtypes_promotes_as_numpy(name: str) -> None:
    rng = np.random.default_rng(0)
    numpy = getattr(np, name)
    for first in ALL:
        for second in ALL:
            x, y = gc.placeholder("x", (9,), first), gc.placeholder("y", (9,), second)
            a, b = (
                rng.integers(0, 2 if d == "bool" else 100, 9).astype(d) for d in (first, second)
            )
            if np.dtype(first).kind in "iu":
                a[0], a[1] = np.iinfo(first).max, np.iinfo(first).min
            arguments: tuple[Any, ...] = (x, y)
            values: tuple[Any, ...] = (a, b)
            if name == "where":
                arguments, values = (x != 0, x, y), (a != 0, a, b)
            try:
                with np.errstate(all="ignore"):
                    expected = numpy(*values)
            except TypeError:
                with pytest.raises(GraphcError):
                    getattr(gc, name)(*arguments)
                continue
            assert_same(gc.evaluate(getattr(gc, name)(*arguments), {x: a, y: b}), expected)


@pytest.mark.parametrize("name", _COMPARISONS)
def test_int64_and_uint64_compare_exactly(name: str) -> None:
    """float64, to which they promote, cannot tell 2**63 - 1 from 2**63."""
    signed = np.array([2**63 - 1, 2**63 - 1, -1, 0, -(2**63), 2**62 + 1])
    unsigned = np.array([2**63, 2**63 - 1, 2**64 - 1, 0, 2**63, 2**62], "uint64")
    x, y = gc.placeholder("x", (6,), "int64"), gc.placeholder("y", (6,), "uint64")
    feeds = {x: signed, y: unsigned}
    numpy = getattr(np, name)
    assert_same(gc.evaluate(getattr(gc, name)(x, y), feeds), numpy(signed, unsigned))
    assert_same(gc.evaluate(getattr(gc, name)(y, x), feeds), numpy(unsigned, signed))


def test_widening_warns_once_a_line() -> None:
    x, y = gc.placeholder("x"), gc.placeholder("y", dtype="float64")
    with pytest.warns(DTypeWarning, match=r"float32 beside float64 gives float64"):
        x + y


# -- integers --------------------------------------------------------------------------------------
_EIGHT_BIT = (
    "add", "subtract", "multiply", "floor_divide", "remainder", "divide", "maximum", "minimum",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift",
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", _EIGHT_BIT)
def test_all_pairs_of_8_bit_integers(name: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    values = np.arange(info.min, info.max + 1).astype(dtype)
    a, b = values[:, None], values[None, :]
    x, y = gc.placeholder("x", a.shape, dtype), gc.placeholder("y", b.shape, dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, b)
    ours = {"bitwise_left_shift": "shift_left", "bitwise_right_shift": "shift_right"}
    z = getattr(gc, ours.get(name, name))(x, y)
    assert_same(gc.evaluate(z, {x: a, y: b}), expected)


@pytest.mark.parametrize("exponent", range(12))
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_integer_powers_wrap(dtype: str, exponent: int) -> None:
    a = np.arange(-20, 20).astype(dtype)
    x = gc.placeholder("x", a.shape, dtype)
    assert_same(gc.evaluate(x**exponent, {x: a}), a**exponent)
