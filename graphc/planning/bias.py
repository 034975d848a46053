"""Products that add a row to each row of their result, where a library does that by itself.

The step after a product is often a kernel that does nothing but that: the bias of a layer whose
result goes on to another product, or out. The value is the same: the library, too, adds the row to
sums that are rounded to the dtype. Activations stay kernels, since what libraries make of NaN there
is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc.ir.dim import Size, divide, substitute
from graphc.ir.dtype import float32
from graphc.ir.shape import strides
from graphc.loops.grammar import Affine, For, Kernel, Let, Load, Store, Var, statements
from graphc.planning.program import Bias, Call, Gemm, Storage


def with_bias(step: Gemm, call: Call, uses: Mapping[Storage, int]) -> Gemm | None:
    """The product with what the kernel behind it does, if that is to add a row to each of its rows,
    and nobody else reads the product; else None.

    For float32 and static sizes of at least 2: libraries add no bias to products of others.
    """
    place = step.c.ref
    if place.storage.kind != "temp" or uses[place.storage] != 2 or not _is_plain(step):
        return None
    added = _added(call.kernel)
    if added is None:
        return None
    refs = dict(zip(call.kernel.buffers, call.buffers, strict=True))
    first, second, store = added
    value, row = (first, second) if refs[first.buffer] == place else (second, first)
    result = refs[store.buffer]
    reads = (step.a.ref, step.b.ref, refs[row.buffer])
    if refs[value.buffer] != place or any(ref.storage is result.storage for ref in reads):
        return None
    columns = _columns(call.kernel, step.n)
    if value.index != store.index or value.buffer.size != store.buffer.size:
        return None
    if columns is None or row.index != Affine(((columns, 1),)):
        return None
    for var, size in value.index.terms:  # each row begins where the one before ends
        whole = divide(substitute(size, call.kernel.sizes), step.n)
        if (size != 1) if var is columns else (whole is None):
            return None
    bias = Bias(refs[row.buffer], call.node)
    return replace(step, c=replace(step.c, ref=result), bias=bias)


def _is_plain(step: Gemm) -> bool:
    shape = (*step.batch, step.m, step.n)
    contiguous = (*step.c.batch, step.c.leading, 1) == strides(shape)
    sizes = all(isinstance(size, int) and size >= 2 for size in (step.n, step.k))
    return contiguous and sizes and step.dtype is float32 and not step.taps and step.bias is None


def _added(kernel: Kernel) -> tuple[Load, Load, Store] | None:
    """What is loaded and stored by a kernel whose loops do nothing but add two elements."""
    match [s for s in statements(kernel.body) if not isinstance(s, For)]:
        case [
            Load(guard=None) as x,
            Load(guard=None) as y,
            Let(primitive="add") as add,
            Store() as to,
        ]:
            if {*add.args} == {x.var, y.var} and to.value is add.var:
                return x, y, to
    return None


def _columns(kernel: Kernel, columns: Size) -> Var | None:
    """The variable of the innermost loop, if that goes over so many columns."""
    loop = [s for s in statements(kernel.body) if isinstance(s, For)][-1:]
    found = [s.var for s in loop if substitute(s.extent, kernel.sizes) == columns]
    return found[0] if found else None
