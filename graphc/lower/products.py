"""Matrix products, as LLVM IR: by the BLAS, or by our own routine where that is faster.

The BLAS packs both operands anew for every call, so it gets a product whole. Our own routine
(`gemm.py`) packs nothing and computes some rows as well as all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.dim import Size
from graphc.lower.context import Head
from graphc.lower.function_text import FunctionText
from graphc.passes.program import Gemm, Matrix

OWN_BYTES = 7 << 17  # of b, for our own product: it stays in the second-level cache
OWN_COLUMNS = 16  # of b at least: below, most of a vector would be wasted


def is_own(text: FunctionText, step: Gemm) -> str:
    """Whether our own routine computes the product: an i1, known from the start."""
    if step.b.transposed:
        return "false"
    tests = [
        f"icmp ne ptr {_own_routine(text, step)}, null",
        f"icmp sle i64 {text.size(step.k * step.n * step.dtype.itemsize)}, {OWN_BYTES}",
        f"icmp sge i64 {text.size(step.n)}, {OWN_COLUMNS}",
    ]
    chosen, *others = [text.emit(test, early=True) for test in tests]
    for other in others:
        chosen = text.emit(f"and i1 {chosen}, {other}", early=True)
    return chosen


def own(text: FunctionText, step: Gemm, matrices: Sequence[str], rows: str) -> None:
    """The first `rows` rows of a product, `matrices` being the addresses of a, b and c."""
    a, b, c = matrices
    strides = f"i64 {row_step(text, step.a)}, i64 {_column_step(text, step.a)}"
    sizes = f"i64 {rows}, i64 {text.size(step.n)}, i64 {text.size(step.k)}"
    text.line(
        f"call void {_own_routine(text, step)}(ptr {a}, {strides}, ptr {b}, "
        f"i64 {text.size(step.b.leading)}, ptr {c}, i64 {text.size(step.c.leading)}, {sizes})"
    )


def blas(text: FunctionText, step: Gemm, matrices: Sequence[str], integer: str) -> None:
    """A product by the BLAS, whose integers are of the type `integer`. Row-major c = a b is
    column-major c' = b' a', which is how it is called."""
    a, b, c = matrices
    short = step.dtype.itemsize == 4
    kind, routine = ("float", Head.SGEMM) if short else ("double", Head.DGEMM)
    for name, matrix in (("ta", step.b), ("tb", step.a)):
        text.store("i8", str(ord("T" if matrix.transposed else "N")), text.stack(name, "i8"))
    integers = {"m": text.size(step.n), "n": text.size(step.m), "k": text.size(step.k)}
    for name, matrix in (("lda", step.b), ("ldb", step.a), ("ldc", step.c)):
        leading = text.size(matrix.leading)
        integers[name] = text.emit(f"call i64 @llvm.smax.i64(i64 {leading}, i64 1)", early=True)
    for name, value in integers.items():
        if integer != "i64":
            value = text.emit(f"trunc i64 {value} to {integer}")
        text.store(integer, value, text.stack(name, integer))
    for name, number in (("one", "1.0"), ("zero", "0.0")):
        text.store(kind, number, text.stack(f"{kind}.{name}", kind))
    text.line(
        f"call void {text.word('ptr', routine)}(ptr %ta, ptr %tb, ptr %m, ptr %n, ptr %k, "
        f"ptr %{kind}.one, ptr {b}, ptr %lda, ptr {a}, ptr %ldb, ptr %{kind}.zero, ptr {c}, "
        "ptr %ldc, i64 1, i64 1)"
    )


def row_step(text: FunctionText, matrix: Matrix) -> str:
    """The elements from one row to the next."""
    return "1" if matrix.transposed else text.size(matrix.leading)


def _column_step(text: FunctionText, matrix: Matrix) -> str:
    return text.size(matrix.leading) if matrix.transposed else "1"


def matrices_at(text: FunctionText, step: Gemm, number: str) -> list[str]:
    """The addresses of a, b and c for one of the products of a batch, counted in row-major order
    of the batch axes."""
    pointers = [text.pointer(m.ref) for m in (step.a, step.b, step.c)]
    for axis in reversed(range(len(step.batch))):
        index = number
        if axis > 0:
            extent = text.size(step.batch[axis])
            index = text.emit(f"urem i64 {number}, {extent}")
            number = text.emit(f"udiv i64 {number}, {extent}")
        for i, matrix in enumerate((step.a, step.b, step.c)):
            distance: Size = matrix.batch[axis]
            if distance != 0:
                elements = text.emit(f"mul i64 {index}, {text.size(distance)}")
                pointers[i] = text.advance(pointers[i], step.dtype, elements)
    return pointers


def _own_routine(text: FunctionText, step: Gemm) -> str:
    return text.word("ptr", Head.SPRODUCT if step.dtype.itemsize == 4 else Head.DPRODUCT)
