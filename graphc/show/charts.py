"""The charts of a report, as SVG inside of HTML: where temporaries are in memory, the roofline, and
bars. Colours are the page's, by class, so that they follow its light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphc.machines import Speed
from graphc.show.html import Html, tag

WIDTH = 900
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 16, 16, 40  # the margins around what is drawn


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A temporary: its bytes and where they begin, and the first and last step that needs it."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int
    target: str  # the id of the step that writes it first, or ''


@dataclass(frozen=True, slots=True)
class Point:
    """A step in the roofline: operations for a byte, and operations a second; the latter is what
    was measured, or the most that the machine could do."""

    name: str
    intensity: float
    rate: float
    target: str
    is_measured: bool


def memory(lifetimes: Sequence[Lifetime], arena: int, steps: int) -> Html:
    """The arena over the steps of a program: a rectangle for each temporary."""
    height = 320
    across, down = WIDTH - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    wide, high = across / max(steps, 1), down / max(arena, 1)
    parts = []
    for life in lifetimes:
        where = f"at {life.offset}, steps {life.first}-{life.last}"
        shown = f"{life.name}: {count(life.bytes)}B {where}"
        rect = tag(
            "rect",
            tag("title", shown),
            x=_n(_LEFT + life.first * wide),
            y=_n(_TOP + down - (life.offset + life.bytes) * high),
            width=_n(max((life.last - life.first + 1) * wide, 1)),
            height=_n(max(life.bytes * high, 0.5)),
            class_="block",
        )
        parts.append(tag("a", rect, href=f"#{life.target}") if life.target else rect)
    parts += [
        _line(_LEFT, _TOP + down, WIDTH - _RIGHT, _TOP + down, "axis"),
        _line(_LEFT, _TOP, _LEFT, _TOP + down, "axis"),
        _text(_LEFT - 6, _TOP + 10, f"{count(arena)}B", "end"),
        _text(_LEFT - 6, _TOP + down, "0", "end"),
        _text(_LEFT + across / 2, height - 8, f"{steps} steps, in order", "middle"),
    ]
    return _svg(height, parts, "Temporaries in the arena, over the steps of the program")


def roofline(points: Sequence[Point], speed: Speed) -> Html:
    """Operations a second over operations for a byte, both by powers of ten; above them what this
    machine can do: by its bytes from memory and from cache, and by its operations."""
    height = 380
    across, down = WIDTH - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    xs = [p.intensity for p in points] + [speed.balance]
    ys = [p.rate for p in points] + [speed.flops, speed.bandwidth * min(xs)]
    x0, x1 = _decades(min(xs), max(xs))
    y0, y1 = _decades(min(ys), max(ys))

    def x(value: float) -> float:
        return _LEFT + (math.log10(value) - x0) / (x1 - x0) * across

    def y(value: float) -> float:
        place = (math.log10(value) - y0) / (y1 - y0)
        return _TOP + down - min(max(place, 0.0), 1.0) * down

    parts = []
    for power in range(x0, x1 + 1):
        at = x(10.0**power)
        parts.append(_line(at, _TOP, at, _TOP + down, "grid"))
        parts.append(_text(at, _TOP + down + 14, f"{10.0**power:g}", "middle"))
    for power in range(y0, y1 + 1):
        at = y(10.0**power)
        parts.append(_line(_LEFT, at, WIDTH - _RIGHT, at, "grid"))
        parts.append(_text(_LEFT - 6, at + 4, f"{count(10.0**power)}", "end"))
    ends = 10.0**x0, 10.0**x1
    for rate, kind in ((speed.bandwidth, "roof"), (speed.cache_bandwidth, "roof cached")):
        knee = min(max(speed.flops / rate, ends[0]), ends[1])
        start = max(ends[0], 10.0**y0 / rate)
        corners = [(start, start * rate), (knee, knee * rate)]
        if kind == "roof":
            corners.append((ends[1], speed.flops))
        drawn = " ".join(f"{_n(x(a))},{_n(y(b))}" for a, b in corners)
        parts.append(tag("polyline", points=drawn, class_=kind))
    for point in points:
        told = "" if point.is_measured else "at most "
        reached = f"{told}{count(point.rate)}flop/s"
        title = f"{point.name}: {point.intensity:.3g} flops per byte, {reached}"
        dot = tag(
            "circle",
            tag("title", title),
            cx=_n(x(point.intensity)),
            cy=_n(y(point.rate)),
            r=5,
            class_="dot measured" if point.is_measured else "dot",
        )
        parts.append(tag("a", dot, href=f"#{point.target}"))
    middle = _LEFT + across / 2
    parts.append(_text(middle, height - 6, "operations for each byte read or written", "middle"))
    parts.append(_text(_LEFT + 4, _TOP + 10, "operations a second", "start"))
    return _svg(height, parts, "Roofline: each step below what this machine can do")


def bar(share: float) -> Html:
    """A share of a whole, as a bar."""
    filled = tag("rect", width=_n(100 * min(max(share, 0.0), 1.0)), height=8, class_="bar")
    svg = tag("svg", filled, viewBox="0 0 100 8", class_="bars", aria_hidden="true")
    return tag("span", svg, f" {share:.1%}", class_="share")


def count(number: float) -> str:
    """A number in short, with a letter for thousands, millions and so on, and a space behind it.

    >>> count(1250), count(3.2e9), count(7)
    ('1.25 k', '3.2 G', '7 ')
    """
    for letter, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g} "


# -- parts -----------------------------------------------------------------------------------------
def _svg(height: float, parts: Iterable[Html], label: str) -> Html:
    view = f"0 0 {WIDTH} {height:g}"
    return tag("svg", *parts, viewBox=view, class_="chart", role="img", aria_label=label)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return tag("line", x1=_n(x1), y1=_n(y1), x2=_n(x2), y2=_n(y2), class_=kind)


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return tag("text", text, x=_n(x), y=_n(y), text_anchor=anchor)


def _n(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _decades(least: float, most: float) -> tuple[int, int]:
    """Powers of ten around numbers above 0, at least one apart."""
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return low, max(high, low + 1)
