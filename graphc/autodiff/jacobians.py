"""Whole derivatives: Jacobians and Hessians, block by block.

A block is a vjp or a jvp for every unit cotangent or tangent at once: the linear graph is made for
one of them, and `batched` makes of it the graph of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from graphc.autodiff.batching import batched, spread
from graphc.autodiff.compressed import compressed_jacobian, dense, is_static
from graphc.autodiff.derivatives import gradient, positions, pulled, pushed
from graphc.autodiff.given import derivative_of, floats, is_function
from graphc.errors import ArgumentError
from graphc.ir.dim import Size, evaluate, names
from graphc.ir.graph import transform
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.ir.shape import Shape
from graphc.ir.structure import unflatten
from graphc.ops.closure import fresh
from graphc.ops.contract import swaps_last_axes
from graphc.ops.create import eye, ones_like, zeros
from graphc.ops.shape import permute_dims, reshape

Blocks = list[list[Tensor | None]]  # for each output, for each of what it is differentiated by
Way = Callable[[Sequence[Tensor], Sequence[Tensor]], Blocks]
_TYPICAL = 64  # what a named size is taken to be, to choose between forward and reverse mode


def jacobian(
    y: Any, wrt: Any = None, *, argnums: Any = None, has_aux: bool = False, sparse: str = ""
) -> Any:
    """All first derivatives of `y`, by forward or reverse mode, which has less to compute.

    `gc.jacobian(y, wrt)`: of tensors by tensors, both in any structure.
    `gc.jacobian(f, argnums=0)`: a function of `f`'s arguments that gives the Jacobian of its result
    by the argument at that position, or for several positions a tuple; with `has_aux`, where `f`
    gives a pair, (Jacobian, aux). As in JAX, the result is built as `y`, and each of its leaves as
    `wrt`: `gc.jacobian({"a": y}, [x])["a"][0]` is the block of y by x.
    With `sparse="auto"` a block of static sizes whose structure lets it be computed in at most half
    of the passes is, and is as dense as the others; `gc.sparse_jacobian` gives SciPy's matrices.

    Shapes: a block has the shape of its part of `y`, followed by that of its part of `wrt`; the
    shape of x where y is a scalar. Blocks that are zero by structure are zeros. Dtypes: float.
    Errors: `GradientError` for what is not float; `ArgumentError` for what is no tensor and for
    positions at which there is no argument, and for another `sparse`.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (2,))
    >>> gc.evaluate(gc.jacobian(gc.stack([x[0] * x[1], x[0], x[1] ** 2]), x), {x: [2.0, 3.0]})
    array([[3., 2.],
           [1., 0.],
           [0., 6.]], dtype=float32)
    """
    return _jacobian("jacobian", _ways("jacobian", sparse, _cheaper), y, wrt, argnums, has_aux)


def jacfwd(y: Any, wrt: Any = None, *, argnums: Any = None, has_aux: bool = False) -> Any:
    """The Jacobian by forward mode: one pass for each element of `wrt`, all at once. Arguments,
    result and errors are as those of `jacobian`.

    >>> import numpy as np
    >>> import graphc as gc
    >>> f = gc.jit(gc.jacfwd(lambda x: x * gc.sum(x)))
    >>> f(np.array([1.0, 2.0]))
    array([[4., 1.],
           [2., 5.]])
    """
    return _jacobian("jacfwd", _by_columns, y, wrt, argnums, has_aux)


def jacrev(y: Any, wrt: Any = None, *, argnums: Any = None, has_aux: bool = False) -> Any:
    """The Jacobian by reverse mode: one pass for each element of `y`, all at once. Arguments,
    result and errors are as those of `jacobian`.

    >>> import numpy as np
    >>> import graphc as gc
    >>> f = gc.jit(gc.jacrev(lambda x: x * gc.sum(x)))
    >>> f(np.array([1.0, 2.0]))
    array([[4., 1.],
           [2., 5.]])
    """
    return _jacobian("jacrev", _by_rows, y, wrt, argnums, has_aux)


def hessian(
    y: Any, wrt: Any = None, *, argnums: Any = None, has_aux: bool = False, sparse: str = ""
) -> Any:
    """All second derivatives of a scalar, by forward over reverse mode.

    Arguments as of `jacobian`, for a scalar `y`, or a function that gives one. The result is built
    as `wrt`, and each of its leaves as `wrt` again: `gc.hessian(y, {"a": a, "b": b})["a"]["b"]` is
    the block by a and b.

    Shapes: a block has the shapes of both, one behind the other. Blocks that are zero by structure
    are zeros. Dtypes: float.
    Errors: as of `jacobian`, and `GradientError` if `y` is no scalar.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (2,))
    >>> gc.evaluate(gc.hessian(x[0] ** 2 * x[1], x), {x: [2.0, 3.0]})
    array([[6., 4.],
           [4., 0.]], dtype=float32)
    """

    blocks = _ways("hessian", sparse, _by_symmetry)

    def second(y: Any, wrt: Any) -> Any:
        return _whole("hessian", blocks, gradient("hessian", y, wrt, "zero"), wrt)

    if is_function("hessian", y, wrt, argnums, has_aux):
        return derivative_of("hessian", y, positions(wrt, argnums), has_aux, second)
    return second(y, wrt)


def _jacobian(op: str, blocks: Way, y: Any, wrt: Any, argnums: Any, has_aux: bool) -> Any:
    if is_function(op, y, wrt, argnums, has_aux):
        at = positions(wrt, argnums)
        return derivative_of(op, y, at, has_aux, lambda y, wrt: _whole(op, blocks, y, wrt))
    return _whole(op, blocks, y, wrt)


def _whole(op: str, blocks: Way, y: Any, wrt: Any) -> Any:
    outputs, y_structure = floats(op, y, "y", complex=False)
    targets, structure = floats(op, wrt, "wrt", complex=False)
    rows = (
        [
            zeros((*t.shape, *x.shape), t.dtype) if block is None else block
            for x, block in zip(targets, row, strict=True)
        ]
        for t, row in zip(outputs, blocks(outputs, targets), strict=True)
    )
    return unflatten(y_structure, [unflatten(structure, row) for row in rows])


# -- blocks ----------------------------------------------------------------------------------------
def _ways(op: str, sparse: str, way: Way) -> Way:
    if sparse == "":
        return way
    if sparse != "auto":
        raise ArgumentError(
            "unknown way of using the structure",
            op=op,
            expected='sparse="auto", or nothing',
            given=repr(sparse)[:80],
            hint="gc.sparse_jacobian and gc.sparse_hessian give sparse matrices",
        )
    return lambda outputs, wrt: _by_structure(op, outputs, wrt, way)


def _by_structure(op: str, outputs: Sequence[Tensor], wrt: Sequence[Tensor], way: Way) -> Blocks:
    """`way`, but for the blocks that need few passes by their structure."""
    found: Blocks = [[_structured(op, y, x) for x in wrt] for y in outputs]
    if any(block is None for row in found for block in row):
        blocks = way(outputs, wrt)
        return [
            [b if a is None else a for a, b in zip(*rows, strict=True)]
            for rows in zip(found, blocks, strict=True)
        ]
    return found


def _structured(op: str, y: Tensor, x: Tensor) -> Tensor | None:
    if not is_static(y, x):
        return None
    made = compressed_jacobian(op, y, x)
    if 2 * made.passes > min(int(y.size), int(x.size)):
        return None
    return reshape(dense(made), (*y.shape, *x.shape))


def _cheaper(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> Blocks:
    """By columns, unless there are fewer rows: a pass backwards keeps what the forward one has."""
    rows, columns = (sum(_typical(t.size) for t in tensors) for tensors in (outputs, wrt))
    return (_by_rows if rows < columns else _by_columns)(outputs, wrt)


def _typical(size: Size) -> int:
    return evaluate(size, dict.fromkeys(names(size), _TYPICAL))


def _by_rows(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> Blocks:
    return [
        [
            None if block is None else reshape(block, (*y.shape, *x.shape))
            for x, block in zip(wrt, _for_units(y, partial(_cotangents, y, wrt)), strict=True)
        ]
        for y in outputs
    ]


def _cotangents(y: Tensor, wrt: Sequence[Tensor], g: Tensor) -> list[Tensor | None]:
    return pulled([y], wrt, [g])


def _by_columns(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> Blocks:
    columns = [_for_units(x, partial(_tangents, outputs, x)) for x in wrt]
    return [
        [_units_last(block, y.shape, x.shape) for x, block in zip(wrt, row, strict=True)]
        for y, *row in zip(outputs, *columns, strict=True)
    ]


def _by_symmetry(gradient: Sequence[Tensor], wrt: Sequence[Tensor]) -> Blocks:
    """Of a symmetric Jacobian, whose columns are its rows: no block is transposed."""
    return [
        [
            None if row is None else reshape(row, (*x.shape, *g.shape))
            for g, row in zip(gradient, _for_units(x, partial(_tangents, gradient, x)), strict=True)
        ]
        for x in wrt
    ]


def _tangents(outputs: Sequence[Tensor], x: Tensor, t: Tensor) -> list[Tensor | None]:
    return pushed(outputs, [x], [t])


def _for_units(x: Tensor, linear: Callable[[Tensor], list[Tensor | None]]) -> list[Tensor | None]:
    """What a linear function of a tensor like x gives for every unit tensor, along a new axis in
    front; without that axis where there is one unit."""
    if x.size == 1:
        return linear(ones_like(x))
    (unit,) = fresh("unit", [x.type])
    found = linear(unit)
    known = [t for t in found if t is not None]
    ones = eye(x.size, dtype=x.dtype)
    all_at_once = batched(known, {unit: reshape(ones, (x.size, *x.shape))}, x.size)
    made = iter(_without_products(all_at_once, ones))
    return [None if t is None else _with_axis(next(made), t.ndim, x.size) for t in found]


def _without_products(tensors: Sequence[Tensor], ones: Tensor) -> list[Tensor]:
    """`tensors`, where a matrix product by the unit matrix `ones` is its other factor."""

    def rewrite(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if node.op.kind is Kind.CONTRACT:
            for factor, other in (inputs, inputs[::-1]):
                if other.type == node.types[0] and _is(factor, ones):
                    return [other]
        return None

    return transform(tensors, rewrite)


def _is(t: Tensor, ones: Tensor) -> bool:
    """Whether t is `ones`, with unit axes on the way or turned over, which changes nothing."""
    if t.shape != ones.shape:
        return False
    while t is not ones and (t.node.op.kind is Kind.VIEW or swaps_last_axes(t.node)):
        (t,) = t.node.inputs
        if tuple(size for size in t.shape if size != 1) != ones.shape:
            return False
    return t is ones


def _with_axis(t: Tensor, rank: int, size: Size) -> Tensor:
    return t if t.ndim > rank else spread(t, size)


def _units_last(block: Tensor | None, y: Shape, x: Shape) -> Tensor | None:
    """A block [units, *y] as [*y, *x]."""
    if block is None:
        return None
    if block.ndim > len(y):
        block = permute_dims(block, (*range(1, block.ndim), 0))
    return reshape(block, (*y, *x))
