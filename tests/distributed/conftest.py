"""A cluster that the tests of this folder share, and the training that workers should repeat.

`.ci/run` runs two files at a time, each pytest process with a cluster of its own: what starts
another one, or waits, has a file apart from what uses this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

import graphc as gc

from .problems import LABELS, OPTIONS, X, trainer

CPUS = 4  # that Ray counts, however many there are


@pytest.fixture(scope="session")
def cluster(own_cache: object) -> Iterator[gc.distributed.Cluster]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install graphc[distributed]")
    with gc.distributed.connect(cpus=CPUS) as found:
        yield found


@pytest.fixture(scope="session")
def expected(own_cache: object) -> gc.train.Trainer:
    """Three epochs of two shards in this process."""
    one: gc.train.Trainer = trainer()
    one.fit(X, LABELS, epochs=3, validation_split=0.2, **OPTIONS)
    return one
