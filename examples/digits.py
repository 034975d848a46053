"""Train a network on scikit-learn's handwritten digits, and look at what was built.

    python digits.py [--model mlp|cnn|lstm]

1,797 images of 8 x 8 pixels, a quarter of them held out. The models are a multilayer perceptron, a
convolutional network, and an LSTM that reads an image row by row. Needs `pip install
graphc[examples]`. Writes `digits-graph.svg` (the training step as a graph) and
`digits-kernels.svg` (the kernels that it was compiled to).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphc as gc


class Recipe(NamedTuple):
    """The layers of a model of images [n, 64], and how it is trained."""

    layers: Callable[[], list[object]]
    rate: float
    epochs: int


def mlp() -> list[object]:
    return [
        gc.nn.Dense(256, "relu", kernel_initializer="he_normal"),
        gc.nn.Dropout(0.3),
        gc.nn.Dense(128, "relu", kernel_initializer="he_normal"),
        gc.nn.Dropout(0.3),
        gc.nn.Dense(10),
    ]


def cnn() -> list[object]:
    return [
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


def lstm() -> list[object]:
    return [gc.nn.Reshape((8, 8)), gc.nn.LSTM(64), gc.nn.Dropout(0.3), gc.nn.Dense(10)]


MODELS = {
    "mlp": Recipe(mlp, rate=2e-3, epochs=30),
    "cnn": Recipe(cnn, rate=2e-3, epochs=20),
    "lstm": Recipe(lstm, rate=5e-3, epochs=40),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a digit classifier with graphc.")
    parser.add_argument("--model", choices=MODELS, default="mlp")
    parser.add_argument("--epochs", type=int, help="30, 20 and 40 by default")
    parser.add_argument("--seed", type=int, default=0, help="of the split, weights and batches")
    parser.add_argument("--target", default="cpu", help="cpu, cuda, or auto")
    parser.add_argument("--no-draw", action="store_true", help="write no drawings")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    recipe = MODELS[arguments.model]
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        images / 16, labels, test_size=0.25, stratify=labels, random_state=arguments.seed
    )

    gc.nn.seed(arguments.seed)
    model = gc.nn.Sequential(recipe.layers(), name=arguments.model)
    trainer = gc.train.Trainer(
        model,
        loss="softmax_cross_entropy",
        optimizer=gc.optim.Adam(recipe.rate),
        metrics=["accuracy"],
        target=arguments.target,
    )
    epochs = recipe.epochs if arguments.epochs is None else arguments.epochs
    trainer.fit(x, y, epochs=epochs, batch_size=32, seed=arguments.seed)
    print(model.summary())
    print(f"test accuracy: {trainer.evaluate(x_test, y_test)['accuracy']:.4f}")

    step = trainer.step(x, y)
    print(f"nodes: {len(step.graph.nodes)}, optimised: {len(step.optimized.nodes)}")
    print(f"kernels: {len(step.kernels)}")
    batch = np.float32(x[:32]), y[:32]
    print(f"time per step: {median_time(step, batch) * 1e6:.0f} us (median, batch of 32)")

    if not arguments.no_draw:
        gc.draw(step, "digits-graph.svg", view="graph")
        gc.draw(step, "digits-kernels.svg", view="kernels")
        print("wrote digits-graph.svg and digits-kernels.svg")


def median_time(step: Callable[..., object], batch: tuple[np.ndarray, np.ndarray]) -> float:
    """Seconds for one training step. These steps train too, so this comes last."""
    seconds = []
    for _ in range(500):
        start = time.perf_counter()
        step(*batch)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
