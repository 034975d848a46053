"""The record of a run."""

from __future__ import annotations

import pytest

import graphc


def test_history() -> None:
    history = graphc.train.History()
    assert history.epochs == 0
    history.add({"loss": 2.0})
    history.add({"loss": 1.0, "val_loss": 3.0})
    assert history["loss"] == [2.0, 1.0]
    assert "val_loss" in history
    assert "accuracy" not in history
    assert history.epochs == 2
    with pytest.raises(KeyError):
        history["accuracy"]
