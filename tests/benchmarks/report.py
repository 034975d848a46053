"""Printing results as a table and writing them as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .contenders import tuning, versions
from .harness import Result, is_part, ratio, shares

SCHEMA = 1


def duration(seconds: float) -> str:
    """Three significant digits in the unit that suits: '0.42 us', '1,040 us', '27.1 ms'."""
    if seconds < 1e-2:
        us = 1e6 * seconds
        return f"{us:,.0f} us" if us >= 100 else f"{us:.3g} us"
    return f"{1e3 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def rows(results: Sequence[Result], columns: Sequence[str]) -> list[list[str]]:
    """A row per case and thread count: medians by contender, the ratio and its quartiles."""
    table = []
    for result in results:
        cells = []
        for name in columns:
            taken = result.samples.get(name)
            failed = "failed" if name in result.failures else "-"
            cells.append(duration(taken.median) if taken else failed)
        against = ratio(result.samples)
        quotient = "-"
        if against:
            quotient = f"{against.median:.2f} [{against.low:.2f}, {against.high:.2f}]"
        best = against.over if against else "-"
        table.append([result.case, str(result.threads), *cells, quotient, best])
    return table


def table(results: Sequence[Result]) -> str:
    """The table of `rows` under its headings, then parts, failures and notes, a line each."""
    from tabulate import tabulate

    names = [n for r in results for n in (*r.samples, *r.failures) if not is_part(n)]
    columns = [n for n in dict.fromkeys(names) if n not in ("answers", "run")]
    headings = ["case", "threads", *columns, "graphc / best [quartiles]", "best peer"]
    lines = [tabulate(rows(results, columns), headings, disable_numparse=True), *together(results)]
    for result in results:
        where = f"{result.case}, {result.threads} thread{'s' * (result.threads > 1)}"
        for lane, share in shares(result.samples).items():
            alone = duration(result.samples[lane].median)
            lines.append(f"{where}: {lane} alone takes {alone}, {share:.0%} of the whole")
        lines += [f"{where}: {note}" for note in result.notes]
        lines += [f"{where}: FAILED {name}: {why}" for name, why in result.failures.items()]
    return "\n".join(lines)


def together(results: Sequence[Result]) -> list[str]:
    """One line for all cases that have a ratio, where there are several."""
    against = {r.case: found.median for r in results if (found := ratio(r.samples))}
    if len(against) < 2:
        return []
    worst = max(against, key=lambda name: against[name])
    mean = statistics.geometric_mean(against.values())
    return [f"geometric mean of the ratios {mean:.3f}, the largest {against[worst]:.2f} ({worst})"]


def processor() -> str:
    """The processor's name as the system gives it."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "not_inherited": tuning(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    }


def record(
    results: Sequence[Result],
    *,
    machine: dict[str, Any],
    threads: dict[str, Any],
    repeats: int,
    missing: Sequence[str],
) -> dict[str, Any]:
    """Everything about one run as plain types.

    threads: for each thread count, per contender, what was found in force.
    """
    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "machine": machine,
        "repeats": repeats,
        "missing": list(missing),
        "threads": threads,
        "results": [result.as_json() for result in results],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
