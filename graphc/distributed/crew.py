"""`Crew`: the workers and servers of a training, as the client sees them.

With `DataParallel` every worker holds all of a training, so a run goes on as long as one of them is
left: the one that came furthest gives its variables to the others and to those that take the places
of the lost. Servers hold parts, so that all of them are needed, and between two steps. Where that
is not to be had, the run begins again at the last snapshot, which the client took.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.distributed import engine
from graphc.distributed.cluster import connect
from graphc.distributed.engine import Gone
from graphc.distributed.limits import Limits
from graphc.distributed.programs import Programs
from graphc.distributed.report import Report, report
from graphc.distributed.worker import About, Ran, Worker, versions
from graphc.errors import ClusterError
from graphc.ir import origin
from graphc.train.batches import Array

TRIES = 8  # to make one step, or a whole crew again, before that is given up


@dataclass(eq=False)
class Member:
    """A worker."""

    actor: Any
    about: About
    is_server: bool


@dataclass
class _Walk:
    """What all workers walk over."""

    data: Any  # arrays, as a reference
    size: int
    order: Any = None  # of the examples, as a reference
    drawn: Array | None = field(default=None, repr=False)  # the same here


@dataclass
class Snapshot:
    """The values of all variables before step `at`."""

    at: int
    values: list[Array]


class Crew:
    """`count` workers, and the servers of the strategy, which come last among the `members`. `lost`
    says what became of those that are no more. `copies`: whether the variables of each worker are
    all there is, so that those of one who goes on need not be assigned."""

    def __init__(self, count: int, servers: int, limits: Limits, copies: bool = True) -> None:
        self._count, self._servers, self.limits = count, servers, limits
        self._copies = copies
        self.members: list[Member] = []
        self._session = ""  # of the cluster that they are in
        self._parts: list[list[int]] = []  # what each server holds
        self.lost: list[str] = []
        self.rates: list[float] = []  # examples in a second of each worker, in the last run
        self._group = 0
        self._programs: Any = None
        self._places: list[int] = []
        self._walk: _Walk | None = None
        self.snapshot: Snapshot | None = None

    # -- starting and ending -----------------------------------------------------------------------
    def start(self) -> None:
        """Errors: `ClusterError` for too few processors, workers that do not start within the
        limit, or that are of other versions."""
        if self.members:
            self._check_session()
            return
        if not engine.is_connected():
            connect()
        self._session = engine.session()
        there = int(engine.total("CPU"))
        if there < self._count:
            raise ClusterError(
                "more workers than the cluster has processors", op="Trainer",
                expected=f"at most {there} workers", given=f"workers={self._count}",
                where=origin.where(),
                hint="fewer workers, or connect(cpus=...) for a local cluster that has more",
            )  # fmt: skip
        self.members = self._hire(self._count, False)
        self.members += self._hire(self._servers, True)
        missing = self._count + self._servers - len(self.members)
        if missing:
            self.close()
            raise ClusterError(
                f"{missing} of {self._count + self._servers} processes did not start",
                op="Trainer", where=origin.where(),
                expected=f"an answer within {self.limits.start:g} s",
                given=f"{engine.free('CPU'):g} of {there} processors are free",
                hint="close other trainers, whose workers live until then, end what else uses the "
                "cluster, or set Limits(start=...)",
            )  # fmt: skip

    def _hire(self, count: int, is_server: bool) -> list[Member]:
        """New workers or servers, as many of `count` as start in time. Errors: `ClusterError`."""
        settings = {k: v for k, v in os.environ.items() if k.startswith("GRAPHC_")}
        cores = (os.cpu_count() or 1) // max(self._count, 1)
        settings.setdefault("GRAPHC_NUM_THREADS", str(max(1, cores)))
        cpus = 0 if is_server else 1
        actors = [engine.actor(Worker, settings, cpus=cpus) for _ in range(count)]
        answers = engine.gather([a.about.remote() for a in actors], self.limits.start)
        made = []
        for actor, about in zip(actors, answers, strict=True):
            if isinstance(about, Gone):
                engine.kill(actor)
                continue
            made.append(Member(actor, about, is_server))
        for member in made:
            check_versions(versions(), member.about)
        return made

    def _check_session(self) -> None:
        """Errors: `ClusterError`, once, if the cluster of the workers was closed."""
        if self.members and engine.session() != self._session:
            self.lost += [f"process {m.about.pid}: its cluster was closed" for m in self.members]
            self.members = []
            raise ClusterError(
                "the cluster of the workers was closed, and what they held went with it",
                op="Trainer", where=origin.where(),
                hint="close the trainer first; trainer.close() and fit go on from the values here, "
                "trainer.load(path) from a file",
            )  # fmt: skip

    def close(self) -> None:
        """End all workers."""
        for member in self.members:
            with contextlib.suppress(Exception):  # Ray may be gone at the end of a program
                engine.kill(member.actor)
        self.members, self._walk, self._programs = [], None, None

    # -- calls -------------------------------------------------------------------------------------
    def _ask(
        self, members: Sequence[Member], method: str, *given: Any, limit: float | None = None
    ) -> list[Any]:
        calls = [getattr(m.actor, method).remote(*given) for m in members]
        return engine.gather(calls, self.limits.start if limit is None else limit)

    def _dismiss(self, member: Member, reason: object) -> None:
        self.lost.append(f"process {member.about.pid} on {member.about.host}: {reason}")
        engine.kill(member.actor)
        if member in self.members:
            self.members.remove(member)

    def _one(self, method: str, *given: Any) -> Any:
        """The answer of one that holds it. Errors: `ClusterError` if none is left."""
        while members := self.servers[:1] if self._servers else self.members[:1]:
            (found,) = self._ask(members, method, *given)
            if not isinstance(found, Gone):
                return found
            self._dismiss(members[0], found)
        raise self._all_lost("the newest values of variables went with them")

    def _all_lost(self, what: str) -> ClusterError:
        return ClusterError(
            f"all workers were lost, and {what}", op="Trainer", given="; ".join(self.lost[-3:]),
            where=origin.where(),
            hint="trainer.load(path) goes on from a checkpoint; gc.train.Checkpoint writes them",
        )  # fmt: skip

    @property
    def servers(self) -> list[Member]:
        return [m for m in self.members if m.is_server]

    def values(self, places: Sequence[int]) -> list[Array]:
        """The values of some variables. Errors: `ClusterError` if those that hold them are lost."""
        self._check_session()
        if not self._servers:
            answer: list[Array] = self._one("values", list(places))
            return answer
        found = self._served(places, self.servers)
        if found is None:
            raise self._all_lost("the newest values of variables went with them")
        return found

    def _served(self, places: Sequence[int], servers: Sequence[Member]) -> list[Array] | None:
        """The values that servers hold; what no step writes is the same everywhere. None if one of
        them is lost."""
        if len(servers) < self._servers:
            return None
        holder = {i: k for k, part in enumerate(self._parts) for i in part}
        asked = [[i for i in places if holder.get(i, 0) == k] for k in range(len(servers))]
        calls = [m.actor.values.remote(part) for m, part in zip(servers, asked, strict=True)]
        answers = engine.gather(calls, self.limits.start)
        if self._are_gone(servers, answers):
            return None
        found = {
            i: v for p, a in zip(asked, answers, strict=True) for i, v in zip(p, a, strict=True)
        }
        return [found[i] for i in places]

    def kept(self) -> list[Array]:
        """What metrics keep of all examples."""
        self._check_session()
        found: list[Array] = self._one("kept")
        return [np.array(k) for k in found]

    def report(self) -> Report:
        """What the workers measured, and who was lost."""
        with contextlib.suppress(ClusterError):
            self._check_session()
        answers = self._ask(self.members, "seconds", limit=self.limits.step)
        measured = [
            (f"{'server' if m.is_server else 'worker'} {rank} (process {m.about.pid})", a)
            for rank, (m, a) in enumerate(zip(self.members, answers, strict=True))
            if not isinstance(a, Gone)
        ]
        return report(measured, self.lost)

    # -- a training --------------------------------------------------------------------------------
    def load(self, programs: Programs) -> None:
        """Take programs, with the values that their variables have here."""
        self.start()
        self._programs = engine.put(pickle.dumps(programs, pickle.HIGHEST_PROTOCOL)), origin.here()
        self._walk = self.snapshot = None
        self._places = list(range(len(programs.variables)))
        self._parts = [part.written for part in programs.parts]
        self._rebuild({})

    def assign(self, places: Sequence[int], values: Sequence[Array]) -> None:
        """Give all workers new values of variables."""
        self._check_session()
        if not self._each(self.members, "assign", list(places), engine.put(list(values))):
            self._rebuild(dict.fromkeys(self.members, 0))

    def walk(self, arrays: Sequence[Array], size: int) -> None:
        """Walk over these arrays from now on, in steps of `size` examples.

        Errors: `ClusterError` where the cluster cannot hold them.
        """
        self._check_session()
        needed, room = sum(a.nbytes for a in arrays), engine.total("object_store_memory")
        if needed > room:
            raise ClusterError(
                "the data does not fit into the cluster's memory for objects", op="fit",
                expected=f"{room:,.0f} bytes", given=f"{needed:,} bytes", where=origin.where(),
                hint="connect(store=bytes), or give the batches as a stream",
            )  # fmt: skip
        self._walk = _Walk(engine.put(list(arrays)), size)
        if not self._each(self.members, "walk", self._walk.data, size):
            self._rebuild(dict.fromkeys(self.members, 0))

    def run(self, first: int, count: int, order: Array | None) -> Ran:
        """Make steps, whoever is lost meanwhile.

        Errors: `ClusterError` where a step cannot be made.
        """
        walk, at, end, tries = self._walk, first, first + count, 0
        assert walk is not None
        if order is not walk.drawn:
            walk.drawn, walk.order = order, None if order is None else engine.put(order)
        while True:
            answers = self._run(at, end - at, walk.order)
            whole = [a for a in answers if isinstance(a, Ran) and not a.lost]
            if len(whole) == len(self.members):
                self.rates = [
                    a.rate for m, a in zip(self.members, whole, strict=True) if not m.is_server
                ]
                bad = [a for a in whole if a.code]
                return next((a for a in bad if a.failure is not None), [*bad, *whole][0])
            left: dict[Member, int] = {}
            for member, answer in zip(list(self.members), answers, strict=True):
                if isinstance(answer, Gone):
                    self._dismiss(member, answer)
                elif not answer.is_torn:
                    left[member] = answer.at
            before = at
            at = self._rebuild(left)
            tries = tries + 1 if at == before else 1
            if tries > TRIES:
                raise ClusterError(
                    f"step {at + 1} of the epoch was tried {TRIES} times", op="fit",
                    given="; ".join(self.lost[-TRIES:]) or "workers that waited too long",
                    where=origin.where(),
                    hint="Limits(step=...) says how long a step may take",
                )  # fmt: skip

    def _run(self, first: int, count: int, order: Any) -> list[Any]:
        """The answers of all. Once one says that it has lost another, that one has no longer than
        a step's limit to answer."""
        calls = [m.actor.run.remote(first, count, order) for m in self.members]
        deadline = time.monotonic() + self.limits.step * (count + 1)
        found: dict[int, Any] = {}
        while len(found) < len(calls):
            left = [i for i in range(len(calls)) if i not in found]
            patience = max(deadline - time.monotonic(), 0.001)
            i = engine.first([calls[i] for i in left], patience)
            if i is None:
                found |= {k: Gone("no answer within the limit") for k in left}
                break
            (found[left[i]],) = engine.gather([calls[left[i]]], self.limits.step)
            answer = found[left[i]]
            if isinstance(answer, Gone) or answer.lost:
                deadline = min(deadline, time.monotonic() + self.limits.step)
        return [found[i] for i in range(len(calls))]

    # -- when some are lost ------------------------------------------------------------------------
    def _rebuild(self, left: dict[Member, int]) -> int:
        """All workers as one group, at one step; `left` are those that hold a part of this walk,
        with the steps that they are at. The step at which they all are."""
        for _ in range(TRIES):
            self._fill()
            found = self._align({m: at for m, at in left.items() if m in self.members})
            if found is not None:
                return found
        raise ClusterError(
            "workers are lost faster than others take their places", op="Trainer",
            given="; ".join(self.lost[-3:]), where=origin.where(),
            hint="trainer.load(path) goes on from a checkpoint; gc.train.Checkpoint writes them",
        )  # fmt: skip

    def _fill(self) -> None:
        """New ones in the places of the lost; fewer workers where there is no room for them."""
        workers = [m for m in self.members if not m.is_server]
        servers = self.servers
        workers += self._hire(self._count - len(workers), False)
        servers += self._hire(self._servers - len(servers), True)
        self.members = workers + servers
        if not workers or len(servers) < self._servers:
            raise self._all_lost("no others could be started")

    def _align(self, left: dict[Member, int]) -> int | None:
        """Join and bring all to one step; None if some are lost meanwhile."""
        at, values, kept, others = 0, None, None, list(self.members)
        holders = [m for m in self.members if m in left and m.is_server == bool(self._servers)]
        if holders and not self._servers:
            holders = [max(holders, key=lambda m: left[m])]
        if len(holders) == max(self._servers, 1):
            at = left[holders[0]]
            calls = [holders[0].actor.values.remote(self._places), holders[0].actor.kept.remote()]
            answers = engine.gather(calls, self.limits.start)
            if self._are_gone([holders[0]] * 2, answers):
                return None
            values, kept = answers
            if self._servers:
                values = self._served(self._places, holders)
                if values is None:
                    return None
            alike = holders if self._servers else [m for m in left if left[m] == at]
            alike = alike if self._copies else []
            others = [m for m in self.members if m not in alike]
        elif self.snapshot is not None:
            at, values = self.snapshot.at, self.snapshot.values
        elif self._walk is not None:
            raise self._all_lost("no snapshot was taken")
        if others and not self._each(others, "load", *self._programs):
            return None
        self._group += 1
        names: list[Any] = [m.about.name for m in self.members]
        if _are_apart(self.members):
            names = self._ask(self.members, "listen")
            if self._are_gone(self.members, names):
                return None
        limits = self.limits
        calls = [
            m.actor.join.remote(names, rank, self._group, limits.start, limits.step)
            for rank, m in enumerate(self.members)
        ]
        joined = engine.gather(calls, 2 * limits.start)
        if self._are_gone(self.members, joined) or any(joined):
            return None
        if values is not None and others:
            given = engine.put([np.array(v) for v in values])
            if not self._each(others, "assign", self._places, given):
                return None
        if self._walk is None:
            return at
        if not self._each(self.members, "walk", self._walk.data, self._walk.size):
            return None
        if kept and not self._each(self.members, "keep", kept):
            return None
        return at

    def _each(self, members: Sequence[Member], method: str, *given: Any) -> bool:
        """Whether all of them did it, and lost nobody."""
        found = self._ask(members, method, *given)
        return not self._are_gone(members, found) and not any(found)

    def _are_gone(self, members: Sequence[Member], answers: Sequence[Any]) -> bool:
        gone = [
            (m, a) for m, a in zip(members, answers, strict=True) if isinstance(a, Gone)
        ]
        for member, answer in gone:
            if member in self.members:
                self._dismiss(member, answer)
        return bool(gone)


def _are_apart(members: Sequence[Member]) -> bool:
    """Whether they are on several machines."""
    return len({m.about.place for m in members}) > 1


def check_versions(here: dict[str, str], about: About) -> None:
    """Errors: `ClusterError` for a worker with other versions."""
    if about.versions != here:
        raise ClusterError(
            "a worker runs other versions than this program", op="Trainer", where=origin.where(),
            expected=", ".join(f"{k} {v}" for k, v in here.items()),
            given=", ".join(f"{k} {v}" for k, v in about.versions.items()) + f" on {about.host}",
            hint="install the same versions on all machines of the cluster",
        )  # fmt: skip
