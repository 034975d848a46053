"""What a card's cuBLASLt has of epilogues for true float32, for `gpu.py`: asked of its heuristic,
which says how many algorithms there are, and never run; and, by products of which the answer is
known, whether those for gradients are what graphc means by them.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any

from graphc.runtime import cuda_epilogues, cuda_memory, cuda_products
from graphc.runtime.cuda_products import (
    ALGORITHM,
    BIAS,
    EPILOGUE,
    KINDS,
    MASK,
    MASK_ROW,
    library,
)

EPILOGUES = {  # of cublasLt.h; with those for gradients, whether they need a mask
    "relu": (2, False),
    "relu, bias": (6, False),
    "relu, bias, mask": (134, True),
    "relu's gradient": (136, True),
    "relu's gradient, sums": (152, True),
    "sums of rows of a": (256, False),
    "sums of columns of b": (512, False),
}


def algorithms(n: int = 256) -> dict[str, Any]:
    """For a product of n by n: how many of one algorithm each epilogue has, or the status."""
    lib, card = library(), cuda_memory.card()
    with card.waiting():
        handle, memory = c_void_p(), card.allocate(4 * n * n)
        lib.cublasLtCreate(byref(handle))
        found = {name: _asked(handle, memory, n, *what) for name, what in EPILOGUES.items()}
        lib.cublasLtDestroy(handle)
        card.free(memory)
    with card.waiting() as stream:
        products = cuda_products.Products(card, stream)
        products.begin()
        found["mean what graphc means"] = str(cuda_epilogues.agree(products))
        products.free()
    return found


def _asked(handle: c_void_p, memory: int, n: int, epilogue: int, masked: bool) -> str:
    lib, (kind, compute) = library(), KINDS[32]
    description, layout, preference = c_void_p(), c_void_p(), c_void_p()
    lib.cublasLtMatmulDescCreate(byref(description), c_int(compute), c_int(kind))
    words: list[tuple[int, Any]] = [(EPILOGUE, c_int32(epilogue)), (BIAS, c_void_p(memory))]
    if masked:
        words += [(MASK, c_void_p(memory)), (MASK_ROW, c_int64(-(-n // 128) * 128))]
    for attribute, word in words:
        size = c_size_t(ctypes.sizeof(word))
        lib.cublasLtMatmulDescSetAttribute(description, c_int(attribute), byref(word), size)
    lib.cublasLtMatrixLayoutCreate(byref(layout), c_int(kind), c_uint64(n), c_uint64(n), c_int64(n))
    lib.cublasLtMatmulPreferenceCreate(byref(preference))
    algorithm, count = (c_uint64 * (ALGORITHM // 8))(), c_int()
    status = lib.cublasLtMatmulAlgoGetHeuristic(
        handle, description, layout, layout, layout, layout, preference, 1, algorithm, byref(count)
    )
    return f"status {status}" if status else f"{count.value}"
