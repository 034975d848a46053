"""A contender's own process: reads commands as JSON lines, answers each with one JSON line.

It is started with the processors and thread counts already in its environment. Between commands it
blocks in `readline`. Whatever a framework prints goes to stderr: stdout is the reply channel.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np

from . import contenders
from .harness import PART_MARK, NotOfferedError
from .registry import CASES

STILL_S, STILL_PART, PATIENCE_S = 0.02, 0.1, 1.0


def settle() -> None:
    """Wait until this process's threads sleep, so that the next contender has the machine.

    After work OpenBLAS's threads spin, on a processor that the next contender may need: 105 ms
    were measured.
    """
    deadline = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(STILL_S)
        if time.process_time() - before < STILL_PART * STILL_S:
            return


class Worker:
    """The callables of one contender for the case prepared last."""

    def __init__(self, contender: str, side: str, threads: int) -> None:
        self.contender = contender
        self.side = side
        self.threads = threads
        self.lanes: dict[str, Callable[[], object]] = {}

    def hello(self) -> dict[str, Any]:
        """Import the contender and the cases, and report the threads in force."""
        importlib.import_module(contenders.CONTENDERS[self.side].module)
        found = contenders.threads_in_force(self.side, self.threads)
        settle()
        return {"threads": found}

    def prepare(self, case: str, answers: str) -> dict[str, Any]:
        """Make the case's callables and write its answers to the file `answers` (.npz)."""
        self.lanes = {}
        try:
            prepared = CASES[case].prepare(self.side)
        except NotOfferedError:
            return {"lanes": []}
        np.savez(answers, allow_pickle=False, **prepared.answers)
        self.lanes[self.contender] = prepared.call
        for part, call in prepared.parts.items():
            self.lanes[f"{self.contender}{PART_MARK}{part}"] = call
        settle()
        return {"lanes": list(self.lanes)}

    def run(self, lane: str, calls: int) -> dict[str, float]:
        """Time `calls` calls in a row after an untimed one, with the garbage collector off."""
        call = self.lanes[lane]
        call()
        gc.disable()
        try:
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            cpu = time.process_time()
            wall = time.perf_counter()
            for _ in repeat(None, calls):
                call()
            wall = time.perf_counter() - wall
            cpu = time.process_time() - cpu
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        finally:
            gc.enable()
        settle()
        return {"wall": wall, "cpu": cpu, "faults": faults}


def serve(worker: Worker) -> None:
    """Answer commands until the parent closes the pipe."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    commands: dict[str, Callable[..., dict[str, Any]]]
    commands = {"hello": worker.hello, "prepare": worker.prepare, "run": worker.run}
    idle_from = time.process_time()
    while line := sys.stdin.readline():
        idle_cpu = time.process_time() - idle_from
        command = json.loads(line)
        try:
            reply = commands[command.pop("do")](**command)
        except Exception as error:  # the parent decides what a contender's failure means
            traceback.print_exc(file=sys.stderr)
            reply = {"error": f"{type(error).__name__}: {error}"}
        idle_from = time.process_time()
        times = {"idle_cpu": idle_cpu, "total_cpu": idle_from}
        replies.write(json.dumps(reply | times) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("contender")
    parser.add_argument("--side", choices=contenders.CONTENDERS, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    serve(Worker(options.contender, options.side, options.threads))


if __name__ == "__main__":
    main()
