"""From a fresh process to a first result, program by program: `first_call.py --help`.

Fifteen programs, each in a process of its own, with an empty cache and with a warm one, in turn
with JAX and, for the formula, SymEngine and CasADi, as far as they are installed. The formula has a
third line, "changed": one number in it is another one in each process, whose cache has what earlier
ones compiled. The answers are
compared before anything is printed: medians, the quotients of graphc and each peer, and where
graphc's time went. `--before FOLDER` runs another checkout of graphc too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .cold_start import cache_settings
from .contenders import CHECKOUT, TESTS, environment, processors
from .first.with_graphc import PROGRAMS
from .report import duration
from .session import pinned_to

SYMBOLS = ("symengine", "casadi")  # of these the formula only
GROUPS = {  # the compiler's stages, as the table names them
    "import": ("import",),
    "build": ("build",),
    "differentiate": ("differentiate",),
    "cache": ("key", "cache", "find_kernels"),
    "prepare": ("prepare",),
    "rewrite": (
        *("unify", "simplify", "merge_scans", "drop_unused_outputs", "distribute_products"),
        *("expand", "reorder_products", "lower_contractions", "clean", "order_operands"),
        "set_apart",
    ),
    "fuse": ("fuse",),
    "plan": (
        *("schedule", "join_blocks", "cut_loops", "cut_examples"),
        *("plan_memory", "print_kernels"),
    ),
    "numba": ("numba",),
    "optimize": ("optimize", "functions"),
    "driver": ("driver",),
    "link": ("link",),
    "load": ("load",),
    "call": ("first call",),
}


@dataclass
class Lane:
    """One contender's runs of one program, cold or warm."""

    contender: str
    program: str
    python: str
    folder: Path
    warm: str = ""  # the folder of a warm cache
    threads: int = 1
    totals: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)

    def run(self, size: str, constant: str, keep: bool) -> str:
        """Start the program once; what went wrong, or nothing."""
        side = "graphc" if self.contender == "before" else self.contender
        with tempfile.TemporaryDirectory() as empty:
            paths = {"PYTHONPATH": f"{TESTS}{os.pathsep}{self.folder}"}
            settings = environment(self.threads) | paths
            if side not in SYMBOLS:
                settings |= cache_settings(side, self.warm or empty)
            command = [self.python, "-m", "benchmarks.first.worker", side, self.program, size]
            command += [constant] if constant else []
            done = subprocess.run(
                command, env=settings, capture_output=True, text=True, check=False,
                cwd=self.folder,  # which is before all paths
                preexec_fn=pinned_to(processors(self.threads)),
            )  # fmt: skip
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        found = json.loads(done.stdout.splitlines()[-1])
        self.answers = found["answers"]
        if keep:
            self.totals.append(found["total"])
            self.stages.append(found["stages"])
        return ""

    @property
    def median(self) -> float:
        return statistics.median(self.totals)


def difference(a: list[Any], b: list[Any]) -> str:
    """Where two contenders' answers differ; one may give more, such as the new parameters."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if len(x) != len(y):
            return f"answer {i} has {len(x)} and {len(y)} elements"
        scale = max(np.abs(x).max(initial=0), np.abs(y).max(initial=0), 1e-6)
        far = np.abs(np.subtract(x, y)).max(initial=0)
        if not far <= 2e-3 * scale:
            return f"answer {i} differs by {far:g}, of {scale:g}"
    return ""


def measure(chosen: argparse.Namespace) -> list[tuple[str, str, list[Lane]]]:
    """(program, cold or warm, lanes), each lane run `repeats` times in turn."""
    table = []
    with tempfile.TemporaryDirectory() as caches:
        for program in chosen.program:
            for temperature in ("cold", "warm", *(["changed"] if program == "formula" else [])):
                lanes = []
                for name, python, folder in chosen.contenders:
                    if name in SYMBOLS and program != "formula":
                        continue
                    warm = "" if temperature == "cold" else f"{caches}/{name}-{program}"
                    lanes.append(Lane(name, program, python, folder, warm, chosen.threads))
                for lane in list(lanes):  # byte code, files, and the warm cache
                    if problem := lane.run(chosen.size, "", keep=False):
                        say(f"{program}, {lane.contender}: {problem}")
                        lanes.remove(lane)
                compare(lanes)
                for number in range(chosen.repeats):
                    constant = f"0.3{number + 1:03d}" if temperature == "changed" else ""
                    for lane in lanes:
                        if problem := lane.run(chosen.size, constant, keep=True):
                            raise SystemExit(f"{program}, {lane.contender}: {problem}")
                compare(lanes)
                table.append((program, temperature, lanes))
                shown = ", ".join(f"{lane.contender} {duration(lane.median)}" for lane in lanes)
                say(f"{program} {temperature}: {shown}")
    return table


def compare(lanes: list[Lane]) -> None:
    for lane in lanes[1:]:
        if problem := difference(lanes[0].answers, lane.answers):
            raise SystemExit(f"{lane.program}, {lane.contender}: {problem}")


def say(text: str) -> None:
    print(text, flush=True)


def report(table: list[tuple[str, str, list[Lane]]]) -> None:
    ratios: dict[str, list[tuple[float, str]]] = {}
    for program, temperature, lanes in table:
        by_name = {lane.contender: lane for lane in lanes}
        if len(by_name) > 1 and "graphc" in by_name:
            best = min((lane.median for name, lane in by_name.items() if name != "graphc"))
            ratio = by_name["graphc"].median / best
            ratios.setdefault(temperature, []).append((ratio, program))
    for temperature, found in ratios.items():
        mean = math.exp(statistics.mean(math.log(r) for r, _ in found))
        worst = max(found)
        say(f"{temperature}: graphc / best peer, geometric mean {mean:.2f}, "
            f"the largest {worst[0]:.2f} ({worst[1]})")  # fmt: skip
    for wanted in dict.fromkeys(temperature for _, temperature, _ in table):
        say(f"\ngraphc by stage, {wanted}, ms\n" + " ".join(f"{name:>9.9}" for name in GROUPS))
        for program, temperature, lanes in table:
            lane = next((lane for lane in lanes if lane.contender == "graphc"), None)
            if temperature != wanted or lane is None:
                continue
            cells = []
            for names in GROUPS.values():
                sums = [sum(s.get(n, 0.0) for n in names) for s in lane.stages]
                cells.append(f"{1000 * statistics.median(sums):9.0f}")
            say(f"{' '.join(cells)}  {program} ({duration(lane.median)})")


def has(python: str, module: str) -> bool:
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", nargs="*", help="of: " + ", ".join(PROGRAMS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="processors of each process")
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--peers", default="jax,symengine,casadi", help="names, comma between")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peers")
    parser.add_argument("--before", type=Path, help="another checkout of graphc")
    chosen = parser.parse_args()
    chosen.program = chosen.program or list(PROGRAMS)
    if unknown := set(chosen.program) - PROGRAMS.keys():
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    chosen.contenders = [("graphc", sys.executable, CHECKOUT)]
    if chosen.before:
        chosen.contenders.append(("before", sys.executable, chosen.before.resolve()))
    for name in filter(None, chosen.peers.split(",")):
        if has(chosen.python, name):
            chosen.contenders.append((name, chosen.python, CHECKOUT))
        else:
            say(f"{name}: not installed")
    report(measure(chosen))
