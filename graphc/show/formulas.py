"""Formulas in one line: what stands in a box at the level "math".

A formula is parts, texts and tensors, with a level that says where it needs brackets. Tensors get
their names or letters when the formula is written, so that formulas can be put into each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np

from graphc.ir.dim import Size
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact

CHOICE, RELATION, SUM, PRODUCT, SIGN, POWER, ATOM = range(7)


class Formula(NamedTuple):
    """Parts to be written one after another; `of` are the numbers that it was made of, if all."""

    parts: tuple[str | Tensor, ...]
    level: int = ATOM
    ops: int = 0

    def above(self, level: int) -> tuple[str | Tensor, ...]:
        """The parts, in brackets unless the level is above `level`."""
        return self.parts if self.level > level else ("(", *self.parts, ")")

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors in it, each once, in order."""
        return list(dict.fromkeys(p for p in self.parts if isinstance(p, Tensor)))

    def write(self, names: Callable[[Tensor], str]) -> str:
        return "".join(names(p) if isinstance(p, Tensor) else p for p in self.parts)

    @property
    def texts(self) -> tuple[str, ...]:
        """The parts with nothing for a tensor: tensors are not compared by `==`."""
        return tuple("" if isinstance(p, Tensor) else p for p in self.parts)

    def counts(self, t: Tensor) -> int:
        """How often `t` is in it."""
        return sum(p is t for p in self.parts)

    @property
    def is_one(self) -> bool:
        return self.texts == ("1",)

    @property
    def is_zero(self) -> bool:
        return self.texts == ("0",)


Of = Callable[[Tensor], Formula]

_INFIX = {  # sign, level, and the level that the right operand has to be above
    "add": ("+", SUM, CHOICE + 1),
    "subtract": ("−", SUM, SUM),
    "multiply": ("×", PRODUCT, SUM),
    "divide": ("/", PRODUCT, PRODUCT),
    "floor_divide": ("//", PRODUCT, PRODUCT),
    "remainder": ("mod", PRODUCT, PRODUCT),
    "matmul": ("@", PRODUCT, PRODUCT),
    "conv": ("∗", PRODUCT, PRODUCT),
    "conv_by_input": ("∗ᵀ", PRODUCT, PRODUCT),
    "conv_by_kernel": ("⋆", PRODUCT, PRODUCT),
    "equal": ("=", RELATION, RELATION),
    "not_equal": ("≠", RELATION, RELATION),
    "less": ("<", RELATION, RELATION),
    "less_equal": ("≤", RELATION, RELATION),
    "greater": (">", RELATION, RELATION),
    "greater_equal": ("≥", RELATION, RELATION),
    "logical_and": ("and", CHOICE, CHOICE),
    "logical_or": ("or", CHOICE, CHOICE),
}
_DIGITS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: np.generic) -> Formula:
    """A number as people write it: `2`, `0.1`, `1e-08`."""
    if value.dtype.kind == "b":
        return Formula((str(bool(value)).lower(),))
    text = f"{value.item():.6g}" if value.dtype.kind == "f" else str(value)
    text = text.removesuffix(".0")
    negative = text.startswith("-")
    return Formula((text.replace("-", "−", 1) if negative else text,), SIGN if negative else ATOM)


def size(of: Size) -> Formula:
    text = str(of)
    if text.isidentifier() or text.isdigit():
        return Formula((text,))
    return Formula((text.replace("*", " × "),), SUM if " " in text else PRODUCT)


def formula(node: Node, of: Of) -> Formula:
    """The formula of an elementwise operation or a matrix product, from those of its operands."""
    name = node.op.name
    xs = [of(t) for t in node.inputs]
    ops = 1 + sum(x.ops for x in xs)
    if name in _SPECIAL:
        made = _SPECIAL[name](*xs)
        if made is not None:
            return made._replace(ops=ops)
    if Fact.CONVERTS in node.op.facts:
        return xs[0]
    if (labels := _compared_with_positions(node, xs)) is not None:
        return Formula(("one_hot(", *labels.parts, ")"), ATOM, ops)
    if name in _INFIX and len(xs) == 2:
        return _infix(name, *xs)._replace(ops=ops)
    inside: list[str | Tensor] = []
    for x in xs:
        inside += [", "] * bool(inside) + list(x.parts)
    return Formula((f"{name}(", *inside, ")"), ATOM, ops)


def _compared_with_positions(node: Node, xs: Sequence[Formula]) -> Formula | None:
    """What is compared with 0, 1, 2, ...: labels, of which each becomes a row of truth values."""
    if node.op.name != "equal":
        return None
    for x, positions in (xs, xs[::-1]):
        (part,) = positions.parts if len(positions.parts) == 1 else ("",)
        if isinstance(part, Tensor) and part.node.op.name == "iota" and x.tensors:
            return x
    return None


def _infix(name: str, x: Formula, y: Formula) -> Formula:
    sign, level, right = _INFIX[name]
    return Formula((*x.above(level - 1), f" {sign} ", *y.above(right)), level)


def _multiply(x: Formula, y: Formula) -> Formula | None:
    """A number first; `a × (1 / n)` as `a / n`; a condition as a factor in square brackets."""
    if x.is_one or y.is_one:
        return y if x.is_one else x
    for a, b in ((x, y), (y, x)):
        if b.level == PRODUCT and b.texts[:2] == ("1", " / "):
            return Formula((*a.above(SUM), " / ", *b.parts[2:]), PRODUCT)
    first, second = (y, x) if not y.tensors and x.tensors else (x, y)
    return _infix("multiply", first, second)


def _negative(x: Formula) -> Formula:
    if x.level == SUM and x.texts[-1:] == (" − 1",) and x.texts[:1] != ("",):
        return Formula(("1 − ", *x.parts[:-1]), SUM)
    return Formula(("−", *x.above(PRODUCT)), SIGN)


def _power(x: Formula, y: Formula) -> Formula | None:
    exponent = y.parts[0] if len(y.parts) == 1 else ""
    if isinstance(exponent, str) and exponent.replace("−", "-").lstrip("-").isdigit():
        return Formula((*x.above(POWER), exponent.replace("−", "-").translate(_DIGITS)), POWER)
    return Formula((*x.above(POWER), "^", *y.above(POWER)), POWER)


def _power_less_one(x: Formula) -> Formula | None:
    """`expm1(log(b) x)` as `b^x − 1`, for a number b of few decimals: as much as is shown."""
    if x.level != PRODUCT or x.texts[1:2] != (" × ",) or len(x.parts) != 3:
        return None
    try:
        factor = float(x.texts[0].replace("−", "-"))
    except ValueError:
        return None
    base = round(math.exp(min(factor, 1.0)), 4)
    if base <= 0 or base == 1 or not math.isclose(math.log(base), factor, rel_tol=5e-6):
        return None
    return Formula((f"{base:g}^", x.parts[2], " − 1"), SUM)


def _square(x: Formula) -> Formula:
    return Formula((*x.above(POWER), "²"), POWER)


def _root(x: Formula) -> Formula:
    return Formula(("√", *x.above(POWER)), POWER)


def _absolute(x: Formula) -> Formula:
    return Formula(("|", *x.parts, "|"))


def _where(c: Formula, x: Formula, y: Formula) -> Formula:
    """`[c] × a` where the other side is zero; `[c]` is 1 where it holds, else 0."""
    if y.is_zero or x.is_zero:
        held = ("[", *c.parts, "]") if y.is_zero else ("[not ", *c.above(RELATION), "]")
        return _multiply(x if y.is_zero else y, Formula(held)) or x
    return Formula((*x.above(CHOICE), " if ", *c.above(CHOICE), " else ", *y.above(CHOICE)), CHOICE)


def _positive(y: Formula) -> tuple[str | Tensor, ...] | None:
    """The parts of `y` without the minus that it begins with, if it does."""
    first = y.parts[0]
    if y.level not in (SIGN, PRODUCT) or not isinstance(first, str) or not first.startswith("−"):
        return None
    return first.removeprefix("−"), *y.parts[1:]


def _add(x: Formula, y: Formula) -> Formula | None:
    """`a + −2 × b` as `a − 2 × b`."""
    rest = _positive(y)
    return None if rest is None else Formula((*x.above(RELATION), " − ", *rest), SUM)


def _subtract(x: Formula, y: Formula) -> Formula | None:
    """`a − −2 × b` as `a + 2 × b`."""
    rest = _positive(y)
    return None if rest is None else Formula((*x.above(RELATION), " + ", *rest), SUM)


_SPECIAL: dict[str, Callable[..., Formula | None]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "negative": _negative,
    "expm1": _power_less_one,
    "power": _power,
    "integer_power": _power,
    "square": _square,
    "sqrt": _root,
    "abs": _absolute,
    "where": _where,
    "weak": lambda x: x,
}


def transposed(x: Formula) -> Formula:
    return Formula((*x.above(POWER), "ᵀ"), POWER, x.ops)


def letters(names: Collection[str]) -> str:
    """The letters that tensors without a name get: those that are not a name already."""
    free = "".join(letter for letter in ascii_lowercase if letter not in names)
    return free or ascii_lowercase
