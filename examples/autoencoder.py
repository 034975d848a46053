"""Handwritten digits through two numbers: an autoencoder, a variational one, and PCA beside them.

    python autoencoder.py

An encoder turns each image into a point of the plane, a decoder makes the image of it again. Linear
ones are principal components; networks lose less. The variational autoencoder says how sure it is
of a point, and keeps all points near a normal distribution, so that any point of it becomes a
digit: a picture of the plane. Needs `pip install graphc[examples]`; writes `autoencoder.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphc as gc


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Autoencoders of digits.")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def encoder(size: int) -> gc.nn.Sequential:
    return gc.nn.Sequential([gc.nn.Dense(128, "relu"), gc.nn.Dense(64, "relu"), gc.nn.Dense(size)])


def decoder() -> gc.nn.Sequential:
    return gc.nn.Sequential([gc.nn.Dense(64, "relu"), gc.nn.Dense(128, "relu"), gc.nn.Dense(64)])


class Variational(gc.nn.Layer):
    """Logits of an image's pixels, from a point drawn where the encoder says, and by how much it is
    unsure; with the mean and the logarithm of the variance of that point."""

    def __init__(self) -> None:
        super().__init__("variational")
        self.encoder, self.decoder = encoder(4), decoder()

    def build(self, image: Any) -> None:
        self.key = self.add_key()

    def forward(self, image: Any, training: bool) -> Any:
        mean, log_variance = gc.split(self.encoder(image), 2, axis=-1)
        point = mean
        if training:
            noise = gc.random.normal(self.draw(self.key), mean.shape)
            point = mean + gc.exp(log_variance / 2) * noise
        return self.decoder(point), mean, log_variance


def elbo(predictions: Any, images: Any) -> Any:
    """What the image costs, and the divergence of the point's distribution from a normal one."""
    logits, mean, log_variance = predictions
    pixels = gc.softplus(logits) - images * logits  # cross-entropy
    apart = (gc.exp(log_variance) + mean**2 - 1 - log_variance) / 2
    return gc.sum(pixels, axis=-1) + gc.sum(apart, axis=-1)


def principal(x: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """The images that two principal components make of the held-out ones."""
    mean = x.mean(axis=0)
    axes = gc.evaluate(gc.linalg.svd(gc.constant(x - mean), full_matrices=False).Vh)[:2]
    return mean + (x_test - mean) @ axes.T @ axes


def main() -> None:
    arguments = parse_arguments()
    images, labels = load_digits(return_X_y=True)
    x, x_test, _, y_test = train_test_split(
        (images / 16).astype("float32"), labels, test_size=0.25, random_state=arguments.seed
    )
    options = {"epochs": arguments.epochs, "batch_size": 64, "seed": arguments.seed}
    gc.nn.seed(arguments.seed)
    plain = gc.nn.Sequential([encoder(2), decoder()], name="plain")
    trainer = gc.train.Trainer(plain, loss="binary_cross_entropy", optimizer=gc.optim.Adam(2e-3))
    trainer.fit(x, x, **options)
    variational = Variational()
    vae = gc.train.Trainer(variational, loss=elbo, optimizer=gc.optim.Adam(2e-3))
    vae.fit(x, x, **options)

    logits, means, _ = vae.predict(x_test)
    made = {
        "two components": principal(x, x_test),
        "autoencoder": 1 / (1 + np.exp(-trainer.predict(x_test))),
        "variational": 1 / (1 + np.exp(-logits)),
    }
    print(f"{'code of two numbers':<22}{'squared error of a held-out pixel':>34}")
    for name, again in made.items():
        print(f"{name:<22}{np.mean((again - x_test) ** 2):>34.4f}")

    figure = Figure(figsize=(17, 5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.8, 1, 1))
    rows = np.concatenate([tiles(v[:10], 10) for v in (x_test, *made.values())])
    left.imshow(rows, cmap="Greys", vmin=0, vmax=1)
    left.set_yticks(np.arange(4) * 9 + 4, ["image", *made])
    left.set(xticks=[], title="held-out digits, and what is left of them")
    for digit in range(10):
        chosen = y_test == digit
        middle.plot(*means[chosen].T, marker=f"${digit}$", linestyle="", markersize=6)
    middle.set(title="where the variational encoder puts them", aspect="equal")
    middle.set(xlabel="first number", ylabel="second number")

    point = gc.placeholder("point", ("n", 2))
    decode = gc.compile([point], gc.sigmoid(variational.decoder(point)))
    line = np.linspace(-2, 2, 15, dtype="float32")
    plane = np.stack(np.meshgrid(line, -line), axis=-1).reshape(-1, 2)
    right.imshow(tiles(decode(plane), 15), cmap="Greys", extent=(-2, 2, -2, 2))
    right.set(title="what its decoder makes of the plane")
    right.set(xlabel="first number", ylabel="second number")
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "autoencoder.png", dpi=120)


def tiles(images: np.ndarray, across: int) -> np.ndarray:
    """Images [n, 64] side by side, so many in a row, with a white line between them."""
    padded = np.pad(images.reshape(-1, across, 8, 8), ((0, 0), (0, 0), (0, 1), (0, 1)))
    return padded.transpose(0, 2, 1, 3).reshape(-1, across * 9)


if __name__ == "__main__":
    main()
