"""HTML that is made of elements, so that no text of a user's is ever taken for a part of it.

A plain `str` is text and is escaped; what `tag` gives is an `Html`, which is not. Characters that
do not print (controls, marks that turn the direction of text, halves of characters) are shown as
their escapes, as in drawings.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

_EMPTY = frozenset({"meta", "input", "br"})  # elements without an end


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Text as HTML that shows exactly it.

    >>> escaped('<b> & "\\u202e"')
    '&lt;b&gt; &amp; &quot;\\\\u202e&quot;'
    """
    shown = text
    if not text.isprintable():
        shown = "".join(
            c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode()
            for c in text
        )
    return Html(html.escape(shown))


def tag(name: str, /, *children: str, **attributes: object) -> Html:
    """An element. An attribute that is None or False is left out; `class_` is `class`, and `_`
    inside of a name stands for `-`.

    >>> tag("a", "x < y", href="#k", class_="plain")
    '<a href="#k" class="plain">x &lt; y</a>'
    """
    listed = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{"" if value is True else escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    inside = together(children)
    return Html(f"<{name}{listed}>" if name in _EMPTY else f"<{name}{listed}>{inside}</{name}>")


def together(parts: Iterable[str]) -> Html:
    """Elements and texts one behind the other."""
    return Html("".join(part if isinstance(part, Html) else escaped(part) for part in parts))


def table(head: Iterable[str], rows: Iterable[Iterable[str]], class_: str = "") -> Html:
    """A table: a row of heads, and rows of cells."""
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    body = (tag("tr", *(tag("td", cell) for cell in row)) for row in rows)
    listed = tag("table", tag("thead", top), tag("tbody", *body), class_=class_ or None)
    return tag("div", listed, class_="wide")  # which scrolls by itself on a narrow screen
