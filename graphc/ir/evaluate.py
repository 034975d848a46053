"""The meaning of a graph: NumPy, op by op. Slow, simple, and the truth that all else is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import (
    ArgumentError,
    DTypeError,
    GraphcError,
    GraphError,
    RuntimeFailure,
    ShapeError,
)
from graphc.ir import origin
from graphc.ir.dim import Dim, bind, names
from graphc.ir.dim import evaluate as evaluate_size
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.shape import show

Array = np.ndarray[Any, Any]


def bind_dims(graph: Graph, arrays: Sequence[Array]) -> dict[str, int]:
    """The values of the named dims that make the arrays fit the inputs.

    Errors: `ShapeError` naming the input, its shape and the array's.
    """
    values: dict[str, int] = {}
    for _ in range(2):  # composite sizes are checked once their names are known
        for tensor, array in zip(graph.inputs, arrays, strict=True):
            if array.ndim != tensor.ndim:
                raise _mismatch(graph, tensor, array, values, "has another rank")
            for size, given in zip(tensor.shape, array.shape, strict=True):
                try:
                    bind(size, given, values)
                except ShapeError as error:
                    raise _mismatch(graph, tensor, array, values, error.message) from None
    missing = set(graph.dims) - values.keys()
    if missing:
        raise ShapeError(
            "the sizes of the arrays do not determine these dims",
            op=graph.name,
            given=", ".join(sorted(missing)),
        )
    return values


def check_dims(graph: Graph) -> None:
    """Errors: `GraphError` for a named dim that no input has: no call could determine it."""
    known = set(graph.dims)
    for node in graph.nodes:
        for type in node.types:
            for size in type.shape:
                missing = names(size) - known
                if missing:
                    raise GraphError(
                        "a named dim is not determined by the inputs",
                        op=node.op.name,
                        expected="dims of the inputs: " + (", ".join(sorted(known)) or "none"),
                        given=f"{', '.join(sorted(missing))} in {type}",
                        where=str(node.origins[0]) if node.origins else "",
                    )


def _mismatch(
    graph: Graph, tensor: Tensor, array: Array, values: Mapping[str, int], why: str
) -> ShapeError:
    known = ", ".join(f"{k} = {v}" for k, v in values.items())
    return ShapeError(
        f"input {tensor.name!r}: {why}",
        op=graph.name,
        expected=str(tensor.type) + (f" with {known}" if known else ""),
        given=f"shape {show(array.shape)}",
    )


def evaluate_graph(
    graph: Graph,
    arrays: Sequence[Any],
    dims: Mapping[str, int] | None = None,
    variables: Mapping[Variable, Array] | None = None,
) -> list[Array]:
    """The values of `graph.results` for input arrays.

    `dims` gives named dims that the inputs do not determine (in sub-graphs); `variables` overrides
    the variables' current values.
    Errors: `ShapeError` where arrays do not fit; `RuntimeFailure` where an op fails.
    """
    inputs = [np.asarray(a) for a in arrays]
    if len(inputs) != len(graph.inputs):
        raise GraphError(
            "wrong number of inputs",
            op=graph.name,
            expected=str(len(graph.inputs)),
            given=str(len(inputs)),
        )
    if dims is None:
        check_dims(graph)
    sizes = dict(dims) if dims is not None else bind_dims(graph, inputs)
    values: dict[Tensor, Array] = dict(zip(graph.inputs, inputs, strict=True))
    last_use = _last_uses(graph)
    for position, node in enumerate(graph.nodes):
        if node.op.name == "variable":
            values[node.output()] = _variable_value(node, variables)
        elif node.op.name != "placeholder":
            results = compute(node, [values[t] for t in node.inputs], sizes)
            values.update(zip(node.outputs, results, strict=True))
        for tensor in last_use.get(position, ()):
            del values[tensor]
    return [values[t] for t in graph.results]


def _variable_value(node: Node, overrides: Mapping[Variable, Array] | None) -> Array:
    variable = node.output()
    assert isinstance(variable, Variable)
    if overrides is not None and variable in overrides:
        return overrides[variable]
    return variable.value


def _last_uses(graph: Graph) -> dict[int, list[Tensor]]:
    """For each position the tensors that no later node needs."""
    last = {t: p for p, node in enumerate(graph.nodes) for t in node.inputs}
    kept = set(graph.results)
    found: dict[int, list[Tensor]] = {}
    for tensor, position in last.items():
        if tensor not in kept:
            found.setdefault(position, []).append(tensor)
    return found


def compute(node: Node, arrays: Sequence[Array], sizes: Mapping[str, int]) -> list[Array]:
    """The outputs of one node, each checked against its type."""
    attrs = {k: bound(v, sizes) for k, v in node.attrs.items()}
    if node.op.numpy is None:
        raise GraphError("the op has no NumPy meaning", op=node.op.name)
    if node.op.kind.value in ("control", "region"):
        attrs["sizes"] = sizes
    try:
        with origin.inherit(node.origins), np.errstate(all="ignore"):
            found = node.op.numpy(*arrays, **attrs)
    except GraphcError:
        raise
    except (ValueError, IndexError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise RuntimeFailure(
            str(error), op=node.op.name, where=str(node.origins[0]) if node.origins else ""
        ) from error
    results = list(found) if isinstance(found, tuple) else [found]
    return [
        _typed(node, np.asarray(r), i, sizes) for i, r in enumerate(results[: len(node.types)])
    ]


def _typed(node: Node, result: Array, index: int, sizes: Mapping[str, int]) -> Array:
    expected = node.types[index]
    shape = tuple(evaluate_size(s, sizes) for s in expected.shape)
    if result.shape != shape or result.dtype != expected.dtype.numpy:
        raise GraphError(
            "the NumPy meaning disagrees with the type rule",
            op=node.op.name,
            expected=f"{expected} = {show(shape)}",
            given=f"{result.dtype}{show(result.shape)}",
        )
    return result


def bound(value: Any, sizes: Mapping[str, int]) -> Any:
    """An attribute value with its symbolic sizes evaluated."""
    if isinstance(value, Dim):
        return evaluate_size(value, sizes)
    if isinstance(value, tuple):
        return tuple(bound(v, sizes) for v in value)
    return value


def evaluate(outputs: Any, feeds: Mapping[Tensor, Any] | None = None) -> Any:
    """The value of one tensor, or a list of values, for arrays given for placeholders.

    Slow but always right: NumPy, op by op. `gc.compile` is the fast way.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (2,))
    >>> gc.evaluate(x * 2, {x: [1.0, 2.0]})
    array([2., 4.], dtype=float32)
    """
    feeds = feeds or {}
    targets = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    for target in (*targets, *feeds):
        if not isinstance(target, Tensor):
            raise ArgumentError("not a tensor", op="evaluate", given=repr(target)[:80])
    graph = Graph(feeds, targets, name="evaluate")
    arrays = [_fed(t, a) for t, a in feeds.items()]
    values = evaluate_graph(graph, arrays)
    return values[0] if isinstance(outputs, Tensor) else values


def _fed(tensor: Tensor, value: Any) -> Array:
    """`value` in the dtype of a placeholder. Errors: `DTypeError` if a fraction would be cut."""
    array = np.asarray(value)
    cut = array.size and array.dtype.kind == "f" and not tensor.dtype.is_float
    if cut or array.dtype.kind not in "biuf":
        raise DTypeError(
            f"the values for {tensor.name!r} do not fit its dtype",
            op="evaluate",
            expected=tensor.dtype.name,
            given=f"an array of {array.dtype}",
        )
    return array.astype(tensor.dtype.numpy)
