"""Which rule fires how often in which program: `python -m tests.corpus.hits` writes the table."""

from __future__ import annotations

import sys
from collections import Counter

from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.rules import DEFAULT

from . import PROGRAMS


def hits() -> dict[str, Counter[str]]:
    """For each rule, how often it fires in each program."""
    found: dict[str, Counter[str]] = {str(r): Counter() for rules in DEFAULT for r in rules}
    for name, make in PROGRAMS.items():
        report = RewriteReport()
        apply_rules(make().graph, *DEFAULT, report=report)
        for rule, count in report.hits.items():
            found[rule][name] += count
    return found


def table() -> str:
    """The table, one line for each rule."""
    lines = [f"{'rule':45} {'hits':>4}  programs"]
    for rule, programs in hits().items():
        where = ", ".join(f"{name} {count}" for name, count in programs.most_common(3))
        lines.append(f"{rule:45} {programs.total():4}  {where}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
