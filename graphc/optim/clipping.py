"""Gradients cut to a size: by element, by norm, by the norm of all of them.

Each takes a tensor, or a list of them, and gives the same. Gradients that are within the limit stay
as they are, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dtype import float64
from graphc.ir.node import Tensor
from graphc.keywords import answer
from graphc.ops.build import cast
from graphc.ops.elementwise import clip, maximum, sqrt, square
from graphc.ops.reduce import sum


def clip_by_value(gradients: Any, limit: float) -> Any:
    """Every element within [-limit, limit].

    Shapes, dtypes: as given. Errors: `ArgumentError` for no tensors, or a limit that is not > 0.

    >>> import graphc as gc
    >>> g = gc.constant([3.0, -4.0, 0.5])
    >>> gc.evaluate(gc.optim.clip_by_value(g, 1.0)).tolist()
    [1.0, -1.0, 0.5]
    """
    bound = _limit("clip_by_value", limit)
    return _each("clip_by_value", gradients, lambda g: clip(g, -bound, bound))


def clip_by_norm(gradients: Any, limit: float) -> Any:
    """Each gradient scaled down so that its Euclidean norm is at most `limit`.

    Shapes, dtypes: as given. Errors: as `clip_by_value`.
    Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks"
    (2013), algorithm 1.

    >>> import graphc as gc
    >>> g = gc.constant([3.0, -4.0])
    >>> gc.evaluate(gc.optim.clip_by_norm(g, 2.5)).tolist()
    [1.5, -2.0]
    """
    bound = _limit("clip_by_norm", limit)
    return _each("clip_by_norm", gradients, lambda g: g * _factor(_norm([g]), bound, g))


def clip_by_global_norm(gradients: Any, limit: float) -> Any:
    """All gradients scaled down by one factor so that the norm of all their elements is at most
    `limit`; their direction stays.

    Shapes, dtypes: as given. Errors: as `clip_by_value`. Source: as `clip_by_norm`.

    >>> import graphc as gc
    >>> g, h = gc.constant([3.0]), gc.constant([[-4.0]])
    >>> [v.item() for v in gc.evaluate(gc.optim.clip_by_global_norm([g, h], 2.5))]
    [1.5, -2.0]
    """
    bound = _limit("clip_by_global_norm", limit)
    found = _each("clip_by_global_norm", gradients, lambda g: g)
    norm = _norm([found] if isinstance(found, Tensor) else found)
    return _each("clip_by_global_norm", found, lambda g: g * _factor(norm, bound, g))


def _norm(gradients: list[Tensor]) -> Tensor:
    """The Euclidean norm of all elements; in float64, in which no square of float32 overflows."""
    squares = [sum(square(cast(g, float64))) for g in gradients]
    total = squares[0]
    for other in squares[1:]:
        total = total + other
    return sqrt(total)


def _factor(norm: Tensor, limit: float, g: Tensor) -> Tensor:
    """1 where the norm is within the limit, else their ratio."""
    return cast(limit / maximum(norm, limit), g.dtype)


def _each(op: str, gradients: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(gradients, Tensor):
        return change(gradients)
    if not isinstance(gradients, (list, tuple)) or not gradients:
        raise _error(op, "no gradients", expected="tensors", given=repr(gradients)[:80])
    for g in gradients:
        if not isinstance(g, Tensor) or not g.dtype.is_float:
            raise _error(op, "not a gradient", expected="a float tensor", given=repr(g)[:80])
    return [change(g) for g in gradients]


def _limit(op: str, limit: Any) -> float:
    number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
    if not number or not 0 < limit < math.inf:
        raise _error(op, "not a limit", expected="a finite number > 0", given=repr(limit)[:80])
    return float(limit)


def _error(op: str, message: str, **sides: str) -> ArgumentError:
    return ArgumentError(message, op=op, where=origin.where(), **sides)


answer(globals())
