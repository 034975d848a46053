r"""Readable LaTeX of any tensor: `latex(grad(loss, w))`.

Elementwise parts are printed by SymPy from the ops' formulas; sums, matrix products and the like
become atoms inside them. A node that is used twice, or that would make a formula too long, gets a
name of its own; the result is then an `aligned` block, one line a name, the tensor last.

    matmul        x w                      juxtaposed; elementwise products have a dot
    sum, max      \sum_{i=1}^{n} x_{i,:}   over the indices of the reduced axes
    transpose     x^{\top}
    where         cases
    views         nothing: an axis of size 1 more or less, or stretched, is not shown
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter

from graphc.ir.dim import Size
from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor
from graphc.symbolic.dims import to_sympy
from graphc.symbolic.formula import literal, symbol

_LONGEST = 40  # operations in one formula
_INDICES = "ijklpqrstuv"
_LETTERS = re.compile(r"([A-Za-z])_?(\d*)\Z")
_LONGEST_NAME = 40
_ESCAPES = {
    "\\": r"\backslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "^": r"\^{}", "~": r"\~{}",
}  # fmt: skip


def latex(tensor: Tensor) -> str:
    r"""LaTeX for a tensor in terms of placeholders, variables and constants.

    >>> import graphc as gc
    >>> x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3,))
    >>> latex(gc.sum(gc.tanh(x @ w)))
    '\\sum_{i=1}^{n} \\left(\\tanh{\\left(x w \\right)}\\right)_{i}'
    """
    return _Writer(tensor).text()


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
    plain = "".join(c if c.isprintable() else " " for c in shown)
    return rf"\mathrm{{{''.join(_ESCAPES.get(c, c) for c in plain)}}}"


class _Printer(LatexPrinter):  # type: ignore[misc]
    """SymPy's printer, with brackets around atoms that are products or sums inside."""

    def __init__(self, atoms: dict[sp.Symbol, str], loose: set[sp.Symbol]) -> None:
        super().__init__({"mul_symbol": "dot", "symbol_names": atoms})
        self._loose = loose

    def parenthesize(self, item: Any, level: Any, *args: Any, **options: Any) -> str:
        if item in self._loose:
            return rf"\left({self._print(item)}\right)"
        return str(super().parenthesize(item, level, *args, **options))

    def _needs_mul_brackets(self, expr: Any, first: bool = False, last: bool = False) -> bool:
        return expr in self._loose or super()._needs_mul_brackets(expr, first=first, last=last)


class _Writer:
    """The lines of one tensor, from its nodes in order."""

    def __init__(self, root: Tensor) -> None:
        self._root = root
        self._order = walk([root])
        self._atoms: dict[sp.Symbol, str] = {}  # how each symbol is printed
        self._loose: set[sp.Symbol] = set()  # those that need brackets in a product,
        self._products: set[sp.Symbol] = set()  # and those of them that are matrix products
        self._lines: list[str] = []
        self._labels: set[str] = set()
        self._values: dict[Tensor, Any] = {}

    def text(self) -> str:
        uses: dict[Tensor, int] = {}
        for node in self._order:
            for t in node.inputs:
                uses[t] = uses.get(t, 0) + 1
        for node in self._order:
            for t in node.outputs:
                value = self._value(node, t)
                shared = uses.get(t, 0) > 1 and not self._is_short(value)
                if t is not self._root and (shared or sp.count_ops(value) > _LONGEST):
                    value = self._named(t, value)
                self._values[t] = value
        result = self._print(self._values[self._root])
        if not self._lines:
            return result
        body = " \\\\\n".join([*self._lines, f"& {result}"])
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def _is_short(self, value: Any) -> bool:
        """A number, a name, or an atom that is no longer than one."""
        if value.is_Symbol:
            return len(self._atoms[value]) <= 12
        return bool(value.is_number or value.is_Atom)

    # -- values ------------------------------------------------------------------------------------
    def _value(self, node: Node, t: Tensor) -> Any:
        operands = [self._values[x] for x in node.inputs]
        if node.op.name in _FUNCTIONS:
            return sp.Function(_FUNCTIONS[node.op.name])(*operands)
        if node.op.formula is not None:
            return node.op.formula(sp, *operands, **node.attrs)
        number = literal(node)
        if number is not None:
            return number
        write = _STRUCTURAL.get(node.op.name)
        if write is None:
            return self._leaf(node, t) if not node.inputs else self._call(node, t)
        return write(self, node, t)

    def atom(self, t: Tensor, text: str, loose: bool = False) -> sp.Symbol:
        """A symbol printed as `text`; `loose` if it needs brackets in a product."""
        made = symbol(t, f"v{len(self._atoms)}")
        self._atoms[made] = text
        if loose:
            self._loose.add(made)
        return made

    def product(self, t: Tensor, text: str) -> sp.Symbol:
        """A matrix product: it needs no brackets inside another."""
        made = self.atom(t, text, loose=True)
        self._products.add(made)
        return made

    def _named(self, t: Tensor, value: Any) -> sp.Symbol:
        label = self._unused(f"t_{{{len(self._lines) + 1}}}")
        self._lines.append(f"{label} &= {self._print(value)}")
        return self.atom(t, label)

    def _leaf(self, node: Node, t: Tensor) -> sp.Symbol:
        label = escape(t.name) if t.name else rf"\mathrm{{{escape_op(node.op.name)}}}"
        return self.atom(t, self._unused(label))

    def _unused(self, label: str) -> str:
        """`label`, marked if another tensor has it."""
        unique, number = label, 2
        while unique in self._labels:
            unique, number = f"{label}^{{({number})}}", number + 1
        self._labels.add(unique)
        return unique

    def _call(self, node: Node, t: Tensor) -> sp.Symbol:
        arguments = ", ".join(self.operand(x) for x in node.inputs)
        part = f"_{{{t.index + 1}}}" if len(node.types) > 1 else ""
        name = escape_op(node.op.name)
        return self.atom(t, rf"\operatorname{{{name}}}{part}\left({arguments}\right)")

    # -- text --------------------------------------------------------------------------------------
    def _print(self, value: Any) -> str:
        return str(_Printer(self._atoms, self._loose).doprint(value))

    def operand(self, t: Tensor) -> str:
        """An operand's text, free of brackets."""
        return self._print(self._values[t])

    def bracketed(self, t: Tensor, *, in_product: bool = False) -> str:
        """An operand's text in brackets unless it is an atom, or stands well in a product."""
        value, text = self._values[t], self.operand(t)
        if value.is_Symbol:
            tight = value not in self._loose or (in_product and value in self._products)
        elif value.is_Function:
            tight = in_product and not isinstance(value, sp.Piecewise)
        else:
            tight = bool(value.is_number and value.is_nonnegative)
        return text if tight else rf"\left({text}\right)"

    def indexed(self, t: Tensor, index: str) -> str:
        """An operand's text with a subscript."""
        text = self.bracketed(t)
        return rf"{{{text}}}_{{{index}}}" if text.endswith("}") else rf"{text}_{{{index}}}"


def escape_op(name: str) -> str:
    """An op's name in upright text."""
    return name.replace("_", r"\_")


_FUNCTIONS = {"sigmoid": "sigma", "softplus": "softplus", "relu": "relu"}


# -- structural ops --------------------------------------------------------------------------------
def _same(writer: _Writer, node: Node, t: Tensor) -> Any:
    return writer._values[node.inputs[0]]


def _matmul(writer: _Writer, node: Node, t: Tensor) -> sp.Symbol:
    left, right = (writer.bracketed(x, in_product=True) for x in node.inputs)
    return writer.product(t, f"{left} {right}")


def _permute(writer: _Writer, node: Node, t: Tensor) -> sp.Symbol:
    axes = node.attrs["axes"]
    rank = len(axes)
    if axes == (*range(rank - 2), rank - 1, rank - 2):
        return writer.atom(t, rf"{writer.bracketed(node.inputs[0])}^{{\top}}", loose=False)
    order = ", ".join(map(str, axes))
    inside = writer.operand(node.inputs[0])
    return writer.atom(t, rf"\operatorname{{permute}}_{{{order}}}\left({inside}\right)")


def _reshape(writer: _Writer, node: Node, t: Tensor) -> Any:
    (x,) = node.inputs
    if [s for s in x.shape if s != 1] == [s for s in t.shape if s != 1]:
        return writer._values[x]
    shape = r" \times ".join(_size(s) for s in t.shape) or "1"
    inside = writer.operand(x)
    return writer.atom(t, rf"\operatorname{{reshape}}_{{{shape}}}\left({inside}\right)")


def _size(size: Size) -> str:
    return str(sp.latex(to_sympy(size)))


def _reduction(sign: str, *, bounds: bool) -> Callable[[_Writer, Node, Tensor], sp.Symbol]:
    def write(writer: _Writer, node: Node, t: Tensor) -> sp.Symbol:
        (x,) = node.inputs
        axes: Sequence[int] = node.attrs["axes"] if "axes" in node.attrs else [node.attrs["axis"]]
        letters = dict(zip(axes, _INDICES, strict=False))
        over = "".join(
            rf"{sign}_{{{i}=1}}^{{{_size(x.shape[a])}}} " for a, i in letters.items()
        ) if bounds else rf"{sign}_{{{', '.join(letters.values())}}} "  # fmt: skip
        subscript = ",".join(letters.get(a, ":") for a in range(x.ndim))
        return writer.atom(t, over + writer.indexed(x, subscript), loose=True)

    return write


def _positions(sign: str) -> Callable[[_Writer, Node, Tensor], sp.Symbol]:
    """The two outputs of max_and_argmax: the extremum, then where it is."""
    value, position = (
        _reduction(rf"\{name}", bounds=False) for name in (sign, f"operatorname{{arg{sign}}}")
    )
    return lambda writer, node, t: (position if t.index else value)(writer, node, t)


def _slice(writer: _Writer, node: Node, t: Tensor) -> sp.Symbol:
    (x,) = node.inputs
    parts = []
    for axis, (start, size, step) in enumerate(
        zip(node.attrs["starts"], node.attrs["sizes"], node.attrs["steps"], strict=True)
    ):
        if start == 0 and size == x.shape[axis]:
            parts.append(":")
        elif size == 1:
            parts.append(_size(start))
        else:
            stop = start + (size - 1) * step + 1
            parts.append(f"{_size(start)}:{_size(stop)}" + (f":{step}" if step != 1 else ""))
    return writer.atom(t, writer.indexed(x, f"[{', '.join(parts)}]"))


def _take(writer: _Writer, node: Node, t: Tensor) -> sp.Symbol:
    x, indices = node.inputs
    before = ":, " * node.attrs["axis"]
    return writer.atom(t, writer.indexed(x, f"[{before}{writer.operand(indices)}]"))


def _iota(writer: _Writer, node: Node, t: Tensor) -> sp.Symbol:
    return writer.atom(t, rf"\mathrm{{index}}_{{{node.attrs['axis'] + 1}}}")


_STRUCTURAL: dict[str, Callable[[_Writer, Node, Tensor], Any]] = {
    "matmul": _matmul,
    "permute_dims": _permute,
    "reshape": _reshape,
    "check_labels": _same,
    "check_probability": _same,
    "sum": _reduction(r"\sum", bounds=True),
    "prod": _reduction(r"\prod", bounds=True),
    "max": _reduction(r"\max", bounds=False),
    "min": _reduction(r"\min", bounds=False),
    "max_and_argmax": _positions("max"),
    "min_and_argmin": _positions("min"),
    "slice": _slice,
    "take": _take,
    "iota": _iota,
}
