"""First derivatives and what they are multiplied with: `grad`, `vjp`, `jvp`, `hvp` and kin.

Each takes tensors that were computed already, or a function; `given.py` makes of a function and its
arguments tensors that the first form takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from graphc.autodiff.forward import push_forward
from graphc.autodiff.given import Trace, derivative_of, directions, floats, is_function
from graphc.autodiff.noted import note
from graphc.autodiff.reasons import unconnected as unconnected_error
from graphc.autodiff.reverse import pull_back
from graphc.errors import ArgumentError, GradientError
from graphc.ir.graph import transform
from graphc.ir.node import Tensor
from graphc.ir.structure import flatten, paths, unflatten
from graphc.ops.build import constant
from graphc.ops.closure import fresh
from graphc.ops.create import zeros_like
from graphc.rewrite.derivative import restored, stable_forms

_UNCONNECTED = ("error", "zero")


# -- backwards -------------------------------------------------------------------------------------
def grad(
    y: Any,
    wrt: Any = None,
    *,
    argnums: Any = None,
    has_aux: bool = False,
    unconnected: str = "error",
) -> Any:
    """The gradient of a scalar: of a tensor `y` with respect to tensors `wrt`, or of a function.

    `gc.grad(y, wrt)`: `wrt` is a tensor, or tensors in lists, tuples, dicts and dataclasses, and so
    is the result. They may be any that `y` is computed from: inputs, variables, intermediates.

    `gc.grad(f, argnums=0)`: a function of `f`'s arguments that gives the gradient of its result, a
    scalar, by the argument at that position, or, for several positions, a tuple. It can be jitted
    and differentiated again. With `has_aux`, `f` gives a pair, the function (gradient, aux).

    With `unconnected="zero"` the gradient by what `y` does not depend on is zeros, as in the second
    derivative of a linear function; by default that is an error, since it is a mistake more often.
    Shapes: y [] -> the shape of each `wrt`. Dtypes: float.
    Errors: `GradientError` if `y` is not a float scalar, a `wrt` is not float, or `y` does not
    depend on it differentiably, with the reason; `ArgumentError` for what is no tensor, for
    another `unconnected`, and for positions at which there is no argument.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ())
    >>> first = gc.grad(x * 3, x)
    >>> second = gc.grad(first, x, unconnected="zero")
    >>> [float(g) for g in gc.evaluate([first, second], {x: 2.0})]
    [3.0, 0.0]
    >>> slope = gc.grad(lambda x: x**3)
    >>> [float(f(2.0)) for f in map(gc.jit, (slope, gc.grad(slope)))]
    [12.0, 12.0]
    """
    if is_function("grad", y, wrt, argnums, has_aux):
        return derivative_of(
            "grad",
            y,
            positions(wrt, argnums),
            has_aux,
            lambda y, wrt: gradient("grad", y, wrt, unconnected),
        )
    return gradient("grad", y, wrt, unconnected)


def value_and_grad(
    y: Any,
    wrt: Any = None,
    *,
    argnums: Any = None,
    has_aux: bool = False,
    unconnected: str = "error",
) -> Any:
    """A scalar and its gradient, as a pair; arguments and errors as of `grad`.

    `gc.value_and_grad(f)` gives (value, gradient) of a call, with `has_aux` ((value, aux),
    gradient).

    >>> import numpy as np
    >>> import graphc as gc
    >>> f = gc.jit(gc.value_and_grad(lambda p: gc.sum(p["w"] ** 2) + p["b"]))
    >>> value, slope = f({"w": np.array([1.0, 2.0]), "b": np.array(3.0)})
    >>> float(value), slope["w"], float(slope["b"])
    (8.0, array([2., 4.]), 1.0)
    """
    if not is_function("value_and_grad", y, wrt, argnums, has_aux):
        return y, gradient("value_and_grad", y, wrt, unconnected)

    def both(y: Any, wrt: Any) -> Any:
        return y, gradient("value_and_grad", y, wrt, unconnected)

    made = derivative_of("value_and_grad", y, positions(wrt, argnums), has_aux, both)
    if not has_aux:
        return made

    @wraps(y, updated=())
    def with_aux(*args: Any, **kwargs: Any) -> Any:
        (value, slope), aux = made(*args, **kwargs)
        return (value, aux), slope

    return with_aux


def vjp(
    y: Any,
    wrt: Any = None,
    g: Any = None,
    *more: Any,
    has_aux: bool = False,
    unconnected: str = "error",
) -> Any:
    """Vector-Jacobian products: the cotangents of `wrt` for cotangents `g` of `y`.

    `gc.vjp(y, wrt, g)`: `y` and `wrt` are tensors in any structure, `g` is built as `y` (ones by
    default), the result as `wrt`. `gc.vjp(f, *arguments)`: a pair of `f`'s result and a function
    from its cotangent to a tuple of those of the arguments; with `has_aux`, where `f` gives a pair,
    (result, function, aux).
    Shapes, dtypes, errors: as `grad`, but `y` may have any shape; `ArgumentError` if `g` does not
    fit `y`.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (2,))
    >>> y, pull = gc.vjp(lambda x: x * x, x)
    >>> gc.evaluate([gc.vjp(x * x, x, [1, 10]), *pull(y)], {x: [1.0, 2.0]})
    [array([ 2., 40.], dtype=float32), array([ 2., 16.], dtype=float32)]
    """
    if not callable(y):
        is_function("vjp", y, wrt, None, has_aux)
        return _pull("vjp", y, wrt, g, unconnected)
    args = (wrt, g, *more) if more or g is not None else (wrt,)
    trace = Trace("vjp", y, args, {}, tuple(range(len(args))), has_aux)

    def pull(g: Any) -> Any:
        return trace.of_given(_pull("vjp", trace.y, trace.wrt, g, unconnected))

    return _with_aux(trace, pull, has_aux)


def gradient(op: str, y: Any, wrt: Any, unconnected: str) -> Any:
    """The gradient of a scalar, in the structure of `wrt`; `op` asks for it."""
    if not isinstance(y, Tensor):
        raise ArgumentError("not a tensor", op=op, expected="a scalar", given=repr(y)[:80])
    if y.shape != ():
        raise GradientError(
            "the gradient of a tensor that is not a scalar",
            op=op,
            expected="a scalar",
            given=str(y.type),
            hint="sum or average it first, or use gc.vjp with a cotangent, or gc.jacobian",
        )
    floats(op, y, "y", complex=False)
    return _pull(op, y, wrt, None, unconnected)


def _pull(op: str, y: Any, wrt: Any, g: Any, unconnected: str) -> Any:
    """The cotangents of `wrt`, in its structure."""
    if unconnected not in _UNCONNECTED:
        raise ArgumentError(
            "what to give for a tensor that the output does not depend on",
            op=op,
            expected=f"unconnected={' or unconnected='.join(map(repr, _UNCONNECTED))}",
            given=f"unconnected={unconnected!r}",
        )
    outputs, y_structure = floats(op, y, "y")
    targets, structure = floats(op, wrt, "wrt")
    if g is None:
        cotangents = [_ones_like(t) for t in outputs]
    else:
        cotangents = directions(op, outputs, y_structure, g, "the cotangent", "g")
    result = pulled(outputs, targets, cotangents)
    if len(outputs) == 1 and outputs[0].shape == () and g is None:
        note(outputs[0], targets, result)
    for i, (t, c) in enumerate(zip(targets, result, strict=True)):
        if c is None and unconnected == "error":
            raise unconnected_error(op, outputs, t, paths(structure, "wrt")[i])
    return unflatten(structure, or_zeros(result, targets))


def pulled(
    outputs: Sequence[Tensor], wrt: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> list[Tensor | None]:
    """The cotangents of `wrt`, by the stable form of `outputs`; None where nothing flows."""
    stable, stands = stable_forms(outputs, wrt)
    return restored(pull_back(stable, cotangents, [stands.get(t, t) for t in wrt]), stands)


def or_zeros(found: Sequence[Tensor | None], likes: Sequence[Tensor]) -> list[Tensor]:
    """`found`, with zeros where there is nothing."""
    return [zeros_like(x) if t is None else t for t, x in zip(found, likes, strict=True)]


def _ones_like(y: Tensor) -> Tensor:
    one = constant(1, y.dtype)
    return one if y.shape == () else zeros_like(y) + one


# -- forwards --------------------------------------------------------------------------------------
def jvp(y: Any, wrt: Any, tangents: Any, *, has_aux: bool = False) -> Any:
    """Jacobian-vector products: the derivative of `y` where `wrt` moves along `tangents`.

    `gc.jvp(y, wrt, tangents)`: `y` and `wrt` are tensors in any structure, `tangents` is built as
    `wrt`, the result as `y`. `gc.jvp(f, arguments, tangents)`: for a tuple of arguments and one of
    their tangents, a pair of `f`'s result and its tangent; with `has_aux`, where `f` gives a pair,
    (result, tangent, aux). What does not depend on `wrt` has the tangent zero.
    Forward mode: about as many operations as `y` itself takes, however many elements `y` has.
    Shapes: a tangent has the shape of what moves. Dtypes: float.
    Errors: `GradientError` for what is not float; `ArgumentError` for what does not fit.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (2,))
    >>> y, moved = gc.jvp(lambda x: x * x, (x,), ([1.0, 10.0],))
    >>> gc.evaluate([gc.jvp(x * x, x, [1, 10]), moved], {x: [1.0, 2.0]})
    [array([ 2., 40.], dtype=float32), array([ 2., 40.], dtype=float32)]
    """
    if not callable(y):
        is_function("jvp", y, wrt, None, has_aux)
        return _push("jvp", y, wrt, tangents)
    if not isinstance(wrt, (tuple, list)):
        raise ArgumentError(
            "a function is called with a tuple of arguments",
            op="jvp",
            expected="gc.jvp(f, (x,), (v,))",
            given=repr(wrt)[:80],
        )
    trace = Trace("jvp", y, wrt, {}, tuple(range(len(wrt))), has_aux)
    made = trace.of_given(_push("jvp", trace.y, trace.wrt, tangents))
    return _with_aux(trace, made, has_aux)


def linearize(y: Any, /, *args: Any, has_aux: bool = False) -> Any:
    """The derivative as a linear function, which is made once and called with many tangents.

    `gc.linearize(f, *arguments)`: a pair of `f`'s result and a function from tangents, one for each
    argument, to that of the result; with `has_aux` (result, function, aux).
    `gc.linearize(y, wrt)`: the function alone, from tangents built as `wrt` to those of `y`.
    Shapes, dtypes, errors: as of `jvp`.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (2,))
    >>> y, push = gc.linearize(lambda x: x * x, x)
    >>> gc.evaluate([push([1, 0]), push([0, 1])], {x: [1.0, 2.0]})
    [array([2., 0.], dtype=float32), array([0., 4.], dtype=float32)]
    """
    if not callable(y):
        is_function("linearize", y, args[0] if len(args) == 1 else None, None, has_aux)
        return _linear(y, args[0], lambda made: made)
    trace = Trace("linearize", y, args, {}, tuple(range(len(args))), has_aux)
    push = _linear(trace.y, trace.wrt, trace.of_given)
    return _with_aux(trace, lambda *tangents: push(tangents), has_aux)


def hvp(y: Any, x: Any, v: Any) -> Any:
    """Hessian-vector products: how the gradient of a scalar by `x` changes along `v`.

    `gc.hvp(y, x, v)`: `x` is tensors in any structure that `y` is computed from, `v` and the result
    are built alike. `gc.hvp(f, x, v)`: the same of `f(x)`. Forward mode over reverse mode: one
    forward and one backward pass, each with its derivative along `v`, and no Hessian. By what the
    gradient does not depend on, the product is zero.
    Shapes: v that of x. Dtypes: float.
    Errors: `GradientError` if `y` is no float scalar; `ArgumentError` for what does not fit.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (2,))
    >>> gc.evaluate(gc.hvp(gc.sum(x**3), x, [1, 1]), {x: [1.0, 2.0]})
    array([ 6., 12.], dtype=float32)
    """
    if callable(y):
        trace = Trace("hvp", y, (x,), {}, 0, has_aux=False)
        return trace.of_given(hvp(trace.y, trace.wrt, v))
    return _push("hvp", gradient("hvp", y, x, "zero"), x, v)


def _push(op: str, y: Any, wrt: Any, tangents: Any) -> Any:
    """The tangents of `y`, in its structure."""
    outputs, structure = floats(op, y, "y")
    targets, wrt_structure = floats(op, wrt, "wrt")
    ts = directions(op, targets, wrt_structure, tangents, "the tangent", "tangents")
    return unflatten(structure, or_zeros(pushed(outputs, targets, ts), outputs))


def pushed(
    outputs: Sequence[Tensor], wrt: Sequence[Tensor], tangents: Sequence[Tensor]
) -> list[Tensor | None]:
    """The tangents of `outputs`, by their stable form; None where nothing flows."""
    stable, stands = stable_forms(outputs, wrt)
    return restored(push_forward(stable, [stands.get(t, t) for t in wrt], tangents), stands)


def _linear(y: Any, wrt: Any, finish: Callable[[Any], Any]) -> Callable[[Any], Any]:
    targets, structure = floats("linearize", wrt, "wrt")
    stands = fresh("tangent", (t.type for t in targets))
    made = _push("linearize", y, wrt, unflatten(structure, stands))
    linear, made_structure = flatten(made)

    def push(tangents: Any) -> Any:
        ts = directions("linearize", targets, structure, tangents, "the tangent", "tangents")
        moved = transform(linear, replace=dict(zip(stands, ts, strict=True)))
        return finish(unflatten(made_structure, moved))

    return push


# -- functions -------------------------------------------------------------------------------------
def positions(wrt: Any, argnums: Any) -> Any:
    """By which arguments a function is differentiated."""
    given = argnums if wrt is None else wrt
    return 0 if given is None else given


def _with_aux(trace: Trace, made: Any, has_aux: bool) -> Any:
    y, aux = trace.of_given((trace.y, trace.aux))
    return (y, made, aux) if has_aux else (y, made)
