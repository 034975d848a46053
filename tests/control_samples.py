"""Samples of control flow, of random bits, and of ops without operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.node import apply
from graphc.ir.op import registry
from graphc.ops.checkpoint import AFTER
from graphc.ops.while_loop import CONVERGED

from .elementwise_samples import UNARY_SHAPES
from .sampling import (
    ALL,
    FLOATS,
    Array,
    Case,
    Samples,
    below,
    bounded,
    same,
)

SAMPLES: dict[str, Samples] = {}


# -- control flow and random bits ------------------------------------------------------------------
def _decay(m: Any, x: Any) -> Any:
    """carry = carry / 2 + x, all carries."""
    if m is gc:
        return gc.scan(lambda c, v: (c / 2 + v, c / 2 + v), gc.zeros_like(x[0]), x)[1]
    state, rows = np.zeros_like(x[0]), []
    for row in x:
        state = state / 2 + row
        rows.append(state)
    return np.stack(rows)


def _each(m: Any, x: Any) -> Any:
    """y = sin(x) * exp(x) for each x, without a carry."""
    if m is gc:
        return gc.scan(lambda _, v: (None, gc.sin(v) * gc.exp(v)), None, x)[1]
    return np.stack([np.sin(row) * np.exp(row) for row in x])


SAMPLES["scan"] = Samples(
    cases=(
        *(same(_decay, shape) for shape in ((4,), (3, 2), (1, "n"))),
        *(same(_each, shape, draws=(bounded,)) for shape in ((4,), (3, "n"))),
    ),
    takes=FLOATS,
)
_BRANCHES = (lambda v: v + v, lambda v: v * v, lambda v: v)
SAMPLES["switch"] = Samples(
    cases=(
        *(
            Case(
                call=lambda p, x: gc.cond(p, _BRANCHES[1], _BRANCHES[0], x),
                numpy=lambda p, x: _BRANCHES[int(p)](x),
                shapes=((), shape),
                dtypes=("bool", None),
            )
            for shape in ((3,), (2, "n"), ())
        ),
        *(
            Case(
                call=lambda i, x: gc.switch(i, _BRANCHES, x),
                numpy=lambda i, x: _BRANCHES[min(max(int(i), 0), 2)](x),
                shapes=((), shape),
                dtypes=("int64", None),
                draws=(lambda rng, shape: rng.integers(-1, 4, shape), None),
            )
            for shape in ((3,), ("n",), (), (2, 2), (1,))
        ),
    )
)


def _halved(m: Any, x: Any) -> Any:
    """x / 2 until the sum of squares is below 1, and how often."""
    if m is gc:
        go_on, step = lambda c: gc.sum(c[0] * c[0]) >= 1, lambda c: (c[0] / 2, c[1] + 1)
        return gc.while_loop(go_on, step, (x, 0))
    turns = 0
    while (x * x).sum() >= 1:
        x, turns = x / 2, turns + 1
    return x, np.int64(turns)


SAMPLES["converged"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, ok: apply(CONVERGED, (x, ok), maxiter=3).output(),
            numpy=lambda x, ok: x.copy(),
            shapes=(shape, ()),
            dtypes=(None, "bool"),
            draws=(None, lambda rng, shape: np.ones(shape)),
        )
        for shape in ((3,), (), (2, "n"))
    ),
    domain=None,
)
SAMPLES["ensure"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, ok: gc.ensure(x, ok, "not so"),
            numpy=lambda x, ok: x.copy(),
            shapes=(shape, ()),
            dtypes=(None, "bool"),
            draws=(None, lambda rng, shape: np.ones(shape)),
        )
        for shape in ((3,), (), (2, "n"))
    ),
)
SAMPLES["while_loop"] = Samples(
    cases=tuple(
        same(_halved, shape, draws=(lambda rng, shape: rng.uniform(-9, 9, shape),))
        for shape in ((3,), (), (2, "n"))
    ),
    takes=FLOATS,
    domain=None,
)


def _threefry_word(key: tuple[int, int], x: int, y: int) -> int:
    """The first word of a block of Threefry-2x32-20 (Salmon et al. 2011, figure 2)."""
    keys, mask = (*key, key[0] ^ key[1] ^ 0x1BD11BDA), (1 << 32) - 1
    x, y = (x + keys[0]) & mask, (y + keys[1]) & mask
    for turn in range(20):
        distance = (13, 15, 26, 6, 17, 29, 16, 24)[turn % 8]
        x = (x + y) & mask
        y = ((y << distance | y >> (32 - distance)) & mask) ^ x
        if turn % 4 == 3:
            s = turn // 4 + 1
            x, y = (x + keys[s % 3]) & mask, (y + keys[(s + 1) % 3] + s) & mask
    return x


SAMPLES["random_bits"] = Samples(
    cases=tuple(
        Case(
            call=lambda key, s=shape: gc.random.random_bits(key, s),
            numpy=lambda key, s=shape: np.array(
                [
                    _threefry_word((int(key[0]), int(key[1])), 0, i)
                    for i in range(int(np.prod(s)))
                ],
                np.uint32,
            ).reshape(s),
            shapes=((2,),),
        )
        for shape in ((), (5,), (2, 3), (0,))
    )
    + tuple(
        Case(
            call=lambda keys, offsets: apply(
                registry()["random_bits"], (keys, offsets), shape=(3,), word=0, purpose=0
            ).output(),
            numpy=lambda keys, offsets: np.stack(
                [
                    [_threefry_word((int(a), int(b)), 0, int(offset) + i) for i in range(3)]
                    for (a, b), offset in zip(keys, offsets, strict=True)
                ]
            ).astype(np.uint32),
            shapes=((size, 2), (size,)),
            dtypes=(None, "int64"),
            draws=(None, below(9)),
        )
        for size in (1, 4)
    ),
    takes=("uint32",),
    domain=None,
)


# -- made from nothing -----------------------------------------------------------------------------
_VALUE = np.arange(6.0).reshape(2, 3) - 2.5
SAMPLES["placeholder"] = Samples(
    cases=tuple(Case(call=lambda x: x, numpy=lambda x: x, shapes=(s,)) for s in UNARY_SHAPES)
)


def _leaf(make: Callable[[str], Any], numpy: Callable[[str], Array]) -> Samples:
    """An op without operands: one case for each dtype."""
    return Samples(
        cases=tuple(
            Case(call=lambda d=d: make(d), numpy=lambda d=d: numpy(d), shapes=()) for d in ALL
        ),
        domain=None,
    )


SAMPLES["constant"] = _leaf(
    lambda d: gc.constant(np.abs(_VALUE) if d[0] == "u" else _VALUE, d),
    lambda d: (np.abs(_VALUE) if d[0] == "u" else _VALUE).astype(d),
)
SAMPLES["weak"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: apply(registry()["weak"], (x,)).output(), numpy=lambda x: x, shapes=(s,)
        )
        for s in UNARY_SHAPES
    )
)
SAMPLES["variable"] = _leaf(lambda d: gc.variable(_VALUE.astype(d)), _VALUE.astype)
SAMPLES["iota"] = _leaf(
    lambda d: gc.iota((2, 3), 1, d), lambda d: np.tile(np.arange(3), (2, 1)).astype(d)
)
SAMPLES["size"] = Samples(
    cases=(
        same(lambda m, x: gc.size(x) if m is gc else np.asarray(x.size), ("n", 2)),
        same(lambda m, x: gc.size(x, 1) if m is gc else np.asarray(x.shape[1]), (3, "n")),
    ),
    domain=None,
)
SAMPLES["checkpoint"] = Samples(
    cases=(
        Case(
            call=lambda x: gc.checkpoint(lambda t: gc.permute_dims(t, (1, 0)))(x),
            numpy=np.transpose,
            shapes=((2, "n"),),
        ),
        Case(
            call=lambda x, y: tuple(gc.checkpoint(lambda s, t: (gc.flip(s), t[0]))(x, y)),
            numpy=lambda x, y: (np.flip(x), y[0]),
            shapes=(("n",), (2, 3)),
        ),
    ),
)


def _squared_times_two(x: gc.Tensor) -> gc.Tensor:
    return gc.custom_gradient(lambda x: x * x * 2, vjp=lambda g, out, x: g * 4 * x)(x)


def _scaled_and_summed(x: gc.Tensor, y: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
    stated = gc.custom_gradient(
        lambda x, y: (x * gc.sum(y), gc.sum(x)),
        vjp=lambda g, out, x, y: (
            g[0] * gc.sum(y) + g[1], gc.ones_like(y) * gc.sum(g[0] * x)
        ),
    )  # fmt: skip
    first, second = stated(x, y)
    return first, second


SAMPLES["custom_gradient"] = Samples(
    cases=(
        Case(call=_squared_times_two, numpy=lambda x: x * x * 2, shapes=(("n", 2),)),
        Case(
            call=_scaled_and_summed,
            numpy=lambda x, y: (x * y.sum(), x.sum()),
            shapes=(("n",), (2, 3)),
        ),
    ),
    wild=False,
    ulp=4,
)
SAMPLES["after"] = Samples(
    cases=(
        Case(
            call=lambda x: apply(AFTER, (x, x)).output(), numpy=lambda x: x, shapes=((2, "n"),)
        ),
    ),
)
