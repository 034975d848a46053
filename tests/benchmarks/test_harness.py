"""The harness measured by itself: fake contenders with a clock of their own, and real processes."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from . import cold_start, command, contenders, report
from .cold_start import PROGRAM_CASES, ProgramLane
from .contenders import available, environment, processors
from .harness import (
    CASES,
    Batch,
    Case,
    MismatchError,
    NotOfferedError,
    Prepared,
    Result,
    Samples,
    calibrate,
    case,
    compare,
    measure,
    quotient,
    ratio,
    shares,
)
from .mlp import losses, numpy_step, problem
from .registry import CASES as ALL_CASES
from .session import ContenderError, Session, disturbances


class FakeLane:
    """A call takes `seconds[round]`; the order of all fake calls is kept in `log`."""

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self.seconds, self.log, self.round = name, seconds, log, 0

    def run(self, calls: int) -> Batch:
        self.log.append(self.name)
        wall = calls * self.seconds[min(self.round, len(self.seconds) - 1)]
        self.round += 1
        return Batch(wall, wall / 2, 3 * calls)


def samples(**seconds: list[float]) -> dict[str, Samples]:
    names = {"matmul": "numpy: matmul"}
    return {
        names.get(name, name): Samples(1, taken, taken, [0.0] * len(taken))
        for name, taken in seconds.items()
    }


def test_lanes_take_turns_and_times_are_per_call() -> None:
    log: list[str] = []
    lanes = {"a": FakeLane("a", [0.01], log), "b": FakeLane("b", [1.0, 2.0, 3.0, 4.0], log)}
    taken = measure(lanes, 3, floor_s=0.02)
    assert log[-6:] == ["a", "b"] * 3
    assert taken["b"].calls == 1
    assert taken["b"].seconds == [2.0, 3.0, 4.0]
    assert taken["b"].median == 3.0
    assert taken["b"].cpu_seconds == [1.0, 1.5, 2.0]
    assert taken["b"].faults == [3.0] * 3
    assert taken["a"].seconds == pytest.approx([0.01] * 3)


@pytest.mark.parametrize("per_call", [1e-7, 3e-6, 0.0011, 0.019, 0.5])
def test_a_batch_lasts_at_least_the_floor_and_not_far_more(per_call: float) -> None:
    calls = calibrate(FakeLane("a", [per_call], []), floor_s=0.02)
    assert calls * per_call >= 0.02
    assert calls == 1 or calls * per_call <= 0.04


def test_ratio_divides_round_by_round() -> None:
    # The machine slows down tenfold half-way: each side's median says 1.0 or 10, the pairs say 0.5.
    taken = samples(graphc=[1, 1, 10, 10, 10], jax=[2, 2, 20, 20, 20], torch=[9, 9, 90, 90, 90])
    against = ratio(taken)
    assert against is not None
    assert (against.over, against.median, against.low, against.high) == ("jax", 0.5, 0.5, 0.5)
    spread = quotient("jax", [1, 2, 3, 4, 5], [1] * 5)
    assert (spread.low, spread.median, spread.high) == (2, 3, 4)
    single = quotient("jax", [3], [2])
    assert (single.low, single.median, single.high) == (1.5, 1.5, 1.5)


def test_best_peer_is_neither_the_oracle_nor_a_part() -> None:
    against = ratio(samples(graphc=[2.0], numpy=[1.0], matmul=[0.5], torch=[8.0], jax=[4.0]))
    assert against is not None
    assert (against.over, against.median) == ("jax", 0.5)
    assert ratio(samples(graphc=[2.0], numpy=[1.0])) is None
    assert ratio(samples(jax=[2.0], torch=[1.0])) is None


def test_share_of_a_part() -> None:
    assert shares(samples(numpy=[2.0, 4.0, 4.0], matmul=[1.0, 1.0, 3.0])) == {"numpy: matmul": 0.5}


def test_answers_are_held_to_the_oracle() -> None:
    right = {"loss": np.array(2.0), "g": np.array([1.0, np.nan])}
    near = {"loss": np.array(2.0 + 1e-5), "g": np.array([1.0, np.nan])}
    compare({"numpy": right, "jax": near}, rtol=1e-4, atol=0.0)
    with pytest.raises(MismatchError, match=r"loss: jax against numpy: 1 of 1 .* rtol 1e-06"):
        compare({"jax": near, "numpy": right}, rtol=1e-6, atol=0.0)
    with pytest.raises(MismatchError, match=r"g: .*at \(1,\)"):
        compare({"numpy": right, "jax": near | {"g": np.array([1.0, 0.0])}}, rtol=1, atol=1)
    with pytest.raises(MismatchError, match=r"shape \(1,\), expected \(2,\)"):
        compare({"numpy": right, "jax": near | {"g": np.ones(1)}}, rtol=1, atol=1)
    with pytest.raises(MismatchError, match="jax answers"):
        compare({"numpy": right, "jax": {"loss": np.array(2.0)}}, rtol=1, atol=1)


def test_without_an_oracle_the_first_contender_is_the_reference() -> None:
    compare({"jax": {"a": np.ones(2)}, "torch": {"a": np.ones(2)}}, rtol=0, atol=0)
    with pytest.raises(MismatchError, match="torch against jax"):
        compare({"jax": {"a": np.ones(2)}, "torch": {"a": np.zeros(2)}}, rtol=0, atol=0)


def test_two_cases_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(contender: str) -> Prepared:
        raise NotOfferedError(contender)

    monkeypatch.setitem(CASES, "planted", Case("planted", "", 0, 0, planted))
    with pytest.raises(ValueError, match="planted"):
        case("again", rtol=0)(planted)


def test_json_has_every_figure() -> None:
    taken = samples(graphc=[1.0, 2.0], jax=[2.0, 2.0], numpy=[4.0, 4.0], matmul=[1.0, 3.0])
    results = [
        Result("gelu", "title", 2, taken, {}, ["a note"]),
        Result("lost", "title", 2, {}, {"jax": "ValueError: x"}),
    ]
    content = report.record(
        results,
        machine=report.machine(),
        threads={"2": {"jax": {"asked": 2}}},
        repeats=2,
        missing=["torch: not installed (pip install graphc[bench])"],
    )
    back = json.loads(json.dumps(content))
    assert back == content
    assert back["schema"] == report.SCHEMA
    assert back["date"][:2] == "20"
    assert back["date"].endswith("+00:00")
    assert back["machine"]["versions"]["numpy"] == np.__version__
    assert {"processor", "processors", "system", "python", "load"} <= back["machine"].keys()
    good, bad = back["results"]
    assert good["lanes"]["graphc"]["median_s"] == statistics.median([1.0, 2.0])
    assert good["lanes"]["graphc"].keys() == {
        "median_s",
        "seconds",
        "cpu_seconds",
        "faults",
        "calls",
    }
    assert good["ratio"] == {"over": "jax", "median": 0.75, "low": 0.625, "high": 0.875}
    assert good["shares"] == {"numpy: matmul": 0.5}
    assert bad["failures"] == {"jax": "ValueError: x"}
    assert bad["ratio"] is None


def test_table_rows() -> None:
    taken = samples(graphc=[1e-6, 3e-6], jax=[2e-6, 2e-6])
    (row,) = report.rows([Result("gelu", "", 1, taken, {"torch": "x"})], ["graphc", "jax", "torch"])
    assert row == ["gelu", "1", "2 us", "2 us", "failed", "1.00 [0.75, 1.25]", "jax"]
    assert [report.duration(s) for s in (4.2e-7, 0.00104, 0.0271, 1.713)] == [
        "0.42 us",
        "1,040 us",
        "27.1 ms",
        "1.71 s",
    ]


def test_disturbances_are_named() -> None:
    busy = {"numpy": Samples(1, [1e-3], [1e-3], [388.0]), "jax": Samples(1, [1e-3], [1e-3], [0.0])}
    assert disturbances(busy, 0.02) == ["numpy takes 388 page faults a call"]
    assert "0.58 processors" in disturbances({}, 0.58)[0]


def test_contenders_inherit_no_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    one, two = environment(1), environment(2)
    assert "OPENBLAS_CORETYPE" not in one
    assert "XLA_FLAGS" not in two
    assert "intra_op_parallelism_threads=1" in one["XLA_FLAGS"]
    assert [e["OPENBLAS_NUM_THREADS"] for e in (one, two)] == ["1", "2"]
    with pytest.raises(ValueError, match="threads asked for"):
        processors(1 + len(os.sched_getaffinity(0)))


def test_a_peer_that_is_missing_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert available(["jax"]) == ([], ["jax: not installed (pip install graphc[bench])"])


def test_another_checkout_is_a_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contenders, "CONTENDERS", dict(contenders.CONTENDERS))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(SystemExit):
        command.options(["gelu", "--before", str(tmp_path)])
    assert "no checkout of graphc" in capsys.readouterr().err
    (tmp_path / "graphc").mkdir()
    (tmp_path / "graphc/__init__.py").touch()
    assert command.options(["gelu", "--before", str(tmp_path), "--peers", ""]).peers == ["before"]
    folders = environment(1, "before")["PYTHONPATH"].split(os.pathsep)
    assert str(tmp_path) in folders
    assert str(contenders.CHECKOUT) not in folders
    assert str(contenders.CHECKOUT) in environment(1, "graphc")["PYTHONPATH"].split(os.pathsep)


def test_several_ratios_have_a_geometric_mean() -> None:
    def result(case: str, seconds: float) -> Result:
        samples = {"graphc": Samples(1, [seconds]), "jax": Samples(1, [1.0])}
        return Result(case, case, 1, samples)

    (line,) = report.together([result("a", 0.5), result("b", 2.0)])
    assert line == "geometric mean of the ratios 1.000, the largest 2.00 (b)"
    assert report.together([result("a", 0.5)]) == []


def test_unknown_names_end_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["no_such_case"], ["gelu", "--peers", "mxnet"]):
        with pytest.raises(SystemExit):
            command.options(arguments)
        assert "; there are " in capsys.readouterr().err
    assert command.main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [*ALL_CASES, *PROGRAM_CASES]


def test_the_numpy_step_descends_as_adam_does() -> None:
    """The first Adam update moves every parameter by the rate against its gradient's sign."""
    given = problem(8, (5, 4, 3))
    step = numpy_step(given, np.float64)
    before = float(np.asarray(step()))
    central = problem(8, (5, 4, 3))
    loss, eps = [], 1e-6
    for sign in (1, -1):
        w = central.layers[0][0].astype(np.float64)
        w[2, 1] += sign * eps
        x, y = central.x.astype(np.float64), central.y
        z = np.maximum(x @ w, 0) @ central.layers[1][0].astype(np.float64)
        loss.append(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(8), y]))
    assert before == pytest.approx(np.mean(loss), rel=1e-6)
    answers = losses(numpy_step(given, np.float64))
    assert answers["loss after 10 steps"] < answers["loss after 1 step"] < before


def test_a_session_of_real_processes() -> None:
    with Session(["numpy"], 1) as session:
        assert session.threads["numpy"]["asked"] == 1
        result = session.measure(ALL_CASES["call_overhead"], 2)
        session.workers["numpy"].process.kill()
        lost = session.measure(ALL_CASES["call_overhead"], 2)
    assert result.failures == {}
    assert len(result.samples["numpy"].seconds) == 2
    assert 0 < result.samples["numpy"].median < 1e-3
    assert "ended" in lost.failures["numpy"]


def test_a_worker_that_has_ended_is_told_and_closed() -> None:
    with Session(["numpy"], 1) as session:
        worker = session.workers["numpy"]
        worker.process.kill()
        worker.process.wait()
        # What cannot be sent any more stays in the pipe's buffer, and closing sends it again.
        with pytest.raises(ContenderError, match="ended before 'hello'"):
            worker.ask("hello")
    assert worker.log.closed


def test_a_program_is_timed_to_its_first_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The program ends only when the clock has been read for the second time."""
    read, hours = tmp_path / "read", itertools.count()

    def clock() -> float:
        hour = next(hours)
        if hour == 1:
            read.touch()
        return float(hour)

    monkeypatch.setattr(cold_start, "time", SimpleNamespace(perf_counter=clock))
    waits = f"""
import os, time
print(7, flush=True)
for _ in range(3000):
    if os.path.exists({str(read)!r}):
        break
    time.sleep(0.01)
else:
    raise SystemExit("nobody has read the clock")
"""
    lane = ProgramLane("numpy", [sys.executable, "-c", waits], 1)
    assert lane.run(1).wall == 1.0
    assert lane.printed == "7"
    broken = ProgramLane("numpy", [sys.executable, "-c", "raise ValueError('x')"], 1)
    with pytest.raises(ContenderError, match="ValueError: x"):
        broken.run(1)
