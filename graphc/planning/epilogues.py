"""What libraries do to a product before they store it: they scale it, add an array and a row to it,
and keep what is positive.

The step behind a product is often a kernel that does nothing but that: the bias of a layer, a
residual, the sum of two products, a step of gradient descent in the memory of the weight. The value
is the kernel's but for roundings such as the product itself has, and NaN goes through `relu`: a
card has been asked (`tests/benchmarks/gpu.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from graphc.ir.dim import Size, divide, substitute
from graphc.ir.dtype import float32
from graphc.ir.shape import strides
from graphc.loops.grammar import (
    Affine,
    Const,
    For,
    Kernel,
    Let,
    Load,
    Store,
    Value,
    Var,
    statements,
)
from graphc.planning.program import (
    Call,
    Epilogue,
    Gemm,
    Host,
    Ref,
    Step,
    Storage,
    touched,
    walk_steps,
)

Made = Mapping[Var, "Let | Load"]


class Combination(NamedTuple):
    """What a kernel stores: the sum of what it loads, each times a number; if `positive`, zero in
    place of what is less."""

    store: Store
    terms: Sequence[tuple[Load, float]]
    positive: bool


def take_up(steps: Sequence[Step], call: Call, uses: Mapping[Storage, int]) -> list[Step] | None:
    """The steps and the kernel behind them, where its products do its work and it is gone; else
    None. The products are last then, so that what they write is written when the kernel did it."""
    stored = _combination(call.kernel)
    if stored is None:
        return None
    refs = dict(zip(call.kernel.buffers, call.buffers, strict=True))
    result = refs[stored.store.buffer]
    if result.storage.kind == "variable" and any(map(_may_fail, walk_steps(steps))):
        return None  # kernels can be stopped then, products cannot
    factors: dict[int, float] = {}  # of products, by their place among the steps
    others: list[tuple[Load, Ref]] = []
    for load, factor in stored.terms:
        ref = refs[load.buffer]
        at = product_at(steps, ref, uses) if is_whole(load, stored.store) else None
        if at is not None and at not in factors:
            factors[at] = factor
        elif factor == 1.0:
            others.append((load, ref))
        else:
            return None
    arrays = [ref for load, ref in others if is_whole(load, stored.store)]
    rows = [(load, ref) for load, ref in others if not is_whole(load, stored.store)]
    if not factors or len(arrays) > 1 or len(rows) > 1:
        return None
    gemms = [step for at in sorted(factors) if isinstance(step := steps[at], Gemm)]
    reads = [ref for step in gemms for ref in (step.a.ref, step.b.ref)]
    if any(ref.storage is result.storage for ref in (*reads, *(ref for _, ref in rows))):
        return None
    if any(ref.storage is result.storage and ref != result for ref in arrays):
        return None
    if (rows or stored.positive) and not has_epilogues(gemms[-1]):
        return None
    if any(not _is_row(load, stored.store, call.kernel, gemms[-1]) for load, _ in rows):
        return None
    made: list[Step] = []
    for at, step in zip(sorted(factors), gemms, strict=True):
        epilogue = Epilogue(factors[at], result if made else next(iter(arrays), None))
        if step is gemms[-1]:
            row = next((ref for _, ref in rows), None)
            epilogue = replace(epilogue, row=row, positive=stored.positive, node=call.node)
        made.append(replace(step, c=replace(step.c, ref=result), epilogue=epilogue))
    return [*(step for at, step in enumerate(steps) if at not in factors), *made]


def _may_fail(step: Step) -> bool:
    return isinstance(step, Host) or (isinstance(step, Call) and bool(step.sites))


# -- kernels ---------------------------------------------------------------------------------------
def _combination(kernel: Kernel) -> Combination | None:
    """What a kernel stores whose loops do nothing else."""
    *before, store = [s for s in statements(kernel.body) if not isinstance(s, For)]
    made = {s.var: s for s in before if isinstance(s, (Let, Load))}
    if not isinstance(store, Store) or len(made) < len(before):
        return None
    value, positive = store.value, False
    match made.get(value) if isinstance(value, Var) else None:
        case Let(primitive="maximum", args=(inner, Const(value=zero))) if zero == 0:
            value, positive = inner, True
    terms = _terms(value, made)
    return Combination(store, terms, positive) if terms else None


def _terms(value: Value, made: Made) -> list[tuple[Load, float]] | None:
    """A value as a sum of what is loaded, each times a number."""
    if isinstance(value, Const):
        return [] if value.value == 0 else None
    match made.get(value):
        case Load(guard=None) as load:
            return [(load, 1.0)]
        case Let(primitive="negative", args=(x,)):
            return _scaled(_terms(x, made), -1.0)
        case Let(primitive="multiply", args=(Const(value=number), x)):
            return _scaled(_terms(x, made), float(number))
        case Let(primitive="multiply", args=(x, Const(value=number))):
            return _scaled(_terms(x, made), float(number))
        case Let(primitive="add" | "subtract" as primitive, args=(x, y)):
            first, second = _terms(x, made), _terms(y, made)
            second = _scaled(second, -1.0) if primitive == "subtract" else second
            return None if first is None or second is None else [*first, *second]
    return None


def _scaled(terms: list[tuple[Load, float]] | None, by: float) -> list[tuple[Load, float]] | None:
    return None if terms is None else [(load, by * factor) for load, factor in terms]


def is_whole(load: Load, store: Store) -> bool:
    """Whether an array is read as the result is written."""
    return load.index == store.index and load.buffer.size == store.buffer.size


def _is_row(load: Load, store: Store, kernel: Kernel, step: Gemm) -> bool:
    """Whether what is loaded is a row for each row of the product."""
    columns = _columns(kernel, step.n)
    if columns is None or load.index != Affine(((columns, 1),)):
        return False
    for var, size in store.index.terms:  # each row begins where the one before ends
        whole = divide(substitute(size, kernel.sizes), step.n)
        if (size != 1) if var is columns else (whole is None):
            return False
    return True


def _columns(kernel: Kernel, columns: Size) -> Var | None:
    """The variable of the innermost loop, if that goes over so many columns."""
    loop = [s for s in statements(kernel.body) if isinstance(s, For)][-1:]
    found = [s.var for s in loop if substitute(s.extent, kernel.sizes) == columns]
    return found[0] if found else None


# -- products --------------------------------------------------------------------------------------
def product_at(steps: Sequence[Step], place: Ref, uses: Mapping[Storage, int]) -> int | None:
    """Which step is the product that is there, if nobody else reads it, and it can wait."""
    if place.storage.kind != "temp" or uses[place.storage] != 2:  # written, and read
        return None
    for at, step in enumerate(steps):
        if isinstance(step, Gemm) and step.c.ref == place:
            return at if _is_plain(step) and _can_wait(step, steps[at + 1 :]) else None
    return None


def _is_plain(step: Gemm) -> bool:
    shape = (*step.batch, step.m, step.n)
    contiguous = (*step.c.batch, step.c.leading, 1) == strides(shape)
    return contiguous and not step.taps and step.epilogue is None


def _can_wait(step: Gemm, steps: Sequence[Step]) -> bool:
    """Whether what it reads is still there behind further steps."""
    reads = {step.a.ref.storage, step.b.ref.storage}
    written = (ref.storage for later in walk_steps(steps) for ref in touched(later)[1])
    return reads.isdisjoint(written)


def has_epilogues(step: Gemm) -> bool:
    """Libraries add rows and compare for float32; where k may be 0, there may be no product."""
    sizes = all(isinstance(size, int) and size >= 2 for size in (step.n, step.k))
    return sizes and step.dtype is float32
