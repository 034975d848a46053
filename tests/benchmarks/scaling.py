"""What `predict_scaling` computes for one and two workers of this machine, beside what is measured.

    python -m tests.benchmarks.scaling [--steps 60] [--curve scaling.svg]

By hand; needs Ray. The network of perceptrons 784-1024-1024-10 with batches of 512, a thread for
each worker. The machine and its memory are what `gc.machine()` measures with one thread, here, and
the latency that of bytes between two processes. Beside the time of a step stands that of the
processor in the slower worker, which waiting for others is not in: on a machine that is busy with
other work only that one says something.
"""

from __future__ import annotations

import argparse
import os
import socket
import time

os.environ["GRAPHC_NUM_THREADS"] = "1"  # read when a program is made

import numpy as np

import graphc as gc

BATCH = 512


def main() -> None:
    parser = argparse.ArgumentParser(description="Predicted and measured steps of two workers.")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--curve", help="where the curve to 1,024 workers is drawn")
    arguments = parser.parse_args()
    speed, delay = gc.machine(again=True), latency()
    print(f"{speed}, latency {delay * 1e6:.1f} us")
    network = gc.distributed.SharedMemory(delay, speed.bandwidth)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * arguments.steps, 784)).astype(np.float32)
    y = rng.integers(0, 10, len(x))
    one = made(2)
    one.step(x[:BATCH], y[:BATCH])  # starts no workers
    found = gc.distributed.predict_scaling(one, speed, network, (1, 2), batch=BATCH)
    measured = {w: seconds(w, x, y, arguments.steps) for w in (1, 2)}
    print(found)
    for point in found.points:
        for name, taken in zip(("step", "processor"), measured[point.workers], strict=True):
            print(
                f"{point.workers} workers: computed {1000 * point.seconds:.2f} ms, {name} "
                f"{1000 * taken:.2f} ms, {taken / point.seconds:.2f} times that"
            )
    if arguments.curve:
        far = gc.distributed.Network(20e-6, 1.25e9)  # 10 gigabits a second
        many = gc.distributed.predict_scaling(one, speed, far, batch=BATCH * 128)
        print(many)
        many.draw(arguments.curve)


def model() -> gc.nn.Sequential:
    layers = [gc.nn.Dense(1024, "relu"), gc.nn.Dense(1024, "relu"), gc.nn.Dense(10)]
    return gc.nn.Sequential(layers, name="mlp")


def made(workers: int) -> gc.distributed.Trainer:
    loss, optimizer = "softmax_cross_entropy", gc.optim.SGD(0.01)
    return gc.distributed.Trainer(model(), loss=loss, optimizer=optimizer, workers=workers)


def seconds(
    workers: int, x: np.ndarray, y: np.ndarray, steps: int
) -> tuple[float, float]:
    """Of a step by so many workers, and of the processor in the slower one: the best of epochs."""
    import ray

    def used(worker: object) -> float:
        return time.process_time()

    best, least = float("inf"), float("inf")
    with made(workers) as trainer:
        trainer.fit(x, y, batch_size=BATCH, verbose=False)
        actors = [m.actor for m in trainer._crew.members]
        for _ in range(5):
            before = ray.get([a.__ray_call__.remote(used) for a in actors])
            start = time.perf_counter()
            trainer.fit(x, y, batch_size=BATCH, verbose=False)
            best = min(best, (time.perf_counter() - start) / steps)
            after = ray.get([a.__ray_call__.remote(used) for a in actors])
            taken = max(b - a for a, b in zip(before, after, strict=True))
            least = min(least, taken / steps)
        print(trainer.report())
    return best, least


def latency() -> float:
    """Seconds until a byte to another process arrives, the median of a thousand ways and back."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        while byte := theirs.recv(1):
            theirs.sendall(byte)
            if byte == b"e":
                os._exit(0)
    times = []
    for _ in range(1000):
        start = time.perf_counter()
        ours.sendall(b".")
        ours.recv(1)
        times.append((time.perf_counter() - start) / 2)
    ours.sendall(b"e")
    ours.close()
    theirs.close()
    return float(np.median(times))


if __name__ == "__main__":
    main()
