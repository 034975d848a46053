"""`root`: where a function is zero, by iteration in native code, with the derivative of the limit.

The iteration is a `while_loop`, whose derivative backwards cannot be had, and would not be wanted.
The root x of F(x, p) = 0 has one whatever found it: J dx = -dF/dp dp with J = dF/dx, by the
implicit function theorem. So the root is what was found, with a gradient of its own:
-(dF/dp)^T l, where J^T l = g. That is made of the root itself, and has derivatives in turn.
Source: Blondel et al., "Efficient and modular implicit differentiation", 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from graphc.autodiff.derivatives import pulled
from graphc.autodiff.jacobians import jacobian
from graphc.errors import ArgumentError, DTypeError
from graphc.ir.dim import Size, total
from graphc.ir.graph import Graph, inline
from graphc.ir.node import Tensor, apply
from graphc.ir.structure import paths, unflatten
from graphc.ops.build import cast, operands
from graphc.ops.closure import (
    Names,
    captured,
    check_callable,
    close,
    numbered,
    tensors,
    trace_step,
)
from graphc.ops.create import zeros
from graphc.ops.custom_gradient import CUSTOM_GRADIENT
from graphc.ops.elementwise import abs as magnitude
from graphc.ops.elementwise import less, less_equal, logical_and, logical_not, maximum
from graphc.ops.linalg import inv, solve
from graphc.ops.reduce import max as largest
from graphc.ops.shape import concat, expand_dims, matrix_transpose, reshape
from graphc.ops.while_loop import CONVERGED, while_loop

_TOLERANCE = {32: 1e-5, 64: 1e-10}  # of a step, by the bits of the dtype; the next is its square


# -- the derivative --------------------------------------------------------------------------------
def _implicit(found: Sequence[Tensor], used: Sequence[Tensor], body: Graph) -> Sequence[Tensor]:
    """What was found, with the derivative by `used` of a root of the body over them."""
    xs, ps = body.inputs[: len(found)], body.inputs[len(found) :]
    by = [i for i, p in enumerate(ps) if p.dtype.is_float]
    gs = numbered("g", (x.type for x in xs))
    back = _apart(_solved(matrix_transpose(_jacobian(body.outputs, xs)), _flat(gs)), xs)
    found_by = pulled(body.outputs, [ps[i] for i in by], [-t for t in back])
    cotangents = {i: t for i, t in zip(by, found_by, strict=True) if t is not None}
    node = apply(
        CUSTOM_GRADIENT,
        [*found, *used],
        results=len(found),
        arguments=len(used),
        outside=0,
        by=tuple(cotangents),
        pull=close(list(cotangents.values()), [*gs, *xs, *ps]),
    )
    return node.outputs


# -- linear algebra over several tensors -----------------------------------------------------------
def _flat(ts: Sequence[Tensor]) -> Tensor:
    """All elements of tensors as one vector."""
    return concat([reshape(t, (t.size,)) for t in operands("root", *ts)])


def _apart(v: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that `_flat` made a vector of."""
    ends: list[Size] = [0, *accumulate(t.size for t in like)]
    pieces = (v[a:b] for a, b in pairwise(ends))
    return [cast(reshape(p, t.shape), t.dtype) for p, t in zip(pieces, like, strict=True)]


def _jacobian(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> Tensor:
    """The matrix of derivatives of all elements of `outputs` by those of `wrt`."""
    flat = _flat(outputs)
    blocks = zip(jacobian(flat, list(wrt)), wrt, strict=True)
    return concat([reshape(block, (flat.size, x.size)) for block, x in blocks], 1)


def _solved(matrix: Tensor, v: Tensor) -> Tensor:
    """The vector x with `matrix @ x = v`."""
    return v / matrix[0] if v.shape == (1,) else solve(matrix, v)


# -- the function ----------------------------------------------------------------------------------
def root(
    f: Callable[[Any], Any],
    x0: Any,
    *,
    tol: float | None = None,
    maxiter: int = 50,
    method: str = "newton",
) -> Any:
    """x with `f(x) = 0`, found from `x0` on; its derivatives are those of the root.

    x is a float tensor, or nested tuples, lists, dicts and dataclasses of them, and f gives values
    of the same structure and types, and has a gradient. f may use any tensor from outside, and the
    root has derivatives by these, to any order, by the implicit function theorem; none by `x0`. The
    iteration runs in native code. "newton" computes the matrix of derivatives in each step,
    "broyden" in the first one only. It ends when a step is no larger than `tol` times the largest
    element of x, or 1.

    Shapes: f gives what it takes; symbolic sizes too. Dtypes: float; an `x0` that is a Python
    number takes that of f's result. `tol` is 1e-5 of float32 and 1e-10 of float64, if not given.
    Errors: at the call `ConvergenceError` after `maxiter` steps, `LinAlgError` where a matrix of
    derivatives is singular; variables are then as before. `ArgumentError`, `ShapeError`,
    `DTypeError` where f does not give what it takes.
    Source: Broyden, "A class of methods for solving nonlinear simultaneous equations", 1965.

    >>> import graphc as gc
    >>> a = gc.placeholder("a", (), "float64")
    >>> x = gc.root(lambda x: x * x - a, 1.0)
    >>> [float(v) for v in gc.evaluate([x, gc.grad(x, a)], {a: 4.0})]
    [2.0, 0.25]
    """
    check_callable("root", "what is to be zero", f)
    steps = _options(tol, maxiter, method)
    first, structure = tensors("root", x0, "x0")
    traced = trace_step("root", lambda x, _: (f(x), None), first, structure, names=_NAMES)
    if not traced.first:
        return x0
    for path, x in zip(paths(structure, "x0"), traced.first, strict=True):
        if not x.dtype.is_float:
            raise DTypeError("a root is of floats", op="root", expected=f"{path} float",
                             given=str(x.type))  # fmt: skip
    used = captured(traced.after, traced.placeholders, traced.start, hoist=True)
    body = close(traced.after, [*traced.placeholders, *used])
    if tol is None:
        tol = max(_TOLERANCE[x.dtype.bits] for x in traced.first)
    last, done = _METHODS[method](body, traced.first, used, tol, steps)
    found = [apply(CONVERGED, (x, done), maxiter=steps).output() for x in last]
    return unflatten(structure, _implicit(found, used, body))


_NAMES = Names("x0", "what the function gives", "the function gives another type for")


def _options(tol: float | None, maxiter: int, method: str) -> int:
    """The number of steps. Errors: `ArgumentError`."""
    if method not in _METHODS:
        raise ArgumentError(
            "no method has this name",
            op="root", expected=" or ".join(map(repr, _METHODS)), given=repr(method)[:80],
        )  # fmt: skip
    if isinstance(maxiter, bool) or not isinstance(maxiter, (int, np.integer)) or maxiter < 1:
        raise ArgumentError(
            "the number of steps is an int", op="root", expected="maxiter >= 1", given=repr(maxiter)
        )
    is_number = isinstance(tol, (int, float, np.number)) and not isinstance(tol, bool)
    if tol is not None and not (is_number and tol > 0):
        raise ArgumentError(
            "the tolerance is a number", op="root", expected="tol > 0", given=repr(tol)[:80]
        )
    return int(maxiter)


Found = tuple[Sequence[Tensor], Tensor]  # the last x, and whether it has converged


def _newton(
    body: Graph, first: Sequence[Tensor], used: Sequence[Tensor], tol: float, steps: int
) -> Found:
    xs = body.inputs[: len(first)]
    change = _solved(_jacobian(body.outputs, xs), _flat(body.outputs))
    moves = Graph(body.inputs, _apart(change, xs), name="body")

    def step(c: Any) -> Any:
        x, turns, _ = c
        change = inline(moves, [*x, *used])
        after = tuple(a - b for a, b in zip(x, change, strict=True))
        return after, turns + 1, _is_small(change, after, tol)

    x, _, done = while_loop(lambda c: _goes_on(c, steps), step, (tuple(first), 0, False))
    return x, done


def _broyden(
    body: Graph, first: Sequence[Tensor], used: Sequence[Tensor], tol: float, steps: int
) -> Found:
    """With an approximation of the inverse of the Jacobian, mended after each step by what the
    step has changed (Sherman and Morrison)."""
    xs = body.inputs[: len(first)]
    matrix = _jacobian(body.outputs, xs)
    inverse = 1 / matrix if matrix.shape == (1, 1) else inv(matrix)
    start = inline(Graph(body.inputs, [_flat(body.outputs), inverse], name="body"), [*first, *used])

    def step(c: Any) -> Any:
        x, turns, _, value, inverse = c
        moved = -(inverse @ value)
        change = _apart(moved, xs)
        after = tuple(a + b for a, b in zip(x, change, strict=True))
        new = _flat(inline(body, [*after, *used]))
        got = inverse @ (new - value)
        row = moved @ inverse
        mended = inverse + expand_dims(moved - got, 1) * row / (row @ (new - value))
        return after, turns + 1, _is_small(change, after, tol), new, mended

    carry = (tuple(first), 0, False, *start)
    x, _, done, *_ = while_loop(lambda c: _goes_on(c, steps), step, carry)
    return x, done


def _goes_on(c: Any, steps: int) -> Tensor:
    """Whether a further step is due, after `c[1]` of them; `c[2]`: it has converged."""
    return logical_and(logical_not(c[2]), less(c[1], steps))


def _is_small(change: Sequence[Tensor], x: Sequence[Tensor], tol: float) -> Tensor:
    """Whether the largest change is small beside the largest element. Not so for NaN and inf."""
    size = total(t.size for t in x)
    some = isinstance(size, int) and size > 0
    none = [] if some else [zeros((1,), x[0].dtype)]  # of no elements there is no largest
    most, scale = (largest(magnitude(_flat([*ts, *none]))) for ts in (change, x))
    return logical_and(less_equal(most, maximum(scale, 1) * tol), less(most, np.inf))


_METHODS: dict[str, Callable[..., Found]] = {"newton": _newton, "broyden": _broyden}
