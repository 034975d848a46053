"""A training's step with the interface of `train.step.Step`, made by workers or by shards here."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.distributed.crew import Crew, Snapshot
from graphc.distributed.mirror import Mirror
from graphc.distributed.programs import Programs
from graphc.distributed.replica import DIVERGED, Alone, Replica, Seconds
from graphc.distributed.replicas import replica_of
from graphc.distributed.worker import Ran
from graphc.errors import ClusterError, RuntimeFailure
from graphc.train.batches import Array
from graphc.train.step import NOT_FINITE, Logs, Step, Tally, Walk

SHOWN = 4  # workers up to which the bar has a number for each


class SharedStep(Step):
    """A step over shards of a batch."""

    def __init__(self, programs: Programs, tallies: list[Tally]) -> None:
        self.programs, self.tallies, self.function = programs, tallies, programs.gradient

    def kept(self, arrays: Sequence[Array]) -> list[Array]:
        walk = self.walk(arrays, len(arrays[0]))
        walk.run(0, 1)
        return walk.results


class HereStep(SharedStep):
    """By one replica in this process: its variables are the model's own."""

    def __init__(self, programs: Programs, tallies: list[Tally], seconds: Seconds) -> None:
        super().__init__(programs, tallies)
        self._seconds = seconds

    def walk(self, arrays: Sequence[Array], size: int) -> Walk:
        replica = replica_of(self.programs, arrays, size, self._seconds, alone := Alone())
        replica.join(alone)
        return _HereWalk(replica)


class CrewStep(SharedStep):
    """By the workers of a crew, which has one such step at a time."""

    def __init__(self, programs: Programs, tallies: list[Tally], crew: Crew) -> None:
        super().__init__(programs, tallies)
        self.crew = crew
        self.mirror: Mirror | None = None

    def begin(self) -> None:
        """The crew takes the programs, with the values that the variables have."""
        self.crew.load(self.programs)
        self.mirror = Mirror(self.programs.variables, self.programs.tallies, self.crew.values)

    def end(self) -> None:
        """The values come home."""
        mirror, self.mirror = self.mirror, None
        if mirror is not None:
            mirror.end()

    def shown(self) -> Logs:
        rates = {f"worker{i}/s": rate for i, rate in enumerate(self.crew.rates, 1)}
        if len(rates) > SHOWN:
            rates = {"examples/s": sum(self.crew.rates)}
        return self.running() | rates

    def walk(self, arrays: Sequence[Array], size: int) -> Walk:
        if self.mirror is None:
            self.begin()
        assert self.mirror is not None
        try:
            self.crew.walk(arrays, size)
        except ClusterError:
            if not self.crew.members:
                self.mirror.forget()
            raise
        return _CrewWalk(self, arrays, size)


class _SharedWalk:
    """Steps over arrays, `size` examples each."""

    def __init__(self, arrays: Sequence[Array], size: int) -> None:
        self.size, self.count, self.done = size, -(-len(arrays[0]) // size), 0

    def finish(self, first: int, ran: Ran) -> None:
        """Errors: that of the step that was not made."""
        self.done = ran.at - first
        if ran.failure is not None:
            raise ran.failure
        if ran.code == DIVERGED:
            raise RuntimeFailure(NOT_FINITE, op="ensure")


class _HereWalk(_SharedWalk):
    def __init__(self, replica: Replica) -> None:
        super().__init__(replica.arrays, replica.size)
        self._replica = replica

    @property
    def results(self) -> list[Array]:
        return self._replica.results

    def run(self, first: int, count: int, order: Array | None = None) -> None:
        self._replica.order = order
        code = self._replica.run(first, count)
        self.finish(first, Ran(self._replica.at, code, self._replica.failure))


class _CrewWalk(_SharedWalk):
    def __init__(self, step: CrewStep, arrays: Sequence[Array], size: int) -> None:
        super().__init__(arrays, size)
        self._step = step

    @property
    def results(self) -> list[Array]:
        return self._step.crew.kept() if self._step.programs.kept else []

    def run(self, first: int, count: int, order: Array | None = None) -> None:
        crew, mirror = self._step.crew, self._step.mirror
        assert mirror is not None
        if first == 0 and self.count > 1:  # of a stream no batch comes twice
            crew.snapshot = Snapshot(0, mirror.values())
        places, values = mirror.take_changed()
        if places:
            crew.assign(places, values)
        mirror.moved(self._step.programs.written)
        self.finish(first, crew.run(first, count, order))
