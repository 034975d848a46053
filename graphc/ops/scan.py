"""`scan`, a loop over the first axis.

One op whose body is a closed graph; what the body uses from outside is an operand. The derivative
of a scan is a scan the other way round: the forward loop is made again with the values that the
backward step needs as further ys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.conditions import never_equal
from graphc.ir.dim import Size, dim
from graphc.ir.dim import evaluate as evaluate_size
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph, transform, walk
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Batch, Fact, Kind, Op, register
from graphc.ir.operators import function
from graphc.ir.shape import TensorType, agree_on_shape, show
from graphc.ir.structure import unflatten
from graphc.ops.build import weak_like
from graphc.ops.closure import (
    above,
    batched_step,
    captured,
    check_callable,
    close,
    frontier,
    is_literal,
    is_pure,
    numbered,
    same_type,
    shows_all,
    tensors,
    trace_step,
)
from graphc.ops.create import zeros_like
from graphc.ops.shape import permute_dims

FUNCTIONS: dict[str, Callable[..., Any]] = {}
_CHEAP = 4  # kernel operations up to which the backward step computes a value again


# -- type and meaning ------------------------------------------------------------------------
def _infer_scan(
    *types: TensorType, body: Graph, length: Size, carries: int, xs: int, reverse: bool
) -> tuple[TensorType, ...]:
    for i, (given, inner) in enumerate(zip(types, body.inputs, strict=True)):
        stacked_shape = (length, *inner.shape)
        sliced = carries <= i < carries + xs
        expected = TensorType(inner.dtype, stacked_shape) if sliced else inner.type
        if given.dtype is not expected.dtype or not agree_on_shape(given.shape, expected.shape):
            raise ShapeError(
                "an input does not fit the body", expected=str(expected), given=str(given)
            )
    for before, after in zip(body.inputs[:carries], body.outputs, strict=False):
        same_type("scan", "the step gives a carry of another type", before.type, after.type)
    stacked = (TensorType(y.dtype, (length, *y.shape)) for y in body.outputs[carries:])
    return (*(c.type for c in body.inputs[:carries]), *stacked)


def _numpy_scan(
    *arrays: Any, body: Graph, length: int, carries: int, xs: int, reverse: bool, sizes: Any
) -> tuple[Any, ...]:
    """The body, `length` times."""
    state = list(arrays[:carries])
    slices, operands = arrays[carries : carries + xs], arrays[carries + xs :]
    stacked = [
        np.empty((length, *(evaluate_size(s, sizes) for s in y.shape)), y.dtype.numpy)
        for y in body.outputs[carries:]
    ]
    for i in reversed(range(length)) if reverse else range(length):
        results = evaluate_graph(body, [*state, *(x[i] for x in slices), *operands], sizes)
        state = results[:carries]
        for array, y in zip(stacked, results[carries:], strict=True):
            array[i] = y
    return (*state, *stacked)


# -- derivative ------------------------------------------------------------------------------------
def _scan_vjp(
    context: Any,
    g: Any,
    out: Any,
    *inputs: Tensor,
    body: Graph,
    length: Size,
    carries: int,
    xs: int,
    reverse: bool,
) -> list[Tensor | None]:
    """A scan in the other direction; its carries are the cotangents of the carries, then sums over
    the steps for the operands; its xs are the cotangents of ys, then what the forward step had."""
    gs = list(g) if isinstance(g, (list, tuple)) else [g]
    gy, gc, back = _pull_back_step(context, gs, body, carries)
    summed = [i for i in back if i >= carries + xs]
    sliced = [i for i in back if carries <= i < carries + xs]
    if not gc and not summed and not sliced:
        return [None] * len(inputs)
    sums = numbered("a", (body.inputs[i].type for i in summed))
    outputs = [
        *(back[i] if i in back else zeros_like(body.inputs[i]) for i in gc),
        *(a + back[i] for a, i in zip(sums, summed, strict=True)),
        *(back[i] for i in sliced),
    ]
    used = set(walk(outputs))
    gy = {i: t for i, t in gy.items() if t.node in used}
    cotangents = [*gc.values(), *sums, *gy.values()]
    values = _forward_values(outputs, cotangents, inputs, body, length, carries, xs, reverse)
    per_step = [t for t, (_, stacked) in values.items() if stacked]
    operands = [t for t, (_, stacked) in values.items() if not stacked]
    first = [gs[i] if gs[i] is not None else zeros_like(inputs[i]) for i in gc]
    node = apply(
        SCAN,
        [
            *first,
            *(zeros_like(inputs[i]) for i in summed),
            *(gs[i] for i in gy),
            *(values[t][0] for t in (*per_step, *operands)),
        ],
        body=close(outputs, [*cotangents, *per_step, *operands]),
        length=length,
        carries=len(gc) + len(summed),
        xs=len(gy) + len(per_step),
        reverse=not reverse,
    )
    found = dict(zip([*gc, *summed, *sliced], node.outputs, strict=True))
    return [found.get(i) if context.needs(i) else None for i in range(len(inputs))]


def _pull_back_step(
    context: Any, gs: Sequence[Tensor | None], body: Graph, carries: int
) -> tuple[dict[int, Tensor], dict[int, Tensor], dict[int, Tensor]]:
    """One step's derivative: placeholders for the cotangents of the ys and of the carries that
    have one, by output position, and the cotangents of the body's inputs by input position."""
    wanted = {i for i in range(len(body.inputs)) if context.needs(i)}
    varying = _varying_carries(body, carries, wanted)
    targets = sorted(varying | {i for i in wanted if i >= carries})
    g = numbered("g", (t.type for t in body.outputs))
    gy = {i: g[i] for i in range(carries, len(gs)) if gs[i] is not None}
    flowing = {i for i in varying if gs[i] is not None}
    while True:  # a carry's cotangent flows into others', step after step
        gc = {i: g[i] for i in sorted(flowing)}
        given = gc | gy
        found = context.pull_back(
            [body.outputs[i] for i in given],
            list(given.values()),
            [body.inputs[i] for i in targets],
        )
        back = {i: t for i, t in zip(targets, found, strict=True) if t is not None}
        reached = {i for i in back if i < carries}
        if reached <= flowing:
            return gy, gc, back
        flowing |= reached


def _varying_carries(body: Graph, carries: int, wanted: set[int]) -> set[int]:
    """The float carries that depend on a wanted input after some number of steps."""
    sources = set(wanted)
    while True:
        reached = above(body.nodes, (body.inputs[i].node for i in sources))
        more = {
            i
            for i in range(carries)
            if body.outputs[i].node in reached and body.outputs[i].dtype.has_derivative
        }
        if more <= sources:
            return {i for i in sources if i < carries}
        sources |= more


def _forward_values(
    outputs: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    inputs: Sequence[Tensor],
    body: Graph,
    length: Size,
    carries: int,
    xs: int,
    reverse: bool,
) -> dict[Tensor, tuple[Tensor, bool]]:
    """What the backward step reads of the forward one: for each tensor of the forward body the
    tensor outside that holds it, and whether that has one value for each step.

    Cheap elementwise values are computed again; what depends on operands only is computed before
    the loop; everything else becomes a further y of the forward loop.
    """
    order = walk(outputs)
    backward = above(order, (t.node for t in cotangents))
    ys = {y: carries + i for i, y in enumerate(body.outputs[carries:])}
    stepped = {t.node for t in body.inputs[: carries + xs]}
    varying = above(order, stepped | {node for node in order if not is_pure(node)})

    def inside(t: Tensor) -> bool:
        if t.node in backward or is_literal(t.node):
            return True
        return t not in ys and (shows_all(t.node) or (t.node in varying and _is_cheap(t.node)))

    position = {t: i for i, t in enumerate(body.inputs)}
    values: dict[Tensor, tuple[Tensor, bool]] = {}
    stored: list[Tensor] = []
    for t in frontier(outputs, inside):
        if position.get(t, -1) >= carries:  # an x or an operand; what is no input is at -1
            values[t] = inputs[position[t]], position[t] < carries + xs
        elif t.node not in varying:
            (before,) = transform([t], replace=dict(zip(body.inputs, inputs, strict=True)))
            values[t] = before, False
        else:
            stored.append(t)
    extra = [t for t in stored if t not in ys]
    ys |= {t: len(body.outputs) + i for i, t in enumerate(extra)}
    forward = apply(
        SCAN,
        inputs,
        body=Graph(body.inputs, [*body.outputs, *extra], name=body.name),
        length=length,
        carries=carries,
        xs=xs,
        reverse=reverse,
    )
    return values | {t: (forward.output(ys[t]), True) for t in stored}


def _scan_jvp(
    context: Any,
    ts: Sequence[Tensor | None],
    out: Any,
    *inputs: Tensor,
    body: Graph,
    length: Size,
    carries: int,
    xs: int,
    reverse: bool,
) -> Any:
    """A scan in the same direction; its carries are the tangents of the carries, its xs those of
    the xs, then what the forward step had."""
    moving, results = push_step(context, ts, body, carries)
    ys = [i for i in range(carries, len(results)) if results[i] is not None]
    stepped = [i for i in moving if i < carries]
    if not stepped and not ys:
        return [None] * len(results) if len(results) > 1 else None
    outputs = [or_zeros(results[i], body.outputs[i]) for i in (*stepped, *ys)]
    values = _forward_values(
        outputs, list(moving.values()), inputs, body, length, carries, xs, reverse
    )
    used = set(walk(outputs))
    moved = {i: t for i, t in moving.items() if i < carries or t.node in used}
    tangents = [(t, or_zeros(ts[i], inputs[i])) for i, t in moved.items()]
    sliced = sum(i < carries + xs for i in moved)
    per_step = [(t, value) for t, (value, stacked) in values.items() if stacked]
    operands = [(t, value) for t, (value, stacked) in values.items() if not stacked]
    pairs = [*tangents[:sliced], *per_step, *tangents[sliced:], *operands]
    node = apply(
        SCAN,
        [value for _, value in pairs],
        body=close(outputs, [t for t, _ in pairs]),
        length=length,
        carries=len(stepped),
        xs=sliced - len(stepped) + len(per_step),
        reverse=reverse,
    )
    found = dict(zip([*stepped, *ys], node.outputs, strict=True))
    made = [found.get(i) for i in range(len(results))]
    return made if len(made) > 1 else made[0]


def or_zeros(t: Tensor | None, like: Tensor) -> Tensor:
    """A tangent, or zeros where there is none."""
    return zeros_like(like) if t is None else t


def push_step(
    context: Any, ts: Sequence[Tensor | None], body: Graph, carries: int
) -> tuple[dict[int, Tensor], list[Tensor | None]]:
    """One step's derivative: placeholders for the tangents of the inputs that have one, by input
    position, and the tangents of the body's outputs."""
    moving = {i for i, t in enumerate(ts) if t is not None}
    t = numbered("t", (x.type for x in body.inputs))
    while True:  # a carry's tangent flows into others', step after step
        given = {i: t[i] for i in sorted(moving)}
        results = context.push_forward(
            body.outputs, [body.inputs[i] for i in given], list(given.values())
        )
        reached = {i for i in range(carries) if results[i] is not None}
        if reached <= moving:
            return given, results
        moving |= reached


def _is_cheap(node: Node) -> bool:
    return Fact.ELEMENTWISE in node.op.facts and node.op.cost <= _CHEAP and node.op.is_pure


# -- batches ---------------------------------------------------------------------------------------
def _batched_scan(
    batch: Batch,
    *inputs: Tensor,
    body: Graph,
    length: Size,
    carries: int,
    xs: int,
    reverse: bool,
) -> list[Tensor]:
    """One loop whose step is for all elements, with the xs of a step in front of its elements."""
    step = batched_step(batch, body, carries)
    given = list(step.given(inputs))
    for i in range(carries, carries + xs):
        given[i] = _swapped(given[i]) if step.has[i] else given[i]
    node = apply(
        SCAN,
        given,
        body=close(step.outputs, step.inputs),
        length=length,
        carries=carries,
        xs=xs,
        reverse=reverse,
    )
    made = list(node.outputs)
    for i, (y, inner) in enumerate(zip(step.outputs, body.outputs, strict=True)):
        if i >= carries and y.ndim > inner.ndim:
            made[i] = _swapped(made[i])
    return made


def _swapped(x: Tensor) -> Tensor:
    """The first two axes in the other order: steps before elements, or the other way round."""
    return permute_dims(x, (1, 0, *range(2, x.ndim)))


SCAN = register(
    Op(
        "scan",
        Kind.CONTROL,
        _infer_scan,
        numpy=_numpy_scan,
        vjp=_scan_vjp,
        jvp=_scan_jvp,
        batched=_batched_scan,
        facts=frozenset({Fact.LOOP, Fact.AS_STORED}),
        may_fail=True,  # its body may
        weak=False,  # each result for itself
        doc="A loop: inputs are carries, stacked xs, operands; outputs are carries, stacked ys.",
    )
)


# -- the function ----------------------------------------------------------------------------------
def scan(
    step_fn: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`carry, y = step_fn(carry, x)` for each x along the first axis of xs; the ys are stacked.

    `carry`, `xs` and `y` are tensors, None, or nested tuples, lists, dicts and dataclasses; every
    tensor of xs has the first size `length`, which must be given where xs has none. `reverse` goes
    from the last x to the first, and each y keeps the place of its x. The step may use any tensor
    from outside; what in it depends on neither carry nor x is computed once, before the loop. A
    `length` that is a tensor makes a `fori_loop`: without xs, ys and a gradient.

    Shapes: xs [length, *x], ys [length, *y]; a carry keeps its shape. Any length, 0 and symbolic
    ones included. Dtypes: any; a carry keeps its dtype. One that starts as a Python number takes
    that of the step's result; the step then runs once more, with the carry in this dtype.
    Errors: `ArgumentError` where the step does not return a pair or changes the carry's structure;
    `ShapeError`, `DTypeError` where it changes a carry's type, or lengths differ.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n",))
    >>> total, sums = gc.scan(lambda s, x: (s + x, s + x), 0.0, x)
    >>> gc.evaluate(sums, {x: [1, 2, 3]})
    array([1., 3., 6.], dtype=float32)
    """
    check_callable("scan", "the step", step_fn)
    stacked, xs_structure = tensors("scan", xs, "xs")
    if isinstance(length, Tensor):
        return _counted(step_fn, carry, xs, length)
    first, carry_structure = tensors("scan", carry, "carry")
    size = _length(stacked, length)
    slices = [TensorType(t.dtype, t.shape[1:]) for t in stacked]

    def step(carry: Any, x: Sequence[Tensor]) -> tuple[Any, Any]:
        return _pair(step_fn(carry, unflatten(xs_structure, x)))

    traced = trace_step("scan", step, first, carry_structure, slices, stacked)
    first, after = traced.first, traced.after
    ys, ys_structure = tensors("scan", traced.further, "y")
    outputs = [*after, *ys]
    if not outputs:
        return carry, traced.further
    placeholders = traced.placeholders
    used = captured(outputs, placeholders, traced.start, hoist=True)
    node = apply(
        SCAN,
        [*first, *stacked, *used],
        body=close(outputs, [*placeholders, *used]),
        length=size,
        carries=len(first),
        xs=len(stacked),
        reverse=bool(reverse),
    )
    last = [weak_like(t, *pair) for t, *pair in zip(node.outputs, first, after, strict=False)]
    stacked_ys = map(weak_like, node.outputs[len(first) :], ys)
    return unflatten(carry_structure, last), unflatten(ys_structure, stacked_ys)


def _pair(returned: Any) -> tuple[Any, Any]:
    """What a step gives. Errors: `ArgumentError`."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise ArgumentError(
            "the step function returns a pair",
            op="scan",
            expected="(carry, y); y may be None",
            given=repr(returned)[:80],
        )
    return returned


def _counted(
    step_fn: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, length: Tensor
) -> tuple[Any, Any]:
    """A scan whose number of steps only the call tells: a `fori_loop`, which has no xs and no ys.
    Errors: `ArgumentError` where there are some."""

    def step(_: Tensor, carry: Any) -> Any:
        after, y = _pair(step_fn(carry, xs))
        if tensors("scan", y, "y")[0]:
            raise _no_place("ys", y)
        return after

    if tensors("scan", xs, "xs")[0]:
        raise _no_place("xs", xs)
    return function("fori_loop")(0, length, step, carry), None


def _no_place(what: str, given: Any) -> ArgumentError:
    return ArgumentError(
        f"{what} of a number of steps that is a tensor: their first size is not known",
        op="scan",
        expected=f"no {what}, or a length that is an int or a size such as x.shape[0]",
        given=repr(given)[:80],
        hint="a step that is not to count gives the carry as it was, by gc.cond or gc.where",
    )


def _length(stacked: Sequence[Tensor], length: Any) -> Size:
    """The first size of all xs, or the length given. Errors: `ShapeError`, `ArgumentError`."""
    sizes: list[Size] = [] if length is None else [dim(length)]
    for t in stacked:
        if not t.shape:
            raise ShapeError(
                "a scalar has no first axis to loop over",
                op="scan", expected="xs of rank >= 1", given=str(t.type),
            )  # fmt: skip
        sizes.append(t.shape[0])
    if not sizes:
        raise ArgumentError(
            "the number of steps is not known",
            op="scan", expected="xs, or length=",
        )  # fmt: skip
    for size in sizes:
        if never_equal(size, sizes[0]):
            raise ShapeError(
                "the lengths differ",
                op="scan",
                expected=f"{sizes[0]} steps",
                given=", ".join(show(t.shape) for t in stacked),
            )
    return next((size for size in sizes if isinstance(size, int)), sizes[0])


def map_(f: Callable[[Any], Any], xs: Any) -> Any:
    """`f(x)` for each x along the first axis of xs, one after the other; the results are stacked.

    `xs` and the results are tensors, or nested tuples, lists, dicts and dataclasses. It is a `scan`
    without a carry: it needs the memory of one call.

    Shapes: xs [n, *x]; f(x) [*y] -> [n, *y]. Dtypes: any.
    Errors: `ArgumentError` without a tensor to go along; `ShapeError` where lengths differ.

    >>> import graphc as gc
    >>> a = gc.placeholder("a", ("n", 2, 2))
    >>> gc.evaluate(gc.map(gc.linalg.det, a), {a: [np.eye(2), 2 * np.eye(2)]})
    array([1., 4.], dtype=float32)
    """
    check_callable("map", "what is mapped", f)
    if not tensors("map", xs, "xs")[0]:
        raise ArgumentError(
            "there is nothing to go along",
            op="map", expected="a tensor, or several", given=repr(xs)[:80],
        )  # fmt: skip
    return scan(lambda _, x: (None, f(x)), None, xs)[1]


FUNCTIONS |= {"scan": scan, "map": map_}
