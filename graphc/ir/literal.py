"""Static values as text and back: types, names, and the attributes of nodes.

    None  True  -3  0.1  float(inf)  'text'        Python's own
    f32  n  2*n + 1                                a dtype, a dim, a size
    (0, n, ('a', 'b'))                             tuples
    f32(2.0)  i64([1, 2])  f32[2,64]("base64")     arrays: decimals where short, else their bytes
    ...                                            a graph, written below the node

Every value reads back exactly: decimals are the shortest that round to the same number, and a
NaN that is not the usual one is written as its bits, `f32(bits=0xffc00000)`.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphc.ir.dim import Dim, from_ast
from graphc.ir.dtype import BY_SHORT, DType, dtype, float64
from graphc.ir.graph import Graph
from graphc.ir.node import ArrayValue
from graphc.ir.shape import TensorType

_SHORT_ARRAY = 16  # elements; a longer array is written as its bytes
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*\Z")


# -- names -----------------------------------------------------------------------------------------
def write_name(name: str) -> str:
    """A user's name: as it is where plain, else a JSON string (no raw newline, NUL or bidi mark)."""
    return name if _PLAIN.match(name) else json.dumps(name, ensure_ascii=not name.isprintable())


def read_name(text: str) -> str:
    """The name that `write_name` wrote. Errors: `ValueError`."""
    return str(json.loads(text)) if text.startswith('"') else text


# -- types -----------------------------------------------------------------------------------------
def read_type(text: str) -> TensorType:
    """A type such as `f32[n,2*m + 1]`. Errors: `ValueError`, `SyntaxError`."""
    if text.endswith("[]"):
        return TensorType(_dtype_named(text[:-2]), ())
    return _type(ast.parse(text, mode="eval").body)


def _type(tree: ast.expr) -> TensorType:
    match tree:
        case ast.Subscript(value=ast.Name(id=short), slice=ast.Tuple(elts=sizes)):
            return TensorType(_dtype_named(short), tuple(from_ast(s) for s in sizes))
        case ast.Subscript(value=ast.Name(id=short), slice=size):
            return TensorType(_dtype_named(short), (from_ast(size),))
    raise ValueError("not a type such as f32[n,3]")


def _dtype_named(short: str) -> DType:
    if short not in BY_SHORT:
        raise ValueError(f"no dtype is called {short!r}; there are {', '.join(BY_SHORT)}")
    return BY_SHORT[short]


# -- attribute values ------------------------------------------------------------------------------
def write(value: Any, bodies: list[Graph], exact: bool = True) -> str:
    """`value` as text; a graph is appended to `bodies` and written `...`.

    With `exact` false a long array is written as the SHA-256 of its bytes. A value of a class that
    has no text form is written `<Class>`, which does not read back.
    """
    match value:
        case Graph():
            bodies.append(value)
            return "..."
        case tuple():
            items = ", ".join(write(v, bodies, exact) for v in value)
            return f"({items},)" if len(value) == 1 else f"({items})"
        case float():
            finite = np.isfinite(value)
            return repr(value) if finite else f"float({_number(np.float64(value))})"
        case None | bool() | int() | str():
            return repr(value)
        case DType() | Dim():
            return str(value)
        case ArrayValue():
            return _write_array(value.array, exact)
    return f"<{type(value).__name__}>"


def read(tree: ast.expr, bodies: Iterator[Graph]) -> Any:
    """The value that `write` wrote, graphs taken from `bodies` in order. Errors: `ValueError`."""
    match tree:
        case ast.Constant(value=value) if value is Ellipsis:
            return next(bodies)
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Tuple(elts=items):
            return tuple(read(item, bodies) for item in items)
        case ast.Name(id=short) if short in BY_SHORT:
            return BY_SHORT[short]
        case ast.Call(func=ast.Name(id="float"), args=args, keywords=keywords):
            array = _read_array(ast.Call(ast.Name("f64"), args, keywords))
            return float(array.array)
        case ast.Call(func=ast.Subscript()) | ast.Call(func=ast.Name(id=_Dtypes())):
            return _read_array(tree)
    return from_ast(tree)


class _DtypesMeta(type):
    def __instancecheck__(cls, value: object) -> bool:
        return value in BY_SHORT
