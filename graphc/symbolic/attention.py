r"""How attention reads: `softmax(Q K' / sqrt(d)) V`, with the heads of a layer as an index.

A layer makes heads of the features of its queries, keys and values, and puts the results of all of
them side by side again. What of that only arranges elements is not written: of `Q` the part that
head i has is `Q_{i}`, and what is side by side again is `concat(head_{1:h})`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from graphc.ir.dtype import bool_
from graphc.ir.node import Node, Tensor
from graphc.symbolic.texts import MATMUL, POWER, PRODUCT, SUM, Text, made, number, size

OPS = ("attention", "attention_gradient")


class Attention(NamedTuple):
    """What a node of attention computes: of how many `heads` side by side in its operands, or of
    operands that are not split (None). `root`: the scores are divided by the square root of it, if
    that is what the scale is. `more`: the key of a dropout."""

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    more: tuple[Tensor, ...]
    heads: int | None
    scale: float
    root: int | None
    causal: bool
    rate: float

    @property
    def operands(self) -> tuple[Tensor, ...]:
        """What the text shows."""
        return (self.q, self.k, self.v, *([] if self.mask is None else [self.mask]), *self.more)


def attention(node: Node, given: Collection[Tensor] = ()) -> Attention:
    """What a node of one of `OPS` computes; of the gradient, what it is the gradient of. Through
    what is `given`, a text at which one stops, nothing is seen."""
    inputs = node.inputs[node.op.name == "attention_gradient" :]
    attrs, more = node.attrs, list(inputs[3:])
    mask = _seen_through(more.pop(0), given) if attrs["masked"] else None
    splits = [split_heads(t, given) for t in inputs[:3]]
    counts = {None if split is None else split[1] for split in splits}
    (heads,) = counts if len(counts) == 1 else (None,)
    q, k, v = inputs[:3] if heads is None else (s[0] for s in splits if s is not None)
    width, scale = inputs[0].shape[-1], attrs["scale"]
    is_root = isinstance(width, int) and scale == float(max(width, 1) ** -0.5)
    root = width if isinstance(width, int) and is_root else None
    causal, rate = attrs["causal"], attrs["rate"]
    return Attention(q, k, v, mask, tuple(more), heads, scale, root, causal, rate)


def split_heads(t: Tensor, given: Collection[Tensor] = ()) -> tuple[Tensor, int] | None:
    """What has heads side by side in its last axis and how many, if `t` has them as an axis."""
    return _split(t, given) if _swaps(t) else None


def turned_heads(t: Tensor, given: Collection[Tensor] = ()) -> tuple[Tensor, int] | None:
    """The same for what has the matrix of each head transposed."""
    turned = (*range(t.ndim - 3), t.ndim - 2, t.ndim - 1, t.ndim - 3)
    return _split(t, given) if _axes(t) == turned else None


def heads(t: Tensor, given: Collection[Tensor] = ()) -> tuple[Tensor, int] | None:
    """What is split into heads to be `t`, either way."""
    return split_heads(t, given) or turned_heads(t, given)


def _split(t: Tensor, given: Collection[Tensor]) -> tuple[Tensor, int] | None:
    inner = t.node.inputs[0]
    if inner.node.op.name != "reshape" or t in given or inner in given:
        return None
    (source,), (heads, width) = inner.node.inputs, inner.shape[-2:]
    if not isinstance(heads, int) or not source.ndim or source.shape[-1] != heads * width:
        return None  # the axes before may be one axis of rows
    return source, heads


def joined_heads(t: Tensor, given: Collection[Tensor] = ()) -> Tensor | None:
    """The result of attention, or of a product of what it is made of, of which `t` has the heads
    side by side in its last axis."""
    if t.node.op.name != "reshape" or not _swaps(inner := t.node.inputs[0]):
        return None
    (heads, width), (result,) = inner.shape[-2:], inner.node.inputs
    if inner in given:
        return None
    is_joined = t.ndim > 0 and t.shape[-1] == heads * width
    op = result.node.op
    return result if is_joined and (op.name in OPS or op.multiplies_matrices) else None


def _swaps(t: Tensor) -> bool:
    """Whether `t` has the two axes before the last one in the other order."""
    return _axes(t) == (*range(t.ndim - 3), t.ndim - 2, t.ndim - 3, t.ndim - 1)


def _axes(t: Tensor) -> tuple[int, ...]:
    """The order of axes of what moves three or more of them."""
    moves = t.node.op.name == "permute_dims" and t.ndim > 2
    return tuple(t.node.attrs["axes"]) if moves else ()


def _seen_through(mask: Tensor, given: Collection[Tensor]) -> Tensor:
    """A mask without the axes of size 1 that it was given to fit the scores."""
    while mask.node.op.name == "reshape" and mask not in given:
        (source,) = mask.node.inputs
        if [n for n in source.shape if n != 1] != [n for n in mask.shape if n != 1]:
            break
        mask = source
    return mask


# -- texts -----------------------------------------------------------------------------------------
def in_latex(
    read: Attention, given: Sequence[Text], mask: Text | None, kept: Text | None
) -> Text:
    """The formula of queries, keys and values; `kept` is the mask of a dropout."""
    q, k, v = given
    scores = made(rf"{q.above(POWER - 1)} {k.above(POWER)}^{{\top}}", MATMUL, (q, k))
    if read.root is not None:
        scores = Text(rf"\frac{{{scores.text}}}{{\sqrt{{{size(read.root).text}}}}}", POWER)
    elif read.scale != 1:
        by = number(np.float64(read.scale)).above(PRODUCT)
        scores = Text(rf"{by} \cdot {scores.above(MATMUL - 1)}", PRODUCT)
    below = [r"\mathrm{causal}"] if read.causal else []
    if mask is not None and read.mask is not None and read.mask.dtype is bool_:
        below.append(mask.text)
    elif mask is not None:
        scores = Text(f"{scores.text} + {mask.above(SUM)}", SUM)
    shows = r",\, ".join(below)
    name = rf"\operatorname{{softmax}}_{{{shows}}}" if shows else r"\operatorname{softmax}"
    weights = rf"{name}\left({scores.text}\right)"
    if kept is not None:
        left = number(np.float64(1) - read.rate).text
        weights = rf"\frac{{{kept.text} \odot {weights}}}{{{left}}}"
    texts: Sequence[Text] = [x for x in (q, k, v, mask, kept) if x is not None]
    return made(f"{weights} {v.above(MATMUL)}", MATMUL, texts)


def in_plain(read: Attention, q: str, k: str, v: str, mask: str = "", key: str = "") -> str:
    """The formula in Python's signs; operands have their brackets."""
    if read.heads is not None and read.heads != 1:
        q, k, v = (f"heads({x}, {read.heads})" for x in (q, k, v))
    scores = f"{q} @ {k}.T"
    if read.root is not None:
        scores += f" / sqrt({read.root})"
    elif read.scale != 1:
        scores += f" * {read.scale:g}"
    told = [scores, *(["causal"] if read.causal else []), *([f"mask={mask}"] if mask else [])]
    weights = f"softmax({', '.join(told)})"
    if key:
        weights = f"dropout({weights}, {read.rate:g}, {key})"
    return f"{weights} @ {v}"


def in_signs(read: Attention, q: str, k: str, v: str, mask: str = "") -> tuple[str, ...]:
    """The lines of a box: the formula, and what it says besides."""
    if read.root is not None:
        scores = f"{q} {k}ᵀ / √{read.root}"
    else:
        scores = f"{q} {k}ᵀ" + (f" × {read.scale:.3g}" if read.scale != 1 else "")
    told = [f"{read.heads} heads"] if read.heads is not None and read.heads > 1 else []
    told += ["causal"] if read.causal else []
    told += [f"mask {mask}"] if mask else []
    told += [f"dropout {read.rate:g}"] if read.rate else []
    return (f"softmax({scores}) {v}", *([", ".join(told)] if told else []))
