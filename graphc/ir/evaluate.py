"""The meaning of a graph: NumPy, op by op. Slow, simple, and the truth that all else is held to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from graphc.errors import (
    ArgumentError,
    GraphcError,
    GraphError,
    RuntimeFailure,
    ShapeError,
    SymbolicValueError,
)
from graphc.ir import origin
from graphc.ir.conditions import Condition
from graphc.ir.dim import Dim, Size, bind, named, names
from graphc.ir.dim import evaluate as evaluate_size
from graphc.ir.given import fitting_array
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Fact
from graphc.ir.operators import publish
from graphc.ir.outside import in_node
from graphc.ir.shape import show
from graphc.ir.structure import at_leaf, flatten, unflatten

Array = np.ndarray[Any, Any]
Compute = Callable[[Node, Sequence[Array], Mapping[str, int]], list[Array]]

_computing: ContextVar[Compute | None] = ContextVar("graphc_computing", default=None)


@contextmanager
def computing(compute: Compute) -> Iterator[None]:
    """Inside, `evaluate_graph` asks this function for the outputs of each node instead of
    `compute`, also in the bodies of loops, branches and regions: for looking at the values, or for
    other ones."""
    token = _computing.set(compute)
    try:
        yield
    finally:
        _computing.reset(token)


def bind_dims(graph: Graph, arrays: Sequence[Array]) -> dict[str, int]:
    """The values of the named dims that make the arrays fit the inputs and the operations.

    Errors: `ShapeError` naming the input, its shape and the array's; or what an operation needs of
    the sizes, and its line.
    """
    values = learn_dims(graph, arrays)
    check_sizes(graph, values)
    return values


def learn_dims(graph: Graph, arrays: Sequence[Array]) -> dict[str, int]:
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
    _add_determined(graph, values)
    missing = set(graph.dims) - values.keys()
    if missing:
        raise ShapeError(
            "the sizes of the arrays do not determine these dims",
            op=graph.name,
            given=", ".join(sorted(missing)),
        )
    return values


def check_sizes(graph: Graph, values: Mapping[str, int]) -> None:
    """Check what operations need of the named dims, given those of the inputs.

    Errors: `ShapeError` with what does not hold, the operation and its line.
    """
    condition, known = unmet(graph, values)
    if condition is not None:
        raise _disagreement(graph, condition, known)


def unmet(graph: Graph, values: Mapping[str, int]) -> tuple[Condition | None, Mapping[str, int]]:
    """The first condition that these sizes do not satisfy, and all sizes that they determine."""
    known = dict(values)
    _add_determined(graph, known)
    return next((c for c in graph.conditions if not c.holds(known)), None), known


def _add_determined(graph: Graph, values: dict[str, int]) -> None:
    """The names that no input has, but equations express by those of inputs."""
    for name, size in graph.sizes.sizes.items():
        if name not in values and names(size) <= values.keys():
            try:
                values[name] = evaluate_size(size, values)
            except ZeroDivisionError:  # an equation that is needed says so
                continue


def _disagreement(graph: Graph, condition: Condition, values: Mapping[str, int]) -> ShapeError:
    """The error of sizes that do not satisfy what an operation needs."""
    used = sorted(names(condition.left) | names(condition.right))
    holders = [t for t in graph.inputs if any(names(s) & set(used) for s in t.shape)]
    lines = [f"{t.name!r} at {t.node.origins[0]}" for t in holders if t.node.origins]
    equal = condition.relation == "="
    return ShapeError(
        "the sizes of the inputs do not agree" if equal else "a size of an input is out of bounds",
        op=graph.name,
        expected=f"{condition}, for {condition.reason}",
        given=", ".join(f"{n} = {values.get(n, '?')}{_holder(graph, n)}" for n in used),
        where=condition.where,
        hint=f"the sizes are those of {', '.join(lines)}" if lines else "",
    )


def _holder(graph: Graph, name: str) -> str:
    """Which axis of which input gives a dim its value: first one whose size is just the name."""
    axes = [(t, i, s) for t in graph.inputs for i, s in enumerate(t.shape) if name in names(s)]
    for t, axis, size in sorted(axes, key=lambda a: a[2] != named(name)):
        what = "" if size == named(name) else f", of size {size}"
        return f" (axis {axis} of input {t.name!r}{what})"
    return ""


def check_dims(graph: Graph) -> None:
    """Errors: `GraphError` for a named dim that neither an input nor an equation determines: no
    call could; `ShapeError` for operations that no sizes satisfy."""
    known = set(graph.dims)
    known |= {name for name, size in graph.sizes.sizes.items() if names(size) <= known}

    def check(op: str, sizes: Iterable[Size], what: object, where: str) -> None:
        missing = set().union(*map(names, sizes)) - known
        if missing:
            raise GraphError(
                "a named dim is not determined by the inputs",
                op=op,
                expected="dims of the inputs: " + (", ".join(sorted(known)) or "none"),
                given=f"{', '.join(sorted(missing))} in {what}",
                where=where,
            )

    for node in graph.nodes:
        for type in node.types:
            if any(isinstance(size, Dim) for size in type.shape):
                where = str(node.origins[0]) if node.origins else ""
                check(node.op.name, type.shape, type, where)
    for condition in graph.conditions:
        check(condition.op, condition[:2], condition, condition.where)


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
    outputs_of = _computing.get() or compute
    last_use = _last_uses(graph)
    for position, node in enumerate(graph.nodes):
        if Fact.STATE in node.op.facts:
            values[node.output()] = _variable_value(node, variables)
        elif Fact.INPUT not in node.op.facts:
            results = outputs_of(node, [values[t] for t in node.inputs], sizes)
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
        at = dict(zip(node.inputs, arrays, strict=True)).__getitem__
        told = in_node(node, at, sizes) if isinstance(error, IndexError) else None
        raise RuntimeFailure(
            told.message if told else str(error),
            op=node.op.name,
            expected=told.expected if told else "",
            given=told.given if told else "",
            where=str(node.origins[0]) if node.origins else "",
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


def names_within(*values: Any) -> list[str]:
    """The named dims in the values of attributes, sorted: what `bound` needs."""
    found: set[str] = set()
    pending = list(values)
    for value in pending:  # which grows meanwhile
        if isinstance(value, Dim):
            found |= names(value)
        elif isinstance(value, tuple):
            pending += value
    return sorted(found)


def evaluate(outputs: Any, feeds: Mapping[Tensor, Any] | None = None) -> Any:
    """The value of a tensor, or of tensors in lists, tuples, dicts and dataclasses, for arrays that
    are given for placeholders.

    Slow but always right: NumPy, op by op. `gc.compile` is the fast way.
    Errors: `DTypeError` for numbers that a placeholder's dtype cannot hold, `ArgumentError` for
    what is no array or tensor, and those of a call: of sizes, and `RuntimeFailure`.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (2,))
    >>> gc.evaluate(x * 2, {x: [1.0, 2.0]})
    array([2., 4.], dtype=float32)
    """
    feeds = {} if feeds is None else feeds
    if not isinstance(feeds, Mapping):
        raise _no_argument("the arrays are given by their placeholders", "a dict", feeds)
    for t in feeds:
        if not isinstance(t, Tensor):
            raise _no_argument("not a tensor", "placeholders", t)
    if isinstance(outputs, Iterator):
        outputs = list(outputs)
    targets, structure = flatten(outputs)
    for i, t in enumerate(targets):
        if not isinstance(t, Tensor):
            error = _no_argument("not a tensor", "a tensor, or lists, dicts and so on of them", t)
            raise at_leaf(error, structure, i, "outputs")
    graph = Graph(feeds, targets, name="evaluate")
    arrays = [fitting_array(f"evaluate, input {t.name!r}", a, t.type) for t, a in feeds.items()]
    values = evaluate_graph(graph, [array.copy() for array in arrays])  # results share with these
    return unflatten(structure, values)


def _value(t: Tensor) -> Any:
    """See `Tensor.numpy`."""
    inputs = [n.output() for n in walk([t]) if Fact.INPUT in n.op.facts]
    if inputs:
        raise SymbolicValueError(
            "this tensor needs an input",
            op="numpy",
            expected="constants and variables",
            given=", ".join(repr(x) for x in inputs[:3]),
            where=origin.where(),
            hint="gc.evaluate(t, {x: array}), or compile and call the function",
        )
    return np.asarray(evaluate(t))[()]


publish({"_numpy_": _value})


def _no_argument(message: str, expected: str, given: object) -> ArgumentError:
    return ArgumentError(message, op="evaluate", expected=expected, given=repr(given)[:80])
