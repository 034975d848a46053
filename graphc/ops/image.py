"""Images and kernels: where their axes are, and how windows lie on them.

Axes: an image [n, c, *space], a kernel [o, c / groups, *window]; with channels last an image
[n, *space, c], a kernel [*window, c / groups, o].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from graphc.errors import ArgumentError
from graphc.ir.dim import Dim, Size, dim, floordiv, maximum
from graphc.ir.shape import Shape
from graphc.ops.windows import span, window_count

Pairs: TypeAlias = "tuple[tuple[Size, Size], ...]"


class Steps(NamedTuple):
    """How the windows of a convolution lie, and where the axes of its operands are. These are the
    attributes of a node, without those that are as by default: one place apart, no padding, one
    group, channels first."""

    strides: tuple[int, ...]
    padding: Pairs
    dilations: tuple[int, ...]
    groups: Size
    channels_last: bool

    @classmethod
    def of(cls, image: Sequence[Size], attrs: Any) -> Steps:
        """The steps that the attributes of a node say, one of whose operands has this shape."""
        usual = cls.usual(len(image) - 2)
        return usual._replace(**{k: v for k, v in attrs.items() if k in cls._fields})

    @classmethod
    def usual(cls, rank: int) -> Steps:
        return cls((1,) * rank, ((0, 0),) * rank, (1,) * rank, 1, False)

    def attrs(self) -> dict[str, Any]:
        usual = self.usual(self.rank)._asdict()
        return {k: v for k, v in self._asdict().items() if v != usual[k]}

    @property
    def rank(self) -> int:
        """How many axes of space there are."""
        return len(self.strides)

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of space of an image, and of a kernel that has its channels where it has."""
        first = 1 if self.channels_last else 2
        return tuple(range(first, first + self.rank))

    @property
    def channels(self) -> int:
        return self.rank + 1 if self.channels_last else 1

    def image(self, n: Size, space: Sequence[Size], c: Size) -> Shape:
        """The shape of an image (a batch of them)."""
        return (n, *space, c) if self.channels_last else (n, c, *space)

    def kernel(self, o: Size, i: Size, window: Sequence[Size]) -> Shape:
        return (*window, i, o) if self.channels_last else (o, i, *window)

    def space_of(self, image: Shape) -> Shape:
        return tuple(image[a] for a in self.space)

    def window_of(self, kernel: Shape) -> Shape:
        return kernel[: self.rank] if self.channels_last else kernel[2:]

    def sides_of(self, kernel: Shape) -> tuple[Size, Size]:
        """(o, i) of a kernel: how many channels it gives, and of how many each is made."""
        return (kernel[-1], kernel[-2]) if self.channels_last else (kernel[0], kernel[1])

    def padded(self, space: Shape) -> Shape:
        return tuple(a + s + b for (a, b), s in zip(self.padding, space, strict=True))

    def counts(self, space: Shape, window: Shape) -> Shape:
        """The size of the result along the axes of space."""
        steps = zip(space, self.padding, window, self.strides, self.dilations, strict=True)
        return tuple(
            window_count(a + s + b, w, stride, dilation, f"{s} + {a} + {b} with its padding")
            for s, (a, b), w, stride, dilation in steps
        )


# -- what users give ------------------------------------------------------------------------------
def has_channels_last(op: str, data_format: Any, rank: int) -> bool:
    """Whether a format says that channels are the last axis; `rank` is the number of axes of space.

    Errors: `ArgumentError` for what is no format of that many axes.
    """
    space = {1: "W", 2: "HW", 3: "DHW"}.get(rank, "")
    first = ("NCHW", f"NC{space}", "channels_first")
    if data_format in first:
        return False
    last = ("NHWC", f"N{space}C", "channels_last")
    if data_format in last:
        return True
    raise ArgumentError(
        "unknown data format",
        op=op,
        expected=f"one of {', '.join(dict.fromkeys((*first, *last)))}",
        given=repr(data_format)[:80],
    )


def pairs_of(
    op: str, padding: Any, space: Shape, window: Shape, strides: Any, dilations: Any
) -> Pairs:
    """The sizes before and after each axis of space.

    `padding` is "valid" (none), "same" (so much that there are size / stride windows, rounded up;
    of an odd number the larger part is after), an int for all sides, or for each axis an int or a
    pair. Errors: `ArgumentError` for anything else.
    """
    rank = len(space)
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "same":
        found = []
        for size, w, stride, dilation in zip(space, window, strides, dilations, strict=True):
            count = floordiv(size + (stride - 1), stride)
            whole = maximum((count - 1) * stride + span(w, dilation) - size, 0)
            before = floordiv(whole, 2)
            found.append((before, whole - before))
        return tuple(found)
    given = padding if isinstance(padding, (list, tuple)) else (padding,) * rank
    sides = [p if isinstance(p, (list, tuple)) else (p, p) for p in given]
    sizes = [s for pair in sides for s in pair]
    right = len(sides) == rank and all(len(pair) == 2 for pair in sides)
    if not right or not all(is_size(s) for s in sizes):
        raise ArgumentError(
            "unknown padding",
            op=op,
            expected=f"'valid', 'same', an int >= 0, or {rank} ints or pairs of them",
            given=repr(padding)[:80],
        )
    return tuple((dim(before), dim(after)) for before, after in sides)


def is_size(value: Any) -> bool:
    """Whether it is a size: an int >= 0, or a named one."""
    if isinstance(value, Dim):
        return True
    return hasattr(value, "__index__") and not isinstance(value, bool) and value.__index__() >= 0
