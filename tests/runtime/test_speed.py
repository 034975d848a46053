"""gc.machine(): numbers above 0, measured once. How large they are is for people to look at."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.machines import Speed
from graphc.runtime import cache, speed


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A cache of its own, small arrays, and how often there was something to measure."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(speed, "_measured", {})
    for name, value in (("ROWS", 32), ("FAR", 1 << 12), ("NEAR", 1 << 10), ("CALLS_NEAR", 5)):
        monkeypatch.setattr(speed, name, value)
    measured: list[int] = []
    plain = speed._measure

    def counted() -> Speed:
        measured.append(1)
        return plain()

    monkeypatch.setattr(speed, "_measure", counted)
    return measured


def test_it_is_measured_once_and_kept(small: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    first = gc.machine()
    for number in (first.flops, first.bandwidth, first.cache_bandwidth, first.balance):
        assert math.isfinite(number)
        assert number > 0
    assert first.cache_bandwidth >= first.bandwidth
    assert gc.machine() is first
    monkeypatch.setattr(speed, "_measured", {})  # as in another process
    assert gc.machine() == first
    assert len(small) == 1
    gc.machine(again=True)
    assert len(small) == 2


def test_an_entry_that_says_no_speed_is_measured_anew(
    small: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in ({}, {"flops": 0.0, "bandwidth": 1.0, "cache_bandwidth": 1.0}, {"flops": "many"}):
        cache.store(speed._key(), wrong, b"", cache.SPEED)
        monkeypatch.setattr(speed, "_measured", {})
        assert gc.machine().flops > 0
    assert len(small) == 3


def test_the_least_time_of_work() -> None:
    machine = Speed(flops=1e9, bandwidth=1e8, cache_bandwidth=1e9)
    assert machine.balance == 10
    assert machine.seconds(1e9, 1000) == 1.0  # operations take the time
    assert machine.seconds(0, 1e8) == 1.0  # bytes from memory do
    assert machine.seconds(0, 1e5) == 1e-4  # bytes that may be in cache do


def test_what_is_no_truth_value() -> None:
    with pytest.raises(ArgumentError, match="truth value"):
        gc.machine(again="yes")
