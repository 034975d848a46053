"""States of torch's and Keras's models in our layers, and back; `state_numbers.py` wrote them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.errors import ArgumentError, FileError
from graphc.nn import safetensors

FOLDER = Path(__file__).parent.parent / "golden" / "nn"
NUMBERS: dict[tuple[str, str], Any] = {
    (library, name): case
    for library in ("torch", "keras")
    for name, case in json.loads((FOLDER / f"{library}_states.json").read_text("utf-8")).items()
}
LAST: Any = {"data_format": "NHWC"}
TIMES: Any = {"return_sequences": True}


class Transformer(nn.Layer):
    def __init__(self) -> None:
        super().__init__("model")
        self.tokens, self.places = nn.Embedding(7, 4), nn.PositionEmbedding(5)
        self.blocks = [nn.TransformerBlock(2, 6, "relu", norm_first=False) for _ in range(2)]
        self.norm, self.head = nn.LayerNorm(), nn.Dense(3)

    def forward(self, x: Any, training: bool) -> Any:
        x = self.places(self.tokens(x))
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(self.norm(x))


class Swapped(nn.Layer):
    """Its layers have the names of torch's, in another order."""

    def __init__(self) -> None:
        super().__init__("model")
        self.first, self.second = nn.Dense(3, "tanh"), nn.Dense(3)

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x))


class Attention(nn.Layer):
    def __init__(self) -> None:
        super().__init__("model")
        self.attention, self.norm = nn.MultiHeadAttention(2, 3, 2), nn.LayerNorm()

    def forward(self, x: Any, memory: Any) -> Any:
        return self.norm(x + self.attention(x, memory))


def both_ends(layer: Callable[[], nn.Recurrent]) -> nn.Layer:
    return nn.Sequential([nn.Bidirectional(layer()) for _ in range(2)])


def batch_norm() -> nn.Layer:
    return nn.BatchNorm(momentum=0.9, epsilon=1e-5, unbiased=True)


MODELS: dict[tuple[str, str], Callable[[], nn.Layer]] = {
    ("torch", "mlp"): lambda: nn.Sequential([nn.Dense(5, "relu"), nn.Dropout(0.0), nn.Dense(2)]),
    ("torch", "cnn"): lambda: nn.Sequential([
        nn.Conv2D(3, 3, padding="same", use_bias=False), batch_norm(), nn.Activation("relu"),
        nn.MaxPool2D(2), nn.Conv2D(4, 2), batch_norm(), nn.Flatten(), nn.Dense(2),
    ]),
    ("torch", "images"): lambda: nn.Sequential([
        nn.DepthwiseConv2D(2, multiplier=2), nn.GroupNorm(2),
        nn.Conv2DTranspose(2, 3, 2, 1, output_padding=1), nn.InstanceNorm(),
    ]),
    ("torch", "lstm"): lambda: both_ends(lambda: nn.LSTM(2, **TIMES)),
    ("torch", "gru"): lambda: both_ends(lambda: nn.GRU(2, form="torch", **TIMES)),
    ("torch", "rnn"): lambda: nn.SimpleRNN(2, **TIMES),
    ("torch", "transformer"): Transformer,
    ("torch", "across"): lambda: nn.MultiHeadAttention(2),
    ("torch", "swapped"): Swapped,
    ("keras", "mlp"): lambda: nn.Sequential([nn.Dense(5, "relu"), nn.Dropout(0.0), nn.Dense(2)]),
    ("keras", "cnn"): lambda: nn.Sequential([
        nn.Conv2D(4, 3, padding="same", use_bias=False, **LAST), nn.BatchNorm(-1),
        nn.Activation("relu"), nn.MaxPool2D(2, **LAST), nn.Conv2D(4, 2, groups=2, **LAST),
        nn.BatchNorm(-1), nn.Flatten(), nn.Dense(2),
    ]),
    ("keras", "images"): lambda: nn.Sequential([
        nn.DepthwiseConv2D(2, multiplier=2, **LAST), nn.GroupNorm(2, -1),
        nn.Conv2DTranspose(3, 3, 2, "same", **LAST), nn.RMSNorm(),
    ]),
    ("keras", "recurrent"): lambda: nn.Sequential([
        nn.Embedding(6, 3), nn.Bidirectional(nn.LSTM(2, **TIMES)), nn.LSTM(2, **TIMES),
        nn.GRU(2, form="keras", **TIMES), nn.GRU(2, **TIMES), nn.SimpleRNN(2, **TIMES),
        nn.LayerNorm(),
    ]),
    ("keras", "attention"): Attention,
}  # fmt: skip


def test_every_model_has_one_of_ours() -> None:
    assert set(MODELS) == set(NUMBERS)


def arrays(given: dict[str, Any]) -> dict[str, Any]:
    found = {name: np.array(a) for name, a in given.items()}
    return {n: a.astype("float32") if a.dtype.kind == "f" else a for n, a in found.items()}


@pytest.mark.parametrize(("library", "name"), MODELS, ids=map("-".join, MODELS))
def test_states_of_others_in_and_out(library: str, name: str) -> None:
    """The results are theirs, with training too, and so is the state behind it."""
    numbers, model = NUMBERS[library, name], MODELS[library, name]()
    state = arrays(numbers["state"])
    given = list(arrays(dict(enumerate(numbers["inputs"]))).values())
    xs = [gc.placeholder(f"{library}_{name}{i}", a.shape, a.dtype) for i, a in enumerate(given)]
    model(*xs)
    model.load_state_dict(state, layout=library)
    trained = model(*xs, training=True)
    moved = model.updates(trained)
    data = dict(zip(xs, given, strict=True))
    result, training, new = gc.evaluate([model(*xs), trained, list(moved.values())], data)
    np.testing.assert_allclose(result, numbers["result"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(training, numbers["training"], rtol=1e-5, atol=1e-5)
    for v, value in zip(moved, new, strict=True):
        v.value = value
    out = model.state_dict(layout=library, like=state)
    assert [(n, a.shape, a.dtype) for n, a in out.items()] == [
        (n, a.shape, a.dtype) for n, a in state.items()
    ]
    for n, a in (arrays(numbers["state"]) | arrays(numbers["after"])).items():
        if not n.endswith("num_batches_tracked") and not is_split(n):
            np.testing.assert_allclose(out[n], a, rtol=1e-5, atol=1e-6, err_msg=n)
    before = model.state_dict()  # biases that add are others than theirs; their sum is the same
    model.load_state_dict(out, layout=library)
    assert all((before[path] == a).all() for path, a in model.state_dict().items())


def is_split(name: str) -> bool:
    """Whether it is one of two biases that are added."""
    return "bias_ih" in name or "bias_hh" in name or name.endswith("gru/gru_cell/bias")


# -- what does not fit -----------------------------------------------------------------------------
def mlp(*widths: int) -> nn.Layer:
    return nn.Sequential([nn.Dense(w) for w in widths], name="net").init(("n", 4))


def linear(size: int, units: int, name: str) -> dict[str, Any]:
    return {f"{name}.weight": np.ones((units, size)), f"{name}.bias": np.zeros(units)}


def test_a_state_of_another_model_is_named() -> None:
    model = mlp(3, 2)
    before = model.state_dict()
    with pytest.raises(ArgumentError, match=r"2 missing[\s\S]*net/dense2/kernel"):
        model.load_state_dict(linear(4, 3, "0"), layout="torch")
    extra = linear(4, 3, "0") | linear(3, 2, "1") | {"1.running_mean": np.ones(2)}
    with pytest.raises(ArgumentError, match=r"unknown: 1\.weight, 1\.bias, 1\.running_mean"):
        model.load_state_dict(extra, layout="torch")
    with pytest.raises(ArgumentError, match=r"net/dense2/kernel: \(4, 2\) for \(3, 2\)"):
        model.load_state_dict(linear(4, 3, "0") | linear(4, 2, "1"), layout="torch")
    with pytest.raises(ArgumentError, match=r"of no layer: 2\.weight, 2\.bias"):
        model.state_dict(
            layout="torch", like=linear(4, 3, "0") | linear(3, 2, "1") | linear(2, 2, "2")
        )
    with pytest.raises(ArgumentError, match=r"without a place: dense2 \(weight, bias\)"):
        model.state_dict(layout="torch", like=linear(4, 3, "0"))
    assert all((model.state_dict()[path] == a).all() for path, a in before.items())


def test_a_new_head_on_old_layers() -> None:
    """Without `strict` what is not there stays, and what has no layer is left."""
    model = mlp(3, 5)
    kept = model.state_dict()["net/dense2/kernel"]
    norm = {"1.weight": np.ones(3), "1.bias": np.ones(3), "1.running_mean": np.ones(3)}
    model.load_state_dict(norm | linear(4, 3, "0"), strict=False, layout="torch")
    assert (model.state_dict()["net/dense1/kernel"] == 1).all()
    assert (model.state_dict()["net/dense2/kernel"] == kept).all()


def test_a_name_that_is_a_path_of_ours_is_not_taken_for_it() -> None:
    """What lies otherwise there is turned, or refused: never assigned as it is."""
    model = nn.Sequential([nn.Conv2D(3, 3, name="c")], name="net").init(("n", 3, 5, 5))
    state = {"net/c/kernel": np.ones((3, 3, 3, 3)), "net/c/bias": np.ones(3)}
    with pytest.raises(ArgumentError, match="unknown: net/c/kernel of keras"):
        model.load_state_dict(state | {"net/c/more": np.ones(3)}, layout="keras")
    model.load_state_dict(state, layout="keras")


def test_what_is_no_state() -> None:
    model = mlp(3)
    for given in (None, [np.ones(3)], 3):
        with pytest.raises(ArgumentError, match="not a state"):
            model.load_state_dict(given)  # type: ignore[arg-type]

    class Elsewhere:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("it is on a card")

    with pytest.raises(ArgumentError, match=r"0\.weight is no array[\s\S]*it is on a card"):
        model.load_state_dict({"0.weight": Elsewhere()}, layout="torch")
    with pytest.raises(ArgumentError, match="None, 'torch' or 'keras'"):
        model.load_state_dict({}, layout="mxnet")
    with pytest.raises(ArgumentError, match="like=the state of that model"):
        model.state_dict(layout="torch")


def test_gates_that_do_not_fit() -> None:
    """The course's equations are none of torch's; rows that are no blocks are said so."""
    shapes = {"weight_ih_l0": (6, 3), "weight_hh_l0": (6, 2), "bias_ih_l0": 6, "bias_hh_l0": 6}
    state = {name: np.ones(shape) for name, shape in shapes.items()}
    with pytest.raises(ArgumentError, match='form="torch"'):
        nn.GRU(2).init(("n", 4, 3)).load_state_dict(state, layout="torch")
    gru = nn.GRU(2, form="torch").init(("n", 4, 3))
    gru.load_state_dict(state, layout="torch")
    with pytest.raises(ArgumentError, match=r"given: +weight_ih_l0: \(7, 3\)"):
        gru.load_state_dict(state | {"weight_ih_l0": np.ones((7, 3))}, layout="torch")


def test_a_bias_that_has_no_place_is_not_dropped() -> None:
    lstm = nn.LSTM(2).init(("n", 4, 3))
    like = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
    with pytest.raises(ArgumentError, match=r"without a place: bias_ih_l0"):
        lstm.state_dict(layout="torch", like=like)  # the gate that forgets begins with 1
    lstm.bias.value = np.zeros(8)
    assert [*lstm.state_dict(layout="torch", like=like)] == [*like]


def test_a_layer_of_ones_own_between_those_of_others() -> None:
    """Its variables have their own names, beside the layers inside; its random key stays."""

    class Scaled(nn.Layer):
        def build(self, x: Any) -> None:
            self.scale = self.add_variable("scale", (2,), "ones")
            self.noise = self.add_key("noise")

        def forward(self, x: Any) -> Any:
            return x * self.scale

    model = nn.Sequential([nn.Dense(2), Scaled("scaled")], name="net").init(("n", 4))
    key = model.state_dict()["net/scaled/noise"]
    state = linear(4, 2, "body.0") | {"body.1.scale": np.full(2, 3.0)}
    model.load_state_dict(state, layout="torch")
    assert (model.state_dict()["net/scaled/scale"] == 3).all()
    assert (model.state_dict()["net/scaled/noise"] == key).all()
    assert [*model.state_dict(layout="torch", like=state)] == [*state]


def test_a_file_of_torchs_names(tmp_path: Path) -> None:
    model, path = mlp(3), tmp_path / "model.safetensors"
    safetensors.write(path, linear(4, 3, "fc"), {})
    model.load_weights(path, layout="torch")
    assert (model.state_dict()["net/dense1/kernel"] == 1).all()
    safetensors.write(path, linear(4, 2, "fc"), {})
    with pytest.raises(FileError, match="of another shape"):
        model.load_weights(path, layout="torch")
