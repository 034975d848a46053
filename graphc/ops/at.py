"""`x.at[key].set(value)` and its kin: a tensor with some elements changed, and what a mask selects.

A key without index tensors is a part of a grid: the values are put on zeros of x's shape, and
chosen where the part is, in one pass over x. What index tensors select is scattered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dtype import bool_, int64
from graphc.ir.node import Tensor
from graphc.ir.operators import function
from graphc.ir.shape import Shape, show
from graphc.keywords import answer_methods
from graphc.ops import dynamic
from graphc.ops.build import cast, constant, is_python_scalar, tensor
from graphc.ops.create import ones
from graphc.ops.elementwise import (
    add,
    divide,
    logical_and,
    maximum,
    minimum,
    multiply,
    negative,
    where,
)
from graphc.ops.getitem import Selection, getitem, mask_of, read, select, view
from graphc.ops.index import strided_slice, zero_pad
from graphc.ops.places import updated
from graphc.ops.shape import broadcast_to, flip, reshape

_COMBINE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "set": lambda x, value: value,
    "add": add,
    "multiply": multiply,
    "min": minimum,
    "max": maximum,
}


class At:
    """`x.at`, of which `x.at[key]` is a `Place`."""

    __slots__ = ("_x",)

    def __init__(self, x: Tensor) -> None:
        self._x = x

    def __getitem__(self, key: Any) -> Place:
        return Place(self._x, key)


class Place:
    """Some elements of a tensor; each method gives a new tensor in which they are changed.

    A value broadcasts to the elements and is converted to the tensor's dtype. Where index tensors
    name an element several times, all values count, one after another: the last one that is set
    stays. An index out of range is a `RuntimeFailure` at the call.

    >>> import graphc as gc
    >>> gc.evaluate(gc.asarray([1, 2, 3]).at[[0, 0, 2]].add(10))
    array([21,  2, 13])
    """

    __slots__ = ("_key", "_x")

    def __init__(self, x: Tensor, key: Any) -> None:
        self._x, self._key = x, key

    def get(self) -> Any:
        """The elements: `x[key]`."""
        return getitem(self._x, self._key)

    def set(self, value: Any) -> Tensor:
        """`x` with `value` in place of the elements."""
        return _written(self._x, self._key, "set", value)

    def add(self, value: Any) -> Tensor:
        """`x` with `value` added to the elements."""
        return _written(self._x, self._key, "add", value)

    def subtract(self, value: Any) -> Tensor:
        """`x` with `value` subtracted from the elements."""
        return _written(self._x, self._key, "add", negative(_value(self._x, value)))

    def multiply(self, value: Any) -> Tensor:
        """`x` with the elements multiplied by `value`."""
        return _written(self._x, self._key, "multiply", value)

    def divide(self, value: Any) -> Tensor:
        """`x` with the elements divided by `value`. Errors: `DTypeError` for a tensor of ints."""
        if not self._x.dtype.has_derivative:
            raise DTypeError(
                "a quotient is no int", op="at", expected="floats", given=self._x.dtype.name,
                hint="x.astype('float64').at[key].divide(value)",
            )  # fmt: skip
        one = broadcast_to(constant(1, self._x.dtype), self._x.shape)
        return divide(self._x, _written(one, self._key, "multiply", value))

    def min(self, value: Any) -> Tensor:
        """`x` with the elements that are above `value` lowered to it."""
        return _written(self._x, self._key, "min", value)

    def max(self, value: Any) -> Tensor:
        """`x` with the elements that are below `value` raised to it."""
        return _written(self._x, self._key, "max", value)


def _value(x: Tensor, value: Any) -> Tensor:
    """The value in x's dtype. Errors: `DTypeError` for floats in integers, and the like."""
    if is_python_scalar(value) and not isinstance(value, float):
        return constant(value, x.dtype)
    given = tensor(value, "at")
    kind = given.dtype.numpy
    if not np.can_cast(kind, x.dtype.numpy, "same_kind"):
        raise DTypeError(
            "the dtype of the elements cannot hold the value",
            op="at",
            expected=f"{x.dtype.name}, or what it holds",
            given=given.dtype.name,
            hint=f"use .astype({x.dtype.name!r}) on the value",
        )
    return cast(given, x.dtype)


def _written(x: Tensor, key: Any, how: str, value: Any) -> Tensor:
    new = _value(x, value)
    if x.dtype is bool_ and how in ("add", "multiply"):
        raise DTypeError("no numbers", op="at", expected="ints or floats", given="bool")
    mask = mask_of(x, key)
    if mask is not None:
        return _masked(x, mask, how, new)
    found = select(x, key)
    if found.arrays and all(i.ndim == 0 for _, i in found.arrays):
        return _put(x, found, _at_one_place(view(x, found), found, how, new))
    if found.arrays:
        part = view(x, found)
        wide = _stretched(new, read(x, found).shape)
        changed = updated(part, how, [i for _, i in found.arrays], wide, found.places, found.start)
        return _put(x, found, changed)
    wide = _stretched(new, found.shape)
    if found.moving:
        return _put(x, found, _COMBINE[how](view(x, found), wide))
    placed = _placed(x, found, wide)
    inside = _inside(x, found)
    changed = _COMBINE[how](x, placed)
    return changed if inside is None else where(inside, changed, x)


def _at_one_place(part: Tensor, found: Selection, how: str, value: Tensor) -> Tensor:
    """Where each index is one: a slice of one element along their axes, so that nothing is
    scattered."""
    starts = [constant(0, int64)] * part.ndim
    sizes = list(part.shape)
    for axis, index in found.arrays:
        starts[axis] = dynamic.check_start(index, 1, part.shape[axis])
        sizes[axis] = 1
    by_index = {axis for axis, _ in found.arrays}
    kept = tuple(s for a, s in enumerate(part.shape) if a not in by_index)
    wide = reshape(_stretched(value, kept), sizes)
    slab = dynamic.read(part, starts, tuple(sizes))
    return dynamic.update(part, _COMBINE[how](slab, wide), starts)


def _stretched(value: Tensor, shape: Shape) -> Tensor:
    """The value for each of the elements; axes of size 1 in front of them are dropped, as NumPy."""
    extra = value.ndim - len(shape)
    if extra > 0 and all(s == 1 for s in value.shape[:extra]):
        value = reshape(value, value.shape[extra:])
    return broadcast_to(value, shape)


def _masked(x: Tensor, mask: Tensor, how: str, value: Tensor) -> Tensor:
    """How many elements a mask selects is not known: one value for all that an axis of it has."""
    if value.ndim > x.ndim - mask.ndim:
        raise ShapeError(
            "one value for all elements where a mask holds",
            op="at",
            expected=f"a value that broadcasts to {show(x.shape[mask.ndim :])}",
            given=show(value.shape),
            hint="gc.where(mask, y, x) takes a y of x's shape",
        )
    wide = reshape(mask, (*mask.shape, *(1,) * (x.ndim - mask.ndim)))
    return where(wide, _COMBINE[how](x, value), x)


# -- parts of a grid -------------------------------------------------------------------------------
def _covers(x: Tensor, found: Selection) -> bool:
    return found.sizes == x.shape and all(s == 0 for s in found.starts)


def _inside(x: Tensor, found: Selection) -> Tensor | None:
    """Where the part is; None if it is all."""
    if _covers(x, found):
        return None
    return zero_pad(ones(found.sizes, bool_), found.starts, x.shape, found.steps)


def _placed(x: Tensor, found: Selection, value: Tensor) -> Tensor:
    """The value of each element of the part, where the part is."""
    part = reshape(value, found.extents)
    part = flip(part, found.flips) if found.flips else part
    return part if _covers(x, found) else zero_pad(part, found.starts, x.shape, found.steps)


def _put(x: Tensor, found: Selection, part: Tensor) -> Tensor:
    """`x` with another part."""
    if found.moving:
        whole = strided_slice(x, found.starts, found.sizes, found.steps)
        part = reshape(part, found.extents)
        part = flip(part, found.flips) if found.flips else part
        part = dynamic.update(whole, part, found.first(x.ndim))
        part = part if _covers(x, found) else zero_pad(part, found.starts, x.shape, found.steps)
    else:
        part = _placed(x, found, part)
    inside = _inside(x, found)
    return part if inside is None else where(inside, part, x)


# -- what a mask selects ---------------------------------------------------------------------------
class Selected:
    """`x[mask]`: the elements where a mask holds. How many is not known, so that they make no
    tensor; they can be reduced.

    >>> import graphc as gc
    >>> x = gc.asarray([1.0, -2.0, 3.0])
    >>> gc.evaluate(x[x > 0].mean())
    array(2., dtype=float32)
    """

    __slots__ = ("_mask", "_x")

    def __init__(self, x: Tensor, mask: Tensor) -> None:
        self._x = x
        self._mask = reshape(mask, (*mask.shape, *(1,) * (x.ndim - mask.ndim)))

    def __repr__(self) -> str:
        return f"<elements of {self._x!r} where {self._mask!r}>"

    def no_tensor(self) -> ArgumentError:
        """The error where a tensor is wanted."""
        return ArgumentError(
            "how many elements a mask selects is not known yet",
            op="getitem",
            given=repr(self),
            hint="x[mask].sum() and the like are known; gc.where(mask, x, 0) keeps the shape, and "
            "x.at[mask].set(value) changes the elements",
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.no_tensor()

    def __array__(self, *given: Any, **options: Any) -> Any:
        raise self.no_tensor()

    def selected(self, axis: Any, mask: Any) -> tuple[Tensor, Tensor]:
        """What reductions take: the tensor, and where its elements count.
        Errors: `ArgumentError` for an axis."""
        if axis is not None:
            raise self.no_tensor()
        return self._x, self._mask if mask is None else logical_and(self._mask, mask)

    def _reduced(self, name: str, axis: Any, **options: Any) -> Tensor:
        if axis is not None:
            raise self.no_tensor()
        given = {k: v for k, v in options.items() if v not in (None, 0)}
        reduced: Tensor = function(name)(self._x, where=self._mask, **given)
        return reduced

    def count(self) -> Tensor:
        """How many elements there are (int64)."""
        wide = broadcast_to(self._mask, self._x.shape)
        counted: Tensor = function("sum")(cast(wide, int64))
        return counted

    def sum(self, axis: None = None, dtype: Any = None, out: None = None) -> Tensor:
        """Their sum, 0 of none."""
        return self._reduced("sum", axis, dtype=dtype, out=out)

    def prod(self, axis: None = None, dtype: Any = None, out: None = None) -> Tensor:
        """Their product, 1 of none."""
        return self._reduced("prod", axis, dtype=dtype, out=out)

    def mean(self, axis: None = None, dtype: Any = None, out: None = None) -> Tensor:
        """Their mean, NaN of none."""
        return self._reduced("mean", axis, dtype=dtype, out=out)

    def var(self, axis: None = None, dtype: Any = None, out: None = None, ddof: Any = 0) -> Tensor:
        """Their variance, NaN of none."""
        return self._reduced("var", axis, dtype=dtype, out=out, correction=ddof)

    def std(self, axis: None = None, dtype: Any = None, out: None = None, ddof: Any = 0) -> Tensor:
        """Their standard deviation, NaN of none."""
        return self._reduced("std", axis, dtype=dtype, out=out, correction=ddof)

    def max(self, axis: None = None, out: None = None) -> Tensor:
        """The largest, and the least number of the dtype of none."""
        return self._reduced("max", axis, out=out)

    def min(self, axis: None = None, out: None = None) -> Tensor:
        """The smallest, and the largest number of the dtype of none."""
        return self._reduced("min", axis, out=out)

    def any(self, axis: None = None, out: None = None) -> Tensor:
        """Whether one of them is true, False of none."""
        return self._reduced("any", axis, out=out)

    def all(self, axis: None = None, out: None = None) -> Tensor:
        """Whether all of them are true, True of none."""
        return self._reduced("all", axis, out=out)


def _refuse(selected: Selected, *others: Any) -> Any:
    raise selected.no_tensor()


for _operator in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "matmul", "neg",
    "abs", "lt", "le", "gt", "ge", "getitem", "len", "iter", "bool", "float", "int", "array",
):  # fmt: skip
    setattr(Selected, f"__{_operator}__", _refuse)


for _kind in (Place, Selected):
    answer_methods(_kind)
