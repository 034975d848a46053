"""Kernels that take up a product while it is in cache: bias, activation, residual, softmax, update.

The step after a product is often a kernel whose loop runs over the product's rows and reads, in
each turn, no other row. Such a pair becomes one `Blocks` step: the target computes some rows, runs
the kernel on them while they are in cache, and goes on; threads can share the rows of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphc.ir.dim import Size, divide, is_nonnegative, product, substitute
from graphc.ir.shape import strides
from graphc.loops.grammar import Affine, For, Kernel, Load, Store, Var, parallel_loop, statements
from graphc.passes.program import Blocks, Branch, Call, Gemm, Loop, Program, Ref, Step


def join_blocks(program: Program) -> Program:
    """`program` with each product and the kernel that takes it up as one step."""
    return replace(program, steps=_joined(program.steps))


def _joined(steps: Sequence[Step]) -> list[Step]:
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Loop):
            found.append(replace(step, body=_joined(step.body)))
        elif isinstance(step, Branch):
            sides = _joined(step.then), _joined(step.otherwise)
            found.append(replace(step, then=sides[0], otherwise=sides[1]))
        elif isinstance(step, Call) and found and isinstance(found[-1], Gemm):
            turns = turns_per_part(found[-1], step)
            found[-1:] = [found[-1], step] if turns is None else [Blocks(found[-1], step, turns)]
        else:
            found.append(step)
    return found


def turns_per_part(step: Gemm, call: Call) -> Size | None:
    """How many turns of the kernel's loop take up one row of a product (of a batch of products: one
    matrix), or None where the kernel must wait for all of it."""
    if call.work is None or call.extent is None or not _is_contiguous(step):
        return None
    written = {ref.storage for ref in call.written}
    if written & {step.a.ref.storage, step.b.ref.storage}:
        return None  # what later rows are computed from
    width = _elements_per_turn(call, step.c.ref)
    part = step.m * step.n if step.batch else step.n
    parts = product(step.batch) if step.batch else step.m
    turns = None if width is None or width == 0 else divide(part, width)
    return turns if turns is not None and call.extent == parts * turns else None


def _is_contiguous(step: Gemm) -> bool:
    shape = (*step.batch, step.m, step.n)
    return (*step.c.batch, step.c.leading, 1) == strides(shape)


def _elements_per_turn(call: Call, place: Ref) -> Size | None:
    """`w` if each turn `i` of the kernel's loop reads and writes `place` in [i * w, (i + 1) * w),
    and there is no other place in that storage that it touches."""
    kernel = call.kernel
    pairs = list(zip(kernel.buffers, call.buffers, strict=True))
    buffers = [buffer for buffer, ref in pairs if ref == place]
    loop = parallel_loop(kernel)
    if len(buffers) != 1 or loop is None:
        return None
    if sum(ref.storage is place.storage for _, ref in pairs) != 1:
        return None
    extents: dict[Var, Size] = {
        s.var: substitute(s.extent, kernel.sizes)
        for s in statements(loop.body)
        if isinstance(s, For)
    }
    accesses = (s for s in statements(kernel.body) if isinstance(s, (Load, Store)))
    indices = [_over_dims(s.index, kernel) for s in accesses if s.buffer is buffers[0]]
    widths = {index.coefficient(loop.var) for index in indices}
    if len(widths) != 1:
        return None
    (width,) = widths
    inside = (_stays_inside(index, loop.var, extents, width) for index in indices)
    return width if all(inside) else None


def _over_dims(index: Affine, kernel: Kernel) -> Affine:
    """An index with the kernel's sizes as those of the program."""
    terms = tuple((var, substitute(size, kernel.sizes)) for var, size in index.terms)
    return Affine(terms, substitute(index.const, kernel.sizes))


def _stays_inside(index: Affine, loop: Var, extents: dict[Var, Size], width: Size) -> bool:
    """Whether what is added to `width * loop` is in [0, width)."""
    inner = [(var, size) for var, size in index.terms if var is not loop]
    if any(var not in extents for var, _ in inner):
        return False
    least = [index.const, *(size for _, size in inner)]
    most = index.const
    for var, size in inner:
        most = most + size * (extents[var] - 1)
    return all(map(is_nonnegative, least)) and is_nonnegative(width - 1 - most)
