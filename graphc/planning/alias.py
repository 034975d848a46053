"""Kernels that work in place: one pointer for an operand and a result that share memory.

It is safe if every element of the operand is read before, and only before, that element is
written: all accesses are in one loop body, at one index, the loads above the store. What runs once
behind the parts of a reduction is in one body with what is before them.
"""

from __future__ import annotations

from dataclasses import replace

from graphc.loops.grammar import Buffer, For, Kernel, Load, Stmt, Store, statements


def alias_in_place(kernel: Kernel, output: Buffer, operand: Buffer) -> Kernel | None:
    """`kernel` with `output` written over `operand`, or None where that is not safe."""
    if output.dtype is not operand.dtype or not _is_safe(_in_order(kernel.body), output, operand):
        return None
    body = [_renamed(s, output, operand) for s in kernel.body]
    buffers = tuple(b for b in kernel.buffers if b is not output)
    return Kernel(kernel.name, buffers, body, kernel.sizes)


def _in_order(body: list[Stmt]) -> list[Stmt]:
    """The statements with those of a last loop of one turn among them: every part of a kernel that
    threads run first loads what is before its loops, and the last one runs behind all others."""
    last = body[-1] if body else None
    return [*body[:-1], *last.body] if isinstance(last, For) and last.extent == 1 else body


def _is_safe(body: list[Stmt], output: Buffer, operand: Buffer) -> bool:
    homes = [b for b in _bodies(body) if any(_touches(s, output, operand) for s in b)]
    if len(homes) != 1:
        return False
    accesses = [s for s in homes[0] if _touches(s, output, operand)]
    *loads, last = accesses
    return (
        isinstance(last, Store)
        and last.buffer is output
        and all(isinstance(s, Load) and s.buffer is operand for s in loads)
        and all(s.index == last.index for s in loads if isinstance(s, Load))
    )


def _bodies(body: list[Stmt]) -> list[list[Stmt]]:
    return [body, *(s.body for s in statements(body) if isinstance(s, For))]


def _touches(stmt: Stmt, *buffers: Buffer) -> bool:
    return isinstance(stmt, (Load, Store)) and stmt.buffer in buffers


def _renamed(stmt: Stmt, old: Buffer, new: Buffer) -> Stmt:
    match stmt:
        case Store(buffer, index, value) if buffer is old:
            return Store(new, index, value)
        case For(_, _, body):
            return replace(stmt, body=[_renamed(s, old, new) for s in body])
    return stmt
