"""What users give to derivatives: tensors in any structure, or a function and its arguments.

A function is traced on placeholders of its own, which are replaced by its arguments when the
derivative is there. So a function that also reads its argument from outside, or is given one
tensor twice, is differentiated as a function of each argument.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from graphc.autodiff.noted import replaced
from graphc.errors import ArgumentError, GradientError, GraphcError
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal
from graphc.ir.structure import Structure, at_leaf, flatten, flatten_like, unflatten
from graphc.ops.build import constant, settle
from graphc.ops.closure import parameters, tensors
from graphc.ops.scalar import stretch


# -- tensors ---------------------------------------------------------------------------------------
def floats(op: str, tree: Any, root: str, complex: bool = True) -> tuple[list[Tensor], Structure]:
    """The leaves of `tree`, whose name is `root`. Errors: `ArgumentError` for one that is no
    tensor, `GradientError` for one that has no derivative: an integer, a truth value, and a complex
    number without `complex`."""
    leaves, structure = flatten(tree)
    for i, leaf in enumerate(leaves):
        error = _refused(op, leaf, complex)
        if error is not None:
            raise at_leaf(error, structure, i, root)
    return leaves, structure


def _refused(op: str, leaf: Any, complex: bool) -> GraphcError | None:
    if not isinstance(leaf, Tensor):
        expected = "a tensor, or tensors in lists, dicts and so on"
        return ArgumentError("not a tensor", op=op, expected=expected, given=repr(leaf)[:80])
    if leaf.dtype.has_derivative and (complex or not leaf.dtype.is_complex):
        return None
    if leaf.dtype.is_complex:
        return GradientError(
            "a complex number where a real one is needed",
            op=op,
            expected="a float dtype",
            given=repr(leaf),
            hint="gc.real, gc.imag and gc.abs make it real; gc.vjp and gc.jvp take complex numbers",
        )
    integer = leaf.dtype.is_integer
    return GradientError(
        f"{'an integer' if integer else 'a truth value'} has no derivative",
        op=op,
        expected="a float dtype",
        given=repr(leaf),
        hint="x.astype('float64') converts it" if integer else "gc.where chooses by one",
    )


def directions(
    op: str, likes: Sequence[Tensor], structure: Structure, given: Any, what: str, root: str
) -> list[Tensor]:
    """Cotangents or tangents of the leaves `likes` of a structure, from what the user gives: the
    same structure of tensors, arrays or numbers. Errors: `ArgumentError` for what does not fit."""
    leaves = flatten_like(op, what, root, structure, given)
    found: list[Tensor] = []
    for i, (like, leaf) in enumerate(zip(likes, leaves, strict=True)):
        try:
            found.append(_direction(op, like, leaf, what))
        except GraphcError as error:
            raise at_leaf(error, structure, i, root) from None
    return found


def _direction(op: str, like: Tensor, leaf: Any, what: str) -> Tensor:
    made = leaf if isinstance(leaf, Tensor) else constant(leaf, like.dtype)
    made = settle(made, like.dtype) if made.weak else made
    if made.dtype is not like.dtype or not may_be_equal(made.shape, like.shape):
        raise ArgumentError(
            f"{what} does not fit", op=op, expected=str(like.type), given=str(made.type)
        )
    return stretch(made, like.shape)


# -- functions -------------------------------------------------------------------------------------
class Trace:
    """One call of a function: `y`, its result, in terms of `wrt`, placeholders in the structure of
    the arguments that are differentiated; `aux`, what it gives beside it.

    Errors: `ArgumentError` for positions that are none of an argument, for an argument or a result
    that is no tensor, and for a function with aux that gives no pair.
    """

    def __init__(
        self,
        op: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        argnums: Any,
        has_aux: bool,
    ) -> None:
        several = isinstance(argnums, (list, tuple))
        numbers = [_position(op, n, args) for n in (argnums if several else [argnums])]
        self._back: dict[Tensor, Tensor] = {}
        called = list(args)
        for n in numbers:
            given, structure = tensors(op, args[n], f"args[{n}]")
            floats(op, unflatten(structure, given), f"args[{n}]")
            made, inner = parameters(op, (t.type for t in given), given)
            self._back |= zip(made, given, strict=True)
            called[n] = unflatten(structure, inner)
        self.wrt: Any = tuple(called[n] for n in numbers) if several else called[numbers[0]]
        result, self.aux = function(*called, **kwargs), None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                expected, found = "(result, aux)", repr(result)[:80]
                raise ArgumentError(
                    "a function with aux gives a pair", op=op, expected=expected, given=found
                )
            result, self.aux = result
        leaves, structure = tensors(op, result, "result")
        self.y: Any = unflatten(structure, leaves)

    def of_given(self, tree: Any) -> Any:
        """`tree` in terms of the arguments that the function was called with."""
        leaves, structure = flatten(tree)
        found = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        made = iter(replaced(found, self._back))
        return unflatten(
            structure, (next(made) if isinstance(leaf, Tensor) else leaf for leaf in leaves)
        )


def _position(op: str, number: Any, args: Sequence[Any]) -> int:
    try:
        return range(len(args))[operator.index(number)]
    except (GraphcError, IndexError, TypeError):
        raise ArgumentError(
            "argnums says by position which arguments to differentiate by",
            op=op,
            expected=f"an int below {len(args)}, or several",
            given=repr(number)[:80],
        ) from None


def derivative_of(
    op: str,
    function: Callable[..., Any],
    argnums: Any,
    has_aux: bool,
    derive: Callable[[Any, Any], Any],
) -> Callable[..., Any]:
    """The function of `function`'s arguments that gives what `derive` makes of its result and the
    arguments `argnums`; with aux, a pair of that and of aux."""

    @wraps(function, updated=())
    def derivative(*args: Any, **kwargs: Any) -> Any:
        trace = Trace(op, function, args, kwargs, argnums, has_aux)
        made = derive(trace.y, trace.wrt)
        return trace.of_given((made, trace.aux) if has_aux else made)

    return derivative


def is_function(op: str, y: Any, wrt: Any, argnums: Any, has_aux: bool) -> bool:
    """Whether a derivative of a function is asked for, not of tensors.
    Errors: `ArgumentError` where the other arguments fit neither."""
    if callable(y):
        if wrt is not None and argnums is not None:
            raise ArgumentError("argnums is given twice", op=op, given=f"{wrt!r}, {argnums!r}"[:80])
        if isinstance(wrt, Tensor):
            raise ArgumentError(
                "a function is differentiated by its arguments",
                op=op,
                expected="their positions, or none for the first",
                given=repr(wrt)[:80],
                hint=f"gc.{op}(f)(x)",
            )
        return True
    if wrt is None or argnums is not None or has_aux:
        raise ArgumentError(
            "tensors are differentiated by tensors, functions by the positions of arguments",
            op=op,
            expected=f"gc.{op}(y, wrt), or gc.{op}(f, argnums=0)",
            given=f"y={y!r}"[:80],
        )
    return False
