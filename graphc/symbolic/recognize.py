"""What a reader sees in a few nodes: operands without what stretches them, numbers everywhere in a
shape, products with vectors, labels as columns of ones, masks that were drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphc.ir.dim import Size
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import Shape


def unstretched(node: Node) -> list[Tensor]:
    """The operands of a broadcasting op; instead of one that is stretched, what is stretched, if
    another has the shape of the result anyway."""
    whole = node.output().shape
    result = list(node.inputs)
    for i, t in enumerate(node.inputs):
        if any(other.shape == whole for other in node.inputs[:i] + node.inputs[i + 1 :]):
            source = _everywhere(t)
            result[i] = _stretched(t) if source.ndim else source
            if result[i] is not t:
                break  # the others now tell the shape
    return result


def everywhere(t: Tensor) -> Tensor | None:
    """The number that every element of `t` is, if it was made as one."""
    source = _everywhere(t)
    return source if is_number(source) else None


def _everywhere(t: Tensor) -> Tensor:
    """What is stretched and reshaped to be `t`, if that is a scalar."""
    source = t
    while source.ndim and source.node.op.name in ("reshape", "broadcast_to"):
        source = source.node.inputs[0]
    return t if source.ndim else source


def _stretched(t: Tensor) -> Tensor:
    """What is stretched to be `t`: without axes of size 1 in front, which it does not need."""
    if t.node.op.name != "broadcast_to":
        return t
    x = t.node.inputs[0]
    if x.node.op.name == "reshape":
        source = x.node.inputs[0]
        if x.shape == (*(1,) * (x.ndim - source.ndim), *source.shape):
            return source
    return x


def is_number(t: Tensor) -> bool:
    return Fact.CONSTANT in t.node.op.facts and not t.ndim


def is_one(t: Tensor) -> bool:
    return is_number(t) and t.node.attrs["value"].array == 1


def scaled_by_logarithm(t: Tensor) -> tuple[float, Tensor] | None:
    """b and x, if the scalar `t` is log(b) x for a number b of few decimals."""
    if t.node.op.name != "multiply" or t.ndim:
        return None
    for factor, x in (t.node.inputs, t.node.inputs[::-1]):
        if is_number(factor):
            value = factor.node.attrs["value"].array
            base = round(math.exp(min(float(value), 1.0)), 6)
            if base > 0 and base != 1 and value.dtype.type(math.log(base)) == value:
                return base, x
    return None


def outer_factors(node: Node) -> tuple[Tensor, ...] | None:
    """The vectors of which the first is a column and the second a row, in this order."""
    column, row = (t.node for t in node.inputs)
    if column.op.name != "reshape" or row.op.name != "reshape":
        return None
    (u,), (v,) = column.inputs, row.inputs
    vectors = u.ndim == v.ndim == 1
    shapes = (column.attrs["shape"], row.attrs["shape"])
    return (u, v) if vectors and shapes == ((*u.shape, 1), (1, *v.shape)) else None


def one_hot_labels(t: Tensor) -> Tensor | None:
    """The labels, if along the last axis `t` says which of the positions there they are."""
    if t.node.op.name != "equal":
        return None
    column, positions = (x.node for x in t.node.inputs)
    if column.op.name != "reshape" or positions.op.name != "iota":
        return None
    (labels,) = column.inputs
    is_column = column.attrs["shape"] == (*labels.shape, 1)
    is_row = positions.types[0].shape == t.shape[-1:]
    return labels if is_column and is_row and t.ndim == labels.ndim + 1 else None


def product_with_vectors(x: Tensor, target: Sequence[Size]) -> tuple[Tensor, Tensor] | None:
    """The factors of a product with vectors, which were made matrices, and lose that axis again."""
    while x.node.op.name == "reshape":
        x = x.node.inputs[0]
    if x.node.op.name != "matmul":
        return None
    left, right = x.node.inputs
    row = _vector(left, lambda u: (1, *u.shape))
    column = _vector(right, lambda u: (*u.shape, 1))
    kept = [*x.shape[:-2], *x.shape[-2:-1] * (row is None), *x.shape[-1:] * (column is None)]
    if len(kept) == x.ndim or tuple(kept) != target:
        return None
    return left if row is None else row, right if column is None else column


def _vector(t: Tensor, as_matrix: Callable[[Tensor], Shape]) -> Tensor | None:
    """The vector that was made this row or column."""
    if t.node.op.name != "reshape":
        return None
    (source,) = t.node.inputs
    return source if source.ndim == 1 and t.shape == as_matrix(source) else None


def drawn(node: Node) -> Tensor | None:
    """The probability of a mask that was drawn by a key: uniform numbers below one number."""
    if node.op.name != "less" or not is_number(node.inputs[1]):
        return None
    return node.inputs[1] if _bits_of_uniform(node.inputs[0]) else None


def key_of(node: Node) -> Tensor:
    """The key of a mask that was drawn."""
    bits = _bits_of_uniform(node.inputs[0])
    assert bits is not None
    return bits.inputs[0]


def _bits_of_uniform(t: Tensor) -> Node | None:
    """The random words, if `t` is float32 numbers between 0 and 1 made of them: their upper 24 bits
    times 2^-24."""
    node, found = t.node, []
    for name, value in (("multiply", 2.0**-24), ("astype", None), ("shift_right", 8)):
        number = node.inputs[1] if node.op.name == name and len(node.inputs) > 1 else None
        fits = number is None or (is_number(number) and number.node.attrs["value"].array == value)
        if node.op.name != name or (number is None) != (value is None) or not fits:
            return None
        found.append(node)
        node = node.inputs[0].node
    return node if node.op.name == "random_bits" and len(node.inputs) == 1 else None


def is_convolution(node: Node) -> bool:
    """Whether a product is that of a convolution: of sums of products that read windows in place,
    or of windows that are copied, a row for each, as they are where channels are few."""
    return node.op.kind is Kind.CONVOLVE or any(map(_are_windows, node.inputs))


def _are_windows(t: Tensor) -> bool:
    """Whether all that `t` is made by, in kernels and around them, moves elements of windows."""
    regions: list[Node] = []
    while t.node.op.name != "windows":
        node = t.node
        if node.op.kind is Kind.REGION:
            regions.append(node)
            t = node.attrs["body"].outputs[t.index]
        elif regions and Fact.INPUT in node.op.facts:
            region = regions.pop()
            pairs = zip(region.attrs["body"].inputs, region.inputs, strict=True)
            t = next(outside for inside, outside in pairs if inside is t)
        elif node.op.only_moves and len(node.inputs) == 1:
            (t,) = node.inputs
        else:
            return False
    return True
