"""The view "memory": the arena of a program over its steps.

To the right the steps, upwards the bytes of the arena; a rectangle is a temporary, as long as it is
needed, where it lies, as high as it is large. What nothing covers is free. The rectangles are nodes
with places, so that Graphviz writes every format; the layout is ours.
"""

from __future__ import annotations

from graphc.ir.dim import size_hint
from graphc.planning.memory import hinted_bytes, timeline
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Gemm,
    Host,
    Loop,
    Program,
    Step,
    touched,
)
from graphc.show import labels
from graphc.show.cost import in_bytes
from graphc.show.dot import escaped, quoted

_WIDTH, _HEIGHT = 900.0, 360.0  # points of the whole
_LONGEST = 110.0  # points of one step
_TEXT = 8.0  # the size of letters in points
_TINTS = ("#cfe6f5", "#fde9b8", "#d3efe5", "#f3dbe8", "#fbe3d6", "#e4e4e4")  # as in `dot.py`
_LINES = ("#0072b2", "#b57900", "#007a58", "#a3527f", "#b84a00", "#777777")


def memory_dot(program: Program) -> str:
    """The picture as DOT text, for the engine `neato`."""
    steps, lifetimes = timeline(program)
    arena = max(size_hint(program.arena), 1)
    wide = min(_LONGEST, _WIDTH / max(len(steps), 1))
    tall = _HEIGHT / arena
    writers = _writers(steps)
    boxes = [
        _box(-6 - wide * 0.0, 0, 0.5, _HEIGHT, "", "#777777", "#777777", "the arena", 0),
    ]
    order = sorted(lifetimes.items(), key=lambda item: (item[1], size_hint(item[0].offset)))
    for number, (storage, (first, last)) in enumerate(order, start=1):
        size = hinted_bytes(storage.size, storage.dtype)
        who = writers.get(id(storage), "temporary")
        low, high = size_hint(storage.offset) * tall, size * tall
        width = (last - first + 1) * wide
        text = _fitting((who, in_bytes(size)), width, high)
        place = f"{in_bytes(size)} at {in_bytes(storage.offset)}"
        tip = f"{who}: {place}, steps {first + 1} to {last + 1}"
        fill, line = _TINTS[number % len(_TINTS)], _LINES[number % len(_LINES)]
        boxes.append(_box(first * wide, low, width, high, text, fill, line, tip, number))
    texts = [
        _text(-30, _HEIGHT, in_bytes(arena), "a1"),
        _text(-30, 4, "0 B", "a0"),
        _text(len(steps) * wide / 2, _HEIGHT + 22, _title(program, arena, len(steps)), "title"),
    ]
    every = max(1, round(30 / wide))
    for i, step in enumerate(steps):
        if i % every == 0:
            name = labels.shorten(_name(step), max(4, int(wide * every / 5)))
            texts.append(_text((i + 0.5) * wide, -10, f"{i + 1}\n{name}", f"s{i}"))
    return "\n".join(
        [
            "// drawn by graphc",
            "digraph graphc {",
            '\tgraph [layout=neato inputscale=72 overlap=true splines=false pad=0.2 tooltip=" "]',
            '\tnode [fontname="Helvetica,Arial,DejaVu Sans,sans-serif" fontsize=8 margin=0]',
            *boxes,
            *texts,
            "}\n",
        ]
    )


def _title(program: Program, arena: int, steps: int) -> str:
    sizes = ", ".join(f"{name} = {size_hint_of(name)}" for name in program.graph.dims)
    return f"arena of {in_bytes(arena)} over {steps} steps" + (f", at {sizes}" if sizes else "")


def size_hint_of(name: str) -> int:
    from graphc.ir.dim import named

    return size_hint(named(name))


def _writers(steps: list[Step]) -> dict[int, str]:
    """What first writes each storage."""
    found: dict[int, str] = {}
    for step in steps:
        for ref in touched(step)[1]:
            found.setdefault(id(ref.storage), _name(step))
    return found


def _name(step: Step) -> str:
    """A step in one word or two."""
    match step:
        case Call(name=name):
            return name or "kernel"
        case Blocks(call=call):
            return f"product, {call.name or 'kernel'}"
        case Gemm():
            return "product"
        case Copy():
            return "copy"
        case Host(node=node):
            return node.op.name
        case Loop(node=node) | Branch(node=node):
            return node.op.name
        case _:
            return "leave"


def _fitting(lines: tuple[str, str], width: float, height: float) -> str:
    """The lines that a rectangle has room for."""
    room = int(width / (0.55 * _TEXT))
    if room < 4 or height < 1.2 * _TEXT:
        return ""
    if height < 2.6 * _TEXT:
        return labels.shorten(" ".join(lines), room)
    return "\n".join(labels.shorten(line, room) for line in lines)


def _box(
    x: float, y: float, width: float, height: float,
    text: str, fill: str, line: str, tip: str, number: int,
) -> str:  # fmt: skip
    """A rectangle whose lower left corner is at (x, y)."""
    return (
        f"\tn{number} [shape=box style=filled fixedsize=true label={quoted(escaped(text))}"
        f" tooltip={quoted(escaped(tip))} fillcolor={quoted(fill)} color={quoted(line)}"
        f' pos="{x + width / 2:.2f},{y + height / 2:.2f}!"'
        f" width={max(width, 0.5) / 72:.4f} height={max(height, 0.5) / 72:.4f} penwidth=0.7]"
    )


def _text(x: float, y: float, text: str, name: str) -> str:
    return (
        f"\tt_{name} [shape=plain label={quoted(escaped(text))} fontcolor={quoted('#555555')}"
        f' pos="{x:.2f},{y:.2f}!"]'
    )
