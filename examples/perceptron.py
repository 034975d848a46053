"""Perceptrons: what one of them can learn, and what several together can.

    python perceptron.py

A perceptron says on which side of a line a point is. Rosenblatt's rule learns AND and OR, and never
XOR, which no line separates; a layer in between does. Of k perceptrons with outputs -1 and 1 the
sum is > k - 1 where all agree (AND) and > -k where any does (OR). So an AND is a polygon without
dents, and an OR of ANDs any region with straight sides: here an arrow, put together by hand, and
learned from points by a network. Needs `pip install graphc[examples]`; writes `perceptron.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline

import graphc as gc

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
GATES = {"AND": [-1, -1, -1, 1], "OR": [-1, 1, 1, 1], "XOR": [-1, 1, 1, -1]}
SHAFT = np.array([[-0.8, -0.2], [0.1, -0.2], [0.1, 0.2], [-0.8, 0.2]], "float32")
HEAD = np.array([[0.1, -0.6], [0.8, 0.0], [0.1, 0.6]], "float32")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Perceptrons, gates and polygons.")
    parser.add_argument("--epochs", type=int, default=60, help="of learning a region")
    parser.add_argument("--points", type=int, default=2000, help="that it learns from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def sign(z: Any) -> Any:
    """The perceptron's: 1 above 0, else -1."""
    return gc.where(z > 0, 1.0, -1.0)


def rosenblatt() -> tuple[Any, Any, Any]:
    """A pass over all examples as one native call, and the line's weights: after each example
    w <- w + (y - sign(w x + b)) / 2 * x. It gives the number of mistakes."""
    x, y = gc.placeholder("x", ("n", 2)), gc.placeholder("y", ("n",))
    w, b = gc.variable(np.zeros(2, "float32"), "w"), gc.variable(0.0, "b")

    def visit(line: Any, example: Any) -> Any:
        (w, b), (x, y) = line, example
        mistake = (y - sign(x @ w + b)) / 2  # -1, 0 or 1
        return (w + mistake * x, b + mistake), gc.abs(mistake)

    (new_w, new_b), mistakes = gc.scan(visit, (w, b), (x, y))
    return gc.compile([x, y], gc.sum(mistakes), updates={w: new_w, b: new_b}), w, b


def inside(points: Any, corners: np.ndarray) -> Any:
    """1 inside of a polygon without dents, else -1: the AND of a perceptron for each side."""
    along = np.roll(corners, -1, axis=0) - corners  # counter-clockwise, so that the left is inside
    normals = np.stack([-along[:, 1], along[:, 0]], axis=1)
    sides = sign(points @ normals.T - np.sum(normals * corners, axis=1))
    return sign(gc.sum(sides, axis=1) - (len(corners) - 1))


def trained(layers: list[Any], x: Any, y: Any, rate: float, **options: Any) -> gc.train.Trainer:
    """A network that says how likely y = 1 is."""
    model = gc.nn.Sequential([*layers, gc.nn.Dense(1, "sigmoid")])
    trainer = gc.train.Trainer(
        model, loss="binary_crossentropy", optimizer=gc.optim.Adam(rate), metrics=["accuracy"]
    )
    trainer.fit(x, y[:, None], **options)
    return trainer


def main() -> None:
    arguments = parse_arguments()
    gc.nn.seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    figure = Figure(figsize=(10, 6.6), layout="constrained")
    panels = iter(figure.subplots(2, 3).flat)

    print(f"{'task':<28}{'passes':>8}{'mistakes':>10}")
    visit_all, w, b = rosenblatt()
    for gate, truth in GATES.items():
        w.value, b.value = np.zeros(2), 0.0
        history = [int(visit_all(CORNERS, truth))]
        while history[-1] and len(history) < 25:
            history.append(int(visit_all(CORNERS, truth)))
        name = f"{gate}, one perceptron"
        print(f"{name:<28}{len(history):>8}{history[-1]:>10}")
        values, bias = w.value, b.value
        show(next(panels), name, lambda p, v=values, c=bias: p @ v + c > 0, CORNERS, truth)

    is_one = np.array(GATES["XOR"]) > 0
    xor = trained(
        [gc.nn.Dense(8, "tanh")], CORNERS, is_one, 0.05, epochs=200, batch_size=4, verbose=False
    )
    wrong = np.sum((xor.predict(CORNERS)[:, 0] > 0.5) != is_one)
    print(f"{'XOR, a layer in between':<28}{200:>8}{wrong:>10}")
    show(
        next(panels), "XOR, a layer in between", lambda p: xor.predict(p)[:, 0] > 0.5,
        CORNERS, GATES["XOR"],
    )  # fmt: skip

    points = gc.placeholder("points", ("n", 2))
    arrow = gc.compile([points], sign(inside(points, SHAFT) + inside(points, HEAD) + 2) > 0)
    x = rng.uniform(-1, 1, (2 * arguments.points, 2)).astype("float32")
    truth = Outline(SHAFT).contains_points(x) | Outline(HEAD).contains_points(x)
    print(f"{'arrow, by hand':<28}{0:>8}{np.sum(arrow(x) != truth):>10}")
    show(next(panels), "arrow, 10 perceptrons by hand", arrow)

    half = arguments.points
    learned = trained(
        [gc.nn.Dense(32, "relu"), gc.nn.Dense(16, "relu")], x[:half], truth[:half], 0.01,
        epochs=arguments.epochs, batch_size=64, seed=arguments.seed,
    )  # fmt: skip
    wrong = np.sum((learned.predict(x[half:])[:, 0] > 0.5) != truth[half:])
    print(f"{'arrow, learned':<28}{arguments.epochs:>8}{wrong:>10}  of {half} new points")
    show(
        next(panels), f"arrow, learned from {half} points",
        lambda p: learned.predict(p)[:, 0] > 0.5, x[:300], np.where(truth[:300], 1, -1),
    )  # fmt: skip

    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "perceptron.png", dpi=120)


def show(axes: Any, title: str, region: Any, points: Any = (), signs: Any = ()) -> None:
    """A region, and points in it: discs are 1, crosses are -1."""
    low, high = (-0.5, 1.5) if len(points) == 4 else (-1, 1)
    line = np.linspace(low, high, 201, dtype="float32")
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    is_in = np.asarray(region(grid.reshape(-1, 2))).reshape(201, 201)
    axes.contourf(line, line, is_in, levels=[-0.5, 0.5, 1.5], colors=["#f4ead9", "#a9cbe3"])
    if len(points):
        small = len(points) > 4
        for value, marker, colour in ((1, "o", "#0072B2"), (-1, "x", "#D55E00")):
            chosen = np.asarray(points)[np.asarray(signs) == value]
            axes.plot(*chosen.T, marker, color=colour, markersize=3 if small else 9)
    axes.set(title=title, xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    axes.set(xticks=range(round(low), 2), yticks=range(round(low), 2))


if __name__ == "__main__":
    main()
