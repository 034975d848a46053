"""Statistics, groups, norms and questions about dtypes: compiled, differentiated, and refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.spatial

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GraphcError, RuntimeFailure, ShapeError
from tests.statistics_samples import SAMPLES

X = gc.placeholder("sx", ("sn", 3), "float64")
V = gc.placeholder("sv", ("sn",), "float64")
I = gc.placeholder("si", ("sn",), "int64")  # noqa: E741

ARRAYS = [
    np.array([[1.0, 5.0, 2.0], [0.5, -3.0, np.e], [4.0, 2.0, -1.0], [0.0, 1.0, 3.0]]),
    np.array([0.5, -2.0, 3.0, 1.0]),
    np.array([1, 0, 1, 2]),
]


def test_all_samples_in_one_program() -> None:
    """The first case of each function, with its gradient where it has one."""
    inputs: list[Any] = []
    outputs: list[Any] = []
    arrays: list[Any] = []
    for seed, (name, samples) in enumerate(SAMPLES.items()):
        case = samples.cases[0]
        own = case.placeholders(samples.takes[-1])
        own = [gc.placeholder(f"s{seed}_{i}", t.shape, t.dtype) for i, t in enumerate(own)]
        made = case.call(*own)
        found = list(made) if isinstance(made, tuple) else [made]
        outputs += found
        wrt = [t for t in own if t.dtype.is_float]
        if samples.domain is not None and wrt:
            total = sum((gc.sum(y * y) for y in found), gc.constant(0.0, "float64"))
            outputs += gc.grad(total, wrt, unconnected="zero")
        inputs += own
        arrays += case.arrays(samples.takes[-1], 3, np.random.default_rng(seed), wild=False)
        assert name
    expected = gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    for a, e in zip(gc.compile(inputs, outputs)(*arrays), expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9)


def _quotient(y: Any, feeds: dict[Any, Any], x: Any, along: Any) -> float:
    high, low = (float(gc.evaluate(y, feeds | {x: feeds[x] + s * along})) for s in (1e-6, -1e-6))
    return (high - low) / 2e-6


NORMS: dict[str, Callable[[Any], Any]] = {
    "vector": lambda x: gc.linalg.vector_norm(x),
    "by axis": lambda x: gc.sum(gc.linalg.vector_norm(x, axis=0, ord=3)),
    "largest": lambda x: gc.linalg.vector_norm(x, ord=float("inf")),
    "matrix": lambda x: gc.linalg.matrix_norm(x) + gc.linalg.matrix_norm(x, ord=1),
    "cross": lambda x: gc.sum(gc.linalg.cross(x, gc.roll(x, 1, 0)) * x[::-1]),
    "power": lambda x: gc.sum(gc.linalg.matrix_power(x[:3], 3)),
    "inverse": lambda x: gc.sum(gc.linalg.matrix_power(x[:3], -2)),
    "upper": lambda x: gc.sum(gc.linalg.cholesky(x.mT @ x, upper=True) ** 3),
    "variance": lambda x: gc.sum(gc.var(x, axis=0, correction=1) * gc.std(x, axis=0)),
}


@pytest.mark.parametrize("name", NORMS)
def test_gradients_of_linear_algebra(name: str) -> None:
    y = NORMS[name](X)
    along = np.random.default_rng(0).normal(size=(4, 3))
    slope = gc.evaluate(gc.sum(gc.grad(y, X) * along), {X: ARRAYS[0]})
    assert slope == pytest.approx(_quotient(y, {X: ARRAYS[0]}, X, along), rel=1e-6)


def test_groups_of_named_sizes() -> None:
    outputs = [
        gc.segment_sum(X, I, 4), gc.segment_mean(V, I, 3), gc.segment_max(V, I, 3),
        gc.scatter_add(gc.zeros((4,), "float64"), I, V), gc.bincount(I, minlength=3),
        gc.bincount(I, V, 3),
    ]  # fmt: skip
    run = gc.compile([X, V, I], outputs)
    x, v, i = ARRAYS
    sums = np.zeros((4, 3))
    np.add.at(sums, i, x)
    expected = [
        sums, [-2.0, 1.75, 1.0], [-2.0, 3.0, 1.0], [-2.0, 3.5, 1.0, 0.0], [1, 2, 1],
        np.bincount(i, v),
    ]  # fmt: skip
    for found in (run(x, v, i), gc.evaluate(outputs, dict(zip((X, V, I), ARRAYS, strict=True)))):
        for a, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, e)
    none = run(x[:0], v[:0], i[:0])
    np.testing.assert_array_equal(none[0], np.zeros((4, 3)))
    np.testing.assert_array_equal(none[2], [-np.inf] * 3)


@pytest.mark.parametrize("bad", [[0, 1, 2, 3], [-4, 0, 0, 0]])
def test_a_group_that_is_not_there_fails(bad: list[int]) -> None:
    y = gc.segment_sum(V, I, 3)
    with pytest.raises(RuntimeFailure, match="out of range"):
        gc.compile([V, I], y)(ARRAYS[1], np.array(bad))


def test_a_negative_count_fails() -> None:
    with pytest.raises(RuntimeFailure, match="out of range"):
        gc.compile([I], gc.bincount(I, minlength=3))(np.array([-1, 0]))


# -- reductions of a part --------------------------------------------------------------------------
def test_where_and_dtype_of_reductions() -> None:
    x = np.arange(6).reshape(2, 3).astype("int8")
    t = gc.placeholder("sw", (2, 3), "int8")
    m = x % 2 == 1
    made = {
        "sum": (gc.sum(t, dtype="int16"), x.sum(dtype="int16")),
        "prod": (gc.prod(t + 1, axis=0, dtype="float32"), (x + 1).prod(0, dtype="float32")),
        "mean": (gc.mean(t, where=t % 2 == 1), x.mean(where=m)),
        "var": (gc.var(t, axis=1, where=t % 3 < 2, ddof=1), x.var(1, where=x % 3 < 2, ddof=1)),
        "max": (gc.max(t, where=t < 4), 3),
        "min": (gc.min(t, axis=0, where=t > 2), [3, 4, 5]),
        "any": (gc.any(t, axis=0, where=t < 1), [False] * 3),
        "all": (gc.all(t, where=t > 0), True),
        "method": (t.sum(0, dtype="float64"), x.sum(0, dtype="float64")),
    }
    with np.errstate(all="ignore"):
        found = gc.evaluate([y for y, _ in made.values()], {t: x})
    for a, (y, wanted) in zip(found, made.values(), strict=True):
        np.testing.assert_allclose(a, wanted)
        if isinstance(wanted, (np.ndarray, np.generic)):
            assert y.dtype.numpy == wanted.dtype


def test_methods_are_functions() -> None:
    x = gc.placeholder("sm", (2, 3, 3))
    pairs: list[tuple[Any, Any]] = [
        (x.T, gc.permute_dims(x)), (x.mT, gc.matrix_transpose(x)), (x.std(1), gc.std(x, 1)),
        (x.var(ddof=1), gc.var(x, ddof=1)), (x.any(0), gc.any(x, 0)), (x.all(), gc.all(x)),
        (x.clip(0, 1), gc.clip(x, 0, 1)), (x.dot(x[0]), gc.dot(x, x[0])), (x.ravel(), gc.ravel(x)),
        (x.flatten(), gc.ravel(x)), (x.swapaxes(0, 1), gc.swapaxes(x, 0, 1)), (x.copy(), x),
        (x.take([0, 1]), gc.take(gc.ravel(x), [0, 1])), (x.take([1], 0), gc.take(x, [1], 0)),
        (x.repeat(2, 0), gc.repeat(x, 2, 0)), (x.trace(), gc.trace(x)), (x.round(), gc.round(x)),
        (x.diagonal(), gc.diagonal(x)), (x.nonzero(size=2)[0], gc.nonzero(x, size=2)[0]),
        (x.at[0].get(), x[0]),
    ]  # fmt: skip
    assert [i for i, (a, b) in enumerate(pairs) if a is not b] == []


# -- dtypes ----------------------------------------------------------------------------------------
def test_questions_about_dtypes() -> None:
    x = gc.placeholder("sq", (2,))
    assert gc.finfo(x).eps == np.finfo("float32").eps
    assert gc.finfo("float64").max == np.finfo("float64").max
    assert gc.iinfo(gc.int8)[:3] == (8, 127, -128)
    assert gc.isdtype(gc.uint8, ("bool", "integral"))
    assert not gc.isdtype(gc.float32, "signed integer")
    assert gc.isdtype("float32", gc.float32)
    assert gc.can_cast(gc.int8, "int16")
    assert not gc.can_cast(x, "int64")
    assert gc.result_type(x, 2.5) is gc.float32
    assert gc.result_type(gc.uint8, np.int8(1), gc.int8) is gc.int16
    assert gc.result_type(2, 2.5) is gc.float64
    assert gc.result_type(gc.int8, 2.5) is gc.float64


def test_a_tensor_names_its_namespace() -> None:
    found = X.__array_namespace__(api_version="2024.12")
    assert found is gc
    info = found.__array_namespace_info__()
    assert info.dtypes(kind="real floating") == {"float32": gc.float32, "float64": gc.float64}
    assert info.default_dtypes()["integral"] is gc.int64
    assert info.default_device() in info.devices()
    assert not info.capabilities()["data-dependent shapes"]
    with pytest.raises(ArgumentError, match="2030"):
        X.__array_namespace__(api_version="2030.12")


WRONG: list[tuple[Callable[[], Any], type[GraphcError], str]] = [
    (lambda: gc.finfo("int8"), DTypeError, "float32"),
    (lambda: gc.iinfo("float32"), DTypeError, "int8"),
    (lambda: gc.isdtype(gc.int8, "whole"), ArgumentError, "integral"),
    (lambda: gc.result_type(), ArgumentError, "nothing"),
    (lambda: gc.result_type(gc.int8, 300), DTypeError, "300"),
    (lambda: gc.average(X, weights=[1.0, 2.0]), ShapeError, "weight"),
    (lambda: gc.cov(np.zeros((2, 2, 2))), ShapeError, "matrix"),
    (lambda: gc.segment_sum(X, I), ArgumentError, "num_segments"),
    (lambda: gc.segment_sum(X, X, 3), ShapeError, "each row"),
    (lambda: gc.segment_sum(X, V, 3), DTypeError, "integers"),
    (lambda: gc.bincount(I), ArgumentError, "minlength"),
    (lambda: gc.bincount(X, minlength=3), ShapeError, "vector"),
    (lambda: gc.bincount(V, minlength=3), DTypeError, "bincount: groups have integers"),
    (lambda: gc.segment_max(X, V, 3), DTypeError, "segment_max: groups have integers"),
    (lambda: gc.histogram(V, X), ShapeError, "vector"),
    (lambda: gc.linalg.vector_norm(V, ord="fro"), ArgumentError, "'fro'"),
    (lambda: gc.linalg.matrix_norm(V), ShapeError, "matrices"),
    (lambda: gc.linalg.matrix_norm(X, ord="odd"), ArgumentError, "'odd'"),
    (lambda: gc.linalg.norm(np.zeros((2, 2, 2)), 1), ShapeError, "two axes"),
    (lambda: gc.linalg.cross(V[:2], V[:2]), ShapeError, "3 elements"),
    (lambda: gc.linalg.outer(X, V), ShapeError, "vectors"),
    (lambda: gc.linalg.matrix_power(X[:3], 0.5), ArgumentError, "0.5"),
    (lambda: gc.linalg.matrix_power(X[:2], 2), ShapeError, "square"),
    (lambda: gc.linalg.cholesky(X[:2], upper=True), ShapeError, "square"),
]


@pytest.mark.parametrize("position", range(len(WRONG)))
def test_what_is_wrong_is_named(position: int) -> None:
    call, kind, message = WRONG[position]
    with pytest.raises(kind, match=message) as caught:
        call()
    assert caught.value.op
    assert __file__ in caught.value.where


# -- of what a mask selects ------------------------------------------------------------------------
REDUCED = ("sum", "prod", "mean", "var", "std", "max", "min", "any", "all")


@pytest.mark.parametrize("name", REDUCED)
def test_what_a_mask_selects_is_reduced_by_functions_too(name: str) -> None:
    x = gc.placeholder("of_a_mask", (2, 3))
    array = np.array([[1, -2, 3], [0.5, 4, -1]], "float32")
    for call in (getattr(gc, name), getattr(np, name), lambda part: getattr(part, name)()):
        found = gc.evaluate(call(x[x > 0.7]), {x: array})
        np.testing.assert_allclose(found, getattr(np, name)(array[array > 0.7]), rtol=1e-6)


def test_a_function_of_what_a_mask_selects_has_no_axis() -> None:
    x = gc.placeholder("of_a_mask", (2, 3))
    with pytest.raises(ArgumentError, match="how many elements a mask selects"):
        gc.sum(x[x > 0], 0)
    found = gc.evaluate(gc.sum(x[x > 0], where=x < 3, initial=1), {x: np.arange(6).reshape(2, 3)})
    assert found == 4


def test_places_are_divided() -> None:
    x = gc.placeholder("divided", (3,))
    array = np.array([3, 5, 7], "float32")
    found = gc.evaluate(x.at[[0, 2, 2]].divide(3.0), {x: array})
    np.testing.assert_allclose(found, [1, 5, 7 / 9], rtol=1e-6)
    with pytest.raises(DTypeError, match="a quotient is no int"):
        gc.asarray([1, 2]).at[0].divide(2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_norms_of_zero(dtype: str) -> None:
    """0 where there is no direction, as interpreted and compiled, of float32 in float64 too; and
    the slopes of NumPy's quotient elsewhere."""
    x = gc.placeholder("x", ("n", 3), dtype)
    at = np.array([[0, 0, 0], [3, 0, 4], [0, 0, 0], [1, -2, 2]], dtype)
    size, some = np.array([1, 5, 1, 3])[:, None], np.array([0, 1, 0, 1])[:, None]
    fourth = np.where(some, (at**4).sum(1, keepdims=True), 1)
    cases: list[tuple[gc.Tensor, Any]] = [
        (gc.sum(gc.linalg.norm(x, axis=1)), at / size),
        (gc.sum(gc.linalg.norm(x, axis=1)) ** 2, 16 * at / size),
        (gc.linalg.norm(x * 0), 0 * at),
        (gc.linalg.matrix_norm(0 * x), 0 * at),
        (gc.sum(gc.linalg.vector_norm(x, axis=1, ord=4)), at**3 / fourth**0.75),
        (gc.sum(gc.std(x * 0 + 1, axis=0)), 0 * at),
        (gc.sum(gc.root_of_squares(gc.sum(x * x, axis=1))), at / size),
        (gc.sum(gc.nn.normalize(x)[:, 0]), (np.eye(3)[0] - at[:, :1] * at / size**2) * some / size),
    ]
    slopes = [gc.grad(y, x) for y, _ in cases]
    for found in (gc.evaluate(slopes, {x: at}), gc.compile([x], slopes)(at)):
        for value, (_, wanted) in zip(found, cases, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("p", [0, 1, 1.5, 2, 3, float("inf")])
def test_distances_of_all_pairs(p: float) -> None:
    """SciPy's, and the gradient of those of rows with themselves by finite differences off the
    diagonal, where it is 0."""
    rng = np.random.default_rng(3)
    at, other = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    metric = {0: "hamming", 1: "cityblock", 2: "euclidean", float("inf"): "chebyshev"}.get(p)
    given = {"metric": metric} if metric else {"metric": "minkowski", "p": p}
    x, y = gc.placeholder("x", ("n", 3), "float64"), gc.placeholder("y", ("m", 3), "float64")
    found = gc.evaluate(gc.linalg.cdist(x, y, p), {x: at, y: other})
    wanted = scipy.spatial.distance.cdist(at, other, **given) * (3 if p == 0 else 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-13)
    if p == 0:
        return
    weights = rng.normal(size=(4, 4))
    slope = gc.evaluate(gc.grad(gc.sum(weights * gc.linalg.cdist(x, x, p)), x), {x: at})
    for i, j in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[i, j] = 1e-6
        high, low = (
            np.sum(weights * scipy.spatial.distance.cdist(at + s, at + s, **given))
            for s in (step, -step)
        )
        assert slope[i, j] == pytest.approx((high - low) / 2e-6, rel=1e-6, abs=1e-8)


def test_distances_of_what_are_no_rows() -> None:
    with pytest.raises(ShapeError, match="not rows"):
        gc.linalg.cdist(np.ones(3), np.ones((2, 3)))
    with pytest.raises(ShapeError, match="rows of two lengths"):
        gc.linalg.cdist(np.ones((2, 4)), np.ones((2, 3)))
