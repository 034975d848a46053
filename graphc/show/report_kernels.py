"""The kernels of a report: what each computes, for which lines, at what cost, and beside whom."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Iterator

import sympy as sp
from sympy.printing.mathml import mathml

from graphc.errors import ArgumentError
from graphc.fusion.elements import expressions
from graphc.ir.dim import evaluate
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.origin import Origin, called
from graphc.ir.text import print_graph
from graphc.planning.program import Blocks, Copy, Examples, Leave, Step
from graphc.runtime.kernels import KernelInfo
from graphc.runtime.profile import duration
from graphc.show.charts import count
from graphc.show.html import Html, tag, together
from graphc.show.report_facts import Facts, name_of, region
from graphc.symbolic.dims import readable

_LONGEST = 80  # operations of a formula that is shown
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


def kernels(facts: Facts) -> Html:
    """A part for each kernel."""
    if not facts.kernels:
        return tag("p", "There are none: what is to be done is products and copies.")
    _keep_code(facts)
    return together(_kernel(facts, kernel) for kernel in facts.kernels)


def _keep_code(facts: Facts) -> None:
    """The LLVM IR and the assembly of all kernels among the texts of the page."""
    code = facts.function.compilation.pieces.code
    for kernel in facts.kernels:
        _, piece = code[kernel.name]
        facts.texts[f"{kernel.name}.source"] = kernel.source
        for form in _FORMS:
            if (text := getattr(piece, form, None)) is not None:
                facts.texts[f"{kernel.name}.{form}"] = text


def _kernel(facts: Facts, kernel: KernelInfo) -> Html:
    node = kernel.calls[0].node
    runs = [i for i, step in enumerate(facts.steps) if facts.target_of(step) == kernel.name]
    short = [tag("b", kernel.name), region(node)]
    if facts.profile is not None:
        share = sum(facts.profile.steps[i].share for i in runs)
        seconds = sum(facts.profile.steps[i].seconds for i in runs)
        short.append(tag("span", f" {duration(seconds)}, {share:.1%} of a call", class_="pale"))
    parts = [tag("summary", *short), *_equations(node), *_cost(facts, runs)]
    parts += [tag("h3", "Your lines"), _lines(_origins(kernel))]
    parts += _neighbours(facts, kernel)
    parts += _code(facts, kernel)
    return tag("details", *parts, class_="kernel", id=kernel.name)


# -- what it computes ------------------------------------------------------------------------------
def _equations(node: Node) -> Iterator[Html]:
    """An element of each result as a formula of the operands; where there is none, and beside it,
    the text of the graph."""
    body: Graph = node.attrs["body"]
    yield tag("h3", "Equations")
    try:
        found = expressions(body, _names(body))
    except (ArgumentError, TypeError) as error:  # SymPy adds no truth values
        said = error.message if isinstance(error, ArgumentError) else str(error)
        yield tag("p", f"There is no formula of one element: {said}", class_="pale")
        found = []
    for number, right in enumerate(found, 1):
        left = tag("mi", "result")
        if len(found) > 1:
            left = tag("msub", left, tag("mn", str(number)))
        if sp.count_ops(right) <= _LONGEST:
            shown = Html(mathml(right, printer="presentation"))
            yield tag("math", tag("mrow", left, tag("mo", "="), shown), display="block")
    named = [(p.name, t.name) for p, t in zip(body.inputs, node.inputs, strict=True) if t.name]
    if named:
        told = [part for p, name in named for part in (", ", tag("code", f"{p} is {name}"))]
        yield tag("p", "Here ", *told[1:], class_="pale")
    yield tag("pre", print_graph(body).strip())


def _names(body: Graph) -> list[str]:
    """Names for the operands of a region: the user's own where they are plain, else letters."""
    found: list[str] = []
    for number, tensor in enumerate(body.inputs):
        name = tensor.name.rpartition("/")[2]
        if not _PLAIN.fullmatch(name) or len(name) > 20 or name in found or name == "result":
            name = f"x_{number + 1}"
        while name in found:
            name += "_2"
        found.append(name)
    return found


# -- what it costs ---------------------------------------------------------------------------------
def _cost(facts: Facts, runs: list[int]) -> Iterator[Html]:
    yield tag("h3", "Cost")
    for number in runs:
        cost = facts.costs[number]
        flops, moved = (evaluate(size, facts.all_dims) for size in (cost.flops, cost.bytes))
        told = (
            f": {readable(cost.flops)} operations ({count(flops).strip()}),"
            f" {readable(cost.bytes)} bytes ({count(moved)}B)"
        )
        if facts.profile is not None:
            time = facts.profile.steps[number]
            told += f"; {duration(time.seconds)}, {time.of_limit:.0%} of the limit"
        yield tag("p", tag("a", f"step {number}", href=f"#{name_of(number)}"), told)


# -- the user's lines ------------------------------------------------------------------------------
def lines_of(facts: Facts, step: Step) -> Html:
    """The places of the user's program that a step is for, in short."""
    node = _node(step)
    origins = () if node is None else node.origins
    return tag("code", ", ".join(dict.fromkeys(place(origin) for origin in origins)))


def _node(step: Step) -> Node | None:
    if isinstance(step, Blocks):
        return step.product.node
    return None if isinstance(step, (Copy, Examples, Leave)) else step.node


def _origins(kernel: KernelInfo) -> list[Origin]:
    return list(dict.fromkeys(o for call in kernel.calls for o in call.node.origins))


def _lines(origins: list[Origin]) -> Html:
    """Each place with the text of its line, if the file is there."""
    if not origins:
        return tag("p", "none: the compiler made it", class_="pale")
    texts = {place(o): _line(o) for o in origins}
    width = max(map(len, texts))
    lines = (f"{where.ljust(width)}  {text}".rstrip() for where, text in texts.items())
    return tag("pre", "\n".join(lines))


def _line(origin: Origin) -> str:
    try:
        return linecache.getline(origin.file, origin.line).strip()
    except ValueError:  # a name that no file can have
        return ""


def place(origin: Origin) -> str:
    """A line of a file: its path from here if it is below, else its name."""
    try:
        below = os.path.relpath(called(origin.file))
    except ValueError:  # on another drive, or no path at all
        below = ".."
    return origin.short if below.startswith("..") else f"{below}:{origin.line}"


# -- its neighbours --------------------------------------------------------------------------------
def _neighbours(facts: Facts, kernel: KernelInfo) -> Iterator[Html]:
    """Why it is not one with the kernels that read its results, or whose results it reads."""
    names = {call.node: k.name for k in facts.kernels for call in k.calls}
    found: dict[tuple[str, str, str], None] = {}
    for border in facts.borders:
        producer, consumer = names.get(border.producer), names.get(border.consumer)
        if producer is None or consumer is None:
            continue
        if kernel.name == producer:
            found["which reads it", consumer, border.reason] = None
        if kernel.name == consumer:
            found["which it reads", producer, border.reason] = None
    if found:
        yield tag("h3", "Why it is not one with its neighbours")
        items = (
            tag("li", tag("a", name, href=f"#{name}"), f", {side}: {reason}")
            for side, name, reason in found
        )
        yield tag("ul", *items)


# -- its code --------------------------------------------------------------------------------------
_FORMS = {"source": "Python source", "llvm_ir": "LLVM IR", "asm": "machine code", "ptx": "PTX"}


def _code(facts: Facts, kernel: KernelInfo) -> Iterator[Html]:
    yield tag("h3", "Code")
    forms = [form for form in _FORMS if f"{kernel.name}.{form}" in facts.texts]
    buttons = (
        tag(
            "button",
            _FORMS[form],
            type="button",
            data_code=f"{kernel.name}.{form}",
            aria_pressed="true" if form == "source" else "false",
        )
        for form in forms
    )
    tools = tag("div", *buttons, class_="tools")
    yield tag("div", tools, tag("pre"), class_="code")
