"""Callbacks: what runs before and after the training, each epoch and each batch.

A callback is a `Callback`, or a function (epoch, logs) that runs after every epoch; a true result
of it, `on_epoch_end` or `on_batch_end` stops the training. `epoch` and `step` count from 0; `logs`
holds the numbers of the epoch, such as `loss` and `val_accuracy`, or of its batches so far.
"""

from __future__ import annotations

import csv
import errno
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from graphc.elsewhere import hint
from graphc.errors import ArgumentError, CheckpointWarning
from graphc.ir import origin
from graphc.keywords import Answering, asked
from graphc.train.history import blank

LARGER = ("accuracy", "precision", "recall", "f1", "auc", "r2")  # better when larger

# No room is left, of the disk, of a user's part of it, or of what a process may write; it fails.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Callback(Answering):
    """Base of callbacks: every method does nothing. `self.trainer` is the trainer that runs.

    A trainer whose callbacks define a method of batches runs step by step.
    """

    trainer: Any = None

    def on_train_begin(self) -> None:
        """Before the first epoch, also of a training that goes on."""

    def on_train_end(self) -> None:
        """After the last epoch, unless an error ended the training."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> Any:
        """After an epoch and its validation. A true result stops the training."""

    def on_batch_begin(self, step: int) -> None:
        """Before a step."""

    def on_batch_end(self, step: int, logs: dict[str, Any]) -> Any:
        """After a step. A true result stops the training."""

    def state(self) -> dict[str, Any]:
        """What of it a saved training has to keep: plain data and arrays."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""

    def __call__(self, epoch: int, logs: dict[str, Any]) -> Any:
        return self.on_epoch_end(epoch, logs)


class _Function(Callback):
    """A function as a callback."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> Any:
        return asked("fit", "epoch, logs", self._function, epoch, logs)


class Stop(Exception):  # noqa: N818  (it is no error)
    """A callback of a batch wants the training to end."""


HOOKS = tuple(n for n in vars(Callback) if n.startswith("on_"))
_KERAS = {  # methods of its callbacks that are another here, or none
    "on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end",
    "on_test_begin": "none: on_epoch_end is behind the validation",
    "on_test_end": "none: on_epoch_end is behind the validation",
    "set_model": "self.trainer.model", "set_params": "self.trainer",
}  # fmt: skip


def _check_methods(kind: type[Callback]) -> None:
    """Errors: `ArgumentError` for a method of a user's that nobody calls: one that is named nearly
    as one of a callback is, and the only ones of a callback that has none of these."""
    if kind.__module__.startswith("graphc."):
        return
    mine = {
        n: v for cls in kind.__mro__ if not cls.__module__.startswith("graphc.")
        for n, v in vars(cls).items() if callable(v) and n[0] != "_"
    }  # fmt: skip
    known = {n for n in vars(Callback) if n[0] != "_"}
    near = {n.removeprefix("on_"): n for n in HOOKS}
    idle = kind.__mro__[1] is Callback and not mine.keys() & known and "__call__" not in vars(kind)
    wrong = [n for n in mine if n not in known and (n.startswith("on_") or n in _KERAS or idle)]
    if wrong or (idle and not mine):
        raise ArgumentError(
            f"nobody calls {wrong[0]}" if wrong else "a callback without methods",
            op=kind.__name__, expected=", ".join(HOOKS), given=", ".join(mine) or "none",
            where=origin.where(),
            hint=hint(wrong[0], HOOKS, {**near, **_KERAS}) if wrong else "",
        )  # fmt: skip


def _name(method: Any) -> str:
    return f"{type(method.__self__).__name__}.{method.__name__}"


class Callbacks:
    """All of a training's, as one. Errors: `ArgumentError` for what cannot be called."""

    def __init__(self, given: Iterable[Any], states: Sequence[Mapping[str, Any]] = ()) -> None:
        several = isinstance(given, Iterable) and not isinstance(given, Callback)
        self._all = [self._one(each) for each in given] if several else self._none(given)
        self._states = list(states)  # of callbacks that are not here: those of a file
        batches = (Callback.on_batch_begin, Callback.on_batch_end)
        self.see_batches = any(
            (type(c).on_batch_begin, type(c).on_batch_end) != batches for c in self._all
        )

    def _none(self, given: Any) -> NoReturn:
        raise ArgumentError(
            "not a list of callbacks", op="fit", expected="callbacks=[...]",
            given=repr(given)[:80], where=origin.where(),
        )  # fmt: skip

    def _one(self, given: Any) -> Callback:
        if isinstance(given, Callback):
            _check_methods(type(given))
            return given
        if callable(given) and not isinstance(given, type):
            return _Function(given)
        methods = [n for n in HOOKS if hasattr(given, n)]
        raise ArgumentError(
            "not a callback", op="fit", expected="a gc.train.Callback, or a function (epoch, logs)",
            given=repr(given)[:80], where=origin.where(),
            hint=f"an object of the class: {given.__name__}()" if isinstance(given, type)
            else f"class {type(given).__name__}(gc.train.Callback)" * bool(methods),
        )  # fmt: skip

    def begin(self, trainer: Any) -> None:
        for c in self._all:
            c.trainer = trainer
            asked(_name(c.on_train_begin), "", c.on_train_begin)

    def end(self) -> None:
        for c in self._all:
            asked(_name(c.on_train_end), "", c.on_train_end)

    def epoch_begin(self, epoch: int) -> None:
        for c in self._all:
            asked(_name(c.on_epoch_begin), "epoch", c.on_epoch_begin, epoch)

    def epoch_end(self, epoch: int, logs: dict[str, Any]) -> bool:
        wishes = [  # all of them run
            asked(_name(c.on_epoch_end), "epoch, logs", c.on_epoch_end, epoch, dict(logs))
            for c in self._all
        ]
        return any(wishes)

    def batch_begin(self, step: int) -> None:
        if self.see_batches:
            for c in self._all:
                asked(_name(c.on_batch_begin), "step", c.on_batch_begin, step)

    def batch_end(self, step: int, logs: dict[str, Any]) -> None:
        """Errors: `Stop` if one of them wants to end."""
        wishes = [
            asked(_name(c.on_batch_end), "step, logs", c.on_batch_end, step, dict(logs))
            for c in self._all
        ]
        if any(wishes):
            raise Stop

    def states(self) -> list[dict[str, Any]]:
        """The state of each, with its kind."""
        return [dict(s) for s in self._states] or [
            {"kind": type(c).__name__, "state": c.state()} for c in self._all
        ]

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Give each its state: the first of its kind that is left."""
        left = list(states)
        for c in self._all:
            found = next((s for s in left if s["kind"] == type(c).__name__), None)
            if found is not None:
                left.remove(found)
                c.restore(found["state"])


# -- what watches a quantity -----------------------------------------------------------------------
class _Watching(Callback):
    """What waits for `monitor` to become better: larger for names of scores such as "accuracy",
    else smaller, unless `mode` says "max" or "min"; a change of at most `min_delta` is none."""

    def __init__(self, monitor: str, patience: int, min_delta: float, mode: str) -> None:
        kind = type(self).__name__
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ArgumentError(
                "patience is not a positive int",
                op=kind,
                expected="an int >= 1",
                given=repr(patience),
            )
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(
                "unknown mode", op=kind, expected="'auto', 'min' or 'max'", given=repr(mode)
            )
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        larger = mode == "max" or (mode == "auto" and any(name in monitor for name in LARGER))
        self._sign = -1.0 if larger else 1.0
        self._best, self._since = math.inf, 0

    def on_train_begin(self) -> None:
        self._best, self._since = math.inf, 0

    def is_better(self, logs: Mapping[str, Any]) -> bool:
        """Whether it has become better; else the epochs since it did are counted."""
        if self.monitor not in logs:
            raise ArgumentError(
                "this quantity is not logged",
                op=type(self).__name__,
                expected=f"one of {', '.join(logs)}",
                given=repr(self.monitor),
                hint="val_ quantities need validation_data",
            )
        value = self._sign * float(logs[self.monitor])
        better = value < self._best - self.min_delta
        if better:
            self._best = value
        self._since = 0 if better else self._since + 1
        return better

    def state(self) -> dict[str, Any]:
        return {"best": self._best, "since": self._since}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._best, self._since = float(state["best"]), int(state["since"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.monitor!r}, patience={self.patience})"


class EarlyStopping(_Watching):
    """Stops when `monitor` has not become better for `patience` epochs in a row.

    Better is larger for scores such as "accuracy", else smaller, unless `mode` says "max" or
    "min"; a change of at most `min_delta` is none. `restore_best_weights` puts the model back to
    the best epoch, `best_epoch`, when the training ends.
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
        restore_best_weights: bool = False,
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        self.restore_best_weights = restore_best_weights
        self.best_epoch: int | None = None
        self._weights: dict[str, Any] = {}

    def on_train_begin(self) -> None:
        super().on_train_begin()
        self.best_epoch, self._weights = None, {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> bool:
        if epoch == 0:
            super().on_train_begin()
        if self.is_better(logs):
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._weights = self.trainer.model.state_dict()
        return self._since >= self.patience

    def on_train_end(self) -> None:
        if self._weights:
            self.trainer.model.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        return super().state() | {"epoch": self.best_epoch, "weights": self._weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.best_epoch, self._weights = state["epoch"], dict(state["weights"])


class ReduceOnPlateau(_Watching):
    """Multiplies the learning rate by `factor` when `monitor` has not become better for `patience`
    epochs, down to `min_rate`; then waits as long again.

    Errors: as `EarlyStopping`; `ArgumentError` for a factor outside of (0, 1), or a schedule.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        min_rate: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, patience, min_delta, mode)
        if not 0 < factor < 1:
            raise ArgumentError(
                "factor is out of range", op="ReduceOnPlateau", expected="in (0, 1)",
                given=repr(factor),
            )  # fmt: skip
        self.factor, self.min_rate = factor, min_rate

    def on_train_begin(self) -> None:
        super().on_train_begin()
        self.trainer.learning_rate = self.trainer.learning_rate  # which raises for a schedule

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if not self.is_better(logs) and self._since >= self.patience:
            rate = max(self.trainer.learning_rate * self.factor, self.min_rate)
            self.trainer.learning_rate = rate
            self._since = 0


class LearningRateSchedule(Callback):
    """The learning rate of each epoch, as a function of its number.

    A schedule of steps, computed in the step itself, is one of `gc.optim.schedules`.
    """

    def __init__(self, schedule: Callable[[int], float]) -> None:
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int) -> None:
        rate = asked(type(self).__name__, "epoch", self.schedule, epoch)
        try:
            self.trainer.learning_rate = float(rate)
        except (TypeError, ValueError):
            raise ArgumentError(
                "the rate of an epoch is no number", op=type(self).__name__, expected="a number",
                given=repr(rate)[:80], where=origin.where(),
            ) from None  # fmt: skip


# -- what writes files -----------------------------------------------------------------------------
class Checkpoint(_Watching):
    """Saves the trainer after every epoch, or with `monitor` after those in which it became better.

    `path` may hold `{epoch}` (from 1 on) and names of the logs, as `str.format` takes them:
    "run-{epoch:03}.safetensors". A file is replaced as a whole or not at all. Where the disk is
    full, or fails, a `CheckpointWarning` says so, the last file is as it was, and the training goes
    on; a file of the last epoch is tried once more when it ends.
    Errors: as `EarlyStopping`; those of `Trainer.save` but for a disk that is full or fails.
    """

    def __init__(
        self, path: Any, monitor: str | None = None, min_delta: float = 0.0, mode: str = "auto"
    ) -> None:
        super().__init__(monitor or "loss", 1, min_delta, mode)
        self.path, self.only_better = str(path), monitor is not None
        self._unsaved: str | None = None  # where the state of the last epoch should be

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if self.is_better(logs) or not self.only_better:
            try:
                path = self.path.format(epoch=epoch + 1, **logs)
            except (KeyError, IndexError, ValueError) as error:
                raise ArgumentError(
                    f"the path does not fit: {error}", op="Checkpoint", given=repr(self.path),
                    expected=f"a path with {{epoch}}, {', '.join(f'{{{name}}}' for name in logs)}",
                ) from None  # fmt: skip
            self._save(path)

    def on_train_end(self) -> None:
        if self._unsaved is not None and not self.only_better:
            self._save(self._unsaved)

    def _save(self, path: str) -> None:
        self._unsaved = path
        try:
            self.trainer.save(path)
        except OSError as error:
            if error.errno not in _OF_THE_DISK:
                raise
            origin.warn(
                f"the training is not saved to {path} after epoch {self.trainer.history.epochs}: "
                f"{error.strerror}; it goes on, and what was saved before is as it was",
                CheckpointWarning,
            )
        else:
            self._unsaved = None


class CSVLog(Callback):
    """Appends a row of numbers after every epoch, each written before the next epoch begins.

    A training that goes on appends to the file that is there; another one begins it anew.
    """

    def __init__(self, path: Any) -> None:
        self.path = Path(path)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        names = [name for name, value in logs.items() if np.ndim(value) == 0]
        with self.path.open("w" if epoch == 0 else "a", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            if epoch == 0:
                rows.writerow(["epoch", *names])
            rows.writerow([epoch + 1, *(repr(float(logs[name])) for name in names)])


class PlotCurves(Callback):
    """Draws the numbers of all epochs with matplotlib when the training ends: a panel for each
    quantity, that of the held-out data in it.

    Errors: `ArgumentError` if matplotlib is missing, when the training begins.
    """

    def __init__(self, path: Any) -> None:
        self.path = str(path)

    def on_train_begin(self) -> None:
        blank("PlotCurves")

    def on_train_end(self) -> None:
        self.trainer.history.plot(self.path)
