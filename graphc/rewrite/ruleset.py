"""Rules: rewrites `before -> after` with a promise, and named lists of them.

    algebra = Ruleset("algebra")

    @algebra.rule(EXACT, kinds="iuf")
    def drop_multiply_one(x: Pattern) -> Formulas:
        '''x * 1 -> x'''
        return x * 1, x

The parameters are the pattern variables and the body is run once, to get the two formulas. Where
attributes have to be computed, `@shape.rewrite(EXACT, "reshape")` takes a function from the node to
its replacement instead. A rule looks only at the node and what is below it; so a node to which no
rule applies stays in normal form whatever is built on top of it (see `driver.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from graphc.errors import GraphError
from graphc.ir import origin
from graphc.ir.node import Node, Tensor, current_serial
from graphc.ir.op import Fact, Kind, Op, registry
from graphc.ir.shape import broadcasts_to
from graphc.ops.scalar import stretch
from graphc.rewrite.pattern import (
    Forms,
    Number,
    Operation,
    Pattern,
    Variable,
    build,
    operations,
    pattern,
    variables,
)

# What a rewrite gives: replacements of the node's outputs, None where it does not apply, or the
# reason (for the trace) why it declined a node that looked right.
Result: TypeAlias = "Tensor | Sequence[Tensor] | str | None"
Formulas: TypeAlias = "tuple[Pattern, Pattern | Number]"
Guard: TypeAlias = Callable[..., str]  # takes pattern variables by name; the reason to decline, ""


class Promise(Enum):
    """What a rule keeps; `certify.py` has the certificate of each."""

    EXACT = "exact"  # every bit, NaN-ness, infinities and signs of zeros included
    STABLE = "stable"  # finite where the formula is in extended precision, and no further from it
    ORDER = "order"  # all but the order of a summation
    UNSAFE = "unsafe"  # nothing: used only when asked for by name


EXACT, STABLE, ORDER, UNSAFE = Promise


@dataclass(frozen=True, eq=False)
class Rule:
    """One rewrite. `roots` are the names, facts or kinds of the ops that it may apply to."""

    name: str
    ruleset: str
    promise: Promise
    roots: tuple[str | Fact | Kind, ...]
    rewrite: Callable[[Node], Result]  # run where nodes made inherit the origins of the node
    doc: str
    place: str  # file:line of its definition
    formulas: tuple[Operation, Pattern] | None = None  # None for a rewrite by a function
    forms: Forms | None = None  # of the first formula
    over: tuple[str, ...] = ()  # names of ops one of which computes an operand (empty: any may)
    needs: frozenset[str] = frozenset()  # names of ops that are all in what it rewrites
    kinds: Mapping[str, str] = field(default_factory=dict)  # pattern variable -> dtype kinds
    guarded: bool = False  # `where` may decline what the formulas match
    absolute: bool = False  # errors of results below 1 count in units of 1

    def __str__(self) -> str:
        return f"{self.ruleset}.{self.name}"

    def may_apply(self, ops: Collection[str]) -> bool:
        """Whether it may apply to a node of a graph that has nodes of `ops` only."""
        if not self.needs.issubset(ops):
            return False
        rooted = any(r in ops or not isinstance(r, str) for r in self.roots)
        return rooted and (not self.over or any(name in ops for name in self.over))

    @property
    def makes(self) -> frozenset[str]:
        """The ops of its second formula; what a rewrite by a function makes is not known."""
        return frozenset() if self.formulas is None else operations(self.formulas[1])

    def applies_to(self, op: Op) -> bool:
        """Whether nodes of `op` are worth trying."""
        return any(r == op.name or r is op.kind or r in op.facts for r in self.roots)

    def fits(self, operands: Sequence[Op]) -> bool:
        """Whether nodes that it applies to, of operands that are nodes of these ops, are worth
        trying."""
        if not self.is_over(operands):
            return False
        return self.forms is None or self.forms.may_fit([x.name for x in operands])

    def is_over(self, operands: Sequence[Op]) -> bool:
        """Whether one of the operands is what the rule says that it is over."""
        return not self.over or any(x.name in self.over for x in operands)


class Ruleset:
    """A named list of rules, tried in the order of their definition."""

    def __init__(self, name: str, rules: Sequence[Rule] = ()) -> None:
        self.name, self.rules = name, list(rules)
        self._rooted: dict[Op, list[Rule]] = {}

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def applying_to(self, op: Op) -> list[Rule]:
        """The rules that apply to nodes of `op`, looked for once."""
        found = self._rooted.get(op)
        if found is None:
            found = self._rooted[op] = [rule for rule in self.rules if rule.applies_to(op)]
        return found

    def __repr__(self) -> str:
        return f"<Ruleset {self.name!r}: {len(self.rules)} rules>"

    def rule(
        self,
        promise: Promise,
        *,
        kinds: str = "f",
        masks: str = "",
        where: Guard | None = None,
        absolute: bool = False,
    ) -> Callable[[Callable[..., Formulas]], Rule]:
        """Define a rule by its two formulas.

        `kinds`: the dtype kinds (of `biufc`) that its tensors may have; `masks`: the names of its
        variables that are bools. `where` may decline a match by giving a reason. `absolute`: see
        `Rule`.
        """

        def define(function: Callable[..., Formulas]) -> Rule:
            names = list(inspect.signature(function).parameters)
            formulas = function(*(Variable(name) for name in names))
            if not isinstance(formulas, tuple) or len(formulas) != 2:
                raise _bad(function, "a body that returns the pair `before, after`")
            before, after = formulas[0], pattern(formulas[1])
            tensors, attributes = variables(before)
            if not isinstance(before, Operation) or set(names) != tensors | attributes:
                raise _bad(function, "`before` is an operation that uses every parameter")
            of = {n: "b" if n in masks.split() else kinds for n in names if n in tensors}
            forms = Forms(before)
            return self._add(
                function,
                promise,
                (before.op,),
                _by_formulas(forms, after, of, where),
                formulas=(before, after),
                forms=forms,
                needs=operations(before),
                kinds=of,
                guarded=where is not None,
                absolute=absolute,
            )

        return define

    def rewrite(
        self,
        promise: Promise,
        *roots: str | Fact | Kind,
        over: Sequence[str] = (),
        needs: Sequence[str] = (),
        absolute: bool = False,
    ) -> Callable[[Callable[[Node], Result]], Rule]:
        """Define a rule by a function from a node of one of `roots` to its replacement.

        `over`: names of ops one of which computes an operand wherever the rule applies; other nodes
        are then not tried. `needs`: names of ops that are all in what it rewrites.
        """

        def define(function: Callable[[Node], Result]) -> Rule:
            return self._add(
                function,
                promise,
                roots,
                _by_function(function),
                over=tuple(over),
                needs=frozenset(needs),
                absolute=absolute,
            )

        return define

    def _add(
        self,
        function: Callable[..., object],
        promise: Promise,
        roots: tuple[str | Fact | Kind, ...],
        rewrite: Callable[[Node], Result],
        formulas: tuple[Operation, Pattern] | None = None,
        forms: Forms | None = None,
        over: tuple[str, ...] = (),
        needs: frozenset[str] = frozenset(),
        kinds: Mapping[str, str] | None = None,
        guarded: bool = False,
        absolute: bool = False,
    ) -> Rule:
        doc = inspect.getdoc(function) or ""
        if " -> " not in doc.split("\n", 1)[0]:
            raise _bad(function, "a docstring whose first line is `before -> after`")
        unknown = [r for r in (*roots, *over, *needs) if isinstance(r, str) and r not in registry()]
        if unknown:
            raise _bad(function, f"names of ops, not {', '.join(unknown)}")
        if not isinstance(promise, Promise):
            raise _bad(function, "a promise: EXACT, STABLE, ORDER or UNSAFE")
        name, code = function.__name__, function.__code__
        if any(rule.name == name for rule in self.rules):
            raise _bad(function, "a name of its own")
        rule = Rule(
            name,
            self.name,
            promise,
            roots,
            rewrite,
            doc,
            f"{code.co_filename}:{code.co_firstlineno}",
            formulas,
            forms,
            over,
            needs,
            kinds or {},
            guarded,
            absolute,
        )
        self.rules.append(rule)
        self._rooted.clear()
        return rule


def _bad(function: Callable[..., object], expected: str) -> GraphError:
    return GraphError("not a rule", op=function.__name__, expected=expected)


# -- how a rule rewrites ---------------------------------------------------------------------------
def _by_formulas(
    forms: Forms, after: Pattern, kinds: Mapping[str, str], where: Guard | None
) -> Callable[[Node], Result]:
    asked = tuple(inspect.signature(where).parameters) if where is not None else ()

    def rewrite(node: Node) -> Result:
        reason: str | None = None
        for found in forms.matches(node):
            bound = found.bindings
            if any(bound[name].dtype.kind not in allowed for name, allowed in kinds.items()):
                continue
            if where is not None:
                reason = where(**{name: bound[name] for name in asked})
                if reason:
                    continue
            origins = found.nodes[0].origins
            for matched in found.nodes[1:]:
                origins = origin.merge(origins, matched.origins)
            wanted = node.types[0]
            with origin.inherit(origins):
                made = build(after, bound, wanted.dtype)
                # A constant that went may have been what stretched the result.
                fits = broadcasts_to(made.shape, wanted.shape)
                return stretch(made, wanted.shape) if fits else made
        return reason

    return rewrite


def _by_function(function: Callable[[Node], Result]) -> Callable[[Node], Result]:
    def rewrite(node: Node) -> Result:
        mark = current_serial()
        result = function(node)
        made = [result] if isinstance(result, Tensor) else result
        if isinstance(made, (list, tuple)) and all(isinstance(t, Tensor) for t in made):
            _add_origins(node, made, mark)
        return made

    return rewrite


def _add_origins(node: Node, made: Sequence[Tensor], mark: int) -> None:
    """Give the nodes made after `mark` the origins of the operands of `node` that they replace."""
    new: dict[Node, None] = {}
    kept: set[Node] = set()
    stack = [t.node for t in made]
    while stack:
        current = stack.pop()
        if current.serial <= mark:
            kept.add(current)
        elif current not in new:
            new[current] = None
            stack.extend(t.node for t in current.inputs)
    for source in node.inputs:
        if source.node not in kept and source.node.op.kind is not Kind.LEAF:
            for current in new:
                current.origins = origin.merge(current.origins, source.node.origins)
