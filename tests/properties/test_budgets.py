"""Programs that compute values again for a memory budget equal the interpreter on random graphs."""

from __future__ import annotations

import pytest

from .budgets import check_budget

CHUNKS, IN_A_CHUNK = 2, 12
ENOUGH, MOST = 2, 100  # graphs that compute something again, and graphs that are tried for them


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_programs_under_a_budget_equal_the_interpreter(chunk: int) -> None:
    """Graphs are drawn until enough of them can do with less memory: few can."""
    found = 0
    for seed in range(MOST * chunk, MOST * (chunk + 1)):
        found += check_budget(seed) > 0
        if found == ENOUGH:
            return
    pytest.fail(f"{found} of {MOST} graphs compute anything again")


@pytest.mark.sweep
@pytest.mark.parametrize("chunk", range(MOST * CHUNKS // IN_A_CHUNK, 56))
def test_many_programs_under_a_budget_equal_the_interpreter(chunk: int) -> None:
    for seed in range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK):
        check_budget(seed)
