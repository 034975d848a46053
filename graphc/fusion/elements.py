"""What a region's kernel computes, as SymPy expressions of one element of each result.

An operand is a symbol, or has indices where it has axes; what is added up is a sum over an index:
the softmax of rows is `exp(x[i, j] - max(x[i, k], (k, 0, n - 1)))` over such a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, count
from typing import Any

import sympy as sp

from graphc.errors import ArgumentError
from graphc.fusion.region import LOOPS, Operand, reindexes
from graphc.ir.dim import Size
from graphc.ir.dtype import DType, bool_, int64
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.loops.grammar import Affine, of
from graphc.ops.scalar import project
from graphc.symbolic.dims import to_sympy
from graphc.symbolic.formula import literal, symbol

Index = tuple[Any, ...]  # a SymPy expression for each axis

_LETTERS = "ijklpqrstuv"
_LARGEST = 4000  # operations of an expression
_ACCUMULATED: dict[str, Callable[..., Any]] = {
    "add": sp.Sum,
    "multiply": sp.Product,
    "maximum": sp.Function("max"),
    "minimum": sp.Function("min"),
}


def expressions(body: Graph, names: Sequence[str]) -> list[Any]:
    """An element of each result, over operands of these names and the indices i, j, ...

    Errors: `ArgumentError` naming an operation that goes along its axis in order (a running sum, a
    sort, a scatter), or reads at places that its data say: no expression of one element says that.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n",))
    >>> expressions(gc.Graph([x], [gc.exp(x) * 2]), ["x"])
    [2*exp(x[i])]
    """
    elements = _Elements(dict(zip(body.inputs, names, strict=True)))
    indices = [sp.Symbol(letter, integer=True) for letter in _LETTERS]
    return [elements(t, _within(t.shape, indices)) for t in body.outputs]


class _Elements:
    """The expressions of elements, each made once."""

    def __init__(self, names: dict[Tensor, str]) -> None:
        self._names = names
        self._found: dict[tuple[Tensor, Index], Any] = {}
        self._fresh = (
            sp.Symbol(name, integer=True)
            for name in chain(_LETTERS[4:], map("k{}".format, count(1)))
        )

    def __call__(self, t: Tensor, index: Index) -> Any:
        """The element of `t` at an index. A region is small, so that this may recurse."""
        key = (t, index)
        if key not in self._found:
            self._found[key] = self._element(t, index)
        return self._found[key]

    def _element(self, t: Tensor, index: Index) -> Any:
        node = t.node
        if t in self._names:
            named = self._names[t]
            if not t.ndim:
                return symbol(t, named)
            element = sp.Indexed(sp.IndexedBase(named, real=True), *index)
            return sp.Ne(element, 0) if t.dtype is bool_ else element
        known = literal(node)
        if known is not None:
            return known
        if not node.inputs:
            if node.op.kind is not Kind.MAP:  # an array of numbers
                raise _error(node)
            return index[node.attrs["axis"]]
        if reindexes(node):
            return self(*_moved(node, t, index))
        if node.op.facts & {Fact.CONVERTS, Fact.CHECKS}:
            return _converted(self(node.inputs[0], index), node.inputs[0].dtype, t.dtype)
        if node.op.formula is not None:
            xs = [self(x, project(index, x.type, t.type)) for x in node.inputs]
            try:
                return node.op.formula(sp, *xs, **node.attrs)
            except (TypeError, ValueError) as error:  # SymPy mixes no truth values with numbers
                raise _error(node) from error
        if node.op.kind is Kind.REDUCE and node.attrs.keys() == {"axes"}:  # of whole axes
            return self._accumulated(node, index)
        raise _error(node)

    def _accumulated(self, node: Node, index: Index) -> Any:
        """A reduction over whole axes, each by an index of its own."""
        (x,), axes = node.inputs, node.attrs["axes"]
        inner = {a: next(self._fresh) for a in axes if x.shape[a] != 1}
        rest = iter(index)
        where = tuple(
            inner.get(a, sp.Integer(0)) if a in axes else next(rest) for a in range(x.ndim)
        )
        ranges = [(k, 0, to_sympy(x.shape[a] - 1)) for a, k in inner.items()]
        element = self(x, where)
        if not ranges:
            return element
        number = _converted(element, x.dtype, int64) if x.dtype is bool_ else element
        made = _ACCUMULATED[node.op.reducer.primitive](number, *ranges)
        return _converted(made, int64, bool_) if node.types[0].dtype is bool_ else made


def _error(node: Node) -> ArgumentError:
    return ArgumentError(
        "no expression of one element says what the kernel computes",
        op="formula",
        expected="what works element by element, or accumulates along whole axes",
        given=node.op.name,
        where=str(node.origins[0]) if node.origins else "",
        hint="`.latex` has its equations, `.source` its loops",
    )


def _converted(e: Any, source: DType, to: DType) -> Any:
    """A number as a truth value, or the other way round; SymPy has no other kinds."""
    if (source is bool_) == (to is bool_):
        return e
    return sp.Ne(e, 0) if to is bool_ else sp.Piecewise((1, e), (0, True))


def _within(shape: Sequence[Size], indices: Sequence[Any]) -> Index:
    """An index for each axis; 0 along one of size 1."""
    rest = iter(indices)
    return tuple(sp.Integer(0) if size == 1 else next(rest) for size in shape)


def _moved(node: Node, t: Tensor, index: Index) -> tuple[Tensor, Index]:
    """What a node that only moves elements reads, and where."""
    found: list[tuple[Tensor, Any]] = []
    operand = Operand(node.inputs[0], lambda x, at: found.append((x, at)))
    loops = LOOPS[: t.ndim]
    node.op.at(None, [operand], tuple(map(of, loops)), t.type, **node.attrs)  # type: ignore[misc]
    ((x, places),) = found
    values = dict(zip(loops, index, strict=True))
    return x, tuple(_place(place, values) for place in places)


def _place(place: Affine, values: dict[Any, Any]) -> Any:
    terms = (to_sympy(size) * values[var] for var, size in place.terms)
    return sum(terms, to_sympy(place.const))
