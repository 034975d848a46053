"""Callbacks: callables (epoch, logs), run after every epoch; a true result stops the training.

`epoch` counts from 0; `logs` holds the epoch's numbers, such as `loss` and `val_accuracy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from graphc.errors import ArgumentError

Callback: TypeAlias = Callable[[int, dict[str, float]], Any]


class EarlyStopping:
    """Stops when `monitor` has not become better for `patience` epochs in a row.

    Better is larger for names that hold "accuracy", else smaller, unless `mode` says "max" or
    "min"; a change of at most `min_delta` is none.
    Errors: `ArgumentError` for a patience that is no int >= 1 or an unknown mode; at the first
    epoch for a quantity that is not logged.
    Source: Prechelt, "Early Stopping - But When?" (1998), the criterion UP.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ArgumentError(
                "patience is not a positive int",
                op="EarlyStopping",
                expected="an int >= 1",
                given=repr(patience),
            )
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(
                "unknown mode",
                op="EarlyStopping",
                expected="'auto', 'min' or 'max'",
                given=repr(mode),
            )
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        larger = mode == "max" or (mode == "auto" and "accuracy" in monitor)
        self._sign = -1.0 if larger else 1.0
        self._best, self._since = math.inf, 0

    def __call__(self, epoch: int, logs: dict[str, float]) -> bool:
        if self.monitor not in logs:
            raise ArgumentError(
                "this quantity is not logged",
                op="EarlyStopping",
                expected=f"one of {', '.join(logs)}",
                given=repr(self.monitor),
                hint="val_ quantities need validation_data",
            )
        if epoch == 0:
            self._best, self._since = math.inf, 0
        value = self._sign * logs[self.monitor]
        if value < self._best - self.min_delta:
            self._best, self._since = value, 0
        else:
            self._since += 1
        return self._since >= self.patience

    def __repr__(self) -> str:
        return f"EarlyStopping({self.monitor!r}, patience={self.patience})"
