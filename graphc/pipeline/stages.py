"""What every stage of the pipeline gets: a name, a check, a print, a dump, a time.

`GRAPHC_PRINT=fuse` prints the graph after the stage `fuse` to stderr (`all` for every stage);
`GRAPHC_DUMP=dir` writes `00-input.txt`, `01-unify.txt`, ... there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from graphc import config
from graphc.errors import CompileError, GraphcError
from graphc.ir.check import check_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal
from graphc.ir.text import print_graph
from graphc.pipeline.timings import Timings

T = TypeVar("T")
_DEFECT = "this is a defect of graphc; GRAPHC_DUMP=dir writes what led to it"


@dataclass
class Stages:
    """Runs the stages of one compilation and remembers how long each took."""

    check: bool = False
    seconds: Timings = field(default_factory=Timings)
    texts: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)  # the stages that have something to show
    kept: list[tuple[str, str]] | None = None  # if a list, what each of them showed
    say: Callable[[str], None] = lambda stage: None

    def start(self, graph: Graph) -> None:
        """The graph as it comes in, as stage `input`."""
        self._show("input", lambda: print_graph(graph, origins=True))

    def graph(self, name: str, stage: Callable[[Graph], Graph], graph: Graph) -> Graph:
        """A stage from graph to graph. Errors: as `run`; `CompileError` with the IR around the
        fault if the stage makes an invalid graph (verified whole where `check` is set; that it is
        a graph, and its inputs and results are still of their types, always)."""
        result = self.run(name, lambda: stage(graph))
        _check_face(name, graph, result)
        if self.check:
            self.run(f"{name} (check)", lambda: _check(name, result))
        self._show(name, lambda: print_graph(result, origins=True))
        return result

    def run(self, name: str, stage: Callable[[], T], text: Callable[[T], str] | None = None) -> T:
        """Any stage. Errors: those of the stage, with its name; `CompileError` for a defect."""
        self.say(name)
        try:
            with self.seconds.stage(name):
                result = stage()
        except GraphcError as error:
            error.add_note(f"in the compiler's stage {name!r}")
            raise
        except Exception as error:
            raise CompileError(
                f"the stage failed: {type(error).__name__}: {error}",
                op=f"stage {name!r}",
                hint=_DEFECT,
            ) from error
        if text is not None:
            self._show(name, lambda: text(result))
        return result

    def finish(self) -> None:
        """Says on stderr which stages of `GRAPHC_PRINT` there were not."""
        for name in config.print_stages():
            if name not in ("all", *self.shown):
                there = ", ".join(self.shown)
                _print(f"# GRAPHC_PRINT: there was no stage {name!r} to print, but all, {there}")

    def _show(self, name: str, text: Callable[[], str]) -> None:
        self.shown.append(name)
        directory = config.dump_directory()
        wanted = {name, "all"} & set(config.print_stages())
        if directory is None and not wanted and self.kept is None:
            return
        shown = text()
        if self.kept is not None:
            self.kept.append((name, shown))
        if wanted:
            _print(f"# {name}\n{shown}")
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / f"{len(self.texts):02d}-{name}.txt"
            path.write_text(shown, encoding="utf-8")
        self.texts.append(name)


def _print(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  (what the setting is for)


def _check(name: str, result: Graph) -> None:
    try:
        check_graph(result)
    except GraphcError as error:
        raise CompileError(
            f"the stage made an invalid graph: {error.message}",
            op=f"stage {name!r}",
            expected=error.expected,
            given=error.given,
            where=error.where,
            hint=_DEFECT,
        ) from error


def _check_face(name: str, graph: Graph, result: Graph) -> None:
    """What callers rely on: as many inputs, results and updates, of the same types; of shapes that
    may be equal where an equation says so, or `unify` writes one name for another."""
    if not isinstance(result, Graph):
        raise CompileError(
            "the stage gave no graph",
            op=f"stage {name!r}",
            expected=f"a graph, for\n{print_graph(graph)}",
            given=repr(result)[:80],
            hint=_DEFECT,
        )
    for what, before, after in (
        ("inputs", graph.inputs, result.inputs),
        ("outputs", graph.outputs, result.outputs),
        ("updates", [v for _, v in graph.updates], [v for _, v in result.updates]),
    ):
        if [t.type for t in before] == [t.type for t in after]:
            continue
        assumed = name == "unify" or graph.sizes.needed
        if not assumed or not _may_be_same(before, after):
            raise CompileError(
                f"the stage changed the {what} of the graph:\n{print_graph(result)}",
                op=f"stage {name!r}",
                expected=", ".join(str(t.type) for t in before),
                given=", ".join(str(t.type) for t in after) or "none",
                hint=_DEFECT,
            )


def _may_be_same(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    return len(before) == len(after) and all(
        b.dtype is a.dtype and may_be_equal(b.shape, a.shape)
        for b, a in zip(before, after, strict=True)
    )
