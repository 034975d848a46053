r"""The lines of LaTeX that tensors are: which part has a name, what a loop or a branch reads like.

A `Sheet` has the lines, and the labels that are taken. A `Writer` writes the tensors of one graph
on it, operands before users; the step of a loop is written by a writer of its own on the same
sheet, its names with the loop's index below:

    h_{0} &= 0_{3}
    h_{t} &= \tanh\left(x_{t} + h_{t - 1} U\right), \quad t = 1, \ldots, n
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import NamedTuple

import numpy as np

from graphc.ir.dim import Dim, Size, names
from graphc.ir.dtype import bool_
from graphc.ir.graph import Graph, all_nodes, bodies, walk
from graphc.ir.node import Node, Tensor
from graphc.ir.shape import Shape
from graphc.symbolic.attention import attention, heads, in_latex, joined_heads, turned_heads
from graphc.symbolic.notation import (
    AS_OPERAND,
    FIRST,
    LETTERS,
    NOTATIONS,
    POSITIONS,
    attribute,
    by_formula,
    by_index,
    by_name,
    cases,
    indexed,
)
from graphc.symbolic.recognize import drawn, key_of
from graphc.symbolic.texts import ATOM, POWER, Text, below, escape, made, number, size

_LONGEST = 40  # operations in one formula
_SHORT = 12  # characters of what is written again rather than named
_RESERVED = {rf"\mathrm{{{word}}}" for word in ("true", "false", "NaN", "none")}
_HEADS = ("i", "j", "k")  # indices of the heads of attention
_STEPS = ("t", "s", "r", r"\tau")  # indices of loops
_CARRIES = ("h", "c", "s", "r", "q", "p")
_STACKED = ("y", "z", "u", "a")
_NAME = re.compile(r"\\?[A-Za-z]+|\\mathrm\{\w+\}")
_FIRST = re.compile(r"(\\?[A-Za-z]+|\\mathrm\{\w+\})_\{0\}")


class Line(NamedTuple):
    """`left sign right`, for the values of indices that are in `note`."""

    left: str
    right: str
    sign: str = "="
    note: str = ""

    def __str__(self) -> str:
        note = rf", \quad {self.note}" if self.note else ""
        return f"{self.left} &{self.sign} {self.right}{note}"


class Sheet:
    """Lines, and labels that are taken. `parts`: what is used twice, or is long, gets a line."""

    def __init__(self, labels: set[str] | None = None, parts: bool = True) -> None:
        self.parts = parts
        self.lines: list[Line] = []
        self.labels = _RESERVED | set() if labels is None else labels
        self._numbers = count(1)

    def block(self) -> str:
        body = " \\\\\n".join(map(str, self.lines))
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def unused(self, label: str) -> str:
        """`label`, marked if another tensor has it; taken from now on."""
        unique, number = label, 2
        while unique in self.labels:
            unique, number = f"{label}^{{({number})}}", number + 1
        self.labels.add(unique)
        return unique

    def one_of(self, labels: Sequence[str]) -> str:
        """The first of some labels that is free; taken from now on."""
        return self.unused(next((x for x in labels if x not in self.labels), labels[0]))

    def numbered(self, letter: str) -> str:
        """A label that nothing has: a letter with the next number."""
        free = (f"{letter}_{{{number}}}" for number in self._numbers)
        return self.unused(next(label for label in free if label not in self.labels))


class Loops(NamedTuple):
    """The loops around what is written: their indices, and what these go over."""

    indices: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()

    def inside(self, index: str, over: str) -> Loops:
        return Loops((*self.indices, index), (*self.ranges, over))

    @property
    def note(self) -> str:
        return r",\; ".join(self.ranges)


class Writer:
    """Writes some tensors on a sheet, from their nodes in order.

    `given`: the texts of tensors at which to stop. `named`: labels for tensors, each of which gets
    a line. `loops`: those around.
    """

    def __init__(
        self,
        roots: Sequence[Tensor],
        sheet: Sheet,
        given: Mapping[Tensor, Text] | None = None,
        named: Mapping[Tensor, str] | None = None,
        loops: Loops = Loops(),  # noqa: B008  (it never changes)
    ) -> None:
        self._roots, self.sheet, self.loops = roots, sheet, loops
        self._named_as = dict(named or {})
        self.texts: dict[Tensor, Text] = dict(given or {})
        self._given = frozenset(self.texts)
        self._nodes = [n for n in shown(roots, self.texts) if not self._is_given(n)]
        for node in self._nodes:  # a dim keeps its name, and a tensor of that name is marked
            sizes = [*(type.shape for type in node.types), *node.attrs.values()]
            sheet.labels |= {escape(name) for name in _dims(sizes)}
        inner = (n for node in self._nodes for body in bodies(node) for n in all_nodes(body))
        for node in [*self._nodes, *inner]:  # so does a function whose name is a letter
            sheet.labels |= LETTERS.get(node.op.name, set())
        for node in self._nodes:  # before any name is made up
            if not node.inputs and (t := node.output()).name and t not in self.texts:
                self.texts[t] = below(sheet.unused(escape(t.name)))

    def name(self, t: Tensor, label: str) -> str:
        """Give a tensor a line of its own, under this label; the label."""
        if t not in self.texts:
            self._named_as.setdefault(t, label)
        return label

    def shows(self, t: Tensor) -> bool:
        """Whether it is computed, and has no name yet."""
        return t.node in self._nodes and t not in self.texts and t not in self._named_as

    def _is_given(self, node: Node) -> bool:
        return all(t in self.texts for t in node.outputs)

    def results(self) -> list[Text]:
        """The texts of the roots, behind the lines of what has a name."""
        roots = set(self._roots)
        uses = dict.fromkeys(roots, 0)
        for node in self._nodes:
            for t in operands_of(node, self._given):
                uses[t] = uses.get(t, 0) + 1
        for node in self._nodes:
            wanted = [t for t in node.outputs if t in uses and t not in self.texts]
            for t, text in zip(wanted, self._write(node, wanted), strict=True):
                shared = uses[t] > 1 and not _is_short(text)
                if t in self._named_as:
                    text = self.line(self._named_as[t], text)
                elif t not in roots and self.sheet.parts and (shared or text.size > _LONGEST):
                    text = self._numbered(text)
                self.texts[t] = text
        return [self.texts[t] for t in self._roots]

    def _write(self, node: Node, wanted: Sequence[Tensor]) -> list[Text]:
        """The texts of some outputs of a node."""
        if not wanted:
            return []
        if node.op.name == "scan":
            return self._scan(node, wanted)
        if node.op.name == "while_loop":
            return self._while(node, wanted)
        return [self._output(node, t) for t in wanted]

    def _output(self, node: Node, t: Tensor) -> Text:
        of, name = self.texts.__getitem__, node.op.name
        probability = drawn(node)
        if probability is not None:
            key = self.texts[operands_of(node)[1]]
            return self._mask(key, of(probability).text, t.shape)
        if name == "attention":
            return self._attention(node)
        if (joined := joined_heads(t, self._given)) is not None:
            return self._joined(of(joined), joined.shape[-3])
        if (split := heads(t, self._given)) is not None:
            return self._split(of(split[0]), split[1], turned_heads(t) is not None)
        if name in POSITIONS:
            return POSITIONS[name][t.index](of, node)
        if name in AS_OPERAND:
            return of(node.inputs[t.index])
        if name in NOTATIONS:
            return NOTATIONS[name](of, node)
        if name == "switch":
            return self._switch(node, t)
        if node.op.formula is not None:
            return by_formula(of, node)
        attributes = [f"{escape(k)} = {self._attribute(v)}" for k, v in node.attrs.items()]
        return by_name(node, [of(x) for x in node.inputs], attributes, t.index)

    def _attribute(self, value: object) -> str:
        return self._function(value) if isinstance(value, Graph) else attribute(value)

    # -- names -------------------------------------------------------------------------------------
    def line(self, label: str, text: Text, sign: str = "=") -> Text:
        """The label, which stands for a text from now on."""
        self.sheet.lines.append(Line(label, text.text, sign, self.loops.note))
        return below(label)

    def _numbered(self, text: Text, letter: str = "v", sign: str = "=") -> Text:
        label = self.sheet.numbered(letter)
        return self.line(below(label, *self.loops.indices).text, text, sign)

    def _mask(self, key: Text, probability: str, shape: Shape) -> Text:
        """A mask of 0 and 1, by its name, which its probability and its key explain."""
        sizes = r" \times ".join(size(s).text for s in shape)
        law = rf"\operatorname{{Bernoulli}}_{{{key.text}}}\left({probability}\right)"
        return self._numbered(Text(f"{law}^{{{sizes}}}" if sizes else law), "m", r"\sim")

    # -- attention ---------------------------------------------------------------------------------
    def _attention(self, node: Node) -> Text:
        """The formula; of several heads, a line with their index for one of them."""
        read = attention(node, self._given)
        mask = None if read.mask is None else self.texts[read.mask]
        kept = None
        if read.rate:
            left = number(np.float64(1) - read.rate).text
            scores = (*node.inputs[0].shape[:-1], node.inputs[1].shape[-2])
            kept = self._mask(self.texts[read.more[0]], left, scores)
        if read.heads is None or read.heads == 1:
            return in_latex(read, [self.texts[t] for t in read.operands[:3]], mask, kept)
        index = self.sheet.one_of(_HEADS)
        over = self.loops.inside(index, rf"{index} = 1, \ldots, {read.heads}")
        parts = []
        for t, letter in zip(read.operands[:3], "QKV", strict=True):
            if not _NAME.fullmatch(self.texts[t].text):
                self.texts[t] = self.line(self._below(self.sheet.one_of((letter,))), self.texts[t])
            parts.append(below(self.texts[t].text, index))
        head = self.sheet.unused(r"\mathrm{head}")
        text = in_latex(read, parts, mask, kept)
        left = below(head, *over.indices).text
        self.sheet.lines.append(Line(left, text.text, "=", over.note))
        self.sheet.labels.discard(index)
        return below(head, *self.loops.indices, rf"1:{read.heads}")

    def _joined(self, heads: Text, count: Size) -> Text:
        """The results of all heads, side by side."""
        if count == 1:
            return heads
        return made(rf"\operatorname{{concat}}\left({heads.text}\right)", POWER, (heads,))

    def _split(self, x: Text, count: int, turned: bool) -> Text:
        """Features as the axis of their heads."""
        name = rf"\operatorname{{heads}}_{{{count}}}\left({x.text}\right)"
        return made(rf"{name}^{{\top}}" if turned else name, POWER, (x,))

    def _below(self, label: str) -> str:
        """A label in the loops around."""
        return below(label, *self.loops.indices).text

    # -- branches and functions --------------------------------------------------------------------
    def _switch(self, node: Node, t: Tensor) -> Text:
        """All branches, over the operands."""
        p, *operands = (self.texts[x] for x in node.inputs)
        sides = []
        for branch in node.attrs["branches"]:
            given = dict(zip(branch.inputs, operands, strict=True))
            sides += Writer([branch.outputs[t.index]], self.sheet, given, {}, self.loops).results()
        if node.inputs[0].dtype is bool_:
            return cases([p, *reversed(sides)], r"\text{if}\:", r"\text{else}")
        return by_index(p, sides)

    def _function(self, graph: Graph) -> str:
        """A graph as a function of its inputs."""
        sheet = Sheet(self.sheet.labels)
        inputs = {x: below(sheet.unused(escape(x.name))) for x in graph.inputs}
        results = ", ".join(x.text for x in Writer(graph.outputs, sheet, inputs).results())
        parameters = ", ".join(x.text for x in inputs.values())
        text = rf"\left({results}\right)"
        if sheet.lines:
            sheet.lines.append(Line("", text, ""))
            text = sheet.block()
        return rf"\left({parameters}\right) \mapsto {text}"

    # -- loops -------------------------------------------------------------------------------------
    def _scan(self, node: Node, wanted: Sequence[Tensor]) -> list[Text]:
        """Lines for the first carries, those of a step, and for what a step gives besides."""
        attrs, body = node.attrs, node.attrs["body"]
        carries, xs, backwards = attrs["carries"], attrs["xs"], attrs["reverse"]
        length: Size = attrs["length"]
        first, last = ("1", size(length).text) if not backwards else (size(length).text, "1")
        before = size(length + 1).text if backwards else "0"
        kept = _positions(body, carries, {t.index for t in wanted})
        index = self.sheet.one_of([s for s in _STEPS if s not in self.loops.indices])
        loops = self.loops.inside(index, rf"{index} = {first}, \ldots, {last}")
        inner = _Step(self, node, kept, loops, f"{index} {'+' if backwards else '-'} 1")
        labels = {i: inner.carry(i, before) for i in kept if i < carries}
        for i in range(carries, carries + xs):
            inner.given(i, partial(self._element, node.inputs[i], index))
        same = {body.outputs[i]: label for i, label in labels.items()}
        for i in kept:
            if i >= carries:
                known = same.get(body.outputs[i])
                labels[i] = self.sheet.one_of(_STACKED) if known is None else known
        inner.write(labels)
        self.sheet.labels.discard(index)
        ends = {t.index: last if t.index < carries else rf"1:{size(length).text}" for t in wanted}
        return [below(labels[i], *self.loops.indices, end) for i, end in ends.items()]

    def _while(self, node: Node, wanted: Sequence[Tensor]) -> list[Text]:
        """Lines for the first carries, those of a step, and for how many steps there are."""
        body, condition, carries = (node.attrs[k] for k in ("body", "condition", "carries"))
        reads = {i for i in range(carries) if condition.inputs[i].node in set(condition.nodes)}
        kept = _positions(body, carries, {t.index for t in wanted} | reads)
        index = self.sheet.one_of([s for s in _STEPS if s not in self.loops.indices])
        last = below(self.sheet.one_of(("T", "N", "K")), *self.loops.indices).text
        loops = self.loops.inside(index, rf"{index} = 1, \ldots, {last}")
        inner = _Step(self, node, kept, loops, f"{index} - 1")
        labels = {i: inner.carry(i, "0") for i in kept}
        inner.write(labels)
        texts = {i: below(label, *loops.indices) for i, label in labels.items()}
        texts |= {i: self.texts[node.inputs[i]] for i in range(carries, len(node.inputs))}
        given = {condition.inputs[i]: text for i, text in texts.items()}
        every = self.loops.inside(index, rf"{index} = 0, \ldots, {last}")
        (holds,) = Writer(condition.outputs, self.sheet, given, {}, every).results()
        steps = rf"\min \left\{{ {index} \geq 0 : \neg\left({holds.text}\right) \right\}}"
        self.line(last, Text(steps))
        self.sheet.labels.discard(index)
        return [below(labels[t.index], *self.loops.indices, last) for t in wanted]

    def _element(self, x: Tensor, index: str) -> Text:
        """What a step reads of `x`: its part at an index, counted from 1."""
        axes = x.node.attrs.get("axes") if x.node.op.name == "permute_dims" else None
        if axes is not None and [a for a in axes if a != axes[0]] == sorted(axes[1:]):
            (source,) = x.node.inputs
            marks = [":"] * axes[0] + [index] + [":"] * (x.ndim - 1 - axes[0])
            if source in self.texts:
                return indexed(self.texts[source], ",".join(marks))
        text = self.texts[x]
        if _NAME.fullmatch(text.text):
            return below(text.text, index)
        return indexed(text if text.level == ATOM else self._numbered(text), index)


class _Step:
    """A step of a loop, before it is written: the texts of what its body is given."""

    def __init__(
        self, outer: Writer, node: Node, kept: Sequence[int], loops: Loops, previous: str
    ) -> None:
        self._outer, self._node, self._loops, self._previous = outer, node, loops, previous
        self._body: Graph = node.attrs["body"]
        self._given: dict[Tensor, Text] = {}
        roots = [self._body.outputs[i] for i in kept]
        self._used = {t for n in shown(roots, ()) for t in operands_of(n)} | set(roots)

    def carry(self, i: int, before: str) -> str:
        """A label for a carry, whose first value has a line, unless that is a name as `h_{0}`."""
        sheet, around = self._outer.sheet, self._outer.loops.indices
        first = self._outer.texts[self._node.inputs[i]]
        match = None if around or before != "0" else _FIRST.fullmatch(first.text)
        free = match is not None and match[1] not in sheet.labels
        label = sheet.unused(match[1]) if match and free else sheet.one_of(_CARRIES)
        if not free:
            self._outer.line(below(label, *around, before).text, first)
        self._given[self._body.inputs[i]] = below(label, *around, self._previous)
        return label

    def given(self, i: int, text: Callable[[], Text]) -> None:
        """An input of the body, where it reads that."""
        if self._body.inputs[i] in self._used:
            self._given[self._body.inputs[i]] = text()

    def write(self, labels: Mapping[int, str]) -> None:
        """The lines of a step."""
        outputs = self._body.outputs
        for i, x in enumerate(self._body.inputs):
            if x not in self._given and x in self._used:
                self._given[x] = self._outer.texts[self._node.inputs[i]]
        at = {i: below(label, *self._loops.indices).text for i, label in labels.items()}
        named: dict[Tensor, str] = {}
        for i, label in at.items():
            named.setdefault(outputs[i], label)
        roots = [outputs[i] for i in at]
        writer = Writer(roots, self._outer.sheet, self._given, named, self._loops)
        texts = writer.results()
        for label, text in zip(at.values(), texts, strict=True):
            if label != text.text:  # an input of the body, or what another label has
                writer.line(label, text)


def _positions(body: Graph, carries: int, wanted: Iterable[int]) -> list[int]:
    """The outputs of a step that some of them need, step after step."""
    found: set[int] = set()
    pending = set(wanted)
    position = {x.node: i for i, x in enumerate(body.inputs[:carries])}
    while pending:
        found |= pending
        below_them = shown([body.outputs[i] for i in found], ())
        pending = {position[n] for n in below_them if n in position} - found
    return sorted(found)


def shown(roots: Sequence[Tensor], stop: Collection[Tensor]) -> list[Node]:
    """The nodes below `roots` that a text shows, operands before users."""
    nodes = walk(roots, stop)
    needed = {t.node for t in roots}
    for node in reversed(nodes):
        if node in needed:
            needed.update(t.node for t in operands_of(node, stop))
    return [node for node in nodes if node in needed]


def operands_of(node: Node, given: Collection[Tensor] = ()) -> Sequence[Tensor]:
    """The operands that a text shows; `given` have texts already."""
    probability = drawn(node)
    if probability is not None:
        return probability, key_of(node)
    if node.op.name == "attention":
        return attention(node, given).operands
    if node.op.name == "reshape" and (joined := joined_heads(node.output(), given)) is not None:
        return (joined,)
    if node.op.name == "permute_dims" and (split := heads(node.output(), given)) is not None:
        return split[:1]
    count = len(node.types) if node.op.name in AS_OPERAND else len(node.inputs)
    return node.inputs[: FIRST.get(node.op.name, count)]


def written_size(t: Tensor) -> int:
    """How many operations a text of `t` has in which nothing has a name."""
    sizes: dict[Tensor, int] = {}
    for node in shown([t], ()):
        size = 1 + sum(sizes[x] for x in operands_of(node))
        sizes |= dict.fromkeys(node.outputs, size)
    return sizes[t]


def _dims(value: object) -> set[str]:
    """The names of dims in a static value."""
    if isinstance(value, (tuple, list)):
        return set().union(*map(_dims, value))
    return set(names(value)) if isinstance(value, Dim) else set()


def _is_short(text: Text) -> bool:
    """A number, a name, or what is no longer than one."""
    return len(text.text) <= (_SHORT if text.size > 1 else 2 * _SHORT) and (
        text.level >= POWER or text.size == 1
    )
