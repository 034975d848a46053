"""The arguments of a function of SymPy's symbols: what stands for which, and what a call gives.

An argument is a symbol, something with elements, or a list of arguments. At a call each becomes one
input of the program or several (`Part`), with an array and the shape of its batch: of points at
which the function is computed at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import sympy as sp
from sympy.tensor.array import NDimArray

from graphc.errors import ArgumentError, CallError, DTypeError
from graphc.ir import origin
from graphc.ir.shape import show

Array: TypeAlias = np.ndarray[Any, Any]


class Part(NamedTuple):
    """An input of a program: its elements, in row-major order, and their shape.

    keys: what stands for each element; none where the elements are reached by `base[i]` alone.
    first: whether a value has them along its first axes, as a list of arrays has, or its last ones.
    """

    keys: tuple[Any, ...]
    core: tuple[int, ...]
    base: Any = None
    first: bool = False


class Open(NamedTuple):
    """What has elements but no sizes: those of the array that a call gives."""

    base: Any


Argument: TypeAlias = "Part | Open | tuple[Argument, ...]"


class Given(NamedTuple):
    """What a call gives for a part: an array and the shape of its batch."""

    part: Part
    array: Array
    batch: tuple[int, ...]


# -- when the function is made ---------------------------------------------------------------------
def arguments_of(args: Any) -> tuple[Argument, ...]:
    """The arguments that `args` describes: one, or a list of them.

    Errors: `ArgumentError` that lists what cannot be one, and what is there twice.
    """
    several = isinstance(args, (list, tuple, sp.Tuple, sp.MatrixBase))
    wrong: list[str] = []
    made = tuple(_argument(a, wrong) for a in (args if several else [args]))
    keys = [k for a in made for k in keys_of(a)]
    twice = dict.fromkeys(str(k) for k in keys if keys.count(k) > 1) if not wrong else ()
    for what, found in (("that are no symbols", wrong), ("that are there twice", twice)):
        if found:
            raise ArgumentError(
                f"arguments {what}",
                op="lambdify",
                expected="symbols, f(t), their derivatives, what has elements, or lists of these",
                given=", ".join(found),
                where=origin.where(),
            )
    return made


def _argument(a: Any, wrong: list[str]) -> Argument:
    if isinstance(a, (list, tuple, sp.Tuple)):
        inner = tuple(_argument(x, wrong) for x in a)
        single = [x.keys[0] for x in inner if isinstance(x, Part) and not x.core]
        flat = single and len(single) == len(inner)
        return Part(tuple(single), (len(single),), None, True) if flat else inner
    if isinstance(a, (sp.MatrixBase, NDimArray)):
        keys = list(sp.flatten(a.tolist()))
        wrong += [_short(k) for k in keys if not _is_key(k)]
        return Part(tuple(keys), tuple(int(n) for n in a.shape))
    shape = getattr(a, "shape", None)
    if isinstance(a, sp.IndexedBase) and shape is None:
        return Open(a)
    if isinstance(a, (sp.IndexedBase, sp.MatrixSymbol)) or type(a).__name__ == "ArraySymbol":
        sizes = tuple(shape or ())
        if all(getattr(n, "is_Integer", isinstance(n, int)) for n in sizes):
            core = tuple(int(n) for n in sizes)
            return Part(tuple(a[i] for i in np.ndindex(*core)), core, a)
        return Open(a)
    if not _is_key(a):
        wrong.append(_short(a))
    return Part((a,), ())


def _is_key(a: Any) -> bool:
    kinds = (sp.Symbol, sp.Idx, sp.Function, sp.Derivative, sp.Indexed)
    return isinstance(a, kinds) or type(a).__name__ in ("MatrixElement", "BaseScalar")


def _short(a: Any) -> str:
    return str(a)[:80]


def keys_of(argument: Argument) -> tuple[Any, ...]:
    """What stands for the elements of an argument, in order."""
    if isinstance(argument, Open):
        return ()
    if isinstance(argument, Part):
        return argument.keys
    return tuple(k for a in argument for k in keys_of(a))


def parts_of(argument: Argument) -> list[Part]:
    """The parts of an argument whose sizes are known, as one value for each gives them."""
    if isinstance(argument, Part):
        return [argument]
    return [] if isinstance(argument, Open) else [p for a in argument for p in parts_of(a)]


# -- at a call -------------------------------------------------------------------------------------
def given_for(argument: Argument, value: Any, dtype: Any, place: str) -> Iterator[Given]:
    """The parts that `value` gives for an argument.

    Errors: `CallError` for another number of values, `DTypeError` for what are no real numbers.
    """
    if isinstance(argument, Open):
        array = numbers(value, dtype, place)
        yield Given(Part((), array.shape, argument.base), array, ())
    elif not isinstance(argument, Part):
        yield from _members(argument, value, dtype, place)
    elif not argument.core:
        array = numbers(value, dtype, place)
        yield Given(argument, array, array.shape)
    elif not argument.first:
        yield _elements(argument, numbers(value, dtype, place), place)
    else:
        yield from _rows(argument, value, dtype, place)


def _rows(part: Part, value: Any, dtype: Any, place: str) -> Iterator[Given]:
    """A list of symbols: one array if the values are of one shape, else one for each."""
    if not isinstance(value, np.ndarray):
        value = list(value) if np.iterable(value) else value
        shapes = {np.shape(v) for v in value} if isinstance(value, list) else set()
        if len(shapes) > 1 and len(value) == len(part.keys):
            for key, v in zip(part.keys, value, strict=True):
                array = numbers(v, dtype, place)
                yield Given(Part((key,), ()), array, array.shape)
            return
    array = numbers(value, dtype, place)
    if array.shape[:1] != part.core:
        raise _does_not_fit(f"a list of {part.core[0]}", array.shape, place)
    yield Given(part, array, array.shape[1:])


def _elements(part: Part, array: Array, place: str) -> Given:
    rank = len(part.core)
    if array.shape[array.ndim - rank :] == part.core and array.ndim >= rank:
        return Given(part, array, array.shape[: array.ndim - rank])
    if array.ndim <= 1 and array.size == len(part.keys) and 1 in (*part.core, len(part.keys)):
        return Given(part, array.reshape(part.core), ())  # a vector for a row or a column
    core = ", ".join(map(str, part.core))
    raise _does_not_fit(f"shape (..., {core})", array.shape, place)


def _members(arguments: Sequence[Argument], value: Any, dtype: Any, place: str) -> Iterator[Given]:
    count = len(value) if hasattr(value, "__len__") else 0
    if count != len(arguments):
        raise _does_not_fit(f"a list of {len(arguments)}", np.shape(value), place)
    for argument, v in zip(arguments, value, strict=True):
        yield from given_for(argument, v, dtype, place)


def _does_not_fit(expected: str, shape: tuple[int, ...], place: str) -> CallError:
    return CallError(
        f"{place} does not fit",
        op="lambdify",
        expected=expected,
        given=f"shape {show(shape)}",
        where=origin.where(),
    )


def numbers(value: Any, dtype: Any, place: str) -> Array:
    """`value` as an array of `dtype`. Errors: `DTypeError` for what are no numbers of its kind."""
    is_complex = np.dtype(dtype).kind == "c"
    try:
        array = np.asarray(value)
        if array.dtype.kind in ("biufcO" if is_complex else "biufO"):
            return array.astype(dtype, copy=False)
    except (TypeError, ValueError):  # of lists of several lengths, and of objects
        array = np.asarray(value, object)
    raise DTypeError(
        f"{place} is not made of {'' if is_complex else 'real '}numbers",
        op="lambdify",
        expected=f"numbers that {dtype} holds",
        given=f"{type(value).__name__} of dtype {array.dtype}",
        where=origin.where(),
    )
