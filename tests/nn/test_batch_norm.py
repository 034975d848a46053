"""Batch, group and instance normalisation: statistics of the batch, moving ones, frozen layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(8)


def test_moving_statistics_go_on_in_the_step() -> None:
    """Five neurons over m points, in training; the averages of training at test time."""
    x = gc.placeholder("x", ("m", 5))
    model = gc.nn.Sequential([gc.nn.BatchNorm(momentum=0.9), gc.nn.Dense(1, seed=0)])
    loss = gc.mean(gc.square(model(x, training=True)))
    step = gc.compile([x], loss, updates=gc.optim.SGD(0.0).minimize(loss, model))
    layer: Any = model.stack[0]
    mean, variance = np.zeros(5), np.ones(5)
    for size in (7, 1, 12):
        batch = RNG.normal(2.0, 3.0, (size, 5)).astype("float32")
        step(batch)
        mean = 0.9 * mean + 0.1 * batch.mean(0)
        variance = 0.9 * variance + 0.1 * batch.var(0)
    np.testing.assert_allclose(layer.moving_mean.value, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.value, variance, rtol=1e-5)
    given = gc.compile([x], layer(x))(batch)
    np.testing.assert_allclose(given, (batch - mean) / np.sqrt(variance + 1e-3), rtol=1e-4)


def test_a_frozen_one_uses_and_keeps_its_averages() -> None:
    x = gc.placeholder("x", ("m", 5))
    model = gc.nn.Sequential([gc.nn.Dense(5), gc.nn.BatchNorm()])
    assert len(model.init((None, 5)).parameters()) == 4
    model.stack[1].trainable = False
    assert model(x, training=True) is model(x)
    assert model.updates() == {}
    assert len(model.parameters()) == 2


def test_one_step_twice_moves_twice() -> None:
    x, y = gc.placeholder("x", (4, 2), "float64"), gc.placeholder("y", (4, 2), "float64")
    layer = gc.nn.BatchNorm(momentum=0.5, center=False, scale=False)
    both = layer(x, training=True) + layer(y, training=True)
    moved = layer.updates(both)[layer.moving_mean]
    a, b = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2))
    given = gc.evaluate(moved, {x: a, y: b})
    np.testing.assert_allclose(given, 0.25 * a.mean(0) + 0.5 * b.mean(0), rtol=1e-12)
    assert layer.parameters() == []


@pytest.mark.parametrize(
    ("axis", "shape", "place"),
    [(None, (3, 4), 1), (None, (3, 2, 4), 2), (None, (3, 4, 2, 2), 1), (-1, (3, 2, 2, 4), 3)],
)
def test_axes_of_channels(axis: Any, shape: tuple[int, ...], place: int) -> None:
    x, value = gc.placeholder("x", ("n", *shape[1:]), "float64"), RNG.normal(size=shape)
    channels = tuple(i for i in range(len(shape)) if i != place)
    images = tuple(i for i in channels if i)
    cases: list[tuple[gc.nn.Layer, tuple[int, ...]]] = [
        (gc.nn.BatchNorm(axis, epsilon=0), channels),
        (gc.nn.InstanceNorm(axis, epsilon=0), images),
        (gc.nn.GroupNorm(1, axis, epsilon=0), tuple(range(1, len(shape)))),
    ]
    for layer, axes in cases:
        if not axes:
            continue
        given = gc.evaluate(layer(x, training=True), {x: value})
        mean, spread = value.mean(axes, keepdims=True), value.std(axes, keepdims=True)
        np.testing.assert_allclose(given, (value - mean) / spread, rtol=1e-9, atol=1e-12)
        assert layer.variables()[0].shape == (4,)


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda: gc.nn.BatchNorm(0).init(("n", 3)), ArgumentError, "not an axis of channels"),
        (lambda: gc.nn.BatchNorm(momentum=1.0), ArgumentError, r"\[0, 1\)"),
        (lambda: gc.nn.BatchNorm(epsilon=-1), ArgumentError, ">= 0"),
        (lambda: gc.nn.BatchNorm(5).init(("n", 3)), ShapeError, "no axis of channels"),
        (lambda: gc.nn.BatchNorm().init((3,)), ShapeError, "no axis of channels"),
        (lambda: gc.nn.BatchNorm().init(("n", "m")), ShapeError, "static size"),
        (lambda: gc.nn.BatchNorm().init(("n", 3), "int64"), DTypeError, "not float"),
        (lambda: gc.nn.BatchNorm(1).init(("n", 3)).init(("n", 4)), ShapeError, "another size"),
        (lambda: gc.nn.GroupNorm(3).init(("n", 4)), ArgumentError, "cannot be grouped"),
        (lambda: gc.nn.GroupNorm(0), ArgumentError, "positive int"),
    ],
)
def test_refusals(wrong: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        wrong()


def test_inside_of_a_checkpoint_and_of_a_loop() -> None:
    x = gc.placeholder("x", (4, 3), "float64")
    value = RNG.normal(size=(4, 3))
    layer = gc.nn.BatchNorm(momentum=0.0)
    model = gc.nn.Sequential([layer, gc.nn.Dropout(0.5)])
    again = gc.checkpoint(lambda v: gc.checkpoint(lambda u: model(u, training=True))(v * 2))(x)
    loss = gc.mean(gc.square(again))
    found = gc.optim.SGD().minimize(loss, model)
    assert set(found) == set(model.variables())
    given = gc.evaluate(found[layer.moving_mean], {x: value})
    np.testing.assert_allclose(given, 2 * value.mean(0), rtol=1e-12)
    _, rows = gc.scan(lambda c, v: (c, layer(v[None], training=True)), gc.constant(0.0), x)
    with pytest.raises(ArgumentError, match="inside of a loop only"):
        layer.updates(gc.sum(rows))


def test_a_layer_that_was_frozen_meanwhile_keeps_its_averages() -> None:
    model = gc.nn.Sequential([gc.nn.BatchNorm(), gc.nn.Dense(1)])
    trainer = gc.train.Trainer(model, loss="mse", optimizer=gc.optim.SGD(0.1))
    data = RNG.normal(size=(64, 3)).astype("float32")
    trainer.fit(data, data[:, :1], verbose=False)
    layer: Any = model.stack[0]
    layer.trainable, before = False, layer.moving_mean.value
    assert (before != 0).all()
    trainer.fit(data, data[:, :1], verbose=False)
    np.testing.assert_array_equal(layer.moving_mean.value, before)
