"""How far results are from the truth, before and after the rules.

`python -m tests.rewrite.accuracy` writes the tables of docs/accuracy.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np

from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.rewrite.certify import certify, ulps
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.extended import extended_values
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.ruleset import Promise
from tests.corpus.formulas import FORMULAS, derivative_graph, value_graph

Array = np.ndarray[Any, Any]
Run = Callable[[Graph, Sequence[Array]], Array]

DIGITS = 1000  # more than the 869 between 1 and exp(-1000) ** 2


class Errors(NamedTuple):
    """The largest errors of a formula as written and by the rules, in units in the last place;
    `worst` says where the second is largest."""

    before: float
    after: float
    worst: str


def value_errors(name: str, dtype: str, run: Run | None = None) -> Errors:
    """Of a formula's value, by the interpreter after the rules or by `run`."""
    graph = value_graph(name, dtype)
    arrays = FORMULAS[name].arrays(dtype)
    return _errors(graph, graph, arrays, "v" in FORMULAS[name].absolute, run)


def derivative_errors(name: str, dtype: str, run: Run | None = None) -> Errors:
    """Of a formula's derivative: as the chain rule makes it of the formula as written, and as
    `gc.vjp` gives it."""
    written, stable = derivative_graph(name, dtype, True), derivative_graph(name, dtype)
    arrays = FORMULAS[name].arrays(dtype)
    shape = tuple(s if isinstance(s, int) else len(arrays[0]) for s in written.inputs[-1].shape)
    g = np.random.default_rng(0).uniform(0.5, 2, shape).astype(dtype)
    return _errors(written, stable, [*arrays, g], "d" in FORMULAS[name].absolute, run)


def _errors(
    written: Graph, stable: Graph, arrays: list[Array], absolute: bool, run: Run | None
) -> Errors:
    (truth,) = extended_values(written, arrays, DIGITS)
    with np.errstate(all="ignore"):
        (old,) = evaluate_graph(written, arrays)
        new = (run or _by_rules)(stable, arrays)
        first, second = (_ulps(found, truth, absolute) for found in (old, new))
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(second)), second.shape))
    where = ", ".join(
        f"{t.name} = {a[at[: a.ndim]]}" for t, a in zip(written.inputs, arrays, strict=True)
    )
    worst = f"{new[at]!r}, not {mpmath.nstr(truth[at], 8)}, at {where}"
    return Errors(float(first.max()), float(second.max()), worst)


def _by_rules(graph: Graph, arrays: Sequence[Array]) -> Array:
    return evaluate_graph(apply_rules(graph, *DEFAULT), arrays)[0]


def _ulps(found: Array, truth: Array, absolute: bool) -> Array:
    errors = np.zeros(found.shape)
    for at in np.ndindex(found.shape):
        assert mpmath.isfinite(truth[at]), "the points are such that the truth is finite"
        errors[at] = ulps(found[at], truth[at], 1.0 if absolute else 0.0)
    return errors


# -- the tables ------------------------------------------------------------------------------------
def formula_table() -> str:
    """A line for each textbook formula: value and derivative, before and after, in float32."""
    lines = [
        "| formula | value as written | by rules | derivative as written | by rules |",
        "|---|---|---|---|---|",
    ]
    for name, formula in FORMULAS.items():
        value, derivative = value_errors(name, "float32"), derivative_errors(name, "float32")
        shown = [
            f"{_shown(error)}{' *' * (kind in formula.absolute)}"
            for kind, errors in (("v", value), ("d", derivative))
            for error in errors[:2]
        ]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(shown)} |")
    return "\n".join(lines)


def rule_table() -> str:
    """A line for each stable rule: its certificate."""
    from .test_rules import BY_RULE

    lines = ["| rule | rewrites | before | after |", "|---|---|---|---|"]
    for rules in DEFAULT:
        for rule in rules:
            if rule.promise is Promise.STABLE:
                case = BY_RULE[rule]
                found = certify(rule, [case.before], case.dtypes)
                what = rule.doc.split("\n", 1)[0].replace("|", "\\|")
                errors = f"{_shown(found.before)} | {_shown(found.after)}"
                lines.append(f"| `{rule.name}` | {what} | {errors} |")
    return "\n".join(lines)


def _shown(error: float) -> str:
    return "not finite" if np.isinf(error) else f"{error:.2g}" if error < 100 else f"{error:.0e}"


if __name__ == "__main__":
    sys.stdout.write(f"{formula_table()}\n\n{rule_table()}\n")
