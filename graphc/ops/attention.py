"""Attention: means of values, weighted by the softmax of the products of queries and keys.

`attention` and the op of its gradient are single nodes to users and to rules; what they are in
other ops depends on the sizes (`attention_expand.py`). The gradient is a function of its cotangent
and of the operands: it makes the forward pass again, which is then the same nodes as there. Its own
derivative is that of the formula with all scores.

Axes: q [*batch, t, d], k [*batch, s, d], v [*batch, s, e]; a mask has as many axes as the scores
[*batch, t, s], each of the same size or of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.conditions import agree, never_equal
from graphc.ir.dtype import DType, bool_, float16, float32, uint32
from graphc.ir.graph import transform
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Batch, Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, agree_on_shape, broadcast, show
from graphc.ops.attention_expand import (
    Scores,
    expand_attention,
    expand_gradient,
    whole_gradient,
    whole_weights,
)
from graphc.ops.build import cast, operands, size_as_tensor, tensor
from graphc.ops.closure import fresh
from graphc.ops.elementwise import divide, sqrt
from graphc.ops.random_bits import numpy_kept
from graphc.ops.scalar import stretch, sum_to
from graphc.ops.shape import expand_dims, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}
_NAME = "dot_product_attention"


# -- type rules ------------------------------------------------------------------------------------
def _check(
    q: TensorType, k: TensorType, v: TensorType, more: Sequence[TensorType], masked: bool
) -> None:
    """Errors: `DTypeError`, `ShapeError` for operands that do not fit each other."""
    dtypes = {t.dtype for t in (q, k, v)}
    if len(dtypes) > 1 or not q.dtype.is_float:
        raise DTypeError(
            "operands have the wrong dtypes",
            expected="float32 or float64 each",
            given=", ".join(t.dtype.name for t in (q, k, v)),
        )
    _check_sizes("", q.shape, k.shape, v.shape)
    if not (
        agree_on_shape(q.shape[:-2], k.shape[:-2]) and agree_on_shape(k.shape[:-2], v.shape[:-2])
    ):
        raise ShapeError(
            "other batches", expected=show(q.shape[:-2]),
            given=f"{show(k.shape[:-2])} of keys, {show(v.shape[:-2])} of values",
        )  # fmt: skip
    if masked:
        _check_mask(more[0], (*q.shape[:-1], k.shape[-2]), q)


def _check_sizes(op: str, q: Shape, k: Shape, v: Shape) -> None:
    """Errors: `ShapeError` with the numbers."""
    if min(len(q), len(k), len(v)) < 2:
        raise ShapeError(
            "queries, keys and values are rows of matrices",
            op=op,
            expected="q [..., t, d], k [..., s, d], v [..., s, e]",
            given=", ".join(map(show, (q, k, v))),
        )
    if not agree(q[-1], k[-1]):
        raise ShapeError(
            "queries and keys are of different sizes",
            op=op,
            expected=f"keys of {q[-1]} features, as the queries {show(q)} have",
            given=show(k),
        )
    if not agree(k[-2], v[-2]):
        raise ShapeError(
            "not a value for each key",
            op=op,
            expected=f"{k[-2]} values, as there are keys {show(k)}",
            given=show(v),
        )


def _check_mask(mask: TensorType, scores: Shape, q: TensorType) -> None:
    if mask.dtype not in (bool_, q.dtype):
        raise DTypeError(
            "a mask is of bools, or of floats that are added to the scores",
            expected=f"bool or {q.dtype.name}", given=str(mask),
        )  # fmt: skip
    pairs = zip(mask.shape, scores, strict=False)
    if mask.rank != len(scores) or not all(m == 1 or agree(m, s) for m, s in pairs):
        raise _no_mask("", mask.shape, scores)


def _no_mask(op: str, mask: Shape, scores: Shape) -> ShapeError:
    return ShapeError(
        "the mask does not fit the scores",
        op=op,
        expected=f"a shape that broadcasts to {show(scores)}: batches, queries, keys",
        given=show(mask),
    )


def _infer(
    q: TensorType, k: TensorType, v: TensorType, *more: TensorType, **attrs: Any
) -> tuple[TensorType, ...]:
    _check(q, k, v, more, attrs["masked"])
    return (TensorType(q.dtype, (*q.shape[:-1], v.shape[-1])),)


def _infer_gradient(
    g: TensorType, q: TensorType, k: TensorType, v: TensorType, *more: TensorType, **attrs: Any
) -> tuple[TensorType, ...]:
    (out,) = _infer(q, k, v, *more, **attrs)
    if g.dtype is not out.dtype or not agree_on_shape(g.shape, out.shape):
        raise ShapeError("not a cotangent", expected=str(out), given=str(g))
    return q, k, v


# -- the meaning, by NumPy -------------------------------------------------------------------------
def _numpy_weights(
    q: Any, k: Any, more: Sequence[Any], *, scale: float, causal: bool, rate: float, masked: bool
) -> tuple[Any, Any]:
    """The weights of all pairs, and the factor by which each is kept or dropped."""
    with np.errstate(all="ignore"):
        scores = np.matmul(q, np.swapaxes(k, -1, -2)) * q.dtype.type(scale)
        none = scores.dtype.type(-np.inf)
        if masked:
            mask = more[0]
            scores = np.where(mask, scores, none) if mask.dtype == bool else scores + mask
        if causal:
            scores = np.where(np.tri(*scores.shape[-2:], dtype=np.bool_), scores, none)
        peak = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
        e = np.exp(scores - np.where(peak == -np.inf, scores.dtype.type(0), peak))
        total = np.sum(e, axis=-1, keepdims=True)
        weights = e / np.where(total == 0, scores.dtype.type(1), total)
    factor = weights.dtype.type(1 / (1 - rate))
    return weights, numpy_kept(more[-1], 1 - rate, weights.shape) * factor if rate else factor


def _numpy(q: Any, k: Any, v: Any, *more: Any, **attrs: Any) -> Any:
    weights, factor = _numpy_weights(q, k, more, **attrs)
    with np.errstate(all="ignore"):
        return np.matmul(weights * factor, v)


def _numpy_gradient(g: Any, q: Any, k: Any, v: Any, *more: Any, **attrs: Any) -> Any:
    weights, factor = _numpy_weights(q, k, more, **attrs)
    with np.errstate(all="ignore"):
        dv = np.matmul(np.swapaxes(weights * factor, -1, -2), g)
        dw = np.matmul(g, np.swapaxes(v, -1, -2)) * factor
        ds = weights * (dw - np.sum(dw * weights, axis=-1, keepdims=True))
        ds = ds * q.dtype.type(attrs["scale"])
        return np.matmul(ds, k), np.matmul(np.swapaxes(ds, -1, -2), q), dv


# -- derivatives -----------------------------------------------------------------------------------
def _vjp(context: Any, g: Tensor, out: Tensor, *inputs: Tensor, **attrs: Any) -> list[Any]:
    """By the op of the gradient. What an additive mask gets is as large as the scores; where it is
    wanted they are whole."""
    found: list[Any] = [None] * len(inputs)
    if attrs["masked"] and inputs[3].dtype is not bool_ and context.needs(3):
        q, k, v, mask = inputs[:4]
        *found[:3], ds = whole_gradient(g, q, k, v, Scores.of(q, k, inputs[3:], **attrs))
        found[3] = sum_to(ds, mask.shape)
    elif any(context.needs(i) for i in range(3)):
        found[:3] = apply(ATTENTION_GRADIENT, (g, *inputs), **attrs).outputs
    return found


def _gradient_vjp(
    context: Any, hs: Sequence[Tensor | None], out: Any, *inputs: Tensor, **attrs: Any
) -> list[Any]:
    """That of the formula with all scores, of placeholders: the operands may be the same tensor, or
    depend on each other."""
    given = fresh("attention", (t.type for t in inputs))
    g, q, k, v, *more = given
    made = whole_gradient(g, q, k, v, Scores.of(q, k, more, **attrs))
    pairs = [(y, h) for y, h in zip(made, hs, strict=False) if h is not None]
    stands = fresh("cotangent", (h.type for _, h in pairs))
    floats = [i for i, t in enumerate(inputs) if t.dtype.is_float and context.needs(i)]
    found = context.pull_back([y for y, _ in pairs], stands, [given[i] for i in floats])
    there = {i: t for i, t in zip(floats, found, strict=True) if t is not None}
    sources = dict(zip([*given, *stands], [*inputs, *(h for _, h in pairs)], strict=True))
    results = dict(zip(there, transform(list(there.values()), replace=sources), strict=True))
    return [results.get(i) for i in range(len(inputs))]


# -- many at once ----------------------------------------------------------------------------------
def _batched(op: Callable[[], Op], matrices: int) -> Callable[..., Any]:
    """The new axis is one more of the batch. A mask that all have has it with size 1. The draws of
    a dropout go by places in one array, so these go one after the other."""

    def many(batch: Batch, *inputs: Tensor, **attrs: Any) -> Any:
        if attrs["rate"]:
            return batch.one_by_one()
        given = [
            t if batch.has(i) else batch.spread(t) if i < matrices else expand_dims(t, 0)
            for i, t in enumerate(inputs)
        ]
        return list(apply(op(), given, **attrs).outputs)

    return many


ATTENTION: Op = register(
    Op(
        "attention",
        Kind.COMPOSITE,
        _infer,
        numpy=_numpy,
        vjp=_vjp,
        expand=expand_attention,
        batched=_batched(lambda: ATTENTION, 3),
        doc="softmax(q k') v, over the keys that a mask, and causal those before, lets be seen.",
    )
)
ATTENTION_GRADIENT: Op = register(
    Op(
        "attention_gradient",
        Kind.COMPOSITE,
        _infer_gradient,
        numpy=_numpy_gradient,
        vjp=_gradient_vjp,
        expand=expand_gradient,
        batched=_batched(lambda: ATTENTION_GRADIENT, 4),
        facts=frozenset({Fact.CANCELS}),  # a weight of 1 changes nothing
        weak=False,
        doc="The cotangents of queries, keys and values, from that of the result.",
    )
)


# -- the function ----------------------------------------------------------------------------------
def dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    key: Any = None,
) -> Tensor:
    """softmax(scale * q k') v: for each query the mean of the values, weighted by how well their
    keys fit.

    `mask` is of bools, which say what each query sees, or of floats, which are added to the scores.
    With `causal`, query i sees the keys up to i. A query that sees nothing gets zeros. `scale` is
    by default 1 / sqrt(d). `dropout` is the probability that a weight is 0; the others are then
    1 / (1 - dropout) times as large, and `key` says which (`gc.random`).
    Long sequences are computed block by block, forwards and backwards: the scores are nowhere
    whole, but for second derivatives and for the gradient of an additive mask.

    Shapes: q [..., t, d], k [..., s, d], v [..., s, e] -> [..., t, e]; what is before broadcasts,
    and the last axis of that, of heads, may have a multiple of those of k and v: each of these then
    serves several. mask: broadcasts to [..., t, s]. Dtypes: float; float16 is computed as float32.
    Errors: `ShapeError` for sizes that do not fit, `DTypeError` for other masks and keys,
    `ArgumentError` for a dropout outside of [0, 1), or without a key.
    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.1.

    >>> import graphc as gc
    >>> q = gc.constant([[1.0, 0.0]])
    >>> k, v = gc.constant([[50.0, 0.0], [0.0, 50.0]]), gc.constant([[1.0], [2.0]])
    >>> gc.evaluate(gc.dot_product_attention(q, k, v), {}).round(3)
    array([[1.]], dtype=float32)
    """
    given, by, to = _prepared(q, k, v, mask, scale)
    rate = _rate(dropout)
    if rate:
        given.append(_key(key))
    attrs = {"scale": by, "causal": bool(causal), "rate": rate, "masked": mask is not None}
    return cast(apply(ATTENTION, given, **attrs).output(), to)


def attention_weights(
    q: Any, k: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None
) -> Tensor:
    """The weights by which `dot_product_attention` takes the mean of values.

    Shapes: q [..., t, d], k [..., s, d] -> [..., t, s]. All else as there.
    """
    (q, k, _, *more), by, to = _prepared(q, k, k, mask, scale)
    scores = Scores.of(q, k, more, by, bool(causal), 0.0, mask is not None)
    return cast(whole_weights(q, k, scores), to)


def _prepared(
    q: Any, k: Any, v: Any, mask: Any, scale: float | None
) -> tuple[list[Tensor], float, DType]:
    """The operands of the op, the scale of the scores, and the dtype of the result."""
    q, k, v = operands(_NAME, q, k, v)
    to = q.dtype
    if not to.is_float and to is not float16:
        raise DTypeError(
            "queries, keys and values are floats",
            op=_NAME, expected="float32 or float64", given=to.name, where=origin.where(),
        )  # fmt: skip
    q, k, v = (cast(t, float32 if to is float16 else to) for t in (q, k, v))
    _check_sizes(_NAME, q.shape, k.shape, v.shape)
    k, v = (_for_heads(t, q.shape) for t in (k, v))
    batch = broadcast(_NAME, *(t.shape[:-2] for t in (q, k, v)))
    if scale is None and not isinstance(q.shape[-1], int):
        q, scale = divide(q, sqrt(size_as_tensor(q.shape[-1], q.dtype))), 1.0
    given = [stretch(t, (*batch, *t.shape[-2:])) for t in (q, k, v)]
    scores = (*batch, q.shape[-2], k.shape[-2])
    if mask is not None:
        given.append(_mask(tensor(mask, _NAME), scores, q))
    return given, _scale(q.shape[-1], scale), to


def _for_heads(x: Tensor, q: Shape) -> Tensor:
    """Keys or values for as many heads as the queries have: each for several."""
    if x.ndim < 3 or len(q) < 3:
        return x
    own, heads = x.shape[-3], q[-3]
    if not isinstance(own, int) or not isinstance(heads, int) or own in (0, 1, heads):
        return x
    if heads % own:
        raise ShapeError(
            "the heads of the queries are no multiple of those of keys and values",
            op=_NAME, expected=f"a multiple of {own} heads", given=f"{heads}: {show(q)}",
        )  # fmt: skip
    *batch, _, t, d = x.shape
    several = stretch(expand_dims(x, -3), (*batch, own, heads // own, t, d))
    return reshape(several, (*batch, heads, t, d))


def _scale(size: Any, scale: Any) -> float:
    if scale is None:
        return float(max(size, 1) ** -0.5)
    number = isinstance(scale, (int, float, np.integer, np.floating))
    if not number or isinstance(scale, bool) or not np.isfinite(scale):
        raise ArgumentError(
            "not a scale of scores",
            op=_NAME, expected="a finite number", given=repr(scale)[:80],
            hint="multiply the queries by what is a tensor",
        )  # fmt: skip
    return float(scale)


def _mask(mask: Tensor, scores: Shape, q: Tensor) -> Tensor:
    """The mask with all axes of the scores."""
    if mask.dtype.is_float or mask.dtype is float16:
        mask = cast(mask, q.dtype)
    if mask.ndim > len(scores) or any(
        m != 1 and never_equal(m, s)
        for m, s in zip(reversed(mask.shape), reversed(scores), strict=False)
    ):
        raise _no_mask(_NAME, mask.shape, scores)
    return reshape(mask, (*(1,) * (len(scores) - mask.ndim), *mask.shape))


def _rate(dropout: Any) -> float:
    number = isinstance(dropout, (int, float, np.integer, np.floating)) and dropout is not True
    if not number or not 0 <= dropout < 1:
        raise ArgumentError(
            "not a probability of dropout",
            op=_NAME, expected="a number in [0, 1)", given=repr(dropout)[:80],
        )  # fmt: skip
    return float(dropout)


def _key(key: Any) -> Tensor:
    given = None if key is None or isinstance(key, str) else tensor(key, _NAME)
    if given is None:
        raise ArgumentError(
            "dropout needs a key",
            op=_NAME, expected="key=, uint32[2]", given=repr(key),
            hint="gc.random.key(seed) makes one of a number",
        )  # fmt: skip
    if given.dtype is not uint32 or given.shape != (2,):
        raise DTypeError("not a key", op=_NAME, expected="uint32[2]", given=str(given.type))
    return given


FUNCTIONS |= {"dot_product_attention": dot_product_attention}
