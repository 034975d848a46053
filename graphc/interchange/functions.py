"""Functions of tensors in place of SymPy's: what stands for `f` in `f(x)` and in its derivatives.

You give Python functions by name, as SymPy's `lambdify` takes them in `modules`; they are called
with tensors when the graph is made. Their derivatives are graphc's, in forward mode: `f(x).diff(x)`
of a network is that of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import sympy as sp

from graphc.autodiff.counted import counted_product, counted_sum
from graphc.autodiff.derivatives import jvp
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dtype import float64
from graphc.ir.node import Tensor
from graphc.ops.build import cast, tensor
from graphc.ops.create import ones_like, zeros_like
from graphc.ops.from_formula import Known

Named: TypeAlias = tuple[tuple[str, Callable[..., Any]], ...]
_LIBRARIES = ("math", "numpy", "scipy")  # whose functions are computed as they compute them


def named_functions(modules: Any, op: str) -> Named:
    """The functions that `modules` gives, by name: a dict, or a list of dicts of which the first
    that has a name decides. Names of libraries add nothing.

    Errors: `ArgumentError` for anything else.
    """
    found: dict[str, Callable[..., Any]] = {}
    for given in modules if isinstance(modules, (list, tuple)) else [modules]:
        if given is None or given in _LIBRARIES:
            continue
        pairs = given.items() if isinstance(given, Mapping) else [(given, None)]
        for key, f in pairs:
            if not is_function_name(key) or not callable(f):
                raise ArgumentError(
                    "not functions by name",
                    op=op,
                    expected='a dict such as {"f": function of tensors}',
                    given=f"{key}: {f}"[:80] if isinstance(given, Mapping) else repr(given)[:80],
                    where=origin.where(),
                    hint="all is compiled, whatever library computes it elsewhere",
                )
            found.setdefault(str(key), f)
    return tuple(found.items())


def is_function_name(key: Any) -> bool:
    """Whether a key stands for a function: its name, or what SymPy makes of that."""
    return isinstance(key, (str, sp.core.function.UndefinedFunction))


def known(named: Named) -> Known:
    """What expressions may have beyond ops: these functions, with derivatives of any order by their
    arguments, and sums and products whose bounds are symbols."""
    return Known({name: partial(_derivative, f) for name, f in named}, counted_sum, counted_product)


def _derivative(f: Callable[..., Any], orders: tuple[int, ...]) -> Callable[..., Any]:
    for place, order in enumerate(orders):
        for _ in range(order):
            f = partial(_slope, f, place)
    return f


def _slope(f: Callable[..., Any], place: int, *values: Any) -> Tensor:
    """The derivative of an elementwise function by the argument at `place`."""
    given = [tensor(v, "from_sympy") for v in values]
    at = tuple(t if t.dtype.has_derivative else cast(t, float64) for t in given)
    along = tuple(ones_like(t) if i == place else zeros_like(t) for i, t in enumerate(at))
    _, moved = jvp(f, at, along)
    return tensor(moved, "from_sympy")
