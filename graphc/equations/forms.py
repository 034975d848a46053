"""Right sides of equations: a tensor over placeholders, as text and as LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sympy as sp

from graphc.ir.node import Tensor
from graphc.ops.from_formula import tensors_of
from graphc.symbolic import printers
from graphc.symbolic.plain import plain
from graphc.symbolic.texts import below
from graphc.symbolic.writer import Line as Row
from graphc.symbolic.writer import Sheet, Writer, written_size

_LARGEST = 200  # operations in a form, beyond which parts of it have lines


class Form(NamedTuple):
    """One right side of a line: a tensor over placeholders, and how it reads."""

    tensor: Tensor
    text: str
    latex: str


class Line(NamedTuple):
    """The name of a value, as text and in LaTeX, and the forms that it is equal to, the simplest
    last. `part` is a part of a derivation."""

    part: str
    name: str
    label: str
    forms: tuple[Form, ...]

    @property
    def text(self) -> str:
        indent = "\n" + " " * len(self.name)
        return self.name + indent.join(f" = {form.text}" for form in self.forms)

    @property
    def latex(self) -> str:
        return self.label + " \\\\\n".join(f" &= {form.latex}" for form in self.forms)


def of_tensor(t: Tensor, labels: Mapping[Tensor, str]) -> Form:
    """A tensor over placeholders; `labels` are the LaTeX of some of these."""
    parts = written_size(t) > _LARGEST
    sheet = Sheet(parts=parts)
    sheet.labels |= set(labels.values())
    (text,) = Writer([t], sheet, {x: below(label) for x, label in labels.items()}).results()
    latex = text.text
    if sheet.lines:
        sheet.lines.append(Row("", latex, ""))
        latex = sheet.block()
    *before, last = plain([("", t)], parts=parts)
    shown = last.removeprefix(" = ")
    return Form(t, f"{shown}, where {', '.join(before)}" if before else shown, latex)


def of_expression(e: Any, symbols: Mapping[Any, Tensor], labels: Mapping[Tensor, str]) -> Form:
    """A SymPy expression of numbers that are named."""
    (tensor,) = tensors_of([e], symbols)
    return Form(tensor, printers.text(e, {}), printers.latex(e, labels_of(symbols, labels)))


def of_product(
    paths: Sequence[Sequence[Any]], symbols: Mapping[Any, Tensor], labels: Mapping[Tensor, str]
) -> Form:
    """Sums of products whose factors stay as they are and in their order."""
    names = labels_of(symbols, labels)
    texts, latexes = [], []
    for factors in paths:
        single = len(factors) == 1
        brackets = (r"\left(", r"\right)")
        shown = (_apart(printers.text(e, {}), e, single, "()") for e in factors)
        texts.append(" * ".join(shown) or "1")  # a loss by itself
        parts = (_apart(printers.latex(e, names), e, single, brackets) for e in factors)
        latexes.append(r" \cdot ".join(parts) or "1")
    (tensor,) = tensors_of([sum(sp.Mul(*factors) for factors in paths)], symbols)
    return Form(tensor, " + ".join(texts), " + ".join(latexes))


def labels_of(symbols: Mapping[Any, Tensor], labels: Mapping[Tensor, str]) -> dict[Any, str]:
    return {symbol: labels[t] for symbol, t in symbols.items() if t in labels}


def _apart(text: str, e: Any, single: bool, brackets: Sequence[str]) -> str:
    is_sum = e.is_Add or (e.could_extract_minus_sign() and not single)
    return f"{brackets[0]}{text}{brackets[1]}" if is_sum else text
