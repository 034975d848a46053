"""The words of a drawing: how an operation reads inside its node.

Scalar constants stand inside the node that uses them (`× 2.0`). An operation for which the order
of its operands matters names them (`a − b`), and its arrows carry the same letters.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir import literal
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact
from graphc.ir.shape import Shape, TensorType

LIMIT = 32  # characters of one line of a label
BREAK = 24  # characters of a formula beyond which it has two lines: wide boxes make wide pictures
_ATTRIBUTE = 24  # characters of one attribute
_DIGITS = 6  # characters that the numbers of layers may take beyond
_NUMBER = re.compile(r"\d+")

SIGNS = {
    "add": "+",
    "subtract": "−",
    "multiply": "×",
    "divide": "÷",
    "floor_divide": "//",
    "remainder": "mod",
    "power": "^",
    "matmul": "@",
    "conv": "∗",
    "conv_by_input": "∗ᵀ",
    "conv_by_kernel": "⋆",
    "equal": "=",
    "not_equal": "≠",
    "less": "<",
    "less_equal": "≤",
    "greater": ">",
    "greater_equal": "≥",
    "logical_and": "and",
    "logical_or": "or",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "xor",
}


def shorten(text: str, limit: int = LIMIT) -> str:
    """About `limit` characters: an ellipsis stands for the first layers of a path, else for the
    middle, as names differ at the ends. Layers that differ by their numbers are cut alike.

    >>> shorten("a name of many words", 11), shorten("net/block12/dense/kernel", 14)
    ('a nam…words', '…/dense/kernel')
    """
    if _fits(text, limit):
        return text
    parts = text.rsplit("/", limit)
    for k in range(1, len(parts)):
        end = "/".join(("…", *parts[k:]))
        if _fits(end, limit):
            return end
    head = limit // 2
    return f"{text[:head]}…{text[len(text) - (limit - head - 1) :]}"


def _fits(text: str, limit: int) -> bool:
    """Whether a text is short enough, a number in it being one character."""
    room = limit - len(text)
    return room >= 0 or (room >= -_DIGITS and len(_NUMBER.sub("0", text)) <= limit)


def one_line(name: str, limit: int = LIMIT) -> str:
    """A user's name as a line of a label: shortened, line breaks shown as escapes."""
    return shorten(shorten(name, limit).replace("\n", "\\n"), limit)


def is_inline(tensor: Tensor) -> bool:
    """Whether the tensor is written inside its users: a scalar constant, or a Python number."""
    return Fact.CONSTANT in _unmarked(tensor).op.facts and not tensor.shape


def _unmarked(tensor: Tensor) -> Node:
    """What makes the tensor: of what is marked as weak, the operand."""
    node = tensor.node
    return node.inputs[0].node if node.op.weak else node


def scalar(tensor: Tensor) -> str:
    """A scalar constant: `2.0`."""
    value = _unmarked(tensor).attrs["value"].array[()]
    return literal.write_scalar(value).partition("(")[2][:-1]


def letters(node: Node) -> dict[int, str]:
    """A letter for each operand that is drawn as an arrow, by position; none where their order
    does not matter."""
    if len(node.inputs) < 2 or Fact.COMMUTATIVE in node.op.facts:
        return {}
    drawn = [i for i, t in enumerate(node.inputs) if not is_inline(t)]
    if len(drawn) < 2 or len({node.inputs[i] for i in drawn}) == 1:
        return {}
    if len(drawn) > len(string.ascii_lowercase):
        return {}
    return dict(zip(drawn, string.ascii_lowercase, strict=False))


def operation(node: Node, transposed: Sequence[bool] = ()) -> tuple[str, ...]:
    """The lines of an operation's label; `transposed` operands of a matrix product get a mark.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n", 3))
    >>> operation((x * 2).node), operation(gc.sum(x, axis=1).node)
    (('× 2.0',), ('sum axis 1',))
    """
    name = node.op.name
    sign = SIGNS.get(name)
    constants = any(is_inline(t) for t in node.inputs)
    named = letters(node)
    if not (constants or named):
        text = "transpose" if is_transpose(node) else name
    else:
        operands = [_operand(node, i, named) for i in range(len(node.inputs))]
        for i, turned in enumerate(transposed):
            operands[i] += "ᵀ" if turned else ""
        if sign and len(operands) == 2:
            text = _infix(sign, operands, Fact.COMMUTATIVE in node.op.facts)
        else:
            text = f"{name}({', '.join(o or '·' for o in operands)})"
    attrs = attributes(node)
    together = " ".join([text, *attrs])
    lines = (together,) if len(together) <= LIMIT else (text, *attrs)
    return tuple(one_line(line) for line in lines)


def _infix(sign: str, operands: list[str], commutes: bool) -> str:
    """`a − b`, `× 2.0`, `1.0 ÷`."""
    if commutes and not operands[1]:
        operands = operands[::-1]
    return " ".join(part for part in (operands[0], sign, operands[1]) if part)


def _operand(node: Node, i: int, named: dict[int, str]) -> str:
    return scalar(node.inputs[i]) if is_inline(node.inputs[i]) else named.get(i, "")


def is_transpose(node: Node) -> bool:
    """Whether the node reverses the axes of a matrix."""
    axes = node.attrs.get("axes", ())
    return node.op.name == "permute_dims" and tuple(axes) == (1, 0)


def attributes(node: Node) -> list[str]:
    """The attributes that the result's type does not tell, each in short."""
    found: list[str] = []
    if is_transpose(node):
        return found
    for name, value in node.attrs.items():
        known = name == "shape" or (name == "dtype" and node.op.name != "astype")
        if known or isinstance(value, Graph):
            continue
        if name == "axes" and isinstance(value, tuple):
            word = "axis" if len(value) == 1 else "axes"
            found.append(f"{word} {', '.join(map(str, value))}")
        elif name in ("size", "dtype"):
            found.append(shorten(str(value), _ATTRIBUTE))
        else:
            found.append(f"{name} {shorten(literal.write(value, [], False), _ATTRIBUTE)}")
    return found


def space(shape: Shape) -> str:
    """A space: `n × 128`."""
    return shorten(" × ".join(str(s) for s in shape)) or "scalar"


def sizes(shape: Shape) -> str:
    """Sizes without a dtype: `784 × 256`."""
    return shorten(" × ".join(map(str, shape))) or "scalar"


def type_text(of: TensorType) -> str:
    """A type: `f32[n,128]`."""
    return shorten(str(of), LIMIT)


def constant(array: np.ndarray[Any, Any]) -> str:
    """The first values of a constant's array: `[1, 2, 3, …]`."""
    flat = [np.format_float_positional(v, 4, trim="-") if v.dtype.kind == "f" else str(v)
            for v in array.reshape(-1)[:4]]  # fmt: skip
    return shorten(f"[{', '.join(flat)}{', …' if array.size > len(flat) else ''}]")
