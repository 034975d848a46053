"""Programs that compute values again for a memory budget equal the interpreter on random graphs."""

from __future__ import annotations

import pytest

from .budgets import check_budget

CHUNKS, IN_A_CHUNK = 3, 12


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_programs_under_a_budget_equal_the_interpreter(chunk: int) -> None:
    again = [check_budget(s) for s in range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK)]
    assert sum(again) > 0  # else this chunk tests nothing


@pytest.mark.sweep
@pytest.mark.parametrize("chunk", range(CHUNKS, 40))
def test_many_programs_under_a_budget_equal_the_interpreter(chunk: int) -> None:
    for seed in range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK):
        check_budget(seed)
