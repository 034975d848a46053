"""`vmap`: a function of one element becomes one of many, without a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import chain
from typing import Any, NamedTuple

from graphc.autodiff.batching import batched, spread
from graphc.errors import ArgumentError, ShapeError
from graphc.ir.conditions import never_equal
from graphc.ir.dim import Size
from graphc.ir.node import Tensor
from graphc.ir.shape import TensorType
from graphc.ir.structure import Inner, Structure, flatten, paths, show, steps, unflatten
from graphc.ops.build import tensor, weak_like
from graphc.ops.closure import check_callable, parameters, tensors
from graphc.ops.shape import broadcast_to, permute_dims


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """`f` of each element along an axis, all at once.

    The result is the stack of what `f` gives for each element, but computed by operations that are
    as large as the batch: a matrix product stays one product. What does not depend on the elements
    is computed once.

    `in_axes` says along which axis each argument is mapped: an int for all of them, or a tuple with
    an entry for each; None is for an argument that is the same for all elements, and is given to
    `f` as it is. An argument may be nested tuples, lists and dicts; its entry is an int for all of
    it, or of the same structure. `out_axes` says in the same way where the new axis of each result
    is; None for one that does not depend on the elements. Negative axes count from the last one, of
    the whole argument or of the whole result. Keyword arguments are not mapped.

    A `cond` whose predicate differs between elements becomes a choice between both branches; if a
    computation in one of them may fail, the elements go one after another instead, so that only the
    branch taken runs. Random numbers are drawn for each element where its key is mapped.

    Shapes: the mapped axes have one size, which may be 0, 1 or named.
    Errors: `ArgumentError` where axes do not fit the arguments or results, or nothing is mapped;
    `ShapeError` where an axis is out of range or sizes differ.

    >>> import graphc as gc
    >>> x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3,))
    >>> def loss(w, x):
    ...     return gc.sum(gc.sin(x * w))
    >>> gc.vmap(loss, in_axes=(None, 0))(w, x).shape
    (n,)
    >>> gc.vmap(lambda x: gc.grad(loss(w, x), w))(x).shape
    (n, 3)
    """
    check_callable("vmap", "what is mapped", f)

    @wraps(f)
    def mapped(*arguments: Any, **options: Any) -> Any:
        leaves, structure = flatten(arguments)
        axes = _of_each_leaf("in_axes", in_axes, structure, "arguments")
        given = {i: _axis_first(leaves[i], a) for i, a in enumerate(axes) if a.axis is not None}
        size = _size([(t, axes[i]) for i, t in given.items()])
        stacked = [broadcast_to(t, (size, *t.shape[1:])) for t in given.values()]
        types = (TensorType(t.dtype, t.shape[1:]) for t in stacked)
        placeholders, inner = parameters("vmap", types, stacked)
        for i, t in zip(given, inner, strict=True):
            leaves[i] = t
        outputs, structure = tensors("vmap", f(*unflatten(structure, leaves), **options), "result")
        places = _of_each_leaf("out_axes", out_axes, structure, "result")
        found = batched(outputs, dict(zip(placeholders, stacked, strict=True)), size)
        results = (
            weak_like(_axis_at(new, new.ndim > old.ndim, a, size), old)
            for new, old, a in zip(found, outputs, places, strict=True)
        )
        return unflatten(structure, results)

    return mapped


# -- which axis of what ----------------------------------------------------------------------------
class _Axis(NamedTuple):
    """The mapped axis of a leaf, or None, and how the leaf is written."""

    axis: Any
    of: str


def _of_each_leaf(name: str, axes: Any, structure: Structure, path: str) -> list[_Axis]:
    """The axis of each leaf: `axes` is one or None, or nested as the tree is, down to any depth.

    Errors: `ArgumentError` for axes that are nested otherwise, or are no ints.
    """
    if axes is None or (hasattr(axes, "__index__") and not isinstance(axes, (bool, Tensor))):
        return [_Axis(axes, leaf) for leaf in paths(structure, path)]
    parts = _nested_as(structure, axes) if isinstance(structure, Inner) else None
    if parts is None:
        raise ArgumentError(
            f"{name} does not fit {path}",
            op="vmap",
            expected=f"an int, None, or one of these for each part of {show(structure)}",
            given=repr(axes)[:80],
        )
    found = (_of_each_leaf(name, part, inner, path + step) for part, inner, step in parts)
    return list(chain.from_iterable(found))


def _nested_as(structure: Inner, axes: Any) -> list[tuple[Any, Structure, str]] | None:
    """The parts of `axes`, if it has one for each of a container, with those and how they are
    written."""
    kind, parts = structure.kind, None
    if kind is dict:
        if isinstance(axes, Mapping) and axes.keys() == set(structure.keys):
            parts = [axes[key] for key in structure.keys]
    elif issubclass(kind, (tuple, list)):
        if isinstance(axes, (tuple, list)) and len(axes) == len(structure.parts):
            parts = list(axes)
    elif type(axes) is kind:
        parts = [getattr(axes, key) for key in structure.keys]
    return parts and list(zip(parts, structure.parts, steps(structure), strict=True))


def _axis_first(leaf: Any, a: _Axis) -> Tensor:
    """The tensor with its mapped axis in front."""
    t = tensor(leaf, "vmap")
    at = _within("in_axes", a, t.type)
    return permute_dims(t, (at, *(i for i in range(t.ndim) if i != at)))


def _axis_at(t: Tensor, has_new: bool, a: _Axis, size: Size) -> Tensor:
    """A result with the new axis where it is wanted; one that has none is the same for each."""
    if a.axis is None and has_new:
        raise ArgumentError(
            f"out_axes is None for {a.of}, which is another one for each element",
            op="vmap",
            expected="the axis of the elements in the result",
            given=f"None, for {t.type} with that axis in front",
        )
    if a.axis is None:
        return t
    t = t if has_new else spread(t, size)
    at = _within("out_axes", a, t.type)
    return permute_dims(t, (*range(1, at + 1), 0, *range(at + 1, t.ndim)))


def _within(name: str, a: _Axis, type: TensorType) -> int:
    """The axis counted from the first. Errors: `ShapeError` where there is none."""
    axis, rank = int(a.axis.__index__()), type.rank
    if not -rank <= axis < rank:
        raise ShapeError(
            f"{name} is out of range for {a.of}",
            op="vmap",
            expected=f"-{rank} <= axis < {rank}" if rank else "a tensor with axes",
            given=f"axis {axis} of {type}",
        )
    return axis % rank


def _size(mapped: Sequence[tuple[Tensor, _Axis]]) -> Size:
    """The size of the mapped axes, the static one of those that may be equal.

    Errors: `ArgumentError` if there are none; `ShapeError` if they are never equal.
    """
    if not mapped:
        raise ArgumentError(
            "no argument is mapped",
            op="vmap",
            expected="in_axes with an int for one of the arguments",
            given="None for all of them, or no arguments",
        )
    sizes = [t.shape[0] for t, _ in mapped]
    if any(never_equal(size, sizes[0]) for size in sizes):
        raise ShapeError(
            "the sizes of the mapped axes differ",
            op="vmap",
            expected=f"{sizes[0]} elements of each argument",
            given=", ".join(f"{t.shape[0]} along axis {a.axis} of {a.of}" for t, a in mapped),
        )
    return next((size for size in sizes if isinstance(size, int)), sizes[0])
