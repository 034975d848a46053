"""How long anything is waited for. Nothing in this room waits without one of these limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from graphc.errors import ArgumentError
from graphc.ir import origin


@dataclass(frozen=True)
class Limits:
    """Seconds that are waited at most: for workers to `start`, which loads their programs, and for
    one `step` of all of them. A worker that takes longer counts as lost.

    Errors: `ArgumentError` for what is no finite number above 0.
    """

    start: float = 120.0
    step: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            checked(f"the limit {field.name!r}", getattr(self, field.name))


def checked(name: str, seconds: object) -> float:
    """`seconds` as a limit."""
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < float(seconds) < math.inf:  # type: ignore[arg-type]
        raise ArgumentError(
            f"{name} is no time to wait", op="distributed", expected="seconds, a number above 0",
            given=repr(seconds)[:80], where=origin.where(),
        )  # fmt: skip
    return float(seconds)  # type: ignore[arg-type]
