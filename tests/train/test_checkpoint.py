"""A training saved and gone on with: the same bits as one that never stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, FileError
from graphc.nn import safetensors

RNG = np.random.default_rng(2)
X = RNG.normal(size=(50, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 50)
OPTIONS: dict[str, Any] = {
    "batch_size": 16, "seed": 5, "verbose": False, "validation_data": (X[:10], LABELS[:10])
}  # fmt: skip


def _trainer(units: int = 6, **options: Any) -> gc.train.Trainer:
    model = gc.nn.Sequential(
        [gc.nn.Dense(units, "tanh", seed=0), gc.nn.Dropout(0.3, seed=1), gc.nn.Dense(3, seed=2)],
        name="net",
    )
    given: dict[str, Any] = {
        "loss": "softmax_cross_entropy", "optimizer": gc.optim.Adam(0.01),
        "metrics": ["accuracy", "confusion_matrix"], "target": "reference",
    } | options  # fmt: skip
    return gc.train.Trainer(model, **given)


def _callbacks() -> list[Any]:
    return [
        gc.train.EarlyStopping("val_loss", patience=50, restore_best_weights=True),
        gc.train.ReduceOnPlateau("loss", factor=0.5, patience=1, min_delta=0.02),
    ]


def _same(a: gc.train.Trainer, b: gc.train.Trainer) -> None:
    for name, value in a.model.state_dict().items():
        np.testing.assert_array_equal(b.model.state_dict()[name], value, strict=True)
    for v, w in zip(a.optimizer.state, b.optimizer.state, strict=True):
        np.testing.assert_array_equal(v.value, w.value, strict=True)
    assert a.learning_rate == b.learning_rate
    assert list(a.history.logs) == list(b.history.logs)
    for name, values in a.history.logs.items():
        np.testing.assert_array_equal(b.history[name], values)


@pytest.mark.parametrize("target", ["reference", "cpu"])
def test_resumed_is_as_never_stopped(tmp_path: Path, target: str) -> None:
    path = tmp_path / "run.safetensors"
    whole = _trainer(target=target)
    whole.fit(X, LABELS, epochs=5, callbacks=_callbacks(), **OPTIONS)

    first = _trainer(target=target)
    first.fit(X, LABELS, epochs=3, callbacks=[*_callbacks(), gc.train.Checkpoint(path)], **OPTIONS)
    options = {k: v for k, v in OPTIONS.items() if k != "seed"}
    again = _trainer(target=target)
    again.load(path)
    assert again.history.epochs == 3
    assert again.history["confusion_matrix"][2].shape == (3, 3)
    again.fit(X, LABELS, epochs=5, callbacks=_callbacks(), resume=True, **options)
    _same(whole, again)
    np.testing.assert_array_equal(again.predict(X), whole.predict(X))


def test_averages_are_saved_with_the_training(tmp_path: Path) -> None:
    whole, first, again = (
        _trainer(optimizer=gc.optim.averaged(gc.optim.Adam(0.01), 0.9)) for _ in range(3)
    )
    whole.fit(X, LABELS, epochs=3, **OPTIONS)
    first.fit(X, LABELS, epochs=2, **OPTIONS)
    first.save(tmp_path / "run")
    again.load(tmp_path / "run")
    again.fit(X, LABELS, epochs=3, resume=True, **{k: v for k, v in OPTIONS.items() if k != "seed"})
    _same(whole, again)
    smooth, kernel = whole.optimizer.ema, whole.model.parameters()[0]
    assert set(smooth.averages) == set(whole.model.parameters())
    assert not np.array_equal(smooth.averages[kernel].value, kernel.value)


def test_a_loaded_model_predicts_without_data(tmp_path: Path) -> None:
    one, other = _trainer(), _trainer()
    one.fit(X, LABELS, epochs=1, **OPTIONS)
    one.save(tmp_path / "a")
    other.load(tmp_path / "a")
    np.testing.assert_array_equal(other.predict(X), one.predict(X))
    other.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_structured_data(tmp_path: Path) -> None:
    class Both(gc.nn.Layer):
        def __init__(self) -> None:
            super().__init__("both")
            self.dense = gc.nn.Dense(1, seed=0)

        def forward(self, x: Any) -> Any:
            return self.dense(x["a"]) + x["more"][0]

    def trainer() -> gc.train.Trainer:
        return gc.train.Trainer(Both(), loss="mse", optimizer="sgd", target="reference")

    x = {"more": (X[:, :1], X), "a": X}
    one, other = trainer(), trainer()
    one.fit(x, X[:, :1], epochs=1, seed=0, verbose=False, sample_weight=np.ones(50))
    one.save(tmp_path / "a")
    other.load(tmp_path / "a")
    other.fit(x, X[:, :1], epochs=2, resume=True, verbose=False, sample_weight=np.ones(50))
    one.fit(x, X[:, :1], epochs=2, resume=True, verbose=False, sample_weight=np.ones(50))
    _same(one, other)


def test_checkpoints_by_epoch_and_by_quantity(tmp_path: Path) -> None:
    trainer = _trainer()
    each = gc.train.Checkpoint(tmp_path / "{epoch:02}-{loss:.1f}")
    rising = gc.train.Checkpoint(tmp_path / "best-{epoch}", "loss", mode="max")
    trainer.fit(X, LABELS, epochs=2, callbacks=[each, rising], **OPTIONS)
    names = sorted(p.name for p in tmp_path.iterdir())
    losses = trainer.history["loss"]
    assert losses[1] < losses[0]
    assert names == [f"01-{losses[0]:.1f}", f"02-{losses[1]:.1f}", "best-1"]
    with pytest.raises(ArgumentError, match=r"a path with \{epoch\}, \{loss\}"):
        trainer.fit(X, LABELS, callbacks=[gc.train.Checkpoint("{nothing}")], verbose=False)


def test_a_callback_that_raises_leaves_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def fail(epoch: int, logs: Any) -> None:
        if epoch == 1:
            raise ZeroDivisionError

    trainer = _trainer()
    with pytest.raises(ZeroDivisionError):
        trainer.fit(X, LABELS, epochs=3, callbacks=[fail, gc.train.Checkpoint(path)], **OPTIONS)
    assert trainer.history.epochs == 2
    assert trainer.history.stopped == "ZeroDivisionError after 2 whole epochs"
    other = _trainer()
    other.load(path)
    assert other.history.epochs == 1


def test_what_is_no_such_training(tmp_path: Path) -> None:
    path = tmp_path / "run"
    trainer = _trainer()
    with pytest.raises(ArgumentError, match="before the first training step"):
        trainer.save(path)
    trainer.fit(X, LABELS, epochs=1, **OPTIONS)
    before = trainer.model.state_dict()
    trainer.model.save_weights(path)
    with pytest.raises(FileError, match="no saved training"):
        trainer.load(path)
    wide = _trainer(units=7)
    wide.fit(X, LABELS, epochs=1, **OPTIONS)
    wide.save(path)
    with pytest.raises(FileError, match="of another shape") as caught:
        trainer.load(path)
    assert "model/net/dense1/kernel: (4, 7) for (4, 6)" in str(caught.value)
    other = _trainer(optimizer="sgd")
    with pytest.raises(FileError, match="unknown"):
        other.load(path)
    arrays, metadata = safetensors.read(path)
    manifest = json.loads(metadata["graphc"])
    for bad in (
        {"version": 9}, {"seed": -1}, {"seed": "x"}, {"types": None}, {"callbacks": 3},
        {"history": {"dict": {"loss": 3}}}, {"history": {"float": "x"}}, {"callbacks": [{}]},
        {"types": {"tree": {"tuple": [0, 1, None]}, "arrays": [[[4], "float32"]]}},
        {"types": {"tree": {"tuple": [0, 1, None]}, "arrays": [[[4], "f"], [[], "int64"]]}},
    ):  # fmt: skip
        text = json.dumps(manifest | bad)
        safetensors.write(path, arrays, {"graphc": text})
        with pytest.raises(FileError):
            trainer.load(path)
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(before[name], value)

    class Odd(gc.train.Callback):
        def state(self) -> Any:
            return {"self": self}

    trainer.fit(X, LABELS, epochs=1, callbacks=[Odd()], **OPTIONS)
    with pytest.raises(ArgumentError, match="plain data and arrays"):
        trainer.save(path)
