r"""Texts of LaTeX, each with a level that says where it needs brackets; names, numbers, sizes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import sympy as sp

from graphc.ir.dim import Size
from graphc.ir.node import Node, Tensor
from graphc.symbolic.dims import to_sympy

_LETTERS = re.compile(r"([A-Za-z])_?(\d*)\Z")
_LONGEST_NAME = 40
_SHORT_ARRAY = 16  # elements; of a longer one the text has the shape and a hash
_ESCAPES = {
    "\\": r"\backslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "^": r"\^{}", "~": r"\~{}",
}  # fmt: skip

# Levels, from what needs brackets nearly everywhere to what needs them nowhere.
CASES, RELATION, BIG, SUM, PRODUCT, MATMUL, POWER, ATOM = range(8)


class Text(NamedTuple):
    """A text, how tightly it holds together, and how many operations are in it."""

    text: str
    level: int = ATOM
    size: int = 1

    def above(self, level: int) -> str:
        """The text, in brackets unless its level is higher."""
        return self.text if self.level > level else rf"\left({self.text}\right)"


Of: TypeAlias = Callable[[Tensor], Text]  # the text of a tensor that a node is made of
Notation: TypeAlias = Callable[[Of, Node], Text]


def made(text: str, level: int, operands: Sequence[Text]) -> Text:
    return Text(text, level, 1 + sum(x.size for x in operands))


def operands(of: Of, node: Node) -> list[Text]:
    return [of(t) for t in node.inputs]


# -- names, numbers, sizes -------------------------------------------------------------------------
def escape(name: str) -> str:
    r"""A user's name as LaTeX: `w1` is `w_{1}`, other names are upright text, all else escaped.

    >>> escape("w1"), escape("hidden_bias")
    ('w_{1}', '\\mathrm{hidden\\_bias}')
    """
    match = _LETTERS.match(name)
    if match:
        letter, digits = match.groups()
        return f"{letter}_{{{digits}}}" if digits else letter
    shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
    return rf"\mathrm{{{escaped(''.join(c if c.isprintable() else ' ' for c in shown))}}}"


def escaped(text: str) -> str:
    return "".join(_ESCAPES.get(c, c) for c in text)


def number(value: Any) -> Text:
    r"""A NumPy scalar: the shortest digits that are this number in its dtype.

    >>> number(np.float32(0.1)).text, number(np.float64("nan")).text, number(np.float64(1e-9)).text
    ('0.1', '\\mathrm{NaN}', '1 \\cdot 10^{-9}')
    """
    if value.dtype.kind == "b":
        return Text(r"\mathrm{true}" if value else r"\mathrm{false}")
    if value.dtype.kind == "c":
        parts = number(value.real), number(value.imag)
        return Text(rf"{parts[0].text} + {parts[1].above(PRODUCT)} \mathrm{{i}}", SUM)
    if value.dtype.kind != "f":
        return Text(str(int(value)), SUM if value < 0 else ATOM)
    if np.isnan(value):
        return Text(r"\mathrm{NaN}")
    if np.isinf(value):
        return Text(r"-\infty", SUM) if value < 0 else Text(r"\infty")
    level = SUM if np.signbit(value) else ATOM
    if value == 0 or 1e-4 <= abs(value) < 1e16:
        return Text(np.format_float_positional(value, unique=True, trim="-"), level)
    digits, exponent = np.format_float_scientific(value, unique=True, trim="-").split("e")
    return Text(rf"{digits} \cdot 10^{{{int(exponent)}}}", min(level, PRODUCT))


def size(value: Size) -> Text:
    """A size. Dims are escaped as other names are."""
    expression = to_sympy(value)
    names = {s: escape(s.name) for s in expression.free_symbols}
    simple = expression.is_Symbol or (expression.is_Integer and value >= 0)
    text = str(sp.latex(expression, symbol_names=names, mul_symbol="dot"))
    return Text(text, ATOM if simple else SUM)


def shape(sizes: Sequence[Size]) -> str:
    r"""`3 \times n`; of a scalar, empty brackets."""
    return r" \times ".join(size(s).above(SUM) for s in sizes) or r"\left(\right)"


def constant(array: np.ndarray[Any, Any]) -> Text:
    """A constant: a number, a number that all elements are, all numbers, or a shape and a hash."""
    if not array.shape:
        return number(array[()])
    first = array.flat[0] if array.size else None
    if first is not None and array.tobytes() == first.tobytes() * array.size:
        return filled(number(first), array.shape)
    if array.size <= _SHORT_ARRAY and array.ndim == 1:
        return Text(rf"\left({', '.join(number(v).text for v in array)}\right)", POWER)
    if 0 < array.size <= _SHORT_ARRAY and array.ndim == 2:
        rows = r" \\ ".join(" & ".join(number(v).text for v in row) for row in array)
        return Text(rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}", POWER)
    digest = hashlib.sha256(array.tobytes()).hexdigest()[:8]
    return Text(rf"\mathrm{{constant}}_{{{shape(array.shape)}}}^{{\mathrm{{{digest}}}}}", POWER)


def filled(value: Text, sizes: Sequence[Size]) -> Text:
    """One number everywhere in a shape."""
    return Text(rf"{value.above(POWER)}_{{{shape(sizes)}}}", POWER)
