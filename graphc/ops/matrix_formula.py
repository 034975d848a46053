"""Matrix expressions of SymPy in ops: what is a matrix there has its axes last here.

A matrix symbol is a tensor [..., r, c]; a scalar in a product is one for each matrix of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import sympy as sp

from graphc.ir.node import Tensor
from graphc.ir.operators import function
from graphc.ops.build import operands as of_one_dtype
from graphc.ops.build import tensor

_LARGEST_POWER = 64


def is_matrix(e: Any) -> bool:
    return isinstance(e, (sp.MatrixExpr, sp.MatrixBase))


def entries(e: Any) -> tuple[Any, ...]:
    """What the value of a matrix expression is made of."""
    if isinstance(e, sp.MatrixBase):
        return tuple(e.flat())
    if isinstance(e, _MADE):
        return ()
    return (e.base,) if isinstance(e, sp.MatPow) else tuple(e.args)


_MADE = (sp.Identity, sp.ZeroMatrix, sp.OneMatrix)


def matrix_value(e: Any, values: Sequence[Any]) -> Tensor | None:
    """The tensor of a matrix expression, from those of its entries; None where there is no op."""
    if isinstance(e, sp.MatrixBase):
        return assembled(values, tuple(int(n) for n in e.shape))
    if isinstance(e, _MADE):
        return _made(e)
    if isinstance(e, sp.MatPow):
        return _power(values[0], e.exp)
    build = _BUILDERS.get(type(e).__name__)
    return None if build is None else build(e, values)


def assembled(values: Sequence[Any], shape: tuple[int, ...]) -> Tensor:
    """Elements in row-major order as one tensor, with `shape` behind the axes of the elements."""
    if not values:
        empty: Tensor = tensor([], "from_sympy").reshape(shape)
        return empty
    same = of_one_dtype("from_sympy", *(tensor(v, "from_sympy") for v in values))
    total = reduce(lambda x, y: x + y, same)  # whose shape is that of all elements
    wide = [function("broadcast_to")(t, total.shape) for t in same]
    stacked: Tensor = function("stack")(wide, axis=-1)
    return stacked.reshape((*total.shape, *shape))


def _made(e: Any) -> Tensor | None:
    rows, columns = map(sp.sympify, e.shape)
    if not (rows.is_Integer and columns.is_Integer):
        return None
    shape = (int(rows), int(columns))
    if isinstance(e, sp.Identity):
        eye: Tensor = function("eye")(shape[0])
        return _weak(eye)
    filled: Tensor = function("full")(shape, 0.0 if isinstance(e, sp.ZeroMatrix) else 1.0)
    return filled


def _weak(x: Tensor) -> Tensor:
    """Zeros and ones that take the dtype of what they meet."""
    made: Tensor = function("where")(x > 0, 1.0, 0.0)
    return made


def _power(x: Tensor, exponent: Any) -> Tensor | None:
    if not exponent.is_Integer or abs(exponent) > _LARGEST_POWER or exponent == 0:
        return None
    base: Tensor = function("inv")(x) if exponent < 0 else x
    power: Tensor = base
    for _ in range(abs(int(exponent)) - 1):
        power = function("matmul")(power, base)
    return power


def _product(e: Any, values: Sequence[Any]) -> Tensor:
    """The product of matrices, times that of scalars."""
    matrices = [v for x, v in zip(e.args, values, strict=True) if is_matrix(x)]
    scalars = [v for x, v in zip(e.args, values, strict=True) if not is_matrix(x)]
    product: Tensor = reduce(function("matmul"), matrices)
    for scalar in scalars:
        product = function("multiply")(_beside(scalar), product)
    return product


def _beside(scalar: Any) -> Any:
    """A scalar as it multiplies the matrices of a batch."""
    is_batch = isinstance(scalar, Tensor) and scalar.ndim > 0
    return function("expand_dims")(scalar, (-2, -1)) if is_batch else scalar


def _all(name: str) -> Callable[[Any, Sequence[Any]], Tensor]:
    return lambda e, values: reduce(function(name), values)


_BUILDERS: dict[str, Callable[[Any, Sequence[Any]], Tensor]] = {
    "MatMul": _product,
    "MatAdd": _all("add"),
    "HadamardProduct": _all("multiply"),
    "Transpose": lambda e, values: function("matrix_transpose")(values[0]),
    "Adjoint": lambda e, values: function("matrix_transpose")(values[0]),
    "Inverse": lambda e, values: function("inv")(values[0]),
}
