"""Random programs about one product equal their meaning, whatever takes the product up."""

from __future__ import annotations

import pytest

from .products import check_product


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")


@pytest.mark.parametrize("chunk", range(12))
def test_products_equal_the_interpreter(chunk: int) -> None:
    for seed in range(chunk * 10, (chunk + 1) * 10):
        check_product(seed)


@pytest.mark.sweep
@pytest.mark.parametrize("chunk", range(40))
def test_many_products_equal_the_interpreter(chunk: int) -> None:
    for seed in range(1000 + chunk * 20, 1000 + (chunk + 1) * 20):
        check_product(seed)
