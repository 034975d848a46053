r"""`gc.derive`: back-propagation step by step, as a textbook writes it.

    gc.derive(loss, w)                     text where it is printed; `.latex`, `.markdown`
    gc.derive(loss, [w1, b1, w2])          of several variables in one go
    gc.derive(loss, w, layout="columns")   of a network by rows, as a course writes it

The steps are the tensors that the user has given names. Of each one there is the equation that made
it; where that works element by element, its derivative, by SymPy; then, from the loss backwards,
the derivative of the loss by it, in terms of those that were found before; and that in simplified
form. Each line is a tensor over placeholders with the names that stand in it, so each can be
evaluated: `evaluate(values)` computes all of them in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.autodiff.derivatives import gradient
from graphc.equations.chain import Chain
from graphc.equations.columns import is_by_columns
from graphc.equations.forms import Form, Line
from graphc.equations.steps import layer_results
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.evaluate import evaluate
from graphc.ir.graph import Graph, transform, walk
from graphc.ir.node import Tensor, Variable
from graphc.ir.op import Fact
from graphc.ir.structure import flatten
from graphc.keywords import Answering
from graphc.ops.leaf import placeholder
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules.people import people
from graphc.shown import Formula, Markdown

LAYOUTS = ("rows", "columns")
PARTS = {
    "forward": "The computation",
    "local": "Derivatives of each step",
    "backward": "The chain rule, from the loss backwards",
}


class Derivation(Answering):
    """What `gc.derive` gives: lines in three parts.

    `results` has the name of the derivative by each variable, `leaves` has the leaves whose values
    are known by themselves; `turned`: matrices are the transposes of those of the graph.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        results: Mapping[Tensor, str],
        leaves: Mapping[str, Tensor],
        turned: bool,
    ) -> None:
        self.lines, self.turned = tuple(lines), turned
        self._results, self._leaves = dict(results), dict(leaves)

    def __getitem__(self, t: Tensor) -> Line:
        """The line of the derivative by one of the variables."""
        return next(line for line in self.lines if line.name == self._results[t])

    def _parts(self) -> list[tuple[str, list[Line]]]:
        found = [
            (title, [line for line in self.lines if line.part == part])
            for part, title in PARTS.items()
        ]
        return [(title, lines) for title, lines in found if lines]

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join([f"{title}:", *(f"  {x.text}".replace("\n", "\n  ") for x in lines)])
            for title, lines in self._parts()
        )

    def __repr__(self) -> str:
        return str(self)

    @property
    def latex(self) -> str:
        r"""All lines as one `aligned` block."""
        return Formula(_aligned(self.lines))

    @property
    def markdown(self) -> str:
        """The parts under their titles, with the equations as `$$` blocks."""
        parts = (f"**{title}**\n\n$$\n{_aligned(x)}\n$$" for title, x in self._parts())
        return Markdown("\n\n".join(parts))

    def _repr_latex_(self) -> str:
        return Formula(self.latex)._repr_latex_()

    def _repr_markdown_(self) -> str:
        return self.markdown

    def evaluate(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The value of every name: of leaves as they are given (of variables and constants, their
        own where they are not), of each line by its last form, from those before it. All are in
        the layout of the derivation.
        """
        known: dict[str, Any] = {}
        for name, t in self._leaves.items():
            array = t.value if isinstance(t, Variable) else t.node.attrs["value"].array
            known[name] = array.T if self.turned else array
        known |= values or {}
        for line in self.lines:
            known[line.name] = self.value(line.forms[-1], known)
        return known

    def value(self, form: Form, values: Mapping[str, Any]) -> Any:
        """The value of one form. Errors: `ArgumentError` for a name without a value."""
        feeds = {}
        for node in walk([form.tensor]):
            if Fact.INPUT in node.op.facts:
                t = node.output()
                if t.name not in values:
                    raise ArgumentError(
                        f"{t.name} has no value",
                        op="Derivation.evaluate",
                        expected="a value for each leaf, by its name",
                        given=", ".join(values) or "none",
                        where=origin.where(),
                    )
                given = np.asarray(values[t.name])  # a vector may stand for its column
                feeds[t] = given.reshape(given.shape + (1,) * (t.ndim - given.ndim))
        return evaluate(form.tensor, feeds)


def _aligned(lines: Sequence[Line]) -> str:
    body = " \\\\\n".join(line.latex for line in lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def derive(
    loss: Any, wrt: Any, names: Mapping[str, Any] | None = None, layout: str | None = None
) -> Derivation:
    r"""The derivative of a scalar by variables, step by step.

    Every tensor on the way that has a name is a step. `names` maps names to tensors; by default
    they are those of the variables of Python where `derive` is called, then of layers for their
    results. Where all steps are numbers,
    derivatives read dL/dw, each the product of those along the way from the loss; else `dw` is the
    derivative of the loss by w, of the same shape.
    `layout`: "rows" has one example in each row, `h @ W`, as layers have it; "columns" one in each
    column, `W @ h`, as courses write it. What was written the other way is turned round: its
    matrices are the transposes. By default it is as it was written.
    Errors: those of `gc.grad`; `ArgumentError` for another layout, names of what is no tensor, or
    an operation that has no form by columns.

    >>> import graphc as gc
    >>> x, y, w = (gc.placeholder(name) for name in "xyw")
    >>> p = gc.tanh(w * x)
    >>> L = (p - y) ** 2
    >>> print(gc.derive(L, w, names={"p": p, "L": L}))
    The computation:
      p = tanh(w * x)
      L = (p - y)**2
    <BLANKLINE>
    Derivatives of each step:
      dL/dp = 2*(p - y)
      dp/dw = x*(1 - p**2)
    <BLANKLINE>
    The chain rule, from the loss backwards:
      dL/dw = dL/dp * dp/dw
            = 2*(p - y) * x*(1 - p**2)
            = 2*x*(1 - p**2)*(p - y)
    """
    gradient("derive", loss, wrt, "error")
    if layout is not None and layout not in LAYOUTS:
        raise ArgumentError(
            "unknown layout",
            op="derive",
            expected=" or ".join(map(repr, LAYOUTS)),
            given=repr(layout)[:80],
            where=origin.where(),
        )
    variables = flatten(wrt)[0]
    loss, named = _on_paper(loss, variables, _tensors(loss, names))
    by_columns = is_by_columns(loss, variables)
    turned = layout is not None and by_columns is not None and by_columns != (layout == "columns")
    chain = Chain(loss, variables, named, turned)
    return Derivation(chain.lines(), chain.results, chain.known, turned)


def _on_paper(
    loss: Tensor, variables: Sequence[Tensor], names: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and what has names, without checks and guards; as they are, if one of the variables
    is made of any."""
    nodes = set(walk([loss]))
    inside = {name: t for name, t in names.items() if t.node in nodes}
    inputs = [n.output() for n in walk([loss]) if Fact.INPUT in n.op.facts]
    own = {t: placeholder(f"input{i}", t.shape, t.dtype) for i, t in enumerate(inputs)}
    given = transform([loss, *variables, *inside.values()], replace=own)
    made = apply_rules(Graph(list(own.values()), given), people).outputs  # a graph's names differ
    read = transform(made, replace={placed: t for t, placed in own.items()})
    if any(a is not b for a, b in zip(variables, read[1:], strict=False)):
        return loss, inside
    return read[0], dict(zip(inside, read[1 + len(variables) :], strict=True))


def _tensors(loss: Tensor, names: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """The tensors that have names. Errors: `ArgumentError` for names that are none."""
    if names is None:
        frame = origin.user_frame()
        found = {**frame.f_globals, **frame.f_locals}
        own = {n: t for n, t in found.items() if isinstance(t, Tensor) and not n.startswith("_")}
        return own | {n: t for n, t in layer_results([loss]).items() if n not in own}
    if not isinstance(names, Mapping) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            "not names of tensors",
            op="derive",
            expected="a dict of names and tensors",
            given=repr(names)[:80],
            where=origin.where(),
        )
    return {name: t for name, t in names.items() if isinstance(t, Tensor)}
