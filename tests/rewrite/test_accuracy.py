"""The tables of docs/accuracy.md are what is measured."""

from __future__ import annotations

import math
from pathlib import Path

from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.ruleset import Promise
from tests.corpus.formulas import FORMULAS

from .accuracy import formula_table

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
PRINTED = "python -m tests.rewrite.accuracy prints the rows that docs/accuracy.md should have"


def _rows(text: str) -> dict[str, list[str]]:
    lines = (line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| "))
    return {name: rest for name, *rest in lines}


def _number(shown: str) -> float:
    return math.inf if shown.startswith("not finite") else float(shown.removesuffix(" *"))


def test_the_formulas_are_as_accurate_as_the_page_says() -> None:
    page, now = _rows(PAGE.read_text(encoding="utf-8")), _rows(formula_table())
    assert len(now) == len(FORMULAS) + 1  # and the heading
    assert not now.keys() - page.keys(), PRINTED
    for name, measured in list(now.items())[1:]:
        assert [c.endswith("*") for c in page[name]] == [c.endswith("*") for c in measured]
        for said, found in zip(map(_number, page[name]), map(_number, measured), strict=True):
            assert said == found or found <= 3 * said + 1, (name, page[name], measured)


def test_every_stable_rule_is_on_the_page() -> None:
    page = _rows(PAGE.read_text(encoding="utf-8"))
    for rules in DEFAULT:
        for rule in rules:
            stable = rule.promise is Promise.STABLE
            assert (f"`{rule.name}`" in page) is stable, PRINTED
            if stable:
                before, after = map(_number, page[f"`{rule.name}`"][-2:])
                assert after <= max(3.0, before + 1) or math.isinf(before)
