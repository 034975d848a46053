"""What a training run has seen, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.elsewhere import HISTORY, hint, no_member
from graphc.errors import ArgumentError, MissingKeyError

_ROWS = 5  # epochs at either end that a notebook shows


@dataclass(repr=False)
class History:
    """One list for each quantity (`loss`, `accuracy`, `val_loss`, ...), one entry for each epoch.

    >>> history = History()
    >>> history.add({"loss": 0.5})
    >>> history["loss"], history.epochs
    ([0.5], 1)
    >>> history
    <History of 1 epochs: loss 0.5 to 0.5>
    """

    logs: dict[str, list[Any]] = field(default_factory=dict)
    stopped: str = ""  # why training ended before its last epoch

    def add(self, logs: dict[str, Any]) -> None:
        """Append one epoch."""
        for name, value in logs.items():
            self.logs.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> list[Any]:
        if name in self.logs:
            return self.logs[name]
        keras = "validation_data or validation_split, given to fit" if self.logs else ""
        raise MissingKeyError(
            f"it has no {name!r}" if self.logs else "no epoch has been trained yet",
            op="History",
            expected=", ".join(self.logs) or "what a fit gives, or trainer.history behind it",
            given=repr(name),
            hint=keras if str(name).startswith("val_") else hint(str(name), self.logs),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.logs)

    def keys(self) -> KeysView[str]:
        """The names, so that `dict(history)` has the lists."""
        return self.logs.keys()

    def __contains__(self, name: str) -> bool:
        return name in self.logs

    if not TYPE_CHECKING:  # a checker knows what it has

        def __getattr__(self, name: str) -> Any:
            """What is not there: the hint for a name of Keras's."""
            if name not in HISTORY:
                return object.__getattribute__(self, name)  # Python's own error
            raise no_member(self, name, HISTORY)

    def __repr__(self) -> str:
        numbers = self._numbers()
        said = [f"{name} {v[0]:.4g} to {v[-1]:.4g}" for name, v in numbers.items()]
        end = f"; {self.stopped}" if self.stopped else ""
        return f"<History of {self.epochs} epochs: {', '.join(said) or 'no numbers'}{end}>"

    def _repr_html_(self) -> str:
        """A table of the first and the last epochs."""
        numbers = self._numbers()
        head = "".join(f"<th>{escape(name)}</th>" for name in ("epoch", *numbers))
        rows = []
        for i in range(self.epochs):
            if _ROWS <= i < self.epochs - _ROWS:
                rows += ["<tr><td>…</td></tr>"] * (i == _ROWS)
                continue
            cells = "".join(f"<td>{v[i]:.4g}</td>" if i < len(v) else "<td></td>"
                            for v in numbers.values())  # fmt: skip
            rows.append(f"<tr><td>{i + 1}</td>{cells}</tr>")
        end = f"<p>{escape(self.stopped)}</p>" if self.stopped else ""
        return f"<table><tr>{head}</tr>{''.join(rows)}</table>{end}"

    def plot(self, path: Any = None) -> Any:
        """Learning curves, as a figure of matplotlib, which a notebook shows; with a path also as a
        file. A panel for each quantity, that of the held-out data in it.

        Errors: `ArgumentError` if matplotlib is missing, or no epoch has been trained.
        """
        figure, logs = blank("History.plot"), self._numbers()
        if not logs:
            raise ArgumentError("no epoch has been trained yet", op="History.plot")
        names = [n for n in logs if not n.startswith("val_") or n[4:] not in logs]
        figure.set_size_inches(4.5 * len(names), 3.2)
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for label, line in ((name, "-"), (f"val_{name}", "--")):
                if label in logs:
                    axes.plot(range(1, len(logs[label]) + 1), logs[label], line, label=label)
            axes.set_xlabel("epoch")
            axes.set_title(name)
            axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure

    def _numbers(self) -> dict[str, list[Any]]:
        """The quantities that are one number for an epoch, as no confusion matrix is."""
        return {n: values for n, values in self.logs.items() if values and np.ndim(values[0]) == 0}

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return max((len(values) for values in self.logs.values()), default=0)


def blank(op: str) -> Any:
    """A figure of matplotlib, which needs no window. Errors: `ArgumentError` without it."""
    try:
        from graphc.train.figure import Figure
    except ImportError:
        raise ArgumentError(
            "curves need matplotlib, which is not installed", op=op,
            hint="pip install graphc[train]",
        ) from None  # fmt: skip
    return Figure(layout="constrained")
