"""A measuring session: a process per contender at one thread count, one active at a time."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from .contenders import CONTENDERS, environment, processors
from .harness import ORACLE, Answers, Batch, Case, MismatchError, Result, Samples, compare, measure

WORKER = "benchmarks.worker"
DISTURBED = 0.05
FAULT_S = 2e-6


class ContenderError(Exception):
    """A contender raised, or its process ended."""


def pinned_to(cpus: list[int]) -> Callable[[], None] | None:
    """What a new process is to do before it becomes the contender."""
    if not cpus:
        return None
    return lambda: os.sched_setaffinity(0, cpus)


class WorkerProcess:
    """The parent's end of one `worker.py`."""

    def __init__(self, contender: str, threads: int, cache: str) -> None:
        self.contender = contender
        self.idle_cpu = 0.0
        self.total_cpu = 0.0
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `close`
        who = [contender, "--side", CONTENDERS[contender].side or contender]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER, *who, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment(threads, contender) | {"GRAPHC_CACHE_DIR": cache},
            preexec_fn=pinned_to(processors(threads)),
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one command and wait for its reply. Errors: ContenderError with the worker's own."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise ContenderError(f"ended before {do!r}: {self._last_words()}") from error
        line = self.process.stdout.readline()
        if not line:
            raise ContenderError(f"ended during {do!r}: {self._last_words()}")
        reply: dict[str, Any] = json.loads(line)
        self.idle_cpu += reply.pop("idle_cpu")
        self.total_cpu = reply.pop("total_cpu")
        if "error" in reply:
            raise ContenderError(reply["error"])
        return reply

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return lines[-1] if lines else f"exit status {self.process.poll()}"

    def close(self) -> None:
        """Close the pipe, by which the worker ends; kill it if it is stuck in a call."""
        if self.process.stdin is not None:
            # Closing sends what `ask` could not send to a worker that has ended.
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class WorkerLane:
    """A lane that runs in a worker."""

    def __init__(self, worker: WorkerProcess, name: str) -> None:
        self.worker = worker
        self.name = name

    def run(self, calls: int) -> Batch:
        return Batch(**self.worker.ask("run", lane=self.name, calls=calls))


class Session:
    """Workers for the given contenders, and the oracle's; `with` starts and ends them.

    threads: per contender what its process reported, or the reason why it is not there.
    """

    def __init__(self, contenders: list[str], threads: int) -> None:
        self.contenders = contenders
        self.count = threads
        self.threads: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, WorkerProcess] = {}
        self.began = time.perf_counter()
        # The user's cache may hold what another state of the compiler made.
        self.cache = tempfile.TemporaryDirectory()

    def __enter__(self) -> Self:
        for name in dict.fromkeys([*self.contenders, ORACLE]):
            worker = WorkerProcess(name, self.count, self.cache.name)
            try:
                self.threads[name] = worker.ask("hello")["threads"]
                self.workers[name] = worker
            except ContenderError as error:
                self.threads[name] = {"error": str(error)}
                worker.close()
        self.began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self.workers.values():
            worker.close()
        self.cache.cleanup()

    def measure(self, case: Case, repeats: int) -> Result:
        """Prepare the case everywhere, compare all answers, then time those asked for in turn."""
        result = Result(case.name, case.title, self.count)
        answers: dict[str, Answers] = {}
        lanes: dict[str, WorkerLane] = {}
        with tempfile.TemporaryDirectory() as folder:
            for name, worker in self.workers.items():
                path = str(Path(folder) / f"{name}.npz")
                try:
                    offered = worker.ask("prepare", case=case.name, answers=path)["lanes"]
                except ContenderError as error:
                    result.failures[name] = str(error)
                    continue
                if not offered:
                    continue
                with np.load(path, allow_pickle=False) as stored:
                    answers[name] = dict(stored)
                if name in self.contenders:
                    lanes.update({lane: WorkerLane(worker, lane) for lane in offered})
        try:
            compare(answers, rtol=case.rtol, atol=case.atol)
            began, strangers = time.perf_counter(), self._strangers_cpu()
            result.samples = measure(lanes, repeats)
            foreign = (self._strangers_cpu() - strangers) / (time.perf_counter() - began)
            result.notes.extend(disturbances(result.samples, foreign))
        except MismatchError as error:
            result.failures["answers"] = str(error)
        except ContenderError as error:
            result.failures["run"] = str(error)
        return result

    def _strangers_cpu(self) -> float:
        """Processor seconds that processes other than this one and the workers have used."""
        own = sum(os.times()[:2]) + sum(worker.total_cpu for worker in self.workers.values())
        return machine_cpu() - own

    def idle_notes(self) -> list[str]:
        """A line for each worker that used the processor while others were being measured."""
        passed = time.perf_counter() - self.began
        return [
            f"{name} used {worker.idle_cpu:.2f} s of processor time while idle"
            for name, worker in self.workers.items()
            if worker.idle_cpu > 0.02 * passed
        ]


def machine_cpu() -> float:
    """Seconds that the processors were busy since the machine started; 0 if it does not say."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    user, nice, system, _idle, _wait, irq, soft, steal = map(
        int, path.read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def disturbances(samples: dict[str, Samples], foreign: float) -> list[str]:
    """What else than the work was timed, a line each.

    foreign: how many processors other processes kept busy meanwhile. A page fault costs about 2 us.
    """
    lines = []
    if foreign > 2 * DISTURBED:
        lines.append(f"not a quiet machine: others kept {foreign:.2f} processors busy")
    for name, taken in samples.items():
        faults = statistics.median(taken.faults)
        if FAULT_S * faults > DISTURBED * taken.median:
            lines.append(f"{name} takes {faults:,.0f} page faults a call")
    return lines
