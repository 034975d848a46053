r"""Texts of LaTeX, each with a level that says where it needs brackets; names, numbers, sizes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphc.ir.dim import Size
from graphc.ir.node import Node, Tensor

_WORDS = re.compile(r"([A-Za-z]+)(\d*)((?:_[A-Za-z\d]+)*)_?")
_SUBSCRIPT = re.compile(r"([^_{}]+|\\mathrm\{[^{}]*\})_\{([^{}]*)\}")
_GREEK = frozenset((
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda",
    "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma",
    "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
))  # fmt: skip
_OF_LAYERS = {"kernel": "W", "recurrent_kernel": "U", "bias": "b"}
_OF_OPTIMIZERS = {  # as in the papers; the layer that a variable is of stays below
    "first_moment": "m",
    "second_moment": "v",
    "velocity": "v",
    "mean_square": "s",
    "iterations": "t",
}
_LONGEST_NAME = 40
_SHORT_ARRAY = 16  # elements; of a longer one the text has the shape and a hash
_ESCAPES = {
    "\\": r"\backslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "^": r"\hat{\ }", "~": r"\tilde{\ }",
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


def below(label: str, *parts: str) -> Text:
    r"""A label with parts below it, behind those that it has: `v_{1}` at t is `v_{1,t}`.

    >>> below("v_{1}", "t").text, below("h", "t", "s - 1").text
    ('v_{1,t}', 'h_{t,s - 1}')
    """
    if not parts:
        return Text(label, POWER if "^" in label else ATOM)
    match = _SUBSCRIPT.fullmatch(label)
    base, own = (match[1], [match[2]]) if match else (label, [])
    text = f"{base}_{{{','.join([*own, *parts])}}}"
    return Text(text, POWER if "^" in base else ATOM)


# -- names, numbers, sizes -------------------------------------------------------------------------
def escape(name: str) -> str:
    r"""A user's name as LaTeX: a letter, Greek ones by their names, or an upright word, with digits
    and what follows underscores below; `dw` is a differential. Of a layer's variable the path is
    below, and kernels and biases are W, U and b, as in books; an optimiser's moments of a variable
    are m and v, with that below. All else is escaped text.

    >>> escape("w1"), escape("beta_max"), escape("dz3"), escape("net/dense/kernel")
    ('w_{1}', '\\beta_{\\mathrm{max}}', '\\mathrm{d}z_{3}', 'W_{\\mathrm{net/dense}}')
    >>> escape("adam/w/first_moment"), escape("adam/iterations")
    ('m_{w}', 't_{\\mathrm{adam}}')
    """
    path, _, last = name.rpartition("/")
    of = path.partition("/")[2] or path
    if last in _OF_OPTIMIZERS and 0 < len(of) <= _LONGEST_NAME:
        return below(_OF_OPTIMIZERS[last], escape(of) if "/" not in of else _upright(of)).text
    match = _WORDS.fullmatch(_OF_LAYERS.get(last, last) if path else name)
    if match is None or len(name) > _LONGEST_NAME:
        shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
        return rf"\mathrm{{{escaped(''.join(c if c.isprintable() else ' ' for c in shown))}}}"
    word, digits, rest = match.groups()
    is_differential = len(word) == 2 and word[0] == "d"
    base = rf"\mathrm{{d}}{word[1]}" if is_differential else _word(word)
    under = [*([digits] if digits else []), *map(_word, rest.split("_")[1:])]
    under += [_upright(path)] if path else []
    return f"{base}_{{{','.join(under)}}}" if under else base


def _upright(text: str) -> str:
    return rf"\mathrm{{{escaped(text)}}}"


def _word(word: str) -> str:
    if word in _GREEK:
        return rf"\{word}"
    return word if len(word) == 1 or word.isdecimal() else rf"\mathrm{{{word}}}"


def escaped(text: str) -> str:
    """What is no letter of mathematics, as a text inside of it."""
    return "".join(_ESCAPES.get(c, c if c.isascii() else rf"\text{{{c}}}") for c in text)


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
    import sympy as sp  # drawings without formulas do without it

    from graphc.symbolic.dims import to_sympy

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
