"""Gradients that are summed while the backward pass goes on, by workers that are threads here."""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.distributed.buckets import Bucket, Ready, make_buckets, when_ready
from graphc.distributed.report import report
from graphc.distributed.sums import GIVEN, SUMMED, TAKEN, TOLD
from graphc.distributed.worker import Worker
from graphc.runtime import executable

from .problems import trainer

LONG = 600.0
RNG = np.random.default_rng(8)
X, LABELS = RNG.normal(size=(26, 8)).astype("float32"), RNG.integers(0, 2, 26)
EARLY = 4  # buckets that are complete before the FFT of the backward pass, of six


@pytest.fixture(autouse=True)
def call_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transforms call back, as where NumPy has no loops for them: tests wait in the calls."""
    monkeypatch.setattr(executable, "vector_loop", lambda name: (0, 0))


class Waves(gc.nn.Layer):
    """A dense layer behind which an FFT calls back into Python, in the backward pass too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = gc.nn.Dense(8, seed=0)

    def forward(self, x: Any) -> Any:
        return gc.real(gc.fft.fft(self.inner(x))) / 8


def _programs(shards: int, buckets: int = 1) -> Any:
    """The programs of a training; the model's own variables stay as they are."""
    layers = [Waves(), gc.nn.Dense(8, "tanh", seed=1), gc.nn.Dense(2, seed=2)]
    made = gc.distributed.Trainer(
        gc.nn.Sequential(layers, name="waves"), loss="softmax_cross_entropy", workers=0,
        optimizer=gc.optim.Adam(0.03), strategy=gc.distributed.DataParallel(shards, buckets),
    )  # fmt: skip
    made.step(X, LABELS)
    return made._step("fit", made.types).programs


@contextmanager
def _workers(programs: Any, count: int, step: float = LONG, net: bool = False) -> Iterator[Any]:
    """Workers that have joined, and what makes all of them do something at once."""
    workers = [Worker({}) for _ in range(count)]
    names = [w.listen("127.0.0.1") if net else w.about().name for w in workers]
    with ThreadPoolExecutor(count) as pool:

        def each(what: Any) -> list[Any]:
            begun = [pool.submit(what, r, w) for r, w in enumerate(workers)]
            return [f.result(LONG) for f in begun]

        for worker in workers:
            worker.load(pickle.dumps(programs), ())
        assert each(lambda r, w: w.join(names, r, 1, LONG, step)) == [()] * count
        assert each(lambda r, w: w.walk([X, LABELS], 8)) == [()] * count
        yield workers, each
    for worker in workers:
        worker.close()


def _values(worker: Worker) -> list[Any]:
    return worker.values(range(len(worker._programs.variables)))  # type: ignore[union-attr]


def _same(worker: Worker, expected: list[Any]) -> None:
    for value, e in zip(_values(worker), expected, strict=True):
        np.testing.assert_array_equal(value, e)


def _alone(programs: Any, steps: int) -> list[Any]:
    """What all variables are behind some steps of one worker."""
    with _workers(programs, 1) as (workers, _):
        assert workers[0].run(0, steps, None).at == steps
        return _values(workers[0])


def _at_the_fft(worker: Worker, call: Any) -> None:
    """Something is called whenever the backward pass of a worker comes to its FFT."""
    hosts = worker._programs.gradient.caller.executable._hosts  # type: ignore[union-attr]
    site = max(hosts)
    host = hosts[site]

    def called(*given: Any) -> None:
        call()
        host(*given)

    hosts[site] = called


def _hear(worker: Worker, said: Any) -> None:
    """Something is called with each word that a worker says, before it does."""
    group: Any = worker._group
    say = group.say

    def heard(word: bytes, *given: Any, **more: Any) -> None:
        said(word)
        say(word, *given, **more)

    group.say = heard


@pytest.mark.parametrize("net", [False, True], ids=["memory", "sockets"])
def test_sums_are_there_before_the_backward_pass_is_over(net: bool) -> None:
    """The backward pass of each of two workers waits, before the gradients of its first layer,
    until both have added up their parts of four buckets: in vain, if sums came behind it."""
    programs = _programs(3)
    assert len(programs.buckets) == 6
    expected = _alone(programs, 3)
    lock, there, count, steps = Lock(), Event(), [0], 3

    def said(word: bytes) -> None:
        with lock:
            count[0] += word == SUMMED
            if count[0] % 12 == 2 * EARLY:
                there.set()
            elif count[0] % 12 == 0:
                there.clear()

    with _workers(programs, 2, net=net) as (workers, each):
        calls = [0]

        def wait() -> None:
            with lock:
                calls[0] += 1
            assert there.wait(LONG)

        for worker in workers:
            _hear(worker, said)
        _at_the_fft(workers[0], wait)  # it has one shard
        is_last = itertools.cycle([False, True])  # of two shards
        _at_the_fft(workers[1], lambda: wait() if next(is_last) else None)
        answers = each(lambda r, w: w.run(0, steps, None))
        assert [(a.at, a.code, a.lost) for a in answers] == [(steps, 0, ())] * 2
        assert calls == [2 * steps]
        for rank, worker in enumerate(workers):
            _same(worker, expected)
            seconds = worker.seconds()
            calls_of_one = (rank + 1) * steps
            assert seconds["buckets"] == 6 * calls_of_one
            assert seconds["early_buckets"] == 5 * calls_of_one
            whole = sum(b.bytes for b in programs.buckets)
            assert seconds["bytes"] == whole * calls_of_one
            assert seconds["early_bytes"] == (whole - 32) * calls_of_one
            assert seconds["hidden"] <= seconds["sum"]
            shown = report([("one", seconds)], [])
            assert shown.workers[0].overlap == (whole - 32) / whole
            assert str(shown).splitlines()[1].split()[-2:] == ["95", "%"]


class _DeadError(Exception):
    """Stands for a process that was killed."""


@pytest.mark.parametrize("net", [False, True], ids=["memory", "sockets"])
def test_one_dies_at_any_word_of_a_step(net: bool) -> None:
    """Its sockets close instead of the n-th word of the second step, for all n. The other one has
    made that step, or has not and is as before; and nobody waits."""
    programs = _programs(3)
    expected = [_alone(programs, steps) for steps in (0, 1, 2)]
    places = range(len(programs.variables))
    spoken = [GIVEN] * 12 + [TOLD, TAKEN] + [SUMMED] * 6  # of two shards in six buckets
    met = set()
    with _workers(programs, 2, net=net) as (workers, each):
        names = [w.listen("127.0.0.1") if net else w.about().name for w in workers]
        for last in range(len(spoken)):
            number = last + 2
            assert each(lambda r, w, n=number: w.join(names, r, n, LONG, LONG)) == [(), ()]
            assert each(lambda r, w: w.walk([X, LABELS], 8)) == [(), ()]
            for worker in workers:
                worker.assign(places, expected[0])
            said: list[bytes] = []

            def say(word: bytes, said: list[bytes] = said, last: int = last) -> None:
                if len(said) == len(spoken) + last:
                    workers[1]._leave()
                    raise _DeadError
                said.append(word)

            _hear(workers[1], say)

            def run(rank: int, worker: Worker) -> Any:
                try:
                    return worker.run(0, 3, None)
                except _DeadError:
                    return None

            found, dead = each(run)
            assert dead is None
            assert sorted(said[: len(spoken)]) == sorted(spoken)
            assert found.lost == (1,)
            met.add(found.at)
            _same(workers[0], expected[found.at])
    assert met == {1}  # the last word of all is one that the other one needs, too


def test_one_that_hangs_in_its_backward_pass_is_lost_to_the_others() -> None:
    """Until the limit of a step is over; before that two of three have handed over all."""
    programs = _programs(3)
    lost = Event()
    with _workers(programs, 3, step=0.2) as (workers, each):
        before = _values(workers[0])
        _at_the_fft(workers[2], lambda: lost.wait(LONG))

        def run(rank: int, worker: Worker) -> Any:
            found = worker.run(0, 2, None)
            if rank < 2:
                lost.set()
            return found

        answers = each(run)
        assert [a.at for a in answers] == [0, 0, 0]
        assert all(a.lost for a in answers)
        assert any(2 in a.lost for a in answers[:2])
        for worker in workers:
            _same(worker, before)


def test_a_shard_that_fails_ends_the_step_for_all_and_the_next_one_goes_on() -> None:
    programs = _programs(4, buckets=200)
    expected = _alone(programs, 2)
    bad = LABELS.copy()
    bad[5] = 9  # of the third shard of four
    nan = X.copy()
    nan[7] = np.nan
    with _workers(programs, 2) as (workers, each):
        for arrays, codes in (([X, bad], [2, 2]), ([nan, LABELS], [1, 1])):
            each(lambda r, w, a=arrays: w.walk(a, 8))
            answers = each(lambda r, w: w.run(0, 2, None))
            assert [(a.at, a.code, a.lost) for a in answers] == [(0, c, ()) for c in codes]
        each(lambda r, w: w.walk([X, LABELS], 8))
        assert [a.at for a in each(lambda r, w: w.run(0, 2, None))] == [2, 2]
        for worker in workers:
            _same(worker, expected)


def test_a_last_batch_that_leaves_shards_without_examples() -> None:
    programs = _programs(5, buckets=1 << 20)
    expected = _alone(programs, 4)  # the last batch has two examples
    with _workers(programs, 3) as (workers, each):
        assert [a.at for a in each(lambda r, w: w.run(0, 4, None))] == [4] * 3
        told = [worker.seconds() for worker in workers]  # in one bucket nothing can be hidden
        assert [(t["buckets"], t["early_buckets"]) for t in told] == [(4, 0), (8, 0), (8, 0)]
        assert [t["hidden"] for t in told] == [0.0] * 3
        for worker in workers:
            _same(worker, expected)


def test_no_bit_depends_on_the_size_of_buckets() -> None:
    found = [_alone(_programs(2, buckets), 2) for buckets in (1, 300, 1 << 20)]
    for values in zip(*found, strict=True):
        for value in values[1:]:
            np.testing.assert_array_equal(value, values[0])


def test_nothing_stays_open() -> None:
    """The pipe of a walk that is over is closed with it."""
    programs = _programs(2)
    with _workers(programs, 2) as (_, each):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            each(lambda r, w: w.walk([X, LABELS], 8))
            each(lambda r, w: w.run(0, 1, None))
        assert len(os.listdir("/proc/self/fd")) <= before


# -- buckets ---------------------------------------------------------------------------------------
F, D = np.dtype(np.float32), np.dtype(np.float64)


def test_buckets_follow_the_order_of_a_program_and_have_one_dtype() -> None:
    kinds = [((4,), F), ((2, 2), D), ((1,), F), ((), F), ((8,), D)]
    announced = [(9, [0, 4]), (5, [3]), (3, [2, 6]), (2, [5]), (1, [1]), (0, [7])]
    assert make_buckets(announced, kinds, 1) == [
        Bucket([3], 4), Bucket([2], 4), Bucket([1], 32), Bucket([4], 64), Bucket([0], 16)
    ]  # fmt: skip
    found = make_buckets(announced, kinds, 40)
    assert found == [Bucket([1, 4], 96), Bucket([3, 2, 0], 24)]
    assert when_ready(found, announced) == [Ready(4, True), Ready(5, False)]
    for least in (1, 20, 1000):
        made = make_buckets(announced, kinds, least)
        assert sorted(i for bucket in made for i in bucket.summed) == [0, 1, 2, 3, 4]


def test_the_size_of_buckets_is_a_setting() -> None:
    for size in (0, -1, True, 2.5, "1"):
        with pytest.raises(gc.errors.ArgumentError, match="no number of bytes"):
            trainer(buckets=size)
