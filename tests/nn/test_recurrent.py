"""Recurrent, normalising and embedding layers against NumPy, step by step, and by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import expit as sigmoid

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, MaskWarning, RuntimeFailure, ShapeError

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(0)
B, T, F, U = 3, 5, 2, 4
X = rng.normal(size=(B, T, F))


def rnn(x: Array, w: Array, u: Array, b: Array, _: Any, state: list[Array]) -> list[Array]:
    return [np.tanh(x @ w + state[0] @ u + b)]


def lstm(x: Array, w: Array, u: Array, b: Array, _: Any, state: list[Array]) -> list[Array]:
    h, c = state
    i, f, g, o = np.split(x @ w + h @ u + b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def gru(x: Array, w: Array, u: Array, b: Array, _: Any, state: list[Array]) -> list[Array]:
    """As the course writes it: reset before U, and z is the part of the candidate."""
    (h,) = state
    (wz, wr, wc), (uz, ur, uc) = (np.split(m, 3, axis=1) for m in (w, u))
    bz, br, bc = np.split(b, 3)
    z, r = sigmoid(x @ wz + h @ uz + bz), sigmoid(x @ wr + h @ ur + br)
    c = np.tanh(x @ wc + (r * h) @ uc + bc)
    return [(1 - z) * h + z * c]


def torch_gru(x: Array, w: Array, u: Array, b: Array, b2: Any, state: list[Array]) -> list[Array]:
    """As in PyTorch's page on nn.GRU, with its n for c, and one bias for z and r."""
    (h,) = state
    (wz, wr, wn), (uz, ur, un) = (np.split(m, 3, axis=1) for m in (w, u))
    bz, br, bn = np.split(b, 3)
    z, r = sigmoid(x @ wz + h @ uz + bz), sigmoid(x @ wr + h @ ur + br)
    n = np.tanh(x @ wn + bn + r * (h @ un + b2))
    return [(1 - z) * n + z * h]


CASES: dict[str, tuple[Callable[..., gc.nn.Recurrent], Any, int]] = {
    "SimpleRNN": (gc.nn.SimpleRNN, rnn, 1),
    "LSTM": (gc.nn.LSTM, lstm, 2),
    "GRU": (gc.nn.GRU, gru, 1),
    "GRU, torch": (lambda units, **k: gc.nn.GRU(units, form="torch", **k), torch_gru, 1),
}


def expected(step: Any, states: int, weights: list[Array], x: Array, back: bool) -> Array:
    w, u, b, *rest = weights
    state = [np.zeros((len(x), U)) for _ in range(states)]
    outputs = np.zeros((len(x), x.shape[1], U))
    for t in reversed(range(x.shape[1])) if back else range(x.shape[1]):
        state = step(x[:, t], w, u, b, rest[0] if rest else None, state)
        outputs[:, t] = state[0]
    return outputs


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_sequences(name: str, back: bool) -> None:
    make, step, states = CASES[name]
    layer = make(U, return_sequences=True, go_backwards=back, bias_initializer="normal", seed=1)
    x = gc.placeholder("x", ("batch", "time", F), "float64")
    outputs = gc.evaluate(layer(x), {x: X})
    weights = [np.asarray(v.value) for v in layer.variables()]
    found = expected(step, states, weights, X, back)
    np.testing.assert_allclose(outputs, found, rtol=1e-13, atol=1e-14)
    layer.return_sequences = False
    last = gc.evaluate(layer(x), {x: X})
    np.testing.assert_allclose(last, found[:, 0 if back else -1], rtol=1e-13, atol=1e-14)
    empty = gc.evaluate(layer(x), {x: X[:, :0]})
    np.testing.assert_array_equal(empty, np.zeros((B, U)))


def test_gradients_of_all_layers_compiled() -> None:
    """One program: every parameter's gradient, by differences along a random direction."""
    x = gc.placeholder("x", ("batch", "time", F), "float64")
    layers = [make(U, bias_initializer="normal", seed=2) for make, _, _ in CASES.values()]
    layers.append(gc.nn.Bidirectional(gc.nn.LSTM(U, return_sequences=True, seed=3)))
    losses = [gc.sum(gc.square(layer(x))) for layer in layers]
    parameters = [layer.parameters() for layer in layers]
    grads = [gc.grad(loss, ws) for loss, ws in zip(losses, parameters, strict=True)]
    function = gc.compile([x], {"losses": losses, "grads": grads})
    slopes = function(X)["grads"]
    for k, ws in enumerate(parameters):
        directions = [rng.normal(size=w.shape) for w in ws]
        before = [np.array(w.value) for w in ws]
        sides = []
        for step in (1e-5, -1e-5):
            for w, value, d in zip(ws, before, directions, strict=True):
                w.value = value + step * d
            sides.append(function(X)["losses"][k])
        for w, value in zip(ws, before, strict=True):
            w.value = value
        projected = sum(np.sum(d * g) for d, g in zip(directions, slopes[k], strict=True))
        np.testing.assert_allclose((sides[0] - sides[1]) / 2e-5, projected, rtol=1e-7)


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
def test_bidirectional(merge: str) -> None:
    layer = gc.nn.Bidirectional(gc.nn.GRU(U, return_sequences=True, seed=4), merge)
    x = gc.placeholder("x", ("batch", "time", F), "float64")
    found = gc.evaluate(layer(x), {x: X})
    halves = [
        expected(gru, 1, [np.asarray(v.value) for v in part.variables()], X, back)
        for part, back in ((layer.ahead, False), (layer.back, True))
    ]
    assert not np.allclose(layer.ahead.kernel.value, layer.back.kernel.value)
    joined: dict[str, Callable[[Array, Array], Array]] = {
        "concat": lambda a, b: np.concatenate([a, b], -1), "sum": np.add, "mul": np.multiply,
        "ave": lambda a, b: (a + b) / 2,
    }  # fmt: skip
    np.testing.assert_allclose(found, joined[merge](*halves), rtol=1e-12, atol=1e-14)


def test_first_values() -> None:
    layer = gc.nn.LSTM(U, seed=5)
    layer(gc.placeholder("x", ("batch", "time", F)))
    assert [v.name for v in layer.variables()] == [
        "lstm/kernel", "lstm/recurrent_kernel", "lstm/bias"
    ]  # fmt: skip
    np.testing.assert_array_equal(layer.bias.value, [0] * U + [1] * U + [0] * 2 * U)
    for gate in np.split(np.asarray(layer.recurrent_kernel.value), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(U), atol=1e-6)
    plain = gc.nn.LSTM(U, unit_forget_bias=False)
    plain(gc.placeholder("x", ("batch", "time", F)))
    np.testing.assert_array_equal(plain.bias.value, np.zeros(4 * U))


def test_a_stack_learns_to_add() -> None:
    """Stacked layers, with everything else of a model, in one compiled step."""
    gc.nn.seed(0)
    model = gc.nn.Sequential([
        gc.nn.LSTM(8, return_sequences=True), gc.nn.LayerNorm(), gc.nn.GRU(8), gc.nn.Dense(1)
    ])  # fmt: skip
    x, y = gc.placeholder("x", ("n", 6, 1)), gc.placeholder("y", ("n", 1))
    loss = gc.mean(gc.nn.losses.mean_squared_error(model(x), y))
    updates = gc.optim.Adam(0.02).minimize(loss, model.parameters())
    step = gc.compile([x, y], loss, updates=updates)
    data = rng.uniform(-1, 1, (64, 6, 1)).astype("float32")
    losses = [float(step(data, data.sum(1))) for _ in range(150)]
    assert losses[-1] < 0.02 * losses[0]


# -- normalisation and embedding -------------------------------------------------------------------
def test_normalisation() -> None:
    x = gc.placeholder("x", ("n", 3, 6), "float64")
    data = rng.normal(size=(2, 3, 6)) * 5 + 1
    layer = gc.nn.LayerNorm(1e-3, "normal", "normal")
    rms = gc.nn.RMSNorm(gamma_initializer="normal")
    outputs = [layer(x), rms(x)]
    found = gc.evaluate(outputs, {x: data})
    centred = data - data.mean(-1, keepdims=True)
    spread = np.sqrt(data.var(-1, keepdims=True) + 1e-3)
    truth = centred / spread * layer.gamma.value + layer.beta.value
    np.testing.assert_allclose(found[0], truth, rtol=1e-12, atol=1e-13)
    size = np.sqrt(np.mean(data**2, -1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(found[1], data / size * rms.gamma.value, rtol=1e-13)
    slope = gc.grad(gc.sum(gc.sin(outputs[0])), x)
    up, down = (
        gc.evaluate(gc.sum(gc.sin(outputs[0])), {x: data + s * centred}) for s in (1e-6, -1e-6)
    )
    projected = np.sum(gc.evaluate(slope, {x: data}) * centred)
    np.testing.assert_allclose((up - down) / 2e-6, projected, rtol=1e-5, atol=1e-8)


def test_embedding() -> None:
    layer = gc.nn.Embedding(5, 3, seed=0, dtype="float64")
    words = gc.placeholder("words", ("n", 2), "int32")
    vectors = layer(words)
    slope = gc.grad(gc.sum(vectors * vectors), layer.table)
    function = gc.compile([words], [vectors, slope])
    given = np.array([[0, 4], [4, 1], [-1, 4]], np.int32)
    found, gradient = function(given)
    table = np.asarray(layer.table.value)
    np.testing.assert_array_equal(found, table[given])
    counts = np.bincount(given.ravel() % 5, minlength=5)
    np.testing.assert_allclose(gradient, 2 * counts[:, None] * table, rtol=1e-14)
    with pytest.raises(RuntimeFailure, match="out of range"):
        function(np.array([[0, 5]], np.int32))


def sequences(*shape: Any, dtype: str = "float32") -> gc.Tensor:
    return gc.placeholder("sequences", shape, dtype)


def called_twice() -> gc.Tensor:
    layer = gc.nn.SimpleRNN(3)
    layer(sequences("n", "t", 2))
    return layer(sequences("n", "t", 3))


def built() -> gc.nn.Recurrent:
    layer = gc.nn.GRU(3)
    layer(sequences("n", "t", 2))
    return layer


BAD: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "no units": (ArgumentError, "units", lambda: gc.nn.LSTM(0)),
    "a matrix": (ShapeError, "batch of sequences", lambda: gc.nn.LSTM(3)(sequences("n", 4))),
    "symbolic features": (
        ShapeError, "static size", lambda: gc.nn.GRU(3)(sequences("n", 4, "f"))
    ),
    "ints": (DTypeError, "float", lambda: gc.nn.GRU(3)(sequences("n", 4, 2, dtype="int64"))),
    "other features": (ShapeError, "another size", called_twice),
    "an unknown form": (ArgumentError, "form", lambda: gc.nn.GRU(3, form="other")),
    "no recurrent layer": (
        ArgumentError, "recurrent", lambda: gc.nn.Bidirectional(gc.nn.Dense(3))  # type: ignore[arg-type]
    ),
    "a layer that is built": (ArgumentError, "recurrent", lambda: gc.nn.Bidirectional(built())),
    "an unknown merge": (
        ArgumentError, "merge", lambda: gc.nn.Bidirectional(gc.nn.GRU(3), "max")
    ),
    "an epsilon below 0": (ArgumentError, "epsilon", lambda: gc.nn.LayerNorm(-1.0)),
    "a scalar": (ShapeError, "scalar", lambda: gc.nn.RMSNorm()(gc.placeholder("s", ()))),
    "no rows": (ArgumentError, "input_dim", lambda: gc.nn.Embedding(0, 3)),
    "places that are floats": (
        DTypeError, "ints", lambda: gc.nn.Embedding(2, 3)(sequences("n", 4))
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_layers(case: str) -> None:
    kind, text, call = BAD[case]
    with pytest.raises(kind, match=text):
        call()


@pytest.mark.parametrize(
    "layer",
    [gc.nn.SimpleRNN(3, seed=0), gc.nn.LSTM(3, seed=0), gc.nn.GRU(3, seed=0)],
    ids=["rnn", "lstm", "gru"],
)
def test_masked_steps_are_left_out(layer: Any) -> None:
    """What is computed of padded sequences is what is computed of each without its padding."""
    x, mask = gc.placeholder("x", (2, 4, 2)), gc.placeholder("mask", (2, 4), "bool")
    value = rng.normal(size=(2, 4, 2)).astype("float32")
    there = np.array([[True, True, False, False], [False, True, False, True]])
    given = gc.evaluate(layer(x, mask=mask), {x: value, mask: there})
    for i in range(2):
        alone = gc.evaluate(layer(gc.constant(value[i, there[i]][None])))
        np.testing.assert_allclose(given[i], alone[0], rtol=1e-6)


def test_masks_and_states_go_through_stacks() -> None:
    x, mask = gc.placeholder("x", (2, 4, 2)), gc.placeholder("mask", (2, 4), "bool")
    model = gc.nn.Sequential(
        [
            gc.nn.Dense(3, seed=0),
            gc.nn.Bidirectional(gc.nn.GRU(2, return_sequences=True, seed=1)),
            gc.nn.LSTM(2, seed=2),
            gc.nn.Dense(1, seed=3),
        ]
    )
    value = rng.normal(size=(2, 4, 2)).astype("float32")
    there = np.array([[True, True, True, False]] * 2)
    given = gc.evaluate(model(x, mask=mask), {x: value, mask: there})
    short = gc.evaluate(model(gc.constant(value[:, :3])))
    np.testing.assert_allclose(given, short, rtol=1e-5, atol=1e-6)
    assert model.output_mask(mask) is None


def test_a_state_goes_on() -> None:
    """Two halves, the second from the state of the first, are the whole."""
    x = gc.placeholder("x", ("n", 6, 2), "float64")
    layer = gc.nn.LSTM(3, return_sequences=True, return_state=True, seed=0)
    whole, last = layer(x)
    first, state = layer(x[:, :2])
    second, end = layer(x[:, 2:], initial_state=state)
    value = rng.normal(size=(2, 6, 2))
    found = gc.evaluate([whole, gc.concat([first, second], axis=1), last, end], {x: value})
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
    np.testing.assert_allclose(found[2], found[3], rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"mask": np.ones((2, 4))}, DTypeError, "a mask is of bools"),
        ({"mask": np.ones((4, 2), bool)}, ShapeError, "does not fit the input"),
        ({"initial_state": np.ones((2, 3), "float32")}, ShapeError, "2 of f32"),
        ({"initial_state": [np.ones((2, 3))] * 2}, ShapeError, "does not fit"),
    ],
)
def test_masks_and_states_that_do_not_fit(options: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        gc.nn.LSTM(3)(gc.placeholder("x", (2, 4, 2)), **options)
    layer = gc.nn.Bidirectional(gc.nn.LSTM(3))
    with pytest.raises(ArgumentError, match="no pair"):
        layer(gc.placeholder("x", (2, 4, 2)), initial_state=np.ones((2, 3)))


# -- masks that nobody takes -----------------------------------------------------------------------
def test_a_mask_that_no_layer_takes_is_told_once_for_a_line() -> None:
    x = gc.placeholder("heeded_x", ("n", 5, 4))
    mask = gc.placeholder("heeded", ("n", 5), "bool")
    dense = gc.nn.Sequential([gc.nn.Dense(4)], name="plain")
    nested = gc.nn.Sequential([gc.nn.Sequential([gc.nn.Dense(3)]), gc.nn.Dropout(0.1)], name="two")
    added, pooled = gc.nn.Residual(gc.nn.Dense(4)), gc.nn.Sequential([gc.nn.GlobalAvgPool()])
    calls: list[Callable[[], Any]] = [
        lambda: dense(x, mask=mask),
        lambda: nested(x, mask=mask),
        lambda: added(x, mask=mask),
        lambda: pooled(x, mask=mask),
    ]
    for call, name in zip(calls, ("plain", "two", "residual", "sequential"), strict=True):
        with pytest.warns(MaskWarning, match=f"none of the layers of '{name}'") as told:
            call()
        assert len(told) == 1
        assert told[0].filename == __file__
        call()  # no warning again, which would be an error here
    heeding = [
        gc.nn.Sequential([gc.nn.Dense(4), dense, gc.nn.LSTM(2), gc.nn.Dense(2)]),
        gc.nn.Sequential([gc.nn.Bidirectional(gc.nn.GRU(2, return_sequences=True))]),
        gc.nn.Residual(gc.nn.GRU(4, return_sequences=True)),
    ]
    for layer in heeding:
        assert layer(x, mask=mask) is not layer(x)  # and no warning
