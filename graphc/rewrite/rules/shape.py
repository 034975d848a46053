"""Rules about where elements are: reshapes, permutations, broadcasts, slices, concatenations.

They bring moves together so that they cancel, and let broadcasts happen as late as possible: an
elementwise op stretches its operands by itself, so a scalar stays a scalar until it is stored.
"""

from __future__ import annotations

import operator

import numpy as np

from graphc.ir.dim import Size, product
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Fact
from graphc.ir.shape import Shape, moves_unit_axes
from graphc.ops.build import constant, scalar_like
from graphc.ops.elementwise import multiply
from graphc.ops.index import PAD, strided_slice
from graphc.ops.reduce import SUM
from graphc.ops.scalar import stretch
from graphc.ops.shape import JOINED, concat, flip, permute_dims, reshape
from graphc.rewrite.ruleset import EXACT, ORDER, STABLE, Result, Ruleset

shape = Ruleset("shape")

_ZERO: Size = 0
_PARTS = 64  # parts of a sum that are looked at together
_MOVES = ("permute_dims", "broadcast_to", "flip", "slice", "reshape")  # one operand, no arithmetic


# -- nothing moves ---------------------------------------------------------------------------------
@shape.rewrite(EXACT, "reshape", "broadcast_to", "permute_dims", "slice", "pad", "astype")
def drop_identity(node: Node) -> Result:
    """reshape(x, shape of x) -> x; and so for other moves, and conversions"""
    (x,) = node.inputs
    if x.type != node.types[0]:
        return None
    axes = node.attrs.get("axes")
    if axes is not None and list(axes) != sorted(axes):
        return None
    return x if all(start == 0 for start in node.attrs.get("starts", ())) else None


# -- one move after another ------------------------------------------------------------------------
@shape.rewrite(EXACT, "reshape")
def merge_reshapes(node: Node) -> Result:
    """reshape(reshape(x)) -> reshape(x)"""
    x = _below(node, "reshape")
    return reshape(x, node.types[0].shape) if x is not None else None


@shape.rewrite(EXACT, "permute_dims")
def merge_permutations(node: Node) -> Result:
    """permute_dims(permute_dims(x)) -> permute_dims(x)"""
    x = _below(node, "permute_dims")
    if x is None:
        return None
    inner = node.inputs[0].node.attrs["axes"]
    return permute_dims(x, [inner[a] for a in node.attrs["axes"]])


@shape.rewrite(EXACT, "flip")
def merge_flips(node: Node) -> Result:
    """flip(flip(x)) -> flip(x), along the axes in one but not both"""
    x = _below(node, "flip")
    if x is None:
        return None
    axes = set(node.attrs["axes"]) ^ set(node.inputs[0].node.attrs["axes"])
    return flip(x, sorted(axes)) if axes else x


@shape.rewrite(EXACT, "broadcast_to")
def merge_broadcasts(node: Node) -> Result:
    """broadcast_to(broadcast_to(x)) -> broadcast_to(x), and a constant [[2]] is the number 2"""
    x = _unstretched(node.inputs[0])
    return stretch(x, node.types[0].shape) if x is not node.inputs[0] else None


@shape.rewrite(EXACT, "slice")
def merge_slices(node: Node) -> Result:
    """slice(slice(x)) -> slice(x)"""
    x = _below(node, "slice")
    if x is None:
        return None
    inner, outer = node.inputs[0].node.attrs, node.attrs
    pairs = list(zip(inner["starts"], inner["steps"], outer["starts"], outer["steps"], strict=True))
    starts = tuple(s1 + d1 * s2 for s1, d1, s2, _ in pairs)
    return strided_slice(x, starts, outer["sizes"], tuple(d1 * d2 for _, d1, _, d2 in pairs))


@shape.rewrite(EXACT, "concat")
def merge_concats(node: Node) -> Result:
    """concat([concat([x, y]), z]) -> concat([x, y, z]), along one axis"""
    axis = node.attrs["axis"]
    parts: list[Tensor] = []
    for t in node.inputs:
        inner = t.node
        nested = inner.op is node.op and inner.attrs["axis"] == axis
        parts.extend(inner.inputs if nested else [t])
    grows = len(node.inputs) < len(parts) <= JOINED
    return concat(parts, axis) if grows else None


def _below(node: Node, op: str) -> Tensor | None:
    """The operand of the operand of `node`, if that is an `op`."""
    inner = node.inputs[0].node
    return inner.inputs[0] if inner.op.name == op else None


# -- broadcasts as late as possible ----------------------------------------------------------------
@shape.rewrite(EXACT, Fact.ELEMENTWISE, over=["broadcast_to", "constant"])
def broadcast_after_elementwise(node: Node) -> Result:
    """f(broadcast_to(x), y) -> f(x, y), broadcast if y does not stretch it; of numbers, a number"""
    if node.op.may_fail or node.types[0].dtype.is_complex:
        return None  # of no elements it does not fail; complex numbers move by their parts
    operands = [_unstretched(t) for t in node.inputs]
    if all(map(operator.is_, operands, node.inputs)):
        return None
    (out,) = node.types
    if all(t.ndim == 0 and t.node.op.name == "constant" for t in operands):
        assert node.op.numpy is not None
        with np.errstate(all="ignore"):
            number = node.op.numpy(*(t.node.attrs["value"].array for t in operands), **node.attrs)
        return stretch(constant(number, out.dtype), out.shape)
    return stretch(apply(node.op, operands, **node.attrs).output(), out.shape)


def _unstretched(t: Tensor) -> Tensor:
    """What `t` is the broadcast of: of a constant of one element, the number."""
    if t.node.op.name == "broadcast_to":
        return t.node.inputs[0]
    if t.node.op.name == "constant" and t.ndim > 0 and t.size == 1:
        return constant(t.node.attrs["value"].array.reshape(()))
    return t


@shape.rewrite(EXACT, *_MOVES)
def move_before_broadcast(node: Node) -> Result:
    """reshape(broadcast_to(number), shape) -> broadcast_to(number, shape); so for other moves"""
    if node.op.name == "broadcast_to":
        return None
    x = _below(node, "broadcast_to")
    if x is None or any(s != 1 for s in x.shape):
        return None
    return stretch(reshape(x, ()), node.types[0].shape)


@shape.rewrite(EXACT, "reshape")
def reshape_before_broadcast(node: Node) -> Result:
    """reshape(broadcast_to(x)) -> broadcast_to(reshape(x)), where only axes of size 1 come or go"""
    x, target = _below(node, "broadcast_to"), node.types[0].shape
    stretched = node.inputs[0].shape
    if x is None or not moves_unit_axes(stretched, target):
        return None
    sizes = (1,) * (len(stretched) - x.ndim) + x.shape
    kept = iter([small for small, s in zip(sizes, stretched, strict=True) if s != 1])
    before = tuple(1 if s == 1 else next(kept) for s in target)
    return stretch(reshape(x, before), target)


@shape.rewrite(EXACT, "broadcast_to")
def drop_leading_ones(node: Node) -> Result:
    """broadcast_to(reshape(x, (1, *shape of x))) -> broadcast_to(x)"""
    x, given = _below(node, "reshape"), node.inputs[0].shape
    if x is None:
        return None
    leading = len(given) - x.ndim
    if leading > 0 and given == (1,) * leading + x.shape:
        return stretch(x, node.types[0].shape)
    return None


@shape.rewrite(ORDER, "sum")
def multiply_instead_of_sum(node: Node) -> Result:
    """sum(broadcast_to(x)) -> x * size, along axes that were stretched and are not empty"""
    x, axes = _below(node, "broadcast_to"), node.attrs["axes"]
    if x is None:
        return None
    wide = node.inputs[0].shape
    sizes = (1,) * (len(wide) - x.ndim) + x.shape
    summed = tuple(a for a in axes if sizes[a] == 1)
    count = product(wide[a] for a in summed)
    if not summed or not isinstance(count, int) or count < 1:
        return "no stretched axis of a known size is summed over"
    rest = tuple(s for a, s in enumerate(wide) if a not in summed)
    small = tuple(s for a, s in enumerate(sizes) if a not in summed)
    scaled = stretch(multiply(reshape(x, small), scalar_like(count, x)), rest)
    left = tuple(a - len([b for b in summed if b < a]) for a in axes if a not in summed)
    return apply(SUM, (scaled,), axes=left).output() if left else scaled


# -- sums ------------------------------------------------------------------------------------------
@shape.rewrite(ORDER, "sum")
def merge_sums(node: Node) -> Result:
    """sum(sum(x)) -> sum(x), over the axes of both"""
    x = _below(node, "sum")
    if x is None:
        return None
    inner = node.inputs[0].node.attrs["axes"]
    kept = [a for a in range(x.ndim) if a not in inner]
    outer = [kept[a] for a in node.attrs["axes"]]
    return apply(SUM, (x,), axes=tuple(sorted((*inner, *outer)))).output()


# -- parts that were cut and are put together, or the other way round ------------------------------
@shape.rewrite(EXACT, "slice")
def take_part_of_concat(node: Node) -> Result:
    """slice(concat([x, y]), where y is) -> y"""
    (whole,) = node.inputs
    if whole.node.op.name != "concat":
        return None
    axis, low = whole.node.attrs["axis"], _ZERO
    starts, steps = node.attrs["starts"], node.attrs["steps"]
    for part in whole.node.inputs:
        at: tuple[Size, ...] = tuple(low if a == axis else 0 for a in range(whole.ndim))
        if starts == at and part.shape == node.types[0].shape and all(d == 1 for d in steps):
            return part
        low = low + part.shape[axis]
    return "the slice is not one of the parts"


@shape.rewrite(EXACT, "slice")
def take_what_was_padded(node: Node) -> Result:
    """slice(pad(x), where x is) -> x"""
    x = _below(node, "pad")
    if x is None:
        return None
    pad = node.inputs[0].node.attrs
    same = all(pad[name] == node.attrs[name] for name in ("starts", "steps"))
    return x if same and x.shape == node.types[0].shape else "the slice is not what was padded"


@shape.rewrite(STABLE, "add", over=["add", "pad"])
def concat_padded_parts(node: Node) -> Result:
    """pad(x) + pad(y) -> pad(concat([x, y])), for two or more parts that lie side by side

    The gradient of a split. Adding makes 0.0 of an element that is -0.0; this keeps it.
    """
    pads = _added_pads(node)
    if pads is None:
        return None
    starts = [pad.attrs["starts"] for pad in pads]
    apart = [a for a in range(len(starts[0])) if any(at[a] != starts[0][a] for at in starts)]
    parts = [pad.inputs[0] for pad in pads]
    if len(apart) != 1 or len({_without(t.shape, apart[0]) for t in parts}) != 1:
        return "the parts do not lie along one axis"
    (axis,) = apart
    by_start = {at[axis]: t for at, t in zip(starts, parts, strict=True)}
    ends = {start + t.shape[axis] for start, t in by_start.items()}
    first = [start for start in by_start if start not in ends]
    ordered: list[Tensor] = []
    position: Size = first[0] if first else 0
    while position in by_start and by_start[position].shape[axis] != 0:
        ordered.append(by_start[position])
        position = position + by_start[position].shape[axis]
    if len(first) != 1 or len(ordered) != len(parts):
        return "the parts are not side by side"
    joined, wide = concat(ordered, axis), node.types[0].shape
    if joined.shape == wide:
        return joined
    low = tuple(first[0] if a == axis else at for a, at in enumerate(starts[0]))
    return apply(PAD, (joined,), starts=low, sizes=wide, steps=(1,) * joined.ndim).output()


def _added_pads(node: Node) -> list[Node] | None:
    """The pads that are added up in `node`; None if anything else is, or too many. Nearest first,
    so that a long sum of other things is left at once."""
    found: list[Node] = []
    level = [node]
    while level:
        below: list[Node] = []
        for current in level:
            if current.types != node.types:
                return None
            if current.op is node.op:
                below.extend(t.node for t in current.inputs)
            elif current.op is PAD and all(d == 1 for d in current.attrs["steps"]):
                found.append(current)
            else:
                return None
        level = below
        if len(found) + len(level) > _PARTS:
            return None
    return found


def _without(sizes: Shape, axis: int) -> Shape:
    return (*sizes[:axis], *sizes[axis + 1 :])
