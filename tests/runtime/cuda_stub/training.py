"""Training on the stub: whole epochs equal the CPU's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from tests.runtime.cuda_stub.on_this_processor import as_this_processor


@pytest.fixture(autouse=True)
def _stub() -> Iterator[None]:
    with as_this_processor():
        yield


def trained(target: str) -> tuple[list[np.ndarray[Any, Any]], dict[str, Any], Any, Any]:
    """Weights, losses and predictions after some epochs, with a smaller last batch."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6)), rng.integers(0, 3, 50)
    gc.nn.seed(0)
    model = gc.nn.Sequential([gc.nn.Dense(8, "relu"), gc.nn.Dropout(0.3), gc.nn.Dense(3)])
    trainer = gc.train.Trainer(
        model,
        loss="softmax_cross_entropy",
        optimizer=gc.optim.Adam(1e-2),
        metrics=["accuracy"],
        target=target,
    )
    history = trainer.fit(x, y, epochs=3, batch_size=16, seed=0, verbose=False)
    held_out = trainer.evaluate(x[:10], y[:10])
    weights = [v.value for v in model.parameters()]
    return weights, history, held_out, trainer.predict(x[:7])


def test_epochs_equal_those_of_the_cpu() -> None:
    (ours, history, held_out, predicted), (w, h, e, p) = map(trained, ("cuda", "cpu"))
    for actual, expected in zip(ours, w, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(history[name], h[name], rtol=1e-5)
        np.testing.assert_allclose(held_out[name], e[name], rtol=1e-5)
    np.testing.assert_allclose(predicted, p, rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    model = gc.nn.Dense(1)
    trainer = gc.train.Trainer(model, loss="mse", optimizer="sgd", target="cuda")
    x, y = np.ones((8, 2)), np.ones((8, 1))
    trainer.fit(x, y, batch_size=4, shuffle=False, verbose=False)
    before = [v.value for v in model.parameters()]
    x[1, 0] = np.nan
    with pytest.raises(gc.errors.DivergenceError, match="step 1"):
        trainer.fit(x, y, batch_size=4, shuffle=False, verbose=False)
    for v, value in zip(model.parameters(), before, strict=True):
        assert np.array_equal(v.value, value)
