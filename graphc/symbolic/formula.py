"""Elementwise computations as SymPy formulas: one scalar expression for what happens to an element.

What you can do with it: look at a derivative, simplify it, print it, compare it with a textbook's.
SymPy computes with real numbers: its simplifications know no NaN, overflow or order of operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from graphc.errors import ArgumentError
from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact
from graphc.symbolic.dims import to_sympy

_LARGEST_INTEGER = 1 << 53  # beyond which floats are no more whole numbers than others
_LARGEST_DENOMINATOR = 1024  # floats are binary fractions: those that look like one are kept so


def formula(tensor: Tensor, given: Mapping[Tensor, Any] | None = None) -> Any:
    """The SymPy expression of an element of `tensor`.

    Placeholders and variables become symbols of their names (real, integer, or truth values by
    dtype); `given` has expressions for any other tensors at which to stop. Ops that stretch or
    convert leave an element as it is.
    Errors: `ArgumentError` naming the op for ops that are not elementwise, such as sums.

    >>> import graphc as gc
    >>> x = gc.placeholder("x")
    >>> formula(gc.grad(gc.tanh(x), x))
    1 - tanh(x)**2
    """
    values: dict[Tensor, Any] = dict(given or {})
    symbols: dict[str, int] = {}
    for node in _nodes_below(tensor, values):
        if node.op.formula is not None:
            operands = [values[t] for t in node.inputs]
            values[node.output()] = node.op.formula(sp, *operands, **node.attrs)
            continue
        leaf = literal(node)
        if leaf is None and node.op.only_moves and values[node.inputs[0]].is_number:
            leaf = values[node.inputs[0]]  # all of its elements are one number, wherever they go
        if leaf is None and node.output().name and not node.inputs:
            leaf = symbol(node.output(), _unused(node.output().name, symbols))
        if leaf is None:
            raise ArgumentError(
                "the op is not elementwise: it has no scalar formula",
                op="formula",
                expected="elementwise ops, or an expression for the tensor in `given`",
                given=node.op.name,
                where=str(node.origins[0]) if node.origins else "",
                hint="gc.latex prints any tensor",
            )
        values[node.output()] = leaf
    return values[tensor]


def _nodes_below(tensor: Tensor, given: Mapping[Tensor, Any]) -> Sequence[Node]:
    """The nodes that `tensor` is computed from, not looking below what is given."""
    order = walk([tensor])
    needed = {tensor} - given.keys()
    for node in reversed(order):
        if not needed.isdisjoint(node.outputs):
            needed |= set(node.inputs) - given.keys()
    return [node for node in order if not needed.isdisjoint(node.outputs)]


def _unused(name: str, used: dict[str, int]) -> str:
    """`name`, or `name_2` for the second tensor of that name."""
    used[name] = used.get(name, 0) + 1
    return name if used[name] == 1 else f"{name}_{used[name]}"


def symbol(tensor: Tensor, name: str) -> sp.Symbol:
    """A symbol for an element of `tensor`, with what its dtype says of it."""
    kind = tensor.dtype.kind
    if kind == "b":
        return sp.Symbol(name)
    if kind in "fs":
        return sp.Symbol(name, real=True)
    return sp.Symbol(name, integer=True, nonnegative=True if kind == "u" else None)


def literal(node: Node) -> Any:
    """The number that every element of a constant or size is, or None."""
    if node.op.name == "size":
        return to_sympy(node.attrs["size"])
    if Fact.CONSTANT not in node.op.facts:
        return None
    array = node.attrs["value"].array
    if array.size == 0 or not np.all(array == array.flat[0]):
        return None
    return number(array.flat[0])


def number(value: np.generic) -> Any:
    """A NumPy scalar in SymPy: exact where it is a simple fraction, else all its digits."""
    if value.dtype.kind == "b":
        return sp.true if value else sp.false
    if value.dtype.kind != "f":
        return sp.Integer(int(value))
    if not np.isfinite(value):
        return sp.sympify(float(value))
    numerator, denominator = float(value).as_integer_ratio()
    if denominator <= _LARGEST_DENOMINATOR and abs(numerator) < _LARGEST_INTEGER:
        return sp.Rational(numerator, denominator)
    return sp.Float(str(value))
