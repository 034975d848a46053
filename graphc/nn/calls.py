"""Which layers made which tensors: what a functional model is put together from.

A call of a layer from outside of any other is noted beside the nodes that it gave, as long as these
live, so that `Model(inputs, outputs)` can call the layers again, in training too. A layer that
gives its input itself, as a dropout does without training, leaves no node. Where it has variables,
or adds to the loss, and the input comes from `Input`, the result is a node of its own.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.structure import Structure, flatten, unflatten
from graphc.keywords import answering
from graphc.nn.hooks import placeholders
from graphc.ops.build import constant
from graphc.ops.checkpoint import AFTER


class Called(NamedTuple):
    """A call: the layer, its inputs and keywords with their structure, and how many results."""

    layer: Any
    leaves: tuple[Any, ...]
    structure: Structure
    results: tuple[weakref.ref[Tensor], ...]

    @property
    def needs(self) -> list[Tensor]:
        """The tensors that it was given."""
        return [leaf for leaf in self.leaves if isinstance(leaf, Tensor)]

    def again(self, values: dict[Tensor, Tensor], training: bool) -> list[Tensor]:
        """The results for other tensors in place of those that it was given."""
        leaves = [values[v] if isinstance(v, Tensor) else v for v in self.leaves]
        inputs, options = unflatten(self.structure, leaves)
        options = {name: value for name, value in options.items() if name != "training"}
        return flatten(self.layer(*inputs, training=training, **options))[0]


_called: weakref.WeakKeyDictionary[Node, Called] = weakref.WeakKeyDictionary()
_vanished: weakref.WeakKeyDictionary[Node, list[Any]] = weakref.WeakKeyDictionary()
_inputs: weakref.WeakSet[Node] = weakref.WeakSet()


@answering
def Input(shape: Any, dtype: Any = None) -> Any:  # noqa: N802  (it reads as a layer)
    """A placeholder that a functional model begins with; for shapes in a structure, one for each.

    Shapes: as of a placeholder, the batch included, None for a size that is left open. Any
    placeholder will do, but for a layer that gives its input without training, such as a dropout.
    Errors: `ArgumentError` for what is no shape.
    """
    made = placeholders("Input", shape, dtype)
    _inputs.update(t.node for t in flatten(made)[0])
    return made


def noted(
    layer: Any, given: Sequence[Any], options: dict[str, Any], results: list[Tensor]
) -> list[Tensor]:
    """Note a call without training; the results, as tensors that stand for it."""
    leaves, structure = flatten((tuple(given), options))
    own = [_own(layer, t) if any(t is leaf for leaf in leaves) else t for t in results]
    found = Called(layer, tuple(leaves), structure, tuple(map(weakref.ref, own)))
    for t in own:
        if not any(t is leaf for leaf in leaves):
            _called[t.node] = found
    return own


def _own(layer: Any, t: Tensor) -> Tensor:
    """`t`, which is an input of the call too, as a node of this layer's own."""
    if not any(inner._own_names() or inner._record.notes.adds for inner in layer.layers()):
        return t
    layers = _vanished.setdefault(t.node, [])
    if layer not in layers:
        layers.append(layer)
    if _inputs.isdisjoint(walk([t])):
        return t
    return apply(AFTER, [t, constant(layers.index(layer))]).output()


def call_of(node: Node) -> Called | None:
    """The call that gave this node."""
    return _called.get(node)


def vanished(node: Node) -> list[Any]:
    """The layers that gave this node, which they were given, and left none of their own."""
    users = _vanished.get(node, [])
    return users if users and _inputs.isdisjoint(walk(node.outputs[:1])) else []
