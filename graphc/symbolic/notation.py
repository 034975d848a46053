r"""How operations read in LaTeX: each op's text, from those of its operands.

A text has a level, which says where it needs brackets, so that what is read is what is computed.
Distinct operations have distinct texts: `\cdot` has a scalar on one side, `\odot` multiplies
elements, `\otimes` is the outer product, matrix products are juxtaposed. An op without a notation
here is written as its formula, if it has one, else by its name with all of its attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy as sp

from graphc.ir.dim import Dim, Size
from graphc.ir.dtype import DType
from graphc.ir.node import ArrayValue, Node, Tensor
from graphc.symbolic.formula import symbol
from graphc.symbolic.printers import Latex
from graphc.symbolic.recognize import (
    drawn,
    everywhere,
    is_number,
    is_one,
    one_hot_labels,
    outer_factors,
    product_with_vectors,
    scaled_by_logarithm,
    unstretched,
)
from graphc.symbolic.texts import (
    ATOM,
    BIG,
    CASES,
    MATMUL,
    POWER,
    PRODUCT,
    RELATION,
    SUM,
    Notation,
    Of,
    Text,
    constant,
    escape,
    escaped,
    filled,
    made,
    number,
    operands,
    shape,
    size,
)

_INDICES = "ijklpqrstuv"


# -- elementwise -----------------------------------------------------------------------------------
def _sum(sign: str, opposite: str) -> Notation:
    """`x sign y`; a negative number goes with the opposite sign."""

    def write(of: Of, node: Node) -> Text:
        left, right = unstretched(node)
        x, y = of(left), of(right)
        mark, shown = sign, y.above(SUM)
        if is_number(right) and y.level == SUM and y.text.startswith("-"):
            mark, shown = opposite, y.text[1:]
        return made(f"{x.above(BIG)} {mark} {shown}", SUM, (x, y))

    return write


def _relation(sign: str) -> Notation:
    def write(of: Of, node: Node) -> Text:
        x, y = (of(t) for t in unstretched(node))
        return made(f"{x.above(BIG)} {sign} {y.above(BIG)}", RELATION, (x, y))

    return write


def _multiply(of: Of, node: Node) -> Text:
    """Of elements, of a scalar, or of the elements of two vectors; a factor 1 is not shown, and a
    number comes first."""
    factors: Sequence[Tensor] | None = outer_factors(node)
    sign = r"\otimes"
    if factors is None:
        factors = unstretched(node)
        sign = r"\odot" if all(t.ndim for t in factors) else r"\cdot"
        for one, other in (factors, factors[::-1]):
            if is_one(one) and other.shape == node.output().shape:
                return of(other)
        if is_number(factors[1]) and not is_number(factors[0]):
            factors = factors[::-1]
    x, y = (of(t) for t in factors)
    if factors[0].node.op.name == "negative" and x.level == SUM and x.text.startswith("- "):
        x = x._replace(text=x.text[2:], level=PRODUCT)  # what a minus stands in front of
        return made(f"- {x.text} {sign} {y.above(MATMUL)}", SUM, (x, y))
    chained = x.level == PRODUCT and sign != r"\otimes"
    left = x.text if chained else x.above(MATMUL)
    return made(f"{left} {sign} {y.above(MATMUL)}", PRODUCT, (x, y))


def _power(of: Of, node: Node) -> Text:
    x, y = operands(of, node)
    return _raised(node, x, y.text, (x, y))


def _square(of: Of, node: Node) -> Text:
    x = of(node.inputs[0])
    return _raised(node, x, "2", (x,))


def _raised(node: Node, base: Text, exponent: str, xs: Sequence[Text]) -> Text:
    """A power: of elements, marked by a circle, unless of scalars."""
    circle = r"\circ " if any(t.ndim for t in node.inputs) else ""
    return made(rf"{base.above(POWER)}^{{{circle}{exponent}}}", POWER, xs)


def _divide(of: Of, node: Node) -> Text:
    """A fraction; a sum over indices stands behind one of 1, as means are written."""
    left, right = unstretched(node)
    x, y = of(left), of(right)
    if x.level == BIG and not right.node.inputs and not right.ndim:
        return made(rf"\frac{{1}}{{{y.text}}} {x.text}", BIG, (x, y))
    return made(rf"\frac{{{x.text}}}{{{y.text}}}", POWER, (x, y))


def _negative(of: Of, node: Node) -> Text:
    x = of(node.inputs[0])
    if node.inputs[0].node.op.name == "expm1" and x.level == SUM:
        return made(f"1 - {x.text.removesuffix(' - 1')}", SUM, (x,))
    return made(f"- {x.above(SUM)}", SUM, (x,))


def _power_less_one(of: Of, node: Node) -> Text:
    """`expm1(log(b) x)` as `b^x - 1`, of scalars: what is left of a moment after x steps."""
    scaled = scaled_by_logarithm(node.inputs[0])
    if scaled is None:
        return _function(r"\operatorname{expm1}")(of, node)
    base, x = scaled[0], of(scaled[1])
    return made(f"{base:g}^{{{x.text}}} - 1", SUM, (x,))


def _around(*parts: str) -> Notation:
    """The operands between parts that set them apart."""

    def write(of: Of, node: Node) -> Text:
        xs = operands(of, node)
        middle = "".join(x.text + part for x, part in zip(xs, parts[1:], strict=True))
        return made(parts[0] + middle, POWER, xs)

    return write


def _function(name: str) -> Notation:
    return lambda of, node: called(name, operands(of, node))


def _complex(of: Of, node: Node) -> Text:
    x, y = operands(of, node)
    return made(rf"{x.above(BIG)} + {y.above(PRODUCT)} \mathrm{{i}}", SUM, (x, y))


def called(name: str, xs: Sequence[Text]) -> Text:
    """A function of operands."""
    return made(rf"{name}\left({', '.join(x.text for x in xs)}\right)", POWER, xs)


def _astype(of: Of, node: Node) -> Text:
    (x,) = node.inputs
    labels = one_hot_labels(x)
    if labels is not None:
        mark = "" if node.attrs["dtype"].is_float else rf",\, \mathrm{{{node.attrs['dtype'].name}}}"
        name = rf"\operatorname{{onehot}}_{{{size(x.shape[-1]).text}{mark}}}"
        return called(name, [of(labels)])
    return called(rf"\operatorname{{{node.attrs['dtype'].name}}}", operands(of, node))


def _polygamma(of: Of, node: Node) -> Text:
    return called(rf"\psi^{{({node.attrs['order']})}}", operands(of, node))


def _where(of: Of, node: Node) -> Text:
    """Cases; of a mask that was drawn and 0, a product."""
    p, x, y = unstretched(node)
    zero = everywhere(y)
    if drawn(p.node) is not None and zero is not None and zero.node.attrs["value"].array == 0:
        texts = of(p), of(x)
        return made(rf"{texts[0].text} \odot {texts[1].above(MATMUL)}", PRODUCT, texts)
    return cases(operands(of, node), r"\text{for}\:", r"\text{otherwise}")


def cases(xs: Sequence[Text], on: str, off: str) -> Text:
    """A condition, what is given where it holds, and what else: `where`, or `cond` in its words."""
    p, yes, no = (x.text for x in xs)
    rows = rf"{yes} & {on} {p} \\ {no} & {off}"
    return made(rf"\begin{{cases}} {rows} \end{{cases}}", CASES, xs)


def by_index(p: Text, sides: Sequence[Text]) -> Text:
    """What is given for each value of an index; those beyond the ends are the ends."""
    signs = [r"\leq", *("=" for _ in sides[2:])]
    marks = [rf"\text{{if}}\: {p.text} {sign} {i}" for i, sign in enumerate(signs)]
    marks = [*marks[: len(sides) - 1], r"\text{else}"]
    rows = r" \\ ".join(f"{x.text} & {mark}" for x, mark in zip(sides, marks, strict=True))
    return made(rf"\begin{{cases}} {rows} \end{{cases}}", CASES, [p, *sides])


def by_formula(of: Of, node: Node) -> Text:
    """The op's formula over its operands, which SymPy brings into its own order."""
    xs = operands(of, node)
    symbols = [symbol(t, f"v{i}") for i, t in enumerate(node.inputs)]
    loose = {s for s, x in zip(symbols, xs, strict=True) if x.level < POWER}
    texts = {s: x.text for s, x in zip(symbols, xs, strict=True)}
    formula: Any = node.op.formula
    text = str(_Printer(texts, loose).doprint(formula(sp, *symbols, **node.attrs)))
    return made(text, CASES, xs)


class _Printer(Latex):
    """SymPy's printer, with brackets around operands that are products or sums."""

    def __init__(self, texts: dict[sp.Symbol, str], loose: set[sp.Symbol]) -> None:
        super().__init__({"mul_symbol": "dot", "symbol_names": texts})
        self._loose = loose

    def parenthesize(self, item: Any, level: Any, *args: Any, **options: Any) -> str:
        if item in self._loose:
            return rf"\left({self._print(item)}\right)"
        return str(super().parenthesize(item, level, *args, **options))

    def _needs_mul_brackets(self, expr: Any, first: bool = False, last: bool = False) -> bool:
        return expr in self._loose or super()._needs_mul_brackets(expr, first=first, last=last)


# -- what moves elements ---------------------------------------------------------------------------
def indexed(x: Text, index: str) -> Text:
    """A text with a subscript; one that ends in a brace is put into braces first."""
    text = x.above(POWER)
    base = rf"{{{text}}}" if text.endswith("}") else text
    return made(rf"{base}_{{{index}}}", ATOM, (x,))


def _matmul(of: Of, node: Node) -> Text:
    return _product(*operands(of, node))


def _product(x: Text, y: Text) -> Text:
    left = x.text if x.level == MATMUL else x.above(MATMUL)
    return made(f"{left} {y.above(MATMUL)}", MATMUL, (x, y))


def _convolution(sign: str) -> Notation:
    """A star between the operands; how windows lie, where it is not the usual way, stands below."""

    def write(of: Of, node: Node) -> Text:
        x, y = operands(of, node)
        below = r",\, ".join(_attributes(node))
        star = f"{sign}_{{{below}}}" if below else sign
        return made(f"{x.above(MATMUL)} {star} {y.above(MATMUL)}", PRODUCT, (x, y))

    return write


def _windows(of: Of, node: Node) -> Text:
    """Windows of the last axes, side by side, as a pooling takes them; others say how they lie."""
    x, window = node.inputs[0], node.attrs["window"]
    last = tuple(range(x.ndim - len(window), x.ndim))
    plain = node.attrs["axes"] == last and set(node.attrs["dilations"]) == {1}
    if plain and node.attrs["strides"] == window:
        return called(rf"\operatorname{{windows}}_{{{shape(window)}}}", (of(x),))
    return by_name(node, operands(of, node), _attributes(node))


def _attributes(node: Node) -> list[str]:
    return [rf"\mathrm{{{escaped(k)}}} = {attribute(v)}" for k, v in node.attrs.items()]


def _permute(of: Of, node: Node) -> Text:
    x, axes = of(node.inputs[0]), node.attrs["axes"]
    rank = len(axes)
    if axes == (*range(rank - 2), rank - 1, rank - 2):
        return made(rf"{x.above(POWER)}^{{\top}}", POWER, (x,))
    return called(rf"\operatorname{{permute}}_{{{', '.join(map(str, axes))}}}", (x,))


def _reshape(of: Of, node: Node) -> Text:
    (x,), target = node.inputs, node.attrs["shape"]
    scalar = everywhere(x)
    if scalar is not None:
        return filled(of(scalar), target)
    if x.node.op.name == "slice":  # of one element along some axes, which go
        one = [n == 1 and n != whole for n, whole in zip(x.shape, _whole(x), strict=True)]
        if target == tuple(n for n, is_one in zip(x.shape, one, strict=True) if not is_one):
            return indexed(of(x.node.inputs[0]), _bounds(x.node, one))
    factors = product_with_vectors(x, target)
    if factors is not None:
        return _product(*(of(t) for t in factors))
    index = _new_axes(x.shape, target)
    if index is not None:
        return indexed(of(x), f"[{index}]")
    return called(rf"\operatorname{{reshape}}_{{{shape(target)}}}", (of(x),))


def _new_axes(source: Sequence[Size], target: Sequence[Size]) -> str | None:
    """The index that adds axes of size 1, or None where the shape changes otherwise."""
    parts, rest = [], list(source)
    for wanted in target:
        if rest and rest[0] == wanted:
            parts.append(":")
            rest.pop(0)
        elif wanted == 1:
            parts.append(r"\mathrm{new}")
        else:
            return None
    return None if rest or len(target) == len(source) else ", ".join(parts)


def _whole(sliced: Tensor) -> Sequence[Size]:
    return sliced.node.inputs[0].shape


def _slice(of: Of, node: Node) -> Text:
    return indexed(of(node.inputs[0]), _bounds(node, [False] * node.inputs[0].ndim))


def _bounds(node: Node, one: Sequence[bool]) -> str:
    """Positions from 0, as Python's; along some axes a single one, without which the axis goes."""
    (x,) = node.inputs
    starts, sizes, steps = (node.attrs[k] for k in ("starts", "sizes", "steps"))
    parts = []
    for axis, (start, count, step) in enumerate(zip(starts, sizes, steps, strict=True)):
        if start == 0 and count == x.shape[axis] and step == 1:
            parts.append(":")
        elif one[axis]:
            parts.append(size(start).text)
        else:
            stop = start + (count - 1) * step + (1 if step > 0 else -1)
            parts.append(f"{size(start).text}:{size(stop).text}" + f":{step}" * (step != 1))
    return f"[{', '.join(parts)}]"


def _take(of: Of, node: Node) -> Text:
    x, indices = operands(of, node)
    if batch := node.attrs.get("batch", 0):
        name = rf"\operatorname{{take}}_{{{node.attrs['axis']},\,\mathrm{{batch}}={batch}}}"
        return called(name, (x, indices))
    return indexed(x, f"[{':, ' * node.attrs['axis']}{indices.text}]")


def _broadcast(of: Of, node: Node) -> Text:
    (x,), target = node.inputs, node.attrs["shape"]
    scalar = everywhere(x)
    if scalar is not None:
        return filled(of(scalar), target)
    return called(rf"\operatorname{{broadcast}}_{{{shape(target)}}}", (of(x),))


def _concat(of: Of, node: Node) -> Text:
    """A stack, where each part has got the axis along which they follow each other."""
    axis = node.attrs["axis"]
    parts = [t.node.inputs[0] for t in node.inputs if t.node.op.name == "reshape"]
    stacked = len(parts) == len(node.inputs) and all(
        t.shape == (*part.shape[:axis], 1, *part.shape[axis:])
        for t, part in zip(node.inputs, parts, strict=True)
    )
    xs = [of(t) for t in (parts if stacked else node.inputs)]
    name = "stack" if stacked else "concat"
    return called(rf"\operatorname{{{name}}}_{{\mathrm{{axis}} = {axis}}}", xs)


def _iota(of: Of, node: Node) -> Text:
    axis, sizes, dtype = (node.attrs[k] for k in ("axis", "shape", "dtype"))
    over = shape(sizes) + ("" if dtype.name == "int64" else rf",\, \mathrm{{{dtype.name}}}")
    return Text(rf"\mathrm{{index}}_{{{axis}}}^{{{over}}}", POWER)


# -- reductions ------------------------------------------------------------------------------------
def _reduction(sign: str, *, bounds: bool) -> Notation:
    def write(of: Of, node: Node) -> Text:
        (x,) = node.inputs
        axes: Sequence[int] = node.attrs["axes"] if "axes" in node.attrs else [node.attrs["axis"]]
        several = [a for a in axes if x.shape[a] != 1] if bounds else axes
        letters = dict(zip(several, _INDICES, strict=False))
        if bounds:
            over = [rf"{sign}_{{{i}=1}}^{{{size(x.shape[a]).text}}}" for a, i in letters.items()]
        else:
            over = [rf"{sign}_{{{', '.join(letters.values())}}}"]
        marks = dict.fromkeys(axes, "1") | letters  # the one element there is
        body = indexed(of(x), ",".join(marks.get(a, ":") for a in range(x.ndim)))
        if not letters and bounds:
            return body
        return made(" ".join([*over, body.text]), BIG, (of(x),))

    return write


def _over_last(name: str) -> Notation:
    """A function of rows; other axes than the last one are named."""

    def write(of: Of, node: Node) -> Text:
        axes, last = node.attrs["axes"], node.inputs[0].ndim - 1
        mark = "" if tuple(axes) == (last,) else rf"_{{\mathrm{{axes}} = {attribute(tuple(axes))}}}"
        return called(rf"\operatorname{{{escaped(name)}}}{mark}", operands(of, node))

    return write


# -- any op ----------------------------------------------------------------------------------------
def by_name(node: Node, xs: Sequence[Text], attributes: Sequence[str], output: int = 0) -> Text:
    """The op's name, which output it is if there are several, and its attributes."""
    marks = [str(output + 1)] if len(node.types) > 1 else []
    subscript = r",\, ".join([*marks, *attributes])
    name = rf"\operatorname{{{escaped(node.op.name)}}}"
    return called(f"{name}_{{{subscript}}}" if subscript else name, xs)


def attribute(value: Any) -> str:
    """A static value."""
    if isinstance(value, (bool, type(None))):
        return rf"\mathrm{{{str(value).lower()}}}"
    if isinstance(value, (int, Dim)):
        return size(value).text
    if isinstance(value, float):
        return number(np.float64(value)).text
    if isinstance(value, tuple):
        return rf"\left({', '.join(map(attribute, value))}\right)"
    if isinstance(value, ArrayValue):
        return constant(value.array).text
    return escape(value.name if isinstance(value, DType) else str(value))


LETTERS = {  # functions that have the name of a letter
    "sigmoid": {r"\sigma"},
    "gamma": {r"\Gamma"},
    "lgamma": {r"\Gamma"},
    "digamma": {r"\psi"},
    "polygamma": {r"\psi"},
}
# Each output is the operand of that number; the further ones say how to differentiate it.
AS_OPERAND = {"checkpoint", "custom_gradient"}
FIRST = {"converged": 1, "ensure": 1}  # how many operands are shown

NOTATIONS: dict[str, Notation] = {
    "add": _sum("+", "-"),
    "subtract": _sum("-", "+"),
    "multiply": _multiply,
    "divide": _divide,
    "negative": _negative,
    "expm1": _power_less_one,
    "floor_divide": _function(r"\operatorname{floor\_divide}"),
    "remainder": _function(r"\operatorname{remainder}"),
    "power": _power,
    "integer_power": _power,
    "square": _square,
    "root_of_squares": _around(r"\sqrt{", "}"),
    "sqrt": _around(r"\sqrt{", "}"),
    "abs": _around(r"\left|", r"\right|"),
    "floor": _around(r"\left\lfloor ", r" \right\rfloor"),
    "ceil": _around(r"\left\lceil ", r" \right\rceil"),
    "sigmoid": _function(r"\sigma"),
    "gamma": _function(r"\Gamma"),
    "lgamma": _around(r"\log\left|\Gamma\left(", r"\right)\right|"),
    "digamma": _function(r"\psi"),
    "polygamma": _polygamma,
    **{f"{kind.lower()}{n}": _function(f"{kind}_{n}") for kind in "IJ" for n in (0, 1)},
    **{f"i{n}e": _function(rf"e^{{-|\cdot|}} I_{n}") for n in (0, 1)},
    **{
        name: _function(rf"\{name}")
        for name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    **{f"a{name}": _function(rf"\arc{name}") for name in ("sin", "cos", "tan")},
    **{f"log{base}": _function(rf"\log_{{{base}}}") for base in (2, 10)},
    "cbrt": _around(r"\sqrt[3]{", "}"),
    **{
        name: _function(rf"\operatorname{{{escaped(name)}}}")
        for name in (
            "log1p", "erf", "erfc", "softplus", "relu", "sign", "round", "stop_gradient",
            "atan2", "asinh", "acosh", "atanh", "hypot", "logaddexp", "exp2", "xlogy", "xlog1py",
            "sinc", "copysign", "signbit", "nextafter", "heaviside", "trunc", "deg2rad", "rad2deg",
            "ndtr", "ndtri", "erfinv", "erfcinv", "logit", "gammainc", "gammaincc", "betainc",
        )
    },
    "maximum": _function(r"\max"),
    "minimum": _function(r"\min"),
    "equal": _relation("="),
    "not_equal": _relation(r"\neq"),
    "less": _relation("<"),
    "less_equal": _relation(r"\leq"),
    "greater": _relation(">"),
    "greater_equal": _relation(r"\geq"),
    "logical_and": _relation(r"\wedge"),
    "logical_or": _relation(r"\vee"),
    "logical_xor": _relation(r"\oplus"),
    "logical_not": _function(r"\neg"),
    "where": _where,
    "astype": _astype,
    "complex": _complex,
    "real": _function(r"\operatorname{Re}"),
    "imag": _function(r"\operatorname{Im}"),
    "matmul": _matmul,
    "conv": _convolution(r"\ast"),
    "conv_by_input": _convolution(r"\mathbin{\ast^{\top}}"),
    "conv_by_kernel": _convolution(r"\star"),
    "permute_dims": _permute,
    "windows": _windows,
    "reshape": _reshape,
    "broadcast_to": _broadcast,
    "slice": _slice,
    "take": _take,
    "concat": _concat,
    "iota": _iota,
    "constant": lambda of, node: constant(node.attrs["value"].array),
    "size": lambda of, node: size(node.attrs["size"]),
    "converged": lambda of, node: of(node.inputs[0]),
    "ensure": lambda of, node: of(node.inputs[0]),
    "check_labels": lambda of, node: of(node.inputs[0]),
    "check_probability": lambda of, node: of(node.inputs[0]),
    **{name: _over_last(name) for name in ("softmax", "log_softmax", "logsumexp")},
    "sum": _reduction(r"\sum", bounds=True),
    "prod": _reduction(r"\prod", bounds=True),
    "max": _reduction(r"\max", bounds=False),
    "min": _reduction(r"\min", bounds=False),
}  # fmt: skip

POSITIONS: dict[str, tuple[Notation, Notation]] = {  # the extremum, then where it is
    f"{name}_and_arg{name}": (
        _reduction(rf"\{name}", bounds=False),
        _reduction(rf"\operatorname{{arg{name}}}", bounds=False),
    )
    for name in ("max", "min")
}
