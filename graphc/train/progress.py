"""The progress bar of a training run, by tqdm where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graphc.errors import ArgumentError


class Silent:
    """The bar that shows nothing."""

    def epoch(self, number: int, total: int) -> None:
        """Say which epoch runs."""

    def advance(self) -> None:
        """One step is done."""

    def show(self, logs: dict[str, float]) -> None:
        """The numbers of the last epoch."""


class _Bar(Silent):
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def epoch(self, number: int, total: int) -> None:
        self._bar.set_description_str(f"epoch {number}/{total}", refresh=False)

    def advance(self) -> None:
        self._bar.update()

    def show(self, logs: dict[str, float]) -> None:
        self._bar.set_postfix_str(" ".join(f"{k}={v:.4g}" for k, v in logs.items()))


@contextmanager
def progress(steps: int, verbose: bool) -> Iterator[Silent]:
    """A bar over `steps` on the standard error stream, closed however the block ends.

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
    with tqdm(total=steps, unit="step", dynamic_ncols=True) as bar:
        yield _Bar(bar)
