"""A second oracle: the forward part of a random graph by torch, and its gradients by torch's own.

Floats are computed by torch, op by op, from the table below, which shares nothing with graphc;
integers and bools by NumPy, whose meaning they have by definition. The gradients are torch's, of
the forward part alone: graphc's derivatives are not looked at. Outputs that need an op that the
table lacks are skipped, and counted by the op; known differences of torch are counted as explained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import graphc as gc
from graphc.ir.evaluate import bind_dims, bound, compute
from graphc.ir.node import Node, Tensor

from .comparing import differences, evaluate
from .generator import RandomGraph, random_graph
from .values import Array

Value = Any  # a torch tensor of floats, or an array of integers or bools
SKIPPED = "the second oracle lacks "
UNTAKEN = "torch has a NaN from a branch that `where` does not take"
BEHIND = "a gradient behind a value that is not finite"  # what `0 * inf` is differs by the op
MASKED = "an infinite derivative times zero, which torch masks"
UNITS = 64  # in the last place of a result's largest element, by which torch may differ


class LacksError(Exception):
    """The table has no such op."""


# -- ops -------------------------------------------------------------------------------------------
def _slice(x: Value, starts: Any, sizes: Any, steps: Any) -> Value:
    for axis, (start, size, step) in enumerate(zip(starts, sizes, steps, strict=True)):
        x = torch.index_select(x, axis, start + step * torch.arange(size))
    return x


def _pad(x: Value, starts: Any, sizes: Any, steps: Any) -> Value:
    result = x.new_zeros(sizes)
    axes = zip(starts, x.shape, steps, strict=True)
    places = [start + step * torch.arange(size) for start, size, step in axes]
    if not places:
        return x
    result[torch.meshgrid(*places, indexing="ij")] = x
    return result


def _take(x: Value, indices: Array, axis: int, batch: int = 0) -> Value:
    if batch:
        rows = [_take(v, i, axis - 1, batch - 1) for v, i in zip(x, indices, strict=True)]
        shape = (*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :])
        return torch.stack(rows) if rows else x.new_zeros(shape)
    at = torch.from_numpy(np.where(indices < 0, indices + x.shape[axis], indices).astype(np.int64))
    flat = torch.index_select(x, axis, at.reshape(-1))
    return flat.reshape((*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]))


def _over_axes(function: Callable[..., Value]) -> Callable[..., Value]:
    return lambda x, axes: function(x, axes) if axes else x


def _extremum(function: Callable[..., Value], identity: float) -> Callable[..., Value]:
    def extremum(x: Value, axes: Any) -> Value:
        if all(x.shape[axis] for axis in axes):
            return function(x, axes)
        return x.new_full([s for i, s in enumerate(x.shape) if i not in axes], identity)

    return _over_axes(extremum)


def _prod(x: Value, axes: Any) -> Value:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis)
    return x


def _with_position(position: Callable[..., Array], identity: float) -> Callable[..., Any]:
    def chosen(x: Value, axis: int) -> tuple[Value, Array]:
        if x.shape[axis] == 0:
            shape = (*x.shape[:axis], *x.shape[axis + 1 :])
            return x.new_full(shape, identity), np.full(shape, -1)
        at = position(x.detach().numpy(), axis)
        index = torch.from_numpy(np.expand_dims(at, axis))
        return torch.gather(x, axis, index).squeeze(axis), at

    return chosen


def _shifted(x: Value, axes: Any) -> Value:
    return x - _extremum(torch.amax, -np.inf)(x.detach(), axes).reshape(
        [1 if i in axes else size for i, size in enumerate(x.shape)]
    )


def _softmax(x: Value, axes: Any) -> Value:
    e = torch.exp(_shifted(x, axes))
    return e / torch.sum(e, axes, keepdim=True) if axes else e / e


def _log_softmax(x: Value, axes: Any) -> Value:
    shifted = _shifted(x, axes)
    return shifted - (torch.logsumexp(shifted, axes, keepdim=True) if axes else shifted)


def _logsumexp(x: Value, axes: Any) -> Value:
    """Not torch's, whose derivative is `exp(x - logsumexp(x))`: in float32, 1e-4 off at 7000."""
    peak = _extremum(torch.amax, -np.inf)(x.detach(), axes)
    peak = torch.where(torch.isfinite(peak), peak, torch.zeros_like(peak))
    shape = [1 if i in axes else size for i, size in enumerate(x.shape)]
    return torch.log(torch.sum(torch.exp(x - peak.reshape(shape)), axes)) + peak


def _sign(x: Value) -> Value:
    return torch.where(torch.isnan(x), x, torch.sign(x))  # torch's own is 0 at NaN


def _of_finite(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def decomposed(x: Value) -> Any:
        if not torch.isfinite(x).all():
            raise LacksError(f"{name} of NaN")
        return function(x)

    return decomposed


def _cross_entropy(z: Value, labels: Array) -> Value:
    at = torch.from_numpy(labels.astype(np.int64))[..., None]
    return -torch.gather(torch.log_softmax(z, -1), -1, at)[..., 0]


def _scan(*operands: Value, body: Any, length: int, carries: int, xs: int, reverse: bool,
          sizes: Any) -> list[Value]:  # fmt: skip
    state = list(operands[:carries])
    slices, others = operands[carries : carries + xs], operands[carries + xs :]
    rows: list[Any] = [None] * length
    for i in reversed(range(length)) if reverse else range(length):
        results = run(body, [*state, *(x[i] for x in slices), *others], sizes)
        if any(isinstance(r, LacksError) for r in results):
            raise next(r for r in results if isinstance(r, LacksError))
        state, rows[i] = results[:carries], results[carries:]
    columns = list(zip(*rows, strict=True)) or [()] * len(body.outputs[carries:])
    types = [t.type for t in body.outputs[carries:]]
    return [*state, *(_stacked(c, t, sizes) for c, t in zip(columns, types, strict=True))]


def _stacked(column: Sequence[Value], type: Any, sizes: Any) -> Value:
    if not type.dtype.is_float:
        shape = bound(type.shape, sizes)
        return np.array(column, type.dtype.numpy).reshape((len(column), *shape))
    if column:
        return torch.stack(list(column))
    return torch.zeros((0, *bound(type.shape, sizes)), dtype=getattr(torch, type.dtype.name))


def _switch(at: Array, *operands: Value, branches: Any, sizes: Any) -> list[Value]:
    return run(branches[min(max(int(at), 0), len(branches) - 1)], list(operands), sizes)


def _while(*operands: Value, condition: Any, body: Any, carries: int, sizes: Any) -> list[Value]:
    state, others = list(operands[:carries]), list(operands[carries:])
    while run(condition, [*state, *others], sizes)[0]:
        state = run(body, [*state, *others], sizes)
    return state


OPS: dict[str, Callable[..., Any]] = {
    "add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply,
    "divide": torch.divide, "remainder": torch.remainder, "negative": torch.negative,
    "floor_divide": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "power": torch.pow, "maximum": torch.maximum, "minimum": torch.minimum,
    "abs": torch.abs, "sign": _sign, "square": torch.square, "sqrt": torch.sqrt,
    "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p,
    "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh, "erf": torch.erf,
    "erfc": torch.erfc, "erfcx": torch.special.erfcx, "log_ndtr": torch.special.log_ndtr,
    **{name: getattr(torch, name) for name in (
        "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh", "atanh", "hypot",
        "exp2", "log2", "log10", "logaddexp", "sinc", "deg2rad", "rad2deg", "xlogy", "trunc",
        "copysign", "lgamma", "digamma",
    )},
    **{name: getattr(torch.special, name) for name in (
        "ndtr", "ndtri", "erfinv", "logit", "i0", "i1", "i0e", "i1e",
    )},
    "polygamma": lambda x, order: torch.polygamma(order, x),
    "xlog1py": torch.special.xlog1py,
    "cbrt": lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3),
    "log1mexp": lambda x: torch.log(-torch.expm1(-x)),
    "sigmoid": torch.sigmoid, "relu": torch.relu, "floor": torch.floor, "ceil": torch.ceil,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)), "round": torch.round,
    "where": lambda c, x, y: torch.where(torch.from_numpy(np.array(c)), x, y),
    "sum": _over_axes(lambda x, axes: torch.sum(x, axes)), "prod": _prod,
    "max": _extremum(torch.amax, -np.inf), "min": _extremum(torch.amin, np.inf),
    "max_and_argmax": _with_position(np.argmax, -np.inf),
    "min_and_argmin": _with_position(np.argmin, np.inf),
    "matmul": torch.matmul, "reshape": lambda x, shape: x.reshape(shape),
    "permute_dims": lambda x, axes: x.permute(axes), "flip": lambda x, axes: torch.flip(x, axes),
    "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
    "diagonal": lambda x, axes: torch.diagonal(x, 0, *axes),
    "concat": lambda *parts, axis: torch.concat(parts, axis),
    "slice": _slice, "pad": _pad, "take": _take,
    "softmax": _softmax, "log_softmax": _log_softmax,
    "logsumexp": _over_axes(_logsumexp),
    "softmax_cross_entropy": _cross_entropy,
    "stop_gradient": lambda x: x.detach(), "weak": lambda x: x,
    "checkpoint": lambda *xs, results: list(xs[:results]),
    "custom_gradient": lambda *xs, results, **attrs: list(xs[:results]),
    "scan": _scan, "switch": _switch, "while_loop": _while,
    "converged": lambda x, ok, maxiter: x,
    "ensure": lambda x, ok, message: x,
    "solve": torch.linalg.solve, "inv": torch.linalg.inv, "det": torch.linalg.det,
    "cholesky": _of_finite("cholesky", torch.linalg.cholesky),
    "slogdet": _of_finite("slogdet", lambda x: list(torch.linalg.slogdet(x))),
}  # fmt: skip


# -- graphs ----------------------------------------------------------------------------------------
def run(graph: gc.Graph, inputs: Sequence[Value], sizes: Any,
        variables: dict[Tensor, Value] | None = None) -> list[Any]:  # fmt: skip
    """The results of a graph by torch; a `LacksError` for what needs an op that is not there."""
    values: dict[Tensor, Any] = dict(zip(graph.inputs, inputs, strict=True)) | (variables or {})
    for node in graph.nodes:
        if node.op.name in ("placeholder", "variable"):
            continue
        operands = [values[t] for t in node.inputs]
        lacking = next((v for v in operands if isinstance(v, LacksError)), None)
        try:
            results = [lacking] * len(node.types) if lacking else _apply(node, operands, sizes)
        except LacksError as error:
            results = [error] * len(node.types)
        values.update(zip(node.outputs, results, strict=True))
    return [values[t] for t in graph.results]


def _apply(node: Node, operands: list[Value], sizes: Any) -> list[Value]:
    inner = any(isinstance(v, gc.Graph) for v in node.attrs.values())
    if not any(t.dtype.is_float for t in node.types) and not inner:
        return list(compute(node, [_array(v) for v in operands], sizes))
    if not node.inputs:
        return [torch.from_numpy(np.array(v)) for v in compute(node, [], sizes)]
    if node.op.name == "astype":
        wanted = getattr(torch, node.types[0].dtype.name)
        (x,) = operands
        if isinstance(x, torch.Tensor):
            return [x.to(wanted)]
        return [torch.from_numpy(np.array(x, node.types[0].dtype.numpy))]
    if node.op.name not in OPS:
        raise LacksError(node.op.name)
    attrs = {name: bound(value, sizes) for name, value in node.attrs.items()}
    if inner:
        attrs["sizes"] = sizes
    given = OPS[node.op.name](*operands, **attrs)
    results = list(given) if isinstance(given, (list, tuple)) else [given]
    return results[: len(node.types)]


def _array(value: Value) -> Array:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def _leaf(array: Array) -> Value:
    made = np.array(array, order="C")
    return torch.from_numpy(made).requires_grad_() if made.dtype.kind == "f" else made


# -- the check -------------------------------------------------------------------------------------
def torch_mismatch(made: RandomGraph, arrays: Sequence[Array], skipped: Counter[str],
                   explained: Counter[str]) -> list[str]:  # fmt: skip
    """How the meaning of a random graph with its gradients differs from torch's."""
    graph, forward = made.graph, made.forward
    sizes = bind_dims(graph, arrays)
    count = len(forward.inputs)
    leaves = {t.name: _leaf(a) for t, a in zip(forward.inputs, arrays[:count], strict=True)}
    cells = [n.output() for n in forward.nodes if n.op.name == "variable"]
    variables: dict[Tensor, Value] = {
        t: _leaf(t.value) for t in cells if isinstance(t, gc.Variable)
    }
    leaves |= {t.name: value for t, value in variables.items()}
    results = run(forward, [leaves[t.name] for t in forward.inputs], sizes, variables)
    outputs = results[: len(forward.outputs)]
    gradients = _gradients(outputs, arrays[count:], [leaves[name] for name in made.wrt], forward)
    expected = evaluate(graph, arrays)
    values = gc.Graph(forward.inputs, [t for n in forward.nodes for t in n.outputs])
    finite = all(np.isfinite(v).all() for v in evaluate(values, arrays[:count]))
    actual: list[Array] = []
    for i, value in enumerate([*outputs, *gradients, *results[len(outputs) :]]):
        if isinstance(value, LacksError):
            skipped[f"{SKIPPED}`{value}`"] += 1
            actual.append(expected[i])
            continue
        found = np.asarray(_array(value))
        is_gradient = len(outputs) <= i < len(outputs) + len(gradients)
        found = np.where(_is_near(expected[i], found), expected[i], found)
        for reason, elements in _conventions(expected[i], found, finite) if is_gradient else ():
            if np.any(elements & (found != expected[i])):
                explained[reason] += 1
                found = np.where(elements, expected[i], found)
        actual.append(found)
    return differences(graph, arrays, expected, actual, explained=explained)


def _is_near(expected: Array, found: Array) -> Any:
    """Where torch is near by the measure of the result's largest element."""
    if expected.dtype.kind != "f" or expected.shape != found.shape or not expected.size:
        return np.False_
    largest = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
    with np.errstate(invalid="ignore"):
        return np.abs(found - expected) <= UNITS * np.finfo(expected.dtype).eps * largest


def _conventions(expected: Array, found: Array, finite: bool) -> Any:
    """Reasons for gradients to differ, each with the elements for which it holds."""
    yield UNTAKEN, np.isnan(found) & ~np.isnan(expected)
    yield BEHIND, np.full(found.shape, not finite)
    yield MASKED, np.isnan(expected) & ~np.isnan(found)


def _gradients(outputs: list[Any], cotangents: Sequence[Array], leaves: list[Value],
               forward: gc.Graph) -> list[Any]:  # fmt: skip
    """torch's gradient for each leaf."""
    lacking = next((v for v in outputs if isinstance(v, LacksError)), None)
    if lacking is not None:
        return [lacking] * len(leaves)
    floats = [v for v, t in zip(outputs, forward.outputs, strict=True) if t.dtype.is_float]
    given = [torch.from_numpy(np.array(g, order="C")) for g in cotangents]
    pairs = [(y, g) for y, g in zip(floats, given, strict=bool(leaves)) if y.requires_grad]
    if not leaves or not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    ys, gs = zip(*pairs, strict=True)
    found = torch.autograd.grad(ys, leaves, gs, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for g, v in zip(found, leaves, strict=True)]


def check_by_torch(seed: int, skipped: Counter[str], explained: Counter[str]) -> int:
    """The random graph of a seed equals torch at each of its calls; how many there were. Graphs of
    NaN and infinities are left out: torch has conventions of its own for them."""
    made = random_graph(seed)
    if made.wild:
        skipped["the second oracle is not asked about NaN and infinities"] += 1
        return 0
    for call in range(len(made.sizes)):
        found = torch_mismatch(made, made.arrays(call), skipped, explained)
        if found:
            raise AssertionError(f"random_graph({seed}), call {call}: torch differs:\n" + found[0])
    return len(made.sizes)
