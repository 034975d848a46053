"""R23: large graphs at Python's own recursion limit: a few hundred calls a node, all in 1 GB.

A chain and sums of 100,000, diamonds of 60 levels and 10,000 outputs are built, differentiated,
printed, parsed, hashed, checked, evaluated, drawn and rewritten, each in a process of its own.
Concatenating and stacking, which the promise does not name, have 50,000 and 33,333 operands. What
each stage takes is counted in calls of functions, and memory is the most that the process held.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from graphc.ir.node import Node

from . import Budget, Result, Tally

CALLS = 400  # of each stage for each node
LIMITS = {"memory": 1000, "draw": 600, "read": 1200}  # megabytes of the process; calls
ROOT = Path(__file__).parents[3]
# Nodes, by family: see there how many operands or levels they are.
FIGURES = {
    "chain": 100_000, "left_sum": 200_000, "tree_sum": 200_000, "concat": 100_000,
    "stack": 100_000, "diamond": 120, "arms": 180, "outputs": 20_000,
}  # fmt: skip
PROGRAM = """\
import resource, sys
from tests.properties.rows.size import walk_recursively
from tests.properties.stages import FAMILIES, Calls, measure
sys.setrecursionlimit(1000)
family, n = sys.argv[1], int(sys.argv[2])
if len(sys.argv) > 3:
    walk_recursively(FAMILIES[family](n).outputs[0].node)
calls = Calls()
nodes = measure(FAMILIES[family], n, calls, lower=False)
for stage, count in calls.counts.items():
    print(stage, count / nodes)
print("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
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
        limit = LIMITS.get(what, CALLS)
        tally.counts["figures"] += 1
        if float(value) > limit:
            tally.failures.append(f"{family} of {n:,}: {what} {float(value):,.1f} > {limit:,}")
    return tally


class Size:
    name = "R23"
    promise = "large graphs: calls and 1 GB at recursion limit 1000"

    def run(self, budget: Budget) -> Result:
        tasks = [(family, budget.of(n, least=min(n, 4_000))) for family, n in FIGURES.items()]
        tally = Tally.sum(budget.map(check, tasks))
        reached = f"{tally.counts['figures']} figures, {len(tally.failures)} above"
        return Result(not tally.failures, reached, f"0 above {CALLS} calls a node or 1 GB", tally)

    def control(self) -> Result:
        """The same with a walk that calls itself."""
        tally = check(("chain", 4_000), "recursive walker")
        reached = "; ".join(tally.failures) or "not seen"
        return Result(not tally.failures, reached, "0 failures", tally)


ROW = Size()
