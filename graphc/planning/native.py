"""What native code calls for a host step: a routine of LAPACK with sizes and places, or loops."""

from __future__ import annotations

from collections.abc import Callable

from graphc.ir.dim import Size, product
from graphc.ir.dtype import DType, int64
from graphc.ir.node import Node
from graphc.ir.routine import Argument, Operand, Result, Routine, Work
from graphc.ir.shape import TensorType, strides
from graphc.planning.program import Native, Passes, Ref

Memory = Callable[[DType, Size], Ref]


def native(node: Node, memory: Memory, site: Callable[[str], int]) -> Native | Passes | None:
    """What computes the node, or None where its op knows nothing but NumPy. `memory` gives some of
    the arena, `site` the number of a failure."""
    operands = [t.type for t in node.inputs]
    if node.op.loops is not None:
        return Passes(tuple(node.op.loops(operands, node.types, **node.attrs)))
    if node.op.lapack is None:
        return None
    routine = node.op.lapack(operands, node.types, **node.attrs)
    batch = node.types[0].shape[: node.types[0].rank - routine.results[0]]
    read, written = (
        tuple(_steps(t, own, batch) for t, own in zip(types, axes, strict=True))
        for types, axes in ((operands, routine.operands), (node.types, routine.results))
    )
    work = tuple(_own(node, routine, argument, memory) for argument in routine.arguments)
    return Native(routine, batch, read, written, work, site(routine.failure))


def matrix_size(type: TensorType, own: int) -> Size:
    """The elements of one matrix, which is the last `own` axes."""
    return product(type.shape[type.rank - own :])


def _steps(type: TensorType, own: int, batch: tuple[Size, ...]) -> tuple[Size, ...]:
    """The elements between neighbours along each axis of the batch: 0 along those that a tensor
    lacks or has one of."""
    count = type.rank - own
    steps = [0 if s == 1 else step for s, step in zip(type.shape, strides(type.shape), strict=True)]
    return (*(0 for _ in batch[count:]), *steps[:count])


def _own(node: Node, routine: Routine, argument: Argument, memory: Memory) -> Ref | None:
    """Memory for an argument that is neither operand nor result; or that is integers, of which the
    library's may have another width."""
    match argument:
        case Work(size=size, integers=integers):
            return memory(int64 if integers else node.types[0].dtype, size)
        case Operand(position=position):
            type, own = node.inputs[position].type, routine.operands[position]
        case Result(position=position):
            type, own = node.types[position], routine.results[position]
        case _:
            return None
    return None if type.dtype.is_float else memory(type.dtype, matrix_size(type, own))
