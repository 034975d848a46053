"""What operations are of tensors with which kernels do not compute: complex numbers, and float16.

Both are stored as they are. An op that moves elements, or takes them as they are in memory, is a
node like any other. Another op of complex numbers is real nodes (`complex.py`). One of float16 that
is elementwise, or picks elements, is that of float32 with its result rounded, which is NumPy's
meaning; sums and products refuse: they would be of float32, and only their result of float16.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import DTypeError
from graphc.ir import origin
from graphc.ir.dtype import float16, float32
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Attrs, Fact, Op
from graphc.ops.build import cast
from graphc.ops.complex import of_complex


def lifted(op: Op, operands: Sequence[Tensor], attrs: Attrs) -> Node | None:
    """The node of `op` where kernels do not compute with an operand; None where the op takes it as
    it is. Errors: `DTypeError` for an op that does not take it."""
    if any(t.dtype.is_complex for t in operands):
        return of_complex(op, operands, attrs)
    if op.only_moves or Fact.CONVERTS in op.facts:
        return None
    if not op.facts & {Fact.ELEMENTWISE, Fact.PICKS}:
        raise DTypeError(
            "float16 is stored, not computed with",
            op=op.name,
            expected="float32 or float64",
            given=", ".join(t.dtype.name for t in operands),
            where=origin.where(),
            hint="x.astype('float32') converts it, and .astype('float16') the result",
        )
    wide = [cast(t, float32) if t.dtype is float16 else t for t in operands]
    made = apply(op, wide, **attrs).output()
    return cast(made, float16).node if made.dtype is float32 else made.node
