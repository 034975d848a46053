"""Numbers in parts, divisors, polynomials: compiled, at edges, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import (
    ArgumentError,
    DTypeError,
    GraphcError,
    OutOfRangeError,
    RuntimeFailure,
    ShapeError,
    SymbolicValueError,
)
from tests.number_samples import SAMPLES


def test_all_samples_in_one_program() -> None:
    """A case or two of each function, compiled, as the interpreter has them."""
    inputs: list[Any] = []
    outputs: list[Any] = []
    arrays: list[Any] = []
    for name, samples in SAMPLES.items():
        for at, case in enumerate(samples.cases[:2]):
            tested = samples.takes[-1]
            rng = np.random.default_rng(sum(map(ord, name)) + at)
            given = case.arrays(tested, 3, rng, wild=samples.wild and tested[0] == "f")
            own = [
                gc.placeholder(f"{name}{at}_{i}", array.shape, array.dtype)
                for i, array in enumerate(given)
            ]
            made = case.call(*own)
            inputs, arrays = inputs + own, arrays + given
            outputs += list(made) if isinstance(made, tuple) else [made]
    expected = gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    found = gc.compile(inputs, outputs, name="numbers")(*arrays)
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)


# -- at edges --------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_parts_of_every_size_make_the_number_again(dtype: str) -> None:
    """Subnormal ones and the largest too, to the bit."""
    info = np.finfo(dtype)
    powers = np.ldexp(np.array(1, dtype), np.arange(info.minexp - info.nmant, info.maxexp))
    x = np.concatenate([powers, -powers * np.array(1.25, dtype), [info.max, 0.0, -0.0, np.inf]])
    x = x.astype(dtype)
    t = gc.placeholder(f"of_every_size_{dtype}", x.shape, dtype)
    mantissa, exponent = gc.frexp(t)
    function = gc.compile([t], [mantissa, exponent, gc.ldexp(mantissa, exponent)])
    m, e, again = function(x)
    expected = np.frexp(x)
    np.testing.assert_array_equal(m, expected[0])
    np.testing.assert_array_equal(e, expected[1])
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(np.signbit(again), np.signbit(x))


def test_powers_of_2_round_once() -> None:
    """What ends among the subnormal numbers, from all sides: two roundings would show."""
    rng = np.random.default_rng(3)
    x = rng.uniform(1, 2, 4000).astype("float32")
    x = np.ldexp(x, rng.integers(-149, 127, 4000).astype("int32"))
    n = rng.integers(-280, 280, 4000)
    t, k = gc.placeholder("rounded", (4000,)), gc.placeholder("moved_by", (4000,), "int64")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            gc.evaluate(gc.ldexp(t, k), {t: x, k: n}), np.ldexp(x, n.astype("int32"))
        )


def test_slopes_of_parts() -> None:
    x = gc.placeholder("sloped", (4,), "float64")
    at = np.array([0.0, -1.5, 6.0, -0.0])
    for made, slope in (
        (gc.fmod(x, 4.0), [1, 1, 1, 1]),
        (gc.modf(x)[0], [1, 1, 1, 1]),
        (gc.modf(x)[1], [0, 0, 0, 0]),
        (gc.frexp(x)[0], [1, 0.5, 0.125, 1]),
        (gc.logaddexp2(x, x), [1, 1, 1, 1]),
        (gc.unwrap(4 * x), [4, 4, 4, 4]),
    ):
        found = gc.evaluate(gc.grad(gc.sum(made), x, unconnected="zero"), {x: at})
        np.testing.assert_array_equal(found, slope)


def test_divisors_under_vmap() -> None:
    x, y = np.array([[12, 18], [0, -7]]), np.array([[8, 27], [0, 21]])
    a, b = gc.placeholder("many_a", (2, 2), "int64"), gc.placeholder("many_b", (2, 2), "int64")
    found = gc.evaluate(gc.vmap(gc.gcd)(a, b), {a: x, b: y})
    np.testing.assert_array_equal(found, np.gcd(x, y))


# -- repeated by counts that are a tensor ----------------------------------------------------------
def test_repeat_by_a_tensor_of_counts() -> None:
    x, k = gc.placeholder("repeated", ("r", 2)), gc.placeholder("counts", ("r",), "int64")
    made = gc.repeat(x, k, 0, total_repeat_length=5)
    array = np.arange(6, dtype="float32").reshape(3, 2)
    function = gc.compile([x, k], [made, gc.grad(gc.sum(made * made), x)])
    for counts in ([2, 0, 3], [1, 1, 1], [4, 4, 4]):
        rows = np.repeat(np.arange(3), counts)[:5]
        rows = np.concatenate([rows, np.full(5 - len(rows), 2)])
        value, slope = function(array, counts)
        np.testing.assert_array_equal(value, array[rows])
        np.testing.assert_array_equal(slope, 2 * array * np.bincount(rows, minlength=3)[:, None])


# -- initial values --------------------------------------------------------------------------------
def test_an_initial_value_makes_an_extremum_of_nothing() -> None:
    x = gc.placeholder("maybe_none", ("some", 2))
    function = gc.compile([x], [gc.max(x, 0, initial=1.5), x.min(0, initial=-1)])
    found = function(np.zeros((0, 2)))
    np.testing.assert_array_equal(found, [[1.5, 1.5], [-1, -1]])
    found = function(np.array([[3, 0], [1, -4]]))
    np.testing.assert_array_equal(found, [[3, 1.5], [-1, -4]])


def test_methods_take_a_mask() -> None:
    x, array = gc.placeholder("masked", (3,)), np.array([1, -2, 3], "float32")
    for name in ("sum", "prod", "mean", "var", "std", "any", "all"):
        found = gc.evaluate(getattr(x, name)(where=x > 0), {x: array})
        np.testing.assert_allclose(found, getattr(array, name)(where=array > 0), rtol=1e-6)
    assert gc.evaluate(x.max(where=x < 2, initial=0), {x: array}) == 1


def test_values_as_pythons_numbers() -> None:
    assert (gc.constant([1.5]) * 2).item() == 3.0
    assert gc.variable(np.eye(2, dtype="int8")).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(SymbolicValueError, match="needs an input") as caught:
        gc.placeholder("no_value_yet").item()
    assert "test_numbers.py:" in caught.value.where


# -- arrays of others, lists of tensors ------------------------------------------------------------
def test_arrays_of_other_libraries() -> None:
    class Theirs:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    array = np.arange(6, dtype="int16").reshape(2, 3)[:, ::-1]
    found = gc.from_dlpack(Theirs(array))
    np.testing.assert_array_equal(found.numpy(), array)
    array[0, 0] = 9  # it was copied
    assert found.numpy()[0, 0] == 2
    assert found.dtype is gc.int16

    class Elsewhere(Theirs):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("on a card")

    for refused in (Elsewhere(array), [1, 2], object()):
        with pytest.raises(ArgumentError, match="no array that can be copied"):
            gc.from_dlpack(refused)
    for options in ({"device": "cuda"}, {"copy": False}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            gc.from_dlpack(array, **options)
    assert gc.__array_api_version__ == "2024.12"


def test_lists_with_tensors_are_arrays_of_them() -> None:
    x = gc.placeholder("in_a_list")
    made = gc.asarray([[x, 1], (0.5, x * x)])
    np.testing.assert_array_equal(gc.evaluate(made, {x: 3}), [[3, 1], [0.5, 9]])
    assert made.dtype is gc.float32
    assert gc.asarray([x, 2], dtype="float64").dtype is gc.float64


# -- what is refused -------------------------------------------------------------------------------
V, K = gc.placeholder("some_v", (3,)), gc.placeholder("some_i", (3,), "int64")
REFUSED: dict[str, tuple[type[GraphcError], str, Callable[[], Any]]] = {
    "gcd of floats": (DTypeError, "gcd", lambda: gc.gcd(V, V)),
    "lcm of bools": (DTypeError, "lcm", lambda: gc.lcm(V > 0, V > 0)),
    "bits of floats": (DTypeError, "bitwise_count", lambda: gc.bitwise_count(V)),
    "ldexp by floats": (DTypeError, "ldexp", lambda: gc.ldexp(V, V)),
    "fmod of complex numbers": (DTypeError, "fmod", lambda: gc.fmod(gc.complex(V, V), 2)),
    "frexp of complex numbers": (DTypeError, "frexp", lambda: gc.frexp(gc.complex(V, V))),
    "spacing of ints": (DTypeError, "spacing", lambda: gc.spacing(K)),
    "coefficients in a matrix": (ShapeError, "polyval", lambda: gc.polyval(gc.ones((2, 2)), V)),
    "powers of a matrix": (ShapeError, "vander", lambda: gc.vander(gc.ones((2, 2)))),
    "columns below 0": (ArgumentError, "vander", lambda: gc.vander(V, -1)),
    "a degree below 0": (ArgumentError, "polyfit", lambda: gc.polyfit(V, V, -1)),
    "blocks at two depths": (ArgumentError, "block", lambda: gc.block([[V], V])),
    "no blocks": (ArgumentError, "block", lambda: gc.block([])),
    "a choice by floats": (DTypeError, "choose", lambda: gc.choose(V, [V, V])),
    "a mode of choice": (ArgumentError, "choose", lambda: gc.choose(K, [V], mode="near")),
    "places that are a tensor": (ArgumentError, "delete", lambda: gc.delete(V, K)),
    "a place outside": (OutOfRangeError, "insert", lambda: gc.insert(V, 9, 0)),
    "a place along a named axis": (
        ShapeError, "delete", lambda: gc.delete(gc.placeholder("long_v", ("long",)), 0)
    ),
    "an end of floats": (DTypeError, "ediff1d", lambda: gc.ediff1d(K, [0.5])),
    "a vector of matrices": (ShapeError, "matvec", lambda: gc.matvec(V, V)),
    "sizes of products": (ShapeError, "vecmat", lambda: gc.vecmat(V, gc.ones((2, 3)))),
    "no square": (ShapeError, "tensorinv", lambda: gc.linalg.tensorinv(gc.ones((2, 3, 5)))),
    "no such right side": (
        ShapeError, "tensorsolve", lambda: gc.linalg.tensorsolve(gc.ones((3, 3)), V[:2])
    ),
    "an initial vector": (ShapeError, "max", lambda: gc.max(V, initial=V)),
    "counts of another number": (
        ShapeError, "repeat", lambda: gc.repeat(V, K[:2], total_repeat_length=4)
    ),
    "counts of floats": (DTypeError, "repeat", lambda: gc.repeat(V, V, total_repeat_length=4)),
    "counts without a length": (ArgumentError, "repeat", lambda: gc.repeat(V, K)),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named(case: str) -> None:
    kind, op, call = REFUSED[case]
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.op == op
    assert caught.value.expected or caught.value.given
    assert "test_numbers.py:" in caught.value.where


def test_a_choice_out_of_range_is_an_error_at_the_call() -> None:
    chosen = gc.choose(K, [V, 2 * V])
    feeds = {V: np.ones(3), K: np.array([0, 2, 1])}
    with pytest.raises(RuntimeFailure, match="out of range"):
        gc.evaluate(chosen, feeds)
    with pytest.raises(RuntimeFailure, match="out of range"):
        gc.compile([V, K], chosen)(feeds[V], feeds[K])
