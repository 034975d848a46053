"""One and two workers beside the plain trainer and PyTorch's DistributedDataParallel with gloo.

    python -m tests.benchmarks.distributed [--peers python-with-torch] [--models mlp,cnn]

By hand; needs Ray. Two fixed models, batches of 512, SGD, one thread in each process: perceptrons
784-1024-1024-10, and a convolutional network (3 x 3 to 16 channels, pool, 3 x 3 to 32, pool, dense)
of images of 28 x 28. All contenders begin with the same weights, and the losses of their first
steps are compared. Then they make steps in turn, an epoch each round; ratios are medians over
rounds. What stands there as processor is the time that the slowest process of a contender was not
waiting: on a machine that is busy with other work only that one says something. The last lines say
what Ray's own processes took meanwhile of the two processors, and what ours left of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gc

from .distributed_torch import BATCH, CHECKED, RATE, STEPS, data

MARK = "GRAPHC_BENCHMARK_MARK"


# -- PyTorch, a process for each rank --------------------------------------------------------------
class Torch:
    """So many ranks."""

    def __init__(self, python: str, model: str, size: int, folder: str) -> None:
        here = ["-m", "tests.benchmarks.distributed_torch", model]
        self._ranks = [
            subprocess.Popen(
                [python, *here, str(rank), str(size), folder], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for rank in range(size)
        ]  # fmt: skip
        self.losses, *_ = [self._hear(rank) for rank in self._ranks]

    def _hear(self, rank: Any) -> Any:
        return json.loads(rank.stdout.readline())

    def run(self) -> tuple[float, float]:
        """Seconds of a step, and those of the processor in the slowest rank."""
        for rank in self._ranks:
            rank.stdin.write("\n")
            rank.stdin.flush()
        wall, used = np.max([self._hear(rank) for rank in self._ranks], axis=0) / STEPS
        return float(wall), float(used)

    def close(self) -> None:
        for rank in self._ranks:
            rank.stdin.close()
            rank.wait()


# -- graphc ----------------------------------------------------------------------------------------
def network(model: str) -> Any:
    gc.nn.seed(0)
    if model == "mlp":
        layers = [gc.nn.Dense(1024, "relu"), gc.nn.Dense(1024, "relu"), gc.nn.Dense(10)]
    else:
        first = gc.nn.Conv2D(16, 3, padding="same", activation="relu")
        second = gc.nn.Conv2D(32, 3, padding="same", activation="relu")
        pools = gc.nn.MaxPool2D(2), gc.nn.MaxPool2D(2)
        layers = [first, pools[0], second, pools[1], gc.nn.Flatten(), gc.nn.Dense(10)]
    return gc.nn.Sequential(layers, name=model)


class Ours:
    """The plain trainer without `workers`, or one with so many."""

    def __init__(self, model: str, workers: int | None, folder: str) -> None:
        parts: Any = {"loss": "softmax_cross_entropy", "optimizer": gc.optim.SGD(RATE)}
        kind: Any = gc.train.Trainer
        if workers is not None:
            kind, parts["workers"] = gc.distributed.Trainer, workers
        self._trainer = kind(network(model), **parts)
        self._x, self._y = data(model)
        self._trainer.evaluate(self._x[:BATCH], self._y[:BATCH])  # builds it
        weights = [v.value for v in self._trainer.model.parameters()]
        np.savez(f"{folder}/weights.npz", **{f"w{i}": w for i, w in enumerate(weights)})
        self.losses: list[float] = []
        steps = Losses(self.losses)
        self._fit(CHECKED * BATCH, 1, steps)

    def _fit(self, rows: int, epochs: int, callback: Any) -> None:
        self._trainer.fit(
            self._x[:rows], self._y[:rows], epochs=epochs, batch_size=BATCH, shuffle=False,
            verbose=False, callbacks=[callback],
        )  # fmt: skip

    def run(self) -> tuple[float, float]:
        """Seconds of a step, and those of the processor in the slowest process."""
        clock = Clock(self._used)
        self._fit(STEPS * BATCH, 2, clock)
        wall, used = (after - before for before, after in zip(*clock.seen, strict=True))
        return wall / STEPS, float(np.max(used)) / STEPS

    def _used(self) -> Any:
        crew = getattr(self._trainer, "_crew", None)
        if crew is None:
            return np.array([time.process_time()])
        import ray

        calls = [m.actor.__ray_call__.remote(lambda w: time.process_time()) for m in crew.members]
        return np.array(ray.get(calls))

    @property
    def pids(self) -> list[int]:
        crew = getattr(self._trainer, "_crew", None)
        return [] if crew is None else [m.about.pid for m in crew.members]

    def close(self) -> None:
        if hasattr(self._trainer, "close"):
            self._trainer.close()


class Losses(gc.train.Callback):
    """The loss of each step, from the mean of those so far."""

    def __init__(self, found: list[float]) -> None:
        self._found, self._sum = found, 0.0

    def on_batch_end(self, step: int, logs: Any) -> None:
        whole = logs["loss"] * (step + 1)
        self._found.append(whole - self._sum)
        self._sum = whole


class Clock(gc.train.Callback):
    """The time before and behind the second epoch: the first one sends the data."""

    def __init__(self, used: Callable[[], Any]) -> None:
        self._used, self.seen = used, []

    def on_epoch_begin(self, epoch: int) -> None:
        if epoch == 1:
            used = self._used()
            self.seen.append((time.perf_counter(), used))

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        if epoch == 1:
            self.seen.append((time.perf_counter(), self._used()))


# -- what Ray takes --------------------------------------------------------------------------------
def daemons(mark: str, ours: Sequence[int]) -> dict[str, float]:
    """Seconds of the processor that the processes of the cluster took, but for these."""
    tick, found = os.sysconf("SC_CLK_TCK"), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in ours:
            try:
                if mark.encode() not in (entry / "environ").read_bytes():
                    continue
                words = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
                name = (entry / "cmdline").read_text().split("\0")[0].rsplit("/", 1)[-1]
            except OSError:
                continue
            found[f"{name} {entry.name}"] = (int(words[11]) + int(words[12])) / tick
    return found


def compare(model: str, peers: str, rounds: int, folder: str) -> None:
    lanes: dict[str, Any] = {"plain trainer": Ours(model, None, folder)}
    try:
        lanes["one worker"] = Ours(model, 1, folder)
        lanes["two workers"] = Ours(model, 2, folder)
        for size, name in ((1, "torch, one rank"), (2, "torch, two ranks")):
            lanes[name] = Torch(peers, model, size, folder)
        first = lanes["plain trainer"].losses
        for name, lane in lanes.items():
            np.testing.assert_allclose(lane.losses, first, rtol=1e-4, err_msg=name)
        print(f"\n{model}: the first losses of all are", *(f"{loss:.5f}" for loss in first))
        measure(lanes, rounds)
    finally:
        for lane in lanes.values():
            lane.close()


def measure(lanes: dict[str, Any], rounds: int) -> None:
    known = [os.getpid(), *(pid for lane in lanes.values() for pid in getattr(lane, "pids", []))]
    known += [r.pid for lane in lanes.values() for r in getattr(lane, "_ranks", [])]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in lanes}
    spent, whole = dict.fromkeys(lanes, 0.0), dict.fromkeys(lanes, 0.0)
    for _ in range(rounds):
        for name, lane in lanes.items():
            before, start = daemons(os.environ[MARK], known), time.perf_counter()
            taken[name].append(lane.run())
            whole[name] += time.perf_counter() - start
            after = daemons(os.environ[MARK], known)
            spent[name] += sum(s - before.get(p, 0.0) for p, s in after.items())
    for name, found in taken.items():
        wall, used = (1000 * statistics.median(column) for column in zip(*found, strict=True))
        share = 100 * spent[name] / (2 * whole[name])
        print(f"{name:17} step {wall:7.2f} ms, processor {used:7.2f} ms, "
              f"Ray's own processes {share:4.1f} % of two processors")  # fmt: skip
    for what, above, below, bound in (
        ("two workers, times the throughput of one", "one worker", "two workers", ">= 1.6"),
        ("one worker / plain trainer", "one worker", "plain trainer", "<= 1.10"),
        ("two workers / torch's two ranks", "two workers", "torch, two ranks", "<= 1.1"),
        ("one worker / torch's one rank", "one worker", "torch, one rank", ""),
        ("torch's two ranks, times one", "torch, one rank", "torch, two ranks", ""),
    ):
        pairs = list(zip(taken[above], taken[below], strict=True))
        step, used = (statistics.median(a[i] / b[i] for a, b in pairs) for i in (0, 1))
        print(f"{what:46} {step:5.2f} (processor {used:5.2f}) {bound}")


def main() -> None:
    parser = argparse.ArgumentParser(description="One and two workers, beside PyTorch's.")
    parser.add_argument("--peers", default=sys.executable, help="a Python with torch")
    parser.add_argument("--models", default="mlp,cnn")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    if MARK not in os.environ:  # what a process was started with is all that others see of it
        threads = {"GRAPHC_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        mark = {MARK: f"graphc-{os.getpid()}"}
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **threads, **mark})
    with gc.distributed.connect(cpus=4), tempfile.TemporaryDirectory() as folder:
        for model in given.models.split(","):
            compare(model, given.peers, given.rounds, folder)


if __name__ == "__main__":
    main()
