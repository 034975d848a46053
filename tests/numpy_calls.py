"""How NumPy's functions are called to compare graphc's answers with them.

`np.f(x)` is the same expression for an array, where it is the truth, and for a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from graphc.ir.dtype import DTYPES
from graphc.ir.operators import numpy_function

Array = np.ndarray[Any, Any]
MODULES = (np, np.linalg, np.fft, np.char, np.strings, np.lib.scimath, np.lib.stride_tricks)
ALL = tuple(d.name for d in DTYPES)
NUMBERS = tuple(name for name in ALL if name != "bool")
FLOATS = ("float32", "float64")
COMPLEX = (*ALL, "complex64", "complex128")


class Sample(NamedTuple):
    """A call, and the shapes of its arguments; `dtypes`: of all of them, one after another."""

    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...] = ALL


def of(*calls: Callable[..., Any], shapes: Any = ((2, 3),), dtypes: Any = ALL) -> list[Sample]:
    return [Sample(call, tuple(shapes), tuple(dtypes)) for call in calls]


def answered() -> dict[str, Any]:
    """NumPy's functions by their full names, but for ufuncs of elements, that graphc answers."""
    found = {}
    for module in MODULES:
        for attribute in dir(module):
            function = getattr(module, attribute)
            if hasattr(function, "_implementation"):  # of those that look for the protocol
                name = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
                if numpy_function(name) is not None:
                    found[name] = function
    return found


def answered_ufuncs() -> Iterator[np.ufunc]:
    names = {f.__name__ for f in vars(np).values() if isinstance(f, np.ufunc)}
    return (getattr(np, name) for name in sorted(names) if numpy_function(name) is not None)


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    kind = np.dtype(dtype).kind
    if kind in "fc":
        parts = rng.normal(size=(2, *shape))
        return (parts[0] + (1j * parts[1] if kind == "c" else 0)).astype(dtype)
    return rng.integers(0 if kind in "bu" else -5, 2 if kind == "b" else 6, shape).astype(dtype)


def pairs_of(f: Callable[..., Any], *shapes: Any, dtypes: Any = ALL) -> list[Sample]:
    return [s for pair in shapes for s in of(lambda x, y: f(x, y), shapes=pair, dtypes=dtypes)]
