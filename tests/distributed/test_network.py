"""Workers that are connected by TCP, here as threads: the same bits as one process; who is lost is
noticed, and who was not is none the worse."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.distributed import crew
from graphc.distributed.group import Lost
from graphc.distributed.network import MARK, NetDoor, NetGroup
from graphc.distributed.worker import Worker

from .problems import LABELS, OPTIONS, PARTS, X, model, same, trainer

LONG, SHORT = 600.0, 0.2


def _groups(count: int, step: float = LONG) -> tuple[list[NetDoor], list[NetGroup]]:
    doors = [NetDoor("127.0.0.1") for _ in range(count)]
    names = [door.name for door in doors]
    with ThreadPoolExecutor(count) as pool:
        made = [pool.submit(NetGroup, doors[r], names, r, 5, LONG, step) for r in range(count)]
        return doors, [f.result(LONG) for f in made]


def _close(*ends: Any) -> None:
    for end in ends:
        end.close()


def test_memories_are_alike_behind_a_meeting() -> None:
    """Each of three writes two places, one of which is larger than what sockets hold."""
    doors, groups = _groups(3)
    size = 1 << 22
    memories = [g.memory(4 * size) for g in groups]
    spans = [[(r * size, (r + 1) * size), (3 * size + r, 3 * size + r + 1)] for r in range(3)]
    for r, memory in enumerate(memories):
        for start, end in spans[r]:
            memory[start:end] = r + 1
    with ThreadPoolExecutor(3) as pool:
        for f in [pool.submit(g.meet, s) for g, s in zip(groups, spans, strict=True)]:
            f.result(LONG)
    for memory in memories:
        np.testing.assert_array_equal(memory, memories[0])
        assert memory.sum(dtype=np.int64) == 6 * size + 6
    _close(*groups, *doors)


def test_who_is_gone_and_who_says_nothing() -> None:
    doors, groups = _groups(3, SHORT)
    groups[2].close()
    with ThreadPoolExecutor(2) as pool:
        found = [f.exception(LONG) for f in [pool.submit(g.meet) for g in groups[:2]]]
    assert [e.ranks for e in found if isinstance(e, Lost)] == [(2,), (2,)]
    with pytest.raises(Lost) as caught:
        groups[0].meet()  # which the other one does not come to
    assert caught.value.ranks == (1, 2)
    _close(*groups[:2], *doors)


def test_places_that_are_none_are_refused() -> None:
    doors, groups = _groups(2, SHORT)
    groups[0].memory(1000)
    groups[1].memory(10)
    with ThreadPoolExecutor(2) as pool:
        sent = pool.submit(groups[0].meet, [(500, 600)])
        with pytest.raises(Lost):
            groups[1].meet()
        sent.exception(LONG)
    _close(*groups, *doors)


def test_strangers_are_sent_away() -> None:
    """Who does not know the secret is not let in, whatever else he knows."""
    doors = [NetDoor("127.0.0.1") for _ in range(2)]
    names = [door.name for door in doors]
    port = int(names[0].removeprefix(MARK).split(":")[1])
    stranger = socket.create_connection(("127.0.0.1", port))
    stranger.sendall(b"\0" * 16 + (5).to_bytes(8, "little") + (1).to_bytes(8, "little"))
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(NetGroup, doors[r], names, r, 5, LONG, LONG) for r in (0, 1)]
        groups = [f.result(LONG) for f in made]
        assert [f.result(LONG) for f in [pool.submit(g.meet) for g in groups]] == [None, None]
    assert stranger.recv(1) == b""
    _close(*groups, *doors, stranger)


def test_two_workers_are_one_process() -> None:
    """Five steps by workers that share nothing but their sockets; then one of them is gone."""
    ours = trainer(shards=3)
    ours.fit(X, LABELS, **OPTIONS)  # makes the programs
    programs = ours._step("fit", ours.types).programs
    places = range(len(programs.variables))
    workers = [Worker({}) for _ in range(3)]
    for worker in workers:
        worker.load(pickle.dumps(programs), ())
    alone, *two = workers
    alone.join([alone.about().name], rank=0, number=1, start=LONG, step=LONG)
    names = [w.listen("127.0.0.1") for w in two]

    def steps(rank: int) -> Any:
        worker = two[rank]
        assert worker.join(names, rank, number=2, start=LONG, step=LONG) == ()
        assert worker.walk([X, LABELS], 16) == ()
        return worker.run(0, 5, None)

    alone.walk([X, LABELS], 16)
    assert alone.run(0, 5, None).at == 5
    with ThreadPoolExecutor(2) as pool:
        answers = [f.result(LONG) for f in [pool.submit(steps, r) for r in (0, 1)]]
    assert [(a.at, a.code, a.lost) for a in answers] == [(5, 0, ())] * 2
    for worker in two:
        for a, b in zip(worker.values(places), alone.values(places), strict=True):
            np.testing.assert_array_equal(a, b)
    two[1].close()
    assert two[0].run(0, 1, None).lost == (1,)
    for a, b in zip(two[0].values(places), alone.values(places), strict=True):
        np.testing.assert_array_equal(a, b)
    _close(*workers[:2])


def test_workers_that_say_they_are_on_several_machines(cluster: Any) -> None:
    """A crew connects them by TCP, and another one is in the place of one that is killed."""
    expected = trainer()
    expected.fit(X, LABELS, epochs=2, **OPTIONS)

    class Kill(gc.train.Callback):
        def on_batch_end(self, step: int, logs: Any) -> None:
            if step == 2 and not ours._crew.lost:
                os.kill(ours._crew.members[1].about.pid, signal.SIGKILL)

    places = map(str, range(100))
    with pytest.MonkeyPatch.context() as patch, trainer(workers=2) as ours:
        hire = crew.Crew._hire

        def hired(self: Any, count: int, is_server: bool) -> Any:
            made = hire(self, count, is_server)
            for member in made:
                member.about = member.about._replace(place=next(places))
            return made

        patch.setattr(crew.Crew, "_hire", hired)
        ours.fit(X, LABELS, epochs=2, callbacks=[Kill()], **OPTIONS)
        same(expected, ours)
        assert len(ours.report().lost) == 1


def _trained(made: Any, count: int, net: bool) -> tuple[list[Any], list[Worker]]:
    """The answers of so many workers and servers, as threads, to a run of five steps."""
    programs = made._step("fit", made.types).programs
    workers = [Worker({}) for _ in range(count)]
    names = [w.listen("127.0.0.1") if net else w.about().name for w in workers]

    def steps(rank: int) -> Any:
        worker = workers[rank]
        assert worker.join(names, rank, number=3, start=LONG, step=LONG) == ()
        assert worker.walk([X, LABELS], 16) == ()
        return worker.run(0, 5, None)

    for worker in workers:
        worker.load(pickle.dumps(programs), ())
    with ThreadPoolExecutor(count) as pool:
        return [f.result(LONG) for f in [pool.submit(steps, r) for r in range(count)]], workers


def _made(strategy: Any, workers: int) -> Any:
    """A trainer whose programs can be made."""
    gc.nn.seed(0)
    options = {"optimizer": gc.optim.Adam(0.03), **PARTS, "workers": workers}
    made = gc.distributed.Trainer(model(), strategy=strategy, **options)
    made.evaluate(X, LABELS)
    ours = trainer()
    ours.fit(X, LABELS, **OPTIONS)
    made.types = ours.types
    return made


SPLIT: list[tuple[Any, int]] = [
    (gc.distributed.Pipeline(3, 4), 3),
    (gc.distributed.Pipeline(3, 2), 2),
    (gc.distributed.ParameterServer(2, shards=3), 2),
]


@pytest.mark.parametrize(("strategy", "workers"), SPLIT)
def test_stages_and_servers_without_shared_memory(strategy: Any, workers: int) -> None:
    """The same bits as with it; each stage has the values of all, and what metrics keep."""
    made, count = _made(strategy, workers), workers + strategy.servers
    found = [_trained(made, count, net) for net in (True, False)]
    places = range(len(made._step("fit", made.types).programs.variables))
    for answers, _ in found:
        assert [(a.at, a.code, a.lost) for a in answers] == [(5, 0, ())] * count
    for rank, (a, b) in enumerate(zip(*(workers for _, workers in found), strict=True)):
        for x, y in zip(a.values(places), b.values(places), strict=True):
            np.testing.assert_array_equal(x, y)
        if rank == workers or not strategy.servers:
            for x, y in zip(a.kept(), b.kept(), strict=True):
                np.testing.assert_array_equal(x, y)
        _close(a, b)


def test_servers_at_the_workers_pace_without_shared_memory() -> None:
    made = _made(gc.distributed.ParameterServer(2, mode="async", staleness=1), 2)
    answers, workers = _trained(made, 4, net=True)
    assert [(a.at, a.code, a.lost) for a in answers] == [(5, 0, ())] * 4
    variables = made._step("fit", made.types).programs.variables
    steps = next(i for i, v in enumerate(variables) if v is made.optimizer.iterations)
    assert [int(w.values([steps])[0]) for w in workers[2:3]] == [5]
    _close(*workers)
