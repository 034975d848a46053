"""Samples of ops that read and write at places which integer tensors say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.node import apply
from graphc.ir.op import registry
from graphc.ops.dynamic import check_start
from graphc.ops.places import gather

from .sampling import ALL, Array, Case, Samples, Shape, below, of_each, of_kinds

SAMPLES: dict[str, Samples] = {}

# places, where the axes of indices are in the result, the shape of x, those of the indices
_GATHERED: tuple[tuple[tuple[int, ...], int, Shape, tuple[Shape, ...]], ...] = (
    ((-1, -2), 0, (4, 3), ((3,), (3,))),
    ((-1, -2), 0, (4, 3), ((2, 1), (3,))),
    ((0, -1, -2), 1, (2, 4, 3), ((3,), (3,))),
    ((-1, 1, -2), 0, (4, 2, 3), ((3,), (1,))),
    ((0, -1), 0, (2, 3), ((2, 4),)),
    ((-1, 1), 0, (3, "n"), ((2, "n"),)),
    ((-1, -2), 0, (3, 3), (("n",), ())),
    ((-1,), 0, (5,), ((0,),)),
)


def _small(indices: tuple[Shape, ...], x: Shape, places: tuple[int, ...]) -> tuple[Any, ...]:
    """What draws indices that are in range: of the axis that each is for."""
    return tuple(below(int(x[places.index(-1 - j)]), negative=True) for j in range(len(indices)))


def _walk(
    places: tuple[int, ...], start: int, x: Any, indices: list[Array], out: tuple[int, ...]
) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """The place in x of an element of the result, by the definition."""
    block = np.broadcast_shapes(*(i.shape for i in indices))
    wide = [np.broadcast_to(i, block) for i in indices]

    def place(at: tuple[int, ...]) -> tuple[int, ...]:
        inner = at[start : start + len(block)]
        return tuple(
            at[p] if p >= 0 else int(wide[-1 - p][inner]) % size
            for p, size in zip(places, x, strict=True)
        )

    return place


def _shape_of(places: tuple[int, ...], start: int, x: Any, indices: list[Array]) -> tuple[int, ...]:
    block = np.broadcast_shapes(*(i.shape for i in indices))
    kept = {p: s for p, s in zip(places, x, strict=True) if p >= 0}
    rank = len(block) + sum(not start <= p < start + len(block) for p in kept)
    inside = range(start, start + len(block))
    return tuple(block[a - start] if a in inside else kept[a] for a in range(rank))


def _gathered(places: Any, start: int, x: Shape, indices: tuple[Shape, ...]) -> Case:
    def numpy(array: Array, *at: Array) -> Array:
        shape = _shape_of(places, start, array.shape, list(at))
        place = _walk(places, start, array.shape, list(at), shape)
        result = np.empty(shape, array.dtype)
        for element in np.ndindex(shape):
            result[element] = array[place(element)]
        return result

    return Case(
        call=lambda t, *at: gather(t, at, places, start),
        numpy=numpy,
        shapes=(x, *indices),
        dtypes=(None, *("int64" for _ in indices)),
        draws=(None, *_small(indices, x, places)),
    )


SAMPLES["gather"] = Samples(cases=tuple(_gathered(*case) for case in _GATHERED))


def _scattered(
    name: str, step: Any, first: Any,
    places: Any, start: int, x: Shape, indices: Any, updates: Shape,
) -> Case:  # fmt: skip
    def numpy(*arrays: Array) -> Array:
        *at, values = arrays
        sizes = tuple(values.shape[p] if p >= 0 else int(s) for p, s in zip(places, x, strict=True))
        place = _walk(places, start, sizes, at, values.shape)
        result = np.full(sizes, first(values.dtype), values.dtype)
        for element in np.ndindex(values.shape):
            with np.errstate(all="ignore"):
                result[place(element)] = step(result[place(element)], values[element])
        return result

    def call(*tensors: Any) -> Any:
        *at, values = tensors
        shape = tuple(values.shape[p] if p >= 0 else s for p, s in zip(places, x, strict=True))
        op = registry()[name]
        return apply(op, (*at, values), places=places, start=start, shape=shape).output()

    return Case(
        call=call,
        numpy=numpy,
        shapes=(*indices, updates),
        dtypes=(*("int64" for _ in indices), None),
        draws=(*(_small(indices, x, places) if name not in _OF_ALL else _every(x, places)), None),
    )


_OF_ALL = ("scatter_max", "scatter_min")


def _every(x: Shape, places: tuple[int, ...]) -> tuple[Any, ...]:
    size = int(x[places.index(-1)])
    return (lambda rng, shape: rng.permutation(np.arange(int(np.prod(shape))) % size),)


def _least(dtype: Any) -> Any:
    if dtype.kind == "b":
        return False
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _largest(dtype: Any) -> Any:
    if dtype.kind == "b":
        return True
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


_UPDATES: tuple[Shape, ...] = ((3,), (2, 3), (2, 3), (3, 2), (2, 4), (2, "n"), ("n",), (0,))
_PLACED = [(*case, updates) for case, updates in zip(_GATHERED, _UPDATES, strict=True)]
# every place is reached: where none is, there is an infinity
_REACHED: tuple[tuple[Any, ...], ...] = (
    ((-1,), 0, (3,), ((5,),), (5,)),
    ((0, -1), 1, (2, 3), ((4,),), (2, 4)),
    ((-1, 1), 0, (2, "n"), ((3,),), (3, "n")),
)
_SCATTERS: dict[str, tuple[Any, Any, str]] = {
    "scatter_sum": (lambda a, b: a + b, lambda dtype: 0, "iuf"),
    "scatter_prod": (lambda a, b: a * b, lambda dtype: 1, "iuf"),
    "scatter_max": (np.maximum, _least, "biuf"),
    "scatter_min": (np.minimum, _largest, "biuf"),
    "scatter_last": (lambda a, b: b, lambda dtype: 0, "biuf"),
}
for _name, (_step, _first, _kinds) in _SCATTERS.items():
    SAMPLES[_name] = Samples(
        cases=tuple(
            _scattered(_name, _step, _first, *case)
            for case in (_REACHED if _name in _OF_ALL else _PLACED)
        ),
        takes=ALL if "b" in _kinds else of_kinds(_kinds),
        smooth=_name in ("scatter_sum", "scatter_last"),
        wild=_name not in ("scatter_prod",),
    )


# -- slices that begin where tensors say -----------------------------------------------------------
_DYNAMIC: tuple[tuple[Shape, tuple[int, ...]], ...] = (
    ((5,), (3,)), ((4, 3), (2, 3)), ((4, "n"), (1, 0)), ((3, 0), (2, 0)), ((3,), (0,)),
)  # fmt: skip


def _first_of(start: Array, whole: int, part: int) -> int:
    at = int(start) + (whole if start < 0 else 0)
    return min(max(at, 0), whole - part)


def _cut(x: Array, starts: Any, sizes: Any) -> tuple[slice, ...]:
    firsts = [_first_of(*triple) for triple in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(f, f + s) for f, s in zip(firsts, sizes, strict=True))


def _written(x: Array, value: Array, *starts: Array) -> Array:
    result = x.copy()
    result[_cut(x, starts, value.shape)] = value
    return result


_BEYOND: Any = lambda rng, shape: rng.integers(-9, 9, shape)  # noqa: E731
SAMPLES["dynamic_slice"] = Samples(
    cases=tuple(
        Case(
            call=lambda t, *starts, s=sizes: gc.dynamic_slice(t, list(starts), s),
            numpy=lambda x, *starts, s=sizes: x[_cut(x, starts, s)],
            shapes=(shape, *(() for _ in shape)),
            dtypes=(None, *("int32" for _ in shape)),
            draws=(None, *(_BEYOND for _ in shape)),
        )
        for shape, sizes in _DYNAMIC
    )
)
SAMPLES["dynamic_update_slice"] = Samples(
    cases=tuple(
        Case(
            call=lambda t, v, *starts: gc.dynamic_update_slice(t, v, list(starts)),
            numpy=_written,
            shapes=(shape, sizes, *(() for _ in shape)),
            dtypes=(None, None, *("int64" for _ in shape)),
            draws=(None, None, *(_BEYOND for _ in shape)),
        )
        for shape, sizes in _DYNAMIC
    )
)
for _name in ("dynamic_slice", "dynamic_update_slice"):  # starts of each element
    SAMPLES[_name] = replace(
        SAMPLES[_name], cases=(*SAMPLES[_name].cases, *map(of_each, SAMPLES[_name].cases[:2]))
    )
SAMPLES["check_start"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: check_start(x, 2, 6),
            numpy=lambda x: np.where(x < 0, 6, 0) + x.astype("int64"),
            shapes=(shape,),
            draws=(below(5),),
        )
        for shape in ((5,), ("n", 2), ())
    ),
    takes=of_kinds("iu"),
    domain=None,
)


# -- along an axis, and where elements are ---------------------------------------------------------
def _along(axis: int, x: Shape, i: Shape, size: int) -> Case:
    return Case(
        call=lambda t, at: gc.take_along_axis(t, at, axis),
        numpy=lambda a, at: np.take_along_axis(a, at, axis),
        shapes=(x, i),
        dtypes=(None, "int64"),
        draws=(None, below(size, negative=True)),
    )


SAMPLES["take_along_axis"] = Samples(
    cases=(
        _along(0, (4, 3), (2, 3), 4), _along(1, (2, 3), (2, 5), 3), _along(0, (3,), (0,), 3),
        _along(-1, ("n", 3), ("n", 1), 3), _along(0, (4, 3), (2, 1), 4),
        _along(1, (1, 3), (2, 2), 3),
    )
)  # fmt: skip


def _positions(x: Array, size: int, fill: int) -> Array:
    found = np.flatnonzero(x)[:size]
    return np.concatenate([found, np.full(size - found.size, fill)]).astype(np.int64)


SAMPLES["flatnonzero"] = Samples(
    cases=tuple(
        Case(
            call=lambda x: gc.flatnonzero(x, size=4, fill_value=9),
            numpy=lambda x: _positions(x, 4, 9),
            shapes=(shape,),
        )
        for shape in ((6,), ("n", 2), (0,), (3, 3))
    ),
    domain=None,
)
