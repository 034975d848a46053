"""Newton's method and its kin, against their formulas in NumPy and against SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize

import graphc as gc
from graphc.errors import ArgumentError, GradientError, LinAlgError, ShapeError

START = np.array([-1.2, 1.0])


def _rosenbrock(w: Any) -> Any:
    return 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2


def _problem(start: Any = START) -> tuple[Any, Any]:
    """Rosenbrock's function of two variables, a scalar and a vector of one."""
    a = gc.variable(start[0], "first", dtype="float64")
    b = gc.variable([start[1]], "second", dtype="float64")
    return [a, b], _rosenbrock([a, b[0]])


def _walk(optimizer: Any, steps: int, start: Any = START, target: str = "cpu") -> Any:
    variables, loss = _problem(start)
    step = gc.compile([], loss, updates=optimizer.minimize(loss, variables), target=target)
    found = [np.array(start)]
    for _ in range(steps):
        step()
        found.append(np.concatenate([np.ravel(v.value) for v in variables]))
    return np.array(found)


def test_newton() -> None:
    expected = [START]
    for _ in range(20):
        w = expected[-1]
        h = optimize.rosen_hess(w) + 0.1 * np.eye(2)
        expected.append(w - 0.9 * np.linalg.solve(h, optimize.rosen_der(w)))
    found = _walk(gc.optim.Newton(0.9, damping=0.1), 20)
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    np.testing.assert_allclose(_walk(gc.optim.Newton(), 7)[-1], [1, 1], rtol=1e-9)


def test_conjugate_gradients() -> None:
    """The formulas, with the Hessian as a matrix."""

    def direction(w: Any) -> Any:
        g, h = optimize.rosen_der(w), optimize.rosen_hess(w)
        size = np.linalg.norm(g)
        z, r, d = np.zeros(2), g, -g
        for turn in range(50):
            curvature = d @ h @ d
            if curvature <= 0:
                return -g if turn == 0 else z
            a = r @ r / curvature
            z, after = z + a * d, r + a * (h @ d)
            if np.linalg.norm(after) <= min(0.5, size**0.5) * size:
                return z
            d, r = (after @ after) / (r @ r) * d - after, after
        return z

    expected = [START]
    for _ in range(12):
        w, a = expected[-1], 1.0
        p = direction(w)
        while optimize.rosen(w + a * p) > optimize.rosen(w) + 1e-4 * a * optimize.rosen_der(w) @ p:
            a /= 2
        expected.append(w + a * p)
    found = _walk(gc.optim.ConjugateGradient(), 12)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    rng = np.random.default_rng(4)
    basis, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    h = basis * np.geomspace(1, 1e3, 30) @ basis.T
    w = gc.variable(np.zeros(30), "w", dtype="float64")
    loss = 0.5 * gc.sum(w * (h @ w)) - gc.sum(w)
    step = gc.compile([], loss, updates=gc.optim.ConjugateGradient().minimize(loss, [w]))
    for _ in range(15):
        step()
    np.testing.assert_allclose(w.value, np.linalg.solve(h, np.ones(30)), atol=1e-9)


def test_lbfgs() -> None:
    """Each step is along -H g, H by the BFGS recursion in full, and fulfils the conditions."""
    w = _walk(gc.optim.LBFGS(), 40)
    f, g = np.array([optimize.rosen(x) for x in w]), np.array([optimize.rosen_der(x) for x in w])
    assert f[-1] < 1e-15
    pairs: list[Any] = []
    for k in range(25):
        s, slope = w[k + 1] - w[k], g[k] @ (w[k + 1] - w[k])
        assert f[k + 1] <= f[k] + 1e-4 * slope + 1e-18
        assert abs(g[k + 1] @ s) <= 0.9 * abs(slope) + 1e-18
        h: Any = np.eye(2)
        if pairs:
            h = h * (pairs[-1][0] @ pairs[-1][1]) / (pairs[-1][1] @ pairs[-1][1])
        for move, change in pairs[-10:]:
            rho = 1 / (move @ change)
            v = np.eye(2) - rho * np.outer(change, move)
            h = v.T @ h @ v + rho * np.outer(move, move)
        p = -h @ g[k]
        cosine = p @ s / np.linalg.norm(p) / np.linalg.norm(s)
        assert cosine == pytest.approx(1, abs=1e-6)
        pairs.append((s, g[k + 1] - g[k]))
        if np.linalg.norm(g[k + 1]) < 1e-6:
            break


def test_lbfgs_as_interpreted_and_in_a_trainer() -> None:
    found = _walk(gc.optim.LBFGS(history=3), 6, target="cpu")
    np.testing.assert_allclose(found, _walk(gc.optim.LBFGS(history=3), 6, target="reference"))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5))
    y = (x @ rng.normal(size=5) > 0.3).astype(np.int64)
    trainer = gc.train.Trainer(
        gc.nn.Dense(1, seed=0, kernel_regularizer="l2"), loss="binary_cross_entropy",
        optimizer=gc.optim.LBFGS(), dtype="float64",
    )  # fmt: skip
    history = trainer.fit(x, y[:, None], epochs=25, batch_size=80, verbose=False)
    assert (np.diff(history["loss"]) <= 1e-12).all()
    assert np.ptp(history["loss"][-3:]) < 1e-9


def _data() -> tuple[Any, Any]:
    t = np.linspace(0, 2, 15)
    return t, 2.5 * np.exp(-1.3 * t) + 0.05 * np.cos(9 * t)


def _fit(optimizer: Any, steps: int, start: Any) -> Any:
    t, y = gc.placeholder("t", ("n",), "float64"), gc.placeholder("y", ("n",), "float64")
    w = gc.variable(start, "w", dtype="float64")
    residuals = w[0] * gc.exp(w[1] * t) - y
    step = gc.compile([t, y], w, updates=optimizer.minimize(residuals, [w]))
    return np.array([step(*_data()) for _ in range(steps + 1)])


def _residuals(w: Any) -> tuple[Any, Any]:
    t, y = _data()
    e = np.exp(w[1] * t)
    return w[0] * e - y, np.stack([e, w[0] * t * e], axis=1)


def test_gauss_newton() -> None:
    expected = [np.array([2.0, -1.0])]
    for _ in range(8):
        r, j = _residuals(expected[-1])
        expected.append(expected[-1] - np.linalg.solve(j.T @ j, j.T @ r))
    found = _fit(gc.optim.GaussNewton(), 8, [2.0, -1.0])
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    best = optimize.least_squares(lambda w: _residuals(w)[0], [2.0, -1.0], xtol=1e-15).x
    np.testing.assert_allclose(found[-1], best, rtol=1e-7)


def test_levenberg_marquardt() -> None:
    start = [0.5, 1.0]  # from where Gauss and Newton go astray
    w, d, expected = np.array(start), 1e-3, [np.array(start)]
    refused = 0
    for _ in range(20):
        r, j = _residuals(w)
        a = j.T @ j
        new = w - np.linalg.solve(a + d * np.diag(np.diag(a)), j.T @ r)
        better = np.sum(_residuals(new)[0] ** 2) < np.sum(r**2)
        refused += not better
        w, d = (new, d / 10) if better else (w, d * 10)
        expected.append(w)
    found = _fit(gc.optim.LevenbergMarquardt(), 20, start)
    np.testing.assert_allclose(found[:16], expected[:16], rtol=1e-8)
    best = optimize.least_squares(lambda w: _residuals(w)[0], start, xtol=1e-15).x
    np.testing.assert_allclose(found[-1], best, rtol=1e-6)


def test_what_they_refuse() -> None:
    w = gc.variable([1.0, 2.0], "w", dtype="float64")
    loss, narrow = gc.sum(w * w), gc.variable([1.0], "narrow")
    for kind in (gc.optim.Newton, gc.optim.LBFGS, gc.optim.ConjugateGradient):
        with pytest.raises(ArgumentError, match="not a loss"):
            kind().minimize(w * w, [w])
        with pytest.raises(ArgumentError, match="needs the loss"):
            kind().apply([w], [w])
        with pytest.raises(ShapeError, match="several dtypes"):
            kind().minimize(loss, [w, narrow])
        with pytest.raises(GradientError):
            kind().minimize(gc.sum(narrow.astype("float64")), [w])
    for bad in ({"history": 0}, {"history": -1}, {"learning_rate": -1.0}):
        with pytest.raises(ArgumentError, match="out of range"):
            gc.optim.LBFGS(**bad)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="> 1"):
        gc.optim.LevenbergMarquardt(factor=1.0)
    flat = gc.optim.Newton().minimize(gc.sum(w), [w])  # whose Hessian is zero
    with pytest.raises(LinAlgError):
        gc.compile([], [], updates=flat)()
    np.testing.assert_array_equal(w.value, [1, 2])


@pytest.mark.parametrize("optimizer", [gc.optim.GaussNewton(), gc.optim.LevenbergMarquardt()])
def test_a_loss_is_no_residuals(optimizer: Any) -> None:
    """J' J of one residual is singular; of one parameter it is not."""
    w, one = gc.variable([1.0, 2.0], "w", dtype="float64"), gc.variable(3.0, dtype="float64")
    with pytest.raises(ArgumentError, match="one residual") as caught:
        optimizer.minimize(gc.mean(gc.square(w)), [w])
    assert "predictions - targets" in str(caught.value)
    step = gc.compile([], [], updates=optimizer.minimize(one * one - 4.0, [one]))
    for _ in range(12):
        step()
    np.testing.assert_allclose(one.value, 2.0, rtol=1e-9)
