"""The pictures of the gallery and of the teacher's tour are there, and hold what their pages say.
The pages themselves make them, and are run with the other pages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [(DOCS / name).read_text(encoding="utf-8") for name in ("gallery.md", "teaching.md")]
PICTURES = sorted((DOCS / "pictures").glob("*.svg"))


def test_each_picture_is_made_and_shown_once() -> None:
    names = [path.name for path in PICTURES]
    text = "".join(PAGES)
    assert sorted(re.findall(r"\]\(pictures/(.*?)\)", text)) == names
    assert sorted(re.findall(r'gc\.draw\(.*"(.*?\.svg)"', text)) == names


@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.stem)
def test_pictures_parse_and_hold_each_node_once(path: Path) -> None:
    tree = ElementTree.parse(path)
    marks = [
        group.findtext("{http://www.w3.org/2000/svg}title")
        for group in tree.iter("{http://www.w3.org/2000/svg}g")
        if group.get("class") == "node"
    ]
    assert len(marks) == len(set(marks)) > 5
    texts = {t.text for t in tree.iter("{http://www.w3.org/2000/svg}text")}
    lanes = {"forward", "backward", "update"}
    is_step = path.stem.endswith(("-step", "-training"))
    assert (lanes <= texts) == is_step
    assert path.stat().st_size < 200_000
