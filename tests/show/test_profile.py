"""The view "profile": a box for each step that ran, with its time, and arrows along its memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GraphcError
from graphc.planning.program import working_steps
from graphc.runtime.profile import Profile

SIZES = {"n": 6}


def network(name: str = "profile w") -> Any:
    x = gc.placeholder("profile x", ("n", 20))
    w = [gc.variable(np.full(s, 0.01, "f4"), name=f"{name}{s[1]}") for s in ((20, 30), (30, 5))]
    loss = gc.mean(gc.square(gc.tanh(gc.tanh(x @ w[0]) @ w[1])))
    updates = {v: v - 0.1 * g for v, g in zip(w, gc.grad(loss, w), strict=True)}
    return gc.compile([x], loss, updates, name="profiled")


def told(function: Any, dims: dict[str, int], share: Callable[[int], float]) -> Profile:
    """A profile with given times: what a drawing says does not depend on a clock."""
    costs = list(working_steps(function.compilation.compiled.program.steps))
    measured = function.profile([np.ones((6, 20), "f4")] if function.graph.inputs else [], runs=1)
    steps = [
        replace(s, seconds=share(i) * 1e-5, share=share(i), of_limit=0.25)
        for i, s in enumerate(measured.steps)
    ]
    assert len(steps) == len(costs) + 1
    return replace(measured, steps=tuple(steps), seconds=1e-5, runs=3, dims=dims)


@pytest.fixture(scope="module")
def step() -> Any:
    return network()


def marks(source: str) -> dict[str, str]:
    """The labels of marks by their names."""
    found = re.findall(r"^\t+(n\d+) \[label=(\w+|\"[^\"]*\")", source, re.MULTILINE)
    return {name: label.strip('"') for name, label in found}


def test_golden(step: Any, golden: Callable[[str, str], None]) -> None:
    shares = [0.5, 0.25, 0.1, 0.05, 0.02]
    profile = told(step, SIZES, lambda i: shares[i] if i < len(shares) else 0.01)
    golden("draw/profile", profile.draw().source)


def test_every_step_has_a_box_with_its_time_and_share(step: Any) -> None:
    profile = told(step, SIZES, lambda i: 0.01 * (i + 1))
    source = profile.draw().source
    boxes = [text for text in marks(source).values() if "%" in text]
    wanted = [f"{s.seconds * 1e9:.3g} ns, {s.share:.1%}" for s in profile.steps[:-1]]
    assert len(boxes) == len(wanted)
    assert all(any(w in text for text in boxes) for w in wanted)
    assert all("25% of the limit" in box for box in boxes)
    assert "a call: 10 us, 3 runs, n = 6" in source


def test_heavier_boxes_took_more(step: Any) -> None:
    source = told(step, SIZES, lambda i: (0.6, 0.1)[i] if i < 2 else 0.001).draw().source
    widths = {
        re.findall(r"[\d.]+%", label)[0]: float(width)
        for label, width in re.findall(r"label=\"([^\"]*%)[^\]]*?penwidth=([\d.]+)", source)
    }
    assert widths["60.0%"] > widths["10.0%"] > widths["0.1%"]
    assert {"a fifth of the time or more", "a twentieth or more", "less"} <= set(
        re.findall(r"\tk\d+ \[label=\"?(.*?)\"? [a-z]+=", source)
    )


def test_arrows_lead_from_what_wrote_memory_to_what_reads_it(step: Any) -> None:
    """Every step but those that only update is read; every variable is updated once."""
    source = told(step, SIZES, lambda i: 0.1).draw().source
    names = marks(source)
    arrows = re.findall(r"^\t(n\d+) -> (n\d+)(.*)$", source, re.MULTILINE)
    data = [(a, b) for a, b, how in arrows if "dir=back" not in how]
    inputs = {n for n, text in names.items() if text.startswith("profile ")}
    assert {n for _, n in data} >= {n for n, text in names.items() if "%" in text}
    assert {n for n, _ in data} >= inputs
    updated = [names[a] for a, _, how in arrows if "dir=back" in how]
    assert len(updated) == 2
    assert {text.partition("\n")[0] for text in updated} == {"profile w30", "profile w5"}


def test_loops_branches_and_what_comes_of_both_sides() -> None:
    x = gc.placeholder("profile xs", ("t", 4))
    h, _ = gc.scan(lambda h, v: (gc.tanh(h + v), h), gc.zeros((4,)), x)
    chosen = gc.cond(gc.sum(h) > 0, lambda a: gc.exp(a), lambda a: gc.sin(a) * 2, h)
    profile = gc.compile([x], chosen).profile([np.ones((9, 4), "f4")], runs=1)
    source = profile.draw().source
    assert "scan · t steps" in source
    assert "in 9 calls" in source
    assert "did not run" in source
    assert {"then", "else"} <= set(re.findall(r"label=\"?(then|else)", source))
    names = marks(source)
    (end,) = (n for n, text in names.items() if text == "output")
    into = re.findall(rf"^\t(n\d+) -> {end}\b", source, re.MULTILINE)
    assert len(set(into)) >= 2  # either side may have written it
    assert "next step of a loop" in source


def test_three_ways_to_ask_for_it(step: Any, tmp_path: Path) -> None:
    batch = [np.ones((6, 20), "f4")]
    profile = step.profile(batch, runs=2)
    assert gc.draw(profile).source == profile.draw().source
    assert gc.draw(profile, view="profile").source == profile.draw().source
    drawn = gc.draw(step, view="profile", inputs=batch)
    assert len(marks(drawn.source)) == len(marks(profile.draw().source))
    path = profile.draw(tmp_path / "profile.svg")
    assert path.read_text().count('class="node"') > len(profile.steps)
    assert "<svg" in profile._repr_svg_()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda f: gc.draw(f, view="profile"), "times are those of a call"),
        (lambda f: gc.draw(gc.placeholder("p"), view="profile"), "only a compiled function"),
        (lambda f: gc.draw(f, view="cost", inputs=[1]), "only a profile needs arrays"),
        (lambda f: gc.draw(f.profile([np.ones((1, 20), "f4")], 1), view="memory"), "its own view"),
        (lambda f: gc.draw(f, view="profile", inputs=[np.ones((2, 3), "f4")]), ""),
    ],
)
def test_bad_input(step: Any, ask: Any, message: str) -> None:
    with pytest.raises(GraphcError) as error:
        ask(step)
    assert error.value.op
    assert message in error.value.message
    assert isinstance(error.value, ArgumentError) or not message


def test_names_do_nothing(step: Any) -> None:
    name = '"]; evil [label=<b>'
    source = told(network(name), SIZES, lambda i: 0.1).draw().source
    assert "\tevil" not in source
    assert "n0 [" in source
