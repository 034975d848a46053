"""Checkpoints: values that the backward pass computes again rather than keeps.

A `checkpoint` node is its first operands unchanged; the others are what they were computed from.
Its derivative computes the results again from `after(x, g)`: x itself, but only once the cotangent
g is there. So the copies are other nodes than the originals, and nothing merges the two, brings
them into one kernel or computes the copies early (XLA's `optimization_barrier`, as `jax.checkpoint`
uses it). `after` is a view: it costs no memory and no time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from graphc.ir.graph import transform
from graphc.ir.node import Tensor, apply, current_serial
from graphc.ir.op import Batch, Fact, Kind, Op, register
from graphc.ir.shape import TensorType
from graphc.ir.structure import unflatten
from graphc.ops.build import weak_like
from graphc.ops.closure import captured, is_literal, parameters, shows_all, stand_in, tensors

FUNCTIONS: dict[str, Callable[..., Any]] = {}

def _batched_after(batch: Batch, *inputs: Tensor) -> Tensor:
    return apply(AFTER, inputs).output()


AFTER = register(
    Op(
        "after",
        Kind.VIEW,
        lambda x, *tokens: (x,),
        numpy=lambda x, *tokens: x,
        vjp=lambda context, g, out, x, *tokens: [g, *(None for _ in tokens)],
        facts=frozenset({Fact.AS_STORED}),
        batched=_batched_after,
        doc="x itself, not before the other operands are computed.",
    )
)


def _infer(*types: TensorType, results: int) -> tuple[TensorType, ...]:
    return types[:results]


def _vjp(context: Any, g: Any, out: Any, *inputs: Tensor, results: int) -> list[Tensor | None]:
    ys, xs = inputs[:results], inputs[results:]
    gs = list(g) if results > 1 else [g]
    tokens = _tokens(gs, ys)
    again = {x: apply(AFTER, [x, *tokens]).output() for x in xs if not is_literal(x.node)}
    wanted = [x for i, x in enumerate(xs) if context.needs(results + i)]
    found = context.pull_back(transform(ys, replace=again), gs, [again.get(x, x) for x in wanted])
    cotangents = dict(zip(wanted, found, strict=True))
    return [*(None for _ in ys), *(cotangents.get(x) for x in xs)]


def _tokens(gs: Sequence[Tensor | None], ys: Sequence[Tensor]) -> list[Tensor]:
    """What is there only once the backward pass has come to the checkpoint, and is in memory
    anyhow; where the cotangents are constants, the results."""
    found: dict[Tensor, None] = {}
    for g in gs:
        while g is not None and shows_all(g.node):
            g = g.node.inputs[0]
        if g is not None and not is_literal(g.node):
            found[g] = None
    return list(found or dict.fromkeys(ys))


def _batched(batch: Batch, *inputs: Tensor, results: int) -> Sequence[Tensor]:
    """Each result for itself: the derivative finds the sources below the results, as they are."""
    return apply(CHECKPOINT, inputs, results=results).outputs


CHECKPOINT = register(
    Op(
        "checkpoint",
        Kind.COMPOSITE,
        _infer,
        numpy=lambda *arrays, results: arrays[0] if results == 1 else arrays[:results],
        vjp=_vjp,
        jvp=lambda context, ts, out, *inputs, results: ts[0] if results == 1 else ts[:results],
        expand=lambda *inputs, results: inputs[:results],
        batched=_batched,
        facts=frozenset({Fact.AS_STORED}),
        weak=False,  # each result for itself
        doc="Its first operands; derivatives compute them again from the others.",
    )
)


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the same results, whose inner values the backward pass computes again.

    The forward pass then keeps only what the function is given and what it uses from outside
    (variables, say), not what lies between. Values and gradients are the same. The function takes
    and gives tensors in any structure; random numbers are the same the second time,
    because they depend on their key only. Values from inside the function have no gradient of their
    own: ask for those of its arguments.
    Errors: `ArgumentError` where an argument or a result is no tensor.
    Source: Chen, Xu, Zhang and Guestrin, 2016, "Training deep nets with sublinear memory cost".

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ())
    >>> y = gc.checkpoint(lambda t: gc.exp(gc.sin(t)))(x)
    >>> float(gc.evaluate(gc.grad(y, x), {x: 0.0}))
    1.0
    """

    @wraps(function)
    def checkpointed(*arguments: Any) -> Any:
        given, structure = tensors("checkpoint", arguments, "arguments")
        start = current_serial()
        placeholders, inner = parameters("checkpoint", (t.type for t in given), given)
        traced, shape = tensors("checkpoint", function(*unflatten(structure, inner)), "result")
        used = captured(traced, placeholders, start, hoist=False)
        results = transform(traced, replace=dict(zip(placeholders, given, strict=True)))
        stand_in(placeholders, given)
        if not results:
            return unflatten(shape, ())
        sources = dict.fromkeys((*given, *used))
        node = apply(CHECKPOINT, [*results, *sources], results=len(results))
        return unflatten(shape, map(weak_like, node.outputs, traced))

    return checkpointed


FUNCTIONS |= {"checkpoint": checkpoint}
