"""Applying rules to a fixed point: one memoised walk, operands before users.

Nodes are immutable and a rule looks only downwards, so whether a rule applies to a node is settled
once its operands are in normal form. Each node is therefore brought to normal form once: its
operands first, then rules at the node until none applies; what a rule builds is new nodes over
operands in normal form, which are treated the same way. Every node of the result is then one to
which no rule applies, so no second pass is needed. The walk keeps a stack of its own.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphc import config
from graphc.errors import GraphcError, GraphError
from graphc.ir import origin
from graphc.ir.collector import paused_collector
from graphc.ir.graph import Graph, rebuild, walk, with_bodies, with_results
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Kind, Op
from graphc.ir.shape import may_be_equal
from graphc.ir.text import format_node, is_inline, operand_text
from graphc.rewrite.ruleset import Rule, Ruleset

_logger = logging.getLogger("graphc.rewrite")
_DEPTH = 200  # rewrites of what a rewrite made, within one another
_STEPS = 50  # rewrites for each node of the graph
_OPERANDS = 3  # at the most, of nodes whose rules are worth remembering
_NO_MARKS: Mapping[Node, object] = {}


class Firing(NamedTuple):
    """One application of a rule: at a node of which op, from which lines of the user's."""

    rule: str
    op: str
    origins: tuple[origin.Origin, ...]

    @property
    def where(self) -> str:
        """The first line, as text."""
        return str(self.origins[0]) if self.origins else ""


@dataclass
class RewriteReport:
    """What `apply_rules` did, in order."""

    firings: list[Firing] = field(default_factory=list)

    @property
    def hits(self) -> Counter[str]:
        """How often each rule was applied, by its full name such as `algebra.drop_add_zero`."""
        return Counter(firing.rule for firing in self.firings)


@paused_collector()
def apply_rules(graph: Graph, *rulesets: Ruleset, report: RewriteReport | None = None) -> Graph:
    """`graph` rewritten by the rules until none applies; rules are tried in the order given.

    `report` is filled with what was done. Sub-graphs of control ops are rewritten too.
    Errors: `GraphError` naming the rules that undo each other or grow the graph for ever, or a rule
    whose replacement has another type, is no tensor, or cannot be made.
    """
    report = RewriteReport() if report is None else report
    return _Walk(rulesets, report, bool(graph.sizes.needed)).graph(graph)


class _Walk:
    def __init__(self, rulesets: Sequence[Ruleset], report: RewriteReport, assumed: bool) -> None:
        self.rulesets, self.report = rulesets, report
        self.assumed = assumed  # whether sizes of two forms are equal by an equation
        # The rules worth trying, by a node's op and those of its operands.
        self.worth: dict[tuple[Op, tuple[Op, ...]], tuple[Rule, ...]] = {}
        self.normal: dict[Node, tuple[Tensor, ...]] = {}
        self.pending: dict[Node, Rule] = {}  # rewritten nodes whose replacement is on the stack
        self.steps, self.limit = 0, 1000
        self.trace = _trace if "rules" in config.trace_topics() else None

    def graph(self, graph: Graph) -> Graph:
        self.limit += _STEPS * len(graph.nodes)
        return with_results(graph, [self.settle(t) for t in graph.results])

    def settle(self, root: Tensor) -> Tensor:
        """`root` in normal form."""
        # A task is a node to bring to normal form; or a node, whose operands are normal, to
        # rewrite; or a rewritten node with its replacements, which are normal by now.
        stack: list[tuple[Node, Node | None, Sequence[Tensor] | None]] = [(root.node, None, None)]
        normal = self.normal
        while stack:
            node, ready, replaced = stack.pop()
            if replaced is not None and ready is not None:
                del self.pending[ready]
                normal[node] = normal[ready] = self._normal(replaced)
                continue
            if ready is None:
                if node in normal:
                    continue
                if node in self.pending:
                    raise self._circle(node, next((m for _, _, m in reversed(stack) if m), ()))
                missing = [t.node for t in node.inputs if t.node not in normal]
                if missing:
                    stack.append((node, node, None))
                    stack += [(operand, None, None) for operand in reversed(missing)]
                    continue
            rebuilt = self._rebuild(node)
            if rebuilt is not node and rebuilt in normal:
                normal[node] = normal[rebuilt]
                continue
            made = None
            if rules := self._rules_for(rebuilt):
                with origin.inherit(rebuilt.origins):
                    made = self._fire(rebuilt, rules)
            if made is None:
                normal[node] = normal[rebuilt] = rebuilt.outputs
                continue
            stack.append((node, rebuilt, made))
            stack += [(t.node, None, None) for t in reversed(made)]
        return self._normal([root])[0]

    def _normal(self, tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
        normal = self.normal
        return tuple([normal[t.node][t.index] for t in tensors])

    def _rebuild(self, node: Node) -> Node:
        rebuilt = rebuild(node, self._normal(node.inputs))
        if node.op.kind is not Kind.CONTROL:
            return rebuilt
        attrs = {name: with_bodies(value, self.graph) for name, value in rebuilt.attrs.items()}
        changed = any(attrs[name] is not value for name, value in rebuilt.attrs.items())
        with origin.inherit(node.origins):
            return apply(node.op, rebuilt.inputs, **attrs) if changed else rebuilt

    def _fire(self, node: Node, rules: Iterable[Rule]) -> list[Tensor] | None:
        """The replacements of the outputs of `node` by the first rule that applies."""
        for rule in rules:
            try:
                result = rule.rewrite(node)
            except Exception as error:
                raise _failed(rule, node, error) from error
            if result is None:
                continue
            if isinstance(result, str):
                if result and self.trace:
                    self.trace(f"{rule} declined {_shown(node)}: {result}", node)
                continue
            made = [result] if isinstance(result, Tensor) else _tensors(rule, node, result)
            if [t.type for t in made] != list(node.types):
                if self.assumed and _may_fit(made, node):
                    continue  # the two sides are equal by an equation, but not by their names
                raise _wrong_type(rule, node, made)
            if self.trace:
                after = ", ".join(_shown(t.node) for t in made)
                self.trace(f"{rule}: {_shown(node)} -> {after}", node)
            self.report.firings.append(Firing(str(rule), node.op.name, node.origins))
            self.pending[node] = rule
            self.steps += 1
            if self.steps > self.limit or len(self.pending) > _DEPTH:
                last = list(self.pending.items())[-6:]
                raise _endless("these rules rewrite what they make for ever", dict(last))
            return made
        return None

    def _rules_for(self, node: Node) -> tuple[Rule, ...]:
        key = node.op, tuple([t.node.op for t in node.inputs])
        found = self.worth.get(key)
        if found is None:
            found = tuple(
                rule
                for ruleset in self.rulesets
                for rule in ruleset.applying_to(node.op)
                if rule.fits(key[1])
            )
            if len(node.inputs) <= _OPERANDS:
                self.worth[key] = found
        return found

    def _circle(self, node: Node, made: Sequence[Tensor]) -> GraphError:
        """The error for `node`, which is met again in what the last rule made of it."""
        nodes = list(self.pending)
        turn = {n: self.pending[n] for n in nodes[nodes.index(node) :]}
        if all(t.node is not node for t in made):
            return _endless("what these rules make has in it what they replace", turn)
        if len(turn) == 1:
            return _endless("the rule gives back what it replaces", turn)
        return _endless("these rules undo one another", turn)


def _endless(what: str, turn: Mapping[Node, Rule]) -> GraphError:
    """The error for rules that have no end: each node of `turn` was rewritten by its rule."""
    rules = dict.fromkeys(turn.values())
    return GraphError(
        f"{what}: " + ", ".join(map(str, rules)),
        op="apply_rules",
        given="rewritten were\n" + excerpt(list(turn), 8 + len(turn), turn),
        where=_place(next(iter(turn))),
        hint="defined at " + ", ".join(rule.place for rule in rules),
    )


def _failed(rule: Rule, node: Node, error: Exception) -> GraphError:
    reason = error.message if isinstance(error, GraphcError) else str(error)
    return GraphError(
        f"the rule failed: {type(error).__name__}: {reason}",
        op=str(rule),
        given=f"\n{excerpt([node])}",
        where=_place(node),
        hint=_defined(rule),
    )


def _defined(rule: Rule) -> str:
    return f"the rule is `{rule.doc.splitlines()[0]}`, at {rule.place}"


def _tensors(rule: Rule, node: Node, result: Any) -> list[Tensor]:
    """The replacements that a rule gave. Errors: `GraphError` if they are not tensors."""
    made = list(result) if isinstance(result, Sequence) else [result]
    if not all(isinstance(t, Tensor) for t in made):
        raise GraphError(
            "the rule's replacement is not a tensor",
            op=str(rule),
            expected="a tensor for each output, None, or a reason to decline, for\n"
            + excerpt([node]),
            given=repr(result)[:80],
            where=_place(node),
            hint=_defined(rule),
        )
    return made


def _may_fit(made: Sequence[Tensor], node: Node) -> bool:
    """Whether the types are those of the node but for sizes that may be equal."""
    return all(
        t.dtype is wanted.dtype and may_be_equal(t.shape, wanted.shape)
        for t, wanted in zip(made, node.types, strict=True)
    )


def _wrong_type(rule: Rule, node: Node, made: Sequence[Tensor]) -> GraphError:
    return GraphError(
        "the rule's replacement has another type",
        op=str(rule),
        expected=f"{', '.join(map(str, node.types))} for\n{excerpt([node])}",
        given=f"{', '.join(str(t.type) for t in made)} by\n{excerpt([t.node for t in made])}",
        where=_place(node),
        hint=_defined(rule),
    )


def excerpt(roots: Sequence[Node], lines: int = 8, marks: Mapping[Node, object] = _NO_MARKS) -> str:
    """The IR just below `roots`, nearest last, in at most `lines` lines; `marks` are written behind
    their nodes."""
    near: dict[Node, None] = dict.fromkeys(roots)
    for node in near.copy():
        near.update(dict.fromkeys(t.node for t in node.inputs))
    for node in near.copy():
        near.update(dict.fromkeys(t.node for t in node.inputs))
    near = {n: None for n in near if n in roots or not is_inline(n)}
    order = [n for n in walk([n.output() for n in roots]) if n in near][-lines:]
    names = {t: f"{t.node.op.name}(...)" for n in order for t in n.inputs if not is_inline(t.node)}
    names |= {t: f"%{i}" for i, node in enumerate(order) for t in node.outputs}
    return "\n".join(
        f"    {format_node(node, names)}" + (f"   <- {marks[node]}" if node in marks else "")
        for node in order
    )


def _shown(node: Node) -> str:
    """A node for the trace: `f32[n] = log exp(...)`, its operands by what computes them."""
    if is_inline(node):
        return operand_text(node.output())
    labels = {t: f"{t.node.op.name}(...)" for t in node.inputs if not is_inline(t.node)}
    return format_node(node, labels).removeprefix("%?: ")


def _place(node: Node) -> str:
    return str(node.origins[0]) if node.origins else ""


def _trace(message: str, node: Node) -> None:
    if not _logger.hasHandlers():  # asked for by the environment: it has to be seen
        _logger.addHandler(logging.StreamHandler())
    _logger.setLevel(logging.INFO)
    _logger.info("%s  # %s", message, _place(node))
