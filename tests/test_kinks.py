"""Derivatives at kinks and ties are those of the table (`kinks.py`), which has all of them."""

from __future__ import annotations

import re

import pytest

from graphc.ir.graph import walk
from graphc.ir.op import Fact, registry

from .kinks import DOCUMENT, UNTAKEN, WAYS, At, Kink, check, document, lines, result
from .op_samples import SAMPLES
from .properties.derivatives import DIFFERENTIABLE

LINES = list(lines())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.expression} at {line.x}")
def test_at_a_point(line: Kink | At, way: str) -> None:
    check(line, way)


def test_the_table_is_as_long_as_it_was() -> None:
    assert len(LINES) - len(UNTAKEN) >= 60
    assert len(UNTAKEN) >= 40


# Why a function that is not smooth, or that has a pole, has no line of its own.
ELSEWHERE = {
    "corrcoef": "clip and divide; NaN by a row without variance, as its value is",
    "min_and_argmin": "`argmin` alone asks for it, and an index has no derivative",
    "cumulative_max": "cummax by another name",
    "cumulative_min": "cummin by another name",
}
EDGES = {Fact.POLE, Fact.JUMPS}


def test_every_op_with_a_kink_has_a_line() -> None:
    """Those whose samples say that second differences do not hold, and those that say of themselves
    that they have a pole or a jump."""
    words = {word for line in LINES for word in re.findall(r"[a-z_0-9]+", line.expression)}
    applied = {node.op.name for line in LINES for node in walk([result(line)[0]])}
    ops = registry()
    kinked = {
        n for n in DIFFERENTIABLE
        if not SAMPLES[n].smooth or (n in ops and EDGES & ops[n].facts)
    }  # fmt: skip
    assert not sorted(kinked - words - applied - ELSEWHERE.keys())
    assert not sorted(ELSEWHERE.keys() - kinked), "explained for nothing"


def test_the_document_is_printed_from_the_table() -> None:
    assert DOCUMENT.read_text() == document(), "python -m tests.kinks > docs/kinks.md"
