"""The processor's instructions that each stage takes, by hand: what counts of calls do not see.

    python -m tests.properties.instructions FAMILY ... [--nodes 1000] [--planted]

runs each family under Valgrind (`valgrind --tool=callgrind`, on x86-64) with n operations and with
four times as many, and prints for each stage the instructions of both and their ratio: 4 is linear,
and above 4.6 the exit status is 1. `--planted` has `unify` take each node from the front of a list:
as many calls as nodes, but each moves the whole list. A stage takes some fifty times as long as
without Valgrind.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import llvmlite.binding as llvm

from graphc.ir.graph import Graph
from graphc.passes.unify import unify
from tests.properties import stages
from tests.properties.stages import FAMILIES, measure

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
LIMIT = 4.6
LEAST = 200  # instructions a node: what takes less looks at each node at most once

# Valgrind knows these instructions, which do nothing without it, and the numbers of its requests.
REQUEST = """
define void @request(ptr %words) {
  %found = call i64 asm sideeffect
    "rolq $$3, %rdi; rolq $$13, %rdi; rolq $$61, %rdi; rolq $$51, %rdi; xchgq %rbx, %rbx",
    "={dx},{ax},0,~{cc},~{memory}"(ptr %words, i64 0)
  ret void
}
"""
TOOL = ord("C") << 24 | ord("T") << 16
ZERO, DUMP, START, STOP = TOOL + 1, TOOL + 3, TOOL + 4, TOOL + 5


class Instructions:
    """Has Valgrind count during each stage alone, and write the count under the stage's name."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(REQUEST), machine)
        self._engine.finalize_object()
        address = self._engine.get_function_address("request")
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)

    def _ask(self, request: int, text: bytes = b"") -> None:
        given = ctypes.create_string_buffer(text)
        words = (ctypes.c_int64 * 6)(request, ctypes.addressof(given))
        self._call(ctypes.addressof(words))

    def __call__(self, name: str, stage: Callable[[], T]) -> T:
        self._ask(START)
        self._ask(ZERO)
        result = stage()
        self._ask(DUMP, name.encode())
        self._ask(STOP)
        return result


def take_from_the_front(graph: Graph) -> Graph:
    """`unify`, and a linear number of calls that are quadratic inside."""
    waiting = list(graph.nodes)
    while waiting:
        waiting.pop(0)
    return unify(graph)


def run_here(family: str, n: int, planted: bool) -> None:
    """The part that runs under Valgrind."""
    if planted:
        stages.unify = take_from_the_front
    measure(FAMILIES[family], 50, lambda name, stage: stage())  # first calls fill caches
    measure(FAMILIES[family], n, Instructions())


def instructions(family: str, n: int, planted: bool) -> dict[str, int]:
    """The instructions of each stage."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--vgdb=no"]
        command += [f"--callgrind-out-file={folder}/out", sys.executable, "-m", __spec__.name]
        command += [family, "--nodes", str(n), "--here", *(["--planted"] if planted else [])]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        found = {}
        for path in sorted(Path(folder).glob("out.*"), key=lambda p: int(p.suffix[1:])):
            text = path.read_text(encoding="utf-8")
            name = re.search(r"^desc: Trigger: Client Request: (\w+)", text, re.MULTILINE)
            total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
            if name and total:
                found[name[1]] = int(total[1])
        return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="instructions", description=__doc__.split("\n")[0])
    parser.add_argument("families", nargs="+", metavar="FAMILY", choices=list(FAMILIES))
    parser.add_argument("--nodes", type=int, default=1_000, help="operations of the smaller graph")
    parser.add_argument("--planted", action="store_true", help="take nodes from a list's front")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        run_here(given.families[0], given.nodes, given.planted)
        return 0
    above = 0
    for family in given.families:
        few, many = (instructions(family, n, given.planted) for n in (given.nodes, 4 * given.nodes))
        for stage, count in few.items():
            ratio = many[stage] / count
            judged = many[stage] >= LEAST * 4 * given.nodes
            above += judged and ratio > LIMIT
            mark = "" if not judged else "ABOVE" if ratio > LIMIT else "below"
            line = f"{family:10} {stage:20} {count:>14,} {many[stage]:>14,} {ratio:6.2f} {mark}"
            sys.stdout.write(line.rstrip() + "\n")
    return min(above, 1)


if __name__ == "__main__":
    sys.exit(main())
