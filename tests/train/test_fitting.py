"""Fitting: data of every kind, weights, callbacks, and what is the same however steps are run."""

from __future__ import annotations

import csv
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DivergenceError, RuntimeFailure, ShapeError

RNG = np.random.default_rng(29)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * RNG.normal(size=40)
LABELS = (Y > 0).astype(np.int64)


class _Linear(gc.nn.Layer):
    """A linear map from zeros, whose gradients NumPy can follow."""

    def build(self, x: Any) -> None:
        self.w = self.add_variable("w", (x.shape[1],), dtype=x.dtype)

    def forward(self, x: Any) -> Any:
        return x @ self.w


def _trainer(model: Any = None, **options: Any) -> gc.train.Trainer:
    given: dict[str, Any] = {
        "loss": "mse", "optimizer": gc.optim.SGD(0.05), "dtype": "float64", "target": "reference"
    } | options  # fmt: skip
    return gc.train.Trainer(_Linear() if model is None else model, **given)


def _weights(trainer: gc.train.Trainer) -> dict[str, Any]:
    return trainer.model.state_dict()


def _same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert list(a) == list(b)
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], strict=True)


def _descent(weights: Any, rate: float = 0.05, epochs: int = 2) -> Any:
    w = np.zeros(3)
    for _ in range(epochs):
        for at in range(0, 40, 16):
            rows = slice(at, at + 16)
            v = weights[rows] / weights[rows].sum()
            w = w - rate * X[rows].T @ (2 * v * (X[rows] @ w - Y[rows]))
    return w


# -- weights ---------------------------------------------------------------------------------------
def test_weights_of_examples_and_classes() -> None:
    weights = RNG.uniform(0, 2, 40)
    options: dict[str, Any] = {
        "epochs": 2, "batch_size": 16, "shuffle": False, "verbose": False
    }  # fmt: skip
    trainer = _trainer(metrics=["mae"])
    history = trainer.fit(X, Y, sample_weight=weights, **options)
    w = _descent(weights)
    np.testing.assert_allclose(_weights(trainer)["_linear/w"], w, rtol=1e-10)
    first = [np.zeros(3), *(_descent(weights, epochs=1) for _ in range(1))]
    assert history["mae"][0] == pytest.approx(_running_mae(weights, first[0]), rel=1e-10)
    scores = trainer.evaluate(X, Y, sample_weight=weights)
    assert scores["loss"] == pytest.approx(np.average((X @ w - Y) ** 2, weights=weights))

    by_class = {0: 0.5, 1: 2.0}
    one = _trainer(loss="binary_cross_entropy")
    one.fit(X, LABELS, class_weight=by_class, **options)
    other = _trainer(loss="binary_cross_entropy")
    other.fit(X, LABELS, sample_weight=np.where(LABELS, 2.0, 0.5), **options)
    _same(_weights(one), _weights(other))
    both = _trainer(loss="binary_cross_entropy")
    both.fit(X, LABELS, class_weight=by_class, sample_weight=np.full(40, 0.5), **options)
    np.testing.assert_allclose(_weights(both)["_linear/w"], _weights(one)["_linear/w"])


def _running_mae(weights: Any, w: Any) -> float:
    """The mean over an epoch of what each step saw before its update."""
    total = 0.0
    for at in range(0, 40, 16):
        rows = slice(at, at + 16)
        total += float(weights[rows] @ np.abs(X[rows] @ w - Y[rows]))
        v = weights[rows] / weights[rows].sum()
        w = w - 0.05 * X[rows].T @ (2 * v * (X[rows] @ w - Y[rows]))
    return total / float(weights.sum())


# -- structures ------------------------------------------------------------------------------------
class _Two(gc.nn.Layer):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__("two")
        self.left = gc.nn.Dense(1, seed=0, name="left")
        self.right = gc.nn.Dense(1, seed=1, name="right")

    def forward(self, x: Any) -> Any:
        return {"sum": self.left(x["a"]) + self.right(x["b"]), "left": self.left(x["a"])}


def test_several_inputs_and_outputs() -> None:
    x, column = {"b": X[:, 1:], "a": X[:, :1]}, Y[:, None]
    y = {"sum": column, "left": column * 0.5}
    trainer = _trainer(
        _Two(), loss={"sum": "mse", "left": "mae"}, loss_weights={"left": 0.25},
        metrics={"sum": ["mae"], "left": ["rmse"]},
    )  # fmt: skip
    history = trainer.fit(x, y, epochs=1, batch_size=40, verbose=False, seed=0)
    assert list(history.logs) == ["loss", "sum_loss", "left_loss", "sum_mae", "left_rmse"]
    logs = trainer.evaluate(x, y)
    found = trainer.predict(x, batch_size=16)
    assert sorted(found) == ["left", "sum"]
    squared = np.mean((found["sum"] - column) ** 2)
    absolute = np.mean(np.abs(found["left"] - column * 0.5))
    assert logs["sum_loss"] == pytest.approx(squared)
    assert logs["left_loss"] == pytest.approx(absolute)
    assert logs["loss"] == pytest.approx(squared + 0.25 * absolute)
    assert logs["sum_mae"] == pytest.approx(np.mean(np.abs(found["sum"] - column)))
    with pytest.raises(ArgumentError, match="no output 'third'"):
        _trainer(_Two(), loss={"sum": "mse", "third": "mse"}).evaluate(x, y)
    with pytest.raises(ArgumentError, match="other outputs"):
        _trainer(_Two(), loss={"sum": "mse"}, loss_weights={"left": 1.0})
    with pytest.raises(ArgumentError, match="weights of one loss"):
        _trainer(loss="mse", loss_weights=[1.0])


# -- streams ---------------------------------------------------------------------------------------
def _cut(size: int = 16) -> Iterator[Any]:
    for at in range(0, 40, size):
        yield X[at : at + size], Y[at : at + size]


def test_streams_give_what_arrays_give() -> None:
    options: dict[str, Any] = {"epochs": 2, "verbose": False}
    plain = _trainer(metrics=["mae", "r2"])
    history = plain.fit(X, Y, batch_size=16, shuffle=False, **options)
    endless = (batch for _ in range(9) for batch in _cut())
    listed = list(_cut())
    for stream, steps in ((_cut, None), (listed, None), (_Loader(listed), None), (endless, 3)):
        trainer = _trainer(metrics=["mae", "r2"])
        seen = trainer.fit(stream, steps_per_epoch=steps, **options)
        assert seen.logs == history.logs
        _same(_weights(trainer), _weights(plain))
    assert trainer.evaluate(_cut) == pytest.approx(plain.evaluate(X, Y))
    held_out = [
        _trainer(metrics=["r2"]).fit(X, Y, seed=0, validation_data=given, **options)["val_r2"]
        for given in ((X[:32], Y[:32]), lambda: iter([(X[:16], Y[:16]), (X[16:32], Y[16:32])]))
    ]
    assert held_out[0] == pytest.approx(held_out[1])


class _Loader:
    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def test_streams_that_do_not_fit() -> None:
    trainer = _trainer()
    with pytest.raises(ArgumentError, match="the data ended early"):
        trainer.fit(_cut(), epochs=2, verbose=False)
    assert trainer.history.epochs == 1
    with pytest.raises(ArgumentError, match="neither a pair nor a triple"):
        trainer.fit(lambda: iter([X]), verbose=False)
    for call in (lambda: trainer.fit(_cut, Y), lambda: trainer.predict(_cut)):
        with pytest.raises(ArgumentError, match="x gives batches, and an array is wanted"):
            call()
    with pytest.raises(ArgumentError, match="validation_split is for data in memory"):
        trainer.fit(_cut, validation_split=0.5, verbose=False)
    changing: Callable[[], Any] = lambda: iter([(X, Y), (X[:, :2], Y)])  # noqa: E731
    with pytest.raises((ArgumentError, ShapeError)):
        trainer.fit(changing, verbose=False)


# -- however it is run -----------------------------------------------------------------------------
class _Watch(gc.train.Callback):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_begin(self) -> None:
        self.seen.append("train")

    def on_train_end(self) -> None:
        self.seen.append("end")

    def on_epoch_begin(self, epoch: int) -> None:
        self.seen.append(f"epoch {epoch}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.seen.append(sorted(logs))


class _WatchBatches(_Watch):
    def on_batch_begin(self, step: int) -> None:
        self.seen.append(step)

    def on_batch_end(self, step: int, logs: dict[str, Any]) -> bool:
        self.seen.append(round(logs["loss"], 9))
        return step == 1 and self.seen.count(1) == 2


def test_step_by_step_as_in_chunks() -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "seed": 3, "verbose": False}
    plain, watch = _trainer(target="cpu"), _Watch()
    history = plain.fit(X, Y, callbacks=[watch], **options)
    assert watch.seen == ["train", "epoch 0", ["loss"], "epoch 1", ["loss"], "end"]

    class Count(gc.train.Callback):
        steps = 0

        def on_batch_end(self, step: int, logs: dict[str, Any]) -> None:
            self.steps += 1

    count, stepwise = Count(), _trainer(target="cpu")
    assert stepwise.fit(X, Y, callbacks=[count], **options).logs == history.logs
    assert count.steps == 6
    _same(_weights(stepwise), _weights(plain))


def test_a_callback_of_batches_may_stop() -> None:
    watch, trainer = _WatchBatches(), _trainer()
    history = trainer.fit(X, Y, epochs=5, batch_size=16, callbacks=[watch], verbose=False)
    assert history.stopped == "a callback stopped it in epoch 2"
    assert history.epochs == 1
    assert watch.seen[-1] == "end"


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    class Keep(gc.nn.Layer):
        def build(self, x: Any) -> None:
            self.seen = self.add_variable("seen", (), trainable=False, dtype="float64")
            self.w = self.add_variable("w", (), dtype="float64")

        def forward(self, x: Any, training: bool) -> Any:
            if training:
                self.note_update(self.seen, self.seen * 3 + gc.sum(x))
            return x * self.w

    def seen(**options: Any) -> float:
        trainer = _trainer(Keep())
        trainer.fit(np.arange(7.0), np.arange(7.0), batch_size=1, verbose=False, **options)
        return float(_weights(trainer)["keep/seen"])

    assert seen(epochs=2, seed=4) == seen(epochs=2, seed=4)
    assert seen(epochs=2, seed=4) != seen(epochs=2, seed=5)
    assert seen(epochs=1, shuffle=False) == sum(i * 3 ** (6 - i) for i in range(7))


def test_validation_split_holds_out_the_end() -> None:
    trainer = _trainer()
    history = trainer.fit(X, Y, epochs=1, validation_split=0.25, shuffle=False, verbose=False)
    assert history["val_loss"][0] == trainer.evaluate(X[30:], Y[30:])["loss"]
    other = _trainer()
    other.fit(X[:30], Y[:30], epochs=1, shuffle=False, verbose=False)
    _same(_weights(other), _weights(trainer))
    weighted = _trainer().fit(
        X, Y, verbose=False, validation_data=(X[:9], Y[:9], np.eye(9)[2])
    )  # fmt: skip
    assert weighted["val_loss"][0] > 0
    for split in (1.0, -0.1, True, "half"):
        with pytest.raises(ArgumentError, match="no part of the data"):
            trainer.fit(X, Y, validation_split=split, verbose=False)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="nothing is left"):
        trainer.fit(X[:1], Y[:1], validation_split=0.5, verbose=False)


# -- callbacks of epochs ---------------------------------------------------------------------------
def test_best_weights_come_back() -> None:
    rates = gc.train.LearningRateSchedule(lambda epoch: 0.05 if epoch < 2 else 2.0)
    stopping = gc.train.EarlyStopping("loss", patience=2, restore_best_weights=True)
    trainer = _trainer()
    options: dict[str, Any] = {"batch_size": 40, "seed": 0, "verbose": False}
    trainer.fit(X, Y, epochs=9, callbacks=[rates, stopping], **options)
    assert trainer.history.epochs == 5  # the loss of an epoch is that from before its step
    assert stopping.best_epoch == 2
    after = _trainer()
    after.fit(X, Y, epochs=3, callbacks=[rates], **options)
    np.testing.assert_array_equal(_weights(trainer)["_linear/w"], _weights(after)["_linear/w"])


def test_the_learning_rate_can_change_between_steps() -> None:
    trainer = _trainer()
    assert trainer.learning_rate == 0.05
    plateau = gc.train.ReduceOnPlateau("loss", factor=0.5, patience=2, min_delta=1e9)
    trainer.fit(X, Y, epochs=5, callbacks=[plateau], verbose=False)
    assert trainer.learning_rate == 0.05 * 0.25
    trainer.learning_rate = 0.0
    before = _weights(trainer)
    trainer.fit(X, Y, verbose=False)
    _same(_weights(trainer), before)
    with pytest.raises(ArgumentError, match="not a learning rate"):
        trainer.learning_rate = -1.0
    scheduled = _trainer(optimizer=gc.optim.SGD(gc.optim.schedules.cosine(0.1, 10)))
    with pytest.raises(ArgumentError, match="is a schedule"):
        scheduled.fit(X, Y, callbacks=[plateau], verbose=False)
    assert scheduled.learning_rate == 0.1
    scheduled.fit(X, Y, epochs=5, batch_size=len(X), verbose=False)
    assert scheduled.learning_rate == pytest.approx(0.05, rel=1e-12)  # half of the cosine
    through = _trainer(optimizer=gc.optim.accumulate(gc.optim.SGD(0.5), 2))
    through.learning_rate = 0.25
    assert through.learning_rate == 0.25


def test_rows_of_numbers(tmp_path: Path) -> None:
    log = gc.train.CSVLog(tmp_path / "log.csv")
    trainer = _trainer(loss="binary_cross_entropy", metrics=["accuracy", "confusion_matrix"])
    history = trainer.fit(X, LABELS, epochs=3, callbacks=[log], verbose=False)
    trainer.fit(X, LABELS, epochs=4, callbacks=[log], verbose=False, resume=True)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["loss"]) for r in rows] == history["loss"]
    assert list(rows[0]) == ["epoch", "loss", "accuracy"]
    assert [r["epoch"] for r in rows] == ["1", "2", "3", "4"]
    assert history["confusion_matrix"][0].sum() == 40


def test_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = gc.train.PlotCurves(tmp_path / "curves.svg")
    trainer = _trainer(loss="binary_cross_entropy", metrics=["accuracy"])
    trainer.fit(X, LABELS, epochs=2, validation_split=0.2, callbacks=[curves], verbose=False)
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "graphc.train.figure")
    with pytest.raises(ArgumentError, match=r"pip install graphc\[train\]"):
        trainer.fit(X, LABELS, callbacks=[curves], verbose=False)


def test_what_a_notebook_shows_of_a_training(tmp_path: Path) -> None:
    """A table and curves, and lines in which no address and no long list stands."""
    trainer = _trainer(loss="binary_cross_entropy", metrics=["accuracy", "confusion_matrix"])
    assert "object at" not in repr(trainer)
    assert repr(gc.optim.Momentum(0.25)) == "Momentum(learning_rate=0.25, momentum=0.9, nesterov=0)"
    with pytest.raises(ArgumentError, match="no epoch"):
        trainer.history.plot()
    history = trainer.fit(X, LABELS, epochs=12, validation_split=0.2, verbose=False)
    assert repr(history).startswith("<History of 12 epochs: loss ")
    assert "12 epochs" in repr(trainer)
    rows = history._repr_html_().split("<tr>")
    assert len(rows) == 1 + 1 + 5 + 1 + 5  # what is before, names, epochs, what is left out, epochs
    assert f"<td>{history['loss'][-1]:.4g}</td>" in rows[-1]
    figure = history.plot(tmp_path / "curves.svg")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    assert figure._repr_png_().startswith(b"\x89PNG")  # without `pyplot`, too
    drawn = [line.get_ydata()[-1] for axes in figure.axes for line in axes.lines]
    assert drawn == [
        history[n][-1] for n in ("loss", "val_loss", "accuracy", "val_accuracy")
    ]
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_what_goes_wrong_leaves_all_so_far() -> None:
    def fail(epoch: int, logs: Any) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    trainer = _trainer()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=5, seed=1, callbacks=[fail], verbose=False)
    assert trainer.history.epochs == 2
    assert trainer.history.stopped == "interrupted in epoch 3"
    trainer.fit(X, Y, epochs=4, resume=True, verbose=False)
    whole = _trainer()
    history = whole.fit(X, Y, epochs=4, seed=1, verbose=False)
    assert trainer.history.logs == history.logs
    _same(_weights(trainer), _weights(whole))
    with pytest.raises(ArgumentError, match="not a callback"):
        trainer.fit(X, Y, callbacks=[gc.train.EarlyStopping], verbose=False)


def test_ctrl_c_ends_a_training_between_two_chunks() -> None:
    class Interrupt(gc.train.Callback):
        def on_epoch_begin(self, epoch: int) -> None:
            if epoch == 2:  # it arrives while steps run
                threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()

    trainer = _trainer(target="cpu")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, Y, epochs=100_000, batch_size=1, callbacks=[Interrupt()], verbose=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.history.epochs >= 2
    assert trainer.history.stopped.startswith("interrupted in epoch")
    assert np.isfinite(_weights(trainer)["_linear/w"]).all()
    trainer.fit(X, Y, epochs=trainer.history.epochs + 1, resume=True, verbose=False)


def test_labels_out_of_range_are_named() -> None:
    model = gc.nn.Dense(3, "softmax", seed=0)
    trainer = _trainer(model, loss="sparse_categorical_crossentropy", target="cpu")
    with pytest.raises(RuntimeFailure, match="class") as caught:
        trainer.fit(X, LABELS + 2, epochs=1, verbose=False)
    assert not isinstance(caught.value, DivergenceError)
