"""What work takes, as counts: the same on every machine, and beside any other work.

    calls_of(lambda: parse_graph(text))[1]     # how often functions were called

Calls of functions, Python's and those in C, turns of generators included, are what the interpreter
tells `sys.setprofile`; `cProfile` is a profile function in C, which makes counting quick. What one
call in C does inside is not seen: `tests/properties/instructions.py` sees that.
"""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def calls_of(run: Callable[[], T]) -> tuple[T, int]:
    """What `run()` gives, and how many calls that took."""
    profile = cProfile.Profile(subcalls=False)
    profile.enable()
    try:
        result = run()
    finally:
        profile.disable()
    return result, sum(entry.callcount for entry in profile.getstats())  # type: ignore[attr-defined]
