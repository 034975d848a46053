"""What a training by workers spent its time with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class WorkerReport:
    """One worker: seconds of computing gradients, waiting for others, adding up and updating.
    `hidden` seconds of adding up were beside the computation. Of the `buckets` of gradients that it
    handed over, and their `bytes`, the early ones were handed over before the last step of the
    backward pass ran."""

    name: str
    steps: int
    examples: int
    compute: float
    wait: float
    communicate: float
    update: float
    hidden: float = 0.0
    buckets: int = 0
    early_buckets: int = 0
    bytes: int = 0
    early_bytes: int = 0

    @property
    def busy(self) -> float:
        """Seconds that it did not wait."""
        return self.compute + self.communicate - self.hidden + self.update

    @property
    def overlap(self) -> float:
        """The part of the gradients, by bytes, that moved while others were still computed."""
        return self.early_bytes / self.bytes if self.bytes else 0.0


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
        names = ("compute", "wait", "communicate", "hidden", "update")
        rows = [["worker", "steps", "examples/s", *names, "early"]]
        for w in self.workers:
            whole = w.busy + w.wait or 1.0
            shown = [f"{100 * getattr(w, name) / whole:.0f} %" for name in names]
            early = f"{100 * w.overlap:.0f} %" if w.bytes else "-"
            rows.append([w.name, str(w.steps), f"{w.examples / whole:,.0f}", *shown, early])
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
    same = [f.name for f in fields(WorkerReport) if f.name not in ("name", "communicate")]
    found = [
        WorkerReport(name, communicate=s["sum"], **{key: s[key] for key in same})
        for name, s in workers
    ]
    return Report(found, list(lost))
