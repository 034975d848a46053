"""What a training by workers spent its time with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkerReport:
    """One worker: seconds of computing gradients, waiting for others, adding up and updating."""

    name: str
    steps: int
    examples: int
    compute: float
    wait: float
    communicate: float
    update: float

    @property
    def busy(self) -> float:
        """Seconds that it did not wait."""
        return self.compute + self.communicate + self.update


@dataclass(frozen=True)
class Report:
    """All workers, and who was lost. `slowest` is the one for which the others waited most, if it
    computes half as long again as the quickest."""

    workers: list[WorkerReport]
    lost: list[str]

    @property
    def slowest(self) -> WorkerReport | None:
        if len(self.workers) < 2:
            return None
        last = max(self.workers, key=lambda w: w.busy)
        return last if last.busy > 1.5 * min(w.busy for w in self.workers) else None

    def __str__(self) -> str:
        rows = [["worker", "steps", "examples/s", "compute", "wait", "communicate", "update"]]
        for w in self.workers:
            whole = w.busy + w.wait or 1.0
            parts = (w.compute, w.wait, w.communicate, w.update)
            shown = [f"{100 * part / whole:.0f} %" for part in parts]
            rows.append([w.name, str(w.steps), f"{w.examples / whole:,.0f}", *shown])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        if self.slowest is not None:
            lines.append(f"the others wait for {self.slowest.name}")
        return "\n".join([*lines, *(f"lost: {text}" for text in self.lost)])


def report(workers: Sequence[tuple[str, Mapping[str, Any]]], lost: Sequence[str]) -> Report:
    """The report of workers, from what they measured."""
    found = [
        WorkerReport(
            name, s["steps"], s["examples"], s["compute"], s["wait"], s["sum"], s["update"]
        )
        for name, s in workers
    ]
    return Report(found, list(lost))
