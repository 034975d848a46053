"""Kernels that take up a product while it is in cache: bias, activation, residual, softmax, update.

The step after a product is often a kernel whose loop runs over the product's rows and reads, in
each turn, no other row. Such a pair becomes one `Blocks` step: the target computes some rows, runs
the kernel on them while they are in cache, and goes on; threads can share the rows of both. (Where
they share the product's columns, since it has many, the kernel comes behind all of it.) Where
nobody else reads the product, the kernel's result takes its place in memory. Where the kernel
writes what each thread has read for another product, as an update of weights does, the product's
blocks claim that memory for their thread (`lower/gemm.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from graphc.ir.dim import Size, divide, is_nonnegative, product, substitute
from graphc.ir.shape import strides
from graphc.loops.grammar import (
    Affine,
    Buffer,
    For,
    Kernel,
    Load,
    Store,
    Var,
    parallel_loop,
    statements,
)
from graphc.machines import CPU, Machine
from graphc.planning.alias import alias_in_place
from graphc.planning.epilogues import take_up
from graphc.planning.gradient_epilogues import take_up_gradients
from graphc.planning.moved import store_where_moved
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Gemm,
    Loop,
    Program,
    Ref,
    Step,
    Storage,
    touched,
    walk_steps,
)


def join_blocks(program: Program, machine: Machine = CPU) -> Program:
    """`program` with products and the kernel that takes them up as one step, in the ways of the
    machine."""
    if machine.product_columns == 0 and not machine.epilogues:
        return program
    refs = (ref for step in walk_steps(program.steps) for part in touched(step) for ref in part)
    uses = Counter(ref.storage for ref in refs)
    products = (step for step in walk_steps(program.steps) if isinstance(step, Gemm))
    right = (step.b.ref.storage for step in products if not step.batch)
    read = {storage for storage in right if storage.kind == "variable"}
    return replace(program, steps=_joined(program.steps, _Uses(uses, read), machine))


class _Uses(NamedTuple):
    """How often steps of a program touch its memory, and which variables each thread reads whole:
    right operands of products whose rows they share."""

    touches: Mapping[Storage, int]
    whole: Collection[Storage]


def _joined(steps: Sequence[Step], uses: _Uses, machine: Machine) -> list[Step]:
    found: list[Step] = []
    for step in store_where_moved(steps, uses.touches, machine) if machine.many_threads else steps:
        if isinstance(step, Loop):
            found.append(replace(step, body=_joined(step.body, uses, machine)))
        elif isinstance(step, Branch):
            sides = [_joined(side, uses, machine) for side in step.sides]
            found.append(replace(step, sides=sides))
        else:
            call = step if isinstance(step, Call) else None
            taken = take_up(found, call, uses.touches) if machine.epilogues and call else None
            before = found[-1] if found else None
            if taken is not None:
                found = taken
            elif call and isinstance(before, Gemm) and (pair := _pair(before, call, uses, machine)):
                found[-1] = pair
            else:
                found.append(step)
    return take_up_gradients(found, uses.touches, machine) if machine.epilogues else found


def _pair(product: Gemm, call: Call, uses: _Uses, machine: Machine) -> Blocks | None:
    """A product and the kernel behind it as one step, or None."""
    if machine.product_columns == 0:
        return None
    packed = product.by_columns or product.packed is not None
    columns = machine.packed_columns if packed else machine.product_columns
    turns = turns_per_part(product, call, columns)
    if turns is None:
        return None
    return _claiming(_in_place(Blocks(product, call, turns), uses.touches), uses.whole)


def _claiming(step: Blocks, whole: Collection[Storage]) -> Blocks:
    """The step, with a variable that each thread reads whole and that it writes row by row."""
    if step.product.batch or step.product.by_columns:
        return step
    for ref in step.call.written:
        width = _elements_per_turn(step.call, ref)
        rows = width is not None and width * step.turns == step.product.n
        if rows and ref.storage in whole and ref.storage.dtype == step.product.dtype:
            return replace(step, claimed=ref)
    return step


def _in_place(step: Blocks, uses: Mapping[Storage, int]) -> Blocks:
    """The kernel writes a result over the product, if that is a temporary of these two alone."""
    gemm, call = step.product, step.call
    place = gemm.c.ref
    if place.storage.kind != "temp" or uses[place.storage] != 2:  # written, and read
        return step
    pairs = list(zip(call.kernel.buffers, call.buffers, strict=True))
    taken = next(buffer for buffer, ref in pairs if ref == place)
    others = [r.storage for r in (gemm.a.ref, gemm.b.ref, *call.buffers)]
    for output, ref in pairs:
        alone = others.count(ref.storage) == 1
        if ref not in call.written or not alone or output.size != taken.size:
            continue
        kernel = alias_in_place(call.kernel, output, taken)
        if kernel is not None:
            buffers = tuple(ref if r == place else r for b, r in pairs if b is not output)
            return Blocks(
                replace(gemm, c=replace(gemm.c, ref=ref)),
                replace(call, kernel=kernel, buffers=buffers),
                step.turns,
            )
    return step


def turns_per_part(step: Gemm, call: Call, columns: int) -> Size | None:
    """How many turns of the kernel's loop take up one row of a product (of a batch of products: one
    matrix), or None where the kernel must wait for all of it."""
    if call.work is None or call.sites or not _is_contiguous(step):
        return None
    if not step.batch and isinstance(step.n, int) and step.n > columns:
        return None
    width = _elements_per_turn(call, step.c.ref)
    part = step.m * step.n if step.batch else step.n
    parts = product(step.batch) if step.batch else step.m
    turns = None if width is None or width == 0 else divide(part, width)
    if turns is None or call.extents != (parts * turns,):
        return None
    written = {ref.storage for ref in call.written}
    if step.b.ref.storage in written:
        return None
    if step.a.ref.storage in written and not _replaces_its_rows(step, call, turns):
        return None
    return turns


def _replaces_its_rows(step: Gemm, call: Call, turns: Size) -> bool:
    """Whether what the kernel writes over `a` are just the rows that its turns come from."""
    width = None if step.batch or step.a.transposed else _elements_per_turn(call, step.a.ref)
    return width is not None and width * turns == step.k == step.a.leading


def _is_contiguous(step: Gemm) -> bool:
    shape = (*step.batch, step.m, step.n)
    return (*step.c.batch, step.c.leading, 1) == strides(shape)


def _elements_per_turn(call: Call, place: Ref) -> Size | None:
    """`w` if each turn `i` of the kernel's loop reads and writes `place` in [i * w, (i + 1) * w),
    and there is no other place in that storage that it touches."""
    pairs = list(zip(call.kernel.buffers, call.buffers, strict=True))
    buffers = [buffer for buffer, ref in pairs if ref == place]
    if len(buffers) != 1 or sum(ref.storage is place.storage for _, ref in pairs) != 1:
        return None
    return elements_per_turn(call.kernel, buffers[0])


def elements_per_turn(kernel: Kernel, buffer: Buffer) -> Size | None:
    """`w` if each turn `i` of the kernel's loop touches `buffer` in [i * w, (i + 1) * w) only."""
    loop = parallel_loop(kernel)
    if loop is None:
        return None
    extents: dict[Var, Size] = {
        s.var: substitute(s.extent, kernel.sizes)
        for s in statements(loop.body)
        if isinstance(s, For)
    }
    accesses = (s for s in statements(kernel.body) if isinstance(s, (Load, Store)))
    indices = [_over_dims(s.index, kernel) for s in accesses if s.buffer is buffer]
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
