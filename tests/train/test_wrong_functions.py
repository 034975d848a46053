"""Functions and callbacks of users that take other arguments, or give something else, than training
expects: what is said of each, with the form that is meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import (
    ArgumentError,
    CallError,
    DTypeError,
    GradientError,
    GraphcError,
    MissingKeyError,
)

X, Y = np.ones((6, 3), "float32"), np.ones((6, 2), "float32")


def fit(callbacks: Any = (), **options: Any) -> gc.train.History:
    given: dict[str, Any] = {"loss": "mse", "optimizer": "sgd", "target": "reference"} | options
    trainer = gc.train.Trainer(gc.nn.Dense(2), **given)
    return trainer.fit(X, Y, callbacks=callbacks, verbose=False)


def refused(kind: type[GraphcError], callbacks: Any = (), **options: Any) -> GraphcError:
    with pytest.raises(kind) as caught:
        fit(callbacks, **options)
    assert "test_wrong_functions.py:" in caught.value.where
    return caught.value


class OneArgument:
    def __call__(self, predictions: Any) -> Any:
        return gc.mean(predictions)


def of_three(predictions: Any, targets: Any, weights: Any) -> Any:
    return gc.mean(predictions)


# -- losses and metrics ----------------------------------------------------------------------------
@pytest.mark.parametrize("function", [lambda p: p, of_three, OneArgument(), lambda *, y: y])
def test_the_form_of_a_loss_and_of_a_metric(function: Any) -> None:
    for options in ({"loss": function}, {"metrics": [function]}):
        error = refused(CallError, **options)
        assert error.expected == "a function (predictions, targets)"
        assert error.message == "a function takes other arguments"
        assert error.given.partition("(")[0] in ("<lambda>", "of_three", "OneArgument")


def test_a_class_is_not_an_object_of_it() -> None:
    assert refused(ArgumentError, loss=OneArgument).hint == "an object of the class: OneArgument()"
    assert "OneArgument()" in refused(ArgumentError, metrics=[OneArgument]).hint
    with pytest.raises(ArgumentError, match=r"an object of the class: Dense\(\)"):
        gc.nn.Dense(3, activation=gc.nn.Dense)


def test_what_a_loss_gives() -> None:
    counts = refused(DTypeError, loss=lambda p, t: gc.argmax(p, axis=1))
    assert counts.hint.startswith("what counts")
    for nothing in (lambda p, t: 3.0, lambda p, t: gc.mean(t)):
        error = refused(GradientError, loss=nothing)
        assert error.message == "the loss does not depend on the predictions"
    w = gc.variable(np.ones(2, "float32"), name="wrong_functions_w")
    trainer = gc.train.Trainer(
        gc.nn.Dense(2), loss=lambda p, t: gc.mean(gc.square(p * w - t)), optimizer="sgd",
        target="reference",
    )  # fmt: skip
    assert trainer.fit(X, Y, verbose=False).epochs == 1


def test_a_metric_that_gives_nothing() -> None:
    class Idle(gc.train.Metric):
        pass

    error = refused(ArgumentError, metrics=[Idle()])
    assert error.op == "Idle"
    assert "result(state)" in error.expected


def test_errors_of_the_function_itself_stay() -> None:
    def loss(predictions: Any, targets: Any) -> Any:
        return len(predictions.shape) + len(3)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="has no len") as caught:
        fit(loss=loss)
    assert not isinstance(caught.value, GraphcError)


# -- callbacks and rates ---------------------------------------------------------------------------
class KerasLike:
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None: ...


class Misnamed(gc.train.Callback):
    def epoch_end(self, epoch: int, logs: Any) -> None: ...


class Batches(gc.train.Callback):
    def on_train_batch_end(self, step: int, logs: Any) -> None: ...


class WithoutLogs(gc.train.Callback):
    def on_epoch_end(self, epoch: int) -> Any:  # type: ignore[override]
        ...


class Empty(gc.train.Callback):
    pass


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        (KerasLike(), r"hint: +class KerasLike\(gc\.train\.Callback\)"),
        (KerasLike, r"hint: +an object of the class: KerasLike\(\)"),
        (Misnamed(), r"nobody calls epoch_end[\s\S]*here it is on_epoch_end"),
        (Batches(), r"nobody calls on_train_batch_end[\s\S]*here it is on_batch_end"),
        (Empty(), r"a callback without methods[\s\S]*on_epoch_begin, on_epoch_end"),
        (WithoutLogs(), r"WithoutLogs\.on_epoch_end: a function[\s\S]*\(epoch, logs\)"),
        (lambda: None, r"fit: a function[\s\S]*\(epoch, logs\)[\s\S]*<lambda>\(\) of /"),
        (gc.train.LearningRateSchedule(lambda: 1), r"LearningRateSchedule: a func[\s\S]*\(epoch\)"),
        (gc.train.LearningRateSchedule(lambda e: None), "the rate of an epoch is no number"),
    ],
)  # fmt: skip
def test_callbacks(callback: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        fit([callback])


def test_a_schedule_of_steps() -> None:
    error = refused(CallError, optimizer=gc.optim.SGD(lambda: 0.1))
    assert (error.op, error.expected) == ("SGD", "a function (count)")


# -- history ---------------------------------------------------------------------------------------
def test_a_quantity_that_a_history_has_not() -> None:
    with pytest.raises(KeyError) as caught:
        gc.train.Trainer(gc.nn.Dense(1), loss="mse", optimizer="sgd").history["loss"]
    assert isinstance(caught.value, MissingKeyError)
    assert str(caught.value).startswith("History: no epoch has been trained yet\n")
    history = fit(metrics=["mae"])
    for name, told in (("val_loss", "hint: +validation_data"), ("mea", "near it: mae")):
        with pytest.raises(MissingKeyError, match=rf"it has no '{name}'[\s\S]*{told}") as wrong:
            history[name]
        assert wrong.value.expected == "loss, mae"
    assert list(history) == ["loss", "mae"]
    assert dict(history) == history.logs


# -- functions of functions ------------------------------------------------------------------------
def test_what_a_loop_or_a_branch_calls() -> None:
    """Where graphc decides what a function is called with, the refusal is of the public function;
    a function that a user calls through `gc.grad` refuses as it does without."""
    x = gc.placeholder("wrong_functions_x", ("n",))
    calls: dict[str, Any] = {
        "scan": lambda f: gc.scan(f, 0.0, x), "map": lambda f: gc.map(f, x),
        "while_loop": lambda f: gc.while_loop(f, lambda c: c, x), "root": lambda f: gc.root(f, x),
        "fori_loop": lambda f: gc.fori_loop(0, 3, f, x), "odeint": lambda f: gc.odeint(f, x, [0.0]),
        "cond": lambda f: gc.cond(gc.sum(x) > 0, f, f, x),
        "switch": lambda f: gc.switch(0, [f, f], x), "vjp": lambda f: gc.vjp(f, x),
        "jvp": lambda f: gc.jvp(f, (x,), (x,)), "linearize": lambda f: gc.linearize(f, x),
    }  # fmt: skip
    for name, call in calls.items():
        for function in (lambda: x, lambda a, b, c: a):
            with pytest.raises(CallError, match="a function takes other arguments: it ") as caught:
                call(function)
            assert caught.value.op == name
            assert "<lambda>(" in caught.value.given
            assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(TypeError, match="takes 0 positional") as plain:
        gc.grad(lambda: 1)(x)
    assert not isinstance(plain.value, CallError)
