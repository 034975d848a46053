"""Random graphs are drawn from lists that grow: a seed names another graph after each new op."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PINNED = re.compile(
    r"""(?:random_graph|random_network|check_\w+)\(\d+\)|parametrize\(\s*["']seed["'],\s*\[\d"""
)


def test_no_test_pins_the_graph_of_a_seed() -> None:
    """A graph that a test is about is built in it, or stands in it as text."""
    sources = {p: p.read_text(encoding="utf-8") for p in TESTS.rglob("*.py")}
    pinned = [f"{p.relative_to(TESTS)}: {t}" for p, s in sources.items() for t in PINNED.findall(s)]
    assert not pinned


def test_a_pinned_seed_is_seen() -> None:
    assert PINNED.search("check_memory(program(random_graph" + "(398).graph))")
    assert PINNED.search('@pytest.mark.parametrize("seed",' + " [143, 149])")
    assert not PINNED.search('parametrize("seed", range(16)); random_graph(seed)')
