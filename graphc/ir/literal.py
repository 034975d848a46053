"""Static values as text and back: types, names, and the attributes of nodes.

    None  True  -3  0.1  float(inf)  'text'        Python's own
    f32  n  2*n + 1                                a dtype, a dim, a size
    (0, n, ('a', 'b'))                             tuples
    f32(2.0)  i64([1, 2])  f32[2,64]("base64")     arrays: decimals where short, else their bytes
    c64([2.0, -1.0])                               complex numbers: their parts, along a last axis
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
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphc.ir.dim import Dim, from_ast
from graphc.ir.dtype import BY_SHORT, DType, bool_, dtype, float64
from graphc.ir.graph import Graph
from graphc.ir.node import ArrayValue
from graphc.ir.parsing import parse_expression
from graphc.ir.shape import TensorType

_SHORT_ARRAY = 16  # elements; a longer array is written as its bytes
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*\Z")


# -- names -----------------------------------------------------------------------------------------
def write_name(name: str) -> str:
    """A user's name: itself where plain, else a JSON string without raw control characters."""
    return name if _PLAIN.match(name) else json.dumps(name, ensure_ascii=not name.isprintable())


def read_name(text: str) -> str:
    """The name that `write_name` wrote. Errors: `ValueError`."""
    return str(json.loads(text)) if text.startswith('"') else text


# -- types -----------------------------------------------------------------------------------------
def read_type(text: str) -> TensorType:
    """A type such as `f32[n,2*m + 1]`. Errors: `ValueError`, `SyntaxError`."""
    if text.endswith("[]"):
        return TensorType(_dtype_named(text[:-2]), ())
    return _type(parse_expression(text))


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
            text = _number(np.float64(value))
            return text if np.isfinite(value) else f"float({text})"
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
            return float(_read_array(float64, args, keywords).array)
        case ast.Call(func=ast.Name(id=short), args=args, keywords=keywords) if short in BY_SHORT:
            return _read_array(BY_SHORT[short], args, keywords)
        case ast.Call(func=ast.Subscript() as declared, args=[ast.Constant(value=str(data))]):
            return _read_bytes(_type(declared), data)
    return from_ast(tree)


# -- arrays ----------------------------------------------------------------------------------------
def write_scalar(value: Any) -> str:
    """A scalar constant, as it is written inside an operand list: `f32(2.0)`."""
    kind = dtype(value.dtype)
    if not kind.is_complex:
        return f"{kind.short}({_number(value)})"
    parts = _nested(_parts(value))
    return f"{kind.short}({parts if '=' not in parts else _bits(value)})"


def _parts(array: Any) -> Any:
    """Complex numbers as pairs of floats, along a new last axis; others as they are."""
    return np.stack([array.real, array.imag], -1) if array.dtype.kind == "c" else array


def _bits(value: Any) -> str:
    return f"bits={hex(int.from_bytes(value.tobytes(), sys.byteorder))}"


def _write_array(array: np.ndarray[Any, Any], exact: bool) -> str:
    if not array.shape:
        return write_scalar(array[()])
    short = dtype(array.dtype).short
    if 0 < array.size <= _SHORT_ARRAY:
        numbers = _nested(_parts(array))
        if "=" not in numbers:  # a NaN as bits stands alone only
            return f"{short}({numbers})"
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    if exact:
        text = base64.b64encode(data).decode()
    else:
        text = "sha256:" + hashlib.sha256(data).hexdigest()
    return f'{short}[{",".join(map(str, array.shape))}]("{text}")'


def _nested(array: np.ndarray[Any, Any]) -> str:
    if array.ndim == 0:
        return _number(array[()])
    return f"[{', '.join(_nested(part) for part in array)}]"


def _number(value: Any) -> str:
    """The shortest decimal that reads back to `value`; the bits of an unusual NaN."""
    if value.dtype.kind != "f":
        return str(value)
    if np.isnan(value):
        usual = value.tobytes() == value.dtype.type(np.nan).tobytes()
        return "nan" if usual else _bits(value)
    if value.dtype == np.float64:
        return repr(float(value))
    text = str(value)
    # Read through a double, a decimal can be rounded twice: then the double itself is written.
    return text if value.dtype.type(float(text)) == value else repr(float(value))


def _read_array(kind: DType, args: list[ast.expr], keywords: list[ast.keyword]) -> ArrayValue:
    match args, keywords:
        case [[tree], []]:
            array = np.array(_numbers(tree, kind.part), kind.part.numpy)
            return ArrayValue(array.view(kind.numpy)[..., 0] if kind.is_complex else array)
        case [[], [ast.keyword(arg="bits", value=ast.Constant(value=int(bits)))]]:
            data = bits.to_bytes(kind.itemsize, sys.byteorder)
            return ArrayValue(np.frombuffer(data, kind.numpy).reshape(()))
    raise ValueError(f"not an array such as {kind}(2.0) or {kind}([1, 2])")


def _read_bytes(declared: TensorType, text: str) -> ArrayValue:
    stored = declared.dtype.numpy.newbyteorder("<")
    if any(isinstance(size, Dim) for size in declared.shape):
        raise ValueError("an array has static sizes")
    data = base64.b64decode(text, validate=True)
    return ArrayValue(np.frombuffer(data, stored).reshape(declared.shape))


def _numbers(tree: ast.expr, kind: DType) -> Any:
    match tree:
        case ast.List(elts=items):
            return [_numbers(item, kind) for item in items]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_numbers(operand, kind)
        case ast.Name(id="inf" | "nan" as name) if kind.has_derivative:
            return float(name)
        case ast.Constant(value=bool() as value) if kind is bool_:
            return value
        case ast.Constant(value=int() as value) if type(value) is int and kind is not bool_:
            return value
        case ast.Constant(value=float() as value) if kind.has_derivative:
            return value
    raise ValueError(f"not a number of {kind.name}")
