"""From the start of a process to its first result: cold, with a warm cache, and importing alone.

The clock runs from before the process is made to the arrival of the line that it prints: imports,
building the model, differentiating, compiling and one batch-128 MLP + Adam step are all inside, or
one step of the convolutional network of `cnn.py`.
Python's bytecode and the system's file cache are warm for everyone: an untimed round comes first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .contenders import CONTENDERS, environment, processors
from .harness import Batch, MismatchError, Result, compare, measure
from .session import ContenderError, pinned_to

PROGRAMS = Path(__file__).with_name("programs")
PROGRAM_TITLES = {
    "cold_start": "new process to first loss, empty caches, batch 128",
    "cnn_cold_start": "new process to first loss of a convolutional network, empty caches",
    "warm_start": "new process to first loss, its cache warm, batch 128",
    "import_cost": "new process to the end of `import`",
}
# One thread's sum of float32 in another order.
LOSS_RTOL = 1e-4


def side_of(contender: str) -> str:
    """Whose programs the contender runs: its own, or another's from another checkout."""
    return CONTENDERS[contender].side or contender


def cache_settings(contender: str, folder: str) -> dict[str, str]:
    """Environment that puts the contender's persistent cache, if it has one, into `folder`."""
    if side_of(contender) == "graphc":
        return {"GRAPHC_CACHE_DIR": folder}
    if contender == "jax":
        return {
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    return {}


class ProgramLane:
    """A command run in a new process each time, timed until its first line of output.

    cache: the folder of a warm cache, or None for a new, empty one each time. printed: that line.
    """

    def __init__(
        self, contender: str, command: list[str], threads: int, *, cache: str | None = None
    ) -> None:
        self.contender = contender
        self.command = command
        self.threads = threads
        self.cache = cache
        self.printed = ""

    def run(self, calls: int) -> Batch:
        """Start the command `calls` times. Errors: ContenderError with its last line on stderr."""
        batches = [self._run_once() for _ in range(calls)]
        return Batch(sum(b.wall for b in batches), sum(b.cpu for b in batches))

    def _run_once(self) -> Batch:
        with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile("w+") as log:
            settings = environment(self.threads, self.contender)
            settings.pop("JAX_COMPILATION_CACHE_DIR", None)
            # JAX without its persistent cache is JAX as installed: an empty one would only cost it.
            if self.cache is not None or side_of(self.contender) == "graphc":
                settings |= cache_settings(self.contender, self.cache or empty)
            before = os.times()
            began = time.perf_counter()
            process = subprocess.Popen(
                self.command,
                stdout=subprocess.PIPE,
                stderr=log,
                env=settings,
                preexec_fn=pinned_to(processors(self.threads)),
                text=True,
            )
            with process:
                assert process.stdout is not None
                self.printed = process.stdout.readline().strip()
                wall = time.perf_counter() - began
                process.stdout.read()
            after = os.times()
            if process.returncode or not self.printed:
                log.seek(0)
                lines = log.read().strip().splitlines() or [f"exit status {process.returncode}"]
                raise ContenderError(lines[-1])
        cpu = after.children_user + after.children_system
        return Batch(wall, cpu - before.children_user - before.children_system)


def _timed(
    case: str,
    lanes: dict[str, ProgramLane],
    repeats: int,
    threads: int,
    check: Callable[[dict[str, ProgramLane]], None],
) -> Result:
    result = Result(case, PROGRAM_TITLES[case], threads)
    for name, lane in list(lanes.items()):
        try:
            lane.run(1)
        except ContenderError as error:
            result.failures[name] = str(error)
            del lanes[name]
    try:
        check(lanes)
        # A process lasts longer than any floor: each measurement is one start.
        result.samples = measure(lanes, repeats, floor_s=0.0)
        check(lanes)
    except MismatchError as error:
        result.failures["answers"] = str(error)
    except ContenderError as error:
        result.failures["run"] = str(error)
    return result


def _same_loss(lanes: dict[str, ProgramLane]) -> None:
    losses = {name: {"loss": np.array(float(lane.printed))} for name, lane in lanes.items()}
    compare(losses, rtol=LOSS_RTOL, atol=0.0)


def _programs(contenders: list[str], model: str = "mlp") -> dict[str, list[str]]:
    return {
        name: [sys.executable, str(path)]
        for name in contenders
        if (path := PROGRAMS / f"{model}_{side_of(name)}.py").exists()
    }


def cold_start(contenders: list[str], repeats: int, threads: int) -> Result:
    """Every start finds nothing compiled before."""
    return _cold("cold_start", "mlp", contenders, repeats, threads)


def cnn_cold_start(contenders: list[str], repeats: int, threads: int) -> Result:
    """The same of a network with convolutions."""
    return _cold("cnn_cold_start", "cnn", contenders, repeats, threads)


def _cold(case: str, model: str, contenders: list[str], repeats: int, threads: int) -> Result:
    programs = _programs(contenders, model)
    lanes = {n: ProgramLane(n, command, threads) for n, command in programs.items()}
    return _timed(case, lanes, repeats, threads, _same_loss)


def warm_start(contenders: list[str], repeats: int, threads: int) -> Result:
    """Every start finds what an untimed start before it has stored; eager PyTorch stores nothing.

    A contender that has a cache and left it empty is a failure: it would be timed cold.
    """
    with tempfile.TemporaryDirectory() as folder:
        lanes = {}
        for name, command in _programs(contenders).items():
            cache = Path(folder, name)
            cache.mkdir(mode=0o700)
            lanes[name] = ProgramLane(name, command, threads, cache=str(cache))

        def check(running: dict[str, ProgramLane]) -> None:
            for name, lane in running.items():
                assert lane.cache is not None
                if cache_settings(name, "") and not any(Path(lane.cache).iterdir()):
                    raise MismatchError(f"{name} stored nothing in its cache")
            _same_loss(running)

        return _timed("warm_start", lanes, repeats, threads, check)


def importing(module: str) -> list[str]:
    return [sys.executable, "-c", f"import {module}; print(1)"]


def import_cost(contenders: list[str], repeats: int, threads: int) -> Result:
    """`import graphc` beside `import numpy`, which it needs, and the peers' imports."""
    lanes = {
        name: ProgramLane(name, importing(side_of(name)), threads)
        for name in dict.fromkeys(["numpy", *contenders])
        if "-" not in name
    }
    result = _timed("import_cost", lanes, repeats, threads, lambda lanes: None)
    if "numpy" in result.samples:
        numpy_s = result.samples["numpy"].seconds
        for name, taken in result.samples.items():
            if name != "numpy":
                beyond = np.subtract(taken.seconds, numpy_s)
                result.notes.append(
                    f"import {name} costs {1e3 * np.median(beyond):.1f} ms beyond import numpy"
                )
    return result


PROGRAM_CASES = {f.__name__: f for f in (cold_start, cnn_cold_start, warm_start, import_cost)}
