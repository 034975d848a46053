r"""`gc.latex`: the equations of whatever computes tensors, as they were written or as optimised.

    gc.latex(loss)                      a tensor: a formula, or equations where parts have names
    gc.latex({"loss": loss, "dw": g})   tensors: an equation each, under these names
    gc.latex(step)                      a compiled function: its results and its updates
    gc.latex(model)                     a layer or model, of placeholders like its last inputs
    gc.latex(step.kernels[0])           a kernel
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphc.equations.numbers import computed
from graphc.equations.steps import layer_results
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Tensor, Variable
from graphc.ir.op import Fact
from graphc.ir.structure import Inner, Structure, flatten
from graphc.nn.module import Layer
from graphc.passes.unify import unify
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.rules.people import vectors
from graphc.runtime.compile import Function
from graphc.runtime.jit import Jitted
from graphc.runtime.kernels import KernelInfo
from graphc.shown import Formula
from graphc.symbolic.latex import equations
from graphc.symbolic.latex import latex as formula


class Program(NamedTuple):
    """Tensors with their names, "" for those that have none, and new values of variables."""

    outputs: Sequence[Tensor]
    names: Sequence[str]
    updates: Sequence[tuple[Variable, Tensor]] = ()

    @property
    def roots(self) -> list[Tensor]:
        """All that it computes."""
        return [*self.outputs, *(t for _, t in self.updates)]


def latex(what: Any, names: Mapping[str, Any] | None = None, optimized: bool = False) -> str:
    r"""LaTeX of a tensor, of tensors in lists and dicts, of a graph, a function, a model, a kernel.

    One tensor is a formula where nothing in it needs a name; everything else is an `aligned` block
    of equations. `names` maps names to tensors, each of which gets a line of its own: `locals()`
    will do, as what is no tensor in it, or no part of what is printed, is left out. Numbers that
    are made of numbers, as in derivatives of powers, are computed. The layers inside of a model
    have a line each.
    `optimized=True` shows what the compiler's rules made of it, before kernels are formed.
    How operations read is listed in `graphc/symbolic/latex.py`.
    Errors: `ArgumentError` for anything else, a function of `gc.jit` that was not called, a model
    that was not built.

    >>> import graphc as gc
    >>> x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3,))
    >>> h = gc.tanh(x @ w)
    >>> print(gc.latex(gc.sum(h), names={"h": h}))
    \begin{aligned}
    h &= \tanh\left(x w\right) \\
    y &= \sum_{i=1}^{n} h_{i}
    \end{aligned}
    """
    if isinstance(what, KernelInfo):
        return Formula(what.latex)
    found = program(what)
    inside = layer_results(found.roots) if names is None and isinstance(what, Layer) else names
    found, named = _shown(found, inside or {}, optimized)
    if isinstance(what, Tensor) and names is None:
        return Formula(formula(found.outputs[0]))
    results = list(zip(found.names, found.outputs, strict=True))
    return Formula(equations(results, found.updates, named))


def program(what: Any) -> Program:
    """What computes tensors, as a graph. Errors: as `latex`."""
    if isinstance(what, Jitted):
        if not what.functions:
            raise _error("a jitted function has no program before its first call", what)
        what = what.functions[-1]
    if isinstance(what, Function):
        structure = flatten(what.outputs, sort=False)[1]
        return Program(what.graph.outputs, result_names(structure), what.graph.updates)
    if isinstance(what, Layer):
        what = what.traced()
    if isinstance(what, Graph):
        return Program(what.outputs, [""] * len(what.outputs), what.updates)
    leaves, structure = flatten(what, sort=False)
    if not leaves or not all(isinstance(t, Tensor) for t in leaves):
        raise _error("this has no equations", what)
    return Program(leaves, result_names(structure))


def result_names(structure: Structure) -> list[str]:
    """A name for each leaf: the keys that lead to it; "" where there are numbers only."""
    if not isinstance(structure, Inner):
        return [] if structure is None else [""]
    found: list[str] = []
    keys: Sequence[Any] = structure.keys or range(1, len(structure.parts) + 1)
    several = len(structure.parts) > 1
    for key, part in zip(keys, structure.parts, strict=True):
        for name in result_names(part):
            own = key if isinstance(key, str) else ""
            parts = [own, name] if own or not several or not name else [name, str(key)]
            found.append("_".join(p for p in parts if p))
    return found


def _shown(
    found: Program, names: Mapping[str, Any], optimized: bool
) -> tuple[Program, dict[str, Tensor]]:
    """What is printed of a program and of tensors inside, with its numbers computed; after the
    compiler's rules, if `optimized`."""
    inside = {walked for node in walk(found.roots) for walked in node.outputs}
    named = {n: t for n, t in names.items() if isinstance(t, Tensor) and t in inside}
    roots = [*found.outputs, *named.values()]
    inputs = [n.output() for n in walk(found.roots) if Fact.INPUT in n.op.facts]
    once = {t.name for t in inputs}
    if len(once) < len(inputs):  # two of one name, which a graph may not have
        return found, named
    graph = computed(Graph(inputs, roots, found.updates), set(named.values()))
    if optimized:
        graph = apply_rules(unify(graph), *DEFAULT)
    graph = apply_rules(graph, vectors)
    count = len(found.outputs)
    now = dict(zip(named, graph.outputs[count:], strict=True))
    return Program(graph.outputs[:count], found.names, graph.updates), now


def _error(message: str, given: Any) -> ArgumentError:
    return ArgumentError(
        message,
        op="latex",
        expected="a tensor, tensors in lists and dicts, a graph, a compiled function, a model",
        given=f"{type(given).__name__}: {repr(given)[:80]}",
        where=origin.where(),
    )
