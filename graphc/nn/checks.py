"""What layers ask of their arguments and inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, GraphcError, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor
from graphc.ir.shape import TensorType, may_be_equal, show
from graphc.nn.named import given_number
from graphc.ops.build import tensor


def error(layer: Any, kind: type[GraphcError], message: str, **sides: str) -> GraphcError:
    """An error of `layer`, or of a function of that name, at the user's line."""
    return kind(message, op=_called(layer), where=origin.where(), **sides)


def _called(layer: Any) -> str:
    return layer if isinstance(layer, str) else f"{type(layer).__name__} {layer.name!r}"


def positive_int(layer: Any, name: str, value: Any) -> int:
    """`value` as an int >= 1. Errors: `ArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise error(
            layer,
            ArgumentError,
            f"{name} is not a positive int",
            expected="an int >= 1",
            given=repr(value)[:80],
        )
    return int(value)


def number(layer: Any, name: str, value: Any, low: float, below: float = math.inf) -> float:
    """`value` as a float in [low, below). Errors: `ArgumentError`."""
    return given_number(_called(layer), name, value, low, below)


def chosen(layer: Any, name: str, value: Any, known: tuple[str, ...]) -> str:
    """`value`, one of the `known` words. Errors: `ArgumentError`."""
    if value not in known:
        raise error(
            layer,
            ArgumentError,
            f"an unknown {name}",
            expected=", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}",
            given=repr(value)[:80],
        )
    return str(value)


def floats(layer: Any, x: TensorType) -> None:
    """Errors: `DTypeError` for an input that is not float."""
    if not x.dtype.is_float:
        raise error(
            layer,
            DTypeError,
            "the input is not float",
            expected="float32 or float64",
            given=x.dtype.name,
            hint="use x.astype('float32')",
        )


def channel_axis(layer: Any, x: TensorType, axis: int | None) -> int:
    """Which axis of a batch has the channels: `axis`, by default 1 for images and the last one of
    up to three axes. Errors: `ArgumentError`, `ShapeError` for the batch, and what is no axis."""
    if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int) or axis == 0):
        raise error(
            layer,
            ArgumentError,
            "not an axis of channels",
            expected="an int other than 0, the batch",
            given=repr(axis)[:80],
        )
    place = (1 if x.rank >= 4 else -1) if axis is None else axis
    if not 0 < place % max(x.rank, 1) < x.rank or not -x.rank < place < x.rank:
        raise error(
            layer,
            ShapeError,
            "the input has no axis of channels",
            expected="(n, ...) with a channel for each feature"
            if axis is None
            else f"axis {axis}, and the batch before it",
            given=show(x.shape),
        )
    return place % x.rank


def features(
    layer: Any, x: TensorType, known: int | None = None, axis: int = -1, hint: str = ""
) -> int:
    """The size of the last axis of a float input (or of `axis`), which is static, and `known` after
    the first call. Errors: `DTypeError`, `ShapeError`."""
    floats(layer, x)
    place = "last axis" if axis == -1 else f"axis {axis}"
    if not -x.rank <= axis < x.rank or not isinstance(x.shape[axis], int):
        raise error(
            layer,
            ShapeError,
            f"the {place} must have a static size" if x.rank else "the input is a scalar",
            expected="a shape (..., m) with an int m" if axis == -1 else f"an int in {place}",
            given=show(x.shape),
            hint=hint,
        )
    size: Any = x.shape[axis]
    if known is not None and size != known:
        raise error(
            layer,
            ShapeError,
            "the input has another size than at the first call",
            expected=f"(..., {known})" if axis == -1 else f"{known} in {place}",
            given=show(x.shape),
            hint=hint,
        )
    return int(size)


def times_mask(layer: Any, mask: Any, x: Tensor) -> Tensor:
    """A mask of steps as a tensor. Errors: `ShapeError`, `DTypeError` for another one than bools
    [batch, time]."""
    found = tensor(mask, layer.name)
    if found.dtype is not bool_:
        raise error(
            layer,
            DTypeError,
            "a mask is of bools",
            expected="True where there is a step",
            given=found.dtype.name,
            hint="compare it: mask > 0",
        )
    if found.ndim != 2 or not may_be_equal(found.shape, x.shape[:2]):
        raise error(
            layer,
            ShapeError,
            "the mask does not fit the input",
            expected=f"(batch, time) of {show(x.shape)}",
            given=show(found.shape),
        )
    return found
