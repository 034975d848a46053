"""root: closed forms and SciPy's; its derivatives, to third order; what does not end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import graphc as gc
from graphc.errors import (
    ArgumentError,
    ConvergenceError,
    DTypeError,
    GradientError,
    RuntimeFailure,
    ShapeError,
)
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Loop
from tests.ops.gradients import assert_gradient

METHODS = ("newton", "broyden")


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


@pytest.mark.parametrize("method", METHODS)
def test_a_scalar_root_and_three_derivatives(method: str) -> None:
    a = f64("a")
    x = gc.root(lambda x: x**3 - a, 1.0, method=method)
    found = [x]
    for _ in range(3):
        found.append(gc.grad(found[-1], a))
    compiled = gc.compile([a], found)
    for value in (0.4, 8.0):
        powers = (1 / 3, -2 / 3, -5 / 3, -8 / 3)
        factors = (1, 1 / 3, -2 / 9, 10 / 27)
        want = [f * value**p for f, p in zip(factors, powers, strict=True)]
        np.testing.assert_allclose(gc.evaluate(found, {a: value}), want, rtol=1e-9)
        np.testing.assert_allclose(compiled(value), want, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_system_of_any_size_against_scipy_and_differences(method: str) -> None:
    m, b = f64("m", ("n", "n")), f64("b", ("n",))
    x = gc.root(lambda x: m @ x + gc.sin(x) - b, gc.zeros_like(b), method=method)
    loss = gc.sum(x**2) * gc.sum(b)
    f = gc.compile([m, b], [x, loss, *gc.grad(loss, [m, b])])
    rng = np.random.default_rng(7)
    for n in (1, 2, 4, 0):
        matrix, right = rng.normal(size=(n, n)) + 4 * np.eye(n), rng.normal(size=n)
        value, _, gm, gb = f(matrix, right)
        want = scipy.optimize.root(
            lambda x, a=matrix, c=right: a @ x + np.sin(x) - c, np.zeros(n), tol=1e-12
        ).x
        np.testing.assert_allclose(value, want, rtol=1e-9, atol=1e-12)
        dm, db = rng.normal(size=(n, n)), rng.normal(size=n)
        step = 1e-6
        ends = [f(matrix + s * dm, right + s * db)[1] for s in (step, -step)]
        along = (gm * dm).sum() + (gb * db).sum()
        np.testing.assert_allclose(along, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_structure_of_several_tensors(method: str) -> None:
    """x + y = s and x y = p, with x a vector; y a scalar in a dict."""
    s, p = f64("s", (2,)), f64("p")

    def f(z: Any) -> Any:
        return {"x": z["x"] * 2 + gc.tanh(z["in"][0]) - s, "in": [z["in"][0] ** 3 + p - z["x"][0]]}

    found = gc.root(f, {"x": np.zeros(2), "in": [1.0]}, method=method)
    feeds = {s: np.array([1.0, -2.0]), p: 0.2}
    x, y = gc.evaluate([found["x"], found["in"][0]], feeds)
    np.testing.assert_allclose(x * 2 + np.tanh(y), [1.0, -2.0], atol=1e-9)
    np.testing.assert_allclose(y**3 + 0.2, x[0], atol=1e-9)
    assert_gradient(gc.sum(found["x"] ** 2) + found["in"][0], feeds, 1e-5)


def test_it_takes_the_dtype_of_the_function_and_its_tolerance() -> None:
    a = gc.placeholder("a")
    x = gc.root(lambda x: x * x - a, 1)
    assert x.dtype is gc.float32
    assert gc.compile([a], x)(2.0) == pytest.approx(2**0.5, rel=2e-7)
    rough = gc.root(lambda x: x * x - a, 1, tol=0.5, maxiter=3)
    assert 1e-4 < abs(gc.evaluate(rough, {a: 2.0}) - 2**0.5) < 0.1


def test_jacobians_in_both_modes_and_the_hessian_of_a_vector_root() -> None:
    """x0 p0 = x1 and x1^3 = p1: closed forms of the root and of its derivatives."""
    p = f64("p", (2,))

    def f(p: Any) -> Any:
        return gc.root(lambda x: gc.stack([x[0] * p[0] - x[1], x[1] ** 3 - p[1]]), np.ones(2))

    total = lambda p: gc.sum(f(p) ** 2)  # noqa: E731
    found = gc.evaluate(
        [gc.jacrev(f)(p), gc.jacfwd(f)(p), gc.hessian(total)(p)], {p: np.array([1.5, 2.0])}
    )
    a, b = 1.5, 2.0
    x = b ** (1 / 3)
    jacobian = [[-x / a**2, x**-2 / 3 / a], [0, x**-2 / 3]]
    # The total is b^(2/3) (1 + a^-2).
    mixed = 2 / 3 * b ** (-1 / 3) * -2 * a**-3
    hessian = [[6 * a**-4 * x**2, mixed], [mixed, -2 / 9 * b ** (-4 / 3) * (1 + a**-2)]]
    for got, want in zip(found, (jacobian, jacobian, hessian), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-14)


def test_inside_of_other_things() -> None:
    """Implicit Euler's rule is a root in each step of a scan; vmap, jit and cond take one too."""
    rate, v = f64("rate"), f64("v", ("k",))

    def step(y: Any, _: Any) -> Any:
        after = gc.root(lambda z: z - y - 0.1 * (-rate * z**3), y)
        return after, after

    last, _ = gc.scan(step, gc.constant(1.0, "float64"), length=5)
    y = 1.0
    for _ in range(5):
        y = scipy.optimize.brentq(lambda z, y=y: z - y + 0.1 * 2.0 * z**3, 0, 2, xtol=1e-14)
    np.testing.assert_allclose(gc.evaluate(last, {rate: 2.0}), y, rtol=1e-10)
    assert_gradient(last, {rate: 2.0})
    many = gc.vmap(lambda t: gc.root(lambda x: x * x - t, 1.0))(v)
    assert_gradient(gc.sum(many**3), {v: np.array([1.0, 4.0, 9.0])})
    np.testing.assert_allclose(gc.evaluate(many, {v: [1.0, 4.0, 9.0]}), [1, 2, 3], rtol=1e-12)
    inner = gc.vmap(lambda t: gc.grad(gc.root(lambda x: x * x - t, 1.0), t))(v)
    np.testing.assert_allclose(gc.evaluate(inner, {v: [1.0, 4.0]}), [0.5, 0.25], rtol=1e-12)
    half = gc.jit(lambda t: gc.cond(t > 0, lambda: gc.root(lambda x: x - t / 2, t), lambda: t))
    assert [half(np.float64(t)) for t in (3.0, -1.0)] == [1.5, -1.0]


def test_derivatives_are_those_of_stable_forms() -> None:
    """The textbook softplus overflows at 800, and so would its derivative."""
    a = f64("a")
    x = gc.root(lambda x: gc.log(1 + gc.exp(x)) - a, a + 1)
    f = gc.compile([a], [x, gc.grad(x, a)])
    np.testing.assert_allclose(f(800.0), [800.0, 1.0], rtol=1e-12)
    np.testing.assert_allclose(gc.evaluate(f.graph.outputs[1], {a: 2.0}), 1 / (1 - np.exp(-2.0)))


@pytest.mark.parametrize("method", METHODS)
def test_a_step_for_a_scalar_is_one_kernel(method: str) -> None:
    a = f64("a")
    x = gc.root(lambda x: x - 0.5 * gc.sin(x) - a, a, method=method)
    program = run_pipeline(gc.Graph([a], [x]), Stages()).program
    (loop,) = [s for s in program.steps if isinstance(s, Loop)]
    assert [type(s).__name__ for s in loop.body] == ["Leave", "Call"]


def test_text_and_latex() -> None:
    a = f64("a")
    x = gc.root(lambda x: gc.exp(x) - a, 0.0)
    graph = gc.Graph([a], [x, gc.grad(x, a)])
    assert gc.parse_graph(gc.print_graph(graph)) is graph
    text = gc.latex(x)
    assert r"T &= \min \left\{ t \geq 0" in text
    assert text.splitlines()[-2] == "y &= h_{T}"  # and not whether it has converged


def test_one_that_is_not_found_is_a_named_error_and_changes_no_variable() -> None:
    a, w = f64("a"), gc.variable(np.array(1.0), "w_root")
    x = gc.root(lambda x: x * x - a, w, maxiter=20)
    f = gc.compile([a], x, {w: x})
    f(4.0)
    assert w.value == pytest.approx(2.0, rel=1e-12)
    before = w.value
    for run in (f, lambda v: gc.evaluate(x, {a: v})):
        with pytest.raises(ConvergenceError, match="20 iterations") as caught:
            run(-1.0)
        assert isinstance(caught.value, RuntimeFailure)
        assert "test_root.py" in caught.value.where
        assert w.value == before
    with pytest.raises(ConvergenceError):
        f(np.nan)
    f(9.0)
    assert w.value == pytest.approx(3.0, rel=1e-12)


def test_there_is_no_derivative_by_where_it_started() -> None:
    a, start = f64("a"), f64("start")
    x = gc.root(lambda x: x * x - a, start)
    with pytest.raises(GradientError):
        gc.grad(x, start)
    assert gc.evaluate(gc.grad(x * start, start), {a: 4.0, start: 3.0}) == pytest.approx(2.0)


X = f64("X", (3,))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gc.root(X, X), ArgumentError, "is a function"),
        (lambda: gc.root(lambda x: x[0], X), ShapeError, "another type for x0"),
        (lambda: gc.root(lambda x: (x, x), X), ArgumentError, "another structure"),
        (lambda: gc.root(lambda x: x.astype("float32"), X), DTypeError, "another type for x0"),
        (lambda: gc.root(lambda x: x - 1, X.astype("int64")), DTypeError, "of floats"),
        (lambda: gc.root(lambda x: x, X, method="secant"), ArgumentError, "no method"),
        (lambda: gc.root(lambda x: x, X, maxiter=0), ArgumentError, "number of steps"),
        (lambda: gc.root(lambda x: x, X, maxiter=2.0), ArgumentError, "number of steps"),
        (lambda: gc.root(lambda x: x, X, tol=-1e-3), ArgumentError, "tolerance"),
        (lambda: gc.root(lambda x: x, X, tol=True), ArgumentError, "tolerance"),
        (lambda: gc.root(lambda x: x, X, tol="small"), ArgumentError, "tolerance"),
    ],
)
def test_errors_name_both_sides(build: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build()
    assert caught.value.op == "root"
    assert caught.value.expected
    assert "test_root.py" in caught.value.where
