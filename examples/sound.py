"""Vowels by their spectrum: a Fourier transform inside of the model, before its first layer.

    python sound.py

A synthetic voice sings five vowels at any pitch, with noise. Where a wave begins is chance, so that
a linear layer learns nothing new from the samples themselves. The magnitudes of their discrete
Fourier transform have no phase, and show the resonances that make a vowel: then the same layer
is right. Window, transform and logarithm are part of the compiled model, which takes raw sound.
Needs `pip install graphc[examples]`; writes `sound.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import graphc as gc

RATE, SAMPLES = 8000, 512  # samples a second, and of a sound: 64 ms
# The two lowest resonances of each vowel in Hz (Peterson and Barney, 1952: means of men).
VOWELS = {"a": (730, 1090), "e": (530, 1840), "i": (270, 2290), "o": (570, 840), "u": (300, 870)}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Vowels by a Fourier transform.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sounds", type=int, default=2000, help="to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def sing(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sounds [count, samples] and which vowel each is: harmonics of a pitch, stronger near the
    vowel's resonances, each beginning anywhere in its wave."""
    labels = rng.integers(0, len(VOWELS), count)
    resonances = np.array(list(VOWELS.values()))[labels] * rng.uniform(0.92, 1.08, (count, 1))
    frequencies = rng.uniform(90, 250, (count, 1)) * np.arange(1, 33)
    away = (frequencies[..., None] - resonances[:, None]) / 120
    loudness = np.sum(1 / (1 + away**2), axis=-1) * (frequencies < RATE / 2)
    phases = rng.uniform(0, 2 * np.pi, frequencies.shape)
    times = np.arange(SAMPLES) / RATE
    sound = np.empty((count, SAMPLES), "float32")
    for i in range(count):
        waves = np.sin(2 * np.pi * frequencies[i][:, None] * times + phases[i][:, None])
        sound[i] = loudness[i] @ waves
    return sound + rng.normal(0, 0.1, sound.shape).astype("float32"), labels


def spectrum(sound: Any) -> Any:
    """The logarithm of the magnitude of each frequency: [n, samples] -> [n, samples / 2 + 1]."""
    window = np.hanning(SAMPLES).astype("float32")  # so that the ends of the sound do not click
    return gc.log(gc.abs(gc.fft.rfft(sound * window)) + 0.1)


def main() -> None:
    arguments = parse_arguments()
    rng = np.random.default_rng(arguments.seed)
    x, y = sing(arguments.sounds, rng)
    x_test, y_test = sing(500, rng)

    models = {
        "samples": gc.nn.Sequential([gc.nn.Dense(5)]),
        "spectrum": gc.nn.Sequential([gc.nn.Lambda(spectrum), gc.nn.Dense(5)]),
    }
    curves = {}
    print(f"{'a linear layer of':<20}{'accuracy':>10}{'held out':>10}")
    for name, model in models.items():
        gc.nn.seed(arguments.seed)
        trainer = gc.train.Trainer(
            model, loss="softmax_cross_entropy", optimizer=gc.optim.Adam(3e-3), metrics=["accuracy"]
        )
        history = trainer.fit(
            x, y, epochs=arguments.epochs, batch_size=32, seed=arguments.seed,
            validation_data=(x_test, y_test),
        )  # fmt: skip
        curves[name] = history["val_accuracy"]
        print(f"{name:<20}{history['accuracy'][-1]:>10.4f}{curves[name][-1]:>10.4f}")

    sounds = gc.placeholder("sounds", ("n", SAMPLES))
    magnitudes = gc.compile([sounds], spectrum(sounds))(x)
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    waves, spectra, learning = figure.subplots(1, 3)
    frequencies = np.fft.rfftfreq(SAMPLES, 1 / RATE)
    for i, (vowel, colour) in enumerate(zip(VOWELS, COLOURS, strict=True)):
        times = 1e3 * np.arange(SAMPLES) / RATE
        waves.plot(times, 4 * i + x[y == i][0], color=colour, lw=0.8)
        waves.text(-1, 4 * i, vowel, ha="right", va="center")
        mean = magnitudes[y == i].mean(axis=0)
        spectra.plot(frequencies, 4 * i + mean, color=colour)
        for resonance in VOWELS[vowel]:
            spectra.plot(resonance, 4 * i + mean.max() + 0.4, "v", color=colour, markersize=5)
    waves.set(title="one sound of each vowel", xlabel="milliseconds", yticks=[])
    spectra.set(title="mean spectra, and the resonances", xlabel="Hz", yticks=[])
    spectra.set(ylabel="logarithm of magnitude")
    for (name, curve), style in zip(curves.items(), ("--", "-"), strict=True):
        learning.plot(range(1, len(curve) + 1), curve, style, color="black", label=name)
    learning.axhline(1 / len(VOWELS), color="grey", linestyle=":", label="chance")
    learning.set(title="a linear layer of each", xlabel="epoch", ylabel="held-out accuracy")
    learning.set(ylim=(0, 1.02))
    learning.legend()
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "sound.png", dpi=120)


if __name__ == "__main__":
    main()
