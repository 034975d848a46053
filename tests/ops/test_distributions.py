"""Distributions by statistics at fixed keys, their edges, and one compiled program of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GradientError, ShapeError

Array = np.ndarray[Any, Any]
N = 20_000
LEAST = 1e-3  # of a p-value; keys are fixed, so that it is met or not for good
random = gc.random

CONTINUOUS: dict[str, tuple[Callable[[Any, Any, Any], gc.Tensor], Any]] = {
    "exponential": (random.exponential, stats.expon),
    "gumbel": (random.gumbel, stats.gumbel_r),
    "laplace": (random.laplace, stats.laplace),
    **{
        f"gamma {a}": (lambda key, shape, t, a=a: random.gamma(key, a, shape, t), stats.gamma(a))
        for a in (0.05, 0.7, 1.0, 3.5, 200.0)
    },
    **{
        f"beta {a} {b}": (
            lambda key, shape, t, a=a, b=b: random.beta(key, a, b, shape, t), stats.beta(a, b)
        )
        for a, b in ((0.1, 0.2), (2.0, 5.0), (50.0, 1.0))
    },
    **{
        f"truncated_normal {a} {b}": (
            lambda key, shape, t, a=a, b=b: random.truncated_normal(key, a, b, shape, t),
            stats.truncnorm(a, b),
        )
        for a, b in ((-2.0, 2.0), (-1.0, 5.0), (6.0, np.inf), (-np.inf, -3.0), (-np.inf, np.inf))
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str, dtype: str) -> None:
    make, truth = CONTINUOUS[name]
    drawn = gc.evaluate(make(random.key(3), (N,), dtype))
    assert drawn.dtype == dtype
    assert np.isfinite(drawn).all()
    if dtype == "float64" or name not in ("gamma 0.05", "beta 0.1 0.2"):  # which crowd at 0
        assert stats.kstest(drawn.astype(float), truth.cdf).pvalue > LEAST


def chi_square(drawn: Array, truth: Any) -> float:
    """The p-value of counts, in bins that hold five or more."""
    edges = np.unique(np.linspace(*truth.ppf([1e-4, 1 - 1e-4]), 40).astype(int))
    parts = np.diff([0, *truth.cdf(edges), 1])
    found = np.bincount(np.searchsorted(edges, drawn), minlength=len(parts))
    enough = parts * len(drawn) > 5
    expected = np.append(parts[enough], parts[~enough].sum() + 1e-12) * len(drawn)
    observed = np.append(found[enough], found[~enough].sum())
    return float(stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


@pytest.mark.parametrize("mean", [0.3, 9.5, 10.0, 40.0, 1e5])
def test_poisson(mean: float) -> None:
    drawn = gc.evaluate(random.poisson(random.key(4), mean, (N,)))
    assert drawn.dtype == np.int64
    assert chi_square(drawn, stats.poisson(mean)) > LEAST


@pytest.mark.parametrize(
    ("n", "p"), [(10, 0.3), (10, 0.8), (1000, 0.005), (40, 0.25), (100, 0.5), (10**6, 0.3)]
)
def test_binomial(n: int, p: float) -> None:
    drawn = gc.evaluate(random.binomial(random.key(5), n, p, (N,)))
    assert chi_square(drawn, stats.binom(n, p)) > LEAST


def test_ints() -> None:
    for low, high, dtype in ((-3, 4, "int64"), (250, 256, "uint8"), (0, 2**32, "uint32")):
        drawn = gc.evaluate(random.randint(random.key(6), (N,), low, high, dtype))
        assert drawn.dtype == dtype
        assert drawn.min() >= low
        assert drawn.max() < high
        places = (drawn.astype(np.int64) - low) * 6 // (high - low)
        assert stats.chisquare(np.bincount(places)).pvalue > LEAST if high - low == 6 else True
    sixths = gc.evaluate(random.randint(random.key(7), (N,), 0, 6))
    assert stats.chisquare(np.bincount(sixths)).pvalue > LEAST
    big = gc.evaluate(random.randint(random.key(8), (N,), 2**62, 2**62 + 2**32))
    assert stats.kstest((big - 2**62) / 2**32, "uniform").pvalue > LEAST


def test_categories_and_choices() -> None:
    logits = np.array([[0.0, 1.0, -1.0, -np.inf], [3.0, 0.0, 0.0, 0.0]])
    key = random.key(9)
    drawn = gc.evaluate(random.categorical(key, logits, (N,)))
    assert drawn.shape == (N, 2)
    columns = gc.evaluate(random.categorical(key, logits.T, (5,), axis=0))
    assert columns.shape == (5, 2)
    for k, row in enumerate(logits):
        p = np.exp(row) / np.exp(row).sum()
        found = np.bincount(drawn[:, k], minlength=4)
        assert found[p == 0].sum() == 0
        expected = p[p > 0] * N
        assert stats.chisquare(found[p > 0], expected).pvalue > LEAST
    pool = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    rows = gc.evaluate(random.choice(key, pool, (4, 2)))
    assert rows.shape == (4, 2, 2)
    assert {tuple(r) for r in rows.reshape(-1, 2)} <= {tuple(r) for r in pool}
    weighted = gc.evaluate(random.choice(key, 3, (N,), p=np.array([0.2, 0.0, 0.8])))
    assert stats.chisquare(np.bincount(weighted)[[0, 2]], [0.2 * N, 0.8 * N]).pvalue > LEAST


def test_multivariate_normal() -> None:
    mean, factor = np.array([1.0, -2.0, 0.5]), np.array([[2.0, 0, 0], [1, 1, 0], [0.5, -1, 0.3]])
    drawn = gc.evaluate(random.multivariate_normal(random.key(10), mean, factor @ factor.T, (N,)))
    back = np.linalg.solve(factor, (drawn - mean).T)
    for row in back:
        assert stats.kstest(row, "norm").pvalue > LEAST
    np.testing.assert_allclose(np.cov(back), np.eye(3), atol=0.03)


def test_edges() -> None:
    key = random.key(11)
    a = gc.constant([0.0, -1.0, np.nan, np.inf, 1.0])
    gammas = gc.evaluate(random.gamma(key, a))
    np.testing.assert_array_equal(np.isnan(gammas), [True, True, True, False, False])
    assert gammas[3] == np.inf
    means = gc.constant([-1.0, np.nan, 1e300, 0.0], "float64")
    assert gc.evaluate(random.poisson(key, means)).tolist() == [-1, -1, -1, 0]
    n, p = gc.constant([7, 7, 7, -1, 0]), gc.constant([0.0, 1.0, 1.5, 0.5, 0.5])
    assert gc.evaluate(random.binomial(key, n, p)).tolist() == [0, 7, -1, -1, 0]
    for make in (random.exponential, random.gumbel, random.laplace):
        assert gc.evaluate(make(key, (0, 3))).shape == (0, 3)
    assert gc.evaluate(random.gamma(key, 2.0, (0,))).shape == (0,)


def test_all_of_them_compiled_and_batched() -> None:
    """Ints are the interpreter's, for the turns of the loops are; and each key of a batch draws
    what it draws alone."""

    def draw(key: Any) -> list[gc.Tensor]:
        keys = random.split(key, 9)
        logits = gc.constant(np.array([0.5, 0.1, -1.0]))
        return [
            random.exponential(keys[0], (5,)), random.gumbel(keys[1], (5,)),
            random.laplace(keys[2], (5,)), random.gamma(keys[3], 0.4, (5,), "float64"),
            random.beta(keys[4], 2.0, 3.0, (5,), "float64"),
            random.poisson(keys[5], gc.constant([0.5, 20.0])),
            random.binomial(keys[6], 50, gc.constant([0.1, 0.7])),
            random.randint(keys[7], (5,), -2, 9), random.categorical(keys[8], logits, (5,)),
        ]  # fmt: skip

    keys = np.array([[0, 1], [5, 9]], np.uint32)
    key, many = gc.placeholder("key", (2,), "uint32"), gc.placeholder("keys", ("n", 2), "uint32")
    one = gc.compile([key], draw(key))
    batched = gc.compile([many], gc.vmap(draw)(many))(keys)
    for i, k in enumerate(keys):
        expected = gc.evaluate(draw(key), {key: k})
        for found, stacked, value in zip(one(k), batched, expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-5)
            np.testing.assert_allclose(stacked[i], value, rtol=1e-5)


def test_derivatives_go_by_place_and_scale() -> None:
    scale = gc.placeholder("scale", (), "float64")
    drawn = random.laplace(random.key(1), (6,), "float64")
    slope = gc.grad(gc.sum(2.0 + scale * drawn), scale)
    value, total = gc.evaluate([slope, gc.sum(drawn)], {scale: 3.0})
    np.testing.assert_allclose(value, total)
    with pytest.raises(GradientError):
        gc.grad(gc.sum(random.gamma(random.key(1), scale, (6,))), scale)


KEY = random.key(0)
BAD: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "ints of floats": (DTypeError, lambda: random.randint(KEY, (2,), 0, 3, "float32")),
    "no interval": (ArgumentError, lambda: random.randint(KEY, (2,), 3, 3)),
    "too many ints": (ArgumentError, lambda: random.randint(KEY, (2,), 0, 2**33)),
    "not of the dtype": (ArgumentError, lambda: random.randint(KEY, (2,), 0, 300, "uint8")),
    "half an int": (ArgumentError, lambda: random.randint(KEY, (2,), 0.5, 3)),
    "exponential ints": (DTypeError, lambda: random.exponential(KEY, (2,), "int32")),
    "logits of ints": (DTypeError, lambda: random.categorical(KEY, gc.constant([1, 2]))),
    "one logit": (ShapeError, lambda: random.categorical(KEY, gc.constant(1.0))),
    "a choice of nothing": (ArgumentError, lambda: random.choice(KEY, 0)),
    "a choice of a scalar": (ShapeError, lambda: random.choice(KEY, gc.constant(1.5))),
    "a choice of n": (
        ShapeError, lambda: random.choice(KEY, gc.placeholder("pool", ("n",)))
    ),
    "parameters that do not fit": (
        ShapeError, lambda: random.gamma(KEY, gc.ones((3,)), (2,))
    ),
    "counts that are floats": (DTypeError, lambda: random.poisson(KEY, 1.0, (2,), "float32")),
    "a covariance of another rank": (
        ShapeError, lambda: random.multivariate_normal(KEY, gc.ones((2, 2)), gc.ones((2, 2)))
    ),
    "no key": (DTypeError, lambda: random.exponential(gc.constant([1, 2]))),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case: str) -> None:
    kind, call = BAD[case]
    with pytest.raises(kind):
        call()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truncated_normal_numbers_stay_inside(dtype: str) -> None:
    """Between bounds for each element, however far out; of bounds out of order there is none."""
    low = np.array([-8.0, 0.0, 4.9, 12.0, -3.0, 2.0], dtype)
    high = np.array([-7.5, 1e-3, np.inf, 13.0, -3.0, 1.0], dtype)
    made = random.truncated_normal(random.key(2), low, high, (2000, 6))
    drawn = gc.evaluate(made)
    assert drawn.dtype == dtype
    assert np.isnan(drawn[:, 4:]).all()
    inside = drawn[:, :4]
    assert ((low[:4] <= inside) & (inside <= high[:4])).all()
    assert (np.std(inside[:, :3], axis=0) > 0).all()
    compiled = gc.compile([], made)()
    np.testing.assert_allclose(compiled, drawn, rtol=2e-4 if dtype == "float32" else 1e-9)


def test_truncated_normal_moves_with_its_bounds() -> None:
    a, b = (gc.placeholder(f"bound_{n}", (), "float64") for n in "ab")
    made = gc.sum(random.truncated_normal(random.key(5), a, b, (50,)) ** 2)
    at, step = {a: -0.5, b: 1.5}, 1e-6
    for which, slope in zip((a, b), gc.evaluate(gc.grad(made, [a, b]), at), strict=True):
        ahead, behind = (gc.evaluate(made, at | {which: at[which] + s}) for s in (step, -step))
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)
    with pytest.raises(DTypeError):
        random.truncated_normal(random.key(1), -1.0, 1.0, (3,), "int32")
    with pytest.raises(ShapeError):
        random.truncated_normal(random.key(1), np.zeros(2), 1.0, (3,))
