"""A rank of PyTorch's DistributedDataParallel, for `distributed.py`, and the data of both.

    python -m tests.benchmarks.distributed_torch mlp 0 2 folder

It begins with the weights in the folder, says the losses of its first steps, and then makes an
epoch of steps for each line of its input.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

BATCH, STEPS, CHECKED, RATE = 512, 16, 4, 0.01


def data(model: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    shape = (784,) if model == "mlp" else (1, 28, 28)
    x = rng.normal(size=(BATCH * STEPS, *shape)).astype(np.float32)
    return x, rng.integers(0, 10, len(x))


def serve(model: str, rank: int, size: int, folder: str) -> None:
    import torch
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet{size}", rank=rank, world_size=size
    )
    nn = torch.nn
    if model == "mlp":
        layers = [nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Linear(1024, 10))
    else:
        layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 7 * 7, 10))
    with np.load(f"{folder}/weights.npz") as weights, torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            value = torch.from_numpy(weights[f"w{i}"])
            parameter.copy_(value.T if value.ndim == 2 else value)
    trained = DistributedDataParallel(net)
    sgd = torch.optim.SGD(net.parameters(), lr=RATE, fused=True)
    part = slice(BATCH * rank // size, BATCH * (rank + 1) // size)
    x, y = (torch.from_numpy(a) for a in data(model))

    def step(number: int) -> Any:
        rows = slice(number * BATCH + part.start, number * BATCH + part.stop)
        sgd.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(trained(x[rows]), y[rows])
        loss.backward()
        sgd.step()
        return loss.detach()

    losses = []
    for i in range(CHECKED):
        loss = step(i)
        torch.distributed.all_reduce(loss)
        losses.append(float(loss) / size)
    print(json.dumps(losses), flush=True)
    for _ in sys.stdin:
        torch.distributed.barrier()
        wall, used = time.perf_counter(), time.process_time()
        for i in range(STEPS):
            step(i)
        print(json.dumps([time.perf_counter() - wall, time.process_time() - used]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
