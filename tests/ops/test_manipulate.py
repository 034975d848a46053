"""NumPy's names for what moves and makes elements: compiled, fused, and what they refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GraphcError, OutOfRangeError, ShapeError
from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import walk_steps
from tests.manipulate_samples import SAMPLES
from tests.sampling import Case


def kernels(inputs: list[Any], outputs: list[Any]) -> int:
    compiled = run_pipeline(Graph(inputs, outputs, [], "counted"), Stages())
    return Counter(type(s).__name__ for s in walk_steps(compiled.program.steps))["Call"]


def drawn(seed: int, case: Case) -> list[Any]:
    return case.arrays("float32", 3, np.random.default_rng(seed), wild=False)


def test_all_samples_in_one_program() -> None:
    """One case of each function with its gradient, and more of `roll`."""
    chosen = [SAMPLES[name].cases[0] for name in SAMPLES]
    chosen += SAMPLES["roll"].cases[1::4]
    inputs: list[Any] = []
    outputs: list[Any] = []
    arrays: list[Any] = []
    for seed, case in enumerate(chosen):
        own = [
            gc.placeholder(f"m{seed}_{i}", shape, "float32") for i, shape in enumerate(case.shapes)
        ]
        made = case.call(*own)
        found = list(made) if isinstance(made, tuple) else [made]
        outputs += found
        slopes = gc.grad(
            sum((gc.sum(y * y) for y in found), gc.constant(0.0)), own, unconnected="zero"
        )
        inputs, outputs, arrays = inputs + own, outputs + slopes, arrays + drawn(seed, case)
    expected = gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    found = gc.compile(inputs, outputs, name="manipulate")(*arrays)
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)


X, V = gc.placeholder("mx", ("mn", 300)), gc.placeholder("mv", ("mn",))
FUSED: dict[str, Callable[[], Any]] = {
    "roll": lambda: gc.tanh(gc.roll(X, 3, 1)) * 2,
    "roll of two axes": lambda: gc.roll(X, (3, 4), (0, 1)) + X,
    "tril and its gradient": lambda: (
        gc.tril(X) * 2, gc.grad(gc.sum(gc.tril(X) ** 2), X),
    ),
    "differences of differences": lambda: gc.diff(X, n=2),
    "trapezoid": lambda: gc.trapezoid(X * X),
    "gradient": lambda: gc.gradient(X, axis=1),
    "swapaxes": lambda: gc.tanh(gc.swapaxes(X, 0, 1)),
    "meshgrid": lambda: gc.meshgrid(V, V)[0] * gc.meshgrid(V, V)[1],
    "linspace": lambda: gc.linspace(0, 1, "mn") * V,
    "eye": lambda: gc.eye("mn") * V,
}  # fmt: skip


@pytest.mark.parametrize("what", FUSED)
def test_it_is_one_kernel(what: str) -> None:
    made = FUSED[what]()
    outputs = list(made) if isinstance(made, tuple) else [made]
    assert kernels([X, V], outputs) == 1


# -- made of numbers -------------------------------------------------------------------------------
def test_ranges_of_sizes() -> None:
    n = V.shape[0]
    outputs = [gc.arange(n), gc.arange(1, n), gc.arange(n, 0, -1), gc.arange(0, n, 2)]
    assert str(outputs[0].shape[0]) == "mn"
    for size in (0, 1, 4, 5):
        found = gc.evaluate([*outputs, V], {V: np.zeros(size)})
        expected = [
            np.arange(size), np.arange(1, size), np.arange(size, 0, -1), np.arange(0, size, 2)
        ]  # fmt: skip
        for a, e in zip(found, expected, strict=False):
            np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize(
    "arguments", [(0.0, 1.0, 0.1), (5.0,), (1, 2.5, 0.5), (3.0, 0.0, -0.7), (0.5, 0.2), (-1.0, 2)]
)
def test_ranges_of_floats(arguments: tuple[float, ...]) -> None:
    found = gc.evaluate(gc.arange(*arguments, dtype="float64"))
    np.testing.assert_array_equal(found, np.arange(*arguments))
    assert gc.arange(*arguments).dtype is gc.float32


def test_a_named_number_of_points_is_one_too() -> None:
    points = gc.linspace(2.0, 3.0, V.shape[0]) + 0 * V
    for size in (0, 1, 2, 5):
        found = gc.evaluate(points, {V: np.zeros(size, "float32")})
        np.testing.assert_allclose(found, np.linspace(2.0, 3.0, size), rtol=1e-6)


@pytest.mark.parametrize("k", [2**70, -(2**70), 2**63 - 1, -(2**63), 3, -3])
def test_diagonals_that_no_matrix_has(k: int) -> None:
    found = gc.evaluate([gc.eye(2, 3, k=k), gc.tril(np.ones((2, 3)), k=k)])
    np.testing.assert_array_equal(found[0], np.zeros((2, 3)))
    np.testing.assert_array_equal(found[1], np.full((2, 3), float(k > 0)))


def test_arrays_become_tensors_and_tensors_stay() -> None:
    assert gc.asarray(X) is X
    assert gc.copy(X) is X
    assert gc.asarray([1, 2], "float32").dtype is gc.float32
    assert gc.asarray(X, dtype="int8").dtype is gc.int8
    np.testing.assert_array_equal(gc.evaluate(gc.empty((2,))), [0, 0])


def test_shapes_broadcast_without_tensors() -> None:
    assert gc.broadcast_shapes((2, 1), 3, ()) == (2, 3)
    assert gc.broadcast_shapes() == ()
    with pytest.raises(ShapeError):
        gc.broadcast_shapes((2,), (3,))


# -- errors ----------------------------------------------------------------------------------------
WRONG: list[tuple[Callable[[], Any], type[GraphcError], str]] = [
    (lambda: gc.arange(0, 5, 0), ArgumentError, "step"),
    (lambda: gc.arange(V), ArgumentError, "range"),
    (lambda: gc.arange(V.shape[0], 2.5), ArgumentError, "range"),
    (lambda: gc.arange(300, dtype="int8") + gc.arange(300, 302, dtype="int8"), DTypeError, "fit"),
    (lambda: gc.meshgrid(V, indexing="yx"), ArgumentError, "'yx'"),
    (lambda: gc.meshgrid(X), ShapeError, "vector"),
    (lambda: gc.full((2,), [1, 2]), DTypeError, "fill value"),
    (lambda: gc.full_like(gc.placeholder("mi", (2,), "int8"), 300), DTypeError, "300"),
    (lambda: gc.roll(X, 1.5, 0), ArgumentError, "shift"),
    (lambda: gc.roll(X, (1, 2, 3), (0, 1)), ArgumentError, "2 shifts"),
    (lambda: gc.roll(X, 1, 2), OutOfRangeError, "-2 <= axis < 2"),
    (lambda: gc.moveaxis(X, (0, 1), 0), ShapeError, "distinct"),
    (lambda: gc.moveaxis(X, (0, 0), (0, 1)), ShapeError, "distinct"),
    (lambda: gc.swapaxes(X, 0, 5), OutOfRangeError, "axis"),
    (lambda: gc.repeat(X, V), ArgumentError, "repeated"),
    (lambda: gc.repeat(X, [1, 2], 1), ShapeError, "each element"),
    (lambda: gc.repeat(X, -1), ArgumentError, "times"),
    (lambda: gc.tile(X, (2.0, 1)), ArgumentError, "times"),
    (lambda: gc.tril(V), ShapeError, "two axes"),
    (lambda: gc.unstack(X), ShapeError, "static"),
    (lambda: gc.rot90(X, 1, (0, 0)), ShapeError, "twice"),
    (lambda: gc.diff(X, n=-1), ArgumentError, "-1"),
    (lambda: gc.gradient(X, 1.0, 2.0, 3.0), ArgumentError, "spacing"),
    (lambda: gc.ravel(X, "F"), ArgumentError, "'F'"),
    (lambda: gc.array_split(X, 0, 1), ShapeError, "0"),
    (lambda: gc.hstack([]), ArgumentError, "non-empty"),
]


@pytest.mark.parametrize("position", range(len(WRONG)))
def test_what_is_wrong_is_named(position: int) -> None:
    call, kind, message = WRONG[position]
    with pytest.raises(kind, match=message) as caught:
        call()
    assert caught.value.op
    assert __file__ in caught.value.where


def test_errors_are_those_of_python_too() -> None:
    """So that a program written for NumPy catches them."""
    with pytest.raises(ValueError, match="broadcast"):
        gc.add(np.zeros(2), np.zeros(3))
    with pytest.raises(IndexError, match="axis"):
        gc.sum(X, axis=2)
    with pytest.raises(IndexError, match="index out of range"):
        X[:, 300]
    with pytest.raises(TypeError, match="dtype"):
        gc.shift_left(X, X)
