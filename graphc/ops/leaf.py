"""Leaves of the graph: placeholders, given by a call, and variables, living between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dtype import DType, dtype_or_default
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Cell, Tensor, Variable, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, shape_of
from graphc.ops.build import as_array

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer_placeholder(*, name: str, dtype: DType, shape: Shape) -> tuple[TensorType, ...]:
    return (TensorType(dtype, shape),)


PLACEHOLDER = register(
    Op("placeholder", Kind.LEAF, _infer_placeholder, facts=frozenset({Fact.INPUT}))
)


def _infer_variable(*, cell: Cell) -> tuple[TensorType, ...]:
    return (TensorType(to_dtype(cell.array.dtype), cell.array.shape),)


VARIABLE = register(Op("variable", Kind.LEAF, _infer_variable, facts=frozenset({Fact.STATE})))


def placeholder(name: str, shape: Any = (), dtype: Any = None) -> Tensor:
    """An input of the graph.

    Shapes: ints, and names of symbolic dims (`"n"`) or expressions over them (`"2*n + 1"`).
    Two placeholders with the same name, shape and dtype are the same tensor.
    Dtypes: any; the default dtype where none is given.
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
    kind = dtype_or_default(dtype)
    return apply(PLACEHOLDER, name=name, dtype=kind, shape=shape_of(shape)).output()


def variable(value: Any, name: str = "", trainable: bool = True, dtype: Any = None) -> Variable:
    """A tensor whose value lives between calls and changes by updates only.

    `value` is copied. Each call makes a new variable.
    Dtypes: as of `constant`: Python floats give the default dtype.
    Errors: `DTypeError` for a value that is not numbers, or that `dtype` cannot hold.

    >>> import graphc as gc
    >>> gc.variable([1.0, 2.0], name="w").value
    array([1., 2.], dtype=float32)
    """
    if not isinstance(name, str):
        raise ArgumentError("a name is a string", op="variable", given=repr(name)[:80])
    array = as_array("variable", value, dtype)
    result = apply(VARIABLE, cell=Cell(array, name, trainable)).output()
    assert isinstance(result, Variable)
    return result


FUNCTIONS |= {f.__name__: f for f in (placeholder, variable)}
