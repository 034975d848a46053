"""Every rule: it fires, it does not fire where it must not, and its certificate holds."""

from __future__ import annotations

import pytest

from graphc.ir.dtype import DTYPES
from graphc.rewrite.certify import certify
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.rules.algebra import roots
from graphc.rewrite.rules.fastmath import fastmath
from graphc.rewrite.rules.layout import tiles
from graphc.rewrite.ruleset import Promise, Rule

from .cases_algebra import ALGEBRA, FOLD
from .cases_contract import CONTRACT
from .cases_fastmath import FASTMATH
from .cases_layout import LAYOUT
from .cases_shape import SHAPE
from .cases_stable import STABLE
from .checking import Case, check_rule, graph_of

CASES = (*FOLD, *ALGEBRA, *SHAPE, *LAYOUT, *CONTRACT, *STABLE, *FASTMATH)
BY_RULE = {case.rule: case for case in CASES}
RULES = [rule for ruleset in (*DEFAULT, roots, tiles, fastmath) for rule in ruleset]


def test_every_rule_has_a_case() -> None:
    assert {r.name for r in RULES} == {c.rule.name for c in CASES}
    assert len(CASES) == len(RULES)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_fires(case: Case) -> None:
    for dtype in (d for d in DTYPES if d.short in case.dtypes.split()):
        check_rule(case.before(dtype), case.after(dtype), case.rule)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_does_not_fire(case: Case) -> None:
    for dtype in (d for d in DTYPES if d.short in case.dtypes.split()):
        before = case.not_this(dtype)
        check_rule(before, before, case.rule)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_certificate(rule: Rule) -> None:
    case = BY_RULE[rule]
    found = certify(rule, [case.before], case.dtypes)
    assert found.points > 0
    assert str(found).startswith(f"{rule}: ")
    if rule.promise is Promise.EXACT:
        assert found.after == 0.0


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_the_default_rules_reach_a_fixed_point(case: Case) -> None:
    for dtype in (d for d in DTYPES if d.short in case.dtypes.split()):
        once = apply_rules(graph_of(case.before(dtype)), *DEFAULT)
        again = RewriteReport()
        assert apply_rules(once, *DEFAULT, report=again) is once
        assert not again.firings
