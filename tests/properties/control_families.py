"""How random numbers, branches, loops and linear algebra are drawn; see `families.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.node import Tensor

from .families import family, index
from .growth import Growth, UnsuitedError


@family(1.8)
def numbers(b: Growth) -> Tensor:
    key = gc.constant(np.array([b.integer(0, 9), b.integer(0, 9)], np.uint32))
    shape = b.shape()
    kind = b.integer(0, 3)
    if kind == 0:
        return gc.random.random_bits(key, shape)
    if kind == 1:
        if b.chance(0.5):
            return gc.random.bernoulli(key, 0.3, shape)
        t = b.pick("iuf")  # a probability that is known at the call only, whatever t is
        return gc.random.bernoulli(key, gc.where(t > 0, 0.3, 0.8), t.shape)
    make = gc.random.uniform if kind == 2 else gc.random.normal
    return make(key, shape, b.dtype("f"))


@family(1.5)
def mapped(b: Growth) -> Tensor:
    """A function of one element, of all along an axis; with indices or a key for each of them."""
    t = b.pick("f", lambda t: 1 <= t.ndim <= 3)
    axis = b.axis(t)
    count, rest = t.shape[axis], [s for i, s in enumerate(t.shape) if i != axis % t.ndim]
    kind = b.integer(0, 3)
    if kind == 0 and rest and isinstance(rest[-1], int) and rest[-1] > 0:
        at = index(b, (count, *b.shape(1)), rest[-1])
        return gc.vmap(lambda v, i: gc.take(v, i, -1), in_axes=(axis, 0), out_axes=-1)(t, at)
    if kind == 1:
        keys = gc.random.split(gc.constant(np.array([0, b.integer(0, 9)], np.uint32)), count)
        draw = lambda key, v: v + gc.random.uniform(key, v.shape, v.dtype)  # noqa: E731
        return gc.vmap(draw, in_axes=(0, axis))(keys, t)
    if kind == 2:
        return gc.vmap(
            lambda v: gc.cond(gc.sum(v) > 0, lambda: v * 2, lambda: gc.sin(v)), in_axes=axis
        )(t)
    return gc.vmap(lambda v: gc.softmax(v, None), in_axes=axis)(t)


@family(2)
def scan(b: Growth) -> Any:
    xs = b.pick("f", lambda t: 1 <= t.ndim <= 3)
    shape = xs.shape[1:]
    found = [t for t in b.pool if t.shape == shape and t.dtype is xs.dtype]
    if not found and b.chance(0.5):
        return gc.scan(lambda _, x: (None, gc.sin(gc.tanh(x) * 3)), None, xs)[1]
    carry = b.choose(found) if found else b.fresh(shape, xs.dtype.name)
    outside = b.choose(found) if found and b.chance(0.5) else None
    combine = b.choose((gc.add, gc.maximum, lambda c, x: c * 0.5 - x, lambda c, x: gc.tanh(c * x)))

    def body(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        after = combine(c, x if outside is None else x * outside)
        return after, gc.sin(after) + x if b.chance(0.5) else gc.sum(after)

    last, ys = gc.scan(body, carry, xs, reverse=b.chance(0.4))
    return [last, ys]


@family(1.5)
def cond(b: Growth) -> Tensor:
    t = b.pick("f")
    p = b.pick("biuf", lambda s: s.ndim == 0)
    other = b.partner(t)
    return gc.cond(
        p > 0 if p.dtype.kind != "b" else p,
        lambda x: gc.sum(x * other) if b.chance(0.5) else gc.sum(gc.tanh(x)),
        lambda x: gc.sum(x) * 2 if x.dtype is t.dtype else gc.sum(x),
        t,
    )


@family(1)
def switch(b: Growth) -> Any:
    t = b.pick("f")
    index = b.pick("iu", lambda s: s.ndim == 0) if b.chance(0.7) else b.fresh((), "int64")
    other = b.partner(t)
    branches = [
        lambda x: (gc.tanh(x), gc.sum(x * other)),
        lambda x: (x * 0.5 if b.chance(0.5) else x, gc.sum(gc.minimum(x, 1))),
        lambda x: (gc.flip(x), 2),
    ]
    return gc.switch(index, branches[: b.integer(1, 3)], t)


@family(1)
def while_loop(b: Growth) -> Any:
    """A few turns, of a number that the data give: no gradient, so none of its operands has one."""
    t = gc.stop_gradient(b.pick("f"))
    stop = b.pick("biuf", lambda s: s.ndim == 0).astype("int64") % b.integer(1, 4)
    outside = gc.stop_gradient(b.partner(t))
    small = gc.max(gc.abs(t)) < 1e6 if t.size != 0 and b.chance(0.5) else None

    def go_on(c: tuple[Tensor, Tensor]) -> Tensor:
        return c[0] < stop if small is None else (c[0] < stop) & small

    def step(c: tuple[Tensor, Tensor]) -> Any:
        after = gc.tanh(c[1] * outside).astype(t.dtype)
        return c[0] + 1, after if after.shape == t.shape else c[1] * 0.5

    if b.chance(0.3):
        return gc.fori_loop(0, stop, lambda i, c: c * 0.5 + i.astype(t.dtype), t)
    return gc.while_loop(go_on, step, (0, t))


@family(0.7)
def root(b: Growth) -> Tensor:
    """Of a function that grows faster than 1, so that there is one and it is found."""
    t = gc.tanh(b.pick("f", lambda t: t.ndim < 3))
    method = b.choose(("newton", "broyden"))
    return gc.root(lambda x: 2 * x + gc.sin(x) * 0.5 - t, gc.zeros_like(t), method=method)


@family(0.7)
def checkpointed(b: Growth) -> Any:
    t, other = b.pick("f"), b.pick("f")
    if b.chance(0.5):
        return gc.checkpoint(lambda x: gc.sin(gc.tanh(x) * gc.sum(other)))(t)
    return list(gc.checkpoint(lambda x, y: (gc.tanh(gc.sin(x)), gc.sum(gc.tanh(y) * 2)))(t, other))


@family(0.4)
def stated(b: Growth) -> Any:
    t, other = b.pick("f"), b.pick("f")
    if b.chance(0.5):
        return gc.custom_gradient(gc.tanh, vjp=lambda g, out, x: g * (1 - out * out))(t)
    return list(gc.custom_gradient(
        lambda x, y: (gc.sin(x), gc.sum(gc.tanh(y))),
        vjp=lambda g, out, x, y: (g[0] * gc.cos(x), g[1] * (1 - gc.tanh(y) ** 2)),
    )(t, other))  # fmt: skip


@family(2.6)
def linear(b: Growth) -> Any:
    t = b.pick("f", lambda t: t.ndim >= 2)
    size = t.shape[-2]
    if not isinstance(size, int) or size == 0:
        raise UnsuitedError
    mixed = gc.tanh(t) @ gc.tanh(gc.matrix_transpose(t))  # symmetric, with eigenvalues >= 0
    a = mixed + gc.constant(np.eye(size) * 2, t.dtype)
    kind = b.integer(0, 4)
    if kind == 0:
        return gc.linalg.solve(a, t)
    if kind == 1:
        return gc.linalg.inv(a)
    if kind == 2:
        return gc.linalg.cholesky(a)
    if kind == 3 and b.chance(0.7):  # the second derivative of the determinant
        return gc.vjp(gc.vjp(gc.linalg.det(a), a), a, mixed)
    return gc.linalg.det(a) if kind == 3 else gc.linalg.slogdet(a)
