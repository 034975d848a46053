"""Texts of many lines, which a notebook shows as `print` does and not as Python writes a string.
A formula it sets, as mathematics. Everywhere else they are the strings that they are."""

from __future__ import annotations

from typing import Any


class Shown(str):
    """A text that a notebook shows line by line."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython asks for the plain text of a result."""
        printer.text(str(self))


class Formula(Shown):
    r"""LaTeX, which a notebook sets.

    >>> Formula(r"\tanh x")._repr_latex_()
    '$\\displaystyle \\tanh x$'
    """

    __slots__ = ()

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self}$"


class Markdown(Shown):
    """Markdown, which a notebook sets."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)
