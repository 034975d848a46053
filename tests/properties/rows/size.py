"""R23: large graphs at Python's own recursion limit: each stage in 10 s, all in 1 GB.

A chain and sums of 100,000, diamonds of 60 levels and 10,000 outputs are built, differentiated,
printed, parsed, hashed, checked, evaluated, drawn and rewritten, each in a process of its own.
Concatenating and stacking, which the promise does not name, have 50,000 and 33,333 operands.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from graphc.ir.node import Node

from . import Budget, Result, Tally

SECONDS, MEGABYTES = 10.0, 1000
ATTEMPTS = 3
ROOT = Path(__file__).parents[3]
# Nodes, by family: see there how many operands or levels they are.
FIGURES = {
    "chain": 100_000, "left_sum": 200_000, "tree_sum": 200_000, "concat": 100_000,
    "stack": 100_000, "diamond": 120, "arms": 180, "outputs": 20_000,
}  # fmt: skip
PROGRAM = """\
import resource, sys
from tests.properties.rows.size import walk_recursively
from tests.properties.stages import FAMILIES, measure
sys.setrecursionlimit(1000)
family, n = sys.argv[1], int(sys.argv[2])
if len(sys.argv) > 3:
    walk_recursively(FAMILIES[family](n).outputs[0].node)
nodes, clock = measure(FAMILIES[family], n, lower=False)
for stage, seconds in clock.seconds.items():
    print(stage, seconds)
print("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print("nodes", nodes)
"""


def walk_recursively(node: Node) -> int:
    """The number of nodes below by a function that calls itself: what no walk may be."""
    return 1 + sum(walk_recursively(t.node) for t in node.inputs)


def check(task: tuple[str, int], planted: str = "") -> Tally:
    """One family in a process of its own."""
    family, n = task
    command = [sys.executable, "-c", PROGRAM, family, str(n), *([planted] if planted else [])]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    tally = Tally()
    tally.counts["programs"] += 1
    if done.returncode:
        last = done.stderr.strip().rsplit("\n", 1)[-1]
        tally.failures.append(f"{family} of {n:,}: {last[:300]}")
    figures = dict(line.split() for line in done.stdout.splitlines())
    for what, value in figures.items():
        limit = {"memory": MEGABYTES, "nodes": float("inf")}.get(what, SECONDS)
        tally.counts["figures"] += 1
        if float(value) > limit:
            tally.failures.append(f"{family} of {n:,}: {what} {float(value):,.1f} > {limit:,}")
    return tally


def again(task: tuple[str, int]) -> Tally:
    """One family that failed beside another process, which slows it: alone, up to three times."""
    for _ in range(ATTEMPTS):
        tally = check(task)
        if not tally.failures:
            break
    return tally


class Size:
    name = "R23"
    promise = "large graphs: 10 s and 1 GB at recursion limit 1000"

    def run(self, budget: Budget) -> Result:
        tasks = [(family, budget.of(n, least=min(n, 4_000))) for family, n in FIGURES.items()]
        parts = zip(tasks, budget.map(check, tasks), strict=True)
        tally = Tally.sum([again(task) if part.failures else part for task, part in parts])
        reached = f"{tally.counts['figures']} figures, {len(tally.failures)} above"
        return Result(not tally.failures, reached, "0 above 10 s or 1 GB", tally)

    def control(self) -> Result:
        """The same with a walk that calls itself."""
        tally = check(("chain", 4_000), "recursive walker")
        reached = "; ".join(tally.failures) or "not seen"
        return Result(not tally.failures, reached, "0 failures", tally)


ROW = Size()
