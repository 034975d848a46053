"""Random graphs with their gradients equal torch's, where torch is installed."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import pytest

import graphc as gc
from graphc.ir.op import registry

from .planted import redefined

torch = pytest.importorskip("torch")

from .torch_oracle import MASKED, OPS, UNTAKEN, LacksError, check_by_torch, run  # noqa: E402

CHUNKS, IN_A_CHUNK = 6, 50


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_torch_agrees(chunk: int) -> None:
    skipped: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    seeds = range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK)
    calls = sum(check_by_torch(seed, skipped, explained) for seed in seeds)
    assert calls > 2 * IN_A_CHUNK
    assert explained[MASKED] + explained[UNTAKEN] < calls / 20


def test_a_wrong_derivative_is_seen() -> None:
    right = registry()["tanh"].vjp
    assert right is not None

    def doubled(*arguments: Any, **attrs: Any) -> list[Any]:
        return [g * 2 for g in right(*arguments, **attrs)]

    def check() -> None:
        for seed in range(60):
            check_by_torch(seed, Counter(), Counter())

    with redefined("tanh", vjp=doubled), pytest.raises(AssertionError, match="torch differs"):
        check()


def test_what_the_table_lacks_is_said() -> None:
    x = gc.placeholder("x", (3,), "float64")
    graph = gc.Graph([x], [gc.sum(gc.tanh(x)), gc.exp(x)])
    with mock.patch.dict(OPS):
        del OPS["tanh"]
        lacking, found = run(graph, [torch.zeros(3, dtype=torch.float64)], {})
    assert isinstance(lacking, LacksError)
    assert str(lacking) == "tanh"
    assert found.tolist() == [1, 1, 1]
