"""Kernels as launches for a card: programs and sizes at which they are run without one.

In a simulator of threads, where a race, a barrier that some threads miss and an access outside of
an array are errors; and as machine code of this processor, one thread a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.checking.host_launches import run_on_host
from graphc.checking.kernels import (
    Region,
    Run,
    build_kernel,
    check_region,
    regions_of,
    statement_count,
)
from graphc.checking.simulator import simulate
from graphc.ir.graph import Graph
from graphc.loops.grammar import Kernel
from graphc.loops.interpret import interpret_kernel
from graphc.loops.nest import take_apart
from graphc.machines import CUDA
from graphc.pipeline.pipeline import fuse_all, run_pipeline
from graphc.pipeline.stages import Stages

from .values import Array

SIZES = (0, 1, 31, 32, 33, 255, 256, 257, 1025)
SIMULATED: Mapping[str, Run] = {"loop IR": interpret_kernel, "launches": simulate}
NATIVE: Mapping[str, Run] = {"launches as machine code": run_on_host}
STEPS = 3_000  # statements that a kernel may run where it is simulated


def check_launches(
    graph: Graph,
    calls: Iterable[Sequence[Array]],
    what: str,
    ways: Mapping[str, Run] = SIMULATED,
    limit: int | None = STEPS,
) -> Counter[str]:
    """How many kernels of an optimised graph were run in all calls, by kind.

    Errors: `AssertionError` for one that means something else than its region, or for what the
    simulator refuses.
    """
    counts: Counter[str] = Counter()
    for number, arrays in enumerate(calls):
        for region in regions_of(graph, arrays):
            kernel = build_kernel(**region.node.attrs, machine=CUDA).kernel
            kind = take_apart(kernel).kind
            if limit is not None and _work(kernel, kind, region) > limit:
                counts["too long"] += 1
                continue
            found = check_region(region, None, None, ways, CUDA)
            assert not found, f"{what}, call {number}: {found}\n{region.body}"
            counts[kind] += 1
    return counts


def _work(kernel: Kernel, kind: str, region: Region) -> int:
    """About how many statements all threads run: of a scatter, each group goes over all turns."""
    count = statement_count(kernel, region.dims)
    turns = max((array.shape[0] for array in region.operands if array.ndim), default=1)
    return count * (min(turns, 1024) // 4 + 1) if kind == "scatter" else count


def optimised(graph: Graph) -> Graph:
    """What the pipeline makes of a graph for a card, before it is scheduled."""
    return run_pipeline(graph, Stages(), machine=CUDA).optimized


def fused(graph: Graph) -> Graph:
    """The kernels of a graph, without rules."""
    return fuse_all(graph, machine=CUDA)


# -- programs of every kind of kernel --------------------------------------------------------------
Program = Callable[[], Graph]


def _rows() -> Any:
    return gc.placeholder("launched_x", ("n", "m"))


def chain() -> Graph:
    x, y = (gc.placeholder(f"launched_{name}", ("n",)) for name in "xy")
    return Graph([x, y], [gc.exp(x * y) + gc.tanh(x) / (1 + y * y)])


def cross_entropy() -> Graph:
    x, t = _rows(), gc.placeholder("launched_t", ("n",), "int64")
    losses = gc.softmax_cross_entropy(x, t)
    return Graph([x, t], [losses, gc.grad(gc.sum(losses), x)])


def layer_norm() -> Graph:
    x, dy = _rows(), gc.placeholder("launched_dy", ("n", "m"))
    g, b = (gc.placeholder(f"launched_{name}", ("m",)) for name in "gb")
    centred = x - gc.mean(x, axis=1, keepdims=True)
    out = centred / gc.sqrt(gc.mean(centred * centred, axis=1, keepdims=True) + 1e-2) * g + b
    return Graph([x, g, b, dy], [out, *gc.grad(gc.sum(out * dy), [x, g, b])])


def column_sums() -> Graph:
    x = _rows()
    return Graph([x], [gc.sum(x, axis=0), gc.max(x, axis=0), x * 2.0])


def whole_sums() -> Graph:
    x = _rows()
    return Graph([x], [gc.sum(x * x), gc.max(x), gc.sqrt(gc.sum(x * x) + 1.0)])


def embedding() -> Graph:
    w, dy = gc.placeholder("launched_w", (7, "m")), gc.placeholder("launched_dy", ("n", "m"))
    i = gc.placeholder("launched_i", ("n",), "int64")
    taken = gc.take(w, i % 7)
    return Graph([w, i, dy], [taken, gc.grad(gc.sum(taken * dy), w)])


def counts() -> Graph:
    i = gc.placeholder("launched_i", ("n",), "int64")
    v = gc.placeholder("launched_v", ("n",))
    return Graph([i, v], [gc.segment_sum(v, i % 5, 5), gc.segment_max(v, i % 5, 5)])


def many_counts() -> Graph:
    i = gc.placeholder("launched_i", ("n",), "int64")
    v = gc.placeholder("launched_v", ("n",))
    total = gc.segment_sum(v, i % 5000, 5000)
    return Graph([i, v], [total, gc.segment_max(v, i % 5000, 5000), gc.sum(v * v)])


def positions() -> Graph:
    x = _rows()
    padded = gc.concat([x, gc.zeros((x.shape[0], 1))], axis=1)  # never none
    return Graph([x], [gc.argmax(padded, axis=1)])


def transposed() -> Graph:
    x = _rows()
    return Graph([x], [gc.permute_dims(x, (1, 0)) * 2.0])


def dropout() -> Graph:
    key, x = gc.placeholder("launched_k", (2,), "uint32"), gc.placeholder("launched_x", ("n",))
    return Graph([key, x], [gc.where(gc.random.bernoulli(key, 0.5, x.shape), x * 2.0, 0.0)])


def checked() -> Graph:
    """Places that are out of range where m is small: what fails is a word that all threads set."""
    x, t = _rows(), gc.placeholder("launched_t", ("n", 1), "int64")
    return Graph([x, t], [gc.take_along_axis(x, t % 4, axis=1) + 1.0])


PROGRAMS: tuple[Program, ...] = (
    chain,
    cross_entropy,
    layer_norm,
    column_sums,
    whole_sums,
    embedding,
    counts,
    many_counts,
    positions,
    transposed,
    dropout,
    checked,
)


def arrays_at(graph: Graph, n: int, m: int) -> list[Array]:
    """Random arrays for a program's inputs."""
    rng, dims = np.random.default_rng(n + 10_000 * m), {"n": n, "m": m}
    found: list[Array] = []
    for tensor in graph.inputs:
        shape = [s if isinstance(s, int) else dims[str(s)] for s in tensor.shape]
        if tensor.dtype.is_float:
            found.append(rng.normal(size=shape).astype(tensor.dtype.numpy))
        else:
            whole = tensor.dtype.numpy
            found.append(rng.integers(0, max(1, m), shape).astype(whole))
    return found


def calls_at(graph: Graph, rows: Iterable[int], columns: Sequence[int]) -> list[list[Array]]:
    """Arrays at sizes of n, and of m where there is one."""
    wide = columns if "m" in graph.dims else (1,)
    return [arrays_at(graph, n, m) for n in rows for m in wide]
