"""A cluster that the tests of this folder share: it is started once, and ends with them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

import graphc as gc

CPUS = 4  # that Ray counts, however many there are


@pytest.fixture(scope="session")
def cluster(own_cache: object) -> Iterator[gc.distributed.Cluster]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install graphc[distributed]")
    with gc.distributed.connect(cpus=CPUS) as found:
        yield found
