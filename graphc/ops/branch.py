"""`cond`, a branch.

One op whose bodies are closed graphs; what a body uses from outside is an operand. The derivative
of a `cond` is a `cond`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import ShapeError
from graphc.ir.dtype import bool_
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Tensor, apply, current_serial
from graphc.ir.op import Kind, Op, register
from graphc.ir.shape import TensorType, common
from graphc.ir.structure import same_structure, unflatten
from graphc.ops.build import as_weak, scalar_like, tensor
from graphc.ops.build import operands as operands_of
from graphc.ops.closure import (
    captured,
    check_callable,
    close,
    numbered,
    parameters,
    same_type,
    tensors,
)
from graphc.ops.create import zeros_like
from graphc.ops.elementwise import not_equal

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer_cond(
    p: TensorType, *types: TensorType, then: Graph, otherwise: Graph
) -> tuple[TensorType, ...]:
    if p != TensorType(bool_, ()):
        raise ShapeError("the predicate is one truth value", expected="bool[]", given=str(p))
    for branch in (then, otherwise):
        for given, inner in zip(types, branch.inputs, strict=True):
            same_type("cond", "an operand does not fit the branch", inner.type, given)
    for a, b in zip(then.outputs, otherwise.outputs, strict=True):
        same_type("cond", "the branches give different types", a.type, b.type)
    return tuple(
        TensorType(a.dtype, tuple(common(s, t) for s, t in zip(a.shape, b.shape, strict=True)))
        for a, b in zip(then.outputs, otherwise.outputs, strict=True)
    )


def _numpy_cond(p: Any, *arrays: Any, then: Graph, otherwise: Graph, sizes: Any) -> tuple[Any, ...]:
    return tuple(evaluate_graph(then if p else otherwise, arrays, sizes))


def _cond_vjp(
    context: Any, g: Any, out: Any, p: Tensor, *operands: Tensor, then: Graph, otherwise: Graph
) -> list[Tensor | None]:
    """A cond over the branches' derivatives; each computes again what it needs of its forward."""
    gs = list(g) if isinstance(g, (list, tuple)) else [g]
    cotangents = numbered("g", (t.type for t in then.outputs))
    given = {i: cotangents[i] for i, t in enumerate(gs) if t is not None}
    wanted = [i for i in range(len(operands)) if context.needs(i + 1)]
    halves = [
        context.pull_back(
            [branch.outputs[i] for i in given],
            list(given.values()),
            [branch.inputs[i] for i in wanted],
        )
        for branch in (then, otherwise)
    ]
    found = {
        i: [zeros_like(operands[i]) if t is None else t for t in pair]
        for i, *pair in zip(wanted, *halves, strict=True)
        if any(t is not None for t in pair)
    }
    if not found:
        return [None] * (1 + len(operands))
    used = set(walk(t for pair in found.values() for t in pair))
    arguments = [*operands, *(gs[i] for i in given)]
    parameters = [*then.inputs, *given.values()]
    kept = [i for i, t in enumerate(parameters) if t.node in used]
    bodies = [
        close([pair[side] for pair in found.values()], [parameters[i] for i in kept])
        for side in (0, 1)
    ]
    node = apply(COND, [p, *(arguments[i] for i in kept)], then=bodies[0], otherwise=bodies[1])
    results = dict(zip(found, node.outputs, strict=True))
    return [None, *(results.get(i) for i in range(len(operands)))]


COND = register(
    Op(
        "cond",
        Kind.CONTROL,
        _infer_cond,
        numpy=_numpy_cond,
        vjp=_cond_vjp,
        may_fail=True,  # its branches may
        weak=False,  # each result for itself
        doc="One of two graphs over the same operands, chosen by a scalar truth value.",
    )
)


def cond(p: Any, then_fn: Callable[..., Any], else_fn: Callable[..., Any], *operands: Any) -> Any:
    """`then_fn(*operands)` where p holds, else `else_fn(*operands)`; the other does not run.

    The operands and results are tensors, None, or nested tuples, lists, dicts and dataclasses; the
    branches may also use any tensor from outside, which is then computed before the choice. A
    computation that may fail belongs inside its branch, over operands.

    Shapes: p []; both branches give the same. Dtypes: both give the same, but a Python number (or
    what is made of them alone) takes the other's; p is a truth value.
    Errors: `ShapeError`, `DTypeError`, `ArgumentError` where the branches differ.

    >>> import graphc as gc
    >>> x = gc.placeholder("x")
    >>> y = gc.cond(x > 0, gc.log, lambda x: x * 2, x)
    >>> float(gc.evaluate(y, {x: -3}))
    -6.0
    """
    choice = tensor(p, "cond")
    if choice.shape:
        raise ShapeError(
            "the predicate is one truth value",
            op="cond", expected="a scalar", given=str(choice.type),
            hint="gc.where chooses elementwise",
        )  # fmt: skip
    choice = choice if choice.dtype is bool_ else not_equal(choice, scalar_like(0, choice))
    check_callable("cond", "a branch", then_fn)
    check_callable("cond", "a branch", else_fn)
    arguments, structure = tensors("cond", operands, "operands")
    start = current_serial()
    placeholders, inner = parameters("cond", (t.type for t in arguments), arguments)
    given = unflatten(structure, inner)
    yes, yes_structure = tensors("cond", then_fn(*given), "result")
    no, no_structure = tensors("cond", else_fn(*given), "result")
    same_structure("cond", "the result of the else branch", "result", yes_structure, no_structure)
    weak = [a.weak and b.weak for a, b in zip(yes, no, strict=True)]
    for i, (a, b) in enumerate(zip(yes, no, strict=True)):
        if a.weak or b.weak:
            yes[i], no[i] = operands_of("cond", a, b)
    for i, (a, b) in enumerate(zip(yes, no, strict=True)):
        same_type("cond", f"the branches give different types for result {i}", a.type, b.type)
    if not yes:
        return unflatten(yes_structure, [])
    outer = captured([*yes, *no], placeholders, start, hoist=False)
    inputs = [*placeholders, *outer]
    node = apply(
        COND, [choice, *arguments, *outer], then=close(yes, inputs), otherwise=close(no, inputs)
    )
    results = [as_weak(t) if w else t for t, w in zip(node.outputs, weak, strict=True)]
    return unflatten(yes_structure, results)


FUNCTIONS |= {"cond": cond}
