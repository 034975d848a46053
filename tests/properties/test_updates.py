"""Random steps of training equal their meaning, whatever reads the weights that they write."""

from __future__ import annotations

import pytest

from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Blocks, walk_steps

from .updates import check_step, random_step


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_steps_equal_the_interpreter(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_NUM_THREADS", str(threads))
    for seed in range(threads * 8, (threads + 1) * 8):
        check_step(seed)


def test_products_that_claim_weights_are_drawn() -> None:
    programs = [run_pipeline(random_step(seed)[0], Stages()).program for seed in range(20, 50)]
    blocks = [[s for s in walk_steps(p.steps) if isinstance(s, Blocks)] for p in programs]
    claiming = [any(s.claimed is not None for s in steps) for steps in blocks]
    assert sum(claiming) >= 5
    assert sum(any(s.claimed is None for s in steps) for steps in blocks) >= 5


@pytest.mark.sweep
@pytest.mark.parametrize("chunk", range(40))
def test_many_steps_equal_the_interpreter(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_NUM_THREADS", str(1 + chunk % 3))
    for seed in range(1000 + chunk * 20, 1000 + (chunk + 1) * 20):
        check_step(seed)
