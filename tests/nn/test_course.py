"""What a course in deep learning works out by hand, from layers, losses and gradients.

The course's own digits are those of a calculation by hand, from rounded numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

import graphc as gc
from graphc.errors import LinAlgError, ShapeError, SymbolicValueError

RNG = np.random.default_rng(2)
W1, W2, W3 = [[1, 0], [3, 2], [1, 2]], [[1, 0, 1], [0, 1, 3], [1, 2, 1]], [[1, 0, 1]]


def _network(rows: Any, biases: Any) -> gc.nn.Sequential:
    """Sigmoid layers from matrices whose rows are units, as the course writes them."""
    layers = [
        gc.nn.Dense(len(w), "sigmoid", kernel_initializer=np.array(w, float).T, bias_initializer=b)
        for w, b in zip(rows, biases, strict=True)
    ]
    return gc.nn.Sequential(layers)


# -- forward ---------------------------------------------------------------------------------------
def test_a_network_of_2_3_3_1() -> None:
    x = gc.placeholder("x", (1, 2), "float64")
    model = _network([W1, W2, W3], [2.0, 1.0, 1.0])
    y = model(x)
    loss = gc.nn.losses.mean_squared_error(y, gc.constant([[1.0]]))
    hidden, z = [x], []
    for layer in model.stack:
        assert isinstance(layer, gc.nn.Dense)
        z.append(hidden[-1] @ layer.kernel + layer.bias)
        hidden.append(gc.sigmoid(z[-1]))
    found = gc.evaluate([*z, *hidden[1:], y, loss], {x: [[1.0, 1.0]]})
    expected = [
        [3, 7, 5], [2.94588, 4.97902, 4.94406], [2.94299],
        [0.95257, 0.99909, 0.99331], [0.95007, 0.99317, 0.99292], [0.94993], [0.94993], 0.00251,
    ]  # fmt: skip
    for value, number in zip(found, expected, strict=True):
        np.testing.assert_allclose(value.ravel(), np.ravel(np.array(number)), atol=1.1e-5)
    assert hidden[-1] is y


def test_dense_of_two_units() -> None:
    layer = gc.nn.Dense(
        2, "relu", kernel_initializer=[[1, 0.5], [0.5, 1]], bias_initializer=[-2, 0.5]
    )
    np.testing.assert_array_equal(gc.evaluate(layer([[1.0, 2.0], [-1.0, 2.0]])), [[0, 3], [0, 2]])
    toy = gc.nn.Sequential([gc.nn.Dense(2, "sigmoid"), gc.nn.Dense(1)]).init(("n", 2))
    assert sum(v.size for v in toy.parameters()) == 9
    unit = gc.nn.Dense(1, "sigmoid", kernel_initializer=[[3.0], [-2.0]], bias_initializer=1.0)
    assert gc.evaluate(unit([[-1.0, 2.0]])).item() == pytest.approx(0.00247, abs=5e-6)


def test_identities_of_sigmoid_and_tanh() -> None:
    x = gc.placeholder("x", (101,), "float64")
    s, t = gc.sigmoid(x), gc.tanh(x)
    slopes = [gc.grad(gc.sum(f), x) for f in (s, t)]
    values = gc.evaluate(
        [slopes[0] - s * (1 - s), t - (2 * gc.sigmoid(2 * x) - 1), slopes[1] - (1 - t * t)],
        {x: np.linspace(-5, 5, 101)},
    )
    for value in values:
        np.testing.assert_allclose(value, 0, atol=1e-15)


def test_perceptrons() -> None:
    x = gc.constant([-2.0, 0.0, 0.5])
    step, sign = gc.where(x > 0, 1, 0), gc.where(x > 0, 1, -1)
    assert gc.evaluate(step).tolist() == [0, 0, 1]
    assert gc.evaluate(sign).tolist() == [-1, -1, 1]
    assert gc.evaluate(gc.sign(x)).tolist() == [-1, 0, 1]
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, 16).T
    units = gc.nn.Dense(4, lambda z: gc.where(z > 0, 1.0, -1.0), kernel_initializer=np.eye(4))
    total = gc.sum(units(corners.astype("float32")), axis=-1)
    both, either = gc.evaluate([total > 3, total > -4])
    assert (both == (corners > 0).all(axis=1)).all()
    assert (either == (corners > 0).any(axis=1)).all()


def test_shapes() -> None:
    image = gc.placeholder("image", ("n", 18, 18, 3))
    assert gc.nn.Flatten()(image).shape[1] == 972
    assert (gc.zeros((32, 10)) + gc.zeros((10,))).shape == (32, 10)
    rows = np.arange(6).reshape(3, 2)
    tall = gc.reshape(gc.constant(rows), (6, 1))
    assert gc.evaluate(gc.reshape(tall, (2, 3))).tolist() == rows.reshape(2, 3).tolist()
    matrix = gc.zeros((3, 4))
    for shape in ((4, 3), (6, 2), (12, 1)):
        assert gc.reshape(matrix, shape).shape == shape
    with pytest.raises(ShapeError, match="the number of elements changes"):
        gc.reshape(matrix, (4, 4))
    assert gc.evaluate(gc.constant(3.0) / 0) == np.inf
    with pytest.raises(LinAlgError, match="singular"):
        gc.evaluate(gc.linalg.inv(gc.constant(np.ones((2, 2)))))


def test_constants_and_variables() -> None:
    constant, variable = gc.constant([1.0, 2.0]), gc.variable([1.0, 2.0])
    with pytest.raises(AttributeError):
        constant.value = [3.0, 4.0]  # type: ignore[attr-defined]
    with pytest.raises(SymbolicValueError, match="a tensor is a value"):
        constant[0] = 3.0
    variable.value = [3.0, 4.0]
    assert variable.value.tolist() == [3, 4]


# -- backward --------------------------------------------------------------------------------------
def test_one_weight() -> None:
    x, w = gc.constant(1.5, "float64"), gc.variable(0.3, dtype="float64")
    loss = gc.square(w * x - 2)
    step = gc.compile([], [loss, gc.grad(loss, w)], updates=gc.optim.SGD(0.1).minimize(loss, [w]))
    before, slope = step()
    assert before == pytest.approx(2.4025)
    assert slope == pytest.approx(4.5 * 0.3 - 6)
    assert slope == pytest.approx(-4.65)
    assert w.value == pytest.approx(0.765)
    assert gc.evaluate(loss) == pytest.approx(0.7267, abs=1e-4)


def test_a_linear_chain_of_three() -> None:
    names = "x", "y", "w1", "w2", "w3"
    x, y, *weights = (gc.placeholder(name, (), "float64") for name in names)
    loss = gc.square(weights[2] * (weights[1] * (weights[0] * x)) - y)
    slopes = gc.grad(loss, weights)
    symbols = dict(zip((x, y, *weights), sympy.symbols("x y w1 w2 w3"), strict=True))
    sx, sy, s1, s2, s3 = symbols.values()
    error = 2 * (s3 * s2 * s1 * sx - sy)
    derived = error * s3 * s2 * sx, error * s3 * s1 * sx, error * s2 * s1 * sx
    for slope, formula in zip(slopes, derived, strict=True):
        assert sympy.simplify(gc.to_sympy(slope, symbols) - formula) == 0


def test_backward_through_sigmoid_layers() -> None:
    """dz3 = p - y, and back, for columns of examples: averages of the shapes of the parameters."""
    m, sizes = 4, (2, 3, 3, 1)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    rows = [RNG.normal(size=shape) for shape in shapes]
    model = _network(rows, [RNG.normal(size=size) for size in sizes[1:]])
    inputs, labels = RNG.normal(size=(2, m)), RNG.integers(2, size=(1, m)).astype(float)
    x, y = gc.placeholder("x", ("m", 2), "float64"), gc.placeholder("y", ("m", 1), "float64")
    loss = gc.mean(gc.nn.losses.binary_cross_entropy(model(x), y, from_logits=False))
    slopes = gc.evaluate(gc.grad(loss, model.parameters()), {x: inputs.T, y: labels.T})
    h = [inputs]
    for w, b in zip(rows, model.parameters()[1::2], strict=True):
        h.append(1 / (1 + np.exp(-(w @ h[-1] + b.value[:, None]))))
    dz = h[3] - labels
    expected: list[Any] = []
    for k in (2, 1, 0):
        expected[:0] = [dz @ h[k].T / m, dz.mean(axis=1)]
        dz = (rows[k].T @ dz) * h[k] * (1 - h[k])
    for slope, number, v in zip(slopes, expected, model.parameters(), strict=True):
        assert slope.shape == v.shape
        np.testing.assert_allclose(slope, number.T, rtol=1e-10, atol=1e-14)


def test_softmax_with_cross_entropy() -> None:
    z = gc.placeholder("z", (5, 3), "float64")
    labels, value = np.array([0, 2, 1, 1, 0]), RNG.normal(size=(5, 3))
    loss = gc.sum(gc.nn.losses.softmax_cross_entropy(z, labels))
    p, slope = gc.evaluate([gc.softmax(z), gc.grad(loss, z)], {z: value})
    np.testing.assert_allclose(slope, p - np.eye(3)[labels], atol=1e-15)


# -- dropout as the course has it ------------------------------------------------------------------
def test_a_mask_of_units_zeroes_columns() -> None:
    w = gc.constant(RNG.uniform(1, 2, (4, 3)))
    mask = gc.constant([0.0, 0.0, 1.0], "float64")
    given = gc.evaluate(w * mask)
    assert (given == 0).all(axis=0).tolist() == [True, True, False]
    layer = gc.nn.Dropout(0.5, mode="course", seed=3)
    x = gc.placeholder("x", ("n", 3))
    y = layer(x, training=True)
    step = gc.compile([x], [y, gc.grad(gc.sum(y), x)], updates=layer.updates(y))
    masks = set()
    for _ in range(12):
        value, slope = step(np.full((4, 3), 2.0))
        assert (value == value[0]).all()  # one mask for the mini-batch, unscaled
        assert (slope == value / 2).all()  # the same one backward
        masks.add(tuple(value[0]))
    assert len(masks) > 3  # a fresh one for each
    assert {v for row in masks for v in row} == {0.0, 2.0}
    predicted = gc.evaluate(layer(x), {x: np.full((4, 3), 2.0)})
    np.testing.assert_array_equal(predicted, np.ones((4, 3)))  # scaled by q
