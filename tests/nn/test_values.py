"""Layers with other values of their variables, and what they add to a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(8)


def _net(seed: int = 0, name: str = "net") -> gc.nn.Sequential:
    layers = [gc.nn.Dense(4, "tanh", seed=seed), gc.nn.Dense(1, seed=seed + 1)]
    return gc.nn.Sequential(layers, name=name).init((None, 2), "float64")


def _numpy(p: dict[str, Any], x: Any) -> Any:
    h = np.tanh(x @ p["net/dense1/kernel"] + p["net/dense1/bias"])
    return h @ p["net/dense2/kernel"] + p["net/dense2/bias"]


# -- other values ----------------------------------------------------------------------------------
def test_a_call_with_other_values() -> None:
    net, x = _net(), gc.placeholder("values_x", (3, 2), "float64")
    points, other = RNG.normal(size=(3, 2)), _net(5).state_dict()
    for values in (other, {v: other[path] for path, v in net.paths().items()}):
        result = gc.evaluate(gc.nn.functional_call(net, values, x), {x: points})
        np.testing.assert_allclose(result, _numpy(other, points), rtol=1e-14)
    elsewhere = {path.replace("net/", "a/b/"): a for path, a in other.items()}
    same = gc.nn.functional_call(net, elsewhere, x)
    np.testing.assert_array_equal(gc.evaluate(same, {x: points}), result)
    some = {"net/dense2/bias": other["net/dense2/bias"] + 1}
    result = gc.evaluate(gc.nn.functional_call(net, some, x), {x: points})
    np.testing.assert_allclose(result, _numpy(net.state_dict() | some, points), rtol=1e-14)
    kernel = net.stack[0].kernel  # an input may be made of a variable that has another value
    result = gc.evaluate(gc.nn.functional_call(net, other, kernel.T))
    np.testing.assert_allclose(result, _numpy(other, kernel.value.T), rtol=1e-14)


def test_a_gradient_through_an_update() -> None:
    """Of the loss behind two steps by its gradient (MAML), beside finite differences."""
    net = _net()
    xs, ys, xq, yq = (RNG.normal(size=(5, k)) for k in (2, 1, 2, 1))

    def loss(values: Any, x: Any, y: Any) -> Any:
        return gc.mean(gc.square(gc.nn.functional_call(net, values, x) - y))

    values: dict[str, Any] = dict(net.paths())
    for _ in range(2):
        slopes = gc.grad(loss)(values, xs, ys)
        values = {path: v - 0.3 * slopes[path] for path, v in values.items()}
    after = loss(values, xq, yq)
    kernel = net.stack[0].kernel
    exact, _ = gc.evaluate([gc.grad(after, kernel), after])
    before, numeric = kernel.value, np.zeros((2, 4))
    for place in np.ndindex(2, 4):
        ends = []
        for sign in (1, -1):
            moved = np.array(before)
            moved[place] += sign * 1e-5
            kernel.value = moved
            ends.append(float(gc.evaluate(after)))
        numeric[place] = (ends[0] - ends[1]) / 2e-5
    kernel.value = before
    np.testing.assert_allclose(exact, numeric, rtol=1e-7, atol=1e-9)


def test_an_ensemble_is_what_its_members_are() -> None:
    states = [_net(seed).state_dict() for seed in (1, 3, 5)]
    stacked = {path: np.stack([s[path] for s in states]) for path in states[0]}
    net, x = _net(), gc.placeholder("members_x", ("n", 2), "float64")
    points = RNG.normal(size=(4, 2))
    call = gc.vmap(lambda p, x: gc.nn.functional_call(net, p, x), in_axes=(0, None))
    result = gc.evaluate(call(stacked, x), {x: points})
    np.testing.assert_allclose(result, [_numpy(s, points) for s in states], rtol=1e-13)


def test_loops_and_branches_inside_have_the_values_too() -> None:
    lstm = gc.nn.LSTM(3, seed=0).init((None, 5, 2), "float64")
    other = gc.nn.LSTM(3, seed=9).init((None, 5, 2), "float64")
    x, points = gc.placeholder("loop_x", (2, 5, 2), "float64"), RNG.normal(size=(2, 5, 2))
    swapped = gc.nn.functional_call(lstm, other.state_dict(), x)
    results = gc.evaluate([swapped, other(x)], {x: points})
    np.testing.assert_array_equal(*results)


def test_what_training_notes_is_for_the_layers_own_state() -> None:
    norm = gc.nn.BatchNorm(momentum=0.5).init((None, 2), "float64")
    model = gc.nn.Sequential([gc.nn.Dense(2, seed=0), norm, gc.nn.Dropout(0.5)], name="m")
    x = gc.placeholder("noted_x", (3, 2), "float64")
    points, kernel = RNG.normal(size=(3, 2)), RNG.normal(size=(2, 2))
    model.init((None, 2), "float64")
    result = gc.nn.functional_call(model, {"m/dense1/kernel": kernel}, x, training=True)
    updates = model.updates(result)
    assert set(updates) == {v for v in model.variables() if not v.trainable}
    new = gc.evaluate(updates[norm.moving_mean], {x: points})
    np.testing.assert_allclose(new, 0.5 * (points @ kernel).mean(0), rtol=1e-13)


def test_values_that_do_not_fit() -> None:
    net, x = _net(), gc.placeholder("values_x", (3, 2), "float64")
    with pytest.raises(ArgumentError, match="a value of no variable of it") as caught:
        gc.nn.functional_call(net, {"net/dense3/kernel": np.ones((2, 4))}, x)
    assert "net/dense1/kernel" in str(caught.value)
    with pytest.raises(ArgumentError, match="a value of no variable of it"):
        gc.nn.functional_call(net, {gc.variable(1.0, "stranger"): 2.0}, x)
    with pytest.raises(ShapeError, match="the value of 'net/dense1/kernel' has another shape"):
        gc.nn.functional_call(net, {"net/dense1/kernel": np.ones((4, 2))}, x)
    with pytest.raises(ArgumentError, match="no variables before its first call"):
        gc.nn.functional_call(gc.nn.Dense(2), {}, x)


# -- what layers add to the loss -------------------------------------------------------------------
class Sparse(gc.nn.Layer):
    """x, with a penalty of its absolute values."""

    def forward(self, x: gc.Tensor) -> gc.Tensor:
        self.add_loss(0.5 * gc.mean(gc.abs(x)))
        return x * 1.0


def test_an_added_loss_is_minimised_once() -> None:
    body, sparse, head = gc.nn.Dense(3, seed=1), Sparse(), gc.nn.Dense(1, seed=2)
    model = gc.nn.Sequential([body, sparse, head]).init((None, 2), "float64")
    x = gc.placeholder("sparse_x", (4, 2), "float64")
    loss = gc.mean(gc.square(model(x, training=True)))
    hidden = x @ body.kernel + body.bias
    whole = loss + 0.5 * gc.mean(gc.abs(hidden))
    (added,) = model.losses(loss)
    points, optimizer = RNG.normal(size=(4, 2)), gc.optim.SGD(0.1)
    expected = gc.evaluate(body.kernel - 0.1 * gc.grad(whole, body.kernel), {x: points})
    for given, what in ((loss, model), (loss, [model]), (loss + added, model)):
        new = optimizer.minimize(given, what)[body.kernel]
        np.testing.assert_allclose(gc.evaluate(new, {x: points}), expected, rtol=1e-13)
    assert model.losses(gc.mean(head(x @ np.ones((2, 3))))) == []  # by other calls
    quick = gc.evaluate(optimizer.minimize(loss, model.parameters())[body.kernel], {x: points})
    assert not np.allclose(quick, expected)


def test_a_trainer_adds_it_and_shows_it() -> None:
    model = gc.nn.Sequential([gc.nn.Dense(2, kernel_initializer="ones"), Sparse()])
    trainer = gc.train.Trainer(model, loss="mse", optimizer=gc.optim.SGD(0.0))
    x = np.full((4, 3), 2.0, "float32")
    history = trainer.fit(x, np.full((4, 2), 5.0), epochs=1, verbose=False)
    assert history["loss"] == [1.0 + 0.5 * 6]
    assert trainer.evaluate(x, np.full((4, 2), 5.0))["loss"] == 4.0


def test_a_functional_model_has_a_layer_that_only_adds_to_the_loss() -> None:
    class Small(gc.nn.Layer):
        def forward(self, x: gc.Tensor) -> gc.Tensor:
            self.add_loss(gc.mean(gc.square(x)))
            return x

    x = gc.nn.Input(("n", 3), "float64")
    for small in (Small(), gc.nn.Sequential([Small()])):
        model = gc.nn.Model(x, gc.nn.Dense(1)(small(gc.nn.Dense(2)(x))))
        given = gc.placeholder("adds_x", ("n", 3), "float64")
        (added,) = model.losses(gc.sum(model(given, training=True)))
        dense, points = model.parameters(), RNG.normal(size=(4, 3))
        hidden = points @ dense[0].value + dense[1].value
        np.testing.assert_allclose(gc.evaluate(added, {given: points}), np.mean(hidden**2))


def test_an_added_loss_in_a_checkpoint_and_in_a_loop() -> None:
    sparse, x = Sparse(), gc.placeholder("kept_x", (3,), "float64")
    kept = gc.checkpoint(lambda x: sparse(x, training=True))(x)
    (added,) = sparse.losses(gc.sum(kept))
    assert float(gc.evaluate(added, {x: np.array([1.0, -2.0, 3.0])})) == 1.0
    looped, last = Sparse(), gc.placeholder("looped_x", (3,), "float64")
    carry, _ = gc.scan(lambda c, _: (looped(c), None), last, length=2)
    assert looped.losses(gc.sum(carry)) == []  # nothing is trained
    carry, _ = gc.scan(lambda c, _: (looped(c, training=True), None), last, length=2)
    with pytest.raises(ArgumentError, match="inside of a loop only") as caught:
        looped.losses(gc.sum(carry))
    assert "second result" in caught.value.hint


def test_what_can_not_be_added() -> None:
    class Wrong(gc.nn.Layer):
        def forward(self, x: gc.Tensor, value: gc.Tensor) -> gc.Tensor:
            self.add_loss(value)
            return x

    x = gc.placeholder("kept_x", (3,), "float64")
    for bad in (x, gc.constant(1)):
        with pytest.raises(ArgumentError, match="a float scalar"):
            Wrong()(x, bad)
