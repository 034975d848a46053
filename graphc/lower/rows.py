"""Some rows of a step, as LLVM IR: turns of a kernel, rows of a product, and loops of such steps.

This is what one thread computes of a step that several share, and what stays in cache between a
product and the kernel that takes it up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from graphc.ir.dim import Size, divide, floordiv, maximum
from graphc.lower import products
from graphc.lower.function_text import FunctionText
from graphc.lower.kernel_calls import arguments, run_kernel, threads
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Examples,
    Gemm,
    Loop,
    Ref,
    Step,
    walk_steps,
)
from graphc.planning.strips import turns_per_row

BLOCK_BYTES = 1 << 15  # of a product's rows that a kernel takes up: two thirds of a first cache
BLOCK_ROWS = 8  # what our own product computes at once

Span: TypeAlias = tuple[str, str]  # values: from, and up to
_Part: TypeAlias = "tuple[Size, Span]"  # of so many rows these


def take_up(text: FunctionText, blocks: Blocks, first: str, last: str) -> None:
    """The turns of the kernel that take up rows (or matrices) [first, last) of the product."""
    span = times(text, (first, last), text.size(blocks.turns))
    run_kernel(text, blocks.call, arguments(text, blocks.call), span)


def times(text: FunctionText, span: Span, factor: str) -> Span:
    """A range of what there are `factor` of for each of this range."""
    first, last = (text.emit(f"mul i64 {value}, {factor}") for value in span)
    return first, last


def product(text: FunctionText, step: Gemm, blocks: Blocks | None, span: Span, start: str) -> None:
    """Rows [first, last) of a product, over the part of k that begins at `start`; after the last
    part each block of rows is followed by the kernel."""
    a, b, c = (text.pointer(m.ref) for m in (step.a, step.b, step.c))
    done = products.is_last(text, step, start)
    height = text.emit(f"sub i64 {span[1]}, {span[0]}")
    if blocks is not None:
        rows = floordiv(BLOCK_BYTES // step.dtype.itemsize // BLOCK_ROWS, maximum(step.n, 1))
        height = text.size(maximum(rows, 1) * BLOCK_ROWS)
    with text.loop(span[1], span[0], height) as first:
        end = text.emit(f"add i64 {first}, {height}")
        last = text.emit(f"call i64 @llvm.smin.i64(i64 {end}, i64 {span[1]})")
        count = text.emit(f"sub i64 {last}, {first}")
        starts = []
        for place, matrix in ((a, step.a), (c, step.c)):
            elements = text.emit(f"mul i64 {first}, {products.row_step(text, matrix)}")
            starts.append(text.advance(place, step.dtype, elements))
        claimed = ("null", "0")
        if blocks is not None and blocks.claimed is not None:
            claimed = _claimed(text, blocks.claimed, step.n, first, done)
        products.own(text, step, (starts[0], b, starts[1]), count, start, claimed=claimed)
        if blocks is not None:
            text.choose(done, partial(take_up, text, blocks, first, last))


def _claimed(text: FunctionText, ref: Ref, width: Size, first: str, done: str) -> tuple[str, str]:
    """Where a row of so many elements is that several threads claim, if the product is done."""
    several = text.emit(f"icmp sgt i64 {threads(text)}, 1", early=True)
    now = text.emit(f"and i1 {several}, {done}")
    row = text.emit(f"select i1 {now}, i64 {text.size(width)}, i64 0")
    at = text.advance(text.pointer(ref), ref.storage.dtype, text.emit(f"mul i64 {first}, {row}"))
    return text.emit(f"select i1 {now}, ptr {at}, ptr null"), row


def copy(text: FunctionText, step: Copy, span: Span | None = None) -> None:
    """All that is copied, or elements [first, last) of it."""
    dtype = step.target.storage.dtype
    places = [text.pointer(ref) for ref in (step.target, step.source)]
    size = text.size(step.size * dtype.itemsize)
    if span is not None:
        places = [text.advance(place, dtype, span[0]) for place in places]
        count = text.emit(f"sub i64 {span[1]}, {span[0]}")
        size = text.emit(f"mul i64 {count}, {dtype.itemsize}")
    text.line(
        f"call void @llvm.memcpy.p0.p0.i64(ptr {places[0]}, ptr {places[1]}, i64 {size}, i1 false)"
    )


def branch(text: FunctionText, step: Branch, sides: Sequence[Callable[[], None]]) -> None:
    """The side that the selector says, each written by a function."""
    place, (no, *yes) = text.pointer(step.selector), sides
    if step.is_by_truth:
        taken = text.emit(f"load i8, ptr {place}")
        text.choose(text.emit(f"icmp ne i8 {taken}, 0"), yes[0], no)
    else:
        index = text.emit(f"load i64, ptr {place}")
        text.switch(text.emit(f"call i64 @llvm.smax.i64(i64 {index}, i64 0)"), [no, *yes])


# -- loops by rows ---------------------------------------------------------------------------------
def are_own(text: FunctionText, loop: Loop | Examples) -> str:
    """Whether our own routine computes all products of a loop: an i1."""
    chosen = "true"
    for step in walk_steps(loop.body):
        if isinstance(step, Gemm):
            own = products.is_own(text, step)
            chosen = own if chosen == "true" else text.emit(f"and i1 {chosen}, {own}", early=True)
    return chosen


def turns(text: FunctionText, loop: Loop, rows: Span, stop: str, start: str = "0") -> None:
    """Turns [start, stop) of a loop by rows, for these rows."""
    assert loop.rows is not None
    _turns(text, loop, (loop.rows, rows), stop, start)


def _turns(text: FunctionText, loop: Loop, part: _Part, stop: str, start: str = "0") -> None:
    with text.loop(stop, start) as counter:
        text.counters[loop.counter] = counter
        _steps(text, loop.body, part)
        del text.counters[loop.counter]


def _steps(text: FunctionText, steps: Sequence[Step], part: _Part) -> None:
    for step in steps:
        _step(text, step, part)


def _step(text: FunctionText, step: Step, part: _Part) -> None:
    rows, span = part
    match step:
        case Call():
            span = times(text, span, text.size(turns_per_row(step, rows)))
            run_kernel(text, step, arguments(text, step), span)
        case Gemm():
            _product(text, step, None, span)
        case Blocks():
            _product(text, step.product, step, span)
        case Copy():
            width = divide(step.size, rows)
            assert width is not None
            copy(text, step, times(text, span, text.size(width)))
        case Loop():
            assert step.extent is not None
            _turns(text, step, part, text.size(step.extent))
        case Branch():
            branch(text, step, [partial(_steps, text, side, part) for side in step.sides])
        case _:
            raise AssertionError(f"{step} is not computed by rows")


def _product(text: FunctionText, step: Gemm, blocks: Blocks | None, span: Span) -> None:
    once_at_least = text.size(maximum(step.k, 1))
    with text.loop(once_at_least, step=text.size(products.depth(step))) as start:
        product(text, step, blocks, span, start)
