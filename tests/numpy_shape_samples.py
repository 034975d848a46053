"""Calls of NumPy's functions that move, join, choose or make elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .numpy_calls import COMPLEX, FLOATS, NUMBERS, Sample, of, pairs_of


def _diagonals(f: Callable[..., Any]) -> list[Sample]:
    return of(
        lambda x: f(x), lambda x: f(x, offset=1), lambda x: f(x, -1), lambda x: f(x, 0, 2, 1),
        lambda x: f(x, axis1=-1, axis2=0),
        shapes=((2, 3, 4),),
    ) + of(lambda x: f(x), shapes=((3, 3),))  # fmt: skip


SAMPLES: dict[str, list[Sample]] = {
    # -- what moves elements
    "reshape": of(
        lambda x: np.reshape(x, (3, 4)), lambda x: np.reshape(x, -1), lambda x: np.reshape(x, 12),
        lambda x: np.reshape(x, (2, -1), order="C"), lambda x: np.reshape(x, [1, 12], "C"),
        shapes=((2, 6),),
    ),
    "transpose": of(
        lambda x: np.transpose(x), lambda x: np.transpose(x, (2, 0, 1)),
        lambda x: np.transpose(x, axes=[0, -1, 1]), lambda x: np.transpose(x, None),
        shapes=((2, 3, 4),),
    ),
    "matrix_transpose": of(lambda x: np.matrix_transpose(x), shapes=((2, 3, 4),)),
    "expand_dims": of(
        lambda x: np.expand_dims(x, 1), lambda x: np.expand_dims(x, axis=(0, -1)),
    ),
    "squeeze": of(
        lambda x: np.squeeze(x), lambda x: np.squeeze(x, 0), lambda x: np.squeeze(x, axis=(0, 2)),
        shapes=((1, 3, 1),),
    ),
    "flip": of(
        lambda x: np.flip(x), lambda x: np.flip(x, 1), lambda x: np.flip(x, axis=(0, -1)),
        shapes=((2, 3, 4),),
    ),
    "broadcast_to": of(
        lambda x: np.broadcast_to(x, (2, 2, 3)), lambda x: np.broadcast_to(x, (2, 3), subok=False)
    ) + of(lambda x: np.broadcast_to(x, 4), shapes=((),)),
    "concatenate": of(
        lambda x, y: np.concatenate([x, y]), lambda x, y: np.concatenate((x, y), -2),
        lambda x, y: np.concatenate([x, y, x], axis=0, casting="same_kind"),
        lambda x, y: np.concatenate([x, y], axis=None),
        shapes=((2, 3), (4, 3)),
    ) + of(lambda x, y: np.concatenate([x, y], None), shapes=((2, 3), (4,)))
    + of(lambda x: np.concatenate([x, np.ones((1, 3), "float32")])),
    "stack": of(
        lambda x, y: np.stack([x, y]), lambda x, y: np.stack((x, y), 1),
        lambda x, y: np.stack([y, x], axis=-1),
        shapes=((2, 3), (2, 3)),
    ),
    "split": of(
        lambda x: np.split(x, 2), lambda x: np.split(x, [1, 3]), lambda x: np.split(x, 3, 1),
        lambda x: np.split(x, (1,), axis=-1), lambda x: np.split(x, [2, 2, 9]),
        lambda x: np.split(x, [-1]), lambda x: np.split(x, np.int64(2)),
        shapes=((4, 3),),
    ),
    "take": of(
        lambda x: np.take(x, [1]), lambda x: np.take(x, [[0, 5], [-1, -6]]),
        lambda x: np.take(x, [1, 0], 0), lambda x: np.take(x, [2, -3], axis=-1),
        lambda x: np.take(x, 1), lambda x: np.take(x, 1, axis=1), lambda x: np.take(x, [0], None),
        lambda x: np.take(x, np.array([[1, 0]]), 0, mode="raise"),
    ),
    "pad": of(
        lambda x: np.pad(x, 1), lambda x: np.pad(x, (1, 2)), lambda x: np.pad(x, ((1, 2), (0, 3))),
        lambda x: np.pad(x, [(2, 1)]), lambda x: np.pad(x, 1, "constant"),
        lambda x: np.pad(x, (0, 2), constant_values=3), lambda x: np.pad(x, np.array(1)),
        lambda x: np.pad(x, 1, mode="constant", constant_values=0), lambda x: np.pad(x, [2]),
        *(lambda x, m=m: np.pad(x, (1, 2), m) for m in ("edge", "reflect", "symmetric", "wrap")),
    ),
    "diagonal": _diagonals(np.diagonal),
    "diag": of(*(lambda x, k=k: np.diag(x, k) for k in (-1, 0, 2)))
    + of(*(lambda x, k=k: np.diag(x, k=k) for k in (-2, 0, 1)), shapes=((3,),)),
    "diagflat": of(lambda x: np.diagflat(x), lambda x: np.diagflat(x, -1)),
    "kron": pairs_of(np.kron, ((2, 3), (3, 2)), ((3,), (2,)), ((2, 2), (3,)), ((), (2, 3))),
    "select": of(
        lambda x, y: np.select([x > 1, y > 0], [x, y], x), lambda x, y: np.select([x != 0], [y]),
        lambda x, y: np.select([x > y, x < y, y > 0], [x, y, x * y], default=y),
        shapes=((2, 3), (2, 3)),
    ),
    "trace": _diagonals(np.trace),
    "ravel": of(lambda x: np.ravel(x), lambda x: np.ravel(x, "C")),
    "moveaxis": of(
        lambda x: np.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, [0, 2], [1, 0]),
        lambda x: np.moveaxis(x, (-1, 0), (0, -1)), shapes=((2, 3, 4),),
    ),
    "swapaxes": of(
        lambda x: np.swapaxes(x, 0, 2), lambda x: np.swapaxes(x, axis1=-1, axis2=1),
        shapes=((2, 3, 4),),
    ),
    "rollaxis": of(
        lambda x: np.rollaxis(x, 2), lambda x: np.rollaxis(x, 0, 3), lambda x: np.rollaxis(x, 1, 1),
        lambda x: np.rollaxis(x, -1, start=-2), shapes=((2, 3, 4),),
    ),
    "roll": of(
        lambda x: np.roll(x, 2), lambda x: np.roll(x, -1, axis=1), lambda x: np.roll(x, 7, 0),
        lambda x: np.roll(x, (1, -2), (0, 1)), lambda x: np.roll(x, 1, axis=(0, -1)),
        lambda x: np.roll(x, (1, 1), axis=0), lambda x: np.roll(x, 0), lambda x: np.roll(x, 3, 1),
    ),
    "repeat": of(
        lambda x: np.repeat(x, 3), lambda x: np.repeat(x, 2, axis=1), lambda x: np.repeat(x, 0, 0),
        lambda x: np.repeat(x, [2, 0, 1], axis=-1), lambda x: np.repeat(x, [2], 0),
    ),
    "tile": of(
        lambda x: np.tile(x, 2), lambda x: np.tile(x, (2, 1)), lambda x: np.tile(x, [2, 1, 3]),
        lambda x: np.tile(x, (0, 1)), lambda x: np.tile(x, ()),
    ),
    **{
        f.__name__: of(
            lambda x, f=f: f(x), lambda x, f=f: f(x, 1), lambda x, f=f: f(x, k=-1),
            lambda x, f=f: f(x, k=9), shapes=((2, 3, 4),),
        ) for f in (np.tril, np.triu)
    },
    "broadcast_arrays": of(
        lambda x, y: np.broadcast_arrays(x, y), lambda x, y: np.broadcast_arrays(y, x, y),
        lambda x, y: np.broadcast_arrays(x, subok=False), shapes=((2, 1), (3,)),
    ),
    **{
        f.__name__: of(lambda x, f=f: f(x), lambda x, f=f: f(x, x[0]))
        + of(lambda x, f=f: f(x), shapes=((),)) + of(lambda x, f=f: f(x), shapes=((3,),))
        for f in (np.atleast_1d, np.atleast_2d, np.atleast_3d)
    },
    "unstack": of(lambda x: np.unstack(x), lambda x: np.unstack(x, axis=-1)),
    **{
        f.__name__: of(lambda x, y, f=f: f([x, y]), shapes=((2, 3), (2, 3)))
        + of(lambda x, y, f=f: f((x, y, x)), shapes=((3,), (3,)))
        for f in (np.hstack, np.vstack, np.dstack, np.column_stack)
    },
    "append": of(
        lambda x, y: np.append(x, y), lambda x, y: np.append(x, y, axis=0),
        lambda x, y: np.append(x, values=y, axis=-2), shapes=((2, 3), (1, 3)),
    ),
    "array_split": of(
        lambda x: np.array_split(x, 3), lambda x: np.array_split(x, [1, 3], axis=0),
        lambda x: np.array_split(x, 2, 1), shapes=((5, 3),),
    ),
    "vsplit": of(lambda x: np.vsplit(x, 2), lambda x: np.vsplit(x, [1, 3]), shapes=((4, 3),)),
    "hsplit": of(lambda x: np.hsplit(x, 3), lambda x: np.hsplit(x, [1]), shapes=((4, 3),))
    + of(lambda x: np.hsplit(x, 2), shapes=((4,),)),
    "dsplit": of(lambda x: np.dsplit(x, 2), shapes=((2, 3, 4),)),
    "delete": of(
        lambda x: np.delete(x, 1), lambda x: np.delete(x, [0, -1], axis=0),
        lambda x: np.delete(x, slice(None, None, 2), 1), lambda x: np.delete(x, -1, -1),
        lambda x: np.delete(x, np.array([True, False, True]), 1), lambda x: np.delete(x, [], 0),
        shapes=((4, 3),),
    ),
    "insert": of(
        lambda x: np.insert(x, 1, 3), lambda x: np.insert(x, 2, x[0], axis=0),
        lambda x: np.insert(x, [1, 1, -1], 1, axis=1), lambda x: np.insert(x, [1], x[:, :2], 1),
        lambda x: np.insert(x, 1, x[:, 0], axis=1), lambda x: np.insert(x, slice(0, 2), 0, 0),
        lambda x: np.insert(x, 3, [1, 0, 1], axis=0), lambda x: np.insert(x, [0, 4], x[1:3], 0),
        shapes=((4, 3),),
    ),
    "fliplr": of(lambda x: np.fliplr(x), shapes=((2, 3, 2),)),
    "flipud": of(lambda x: np.flipud(x)),
    "rot90": of(
        *(lambda x, k=k: np.rot90(x, k) for k in range(-1, 5)), lambda x: np.rot90(x),
        lambda x: np.rot90(x, axes=(1, 2)), lambda x: np.rot90(x, 3, (2, 0)), shapes=((2, 3, 4),),
    ),
    "diff": of(
        lambda x: np.diff(x), lambda x: np.diff(x, 2), lambda x: np.diff(x, n=0),
        lambda x: np.diff(x, axis=0), lambda x: np.diff(x, 1, -2, x[:1]),
        lambda x: np.diff(x, prepend=x[:, 1:3], append=x), lambda x: np.diff(x, n=9),
        shapes=((3, 4),),
    ),
    "trapezoid": of(
        lambda x: np.trapezoid(x), lambda x: np.trapezoid(x, dx=0.5),
        lambda x: np.trapezoid(x, axis=0), lambda x: np.trapezoid(x, np.array([1.0, 2.0, 4.0])),
        lambda x: np.trapezoid(x, x=np.array([1.0, 3.0]), axis=-2), dtypes=FLOATS,
    ) + of(lambda x: np.trapezoid(x, x * x), lambda x: np.trapezoid(x), dtypes=("int64", "int16")),
    "gradient": of(
        lambda x: np.gradient(x), lambda x: np.gradient(x, axis=1), lambda x: np.gradient(x, 2.0),
        lambda x: np.gradient(x, 0.5, np.array([0.0, 1.0, 3.0, 4.0])),
        lambda x: np.gradient(x, np.array([0.0, 1.0, 3.0]), axis=(0,)),
        lambda x: np.gradient(x, 2, 3), shapes=((3, 4),), dtypes=("float32", "float64", "int64"),
    ),
    # -- elementwise
    "clip": of(
        lambda x: np.clip(x, 1, 3), lambda x: np.clip(x, None, 3), lambda x: np.clip(x, 1, None),
        lambda x: np.clip(x, min=1), lambda x: np.clip(x, max=3), lambda x: np.clip(x, 3, 1),
        lambda x: np.clip(x, a_min=1, a_max=3), lambda x: np.clip(x, max=3, min=1),
        dtypes=NUMBERS,
    ) + of(lambda x: np.clip(x, 0.5, 1.5), dtypes=NUMBERS)
    + of(lambda x, y: np.clip(x, y, y + 1), shapes=((2, 3), (3,)), dtypes=NUMBERS),
    "where": of(
        lambda x, y: np.where(x > y, x, y), lambda x, y: np.where(x, y, 1),
        lambda x, y: np.where(y > 0, 0.5, x), lambda x, y: np.where(x > 0, 1, 2),
        shapes=((2, 3), (3,)),
    ),
    "around": of(lambda x: np.around(x), lambda x: np.around(x, 0), dtypes=NUMBERS),
    "round": of(lambda x: np.round(x), lambda x: np.round(x, decimals=0), dtypes=NUMBERS),
    "astype": of(
        lambda x: np.astype(x, np.float32), lambda x: np.astype(x, "int8"),
        lambda x: np.astype(x, bool, copy=True),
    ),
    **{
        f.__name__: of(
            lambda x, f=f: f(x), lambda x, f=f: f(x, None, "K"), lambda x, f=f: f(x, "float32"),
            lambda x, f=f: f(x, dtype=np.int8, order="K"),
        ) for f in (np.zeros_like, np.ones_like)
    },
    "empty_like": of(lambda x: 0 * np.empty_like(x), lambda x: 0 * np.empty_like(x, "int8")),
    "full_like": of(
        lambda x: np.full_like(x, 1), lambda x: np.full_like(x, 2.5, "float32"),
        lambda x: np.full_like(x, fill_value=True, dtype="int16"),
    ),
    **{
        f.__name__: of(lambda x, f=f: f(x), dtypes=COMPLEX) for f in (np.real, np.imag, np.angle)
    },
    "copy": of(lambda x: np.copy(x), lambda x: np.copy(x, order="K")),
    "linspace": of(
        lambda x: np.linspace(x, 7, 5), lambda x: np.linspace(0, x, num=4, endpoint=False),
        lambda x: np.linspace(x, x, 1), lambda x: np.linspace(x, 2, 3, dtype="float32"),
        lambda x: np.linspace(0.5, x, 2), dtypes=NUMBERS,
    ),
    "meshgrid": of(
        lambda x, y: np.meshgrid(x, y), lambda x, y: np.meshgrid(x, y, indexing="ij"),
        lambda x, y: np.meshgrid(x, y, x), lambda x, y: np.meshgrid(y), shapes=((2,), (3,)),
    ),
    "size": of(lambda x: np.size(x), lambda x: np.size(x, 1), lambda x: np.size(x, axis=-2)),
}  # fmt: skip
