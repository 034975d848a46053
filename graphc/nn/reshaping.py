"""Layers that move elements: flatten, reshape, permute, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dim import product
from graphc.ir.node import Tensor
from graphc.ir.shape import show
from graphc.nn.checks import error, positive_int
from graphc.nn.module import Layer
from graphc.ops.shape import broadcast_to, permute_dims, reshape


class _Moving(Layer):
    """What they share: one tensor, at least a vector of examples; a mask of times ends here."""

    one_tensor = True

    def _examples(self, x: Tensor, rank: int = 1) -> None:
        if x.ndim < rank:
            axes = ", ".join("nabcdefg"[:rank])
            raise error(
                self,
                ShapeError,
                "the input is a scalar" if not x.ndim else "the input has too few axes",
                expected="(n, ...)" if rank == 1 else f"({axes})",
                given=show(x.shape),
            )

    def output_mask(self, mask: Any) -> None:
        return None


class Flatten(_Moving):
    """All axes but the first as one: [n, a, b, ...] -> [n, a * b * ...]."""

    def forward(self, x: Tensor) -> Tensor:
        self._examples(x)
        return reshape(x, (x.shape[0], product(x.shape[1:])))


class Reshape(_Moving):
    """Each example in another shape, in row order: [n, ...] -> [n, *shape]; one size may be -1.

    Errors: `ArgumentError` for what is no shape; `ShapeError` where the sizes do not fit.

    >>> import graphc as gc
    >>> gc.nn.Reshape((2, -1))(gc.placeholder("x", ("n", 6))).shape
    (n, 2, 3)
    """

    def __init__(self, shape: Sequence[int], name: str | None = None) -> None:
        super().__init__(name)
        if not isinstance(shape, (tuple, list)) or not all(isinstance(s, int) for s in shape):
            raise error(
                self,
                ArgumentError,
                "not a shape of ints",
                expected="a tuple, without the batch",
                given=repr(shape)[:80],
            )
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        self._examples(x)
        sizes = list(self.shape)
        if sizes.count(-1) == 1:
            inner, known = product(x.shape[1:]), product(s for s in sizes if s != -1)
            if isinstance(inner, int) and known and inner % known == 0:
                sizes[sizes.index(-1)] = inner // known
        return reshape(x, (x.shape[0], *sizes))


class Permute(_Moving):
    """The axes of each example in another order, counted from 1: `Permute((2, 1))` swaps both of
    [n, a, b].

    Errors: `ArgumentError` for what is no order of 1, 2, ...; `ShapeError` for another rank.
    """

    def __init__(self, dims: Sequence[int], name: str | None = None) -> None:
        super().__init__(name)
        if not isinstance(dims, (tuple, list)) or sorted(dims) != list(range(1, len(dims) + 1)):
            raise error(
                self,
                ArgumentError,
                "not an order of axes",
                expected="each of 1, 2, ... once; 0 is the batch",
                given=repr(dims)[:80],
            )
        self.dims = tuple(dims)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != len(self.dims) + 1:
            raise error(
                self,
                ShapeError,
                "the input has another rank",
                expected=f"{len(self.dims) + 1} axes",
                given=show(x.shape),
            )
        return permute_dims(x, (0, *self.dims))


class RepeatVector(_Moving):
    """The same vector at `count` times: [n, features] -> [n, count, features]."""

    def __init__(self, count: int, name: str | None = None) -> None:
        super().__init__(name)
        self.count = positive_int(self, "count", count)

    def forward(self, x: Tensor) -> Tensor:
        self._examples(x, 2)
        return broadcast_to(x[:, None], (x.shape[0], self.count, *x.shape[1:]))
