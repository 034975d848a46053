"""report(): one page that needs nothing else, in which every link leads somewhere and no name does
anything. What a browser makes of it is in `test_report_in_a_browser.py`."""

from __future__ import annotations

import base64
import json
import re
import tomllib
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.show import report_drawings
from tests.show.test_draw import HOSTILE, visible

VOID = {"meta", "input", "br", "link", "img"}


class Page(HTMLParser):
    """The ids, links, elements and texts of a page; elements have to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.elements = Counter[str]()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    @property
    def text(self) -> str:
        return "\n".join(t for name, ts in self.texts.items() for t in ts if name != "script")

    @property
    def packed(self) -> dict[str, str]:
        """The long texts, unpacked."""
        found = json.loads(zlib.decompress(base64.b64decode(self.texts["script"][0])))
        assert isinstance(found, dict)
        return found


def check(page: Page) -> None:
    """Every id is there once, every link leads to one, and nothing is loaded."""
    assert not [name for name, times in Counter(page.ids).items() if times > 1]
    for _, name, value in page.attributes:
        if name == "href":
            assert value.startswith("#")
            assert value[1:] in page.ids
        assert name not in ("src", "srcset", "action", "data", "poster", "style", "xlink:href")
        assert not name.startswith("on")
    known = {k for _, name, k in page.attributes if name in ("data-kernel", "data-drawing")}
    assert known <= set(page.ids)
    assert {k for _, name, k in page.attributes if name == "data-code"} <= page.packed.keys()
    assert page.elements["script"] == 2
    assert not {"link", "iframe", "object", "embed", "img", "form"} & page.elements.keys()


def two_layers(**options: Any) -> Any:
    x, y = gc.placeholder("reported x", ("n", 6)), gc.placeholder("reported y", ("n",), "int64")
    w = gc.variable(np.ones((6, 8), "float32"), name="first/w")
    v = gc.variable(np.ones((8, 3), "float32"), name="second/v")
    loss = gc.mean(gc.softmax_cross_entropy(gc.tanh(x @ w) @ v, y))
    updates = {p: p - 0.1 * g for p, g in zip((w, v), gc.grad(loss, [w, v]), strict=True)}
    return gc.compile([x, y], loss, updates, name="two layers", **options)


ARRAYS = [np.ones((5, 6), "float32"), np.zeros(5, "int64")]


def test_all_that_is_known_is_in_the_page(tmp_path: Path) -> None:
    step = two_layers()
    path = step.report(tmp_path / "report.html", ARRAYS, runs=2)
    assert path == tmp_path / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    check(page)
    kernels = [k.name for k in step.kernels]
    assert [i for i in page.ids if re.fullmatch(r"kernel\d+", i)] == kernels
    for name in ("drawing", "steps", "kernels", "passes", "memory", "roofline", "compiling"):
        assert name in page.ids
    framed = {value for _, name, value in page.attributes if name == "data-kernel"}
    assert framed == set(kernels)
    packed = page.packed
    for kernel in step.kernels:
        assert packed[f"{kernel.name}.source"] == kernel.source
        assert re.search(rf"^define .*@{kernel.symbol}\(", packed[f"{kernel.name}.llvm_ir"], re.M)
        assert kernel.symbol in packed[f"{kernel.name}.asm"]
    stages = [k for k in packed if k.startswith("stage")]
    assert packed["stage0"].startswith("graph ")
    assert packed[f"stage{len(stages) - 1}"].startswith("program ")
    assert "why it is not one with its neighbours" in page.text.lower()
    assert "test_report.py:" in page.text
    assert "gc.tanh(x @ w) @ v" in page.text  # the user's line itself
    assert "n = 5" in page.text
    assert page.elements["math"] > 0
    shares = [float(t[:-1]) for t in re.findall(r"(?<= )[\d.]+%", page.text)]
    assert shares
    assert all(stage in page.text for stage in ("unify", "fuse", *list(step.timings)[:2]))


def test_without_arrays_there_are_no_times_and_sizes_can_be_said(tmp_path: Path) -> None:
    step = two_layers(sizes={"n": 9})
    page = Page(step.report(tmp_path / "a.html").read_text(encoding="utf-8"))
    check(page)
    assert "n = 9" in page.text
    assert "of the limit" not in page.text
    page = Page(step.report(tmp_path / "a.html", sizes={"n": 3}).read_text(encoding="utf-8"))
    assert "n = 3" in page.text


def test_loops_branches_host_calls_and_programs_without_kernels(tmp_path: Path) -> None:
    x = gc.placeholder("reported xs", ("t", 4))
    h, _ = gc.scan(lambda h, v: (gc.tanh(h + v), h), gc.zeros((4,)), x)
    last = gc.while_loop(lambda c: gc.sum(c) > 1, lambda c: c / 2, h)
    chosen = gc.cond(gc.sum(last) > 0, lambda a: gc.exp(a), lambda a: gc.sort(a) * 2, last)
    mixed = gc.compile([x], chosen, name="mixed")
    page = Page(mixed.report(tmp_path / "a.html", [np.ones((3, 4), "f4")], runs=1).read_text())
    check(page)
    a = gc.placeholder("a", (3, 3))
    product = gc.compile([a], gc.placeholder("a", (3, 3)), name="nothing")
    check(Page(product.report(tmp_path / "b.html").read_text()))
    assert "as written" in page.text


def test_no_name_does_anything(tmp_path: Path) -> None:
    """All hostile names at once: of inputs, variables, layers, the function, a file."""
    canary = "<script>canary()</script><img src=x onerror=canary()>"
    names = [*dict.fromkeys(HOSTILE), canary, "</script>", "</style>", "-->", "<!--"]
    total = gc.constant(0.0)
    for name in names:
        place = origin.Origin(f"{name[:40]}.py", 3, name)
        with origin.inherit((place,)):
            x = gc.variable(np.ones(2, "float32"), name=name)
            total = total + gc.sum(gc.exp(x) @ gc.ones((2, 2)))
    inputs = [gc.placeholder(name, ()) for name in names]
    for x in inputs:
        total = total + x
    step = gc.compile(inputs, total, name=canary)
    text = step.report(tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    check(page)
    assert page.elements["b"] == len(step.kernels)
    assert "<img" not in text
    assert "<script>canary" not in text
    assert all("canary" not in value for _, name, value in page.attributes if name == "href")
    shown = page.text.replace("\xa0", " ")
    for name in names:
        if len(name) < 20 and name.strip():
            assert visible(name).strip() in shown, name


def cnn() -> tuple[Any, list[Any]]:
    gc.nn.seed(0)
    layers = [
        gc.nn.Conv2D(8, 3, activation="relu"), gc.nn.MaxPool2D(2),
        gc.nn.Conv2D(16, 3, activation="relu"), gc.nn.Flatten(), gc.nn.Dropout(0.3),
        gc.nn.Dense(32, "relu"), gc.nn.Dense(10),
    ]  # fmt: skip
    model = gc.nn.Sequential(layers, name="cnn")
    trainer = gc.train.Trainer(model, loss="softmax_cross_entropy", optimizer="adam")
    x, y = np.ones((4, 1, 12, 12), "float32"), np.zeros(4, "int64")
    return trainer.step(x, y), [x, y]


def test_the_report_of_a_convolutional_network_is_at_most_3_mb(tmp_path: Path) -> None:
    step, arrays = cnn()
    path = step.report(tmp_path / "cnn.html", arrays, runs=1)
    assert path.stat().st_size <= 3_000_000
    page = Page(path.read_text(encoding="utf-8"))
    check(page)
    assert len([i for i in page.ids if re.fullmatch(r"kernel\d+", i)]) == len(step.kernels)


def test_without_graphviz_the_rest_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> bytes:
        raise gc.GraphcError("no Graphviz could draw the picture", hint="install <Graphviz>")

    monkeypatch.setattr(report_drawings, "render", none)
    page = Page(two_layers().report(tmp_path / "a.html").read_text(encoding="utf-8"))
    check(page)
    assert "install <Graphviz>" in page.text
    assert "kernel0" in page.ids


def test_bad_input(tmp_path: Path) -> None:
    step = two_layers()
    for path in (3, None, tmp_path / "no" / "such" / "folder.html", tmp_path):
        with pytest.raises(ArgumentError) as error:
            step.report(path)
        assert error.value.op == "report"
    with pytest.raises(ArgumentError, match="dim that no input has"):
        step.report(tmp_path / "a.html", sizes={"k": 3})
    with pytest.raises(ArgumentError):
        step.report(tmp_path / "a.html", [])
    assert not list(tmp_path.iterdir())


def test_a_wheel_has_what_the_page_is_made_of() -> None:
    root = Path(gc.__file__).parents[1]
    package = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = {p for pattern in package["package-data"]["graphc"]
              for p in (root / "graphc").glob(pattern)}  # fmt: skip
    there = {p for p in (root / "graphc").rglob("*") if p.is_file() and p.suffix in (".css", ".js")}
    assert there
    assert there <= listed
