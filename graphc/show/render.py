"""DOT text as a picture file: by the Graphviz inside pygraphviz, else by the system's `dot`."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graphviz

from graphc import locks
from graphc.errors import ArgumentError, GraphcError
from graphc.show.dark import with_dark
from graphc.show.fonts import load_fonts, without_messages

FORMATS = ("svg", "png", "pdf", "dot")
DOT, PLACED = "dot", "neato"  # what lays out a picture: Graphviz, or who made it
ONE_RANKING = "newrank=true"  # frames take part in one ranking; else each has its own
_TROUBLE = (b"Error: trouble in init_rank", b"\t")
_MINOR = (b"Warning: node ", b"lib/pathplan/", b"Error: in routesplines", b"Error: lost ")
_LANE_FRAME = re.compile(r"subgraph cluster_(\d+) \{\n\t*lane\d+ ")
_SIDEWAYS = re.compile(r"\brankdir=(LR|RL)\b")
_BELOW = re.compile(r"^\tn\d+ -> \w+ \[style=invis weight=0\]\n", re.MULTILINE)
_BESIDE = re.compile(r"^\t\{ rank=same n\d+ n\d+ \}\n", re.MULTILINE)
_SHAPE = re.compile(rb'<polygon [^>]*points="([^"]*)"')
_DPI = "144"  # of PNG: readable when printed or zoomed

_FAILURES = (
    ImportError,
    OSError,
    ValueError,
    graphviz.CalledProcessError,
    graphviz.ExecutableNotFound,
)
_lock = locks.private()  # Graphviz is a C library with state of its own


def render(dot: str, form: str, layout: str = DOT) -> bytes:
    """The picture of DOT text as `svg`, `png` or `pdf`, or the text itself as `dot`.

    Errors: `GraphcError` where no Graphviz can be used, or it cannot draw the picture.
    """
    if form == "dot":
        return dot.encode()
    problems = []
    for engine in (_by_pygraphviz, _by_system):
        try:
            data = engine(dot, form, layout)
            return with_dark(data) if form == "svg" else data
        except _FAILURES as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            problems.append(f"{engine.__name__.removeprefix('_by_')}: {lines[0]}")
    raise GraphcError(
        "no Graphviz could draw the picture",
        op="draw",
        expected="the package pygraphviz, or the program `dot`",
        given="; ".join(problems),
        hint="pip install pygraphviz, or install Graphviz",
    )


def _by_pygraphviz(dot: str, form: str, layout: str) -> bytes:
    # The bindings below pygraphviz's own class: that one looks for a charset in the user's text,
    # and writes to stderr about large graphs.
    from pygraphviz import graphviz as bindings

    with _lock:
        load_fonts(lambda: _drawn(bindings, "graph { a }", "svg", DOT)[0])
        with without_messages((*_TROUBLE, *_MINOR)) as said:
            data, svg = _drawn(bindings, dot, form, layout)
            for looser in _looser(dot):
                if in_order(dot, svg):
                    break
                data, svg = _drawn(bindings, looser, form, layout)
            if ONE_RANKING in dot.partition("]")[0] or layout != DOT:
                return data
        if any(line.startswith(_TROUBLE) for line in said):
            # ranks of frames that go in circles: what it drew is not laid out
            dot = dot.replace("graph [", f"graph [{ONE_RANKING} ", 1)
            with without_messages(_MINOR):
                data, _ = _drawn(bindings, dot, form, DOT)
        return data


def in_order(dot: str, svg: bytes) -> bool:
    """Whether lanes stand beside each other from left to right, if there are any and they do."""
    found: list[float] = []
    if _SIDEWAYS.search(dot.partition("]")[0]):
        return True
    for number in _LANE_FRAME.findall(dot):
        title = f"<title>cluster_{number}</title>".encode()
        shape = _SHAPE.search(svg, max(svg.find(title), 0))
        found.append(_left(shape[1]) if shape else 0.0)
    return found == sorted(found)


def _left(points: bytes) -> float:
    return min(float(point.partition(b",")[0]) for point in points.split())


def _looser(dot: str) -> Iterator[str]:
    """The text with fewer wishes, so that dot finds the order of lanes: without what stands below
    others, then also without variables beside their operations."""
    yield (without := _BELOW.sub("", dot))
    yield _BESIDE.sub("", without)


def _drawn(bindings: Any, dot: str, form: str, layout: str) -> tuple[bytes, bytes]:
    """The picture, and the same as SVG where that may be asked for."""
    with tempfile.TemporaryFile() as file:
        file.write(dot.encode())
        file.seek(0)
        graph = bindings.agread(file, None)
        context = bindings.gvContextWithBuiltins()
        try:
            if form == "png":
                bindings.agsafeset(graph, b"dpi", _DPI.encode(), b"")
            if bindings.gvLayout(context, graph, layout.encode()):
                raise ValueError("the layout failed")
            failed, data = bindings.gvRenderData(context, graph, form.encode())
            svg = data
            if not failed and form != "svg" and _LANE_FRAME.search(dot):
                failed, svg = bindings.gvRenderData(context, graph, b"svg")
            bindings.gvFreeLayout(context, graph)
            if failed:
                raise ValueError(f"{form} failed")
            return bytes(data), bytes(svg)
        finally:
            bindings.agclose(graph)
            bindings.gvFreeContext(context)


def _by_system(dot: str, form: str, layout: str) -> bytes:
    drawn: bytes = graphviz.Source(dot, engine=layout).pipe(form, quiet=True)
    return drawn


def save(dot: str, path: Path, layout: str = DOT) -> Path:
    """The picture in a file whose suffix says the format; the file is whole or untouched.

    Errors: `ArgumentError` for another suffix, or a place that cannot be written; `GraphcError`
    where no Graphviz can be used: the DOT text is then in a `.dot` file beside `path`.
    """
    form = path.suffix[1:].lower()
    if form not in FORMATS:
        raise ArgumentError(
            "the suffix of the path names no format that can be drawn",
            op="draw",
            expected=", ".join("." + f for f in FORMATS),
            given=repr(str(path))[:200],
        )
    try:
        data = render(dot, form, layout)
    except GraphcError as error:
        beside = path.with_suffix(".dot")
        write(dot.encode(), beside)
        raise GraphcError(
            error.message,
            op=error.op,
            expected=error.expected,
            given=error.given,
            hint=f"the DOT text is in {str(beside)!r}; {error.hint}",
        ) from None
    write(data, path)
    return path


def write(data: bytes, path: Path, op: str = "draw") -> None:
    """A file, beside its place first, then renamed. Errors: `ArgumentError` where it cannot be
    written."""
    draft = path.with_name(f".draw-{secrets.token_hex(6)}.tmp")
    try:
        try:
            draft.write_bytes(data)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ArgumentError(
            "the file cannot be written", op=op, given=repr(str(path))[:200], hint=why
        ) from None
