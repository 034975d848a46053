"""Initialisers: moments and ranges against the formulas, seeds, what may stand for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.nn import initializers

FAN_IN, FAN_OUT = 300, 500
VARIANCE = {
    "glorot": 2 / (FAN_IN + FAN_OUT),
    "he": 2 / FAN_IN,
    "lecun": 1 / FAN_IN,
}


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    gc.nn.seed(0)
    yield
    initializers.seed(0)


def _draw(name: Any, shape: tuple[int, ...] = (FAN_IN, FAN_OUT)) -> Any:
    return initializers.get(name)(shape, np.random.default_rng(7), np.dtype("float32"))


@pytest.mark.parametrize("family", sorted(VARIANCE))
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_variance_by_fan(family: str, kind: str) -> None:
    values = _draw(f"{family}_{kind}")
    assert values.dtype == np.float32
    assert values.shape == (FAN_IN, FAN_OUT)
    deviation = np.sqrt(VARIANCE[family])
    # 150,000 draws: the standard error of the deviation is about 0.2 %, of the mean 0.26 %.
    assert values.std() == pytest.approx(deviation, rel=0.01)
    assert abs(values.mean()) < 0.012 * deviation
    limit = np.sqrt(3.0) * deviation
    inside = np.mean(np.abs(values) <= limit * (1 + 1e-6))
    assert inside == 1.0 if kind == "uniform" else 0.9 < inside < 0.93


def test_uniform_reaches_its_limits() -> None:
    limit = np.sqrt(6 / (FAN_IN + FAN_OUT))
    values = _draw("glorot_uniform")
    assert values.max() > 0.999 * limit
    assert values.min() < -0.999 * limit


def test_fans() -> None:
    assert initializers.fans((784, 128)) == (784, 128)
    assert initializers.fans((32, 3, 5, 5)) == (75, 800)  # [outputs, inputs, *window]
    assert initializers.fans((6,)) == (6, 6)
    assert initializers.fans(()) == (1, 1)
    assert initializers.fans((0, 4)) == (1, 4)


def test_plain_distributions() -> None:
    normal = _draw(initializers.normal(stddev=2.0, mean=1.0))
    assert normal.mean() == pytest.approx(1.0, abs=0.03)
    assert normal.std() == pytest.approx(2.0, rel=0.01)
    uniform = _draw(initializers.uniform(-1.0, 3.0))
    assert uniform.min() >= -1.0
    assert uniform.max() <= 3.0
    assert uniform.mean() == pytest.approx(1.0, abs=0.02)
    assert _draw("normal").std() == pytest.approx(0.05, rel=0.01)


def test_constants() -> None:
    np.testing.assert_array_equal(_draw("zeros", (2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(_draw("ones", (2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(_draw(0.25, (2,)), np.array([0.25, 0.25]))
    given = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(_draw(given, (2, 3)), given)


def test_an_array_that_does_not_fit() -> None:
    with pytest.raises(gc.errors.ShapeError, match=r"expected: \(2, 3\)"):
        _draw(np.zeros((4, 3)), (2, 3))


def test_seed_makes_layers_reproducible() -> None:
    x = gc.placeholder("x", ("n", 4))

    def kernel(**options: Any) -> Any:
        layer = gc.nn.Dense(3, **options)
        layer(x)
        return layer.kernel.value

    gc.nn.seed(5)
    first, second = kernel(), kernel()
    gc.nn.seed(5)
    again = kernel()
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    np.testing.assert_array_equal(kernel(seed=9), kernel(seed=9))
    np.testing.assert_array_equal(kernel(), second)  # a layer's own seed leaves the shared one


@pytest.mark.parametrize("bad", [-1, 1.5, True, "x"])
def test_bad_seeds(bad: Any) -> None:
    with pytest.raises(gc.errors.ArgumentError, match="an int >= 0"):
        gc.nn.seed(bad)


def test_unknown_name() -> None:
    with pytest.raises(gc.errors.ArgumentError, match="glorot_normal, glorot_uniform"):
        gc.nn.Dense(3, kernel_initializer="glorot")


@pytest.mark.parametrize(
    "make",
    [
        lambda: initializers.normal(-1.0),
        lambda: initializers.normal(np.nan),
        lambda: initializers.normal(1.0, np.inf),
        lambda: initializers.uniform(1.0, -1.0),
        lambda: initializers.uniform(0.0, np.inf),
        lambda: initializers.uniform(-1e308, 1e308),
    ],
)
def test_parameters_of_no_distribution(make: Any) -> None:
    with pytest.raises(ArgumentError, match="not a"):
        make()


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (4, 2, 3), (1, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    w = initializers.orthogonal(2.0)(shape, rng, np.dtype("float64"))
    assert w.shape == shape
    matrix = w.reshape(shape[0], -1) / 2
    rows, columns = matrix.shape
    square = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    np.testing.assert_allclose(square, np.eye(min(rows, columns)), atol=1e-14)


def test_orthogonal_matrices_are_uniform() -> None:
    """The mean of Q is 0: QR alone has signs that depend on the elimination."""
    rng = np.random.default_rng(2)
    make = initializers.get("orthogonal")
    mean = np.mean([make((2, 2), rng, np.dtype("float64")) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mean, 0, atol=0.06)


def test_identity_and_names() -> None:
    np.testing.assert_array_equal(_draw("identity", (2, 3)), np.eye(2, 3))
    np.testing.assert_array_equal(_draw("xavier_normal"), _draw("glorot_normal"))
    for make, shape in ((initializers.identity(), (3,)), (initializers.orthogonal(), (3,))):
        with pytest.raises(gc.errors.ShapeError, match="does not fit the initialiser"):
            make(shape, np.random.default_rng(0), np.dtype("float32"))
    with pytest.raises(ArgumentError, match="not a gain"):
        initializers.orthogonal(float("nan"))


def test_variance_scaling_and_truncation() -> None:
    rng, make = np.random.default_rng(0), gc.nn.initializers
    for mode, size in (("fan_in", 200), ("fan_out", 100), ("fan_avg", 150)):
        for distribution in ("normal", "uniform"):
            first = make.variance_scaling(3.0, mode, distribution)((200, 100), rng, "float64")
            assert first.var() == pytest.approx(3 / size, rel=0.05)
    cut = make.truncated_normal(0.5, 1.0)((20_000,), rng, "float32")
    assert np.abs(cut - 1).max() <= 1.0
    assert cut.std() == pytest.approx(0.5 * 0.8796, rel=0.02)  # sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))
    for wrong in ({"scale": 0.0}, {"mode": "fan"}, {"distribution": "cauchy"}):
        with pytest.raises(ArgumentError):
            make.variance_scaling(**wrong)
