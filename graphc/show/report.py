"""`step.report("report.html")`: all that is known of a compiled function, as one page.

The page needs nothing else: no network, no other file. What is in it besides text is `report.css`
and `report.js`, and its policy lets the browser run this script only, by its hash. Long texts (the
graph after each pass, the kernels' code) are compressed, and unpacked when somebody looks at them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir.dim import evaluate
from graphc.lower.processor import cpu
from graphc.pipeline.options import Options
from graphc.planning.memory import bytes_alive, lifetimes
from graphc.planning.program import touched
from graphc.runtime.profile import Profile, duration
from graphc.runtime.speed import machine
from graphc.runtime.target import Target
from graphc.show import charts
from graphc.show.charts import count
from graphc.show.html import Html, table, tag, together
from graphc.show.render import write
from graphc.show.report_drawings import drawings
from graphc.show.report_facts import Facts, gather, name_of
from graphc.show.report_kernels import kernels, lines_of
from graphc.symbolic.dims import readable


def report(
    function: Any,
    path: str | os.PathLike[str],
    options: Options,
    target: Target,
    dims: Mapping[str, int],
    profile: Profile | None,
) -> Path:
    """Writes the page of a compiled function; its numbers are for `dims`. The path, whole or
    untouched. Errors: `ArgumentError` for a path that is none or cannot be written."""
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError("not a path", op="report", expected="str, Path", given=repr(path)[:80])
    page = _page(gather(function, options, target, dims, profile))
    written = Path(path)
    write(page.encode(), written, "report")
    return written


def _page(facts: Facts) -> Html:
    sections = [
        ("drawing", "Drawing", drawings(facts)),
        ("steps", "Steps", _steps(facts)),
        ("kernels", "Kernels", kernels(facts)),
        ("passes", "Passes", _passes(facts)),
        ("memory", "Memory", _memory(facts)),
        ("roofline", "Roofline", _roofline(facts)),
        ("compiling", "Compiling", _compiling(facts)),
    ]
    links = (tag("a", title, href=f"#{name}") for name, title, _ in sections)
    body = [
        *_head(facts),
        tag("nav", *links),
        *(tag("section", tag("h2", title), inside, id=name) for name, title, inside in sections),
    ]
    style, script = (_file(name) for name in ("report.css", "report.js"))
    style = Html("\n".join([style, *dict.fromkeys(facts.styles)]))
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{facts.graph.name}: a report of graphc"),
        tag("style", style),
    )
    packed = zlib.compress(json.dumps(facts.texts).encode(), 9)
    texts = tag("script", base64.b64encode(packed).decode(), type="text/plain", id="texts")
    whole = tag("html", head, tag("body", *body, texts, tag("script", script)), lang="en")
    return Html(f"<!doctype html>\n{whole}\n")


def _file(name: str) -> Html:
    text = (resources.files("graphc.show") / name).read_text(encoding="utf-8")
    return Html(text)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# -- the head --------------------------------------------------------------------------------------
def _head(facts: Facts) -> Iterator[Html]:
    graph, compiled = facts.graph, facts.compiled
    yield tag("h1", graph.name)
    inputs = ", ".join(f"{t.name}: {t.type}" for t in graph.inputs) or "no inputs"
    outputs = ", ".join(str(t.type) for t in graph.outputs) or "no outputs"
    yield tag("p", tag("code", f"{inputs} -> {outputs}"))
    if graph.updates:
        names = tag("code", ", ".join(v.name for v, _ in graph.updates))
        many = tag("summary", f"{len(graph.updates)} variables are updated")
        yield tag("details", many, names)
    figures = facts.cost.at(**facts.all_dims)
    cells = [
        ("nodes", f"{len(graph.nodes)} as written, {len(compiled.optimized.nodes)} optimised"),
        ("kernels", f"{len(facts.kernels)}, in {len(facts.steps)} steps"),
        ("operations", f"{facts.cost.flops}", f"{count(figures.flops)}"),
        ("bytes moved", f"{facts.cost.bytes}", f"{count(figures.bytes)}B"),
        ("flops per byte", f"{facts.cost.intensity}", f"{figures.intensity:.3g}"),
        ("peak memory", f"{facts.cost.peak_bytes}", f"{count(figures.peak_bytes)}B"),
    ]
    if facts.profile is not None:
        cells.append(("time of a call", "", duration(facts.profile.seconds)))
    yield table(("", "", _sizes(facts)), ((*cell, "")[:3] for cell in cells))
    made_by = getattr(sys.modules["graphc"], "__version__", "")
    version = f"graphc {made_by}, for the target {facts.target.name} on {cpu()[0]}"
    yield tag("p", version, class_="pale")


def _sizes(facts: Facts) -> str:
    return ", ".join(f"{name} = {size}" for name, size in facts.all_dims.items()) or "always"


# -- steps -----------------------------------------------------------------------------------------
def _steps(facts: Facts) -> Html:
    timed = facts.profile is not None
    head = ["step", "what", "operations", "bytes", "flops per byte"]
    head += ["time", "share", "of the limit"] if timed else []
    rows = [_row(facts, number, timed) for number in range(len(facts.steps))]
    if facts.profile is not None:
        rest = facts.profile.steps[-1]
        cells = ["", rest.name, "", "", "", duration(rest.seconds), charts.bar(rest.share), "", ""]
        rows.append(tag("tr", *(tag("td", cell) for cell in cells)))
    top = tag("tr", *(tag("th", cell, scope="col") for cell in [*head, "your lines"]))
    text = "In the order in which they run. Names of kernels lead to what is known of them."
    if timed:
        text += (
            " The limit is the least time that the operations and bytes of a step can take on this"
            " machine; a step whose data are still in a first-level cache can be above it."
        )
    listed = tag("table", tag("thead", top), tag("tbody", *rows))
    return together([tag("p", text), tag("div", listed, class_="wide")])


def _row(facts: Facts, number: int, timed: bool) -> Html:
    step = facts.steps[number]
    cost = facts.costs[number]
    flops, moved = (evaluate(size, facts.all_dims) for size in (cost.flops, cost.bytes))
    cells: list[str] = [
        facts.link(step),
        facts.what(step),
        count(flops) if flops else "",
        f"{count(moved)}B",
        f"{flops / moved:.3g}" if moved else "",
    ]
    if timed:
        assert facts.profile is not None
        time = facts.profile.steps[number]
        limit = f"{time.of_limit:.0%}" if time.of_limit else ""
        often = f" in {time.calls:g} calls" if time.calls != 1 else ""
        cells += [f"{duration(time.seconds)}{often}", charts.bar(time.share), limit]
    cells.append(lines_of(facts, step))
    is_inside = "inside" if facts.depths[number] else None
    return tag("tr", *(tag("td", cell) for cell in cells), id=name_of(number), class_=is_inside)


# -- passes ----------------------------------------------------------------------------------------
def _passes(facts: Facts) -> Html:
    names = [name for name, _ in facts.stages]
    text = (
        "The graph before and after each pass, and the program at the end. Lines that the other"
        " text lacks are marked; numbers of values do not count."
    )
    slider = tag(
        "input", type="range", id="pass", min=1, max=len(names) - 1, value=1, aria_label="pass"
    )
    panes = (
        tag("div", tag("h3", side, id=f"{side}-name"), tag("pre", id=side))
        for side in ("before", "after")
    )
    listed = tag("ol", *(tag("li", name) for name in names), id="stages")
    return together([tag("p", text), listed, slider, tag("div", *panes, class_="panes")])


# -- memory ----------------------------------------------------------------------------------------
def _memory(facts: Facts) -> Html:
    program = facts.compiled.program
    arena = evaluate(program.arena, facts.all_dims)
    if not program.temps:
        return tag("p", "There are no temporaries: all results are computed where they are wanted.")
    places = [step for step, _ in bytes_alive(program)]
    writers: dict[Any, str] = {}
    for number, step in enumerate(facts.steps):
        for ref in touched(step)[1]:
            writers.setdefault(ref.storage, name_of(number))
    lives = lifetimes(program)
    found = [
        charts.Lifetime(
            f"t{i}",
            evaluate(storage.offset, facts.all_dims),
            evaluate(storage.size, facts.all_dims) * storage.dtype.itemsize,
            *lives[storage],
            writers.get(storage, ""),
        )
        for i, storage in enumerate(program.temps)
    ]
    text = (
        f"{len(program.temps)} temporaries share an arena of {readable(program.arena)} bytes,"
        f" {count(arena)}B here ({_sizes(facts)}). Each is as wide as the steps that need it; a"
        " click leads to the step that writes it."
    )
    return together([tag("p", text), charts.memory(found, arena, len(places))])


# -- the roofline ----------------------------------------------------------------------------------
def _roofline(facts: Facts) -> Html:
    speed = machine()
    points = list(_points(facts))
    text = (
        f"Measured on this machine: {count(speed.flops)}flop/s in a matrix product,"
        f" {count(speed.bandwidth)}B/s from memory, {count(speed.cache_bandwidth)}B/s from the"
        f" second-level cache (dashed). From {speed.balance:.3g} flops per byte on, operations take"
        " the time."
    )
    kind = "Filled dots were measured." if facts.profile else "Nothing was measured (inputs=None):"
    more = "" if facts.profile else " each step is drawn as fast as it could be."
    if not points:
        return tag("p", text)
    return together([tag("p", text), charts.roofline(points, speed), tag("p", kind + more)])


def _points(facts: Facts) -> Iterator[charts.Point]:
    speed = machine()
    for number, step in enumerate(facts.steps):
        cost = facts.costs[number]
        flops, moved = (evaluate(size, facts.all_dims) for size in (cost.flops, cost.bytes))
        if not flops or not moved:
            continue
        rate, is_measured = flops / speed.seconds(flops, moved), False
        if facts.profile is not None:
            time = facts.profile.steps[number]
            if not time.seconds:
                continue
            rate, is_measured = time.flops / time.seconds, True
        name = facts.names[number]
        target = facts.target_of(step) or name_of(number)
        yield charts.Point(name, flops / moved, rate, target, is_measured)


# -- how it was compiled ---------------------------------------------------------------------------
def _compiling(facts: Facts) -> Html:
    timings: Mapping[str, float] = facts.function.timings
    whole = sum(timings.values()) or 1.0
    rows: Iterable[tuple[str, ...]] = (
        (name, duration(seconds), charts.bar(seconds / whole)) for name, seconds in timings.items()
    )
    fired = facts.compiled.report.hits.most_common()
    rules = ", ".join(f"{rule} x {times}" for rule, times in fired) or "none"
    text = f"It took {duration(whole)} to make this function, or to find it in the cache."
    return together(
        [
            tag("p", text),
            table(("stage", "time", "share"), rows),
            tag("p", f"Rules that fired: {rules}", class_="pale"),
        ]
    )
