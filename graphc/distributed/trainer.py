"""`gc.distributed.Trainer`: `gc.train.Trainer` whose training steps are made by workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from graphc.distributed.crew import Crew
from graphc.distributed.limits import Limits
from graphc.distributed.placement import placement
from graphc.distributed.programs import Programs, make_programs
from graphc.distributed.replica import Seconds
from graphc.distributed.report import Report, report
from graphc.distributed.stages import make_stages
from graphc.distributed.steps import CrewStep, HereStep
from graphc.distributed.strategy import DataParallel, ParameterServer, Pipeline, Strategy
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.nn.module import Layer
from graphc.show.picture import Picture
from graphc.train import trainer
from graphc.train.batches import positive
from graphc.train.history import History
from graphc.train.step import Step, Types, batch


class Trainer(trainer.Trainer):
    """Fits a model by mini-batches, each of which `workers` compute together.

    All arguments but these, and all methods, are those of `gc.train.Trainer`; files that `save`
    writes are the same too. `strategy` says how the work of a step is divided, `limits` how long
    anything is waited for. The workers are processes of the cluster that `gc.distributed.connect`
    found, or else of one that is started on this machine; they live until the trainer is closed.
    With `workers=0` the shards are computed here, one after another, and Ray is not needed: that
    gives the same bits.

    A worker that is killed is replaced, or does without where there is no room, and the training
    goes on from its last step. `evaluate` and `predict` run in this process.
    Errors: `ArgumentError` for what is no strategy, a number of workers that is no int, more
    workers than shards, and where Ray is not installed; `ClusterError` when it starts, for more
    workers than processors, workers that do not start in time, or of other versions.
    """

    def __init__(
        self,
        model: Layer,
        *,
        loss: Any,
        optimizer: Any,
        strategy: Strategy | None = None,
        workers: int = 2,
        limits: Limits | None = None,
        metrics: Any = (),
        loss_weights: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            model, loss=loss, optimizer=optimizer, metrics=metrics, loss_weights=loss_weights,
            dtype=dtype,
        )  # fmt: skip
        self.strategy = DataParallel() if strategy is None else strategy
        self.limits = Limits() if limits is None else limits
        known = {"strategy": (DataParallel, ParameterServer, Pipeline), "limits": (Limits,)}
        for name, kinds in known.items():
            if not isinstance(getattr(self, name), kinds):
                expected = " or ".join(f"gc.distributed.{kind.__name__}(...)" for kind in kinds)
                raise ArgumentError(
                    f"{name} is of another kind", op="Trainer", where=origin.where(),
                    expected=expected, given=repr(getattr(self, name))[:80],
                )  # fmt: skip
        alone = workers == 0 and workers is not False
        self.workers = 0 if alone else positive("Trainer", "workers", workers)
        paced = self.strategy.is_async
        if paced and alone:
            raise ArgumentError(
                'mode="async" is between workers', op="Trainer", expected="workers >= 1",
                given="workers=0", where=origin.where(),
            )  # fmt: skip
        self._shards, most = self.strategy.pieces(self.workers)
        if self.workers > most:
            parts = "stages" if isinstance(self.strategy, Pipeline) else "shards"
            raise ArgumentError(
                f"more workers than {parts}: some would have nothing to do", op="Trainer",
                expected=f"at most {most} workers", given=str(self.workers), where=origin.where(),
            )  # fmt: skip
        self._stages, servers = most, self.strategy.servers
        crew = Crew(self.workers, servers, self.limits, self.strategy.copies)
        self._crew = crew if self.workers else None
        self._here = Seconds()

    # -- fitting -----------------------------------------------------------------------------------
    def fit(self, x: Any, y: Any = None, **options: Any) -> History:
        """As `gc.train.Trainer.fit`. Errors: those, and `ArgumentError` for a batch size below the
        number of shards; `ClusterError` where workers cannot go on."""
        size = options.get("batch_size", 32)
        if size is not True and isinstance(size, int) and 0 < size < self._shards:
            raise ArgumentError(
                "a batch is smaller than the number of its shards", op="fit",
                expected=f"batch_size >= {self._shards}", given=str(size), where=origin.where(),
                hint="larger batches, or fewer shards or workers",
            )  # fmt: skip
        return super().fit(x, y, **options)

    def _training_step(self, types: Types) -> Step:
        seen = batch(types, self._forward, self._loss, self._metrics)
        self._keep_rate()
        make: Callable[..., Programs] = make_programs
        parts = 1 if self._crew is None else max(self.strategy.servers, 1)
        if isinstance(self.strategy, Pipeline):
            make, parts = make_stages, self._stages
        programs = make(
            seen, self.model, self.optimizer, self.strategy, self._shards, parts, types.weighted
        )
        if self._crew is None:
            return HereStep(programs, seen.tallies, self._here)
        return CrewStep(programs, seen.tallies, self._crew)

    def _step(self, purpose: str, types: Types) -> Any:
        """One step at a time is with the workers."""
        step = super()._step(purpose, types)
        if purpose == "fit":
            for other in self._steps.values():
                if isinstance(other, CrewStep) and other is not step:
                    other.end()
        return step

    def _forget_steps(self) -> None:
        self._come_home()
        super()._forget_steps()

    def _come_home(self) -> None:
        for step in self._steps.values():
            if isinstance(step, CrewStep):
                step.end()

    # -- the workers -------------------------------------------------------------------------------
    def report(self) -> Report:
        """What each worker spent its time with, and who was lost: numbers, and a table as text."""
        if self._crew is None:
            return report([("here", asdict(self._here))], [])
        return self._crew.report()

    def _placement_(self) -> Picture:
        """For `gc.draw(trainer, view="placement")`."""
        return placement(self.model.name, self._programs_("draw"), max(self.workers, 1))

    def _programs_(self, op: str) -> Programs:
        """The programs of its training step, for `op`. Errors: `ArgumentError` before there are."""
        if self.types is None:
            raise ArgumentError(
                "there are no programs before the first training step", op=op,
                where=origin.where(), hint="call fit first, or step",
            )  # fmt: skip
        found: Programs = self._step("fit", self.types).programs
        return found

    def close(self) -> None:
        """The newest values come home, and the workers end. A later `fit` starts others."""
        try:
            self._come_home()
        finally:
            if self._crew is not None:
                self._crew.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
