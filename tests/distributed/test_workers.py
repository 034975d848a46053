"""Workers on Ray: the same bits as one process, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.distributed.worker import About, versions
from graphc.errors import ArgumentError, ClusterError, DivergenceError

from .conftest import CPUS
from .problems import LABELS, OPTIONS, X, same, trainer


@pytest.fixture(scope="module")
def two(cluster: gc.distributed.Cluster) -> Iterator[Any]:
    """A trainer with two workers, which has made these three epochs."""
    with trainer(workers=2) as made:
        made.fit(X, LABELS, epochs=3, validation_split=0.2, **OPTIONS)
        yield made


def test_two_workers_are_one_process(two: Any, expected: gc.train.Trainer, tmp_path: Path) -> None:
    same(expected, two)
    np.testing.assert_array_equal(two.predict(X), expected.predict(X))
    assert two.evaluate(X, LABELS) == expected.evaluate(X, LABELS)
    for each, name in ((two, "a"), (expected, "b")):
        each.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_workers_find_the_programs_in_the_cache(two: Any) -> None:
    def compiled(worker: Any) -> dict[str, int]:
        return gc.runtime.compile.compile_statistics()

    import ray

    counts = ray.get([m.actor.__ray_call__.remote(compiled) for m in two._crew.members])
    assert [(c["compilations"], c["cache_hits"]) for c in counts] == [(0, 2)] * 2


def test_the_report(two: Any) -> None:
    report = two.report()
    assert [w.steps for w in report.workers] == [12, 12]
    assert sum(w.examples for w in report.workers) == 3 * 56
    assert "communicate  hidden" in str(report)
    assert [(w.buckets, w.early_buckets, w.overlap) for w in report.workers] == [(12, 0, 0.0)] * 2
    assert report.lost == []


def test_the_bar_has_the_rate_of_each_worker(two: Any) -> None:
    shown = two._step("fit", two.types).shown()
    assert list(shown) == ["loss", "accuracy", "worker1/s", "worker2/s"]
    assert shown["worker1/s"] > 0
    assert list(two.history.logs)[:3] == ["loss", "accuracy", "auc"]


def _copy_of(two: Any, path: Path) -> gc.train.Trainer:
    """A trainer in this process that is as far as the two workers are."""
    two.save(path)
    here: gc.train.Trainer = trainer()
    here.load(path)
    return here


def test_what_is_written_here_reaches_the_workers(two: Any, tmp_path: Path) -> None:
    """A training that is loaded, and a rate that a callback sets."""
    here = _copy_of(two, tmp_path / "run")
    two.fit(X, LABELS, **OPTIONS)
    two.load(tmp_path / "run")
    for each in (two, here):

        def halve(epoch: int, logs: dict[str, Any], each: Any = each) -> None:
            each.learning_rate = each.learning_rate / 2

        each.fit(X, LABELS, epochs=2, callbacks=[halve], **OPTIONS)
        assert each.learning_rate == 0.03 / 4
    same(here, two)


def test_a_stream_and_its_early_end(two: Any, tmp_path: Path) -> None:
    here = _copy_of(two, tmp_path / "run")
    batches = [(X[i : i + 16], LABELS[i : i + 16]) for i in (0, 16, 32)]
    for each in (two, here):
        each.fit(lambda: iter(batches), epochs=2, seed=1, verbose=False)
    assert here.history.logs["loss"] == two.history.logs["loss"]
    with pytest.raises(ArgumentError, match="the data ended early"):
        two.fit(iter(batches), epochs=1, steps_per_epoch=4, verbose=False)


def test_one_worker_has_a_loss_that_is_not_finite(two: Any) -> None:
    x = X.copy()
    x[31] = np.nan  # in the second shard of the second step
    with pytest.raises(DivergenceError, match="epoch 1, step 2, and x is nan in example 31"):
        two.fit(x, LABELS, shuffle=False, **OPTIONS)
    assert all(np.isfinite(v).all() for v in two.model.state_dict().values())
    with pytest.raises(gc.errors.GraphcError, match="label"):
        two.fit(X, LABELS + 7, **OPTIONS)
    two.fit(X, LABELS, **OPTIONS)  # and goes on


# -- who is killed ---------------------------------------------------------------------------------
class _Kill(gc.train.Callback):
    """Kills workers behind some steps, counted over all epochs."""

    def __init__(self, trainer: Any, plan: dict[int, list[int]]) -> None:
        self._owner, self._plan, self._step = trainer, plan, 0

    def on_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        for rank in self._plan.get(self._step, []):
            os.kill(self._owner._crew.members[rank].about.pid, signal.SIGKILL)
        self._step += 1


def test_killed_between_steps(cluster: Any, expected: gc.train.Trainer) -> None:
    """One of two, both in turn, and both at once, which begins the epoch again."""
    with trainer(workers=2) as killed:
        plan = {1: [0], 4: [1], 6: [0, 1]}
        watch = _Kill(killed, plan)
        killed.fit(X, LABELS, epochs=3, validation_split=0.2, callbacks=[watch], **OPTIONS)
        same(expected, killed)
        assert len(killed.report().lost) == 4


@pytest.mark.parametrize("word", [b"g4", b"t", b"s1", b"s6"])
def test_killed_in_a_step(cluster: Any, expected: gc.train.Trainer, word: bytes) -> None:
    """In the second step, before the fourth of eight buckets is given, before all is told, before
    the first sum is told of, or before the sixth."""

    def arm(worker: Any, word: bytes) -> None:
        from graphc.distributed.group import Group

        say, said = Group.say, []

        def counted(group: Group, what: bytes, *given: Any, **more: Any) -> None:
            said.append(what)
            in_second = said.count(what) - (1 if what == b"t" else 8)
            if what == word[:1] and in_second == int(word[1:] or 1):
                os.kill(os.getpid(), signal.SIGKILL)
            say(group, what, *given, **more)

        Group.say = counted  # type: ignore[method-assign]

    import ray

    with trainer(workers=2, buckets=1) as killed:
        killed._crew.start()
        ray.get(killed._crew.members[1].actor.__ray_call__.remote(arm, word))
        killed.fit(X, LABELS, epochs=3, validation_split=0.2, **OPTIONS)
        same(expected, killed)
        assert len(killed.report().lost) == 1


def test_one_that_hangs_is_replaced(cluster: Any, expected: gc.train.Trainer) -> None:
    class Stop(_Kill):
        def on_batch_end(self, step: int, logs: dict[str, Any]) -> None:
            if self._step == 2:
                os.kill(self._owner._crew.members[1].about.pid, signal.SIGSTOP)
            self._step += 1

    with trainer(workers=2, limits=gc.distributed.Limits(step=1.0)) as stopped:
        watch = Stop(stopped, {})
        stopped.fit(X, LABELS, epochs=3, validation_split=0.2, callbacks=[watch], **OPTIONS)
        same(expected, stopped)
        assert "no answer within the limit" in stopped.report().lost[0]


def test_gone_on_with_by_other_numbers_of_workers(
    cluster: Any, expected: gc.train.Trainer, tmp_path: Path
) -> None:
    options = {k: v for k, v in OPTIONS.items() if k != "seed"}
    for epochs, workers in ((1, 2), (2, 1), (3, 0)):
        with trainer(workers=workers) as part:
            if epochs > 1:
                part.load(tmp_path / "run")
                part.fit(
                    X, LABELS, epochs=epochs, validation_split=0.2, resume=True, **options
                )
            else:
                part.fit(X, LABELS, epochs=1, validation_split=0.2, **OPTIONS)
            part.save(tmp_path / "run")
    same(expected, part)


# -- what it refuses -------------------------------------------------------------------------------
def test_what_the_cluster_has_not(cluster: gc.distributed.Cluster) -> None:
    with pytest.raises(ClusterError, match=f"at most {CPUS} workers"):
        trainer(workers=CPUS + 1, shards=9).fit(X, LABELS, **OPTIONS)
    with pytest.raises(ArgumentError, match="connected already"):
        gc.distributed.connect()


def test_data_that_the_cluster_cannot_hold(
    two: Any, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphc.distributed import engine

    total = engine.total
    monkeypatch.setattr(engine, "total", lambda r: 100.0 if "store" in r else total(r))
    with pytest.raises(ClusterError, match="does not fit into the cluster's memory"):
        two.fit(X, LABELS, **OPTIONS)


def test_other_versions() -> None:
    from graphc.distributed.crew import check_versions

    theirs = versions() | {"graphc": "0.0.1"}
    with pytest.raises(ClusterError, match=r"graphc 0\.0\.1.* on afar"):
        check_versions(versions(), About("", 1, "afar", theirs))
    check_versions(versions(), About("", 1, "afar", versions()))
