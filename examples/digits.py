"""Train a multilayer perceptron on scikit-learn's handwritten digits, and look at what was built.

    python digits.py

1,797 images of 8 x 8 pixels, a quarter of them held out. Needs `pip install graphc[examples]`.
Writes `digits-graph.svg` (the training step as a graph) and `digits-kernels.svg` (the kernels that
it was compiled to).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphc as gc


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a digit classifier with graphc.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the split, weights and batches")
    parser.add_argument("--target", default="cpu", help="cpu, cuda, or auto")
    parser.add_argument("--no-draw", action="store_true", help="write no drawings")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        images / 16, labels, test_size=0.25, stratify=labels, random_state=arguments.seed
    )

    gc.nn.seed(arguments.seed)
    model = gc.nn.Sequential(
        [
            gc.nn.Dense(256, "relu", kernel_initializer="he_normal"),
            gc.nn.Dropout(0.3),
            gc.nn.Dense(128, "relu", kernel_initializer="he_normal"),
            gc.nn.Dropout(0.3),
            gc.nn.Dense(10),
        ],
        name="mlp",
    )
    trainer = gc.train.Trainer(
        model,
        loss="softmax_cross_entropy",
        optimizer=gc.optim.Adam(2e-3),
        metrics=["accuracy"],
        target=arguments.target,
    )
    trainer.fit(x, y, epochs=arguments.epochs, batch_size=32, seed=arguments.seed)
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
