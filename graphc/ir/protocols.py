"""NumPy's protocols: what `np.tanh(t)` and `np.sum(t, axis=0)` are for tensors.

What answers is looked up by the full name of NumPy's function, so a ufunc of the same name that
someone else made is not taken for it. Its arguments are read by the signature of NumPy's function:
an argument that is NumPy's default is left out, one that the answer has no parameter for is an
error. So an answer has NumPy's defaults, and means what NumPy's function means.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, GraphcError
from graphc.ir import origin
from graphc.ir.operators import nearest, numpy_function


def call_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """`ufunc(*inputs)`, or a method of it that a family answers, such as `np.maximum.accumulate`.
    Errors: `ArgumentError` for other methods, keywords and functions."""
    name = _name(ufunc)
    answer = None if method == "__call__" else numpy_function(f"{name}.{method}")
    if answer is not None and kwargs.keys() <= inspect.signature(answer).parameters.keys():
        return answer(*inputs, **kwargs)
    found = numpy_function(name)
    if found is None:
        raise _unknown(f"numpy.{ufunc.__name__}")
    if method != "__call__" or kwargs:
        raise ArgumentError(
            "this form of a NumPy function has no meaning for symbolic tensors",
            op=f"numpy.{ufunc.__name__}",
            expected="a plain call, without out= or where=",
            given=f"{ufunc.__name__}{'' if method == '__call__' else f'.{method}'}"
            + f"({', '.join(['...', *(f'{name}=' for name in kwargs)])})",
            where=origin.where(),
            hint="x.at[key].add(value) and its kin give a new tensor" if method == "at" else "",
        )
    return found(*inputs)


def _name(ufunc: Any) -> str:
    """A ufunc's name among those that families answer; that of one from elsewhere is none."""
    name = str(ufunc.__name__)
    if getattr(np, name, None) is ufunc:
        return name
    special = sys.modules.get("scipy.special")  # if it is the user's, it has been imported
    known = special is not None and getattr(special, name, None) is ufunc
    return f"scipy.special.{name}" if known else f"unknown.{name}"


def call_function(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """`func(*args, **kwargs)`, for a function of NumPy's.

    Errors: `ArgumentError` for a function that nothing answers, and for arguments it does not take.
    """
    name = f"{func.__module__}.{func.__name__}"
    found = numpy_function(name.removeprefix("numpy."))
    if found is None:
        raise _unknown(name)
    signature = _signature(func)
    if signature is not None:
        args, kwargs = _translated(name, signature, found, args, kwargs)
    try:
        return found(*args, **kwargs)
    except GraphcError:
        raise
    except TypeError as error:
        raise ArgumentError(str(error), op=name, where=origin.where()) from None


def _unknown(name: str) -> ArgumentError:
    return ArgumentError(
        "graphc has no function of this name", op=name, where=origin.where(), hint=nearest(name)
    )


@cache
def _signature(func: Callable[..., Any]) -> inspect.Signature | None:
    """None for a function in C, before NumPy 2.4; its keywords are then those of the answer."""
    try:
        return inspect.signature(func)
    except ValueError:
        return None


def _translated(
    name: str,
    signature: inspect.Signature,
    answer: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of NumPy's function as those of its answer: what NumPy requires by position,
    what is optional, and not at its default, by NumPy's name."""
    positional: list[Any] = []
    optional: dict[str, Any] = {}
    for parameter, value in signature.bind(*args, **kwargs).arguments.items():
        kind = signature.parameters[parameter].kind
        default = signature.parameters[parameter].default
        if kind is inspect.Parameter.VAR_POSITIONAL:
            positional.extend(value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            optional |= value
        elif default is inspect.Parameter.empty:
            positional.append(value)
        elif type(value) is not type(default) or value != default:
            optional[parameter] = value
    taken = inspect.signature(answer).parameters
    unknown = [f"{parameter}=" for parameter in optional if parameter not in taken]
    if unknown:
        raise ArgumentError(
            "graphc's function has no such argument",
            op=name,
            expected=f"{name.removeprefix('numpy.')}({', '.join(_known(signature, taken))})",
            given=", ".join(unknown),
            where=origin.where(),
        )
    return positional, optional


def _known(signature: inspect.Signature, taken: Mapping[str, Any]) -> list[str]:
    """The parameters of NumPy's function that its answer takes, as they are written."""
    return [
        p.name if p.default is inspect.Parameter.empty else f"{p.name}="
        for p in signature.parameters.values()
        if p.name in taken or p.default is inspect.Parameter.empty
    ]
