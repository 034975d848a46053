"""How what is inside of each other is drawn: loops in maps, loops in loops, derivatives of
derivatives; see `families.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphc as gc
from graphc.ir.node import Tensor

from .families import family
from .growth import Growth, UnsuitedError

SMOOTH: tuple[Callable[[Tensor], Tensor], ...] = (gc.tanh, gc.sin, gc.sigmoid, gc.softplus, gc.erf)


@family(2, every=8)
def mapped_loops(b: Growth) -> Any:
    """A loop for each element along an axis; what starts it may be the same for all."""
    t = b.pick("f", lambda t: 2 <= t.ndim <= 3)
    axis = b.axis(t)
    rest = tuple(s for i, s in enumerate(t.shape) if i != axis % t.ndim)
    start = b.fresh(rest[1:], t.dtype.name)
    outside = gc.tanh(b.fresh(rest[1:], t.dtype.name))
    reverse, kind = b.chance(0.4), b.integer(0, 3)

    def step(c: Tensor, x: Tensor) -> Any:
        after = gc.tanh(c * outside + x)
        return after, after * x if kind == 0 else gc.sum(after)

    def loop(element: Tensor) -> Any:
        if kind == 1:
            turns = gc.where(gc.sum(gc.stop_gradient(element)) > 0, 2, 3)
            return gc.fori_loop(0, turns, lambda i, c: gc.tanh(c * 0.5 + 1), element)
        if kind == 2:
            return gc.cumulative_sum(
                gc.scan(step, start, element, reverse=reverse)[0][None], axis=0
            )
        return tuple(gc.scan(step, start, element, reverse=reverse))

    made = gc.vmap(loop, in_axes=axis, out_axes=b.choose((0, 0, -1)))(gc.stop_gradient(t)
        if kind == 1 else t)  # fmt: skip
    return [made] if isinstance(made, Tensor) else list(made)


@family(2, every=8)
def loops_in_loops(b: Growth) -> Any:
    """Branches and loops in the turns of a loop, which read what is outside of it."""
    xs = b.pick("f", lambda t: 1 <= t.ndim <= 3)
    carry = b.fresh(xs.shape[1:], xs.dtype.name)
    outside, kind = gc.tanh(b.fresh(xs.shape[1:], xs.dtype.name)), b.integer(0, 3)

    def branches(c: Tensor, x: Tensor) -> Any:
        large = gc.sum(x) > 0
        chosen = gc.cond(large, lambda v: gc.tanh(v * outside), lambda v: v * 0.5, c + x)
        return chosen, chosen * x

    def inner(c: Tensor, x: Tensor) -> Any:
        last, each = gc.scan(lambda s, _: (gc.tanh(s + x), gc.sum(s)), c, length=2)
        return last * outside, each

    def turns(c: Tensor, x: Tensor) -> Any:
        count = gc.where(gc.sum(x) > 0, 1, 3)
        still = gc.stop_gradient(c)
        after = gc.while_loop(lambda s: s[0] < count, lambda s: (s[0] + 1, s[1] * 0.5), (0, still))
        return gc.tanh(c + x), after[1] + x

    def cheaper(c: Tensor, x: Tensor) -> Any:
        after = gc.checkpoint(lambda s: gc.tanh(gc.sin(s) * outside))(c + x)
        return after, gc.max(after)

    step = (branches, inner, turns, cheaper)[kind]
    return list(gc.scan(step, carry, xs, reverse=b.chance(0.3)))


@family(2, every=8)
def second_derivatives(b: Growth) -> Any:
    """Reverse over reverse, forward over reverse and reverse over forward, of a formula, of
    products, of a sum that is repeated, and of elements at places."""
    if b.wild:  # what cancels in them is not finite here or there
        raise UnsuitedError
    t = gc.tanh(b.pick("f", lambda t: 1 <= t.ndim <= 3))
    y = _function(b)(t)
    along = gc.tanh(b.fresh(t.shape, t.dtype.name))
    kind = b.integer(0, 3)
    if kind == 0:
        return gc.vjp(gc.grad(gc.sum(y * y), t), t, along)
    if kind == 1:
        return gc.hvp(gc.sum(gc.sin(y)), t, along)
    if kind == 2:
        moved = gc.jvp(y, t, along)
        return [moved, gc.grad(gc.sum(moved * moved), t)]
    size = t.shape[-1]
    if t.ndim > 1 or not isinstance(size, int):
        raise UnsuitedError
    return gc.hessian(gc.sum(y * y), t)


def _function(b: Growth) -> Callable[[Tensor], Tensor]:
    f, axis = b.choose(SMOOTH), b.integer(-1, 0)
    return b.choose((
        f,
        lambda t: f(t) / (1 + gc.square(t)),
        lambda t: gc.softmax(f(t), axis),
        lambda t: gc.cumprod(1 + f(t) * 0.1, axis),
        lambda t: f(t) @ gc.matrix_transpose(t) if t.ndim > 1 else gc.outer(f(t), t),
        lambda t: f(t) - gc.mean(f(t), axis=axis, keepdims=True),
        lambda t: gc.logsumexp(t * 2, axis),
        lambda t: gc.flip(f(t), axis) * t,
        lambda t: gc.pad(f(t), [(1, 1)] * t.ndim) * 2,
        lambda t: gc.scan(lambda c, x: (f(c + x), c * x), gc.zeros_like(t[0]), t)[1]
        if t.shape[0] != 0 else t,
    ))  # fmt: skip
