"""R19: many processes with many threads compile and run the same programs at once, over one cache,
and fork meanwhile: equal results, one entry for each program, and nobody waits forever."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import Budget, Result, Tally

PROCESSES, THREADS, FIGURE = 8, 16, 50  # graphs, each by every thread of every process
PATIENCE = 600  # seconds, which only who waits forever takes
ROOT = Path(__file__).parents[3]
CROWD = """
import hashlib, os, sys, threading, time, warnings
import numpy as np
import graphc as gc
from graphc.runtime import cache
warnings.simplefilter("error")  # of the cache, or of anything else
warnings.filterwarnings("ignore", category=DeprecationWarning)  # Python's, of forks beside threads
threads, graphs, writer = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def in_parts(path, data, sync):  # the planted fault: no lock, no rename
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(data), 1000):
            file.write(data[start : start + 1000])
            time.sleep(0.0005)

if writer == "naive":
    cache._write = in_parts
a = np.linspace(-1.0, 1.0, 64)
results = [set() for _ in range(graphs)]
failures = []

def work(first):
    for step in range(graphs):
        n = (first * 7 + step) % graphs
        try:
            x = gc.placeholder("crowd x", ("n",), "float64")
            y = gc.tanh(x * (0.5 + n)) + gc.exp(x) if n % 2 else gc.sin(x) / (1.5 + n)
            f = gc.compile([x], [y, gc.sum(y), gc.grad(gc.sum(y * y), x)])
            found = b"".join(np.asarray(r).tobytes() for r in f(a))
            results[n].add(hashlib.sha256(found).hexdigest())
        except BaseException as error:
            failures.append(f"graph {n}: {error!r}")

crowd = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
for thread in crowd:
    thread.start()
child = os.fork()  # while they are at it
if child == 0:
    x = gc.placeholder("forked x", ("n",), "float64")
    os._exit(0 if np.allclose(gc.compile([x], x + 1)(a), a + 1) else 1)
if os.waitpid(child, 0)[1]:
    failures.append("the forked child failed")
for thread in crowd:
    thread.join()
if failures:
    raise SystemExit("\\n".join(failures[:5]))
assert all(len(found) == 1 for found in results), "threads disagree"
print(" ".join(found.pop() for found in results))
"""


def crowd(processes: int, threads: int, graphs: int, writer: str = "ours") -> Tally:
    """What goes wrong where so many processes and threads do the same."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "GRAPHC_CACHE_DIR": folder, "GRAPHC_CACHE": "1"}
        env |= {"PYTHONPATH": str(ROOT), "GRAPHC_NUM_THREADS": "2"}
        command = [sys.executable, "-c", CROWD, str(threads), str(graphs), writer]
        pipe = subprocess.PIPE
        running = [
            subprocess.Popen(command, env=env, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
            for _ in range(processes)
        ]
        printed = []
        for process in running:
            try:
                out, err = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                err = f"it did not end: {err}"
            printed.append(out)
            if process.returncode:
                tally.failures.append(err[-800:])
        if len(set(printed)) > 1:
            tally.failures.append("processes disagree")
        names = sorted(p.name for p in Path(folder).iterdir())
        programs = sum(name.endswith(".graphc") for name in names)
        if programs != graphs + 1 or any(name.startswith("tmp-") for name in names):
            tally.failures.append(
                f"{programs} programs in the cache, for {graphs + 1}: {names[:3]}"
            )
    tally.counts.update({"processes": processes, "programs": processes * threads * graphs})
    return tally


def crowd_of(task: tuple[int, int, int]) -> Tally:
    return crowd(*task)


class Crowds:
    name = "R19"
    promise = "threads and processes at once, and forks"

    def run(self, budget: Budget) -> Result:
        graphs = budget.of(FIGURE, least=2)
        processes = PROCESSES if budget.share > 0.05 else 2
        tally = Tally.sum(budget.map(crowd_of, [(processes, THREADS, graphs)]))
        reached = (
            f"{processes} processes x {THREADS} threads x {graphs} graphs, "
            f"{len(tally.failures)} failures"
        )
        return Result(not tally.failures, reached, "equal results, one entry each", tally)

    def control(self) -> Result:
        """Entries are written in place, piece by piece."""
        tally = crowd(2, 8, 4, "naive")
        return Result(not tally.failures, "; ".join(tally.failures)[:200], "red", tally)


ROW = Crowds()
