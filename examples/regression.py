"""Linear, logistic and softmax regression: one dense layer each, on three of scikit-learn's sets.

    python regression.py

A line through the progress of diabetes, beside the least squares solution that linear algebra
gives; whether a tumour is benign, by a logit; which of three growers a wine is from, by three. What
differs is the loss. Needs `pip install graphc[examples]`; writes `regression.png`, and
`regression-graph.svg`, the training step of the softmax regression as a graph.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import train_test_split

import graphc as gc

BLUE, ORANGE = "#0072B2", "#D55E00"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Regressions by one dense layer.")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the splits and the batches")
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the pictures")
    return parser.parse_args()


def split(load: Any, seed: int) -> tuple[np.ndarray, ...]:
    """x, y, and a quarter of both held out; features of mean 0 and standard deviation 1."""
    x, y = load(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=seed)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    return (x - mean) / deviation, y, (x_test - mean) / deviation, y_test


def trained(layer: Any, x: Any, y: Any, loss: str, metrics: Any, args: Any) -> gc.train.Trainer:
    """The layer, fitted by descent with a rate that goes to 0, so that batches agree in the end."""
    steps = args.epochs * -(-len(x) // 32)
    rate = gc.optim.schedules.cosine(0.05, decay_steps=steps)
    trainer = gc.train.Trainer(layer, loss=loss, optimizer=gc.optim.Momentum(rate), metrics=metrics)
    trainer.fit(x, y, epochs=args.epochs, batch_size=32, seed=args.seed)
    return trainer


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The weights, and the bias last, that minimise the squared error."""
    a, b = gc.placeholder("a", ("n", "m"), "float64"), gc.placeholder("b", ("n",), "float64")
    solution = gc.linalg.lstsq(a, b).x
    return gc.compile([a, b], solution)(np.column_stack([x, np.ones(len(x))]), y)


def main() -> None:
    arguments = parse_arguments()
    gc.nn.seed(arguments.seed)
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)

    x, y, x_test, y_test = split(load_diabetes, arguments.seed)
    scale = y.std()  # targets of a size of about 1, as the weights begin
    linear = trained(gc.nn.Dense(1), x, y[:, None] / scale, "mse", ["r2"], arguments)
    r2 = linear.evaluate(x_test, y_test[:, None] / scale)["r2"]
    best = least_squares(x, y / scale)
    found = np.append(linear.model.kernel.value[:, 0], linear.model.bias.value)
    error = np.abs(found - best).max()
    scatter(left, y_test, linear.predict(x_test)[:, 0] * scale)

    x, y, x_test, y_test = split(load_breast_cancer, arguments.seed)
    layer = gc.nn.Dense(1, kernel_regularizer=gc.nn.regularizers.l2(1e-3))
    metrics = ["accuracy", "auc"]
    logistic = trained(layer, x, y[:, None], "binary_cross_entropy", metrics, arguments)
    tumours = logistic.evaluate(x_test, y_test[:, None])
    histogram(middle, logistic.predict(x_test)[:, 0], y_test)

    x, y, x_test, y_test = split(load_wine, arguments.seed)
    layer = gc.nn.Dense(3, kernel_regularizer=gc.nn.regularizers.l2(1e-3))
    metrics = ["accuracy", "confusion_matrix"]
    softmax = trained(layer, x, y, "softmax_cross_entropy", metrics, arguments)
    wines = softmax.evaluate(x_test, y_test)
    matrix(right, wines["confusion_matrix"])

    print(f"{'set':<16}{'regression':<12}{'held out':<22}")
    print(f"{'diabetes':<16}{'linear':<12}R^2 {r2:.4f}")
    print(f"{'breast cancer':<16}{'logistic':<12}accuracy {tumours['accuracy']:.4f}, ", end="")
    print(f"area under the ROC curve {tumours['auc']:.4f}")
    print(f"{'wine':<16}{'softmax':<12}accuracy {wines['accuracy']:.4f}")
    print(f"weights of the linear one: at most {error:.4f} from those of least squares")

    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "regression.png", dpi=120)
    step = softmax.step(x, y)
    gc.draw(step, arguments.output / "regression-graph.svg")


def scatter(axes: Any, truth: np.ndarray, predictions: np.ndarray) -> None:
    axes.plot(truth, predictions, "o", color=BLUE, alpha=0.6)
    ends = [truth.min(), truth.max()]
    axes.plot(ends, ends, "--", color="black", label="exact")
    axes.set(title="diabetes: linear", xlabel="progress after a year", ylabel="prediction")
    axes.legend()


def histogram(axes: Any, logits: np.ndarray, truth: np.ndarray) -> None:
    bins = np.linspace(logits.min(), logits.max(), 30)
    for value, name, colour, hatch in ((0, "malignant", ORANGE, "///"), (1, "benign", BLUE, "")):
        chosen = logits[truth == value]
        axes.hist(chosen, bins, label=name, color=colour, alpha=0.7, hatch=hatch, edgecolor="white")
    axes.axvline(0, color="black", linestyle="--")
    axes.set(title="breast cancer: logistic", xlabel="logit", ylabel="tumours")
    axes.legend()


def matrix(axes: Any, counts: np.ndarray) -> None:
    axes.imshow(counts, cmap="Blues", vmax=1.5 * counts.max())
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, f"{count:g}", ha="center", va="center")
    axes.set(
        title="wine: softmax", xlabel="predicted grower", ylabel="grower",
        xticks=range(len(counts)), yticks=range(len(counts)),
    )  # fmt: skip


if __name__ == "__main__":
    main()
