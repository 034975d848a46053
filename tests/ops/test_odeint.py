"""odeint: NumPy's loop of the same rule, SciPy's solver, gradients by differences, kernels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.integrate

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, Loop
from tests.ops.gradients import assert_gradient

Array = np.ndarray[Any, Any]


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


def by_numpy(f: Callable[[Array, float], Array], y: Array, t: Array, method: str) -> Array:
    rows = [y]
    for a, b in pairwise(t):
        h = b - a
        if method == "euler":
            y = y + h * f(y, a)
        elif method == "midpoint":
            y = y + h * f(y + h / 2 * f(y, a), a + h / 2)
        else:
            k1 = f(y, a)
            k2 = f(y + h / 2 * k1, a + h / 2)
            k3 = f(y + h / 2 * k2, a + h / 2)
            k4 = f(y + h * k3, b)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        rows.append(y)
    return np.stack(rows)


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
def test_each_rule_equals_numpys_loop_and_has_the_gradient_of_its_steps(method: str) -> None:
    y0, t, w = f64("y0", (2,)), f64("t", ("n",)), f64("w")
    y = gc.odeint(lambda y, t: gc.stack([y[1], -w * gc.sin(y[0]) + t]), y0, t, method)
    slope = lambda y, t: np.array([y[1], -2.0 * np.sin(y[0]) + t])  # noqa: E731
    start = np.array([0.5, -0.2])
    for times in (np.array([0.3]), np.array([0.0, 0.1, 0.25, 0.2]), np.linspace(1, 0, 7)):
        want = by_numpy(slope, start, times, method)
        for found in (
            gc.evaluate(y, {y0: start, t: times, w: 2.0}),
            gc.compile([y0, t, w], y)(start, times, 2.0),
        ):
            np.testing.assert_allclose(found, want, rtol=1e-13, atol=1e-15)
        assert_gradient(gc.sum(y**2), {y0: start, t: times, w: 2.0}, 1e-5)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_the_error_falls_with_the_order_of_the_rule(method: str, order: int) -> None:
    """Against SciPy's solver with a small tolerance."""
    exact = scipy.integrate.solve_ivp(
        lambda t, y: [y[1], -np.sin(y[0])], (0, 2), [1.0, 0.0], rtol=1e-12, atol=1e-12
    ).y[0, -1]
    errors = []
    for count in (80, 160):
        angle, _ = gc.odeint(
            lambda y, t: (y[1], -gc.sin(y[0])), (1.0, 0.0), np.linspace(0, 2, count + 1), method
        )
        assert angle.dtype is gc.float64
        errors.append(abs(gc.evaluate(angle)[-1] - exact))
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.15)


def test_steps_between_the_times_and_checkpoints_change_no_number() -> None:
    y0, a = f64("y0", (3,)), f64("a")
    coarse, fine = np.linspace(0, 1, 4), np.linspace(0, 1, 13)
    f = lambda y, t: {"y": -a * y["y"] + gc.cos(t)}  # noqa: E731
    every = gc.odeint(f, {"y": y0}, fine)["y"]
    few = gc.odeint(f, {"y": y0}, coarse, steps=4)["y"]
    again = gc.odeint(f, {"y": y0}, coarse, steps=4, checkpoint=True)["y"]
    values = [every[::4], few, again]
    found = [v for y in values for v in (y, *gc.grad(gc.sum(y**3), [y0, a]))]
    run = gc.compile([y0, a], found)(np.array([1.0, 2.0, -1.0]), 0.7)
    for i in range(3):
        np.testing.assert_allclose(run[i + 3], run[i + 6], rtol=1e-12)
    np.testing.assert_allclose(run[0], run[3], rtol=1e-12)
    assert_gradient(gc.sum(again**3), {y0: np.array([1.0, 2.0, -1.0]), a: 0.7})


def test_times_take_the_dtype_of_y_and_numbers_that_of_the_times() -> None:
    y0, t = gc.placeholder("y0"), gc.placeholder("t", ("n",))
    assert gc.odeint(lambda y, t: y * t, y0, np.linspace(0, 1, 3)).dtype is gc.float32
    assert gc.odeint(lambda y, t: y * t, 1, np.linspace(0, 1, 3)).dtype is gc.float64
    assert gc.odeint(lambda y, t: y * t, 1.0, t).dtype is gc.float32


def kernels(results: Any) -> list[int]:
    """How many kernels each loop calls in a turn."""
    inputs = [gc.placeholder("angle"), gc.placeholder("speed"), gc.placeholder("times", ("n",))]
    program = run_pipeline(gc.Graph(inputs, results(*inputs)), Stages()).program
    loops = [s for s in program.steps if isinstance(s, Loop)]
    return [sum(isinstance(s, Call) for s in loop.body) for loop in loops]


def pendulum(angle: Any, speed: Any, times: Any) -> Any:
    return gc.odeint(lambda y, t: (y[1], -9.81 * gc.sin(y[0])), (angle, speed), times)


def test_a_step_of_a_pendulum_is_one_kernel() -> None:
    assert kernels(lambda *x: pendulum(*x)) == [1]


def test_a_step_of_its_gradient_is_one_kernel_behind_two() -> None:
    """Forwards one of them keeps the cosine that is a value of its own."""
    assert kernels(lambda *x: [gc.grad(gc.sum(pendulum(*x)[0]), x[0])]) == [2, 1]


X = f64("X", (3,))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gc.odeint(X, X, [0.0, 1.0]), ArgumentError, "slope is a function"),
        (lambda: gc.odeint(lambda y, t: y, X, 1.0), ShapeError, "are a vector"),
        (lambda: gc.odeint(lambda y, t: y, X, [0.0, 1.0], "rk5"), ArgumentError, "no method"),
        (lambda: gc.odeint(lambda y, t: y, X, [0.0, 1.0], steps=0), ArgumentError, "steps"),
        (lambda: gc.odeint(lambda y, t: (y, y), X, [0.0, 1.0]), ArgumentError, "structure"),
        (lambda: gc.odeint(lambda y, t: y, 1, [0, 1]), DTypeError, "floats"),
    ],
)
def test_errors_name_both_sides(build: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build()
    assert caught.value.op == "odeint"
    assert caught.value.expected
    assert "test_odeint.py" in caught.value.where
