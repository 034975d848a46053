"""R26: twenty processes with random hash seeds print the same bytes: text, source, key, DOT."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from . import Budget, Result, Tally

PROCESSES, GRAPHS = 20, 10
ROOT = Path(__file__).parents[3]
PROGRAM = """\
import gc as collector, hashlib, sys
import graphc as gc
from graphc.ir.text import key_text
from graphc.pipeline.pipeline import run_pipeline
from graphc.planning.program import Call, walk_steps
from graphc.planning.show import print_program
from graphc.pipeline.stages import Stages
from graphc.lower.numba_source import print_kernel
from graphc.show.draw import draw
from tests.properties.generator import random_graph

def source(compiled):
    steps = walk_steps(compiled.program.steps)
    return "".join(print_kernel(s.kernel) for s in steps if isinstance(s, Call))

# An equal node that is made again adds its line to the one that is alive, and what the collector
# has not freed yet is: so nothing is freed here, whenever it would come.
collector.disable()
for seed in map(int, sys.argv[2:]):
    graph = random_graph(seed).graph
    if sys.argv[1] == "iterate a set":
        graph = gc.Graph(graph.inputs, sorted(graph.outputs, key=lambda t: hash(str(t.type))))
    compiled = run_pipeline(graph, Stages())
    made = {
        "text": gc.print_graph(graph), "key": key_text(graph), "dot": draw(graph).source,
        "optimized": gc.print_graph(compiled.optimized), "source": source(compiled),
        "program": print_program(compiled.program),
    }
    for name, text in made.items():
        print(seed, name, hashlib.sha256(text.encode()).hexdigest())
"""


def printed(hash_seed: int, seeds: range, planted: str = "") -> str:
    """What one process prints, as hashes."""
    env = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, planted, *map(str, seeds)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else f"{done.stderr[-2000:]}"


def one_process(task: tuple[int, int]) -> tuple[int, str]:
    hash_seed, graphs = task
    return hash_seed, printed(hash_seed, range(graphs))


def disagreements(outputs: list[tuple[int, str]], lines: int) -> Tally:
    """Lines that differ from those of the first process."""
    tally = Tally()
    first = outputs[0][1].splitlines()
    if len(first) != lines:
        tally.failures.append(f"a process failed:\n{outputs[0][1]}")
    for hash_seed, output in outputs:
        tally.counts["processes"] += 1
        for a, b in zip(first, output.splitlines(), strict=False):
            if a != b:
                tally.failures.append(f"PYTHONHASHSEED={hash_seed}: {b}, not {a}")
                break
        if len(output) != len(outputs[0][1]):
            tally.failures.append(f"PYTHONHASHSEED={hash_seed}: {output[-500:]}")
    return tally


class Determinism:
    name = "R26"
    promise = "the same graph gives the same bytes"

    def run(self, budget: Budget) -> Result:
        count, graphs = max(2, budget.of(PROCESSES)), GRAPHS if budget.share >= 0.1 else 3
        rng = random.Random(26)
        tasks = [(rng.randrange(1, 1 << 31), graphs) for _ in range(count)]
        tally = disagreements(list(budget.map(one_process, tasks)), 6 * graphs)
        reached = f"{tally.counts['processes']} processes, {len(tally.failures)} differ"
        wanted = f"{count}, byte-identical text, source, key, DOT"
        return Result(not tally.failures, reached, wanted, tally, f"0..{graphs - 1}")

    def control(self) -> Result:
        """Outputs in the order of a hash."""
        outputs = [(h, printed(h, range(5), "iterate a set")) for h in (1, 2)]
        tally = disagreements(outputs, 30)
        return Result(not tally.failures, "; ".join(tally.failures)[:200], "identical", tally)


ROW = Determinism()
