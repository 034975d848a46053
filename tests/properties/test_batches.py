"""A graph of one element and its batched form mean the same, on random graphs."""

from __future__ import annotations

import pytest

from .batches import check_batched

CHUNKS, MORE, IN_A_CHUNK = 6, 40, 25  # of the default run, with the sweep, graphs


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_batched_graphs_are_stacks_of_results(chunk: int) -> None:
    for seed in range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK):
        check_batched(seed)


@pytest.mark.sweep
@pytest.mark.parametrize("chunk", range(CHUNKS, MORE))
def test_more_batched_graphs_are_stacks_of_results(chunk: int) -> None:
    for seed in range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK):
        check_batched(seed)
