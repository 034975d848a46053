"""Leaves of the graph: placeholders, given by a call, and variables, living between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.ir import origin
from graphc.ir.dtype import DType
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.given import given_array
from graphc.ir.node import Cell, Tensor, Variable, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, shape_of

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer_placeholder(*, name: str, dtype: DType, shape: Shape) -> tuple[TensorType, ...]:
    return (TensorType(dtype, shape),)


PLACEHOLDER = register(
    Op("placeholder", Kind.LEAF, _infer_placeholder, facts=frozenset({Fact.INPUT}))
)


def _infer_variable(*, cell: Cell) -> tuple[TensorType, ...]:
    return (TensorType(to_dtype(cell.array.dtype), cell.array.shape),)


VARIABLE = register(Op("variable", Kind.LEAF, _infer_variable, facts=frozenset({Fact.STATE})))


def placeholder(name: str, shape: Any = (), dtype: Any = "float32") -> Tensor:
    """An input of the graph.

    Shapes: ints, and names of symbolic dims (`"n"`) or expressions over them (`"2*n + 1"`).
    Two placeholders with the same name, shape and dtype are the same tensor.
    Errors: `ArgumentError` for a name that is not a string or a shape that is none;
    `DTypeError` for a dtype that graphc does not have.

    >>> import graphc as gc
    >>> gc.placeholder("x", ("n", 784)).type
    TensorType(dtype=f32, shape=(n, 784))
    """
    if not isinstance(name, str) or not name:
        raise ArgumentError(
            "a placeholder needs a name", op="placeholder", given=repr(name), where=origin.where()
        )
    return apply(PLACEHOLDER, name=name, dtype=to_dtype(dtype), shape=shape_of(shape)).output()


def variable(value: Any, name: str = "", trainable: bool = True, dtype: Any = None) -> Variable:
    """A tensor whose value lives between calls and changes by updates only.

    `value` is copied. Python floats give float32. Each call makes a new variable.
    Errors: `DTypeError` for a value that is not numbers.

    >>> import graphc as gc
    >>> gc.variable([1.0, 2.0], name="w").value
    array([1., 2.], dtype=float32)
    """
    if not isinstance(name, str):
        raise ArgumentError("a name is a string", op="variable", given=repr(name)[:80])
    try:
        array = given_array("variable", value)
    except ValueError as error:
        raise ArgumentError(str(error), op="variable", given=type(value).__name__) from None
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            "not numbers", op="variable", given=f"dtype {array.dtype}", where=origin.where()
        )
    if dtype is not None:
        kind = to_dtype(dtype)
    elif array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
        kind = to_dtype("float32")
    else:
        kind = to_dtype(array.dtype)
    stored = np.array(array, dtype=kind.numpy, order="C", copy=True)
    result = apply(VARIABLE, cell=Cell(stored, name, trainable)).output()
    assert isinstance(result, Variable)
    return result


FUNCTIONS |= {f.__name__: f for f in (placeholder, variable)}
