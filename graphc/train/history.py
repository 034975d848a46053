"""What a training run has seen, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphc.elsewhere import HISTORY, hint, no_member
from graphc.errors import MissingKeyError


@dataclass
class History:
    """One list for each quantity (`loss`, `accuracy`, `val_loss`, ...), one entry for each epoch.

    >>> history = History()
    >>> history.add({"loss": 0.5})
    >>> history["loss"], history.epochs
    ([0.5], 1)
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

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return max((len(values) for values in self.logs.values()), default=0)
