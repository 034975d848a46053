"""Matrix products on a card, by cuBLASLt, called by its address. float32 stays float32: no operand
is rounded for tensor cores, unless the user asked for it by `tf32=True`.

Row-major c = a b is column-major c' = b' a'. The descriptors of a product, and the algorithm that
the library proposes for it, are kept by shape.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from ctypes import (
    byref,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple

from graphc.errors import DeviceError
from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_memory import Card

# of cublasLt.h and library_types.h
KINDS = {32: (0, 68), 64: (1, 70)}  # the type of elements, and how they are multiplied
TF32 = 77  # how float32 is multiplied in tensor cores
TRANSPOSES_A, TRANSPOSES_B = 3, 4
EPILOGUE, BIAS = 7, 8
MASK, MASK_ROW = 11, 12
POSITIVE, ADDS_BIAS, IS_MASKED, HAS_MASK, SUMS = 2, 4, 8, 128, 256  # of an epilogue
BATCH, STRIDE = 5, 6
MOST_WORKSPACE = 1
LEAST_ALIGNMENT = (5, 6, 7, 8)  # of the operands and results, of which the library assumes most
ALIGNED = 256
MASK_BITS = 128  # of which a row of a mask is a multiple
WORKSPACE_SIZE = 8  # which word of these says how much workspace it needs
ALGORITHM = 96  # bytes of what the library proposes
WORKSPACE = 32 << 20
PARTS = 8  # of it, for products beside each other


class Matrix(NamedTuple):
    """A batch of matrices in memory, in elements: from row to row, along the axes of the batch and
    along those of what is summed."""

    address: int
    leading: int
    transposed: bool
    batch: list[int]
    taps: list[int]


@cache
def library() -> Any:
    """cuBLASLt. Errors: `DeviceError` where it is not installed."""
    names = [f"libcublasLt.so.{version}" for version in (13, 12)]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
    except Exception as error:  # each version of it has errors of its own
        raise DeviceError(
            "matrix products on a card need cuBLAS, which was not found",
            op="cuda",
            expected=" or ".join(names),
            given=str(error).splitlines()[0],
            hint="pip install nvidia-cublas",
        ) from error


class Work(NamedTuple):
    """c[m, n] = scale * a[m, k] b[k, n] + added[m, n] + row[n], for each index over the batch; the
    sum of such products over each index of the taps; if `positive`, 0 in place of what is less.
    `added`, laid out as c, and `row` are addresses, or 0.

    So are what a library may refuse (`Products.has`): where bits of what is positive are stored,
    where those are that c is 0 without, and where the rows of b are added up."""

    matrices: Sequence[Matrix]
    m: int
    n: int
    k: int
    batch: list[int]
    taps: list[int]
    scale: float = 1.0
    added: int = 0
    row: int = 0
    positive: bool = False
    keeps: int = 0
    masked: int = 0
    sums: int = 0

    @property
    def epilogue(self) -> int:
        """What is done to the product, as the library names it."""
        parts = {
            POSITIVE: self.positive,
            ADDS_BIAS: self.row > 0,
            IS_MASKED: self.masked > 0,
            HAS_MASK: self.keeps + self.masked > 0,
            SUMS: self.sums > 0,
        }
        return sum(word for word, wanted in parts.items() if wanted)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to multiply."""
        return 0 in (*self.batch, self.m, self.n, *self.taps, self.k)


class Products:
    """The products of one stream. `tf32`: operands of float32 may be rounded to 10 bits."""

    def __init__(self, card: Card, stream: Any, tf32: bool = False) -> None:
        self.card, self.stream, self.tf32 = card, stream, tf32
        self.handle: c_void_p | None = None
        self.workspace = self.turn = 0
        self.kept: dict[Any, tuple[Any, ...] | None] = {}
        self.agrees = False  # whether the epilogues of gradients are what graphc means

    def _ok(self, status: int) -> None:
        if status:
            raise DeviceError("a matrix product failed", op="cuda", given=f"cuBLASLt says {status}")

    def begin(self) -> None:
        """Before anything is recorded. Errors: as `library`."""
        if self.handle is None:
            handle = c_void_p()
            self._ok(library().cublasLtCreate(byref(handle)))
            self.workspace, self.handle = self.card.allocate(WORKSPACE), handle

    def free(self) -> None:
        if self.handle is not None:
            self._ok(library().cublasLtDestroy(self.handle))
            self.card.free(self.workspace)

    def parts(self, work: Work, bits: int) -> range:
        """The parts of the stream's workspace that a product needs: one if that is enough, each
        time the next one, as products that do not need each other run at once; or all."""
        size = 0 if work.is_empty else self._found(_apart(work), bits)[-1][WORKSPACE_SIZE]
        if size > WORKSPACE // PARTS:
            return range(PARTS)
        self.turn += 1
        return range(self.turn % PARTS, self.turn % PARTS + 1) if size else range(0)

    def has(self, work: Work, bits: int) -> bool:
        """Whether the library does all of the work's epilogue."""
        whole = not work.is_empty and _apart(work) == work
        return whole and self._known(work, bits) is not None

    def enqueue(self, work: Work, bits: int, parts: range) -> None:
        """In these parts of the workspace."""
        if 0 in (*work.batch, work.m, work.n):
            return
        if 0 in (*work.taps, work.k):
            self._without_products(work, bits // 8)
            return
        work = _apart(work)
        found = self._found(work, bits)
        self._point(found[0], work)
        for place in product(*map(range, work.batch[:-1])):
            for number, tap in enumerate(product(*map(range, work.taps))):
                a, b, c = (
                    x.address + bits // 8 * (_dot(place, x.batch) + _dot(tap, x.taps))
                    for x in work.matrices
                )
                added = c if number else work.added and work.added + c - work.matrices[2].address
                self._multiply(found, (a, b, c), work.scale, added, bits, parts)

    def _point(self, description: c_void_p, work: Work) -> None:
        """Where the arrays of an epilogue are."""
        if work.row or work.sums:
            self._set(description, BIAS, c_void_p(work.row or work.sums))
        if work.keeps or work.masked:
            self._set(description, MASK, c_void_p(work.keeps or work.masked))

    def _found(self, work: Work, bits: int) -> tuple[Any, ...]:
        """As `_known`. Errors: `DeviceError` where the library has no algorithm."""
        found = self._known(work, bits)
        if found is None:
            sizes = str((work.m, work.n, work.k))
            raise DeviceError("cuBLASLt has no algorithm for a product", op="cuda", given=sizes)
        return found

    def _known(self, work: Work, bits: int) -> tuple[Any, ...] | None:
        """What the library needs for products of this shape, if it has an algorithm for them."""
        shape = tuple(
            (
                max(x.leading, 1),
                x.transposed,
                x.batch[-1] if work.batch else 0,
                gcd(ALIGNED, x.address, *(bits // 8 * step for step in (*x.batch, *x.taps))),
            )
            for x in work.matrices
        )
        aligned = gcd(shape[2][3], work.added)  # of what is added
        key = work.m, work.n, work.k, *work.batch[-1:], shape, aligned, bits, work.epilogue
        if key not in self.kept:
            self.kept[key] = self._made(work, shape, aligned, bits)
        return self.kept[key]

    def _multiply(
        self,
        found: tuple[Any, ...],
        starts: Iterable[int],
        scale: float,
        added: int,
        bits: int,
        parts: range,
    ) -> None:
        """One call of the library."""
        number = c_double if bits == 64 else c_float
        part = WORKSPACE // PARTS
        workspace = c_void_p(self.workspace + parts.start * part), c_size_t(len(parts) * part)
        description, b_layout, a_layout, c_layout, algorithm = found
        a, b, c = map(c_void_p, starts)
        z, adds = (c_void_p(added), 1) if added else (c, 0)
        self._ok(
            library().cublasLtMatmul(
                self.handle, description, byref(number(scale)), b, b_layout, a, a_layout,
                byref(number(adds)), z, c_layout, c, c_layout, algorithm, *workspace,
                c_void_p(int(self.stream)),
            )
        )  # fmt: skip

    def _without_products(self, work: Work, size: int) -> None:
        """A product of nothing is zero."""
        *_, c = work.matrices
        if work.added:  # c has no gaps then
            if work.added != c.address:
                count = size * prod(work.batch) * work.m * work.n
                self.card.copy(c.address, work.added, count, self.stream)
            return
        for place in product(*map(range, work.batch)):
            start = c.address + size * _dot(place, c.batch)
            clear = self.card.api.cuMemsetD2D8Async
            rows = size * max(c.leading, 1), 0, size * work.n, work.m
            done(clear(start, *rows, self.stream), "clearing memory")

    def _set(self, description: c_void_p, attribute: int, word: Any) -> None:
        set_attribute = library().cublasLtMatmulDescSetAttribute
        size = c_size_t(ctypes.sizeof(word))
        self._ok(set_attribute(description, c_int(attribute), byref(word), size))

    def _made(self, work: Work, shape: Any, aligned: int, bits: int) -> tuple[Any, ...] | None:
        """The descriptors of a product, and the algorithm for it, if there is one."""
        lib, (m, n, k) = library(), (work.m, work.n, work.k)
        batch = work.batch[-1] if work.batch else 1
        kind, compute = KINDS[bits]
        if self.tf32 and bits == 32:
            compute = TF32
        a, b, c = shape
        layouts = [
            self._layout(kind, rows, columns, matrix, batch)
            for rows, columns, matrix in ((k, n, b), (m, k, a), (m, n, c))
        ]
        description = c_void_p()
        self._ok(lib.cublasLtMatmulDescCreate(byref(description), c_int(compute), c_int(kind)))
        for attribute, matrix in ((TRANSPOSES_A, b), (TRANSPOSES_B, a)):
            self._set(description, attribute, c_int32(matrix[1]))
        if work.epilogue:
            self._set(description, EPILOGUE, c_int32(work.epilogue))
        if work.keeps or work.masked:
            self._set(description, MASK_ROW, c_int64(-(-n // MASK_BITS) * MASK_BITS))
        self._point(description, work)  # for which the library asks when it looks for an algorithm
        preference, most = c_void_p(), c_size_t(WORKSPACE)
        self._ok(lib.cublasLtMatmulPreferenceCreate(byref(preference)))
        set_preference = lib.cublasLtMatmulPreferenceSetAttribute
        self._ok(set_preference(preference, MOST_WORKSPACE, byref(most), c_size_t(8)))
        for kind, least in zip(LEAST_ALIGNMENT, (b[3], a[3], aligned, c[3]), strict=True):
            self._ok(set_preference(preference, kind, byref(c_uint32(least)), c_size_t(4)))
        algorithm, count = (c_uint64 * (ALGORITHM // 8))(), c_int()
        status = lib.cublasLtMatmulAlgoGetHeuristic(
            self.handle, description, *layouts, layouts[2], preference, 1, algorithm, byref(count)
        )
        if status and not work.epilogue & (HAS_MASK | SUMS):  # the others are always there
            self._ok(status)
        return (description, *layouts, algorithm) if status == 0 and count.value else None

    def _layout(
        self, kind: int, rows: int, columns: int, matrix: tuple[int, bool, int, int], batch: int
    ) -> c_void_p:
        """A row-major matrix of `rows` by `columns`, as the column-major one of columns by rows
        that it is in memory; the other way round if it is stored transposed."""
        leading, transposed, step, _ = matrix
        if transposed:
            rows, columns = columns, rows
        made = c_void_p()
        self._ok(
            library().cublasLtMatrixLayoutCreate(
                byref(made), c_int(kind), c_uint64(columns), c_uint64(rows),
                c_int64(max(leading, columns, 1)),
            )
        )  # fmt: skip
        for attribute, word in ((BATCH, c_int32(batch)), (STRIDE, c_int64(step))):
            size = c_size_t(ctypes.sizeof(word))
            set_attribute = library().cublasLtMatrixLayoutSetAttribute
            self._ok(set_attribute(made, attribute, byref(word), size))
        return made


def _dot(place: Sequence[int], steps: Sequence[int]) -> int:
    """Where an index is, in elements; of more steps than it has axes, the first ones count."""
    return sum(i * step for i, step in zip(place, steps, strict=False))


# -- rows that overlap -----------------------------------------------------------------------------
def _apart(work: Work) -> Work:
    """The same work with matrices whose rows lie one behind the other, as the library demands, and
    with the longest axis of the batch as the last, which the library goes over.
    Rows of windows overlap: each is a matrix by itself then, of a batch or of a sum."""
    if work.batch:
        work = _with_last(work, work.batch.index(max(work.batch)))
    a, b, _ = work.matrices
    if _overlap(a, work.m, work.k):
        if a.transposed:
            work = _by_terms(work)
        else:
            work = _by_rows(work, (a.leading, 0, work.matrices[2].leading))
            work = work._replace(m=1, batch=[*work.batch, work.m])
    if _overlap(b, work.k, work.n):
        if not b.transposed:
            return _by_terms(work)
        work = _by_rows(work, (0, b.leading, 1))
        work = work._replace(n=1, batch=[*work.batch, work.n])
    return work


def _with_last(work: Work, axis: int) -> Work:
    """Matrices with another axis of the batch as the last one."""

    def turned(steps: list[int]) -> list[int]:
        return [*steps[:axis], *steps[axis + 1 :], steps[axis]]

    matrices = [x._replace(batch=turned(x.batch)) for x in work.matrices]
    return work._replace(matrices=matrices, batch=turned(work.batch))


def _overlap(matrix: Matrix, rows: int, columns: int) -> bool:
    if matrix.transposed:
        rows, columns = columns, rows
    return rows > 1 and matrix.leading < columns


def _by_terms(work: Work) -> Work:
    """A sum of products of one column and one row."""
    a, b, c = work.matrices
    a = a._replace(taps=[*a.taps, a.leading if a.transposed else 1])
    b = b._replace(taps=[*b.taps, 1 if b.transposed else b.leading])
    return work._replace(matrices=(a, b, c), k=1, taps=[*work.taps, work.k])


def _by_rows(work: Work, steps: Sequence[int]) -> Work:
    """Matrices with another axis of the batch, so far apart."""
    pairs = zip(work.matrices, steps, strict=True)
    return work._replace(matrices=[x._replace(batch=[*x.batch, step]) for x, step in pairs])
