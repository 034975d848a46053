"""Which tensors are derivatives, of what and by what: noted beside nodes, for who shows them.

A note is no part of a node: it enters no text, hash or key, and goes with the node. A graph that
was read from its text has none.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from graphc.ir.graph import transform
from graphc.ir.node import Node, Tensor, graph_lock
from graphc.ir.op import Kind

CAP = 4  # notes of one tensor: a cotangent may be the derivative by several summands


class Derivative(NamedTuple):
    """`tensor` is the derivative of the scalar `of`, None where nobody keeps that, by `by`."""

    tensor: Tensor
    of: Tensor | None
    by: Tensor


_Notes = tuple[tuple[int, weakref.ref[Tensor], weakref.ref[Tensor]], ...]
_noted: weakref.WeakKeyDictionary[Node, _Notes] = weakref.WeakKeyDictionary()


def note(of: Tensor, by: Sequence[Tensor], found: Sequence[Tensor | None]) -> None:
    """Note that `found` are the derivatives of `of` by the tensors `by`. What is an input, a
    variable or a constant anyway gets no note."""
    for t, derivative in zip(by, found, strict=True):
        if derivative is None or derivative.node.op.kind is Kind.LEAF:
            continue
        made = (derivative.index, weakref.ref(of), weakref.ref(t))
        with graph_lock:  # references to one tensor are one object; `==` would compare tensors
            notes = _noted.get(derivative.node, ())
            if len(notes) < CAP and not any(all(map(operator.is_, made, n)) for n in notes):
                _noted[derivative.node] = (*notes, made)


def derivatives(nodes: Iterable[Node]) -> list[Derivative]:
    """The outputs of `nodes` that were noted."""
    found: list[Derivative] = []
    for node in nodes:
        for index, of, by in _noted.get(node, ()):
            if (x := by()) is not None:
                found.append(Derivative(node.output(index), of(), x))
    return found


def replaced(tensors: Sequence[Tensor], back: Mapping[Tensor, Tensor]) -> list[Tensor]:
    """`tensors` with those of `back` replaced, and their notes."""
    notes = derivatives(dict.fromkeys(t.node for t in tensors))
    losses = [d.of for d in notes if d.of is not None]
    parts = [*tensors, *(d.tensor for d in notes), *(d.by for d in notes), *losses]
    became = dict(zip(parts, transform(parts, replace=back), strict=True))
    for d in notes:
        if d.of is not None:
            note(became[d.of], [became[d.by]], [became[d.tensor]])
    return [became[t] for t in tensors]
