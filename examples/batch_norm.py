"""Why first values matter in a deep network, and what batch normalisation changes about it.

    python batch_norm.py

The same ten layers begin with weights that are too small, right (He's, of variance 2 / n) and too
large. What goes through the layers shrinks to nothing, stays, or grows without bound, and they
learn late, quickly or badly; at the high learning rate used here even the right ones come off their
way. With batch normalisation behind each layer the size is right whatever the weights are, and all
three learn alike. Needs `pip install graphc[examples]`; writes `batch_norm.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphc as gc

STARTS = {  # how large the variance of a weight is, times n
    "too small": (0.1, "#0072B2"),
    "He": (2.0, "#009E73"),
    "too large": (20.0, "#D55E00"),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Initialisation and batch normalisation.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def network(scale: float, normalized: bool, layers: int, width: int) -> gc.nn.Sequential:
    start = gc.nn.initializers.variance_scaling(scale)
    model = gc.nn.Sequential(name="deep")
    for _ in range(layers):
        model.add(gc.nn.Dense(width, use_bias=not normalized, kernel_initializer=start))
        if normalized:
            model.add(gc.nn.BatchNorm(momentum=0.9))
        model.add(gc.relu)
    model.add(gc.nn.Dense(10))
    return model


def sizes(model: gc.nn.Sequential, data: np.ndarray) -> np.ndarray:
    """The standard deviation of what comes out of each layer, in a training step."""
    x = gc.placeholder("x", ("n", data.shape[1]))
    h, found = x, []
    for layer in model.stack[:-1]:
        h = layer(h, training=True)
        if isinstance(layer, gc.nn.Activation):
            found.append(gc.std(h))
    return np.array(gc.compile([x], found)(data))


def main() -> None:
    arguments = parse_arguments()
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        ((images - images.mean()) / images.std()).astype("float32"), labels,
        test_size=0.25, stratify=labels, random_state=arguments.seed,
    )  # fmt: skip
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    of_layers, of_epochs = figure.subplots(1, 2)
    rows = []
    for normalized in (False, True):
        for start, (scale, colour) in STARTS.items():
            gc.nn.seed(arguments.seed)
            model = network(scale, normalized, arguments.layers, arguments.width)
            trainer = gc.train.Trainer(
                model, loss="softmax_cross_entropy", optimizer=gc.optim.Adam(1e-2),
                metrics=["accuracy"],
            )  # fmt: skip
            model.init(("n", 64))
            through = sizes(model, x[:256])
            history = trainer.fit(
                x, y, epochs=arguments.epochs, batch_size=50, seed=arguments.seed,
                validation_data=(x_test, y_test),
            )  # fmt: skip
            accuracy = history["val_accuracy"]
            label = f"{start}, normalised" if normalized else start
            rows.append((label, through[0], through[-1], accuracy[-1]))
            style = {"color": colour, "linestyle": "--" if normalized else "-"}
            of_layers.semilogy(range(1, len(through) + 1), through, marker=".", **style)
            of_epochs.plot(range(1, len(accuracy) + 1), accuracy, label=label, **style)
    print(f"{'start':<24}{'first layer':>12}{'last layer':>12}{'accuracy':>10}")
    for label, first, last, accuracy in rows:
        print(f"{label:<24}{first:>12.2e}{last:>12.2e}{accuracy:>10.4f}")
    of_layers.set(xlabel="layer", ylabel="standard deviation", title="what goes through, at first")
    of_epochs.set(xlabel="epoch", ylabel="held-out accuracy", ylim=(0, 1.02), title="learning")
    of_epochs.legend(fontsize=8, loc="lower right")
    of_epochs.xaxis.get_major_locator().set_params(integer=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "batch_norm.png", dpi=120)


if __name__ == "__main__":
    main()
