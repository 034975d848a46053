"""The text form of graphs: one form to print, parse, compare, show in errors and read in docs.

    graph step(%x: f32[n,784], %y: i64[n]) {
      variable @w1: f32[784,128]
      %0: f32[n,128] = matmul %x, @w1
      %1: f32[n,128] = multiply %0, f32(2.0)
      %2: f32[128] = sum %1 [axes=(0,)]            # mlp.py:14
      %3: f32[128] = scan %2 [length=n, body=...] {
        graph body(%c: f32[128]) {
          return %c
        }
      }
      return %2
      update @w1 <- %3
    }

Values are numbered in topological order; a scalar constant stands where it is used; variables are
declared first, inputs and variables keep the user's names. The forms of attributes are those of
`literal.py`. Comments are ignored. Reading what was printed gives the same nodes.
"""

from __future__ import annotations

import ast
import json
import re
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from functools import cache
from typing import Any, NoReturn, cast

import numpy as np

from graphc.errors import GraphcError, GraphError
from graphc.ir import literal
from graphc.ir.graph import Graph
from graphc.ir.node import Cell, Node, Tensor, Variable, apply
from graphc.ir.op import Fact, registry
from graphc.ir.operators import publish
from graphc.ir.parsing import parse_expression
from graphc.ir.shape import TensorType

_COMMENT_COLUMN = 48


# -- printing --------------------------------------------------------------------------------------
def print_graph(graph: Graph, *, origins: bool = False) -> str:
    """`graph` as text that `parse_graph` reads back; `origins` adds the user's lines as comments.

    The text depends on the graph alone: not on hash seeds, nor on what else was built.
    """
    return _Printer(origins=origins).whole(graph)


def key_text(graph: Graph, written: Mapping[Tensor, str] | None = None) -> str:
    """The text for a cache key: long constants are given by the hash of their bytes. `written`: how
    some scalar constants are written, in place of their values."""
    return _Printer(exact=False, written=written).whole(graph)


def format_node(node: Node, names: Mapping[Tensor, str] | None = None) -> str:
    """The line of one node; `names` are the labels of values, such as `%3`, where known."""
    own: dict[Tensor, str] = {}  # labels that the line needs beyond those given
    return _Printer(exact=False).line(node, ChainMap(own, cast(Any, names or {})), [])


def operand_text(tensor: Tensor) -> str:
    """How an operand with no line of its own is written: `%x`, `@w`, `f32(2.0)`."""
    return _Printer()._operand(tensor, {})


def value_labels(graph: Graph) -> dict[Tensor, str]:
    """The labels that the text gives to inputs and computed values: `%x`, `%0`, `%1` ..."""
    labels = {t: f"%{literal.write_name(t.name)}" for t in graph.inputs}
    count = 0
    for node in graph.nodes:
        if not is_inline(node):
            for index in range(len(node.types)):
                labels[node.output(index)] = f"%{count}"
                count += 1
    return labels


def variable_labels(graph: Graph) -> dict[str, Variable]:
    """The variables by the names that the text gives them: what `parse_graph` takes."""
    return text_and_variables(graph)[1]


def text_and_variables(graph: Graph) -> tuple[str, dict[str, Variable]]:
    """The arguments that make `parse_graph` give `graph` again."""
    printer = _Printer()
    text = printer.whole(graph)
    return text, {name: variable for variable, name in printer.variables.items()}


def is_inline(node: Node) -> bool:
    """Whether a node has no line of its own: it is an input, a variable or a scalar constant."""
    name = node.op.name
    return name in ("placeholder", "variable") or (
        name == "constant" and not node.types[0].shape
    )


class _Printer:
    """Prints one graph: the variables' names belong to the whole text, the rest to one graph."""

    def __init__(
        self,
        origins: bool = False,
        exact: bool = True,
        written: Mapping[Tensor, str] | None = None,
    ) -> None:
        self.origins, self.exact, self.written = origins, exact, written or {}
        self.variables: dict[Variable, str] = {}
        self._taken: dict[str, int] = {}  # name -> the next suffix to try
        self._types: dict[TensorType, str] = {}

    def whole(self, graph: Graph) -> str:
        lines = self.graph(graph, "")
        declared = [
            f"  variable @{literal.write_name(name)}: {variable.type}"
            + ("" if variable.trainable else " [trainable=False]")
            for variable, name in self.variables.items()
        ]
        return "\n".join([lines[0], *declared, *lines[1:]])

    def graph(self, graph: Graph, indent: str) -> list[str]:
        labels = value_labels(graph)
        inner = indent + "  "
        inputs = ", ".join(f"{labels[t]}: {self._type(t.type)}" for t in graph.inputs)
        lines = [f"{indent}graph {literal.write_name(graph.name)}({inputs}) {{"]
        for node in graph.nodes:
            if is_inline(node):
                continue
            bodies: list[Graph] = []
            line = inner + self.line(node, labels, bodies)
            line += " {" if bodies else ""
            lines.append(self._with_origins(node, line) if self.origins else line)
            if bodies:
                for body in bodies:
                    lines += self.graph(body, inner + "  ")
                lines.append(inner + "}")
        results = ", ".join(self._operand(t, labels) for t in graph.outputs)
        lines.append(f"{inner}return {results}".rstrip())
        for variable, value in graph.updates:
            target, new = self._operand(variable, labels), self._operand(value, labels)
            lines.append(f"{inner}update {target} <- {new}")
        return [*lines, indent + "}"]

    def line(self, node: Node, labels: MutableMapping[Tensor, str], bodies: list[Graph]) -> str:
        """`%0: f32[n] = op %x, @w [attr=value]`, with sub-graphs appended to `bodies`."""
        results = ", ".join(
            f"{labels.get(node.output(i), '%?')}: {self._type(t)}"
            for i, t in enumerate(node.types)
        )
        text = f"{results} = {literal.write_name(node.op.name)}"
        if node.inputs:
            text += " " + ", ".join([self._operand(t, labels) for t in node.inputs])
        if node.attrs:
            pairs = (f"{k}={literal.write(v, bodies, self.exact)}" for k, v in node.attrs.items())
            text += f" [{', '.join(pairs)}]"
        return text

    def _operand(self, tensor: Tensor, labels: MutableMapping[Tensor, str]) -> str:
        label = labels.get(tensor)
        if label is not None:
            return label
        node = tensor.node
        if Fact.CONSTANT in node.op.facts and not node.types[0].shape:
            label = self.written.get(tensor) or literal.write_scalar(node.attrs["value"].array[()])
        elif isinstance(tensor, Variable):
            label = f"@{literal.write_name(self._variable(tensor))}"
        else:
            label = f"%{literal.write_name(tensor.name)}" if tensor.name else "%?"
        labels[tensor] = label
        return label

    def _variable(self, variable: Variable) -> str:
        """The variable's name in this text: the user's, with a suffix where it is taken."""
        if variable not in self.variables:
            name = variable.name
            while name in self._taken:
                self._taken[variable.name] += 1
                name = f"{variable.name}_{self._taken[variable.name]}"
            self._taken[name] = 1
            self.variables[variable] = name
        return self.variables[variable]

    def _type(self, of: TensorType) -> str:
        text = self._types.get(of)
        if text is None:
            text = self._types[of] = str(of)
        return text

    @staticmethod
    def _with_origins(node: Node, line: str) -> str:
        if not node.origins:
            return line
        places = ", ".join(o.short for o in node.origins)
        return f"{line:<{_COMMENT_COLUMN}}  # {json.dumps(places)[1:-1]}"


# -- grammar ---------------------------------------------------------------------------------------
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRING = rf"(?:{_QUOTED}|'[^'\\]*+(?:\\.[^'\\]*+)*+')"
_NAME = rf"(?:[A-Za-z_][\w./]*+|{_QUOTED})"
_VALUE = rf"%(?:[0-9]++|{_NAME})"
_TYPE = r"[a-z]\w*+\[[^\]]*+\]"
_OPERAND = rf"(?:{_VALUE}|@{_NAME}|[a-z]\w*+\([^()]*+\))"
_BINDER = rf"{_VALUE}: {_TYPE}"
_ATTRS = rf"\[[^\"'#]*(?:{_STRING}[^\"'#]*)*\]"
_END = r"\s*(?:#.*)?\Z"

_BINDERS = rf"({_VALUE}): ({_TYPE})"
_GRAPH = rf"\s*graph ({_NAME})\(((?:{_BINDER}(?:, {_BINDER})*)?)\) \{{{_END}"
_DECLARATION = rf"\s*variable (@{_NAME}): ({_TYPE})(?: ({_ATTRS}))?{_END}"
_NODE = (
    rf"\s*({_BINDER}(?:, {_BINDER})*) = ({_NAME})"
    rf"(?: ({_OPERAND}(?:, {_OPERAND})*))?(?: ({_ATTRS}))?( \{{)?{_END}"
)
_RETURN = rf"\s*return(?: ({_OPERAND}(?:, {_OPERAND})*))?{_END}"
_UPDATE = rf"\s*update (@{_NAME}) <- ({_OPERAND}){_END}"
_CLOSE = rf"\s*\}}{_END}"


@cache
def _form(pattern: str) -> re.Pattern[str]:
    """A form of the grammar; compiled at first use, because importing graphc must be quick."""
    return re.compile(pattern, re.ASCII)


_UNREADABLE = (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError, GraphcError)


# -- parsing ---------------------------------------------------------------------------------------
def parse_graph(text: str, variables: Mapping[str, Variable] | None = None) -> Graph:
    """The graph that `text` describes.

    `variables` gives the variable for each `@name` of the text (see `variable_labels`); without
    it they are new ones, of zeros. Errors: `GraphError` with the number of the line that cannot be
    read, names something unknown, or states another type than its operation has.

    >>> parse_graph("graph twice(%x: f32[n]) {\\n  %0: f32[n] = add %x, %x\\n  return %0\\n}")
    <Graph 'twice': 1 inputs, 2 nodes>
    """
    parser = _Parser(text, variables)
    graph = parser.graph()
    if parser.next_line() is not None:
        parser.fail("text after the end of the graph")
    return graph


class _Parser:
    """Reads line by line; `given` are the caller's variables, `variables` those declared so far."""

    def __init__(self, text: str, given: Mapping[str, Variable] | None) -> None:
        self.lines, self.position = text.split("\n"), 0
        self.given = given
        self.variables: dict[str, Variable] = {}
        self._types: dict[str, TensorType] = {}
        self._attrs: dict[str, dict[str, Any]] = {}

    # -- lines -------------------------------------------------------------------------------------
    def next_line(self) -> str | None:
        """The next line that says something, which becomes the current one."""
        while self.position < len(self.lines):
            line = self.lines[self.position]
            self.position += 1
            if not _form(_END).match(line):
                return line
        return None

    def fail(self, message: str, expected: str = "", given: str = "") -> NoReturn:
        line = self.lines[self.position - 1].strip()
        raise GraphError(
            f"line {self.position}: {message}",
            op="parse_graph",
            expected=expected,
            given=given or line[:200],
        )

    # -- statements --------------------------------------------------------------------------------
    def graph(self) -> Graph:
        header = _form(_GRAPH).match(self.next_line() or "")
        if header is None:
            self.fail("not the head of a graph", expected="graph name(%x: f32[n,3], ...) {")
        values: dict[str, Tensor] = {}
        inputs: list[Tensor] = []
        for label, declared in _form(_BINDERS).findall(header[2]):
            of = self._type(declared)
            attrs = {"name": self._name(label[1:]), "dtype": of.dtype, "shape": of.shape}
            inputs.append(self._apply("placeholder", (), attrs).output())
            self._define(values, label, inputs[-1])
        outputs: list[Tensor] | None = None
        updates: list[tuple[Variable, Tensor]] = []
        while True:
            line = self.next_line()
            if line is None:
                self.fail("the text ends inside a graph", expected="}")
            if outputs is None:
                if found := _form(_NODE).match(line):
                    self._node(found, values)
                elif found := _form(_RETURN).match(line):
                    outputs = self._operands(found[1], values)
                elif found := _form(_DECLARATION).match(line):
                    self._declare(*found.groups())
                else:
                    self.fail(
                        "not a statement",
                        expected="%0: f32[n] = op %x, @w, f32(2.0) [attribute=value], or return %0",
                    )
            elif found := _form(_UPDATE).match(line):
                target = self._operand(found[1], values)
                value = self._operand(found[2], values)
                assert isinstance(target, Variable)
                if value.type != target.type:
                    self.fail("the update has another type", str(target.type), str(value.type))
                updates.append((target, value))
            elif _form(_CLOSE).match(line):
                break
            else:
                self.fail("not a statement after return", expected="update @w <- %0, or }")
        try:
            return Graph(inputs, outputs, updates, self._name(header[1]))
        except GraphError as error:
            self.fail(f"not a graph: {error.message}", error.expected, error.given)

    def _declare(self, label: str, declared: str, attrs: str | None) -> None:
        name, of = self._name(label[1:]), self._type(declared)
        if label in self.variables:
            self.fail("a variable is declared twice")
        if self.given is None:
            if not all(isinstance(size, int) for size in of.shape):
                self.fail("a variable has static sizes")
            options = {"trainable": True} | self._read_attrs(attrs, [])
            if options.keys() != {"trainable"}:
                self.fail("not an attribute of a variable", expected="trainable")
            cell = Cell(np.zeros(of.shape, of.dtype.numpy), name, bool(options["trainable"]))
            variable = self._apply("variable", (), {"cell": cell}).output()
        elif name not in self.given:
            self.fail(
                "a variable is not among those given",
                expected=", ".join(map(repr, self.given)),
                given=repr(name),
            )
        else:
            variable = self.given[name]
        if variable.type != of:
            self.fail("the variable has another type", str(of), str(variable.type))
        assert isinstance(variable, Variable)
        self.variables[label] = variable

    def _node(self, line: re.Match[str], values: dict[str, Tensor]) -> None:
        binders, name, operands, attrs, block = line.groups()
        inputs = self._operands(operands, values)
        at = self.position
        bodies = self._block() if block else []
        end, self.position = self.position, at  # errors below are about the node's own line
        node = self._apply(self._name(name), inputs, self._read_attrs(attrs, bodies))
        defined = _form(_BINDERS).findall(binders)
        types = tuple(self._type(declared) for _, declared in defined)
        if types != node.types:
            self.fail(
                f"{name} has other types than stated",
                expected=", ".join(map(str, node.types)),
                given=", ".join(map(str, types)),
            )
        for index, (label, _) in enumerate(defined):
            self._define(values, label, node.output(index))
        self.position = end

    def _block(self) -> list[Graph]:
        bodies: list[Graph] = []
        while (line := self.next_line()) is not None and not _form(_CLOSE).match(line):
            self.position -= 1
            bodies.append(self.graph())
        return bodies

    # -- parts of a line ---------------------------------------------------------------------------
    def _define(self, values: dict[str, Tensor], label: str, tensor: Tensor) -> None:
        if label in values:
            self.fail("a value is defined twice", given=label)
        values[label] = tensor

    def _operands(self, text: str | None, values: dict[str, Tensor]) -> list[Tensor]:
        return [self._operand(t, values) for t in _form(_OPERAND).findall(text or "")]

    def _operand(self, text: str, values: dict[str, Tensor]) -> Tensor:
        found = self.variables.get(text) if text[0] == "@" else values.get(text)
        if found is not None:
            return found
        if text[0] in "%@":
            self.fail("a name that is not defined above", given=text)
        values[text] = self._apply("constant", (), {"value": self._literal(text)}).output()
        return values[text]

    def _apply(self, name: str, inputs: Any, attrs: Mapping[str, Any]) -> Node:
        op = registry().get(name)
        if op is None:
            self.fail("no operation has this name", given=repr(name))
        try:
            return apply(op, inputs, **attrs)
        except GraphcError as error:
            self.fail(f"{error.op}: {error.message}", error.expected, error.given)
        # A type rule is written for attributes that exist and are of the right kind.
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            self.fail(f"{name} does not take these operands and attributes: {error}")

    def _name(self, text: str) -> str:
        try:
            return literal.read_name(text)
        except ValueError as error:
            self.fail(f"not a name: {error}", given=text)

    def _type(self, text: str) -> TensorType:
        found = self._types.get(text)
        if found is None:
            try:
                found = self._types[text] = literal.read_type(text)
            except _UNREADABLE as error:
                self.fail(f"not a type: {error}", given=text)
        return found

    def _literal(self, text: str) -> Any:
        try:
            return literal.read(parse_expression(text), iter(()))
        except _UNREADABLE as error:
            self.fail(f"not a constant: {error}", given=text)

    def _read_attrs(self, text: str | None, bodies: list[Graph]) -> dict[str, Any]:
        if text is None:
            return {}
        known = self._attrs.get(text)
        if known is not None:
            return known
        graphs = iter(bodies)
        try:
            call = parse_expression(f"_({text[1:-1]})")
            if not isinstance(call, ast.Call) or call.args:
                raise ValueError("every attribute has a name")
            attrs = {str(k.arg): literal.read(k.value, graphs) for k in call.keywords}
        except StopIteration:
            self.fail("fewer graphs below than ... in the attributes")
        except _UNREADABLE as error:
            self.fail(f"not attributes: {error}", given=text[:200])
        if next(graphs, None) is not None:
            self.fail("more graphs below than ... in the attributes")
        if not bodies:
            self._attrs[text] = attrs
        return attrs


publish({"_text_": print_graph})
