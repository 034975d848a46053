"""The scoreboard at tiny budgets: rows that hold are green, controls red, and faults are shown."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from . import scoreboard
from .planted import FAULTS
from .rows import (
    Budget,
    Result,
    Row,
    Tally,
    accuracy,
    bounds,
    broadcasting,
    chunks,
    corrupted,
    determinism,
    every_op,
    folding,
    hostile,
    integers,
    keys,
    killed,
    kinks,
    layouts,
    refused,
    saved,
    soak,
    special_values,
)
from .rows import compiled as compiled_row
from .rows import derivatives as derivatives_row
from .rows import planted as planted_row
from .rows import rewrites as rewrites_row
from .rows import twins as twins_row
from .twins import BATCHES, IDENTITIES, disagreement, twins

TINY = Budget(0.001)
BUDGETS = {"R8": Budget(1e-5)}  # of every float32
ROWS = [
    m.ROW
    for m in (
        rewrites_row, compiled_row, twins_row, folding, determinism, bounds, derivatives_row,
        accuracy, killed, corrupted, keys, hostile, refused, saved, every_op, special_values,
        integers, broadcasting, layouts, kinks,
    )
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_green_and_its_control_red(row: Row) -> None:
    line = scoreboard.measure(row, BUDGETS.get(row.name, TINY), lambda text: None)
    assert line.result.holds, scoreboard.details(line)
    assert not line.control.holds
    assert line.holds
    assert line.result.tally.counts.total() > 0


def test_the_rows_are_those_of_the_list() -> None:
    names = [row.name for row in scoreboard.rows()]
    cache = {"R15", "R16", "R17", "R18", "R19", "R20", "R21"}
    assert set(names) >= {"R1", "R2", "R3", "R4", "R6", "R8", "R25", "R26", "R31"} | cache
    assert len(names) == len(set(names))
    assert len(FAULTS) >= planted_row.FIGURE


def test_the_page_says_what_is_run_of_each_figure() -> None:
    page = (Path(__file__).parents[2] / "docs/reliability.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| (R\d+) \|.* (\d+) % \|$", page, re.MULTILINE))
    shares = {row.name: scoreboard.share_of(row.name) for row in scoreboard.rows()}
    in_words = {name for name, share in shares.items() if 0 < share < 0.005}
    assert said == {n: str(round(100 * s)) for n, s in shares.items() if n not in in_words}
    assert all(re.search(rf"^\| {name} \|", page, re.MULTILINE) for name in in_words)


def test_what_a_process_holds_is_flat_or_seen() -> None:
    before = {"memory": 100 << 20, "files": 9, "threads": 4, "store": 0}
    limit = soak.KEPT["programs"] * 1_000 + soak.NOISE
    flat = {**before, "memory": before["memory"] + limit, "store": soak.STORE}
    assert not soak.judged("programs", 1_000, before, flat).failures
    for name in before:
        assert soak.judged("programs", 1_000, before, {**flat, name: flat[name] + 1}).failures


def test_twins_are_of_every_kind_and_mean_the_same() -> None:
    from graphc.ir.evaluate import evaluate_graph

    pairs = [twins(seed) for seed in range(len(IDENTITIES) + 2 * len(BATCHES))]
    assert {pair.name for pair in pairs} == {*IDENTITIES, *BATCHES}
    for pair in pairs:
        assert not disagreement(pair, evaluate_graph), pair.name
        assert pair.first is not pair.second


# -- what the scoreboard says ----------------------------------------------------------------------
class _Row:
    name, promise = "R0", "a row for this test"

    def __init__(self, holds: bool, sees: bool, raises: bool = False) -> None:
        self.holds, self.sees, self.raises = holds, sees, raises

    def run(self, budget: Budget) -> Result:
        if self.raises:
            raise ValueError("it broke")
        parts = budget.map(len, chunks(10, 25, 10))
        tally = Tally()
        tally.counts["graphs"] = sum(parts)
        tally.skipped["too large"] += 2
        tally.failures += [] if self.holds else ["seed 17: a script"]
        return Result(self.holds, f"{tally.counts['graphs']} graphs", "25 graphs", tally, "10..34")

    def control(self) -> Result:
        if self.raises:
            raise ValueError("it broke")
        return Result(not self.sees, "a planted fault", "seen")


@pytest.mark.parametrize(
    ("row", "status", "shown"),
    [
        (_Row(True, True), "green", "R0 skipped 2: too large"),
        (_Row(False, True), "RED", "R0 FAILURE seed 17: a script"),
        (_Row(True, False), "RED", "NOT RED"),
        (_Row(True, True, raises=True), "RED", "ValueError: it broke"),
    ],
)
def test_a_line_is_green_only_if_the_row_holds_and_the_control_is_red(
    row: Row, status: str, shown: str
) -> None:
    line = scoreboard.measure(row, BUDGETS.get(row.name, TINY), lambda text: None)
    text = scoreboard.table([line]) + "\n" + scoreboard.details(line)
    assert scoreboard.table([line]).endswith(status)
    assert shown in text
    assert line.holds == (status == "green")


def test_the_command_gives_its_status() -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert scoreboard.main(["R25", "--quick"]) == 0
    assert "R25  constant folding has a budget" in out.getvalue()
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        scoreboard.main(["R999"])
