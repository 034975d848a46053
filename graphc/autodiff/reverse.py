"""Reverse mode, from graph to graph: cotangents flow from the outputs back to what is asked for.

One walk: a node's cotangents are complete when its users have been visited; its op's `vjp` then
gives those of its inputs. There is nothing about any particular op here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.autodiff.hidden import Hidden, guarded
from graphc.errors import ArgumentError, GradientError
from graphc.ir import origin
from graphc.ir.collector import paused_collector
from graphc.ir.graph import walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Context as Asked
from graphc.ir.op import Fact
from graphc.ir.shape import may_be_equal
from graphc.ops.build import constant, scalar_like, settle
from graphc.ops.create import zeros_like
from graphc.ops.elementwise import where
from graphc.ops.scalar import branch_of, stretch
from graphc.rewrite.derivative import restored, stable_forms


class Context:
    """What an op's `vjp` may ask: which inputs need a cotangent, and the vjp of a sub-graph.

    `hidden`: the op's result is used through `where` only, so where its cotangent is zero it may
    be infinite or NaN.
    """

    def __init__(self, wanted: Sequence[bool], hidden: bool = False) -> None:
        self._wanted, self._hidden = tuple(wanted), hidden

    def needs(self, position: int) -> bool:
        """Whether a cotangent of input `position` will be used."""
        return self._wanted[position]

    def guarded(self, g: Tensor) -> Tensor:
        """`g` in a form of which `masked_multiply` makes no `0 * inf`, if the result is hidden."""
        return guarded(g) if self._hidden else g

    @staticmethod
    def pull_back(
        outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None], wrt: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Cotangents of `wrt` from those of `outputs` (for ops that hold sub-graphs)."""
        return pull_back(outputs, cotangents, wrt)


def grad(y: Any, wrt: Any, *, unconnected: str = "error") -> Any:
    """The gradient of a scalar `y` with respect to one tensor, or a list of them.

    Shapes: y [] -> the shape of each `wrt`. Dtypes: float.
    `wrt` may be any tensor that `y` is computed from: inputs, variables, intermediates. With
    `unconnected="zero"` the gradient by what `y` does not depend on is zeros, as in the second
    derivative of a linear function; by default that is an error, since it is a mistake more often.
    Errors: `GradientError` if `y` is not a float scalar, a `wrt` is not float, or `y` does not
    depend on it differentiably; `ArgumentError` for another `unconnected`.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ())
    >>> first = gc.grad(x * 3, x)
    >>> second = gc.grad(first, x, unconnected="zero")
    >>> [float(g) for g in gc.evaluate([first, second], {x: 2.0})]
    [3.0, 0.0]
    """
    if not isinstance(y, Tensor):
        raise ArgumentError("not a tensor", op="grad", given=repr(y)[:80], where=origin.where())
    if y.shape != ():
        raise GradientError(
            "the gradient of a tensor that is not a scalar",
            op="grad",
            expected="a scalar",
            given=str(y.type),
            where=origin.where(),
            hint="sum or average it first, or use gc.vjp with a cotangent",
        )
    single = isinstance(wrt, Tensor)
    result = _vjp("grad", y, [wrt] if single else wrt, None, unconnected)
    return result[0] if single else result


def vjp(y: Any, wrt: Any, g: Any = None, *, unconnected: str = "error") -> Any:
    """Vector-Jacobian products: the cotangents of `wrt` for cotangent(s) `g` of `y`.

    `y` is a tensor or a list of them, `g` the same (ones by default); `wrt` a tensor or a list.
    `unconnected`: as for `grad`.
    Errors: as `grad`, but `y` may have any shape; `ArgumentError` if `g` does not fit `y`.
    """
    return _vjp("vjp", y, wrt, g, unconnected)


def _vjp(op: str, y: Any, wrt: Any, g: Any, unconnected: str) -> Any:
    if unconnected not in _UNCONNECTED:
        raise ArgumentError(
            "what to give for a tensor that the output does not depend on",
            op=op,
            expected=f"unconnected={' or unconnected='.join(map(repr, _UNCONNECTED))}",
            given=f"unconnected={unconnected!r}",
            where=origin.where(),
        )
    outputs = [y] if isinstance(y, Tensor) else list(y)
    single = isinstance(wrt, Tensor)
    targets = [wrt] if single else _tensors(wrt, op)
    for t in (*_tensors(outputs, op), *targets):
        if not t.dtype.is_float:
            raise GradientError(
                "only floats have derivatives",
                op=op,
                expected="a float dtype",
                given=repr(t),
                where=origin.where(),
            )
    given = [None] * len(outputs) if g is None else [g] if isinstance(y, Tensor) else list(g)
    if len(given) != len(outputs):
        raise ArgumentError(
            "one cotangent for each output",
            op=op,
            expected=str(len(outputs)),
            given=str(len(given)),
            where=origin.where(),
        )
    cotangents = [_cotangent(t, c, op) for t, c in zip(outputs, given, strict=True)]
    stable, stands = stable_forms(outputs, targets)
    result = restored(pull_back(stable, cotangents, [stands.get(t, t) for t in targets]), stands)
    if unconnected == "zero":
        result = [zeros_like(t) if c is None else c for t, c in zip(targets, result, strict=True)]
    for t, c in zip(targets, result, strict=True):
        if c is None:
            raise GradientError(
                "the output does not depend differentiably on what the gradient is asked for",
                op=op,
                expected="a tensor that the output is computed from",
                given=repr(t),
                where=origin.where(),
                hint=f'if zeros are meant, gc.{op}(..., unconnected="zero") gives them',
            )
    return result[0] if single else result


_UNCONNECTED = ("error", "zero")


def _tensors(values: Any, op: str) -> list[Tensor]:
    result = list(values) if isinstance(values, (list, tuple)) else [values]
    for value in result:
        if not isinstance(value, Tensor):
            raise ArgumentError(
                "not a tensor",
                op=op,
                expected="a tensor or a list of tensors",
                given=repr(value)[:80],
                where=origin.where(),
            )
    return result


def _cotangent(y: Tensor, g: Any, op: str) -> Tensor:
    if g is None:
        one = constant(1, y.dtype)
        return one if y.shape == () else zeros_like(y) + one
    result = g if isinstance(g, Tensor) else constant(g, y.dtype)
    result = settle(result, y.dtype) if result.weak else result
    if result.dtype is not y.dtype or not may_be_equal(result.shape, y.shape):
        raise ArgumentError(
            "the cotangent does not fit the output",
            op=op,
            expected=str(y.type),
            given=str(result.type),
            where=origin.where(),
        )
    return stretch(result, y.shape)


@paused_collector()
def pull_back(
    outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None], wrt: Sequence[Tensor]
) -> list[Tensor | None]:
    """The cotangents of `wrt`; None where an output does not depend on it."""
    order = walk(outputs)
    on_path = _nodes_above(order, {t.node for t in wrt})
    found: dict[Tensor, Tensor] = {}
    hidden = Hidden(outputs)
    for y, g in zip(outputs, cotangents, strict=True):
        if g is not None:
            _accumulate(found, y, g)
    wanted = set(wrt)
    for node in reversed(order):
        if node not in on_path:
            continue
        gs = [found.get(t) if t in wanted else found.pop(t, None) for t in node.outputs]
        if all(g is None for g in gs) or not node.inputs:
            continue
        with origin.inherit(node.origins):
            if Fact.ELEMENTWISE in node.op.facts:
                gs = [
                    None if g is None else hidden.restore(t, g)
                    for t, g in zip(node.outputs, gs, strict=True)
                ]
            behind = hidden.all(node.outputs)
            for x, g in zip(node.inputs, _apply_vjp(node, gs, on_path, behind), strict=True):
                if g is not None and x.node in on_path:
                    _accumulate(found, x, stretch(g, x.shape))  # sizes may be equal by assumption
                    hidden.record(x, node)
    return [found.get(t) for t in wrt]


def _nodes_above(order: Sequence[Node], sources: set[Node]) -> set[Node]:
    """The nodes of `order` that are in `sources` or whose derivative by one may be other than 0."""
    above: set[Node] = set()
    for node in order:
        flows = (t.dtype.is_float and t.node in above for t in node.inputs)
        if node in sources or (node.op.differentiable and any(flows)):
            above.add(node)
    return above


def _apply_vjp(
    node: Node, gs: list[Tensor | None], on_path: set[Node], hidden: bool
) -> list[Tensor | None]:
    op = node.op
    if not op.differentiable:
        return [None] * len(node.inputs)
    if op.vjp is None:
        raise GradientError(
            "the op has no derivative",
            op=op.name,
            where=str(node.origins[0]) if node.origins else "",
        )
    wanted = [t.node in on_path and t.dtype.is_float for t in node.inputs]
    context: Asked = Context(wanted, hidden)
    several = len(node.types) > 1
    result = op.vjp(
        context,
        gs if several else gs[0],
        node.outputs if several else node.output(),
        *node.inputs,
        **node.attrs,
    )
    return list(result)


def _accumulate(found: dict[Tensor, Tensor], x: Tensor, g: Tensor) -> None:
    found[x] = add_cotangents(found[x], g) if x in found else g


def add_cotangents(a: Tensor, b: Tensor) -> Tensor:
    """a + b; two halves of one branch stay a branch, which keeps masking what was not taken."""
    first, second = branch_of(a), branch_of(b)
    if first is not None and second is not None and first[0] is second[0]:
        return where(first[0], first[1] + second[1], scalar_like(0, a))
    return a + b
