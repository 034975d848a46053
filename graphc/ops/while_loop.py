"""`while_loop`: a loop whose length its data decide, and `fori_loop`, one whose length is counted.

A while loop is one op with two closed graphs, the condition and the step, over the carries and what
they use from outside. It has a derivative forwards, and none backwards: the values that one needs
of each turn have no place, for how many there are is known only when the loop ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ConvergenceError, DTypeError, GradientError, ShapeError
from graphc.ir import origin
from graphc.ir.dim import Dim, Size, maximum
from graphc.ir.dtype import bool_, int64
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Batch, Fact, Kind, Op, register
from graphc.ir.shape import TensorType, agree_on_shape, broadcast
from graphc.ir.structure import unflatten
from graphc.ops.build import as_weak, cast, scalar_like, size_as_tensor, tensor, weak_like
from graphc.ops.closure import (
    batched_step,
    captured,
    check_callable,
    close,
    fresh,
    is_pure,
    same_type,
    tensors,
    trace_step,
)
from graphc.ops.create import iota
from graphc.ops.elementwise import not_equal, where
from graphc.ops.reduce import any as any_of
from graphc.ops.scalar import at
from graphc.ops.scan import or_zeros, push_step, scan
from graphc.ops.shape import unit_axes_behind_first

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- type and meaning ------------------------------------------------------------------------------
def _infer(
    *types: TensorType, condition: Graph, body: Graph, carries: int
) -> tuple[TensorType, ...]:
    for graph in (condition, body):
        for given, inner in zip(types, graph.inputs, strict=True):
            if given.dtype is not inner.dtype or not agree_on_shape(given.shape, inner.shape):
                raise ShapeError(
                    "an input does not fit the body", expected=str(inner.type), given=str(given)
                )
    (test,) = condition.outputs
    if test.type != TensorType(bool_, ()):
        raise ShapeError("the condition is no truth value", expected="bool[]", given=str(test.type))
    for before, after in zip(body.inputs[:carries], body.outputs, strict=True):
        same_type("", "the step gives a carry of another type", before.type, after.type)
    return tuple(t.type for t in body.inputs[:carries])


def _numpy(
    *arrays: Any, condition: Graph, body: Graph, carries: int, sizes: Any
) -> tuple[Any, ...]:
    """The body, as long as the condition holds."""
    state, operands = list(arrays[:carries]), arrays[carries:]
    while evaluate_graph(condition, [*state, *operands], sizes)[0]:
        state = evaluate_graph(body, [*state, *operands], sizes)
    return tuple(state)


def _vjp(
    context: Any, g: Any, out: Any, *inputs: Tensor, condition: Graph, body: Graph, carries: int
) -> list[Tensor | None]:
    """Errors: `GradientError`, where a derivative is wanted."""
    if any(map(context.needs, range(len(inputs)))):
        raise GradientError(
            "a while_loop has no gradient: how many steps to go back is known only at its end",
            op="while_loop",
            expected="a loop of a known number of steps",
            hint="gc.scan over as many steps as may be needed, with gc.cond for those beyond the "
            "end, has one; gc.root has that of what an iteration converges to",
        )
    return [None] * len(inputs)


def _jvp(
    context: Any,
    ts: Sequence[Tensor | None],
    out: Any,
    *inputs: Tensor,
    condition: Graph,
    body: Graph,
    carries: int,
) -> Any:
    """The loop with the tangents of carries as further carries; it ends as the loop does."""
    moving, results = push_step(context, ts, body, carries)
    stepped = [i for i in moving if i < carries]
    if not stepped:
        return [None] * carries if carries > 1 else None
    still = [i for i in moving if i >= carries]
    parts = [
        *zip(body.inputs[:carries], inputs[:carries], strict=True),
        *((moving[i], or_zeros(ts[i], inputs[i])) for i in stepped),
        *zip(body.inputs[carries:], inputs[carries:], strict=True),
        *((moving[i], or_zeros(ts[i], inputs[i])) for i in still),
    ]
    after = [*body.outputs, *(or_zeros(results[i], body.outputs[i]) for i in stepped)]
    node = apply(
        WHILE,
        [value for _, value in parts],
        condition=close(condition.outputs, [t for t, _ in parts]),
        body=close(after, [t for t, _ in parts]),
        carries=len(after),
    )
    found = dict(zip(stepped, node.outputs[carries:], strict=True))
    return [found.get(i) for i in range(carries)] if carries > 1 else found.get(0)


def _batched(
    batch: Batch, *inputs: Tensor, condition: Graph, body: Graph, carries: int
) -> Sequence[Tensor]:
    """One loop for all elements. Where they end at different turns, it goes on as long as one does,
    and a carry of the others stays as it is; what may fail must not run for those, so that they go
    one by one then."""
    step = batched_step(batch, body, carries)
    (test,) = batch.outputs(condition, step.inputs)
    if not test.shape:
        return apply(
            WHILE, list(step.given(inputs)), condition=close([test], step.inputs),
            body=close(step.outputs, step.inputs), carries=carries,
        ).outputs  # fmt: skip
    if not all(is_pure(node) for graph in (condition, body) for node in graph.nodes):
        return batch.one_by_one()
    step = batched_step(batch, body, carries, every=True)
    (active,) = fresh("active", [test.type])
    kept = [
        where(unit_axes_behind_first(active, after.ndim), after, before)
        for before, after in zip(step.inputs, step.outputs, strict=False)
    ]
    operands, given = step.inputs[carries:], list(step.given(inputs))
    (begins,) = batch.outputs(condition, given)
    (goes_on,) = batch.outputs(condition, [*kept, *operands])
    parameters = [*step.inputs[:carries], active, *operands]
    node = apply(
        WHILE,
        [*given[:carries], begins, *given[carries:]],
        condition=close([any_of(active)], parameters),
        body=close([*kept, goes_on], parameters),
        carries=carries + 1,
    )
    return node.outputs[:carries]


WHILE = register(
    Op(
        "while_loop",
        Kind.CONTROL,
        _infer,
        numpy=_numpy,
        vjp=_vjp,
        jvp=_jvp,
        batched=_batched,
        facts=frozenset({Fact.WHILE, Fact.AS_STORED}),
        may_fail=True,  # its bodies may, and it may never end
        weak=False,  # each result for itself
        doc="A loop as long as a condition holds: inputs are carries, operands; outputs carries.",
    )
)


# -- converged, or not -----------------------------------------------------------------------------
def _infer_converged(x: TensorType, done: TensorType, *, maxiter: int) -> tuple[TensorType, ...]:
    if done.dtype is not bool_:
        raise DTypeError("not a truth value", expected="bool", given=str(done))
    return (TensorType(x.dtype, broadcast("converged", x.shape, done.shape)),)


def _not_converged(maxiter: int) -> str:
    return f"the root was not found to its tolerance in {maxiter} iterations"


def _numpy_converged(x: Any, done: Any, *, maxiter: int) -> Any:
    if not np.all(done):
        raise ConvergenceError(_not_converged(maxiter), op="converged", where=origin.where())
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, done.shape))


def _converged_kernel(k: Any, x: Any, done: Any, *, maxiter: int) -> Any:
    k.fail_if(k.bitwise_invert(done), _not_converged(maxiter))
    return x


CONVERGED = register(
    Op(
        "converged",
        Kind.MAP,
        _infer_converged,
        numpy=_numpy_converged,
        at=at(_converged_kernel),
        facts=frozenset({Fact.ELEMENTWISE, Fact.EXACT, Fact.CHECKS}),
        may_fail=True,
        failure=ConvergenceError,
        differentiable=False,  # `root` has one of its own
        doc="x itself, after checking that the iteration has come to its end.",
    )
)


# -- functions -------------------------------------------------------------------------------------
def while_loop(
    cond_fn: Callable[[Any], Any], body_fn: Callable[[Any], Any], carry: Any
) -> Any:
    """`carry = body_fn(carry)` as long as `cond_fn(carry)` holds; the last carry.

    The carry is a tensor, None, or nested tuples, lists and dicts of tensors. Both functions may
    use any tensor from outside; what of it depends on no carry is computed once, before the loop.
    There is a `gc.jvp` but no gradient: a loop that needs one is a `scan` over as many steps as may
    be needed, with a `cond` in it, or a `root`. A loop that does not end can be interrupted
    (Ctrl-C).

    Shapes: a carry keeps its shape; the condition is a scalar. Dtypes: any; a carry keeps its
    dtype. One that starts as a Python number takes that of the step's result.
    Errors: `ArgumentError` where the step changes the carry's structure; `ShapeError`, `DTypeError`
    where it changes a carry's type, or the condition is no scalar; `GradientError` for a gradient.

    >>> import graphc as gc
    >>> x = gc.placeholder("x")
    >>> steps, _ = gc.while_loop(
    ...     lambda c: c[1] > 1, lambda c: (c[0] + 1, c[1] / 2), (0, x)
    ... )
    >>> int(gc.evaluate(steps, {x: 100.0}))
    7
    """
    check_callable("while_loop", "the condition", cond_fn)
    check_callable("while_loop", "the step", body_fn)
    first, structure = tensors("while_loop", carry, "carry")
    if not first:
        raise ArgumentError(
            "a loop without a carry never ends, or never begins",
            op="while_loop", expected="a carry with a tensor in it", given=repr(carry)[:80],
        )  # fmt: skip

    def step(carry: Any, _: Sequence[Tensor]) -> tuple[Any, Any]:
        return body_fn(carry), cond_fn(carry)

    traced = trace_step("while_loop", step, first, structure)
    first, after = traced.first, traced.after
    test, placeholders = _condition(traced.further), traced.placeholders
    outer = captured([test, *after], placeholders, traced.start, hoist=True)
    inputs = [*placeholders, *outer]
    node = apply(
        WHILE,
        [*first, *outer],
        condition=close([test], inputs),
        body=close(after, inputs),
        carries=len(first),
    )
    last = [weak_like(t, *pair) for t, *pair in zip(node.outputs, first, after, strict=True)]
    return unflatten(structure, last)


def _condition(returned: Any) -> Tensor:
    test = tensor(returned, "while_loop")
    if test.shape:
        raise ShapeError(
            "the condition is one truth value",
            op="while_loop", expected="a scalar", given=str(test.type),
            hint="gc.any and gc.all make one of several",
        )  # fmt: skip
    return test if test.dtype is bool_ else not_equal(test, scalar_like(0, test))


def fori_loop(lower: Any, upper: Any, body_fn: Callable[[Any, Any], Any], carry: Any) -> Any:
    """`carry = body_fn(i, carry)` for each `lower <= i < upper`; the last carry.

    Bounds that are ints, or sizes such as `x.shape[0]`, make a `scan`, which has a gradient. If one
    of them is a tensor, it is a `while_loop`, which has none: the data decide how long it runs.
    The carry is as for these. Without a turn it is the one given.

    Shapes: bounds []; a carry keeps its shape. Dtypes: bounds int; i is int64, and as weak as a
    Python int: beside a float32 it is one.
    Errors: those of `scan` and `while_loop`; `DTypeError` for bounds that are no ints.

    >>> import graphc as gc
    >>> x = gc.placeholder("x")
    >>> y = gc.fori_loop(0, 3, lambda i, p: p * x + i, 1.0)
    >>> [float(v) for v in gc.evaluate([y, gc.grad(y, x)], {x: 2.0})]
    [12.0, 13.0]
    """
    check_callable("fori_loop", "the step", body_fn)
    first, last = (_bound(bound) for bound in (lower, upper))
    if not (isinstance(first, Tensor) or isinstance(last, Tensor)):
        steps = iota((maximum(last - first, 0),), 0, int64) + size_as_tensor(first, int64)
        return scan(lambda c, i: (body_fn(as_weak(i), c), None), carry, steps)[0]
    start, stop = (b if isinstance(b, Tensor) else size_as_tensor(b, int64) for b in (first, last))
    return while_loop(
        lambda c: c[0] < stop, lambda c: (c[0] + 1, body_fn(as_weak(c[0]), c[1])), (start, carry)
    )[1]


def _bound(bound: Any) -> Size | Tensor:
    """A bound of `fori_loop`: a size, where it is known, or an int64 tensor.
    Errors: `DTypeError`, `ShapeError`."""
    if isinstance(bound, Dim):
        return bound
    if isinstance(bound, (int, np.integer)) and not isinstance(bound, bool):
        return int(bound)
    found = tensor(bound, "fori_loop")
    if found.shape or not found.dtype.is_integer:
        error = ShapeError if found.shape else DTypeError
        raise error("a bound is one int", op="fori_loop", expected="i64[]", given=str(found.type))
    if Fact.CONSTANT in found.node.op.facts:
        return int(found.node.attrs["value"].array)
    return cast(found, int64)


FUNCTIONS |= {"while_loop": while_loop, "fori_loop": fori_loop}
