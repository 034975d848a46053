"""Long sums: the error does not grow with their length, over any axis, whatever the data.

The truth is a sum in the next wider type, along contiguous memory, where NumPy adds pairwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.loops import sums
from graphc.loops.grammar import For, statements
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.properties.kernels import check_kernels

Array = np.ndarray[Any, Any]
WIDER = {"float32": np.float64, "float64": np.longdouble}
BOUND = 8  # in units of eps times the sum of absolute values
DATA = {
    "tenths": lambda draw, shape: np.full(shape, 0.1),
    "uniform": lambda draw, shape: draw.random(shape, dtype="float32"),
    "signs": lambda draw, shape: draw.standard_normal(shape, dtype="float32"),
    "wide": lambda draw, shape: np.exp(4 * draw.standard_normal(shape, dtype="float32")),
}


def data(kind: str, shape: tuple[int, ...], dtype: str) -> Array:
    return np.asarray(DATA[kind](np.random.default_rng(len(shape)), shape), dtype)


def truth(x: Array, axes: tuple[int, ...]) -> Array:
    kept = [a for a in range(x.ndim) if a not in axes]
    rows = x.transpose(*kept, *axes).reshape(*(x.shape[a] for a in kept), -1)
    return np.sum(np.ascontiguousarray(rows, WIDER[str(x.dtype)]), axis=-1)


def error(given: Array, x: Array, axes: tuple[int, ...]) -> float:
    """In units of eps times the sum of absolute values."""
    scale = np.atleast_1d(truth(np.abs(x), axes) * np.finfo(x.dtype).eps)
    scale[scale == 0] = np.finfo(x.dtype).tiny  # of zeros: there is no error
    return float(np.max(np.abs(given - truth(x, axes)) / scale))


N = 1 << 20
CASES: list[tuple[tuple[Any, ...], tuple[int, ...], tuple[int, ...]]] = [
    (("n",), (N,), (0,)),
    (("n", 4), (N // 4, 4), (0,)),
    (("n", "m"), (N // 512, 512), (0,)),
    (("n", "m"), (4, N // 4), (1,)),
    (("a", "n", 16), (8, N // 128, 16), (1,)),
    (("n", "a", "m"), (N // 1024, 8, 128), (0, 2)),
    ((100, 1000), (100, 1000), (0, 1)),
]


@pytest.mark.parametrize(("dims", "shape", "axes"), CASES)
def test_every_axis(dims: Any, shape: Any, axes: Any) -> None:
    """Also beside a reduction that keeps the loops of all axes apart."""
    x = gc.placeholder("x", dims)
    functions = [gc.compile([x], [gc.sum(x, axis=axes), *more]) for more in ((), (gc.exp(x),))]
    for kind in DATA:
        given = data(kind, shape, "float32")
        for function in functions:
            assert error(function(given)[0], given, axes) < BOUND, kind


@pytest.mark.parametrize(("dims", "shape", "axes"), CASES[1:3])
def test_double(dims: Any, shape: Any, axes: Any) -> None:
    x = gc.placeholder("x", dims, "float64")
    function = gc.compile([x], [gc.sum(x, axis=axes), gc.sum(x)])
    for kind in ("tenths", "wide"):
        given = data(kind, shape, "float64")
        columns, total = function(given)
        assert error(columns, given, axes) < BOUND, kind
        assert error(total, given, (0, 1)) < BOUND, kind


@pytest.mark.sweep
@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("rows", [1 << 26, 1 << 16, 1 << 13])
def test_up_to_2_26(rows: int, dtype: str) -> None:
    x = gc.placeholder("x", ("n", "m"), dtype)
    functions = {axes: gc.compile([x], gc.sum(x, axis=axes)) for axes in ((0,), (1,), (0, 1))}
    for kind in DATA:
        given = data(kind, (rows, (1 << 26) // rows), dtype)
        for axes, function in functions.items():
            assert error(function(given), given, axes) < BOUND, (kind, axes)


def test_ones() -> None:
    """2^26 of them, and rows: more than float32 can count one by one."""
    x, y = gc.placeholder("x", ("n",)), gc.placeholder("y", ("n", 2))
    ones = np.ones(1 << 26, "float32")
    assert gc.compile([x], gc.sum(x))(ones) == 1 << 26
    rows = ones.reshape(1 << 25, 2)
    np.testing.assert_array_equal(gc.compile([y], gc.mean(y, axis=0))(rows), 1)
    np.testing.assert_array_equal(gc.evaluate(gc.mean(y, axis=0), {y: rows[: 1 << 24]}), 1)


def test_what_is_made_of_sums() -> None:
    """Means, variances, norms, softmax, and the gradient of a parameter that all rows share."""
    x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3,))
    flat = gc.reshape(x, (x.size,))
    results = [
        gc.mean(x, axis=0),
        gc.variance(x, axis=0),
        gc.sqrt(gc.sum(x * x)),
        gc.sum(gc.softmax(flat)),
        gc.grad(gc.mean((x + w) ** 2), w),
    ]
    rows = data("uniform", (N // 4, 3), "float32")
    given = gc.compile([x, w], results)(rows, np.zeros(3, "float32"))
    exact = rows.astype("float64")
    expected = [
        exact.mean(axis=0),
        exact.var(axis=0),
        np.sqrt((exact**2).sum()),
        1.0,
        2 * exact.mean(axis=0) / 3,
    ]
    for a, b in zip(given, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_the_interpreter_adds_pairwise_over_every_axis() -> None:
    x = gc.placeholder("x", ("n", "m"))
    for kind in DATA:
        given = data(kind, (N // 16, 16), "float32")
        for axes in ((0,), (1,), (0, 1)):
            assert error(gc.evaluate(gc.sum(x, axis=axes), {x: given}), given, axes) < BOUND


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_and_nans_go_through(dtype: str) -> None:
    """Also where a total overflows: what it lost then is no number."""
    x = gc.placeholder("x", ("n", 2), dtype)
    function = gc.compile([x], [gc.sum(x), gc.sum(x, axis=0)])
    large = np.finfo(dtype).max
    for first, last in [
        (np.inf, 1), (-np.inf, 2), (np.inf, -np.inf), (np.nan, 1), (1, np.inf), (large, large),
        (np.inf, np.nan), (-large, -large),
    ]:  # fmt: skip
        given = np.ones((5000, 2), dtype)
        given[3], given[4700] = first, last
        with np.errstate(all="ignore"):
            total = np.asarray(first + np.asarray(last, dtype), dtype)
        for result in function(given):
            expected = np.full_like(result, total)
            np.testing.assert_array_equal(result, expected, err_msg=f"{first}, {last}")


def test_short_sums_and_their_code_are_what_they_were() -> None:
    x, y = gc.placeholder("x", ("n", 1000)), gc.placeholder("y", (200, 100))
    for result, runs in ((gc.softmax(x, axis=1), 0), (gc.sum(y, axis=0), 1), (gc.sum(y), 1)):
        program = run_pipeline(gc.Graph([x, y], [result]), Stages()).program
        (call,) = [s for s in walk_steps(program.steps) if isinstance(s, Call)]
        loops = [s for s in statements(call.kernel.body) if isinstance(s, For)]
        assert sum(loop.run is not None for loop in loops) == runs


@pytest.mark.parametrize("chunk", range(2))
def test_kernels_with_runs_of_few_turns_mean_the_same(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "RUN", 3)
    monkeypatch.setattr(sums, "ROWS", 2)
    monkeypatch.setattr(sums, "STEPS", 2)
    monkeypatch.setattr(sums, "SHORT", 1)
    assert sum(map(check_kernels, range(200 + chunk * 10, 210 + chunk * 10))) > 20


def test_a_sum_of_no_elements_beside_what_is_stored() -> None:
    x = gc.placeholder("x", ("n", 3), "float64")
    nothing = x[:, 2:2]
    for stored in (nothing, nothing + 1, gc.sum(nothing, axis=0)):
        total, other = gc.compile([x], [gc.sum(nothing), stored])(np.ones((4, 3)))
        assert (float(total), other.size) == (0.0, 0)
