"""A report in headless Chromium: opened, clicked, searched, and no error on its console.

Skipped where no Chromium is installed: `apt-get install chromium` brings one. It can be looked at,
light and dark, with

    python -m tests.show.test_report_in_a_browser FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from tests.show.browser import Browser, find
from tests.show.test_report import ARRAYS, cnn, two_layers

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
CANARY = "<img src=x onerror='window.canary=1'><script>window.canary=1</script>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("browser")) as found:
        yield found


def test_a_report_is_clicked_and_searched(browser: Browser, tmp_path: Path) -> None:
    step = two_layers()
    browser.open(step.report(tmp_path / "report.html", ARRAYS, runs=1))
    frame = "#drawing-kernels [data-kernel=kernel0] :is(path, polygon)"
    # A frame's upper edge: nothing else of the drawing lies there.
    x, y = browser.run(f"""(() => {{
        const frame = document.querySelector({frame!r});
        frame.scrollIntoView({{ block: "center" }});
        const place = frame.getBoundingClientRect();
        return [place.x + place.width / 2, place.y + 3];
    }})()""")
    browser.click_at(x, y)
    assert browser.until("location.hash") == "#kernel0"
    assert browser.until("document.querySelector('#kernel0').open")
    shown = "document.querySelector('#kernel0 .code pre').textContent"
    assert browser.until(shown) == step.kernels[0].source
    for form, mark in (("llvm_ir", "define "), ("asm", ".globl")):
        browser.click(f"[data-code='kernel0.{form}']")
        assert mark in browser.until(f"{shown}.includes({mark!r}) && {shown}")

    browser.run("document.querySelector('#search').focus()")
    browser.type("tanh")
    found = browser.until("document.querySelectorAll('#drawing-kernels .found').length")
    assert found > 0
    assert browser.until("document.querySelector('#found').textContent") == f"{found} found"
    view = "document.querySelector('#drawing-kernels svg').getAttribute('viewBox')"
    before = browser.run(view)
    browser.enter()
    moved = browser.until(f"{view} !== {before!r} && {view}")
    browser.click("#closer")
    closer = browser.until(f"{view} !== {moved!r} && {view}")
    assert float(closer.split()[2]) < float(moved.split()[2])
    browser.click("#whole")
    browser.click("[data-drawing=drawing-graph]")
    assert browser.until("document.querySelector('#drawing-kernels').hidden")
    assert browser.until("document.querySelectorAll('#drawing-graph .node').length") > 5

    stages = browser.run("document.querySelectorAll('#stages li').length")
    browser.run(f"""(() => {{
        const slider = document.querySelector("#pass");
        slider.value = "{stages - 1}";
        slider.dispatchEvent(new Event("input"));
    }})()""")
    name = browser.until("""document.querySelector("#after").textContent.startsWith("program ")
        && document.querySelector("#after-name").textContent""")
    assert name == "after: plan_memory"
    assert browser.problems == []


def test_canaries_stay_silent(browser: Browser, tmp_path: Path) -> None:
    x, w = gc.placeholder(CANARY, (2,)), gc.variable(np.ones(2, "float32"), name=CANARY)
    with gc.scope(CANARY):
        y = gc.tanh(x + w)
    step = gc.compile([x], y, {w: y}, name=CANARY)
    browser.open(step.report(tmp_path / "report.html"))
    browser.run("new Promise(done => setTimeout(done, 100))")
    assert browser.run("window.canary ?? 0") == 0
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("document.querySelector('h1').textContent") == CANARY
    assert browser.problems == []


def test_a_page_that_errs_is_seen(browser: Browser, tmp_path: Path) -> None:
    """The control: an error of a script and one on the console are problems."""
    page = tmp_path / "wrong.html"
    page.write_text("<script>console.error('one'); missing()</script>")
    browser.open(page)
    browser.run("1")
    assert len(browser.problems) == 2
    browser.problems.clear()


def pictures(folder: Path) -> None:
    """The report of a network in light and dark, to be looked at."""
    assert PROGRAM is not None, "no Chromium is installed"
    folder.mkdir(parents=True, exist_ok=True)
    step, arrays = cnn()
    page = step.report(folder / "cnn.html", arrays)
    with Browser(PROGRAM, folder / "browser") as browser:
        for name in ("light", "dark"):
            browser.dark(name == "dark")
            browser.open(page)
            browser.run("new Promise(done => setTimeout(done, 500))")
            browser.picture(folder / f"{name}.png")
            for section in ("steps", "kernel0", "passes", "memory", "roofline", "compiling"):
                browser.run(f"location.hash = '{section}'")
                browser.run("new Promise(done => setTimeout(done, 300))")
                browser.picture(folder / f"{name}-{section}.png")


if __name__ == "__main__":
    pictures(Path(sys.argv[1]))
