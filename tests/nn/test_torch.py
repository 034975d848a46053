"""Layers and losses equal torch's: values, every gradient, state. `torch_numbers.py` wrote what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.nn import losses

FILE = Path(__file__).parent.parent / "golden" / "nn" / "torch.json"
NUMBERS: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
Arrays = dict[str, np.ndarray]
Take = Callable[[Arrays], Any]  # an array of ours from torch's


class Sum(NamedTuple):
    """A parameter of ours that is the sum of two of torch's, which have its gradient both."""

    first: Take
    second: Take

    def __call__(self, arrays: Arrays) -> Any:
        return self.first(arrays) + self.second(arrays)


class Case(NamedTuple):
    """A layer, our parameters by the ends of their paths, and how it is called."""

    make: Callable[[], gc.nn.Layer]
    parameters: dict[str, Take]
    call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs, training=True)
    state: dict[str, str] = {}  # noqa: RUF012  (a tuple's fields are never written)


def of(name: str) -> Take:
    return lambda arrays: arrays[name]


def turned(name: str) -> Take:
    return lambda arrays: arrays[name].T


def blocks(take: Take, order: Sequence[int], count: int = 3) -> Take:
    """The blocks of the last axis in another order."""
    return lambda arrays: np.concatenate(
        [np.split(take(arrays), count, axis=-1)[i] for i in order], axis=-1
    )


def recurrent(prefix: str = "", layer: str = "l0", path: str = "") -> dict[str, Take]:
    ih, hh = f"{prefix}weight_ih_{layer}", f"{prefix}weight_hh_{layer}"
    bias = Sum(of(f"{prefix}bias_ih_{layer}"), of(f"{prefix}bias_hh_{layer}"))
    return {
        f"{path}kernel": turned(ih), f"{path}recurrent_kernel": turned(hh), f"{path}bias": bias,
    }  # fmt: skip


def gru(prefix: str = "") -> dict[str, Take]:
    """torch's rows are those of r, z, n; and each has two biases, that add for r and z."""
    order, first, second = (1, 0, 2), of(f"{prefix}bias_ih_l0"), of(f"{prefix}bias_hh_l0")

    def of_candidate(arrays: Arrays) -> Any:
        return np.split(second(arrays), 3)[2]

    def bias(arrays: Arrays) -> Any:
        both = np.array(first(arrays))
        size = len(both) // 3
        both[: 2 * size] += second(arrays)[: 2 * size]
        return both

    return {
        "kernel": blocks(turned(f"{prefix}weight_ih_l0"), order),
        "recurrent_kernel": blocks(turned(f"{prefix}weight_hh_l0"), order),
        "bias": OfGradient(blocks(bias, order), blocks(first, order)),
        "recurrent_bias": of_candidate,
    }


class OfGradient(NamedTuple):
    """A parameter whose gradient is taken in another way than its value."""

    value: Take
    gradient: Take

    def __call__(self, arrays: Arrays) -> Any:
        return self.value(arrays)


NORM = {"gamma": of("weight"), "beta": of("bias")}
LINEAR = {"kernel": of("weight"), "bias": of("bias")}
MOVING = {"moving_mean": "running_mean", "moving_variance": "running_var"}
RNN: dict[str, Any] = {"return_sequences": True, "return_state": True}


def _batch_norm() -> gc.nn.Layer:
    return gc.nn.BatchNorm(momentum=0.75, epsilon=1e-5, unbiased=True)


def _both_ends(layer: gc.nn.Layer, x: Any) -> Any:
    y, ((h, c), (back_h, back_c)) = layer(x)
    return y, gc.stack([h, back_h]), gc.stack([c, back_c])


def _with_state(layer: gc.nn.Layer, x: Any, *state: Any) -> Any:
    y, (h, c) = layer(x, initial_state=[s[0] for s in state])
    return y, h[None], c[None]


def _stacked(layer: gc.nn.Layer, x: Any) -> Any:
    below, above = layer.stack
    inner, (h, c) = below(x)
    y, (h2, c2) = above(inner)
    return y, gc.stack([h, h2]), gc.stack([c, c2])


def _sequence(layer: gc.nn.Layer, x: Any) -> Any:
    y, state = layer(x)
    return y, *(s[None] for s in state)


def _padded(layer: gc.nn.Layer, x: Any, lengths: Any) -> Any:
    return layer(x, mask=gc.arange(x.shape[1]) < lengths[:, None])[None]


def rows(name: str, part: int) -> Take:
    """One of three blocks of rows, turned."""
    return lambda arrays: np.split(arrays[name], 3)[part].T


def attention(prefix: str = "", path: str = "") -> dict[str, Take]:
    found: dict[str, Take] = {}
    for i, name in enumerate(("query", "key", "value")):
        found[f"{path}{name}/kernel"] = rows(f"{prefix}in_proj_weight", i)
        found[f"{path}{name}/bias"] = rows(f"{prefix}in_proj_bias", i)
    found[f"{path}output/kernel"] = turned(f"{prefix}out_proj.weight")
    found[f"{path}output/bias"] = of(f"{prefix}out_proj.bias")
    return found


BLOCK = attention("self_attn.", "attention/") | {
    "attention_norm/gamma": of("norm1.weight"), "attention_norm/beta": of("norm1.bias"),
    "dense_norm/gamma": of("norm2.weight"), "dense_norm/beta": of("norm2.bias"),
    "inner/kernel": turned("linear1.weight"), "inner/bias": of("linear1.bias"),
    "outer/kernel": turned("linear2.weight"), "outer/bias": of("linear2.bias"),
}  # fmt: skip


def _ctc(logits: Any, labels: Any, times: Any, lengths: Any) -> Any:
    return losses.ctc(logits, labels, input_lengths=times, target_lengths=lengths)


def _with(function: Any, **options: Any) -> Any:
    return lambda p, t: function(p, t, **options)


def _elements(function: Any, **options: Any) -> Any:
    """A loss of ours, which averages over the elements of examples, of each element by itself."""

    def each(p: Any, t: Any) -> Any:
        found = function(gc.reshape(p, (p.size, 1)), gc.reshape(t, (t.size, 1)), **options)
        return gc.reshape(found, p.shape)

    return each


LOSSES: dict[str, Any] = {
    "cross_entropy": losses.softmax_cross_entropy,
    "cross_entropy_smooth": _with(losses.softmax_cross_entropy, label_smoothing=0.2),
    "cross_entropy_weighted": _with(
        losses.softmax_cross_entropy, class_weight=[0.5, 2.0, 1.0, 0.25], reduction="mean"
    ),
    "binary_from_logits": _elements(losses.binary_cross_entropy),
    "binary": _elements(losses.binary_cross_entropy, from_logits=False),
    "squared": _elements(losses.mean_squared_error),
    "absolute": _elements(losses.mean_absolute_error),
    "huber": _elements(losses.huber, delta=0.5),
    "poisson": _elements(losses.poisson),
    "cosine": losses.cosine_similarity,
    "divergence": losses.kl_divergence,
    "ctc": _ctc,
}

CASES: dict[str, Case] = {
    "dense": Case(lambda: gc.nn.Dense(3), {"kernel": turned("weight"), "bias": of("bias")}),
    "embedding": Case(lambda: gc.nn.Embedding(6, 3), {"table": of("weight")}),
    "layer_norm": Case(gc.nn.LayerNorm, NORM),
    "rms_norm": Case(gc.nn.RMSNorm, {"gamma": of("weight")}),
    "group_norm": Case(lambda: gc.nn.GroupNorm(2), NORM),
    "instance_norm": Case(gc.nn.InstanceNorm, NORM),
    "batch_norm": Case(_batch_norm, NORM, state=MOVING),
    "batch_norm_of_images": Case(_batch_norm, NORM, state=MOVING),
    "batch_norm_predicts": Case(_batch_norm, NORM, lambda layer, x: layer(x), MOVING),
    "rnn": Case(lambda: gc.nn.SimpleRNN(4, **RNN), recurrent(), _sequence),
    "lstm": Case(lambda: gc.nn.LSTM(4, **RNN), recurrent(), _sequence),
    "gru": Case(lambda: gc.nn.GRU(4, form="torch", **RNN), gru(), _sequence),
    "lstm_from_both_ends": Case(
        lambda: gc.nn.Bidirectional(gc.nn.LSTM(2, **RNN)),
        recurrent(path="forward/") | recurrent("", "l0_reverse", "backward/"),
        _both_ends,
    ),
    "lstm_stacked": Case(
        lambda: gc.nn.Sequential([gc.nn.LSTM(2, **RNN), gc.nn.LSTM(2, **RNN)]),
        recurrent(path="lstm1/") | recurrent("", "l1", "lstm2/"),
        _stacked,
    ),
    "lstm_from_a_state": Case(
        lambda: gc.nn.LSTM(2, **RNN), recurrent("inner."), _with_state
    ),
    "conv1d": Case(lambda: gc.nn.Conv1D(2, 3, 2, 1), LINEAR),
    "conv2d": Case(lambda: gc.nn.Conv2D(3, (3, 2), (2, 1), (1, 0)), LINEAR),
    "conv2d_dilated_in_groups": Case(lambda: gc.nn.Conv2D(2, 2, dilation=2, groups=2), LINEAR),
    "conv2d_depthwise": Case(lambda: gc.nn.DepthwiseConv2D(3, 1, 1, multiplier=2), LINEAR),
    "conv2d_transpose": Case(
        lambda: gc.nn.Conv2DTranspose(3, 3, 2, 1, output_padding=1), LINEAR
    ),
    "max_pool": Case(lambda: gc.nn.MaxPool2D(2), {}),
    "avg_pool": Case(lambda: gc.nn.AvgPool2D(2, 1), {}),
    **{name: Case(lambda f=f: gc.nn.Lambda(f), {}) for name, f in LOSSES.items()},
    "attention": Case(lambda: gc.nn.MultiHeadAttention(2), attention("inner.")),
    "attention_across": Case(lambda: gc.nn.MultiHeadAttention(2), attention("inner.")),
    "attention_causal": Case(
        lambda: gc.nn.MultiHeadAttention(2, causal=True), attention("inner.")
    ),
    "transformer_block": Case(lambda: gc.nn.TransformerBlock(2, 6), BLOCK),
    "transformer_block_normed_last": Case(
        lambda: gc.nn.TransformerBlock(2, 6, "relu", norm_first=False), BLOCK
    ),
    "gru_of_padded": Case(lambda: gc.nn.GRU(2, form="torch"), gru("inner."), _padded),
}


def _array(value: Any, dtype: str) -> Any:
    array = np.asarray(value)
    return array.astype(dtype) if array.dtype.kind == "f" else array


def _close(given: Any, expected: Any, dtype: str, what: str) -> None:
    expected = np.asarray(expected)
    part = 1e-10 if dtype == "float64" else 1e-5
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(given, expected, rtol=part, atol=part * size, err_msg=what)


def test_every_case_of_torch_has_one_of_ours() -> None:
    assert set(CASES) == set(NUMBERS)


@pytest.fixture(autouse=True)
def _default_dtype() -> Iterator[None]:
    yield
    gc.set_default_dtype("float32")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_equals_torch(name: str, dtype: str) -> None:
    case, numbers = CASES[name], NUMBERS[name]
    given = [_array(a, dtype) for a in numbers["inputs"]]
    inputs = [gc.placeholder(f"{name}{i}", a.shape, a.dtype) for i, a in enumerate(given)]
    gc.set_default_dtype(dtype)
    layer = case.make()
    case.call(layer, *inputs)
    layer.updates()
    own = {path.partition("/")[2]: v for path, v in layer.paths().items()}
    found = {n: np.array(p) for n, p in numbers["parameters"].items()}
    for path, take in case.parameters.items():
        own[path].value = take(found)
    if name == "batch_norm_predicts":
        for path, theirs in case.state.items():
            own[path].value = numbers["state"][theirs]
    results = case.call(layer, *inputs)
    flat = list(results) if isinstance(results, tuple) else [results]
    total = sum(
        (gc.sum(r * np.cos(np.arange(a.size)).reshape(a.shape).astype(dtype)))
        for r, a in zip(flat, map(np.array, numbers["results"]), strict=True)
    )
    floats = [x for x in inputs if x.dtype.is_float]
    watched = [*floats, *(own[path] for path in case.parameters)]
    states = [layer.updates(total).get(own[path], own[path]) for path in case.state]
    data = dict(zip(inputs, given, strict=True))
    values, slopes, moved = gc.evaluate([flat, gc.grad(total, watched), states], data)
    for value, expected in zip(values, numbers["results"], strict=True):
        _close(value, expected, dtype, "value")
    gradients = {n: np.array(g) for n, g in numbers["gradients"].items()}
    theirs = [gradients.get(f"input{i}") for i, x in enumerate(inputs) if x.dtype.is_float]
    for take in case.parameters.values():
        way = {Sum: "first", OfGradient: "gradient"}.get(type(take))
        theirs.append((getattr(take, way) if way else take)(gradients))
    for v, slope, expected in zip(watched, slopes, theirs, strict=True):
        if expected is not None:  # torch has none of some targets
            _close(slope, expected, dtype, f"gradient of {v}")
    for path, value in zip(case.state, moved, strict=True):
        _close(value, numbers["state"][case.state[path]], dtype, path)
