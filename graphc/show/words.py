"""What of a graph is drawn, and how it reads: as it is, or as a person thinks of it.

`Plain` draws each operation but what stands inside another one's box: scalar constants, and
transposes of operands of matrix products. `Maths` sees through what only arranges elements around
a product or for broadcasting, and through conversions; numbers that are computed stand in the boxes
that use them; and in the backward pass and the update, elementwise operations of which only the
next one needs the result are one box, with a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping
from itertools import cycle
from types import MappingProxyType
from typing import NamedTuple, Protocol

from graphc.ir.dim import product
from graphc.ir.dtype import default_dtype
from graphc.ir.graph import Graph, users
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import Shape, TensorType, moves_unit_axes
from graphc.show import formulas, labels
from graphc.show.formulas import Formula
from graphc.show.layers import MANY, scope_of
from graphc.show.reading import BACKWARD, FORWARD, UPDATE, Reading
from graphc.symbolic import attention

_OPERATIONS = 6  # in one formula
_NOTHING: Mapping[Tensor, str] = MappingProxyType({})
_LETTERS = 3  # tensors without a name in one formula
_NAME = 20  # characters of a name that stands in a formula
_REPLACED = ("reshape", "permute_dims")
_PRODUCTS = ("matmul", "conv", "conv_by_input", "conv_by_kernel")


class Said(NamedTuple):
    """The lines of a box, and what its arrows come from, each with the letter at its arrow."""

    lines: tuple[str, ...]
    operands: tuple[tuple[Tensor, str], ...]
    gradient: bool = False


class Words(Protocol):
    """How the nodes of one graph read."""

    def hides(self, node: Node) -> bool:
        """Whether the node has no box: it is part of others, or seen through."""

    def source(self, t: Tensor) -> Tensor:
        """What is drawn for `t`."""

    def said(self, node: Node) -> Said:
        """The box of an operation."""

    def type(self, t: Tensor) -> str:
        """The text of its type; '' where that need not be said."""

    def number(self, t: Tensor) -> str:
        """The text of a scalar that has no box; '' for others."""

    def gradient(self, t: Tensor) -> str:
        """The name of a gradient; '' for others."""

    def inside(self, body: Graph, given: Mapping[Tensor, str] = _NOTHING) -> Words:
        """How the nodes of a body read, in which `given` are the names of some of its inputs."""

    def name(self, t: Tensor) -> str:
        """The name that `t` has in formulas; '' for none."""


class Plain:
    """Each operation; `folded` transposes of matrix products stand in these."""

    def __init__(self, graph: Graph, folding: bool = False) -> None:
        self._folding = folding
        self._folded = _only_in_products(graph) if folding else set()

    def hides(self, node: Node) -> bool:
        return node in self._folded or labels.is_inline(node.output())

    def source(self, t: Tensor) -> Tensor:
        return t

    def said(self, node: Node) -> Said:
        turned = [t.node in self._folded for t in node.inputs]
        letters = labels.letters(node)
        operands = tuple(
            (t.node.inputs[0] if turned[i] else t, letters.get(i, ""))
            for i, t in enumerate(node.inputs)
            if not labels.is_inline(t)
        )
        return Said(labels.operation(node, turned), operands)

    def type(self, t: Tensor) -> str:
        return labels.type_text(t.type)

    def number(self, t: Tensor) -> str:
        return labels.scalar(t) if labels.is_inline(t) else ""

    def gradient(self, t: Tensor) -> str:
        return ""

    def inside(self, body: Graph, given: Mapping[Tensor, str] = _NOTHING) -> Words:
        return Plain(body, self._folding)

    def name(self, t: Tensor) -> str:
        return ""


def _only_in_products(graph: Graph) -> set[Node]:
    """Transposes of matrices that only matrix products read: the BLAS takes them as they are."""
    results = {t.node for t in graph.results}
    return {
        node
        for node, readers in users(graph.nodes).items()
        if labels.is_transpose(node)
        and node not in results
        and all(r.op.kind is Kind.CONTRACT for r in readers)
        and not labels.is_inline(node.inputs[0])
    }


class Maths:
    """What a person thinks of; `called` gives the name that a leaf has in formulas. Nodes of
    `whole` are left as they are."""

    def __init__(
        self,
        reading: Reading,
        called: Callable[[Tensor], str],
        whole: Container[Node] = (),
    ) -> None:
        self._reading, self._called, self._whole = reading, called, whole
        graph = reading.graph
        self._heads = _of_heads(graph)
        self._readers = users(graph.nodes)
        self._results = {t.node for t in graph.results}
        self._seen: dict[Node, set[Node]] = {}  # what `_seen_readers` has found
        self._numbers = _numbers(graph)
        self._sources: dict[Tensor, Tensor] = {}
        self._shapes: dict[Tensor, Shape] = {}
        self._turned: set[Tensor] = set()  # whose source is read with its last two axes swapped
        self._see_through(graph)
        self._generic = {self.source(t): n for t, n in generic_names(reading).items()}
        self.names = {self.source(t): name for t, name in reversed(reading.names.items())}
        leaves = [n.output() for n in graph.nodes if n.op.kind is Kind.LEAF]
        inside = (t.name.rpartition("/")[2] for t in leaves if t.name)  # as its layer calls it
        self._letters = formulas.letters({*map(called, leaves), *inside, *self._generic.values()})
        self._formulas: dict[Node, Formula] = {}
        self._folded: set[Node] = set()
        self._means: dict[Node, Node] = {}  # a quotient, and the sum that it divides
        for node in graph.nodes:
            if node not in self._numbers and node.output() not in self._sources:
                self._fold(node)
        self._reached = self._drawn(graph)

    # -- what the sketch asks for ------------------------------------------------------------------
    def hides(self, node: Node) -> bool:
        return node not in self._reached

    def source(self, t: Tensor) -> Tensor:
        return self._sources.get(t, t)

    def type(self, t: Tensor) -> str:
        """Sizes; with the dtype if that is not the default one, and without axes of size 1 that no
        user wrote."""
        shape = self._shapes.get(t, t.shape)
        if t.dtype is default_dtype():
            return labels.sizes(shape) if shape else ""
        return labels.type_text(TensorType(t.dtype, shape))

    def number(self, t: Tensor) -> str:
        return self._number(t).write(lambda _: "") if t.node in self._numbers else ""

    def gradient(self, t: Tensor) -> str:
        name = self.names.get(self.source(t), "")
        return name if name.startswith("d") else ""

    def inside(self, body: Graph, given: Mapping[Tensor, str] = _NOTHING) -> Words:
        inner = dict.fromkeys(body.inputs, "") | dict(given)
        return Maths(Reading(body), lambda t: inner.get(t, ""))

    def name(self, t: Tensor) -> str:
        return self._name(self.source(t))

    def said(self, node: Node) -> Said:
        made = self._formulas.get(node)
        if node in self._means:
            lines = self._by_name(self._means[node], "mean")
        elif made is not None and made.ops and not _is_call(node, made):
            lines = self._by_formula(node, made)
        elif node.op.name in attention.OPS:
            lines = self._attention(node)
        else:
            lines = self._by_name(node)
        name = self.names.get(node.output(), "")
        if not name:
            return lines
        lines = lines._replace(gradient=bool(self.gradient(node.output())))
        together = f"{name} = {lines.lines[0]}"
        if len(together) <= labels.BREAK:
            return lines._replace(lines=(together, *lines.lines[1:]))
        return lines._replace(lines=(name, f"= {lines.lines[0]}", *lines.lines[1:]))

    def _drawn(self, graph: Graph) -> set[Node]:
        """The nodes with a box: those that results are made of, box by box."""
        kept = [n for n in graph.nodes if n in self._whole]
        pending = [*(self.source(t).node for t in graph.results), *kept]
        found: set[Node] = set()
        while pending:
            node = pending.pop()
            if node not in found and node not in self._numbers:
                found.add(node)
                pending += [t.node for t in self._operands(node)]
        return found

    def _operands(self, node: Node) -> list[Tensor]:
        """What the box of a node reads."""
        if node in self._formulas:
            return self._formulas[node].tensors
        read = self._means.get(node, node).inputs
        return [self.source(t) for t in read]

    # -- texts -------------------------------------------------------------------------------------
    def _by_formula(self, node: Node, made: Formula) -> Said:
        """`@ W` of one operand without a name, letters for several whose order matters."""
        unnamed = [t for t in made.tensors if not self._name(t, node)]
        letters = dict(zip(unnamed, cycle(self._letters), strict=False))
        simple = made.ops == 1
        if simple and len(unnamed) == len(made.tensors) == 2 and _commutes(node):
            letters = dict.fromkeys(unnamed, "")
        elif simple and len(unnamed) == 1 and _goes_without_saying(node, made, unnamed[0]):
            letters = {unnamed[0]: ""}
        text = made.write(lambda t: self._name(t, node) or letters[t]).strip()
        alone = len(unnamed) == 1  # the one arrow without a name at its tail
        return Said(
            _broken(" ".join([text, *labels.attributes(node)]) if simple else text),
            tuple((t, "" if alone else letters.get(t, "")) for t in made.tensors),
        )

    def _attention(self, node: Node) -> Said:
        """Queries, keys and values by their names, else as Q, K and V; of the gradient, what it is
        the gradient of."""
        read, operands = attention.attention(node), dict[Tensor, str]()
        is_gradient = node.op.name == "attention_gradient"
        words = {self.source(node.inputs[0]): "g"} if is_gradient else {}
        for t, letter in zip((read.q, read.k, read.v, read.mask), "QKVM", strict=True):
            if t is not None:
                words.setdefault(self.source(t), letter)
        for t in node.inputs:
            source = self.source(t)
            operands[source] = "" if self._name(source, node) else words.get(source, "")
        q, k, v, mask = (
            "" if t is None else self._name(self.source(t), node) or words[self.source(t)]
            for t in (read.q, read.k, read.v, read.mask)
        )
        formula, *told = attention.in_signs(read, q, k, v, mask)
        formula = f"backward of {formula}" if is_gradient else formula
        lines = (*_broken(formula), *map(labels.one_line, told))
        return Said(lines, tuple(operands.items()))

    def _by_name(self, node: Node, word: str = "") -> Said:
        """The op's name and attributes; operands by letters where there are several."""
        operands: dict[Tensor, str] = {}
        texts = []
        for t in node.inputs:
            source = self.source(t)
            if (text := self.number(source)) == "":
                text = self._name(source, node)
                if not text:
                    letter = self._letters[len(operands) % len(self._letters)]
                    text = operands.setdefault(source, letter)
                else:
                    operands.setdefault(source, "")
            texts.append(text)
        name = word or ("transpose" if labels.is_transpose(node) else node.op.name)
        attrs = [_places(node)] if node.op.name == "slice" else labels.attributes(node)
        if len(node.inputs) > 1:
            name = f"{name}({', '.join(texts)})"
            if len(name) > labels.LIMIT:
                name = node.op.name
        else:
            operands = dict.fromkeys(operands, "")
        together = " ".join([name, *attrs])
        lines = (together,) if len(together) <= labels.LIMIT else (name, *attrs)
        return Said(tuple(map(labels.one_line, lines)), tuple(operands.items()))

    def _name(self, t: Tensor, beside: Node | None = None) -> str:
        """The name that `t` has in formulas; '' for none that is short. In the frame of its layer
        that is the last part."""
        generic = beside is not None and self._reading.lane(beside) == UPDATE
        if generic and (name := self._generic.get(t)):
            return name
        if beside is not None and t.name and scope_of(beside) == t.name.rpartition("/")[0] != "":
            return t.name.rpartition("/")[2]
        name = self.names.get(t) or (self._called(t) if t.node.op.kind is Kind.LEAF else "")
        return name if len(name) <= _NAME else ""

    # -- numbers -----------------------------------------------------------------------------------
    def _number(self, t: Tensor) -> Formula:
        node = t.node
        if Fact.CONSTANT in node.op.facts:
            return formulas.number(node.attrs["value"].array[()])
        if _is_size(node):
            return formulas.size(node.attrs["size"])
        if node.op.only_moves:
            return self._number(node.inputs[0])
        return formulas.formula(node, self._number)

    # -- seen through ------------------------------------------------------------------------------
    def _see_through(self, graph: Graph) -> None:
        from_product: set[Node] = set()
        to_products: set[Node] = set()
        for node in reversed(graph.nodes):
            if node.op.name in _REPLACED and node not in self._results:
                readers = self._readers[node]
                if all(r.op.multiplies_matrices or r in to_products for r in readers):
                    to_products.add(node)
        for node in graph.nodes:
            moved = node.op.name in _REPLACED and node.inputs[0].node in from_product
            if moved or node.op.multiplies_matrices:
                from_product.add(node)
        for node in graph.nodes:
            if node in self._numbers or node in self._whole or len(node.types) != 1:
                continue
            if self._is_plumbing(node, node in from_product, node in to_products):
                (given, *_) = node.inputs
                turned = (given in self._turned) != _swaps(node)
                source = self._sources[node.output()] = self.source(given)
                shape = node.types[0].shape
                if moves_unit_axes(source.shape, shape):
                    known = self._shapes.get(source, source.shape)
                    self._shapes[source] = min(known, shape, key=len)
                if turned:
                    self._turned.add(node.output())

    def _is_plumbing(self, node: Node, from_product: bool, to_products: bool) -> bool:
        if not node.inputs or self.source(node.inputs[0]).node in self._numbers:
            return False
        name = node.op.name
        if name == "broadcast_to" or node in self._heads:
            return True
        if Fact.CONVERTS in node.op.facts:
            return node.types[0].dtype.is_float or node.inputs[0].dtype is node.types[0].dtype
        if name == "reshape" and moves_unit_axes(node.inputs[0].shape, node.types[0].shape):
            return True
        if name not in _REPLACED:
            return False
        if self._reading.lane(node) != FORWARD and self._reading.lanes:
            return from_product or to_products
        return from_product or (to_products and name == "permute_dims")

    # -- folded ------------------------------------------------------------------------------------
    def _fold(self, node: Node) -> None:
        """The formula of `node`, with those of operands that only it needs, as far as it stays
        short."""
        if (summed := self._averaged(node)) is not None:
            self._means[node] = summed
            self._folded.add(summed)
        elif Fact.ELEMENTWISE in node.op.facts:
            made = formulas.formula(node, lambda t: self._operand(node, t, fold=True))
            tensors = [t for t in made.tensors if not self._name(t, node)]
            length = len(made.write(lambda t: self._name(t, node) or "a"))
            if made.ops > 1 and (
                made.ops > _OPERATIONS or len(tensors) > _LETTERS or length > 2 * labels.LIMIT
            ):
                made = formulas.formula(node, lambda t: self._operand(node, t))
            else:
                self._folded.update(n for n in self._foldable(node))
            self._formulas[node] = made
        elif node.op.name in _PRODUCTS:
            self._formulas[node] = formulas.formula(node, self._factor)

    def _averaged(self, node: Node) -> Node | None:
        """The sum that `node` divides by the number of its summands, if only it needs that."""
        if node.op.name != "divide":
            return None
        summed = self.source(node.inputs[0]).node
        alone = summed not in self._results and self._seen_readers(summed) == {node}
        if summed.op.name != "sum" or not alone or summed.output() in self.names:
            return None
        shape, axes = summed.inputs[0].shape, summed.attrs["axes"]
        count = formulas.size(product(shape[a] for a in axes)).write(str)
        return summed if self.number(self.source(node.inputs[1])) == count else None

    def _operand(self, node: Node, t: Tensor, fold: bool = False) -> Formula:
        source = self.source(t)
        if source.node in self._numbers:
            return self._number(source)
        if fold and source.node in self._foldable(node):
            return self._formulas[source.node]
        return Formula((source,))

    def _factor(self, t: Tensor) -> Formula:
        made = Formula((self.source(t),))
        return formulas.transposed(made) if t in self._turned else made

    def _foldable(self, node: Node) -> Collection[Node]:
        """The operands of `node` that only it needs and that can be part of its formula."""
        lane = self._reading.lane(node)
        if lane in ("", FORWARD):
            return ()
        return [
            source
            for source in dict.fromkeys(self.source(t).node for t in node.inputs)
            if source in self._formulas
            and source not in self._whole
            and scope_of(source) == scope_of(node)
            and Fact.ELEMENTWISE in source.op.facts
            and self._reading.lane(source) == lane
            and source not in self._results
            and self.source(source.output()) not in self.names
            and self._seen_readers(source) == {node}
        ]

    def _seen_readers(self, node: Node) -> set[Node]:
        """The nodes that read `node`, seen through what is seen through."""
        if node in self._seen:
            return self._seen[node]
        self._seen[node] = found = set[Node]()
        pending = [node]
        while pending:
            current = pending.pop()
            if current in self._results and current is not node:
                found.add(current)
            for reader in self._readers[current]:
                if len(reader.types) == 1 and reader.output() in self._sources:
                    pending.append(reader)
                else:
                    found.add(reader)
        return found


def _of_heads(graph: Graph) -> set[Node]:
    """What splits features into heads for attention, and puts them side by side again."""
    found: set[Node] = set()
    for node in graph.nodes:
        read = node.inputs if node.op.name in attention.OPS else ()
        ends = [t for t in read if attention.split_heads(t) is not None]
        if node.op.name == "reshape" and attention.joined_heads(node.output()) is not None:
            ends = [node.output()]
        for t in ends:
            found |= {t.node, t.node.inputs[0].node}
    return found


def generic_names(reading: Reading) -> dict[Tensor, str]:
    """Where many variables are updated alike: what formulas of the update call each of them, `w`,
    its gradient, and the state that an optimiser has for it."""
    gradients = {t: name for t, name in reading.names.items() if reading.lane(t.node) == BACKWARD}
    if len(gradients) < MANY:
        return {}
    found = {t: f"{name.partition('/')[0]}/dw" for t, name in gradients.items()}
    weights = {reading.by[t] for t in gradients}
    for variable, value in reading.graph.updates:
        if variable in weights:
            found[variable] = "w"
        elif value.shape and reading.lane(variable.node) == UPDATE:
            found[variable] = variable.name.rpartition("/")[2]
    return found


def _numbers(graph: Graph) -> set[Node]:
    """The nodes that are numbers made of constants and sizes, or one such number everywhere."""
    found: set[Node] = set()
    for node in graph.nodes:
        scalar = node.types[0].shape == ()
        known = scalar and (Fact.CONSTANT in node.op.facts or _is_size(node))
        arithmetic = Fact.ELEMENTWISE in node.op.facts or node.op.weak or node.op.only_moves
        if known or (node.inputs and arithmetic and all(t.node in found for t in node.inputs)):
            found.add(node)
    return found


def _places(node: Node) -> str:
    """What a slice takes: `[:, 16:32]`."""
    parts = []
    shape = node.inputs[0].shape
    for start, size, step, whole in zip(
        *(node.attrs[name] for name in ("starts", "sizes", "steps")), shape, strict=True
    ):
        stop = start + size * step
        text = f"{start if start != 0 else ''}:{stop if stop != whole else ''}"
        parts.append(text if step == 1 else f"{text}:{step}")
    return f"[{', '.join(parts)}]"


def _is_size(node: Node) -> bool:
    return not node.inputs and "size" in node.attrs


def _swaps(node: Node) -> bool:
    """Whether the last two axes come in the other order."""
    axes = node.attrs.get("axes", ())
    return node.op.name == "permute_dims" and len(axes) > 1 and axes[-1] < axes[-2]


def _commutes(node: Node) -> bool:
    return Fact.COMMUTATIVE in node.op.facts


def _is_call(node: Node, made: Formula) -> bool:
    """Whether it reads `tanh(a)`: one function of one operand."""
    return made.ops == 1 and len(node.inputs) == 1 and made.texts[0] == f"{node.op.name}("


def _goes_without_saying(node: Node, made: Formula, t: Tensor) -> bool:
    """Whether the one arrow is known to be the operand that the text leaves out: `@ W`."""
    first = made.parts[0] is t and "ᵀ" not in made.texts[1:2]
    return node.op.name in labels.SIGNS and made.counts(t) == 1 and first


def _broken(text: str) -> tuple[str, ...]:
    """A long formula in two lines, at the sign nearest to its middle."""
    if len(text) <= labels.BREAK:
        return (text,)
    signs = [i for i in range(1, len(text)) if text[i - 1] == " " and text[i] in "+−×/@"]
    if not signs:
        return (labels.one_line(text),)
    middle = min(signs, key=lambda i: abs(i - len(text) // 2))
    return labels.one_line(text[:middle].strip(), 2 * labels.LIMIT), labels.one_line(
        text[middle:].strip(), 2 * labels.LIMIT
    )

