"""Writes states of models of torch and Keras, and what these models compute, to compare with ours.

    python tests/nn/state_numbers.py torch       # with torch 2.13
    python tests/nn/state_numbers.py keras       # with Keras 3.15 and torch; no test needs them

The numbers are in `tests/golden/nn/torch_states.json` and `keras_states.json`, which
`test_states.py` reads. Of each model there is the state, inputs, the result without and with
training, and the state behind the latter. Weights have three decimals, so that they are read as
what they were.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent.parent / "golden" / "nn"
Made = tuple[dict[str, Any], list[Any], Callable[[bool], Any], Callable[[], dict[str, Any]]]


def some(rng: np.random.Generator, *shape: int) -> Any:
    return rng.uniform(-1.0, 1.0, shape).round(3).astype("float32")


def torch_models() -> Iterator[tuple[str, Made]]:
    import torch
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(7, 4), nn.Embedding(5, 4)
            block = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
            self.norm, self.head = nn.LayerNorm(4, bias=False), nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
            return self.head(self.norm(self.encoder(h)))

    class Across(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=3, batch_first=True)

        def forward(self, x: Any, memory: Any) -> Any:
            return self.attention(x, memory, memory)[0]

    class Swapped(nn.Module):
        """What comes last was made first."""

        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return self.second(torch.tanh(self.first(x)))

    rng = np.random.default_rng(0)
    both = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    models: dict[str, tuple[nn.Module, list[Any]]] = {
        "mlp": (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), [some(rng, 3, 4)]),
        "cnn": (
            nn.Sequential(
                nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
                nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(),
                nn.Linear(4, 2),
            ),
            [some(rng, 2, 2, 4, 4)],
        ),
        "images": (
            nn.Sequential(
                nn.Conv2d(2, 4, 2, groups=2), nn.GroupNorm(2, 4),
                nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1),
                nn.InstanceNorm2d(2, affine=True),
            ),
            [some(rng, 2, 2, 4, 4)],
        ),
        "lstm": (nn.LSTM(2, 2, **both), [some(rng, 2, 4, 2)]),
        "gru": (nn.GRU(2, 2, **both), [some(rng, 2, 4, 2)]),
        "rnn": (nn.RNN(3, 2, batch_first=True, bias=False), [some(rng, 2, 4, 3)]),
        "transformer": (Transformer(), [rng.integers(0, 7, (2, 5))]),
        "across": (Across(), [some(rng, 2, 3, 4), some(rng, 2, 4, 3)]),
        "swapped": (Swapped(), [some(rng, 2, 3)]),
    }  # fmt: skip
    for name, (module, inputs) in models.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        for key, array in module.state_dict().items():
            if array.is_floating_point():
                low = 0.5 if "var" in key else 0.0
                array.copy_(torch.from_numpy(some(rng, *array.shape) * (1 - low) + 2 * low))
        given = [torch.from_numpy(x) for x in inputs]

        def run(training: bool, module: Any = module, given: Any = given) -> Any:
            module.train(training)
            found = module(*given)
            return (found[0] if isinstance(found, tuple) else found).detach().numpy()

        def state(module: Any = module) -> dict[str, Any]:
            return {k: v.detach().numpy().copy() for k, v in module.state_dict().items()}

        yield name, (state(), inputs, run, state)


def keras_models() -> Iterator[tuple[str, Made]]:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras import layers

    def stack(shape: tuple[int, ...], *parts: Any) -> Any:
        return keras.Sequential([keras.Input(shape), *parts])

    rng = np.random.default_rng(0)
    all_times = {"return_sequences": True}
    x, memory = keras.Input((4, 4)), keras.Input((3, 3))
    attended = layers.MultiHeadAttention(2, 3, value_dim=2)(x, memory)
    models: dict[str, tuple[Any, list[Any]]] = {
        "mlp": (
            stack((4,), layers.Dense(5, "relu"), layers.Dropout(0.0), layers.Dense(2)),
            [some(rng, 3, 4)],
        ),
        "cnn": (
            stack(
                (4, 4, 2), layers.Conv2D(4, 3, padding="same", use_bias=False),
                layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(),
                layers.Conv2D(4, 2, groups=2), layers.BatchNormalization(), layers.Flatten(),
                layers.Dense(2),
            ),
            [some(rng, 2, 4, 4, 2)],
        ),
        "images": (
            stack(
                (4, 4, 2), layers.DepthwiseConv2D(2, depth_multiplier=2),
                layers.GroupNormalization(2, epsilon=1e-5),
                layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
                layers.RMSNormalization(epsilon=1e-6),
            ),
            [some(rng, 2, 4, 4, 2)],
        ),
        "recurrent": (
            stack(
                (5,), layers.Embedding(6, 3), layers.Bidirectional(layers.LSTM(2, **all_times)),
                layers.LSTM(2, use_bias=False, **all_times), layers.GRU(2, **all_times),
                layers.GRU(2, reset_after=False, **all_times),
                layers.SimpleRNN(2, **all_times), layers.LayerNormalization(epsilon=1e-5),
            ),
            [rng.integers(0, 6, (2, 5))],
        ),
        "attention": (
            keras.Model([x, memory], layers.LayerNormalization(epsilon=1e-5)(x + attended)),
            [some(rng, 2, 4, 4), some(rng, 2, 3, 3)],
        ),
    }  # fmt: skip
    for name, (model, inputs) in models.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        for w in model.weights:
            low = 0.5 if "variance" in w.path else 0.0
            w.assign(some(rng, *w.shape) * (1 - low) + 2 * low)

        def run(training: bool, model: Any = model, inputs: Any = inputs) -> Any:
            found = model(inputs if len(inputs) > 1 else inputs[0], training=training)
            return keras.ops.convert_to_numpy(found)

        def state(model: Any = model) -> dict[str, Any]:
            return {w.path: keras.ops.convert_to_numpy(w).copy() for w in model.weights}

        yield name, (state(), inputs, run, state)


def numbers(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array.tolist()
    flat = [float(f"{v:.8g}") for v in array.ravel()]
    return np.reshape(flat, array.shape).tolist()


def written(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: numbers(a) for name, a in arrays.items()}


if __name__ == "__main__":
    library = sys.argv[1]
    lines = []
    for name, (before, inputs, run, state) in {"torch": torch_models, "keras": keras_models}[
        library
    ]():
        case = {
            "state": written(before),
            "inputs": [numbers(x) for x in inputs],
            "result": numbers(run(False)),
            "training": numbers(run(True)),
            "after": {n: v for n, v in written(state()).items() if v != written(before)[n]},
        }
        lines.append(f" {json.dumps(name)}: {json.dumps(case)}")
    path = FOLDER / f"{library}_states.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
