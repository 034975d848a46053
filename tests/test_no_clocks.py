"""No test that is run by default reads a clock: what a busy machine can fail shows nothing.

What a clock alone can show carries the marker `timed` and is run by hand. A timeout that only a
hang meets, of ten minutes, is no clock, nor is a pause.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = {
    *("perf_counter", "perf_counter_ns", "process_time", "process_time_ns"),
    *("monotonic", "monotonic_ns", "thread_time", "thread_time_ns", "time_ns"),
    *("clock_gettime", "clock_gettime_ns", "timeit", "ru_utime", "ru_stime", "utcnow"),
}
IN_TEXT = re.compile(rf"\b(?:{'|'.join(sorted(CLOCKS))})\b|\btime\.time\b")  # programs in strings
PATIENCE = 600  # seconds that a timeout is at least: a hang takes longer, and nothing else
SHOWN = {"properties/scoreboard.py": {"measure"}}  # prints what a row took, and judges nothing
FILES = [
    path
    for path in sorted(TESTS.rglob("*.py"))
    if "benchmarks" not in path.relative_to(TESTS).parts and path != Path(__file__)
]


def clocks(source: str) -> Iterator[tuple[str, int]]:
    """The outermost functions that read a clock outside of those marked `timed`, with the lines."""
    for top in ast.parse(source).body:
        if any("timed" in ast.unparse(d) for d in getattr(top, "decorator_list", ())):
            continue
        for node in ast.walk(top):
            name = {ast.Attribute: "attr", ast.Name: "id"}.get(type(node), "value")
            read = getattr(node, name, None)
            if isinstance(node, ast.Attribute) and read == "time":
                found = isinstance(node.value, ast.Name) and node.value.id == "time"
            elif isinstance(node, ast.Constant):
                found = isinstance(read, str) and IN_TEXT.search(read) is not None
            else:
                found = isinstance(read, str) and read in CLOCKS
            if found:
                yield getattr(top, "name", ""), node.lineno


def hasty(source: str) -> Iterator[int]:
    """The lines of calls that wait for less than what only a hang takes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            given = [k.value for k in node.keywords if k.arg == "timeout"]
            if isinstance(node.func, ast.Attribute) and node.func.attr in ("join", "wait"):
                given += node.args[-1:]  # a timeout is the last one
            for value in given:
                constant = value.value if isinstance(value, ast.Constant) else None
                if isinstance(constant, (int, float)) and constant < PATIENCE:
                    yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(TESTS)))
def test_clocks_are_read_only_by_what_is_timed(path: Path) -> None:
    shown = SHOWN.get(str(path.relative_to(TESTS)), set())
    source = path.read_text(encoding="utf-8")
    assert not list(hasty(source)), f"wait {PATIENCE} s, which only a hang takes"
    found = [c for c in clocks(source) if c[0] not in shown]
    assert not found, "count calls or bytes instead, or mark what reads the clock as `timed`"


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import time\ndef test():\n    assert time.perf_counter() < 1\n", True),
        ("import time\ndef test():\n    assert time.time() < 1\n", True),
        ("def test():\n    run('import time; print(time.process_time())')\n", True),
        ("import timeit\ndef test():\n    assert timeit.timeit(f) < 1\n", True),
        ("@pytest.mark.timed\ndef test():\n    assert time.perf_counter() < 1\n", False),
        ("def test():\n    time.sleep(0.1)\n    run(timeout=600)\n    x.time\n", False),
    ],
)
def test_a_clock_is_seen(source: str, seen: bool) -> None:
    assert bool(list(clocks(source))) == seen


def test_haste_is_seen() -> None:
    assert list(hasty("run(f, timeout=60)\nthread.join(2.5)\n")) == [1, 2]
    assert not list(hasty("run(f, timeout=600)\nthread.join()\n', '.join(x)\nrun(g, timeout=t)\n"))
