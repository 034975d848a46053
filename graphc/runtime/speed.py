"""`gc.machine()`: what this processor does at its best, measured once and kept in the cache.

A program is compared with it: `cost().compute_bound(gc.machine())`, and the share of the limit in
`profile()`. Nothing is compiled by it. What is measured are programs as graphc makes them, so that
threads, vectors and the BLAS are those that a program has: a product of matrices of float32, and
numbers added to a variable in place, which lies in memory or in cache. Of each the best of several
calls counts, since what else the machine does only makes them slower.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, Variable
from graphc.machines import CPU, Speed
from graphc.ops.contract import matmul
from graphc.ops.leaf import variable
from graphc.pipeline.options import DEFAULTS
from graphc.runtime import cache, threads
from graphc.runtime.build import build
from graphc.runtime.target import TARGETS

ROWS = 384  # of the matrices that are multiplied: in a time in which nothing else gets a turn
FAR = 1 << 24  # floats in memory, or in as large a cache as there is behind the second level
NEAR = CPU.cached_bytes >> 3  # floats that take half of the second-level cache
CALLS = 10
CALLS_NEAR = 200  # of what is in cache

_measured: dict[str, Speed] = {}


def machine(again: bool = False) -> Speed:
    """What this processor does at its best on all threads: `.flops`, operations a second, with an
    addition as 1; `.bandwidth` and `.cache_bandwidth`, bytes a second from memory and from the
    second-level cache; `.balance`, the operations for a byte from which on they take the time.

    It is measured once, in about a second, and kept in the cache; `again=True` measures anew, as
    after other work disturbed it.
    Errors: `ArgumentError` unless `again` is a truth value.

    >>> import graphc as gc
    >>> speed = gc.machine()
    >>> speed.flops > 0, speed.bandwidth > 0, speed == gc.machine()
    (True, True, True)
    """
    if not isinstance(again, (bool, np.bool_)):
        raise ArgumentError(
            "not a truth value", op="machine", expected="again=True", given=repr(again)[:80]
        )
    speed = None if again else known()
    if speed is None:
        key = _key()
        _measured[key] = speed = _measure()
        parts = {name: getattr(speed, name) for name in Speed.__slots__}
        cache.store(key, parts, b"", cache.SPEED)
    return speed


def known() -> Speed | None:
    """What was measured, in this process or an earlier one; None where nothing was."""
    key = _key()
    if key not in _measured:
        found = cache.load(key, cache.SPEED)
        kept = None if found is None else _read(found[0])
        if kept is None:
            return None
        _measured[key] = kept
    return _measured[key]


def _key() -> str:
    parts = {"speed": "1", "threads": str(threads.num_threads()), **TARGETS["cpu"].identity()}
    return cache.make_key({**cache.environment_parts(), **parts})


def _read(kept: dict[str, Any]) -> Speed | None:
    """What an entry says, or None where it is none."""
    found = [kept.get(name) for name in Speed.__slots__]
    numbers = [n for n in found if isinstance(n, float) and math.isfinite(n) and n > 0]
    return Speed(*numbers) if len(numbers) == len(found) else None


def _measure() -> Speed:
    rng = np.random.default_rng(0)
    left, right, product = (
        variable(rng.random((ROWS, ROWS), np.float32), name=f"machine {i}") for i in range(3)
    )
    multiply = _program(product, matmul(left, right))
    flops = 2 * ROWS**3 / _best(multiply, CALLS_NEAR)
    moved = [_moved(size, calls) for size, calls in ((FAR, CALLS), (NEAR, CALLS_NEAR))]
    return Speed(flops, moved[0], max(moved))


def _moved(size: int, calls: int) -> float:
    """Bytes read and written a second, by adding to `size` floats in place."""
    floats = variable(np.zeros(size, np.float32), name="machine floats")
    add = _program(floats, floats + 1.0)
    return 2 * floats.value.nbytes / _best(add, calls)


def _program(updated: Variable, value: Tensor) -> Callable[[], Any]:
    """A program of one update. (`gc.compile` is above this file: it has `profile()`.)"""
    graph, target = Graph([], [], [(updated, value)], "machine"), TARGETS["cpu"]
    made = build(graph, DEFAULTS, target)
    code = b"".join(made.object.objects)
    call: Callable[[], Any] = target.load(graph, made.manifest, code, made.constants).call
    return call


def _best(run: Callable[[], Any], calls: int) -> float:
    """The least seconds that a call takes, after a first one."""
    run()
    least = math.inf
    for _ in range(calls):
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return max(least, 1e-9)  # a clock that stands still
