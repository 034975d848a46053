"""The scoreboard: what graphc promises, checked, each row with a control that must turn it red.

    python -m tests.properties.scoreboard              the share of each figure that CI runs
    python -m tests.properties.scoreboard --full       all rows, at their figures, by hand
    python -m tests.properties.scoreboard R1 R26       these rows
    python -m tests.properties.scoreboard --quick      a fiftieth of each figure

The exit status is 0 only if every row is green and every control is red. A failure is printed with
its seed, the shrunk graph and a script to paste. Rows, with their controls, share two processes.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
import platform
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from .rows import Budget, Result, Row, Tally

MODULES = (
    "rewrites", "compiled", "twins", "planted", "size", "growth", "folding", "determinism",
    "soak", "bounds", "killed", "corrupted", "crowds", "keys", "derivatives", "accuracy",
    "saved", "hostile", "refused", "cuda", "every_op", "special_values", "integers", "broadcasting",
    "layouts", "kinks",
)  # fmt: skip
# What the continuous checks run of a row's figure: all, where nothing stands here; rows of which
# they run nothing are run where they are named, or with `--full`.
SHARES = {
    "R1": 0.02, "R2": 0.1, "R3": 0.2, "R5": 0.05, "R6": 0.2, "R8": 1 / 1021, "R9": 0.25,
    "R10": 0.25, "R11": 0.25, "R12": 0.05, "R15": 0.1, "R16": 0.1, "R17": 0.2, "R18": 0.1,
    "R19": 0.04, "R23": 0.05, "R24": 0.2, "R26": 0.5, "R28": 0, "R30": 0.05, "R31": 0.1,
}  # fmt: skip
QUICK = 0.02
PROCESSES = 2
SHOWN = 3  # failures of a row that are printed in full


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table. `seconds` are those of processors, however many rows ran beside it."""

    row: Row
    result: Result
    control: Result
    seconds: float

    @property
    def holds(self) -> bool:
        return self.result.holds and not self.control.holds


def rows() -> list[Row]:
    """The rows that there are, in order of their names."""
    found: list[Row] = []
    for name in MODULES:
        if importlib.util.find_spec(f"{__package__}.rows.{name}") is not None:
            module = importlib.import_module(f"{__package__}.rows.{name}")
            found.append(module.ROW)
    return sorted(found, key=lambda row: int(row.name.removeprefix("R")))


def share_of(name: str) -> float:
    """What the continuous checks run of a row's figure."""
    return SHARES.get(name, 1.0)


def measure(
    row: Row,
    budget: Budget,
    progress: Callable[[str], None],
    control: Callable[[], Result] | None = None,
) -> Line:
    """Run a row and its control, or what gives the result of its control. What raises is a failure
    of the row."""
    start = time.thread_time()
    counted = Budget(budget.share, _reporting(row, budget, progress))
    result = _attempt(lambda: row.run(counted), held=False)
    progress(f"{row.name} {'holds' if result.holds else 'FAILS'}: {result.reached}; its control")
    seen = _attempt(control or row.control, held=True)
    return Line(row, result, seen, time.thread_time() - start)


def together(
    chosen: Sequence[Row], shares: Mapping[str, float], pool: ProcessPoolExecutor
) -> list[Line]:
    """The lines of rows that share the processes of a pool: while the last parts of a row are at
    work, those of the next have begun. What a row does outside of its parts it does alone: rows
    take turns, and give the turn away while they wait."""
    turn = threading.Lock()

    def waited(part: Future[tuple[Any, float]], spent: list[float]) -> Any:
        turn.release()
        try:
            result, seconds = part.result()
        finally:
            turn.acquire()
        spent.append(seconds)
        return result

    def line_of(row: Row) -> Line:
        spent: list[float] = []

        def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            for part in [pool.submit(part_of, function, item) for item in items]:
                yield waited(part, spent)

        with turn:
            control = pool.submit(part_of, control_of, row.name)
            budget = Budget(shares[row.name], mapped)
            line = measure(row, budget, _progress, lambda: waited(control, spent))
        return replace(line, seconds=line.seconds + sum(spent))

    with ThreadPoolExecutor(len(chosen)) as rows_at_once:
        return list(rows_at_once.map(line_of, chosen))


def part_of(function: Callable[[Any], Any], item: Any) -> tuple[Any, float]:
    """A part of a row, and the processor's seconds that it took with the processes it started."""
    start = sum(os.times()[:4])
    result = function(item)
    return result, sum(os.times()[:4]) - start


def control_of(name: str) -> Result:
    """The control of a row, by name: rows are not pickled."""
    return next(row for row in rows() if row.name == name).control()


def _attempt(run: Callable[[], Result], held: bool) -> Result:
    try:
        return run()
    except Exception:  # a row that cannot run does not hold, a control that cannot run is not red
        tally = Tally(failures=[traceback.format_exc()])
        return Result(held, "it raised", "a result", tally)


def _reporting(row: Row, budget: Budget, progress: Callable[[str], None]) -> Any:
    """The budget's `map`, with a line of progress about every tenth of the way."""

    def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        todo = list(items)
        step = max(1, len(todo) // 10)
        for done, part in enumerate(budget.map(function, todo), 1):
            if done % step == 0:
                progress(f"{row.name} {row.promise}: part {done} of {len(todo)}")
            yield part

    return mapped


# -- what is printed -------------------------------------------------------------------------------
def table(lines: Sequence[Line]) -> str:
    """The rows under their headings."""
    cells = [("row", "promise", "reached", "wanted", "skipped", "seeds", "control", "took", "")]
    for line in lines:
        cells.append(
            (
                line.row.name,
                line.row.promise,
                line.result.reached,
                line.result.wanted,
                str(line.result.tally.skipped.total()),
                line.result.seeds or "-",
                "red" if not line.control.holds else "NOT RED",
                f"{line.seconds:.0f} s",
                "green" if line.holds else "RED",
            )
        )
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    text = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:]])


def details(line: Line) -> str:
    """What stands below the table about a row: counts, what was skipped or explained, failures."""
    name, tally = line.row.name, line.result.tally
    text = [f"{name} control: {line.control.reached}"]
    text += [f"{name}: {note}" for note in line.result.notes]
    text += [f"{name} skipped {n}: {why}" for why, n in sorted(tally.skipped.items())]
    text += [f"{name} explained {n}: {why}" for why, n in sorted(tally.explained.items())]
    text += [f"{name} FAILURE {report}" for report in tally.failures[:SHOWN]]
    if len(tally.failures) > SHOWN:
        text.append(f"{name}: and {len(tally.failures) - SHOWN} more failures")
    if line.control.holds:
        text += [f"{name} CONTROL is not red {report}" for report in line.control.tally.failures]
    return "\n".join(text)


def versions() -> str:
    names = ("graphc", "numpy", "numba", "llvmlite", "sympy")
    found = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return ", ".join([f"Python {platform.python_version()}", *found, platform.machine()])


# -- the command -----------------------------------------------------------------------------------
def main(arguments: Sequence[str] | None = None) -> int:
    """The command: prints the table; the exit status."""
    parser = argparse.ArgumentParser(prog="scoreboard", description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", help="names of rows, such as R1; all by default")
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--full", action="store_true", help="all of each figure")
    much.add_argument("--quick", action="store_true", help="a fiftieth of each figure")
    given = parser.parse_args(arguments)
    known = rows()
    unknown = set(given.rows) - {row.name for row in known}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    shares = {row.name: share_of(row.name) for row in known}
    if given.full or given.quick:
        shares = dict.fromkeys(shares, 1.0 if given.full else QUICK)
    chosen = [r for r in known if r.name in given.rows or (not given.rows and shares[r.name])]
    context = multiprocessing.get_context("spawn")  # a fork would share the threads of BLAS
    with tempfile.TemporaryDirectory() as cache:
        _prepare(cache)
        with ProcessPoolExecutor(PROCESSES, context, _prepare, (cache,)) as pool:
            lines = together(chosen, shares, pool)
    _write(f"\n{table(lines)}\n\n{versions()}\n" + "\n".join(map(details, lines)))
    return 0 if all(line.holds for line in lines) else 1


def _prepare(cache: str) -> None:
    """The settings of every process: a cache that is none of the user's."""
    os.environ["GRAPHC_CACHE_DIR"] = cache


def _progress(text: str) -> None:
    _write(text, sys.stderr)


def _write(text: str, stream: Any = None) -> None:
    (stream or sys.stdout).write(text + "\n")
    (stream or sys.stdout).flush()


if __name__ == "__main__":
    sys.exit(main())
