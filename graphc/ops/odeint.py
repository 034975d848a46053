"""`odeint`: ordinary differential equations by explicit Runge-Kutta rules with given steps.

It is a `scan` over the times, so its gradient is that of the steps that were made: exact for the
numbers that come out, at the cost of the values of each step, or of computing them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dtype import promote
from graphc.ir.node import Tensor
from graphc.ir.structure import same_structure, unflatten
from graphc.ops.build import cast, settle, tensor
from graphc.ops.checkpoint import checkpoint as checkpointed
from graphc.ops.closure import check_callable, tensors
from graphc.ops.scan import scan
from graphc.ops.shape import concat, expand_dims
from graphc.ops.while_loop import fori_loop

FUNCTIONS: dict[str, Callable[..., Any]] = {}


class _Rule(NamedTuple):
    """A Runge-Kutta rule: how much of the slopes before goes into each further point, and how much
    of each slope into the step."""

    points: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


_RULES = {
    "euler": _Rule((), (1,)),
    "midpoint": _Rule(((1 / 2,),), (0, 1)),
    "rk4": _Rule(((1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


def odeint(
    f: Callable[[Any, Any], Any],
    y0: Any,
    t: Any,
    method: str = "rk4",
    *,
    steps: int = 1,
    checkpoint: bool = False,
) -> Any:
    """y at the times `t`, where dy/dt = `f(y, t)` and y is `y0` at the first of them.

    From each time to the next it goes by `steps` equal steps of "rk4", "midpoint" or "euler"; there
    is no control of the error. y is a tensor, or nested tuples, lists, dicts and dataclasses of
    them, and f gives the same structure. Times may decrease. Gradients by `y0`, `t` and what f uses
    from outside are those of the steps; with `checkpoint` the backward pass computes the slopes of
    a step again rather than keep them.

    Shapes: t [n], n >= 1; y0 [*y] -> [n, *y], the first y0 itself. Dtypes: float; t is converted to
    that of y0, a `y0` of Python numbers takes that of t.
    Errors: `ShapeError`, `DTypeError`, `ArgumentError` where f gives another y than it takes, or t
    is no vector.

    >>> import graphc as gc
    >>> t = np.linspace(0.0, 1.0, 11)
    >>> y = gc.odeint(lambda y, t: -2 * t * y, 1.0, t)
    >>> bool(abs(gc.evaluate(y)[-1] - np.exp(-1.0)) < 1e-5)
    True
    """
    check_callable("odeint", "the slope", f)
    rule = _options(method, steps)
    first, structure = tensors("odeint", y0, "y0")
    if not first:
        return y0
    times = _times(t, first)
    first = [settle(y, times.dtype) if y.weak else y for y in first]

    def slope(ys: Sequence[Tensor], at: Tensor) -> list[Tensor]:
        found, given = tensors("odeint", f(unflatten(structure, ys), at), "y")
        same_structure("odeint", "the slope", "y", structure, given)
        return found

    def advance(ys: Any, at: Tensor, width: Tensor) -> Any:
        slopes = [slope(ys, at)]
        for part in rule.points:
            slopes.append(slope(_moved(ys, width, part, slopes), at + width * sum(part)))
        return tuple(_moved(ys, width, rule.weights, slopes))

    one = checkpointed(advance) if checkpoint else advance

    def step(ys: Any, span: Any) -> tuple[Any, Any]:
        start, end = span
        if steps == 1:
            after = one(ys, start, end - start)
        else:
            width = (end - start) / steps
            after = fori_loop(
                0, steps, lambda i, ys: one(ys, start + width * cast(i, width.dtype), width), ys
            )
        return after, after

    _, rest = scan(step, tuple(first), (times[:-1], times[1:]))
    pairs = zip(first, rest, strict=True)
    return unflatten(structure, [concat([expand_dims(y, 0), ys], 0) for y, ys in pairs])


def _moved(
    ys: Sequence[Tensor],
    width: Tensor,
    parts: Sequence[float],
    slopes: Sequence[Sequence[Tensor]],
) -> list[Tensor]:
    """y, and `width` times the slopes, each times its part, further."""
    found = []
    for i, y in enumerate(ys):
        terms = [s[i] if p == 1 else s[i] * p for p, s in zip(parts, slopes, strict=True) if p]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        found.append(y + width * total)
    return found


def _options(method: str, steps: int) -> _Rule:
    if method not in _RULES:
        raise ArgumentError(
            "no method has this name",
            op="odeint", expected=" or ".join(map(repr, _RULES)), given=repr(method)[:80],
        )  # fmt: skip
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ArgumentError(
            "the number of steps between two times is an int",
            op="odeint", expected="steps >= 1", given=repr(steps)[:80],
        )  # fmt: skip
    return _RULES[method]


def _times(t: Any, first: Sequence[Tensor]) -> Tensor:
    """The times in the dtype of y. Errors: `ShapeError`, `DTypeError`."""
    found = tensor(t, "odeint")
    if found.ndim != 1:
        raise ShapeError(
            "the times are a vector", op="odeint", expected="t [n]", given=str(found.type)
        )
    dtypes = [y.dtype for y in first if not y.weak]
    dtype = promote(*dtypes) if dtypes else found.dtype
    if not dtype.is_float:
        raise DTypeError(
            "y and t are floats", op="odeint", expected="a float dtype", given=dtype.name
        )
    return settle(found, dtype)


FUNCTIONS |= {"odeint": odeint}
