"""R28: programs that are compiled, run and dropped, and calls without end, leave nothing behind.

    python -m tests.properties.scoreboard R28             200 programs and 10,000 calls
    python -m tests.properties.scoreboard R28 --full      10,000 programs and 1,000,000 calls, hours

Two processes: one compiles a program, runs it with updates and gradients, and drops it, each
another program; the other calls one program at changing sizes. Both look at what they hold after a
tenth of the way and at its end: the memory in use (of the process, after its collector has run and
the allocator gave back what is free), open files, threads, and the bytes of the cache's folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from . import Budget, Result, Tally

FIGURES = {"programs": 10_000, "calls": 1_000_000}
LEAST = {"programs": 200, "calls": 10_000}
KEPT = {"programs": 20_000, "calls": 2}  # bytes that each may leave
NOISE = 2 << 20  # bytes by which two looks at the same state differ
STORE = (1 << 30) * 17 // 16  # bytes of the cache's folder, which it may pass by a sixteenth
ROOT = Path(__file__).parents[3]
PROGRAM = """\
import ctypes, gc as collector, json, os, sys
from pathlib import Path
import numpy as np
import graphc as gc

what, count, planted = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
x = gc.placeholder("x", ("n", 8))
w = gc.variable(np.full((8, 8), 0.1, "float32"), name="w")
data = np.ones((3_000, 8), "float32")
kept = []

def program(i):
    loss = gc.mean(gc.tanh(x @ w) * (i + 0.5))
    return gc.compile([x], [loss, gc.grad(loss, x)], {w: w - 0.1 * gc.grad(loss, w)})

def compile_and_drop(i):
    made = program(i)
    made(data[: i % 50])
    if planted:
        kept.append(made)

def held():
    collector.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    store = Path(os.environ["GRAPHC_CACHE_DIR"])
    return {
        "memory": pages * os.sysconf("SC_PAGESIZE"),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "store": sum(p.stat().st_size for p in store.iterdir()),
    }

once = program(-1)
turn = compile_and_drop if what == "programs" else lambda i: once(data[: i % 3_000])
for i in range(count // 10):
    turn(i)
before = held()
for i in range(count // 10, count):
    turn(i)
print(json.dumps([before, held()]))
"""
Held = Mapping[str, int]


def soak(task: tuple[str, int], planted: bool = False) -> tuple[Tally, str]:
    """A process of its own: its tally, and what each turn left."""
    what, count = task
    with tempfile.TemporaryDirectory() as store:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "GRAPHC_CACHE_DIR": store}
        command = [sys.executable, "-c", PROGRAM, what, str(count), *(["kept"] if planted else [])]
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return Tally(failures=[done.stderr[-2000:]]), f"{what}: failed"
    before, after = json.loads(done.stdout)
    tally = judged(what, count - count // 10, before, after)
    tally.counts[what] += count
    left = max(0, after["memory"] - before["memory"])
    return tally, f"{count:,} {what} left {left / (count - count // 10):,.0f} bytes each"


def judged(what: str, turns: int, before: Held, after: Held) -> Tally:
    """What grew, of what a process held before some turns and after them."""
    tally = Tally()
    limits = {
        "memory": before["memory"] + KEPT[what] * turns + NOISE,
        "files": before["files"],
        "threads": before["threads"],
        "store": STORE,
    }
    for name, limit in limits.items():
        if after[name] > limit:
            grown = f"from {before[name]:,} to {after[name]:,}"
            tally.failures.append(f"{turns:,} {what}: {name} {grown}, more than {limit:,}")
    return tally


class Soak:
    name = "R28"
    promise = "dropped programs and calls leave nothing"

    def run(self, budget: Budget) -> Result:
        tasks = [(what, budget.of(n, LEAST[what])) for what, n in FIGURES.items()]
        return _result(list(budget.map(soak, tasks)))

    def control(self) -> Result:
        """A cache without a bound: every program is kept."""
        return _result([soak(("programs", LEAST["programs"]), planted=True)])


def _result(parts: list[tuple[Tally, str]]) -> Result:
    tally = Tally.sum(part for part, _ in parts)
    reached = "; ".join(text for _, text in parts)
    wanted = f"<= {KEPT['programs']:,} and {KEPT['calls']}, files and threads as before"
    return Result(not tally.failures, reached, wanted, tally)


ROW = Soak()
