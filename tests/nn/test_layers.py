"""Layers: values and gradients, what belongs to them, state in training, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(11)


# -- dense -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4), (1, 4)])
def test_dense_forward(shape: tuple[int, ...]) -> None:
    x = gc.placeholder("x", shape, "float64")
    layer = gc.nn.Dense(5, "tanh", bias_initializer="normal", seed=1)
    value = RNG.normal(size=shape)
    given = gc.evaluate(layer(x), {x: value})
    assert layer.bias is not None
    expected = np.tanh(value @ layer.kernel.value + layer.bias.value)
    np.testing.assert_allclose(given, expected, rtol=1e-14, atol=1e-15)


def test_dense_gradients_by_finite_differences() -> None:
    x = gc.placeholder("x", (6, 4), "float64")
    layer = gc.nn.Dense(3, "sigmoid", seed=2)
    weights = RNG.normal(size=(6, 3))
    loss = gc.sum(layer(x) * weights)
    value = RNG.normal(size=(6, 4))
    for w in layer.parameters():
        direction = RNG.normal(size=w.shape)
        slope = np.sum(gc.evaluate(gc.grad(loss, w), {x: value}) * direction)
        start, h = w.value, 1e-6
        w.value = start + h * direction
        high = gc.evaluate(loss, {x: value})
        w.value = start - h * direction
        low = gc.evaluate(loss, {x: value})
        w.value = start
        assert slope == pytest.approx((high - low) / (2 * h), rel=1e-7)


def test_dense_parameters() -> None:
    layer = gc.nn.Dense(3, name="head")
    assert layer(gc.placeholder("x", ("n", 4))).shape[1] == 3
    kernel, bias = layer.parameters()
    assert (kernel.name, kernel.shape) == ("head/kernel", (4, 3))
    assert (bias.name, bias.shape) == ("head/bias", (3,))
    np.testing.assert_array_equal(bias.value, np.zeros(3))
    assert kernel.dtype is bias.dtype is gc.float32
    without = gc.nn.Dense(3, use_bias=False)
    without(gc.placeholder("x", ("n", 4)))
    assert [v.shape for v in without.variables()] == [(4, 3)]


def test_a_second_call_shares_the_parameters() -> None:
    layer = gc.nn.Dense(3)
    a, b = gc.placeholder("a", ("n", 4)), gc.placeholder("b", ("n", 4))
    layer(a)
    before = layer.parameters()
    layer(b)
    assert all(p is q for p, q in zip(before, layer.parameters(), strict=True))
    assert layer(a) is layer(a)  # interned: the same node


@pytest.mark.parametrize("units", [0, -3, 2.5, True, "10", None])
def test_units_are_positive(units: Any) -> None:
    with pytest.raises(ArgumentError, match="an int >= 1") as caught:
        gc.nn.Dense(units)
    assert "test_layers.py" in str(caught.value)


def test_dense_refuses_inputs() -> None:
    with pytest.raises(ShapeError, match="the input is a scalar"):
        gc.nn.Dense(3)(gc.placeholder("x", ()))
    with pytest.raises(ShapeError, match="the last axis must have a static size"):
        gc.nn.Dense(3)(gc.placeholder("x", ("n", "m")))
    with pytest.raises(DTypeError, match=r"x.astype\('float32'\)"):
        gc.nn.Dense(3)(gc.placeholder("x", ("n", 4), "int64"))
    layer = gc.nn.Dense(3)
    layer(gc.placeholder("x", ("n", 4)))
    with pytest.raises(ShapeError, match=r"expected: \(..., 4\)"):
        layer(gc.placeholder("x", ("n", 5)))


def test_axes_in_another_order_are_told_so() -> None:
    """Sequences with times where channels are read, and scores with classes behind the batch."""
    times = gc.placeholder("times", ("n", "t", 3))
    with pytest.raises(ShapeError, match=r"reads \(n, channels, time\)") as caught:
        gc.nn.Conv1D(4, 3)(times)
    assert 'data_format="NHWC"' in caught.value.hint
    assert gc.nn.Conv1D(4, 3, padding="same", data_format="NHWC")(times).shape[2] == 4
    scores, pixels = gc.placeholder("s", ("n", 3, 8, 6)), gc.placeholder("p", ("n", 8, 6), "int64")
    for loss in ("softmax_cross_entropy", "sparse_categorical_cross_entropy"):
        with pytest.raises(ShapeError) as caught:
            getattr(gc.nn.losses, loss)(scores, pixels)
        assert "gc.moveaxis(scores, 1, -1)" in caught.value.hint


# -- flatten, activation ---------------------------------------------------------------------------
@pytest.mark.parametrize(("shape", "columns"), [((2, 3, 4), 12), ((2,), 1), ((0, 3, 2), 6)])
def test_flatten(shape: tuple[int, ...], columns: int) -> None:
    x = gc.placeholder("x", ("n", *shape[1:]))
    result = gc.nn.Flatten()(x)
    assert result.shape[1] == columns
    value = RNG.normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(gc.evaluate(result, {x: value}), value.reshape(shape[0], columns))


def test_flatten_refuses_a_scalar() -> None:
    with pytest.raises(ShapeError, match="the input is a scalar"):
        gc.nn.Flatten()(gc.placeholder("x", ()))


def test_activation_layer() -> None:
    x = gc.placeholder("x", ("n",))
    assert gc.nn.Activation("relu")(x) is gc.relu(x)
    assert gc.nn.Activation(gc.tanh)(x) is gc.tanh(x)


# -- dropout ---------------------------------------------------------------------------------------
def test_dropout_is_the_identity_without_training() -> None:
    x = gc.placeholder("x", ("n", 4))
    layer = gc.nn.Dropout(0.5)
    assert layer(x) is x
    assert gc.nn.Dropout(0)(x, training=True) is x
    assert layer.updates() == {}


def test_dropout_drops_and_scales() -> None:
    x = gc.placeholder("x", ("n", 100))
    layer = gc.nn.Dropout(0.3, seed=4)
    value = RNG.uniform(1, 2, (200, 100)).astype(np.float32)
    y = layer(x, training=True)
    given, gradient = gc.evaluate([y, gc.grad(gc.sum(y), x)], {x: value})
    kept = given != 0
    # 20,000 draws: the standard error is 0.0032.
    assert kept.mean() == pytest.approx(0.7, abs=0.015)
    np.testing.assert_allclose(given[kept], value[kept] / 0.7, rtol=1e-6)
    np.testing.assert_allclose(gradient, np.where(kept, 1 / 0.7, 0), rtol=1e-6)


def test_dropout_key_moves_on() -> None:
    x = gc.placeholder("x", ("n", 100))
    layer = gc.nn.Dropout(0.5, seed=4)
    y = layer(x, training=True)
    ((key, successor),) = layer.updates().items()
    assert key is layer.key
    assert not key.trainable
    assert key.name == "dropout/key"
    assert layer.parameters() == []
    ones = np.ones((10, 100), np.float32)
    first = gc.evaluate(y, {x: ones})
    np.testing.assert_array_equal(first, gc.evaluate(y, {x: ones}))  # pure until the update
    key.value = gc.evaluate(successor)
    second = gc.evaluate(y, {x: ones})
    assert 0.4 < np.mean(first != second) < 0.6


def test_two_calls_of_one_dropout_draw_differently() -> None:
    x = gc.placeholder("x", ("n", 100))
    layer = gc.nn.Dropout(0.5, seed=4)
    a, b = layer(x, training=True), layer(x, training=True)
    assert len(layer.updates()) == 1
    first, second = gc.evaluate([a, b], {x: np.ones((10, 100))})
    assert 0.4 < np.mean(first != second) < 0.6
    assert layer(x, training=True) is a  # collected above: a new training graph starts afresh


@pytest.mark.parametrize("rate", [1, 1.5, -0.1, float("nan"), "0.5", True])
def test_rate_is_in_range(rate: Any) -> None:
    with pytest.raises(ArgumentError, match=r"a number in \[0, 1\)"):
        gc.nn.Dropout(rate)


def test_noise() -> None:
    x = gc.placeholder("x", ("n", 100))
    layer = gc.nn.GaussianNoise(0.5, seed=4)
    y = layer(x, training=True)
    step = gc.compile([x], y, updates=layer.updates(y))
    zeros = np.zeros((100, 100), np.float32)
    first, second = step(zeros), step(zeros)
    assert first.std() == pytest.approx(0.5, rel=0.03)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.04  # 4 standard errors
    assert layer(x) is x
    with pytest.raises(ArgumentError, match="a finite number >= 0"):
        gc.nn.GaussianNoise(-1)


# -- sequential ------------------------------------------------------------------------------------
def _mlp() -> gc.nn.Sequential:
    return gc.nn.Sequential(
        [
            gc.nn.Flatten(),
            gc.nn.Dense(6, "relu", seed=0),
            gc.nn.Dropout(0.5, seed=1),
            gc.nn.Dense(3, seed=2),
            gc.softmax,
        ],
        name="mlp",
    )


def test_sequential_composes() -> None:
    x = gc.placeholder("x", ("n", 2, 2), "float64")
    model = _mlp()
    value = RNG.normal(size=(5, 2, 2))
    given = gc.evaluate(model(x), {x: value})
    w1, b1, w2, b2 = (p.value for p in model.parameters())
    z = np.maximum(value.reshape(5, 4) @ w1 + b1, 0) @ w2 + b2
    np.testing.assert_allclose(given, np.exp(z) / np.exp(z).sum(1, keepdims=True), rtol=1e-13)


def test_sequential_names_and_order() -> None:
    model = _mlp()
    model(gc.placeholder("x", ("n", 2, 2)), training=True)
    assert [p.name for p in model.parameters()] == [
        "mlp/dense1/kernel", "mlp/dense1/bias", "mlp/dense2/kernel", "mlp/dense2/bias",
    ]  # fmt: skip
    assert len(model.variables()) == 5  # and the dropout key
    assert len(model.updates()) == 1


def test_nodes_belong_to_their_layer() -> None:
    x = gc.placeholder("x", ("n", 2, 2))
    graph = gc.Graph([x], [_mlp()(x)])
    scopes = {n.op.name: n.origins[0].scope for n in graph.nodes if n.op.name != "variable"}
    assert scopes["relu"] == "mlp/dense1"
    assert scopes["softmax"] == "mlp/activation1"


def test_a_layer_may_be_shared() -> None:
    shared = gc.nn.Dense(4, seed=0)
    model = gc.nn.Sequential([shared, shared])
    model(gc.placeholder("x", ("n", 4)))
    assert len(model.parameters()) == 2


def test_nested_models_and_own_layers() -> None:
    class Residual(gc.nn.Layer):
        """x + f(x)."""

        def __init__(self, units: int) -> None:
            super().__init__()
            self.branches = {"f": gc.nn.Dense(units, seed=0)}

        def forward(self, x: gc.Tensor, training: bool) -> gc.Tensor:
            return x + self.branches["f"](x, training=training)

    model = gc.nn.Sequential([Residual(4), gc.nn.Sequential([gc.nn.Dense(2)])], name="net")
    model(gc.placeholder("x", ("n", 4)))
    assert [p.name for p in model.parameters()] == [
        "net/residual1/dense/kernel", "net/residual1/dense/bias",
        "net/sequential1/dense1/kernel", "net/sequential1/dense1/bias",
    ]  # fmt: skip


def test_sequential_refuses() -> None:
    for layers in ([], [gc.nn.Dense(3), 7], [gc.nn.Dense], "dense", gc.nn.Dense(3)):
        with pytest.raises(ArgumentError):
            gc.nn.Sequential(layers)


def test_automatic_names_avoid_given_ones() -> None:
    model = gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dense(3, name="dense1")])
    assert [layer.name for layer in model.stack] == ["dense2", "dense1"]


def test_parameters_before_the_first_call() -> None:
    with pytest.raises(ArgumentError, match="call the model on a placeholder first"):
        _mlp().parameters()


def test_an_initializer_of_another_shape() -> None:
    layer = gc.nn.Dense(3, kernel_initializer=lambda shape, rng, dtype: np.zeros((3, 4), dtype))
    with pytest.raises(ShapeError, match=r"expected: \(4, 3\)"):
        layer(gc.placeholder("x", ("n", 4)))


def test_summary() -> None:
    model = _mlp()
    model(gc.placeholder("x", ("n", 2, 2)))
    lines = model.summary().splitlines()
    rule = "-" * len(lines[2])
    assert [line.split() for line in lines] == [
        ["mlp"],
        [rule],
        ["layer", "output", "shape", "parameters", "flops"],
        [rule],
        ["mlp/flatten1", "(Flatten)", "(n,", "4)", "0", "0"],
        ["mlp/dense1", "(Dense)", "(n,", "6)", "30", "60*n"],
        ["mlp/dropout1", "(Dropout)", "(n,", "6)", "0", "0"],
        ["mlp/dense2", "(Dense)", "(n,", "3)", "21", "39*n"],
        ["mlp/activation1", "(Activation)", "(n,", "3)", "0", "54*n"],
        [rule],
        ["total", "51", "153*n"],
    ]
    assert len({len(line) for line in lines[1:]}) == 1


def test_a_frozen_layer_has_no_parameters() -> None:
    inner = gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dropout(0.5)], name="inner")
    model = gc.nn.Sequential([inner, gc.nn.Dense(1, name="last")], name="outer")
    inner.trainable = False  # before there are variables
    model(gc.placeholder("x", ("n", 2)))
    last = model.stack[1]
    assert model.parameters() == last.parameters() == [last.kernel, last.bias]
    assert (inner.parameters(), inner.stack[0].trainable, model.trainable) == ([], False, True)
    counts = [line.split() for line in model.summary().splitlines()[-2:]]
    assert counts == [["total", "13", "22*n"], ["frozen", "9"]]
    last.bias.trainable = False
    assert model.parameters() == [last.kernel]
    model.trainable = False
    assert model.parameters() == []
    model.trainable = True  # of layers; variables keep their own
    assert [v.name.rpartition("/")[2] for v in model.parameters()] == ["kernel", "bias", "kernel"]
    for wrong in (1, None, "yes"):
        with pytest.raises(ArgumentError, match="trainable is True or False"):
            last.trainable = wrong
        with pytest.raises(ArgumentError, match="trainable is True or False"):
            last.bias.trainable = wrong


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ArgumentError, match="a string that is not empty"):
        gc.nn.Dense(3, name="")


def test_a_layer_without_forward() -> None:
    with pytest.raises(NotImplementedError, match="Layer does not define forward"):
        gc.nn.Layer()(gc.placeholder("x", ()))


# -- embedding, as a function ----------------------------------------------------------------------
def test_rows_of_a_table_and_its_gradient() -> None:
    rng = np.random.default_rng(3)
    table, places = rng.normal(size=(5, 3)), np.array([[1, 4, 1], [0, 1, -1]])
    weights = rng.normal(size=(2, 3, 3))
    t, i = gc.placeholder("rows_t", (5, 3), "float64"), gc.placeholder("rows_i", (2, "k"), "int64")
    y = gc.nn.embedding(i, t)
    loss = gc.sum(y * weights)
    step = gc.compile([t, i], [y, gc.grad(loss, t)])
    rows, gradient = step(table, places)
    expected = np.zeros_like(table)
    np.add.at(expected, places, weights)
    np.testing.assert_array_equal(rows, table[places])
    np.testing.assert_allclose(gradient, expected, rtol=1e-15)
    with pytest.raises(gc.errors.RuntimeFailure, match="axis"):
        step(table, places + 4)
    with pytest.raises(gc.errors.DTypeError, match="places are ints"):
        gc.nn.embedding(y, t)
    with pytest.raises(gc.errors.ShapeError, match="no matrix"):
        gc.nn.embedding(i, t[0])
