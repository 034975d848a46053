"""The chain rule over the named tensors of a graph: the lines of a derivation.

The graph is cut at every tensor that has a name. What is between two cuts is a part: an expression
over placeholders that stand for what is below it. A part that works element by element has a
derivative by SymPy; of any other, the product with the cotangent comes from the graph itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import sympy as sp

from graphc.autodiff.derivatives import vjp
from graphc.equations.columns import Columns
from graphc.equations.forms import Form, Line, of_expression, of_product, of_tensor
from graphc.equations.local import along, expression, simplified
from graphc.ir.dim import named
from graphc.ir.graph import Graph, transform, walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact
from graphc.ops.build import constant, size_as_tensor
from graphc.ops.from_formula import tensors_of
from graphc.ops.leaf import placeholder
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT, algebra, stable
from graphc.rewrite.rules.people import vectors
from graphc.rewrite.ruleset import Ruleset
from graphc.symbolic.texts import escape
from graphc.symbolic.writer import Sheet

FORWARD, LOCAL, BACKWARD = "forward", "local", "backward"
_LONGEST = 30  # operations of a derivative that is put into the next one
_PATHS = 12  # from the loss to a variable, beyond which they are not written one by one
_SIGMOIDS = Ruleset("sigmoids", [stable.fold_sigmoid, algebra.drop_double_negative])
_MORE = 4  # operations that a form over leaves may have more than one over names


class Chain:
    """The cuts of a graph, and the lines that follow from them.

    `results` has the name of the derivative by each variable, `known` the leaves with values.
    """

    def __init__(
        self, loss: Tensor, wrt: Sequence[Tensor], names: Mapping[str, Tensor], turned: bool
    ) -> None:
        self._loss, self._wrt = loss, dict.fromkeys(wrt)
        self._columns = Columns() if turned else None
        nodes = walk([loss])
        self._names = self._named(nodes, names)
        cuts = list(self._names)
        self._stand_ins = {
            t: placeholder(name, t.shape, t.dtype) for t, name in self._names.items()
        }
        self._parts = {t: self._part(t) for t in cuts if t.node.inputs}
        self._owners = {part: self._stand_ins[t] for t, part in self._parts.items()}
        sheet = Sheet()
        self._labels = {
            self._stand_ins[t]: sheet.unused(escape(t.name or name))
            for t, name in self._names.items()
        }
        self._symbols = {
            sp.Symbol(name, real=True): self._stand_ins[t] for t, name in self._names.items()
        }
        self._users = self._find_users(nodes)
        self._locals: dict[tuple[Tensor, Tensor], Any] = {}
        self._paths: Mapping[Tensor, list[list[tuple[Tensor, Tensor]]]] = {}
        self._paths = self._scalar_paths()
        self.known = {
            self._names[t]: t
            for t in cuts
            if Fact.STATE in t.node.op.facts or Fact.CONSTANT in t.node.op.facts
        }
        head = f"d{self._names[loss]}/" if self._paths else ""
        self.results = {t: f"{head}d{self._names[t]}" for t in self._wrt}

    # -- cuts --------------------------------------------------------------------------------------
    def _named(self, nodes: Sequence[Node], names: Mapping[str, Tensor]) -> dict[Tensor, str]:
        """The tensors at which the graph is cut, in order, with names of their own."""
        given: dict[Tensor, str] = {}
        for name, t in names.items():
            given.setdefault(t, name)
        found: dict[Tensor, str] = {}
        taken: set[str] = set()
        for node in nodes:
            for t in node.outputs:
                is_leaf = not node.op.facts.isdisjoint((Fact.INPUT, Fact.STATE))
                name = (t.name or given.get(t, "")) if is_leaf else given.get(t, "")
                if not name and (is_leaf or t in self._wrt or t is self._loss):
                    name = "L" if t is self._loss else "w"
                if name:
                    name = name.replace("/", ".")
                    unique = next(n for n in _numbered(name) if n not in taken)
                    taken.add(unique)
                    found[t] = unique
        return found

    def _part(self, t: Tensor) -> Tensor:
        others = {u: s for u, s in self._stand_ins.items() if u is not t}
        (part,) = transform([t], replace=others)
        return part

    def _find_users(self, nodes: Sequence[Node]) -> dict[Tensor, list[Tensor]]:
        """For each cut that depends on a variable, those right above it, from the loss down."""
        moving = {t.node for t in self._wrt}
        for node in nodes:
            if any(t.node in moving for t in node.inputs):
                moving.add(node)
        back = {s: t for t, s in self._stand_ins.items()}
        users: dict[Tensor, list[Tensor]] = {
            t: [] for t in self._names if t.node in moving and t.dtype.is_float
        }
        for u, part in reversed(self._parts.items()):
            if u not in users:
                continue
            for node in walk([part]):
                t = back.get(node.output()) if not node.inputs else None
                if t in users:
                    users[t].append(u)
        return users

    # -- lines -------------------------------------------------------------------------------------
    def lines(self) -> list[Line]:
        """All lines, in order: each is over names of leaves and of lines before it."""
        forward = [
            self._line(FORWARD, self._names[t], self._labels[self._stand_ins[t]], [part])
            for t, part in self._parts.items()
        ]
        return forward + (self._along_paths() if self._paths else self._backwards())

    def _line(self, part: str, name: str, label: str, forms: Sequence[Tensor | Form]) -> Line:
        made = [f if isinstance(f, Form) else self._form(f) for f in forms]
        kept = {f.text: f for f in reversed(made)}  # of two that read the same, one
        return Line(part, name, label, tuple(reversed(kept.values())))

    def _form(self, t: Tensor) -> Form:
        if self._columns is None:
            return of_tensor(t, self._labels)
        turned = self._columns(t)
        labels = {self._columns(s): label for s, label in self._labels.items() if s.ndim < 3}
        if t.ndim == 1 and turned.node.op.name == "reshape":  # a sum is a vector by itself
            (source,) = turned.node.inputs
            turned = source if source.shape == t.shape else turned
        return of_tensor(turned, labels)

    def _symbol(self, t: Tensor) -> sp.Symbol:
        return sp.Symbol(self._names[t], real=True)

    def _value(self, part: Tensor) -> Any:
        """The expression of an element, over symbols of the names."""
        return expression(part, {s: symbol for symbol, s in self._symbols.items()})

    def _local(self, u: Tensor, t: Tensor) -> Any:
        """The derivative of an element of `u` by that of `t`; None where it has no plain form."""
        key = (u, t)
        if key not in self._locals:
            found = None
            if u.shape == t.shape:
                symbols = {s: symbol for symbol, s in self._symbols.items()}
                found = along(self._parts[u], symbols, self._symbol(t), self._symbol(u))
            self._locals[key] = found
        return self._locals[key]

    def _local_line(self, u: Tensor, t: Tensor) -> Line:
        """The line of a derivative by SymPy; its name stands for it from now on."""
        name = self._local_name(u, t)
        below, above = (self._labels[self._stand_ins[x]] for x in (t, u))
        label = rf"\frac{{\partial {above}}}{{\partial {below}}}"
        self._stand_in(name, label, t)
        return self._line(LOCAL, name, label, [self._of(self._local(u, t), t)])

    def _local_name(self, u: Tensor, t: Tensor) -> str:
        """`dp/dz`; of the loss by a variable that it depends on by other ways too, a name that the
        derivative along all of them has not."""
        partial = u is self._loss and t in self._paths and not self._is_direct(t)
        sign = "∂" if partial else "d"
        return f"{sign}{self._names[u]}/{sign}{self._names[t]}"

    def _is_direct(self, t: Tensor) -> bool:
        """Whether the only way to a variable is one step from the loss."""
        return [len(way) for way in self._paths[t]] == [1]

    def _stand_in(self, name: str, label: str, like: Tensor) -> Tensor:
        made = placeholder(name, like.shape, like.dtype)
        self._labels[made] = label
        self._symbols[sp.Symbol(name, real=True)] = made
        return made

    def _of(self, e: Any, like: Tensor) -> Tensor | Form:
        """An expression as a form: of numbers as SymPy writes it, of arrays as tensors are."""
        if not like.ndim:
            return of_expression(e, self._symbols, self._labels)
        return self._times(None, e, like)

    def _times(self, g: Tensor | None, e: Any, like: Tensor) -> Tensor:
        """A cotangent times the factors of an expression, in order, over those below a line."""
        others = e.free_symbols - self._symbols.keys()
        sizes = {x: size_as_tensor(named(x.name), like.dtype) for x in others}
        given = {**self._symbols, **sizes}
        above: list[Tensor] = [] if g is None else [g]
        below: list[Tensor] = []
        negative = False
        for f in e.as_ordered_factors():
            if f in (1, -1):
                negative ^= f == -1
                continue
            is_below = f.is_Pow and f.exp.could_extract_minus_sign() and not f.is_number
            f = 1 / f if is_below else f
            number = constant(float(f), like.dtype) if f.is_number else None
            made = tensors_of([f], given)[0] if number is None else number
            (below if is_below else above).append(made)
        result = reduce(lambda x, y: x * y, above or [constant(1.0, like.dtype)])
        result = result / reduce(lambda x, y: x * y, below) if below else result
        return -result if negative else result

    # -- where all are numbers ---------------------------------------------------------------------
    def _scalar_paths(self) -> dict[Tensor, list[list[tuple[Tensor, Tensor]]]]:
        """For each variable the ways from the loss to it, as steps; none where some step is no
        number, has no derivative by SymPy, or there are too many."""
        moving = list(self._users)
        if any(t.ndim for t in moving):
            return {}
        if any(self._local(u, t) is None for t in moving for u in self._users[t]):
            return {}
        found = {t: list(self._ways(t)) for t in self._wrt}
        return found if all(len(ways) <= _PATHS for ways in found.values()) else {}

    def _ways(self, t: Tensor) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The ways from the loss to `t`, at most one more than are written."""
        pending: list[tuple[Tensor, list[tuple[Tensor, Tensor]]]] = [(t, [])]
        count = 0
        while pending and count <= _PATHS:
            at, way = pending.pop()
            if at is self._loss:
                count += 1
                yield way
            else:
                pending += [(u, [(u, at), *way]) for u in reversed(self._users[at])]

    def _along_paths(self) -> list[Line]:
        direct = {ways[0][0] for t, ways in self._paths.items() if self._is_direct(t)}
        steps = {step for ways in self._paths.values() for way in ways for step in way}
        order = {t: i for i, t in enumerate(self._users)}
        ordered = sorted(steps, key=lambda step: (-order[step[0]], -order[step[1]]))
        lines = [self._local_line(*step) for step in ordered if step not in direct]
        for t, ways in self._paths.items():
            lines.append(self._product(t, ways))
        return lines

    def _product(self, t: Tensor, ways: list[list[tuple[Tensor, Tensor]]]) -> Line:
        """The derivative by a variable: in names, their product, simplified, over leaves."""
        name = self.results[t]
        clash = {way[0] for way in ways if len(way) == 1} and not self._is_direct(t)
        sign = r"\mathrm{d}" if clash else r"\partial "
        label = rf"\frac{{{sign}{self._label(self._loss)}}}{{{sign}{self._label(t)}}}"
        named = [
            [sp.Symbol(self._local_name(*step), real=True) for step in way] for way in ways
        ]
        parts = [[self._local(*step) for step in way] for way in ways]
        forms = [of_product(parts, self._symbols, self._labels)]
        if not self._is_direct(t):
            forms.insert(0, of_product(named, self._symbols, self._labels))
        total = simplified(sum(sp.Mul(*way) for way in parts))
        leaves = simplified(self._over_leaves(total))
        forms.append(of_expression(total, self._symbols, self._labels))
        short = leaves.count_ops() <= total.count_ops() + _MORE
        if short and not leaves.atoms(sp.Function):  # whose results have names
            forms.append(of_expression(leaves, self._symbols, self._labels))
        return self._line(BACKWARD, name, label, forms)

    def _label(self, t: Tensor) -> str:
        return self._labels[self._stand_ins[t]]

    def _over_leaves(self, e: Any) -> Any:
        for u in reversed(list(self._parts)):
            if u not in self._wrt and e.has(self._symbol(u)):
                value = self._value(self._parts[u])
                if value is None:
                    return e
                e = e.subs(self._symbol(u), value)
        return e

    # -- where some are arrays ---------------------------------------------------------------------
    def _backwards(self) -> list[Line]:
        """The derivative of the loss by each step, from the loss down."""
        lines: list[Line] = []
        cotangents: dict[Tensor, Tensor] = {}
        elements: dict[Tensor, Any] = {}  # of cotangents that work element by element
        for t in self._from_the_loss():
            forms, element = self._cotangent(t, cotangents, elements, lines)
            own = self._names[t]
            free = _numbered(f"d_{own}" if "." in own else f"d{own}")
            name = next(n for n in free if n not in self._taken())
            if t in self._wrt:
                self.results[t] = name
            label = rf"\mathrm{{d}}{self._label(t)}"
            cotangents[t] = self._stand_in(name, label, t)
            elements[t] = sp.Symbol(name, real=True) if element is None else element
            lines.append(self._line(BACKWARD, name, label, forms))
        order = {LOCAL: 0, BACKWARD: 1}
        return sorted(lines, key=lambda line: order[line.part])

    def _from_the_loss(self) -> list[Tensor]:
        """The steps and variables below the loss, each behind its users, leaves at once."""
        found = [self._loss]
        leaves = [t for t in self._users if not t.node.inputs and self._users[t]]
        for t in reversed(self._users):
            if t.node.inputs and self._users[t]:
                found.append(t)
            done = set(found)
            found += [x for x in leaves if x not in done and done.issuperset(self._users[x])]
        return found[1:]

    def _taken(self) -> set[str]:
        return {symbol.name for symbol in self._symbols}

    def _cotangent(
        self,
        t: Tensor,
        cotangents: Mapping[Tensor, Tensor],
        elements: Mapping[Tensor, Any],
        lines: list[Line],
    ) -> tuple[list[Tensor | Form], Any]:
        """The forms of the derivative by `t`, and its element as an expression if that is short."""
        named: list[Tensor] = []
        terms: list[Tensor] = []
        element: Any = sp.Integer(0)
        for u in self._users[t]:
            g, by = cotangents.get(u), self._local(u, t)
            if by is not None:
                line = self._local_line(u, t)
                lines.append(line)
                local = self._stand_in(line.name, line.label, t)
                named.append(local if g is None else g * local)
                terms.append(self._tidy(self._times(g, by, t)))
                own: Any = by if g is None else elements[u] * by
            else:
                terms.append(self._tidy(vjp(self._parts[u], self._stand_ins[t], g)))
                named.append(terms[-1])
                own = self._value(terms[-1]) if g is None else None
            element = None if element is None or own is None else element + own
        total = [reduce(lambda x, y: x + y, ts) for ts in (named, terms)]
        forms: list[Tensor | Form] = [*total]
        if element is None:
            return forms, None
        short = simplified(element)
        written = self._value(total[-1])
        if written is None or short.count_ops() < written.count_ops():
            made = _ruled(self._times(None, short, t), _SIGMOIDS)
            if made.shape == t.shape:
                forms.append(made)
        return forms, short if short.count_ops() <= _LONGEST else None

    def _tidy(self, t: Tensor) -> Tensor:
        """`t` in terms of what has names, without what the rules of the compiler can do without."""
        (t,) = transform([t], replace=self._owners)
        t = _ruled(_ruled(t, *DEFAULT), vectors)
        (t,) = transform([t], replace=self._owners)
        return t


def _ruled(t: Tensor, *rulesets: Ruleset) -> Tensor:
    inputs = [n.output() for n in walk([t]) if Fact.INPUT in n.op.facts]
    (made,) = apply_rules(Graph(inputs, [t]), *rulesets).outputs
    return made


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1
