"""A model in stages: near the plain training, the same bits by any number of workers, whoever is
killed meanwhile."""

from __future__ import annotations

import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.distributed.pipeline import turns
from graphc.distributed.worker import Ran, Worker
from graphc.errors import ArgumentError, DivergenceError, RuntimeFailure

from .problems import LABELS, OPTIONS, PARTS, Full, X, model, same, trainer

LONG = 600.0


def staged(noisy: bool = True, workers: int = 0, stages: int = 2, **options: Any) -> Any:
    micro = options.pop("micro_batches", 3)
    made = options.pop("model", None) or model(noisy)
    options = {"optimizer": gc.optim.Adam(0.03), **PARTS, **options}
    strategy = gc.distributed.Pipeline(stages, micro)
    return gc.distributed.Trainer(made, strategy=strategy, workers=workers, **options)


def near(a: gc.train.Trainer, b: gc.train.Trainer, bound: float = 1e-6) -> None:
    for path, value in a.model.state_dict().items():
        np.testing.assert_allclose(b.model.state_dict()[path], value, rtol=bound, atol=bound)
    for name, values in a.history.logs.items():
        np.testing.assert_allclose(b.history[name], values, rtol=bound, err_msg=name)


@pytest.fixture(scope="module")
def expected() -> gc.train.Trainer:
    """Three epochs of two stages in this process."""
    one: gc.train.Trainer = staged()
    one.fit(X, LABELS, epochs=3, validation_split=0.2, **OPTIONS)
    return one


# -- what comes out --------------------------------------------------------------------------------
def test_stages_are_near_the_plain_training() -> None:
    """With weights, and with batches of fewer examples than micro-batches at the end."""
    weights = np.random.default_rng(0).uniform(0, 2, 66)
    plain = gc.train.Trainer(model(False), **{"optimizer": gc.optim.SGD(0.1), **PARTS})
    ours = staged(False, stages=2, micro_batches=3, optimizer=gc.optim.SGD(0.1))
    for each in (plain, ours):
        each.fit(X[:66], LABELS[:66], epochs=2, sample_weight=weights, **OPTIONS)
    near(plain, ours)


def test_micro_batches_are_shards(expected: gc.train.Trainer) -> None:
    """Keys of dropout, averages of batches and metrics are those of as many shards."""
    shards = trainer(shards=3)
    shards.fit(X, LABELS, epochs=3, validation_split=0.2, **OPTIONS)
    near(shards, expected)


def test_what_several_stages_read() -> None:
    """A weight of the first and of the last stage, a penalty, a value that skips a stage, two
    outputs with losses of their own."""

    class Tied(gc.nn.Layer):
        def build(self, x: Any) -> None:
            penalty = gc.nn.regularizers.l2(0.1)
            first: dict[str, Any] = {"initializer": "glorot_uniform", "dtype": x.dtype}
            self.w = self.add_variable("w", (4, 4), regularizer=penalty, **first)
            self.inner = self.add_variable("inner", (4, 4), **first)

        def forward(self, x: Any, training: bool) -> Any:
            first = gc.tanh(x @ self.w)
            second = gc.tanh(first @ self.inner)
            return {"a": gc.tanh(second @ self.w.T) + first, "b": gc.sum(second, axis=1)}

    y = {"a": X * 0.5, "b": X[:, 0] - X[:, 1]}
    parts: dict[str, Any] = {
        "loss": {"a": "mse", "b": "mae"}, "metrics": {"b": ["r2"]}, "optimizer": "sgd",
        "dtype": "float64",
    }  # fmt: skip
    plain = gc.train.Trainer(Tied(name="tied"), **parts)
    ours = staged(model=Tied(name="tied"), stages=3, **parts)
    for each in (plain, ours):
        gc.nn.seed(3)
        each.fit(X, y, epochs=2, **OPTIONS)
    links = {(x.name, x.maker, x.readers) for x in ours._step("fit", ours.types).programs.links}
    assert any(name == "tied/w" for name, *_ in links)
    near(plain, ours, 1e-12)


def test_the_order_of_passes() -> None:
    """A stage holds no more micro-batches than there are stages behind it, and itself."""
    for count in range(6):
        for behind in range(4):
            held: list[int] = []
            seen = {True: 0, False: 0}
            for is_forward, i in turns(count, behind):
                assert i == seen[is_forward]
                seen[is_forward] += 1
                if is_forward:
                    held.append(i)
                else:
                    held.remove(i)
                assert len(held) <= behind + 1
            assert seen == {True: count, False: count}


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    x = X.copy()
    x[40] = np.nan
    ours, other = staged(), staged()
    with pytest.raises(DivergenceError, match="epoch 1, step 3, and x is nan in example 40"):
        ours.fit(x, LABELS, epochs=2, shuffle=False, **OPTIONS)
    other.fit(X[:32], LABELS[:32], epochs=1, shuffle=False, **OPTIONS)
    for path, value in other.model.state_dict().items():
        np.testing.assert_array_equal(ours.model.state_dict()[path], value)


def test_an_update_that_fails_in_one_stage_changes_nothing() -> None:
    """A constraint of the last stage's weights fails: what the first stage has updated by then is
    taken back, in the step in which one process changes nothing either."""

    def small(w: Any) -> Any:
        return gc.ensure(w, gc.max(gc.abs(w)) < 1.0, "too large")

    def layers() -> Any:
        last = gc.nn.Dense(1, seed=1, use_bias=False, kernel_constraint=small)
        return gc.nn.Sequential([gc.nn.Dense(6, "tanh", seed=0), last], name="net")

    parts: dict[str, Any] = {"loss": "mse", "metrics": []}
    plain = gc.train.Trainer(layers(), optimizer=gc.optim.Adam(0.05), **parts)
    ours = staged(model=layers(), optimizer=gc.optim.Adam(0.05), **parts)
    for each in (plain, ours):
        with pytest.raises(RuntimeFailure, match="too large"):
            each.fit(X, 9.0 * X[:, :1], epochs=9, **OPTIONS)
    steps = int(plain.optimizer.iterations.value)
    assert 0 < steps == int(ours.optimizer.iterations.value)
    near(plain, ours, 1e-5)


def test_gone_on_with_by_other_strategies(expected: gc.train.Trainer, tmp_path: Path) -> None:
    """Two epochs of shards, the third in stages, from a file."""
    options = {k: v for k, v in OPTIONS.items() if k != "seed"} | {"validation_split": 0.2}
    shards = trainer(shards=3)
    shards.fit(X, LABELS, epochs=2, **OPTIONS, validation_split=0.2)
    shards.save(tmp_path / "run")
    ours = staged()
    ours.load(tmp_path / "run")
    ours.fit(X, LABELS, epochs=3, resume=True, **options)
    near(expected, ours)


# -- who is lost -----------------------------------------------------------------------------------
class _Dead(BaseException):
    """In place of a signal that ends the process."""


def _run(workers: list[Worker], victim: int, number: int, steps: int) -> list[Any]:
    """A run by workers as threads, of which one dies instead of saying its so many-th word."""
    names = [w.about().name for w in workers]

    def one(rank: int) -> Any:
        worker = workers[rank]
        assert worker.join(names, rank, number * 2 + victim, LONG, LONG) == ()
        assert worker.walk([X, LABELS], 16) == ()
        group: Any = worker._group
        if rank == victim:
            words = iter(range(1, number))

            def counted(act: Any) -> Any:
                def acted(*given: Any) -> None:
                    if next(words, None) is None:
                        group.close()
                        raise _Dead
                    act(*given)

                return acted

            group.meet, group.tell = counted(group.meet), counted(group.tell)
        try:
            return worker.run(0, steps, None)
        except _Dead:
            return None

    with ThreadPoolExecutor(len(workers)) as pool:
        return [f.result(LONG) for f in [pool.submit(one, r) for r in range(len(workers))]]


def test_whatever_moment_one_is_lost_at() -> None:
    """The other has all variables as they are behind the step before the one that comes next."""
    ours = staged(False)
    ours.fit(X, LABELS, **OPTIONS)  # makes the programs
    programs = ours._step("fit", ours.types).programs
    workers = [Worker({}) for _ in range(2)]
    for worker in workers:
        worker.load(pickle.dumps(programs), ())
    places = range(len(programs.variables))
    start = [v.value.copy() for v in programs.variables]

    alone = Worker({})
    alone.load(pickle.dumps(programs), ())
    states = [start]
    alone.join([alone.about().name], rank=0, number=1, start=LONG, step=LONG)
    alone.walk([X, LABELS], 16)
    for step in range(2):
        assert alone.run(step, 1, None).code == 0
        states.append(alone.values(places))
    seen = set()
    for victim in (0, 1):
        for number in range(1, 30):
            for worker in workers:
                worker.assign(places, start)
            answers = _run(workers, victim, number, 2)
            if answers[victim] is not None:
                assert [a.at for a in answers] == [2, 2]
                break
            found: Ran = answers[1 - victim]
            assert found.lost == (victim,)
            assert not found.is_torn
            seen.add(found.at)
            for ours_now, theirs in zip(
                workers[1 - victim].values(places), states[found.at], strict=True
            ):
                np.testing.assert_array_equal(ours_now, theirs)
        assert number == 11, "three micro-batches and two meetings, twice"
    assert seen == {0, 1, 2}
    for worker in (*workers, alone):
        worker.close()


class _Kill(gc.train.Callback):
    """Kills workers behind some steps, counted over all epochs."""

    def __init__(self, owner: Any, plan: dict[int, list[int]]) -> None:
        self._owner, self._plan, self._step = owner, plan, 0

    def on_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        for rank in self._plan.get(self._step, []):
            os.kill(self._owner._crew.members[rank].about.pid, signal.SIGKILL)
        self._step += 1


def test_killed(cluster: Any, expected: gc.train.Trainer, tmp_path: Path) -> None:
    """By two workers: one of them is killed, then the other one, then both at once, which begins
    the epoch again; from the second epoch on the disk is full. Another one goes on from the file
    of the first."""
    options: dict[str, Any] = {"epochs": 3, "validation_split": 0.2}
    with staged(workers=2) as killed:
        watch = _Kill(killed, {1: [0], 4: [1], 6: [0, 1]})
        keep = Full(tmp_path / "run", (1, 2), at_the_end=True)
        killed.fit(X, LABELS, callbacks=[watch, keep], **options, **OPTIONS)
        same(expected, killed)
        report = killed.report()
        assert len(report.lost) == 4
        assert [w.name.split()[0] for w in report.workers] == ["worker", "worker"]
    again = staged()
    again.load(tmp_path / "run")
    assert again.history.epochs == 1
    again.fit(X, LABELS, resume=True, **options, **{k: OPTIONS[k] for k in OPTIONS if k != "seed"})
    same(expected, again)


# -- what it refuses -------------------------------------------------------------------------------
def test_bad_arguments() -> None:
    for options in ({"stages": 0}, {"micro_batches": 1.5}, {"stages": True}):
        with pytest.raises(ArgumentError, match="an int >= 1"):
            gc.distributed.Pipeline(**options)
    with pytest.raises(ArgumentError, match="more workers than stages"):
        staged(workers=3)
    with pytest.raises(ArgumentError, match="more stages than the graph has pieces with work"):
        staged(stages=99).fit(X, LABELS, **OPTIONS)
    with pytest.raises(ArgumentError, match="DataParallel, one server, or clip_norm"):
        staged(optimizer=gc.optim.SGD(global_clip_norm=1.0)).fit(X, LABELS, **OPTIONS)
    with pytest.raises(ArgumentError, match="batch_size >= 3"):
        staged().fit(X, LABELS, batch_size=2, verbose=False)


def test_placement() -> None:
    made = staged(False)
    made.fit(X, LABELS, **OPTIONS)
    made.workers = 2
    text = gc.draw(made, view="placement").source
    for word in ("stage 2 backwards", "an example", "% of operations", "after 3 micro-batches"):
        assert word in text
