"""Programs that compute values again for a memory budget equal the interpreter on random graphs."""

from __future__ import annotations

import pytest

from .budgets import check_budget

MOST, IN_A_CHUNK = 96, 12  # graphs that are tried for one that computes something again


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


def test_programs_under_a_budget_equal_the_interpreter() -> None:
    """Graphs are drawn until one can do with less memory: few can."""
    assert any(check_budget(seed) > 0 for seed in range(MOST))


@pytest.mark.sweep
@pytest.mark.parametrize("chunk", range(MOST // IN_A_CHUNK, 56))
def test_many_programs_under_a_budget_equal_the_interpreter(chunk: int) -> None:
    for seed in range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK):
        check_budget(seed)
