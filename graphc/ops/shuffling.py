"""Random orders: by sorting random words, so that they are the same on every target."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dim import Dim, Size, dim
from graphc.ir.dtype import uint64
from graphc.ir.node import Tensor
from graphc.ir.shape import normalize_axis
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import bitwise_or, shift_left
from graphc.ops.gather import take
from graphc.ops.places import take_along_axis
from graphc.ops.random_bits import bits_of
from graphc.ops.sorting import argsort


def random_order(key: Any, shape: Any, axis: int = 0) -> Tensor:
    """Along `axis` the places 0, 1, ... in a random order, all orders being equally likely: that of
    words of 64 bits, of which two are hardly ever equal."""
    high, low = (cast(bits_of(key, shape, word), uint64) for word in (0, 1))
    return argsort(bitwise_or(shift_left(high, 32), low), axis)


def _count(x: Any) -> Size | None:
    """How many places, where x says that; None for a tensor."""
    is_count = isinstance(x, (int, np.integer, Dim)) and not isinstance(x, bool)
    return dim(x) if is_count else None


def permutation(key: Any, x: Any, axis: int = 0, *, independent: bool = False) -> Tensor:
    """`x` with the parts along `axis` in a random order, or 0, 1, ..., x - 1 for a count.

    `independent`: each row along the axis in an order of its own. All orders are equally likely.
    Shapes: as x; [x] for a count, which may be a size. Errors: `ShapeError` for a scalar,
    `ArgumentError` for a negative count.

    >>> import graphc as gc
    >>> gc.evaluate(gc.sort(gc.random.permutation(gc.random.key(3), 5)))
    array([0, 1, 2, 3, 4])
    """
    count = _count(x)
    if count is not None:
        if isinstance(count, int) and count < 0:
            raise ArgumentError(
                "a negative count", op="random.permutation", expected="0 or more", given=str(count)
            )
        return random_order(key, (count,))
    t = tensor(x, "random.permutation")
    if t.ndim == 0:
        raise ShapeError(
            "nothing to permute", op="random.permutation", expected="[n, ...], or an int",
            given=str(t.type),
        )  # fmt: skip
    axis = normalize_axis("random.permutation", axis, t.ndim)
    if independent:
        return take_along_axis(t, random_order(key, t.shape, axis), axis)
    return take(t, random_order(key, (t.shape[axis],)), axis)


def shuffle(key: Any, x: Any, axis: int = 0) -> Tensor:
    """As `permutation`: a new tensor, where NumPy's function writes into its argument."""
    return permutation(key, x, axis)


