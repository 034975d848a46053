"""The contract of layers: what they take and give, names, building without data, state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(5)


class Both(gc.nn.Layer):
    """Two inputs, a dict of results."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = gc.nn.Dense(3, seed=0), gc.nn.Dense(3, seed=1)

    def forward(self, a: Any, b: Any, training: bool = False) -> Any:
        return {"sum": self.query(a) + self.key(b), "pair": (a, b)}


class Counted(gc.nn.Layer):
    """x + how often it was called in training before."""

    def build(self, x: Any) -> None:
        self.count = self.add_variable("count", (), dtype=x.dtype, trainable=False)

    def forward(self, x: gc.Tensor, training: bool) -> gc.Tensor:
        now = self.current(self.count)
        if training:
            self.note_update(self.count, now + gc.mean(x))
        return x + now


# -- what they take and give -----------------------------------------------------------------------
def test_structures_in_and_out() -> None:
    class Swap(gc.nn.Layer):
        def build(self, x: Any) -> None:
            self.types = x

        def forward(self, x: Any) -> Any:
            return x["b"] * 2, [x["a"]]

    a, b = gc.placeholder("a", ("n", 3)), gc.placeholder("b", (2,), "int64")
    layer = Swap()
    twice, (same,) = layer({"a": a, "b": b})
    assert twice is b * 2
    assert same is a
    assert layer.types == {"a": a.type, "b": b.type}
    first, _ = gc.nn.Sequential([layer, lambda pair: pair])({"a": a, "b": b})
    assert first is twice


def test_several_inputs() -> None:
    a, b = gc.placeholder("a", ("n", 3)), gc.placeholder("b", ("n", 2))
    layer = Both()
    found = layer(a, b)
    x, y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))
    w, bias, v, second = (p.value for p in layer.parameters())
    given = gc.evaluate(found["sum"], {a: x, b: y})
    np.testing.assert_allclose(given, x @ w + bias + y @ v + second, rtol=1e-5)
    assert found["pair"] == (a, b)


def test_lists_of_numbers_are_tensors() -> None:
    layer = gc.nn.Dense(
        2, "relu", kernel_initializer=np.array([[1, 0.5], [0.5, 1]]), bias_initializer=[-2, 0.5]
    )
    np.testing.assert_array_equal(gc.evaluate(layer([[1.0, 2], [-1, 2]])), [[0, 3], [0, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, a: d(a, a), "another number of inputs.*1 input.*given: +2"),
        (lambda d, a: d(a, True), r"training is given by keyword: layer\(x, training=True\)"),
        (lambda d, a: d(), "another number of inputs"),
        (lambda d, a: d([a, a]), "it takes one tensor"),
        (lambda d, a: d({"x": a}), "it takes one tensor"),
        (lambda d, a: d(None), "it takes one tensor"),
        (lambda d, a: d(a, training=a), "training is True or False"),
        (lambda d, a: d(a, training=1), "training is True or False"),
        (lambda d, a: d(a, mask=a), "it takes no mask"),
        (lambda d, a: d(a, other=a), "it takes no other"),
        (lambda d, a: Both()(a), "2 inputs"),
    ],
)
def test_calls_of_another_form(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"(?s){message}") as caught:
        call(gc.nn.Dense(3), gc.placeholder("a", ("n", 3)))
    assert "test_module.py" in str(caught.value)


def test_results_are_tensors() -> None:
    class Text(gc.nn.Layer):
        def forward(self, x: Any) -> Any:
            return {"text": "none"}

    class Nothing(gc.nn.Layer):
        def forward(self, x: Any) -> None:
            pass

    with pytest.raises(ArgumentError, match=r"result\['text'\]"):
        Text()(gc.placeholder("a", ("n", 3)))
    with pytest.raises(ArgumentError, match="its forward gives nothing"):
        Nothing()(gc.placeholder("a", ("n", 3)))


def test_a_subclass_need_not_call_init() -> None:
    class Bare(gc.nn.Layer):
        def __init__(self) -> None:
            self.inner = gc.nn.Dense(2)

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    assert list(Bare().init((None, 3)).paths()) == ["bare/dense/kernel", "bare/dense/bias"]


# -- names -----------------------------------------------------------------------------------------
def test_paths_are_unique() -> None:
    class Block(gc.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = gc.nn.Dense(3)
            self.inner = {"deep": [[Both()]]}

        def forward(self, x: Any, training: bool) -> Any:
            return self.inner["deep"][0][0](self.dense(x), x)["sum"]

    block = [Block(), Block(), gc.nn.Dense(3, name="a"), gc.nn.Dense(3, name="a")]
    model = gc.nn.Sequential([*block, block[2]], name="net").init((None, 3))
    weights = [p for p in model.paths() if p.endswith("kernel")]
    assert weights == [
        "net/block1/dense/kernel", "net/block1/both/query/kernel", "net/block1/both/key/kernel",
        "net/block2/dense/kernel", "net/block2/both/query/kernel", "net/block2/both/key/kernel",
        "net/a/kernel", "net/a2/kernel",
    ]  # fmt: skip
    assert [v.name for v in model.variables()] == list(model.paths())
    assert list(model.paths().values()) == model.variables()
    assert model.layer_paths()[block[3]] == "net/a2"


def test_own_variables_have_names() -> None:
    class Own(gc.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.scale = gc.variable(1.0)
            self.shift = [gc.variable(0.0), gc.variable(0.0, name="bias")]

        def forward(self, x: Any) -> Any:
            return x * self.scale + self.shift[0] + self.shift[1]

    assert list(Own().paths()) == ["own/scale", "own/shift1", "own/bias"]


# -- building without data -------------------------------------------------------------------------
def test_init_builds() -> None:
    model = gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dropout(0.5)])
    assert model.init(("n", 4), "float64") is model
    assert [(v.shape, v.dtype.name) for v in model.variables()] == [
        ((4, 3), "float64"), ((3,), "float64"), ((2,), "uint32"),
    ]  # fmt: skip
    pair = gc.nn.Sequential([gc.nn.Concatenate(), gc.nn.Dense(2)])
    pair.init([(None, 4), ["n", 3]])
    assert pair.parameters()[0].shape == (7, 2)
    assert gc.nn.Embedding(5, 2).init((None, 7), "int64").table.shape == (5, 2)
    both = {"a": (3,), "b": [2, 2]}
    seen: list[Any] = []
    gc.nn.Lambda(lambda x: seen.append(x) or x).init(both, {"a": "float64", "b": "int32"})
    assert {name: str(t.type) for name, t in seen[0].items()} == {"a": "f64[3]", "b": "i32[2,2]"}


@pytest.mark.parametrize("shape", [784, "n", (2.5,), None, [("n", 4), 3]])
def test_what_is_no_shape(shape: Any) -> None:
    with pytest.raises(ArgumentError, match="not a shape"):
        gc.nn.Dense(3).init(shape)


def test_summary_before_the_first_call() -> None:
    model = gc.nn.Sequential([gc.nn.Dense(3, "relu"), gc.nn.LSTM(2)], name="net")
    rows = [line.split() for line in model.summary(("b", 7, 4)).splitlines() if "net/" in line]
    # 7 times: 2 * 4 * 3 for the product, 3 for the bias, 3 for relu; the products of LSTM 80
    assert rows[0] == ["net/dense1", "(Dense)", "(b,", "7,", "3)", "15", f"{7 * 30}*b"]
    assert rows[1][:-1] == ["net/lstm1", "(LSTM)", "(b,", "2)", "48"]
    assert 7 * 80 < int(rows[1][-1].removesuffix("*b")) < 7 * 400


# -- sequential ------------------------------------------------------------------------------------
def test_layers_are_added() -> None:
    model = gc.nn.Sequential()
    with pytest.raises(ArgumentError, match="no layers"):
        model(gc.placeholder("x", ("n", 4)))
    model.add(gc.nn.Dense(3))
    model.add(gc.tanh)
    model.init(("n", 4))
    before = model.variables()
    model.add(gc.nn.Dense(2))
    assert model.init(("n", 4)).variables()[:2] == before
    assert [*model.paths()][2] == "sequential/dense2/kernel"
    with pytest.raises(ArgumentError, match="not a layer"):
        model.add(3)


# -- state -----------------------------------------------------------------------------------------
def test_minimize_takes_a_model() -> None:
    x = gc.placeholder("x", ("n", 4))
    model = gc.nn.Sequential([gc.nn.Dense(3, seed=0), gc.nn.Dropout(0.5, seed=0), Counted()])
    loss = gc.mean(model(x, training=True))
    updates = gc.optim.SGD(0.1).minimize(loss, model)
    assert set(updates) == set(model.variables())
    assert updates == updates | model.updates()
    model.stack[0].trainable = False
    with pytest.raises(ArgumentError, match="no variables"):
        gc.optim.SGD(0.1).minimize(loss, model)


def test_the_calls_that_lead_to_the_loss_count() -> None:
    x, y, z = (gc.placeholder(name, (2,), "float64") for name in "xyz")
    layer = Counted()
    layer(z, training=True)  # to look at it
    loss = layer(x, training=True) + layer(y, training=True)
    layer(z, training=True)
    (found,) = layer.updates(loss).values()
    data = {x: [1.0, 3.0], y: [4.0, 6.0]}
    layer.count.value = 1
    assert gc.evaluate(found, data) == 1 + 2 + 5
    assert layer.updates() == {layer.count: found}
    again = layer(x, training=True)  # afresh
    assert layer.updates(again) == {layer.count: layer.count + gc.mean(x)}


def test_calls_inside_a_loop_count() -> None:
    xs = gc.placeholder("xs", (3, 2))
    layer = gc.nn.Dropout(0.5, seed=0)
    layer.init((2,))
    _, ys = gc.scan(lambda carry, x: (carry, layer(x, training=True)), gc.constant(0.0), xs)
    assert layer.updates(gc.sum(ys)).keys() == {layer.key}


# -- regularisers and constraints ------------------------------------------------------------------
def test_penalties_enter_the_loss() -> None:
    x = gc.placeholder("x", (5, 4), "float64")
    model = gc.nn.Dense(3, kernel_regularizer=gc.nn.regularizers.l1_l2(0.1, 0.2), seed=0)
    loss = gc.mean(gc.square(model(x)))
    kernel, bias = model.parameters()
    w, data = kernel.value, {x: RNG.normal(size=(5, 4))}
    penalty = 0.1 * np.abs(w).sum() + 0.2 * (w * w).sum()
    assert gc.evaluate(model.penalty()) == pytest.approx(penalty, rel=1e-12)
    plain = gc.evaluate(gc.grad(loss, [kernel, bias]), data)
    for shown in (loss, loss + model.penalty()):  # once, whoever adds it
        updates = gc.optim.SGD(1.0).minimize(shown, model)
        given = gc.evaluate([updates[kernel], updates[bias]], data)
        slope = plain[0] + 0.1 * np.sign(w) + 0.4 * w
        np.testing.assert_allclose(given[0], w - slope, rtol=1e-12)
        np.testing.assert_allclose(given[1], -plain[1], rtol=1e-12)
    kernel.trainable = False
    assert gc.evaluate(model.penalty()) == 0


def test_constraints_are_applied_to_updates() -> None:
    x = gc.placeholder("x", (5, 4), "float64")
    model = gc.nn.Dense(3, kernel_constraint=gc.nn.constraints.max_norm(0.5), seed=0)
    loss = gc.mean(gc.square(model(x)))
    step = gc.compile([x], loss, updates=gc.optim.Adam(0.1).minimize(loss, model))
    step(RNG.normal(size=(5, 4)))
    norms = np.linalg.norm(model.kernel.value, axis=0)
    assert norms.max() == pytest.approx(0.5, rel=1e-12)


W = RNG.normal(size=(4, 3))
CONV = RNG.normal(size=(2, 3, 2, 2))


@pytest.mark.parametrize(
    ("constraint", "w", "expected"),
    [
        ("non_negative", W, np.maximum(W, 0)),
        ("unit_norm", W, W / np.linalg.norm(W, axis=0)),
        (gc.nn.constraints.unit_norm(1), W, W / np.linalg.norm(W, axis=1, keepdims=True)),
        (
            gc.nn.constraints.min_max_norm(0.5, 0.75, 0.5), W,
            W / np.linalg.norm(W, axis=0)
            * (np.clip(np.linalg.norm(W, axis=0), 0.5, 0.75) + np.linalg.norm(W, axis=0)) / 2,
        ),
        ("unit_norm", CONV, CONV / np.sqrt((CONV**2).sum(axis=(1, 2, 3), keepdims=True))),
        ("max_norm", np.zeros((3, 2)), np.zeros((3, 2))),
    ],
)  # fmt: skip
def test_constraints(constraint: Any, w: Any, expected: Any) -> None:
    found = gc.evaluate(gc.nn.constraints.get(constraint)(gc.constant(w)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_is_no_regularizer_or_constraint() -> None:
    for options in ({"kernel_regularizer": "l3"}, {"bias_constraint": 2}):
        with pytest.raises(ArgumentError, match="expected: a callable, or one of"):
            gc.nn.Dense(3, **options)
    for wrong in (lambda: gc.nn.regularizers.l2(-1), lambda: gc.nn.constraints.max_norm(0)):
        with pytest.raises(ArgumentError, match="out of range"):
            wrong()
    w = gc.variable([1.0, 2.0], name="w")
    with pytest.raises(ArgumentError, match="a function of a tensor, or None"):
        w.regularizer = "l2"
    w.regularizer = gc.abs
    with pytest.raises(ShapeError, match="a penalty is a scalar"):
        gc.optim.SGD().minimize(gc.sum(w), [w])
    w.regularizer, w.constraint = None, gc.sum
    with pytest.raises(ShapeError, match="a constraint gives the type of the variable"):
        gc.optim.SGD().minimize(gc.sum(w), [w])


# -- small layers ----------------------------------------------------------------------------------
def test_layers_that_move_elements() -> None:
    x = gc.placeholder("x", ("n", 2, 3))
    value = RNG.normal(size=(4, 2, 3)).astype(np.float32)
    cases = {
        gc.nn.Reshape((3, 2)): value.reshape(4, 3, 2),
        gc.nn.Reshape((-1,)): value.reshape(4, 6),
        gc.nn.Permute((2, 1)): value.transpose(0, 2, 1),
        gc.nn.Sequential([gc.nn.Flatten(), gc.nn.RepeatVector(2)]): np.repeat(
            value.reshape(4, 1, 6), 2, axis=1
        ),
        gc.nn.Lambda(lambda x, training: x * 2): value * 2,
        gc.nn.Residual(gc.nn.Activation("relu")): value + np.maximum(value, 0),
    }
    for layer, expected in cases.items():
        np.testing.assert_array_equal(gc.evaluate(layer(x), {x: value}), expected)
    both = gc.nn.Add()(x, x), gc.nn.Concatenate(axis=1)([x, x])
    assert both[0] is x + x
    assert both[1] is gc.concat([x, x], axis=1)
    assert gc.nn.Flatten()(gc.placeholder("image", ("n", 18, 18, 3))).shape[1] == 972


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (lambda x: gc.nn.Reshape((4, 4))(x), ShapeError),
        (lambda x: gc.nn.Reshape("ab"), ArgumentError),
        (lambda x: gc.nn.Permute((0, 1)), ArgumentError),
        (lambda x: gc.nn.Permute((1,))(x), ShapeError),
        (lambda x: gc.nn.RepeatVector(2)(gc.placeholder("v", (3,))), ShapeError),
        (lambda x: gc.nn.Lambda(3), ArgumentError),
        (lambda x: gc.nn.Add()(x), ArgumentError),
        (lambda x: gc.nn.Add()(x, x[:, :1]), ShapeError),
        (lambda x: gc.nn.Residual(gc.nn.Flatten())(x), ShapeError),
        (lambda x: gc.nn.Residual(gc.relu), ArgumentError),
    ],
)
def test_small_layers_refuse(wrong: Any, kind: Any) -> None:
    with pytest.raises(kind):
        wrong(gc.placeholder("x", ("n", 2, 3)))


# -- layers that a forward makes -------------------------------------------------------------------
def test_a_layer_that_forward_makes_and_loses_is_an_error() -> None:
    class Fresh(gc.nn.Layer):
        def __init__(self, make: Any) -> None:
            super().__init__("fresh")
            self.make = make

        def forward(self, x: gc.Tensor, training: bool) -> gc.Tensor:
            return gc.nn.Flatten()(self.make()(x, training=training))

    x = gc.placeholder("made_x", ("n", 3))
    for make, variable in (
        (lambda: gc.nn.Dense(2), "kernel, bias"),
        (lambda: gc.nn.Dropout(0.5), "key"),
        (lambda: gc.nn.Sequential([gc.nn.BatchNorm()]), "gamma"),
    ):
        with pytest.raises(ArgumentError, match="whose variables are of this call only") as caught:
            Fresh(make)(x, training=True)
        assert variable in caught.value.given
        assert "__init__ or build" in caught.value.hint
    assert Fresh(lambda: gc.nn.Activation("tanh"))(x).shape == x.shape  # which has none
    outside = gc.nn.Sequential([gc.nn.Dense(2)])  # whose build makes what is not this layer's
    assert Fresh(lambda: outside)(x).shape == (gc.dim("n"), 2)


def test_a_layer_that_forward_makes_once_and_keeps() -> None:
    class Lazy(gc.nn.Layer):
        dense: gc.nn.Layer | None = None

        def forward(self, x: gc.Tensor) -> Any:
            self.dense = self.dense or gc.nn.Dense(2)
            return self.dense(x)

    lazy = Lazy("lazy")
    lazy(gc.placeholder("made_x", ("n", 3)))
    assert list(lazy.paths()) == ["lazy/dense/kernel", "lazy/dense/bias"]


def test_a_layer_that_defines_its_call_is_told() -> None:
    """It computes, but nothing is known of its calls."""

    class Own(gc.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = gc.nn.Dense(2)

        def __call__(self, x: Any) -> Any:  # type: ignore[override]
            return self.inner(x)

    layer = Own()
    assert layer(gc.zeros((3, 4))).shape == (3, 2)
    with pytest.raises(ArgumentError, match="Own defines __call__: forward is what"):
        gc.latex(layer)
