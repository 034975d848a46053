"""Optimisers race down one valley at many learning rates; descent with three sizes of batches.

    python optimizers.py

The valley is curved and far steeper across than along. Each optimiser runs at each rate, and is
drawn at the one that is lowest in the second half of its way. The second part fits a line with
batches of 1, m and all n points: small ones take many cheap and noisy steps in an epoch, the whole
takes one that points straight down. All optimisers are one compiled step, whose rate is a variable;
one step serves every size of batch.
Needs `pip install graphc[examples]`; writes `optimizers.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import graphc as gc

RACERS = {
    "SGD": (gc.optim.SGD, "#000000", "-"),
    "Momentum": (gc.optim.Momentum, "#E69F00", "-"),
    "Nesterov": (gc.optim.Nesterov, "#56B4E9", "--"),
    "Adagrad": (gc.optim.Adagrad, "#009E73", "-."),
    "RMSProp": (gc.optim.RMSProp, "#CC79A7", "-"),
    "Adam": (gc.optim.Adam, "#0072B2", "-"),
}
START = np.array([-1.2, 1.0], "float32")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A race of optimisers.")
    parser.add_argument("--steps", type=int, default=300, help="of the race")
    parser.add_argument("--rates", type=int, default=25, help="how many, from 1e-4 to 1")
    parser.add_argument("--epochs", type=int, default=8, help="of the fits with batches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def valley(p: Any) -> Any:
    """Rosenbrock's, 20 times as steep across as along; its lowest point is (1, 1)."""
    return (1 - p[0]) ** 2 + 20 * (p[1] - p[0] ** 2) ** 2


def race(rates: np.ndarray, steps: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The way of each optimiser [rates, steps, 2], and the heights along it [rates, steps]."""
    rate = gc.variable(0.0, "rate", dtype="float32", trainable=False)
    outputs, updates = {}, {}
    for name, (make, *_) in RACERS.items():
        p = gc.variable(START, name)
        outputs[name] = (p, valley(p))
        updates |= make(rate).minimize(valley(p), [p])
    step = gc.compile([], outputs, updates=updates)
    state = {v: v.value for v in updates}  # places, momenta and counts, as they begin

    seen = []
    for value in tqdm(rates, unit="rate"):
        for v, first in state.items():
            v.value = first
        rate.value = value
        seen.append([step() for _ in range(steps)])
    ways = {n: np.array([[s[n][0] for s in run] for run in seen]) for n in RACERS}
    heights = {n: np.array([[s[n][1] for s in run] for run in seen]) for n in RACERS}
    return ways, heights


def fit_line(sizes: list[int], epochs: int, rng: np.random.Generator) -> dict[int, Any]:
    """For each size of batch the weights and the loss over all points, after every step."""
    n = sizes[-1]
    x = rng.uniform(-1, 1.5, n).astype("float32")
    y = (0.5 + 1.5 * x + rng.normal(0, 0.5, n)).astype("float32")
    inputs = gc.placeholder("x", ("m",)), gc.placeholder("y", ("m",))  # m is any size
    w = gc.variable(np.zeros(2, "float32"), "w")
    loss = gc.mean((w[0] + w[1] * inputs[0] - inputs[1]) ** 2)
    step = gc.compile(inputs, w, updates=gc.optim.SGD(0.05).minimize(loss, [w]))
    found = {}
    for size in sizes:
        w.value = np.array([-1, -1], "float32")
        way = []
        for _ in range(epochs):
            order = rng.permutation(n)
            for at in range(0, n, size):
                batch = order[at : at + size]
                way.append(step(x[batch], y[batch]))
        way.append(w.value)
        found[size] = np.array(way), [np.mean((a + b * x - y) ** 2) for a, b in way]
    return found


def main() -> None:
    arguments = parse_arguments()
    figure = Figure(figsize=(12, 9), layout="constrained")
    (map_of_race, sweep), (map_of_line, curves) = figure.subplots(2, 2)

    rates = np.logspace(-4, 0, arguments.rates)
    ways, heights = race(rates, arguments.steps)
    print(f"{'optimiser':<12}{'best rate':>10}{'height':>12}{'distance':>10}")
    for name, (_, colour, line) in RACERS.items():
        last = np.nan_to_num(heights[name][:, arguments.steps // 2 :].mean(axis=1), nan=np.inf)
        best = int(np.argmin(last))
        way = ways[name][best]
        distance = np.linalg.norm(way[-1] - 1)
        print(f"{name:<12}{rates[best]:>10.4f}{last[best]:>12.2e}{distance:>10.4f}")
        map_of_race.plot(*way.T, line, color=colour, label=f"{name}, rate {rates[best]:.2g}")
        shown = np.where(last < 10, np.maximum(last, 1e-12), np.nan)
        sweep.loglog(rates, shown, line, color=colour, marker=".", label=name)
    contours(map_of_race, lambda a, b: valley((a, b)), (-1.6, 1.6), (-0.6, 1.8))
    map_of_race.plot(1, 1, "*", color="black", markersize=12)
    map_of_race.set(title=f"{arguments.steps} steps, each at its best rate", xlabel="x", ylabel="y")
    sweep.set(title="learning rates: where a line ends, it diverges")
    sweep.set(xlabel="learning rate", ylabel="mean height in the second half")

    n = 256
    fits = fit_line([1, 16, n], arguments.epochs, np.random.default_rng(arguments.seed))
    print(f"\n{'batch':<12}{'steps':>10}{'loss':>12}{'jitter':>10}")
    for (size, (way, losses)), colour in zip(
        fits.items(), ("#56B4E9", "#D55E00", "#000000"), strict=True
    ):
        jitter = np.std(way[-len(way) // 4 :], axis=0).mean()
        print(f"{size:<12}{len(way) - 1:>10}{losses[-1]:>12.4f}{jitter:>10.4f}")
        marker = "o-" if size == n else "-"
        map_of_line.plot(*way.T, marker, color=colour, markersize=4, lw=1, label=f"batch {size}")
        epochs = np.arange(len(way)) * size / n
        curves.semilogy(epochs, losses, marker, color=colour, markersize=4, lw=1)
    map_of_line.set(title="weights of a line, by batch size", xlabel="offset", ylabel="slope")
    curves.set(title="loss over all points", xlabel="epoch", ylabel="mean squared error")
    for axes in (map_of_race, sweep, map_of_line):
        axes.legend(fontsize=8)
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "optimizers.png", dpi=120)


def contours(axes: Any, height: Any, across: tuple[float, float], up: tuple[float, float]) -> None:
    a, b = np.meshgrid(np.linspace(*across, 200), np.linspace(*up, 200))
    axes.contour(a, b, np.log10(height(a, b) + 1e-3), levels=15, cmap="Greys", linewidths=0.7)
    axes.set(xlim=across, ylim=up)


if __name__ == "__main__":
    main()
