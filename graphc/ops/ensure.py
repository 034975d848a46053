"""`ensure`: a value that is there only if a condition holds; else the call fails.

The way to check in a compiled program what its data alone can show. A failing call writes no
variable, so whatever a step would have done is not done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, RuntimeFailure
from graphc.ir import origin
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.shape import TensorType, broadcast
from graphc.ops.build import tensor
from graphc.ops.scalar import at, stretch, sum_to

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer(x: TensorType, holds: TensorType, *, message: str) -> tuple[TensorType, ...]:
    if holds.dtype is not bool_:
        raise DTypeError(
            "the condition is no truth value", expected="bool", given=str(holds),
            hint="compare it with something",
        )  # fmt: skip
    return (TensorType(x.dtype, broadcast("ensure", x.shape, holds.shape)),)


def _numpy(x: Any, holds: Any, *, message: str) -> Any:
    if not np.all(holds):
        raise RuntimeFailure(message, op="ensure", where=origin.where())
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, holds.shape))


def _kernel(k: Any, x: Any, holds: Any, *, message: str) -> Any:
    k.fail_if(k.bitwise_invert(holds), message)
    return x


def _jvp(
    context: Any, ts: Sequence[Tensor | None], out: Tensor, *inputs: Tensor, message: str
) -> Tensor | None:
    return None if ts[0] is None else stretch(ts[0], out.shape)


ENSURE = register(
    Op(
        "ensure",
        Kind.MAP,
        _infer,
        numpy=_numpy,
        vjp=lambda context, g, out, x, holds, message: [sum_to(g, x.shape), None],
        jvp=_jvp,
        at=at(_kernel),
        facts=frozenset({Fact.ELEMENTWISE, Fact.EXACT, Fact.CHECKS}),
        may_fail=True,
        doc="x itself, after checking that a condition holds.",
    )
)


def ensure(x: Any, condition: Any, message: str = "the condition does not hold") -> Tensor:
    """`x`, where `condition` holds for every element; else the call fails with `message`.

    The check belongs to the result: what does not use it does not check. No variable is written by
    a call that fails.

    Shapes: both broadcast. Dtypes: x any, the condition bool. The derivative is that of x.
    Errors: `DTypeError` for a condition that is no truth value, `ArgumentError` for a message that
    is no string; `RuntimeFailure` at the call, with the message.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n",))
    >>> root = gc.sqrt(gc.ensure(x, x >= 0, "x is below 0"))
    >>> gc.evaluate(root, {x: [4.0, 9.0]})
    array([2., 3.], dtype=float32)
    """
    if not isinstance(message, str):
        raise ArgumentError(
            "the message is no string", op="ensure", expected="a string", given=repr(message)[:80]
        )
    return apply(
        ENSURE, (tensor(x, "ensure"), tensor(condition, "ensure")), message=message
    ).output()


FUNCTIONS |= {"ensure": ensure}
