"""`graphc demo`: a classifier of handwritten digits, trained, drawn and reported in a few seconds.

The digits are scikit-learn's, 1,797 images of 8 x 8 pixels, of which a quarter is held out.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, GraphcError
from graphc.nn.initializers import seed
from graphc.nn.layers import Dense
from graphc.nn.sequential import Sequential
from graphc.optim.adam import Adam
from graphc.show.draw import draw
from graphc.train.trainer import Trainer

BATCH = 32


def demo(folder: Path, epochs: int, say: Callable[[str], Any]) -> float:
    """Trains for some epochs, writes drawings and the report of the training step in a folder, and
    says what it does. The accuracy on images that it was not trained with.

    Errors: `GraphcError` where scikit-learn is missing; `ArgumentError` for a folder that cannot be
    made, or a number of epochs that is none.
    """
    if epochs < 1:
        raise ArgumentError(
            "not a number of epochs", op="demo", expected="at least 1", given=str(epochs)
        )
    x, y, x_test, y_test = _digits()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            "the folder cannot be made", op="demo", given=str(folder), hint=error.strerror or ""
        ) from None
    seed(0)
    model = Sequential([Dense(128, "relu"), Dense(64, "relu"), Dense(10)], name="digits")
    trainer = Trainer(
        model, loss="softmax_cross_entropy", optimizer=Adam(2e-3), metrics=["accuracy"]
    )
    say(f"training on {len(x)} handwritten digits, {epochs} epochs")
    watched = find_spec("tqdm") is not None
    trainer.fit(x, y, epochs=epochs, batch_size=BATCH, seed=0, verbose=watched)
    accuracy = float(trainer.evaluate(x_test, y_test)["accuracy"])
    say(f"accuracy on {len(x_test)} digits that it has not seen: {accuracy:.1%}")
    step = trainer.step(x, y)
    say("drawing the training step, and writing its report")
    files = [
        draw(step, folder / "graph.svg"),
        draw(step, folder / "kernels.svg", view="kernels"),
        step.report(folder / "report.html", [x[:BATCH], y[:BATCH]]),
    ]
    for file in files:
        say(f"  {file}")
    return accuracy


def _digits() -> tuple[Any, Any, Any, Any]:
    """Images as rows of 64 numbers from 0 to 1, and labels: those to learn, those held out."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise GraphcError(
            "the digits are scikit-learn's, which is not installed",
            op="demo",
            hint='pip install "graphc[examples]"',
        ) from None
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (images[order] / 16).astype(np.float32), labels[order].astype(np.int64)
    held = len(x) // 4
    return x[held:], y[held:], x[:held], y[:held]
