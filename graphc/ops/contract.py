"""Contractions: matrix products, for the BLAS."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir.conditions import agree, never_equal
from graphc.ir.dim import Size, size_hint
from graphc.ir.dim import product as size_product
from graphc.ir.dtype import bool_
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Batch, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, broadcast, common, show
from graphc.ops.build import cast, operands, tensor
from graphc.ops.elementwise import multiply
from graphc.ops.reduce import MAX, SUM, sum
from graphc.ops.scalar import sum_to
from graphc.ops.shape import (
    expand_dims,
    matrix_transpose,
    permute_dims,
    reshape,
    unit_axes_behind_first,
)

FUNCTIONS: dict[str, Callable[..., Any]] = {}
Labels: TypeAlias = "tuple[str, ...]"


def _infer_matmul(x: TensorType, y: TensorType) -> tuple[TensorType, ...]:
    if x.dtype is not y.dtype or x.dtype is bool_:
        raise DTypeError(
            "operands have the wrong dtypes",
            op="matmul",
            expected="one numeric dtype",
            given=f"{x.dtype.name}, {y.dtype.name}",
        )
    if x.rank < 2 or y.rank < 2 or not agree(x.shape[-1], y.shape[-2]):
        raise _inner_sizes_differ(x.shape, y.shape)
    batch = broadcast("matmul", x.shape[:-2], y.shape[:-2])
    return (TensorType(x.dtype, (*batch, x.shape[-2], y.shape[-1])),)


def _inner_sizes_differ(x: Shape, y: Shape) -> ShapeError:
    return ShapeError(
        "inner sizes differ",
        op="matmul",
        expected="(..., m, k) @ (..., k, n)",
        given=f"{show(x)} @ {show(y)}",
    )


def _matmul_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> list[Any]:
    gx = sum_to(matmul(g, matrix_transpose(y)), x.shape) if context.needs(0) else None
    gy = sum_to(matmul(matrix_transpose(x), g), y.shape) if context.needs(1) else None
    return [gx, gy]


def _matmul_jvp(
    context: object, ts: Sequence[Tensor | None], out: Tensor, x: Tensor, y: Tensor
) -> Tensor | None:
    """tx @ y + x @ ty."""
    tx, ty = ts
    left = None if tx is None else apply(MATMUL, (tx, y)).output()
    right = None if ty is None else apply(MATMUL, (x, ty)).output()
    return left if right is None else right if left is None else left + right


def _batched_matmul(batch: Batch, x: Tensor, y: Tensor) -> Tensor:
    """Of two operands with the new axis, the products of all pairs. Of one, a single product as far
    as the other has no leading axes: the new axis joins the rows or the columns."""
    if batch.has(0) and batch.has(1):
        rank = max(x.ndim, y.ndim)
        pair = [unit_axes_behind_first(t, rank) for t in (x, y)]
        return apply(MATMUL, pair).output()
    terms = [
        Labelled(t, (*_leading(t, batch.has(i)), *last))
        for i, (t, last) in enumerate(((x, ("row", "inner")), (y, ("inner", "column"))))
    ]
    sizes: dict[str, Size] = {}
    for t, labels in terms:
        for label, size in zip(labels, t.shape, strict=True):
            known = sizes.get(label, 1)
            sizes[label] = size if known == 1 else known if size == 1 else common(known, size)
    # An axis of size 1 is stretched, or stands for a vector's: neither makes a product larger.
    units = {a for a, s in sizes.items() if s == 1} | {*sizes} - {"inner"}
    leading = sorted((a for a in sizes if a.isdigit()), key=int, reverse=True)
    out = ("new", *leading, "row", "column")
    left, right = (squeezed(term, units) for term in terms)
    result = contract(left, right, tuple(a for a in out if sizes[a] != 1)).tensor
    return reshape(result, tuple(sizes[a] for a in out))


def _leading(t: Tensor, has_new: bool) -> Labels:
    """The labels of the axes before the last two: numbers, counted from the last one."""
    rest = t.ndim - 2 - has_new
    return (*("new",) * has_new, *(str(i) for i in reversed(range(rest))))


def _as_multiply_and_sum(x: Tensor, y: Tensor) -> Tensor:
    """The same product by elementwise multiplication and a sum: for dtypes that no BLAS takes.

    x: [..., m, k], y: [..., k, n] -> [..., m, n], summed over the last axis of [..., m, n, k].
    """
    left = expand_dims(x, -2)
    right = expand_dims(matrix_transpose(y), -3)
    return cast(sum(multiply(left, right), axis=-1), x.dtype)


MATMUL = register(
    Op(
        "matmul",
        Kind.CONTRACT,
        _infer_matmul,
        numpy=np.matmul,
        vjp=_matmul_vjp,
        jvp=_matmul_jvp,
        written_out=_as_multiply_and_sum,
        batched=_batched_matmul,
        doc="Matrix products of the last two axes; leading axes broadcast.",
    )
)


def matmul(x: Any, y: Any) -> Tensor:
    """The matrix product, as NumPy's `@`.

    Shapes: [..., m, k] @ [..., k, n] -> [..., m, n]; a rank-1 operand is a row on the left and a
    column on the right, and its axis is dropped from the result.
    Errors: `ShapeError` for scalars and for inner sizes that differ; `DTypeError` for bools.
    """
    a, b = operands("matmul", x, y)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(
            "a scalar has no matrix product",
            op="matmul",
            expected="rank >= 1",
            given=f"{show(a.shape)} @ {show(b.shape)}",
            hint="use * to scale",
        )
    if never_equal(a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]):
        raise _inner_sizes_differ(a.shape, b.shape)
    left = expand_dims(a, 0) if a.ndim == 1 else a
    right = expand_dims(b, 1) if b.ndim == 1 else b
    result = apply(MATMUL, (left, right)).output()
    if a.ndim == 1:
        result = reshape(result, (*result.shape[:-2], result.shape[-1]))
    return reshape(result, result.shape[:-1]) if b.ndim == 1 else result


def swaps_last_axes(node: Node) -> bool:
    """Whether the node is the transpose of matrices."""
    if node.op.name != "permute_dims":
        return False
    axes = node.attrs["axes"]
    return bool(axes == (*range(len(axes) - 2), len(axes) - 1, len(axes) - 2))


def dot(x: Any, y: Any) -> Tensor:
    """The product of two matrices or vectors, as `matmul`; scalars multiply."""
    a, b = tensor(x, "dot"), tensor(y, "dot")
    return multiply(a, b) if a.ndim == 0 or b.ndim == 0 else matmul(a, b)


# -- products of tensors whose axes have labels ----------------------------------------------------
class Labelled(NamedTuple):
    """A tensor with a label for each axis; no label twice."""

    tensor: Tensor
    labels: Labels


def contract(x: Labelled, y: Labelled, out: Labels) -> Labelled:
    """The sum over all labels that are not in `out` of x times y, with axes in the order of `out`.

    One matrix product: labels of both that are in `out` are its batch, those of both that are not
    its inner axes. Axes that are neighbours merge by a reshape that moves nothing, and others are
    permuted, which the BLAS reads in place; what is left is copied. Where nothing is summed, or
    nothing is left beside the batch, it is an elementwise product and a sum, which fuse.

    Shapes: axes with the same label have the same size. Dtypes: one for both; bools multiply by
    `and` and add by `or`.
    """
    x, y = (_unpermuted(sum_out(a, (*b.labels, *out))) for a, b in ((x, y), (y, x)))
    if out and out[-1] in x.labels and out[-1] not in y.labels:
        x, y = y, x  # its columns are the result's last axis
    batch = tuple(a for a in out if a in x.labels and a in y.labels)
    rows = tuple(a for a in x.labels if a not in y.labels)
    columns = tuple(a for a in y.labels if a not in x.labels)
    summed = {a for a in x.labels if a in y.labels and a not in out}
    orders = [tuple(a for a in labels if a in summed) for labels in (x.labels, y.labels)]
    inner = min(orders, key=lambda o: _copied(x, rows, o) + _copied(y, o, columns))
    if not inner or not (rows or columns) or x.tensor.dtype is bool_:
        every = (*out, *inner)
        product = multiply(aligned(x, every), aligned(y, every))
        return sum_out(Labelled(product, every), out)
    result = matmul(_matrices(x, batch, rows, inner), _matrices(y, batch, inner, columns))
    sizes = dict(zip(x.labels + y.labels, x.tensor.shape + y.tensor.shape, strict=True))
    order = (*batch, *rows, *columns)
    return permuted(Labelled(reshape(result, tuple(sizes[a] for a in order)), order), out)


def _copied(x: Labelled, *groups: Labels) -> int:
    """About how many elements are copied to bring the axes of each group together."""
    return 0 if all(_adjacent(x.labels, g) for g in groups) else size_hint(x.tensor.size)


def _adjacent(labels: Labels, group: Labels) -> bool:
    """Whether the axes of the group are neighbours, in its order."""
    start = labels.index(group[0]) if group else 0
    return labels[start : start + len(group)] == group


def _matrices(x: Labelled, batch: Labels, rows: Labels, columns: Labels) -> Tensor:
    """The tensor as [*batch, rows, columns]. Where it has to be copied, what is last in memory
    stays last: a matrix that is stored transposed is read in place."""
    if not (_adjacent(x.labels, rows) and _adjacent(x.labels, columns)):
        by_columns = x.labels[-1:] == rows[-1:]
        x = permuted(x, (*batch, *columns, *rows) if by_columns else (*batch, *rows, *columns))
    groups: list[Labels] = []
    for label in x.labels:
        group = next((g for g in (rows, columns) if label in g), (label,))
        if group not in groups:
            groups.append(group)
    for group in (rows, columns):
        if not group:
            groups.append(group)
    sizes = dict(zip(x.labels, x.tensor.shape, strict=True))
    merged = reshape(x.tensor, tuple(size_product(sizes[a] for a in g) for g in groups))
    wanted = [*((a,) for a in batch), rows, columns]
    return permute_dims(merged, [groups.index(g) for g in wanted])


def _unpermuted(x: Labelled) -> Labelled:
    """The tensor that is permuted to make x, so that axes are seen as they are in memory."""
    t, labels = x
    while t.node.op.name == "permute_dims":
        axes = t.node.attrs["axes"]
        labels = tuple(labels[axes.index(a)] for a in range(t.ndim))
        t = t.node.inputs[0]
    return Labelled(t, labels)


def permuted(x: Labelled, order: Labels) -> Labelled:
    """x with its axes in another order."""
    return Labelled(permute_dims(x.tensor, [x.labels.index(a) for a in order]), order)


def aligned(x: Labelled, order: Labels) -> Tensor:
    """x with an axis for each label of `order`, of size 1 where it has none."""
    t, labels = permuted(x, tuple(a for a in order if a in x.labels))
    sizes = dict(zip(labels, t.shape, strict=True))
    return reshape(t, tuple(sizes.get(a, 1) for a in order))


def squeezed(x: Labelled, labels: Set[str]) -> Labelled:
    """x without those axes of `labels` that have the static size 1."""
    kept = [i for i, s in enumerate(x.tensor.shape) if s != 1 or x.labels[i] not in labels]
    t = reshape(x.tensor, tuple(x.tensor.shape[i] for i in kept))
    return Labelled(t, tuple(x.labels[i] for i in kept))


def sum_out(x: Labelled, kept: Labels) -> Labelled:
    """x summed over the labels that are not in `kept`, in its own dtype."""
    axes = tuple(i for i, a in enumerate(x.labels) if a not in kept)
    if not axes:
        return x
    op = MAX if x.tensor.dtype is bool_ else SUM  # of bools: whether one is true
    labels = tuple(a for a in x.labels if a in kept)
    return Labelled(apply(op, (x.tensor,), axes=axes).output(), labels)


FUNCTIONS |= {f.__name__: f for f in (matmul, dot)}
