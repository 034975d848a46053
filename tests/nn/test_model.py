"""Functional models: graphs of layers that are called again, in training too; subclasses."""

from __future__ import annotations

import copy
import gc as collector
import weakref
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(6)


def _branched() -> tuple[Any, gc.nn.Model]:
    x = gc.nn.Input(("n", 4))
    h = gc.nn.Dense(5, "relu", seed=0)(x)
    h = gc.nn.Dropout(0.5, seed=1)(h)
    left, right = gc.nn.Dense(3, seed=2)(h), gc.nn.BatchNorm()(gc.nn.Dense(3, seed=3)(h * 2))
    return x, gc.nn.Model(x, {"sum": gc.nn.Add()([left, right]), "left": left}, name="net")


def test_layers_are_called_again() -> None:
    _, model = _branched()
    z = gc.placeholder("z", ("n", 4))
    value = RNG.normal(size=(6, 4)).astype("float32")
    given = gc.evaluate(model(z), {z: value})
    w = {path.removeprefix("net/"): v.value for path, v in model.paths().items()}
    h = np.maximum(value @ w["dense1/kernel"], 0)
    left, right = h @ w["dense2/kernel"], 2 * h @ w["dense3/kernel"] / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(given["left"], left, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(given["sum"], left + right, rtol=1e-5, atol=1e-6)


def test_training_goes_through_the_layers() -> None:
    _, model = _branched()
    z = gc.placeholder("z", ("n", 4))
    loss = gc.mean(gc.square(model(z, training=True)["sum"]))
    updates = gc.optim.SGD(0.1).minimize(loss, model)
    state = {v.name for v in updates} - {p.name for p in model.parameters()}
    assert state == {"net/dropout1/key", "net/batchnorm1/moving_mean"} | {
        "net/batchnorm1/moving_variance"
    }
    value = np.ones((50, 4), "float32")
    plain, dropped = gc.evaluate([model(z)["left"], model(z, training=True)["left"]], {z: value})
    assert np.ptp(plain, axis=0).max() < 1e-6
    assert np.ptp(dropped, axis=0).min() > 0.01


def test_a_summary_where_two_branches_are_joined() -> None:
    """A concat says what it is in other ops only where that is something else."""
    a, b = gc.nn.Input(("n", 4)), gc.nn.Input(("n", 4))
    joined = gc.nn.Concatenate()([gc.nn.Dense(8)(a), gc.nn.Dense(2)(b)])
    text = gc.nn.Model([a, b], joined).summary()
    flops = sorted(line.split()[-1] for line in text.splitlines() if "(Dense)" in line)
    assert flops == ["18*n", "72*n"]
    assert "(Concatenate)" in text


def test_names_and_summary() -> None:
    _, model = _branched()
    assert [v.name for v in model.variables()] == list(model.paths())
    assert next(iter(model.paths())) == "net/dense1/kernel"
    lines = model.summary().splitlines()
    assert [line.split()[0] for line in lines if "net/" in line] == [
        "net/dense1", "net/dropout1", "net/dense2", "net/dense3", "net/batchnorm1", "net/add1",
    ]  # fmt: skip


def test_several_inputs_shared_layers_and_nested_models() -> None:
    a, b = gc.placeholder("left", ("n", 4)), gc.placeholder("right", ("n", 4))
    shared = gc.nn.Dense(3, seed=0)
    pair = gc.nn.Model([a, b], shared(a) - shared(b))
    c = gc.placeholder("c", ("n", 2, 4))
    whole = gc.nn.Model(c, gc.nn.Activation("tanh")(pair([c[:, 0], c[:, 1]])))
    value = RNG.normal(size=(5, 2, 4)).astype("float32")
    given = gc.evaluate(whole(gc.constant(value)))
    expected = np.tanh((value[:, 0] - value[:, 1]) @ shared.kernel.value)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)
    assert len(whole.parameters()) == 2
    assert pair(a, b) is pair([a, b])


def test_functions_between_layers_take_other_sizes() -> None:
    x = gc.placeholder("x", ("n", 3, 2))
    _, sums = gc.scan(lambda c, v: (c + v, c), gc.zeros(("n", 2)), gc.permute_dims(x, (1, 0, 2)))
    model = gc.nn.Model(x, sums + gc.reshape(x, ("n", 6))[:, :2])
    value = RNG.normal(size=(4, 3, 2)).astype("float32")
    before = np.cumsum(value, axis=1) - value
    expected = before.transpose(1, 0, 2) + value.reshape(4, 6)[:, :2]
    for shape in ((4, 3, 2), ("m", 3, 2)):
        z = gc.placeholder("z", shape)
        np.testing.assert_allclose(gc.evaluate(model(z), {z: value}), expected, rtol=1e-5)


def test_what_each_layer_of_a_sequential_gives() -> None:
    """As tensors, from which a functional model is made that shares the layers."""
    layers = [gc.nn.Dense(5, "relu", seed=0), gc.nn.Dropout(0.5, seed=1), gc.nn.Dense(2, seed=2)]
    model = gc.nn.Sequential(layers, name="net")
    x = gc.nn.Input(("n", 4))
    outputs = model.outputs(x)
    inner = gc.nn.Model(x, {"hidden": outputs[0], "last": outputs[-1]}, name="inner")
    assert [path for path in model.paths() if "dense" in path] == [
        "net/dense1/kernel", "net/dense1/bias", "net/dense2/kernel", "net/dense2/bias"
    ]  # fmt: skip
    assert set(inner.parameters()) == set(model.parameters())
    value = RNG.normal(size=(6, 4)).astype("float32")
    z = gc.placeholder("z", ("n", 4))
    found, whole = gc.evaluate([inner(z), model(z)], {z: value})
    hidden = np.maximum(value @ layers[0].kernel.value, 0)  # type: ignore[attr-defined]
    np.testing.assert_allclose(found["hidden"], hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["last"], whole)
    (_, dropped, _) = model.outputs(z, training=True)
    assert 0 in gc.evaluate(dropped, {z: np.ones((50, 4), "float32")})
    with pytest.raises(ArgumentError, match="no layers"):
        gc.nn.Sequential().outputs(z)


def test_a_subclass() -> None:
    class Net(gc.nn.Model):
        """Two layers, and a choice between them."""

        def __init__(self) -> None:
            super().__init__(name="net")
            self.first, self.second = gc.nn.Dense(3), gc.nn.Dense(3)

        def forward(self, x: Any, training: bool) -> Any:
            return self.first(x) if training else self.second(x)

    x = gc.placeholder("x", ("n", 4))
    model = Net()
    assert model(x, training=True) is not model(x)
    assert list(model.paths())[::2] == ["net/first/kernel", "net/second/kernel"]
    with pytest.raises(NotImplementedError, match="Model does not define forward"):
        gc.nn.Model()(x)


def test_a_copy_trains_by_itself() -> None:
    _, model = _branched()
    other = copy.deepcopy(model)
    z = gc.placeholder("z", ("n", 4))
    loss = gc.mean(gc.square(other(z, training=True)["sum"]))
    before = [v.value for v in model.variables()]
    step = gc.compile([z], loss, updates=gc.optim.SGD(0.1).minimize(loss, other))
    step(np.ones((3, 4)))
    assert all((v.value == w).all() for v, w in zip(model.variables(), before, strict=True))
    assert any((v.value != w).any() for v, w in zip(other.variables(), before, strict=True))


def test_calls_are_forgotten_with_their_tensors() -> None:
    layer = gc.nn.Dense(3)
    alive = weakref.ref(layer)
    result = layer(gc.placeholder("forgotten", ("n", 4)))
    del layer
    assert alive() is not None  # a model may want it
    del result
    collector.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda x: gc.nn.Model(x, gc.nn.Dropout(0.5)(x)), ArgumentError, "left no trace"),
        (lambda x: gc.nn.Model(x, gc.nn.Dropout(0.5)(x + 1) * 2), ArgumentError, "gc.nn.Input"),
        (lambda x: gc.nn.Model(x + 1, x * 2), ArgumentError, "an input is no placeholder"),
        (lambda x: gc.nn.Model(gc.placeholder("u", ()), x * 2), ArgumentError, "another input"),
        (lambda x: gc.nn.Model(x), ArgumentError, "outputs are tensors"),
        (lambda x: gc.nn.Model(x, [3]), ArgumentError, "outputs are tensors"),
        (lambda x: gc.nn.Model(x, x * 2)(x[:, :2]), ShapeError, "of another type"),
        (lambda x: gc.nn.Model(x, x * 2)([x, x]), ShapeError, "of another type"),
    ],
)
def test_refusals(wrong: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong(gc.placeholder("model_input", ("n", 4)))
