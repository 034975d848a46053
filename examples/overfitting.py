"""Too small, too free, and four ways to hold a network back: L1, L2, dropout, early stopping.

    python overfitting.py

All fit the same few noisy points of a wave. A line is too small for it. A large network goes
through the noise: its loss falls on and on, and the loss of points that it has not seen rises.
Penalties keep its weights small, dropout keeps units from relying on each other, early stopping
goes back to the best epoch. Needs `pip install graphc[examples]`; writes `overfitting.png`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import graphc as gc
from graphc.nn.regularizers import l1, l2

BLUE, ORANGE = "#0072B2", "#D55E00"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Under- and overfitting, side by side.")
    parser.add_argument("--epochs", type=int, default=3000)
    parser.add_argument("--points", type=int, default=20, help="to learn from")
    parser.add_argument("--width", type=int, default=64, help="of the two hidden layers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def wave(x: np.ndarray) -> np.ndarray:
    return np.sin(3 * x)


def network(width: int, penalty: Any = None, dropout: float = 0.0) -> gc.nn.Sequential:
    kinks = gc.nn.initializers.uniform(-1, 1)  # biases, so that not all kinks begin at 0
    layers: list[Any] = []
    for _ in range(2):
        layers.append(
            gc.nn.Dense(width, "relu", True, "he_normal", kinks, kernel_regularizer=penalty)
        )
        if dropout:
            layers.append(gc.nn.Dropout(dropout))
    return gc.nn.Sequential([*layers, gc.nn.Dense(1, kernel_regularizer=penalty)])


def main() -> None:
    arguments = parse_arguments()
    width = arguments.width
    models: dict[str, Callable[[], Any]] = {
        "a line": lambda: gc.nn.Sequential([gc.nn.Dense(1)]),
        "a large network": lambda: network(width),
        "L1": lambda: network(width, l1(1e-3)),
        "L2": lambda: network(width, l2(2e-3)),
        "dropout": lambda: network(width, dropout=0.1),
        "early stopping": lambda: network(width),
    }
    rng = np.random.default_rng(arguments.seed)
    x, x_new = (rng.uniform(-2, 2, (n, 1)) for n in (arguments.points, 200))
    y, y_new = (wave(v) + rng.normal(0, 0.3, v.shape) for v in (x, x_new))
    line = np.linspace(-2, 2, 400)[:, None]

    figure = Figure(figsize=(15, 5.6), layout="constrained")
    panels = figure.subplots(2, len(models), sharey="row")
    rows = []
    for (name, make), (above, below) in zip(models.items(), panels.T, strict=True):
        gc.nn.seed(arguments.seed)  # the same first values for all
        callbacks = []
        if name == "early stopping":
            callbacks = [gc.train.EarlyStopping(patience=300, restore_best_weights=True)]
        trainer = gc.train.Trainer(
            make(), loss="mse", optimizer=gc.optim.Adam(5e-3), metrics=["mse"]
        )
        history = trainer.fit(
            x, y, epochs=arguments.epochs, batch_size=len(x), validation_data=(x_new, y_new),
            callbacks=callbacks, seed=arguments.seed,
        )  # fmt: skip
        losses = [trainer.evaluate(*data)["mse"] for data in ((x, y), (x_new, y_new))]
        norm = np.sqrt(sum(np.sum(v.value**2) for v in trainer.model.parameters() if v.ndim == 2))
        rows.append((name, history.epochs, *losses, norm))

        above.plot(line, wave(line), "--", color="black", label="the wave")
        above.plot(line, trainer.predict(line), color=BLUE, label="the network")
        above.plot(x, y, "o", color=ORANGE, markersize=4, label="points")
        above.set(title=name, xlabel="x", ylim=(-2.2, 2.2))
        below.semilogy(history["mse"], color=BLUE, label="learned from")
        below.semilogy(history["val_mse"], color=ORANGE, linestyle="--", label="new points")
        below.set(xlabel="epoch", ylim=(1e-3, 3))
    panels[0, 0].set_ylabel("y")
    panels[1, 0].set_ylabel("mean squared error")
    panels[0, 0].legend(loc="lower right", fontsize=8)
    panels[1, 0].legend(loc="lower right", fontsize=8)

    print(f"{'model':<18}{'epochs':>8}{'error':>10}{'new points':>12}{'weights':>10}")
    for name, epochs, here, new, norm in rows:
        print(f"{name:<18}{epochs:>8}{here:>10.4f}{new:>12.4f}{norm:>10.2f}")
    print("(the noise alone has an error of 0.09)")
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "overfitting.png", dpi=120)


if __name__ == "__main__":
    main()
