"""The random graphs can see: each fault of `planted.py` is caught, and without it nothing fails.

A third of the faults; row R4 of the scoreboard has them all.
"""

from __future__ import annotations

import pytest

from .faults import Fault, caught_by, check_cache, check_failures, check_kept
from .planted import FAULTS

ROOMS = {"rewrite", "autodiff", "ops", "passes", "loops", "lower", "runtime"}


@pytest.mark.parametrize("fault", FAULTS[::3], ids=str)
def test_a_planted_fault_is_caught(fault: Fault) -> None:
    seed = caught_by(fault)
    assert seed is not None, f"not caught within {len(fault.seeds)} graphs"


def test_faults_are_planted_in_every_room() -> None:
    assert {fault.room for fault in FAULTS} == ROOMS
    assert len({str(fault) for fault in FAULTS}) == len(FAULTS) >= 30


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


@pytest.mark.usefixtures("no_cache")
def test_the_checks_that_are_only_used_here_pass_without_a_fault() -> None:
    for seed in range(3):
        check_failures(seed)
        check_cache(seed)
        check_kept(seed)
