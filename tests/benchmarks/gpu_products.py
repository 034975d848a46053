"""What a card's cuBLASLt has of epilogues for true float32, for `gpu.py`: asked of its heuristic,
which says how many algorithms there are, and never run; and, by products of which the answer is
known, whether those for gradients are what graphc means by them. Then how long products of small
steps take: by the algorithm that it proposes first, which is the one that graphc takes, by the best
of those that it proposes, and with these epilogues.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from ctypes import byref, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from functools import partial
from typing import Any

from graphc.runtime import cuda_epilogues, cuda_memory, cuda_products
from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_products import (
    ALGORITHM,
    BIAS,
    EPILOGUE,
    KINDS,
    MASK,
    MASK_BITS,
    MASK_ROW,
    WORKSPACE_SIZE,
    Matrix,
    Work,
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


# -- how long --------------------------------------------------------------------------------------
PROPOSED = 8  # algorithms that are tried
SHAPES = {  # rows, columns, terms; of a perceptron's step and of an LSTM's
    "32 x 256 of 256": (32, 256, 256),
    "256 x 256 of 32": (256, 256, 32),
    "32 x 10 of 256": (32, 10, 256),
    "128 x 256 of 256": (128, 256, 256),
    "32 x 512 of 128": (32, 512, 128),
    "32 x 128 of 512": (32, 128, 512),
}


def times(shape: str, times: int = 50) -> dict[str, Any]:
    """Microseconds of a product, of many in a recording, each behind the one before."""
    m, n, k = SHAPES[shape]
    card = cuda_memory.card()
    sizes = [m * k, k * n, m * n, n, m * -(-n // MASK_BITS) * MASK_BITS // 32]
    with card.waiting() as stream:
        products = cuda_products.Products(card, stream)
        products.begin()
        a, b, c, row, mask = starts = [card.allocate(4 * size) for size in sizes]
        for start, size in zip(starts, sizes, strict=True):
            done(card.api.cuMemsetD8Async(start, 0, 4 * size, stream), "clearing memory")
        matrices = [
            Matrix(start, leading, False, [], []) for start, leading in ((a, k), (b, n), (c, n))
        ]
        work = Work(matrices, m, n, k, [], [])
        found = products._found(work, 32)
        parts = range(cuda_products.PARTS)

        def by(algorithm: Any) -> float:
            made = *found[:-1], algorithm
            call = products._multiply
            return _seconds(products, lambda: call(made, (a, b, c), 1.0, 0, 32, parts), times)

        each = [by(algorithm) for algorithm in _proposed(products, found)]
        answer: dict[str, Any] = {"product": shape, "proposed": len(each)}
        answer |= {"us first": _us(each[0]), "us best": _us(min(each))}
        answer |= {"best is": each.index(min(each)), "workspace": int(found[-1][WORKSPACE_SIZE])}
        for name, more in {
            "relu, bias, mask": work._replace(positive=True, row=row, keeps=mask),
            "masked": work._replace(masked=mask),
            "sums": work._replace(sums=row),
        }.items():
            if products.has(more, 32):
                enqueue = partial(products.enqueue, more, 32, parts)
                answer[f"us {name}"] = _us(_seconds(products, enqueue, times))
        card.wait(stream)
        products.free()
        for start in starts:
            card.free(start)
    return answer


def _us(seconds: float) -> float:
    return round(1e6 * seconds, 2)


def _proposed(products: cuda_products.Products, found: tuple[Any, ...]) -> list[Any]:
    """What the library proposes for a product, the best by its own account first."""
    lib, description, layouts = library(), found[0], found[1:4]
    preference, most = c_void_p(), c_size_t(cuda_products.WORKSPACE)
    lib.cublasLtMatmulPreferenceCreate(byref(preference))
    lib.cublasLtMatmulPreferenceSetAttribute(preference, c_int(1), byref(most), c_size_t(8))
    words = ALGORITHM // 8
    given, count = (c_uint64 * (words * PROPOSED))(), c_int()
    lib.cublasLtMatmulAlgoGetHeuristic(
        products.handle, description, *layouts, layouts[2], preference, PROPOSED, given,
        byref(count),
    )
    listed = list(given)
    return [
        (c_uint64 * words)(*listed[i * words : (i + 1) * words]) for i in range(count.value)
    ] or [found[-1]]


def _seconds(products: cuda_products.Products, enqueue: Callable[[], Any], times: int) -> float:
    """Of one, in a recording of many; the least of five."""
    card, stream, api = products.card, products.stream, products.card.api
    mode = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    done(api.cuStreamBeginCapture(stream, mode), "recording")
    for _ in range(times):
        enqueue()
    graph = done(api.cuStreamEndCapture(stream), "recording")
    executable = done(api.cuGraphInstantiate(graph, 0), "making a graph")
    done(api.cuGraphDestroy(graph), "freeing a graph")
    taken = []
    for _ in range(6):
        card.wait(stream)
        started = time.perf_counter()
        done(api.cuGraphLaunch(executable, stream), "launching a graph")
        card.wait(stream)
        taken.append(time.perf_counter() - started)
    done(api.cuGraphExecDestroy(executable), "freeing a graph")
    return min(taken[1:]) / times
