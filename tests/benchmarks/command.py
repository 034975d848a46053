"""Measure graphc beside JAX and PyTorch.

    python tests/benchmarks/run.py [case ...] [--threads 1,2] [--peers jax,torch,...]
                                   [--before FOLDER] [--repeats N] [--json FILE] [--list]

Every contender runs in a process of its own, pinned to as many processors as it has threads. All
answers are compared before anything is timed; then the contenders take turns, round after round,
one active at a time. The ratio is the median over rounds of graphc's time over the best peer's.
`--before` names another checkout of graphc, say of an older revision, to be a peer like the others;
`--peers ''` leaves it the only one.
Exit status 1 when a contender failed or answered wrongly.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import report
from .cold_start import PROGRAM_CASES, PROGRAM_TITLES
from .contenders import CONTENDERS, DEFAULT_PEERS, add_before, available
from .harness import SUBJECT, Result
from .registry import CASES
from .session import Session

TITLES = {c.name: c.title for c in CASES.values()} | PROGRAM_TITLES
DEFAULT_REPEATS, DEFAULT_STARTS = 15, 7


def listed(text: str) -> list[str]:
    return [item for item in text.split(",") if item]


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; unknown cases and peers end the program with the known ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", nargs="*", help="cases to run; all of them by default")
    parser.add_argument("--threads", type=listed, default=["1"], help="thread counts, e.g. 1,2")
    parser.add_argument("--peers", type=listed, default=list(DEFAULT_PEERS))
    parser.add_argument("--before", type=Path, help="another checkout of graphc, as a peer")
    parser.add_argument("--repeats", type=int, help="rounds (15; 7 for starts of processes)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    chosen = parser.parse_args(arguments)
    for name in chosen.case:
        if name not in TITLES:
            parser.error(f"no case {name!r}; there are {', '.join(TITLES)}")
    for name in chosen.peers:
        if name not in CONTENDERS:
            parser.error(f"no contender {name!r}; there are {', '.join(CONTENDERS)}")
    if chosen.before:
        if not (chosen.before / "graphc" / "__init__.py").is_file():
            parser.error(f"{chosen.before} is no checkout of graphc")
        chosen.peers.append(add_before(chosen.before))
    chosen.threads = [int(count) for count in chosen.threads]
    chosen.case = chosen.case or list(TITLES)
    return chosen


def main(arguments: list[str] | None = None) -> int:
    chosen = options(arguments)
    if chosen.list:
        print("\n".join(f"{name:16} {title}" for name, title in TITLES.items()))
        return 0
    if not find_spec("tabulate"):
        print("tabulate: not installed (pip install graphc[bench])", file=sys.stderr)
        return 2
    contenders, missing = available(list(dict.fromkeys([SUBJECT, *chosen.peers])))
    print("\n".join(missing), end="\n" if missing else "")
    machine = report.machine()
    print(f"{machine['processor']}, {machine['processors']} processors, load {machine['load']}")
    for name, value in machine["not_inherited"].items():
        print(f"{name}={value}: not passed on to the contenders")
    results: list[Result] = []
    threads: dict[str, Any] = {}
    for count in chosen.threads:
        steady = [CASES[name] for name in chosen.case if name in CASES]
        if steady:
            with Session(contenders, count) as session:
                threads[str(count)] = session.threads
                for name, found in session.threads.items():
                    print(f"{name}: {', '.join(f'{k} {v}' for k, v in found.items())}")
                for case in steady:
                    print(f"  {case.name} ...", file=sys.stderr)
                    results.append(session.measure(case, chosen.repeats or DEFAULT_REPEATS))
                for line in session.idle_notes():
                    print(line)
        for name in chosen.case:
            if name in PROGRAM_CASES:
                print(f"  {name} ...", file=sys.stderr)
                starts = chosen.repeats or DEFAULT_STARTS
                results.append(PROGRAM_CASES[name](contenders, starts, count))
    print(report.table(results))
    if chosen.json:
        content = report.record(
            results,
            machine=machine,
            threads=threads,
            repeats=chosen.repeats or DEFAULT_REPEATS,
            missing=missing,
        )
        report.write(chosen.json, content)
    absent = any("error" in found for session in threads.values() for found in session.values())
    return int(absent or any(result.failures for result in results))
