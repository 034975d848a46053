"""The progress bar of a training run, by tqdm where it is installed: numbers so far, time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphc.errors import ArgumentError

_TERMINAL, _FILE = 0.1, 10.0  # seconds between two drawings of the bar: a file keeps them all


class Silent:
    """The bar that shows nothing."""

    def epoch(self, number: int, total: int) -> None:
        """Say which epoch runs."""

    def advance(self, steps: int, logs: Callable[[], dict[str, Any]] | None) -> None:
        """So many steps are done; `logs` gives the numbers so far."""

    def show(self, logs: dict[str, Any]) -> None:
        """The numbers of the last epoch."""


class _Bar(Silent):
    def __init__(self, bar: Any, label: str) -> None:
        self._bar, self._label = bar, label
        self._shown = ""  # of the last epoch

    def epoch(self, number: int, total: int) -> None:
        self._bar.set_description_str(f"{self._label}epoch {number}/{total}", refresh=False)

    def advance(self, steps: int, logs: Callable[[], dict[str, Any]] | None) -> None:
        if logs is not None and not self._shown:
            self._bar.set_postfix_str(_line(logs()), refresh=False)
        self._bar.update(steps)

    def show(self, logs: dict[str, Any]) -> None:
        self._shown = _line(logs)
        # A new line for each epoch would be a flood: the bar shows it when it is drawn next.
        self._bar.set_postfix_str(self._shown, refresh=False)


def _line(logs: dict[str, Any]) -> str:
    return " ".join(f"{k}={v:.4g}" for k, v in logs.items() if np.ndim(v) == 0)


@contextmanager
def progress(steps: int | None, verbose: bool, label: str = "") -> Iterator[Silent]:
    """A bar over `steps`, if it is known how many, on the standard error stream, closed however the
    block ends; before the epoch it shows a label. It is text, and so needs no widgets in a
    notebook.

    Errors: `ArgumentError` if tqdm is missing.
    """
    if not verbose:
        yield Silent()
        return
    try:
        from tqdm import tqdm
    except ImportError:
        raise ArgumentError(
            "a progress bar needs tqdm, which is not installed",
            op="fit",
            given="verbose=True",
            hint="pip install graphc[train], or pass verbose=False",
        ) from None
    often = _TERMINAL if sys.stderr is not None and sys.stderr.isatty() else _FILE
    with tqdm(total=steps, unit="step", dynamic_ncols=True, mininterval=often) as bar:
        yield _Bar(bar, label and f"{label}: ")
