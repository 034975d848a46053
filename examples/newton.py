"""Second derivatives: Newton, conjugate gradients and L-BFGS beside gradient descent.

    python newton.py

All minimise one convex loss, a logistic regression with a penalty. An epoch of SGD is a step for
each batch; one of the others is a single step over all data, and costs more, but goes much further:
Newton solves with the matrix of second derivatives, conjugate gradients use products of it with
vectors, L-BFGS guesses it from the last gradients. Each step is one native call, line search and
linear algebra included. Needs `pip install graphc[examples]`; writes `newton.png`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer
from tqdm import trange

import graphc as gc

OPTIMIZERS: dict[str, tuple[Any, int | None, str, str]] = {  # with the size of its batches
    "SGD": (lambda: gc.optim.SGD(0.1), 32, "#000000", "-"),
    "Adam": (lambda: gc.optim.Adam(0.02), 32, "#E69F00", "-"),
    "Nesterov, all data": (lambda: gc.optim.Nesterov(0.3), None, "#56B4E9", "--"),
    "conjugate gradients": (lambda: gc.optim.ConjugateGradient(), None, "#CC79A7", "-"),
    "L-BFGS": (lambda: gc.optim.LBFGS(), None, "#009E73", "-."),
    "Newton": (lambda: gc.optim.Newton(), None, "#0072B2", "-"),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Second-order optimisers beside SGD.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--penalty", type=float, default=1e-3, help="of the weights' squares")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the batches")
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def minimized(
    optimizer: Any, size: int, x: np.ndarray, y: np.ndarray, arguments: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """The loss over all data before and after every epoch, and the seconds that each took."""
    inputs = (
        gc.placeholder("x", ("n", x.shape[1]), "float64"),
        gc.placeholder("y", ("n", 1), "float64"),
    )
    model = gc.nn.Dense(
        1, kernel_initializer="zeros", kernel_regularizer=gc.nn.regularizers.l2(arguments.penalty)
    )
    error = gc.nn.losses.binary_cross_entropy(model(inputs[0]), inputs[1], reduction="mean")
    loss = error + model.penalty()
    step = gc.compile(inputs, None, updates=optimizer.minimize(loss, model))
    value = gc.compile(inputs, loss)
    rng = np.random.default_rng(arguments.seed)
    losses, seconds = [float(value(x, y))], []
    for _ in trange(arguments.epochs, unit="epoch"):
        order = rng.permutation(len(x))
        batches = [(x[rows], y[rows]) for rows in np.split(order, range(size, len(x), size))]
        start = time.perf_counter()
        for batch in batches:
            step(*batch)
        seconds.append(time.perf_counter() - start)
        losses.append(float(value(x, y)))
    return losses, seconds


def main() -> None:
    arguments = parse_arguments()
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    found = {
        name: minimized(make(), size or len(x), x, y[:, None].astype(float), arguments)
        for name, (make, size, *_) in OPTIMIZERS.items()
    }
    least = min(min(losses) for losses, _ in found.values())

    print(f"lowest loss {least:.10f}, at the start {found['SGD'][0][0]:.4f}")
    print(f"{'optimiser':<22}{'epochs to 1e-6':>16}{'last gap':>12}{'ms an epoch':>14}")
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    for name, (losses, seconds) in found.items():
        gaps = np.array(losses) - least
        close = np.flatnonzero(gaps < 1e-6)
        reached = str(close[0]) if len(close) else "-"
        milliseconds = 1e3 * float(np.median(seconds))
        print(f"{name:<22}{reached:>16}{gaps[-1]:>12.1e}{milliseconds:>14.2f}")
        _, _, colour, line = OPTIMIZERS[name]
        shown = np.where(gaps > 1e-14, gaps, np.nan)  # 0 has no logarithm
        times = milliseconds * np.arange(1, len(gaps))
        by_epoch.semilogy(shown, line, color=colour, label=name)
        by_time.loglog(times, shown[1:], line, color=colour, label=name)
    by_epoch.set(xlabel="epoch", ylabel="loss above the lowest one", title="by epochs")
    by_time.set(xlabel="milliseconds", title="by time, from the median of an epoch")
    by_epoch.legend(fontsize=8)
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "newton.png", dpi=120)


if __name__ == "__main__":
    main()
