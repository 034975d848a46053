"""Shapes: tuples of sizes, the type of a tensor, broadcasting and axes.

A size-1 axis broadcasts only where the 1 is static; a named dim never broadcasts (it may happen to
be 1 at a call, and is not stretched then). This keeps one program correct for every size.
Where two sizes have to be equal and may be, type rules take them to be (`equations.agree`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphc.errors import ArgumentError, OutOfRangeError, ShapeError
from graphc.ir.conditions import agree, never_equal
from graphc.ir.dim import Dim, Size, dim, product
from graphc.ir.dtype import DType
from graphc.ir.given import whole_number

Shape: TypeAlias = tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a tensor: element type and shape. Prints as `f32[n,784]`."""

    dtype: DType
    shape: Shape

    def __str__(self) -> str:
        return f"{self.dtype.short}[{','.join(str(s) for s in self.shape)}]"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Size:
        """The number of elements."""
        return product(self.shape)


def shape_of(spec: Any) -> Shape:
    """A shape from an int, a string, or a sequence of ints, dim names and `Dim`s."""
    if isinstance(spec, (int, str, Dim)):
        return (dim(spec),)
    parts = _parts(spec)
    if parts is None:
        size = whole_number(spec)
        if size is not None:
            return (dim(size),)
        raise ArgumentError(
            "not a shape", op="shape", expected="a sequence of sizes", given=repr(spec)[:80]
        )
    return tuple(dim(s) for s in parts)


def _parts(given: Any) -> tuple[Any, ...] | None:
    """What it is made of; None for what cannot be iterated over, as an array without axes."""
    try:
        return tuple(given) if isinstance(given, Iterable) else None
    except TypeError:
        return None


def several(op: str, what: str, given: Any) -> tuple[Any, ...]:
    """What users give where several are wanted. Errors: `ArgumentError` for one thing."""
    parts = None if isinstance(given, str) else _parts(given)
    if parts is None:
        raise ArgumentError(
            f"{what}: not several", op=op, expected="a tuple or a list", given=repr(given)[:80]
        )
    return parts


def whole(op: str, what: str, given: Any) -> Any:
    """What users give for a number that is a size or counts as one does.

    Errors: `ArgumentError` for what is no int and no size."""
    if isinstance(given, Dim):
        return given
    number = whole_number(given)
    if number is None:
        raise ArgumentError(
            f"{what}: not a whole number", op=op, expected="an int", given=repr(given)[:80]
        )
    return number


def show(shape: Sequence[Size]) -> str:
    """A shape as a tuple, for messages: `(n, 784)`."""
    return f"({', '.join(str(s) for s in shape)}{',' if len(shape) == 1 else ''})"


def broadcast(op: str, *shapes: Shape) -> Shape:
    """The common shape of `shapes` by NumPy's rule, where only a static 1 stretches.

    Errors: `ShapeError` naming `op` and the two sizes that do not fit.
    """
    if len(set(shapes)) == 1:
        return shapes[0]
    rank = max((len(s) for s in shapes), default=0)
    result: list[Size] = []
    for axis in range(-rank, 0):
        size: Size = 1
        for shape in shapes:
            if -axis > len(shape) or shape[axis] == 1 or shape[axis] == size:
                continue
            if size != 1 and not agree(size, shape[axis]):
                raise ShapeError(
                    f"shapes do not broadcast: axis {axis} has sizes {size} and {shape[axis]}",
                    op=op,
                    expected="equal sizes, or a static 1, on every axis counted from the last",
                    given=" and ".join(show(s) for s in shapes),
                    hint=_broadcast_hint(size, shape[axis]),
                )
            size = shape[axis] if size == 1 else common(size, shape[axis])
        result.append(size)
    return tuple(result)


def _broadcast_hint(a: Size, b: Size) -> str:
    if isinstance(a, Dim) or isinstance(b, Dim):
        return "a named dim never broadcasts, and these two sizes are never equal"
    return ""


def common(a: Size, b: Size) -> Size:
    """The size of an axis whose sizes agree: the static one, else the first."""
    return b if isinstance(b, int) else a


def agree_on_shape(a: Shape, b: Shape) -> bool:
    """Whether two shapes may be equal: `agree` on each axis."""
    if a == b:
        return True
    return len(a) == len(b) and all(agree(s, t) for s, t in zip(a, b, strict=True))


def may_be_equal(a: Shape, b: Shape) -> bool:
    """Whether some sizes of the named dims make two shapes equal."""
    return len(a) == len(b) and not any(never_equal(s, t) for s, t in zip(a, b, strict=True))


def broadcasts_to(shape: Shape, target: Shape) -> bool:
    """Whether `shape` stretches to `target` without changing `target`."""
    offset = len(target) - len(shape)
    return offset >= 0 and all(s in (1, t) for s, t in zip(shape, target[offset:], strict=True))


def normalize_axis(op: str, axis: Any, rank: int) -> int:
    """`axis` counted from the front. Errors: `OutOfRangeError`; `ArgumentError` for no int."""
    index = None if isinstance(axis, Dim) else whole_number(axis)
    if index is None:
        raise ArgumentError("not an axis", op=op, expected="an int", given=repr(axis)[:80])
    if not -rank <= index < rank:
        raise OutOfRangeError(
            "axis out of range", op=op, expected=f"-{rank} <= axis < {rank}", given=str(index)
        )
    return int(index % rank)


def normalize_axes(op: str, axis: Any, rank: int) -> tuple[int, ...]:
    """Sorted distinct axes from `None` (all), an int, or a sequence of ints."""
    if axis is None:
        return tuple(range(rank))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = [normalize_axis(op, a, rank) for a in axes]
    if len(set(found)) != len(found):
        raise ShapeError("an axis is given twice", op=op, given=str(tuple(axes)))
    return tuple(sorted(found))


def moves_unit_axes(source: Shape, target: Shape) -> bool:
    """Whether the two shapes are equal but for axes of static size 1."""
    return [s for s in source if s != 1] == [s for s in target if s != 1]


def strides(shape: Shape) -> Shape:
    """Row-major strides in elements."""
    result: list[Size] = []
    step: Size = 1
    for size in reversed(shape):
        result.append(step)
        step = step * size
    return tuple(reversed(result))
