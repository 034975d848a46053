r"""Readable LaTeX of any tensor: `latex(grad(loss, w))`.

Each operation reads as `notation.py` says. A tensor that is used twice, or that would make a
formula too long, gets a name of its own; the result is then an `aligned` block, one line a name,
the tensor last. Different computations read differently; what reads the same is listed here.

    matmul         x w                      juxtaposed
    multiply       x \odot w, 2 \cdot x     of elements; \cdot where one side is a scalar
    outer          u \otimes v
    power          x^{\circ 2}              of elements; x^{2} of a scalar
    sum, max       \sum_{i=1}^{n} x_{i,:}   over the indices of the reduced axes, from 1
    x[0, 1:3]      x_{[0, 1:3]}             positions from 0, and `new` for an axis of size 1
    transpose      x^{\top}                 of the last two axes
    where, cond    cases                    with `for` and `otherwise`, or with `if` and `else`
    switch         cases                    with `if` and the index, the first and last clamped
    scan           scan                     its length, its step, its carries; its xs; its operands
    while_loop     while                    its condition; its step; its carries; its operands
    zeros, full    0_{3 \times 4}           a number everywhere in a shape

A leaf is its name, and a number has its digits, without shape or dtype; of two leaves with one name
the second is marked. `square(x)` is a power, `1 * x` is x, `x[0]` is `take(x, 0)`; what is
stretched to the shape of the operand beside it is not marked, and checks of operands, checkpoints
and gradients of one's own are not shown.
An op without a notation that has a formula is written as that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, pairwise

from graphc.ir.dim import Dim, names
from graphc.ir.dtype import bool_
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Node, Tensor
from graphc.symbolic.notation import (
    AS_OPERAND,
    FIRST,
    NOTATIONS,
    POSITIONS,
    attribute,
    by_formula,
    by_index,
    by_name,
    called,
    cases,
)
from graphc.symbolic.texts import ATOM, POWER, Text, escape

_LONGEST = 40  # operations in one formula
_SHORT = 12  # characters of what is written again rather than named
_RESERVED = {rf"\mathrm{{{word}}}" for word in ("true", "false", "NaN", "none")}


def latex(tensor: Tensor) -> str:
    r"""LaTeX for a tensor in terms of placeholders, variables and constants.

    >>> import graphc as gc
    >>> x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3,))
    >>> latex(gc.sum(gc.tanh(x @ w)))
    '\\sum_{i=1}^{n} \\left(\\tanh\\left(x w\\right)\\right)_{i}'
    """
    writer = _Writer([tensor], {}, set())
    return writer.block(writer.results()[0].text)


class _Writer:
    """The lines of some tensors, from their nodes in order.

    `given`: the texts of tensors at which to stop. `labels`: names that are taken.
    """

    def __init__(
        self, roots: Sequence[Tensor], given: Mapping[Tensor, Text], labels: set[str]
    ) -> None:
        self._roots, self._labels = roots, labels
        self._lines: list[str] = []
        self._texts: dict[Tensor, Text] = dict(given)
        self._nodes = [n for n in _shown(roots) if not all(t in given for t in n.outputs)]
        self._labels |= _RESERVED
        for node in self._nodes:  # a dim keeps its name, and a tensor of that name is marked
            sizes = [*(type.shape for type in node.types), *node.attrs.values()]
            self._labels |= {escape(name) for name in _dims(sizes)}

    def block(self, result: str) -> str:
        """The result below the lines of what has a name."""
        if not self._lines:
            return result
        body = " \\\\\n".join([*self._lines, f"& {result}"])
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def results(self) -> list[Text]:
        roots = set(self._roots)
        uses = dict.fromkeys(roots, 0)
        for node in self._nodes:
            for t in _operands(node):
                uses[t] = uses.get(t, 0) + 1
        for node in self._nodes:
            for t in (t for t in node.outputs if t in uses):
                text = self._write(node, t)
                shared = uses.get(t, 0) > 1 and not _is_short(text)
                if t not in roots and (shared or text.size > _LONGEST):
                    text = self._named(text)
                self._texts[t] = text
        return [self._texts[t] for t in self._roots]

    def _write(self, node: Node, t: Tensor) -> Text:
        of, name = self._texts.__getitem__, node.op.name
        if name in POSITIONS:
            return POSITIONS[name][t.index](of, node)
        if name in AS_OPERAND:
            return of(node.inputs[t.index])
        if name in NOTATIONS:
            return NOTATIONS[name](of, node)
        if name == "switch":
            return self._switch(node, t)
        if name == "while_loop":
            return self._while(node, t)
        if name == "scan":
            return self._scan(node, t)
        if not node.inputs and t.name:
            return self._leaf(t)
        if node.op.formula is not None:
            return by_formula(of, node)
        attributes = [f"{escape(k)} = {self._attribute(v)}" for k, v in node.attrs.items()]
        return by_name(node, [of(x) for x in node.inputs], attributes, t.index)

    def _attribute(self, value: object) -> str:
        return self._body(value) if isinstance(value, Graph) else attribute(value)

    # -- names -------------------------------------------------------------------------------------
    def _named(self, text: Text) -> Text:
        free = (f"t_{{{number}}}" for number in count(len(self._lines) + 1))
        label = next(label for label in free if label not in self._labels)
        self._labels.add(label)
        self._lines.append(f"{label} &= {text.text}")
        return Text(label)

    def _leaf(self, t: Tensor) -> Text:
        label = self._unused(escape(t.name))
        return Text(label, POWER if label.endswith(")}") else ATOM)

    def _unused(self, label: str) -> str:
        """`label`, marked if another tensor has it."""
        unique, number = label, 2
        while unique in self._labels:
            unique, number = f"{label}^{{({number})}}", number + 1
        self._labels.add(unique)
        return unique

    # -- graphs inside -----------------------------------------------------------------------------
    def _switch(self, node: Node, t: Tensor) -> Text:
        """All branches, over the operands."""
        p, *operands = (self._texts[x] for x in node.inputs)
        sides = []
        for branch in node.attrs["branches"]:
            given = dict(zip(branch.inputs, operands, strict=True))
            writer = _Writer([branch.outputs[t.index]], given, self._labels)
            (result,) = writer.results()
            sides.append(result._replace(text=writer.block(result.text)))
        if node.inputs[0].dtype is bool_:
            return cases([p, *reversed(sides)], r"\text{if}\:", r"\text{else}")
        return by_index(p, sides)

    def _while(self, node: Node, t: Tensor) -> Text:
        """The condition and the step as functions; the first carries and the operands."""
        attrs = node.attrs
        xs = [self._texts[x] for x in node.inputs]
        groups = [xs[: attrs["carries"]], xs[attrs["carries"] :]]
        bodies = [self._body(attrs[name]) for name in ("condition", "body")]
        name = rf"\operatorname{{while}}_{{{t.index + 1}}}"
        parts = [*bodies, *(", ".join(x.text for x in group) for group in groups)]
        text = called(name, [Text(";\\, ".join(parts))])
        size = sum(len(attrs[name].nodes) for name in ("condition", "body"))
        return text._replace(size=1 + sum(x.size for x in xs) + size)

    def _scan(self, node: Node, t: Tensor) -> Text:
        """The step as a function; the first carries, the xs and the operands, in three groups."""
        attrs = node.attrs
        xs = [self._texts[x] for x in node.inputs]
        ends = (0, attrs["carries"], attrs["carries"] + attrs["xs"], len(xs))
        groups = [", ".join(x.text for x in xs[a:b]) for a, b in pairwise(ends)]
        mark = f"{t.index + 1}" + r",\, \mathrm{reverse}" * attrs["reverse"]
        name = rf"\operatorname{{scan}}_{{{mark}}}^{{{attribute(attrs['length'])}}}"
        text = called(name, [Text(";\\, ".join([self._body(attrs["body"]), *groups]))])
        return text._replace(size=1 + sum(x.size for x in xs) + len(attrs["body"].nodes))

    def _body(self, graph: Graph) -> str:
        """A graph as a function of its inputs."""
        inputs = {x: self._leaf(x) for x in graph.inputs}
        writer = _Writer(graph.outputs, inputs, self._labels)
        results = ", ".join(x.text for x in writer.results())
        parameters = ", ".join(x.text for x in inputs.values())
        return rf"\left({parameters}\right) \mapsto " + writer.block(rf"\left({results}\right)")


def _shown(roots: Sequence[Tensor]) -> list[Node]:
    """The nodes below `roots` that a text shows, operands before users."""
    nodes = walk(roots)
    needed = {t.node for t in roots}
    for node in reversed(nodes):
        if node in needed:
            needed.update(t.node for t in _operands(node))
    return [node for node in nodes if node in needed]


def _operands(node: Node) -> Sequence[Tensor]:
    """The operands that a text shows."""
    count = len(node.types) if node.op.name in AS_OPERAND else len(node.inputs)
    return node.inputs[: FIRST.get(node.op.name, count)]


def _dims(value: object) -> set[str]:
    """The names of dims in a static value."""
    if isinstance(value, (tuple, list)):
        return set().union(*map(_dims, value))
    return set(names(value)) if isinstance(value, Dim) else set()


def _is_short(text: Text) -> bool:
    """A number, a name, or what is no longer than one."""
    return text.level >= POWER and len(text.text) <= _SHORT
