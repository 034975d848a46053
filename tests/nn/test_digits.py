"""Digits by three kinds of models, on the part that was held out.

Run by hand it prints the medians of seeds 0 to 4, which are to be 0.975, 0.985 and 0.965; the test
takes one seed, and asks for 0.02 less.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

MODELS: dict[str, tuple[Callable[[], gc.nn.Layer], float, int, float]] = {
    "mlp": (
        lambda: gc.nn.Sequential(
            [gc.nn.Flatten(), gc.nn.Dense(128, "relu"), gc.nn.Dropout(0.3), gc.nn.Dense(10)]
        ),
        3e-3, 40, 0.975,
    ),
    "cnn": (
        lambda: gc.nn.Sequential(
            [
                gc.nn.Reshape((1, 8, 8)),
                gc.nn.Conv2D(16, 3, padding="same", use_bias=False),
                gc.nn.BatchNorm(momentum=0.9),
                gc.relu,
                gc.nn.Conv2D(32, 3, padding="same", activation="relu"),
                gc.nn.MaxPool2D(2),
                gc.nn.Flatten(),
                gc.nn.Dropout(0.4),
                gc.nn.Dense(10),
            ]
        ),
        2e-3, 20, 0.985,
    ),
    "lstm": (
        lambda: gc.nn.Sequential([gc.nn.LSTM(64), gc.nn.Dropout(0.3), gc.nn.Dense(10)]),
        5e-3, 40, 0.965,
    ),
}  # fmt: skip


def held_out_accuracy(name: str, seed: int) -> float:
    """The share of 360 digits that a model gets right, which was trained on the others."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = (digits.images / 16).astype("float32"), digits.target
    order = np.random.default_rng(0).permutation(len(images))
    held_out, rest = order[:360], order[360:]
    make, rate, epochs, _ = MODELS[name]
    gc.nn.seed(seed)
    trainer: Any = gc.train.Trainer(
        make(),
        loss="softmax_cross_entropy",
        optimizer=gc.optim.Adam(rate),
        metrics=["accuracy"],
    )
    trainer.fit(
        images[rest], labels[rest], epochs=epochs, batch_size=32, seed=seed, verbose=False
    )
    return float(trainer.evaluate(images[held_out], labels[held_out])["accuracy"])


@pytest.mark.parametrize("name", MODELS)
def test_digits(name: str) -> None:
    assert held_out_accuracy(name, 0) >= MODELS[name][3] - 0.02


if __name__ == "__main__":
    for model, (*_, floor) in MODELS.items():
        found = [held_out_accuracy(model, seed) for seed in range(5)]
        sys.stdout.write(f"{model}: {statistics.median(found):.4f} (floor {floor}) {found}\n")
