"""What a notebook shows: the picture and the equations of a tensor, a graph or a function, the
table of a model. Whatever comes from users is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from graphc.equations.latex import latex, program
from graphc.errors import GraphcError
from graphc.ir.graph import walk
from graphc.ir.operators import function
from graphc.nn.module import Layer
from graphc.shown import Formula

_LONGEST = 60  # lines of equations that are shown
_LARGEST = 200  # nodes of a picture that is shown beside them


def latex_of(what: Any) -> str | None:
    """Its equations, for `_repr_latex_`; None where there are none or too many."""
    try:
        text = Formula(latex(what))
    except GraphcError:
        return None
    return text._repr_latex_() if text.count("\n") <= _LONGEST else None


def html_of(what: Any) -> str | None:
    """What it is, its picture and its equations, for `_repr_html_`."""
    if isinstance(what, Layer):
        return _of_layer(what)
    parts = [f"<code>{escape(repr(what))}</code>"]
    try:
        found = program(what)
        if len(walk(found.roots)) <= _LARGEST:
            parts.append(_inside(str(function("_repr_svg_")(what))))
    except GraphcError:
        pass  # no Graphviz, no program yet: the rest is shown
    equations = latex_of(what)
    if equations is not None:
        parts.append(escape(equations))
    return "".join(f"<div>{part}</div>" for part in parts)


def _of_layer(layer: Layer) -> str | None:
    """Its table, and its picture with a box for each layer inside."""
    try:
        parts = [f"<pre>{escape(layer.summary())}</pre>"]
    except GraphcError:
        return None
    try:
        picture = layer._repr_svg_()
        parts += [] if picture is None else [f"<div>{_inside(picture)}</div>"]
    except GraphcError:
        pass  # no Graphviz: the table is shown
    return "".join(parts)


def _inside(picture: str) -> str:
    """A picture as a part of a page."""
    return picture[max(picture.find("<svg"), 0) :]
