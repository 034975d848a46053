"""Rules about the order of axes in memory: permutations move towards the results.

There they meet, and cancel: between two convolutions, which have channels last and are asked to
have them first, what lies between is computed with channels last. Or they meet a matrix product,
which reads its operands transposed at no cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.ir.dim import size_hint
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Axes, Fact
from graphc.ir.shape import moves_unit_axes
from graphc.ops.index import zero_pad
from graphc.ops.shape import concat, permute_dims, reshape
from graphc.rewrite.ruleset import EXACT, ORDER, STABLE, Result, Ruleset

layout = Ruleset("layout")
tiles = Ruleset("tiles")  # for graphs whose composite ops are expanded

_MOVED = ["permute_dims"]


@layout.rewrite(EXACT, Fact.ELEMENTWISE, over=_MOVED)
def permute_after_elementwise(node: Node) -> Result:
    """f(permute_dims(x), y) -> permute_dims(f(x, y)), where y is permuted alike, a number, a vector
    along one axis, or smaller than x"""
    if node.op.may_fail or node.types[0].dtype.is_complex:
        return None
    permuted = [t for t in node.inputs if t.node.op.name == "permute_dims"]
    largest = max(permuted, key=lambda t: size_hint(t.size))
    if largest.ndim != len(node.types[0].shape):
        return "a permuted operand has fewer axes"
    operands: list[Tensor] = []
    for t in node.inputs:
        moved = _in_order(t, largest, node)
        if moved is None:
            return "another operand has an order of its own"
        operands.append(moved)
    made = apply(node.op, operands, **node.attrs).output()
    return permute_dims(made, largest.node.attrs["axes"])


def _in_order(t: Tensor, like: Tensor, node: Node) -> Tensor | None:
    """The operand as it is before its axes are permuted `like` another one's; None where that would
    be work, or more of it: where that one is stretched."""
    axes = like.node.attrs["axes"]
    if t.node.op is like.node.op and t.node.attrs["axes"] == axes:
        return t.node.inputs[0]
    if t.ndim == 0:
        return t
    if len(axes) < 3 or like.shape != node.types[0].shape:  # a kernel reads a matrix either way
        return None
    wide = (1,) * (len(axes) - t.ndim) + t.shape
    if sum(s != 1 for s in wide) <= 1:
        return reshape(t, _undone(wide, axes))
    if size_hint(t.size) >= size_hint(like.size):
        return None
    return permute_dims(reshape(t, wide), _inverse(axes))


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _undone(values: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    """What stands for each axis, in the order before they are permuted."""
    return tuple(values[i] for i in _inverse(axes))


@layout.rewrite(ORDER, "matmul", needs=["permute_dims"])
def permute_in_product(node: Node) -> Result:
    """f(permute_dims(x), v) @ y -> permute_dims(f(x, v)) @ y, for matrices and a vector along one
    axis: f reads x as it lies, and the product reads a transposed operand at no cost"""
    operands = [_turned(t) for t in node.inputs]
    if all(new is old for new, old in zip(operands, node.inputs, strict=True)):
        return None
    return apply(node.op, operands, **node.attrs).output()


def _turned(t: Tensor) -> Tensor:
    """The tensor, where that can be as the transpose of what reads matrices as they lie."""
    found = _before_turning(t, 8) if t.ndim == 2 and not t.dtype.is_complex else None
    return t if found is None else permute_dims(found, (1, 0))


def _before_turning(t: Tensor, deep: int) -> Tensor | None:
    """The transpose of an elementwise result of transposed matrices, beside vectors and numbers."""
    node = t.node
    if Fact.ELEMENTWISE not in node.op.facts or node.op.may_fail or not deep:
        return None
    operands: list[Tensor] = []
    turned = False  # some matrix; vectors alone would be turned for ever
    for x in node.inputs:
        if x.ndim == 0:
            operands.append(x)
        elif x.ndim == 1 or 1 in x.shape:
            operands.append(permute_dims(reshape(x, (1,) * (2 - x.ndim) + x.shape), (1, 0)))
        elif x.node.op.name == "permute_dims" and x.node.attrs["axes"] == (1, 0):
            operands.append(x.node.inputs[0])
            turned = True
        elif (inner := _before_turning(x, deep - 1)) is not None:
            operands.append(inner)
            turned = True
        else:
            return None
    if not turned:
        return None
    made = apply(node.op, operands, **node.attrs).output()
    return made if made.shape == t.shape[::-1] and 1 not in t.shape else None


# -- other ops that keep their axes ----------------------------------------------------------------
@layout.rewrite(EXACT, "slice", "pad", "flip", "resample", over=_MOVED)
def permute_after_moves(node: Node) -> Result:
    """pad(permute_dims(x)) -> permute_dims(pad(x)); so for other moves along each axis"""
    (t,) = node.inputs
    axes = t.node.attrs["axes"]
    attrs = dict(node.attrs)
    for name, kind in (node.op.axes or {}).items():
        several = kind is Axes.SEVERAL
        attrs[name] = (
            tuple(sorted(axes[a] for a in attrs[name])) if several else _undone(attrs[name], axes)
        )
    return permute_dims(apply(node.op, t.node.inputs, **attrs).output(), axes)


@layout.rewrite(EXACT, "concat", over=_MOVED)
def permute_after_concat(node: Node) -> Result:
    """concat([permute_dims(x), permute_dims(y)]) -> permute_dims(concat([x, y]))"""
    if any(t.node.op.name != "permute_dims" for t in node.inputs):
        return None
    if len({t.node.attrs["axes"] for t in node.inputs}) > 1:
        return "the parts are permuted in several ways"
    axes = node.inputs[0].node.attrs["axes"]
    parts = [t.node.inputs[0] for t in node.inputs]
    return permute_dims(concat(parts, axes[node.attrs["axis"]]), axes)


# -- ops that add axes, or take some away ----------------------------------------------------------
@layout.rewrite(EXACT, "windows", over=_MOVED)
def permute_after_windows(node: Node) -> Result:
    """windows(permute_dims(x)) -> permute_dims(windows(x)), their elements in the last axes"""
    (t,) = node.inputs
    axes = t.node.attrs["axes"]
    attrs = {**node.attrs, "axes": tuple(axes[a] for a in node.attrs["axes"])}
    made = apply(node.op, t.node.inputs, **attrs).output()
    return permute_dims(made, (*axes, *range(len(axes), made.ndim)))


@layout.rewrite(EXACT, "fold_windows", over=_MOVED)
def permute_after_fold(node: Node) -> Result:
    """fold_windows(permute_dims(x)) -> permute_dims(fold_windows(x)), where the elements of windows
    stay in the last axes"""
    (t,) = node.inputs
    axes, rank = t.node.attrs["axes"], len(node.types[0].shape)
    if not _keeps_windows_last(t, rank):
        return "the elements of windows are in other axes"
    attrs = {**node.attrs, "axes": tuple(axes[a] for a in node.attrs["axes"])}
    return permute_dims(apply(node.op, t.node.inputs, **attrs).output(), axes[:rank])


def _keeps_windows_last(t: Tensor, rank: int) -> bool:
    return bool(t.node.attrs["axes"][rank:] == tuple(range(rank, t.ndim)))


def _reduced(node: Node) -> Result:
    (t,) = node.inputs
    axes = t.node.attrs["axes"]
    gone = sorted(axes[a] for a in node.attrs["axes"])
    left = [axes[a] for a in range(t.ndim) if a not in node.attrs["axes"]]
    made = apply(node.op, t.node.inputs, axes=tuple(gone)).output()
    return permute_dims(made, [sorted(left).index(a) for a in left])


@layout.rewrite(EXACT, "max", "min", over=_MOVED)
def permute_after_extremum(node: Node) -> Result:
    """max(permute_dims(x)) -> permute_dims(max(x)), over the same axes"""
    return _reduced(node)


@layout.rewrite(ORDER, "sum", over=_MOVED)
def permute_after_sum(node: Node) -> Result:
    """sum(permute_dims(x)) -> permute_dims(sum(x)), over the same axes"""
    return _reduced(node)


@layout.rewrite(EXACT, "reshape", over=_MOVED)
def permute_after_unit_axes(node: Node) -> Result:
    """reshape(permute_dims(x)) -> permute_dims(reshape(x)), where axes of size 1 come or go"""
    (t,), (out,) = node.inputs, node.types
    if not moves_unit_axes(t.shape, out.shape):
        return None
    axes, (x,) = t.node.attrs["axes"], t.node.inputs
    kept = [axes[a] for a, s in enumerate(t.shape) if s != 1]  # of x, in the order of the result
    units = sum(s == 1 for s in out.shape)
    source = (1,) * units + tuple(x.shape[a] for a in sorted(kept))
    places = iter(units + sorted(kept).index(a) for a in kept)
    ones = iter(range(units))
    return permute_dims(
        reshape(x, source), [next(ones) if s == 1 else next(places) for s in out.shape]
    )


@layout.rewrite(EXACT, "broadcast_to", over=_MOVED)
def permute_after_broadcast(node: Node) -> Result:
    """broadcast_to(permute_dims(x)) -> permute_dims(broadcast_to(x))"""
    (t,), shape = node.inputs, node.types[0].shape
    new = len(shape) - t.ndim
    axes = (*range(new), *(new + a for a in t.node.attrs["axes"]))
    wide = apply(node.op, t.node.inputs, shape=_undone(shape, axes)).output()
    return permute_dims(wide, axes)


# -- windows that lie side by side, where no more permutations will come ---------------------------
@tiles.rewrite(STABLE, "fold_windows")
def fold_side_by_side(node: Node) -> Result:
    """fold_windows(x) -> pad(reshape(permute_dims(x))), where no windows overlap or leave gaps

    Adding makes 0.0 of an element that is -0.0; this keeps it.
    """
    (t,), attrs = node.inputs, node.attrs
    rank = len(node.types[0].shape)
    window = t.shape[rank:]
    if t.node.op.name == "permute_dims" and _keeps_windows_last(t, rank):
        return "the operand's axes are put in order first"
    if window != attrs["strides"] or any(d != 1 for d in attrs["dilations"]):
        return "windows overlap, or leave gaps"
    inner = {axis: rank + i for i, axis in enumerate(attrs["axes"])}
    order = [a for axis in range(rank) for a in (axis, inner.get(axis)) if a is not None]
    sizes = tuple(
        s * t.shape[inner[a]] if a in inner else s for a, s in enumerate(t.shape[:rank])
    )
    whole = reshape(permute_dims(t, order), sizes)
    target = node.types[0].shape
    return whole if sizes == target else zero_pad(whole, (0,) * rank, target, (1,) * rank)
