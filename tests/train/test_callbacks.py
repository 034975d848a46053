"""Early stopping: when it stops, and for what."""

from __future__ import annotations

from typing import Any

import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.train.callbacks import Callbacks


def _stops_at(stopping: Any, name: str, values: list[float]) -> int | None:
    """The first epoch after which it stops."""
    for epoch, value in enumerate(values):
        if stopping(epoch, {"loss": 0.0, name: value}):
            return epoch
    return None


def test_it_stops_after_patience_epochs_without_a_better_one() -> None:
    stopping = gc.train.EarlyStopping("val_loss", patience=2)
    values = [5.0, 4.0, 4.5, 3.0, 3.0, 3.1, 1.0]
    assert _stops_at(stopping, "val_loss", values) == 5
    assert _stops_at(stopping, "val_loss", values) == 5  # a new run starts afresh
    assert _stops_at(stopping, "val_loss", [3.0, 2.0, 1.0]) is None


def test_accuracy_is_better_when_larger() -> None:
    stopping = gc.train.EarlyStopping("val_accuracy", patience=1)
    assert _stops_at(stopping, "val_accuracy", [0.5, 0.6, 0.7, 0.7]) == 3
    by_hand = gc.train.EarlyStopping("score", patience=1, mode="max")
    assert _stops_at(by_hand, "score", [1.0, 2.0, 1.0]) == 2


def test_small_changes_do_not_count() -> None:
    stopping = gc.train.EarlyStopping("loss2", patience=1, min_delta=0.1)
    assert _stops_at(stopping, "loss2", [1.0, 0.8, 0.75]) == 2


def test_nan_is_never_better() -> None:
    stopping = gc.train.EarlyStopping("val_loss", patience=2)
    assert _stops_at(stopping, "val_loss", [float("nan")] * 3) == 1


def test_errors() -> None:
    with pytest.raises(ArgumentError, match="one of loss, accuracy") as caught:
        gc.train.EarlyStopping("val_loss")(0, {"loss": 1.0, "accuracy": 0.5})
    assert "validation_data" in str(caught.value)
    bad: Any
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ArgumentError, match="an int >= 1"):
            gc.train.EarlyStopping(patience=bad)
    with pytest.raises(ArgumentError, match="'auto', 'min' or 'max'"):
        gc.train.EarlyStopping(mode="best")


@pytest.mark.parametrize("given", [gc.train.EarlyStopping("loss"), gc.train.EarlyStopping, 3])
def test_callbacks_are_a_list(given: Any) -> None:
    with pytest.raises(ArgumentError, match="not a list of callbacks"):
        Callbacks(given)
    with pytest.raises(ArgumentError, match="not a callback"):
        Callbacks([gc.train.EarlyStopping])
