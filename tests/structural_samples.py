"""Samples of ops that move, reduce or combine elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

import graphc as gc
from graphc.ir.node import apply
from graphc.ir.op import registry
from graphc.ops.random_bits import CHECK_PROBABILITY

from .sampling import (
    FLOATS,
    Array,
    Case,
    Samples,
    Shape,
    below,
    in_float,
    long_double,
    of_each,
    of_kinds,
    same,
)

SAMPLES: dict[str, Samples] = {}

# -- elements moved --------------------------------------------------------------------------------
SAMPLES["reshape"] = Samples(
    cases=(
        same(lambda m, x: m.reshape(x, (4, 3)), (3, 4)),
        same(lambda m, x: m.reshape(x, (-1,)), (2, 3, 2)),
        same(lambda m, x: m.reshape(x, (1, 1)), ()),
        same(lambda m, x: m.reshape(x, ()), (1, 1)),
        same(lambda m, x: m.reshape(x, (0, 5)), (2, 0)),
        same(lambda m, x: m.reshape(x, (-1, 2)), ("n", 4)),
        same(lambda m, x: m.expand_dims(x, (0, -1)), (3, 2)),
        same(lambda m, x: m.squeeze(x), (1, 3, 1)),
        same(lambda m, x: m.squeeze(x, 1), ("n", 1)),
    )
)
SAMPLES["permute_dims"] = Samples(
    cases=(
        same(lambda m, x: m.permute_dims(x, (1, 0)), (3, 4)),
        same(lambda m, x: m.permute_dims(x, (2, 0, 1)), (2, 3, 4)),
        same(lambda m, x: m.permute_dims(x, (1, 2, 0)), ("n", 0, 1)),
        same(lambda m, x: m.matrix_transpose(x), (2, "n", 3)),
    )
)
SAMPLES["broadcast_to"] = Samples(
    cases=(
        same(lambda m, x: m.broadcast_to(x, (2, 3)), ()),
        same(lambda m, x: m.broadcast_to(x, (2, 3)), (3,)),
        same(lambda m, x: m.broadcast_to(x, (2, 4, 3)), (2, 1, 3)),
        same(lambda m, x: m.broadcast_to(x, (0,)), (1,)),
        same(lambda m, x: m.broadcast_to(x, (5, x.shape[0])), ("n",)),
    )
)
SAMPLES["flip"] = Samples(
    cases=(
        same(lambda m, x: m.flip(x), (3, 4)),
        same(lambda m, x: m.flip(x, 1), (3, 4)),
        same(lambda m, x: m.flip(x, 0), (0, 2)),
        same(lambda m, x: m.flip(x, (0, 2)), ("n", 2, 3)),
    )
)
SAMPLES["concat"] = Samples(
    cases=(
        same(lambda m, *xs: m.concat(xs, 0), (3,), (2,), (0,)),
        same(lambda m, *xs: m.concat(xs, 1), (2, 1), (2, 3)),
        same(lambda m, *xs: m.concat(xs, -1), ("n", 2), ("n", 1)),
        same(lambda m, *xs: m.concat(xs, 0), ("n", 2), ("n", 2), (1, 2)),
        same(lambda m, *xs: m.stack(xs, 1), (3, 2), (3, 2)),
    )
)
SAMPLES["slice"] = Samples(
    cases=(
        same(lambda m, x: x[1:], (4,)),
        same(lambda m, x: x[2], (4, 3)),
        same(lambda m, x: x[..., -1], (4, 3)),
        same(lambda m, x: x[::2, ::-1], (5, 4)),
        same(lambda m, x: x[4:1:-2], (6,)),
        same(lambda m, x: x[None, 1:1], (3,)),
        same(lambda m, x: x[5:], (3, 2)),
        same(lambda m, x: x[1:, :-1], ("n", 3)),
        same(lambda m, x: x[::-2], ("n", 2)),
    )
)
SAMPLES["pad"] = Samples(
    cases=(
        same(lambda m, x: m.pad(x, ((1, 2),)), (3,)),
        same(lambda m, x: m.pad(x, ((0, 1), (2, 0))), (2, 3)),
        same(lambda m, x: m.pad(x, ((2, 2), (0, 0))), ("n", 2)),
        same(lambda m, x: m.pad(x, ((1, 0),)), (0,)),
        same(lambda m, x: m.pad(x, 2), (2, 0, 1)),
        same(lambda m, x: m.pad(x, (1, 0), constant_values=3), (2, 3)),
        same(lambda m, x: m.pad(x, [[1, 2]], constant_values=1), ("n", 2)),
        same(lambda m, x: m.pad(x, np.array([[0, 1], [1, 0]]), "constant"), (2, 2)),
    )
)


def _take(axis: int, x: Shape, i: Shape, size: int) -> Case:
    return Case(
        call=lambda t, indices: gc.take(t, indices, axis),
        numpy=lambda a, indices: np.take(a, indices, axis),
        shapes=(x, i),
        dtypes=(None, "int64"),
        draws=(None, below(size, negative=True)),
    )


SAMPLES["take"] = Samples(
    cases=(
        _take(0, (4,), (), 4),
        _take(0, (4,), (6,), 4),
        _take(1, (2, 3), (2, 2), 3),
        _take(-1, ("n", 3), (0,), 3),
        _take(0, (5, 2), ("n",), 5),
        of_each(_take(0, (4,), (), 4)),
        of_each(_take(1, (3, 4), (5,), 4)),
        of_each(_take(0, (4, 2), ("n",), 4), 3),
    )
)


def _scatter(axis: int, size: int, i: Shape, updates: Shape) -> Case:
    op = registry()["scatter_add"]

    def numpy(indices: Array, values: Array) -> Array:
        end = axis + indices.ndim
        result = np.zeros((*values.shape[:axis], size, *values.shape[end:]), values.dtype)
        moved = np.moveaxis(result, axis, 0)
        front = np.moveaxis(values, tuple(range(axis, end)), tuple(range(indices.ndim)))
        for position in np.ndindex(indices.shape):
            moved[indices[position]] += front[position]
        return result

    return Case(
        call=lambda indices, values: apply(op, (indices, values), axis=axis, size=size).output(),
        numpy=numpy,
        shapes=(i, updates),
        dtypes=("int64", None),
        draws=(below(size), None),
    )


SAMPLES["scatter_add"] = Samples(
    cases=(
        _scatter(0, 4, (6,), (6,)),
        _scatter(0, 3, (2, 2), (2, 2, 3)),
        _scatter(1, 3, ("n",), (2, "n")),
        _scatter(0, 2, (0,), (0, 2)),
        of_each(_scatter(0, 3, (4,), (4,))),
        of_each(_scatter(1, 4, ("n",), (3, "n"))),
    ),
    takes=of_kinds("iuf"),
)
SAMPLES["check_labels"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: gc.ops.gather.check_labels(x, 4),
            numpy=lambda x: x,
            shapes=(s,),
            draws=(below(4),),
        )
        for s in ((5,), ("n", 2), (0,))
    ),
    takes=of_kinds("iu"),
    domain=None,
)

SAMPLES["check_probability"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: apply(CHECK_PROBABILITY, (x,)).output(),
            numpy=lambda x: x,
            shapes=(s,),
            draws=(lambda rng, shape: rng.uniform(0.01, 0.99, shape),),
        )
        for s in ((5,), ("n", 2), (0,))
    ),
    takes=FLOATS,
)

# -- reductions ------------------------------------------------------------------------------------
_REDUCED: tuple[tuple[Shape, Any], ...] = (
    ((4,), None), ((3, 4), 0), ((3, 4), 1), ((2, 3, 2), (0, 2)), ((1, 3), 0), (("n", 3), 1),
    (("n", 3), 0), ((2, 3), (0, 1)),
)  # fmt: skip


def _reductions(name: str, shapes: Any = _REDUCED) -> tuple[Case, ...]:
    return tuple(
        same(lambda m, x, a=axis, k=keep: getattr(m, name)(x, axis=a, keepdims=k), shape)
        for shape, axis in shapes
        for keep in (False, True)
    )


_EMPTY: tuple[tuple[Shape, Any], ...] = (((0,), None), ((2, 0), 1), ((0, 2), 1))
SAMPLES["sum"] = Samples(cases=_reductions("sum", _REDUCED + _EMPTY))
SAMPLES["prod"] = Samples(cases=_reductions("prod", _REDUCED + _EMPTY))


def _others(x: Array, axis: Any) -> Array:
    """The product of the others, element by element."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    result = np.empty_like(x)
    for at in np.ndindex(x.shape):
        others = x.astype(np.longdouble)
        others[at] = 1
        along = tuple(slice(None) if a in axes else i for a, i in enumerate(at))
        result[at] = np.prod(others[along])
    return result


SAMPLES["prod_of_others"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, a=axis: gc.vjp(gc.prod(x, axis=a), x),
            numpy=lambda x, a=axis: _others(x, a),
            shapes=(shape,),
        )
        for shape, axis in _REDUCED + _EMPTY
    ),
    takes=of_kinds("f"),
    ulp=4,
    wild=False,
)
_NONEMPTY = tuple((s, a) for s, a in _REDUCED if not (s[0] == "n" and a == 0))
SAMPLES["max"] = Samples(cases=_reductions("max", _NONEMPTY), smooth=False)
SAMPLES["min"] = Samples(cases=_reductions("min", _NONEMPTY), smooth=False)
for _name in ("any", "all"):
    SAMPLES[_name] = Samples(cases=_reductions(_name), domain=None)
SAMPLES["mean"] = Samples(cases=_reductions("mean", _NONEMPTY), ulp=2, wild=False)
SAMPLES["var"] = Samples(cases=_reductions("var", _NONEMPTY), ulp=16, wild=False)


def _positions(best: str, chooser: str) -> tuple[Case, ...]:
    return tuple(
        Case(
            call=lambda x, a=axis: getattr(gc, chooser)(x, axis=a).node.outputs,
            numpy=lambda x, a=axis: (
                getattr(np, best)(x, axis=a),
                getattr(np, chooser)(x, axis=a).astype(np.int64),
            ),
            shapes=(shape,),
        )
        for shape, axis in (((4,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 1, 3), 1), (("n", 3), 1))
    )


SAMPLES["max_and_argmax"] = Samples(cases=_positions("max", "argmax"), smooth=False)
SAMPLES["min_and_argmin"] = Samples(cases=_positions("min", "argmin"), smooth=False)
for _name in ("argmax", "argmin"):
    SAMPLES[_name] = Samples(
        cases=_reductions(_name, (((4,), None), ((2, 3), None), ((3, 4), 1), (("n", 3), 1))),
        domain=None,
    )

# -- contractions, softmax -------------------------------------------------------------------------
SAMPLES["matmul"] = Samples(
    cases=tuple(
        same(lambda m, x, y: m.matmul(x, y), x, y)
        for x, y in (
            ((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((0, 3), (3, 2)),
            ((2, 0), (0, 3)), ((4, 2, 3), (3, 2)), ((4, 1, 2, 3), (5, 3, 2)), (("n", 3), (3, 2)),
            ((2, "n"), ("n", 2)), ((1, 1), (1, 1)),
        )
    ),
    takes=of_kinds("iuf"),
    wild=False,
)  # fmt: skip

SAMPLES["diagonal"] = Samples(
    cases=tuple(
        same(lambda m, x, a=args: m.diagonal(x, *a), shape)
        for shape, args in (
            ((3, 3), ()), ((3, 4), (1,)), ((4, 2), (-3,)), ((2, 3), (5,)), ((2, 3, 3), (0, 1, 2)),
            ((3, 2, 3), (0, 2, 0)), ((3, 2, 4), (-1, -1, 0)), ((0, 0), ()),
            (("n", 3, 3), (0, 1, 2)),
        )
    )
)
SAMPLES["trace"] = Samples(
    cases=tuple(
        same(lambda m, x, a=args: m.trace(x, *a), shape)
        for shape, args in (((3, 3), ()), ((3, 4), (1,)), (("n", 3, 3), (0, 1, 2)))
    ),
    takes=of_kinds("iuf"),
    wild=False,
    ulp=4,
)


def _summed(text: str, *shapes: Shape) -> Case:
    return same(lambda m, *xs: m.einsum(text, *xs), *shapes)


SAMPLES["einsum"] = Samples(
    cases=(
        _summed("ij,jk", (2, 3), (3, 4)),
        _summed("ij,kj->ki", (2, 3), (4, 3)),
        _summed("bthd,bshd->bhts", ("n", 3, 2, 4), ("n", 2, 2, 4)),
        _summed("bhts,bshd->bthd", ("n", 2, 3, 2), ("n", 2, 2, 4)),
        _summed("ii->i", (3, 3)),
        _summed("iij,j", (3, 3, 2), (2,)),
        _summed("...i,ji->...j", (2, 1, 3), (4, 3)),
        _summed("i,j,ij", (3,), (2,), (3, 2)),
        _summed("ij->j", ("n", 3)),
    ),
    wild=False,
    ulp=32,
    unit=1.0,
)
_PRODUCTS: dict[str, tuple[tuple[Shape, Shape], ...]] = {
    "inner": (((3,), (3,)), ((2, 3), (4, 3)), ((), (2,)), (("n", 3), (3,))),
    "vdot": (((3,), (3,)), ((2, 3), (3, 2))),
    "outer": (((3,), (2,)), ((2, 2), (3,)), (("n",), (2,))),
    "vecdot": (((3,), (3,)), ((2, 3), (2, 3)), (("n", 3), (3,)), ((2, 1, 3), (4, 3))),
}
for _name, _pairs in _PRODUCTS.items():
    SAMPLES[_name] = Samples(
        cases=tuple(
            same(lambda m, x, y, f=_name: getattr(m, f)(x, y), *pair) for pair in _pairs
        ),
        wild=False,
        ulp=32,
        unit=1.0,
    )
SAMPLES["tensordot"] = Samples(
    cases=tuple(
        same(lambda m, x, y, a=axes: m.tensordot(x, y, a), *shapes)
        for axes, *shapes in (
            (2, (2, 3, 4), (3, 4, 2)), (1, ("n", 3), (3, 2)), (0, (2,), (3,)),
            (([0, 1], [1, 0]), (3, 4, 2), (4, 3, 2)), ((-1, 1), (2, 3), (4, 3)),
        )
    ),
    wild=False,
    ulp=32,
    unit=1.0,
)  # fmt: skip


def _softmax_cases(name: str, numpy: Callable[..., Any]) -> tuple[Case, ...]:
    return tuple(
        Case(
            call=lambda x, a=axis: getattr(gc, name)(x, axis=a),
            numpy=lambda x, a=axis: long_double(lambda y: numpy(y, axis=a))(in_float(x)),
            shapes=(shape,),
        )
        for shape, axis in (((4,), -1), ((3, 4), 0), ((2, 3, 2), (0, 2)), (("n", 3), -1), ((1,), 0))
    )


for _name in ("softmax", "log_softmax", "logsumexp"):
    SAMPLES[_name] = Samples(
        cases=_softmax_cases(_name, getattr(scipy.special, _name)),
        ulp=16,
        unit=1e-30 if _name == "softmax" else 1.0,  # logs of sums near 1
        wild=False,
    )


def _cross_entropy(z: Array, labels: Array) -> Array:
    """By SciPy, in extended precision."""
    logs = scipy.special.log_softmax(z.astype(np.longdouble), axis=-1)
    return -np.take_along_axis(logs, labels[..., None], -1)[..., 0].astype(z.dtype)


SAMPLES["softmax_cross_entropy"] = Samples(
    cases=tuple(
        Case(
            call=gc.softmax_cross_entropy,
            numpy=_cross_entropy,
            shapes=(shape, shape[:-1]),
            dtypes=(None, "int64"),
            draws=(None, below(3)),
        )
        for shape in ((3,), (4, 3), (0, 3), ("n", 3), (2, 2, 3))
    ),
    takes=FLOATS,
    ulp=16,
    unit=1.0,
    wild=False,
)
