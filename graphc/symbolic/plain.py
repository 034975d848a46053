"""Equations as plain text, as Python has them: `h = tanh(x @ w + b)`.

Operators have Python's signs and precedence; every other operation is its name, called with what it
is told besides. What is used twice, or makes a line too long, has a line of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from graphc.ir.dim import Dim
from graphc.ir.dtype import DType
from graphc.ir.graph import Graph
from graphc.ir.node import ArrayValue, Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.symbolic.attention import (
    Attention,
    attention,
    heads,
    in_plain,
    joined_heads,
    turned_heads,
)
from graphc.symbolic.recognize import (
    drawn,
    everywhere,
    one_hot_labels,
    outer_factors,
    product_with_vectors,
    unstretched,
)
from graphc.symbolic.writer import operands_of, shown

_LONGEST = 24  # operations in one line
_RELATION, _SUM, _PRODUCT, _MINUS, _POWER, _ATOM = range(6)
_SIGNS = {
    "add": ("+", _SUM),
    "subtract": ("-", _SUM),
    "multiply": ("*", _PRODUCT),
    "divide": ("/", _PRODUCT),
    "floor_divide": ("//", _PRODUCT),
    "remainder": ("%", _PRODUCT),
    "matmul": ("@", _PRODUCT),
    "equal": ("==", _RELATION),
    "not_equal": ("!=", _RELATION),
    "less": ("<", _RELATION),
    "less_equal": ("<=", _RELATION),
    "greater": (">", _RELATION),
    "greater_equal": (">=", _RELATION),
}


class _Text(NamedTuple):
    text: str
    level: int = _ATOM
    size: int = 1

    def above(self, level: int) -> str:
        return self.text if self.level > level else f"({self.text})"


def plain(
    results: Iterable[tuple[str, Tensor]],
    names: Mapping[Tensor, str] | None = None,
    fresh: Callable[[], str] | None = None,
    parts: bool = True,
) -> list[str]:
    """Lines for tensors under their names; `names` has tensors at which to stop, `fresh` gives the
    names of what is used twice or is long, if such `parts` have lines of their own.

    >>> import graphc as gc
    >>> x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3,))
    >>> plain([("h", gc.tanh(x @ w) + 1)])
    ['h = tanh(x @ w) + 1']
    """
    wanted = list(results)
    given = dict(names or {})
    if fresh is None:
        taken = {*given.values(), *(name for name, _ in wanted)}
        fresh = (name for name in map("v{}".format, count(1)) if name not in taken).__next__
    texts = {t: _Text(name) for t, name in given.items()}
    roots = [t for _, t in wanted]
    nodes = [n for n in shown(roots, given) if not all(t in texts for t in n.outputs)]
    uses: dict[Tensor, int] = {}
    for node in nodes:
        for t in operands_of(node, given):
            uses[t] = uses.get(t, 0) + 1
    lines: list[str] = []
    first: dict[Tensor, str] = {}
    for name, t in wanted:
        first.setdefault(t, name)
    for node in nodes:
        for t in node.outputs:
            if t in texts:
                continue
            text = _text(texts, given, node, t)
            long = parts and (text.size > _LONGEST or (uses.get(t, 0) > 1 and text.size > 1))
            if t in first and uses.get(t, 0):
                lines.append(f"{first[t]} = {text.text}")
                text = _Text(first[t])
            elif t not in first and long:
                label = fresh()
                lines.append(f"{label} = {text.text}")
                text = _Text(label)
            texts[t] = text
    written = {line.partition(" = ")[0] for line in lines}
    return lines + [f"{n} = {texts[t].text}" for n, t in wanted if n not in written]


def _text(
    texts: Mapping[Tensor, _Text], given: Collection[Tensor], node: Node, t: Tensor
) -> _Text:
    """The text of an output of a node."""
    name, attrs = node.op.name, node.attrs
    if not node.inputs:
        return _leaf(node, t)
    of = texts.__getitem__
    if drawn(node) is not None:
        probability, key = (of(x) for x in operands_of(node, given))
        return _Text(f"bernoulli({key.text}, {probability.text})")
    if name == "multiply" and (vectors := outer_factors(node)) is not None:
        u, v = (of(x) for x in vectors)
        return _Text(f"outer({u.text}, {v.text})", _ATOM, 1 + u.size + v.size)
    if name in _SIGNS:
        return _infix(*_SIGNS[name], *(of(x) for x in unstretched(node)))
    xs = [of(x) for x in operands_of(node, given)]
    if name == "attention":
        return _attention(attention(node, given), xs)
    if (split := heads(t, given)) is not None:
        turned = ".T" if turned_heads(t) is not None else ""
        return _Text(f"heads({xs[0].text}, {split[1]}){turned}", _ATOM, 1 + xs[0].size)
    if (joined := joined_heads(t, given)) is not None:
        is_one = joined.shape[-3] == 1
        return xs[0] if is_one else _Text(f"concat({xs[0].text})", _ATOM, 1 + xs[0].size)
    if name == "negative":
        return _Text(f"-{xs[0].above(_PRODUCT)}", _MINUS, 1 + xs[0].size)
    if name in ("power", "integer_power", "square"):
        exponent = xs[1].above(_MINUS) if len(xs) > 1 else "2"
        size = 1 + sum(x.size for x in xs)
        return _Text(f"{xs[0].above(_POWER)}**{exponent}", _POWER, size)
    if Fact.CHECKS in node.op.facts:
        return xs[0]
    if name == "astype":
        labels, told = one_hot_labels(node.inputs[0]), attrs["dtype"].name
        if labels is not None and labels in texts:
            told, xs = f"onehot[{t.shape[-1]}]", [of(labels)]
        return _Text(f"{told}({xs[0].text})", _ATOM, 1 + xs[0].size)
    if name == "permute_dims" and _swaps_the_last_two(tuple(attrs["axes"])):
        return _Text(f"{xs[0].above(_POWER)}.T", _ATOM, 1 + xs[0].size)
    if name == "reshape":
        return _reshaped(of, node)
    if name == "broadcast_to" and (scalar := everywhere(node.inputs[0])) is not None:
        return of(scalar) if scalar in texts else _leaf(scalar.node, scalar)
    if name == "switch":
        return _chosen(node, t, xs)
    if name == "slice":
        return _Text(f"{xs[0].above(_POWER)}[{_parts(node)}]", _ATOM, 1 + xs[0].size)
    return _called(node, t, xs)


def _swaps_the_last_two(axes: tuple[int, ...]) -> bool:
    """Whether each matrix is transposed."""
    last = len(axes) - 1
    return axes[-2:] == (last, last - 1) and axes[:-2] == tuple(range(last - 1))


def _infix(sign: str, level: int, x: _Text, y: _Text) -> _Text:
    if sign == "+" and y.text.startswith("-"):
        sign, y = "-", _Text(y.text[1:], max(y.level, _PRODUCT), y.size)
    left = x.above(level if level == _RELATION else level - 1)
    return _Text(f"{left} {sign} {y.above(level)}", level, 1 + x.size + y.size)


def _attention(read: Attention, xs: Sequence[_Text]) -> _Text:
    q, k, v = (x.above(_POWER) for x in xs[:3])
    mask = xs[3].text if read.mask is not None else ""
    key = xs[-1].text if read.rate else ""
    text = in_plain(read, q, k, v, mask, key)
    return _Text(text, _PRODUCT, 1 + sum(x.size for x in xs))


def _reshaped(of: Callable[[Tensor], _Text], node: Node) -> _Text:
    (x,), target = node.inputs, node.attrs["shape"]
    factors = product_with_vectors(x, target)
    if factors is not None:
        return _infix("@", _PRODUCT, *(of(t) for t in factors))
    text = of(x)
    is_call = text.text.startswith(f"{x.node.op.name}(") and text.text.endswith(")")  # and no name
    if is_call and target == _with_reduced(x.node):
        return text._replace(text=f"{text.text.removesuffix(')')}, keepdims=True)")
    return _Text(f"reshape({text.text}, {_value(tuple(target))})", _ATOM, 1 + text.size)


def _with_reduced(node: Node) -> tuple[Any, ...] | None:
    """The shape of what is reduced, with 1 for each axis that goes; None of other operations."""
    axes = node.attrs.get("axes")
    if node.op.kind is not Kind.REDUCE or axes is None:
        return None
    return tuple(1 if i in axes else n for i, n in enumerate(node.inputs[0].shape))


def _chosen(node: Node, t: Tensor, xs: Sequence[_Text]) -> _Text:
    """A branch: what is given if a condition holds, or for an index."""
    sides = []
    for branch in node.attrs["branches"]:
        names = {x: text.above(_MINUS) for x, text in zip(branch.inputs, xs[1:], strict=True)}
        sides.append(plain([("", branch.outputs[t.index])], names, parts=False)[0][3:])
    size = sum(x.size for x in xs) + sum(len(b.nodes) for b in node.attrs["branches"])
    if node.inputs[0].dtype.kind != "b":
        return _Text(f"choose({', '.join([xs[0].text, *sides])})", _ATOM, size)
    return _Text(f"({sides[1]} if {xs[0].text} else {sides[0]})", _ATOM, size)


def _parts(node: Node) -> str:
    """The key of a slice."""
    parts = []
    x, attrs = node.inputs[0], node.attrs
    for whole, start, number, step in zip(
        x.shape, attrs["starts"], attrs["sizes"], attrs["steps"], strict=True
    ):
        stop = start + (number - 1) * step + (1 if step > 0 else -1)
        is_whole = start == 0 and number == whole and step == 1
        parts.append(":" if is_whole else f"{start}:{stop}" + f":{step}" * (step != 1))
    return ", ".join(parts)


def _called(node: Node, t: Tensor, xs: Sequence[_Text]) -> _Text:
    attrs = dict(node.attrs)
    if len(attrs.get("axes", ())) == 1:
        attrs = {"axis" if k == "axes" else k: v[0] if k == "axes" else v for k, v in attrs.items()}
    told = [f"{k}={_value(v)}" for k, v in attrs.items()]
    which = f"[{t.index}]" if len(node.types) > 1 else ""
    name = "sqrt" if node.op.name == "root_of_squares" else node.op.name
    text = f"{name}({', '.join([*(x.text for x in xs), *told])}){which}"
    return _Text(text, _ATOM, 1 + sum(x.size for x in xs))


def _leaf(node: Node, t: Tensor) -> _Text:
    if t.name:
        return _Text(t.name)
    if Fact.CONSTANT in node.op.facts:
        array = node.attrs["value"].array
        if array.size and np.all(array == array.flat[0]):
            text = _number(array.flat[0])
            return _Text(text, _MINUS if text.startswith("-") else _ATOM)
        return _Text(f"constant{list(array.shape)}" if array.size > 8 else str(array.tolist()))
    if node.op.name == "size":
        size = str(node.attrs["size"])
        return _Text(f"({size})" if " " in size else size, _PRODUCT if "*" in size else _ATOM)
    return _called(node, t, [])


def _number(value: Any) -> str:
    if value.dtype.kind != "f" or not np.isfinite(value):
        return str(value.item())
    plain = value == 0 or 1e-4 <= abs(value) < 1e6
    write = np.format_float_positional if plain else np.format_float_scientific
    return str(write(value, unique=True, trim="-"))


def _value(value: Any) -> str:
    if isinstance(value, Graph):
        return f"{value.name} of {len(value.nodes)} nodes"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_value, value))}{',' * (len(value) == 1)})"
    if isinstance(value, ArrayValue):
        return f"constant{list(value.array.shape)}"
    if isinstance(value, DType):
        return value.name
    return str(value) if isinstance(value, (int, float, str, Dim, type(None))) else repr(value)[:40]
