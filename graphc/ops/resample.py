"""Elements at places that follow from the index by a rule in integers: what is beside a border, and
images at another size.

A rule gives, for each place along an axis, the place that is read. It is not affine (it reflects,
or divides), but it reads no data: no index can be out of range, and nothing can fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.conditions import require_elements
from graphc.ir.dim import Size
from graphc.ir.dim import dim as to_size
from graphc.ir.dtype import bool_, int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Builder, Index, Kind, Op, Operand, register
from graphc.ir.shape import Shape, TensorType, show
from graphc.ops.build import cast, is_python_scalar, size_as_tensor, tensor
from graphc.ops.create import iota, ones
from graphc.ops.elementwise import maximum, remainder, where
from graphc.ops.image import has_channels_last
from graphc.ops.index import pad_pairs, zero_pad
from graphc.ops.reduce import Reducer
from graphc.ops.windows import each

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- the rules: of a place i, with n elements to read, for m places --------------------------------
class _Integers:
    """What the rules compute with in kernels: int64 values."""

    def __init__(self, k: Any) -> None:
        self.k = k

    def constant(self, value: int) -> Any:
        return self.k.const(value, int64)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.k, name)


class _Arrays:
    """The same of NumPy."""

    constant = staticmethod(np.int64)
    add, subtract, multiply = np.add, np.subtract, np.multiply
    floor_divide, remainder = np.floor_divide, np.remainder
    minimum, maximum, less, where = np.minimum, np.maximum, np.less, np.where


def _edge(k: Any, i: Any, n: Any, m: Any) -> Any:
    return k.minimum(k.maximum(i, k.constant(0)), k.subtract(n, k.constant(1)))


def _wrap(k: Any, i: Any, n: Any, m: Any) -> Any:
    return k.remainder(i, n)


def _symmetric(k: Any, i: Any, n: Any, m: Any) -> Any:
    """The border lies between two elements that are equal."""
    period = k.multiply(n, k.constant(2))
    turned = k.remainder(i, period)
    back = k.subtract(k.subtract(period, turned), k.constant(1))
    return k.where(k.less(turned, n), turned, back)


def _reflect(k: Any, i: Any, n: Any, m: Any) -> Any:
    """The border is the last element, which is not repeated."""
    period = k.maximum(k.multiply(k.subtract(n, k.constant(1)), k.constant(2)), k.constant(1))
    turned = k.remainder(i, period)
    return k.where(k.less(turned, n), turned, k.subtract(period, turned))


def _nearest(k: Any, i: Any, n: Any, m: Any) -> Any:
    """floor(i * n / m)."""
    return k.floor_divide(k.multiply(i, n), m)


def _below(k: Any, i: Any, n: Any, m: Any) -> Any:
    """floor((i + 1/2) * n / m - 1/2), at least 0: what lies before a place in the middle of its
    part."""
    twice = k.add(k.multiply(i, k.constant(2)), k.constant(1))
    ahead = k.maximum(k.subtract(k.multiply(twice, n), m), k.constant(0))
    return k.floor_divide(ahead, k.multiply(m, k.constant(2)))


def _above(k: Any, i: Any, n: Any, m: Any) -> Any:
    """The next one, if there is one."""
    return k.minimum(k.add(_below(k, i, n, m), k.constant(1)), k.subtract(n, k.constant(1)))


RULES: dict[str, Callable[..., Any]] = {
    "edge": _edge, "wrap": _wrap, "symmetric": _symmetric, "reflect": _reflect,
    "nearest": _nearest, "below": _below, "above": _above,
}  # fmt: skip


# -- reading by rule -------------------------------------------------------------------------------
def _infer_resample(
    x: TensorType, *, rule: str, starts: Shape, sizes: Shape
) -> tuple[TensorType, ...]:
    for size, start, wanted in zip(x.shape, starts, sizes, strict=True):
        if start != 0 or wanted != size:
            require_elements(size, wanted)
    return (TensorType(x.dtype, sizes),)


def _numpy_places(rule: str, size: int, start: int, wanted: int) -> Any:
    place = np.arange(wanted, dtype=np.int64) - start
    if not wanted or (start == 0 and wanted == size):
        return place
    return RULES[rule](_Arrays, place, np.int64(size), np.int64(wanted))


def _numpy_resample(x: Any, *, rule: str, starts: Any, sizes: Any) -> Any:
    places = map(_numpy_places, [rule] * x.ndim, x.shape, starts, sizes)
    return x[np.ix_(*places)]


def _places(
    k: Any, index: Index, inner: Shape, *, rule: str, starts: Shape, sizes: Shape
) -> tuple[Any, ...]:
    """The index that is read, for a place of the result."""
    found = []
    for i, size, start, wanted in zip(index, inner, starts, sizes, strict=True):
        if start == 0 and wanted == size:
            found.append(i)
            continue
        place = k.number(i + -start)
        found.append(k.index(RULES[rule](_Integers(k), place, k.size(size), k.size(wanted))))
    return tuple(found)


def _resample_at(k: Any, values: Any, index: Any, out: TensorType, **attrs: Any) -> Any:
    (x,) = values
    return x(_places(k, index, x.type.shape, **attrs))


def _resample_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, **attrs: Any) -> list[Any]:
    steps = {name: attrs[name] for name in ("rule", "starts")}
    return [apply(GATHERED, (g,), shape=x.shape, **steps).output()]


_ON_EACH_AXIS = {"starts": Axes.STARTS, "sizes": Axes.SIZES}
RESAMPLE = register(
    Op(
        "resample",
        Kind.MAP,
        _infer_resample,
        numpy=_numpy_resample,
        vjp=_resample_vjp,
        at=_resample_at,
        axes=_ON_EACH_AXIS,
        cost=6,
        doc="Elements at places that follow from the index by a rule, on each axis.",
    )
)


# -- its transpose ---------------------------------------------------------------------------------
def _infer_gathered(
    g: TensorType, *, shape: Shape, rule: str, starts: Shape
) -> tuple[TensorType, ...]:
    if g.dtype is bool_:
        raise DTypeError("not numbers", op="resample_back", given=g.dtype.name)
    _infer_resample(TensorType(g.dtype, shape), rule=rule, starts=starts, sizes=g.shape)
    return (TensorType(g.dtype, shape),)


def _numpy_gathered(g: Any, *, shape: Any, rule: str, starts: Any) -> Any:
    result = np.zeros(shape, g.dtype)
    places = map(_numpy_places, [rule] * g.ndim, shape, starts, g.shape)
    np.add.at(result, np.ix_(*places), g)
    return result


class _Gathering(Reducer):
    """Adds each element where it was read from."""

    scatters = True

    def target(self, k: Builder, values: Sequence[Operand], index: Index, **attrs: Any) -> Any:
        (g,), shape = values, attrs["shape"]
        steps = {name: attrs[name] for name in ("rule", "starts")}
        return _places(k, index, shape, sizes=g.type.shape, **steps)


def _gathered_vjp(context: Any, h: Tensor, out: Tensor, g: Tensor, **attrs: Any) -> list[Any]:
    return [_resampled(h, attrs["rule"], attrs["starts"], g.shape)]


GATHERED = register(
    Op(
        "resample_back",
        Kind.REDUCE,
        _infer_gathered,
        numpy=_numpy_gathered,
        vjp=_gathered_vjp,
        reducer=_Gathering("add", lambda dtype: 0),
        axes={"shape": Axes.SIZES, "starts": Axes.STARTS},
        cost=6,
        doc="The transpose of `resample`: each element is added where it was read from.",
    )
)


def _resampled(x: Tensor, rule: str, starts: Shape, sizes: Shape) -> Tensor:
    return apply(RESAMPLE, (x,), rule=rule, starts=starts, sizes=sizes).output()


# -- padding ---------------------------------------------------------------------------------------
MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def pad(x: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Tensor:
    """`x` with elements around it, as `numpy.pad`: of one value, or by what is inside.

    `pad_width` is a size for both sides of every axis, a pair (before, after) for every axis, or a
    list of such a pair for each axis. `mode`: "constant"; "edge" repeats the last element;
    "reflect" goes back from it, and "symmetric" back with it; "wrap" goes on at the other end. They
    may go back and forth several times.
    Errors: `ArgumentError` for another mode or another value for each side; `ShapeError` for
    another number of pairs than there are axes, and for an axis without elements to go by.

    >>> import graphc as gc
    >>> gc.pad(gc.placeholder("x", ("n", 3)), [(0, 1), (2, 2)]).shape
    (n + 1, 7)
    >>> gc.evaluate(gc.pad(gc.constant([1, 2, 3]), 2, "reflect"))
    array([3, 2, 1, 2, 3, 2, 1])
    """
    t = tensor(x, "pad")
    several = isinstance(constant_values, (list, tuple, dict))
    if mode not in MODES or several:
        raise ArgumentError(
            "only one value around the tensor" if several else "unknown mode",
            op="pad",
            expected="one number" if several else f"one of {', '.join(MODES)}",
            given=f"mode {mode!r}, constant_values={constant_values!r}"[:120],
            hint="gc.concat joins parts of any values",
        )
    pairs = pad_pairs(pad_width, t)
    starts = tuple(a for a, _ in pairs)
    sizes = tuple(a + s + b for (a, b), s in zip(pairs, t.shape, strict=True))
    if mode != "constant":
        return t if sizes == t.shape else _resampled(t, mode, starts, sizes)
    steps = (1,) * t.ndim
    padded = zero_pad(t, starts, sizes, steps)
    if is_python_scalar(constant_values) and constant_values == 0:
        return padded
    inside = zero_pad(ones(t.shape, bool_), starts, sizes, steps)
    return where(inside, padded, cast(tensor(constant_values, "pad"), t.dtype))


# -- another size ----------------------------------------------------------------------------------
def interpolate(
    x: Any,
    size: Any = None,
    *,
    scale: Any = None,
    mode: str = "nearest",
    data_format: str = "NCHW",
) -> Tensor:
    """Images at another size: of each place the nearest element before it, or what lies between
    its neighbours on a line along each axis of space.

    `size`: of space, an int or one for each axis, named ones too; or `scale`, an int that sizes are
    multiplied by. `mode` "nearest", or "linear" (which may be called "bilinear" of two axes):
    places are the middles of their parts, and beyond the outermost elements these go on, as
    `torch.nn.functional.interpolate` and Keras have it.
    Shapes: x [n, c, *space] -> [n, c, *size]; with "NHWC" [n, *space, c] -> [n, *size, c]. Dtypes:
    floats; any, if nearest.
    Errors: `ArgumentError` for another mode, or for both or none of size and scale.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n", 3, 7, 7))
    >>> gc.interpolate(x, scale=2).shape, gc.interpolate(x, (5, "w"), mode="bilinear").shape
    ((n, 3, 14, 14), (n, 3, 5, w))
    """
    op, t = "interpolate", tensor(x, "interpolate")
    rank = t.ndim - 2
    if rank < 1:
        raise ShapeError(
            "the wrong number of axes",
            op=op,
            expected="3 axes or more: batch, channels and those of space",
            given=show(t.shape),
        )
    names = {"nearest": "nearest", "linear": "linear"}
    names |= {"bilinear": "linear"} if rank == 2 else {}
    if mode not in names or (size is None) == (scale is None):
        raise ArgumentError(
            "unknown mode" if mode not in names else "either a size or a scale",
            op=op,
            expected=", ".join(names) if mode not in names else "one of the two",
            given=f"mode {mode!r}, size {size!r}, scale {scale!r}"[:120],
        )
    first = 1 if has_channels_last(op, data_format, rank) else 2
    axes = range(first, first + rank)
    if scale is not None:
        factors = each(op, "scale", scale, rank)
        wanted: list[Size] = [t.shape[a] * f for a, f in zip(axes, factors, strict=True)]
    else:
        given = size if isinstance(size, (tuple, list)) else (size,) * rank
        wanted = _sizes(op, given, rank)
    if names[mode] == "nearest":
        return _at_size(t, "nearest", dict(zip(axes, wanted, strict=True)))
    if not t.dtype.is_float:
        raise DTypeError("not floats", op=op, expected="a float dtype", given=t.dtype.name)
    for axis, count in zip(axes, wanted, strict=True):
        t = _along(t, axis, count)
    return t


def _sizes(op: str, given: Sequence[Any], rank: int) -> list[Size]:
    if len(given) != rank:
        raise ArgumentError(
            "not a size for each axis", op=op, expected=f"{rank} sizes", given=str(given)
        )
    return list(map(to_size, given))


def _at_size(t: Tensor, rule: str, wanted: dict[int, Size]) -> Tensor:
    sizes = tuple(wanted.get(a, s) for a, s in enumerate(t.shape))
    return t if sizes == t.shape else _resampled(t, rule, (0,) * t.ndim, sizes)


def _along(t: Tensor, axis: int, count: Size) -> Tensor:
    """(1 - f) * what is below + f * what is above, with the fraction f of each place."""
    size = t.shape[axis]
    if size == count:
        return t
    shape = tuple(count if a == axis else 1 for a in range(t.ndim))
    twice = iota(shape, axis) * 2 + 1
    n, m = size_as_tensor(size, int64), size_as_tensor(count, int64)
    ahead = maximum(twice * n - m, 0)
    fraction = cast(remainder(ahead, 2 * m), t.dtype) / cast(2 * m, t.dtype)
    below, above = (_at_size(t, rule, {axis: count}) for rule in ("below", "above"))
    return below * (1 - fraction) + above * fraction


FUNCTIONS |= {f.__name__: f for f in (pad, interpolate)}
