"""A small problem with a bit of everything: an order, dropout, averages of batches, a remainder."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CheckpointWarning

RNG = np.random.default_rng(4)
X = RNG.normal(size=(70, 4)).astype(np.float32)
LABELS = (X[:, 0] > X[:, 1]).astype(np.int64)
OPTIONS: dict[str, Any] = {"batch_size": 16, "seed": 5, "verbose": False}


def model(noisy: bool = True) -> gc.nn.Sequential:
    inner = [gc.nn.BatchNorm(), gc.nn.Dropout(0.3, seed=1)] if noisy else []
    layers = [gc.nn.Dense(6, "tanh", seed=0), *inner, gc.nn.Dense(2, seed=2)]
    return gc.nn.Sequential(layers, name="net")


PARTS: dict[str, Any] = {"loss": "softmax_cross_entropy", "metrics": ["accuracy", "auc"]}


def trainer(
    noisy: bool = True, workers: int = 0, shards: int = 2, buckets: int = 1 << 20, **options: Any
) -> Any:
    options = {"optimizer": gc.optim.Adam(0.03), **PARTS, **options}
    strategy = gc.distributed.DataParallel(shards, buckets)
    return gc.distributed.Trainer(
        model(noisy), strategy=strategy, workers=workers, **options
    )


def same(a: gc.train.Trainer, b: gc.train.Trainer) -> None:
    """Bit for bit: weights, the optimiser's state, the history."""
    for name, value in a.model.state_dict().items():
        np.testing.assert_array_equal(b.model.state_dict()[name], value, name, strict=True)
    for v, w in zip(a.optimizer.state, b.optimizer.state, strict=True):
        np.testing.assert_array_equal(v.value, w.value, strict=True)
    assert a.history.logs == b.history.logs


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can have more than 100 bytes: the kernel itself refuses to write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Full(gc.train.Checkpoint):
    """A checkpoint whose disk is full behind some epochs."""

    def __init__(self, path: Any, epochs: tuple[int, ...], at_the_end: bool = False) -> None:
        super().__init__(path)
        self._epochs, self._at_the_end = epochs, at_the_end

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if epoch not in self._epochs:
            return super().on_epoch_end(epoch, logs)
        with full_disk(), pytest.warns(CheckpointWarning, match=f"after epoch {epoch + 1}: "):
            return super().on_epoch_end(epoch, logs)

    def on_train_end(self) -> None:
        if not self._at_the_end:
            return super().on_train_end()
        with full_disk(), pytest.warns(CheckpointWarning, match="as it was"):
            return super().on_train_end()
