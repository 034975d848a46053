"""Where a NaN or an infinity comes from: the operation that made it, found from the result back.

From a result that is not finite the way leads to the operands that are not finite where the result
is not (element by element through scalar functions), until an operation is reached that made it: a
NaN of operands without NaN, an infinity of finite operands. What a mask removes is thus never
blamed. In a loop or branch the search goes on among the operations of its body, in order of
execution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.ir import evaluate as evaluation
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind

Array = np.ndarray[Any, Any]


class Culprit(NamedTuple):
    """An operation with a fresh value that is not finite, its operands, and its result."""

    node: Node
    operands: list[Array]
    result: Array


def is_finite(values: Array) -> bool:
    """Whether all are; integers and bools always are."""
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def trace_back(graph: Graph, arrays: Sequence[Array]) -> Culprit | None:
    """The operation that made the first value that is not finite among those that lead to the
    results; None if all that is not finite came in with inputs, variables or constants."""
    sizes = evaluation.bind_dims(graph, arrays)
    values: dict[Tensor, Array] = dict(zip(graph.inputs, arrays, strict=True))
    values.update((v, v.value) for v in graph.variables)
    for node in graph.nodes:
        if node.output() not in values:
            operands = [values[t] for t in node.inputs]
            values.update(zip(node.outputs, evaluation.compute(node, operands, sizes), strict=True))
    found = _sources([t for t in graph.results if not is_finite(values[t])], values)
    first = next((n for n in graph.nodes if n in found), None)
    if first is None:
        return None
    operands = [values[t] for t in first.inputs]
    inner = _inside(first, operands, sizes) if first.op.kind is Kind.CONTROL else None
    bad = next(values[t] for t in first.outputs if not is_finite(values[t]))
    return inner or Culprit(first, operands, bad)


def _sources(results: Sequence[Tensor], values: Mapping[Tensor, Array]) -> set[Node]:
    """The nodes with a fresh value that is not finite, on a way to one of the results."""
    found: set[Node] = set()
    masks = {t: ~np.isfinite(values[t]) for t in results}
    stack = list(results)
    while stack:
        tensor = stack.pop()
        node, mask = tensor.node, masks[tensor]
        if node.op.kind is Kind.LEAF:
            continue
        if _is_fresh(node, mask, values[tensor], [values[t] for t in node.inputs]):
            found.add(node)
        for operand in node.inputs:
            led = _led(node, mask, values[operand])
            before = masks.get(operand)
            if led.any() and (before is None or (led & ~before).any()):
                masks[operand] = led if before is None else led | before
                stack.append(operand)
    return found


def _is_fresh(node: Node, mask: Array, result: Array, operands: Sequence[Array]) -> bool:
    """Whether an element under the mask is NaN of no NaN, or infinite of what is finite."""
    floats = [v for v in operands if v.dtype.kind in "fc"]
    nan, inf = mask & np.isnan(result), mask & np.isinf(result)
    if Fact.ELEMENTWISE in node.op.facts:
        for value in floats:
            nan, inf = nan & ~np.isnan(value), inf & np.isfinite(value)
        return bool(nan.any() or inf.any())
    had_nan = any(np.isnan(v).any() for v in floats)
    had_any = any(not is_finite(v) for v in floats)
    return bool((nan.any() and not had_nan) or (inf.any() and not had_any))


def _led(node: Node, mask: Array, operand: Array) -> Array:
    """The elements of an operand that are not finite and may have led to those under the mask."""
    if operand.dtype.kind != "f":
        return np.zeros(operand.shape, bool)
    bad = ~np.isfinite(operand)
    if Fact.ELEMENTWISE not in node.op.facts:
        return bad
    both = np.logical_and(mask, bad)
    extra = both.ndim - operand.ndim
    stretched = [a for a, s in enumerate(operand.shape, extra) if s == 1 and both.shape[a] != 1]
    summed = both.any(axis=(*range(extra), *stretched), keepdims=True)
    return np.asarray(summed.reshape(operand.shape) if operand.ndim else summed.any())


def _inside(node: Node, operands: Sequence[Array], sizes: Mapping[str, int]) -> Culprit | None:
    """The first operation in the bodies of a loop or branch that makes a value that is not finite
    of finite ones."""
    seen: list[Culprit] = []

    def compute(inner: Node, given: Sequence[Array], dims: Mapping[str, int]) -> list[Array]:
        found = evaluation.compute(inner, given, dims)
        if not seen and inner is not node and inner.op.kind not in (Kind.LEAF, Kind.CONTROL):
            for value in found:
                mask = ~np.isfinite(value) if value.dtype.kind in "fc" else np.zeros((), bool)
                if mask.any() and _is_fresh(inner, mask, value, given):
                    seen.append(Culprit(inner, [np.array(g) for g in given], value))
                    break
        return found

    with evaluation.computing(compute):
        evaluation.compute(node, operands, sizes)
    return seen[0] if seen else None
