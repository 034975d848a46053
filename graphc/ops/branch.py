"""`cond` and `switch`: one of several graphs runs.

One op whose branches are closed graphs; what a branch uses from outside is an operand. It chooses
by a truth value (the second of two branches where it holds) or by an index. The derivative is a
choice of the same kind between the branches' derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dtype import bool_, int64, uint64
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Tensor, apply, current_serial
from graphc.ir.op import Batch, Fact, Kind, Op, register
from graphc.ir.shape import TensorType, common
from graphc.ir.structure import paths, same_structure, unflatten
from graphc.ops.build import as_weak, cast, constant, scalar_like, tensor
from graphc.ops.build import operands as operands_of
from graphc.ops.closure import (
    captured,
    check_callable,
    close,
    fresh,
    is_pure,
    numbered,
    parameters,
    same_type,
    tensors,
)
from graphc.ops.create import zeros_like
from graphc.ops.elementwise import greater_equal, minimum, not_equal, where
from graphc.ops.shape import unit_axes_behind_first

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- type and meaning ------------------------------------------------------------------------------
def _infer(
    selector: TensorType, *types: TensorType, branches: tuple[Graph, ...]
) -> tuple[TensorType, ...]:
    by_truth = selector.dtype is bool_ and len(branches) == 2
    if selector.shape or not branches or not (by_truth or selector.dtype is int64):
        raise ShapeError(
            "what chooses is one truth value, of two branches, or one index",
            expected="bool[], i64[]", given=str(selector),
        )  # fmt: skip
    first, *others = branches
    for branch in branches:
        for given, inner in zip(types, branch.inputs, strict=True):
            same_type("", "an operand does not fit the branch", inner.type, given)
    found = [t.type for t in first.outputs]
    for branch in others:
        for i, (a, b) in enumerate(zip(found, branch.outputs, strict=True)):
            same_type("", "the branches give different types", a, b.type)
            sizes = zip(a.shape, b.shape, strict=True)
            found[i] = TensorType(b.dtype, tuple(common(s, t) for s, t in sizes))
    return tuple(found)


def _numpy(
    selector: Any, *arrays: Any, branches: tuple[Graph, ...], sizes: Any
) -> tuple[Any, ...]:
    chosen = branches[min(max(int(selector), 0), len(branches) - 1)]
    return tuple(evaluate_graph(chosen, arrays, sizes))


# -- derivative ------------------------------------------------------------------------------------
def _vjp(
    context: Any, g: Any, out: Any, selector: Tensor, *operands: Tensor, branches: tuple[Graph, ...]
) -> list[Tensor | None]:
    """A choice between the branches' derivatives; each computes again what it needs of its
    forward."""
    gs = list(g) if isinstance(g, (list, tuple)) else [g]
    cotangents = numbered("g", (t.type for t in branches[0].outputs))
    given = {i: cotangents[i] for i, t in enumerate(gs) if t is not None}
    wanted = [i for i in range(len(operands)) if context.needs(i + 1)]
    sides = [
        context.pull_back(
            [branch.outputs[i] for i in given],
            list(given.values()),
            [branch.inputs[i] for i in wanted],
        )
        for branch in branches
    ]
    found = {
        i: [zeros_like(operands[i]) if t is None else t for t in column]
        for i, *column in zip(wanted, *sides, strict=True)
        if any(t is not None for t in column)
    }
    sources = [*operands, *(gs[i] for i in given)]
    results = _between(selector, found, branches, list(given.values()), sources)
    return [None, *(results.get(i) for i in range(len(operands)))]


def _jvp(
    context: Any,
    ts: Sequence[Tensor | None],
    out: Any,
    selector: Tensor,
    *operands: Tensor,
    branches: tuple[Graph, ...],
) -> Any:
    """A choice between the branches' derivatives; each computes again what it needs of its
    values."""
    moving = {i: t for i, t in enumerate(ts[1:]) if t is not None}
    tangents = numbered("t", (operands[i].type for i in moving))
    sides = [
        context.push_forward(branch.outputs, [branch.inputs[i] for i in moving], tangents)
        for branch in branches
    ]
    outputs = branches[0].outputs
    found = {
        i: [zeros_like(outputs[i]) if t is None else t for t in column]
        for i, column in enumerate(zip(*sides, strict=True))
        if any(t is not None for t in column)
    }
    results = _between(selector, found, branches, tangents, [*operands, *moving.values()])
    made = [results.get(i) for i in range(len(outputs))]
    return made if len(made) > 1 else made[0]


def _between(
    selector: Tensor,
    found: dict[int, list[Tensor]],
    branches: tuple[Graph, ...],
    further: Sequence[Tensor],
    sources: Sequence[Tensor],
) -> dict[int, Tensor]:
    """A choice between what each branch has found, one for each of them, in terms of its inputs and
    of `further`, which stand for `sources`."""
    if not found:
        return {}
    used = set(walk(t for column in found.values() for t in column))
    closed = []
    for side, branch in enumerate(branches):
        inner = [*branch.inputs, *further]
        kept = [i for i, t in enumerate(inner) if t.node in used]
        closed.append(close([column[side] for column in found.values()], [inner[i] for i in kept]))
    node = apply(SWITCH, [selector, *(sources[i] for i in kept)], branches=tuple(closed))
    return dict(zip(found, node.outputs, strict=True))


# -- batches ---------------------------------------------------------------------------------------
def _batched(
    batch: Batch, selector: Tensor, *operands: Tensor, branches: tuple[Graph, ...]
) -> list[Tensor]:
    """Of one selector for all elements, one branch for all. Else all branches and a choice; what
    may fail in one must not run for elements that take another, so that these go one by one."""
    if batch.has(0):
        if not all(is_pure(node) for branch in branches for node in branch.nodes):
            return batch.one_by_one()
        results, *others = (batch.outputs(branch, operands) for branch in branches)
        for position, side in enumerate(others, 1):
            by_truth = selector.dtype is bool_
            here = selector if by_truth else greater_equal(selector, position)
            results = [
                where(unit_axes_behind_first(here, 1 + inner.ndim), a, b)
                for a, b, inner in zip(side, results, branches[0].outputs, strict=True)
            ]
        return results
    inner = fresh("branch", (t.type for t in operands))
    sides = [batch.outputs(branch, inner) for branch in branches]
    for i, column in enumerate(zip(*sides, strict=True)):
        rank = max(t.ndim for t in column)
        for side, t in zip(sides, column, strict=True):
            side[i] = t if t.ndim == rank else batch.spread(t)
    closed = tuple(close(side, inner) for side in sides)
    return list(apply(SWITCH, (selector, *operands), branches=closed).outputs)


SWITCH = register(
    Op(
        "switch",
        Kind.CONTROL,
        _infer,
        numpy=_numpy,
        vjp=_vjp,
        jvp=_jvp,
        batched=_batched,
        facts=frozenset({Fact.AS_STORED}),
        may_fail=True,  # its branches may
        weak=False,  # each result for itself
        doc="One of several graphs over the same operands, chosen by a truth value or an index.",
    )
)


# -- functions -------------------------------------------------------------------------------------
def cond(p: Any, then_fn: Callable[..., Any], else_fn: Callable[..., Any], *operands: Any) -> Any:
    """`then_fn(*operands)` where p holds, else `else_fn(*operands)`; the other does not run.

    The operands and results are tensors, None, or nested tuples, lists, dicts and dataclasses; the
    branches may also use any tensor from outside, which is then computed before the choice. A
    computation that may fail belongs inside its branch, over operands.

    Shapes: p []; both branches give the same. Dtypes: the branches' promote, as in `where`: an int
    beside a float becomes that float, and a Python number (or what is made of them alone) takes the
    other's dtype; p is a truth value.
    Errors: `ShapeError`, `ArgumentError` where the branches differ.

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
    names = {"the then branch": then_fn, "the else branch": else_fn}
    return _chosen("cond", choice, names, operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """The result of `branches[index]`, which alone runs. An index below 0 takes the first, one
    beyond the last takes the last.

    Operands, results and what the branches use from outside are as for `cond`.

    Shapes: index []; all branches give the same. Dtypes: index int; the branches' promote.
    Errors: `ShapeError`, `ArgumentError` where the branches differ, `DTypeError` for an index that
    is no int.

    >>> import graphc as gc
    >>> i, x = gc.placeholder("i", (), "int64"), gc.placeholder("x")
    >>> y = gc.switch(i, [gc.sin, gc.exp, lambda x: x * 2], x)
    >>> float(gc.evaluate(y, {i: 7, x: 3.0}))
    6.0
    """
    functions = list(branches) if isinstance(branches, (list, tuple)) else []
    if not functions:
        raise ArgumentError(
            "the branches are functions in a list",
            op="switch", expected="one function or more", given=repr(branches)[:80],
            hint="gc.where(condition, x, y) chooses between tensors",
        )  # fmt: skip
    choice = tensor(index, "switch")
    if choice.shape or not choice.dtype.is_integer:
        error = ShapeError if choice.shape else DTypeError
        raise error(
            "the index is one int", op="switch", expected="i64[]", given=str(choice.type),
            hint="gc.cond chooses by a truth value" if choice.dtype is bool_ else "",
        )  # fmt: skip
    if choice.dtype is uint64:  # the largest ones are no int64
        choice = minimum(choice, constant(len(functions) - 1, uint64))
    names = {f"branch {i}": f for i, f in enumerate(functions)}
    return _chosen("switch", cast(choice, int64), names, operands)


def _chosen(
    op: str, selector: Tensor, functions: dict[str, Callable[..., Any]], operands: Sequence[Any]
) -> Any:
    """The results of one of the functions, which errors call by their keys; by a truth value, of
    the first where it holds."""
    for name, function in functions.items():
        check_callable(op, name, function)
    arguments, structure = tensors(op, operands, "operands")
    start = current_serial()
    placeholders, inner = parameters(op, (t.type for t in arguments), arguments)
    given = unflatten(structure, inner)
    sides: list[list[Tensor]] = []
    shapes: list[Any] = []
    for name, function in functions.items():
        side, shape = tensors(op, function(*given), "result")
        sides.append(side)
        shapes.append(shape)
        same_structure(op, f"the result of {name}", "result", shapes[0], shape)
    if not sides[0]:
        return unflatten(shapes[0], [])
    columns = list(zip(*sides, strict=True))
    alike = [operands_of(op, *column) for column in columns]
    for path, (first, *others) in zip(paths(shapes[0], "result"), alike, strict=True):
        for name, other in zip(list(functions)[1:], others, strict=True):
            what = f"the branches give different types for {path}, in {name}"
            same_type(op, what, first.type, other.type)
    results = list(zip(*alike, strict=True))
    outer = captured([t for side in results for t in side], placeholders, start, hoist=False)
    inputs = [*placeholders, *outer]
    closed = [close(side, inputs) for side in results]
    if selector.dtype is bool_:
        closed.reverse()
    node = apply(SWITCH, [selector, *arguments, *outer], branches=tuple(closed))
    weak = (all(t.weak for t in column) for column in columns)
    found = [as_weak(t) if w else t for t, w in zip(node.outputs, weak, strict=True)]
    return unflatten(shapes[0], found)


FUNCTIONS |= {"cond": cond, "switch": switch}
