"""Random recurrent networks equal their meaning, at any number of steps."""

from __future__ import annotations

import pytest

from .networks import check_network


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


@pytest.mark.parametrize("chunk", range(6))
def test_networks_equal_the_interpreter(chunk: int) -> None:
    for seed in range(chunk * 5, (chunk + 1) * 5):
        check_network(seed)


@pytest.mark.sweep
@pytest.mark.parametrize("chunk", range(10))
def test_many_networks_equal_the_interpreter(chunk: int) -> None:
    for seed in range(1000 + chunk * 10, 1000 + (chunk + 1) * 10):
        check_network(seed)
