"""Optimisers against NumPy in float64, step by step, and the errors of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError, ShapeError
from graphc.ir.evaluate import evaluate_graph

Array = np.ndarray[Any, Any]
STEPS = 20
TARGET = np.array([[3.0, -2.0, 0.5], [1e-3, 40.0, -1.0]])
SCALE = np.array([[1.0, 0.1, 5.0], [2.0, 0.01, 1.0]])
START_W, START_B = np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0, 2.0])


def _gradients(w: Array, b: Array) -> tuple[Array, Array]:
    """Of sum(SCALE * (w + b - TARGET)^2) / 2."""
    g = SCALE * (w + b - TARGET)
    return g, g.sum(0)


def _loss(w: Any, b: Any) -> Any:
    return gc.sum(SCALE.astype(w.dtype.numpy) * gc.square(w + b - TARGET.astype(w.dtype.numpy))) / 2


# -- the oracles: each yields the change of one parameter, given its gradient ----------------------
Rule = Callable[[], Callable[[Array], Array]]


def _sgd(rate: float) -> Rule:
    return lambda: lambda g: -rate * g


def _momentum(rate: float, momentum: float, nesterov: bool) -> Rule:
    def start() -> Callable[[Array], Array]:
        v: Any = 0.0

        def change(g: Array) -> Array:
            nonlocal v
            v = momentum * v - rate * g
            result: Array = momentum * v - rate * g if nesterov else v
            return result

        return change

    return start


def _adam(rate: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Rule:
    """Algorithm 1 of Kingma and Ba, as it stands there."""

    def start() -> Callable[[Array], Array]:
        m: Any = 0.0
        v: Any = 0.0
        t = 0

        def change(g: Array) -> Array:
            nonlocal m, v, t
            t += 1
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
            result: Array = -rate * m_hat / (np.sqrt(v_hat) + eps)
            return result

        return change

    return start


def _adaptive(name: str) -> Rule:
    """The published formulas of `name`, a line for each of the paper's."""

    def start() -> Callable[[Array], Array]:
        a: Any = 0.0
        b: Any = 0.0
        c: Any = 0.0
        t, done = 0, 1.0

        def change(g: Array) -> Array:
            nonlocal a, b, c, t, done
            t += 1
            if name == "adagrad":
                a = (a if t > 1 else 0.1) + g * g
                return -0.5 * g / (np.sqrt(a) + 1e-10)
            if name == "adadelta":
                a = 0.95 * a + 0.05 * g * g
                step = np.sqrt(b + 1e-6) / np.sqrt(a + 1e-6) * g
                b = 0.95 * b + 0.05 * step**2
                return -2.0 * step
            if name.startswith("rmsprop"):
                a = 0.9 * a + 0.1 * g * g
                b = 0.9 * b + 0.1 * g
                centered = name == "rmsprop, centered"
                step = 0.01 * g / (np.sqrt(a - b**2 if centered else a) + 1e-7)
                c = 0.8 * c + step if centered else step
                return -c
            a, b = 0.9 * a + 0.1 * g, 0.999 * b + 0.001 * g * g
            if name == "amsgrad":
                c = np.maximum(c, b)
                return -0.1 * a / (1 - 0.9**t) / (np.sqrt(c / (1 - 0.999**t)) + 1e-8)
            assert name == "nadam"
            now, then = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * k)) for k in (t, t + 1))
            done *= now
            ahead = then / (1 - done * then) * a + (1 - now) / (1 - done) * g
            return -0.1 * ahead / (np.sqrt(b / (1 - 0.999**t)) + 1e-8)

        return change

    return start


CASES: dict[str, tuple[Callable[[], gc.optim.Optimizer], Rule]] = {
    "sgd": (lambda: gc.optim.SGD(0.05), _sgd(0.05)),
    "momentum": (lambda: gc.optim.Momentum(0.02), _momentum(0.02, 0.9, False)),
    "nesterov": (lambda: gc.optim.Nesterov(0.02, 0.8), _momentum(0.02, 0.8, True)),
    "adam": (lambda: gc.optim.Adam(0.1), _adam(0.1)),
    "adam, other betas": (
        lambda: gc.optim.Adam(0.1, 0.5, 0.9, 1e-3), _adam(0.1, 0.5, 0.9, 1e-3)
    ),
    "adagrad": (lambda: gc.optim.Adagrad(0.5, 0.1), _adaptive("adagrad")),
    "adadelta": (lambda: gc.optim.Adadelta(2.0), _adaptive("adadelta")),
    "rmsprop": (lambda: gc.optim.RMSProp(0.01), _adaptive("rmsprop")),
    "rmsprop, centered": (
        lambda: gc.optim.RMSProp(0.01, momentum=0.8, centered=True), _adaptive("rmsprop, centered")
    ),
    "amsgrad": (lambda: gc.optim.AMSGrad(0.1), _adaptive("amsgrad")),
    "nadam": (lambda: gc.optim.Nadam(0.1), _adaptive("nadam")),
    "adam, betas of 0": (lambda: gc.optim.Adam(0.1, 0.0, 0.0), _adam(0.1, 0.0, 0.0)),
}  # fmt: skip


def _trajectory(rule: Rule) -> Iterator[tuple[Array, Array]]:
    w, b = START_W.copy(), START_B.copy()
    change_w, change_b = rule(), rule()
    for _ in range(STEPS):
        gw, gb = _gradients(w, b)
        w, b = w + change_w(gw), b + change_b(gb)
        yield w, b


def _step(updates: dict[gc.Variable, gc.Tensor]) -> None:
    """What a compiled step does: every new value from the old ones, then all are written."""
    values = evaluate_graph(gc.Graph([], [], updates.items()), [])
    for variable, value in zip(updates, values, strict=True):
        variable.value = value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", sorted(CASES))
def test_twenty_steps(case: str, dtype: str) -> None:
    make, rule = CASES[case]
    w = gc.variable(START_W, "w", dtype=dtype)
    b = gc.variable(START_B, "b", dtype=dtype)
    updates = make().minimize(_loss(w, b), [w, b])
    assert all(value.type == variable.type for variable, value in updates.items())
    tolerance = 3e-5 if dtype == "float32" else 1e-12
    for expected_w, expected_b in _trajectory(rule):
        _step(updates)
        np.testing.assert_allclose(w.value, expected_w, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(b.value, expected_b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", ["adam", "nesterov"])
def test_twenty_compiled_steps(case: str) -> None:
    make, rule = CASES[case]
    w, b = (gc.variable(v, n, dtype="float32") for v, n in ((START_W, "w"), (START_B, "b")))
    loss = _loss(w, b)
    step = gc.compile([], loss, updates=make().minimize(loss, [w, b]))
    before = START_W, START_B
    for after in _trajectory(rule):
        expected = np.sum(SCALE * (before[0] + before[1] - TARGET) ** 2) / 2
        assert step() == pytest.approx(expected, rel=1e-5)
        before = after
        np.testing.assert_allclose(w.value, after[0], rtol=3e-6, atol=3e-6)
        np.testing.assert_allclose(b.value, after[1], rtol=3e-6, atol=3e-6)


def test_adam_corrections_are_exact_in_float32() -> None:
    """1 - 0.999 in float32 has an error of 1e-5; the first steps must not."""
    w = gc.variable(np.zeros(3, np.float32), "w")
    updates = gc.optim.Adam(1.0, epsilon=0.0).apply([np.array([1.0, -2.0, 1e-3])], [w])
    _step(updates)
    np.testing.assert_allclose(w.value, [-1, 1, -1], rtol=3e-7)


def test_adam_shares_its_scalars() -> None:
    """Two more parameters add no further count, correction or rate: one expm1 for each beta."""
    parameters = [gc.variable(np.ones(3, np.float32), f"w{i}") for i in range(4)]
    loss = gc.sum(sum(gc.square(p) for p in parameters))
    graph = gc.Graph([], [], gc.optim.Adam().minimize(loss, parameters).items())
    names = [node.op.name for node in graph.nodes]
    assert names.count("expm1") == 2
    per_element = [n.op.name for n in graph.nodes if n.types[0].shape == (3,)]
    assert per_element.count("divide") == per_element.count("sqrt") == 4


def test_state() -> None:
    w = gc.variable(np.ones((2, 3)), "w", dtype="float64")
    optimizer = gc.optim.Adam()
    updates = optimizer.minimize(gc.sum(w * w), [w])
    assert set(updates) == {w, *optimizer.state}
    names = ["adam/iterations", "adam/w/first_moment", "adam/w/second_moment"]
    assert [v.name for v in optimizer.state] == names
    assert not any(v.trainable for v in optimizer.state)
    _step(updates)
    assert optimizer.iterations.value == 1
    # A second function shares the state of the first.
    again = optimizer.minimize(gc.sum(w * w * w), [w])
    assert list(again) == list(updates)


@pytest.mark.parametrize(
    "make",
    [
        *(CASES[name][0] for name in ("adam", "nadam", "adagrad", "momentum")),
        lambda: gc.optim.accumulate(gc.optim.Adam(0.1), 2),
        lambda: gc.optim.SGD(gc.optim.schedules.step(0.1, 2, 0.5)),
        lambda: gc.optim.LBFGS(history=3),
    ],
)
def test_reset_begins_anew(make: Any) -> None:
    """From the same weights a run after `reset` gives the same bits as the first."""
    w, b = gc.variable(START_W, "w", dtype="float64"), gc.variable(START_B, "b", dtype="float64")
    optimizer = make()
    updates = optimizer.minimize(_loss(w, b), [w, b])
    first = [v.value for v in optimizer.state]
    runs = []
    for _ in range(2):
        w.value, b.value = START_W, START_B
        for _ in range(3):
            _step(updates)
        runs.append([v.value for v in (w, b, *optimizer.state)])
        optimizer.reset()
        for own, value in zip(optimizer.state, first, strict=True):
            np.testing.assert_array_equal(own.value, value)
    for a, again in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, again)


def test_reset_of_a_damping() -> None:
    w = gc.variable([3.0, 1.0], "w", dtype="float64")
    optimizer = gc.optim.LevenbergMarquardt(damping=0.5)
    _step(optimizer.minimize(w * w - 2.0, [w]))
    assert float(optimizer.state[-1].value) != 0.5
    optimizer.reset()
    assert [float(v.value) for v in optimizer.state] == [0, 0.5]


def test_nodes_belong_to_the_optimizer() -> None:
    w = gc.variable(np.ones(3), "w")
    updates = gc.optim.SGD(0.1).minimize(gc.sum(w * w), [w])
    assert updates[w].node.origins[0].scope == "sgd"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_learning_rate_that_changes(dtype: str) -> None:
    rate = gc.variable(0.5, "rate", trainable=False)
    w = gc.variable(np.ones(2), "w", dtype=dtype)
    updates = gc.optim.SGD(rate).apply([np.ones(2)], [w])
    _step(updates)
    np.testing.assert_array_equal(w.value, [0.5, 0.5])
    rate.value = 0.25
    _step(updates)
    np.testing.assert_array_equal(w.value, [0.25, 0.25])


def test_a_schedule() -> None:
    """A learning rate computed from a count that the same step advances."""
    count = gc.variable(0, "count", trainable=False)
    w = gc.variable(np.zeros(1, np.float32), "w")
    rate = 1 / (1 + count.astype("float32"))
    updates = gc.optim.SGD(rate).apply([np.ones(1)], [w]) | {count: count + 1}
    for _ in range(3):
        _step(updates)
    np.testing.assert_allclose(w.value, [-(1 + 1 / 2 + 1 / 3)], rtol=1e-6)


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf"), "fast", None, True])
def test_bad_rates(rate: Any) -> None:
    with pytest.raises(ArgumentError, match="a finite number >= 0"):
        gc.optim.SGD(rate)


def test_bad_rate_tensors() -> None:
    for tensor in (gc.placeholder("r", (2,)), gc.placeholder("r", (), "int64")):
        with pytest.raises(ArgumentError, match="a scalar float tensor"):
            gc.optim.Adam(tensor)


def test_bad_coefficients() -> None:
    for make in (
        lambda: gc.optim.Momentum(0.1, momentum=1.0),
        lambda: gc.optim.Adam(beta_1=1.0),
        lambda: gc.optim.Adam(beta_2=-0.1),
    ):
        with pytest.raises(ArgumentError, match=r"in \[0, 1\)"):
            make()
    with pytest.raises(ArgumentError, match="epsilon is out of range"):
        gc.optim.Adam(epsilon=-1e-8)


def test_bad_variables() -> None:
    w, other = gc.variable(np.ones(2), "w"), gc.variable(np.ones(2), "other")
    loss, optimizer = gc.sum(w * w), gc.optim.SGD()
    with pytest.raises(ArgumentError, match="no variables to minimize over"):
        optimizer.minimize(loss, [])
    with pytest.raises(ArgumentError, match="given twice"):
        optimizer.minimize(loss, [w, w])
    other.trainable = False
    with pytest.raises(ArgumentError, match="not trainable") as caught:
        optimizer.minimize(loss, [w, other])
    assert "v.trainable = True" in caught.value.hint
    other.trainable = True
    for bad in (w * 2, gc.variable(1, "i"), 3.0):
        with pytest.raises(ArgumentError, match="not a float variable"):
            optimizer.minimize(loss, [bad])
    with pytest.raises(GradientError, match="'other'"):
        optimizer.minimize(loss, [w, other])
    with pytest.raises(GradientError, match="not a scalar"):
        optimizer.minimize(w * w, [w])


def test_several_models_are_trained_with_all_of_their_state() -> None:
    """A list of layers and variables is what one model of them would be."""

    def parts() -> tuple[gc.nn.Layer, gc.nn.Layer, gc.Variable]:
        body = gc.nn.Sequential([gc.nn.Dense(3, seed=1), gc.nn.BatchNorm(), gc.nn.Dropout(0.5)])
        return body, gc.nn.Dense(2, seed=2), gc.variable(np.ones(2, "float32"), "scale")

    x = gc.placeholder("several_x", (4, 3))
    body, head, scale = parts()
    loss = gc.sum(head(body(x, training=True)) * scale)
    updates = gc.optim.Adam(0.1).minimize(loss, [body, head, scale])
    state = {v for v in body.variables() if not v.trainable}
    assert len(state) == 3
    trained = {*body.parameters(), *head.parameters(), scale}
    assert {v for v in updates if not v.name.startswith("adam/")} == trained | state
    shared = gc.nn.Sequential([head])
    assert set(gc.optim.SGD().minimize(loss, [head, shared])) == set(head.parameters())
    whole = gc.nn.Sequential([body, head])
    assert set(gc.optim.LBFGS().minimize(loss, [body, head])) >= {*whole.parameters(), *state}
    with pytest.raises(ArgumentError, match="given twice"):
        gc.optim.SGD().minimize(loss, [head, head.kernel])
    average = gc.optim.EMA(whole)
    assert list(average.averages) == whole.parameters()


def test_bad_gradients() -> None:
    w = gc.variable(np.ones(2), "w")
    with pytest.raises(ArgumentError, match="expected: 1 gradients"):
        gc.optim.SGD().apply([], [w])
    with pytest.raises(ShapeError, match="the gradient does not fit 'w'"):
        gc.optim.SGD().apply([np.ones(3)], [w])


def test_a_wider_gradient_does_not_widen() -> None:
    w = gc.variable(np.ones(2, np.float32), "w")
    g = gc.placeholder("g", (2,), "float64")
    updates = gc.optim.Adam().apply([g], [w])
    assert all(value.type == variable.type for variable, value in updates.items())


def test_one_variable_without_a_list() -> None:
    w = gc.variable(np.ones(2), "w")
    assert set(gc.optim.SGD().minimize(gc.sum(w * w), w)) == {w}
