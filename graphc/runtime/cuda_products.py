"""Matrix products on a card, by cuBLASLt, called by its address. float32 stays float32: no operand
is rounded for tensor cores.

Row-major c = a b is column-major c' = b' a'. The descriptors of a product, and the algorithm that
the library proposes for it, are kept by shape.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache
from itertools import product
from typing import Any

from graphc.errors import DeviceError
from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_memory import Card

# of cublasLt.h and library_types.h
KINDS = {32: (0, 68), 64: (1, 70)}  # the type of elements, and how they are multiplied
TRANSPOSES_A, TRANSPOSES_B = 3, 4
BATCH, STRIDE = 5, 6
MOST_WORKSPACE = 1
ALGORITHM = 96  # bytes of what the library proposes
WORKSPACE = 32 << 20
Matrix = tuple[int, int, bool, list[int]]  # address, leading size, transposed, steps of the batch


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


class Products:
    """The products of one stream."""

    def __init__(self, card: Card, stream: Any) -> None:
        self.card, self.stream = card, stream
        self.handle: c_void_p | None = None
        self.workspace = 0
        self.kept: dict[Any, tuple[Any, ...]] = {}

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

    def enqueue(
        self, matrices: Sequence[Matrix], sizes: tuple[int, int, int], batch: list[int], bits: int
    ) -> None:
        """c[m, n] = a[m, k] b[k, n], for each index over the batch."""
        if 0 in (*batch, sizes[0], sizes[1]):
            return
        if sizes[2] == 0:
            self._clear(matrices[2], sizes, batch, bits // 8)
            return
        inner = batch[-1] if batch else 1
        steps = [x[3][-1] if batch else 0 for x in matrices]
        shape = tuple((max(x[1], 1), x[2], step) for x, step in zip(matrices, steps, strict=True))
        key = sizes, shape, inner, bits
        found = self.kept.get(key)
        if found is None:
            self.kept[key] = found = self._made(sizes, shape, inner, bits)
        number = c_double if bits == 64 else c_float
        one, zero = number(1), number(0)
        description, b_layout, a_layout, c_layout, algorithm = found
        for place in product(*map(range, batch[:-1])):
            a, b, c = (
                c_void_p(x[0] + bits // 8 * sum(i * s for i, s in zip(place, x[3], strict=False)))
                for x in matrices
            )
            self._ok(
                library().cublasLtMatmul(
                    self.handle, description, byref(one), b, b_layout, a, a_layout, byref(zero),
                    c, c_layout, c, c_layout, algorithm, c_void_p(self.workspace),
                    c_size_t(WORKSPACE), c_void_p(int(self.stream)),
                )
            )  # fmt: skip

    def _clear(
        self, matrix: Matrix, sizes: tuple[int, int, int], batch: list[int], size: int
    ) -> None:
        """A product of nothing is zero."""
        address, leading, _, steps = matrix
        for place in product(*map(range, batch)):
            start = address + size * sum(i * s for i, s in zip(place, steps, strict=True))
            clear = self.card.api.cuMemsetD2D8Async
            rows = size * max(leading, 1), 0, size * sizes[1], sizes[0]
            done(clear(start, *rows, self.stream), "clearing memory")

    def _made(
        self, sizes: tuple[int, int, int], shape: Any, batch: int, bits: int
    ) -> tuple[Any, ...]:
        """The descriptors of a product, and the algorithm for it."""
        lib, (m, n, k) = library(), sizes
        kind, compute = KINDS[bits]
        a, b, c = shape
        layouts = [
            self._layout(kind, rows, columns, matrix, batch)
            for rows, columns, matrix in ((k, n, b), (m, k, a), (m, n, c))
        ]
        description = c_void_p()
        self._ok(lib.cublasLtMatmulDescCreate(byref(description), c_int(compute), c_int(kind)))
        for attribute, matrix in ((TRANSPOSES_A, b), (TRANSPOSES_B, a)):
            word = c_int32(matrix[1])
            set_attribute = lib.cublasLtMatmulDescSetAttribute
            self._ok(set_attribute(description, attribute, byref(word), c_size_t(4)))
        preference, most = c_void_p(), c_size_t(WORKSPACE)
        self._ok(lib.cublasLtMatmulPreferenceCreate(byref(preference)))
        set_preference = lib.cublasLtMatmulPreferenceSetAttribute
        self._ok(set_preference(preference, MOST_WORKSPACE, byref(most), c_size_t(8)))
        algorithm, count = (c_uint64 * (ALGORITHM // 8))(), c_int()
        self._ok(
            lib.cublasLtMatmulAlgoGetHeuristic(
                self.handle, description, *layouts, layouts[2], preference, 1, algorithm,
                byref(count),
            )
        )  # fmt: skip
        if count.value == 0:
            raise DeviceError(
                "cuBLASLt has no algorithm for a product", op="cuda", given=str(sizes)
            )
        return (description, *layouts, algorithm)

    def _layout(
        self, kind: int, rows: int, columns: int, matrix: tuple[int, bool, int], batch: int
    ) -> c_void_p:
        """A row-major matrix of `rows` by `columns`, as the column-major one of columns by rows
        that it is in memory; the other way round if it is stored transposed."""
        leading, transposed, step = matrix
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
