"""What a user may name by a string (an activation, an initialiser, a loss, a metric), and numbers
that he gives for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.elsewhere import hint, snake
from graphc.errors import ArgumentError
from graphc.ir import origin


def find(kind: str, table: Mapping[str, Callable[..., Any]], given: Any) -> Callable[..., Any]:
    """`given` itself if it is callable, else the function of that name in `table`; a class's name
    is the function's that is written so.

    Errors: `ArgumentError` with the known names for anything else.

    >>> find("activation", {"double": lambda x: x + x}, "double")(2)
    4
    """
    if isinstance(given, str) and (name := given if given in table else snake(given)) in table:
        return table[name]
    if callable(given) and not isinstance(given, type):
        function: Callable[..., Any] = given
        return function
    raise ArgumentError(
        "unknown name" if isinstance(given, str) else "neither a name nor a function",
        op=kind,
        expected=f"a callable, or one of {', '.join(sorted(table))}",
        given=repr(given)[:80],
        where=origin.where(),
        hint=_meant(given, table),
    )


def _meant(given: Any, table: Mapping[str, Any]) -> str:
    if isinstance(given, type):
        return f"an object of the class: {given.__name__}()"
    if type(given) is int:
        return "sizes of inputs are not given: a layer learns them at its first call"
    return hint(given, table) if isinstance(given, str) else ""


def given_number(
    op: str, name: str, value: Any, low: float, below: float = math.inf, *, above: bool = False
) -> float:
    """`value` as a float in [low, below), or with `above` in (low, below). Errors:
    `ArgumentError`."""
    real = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
    if not real or not low <= value < below or (above and value == low):
        least = f"a finite number {'>' if above else '>='} {low:g}"
        raise ArgumentError(
            f"{name} is out of range",
            op=op,
            expected=least if below == math.inf else f"a number in [{low:g}, {below:g})",
            given=repr(value)[:80],
            where=origin.where(),
        )
    return float(value)


def given_seed(op: str, value: Any) -> int:
    """`value` as an int. Errors: `ArgumentError` for what is no int >= 0."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ArgumentError(
            "not a seed", op=op, expected="an int >= 0", given=repr(value)[:80],
            where=origin.where(),
        )  # fmt: skip
    return int(value)
