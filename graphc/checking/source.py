"""The generated source of a kernel as plain Python: the text that Numba compiles, run by CPython.

Every function that the source may call has a stand-in here that means what its primitive means, on
NumPy scalars; a buffer is an array that refuses an index outside of it. What is left out is only
what Numba and LLVM do with the text: a fault in the printer is seen at the interpreter's speed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.ir.dim import evaluate
from graphc.ir.dtype import DTYPES, DType, bool_
from graphc.ir.dtype import dtype as to_dtype
from graphc.loops.grammar import Buffer, Kernel, may_fail, parallel_loops
from graphc.loops.interpret import convert
from graphc.loops.numbers import given
from graphc.loops.primitives import PRIMITIVES, Primitive
from graphc.lower.numba_source import print_for_numba
from graphc.machines import CPU

Array = np.ndarray[Any, Any]


def run_source(
    kernel: Kernel,
    memory: Mapping[Buffer, Array],
    dims: Mapping[str, int],
    source: str | None = None,
) -> int:
    """Run the printed source of `kernel` on flat arrays, one for each buffer, which it writes to.
    The word of failures: bit i is set if site i failed.

    Errors: `IndexError` for an element outside of its buffer, before it is read or written.
    """
    text = print_for_numba(kernel) if source is None else source
    scope = stand_ins()
    exec(compile(text, "<kernel>", "exec"), scope)
    arguments: list[Any] = [_Pointer(memory[b]) for b in kernel.buffers]
    arguments += [np.int64(evaluate(size, dims)) for size in kernel.sizes.values()]
    if "numbers" in inspect.signature(scope["kernel"]).parameters:  # not in what people see
        arguments.append([np.float64(value.value) for value in given(kernel)])
    shared = parallel_loops(kernel)
    if shared:
        turns = sum(evaluate(loop.extent, dims) for loop in shared)
        arguments += [np.int64(0), np.int64(turns)]
    failures = np.zeros(1, np.int64)
    if may_fail(kernel):
        arguments.append(failures)
    with np.errstate(all="ignore"):
        scope["kernel"](*arguments)
    return int(failures[0])


class _Pointer:
    """Memory as kernels see it: elements by number; bools are bytes, 0 or 1."""

    __slots__ = ("array", "first")

    def __init__(self, array: Array, first: int = 0) -> None:
        self.array = array.view(np.uint8) if array.dtype == np.bool_ else array
        self.first = first

    def __getitem__(self, position: Any) -> Any:
        return self.array[self._checked(position)]

    def __setitem__(self, position: Any, value: Any) -> None:
        if np.asarray(value).dtype != self.array.dtype:
            raise TypeError(f"{value!r} is stored into memory of {self.array.dtype}")
        self.array[self._checked(position)] = value

    def _checked(self, position: Any) -> int:
        place = self.first + int(position)
        if not 0 <= place < self.array.size:
            raise IndexError(f"element {place} of {self.array.size}")
        return place


def stand_ins() -> dict[str, Any]:
    """The names that kernel source uses, as plain Python functions of NumPy scalars."""
    scope: dict[str, Any] = {"nan": float("nan"), "inf": float("inf"), "select": _select}
    scope["row"], scope["alone"] = _row, lambda number: number
    scope["range"] = lambda *bounds: map(np.int64, range(*map(int, bounds)))
    for name, primitive in PRIMITIVES.items():
        if name != "select":
            scope[name] = _of_one_dtype(primitive)
            if primitive.reorders:
                scope[f"{name}_any_order"] = scope[name]
    scope |= {"from_half": np.float32, "to_half": np.float16}
    for dtype in DTYPES:
        if dtype is not bool_:
            scope[dtype.short] = _conversion(dtype)
        if dtype.is_integer:
            scope[f"to_{dtype.short}"] = _conversion(dtype, saturates=True)
    return scope


def _row(condition: Any, pointer: _Pointer, place: Any) -> _Pointer:
    if condition:
        return _Pointer(pointer.array, pointer.first + int(place))
    dtype = pointer.array.dtype
    return _Pointer(np.zeros(CPU.zeros // dtype.itemsize, dtype))


def _select(condition: Any, x: Any, y: Any) -> Any:
    if np.asarray(x).dtype != np.asarray(y).dtype:
        raise TypeError(f"select of {x!r} and {y!r}")
    return x if condition else y


def _of_one_dtype(primitive: Primitive) -> Callable[..., Any]:
    """The primitive on operands of one dtype: Numba would widen unequal ones silently."""

    def function(*values: Any) -> Any:
        arrays = [np.asarray(v) for v in values]
        dtype = arrays[0].dtype
        if any(a.dtype != dtype for a in arrays):
            raise TypeError(f"{primitive.name} of {', '.join(map(repr, values))}")
        result = primitive.result(to_dtype(dtype))
        return result.numpy.type(primitive.numpy(*values))

    return function


def _conversion(dtype: DType, saturates: bool = False) -> Callable[[Any], Any]:
    def to(value: Any) -> Any:
        given = np.asarray(value)[()]
        if given.dtype.kind == "f" and dtype.is_integer and not saturates:
            raise TypeError(f"{dtype.short} of {given!r}: LLVM leaves that undefined")
        return convert(given, dtype)

    return to
