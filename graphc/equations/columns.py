"""Graphs by rows as graphs by columns: what a layer `h @ W` is where examples are columns, `W h`.

Each matrix becomes its transpose, each vector a matrix of one column; products change sides. The
tensors of the new graph are over placeholders of the same names, in the new shapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dim import Size
from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Axes, Fact
from graphc.ops.leaf import placeholder
from graphc.ops.shape import broadcast_to, permute_dims, reshape


def is_by_columns(loss: Tensor, weights: Iterable[Tensor]) -> bool | None:
    """Whether matrices among `weights` stand on the left of products; None where none does either.

    >>> import graphc as gc
    >>> h, w = gc.placeholder("h", (3, 4)), gc.placeholder("w", (4, 4))
    >>> is_by_columns(gc.sum(h @ w), [w]), is_by_columns(gc.sum(w @ h.T), [w])
    (False, True)
    """
    wanted = set(weights)
    found = [0, 0]
    for node in walk([loss]):
        if node.op.name == "matmul":
            for side, t in enumerate(node.inputs):
                found[side] += t in wanted
    return None if found == [0, 0] else found[0] > found[1]


class Columns:
    """Tensors by columns, made as they are asked for."""

    def __init__(self) -> None:
        self._made: dict[Tensor, Tensor] = {}

    def __call__(self, t: Tensor) -> Tensor:
        """`t` by columns. Errors: `ArgumentError` for an operation that has no such form here."""
        for node in walk([t], self._made):
            outputs = [node.output()] if len(node.types) == 1 else []
            if not outputs:
                raise _error(node)
            self._made[outputs[0]] = self._node(node, [self._made[x] for x in node.inputs])
        return self._made[t]

    def shape(self, t: Tensor) -> tuple[Size, ...]:
        if t.ndim > 2:
            raise _error(t.node)
        return (*t.shape, 1) if t.ndim == 1 else t.shape[::-1]

    def _node(self, node: Node, xs: list[Tensor]) -> Tensor:
        t, name = node.output(), node.op.name
        shape = self.shape(t)
        if Fact.INPUT in node.op.facts:
            return placeholder(t.name, shape, t.dtype)
        if not xs:
            return reshape(t, shape) if t.ndim == 1 else _turned(t) if t.ndim else t
        if name == "matmul":
            return xs[1] @ xs[0]
        if name == "permute_dims":
            return _turned(xs[0])
        if name == "reshape":
            return self._reshaped(node, xs[0], shape)
        if name == "broadcast_to":
            return broadcast_to(xs[0], shape)
        if Fact.ELEMENTWISE in node.op.facts:
            return apply(node.op, xs, **node.attrs).output()
        return self._along(node, xs, shape)

    def _reshaped(self, node: Node, x: Tensor, shape: tuple[Size, ...]) -> Tensor:
        """A vector that is made a row or a column, or was one."""
        if x.shape == shape:
            return x
        if x.shape[::-1] == shape:
            return _turned(x)
        if x.size == 1:
            return reshape(x, shape)
        raise _error(node)

    def _along(self, node: Node, xs: list[Tensor], shape: tuple[Size, ...]) -> Tensor:
        """An operation along axes: sums, softmax."""
        attrs: dict[str, Any] = dict(node.attrs)
        if not attrs:
            raise _error(node)
        for name, value in attrs.items():
            says = (node.op.axes or {}).get(name)
            rank = node.inputs[0].ndim
            if says not in (Axes.ONE, Axes.SEVERAL) or rank == 0:
                raise _error(node)
            axes = value if says is Axes.SEVERAL else (value,)
            if rank == 2:
                axes = tuple(sorted(1 - a for a in axes))
            elif says is Axes.SEVERAL and node.types[0].rank == 0:
                axes = (0, 1)
            attrs[name] = axes if says is Axes.SEVERAL else axes[0]
        made = apply(node.op, xs, **attrs).output()
        return made if made.shape == shape else reshape(made, shape)


def _turned(x: Tensor) -> Tensor:
    if x.node.op.name == "permute_dims" and x.node.attrs["axes"] == (1, 0):
        return x.node.inputs[0]
    return permute_dims(x, (1, 0))


def _error(node: Node) -> ArgumentError:
    return ArgumentError(
        "an operation that has no form by columns here",
        op="derive",
        expected="products of matrices, sums, and what works element by element",
        given=f"{node.op.name}, which gives {node.types[0]}",
        where=str(node.origins[0]) if node.origins else origin.where(),
        hint="leave layout out: the derivation is then as the graph was written",
    )
