"""A small problem with a bit of everything: an order, dropout, averages of batches, a remainder."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc

RNG = np.random.default_rng(4)
X = RNG.normal(size=(70, 4)).astype(np.float32)
LABELS = (X[:, 0] > X[:, 1]).astype(np.int64)
OPTIONS: dict[str, Any] = {"batch_size": 16, "seed": 5, "verbose": False}


def model(noisy: bool = True) -> gc.nn.Sequential:
    inner = [gc.nn.BatchNorm(), gc.nn.Dropout(0.3, seed=1)] if noisy else []
    layers = [gc.nn.Dense(6, "tanh", seed=0), *inner, gc.nn.Dense(2, seed=2)]
    return gc.nn.Sequential(layers, name="net")


PARTS: dict[str, Any] = {"loss": "softmax_cross_entropy", "metrics": ["accuracy", "auc"]}


def trainer(noisy: bool = True, workers: int = 0, shards: int = 2, **options: Any) -> Any:
    options = {"optimizer": gc.optim.Adam(0.03), **PARTS, **options}
    strategy = gc.distributed.DataParallel(shards)
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
