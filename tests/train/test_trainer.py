"""The trainer: the same loop in NumPy, a separable problem, reproducibility, errors."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DivergenceError, DTypeError, RuntimeFailure, ShapeError

RNG = np.random.default_rng(17)
CENTRES = np.array([[4.0, 0.0], [-4.0, 1.0], [0.0, -4.0]])
LABELS = RNG.integers(0, 3, 100)
POINTS = CENTRES[LABELS] + RNG.normal(size=(100, 2))


def _model(dropout: float = 0.0) -> gc.nn.Sequential:
    return gc.nn.Sequential(
        [
            gc.nn.Dense(8, "tanh", seed=0),
            gc.nn.Dropout(dropout, seed=1),
            gc.nn.Dense(3, seed=2),
        ]
    )


def _trainer(**options: Any) -> gc.train.Trainer:
    chosen = {
        "loss": "softmax_cross_entropy", "optimizer": gc.optim.Adam(0.03), "metrics": ["accuracy"]
    } | options  # fmt: skip
    return gc.train.Trainer(chosen.pop("model", None) or _model(), **chosen)


# -- what it computes ------------------------------------------------------------------------------
def test_a_linear_model_follows_numpy() -> None:
    """Batches of 4, 4 and 2: the last one is smaller and runs in the same program."""
    x, y = RNG.normal(size=(10, 3)), RNG.normal(size=(10, 1))
    layer = gc.nn.Dense(1, seed=3)
    trainer = gc.train.Trainer(
        layer, loss="mean_squared_error", optimizer=gc.optim.SGD(0.1), dtype="float64",
        metrics=["mean_absolute_error"],
    )  # fmt: skip
    before = trainer.evaluate(x, y)
    assert layer.bias is not None
    w, b = layer.kernel.value, layer.bias.value
    assert before["loss"] == pytest.approx(np.mean((x @ w + b - y) ** 2), rel=1e-13)
    history = trainer.fit(x, y, epochs=3, batch_size=4, shuffle=False, verbose=False)
    for epoch in range(3):
        squared, absolute = [], []
        for batch in (slice(0, 4), slice(4, 8), slice(8, 10)):
            error = x[batch] @ w + b - y[batch]
            squared += [*error**2]
            absolute += [*np.abs(error)]
            slope = 2 * error / len(error)
            w, b = w - 0.1 * x[batch].T @ slope, b - 0.1 * slope.sum(0)
        assert history["loss"][epoch] == pytest.approx(np.mean(squared), rel=1e-12)
        assert history["mean_absolute_error"][epoch] == pytest.approx(np.mean(absolute), rel=1e-12)
    np.testing.assert_allclose(layer.kernel.value, w, rtol=1e-12)
    np.testing.assert_allclose(layer.bias.value, b, rtol=1e-12)
    np.testing.assert_allclose(trainer.predict(x, batch_size=7), x @ w + b, rtol=1e-12)


def test_it_learns_a_separable_problem() -> None:
    trainer = _trainer(model=_model(dropout=0.2))
    history = trainer.fit(
        POINTS[:80], LABELS[:80], epochs=15, batch_size=16, seed=0, verbose=False,
        validation_data=(POINTS[80:], LABELS[80:]),
    )  # fmt: skip
    assert list(history.logs) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epochs == 15
    assert history.stopped == ""
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    assert history["val_accuracy"][-1] >= 0.95
    scores = trainer.evaluate(POINTS[80:], LABELS[80:], batch_size=7)
    assert scores["accuracy"] == pytest.approx(history["val_accuracy"][-1])
    predictions = trainer.predict(POINTS[80:])
    assert predictions.shape == (20, 3)
    assert np.mean(predictions.argmax(1) == LABELS[80:]) == pytest.approx(scores["accuracy"])


def test_the_targets_agree() -> None:
    def run(target: str) -> gc.train.History:
        trainer = _trainer(model=_model(dropout=0.2), target=target)
        return trainer.fit(POINTS, LABELS, epochs=2, batch_size=30, seed=0, verbose=False)

    native, reference = run("cpu"), run("reference")
    np.testing.assert_allclose(native["loss"], reference["loss"], rtol=1e-5)
    assert native["accuracy"] == pytest.approx(reference["accuracy"], rel=1e-6)


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> list[float]:
        trainer = _trainer(model=_model(dropout=0.2))
        history = trainer.fit(POINTS, LABELS, epochs=2, batch_size=16, seed=seed, verbose=False)
        return history["loss"]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_dropout_draws_anew_in_each_step() -> None:
    trainer = _trainer(model=_model(dropout=0.5), optimizer=gc.optim.SGD(0.0))
    step = trainer.step(POINTS, LABELS)
    x = POINTS.astype(np.float32)
    losses = {float(step(x, LABELS)["loss"]) for _ in range(5)}
    assert len(losses) == 5


def test_dropout_is_for_training_only() -> None:
    dropping, plain = _trainer(model=_model(dropout=0.5)), _trainer(model=_model())
    np.testing.assert_array_equal(dropping.predict(POINTS), plain.predict(POINTS))
    assert dropping.evaluate(POINTS, LABELS) == plain.evaluate(POINTS, LABELS)


def test_fit_goes_on_where_it_stopped() -> None:
    optimizer = gc.optim.Adam(0.03)
    trainer = _trainer(optimizer=optimizer)
    for _ in range(2):
        trainer.fit(POINTS, LABELS, epochs=1, batch_size=50, verbose=False)
    assert optimizer.iterations.value == 4
    step = trainer.step(POINTS, LABELS)
    assert step is trainer.step(POINTS[:3], LABELS[:3])  # one program for every number of examples


def test_nodes_of_the_step_have_scopes() -> None:
    step = _trainer().step(POINTS, LABELS)
    scopes = {n.origins[0].scope for n in step.graph.nodes if n.op.name not in ("variable",)}
    assert {"sequential/dense1", "loss", "accuracy", "adam"} <= scopes


def test_functions_as_loss_and_metric() -> None:
    def squared(predictions: Any, targets: Any) -> Any:
        return gc.square(predictions - targets)

    trainer = gc.train.Trainer(
        gc.nn.Dense(1), loss=squared, optimizer=gc.optim.SGD(), metrics=[squared]
    )
    scores = trainer.evaluate(np.ones((3, 2)), np.ones((3, 1)))
    assert scores["loss"] == scores["squared"]


def test_a_metric_may_be_a_number_and_is_no_none() -> None:
    parts: dict[str, Any] = {"loss": "mean_squared_error", "optimizer": gc.optim.SGD()}
    data = np.ones((3, 2)), np.ones((3, 1))
    metrics: list[Any] = [lambda predictions, targets: 0.25]
    trainer = gc.train.Trainer(gc.nn.Dense(1), metrics=metrics, target="reference", **parts)
    assert trainer.evaluate(*data)["<lambda>"] == 0.25
    trainer = gc.train.Trainer(gc.nn.Dense(1), metrics=[lambda predictions, targets: None], **parts)
    with pytest.raises(ArgumentError, match="<lambda>: not a tensor"):
        trainer.evaluate(*data)


def test_a_binary_classifier() -> None:
    labels = (LABELS == 0)[:, None]
    trainer = gc.train.Trainer(
        gc.nn.Dense(1, seed=0), loss="binary_cross_entropy", optimizer=gc.optim.Adam(0.1),
        metrics=["accuracy"],
    )  # fmt: skip
    history = trainer.fit(POINTS, labels, epochs=10, batch_size=20, seed=0, verbose=False)
    assert history["accuracy"][-1] > 0.95


# -- stopping --------------------------------------------------------------------------------------
def test_callbacks_see_every_epoch_and_may_stop() -> None:
    seen: list[tuple[int, list[str]]] = []

    def watch(epoch: int, logs: dict[str, float]) -> bool:
        seen.append((epoch, list(logs)))
        return epoch == 1

    history = _trainer().fit(
        POINTS, LABELS, epochs=5, verbose=False, callbacks=[watch, lambda epoch, logs: None]
    )
    assert seen == [(0, ["loss", "accuracy"]), (1, ["loss", "accuracy"])]
    assert history.epochs == 2
    assert history.stopped == "a callback stopped it after epoch 2"


def test_early_stopping() -> None:
    trainer = _trainer(optimizer=gc.optim.SGD(0.0))  # nothing ever becomes better
    stopping = gc.train.EarlyStopping("val_loss", patience=2)
    history = trainer.fit(
        POINTS, LABELS, epochs=9, validation_data=(POINTS, LABELS), callbacks=[stopping],
        verbose=False,
    )  # fmt: skip
    assert history.epochs == 3


def test_a_trainer_sees_what_is_frozen_between_two_fits() -> None:
    trainer = _trainer(target="reference")
    assert isinstance(trainer.model, gc.nn.Sequential)
    first, _, last = trainer.model.stack
    options: dict[str, Any] = {"epochs": 1, "batch_size": 50, "verbose": False}
    trainer.evaluate(POINTS, LABELS)  # the layers make their variables

    def changes() -> list[bool]:
        before = [layer.kernel.value for layer in (first, last)]
        trainer.fit(POINTS, LABELS, **options)
        after = [layer.kernel.value for layer in (first, last)]
        return [bool((a != b).any()) for a, b in zip(after, before, strict=True)]

    assert changes() == [True, True]
    step = trainer.step(POINTS, LABELS)
    assert changes() == [True, True]
    assert trainer.step(POINTS, LABELS) is step  # nothing is compiled again
    first.trainable = False
    assert changes() == [False, True]
    first.trainable, last.kernel.trainable = True, False
    assert changes() == [True, False]


def test_a_loss_that_is_not_finite_stops() -> None:
    x = POINTS.copy()
    x[40] = np.nan
    trainer = _trainer()
    with pytest.raises(DivergenceError, match="x is nan in example 40, column 0") as caught:
        trainer.fit(x, LABELS, epochs=4, batch_size=16, shuffle=False, verbose=False)
    assert "the loss is not finite in epoch 1, step 3" in str(caught.value)
    assert "test_trainer.py" in str(caught.value)
    assert trainer.history.stopped == caught.value.message
    other = _trainer()  # what the first two steps made is there, and nothing of the third
    other.fit(POINTS[:32], LABELS[:32], epochs=1, batch_size=16, shuffle=False, verbose=False)
    for path, value in other.model.state_dict().items():
        np.testing.assert_array_equal(trainer.model.state_dict()[path], value)


# -- the progress bar ------------------------------------------------------------------------------
def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    _trainer().fit(POINTS, LABELS, epochs=2, batch_size=50)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "epoch 2/2" in shown.err
    assert "4/4" in shown.err
    assert "accuracy=" in shown.err


def test_a_file_is_not_flooded_with_bars(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no terminal keeps every drawing of the bar: many quick epochs give a few."""
    _trainer().fit(POINTS, LABELS, epochs=100, batch_size=50)
    shown = capsys.readouterr().err
    assert shown.count("epoch") < 30
    assert "epoch 100/100" in shown


def test_a_label_stands_before_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = _trainer()
    trainer.fit(POINTS, LABELS, epochs=1, batch_size=50, label="fold 3")
    assert "fold 3: epoch 1/1" in capsys.readouterr().err
    with pytest.raises(ArgumentError, match="label is no text"):
        trainer.fit(POINTS, LABELS, label=3)  # type: ignore[arg-type]


def test_a_missing_tqdm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ArgumentError, match=r"pip install graphc\[train\]"):
        _trainer().fit(POINTS, LABELS, epochs=1)
    _trainer().fit(POINTS, LABELS, epochs=1, verbose=False)


def test_a_model_that_is_built_says_the_dtype() -> None:
    built = gc.nn.Dense(1).init((None, 2), "float64")
    assert gc.train.Trainer(built, loss="mse", optimizer="sgd").dtype is gc.float64
    assert gc.train.Trainer(built, loss="mse", optimizer="sgd", dtype="float32").dtype is gc.float32
    assert gc.train.Trainer(gc.nn.Dense(1), loss="mse", optimizer="sgd").dtype is gc.float32


# -- what it refuses -------------------------------------------------------------------------------
def test_data_that_does_not_fit() -> None:
    trainer = _trainer()
    with pytest.raises(ShapeError, match="different numbers of examples"):
        trainer.fit(POINTS, LABELS[:-1])
    with pytest.raises(ShapeError, match="x holds no examples"):
        trainer.fit(POINTS[:0], LABELS[:0])
    with pytest.raises(ShapeError, match="x holds no examples"):
        trainer.predict(3.0)
    with pytest.raises(DTypeError, match=r"y is not numbers[^$]*return_inverse=True"):
        trainer.evaluate(POINTS, ["a"] * 100)
    with pytest.raises(DTypeError, match=r"x is not numbers[^$]*a column of names"):
        trainer.evaluate(np.where(POINTS > 9, POINTS.astype(object), "a"), LABELS)
    with pytest.raises(RuntimeFailure, match=r"a label is out of range[^$]*mask=y >= 0"):
        trainer.fit(POINTS, np.where(LABELS == 0, -100, LABELS), verbose=False)
    for validation in (POINTS, (POINTS,)):
        with pytest.raises((ArgumentError, ShapeError), match="validation_data"):
            trainer.fit(POINTS, LABELS, validation_data=validation)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="fit: validation_data"):
        trainer.fit(POINTS, LABELS, validation_data=(POINTS, LABELS[:3]))


def test_a_label_that_is_no_class_is_shown() -> None:
    trainer = _trainer(target="reference")
    for wrong, shown in ((7, "7 at ["), (-2, "-2 at [")):
        labels = LABELS.copy()
        labels[4] = wrong
        for options in ({"verbose": False}, {}):
            call: Any = trainer.fit if options else trainer.evaluate
            with pytest.raises(gc.errors.RuntimeFailure, match="out of range") as caught:
                call(POINTS, labels, **options)
            assert caught.value.given.startswith(shown)
            assert caught.value.given.endswith("] of 'y' (example 4)")
            assert caught.value.expected == "0 <= label < 3"
            line = caught.traceback[0].lineno + 1
            assert f"test_trainer.py:{line}" in caught.value.where  # that of this call
        assert "out of range" in trainer.history.stopped


def test_one_score_and_labels_of_two_classes() -> None:
    trainer = gc.train.Trainer(
        gc.nn.Dense(1), loss="softmax_cross_entropy", optimizer="sgd", target="reference"
    )
    with pytest.raises(gc.errors.RuntimeFailure, match="decides between two classes"):
        trainer.fit(np.ones((4, 2)), np.array([0, 1, 1, 0]), verbose=False)


def test_a_loss_of_targets_needs_some() -> None:
    """A function of one's own may do without."""
    with pytest.raises(ArgumentError, match="compares with targets, and there are none"):
        _trainer(target="reference").fit(POINTS, verbose=False)
    own = _trainer(target="reference", loss=lambda p, t: gc.sum(p**2, axis=-1), metrics=[])
    assert own.fit(POINTS, epochs=1, verbose=False).epochs == 1


def test_labels_in_a_column() -> None:
    trainer = _trainer(target="reference", metrics=["accuracy"])
    trainer.fit(POINTS, LABELS[:, None], epochs=1, verbose=False)
    assert trainer.evaluate(POINTS, LABELS[:, None]) == trainer.evaluate(POINTS, LABELS)


def test_a_nan_that_is_evaluated_is_named() -> None:
    spoiled = POINTS.copy()
    spoiled[3, 1] = np.nan
    with pytest.warns(gc.errors.LossWarning, match=r"the loss is nan, and x is nan in example 3"):
        logs = _trainer(target="reference").evaluate(spoiled, LABELS)
    assert np.isnan(logs["loss"])


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3"])
def test_counts_are_positive(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match="an int >= 1") as caught:
        _trainer().fit(POINTS, LABELS, **{name: value})
    assert "test_trainer.py" in str(caught.value)


@pytest.mark.parametrize("seed", ["a", -1, 1.5, True])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    trainer = _trainer(target="reference")
    with pytest.raises(ArgumentError, match="fit: not a seed"):
        trainer.fit(POINTS, LABELS, seed=seed)
    with pytest.raises(gc.errors.DTypeError, match="a dtype of floats"):
        _trainer(dtype="int32")


def test_parts_of_the_wrong_kind() -> None:
    wrong: list[dict[str, Any]] = [
        {"model": gc.relu}, {"optimizer": "adem"}, {"optimizer": 0.1}, {"loss": "nearness"},
        {"metrics": ["f3"]},
        {"metrics": "accuracy"}, {"metrics": ["accuracy", "accuracy"]},
    ]  # fmt: skip
    for part in wrong:
        with pytest.raises(ArgumentError):
            _trainer(**part)


@pytest.mark.parametrize(
    ("loss", "given"), [("mse", "1 loss"), (("mse",), "1 loss"), (("mse",) * 3, "3 losses")]
)
def test_a_loss_for_each_output(loss: Any, given: str) -> None:
    """A function of one's own takes all of them; a name, or a list of another length, is none."""
    x = gc.nn.Input(("n", 4))
    model = gc.nn.Model(x, (gc.nn.Dense(2)(x), gc.nn.Dense(1)(x)))
    data = np.ones((6, 4)), (np.ones((6, 2)), np.ones((6, 1)))
    trainer = gc.train.Trainer(model, loss=loss, optimizer="sgd")
    with pytest.raises(gc.errors.ArgumentError, match="several outputs") as caught:
        trainer.fit(*data, verbose=False)
    assert f"given:    {given}" in str(caught.value)
    whole = gc.train.Trainer(
        model, loss=lambda p, t: gc.mean((p[0] - t[0]) ** 2) + gc.mean(p[1] - t[1]), optimizer="sgd"
    )
    assert whole.fit(*data, verbose=False).epochs == 1
