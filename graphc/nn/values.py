"""A layer with other values in place of its variables, for learning to learn and for ensembles.

The layer is called as it is, and in the graph of the call tensors stand where its variables stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc.errors import ArgumentError, ShapeError
from graphc.ir import origin
from graphc.ir.graph import transform
from graphc.ir.node import Tensor, Variable
from graphc.ir.shape import agree_on_shape
from graphc.ir.structure import flatten, unflatten
from graphc.keywords import answering
from graphc.nn.module import Layer
from graphc.nn.saving import below
from graphc.ops.build import cast, tensor


@answering
def functional_call(
    layer: Layer,
    values: Mapping[Any, Any],
    *inputs: Any,
    training: bool = False,
    mask: Any = None,
) -> Any:
    """`layer(*inputs)` with tensors, or arrays, in place of its variables: by their paths, as those
    of `layer.paths()` and `layer.state_dict()`, or by the variables themselves.

    Variables that are not among `values` are as they are. The result is a function of the values,
    with derivatives of any order; under `gc.vmap` each element may have values of its own. What the
    layer notes in training, new moving averages and keys, is for its own variables.
    Shapes: of each value as of its variable. Dtypes: values are converted to the variable's.
    Errors: `ArgumentError` for a path that is none of the layer's, or a layer that was not built;
    `ShapeError` for a value of another shape; those of the call.

    >>> import numpy as np
    >>> import graphc as gc
    >>> dense = gc.nn.Dense(2, use_bias=False).init((None, 3))
    >>> x = gc.placeholder("x", (1, 3))
    >>> kernels = np.stack([np.zeros((3, 2)), np.ones((3, 2))])
    >>> both = gc.vmap(lambda k: gc.nn.functional_call(dense, {"dense/kernel": k}, x))(kernels)
    >>> gc.evaluate(both, {x: [[1, 2, 3]]}).tolist()
    [[[0.0, 0.0]], [[6.0, 6.0]]]
    """
    replace = _by_variable(layer, values)
    notes = {inner: inner._record.notes.seen() for inner in layer.layers()}
    leaves, structure = flatten(layer(*inputs, training=training, mask=mask))
    edge = [t for t in flatten([list(inputs), mask])[0] if isinstance(t, Tensor)]
    replace = {t: t for t in edge} | replace
    for inner, seen in notes.items():
        inner._record.notes.replace(seen, replace)
    return unflatten(structure, transform(leaves, replace=replace))


def _by_variable(layer: Layer, values: Mapping[Any, Any]) -> dict[Tensor, Tensor]:
    named = {key: tensor(v, "functional_call") for key, v in values.items()}
    known = layer.paths()
    shapes = {key: t.shape for key, t in named.items() if isinstance(key, str)}
    known = below(known, layer.name, shapes)
    own = set(known.values())
    found: dict[Tensor, Tensor] = {}
    for key, value in named.items():
        v = known.get(key) if isinstance(key, str) else key
        if not isinstance(v, Variable) or v not in own:
            raise _error(
                ArgumentError, layer, "a value of no variable of it",
                expected=f"paths of layer.paths(), such as {next(iter(known), 'none')}",
                given=repr(key)[:80],
            )  # fmt: skip
        if not agree_on_shape(v.shape, value.shape):
            raise _error(
                ShapeError, layer, f"the value of {v.name!r} has another shape",
                expected=str(v.type), given=str(value.type),
            )  # fmt: skip
        found[v] = cast(value, v.dtype)
    return found


def _error(kind: Any, layer: Layer, message: str, **sides: str) -> Exception:
    made: Exception = kind(
        message, op=f"functional_call of {layer.name!r}", where=origin.where(), **sides
    )
    return made
