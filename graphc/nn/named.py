"""What a user may name by a string: an activation, an initialiser, a loss, a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir import origin


def find(kind: str, table: Mapping[str, Callable[..., Any]], given: Any) -> Callable[..., Any]:
    """`given` itself if it is callable, else the function of that name in `table`.

    Errors: `ArgumentError` with the known names for anything else.

    >>> find("activation", {"double": lambda x: x + x}, "double")(2)
    4
    """
    if isinstance(given, str) and given in table:
        return table[given]
    if callable(given):
        function: Callable[..., Any] = given
        return function
    raise ArgumentError(
        "unknown name" if isinstance(given, str) else "neither a name nor a callable",
        op=kind,
        expected=f"a callable, or one of {', '.join(sorted(table))}",
        given=repr(given)[:80],
        where=origin.where(),
    )
