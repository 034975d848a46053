"""Functions whose derivative the user states.

A `custom_gradient` node is its first operands, the function's results, unchanged. Behind them are
the arguments, then what the function reads from outside, then what the stated vjp reads; the vjp is
a graph over all of these, which takes the node's place in the backward pass. So what it is made of
is differentiated again, and its own result `out` by the stated derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from graphc.errors import ArgumentError, GradientError, GraphcError
from graphc.ir.graph import Graph, inline, transform
from graphc.ir.node import Tensor, apply, current_serial
from graphc.ir.op import Batch, Kind, Op, register
from graphc.ir.shape import TensorType, may_be_equal
from graphc.ir.structure import Structure, at_leaf, flatten_like, unflatten
from graphc.ops.build import settle, tensor, weak_like
from graphc.ops.closure import captured, check_callable, close, fresh, parameters, tensors
from graphc.ops.create import zeros_like
from graphc.ops.scalar import stretch

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer(*types: TensorType, results: int, **attrs: Any) -> tuple[TensorType, ...]:
    return types[:results]


def _first(*inputs: Any, results: int, **attrs: Any) -> Any:
    return inputs[0] if results == 1 else tuple(inputs[:results])


def _vjp(
    context: Any,
    g: Any,
    out: Any,
    *inputs: Tensor,
    results: int,
    arguments: int,
    outside: int,
    by: tuple[int, ...],
    pull: Graph,
) -> list[Tensor | None]:
    end = results + arguments
    for i in range(end, end + outside):
        if context.needs(i):
            raise GradientError(
                "a function with a gradient of its own reads what is differentiated from outside",
                op="custom_gradient",
                given=repr(inputs[i]),
                hint="make it an argument, for which vjp gives a cotangent, or use "
                "gc.stop_gradient on it",
            )
    outs = list(out) if results > 1 else [out]
    gs = list(g) if results > 1 else [g]
    gs = [zeros_like(y) if c is None else c for y, c in zip(outs, gs, strict=True)]
    found = inline(pull, [*gs, *outs, *inputs[results:end], *inputs[end + outside :]])
    cotangents = dict(zip(by, found, strict=True))
    return [cotangents.get(i - results) for i in range(len(inputs))]


def _batched(
    batch: Batch,
    *inputs: Tensor,
    results: int,
    arguments: int,
    outside: int,
    by: tuple[int, ...],
    pull: Graph,
) -> Sequence[Tensor]:
    """The stated vjp of each element; what is the same for all is stretched, so that the sum over
    the elements is the cotangent of that."""
    every = [t if batch.has(i) else batch.spread(t) for i, t in enumerate(inputs)]
    wide = fresh("batch", (TensorType(t.dtype, (batch.size, *t.shape)) for t in pull.inputs))
    found = batch.outputs(pull, wide)
    found = [
        t if t.ndim > old.ndim else batch.spread(t)
        for t, old in zip(found, pull.outputs, strict=True)
    ]
    return apply(
        CUSTOM_GRADIENT,
        every,
        results=results,
        arguments=arguments,
        outside=outside,
        by=by,
        pull=close(found, wide),
    ).outputs


CUSTOM_GRADIENT = register(
    Op(
        "custom_gradient",
        Kind.COMPOSITE,
        _infer,
        numpy=_first,
        vjp=_vjp,
        expand=_first,
        batched=_batched,
        weak=False,  # each result for itself
        doc="Its first operands, with a derivative by the next ones that is a graph.",
    )
)


def custom_gradient(f: Callable[..., Any], *, vjp: Callable[..., Any]) -> Callable[..., Any]:
    """`f` with a derivative of your own, in reverse and forward mode, of any order.

    `vjp(g, out, *arguments)` gives the cotangents of the arguments for `g`, that of the result
    `out`, and is linear in `g`: for one argument its cotangent, for several a tuple of one for
    each; each is built as its argument, None where nothing flows, anything for ints. Arguments and
    results are tensors in any structure; keyword arguments are handed to both functions as they
    are. What `f` reads from outside has no derivative: make it an argument.

    Shapes, dtypes: a cotangent has those of its argument.
    Errors: `ArgumentError` where cotangents do not fit the arguments; `GradientError` for a
    derivative by what `f` reads from outside.

    >>> import graphc as gc
    >>> def vjp(g, out, x):  # clipped, so that one outlier does not decide a step
    ...     return gc.clip(g * 2 * x, -1, 1)
    >>> square = gc.custom_gradient(lambda x: x * x, vjp=vjp)
    >>> x = gc.placeholder("x", ())
    >>> y = square(x)
    >>> [float(v) for v in gc.evaluate([y, gc.grad(y, x)], {x: 5.0})]
    [25.0, 1.0]
    """
    check_callable("custom_gradient", "what is differentiated", f)
    check_callable("custom_gradient", "the vjp", vjp)

    @wraps(f, updated=())
    def stated(*args: Any, **options: Any) -> Any:
        given, structure = tensors("custom_gradient", args, "args")
        start = current_serial()
        made, inner = parameters("custom_gradient", (t.type for t in given), given)
        called = unflatten(structure, inner)
        traced, built = tensors("custom_gradient", f(*called, **options), "result")
        outside = captured(traced, made, start, hoist=False)
        if not traced:
            return unflatten(built, [])
        gs = fresh("g", (y.type for y in traced))
        outs = fresh("out", (y.type for y in traced))
        back = vjp(unflatten(built, gs), unflatten(built, outs), *called, **options)
        by, cotangents = _cotangents(structure, inner, (back,) if len(args) == 1 else back)
        known = [*gs, *outs, *made]
        read = captured(cotangents, known, start, hoist=False)
        node = apply(
            CUSTOM_GRADIENT,
            [
                *transform(traced, replace=dict(zip(made, given, strict=True))),
                *given,
                *outside,
                *read,
            ],
            results=len(traced),
            arguments=len(given),
            outside=len(outside),
            by=by,
            pull=close(cotangents, [*known, *read]),
        )
        return unflatten(built, map(weak_like, node.outputs, traced))

    return stated


def _cotangents(
    structure: Structure, arguments: Sequence[Tensor], back: Any
) -> tuple[tuple[int, ...], list[Tensor]]:
    """Which arguments have a cotangent, and those.
    Errors: `ArgumentError` where they do not fit."""
    op, what = "custom_gradient", "what vjp gives"
    leaves = flatten_like(op, what, "cotangents", structure, back)
    found: dict[int, Tensor] = {}
    for i, (x, leaf) in enumerate(zip(arguments, leaves, strict=True)):
        if leaf is None or not x.dtype.is_float:
            continue
        try:
            found[i] = _cotangent(x, tensor(leaf, op))
        except GraphcError as error:
            raise at_leaf(error, structure, i, "cotangents") from None
    return tuple(found), list(found.values())


def _cotangent(x: Tensor, c: Tensor) -> Tensor:
    c = settle(c, x.dtype) if c.weak else c
    if c.dtype is not x.dtype or not may_be_equal(c.shape, x.shape):
        raise ArgumentError(
            "a cotangent does not fit its argument",
            op="custom_gradient",
            expected=str(x.type),
            given=str(c.type),
        )
    return stretch(c, x.shape)


FUNCTIONS |= {"custom_gradient": custom_gradient}
