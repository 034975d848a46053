"""Exact rules on random programs: every bit of every result stays, whatever meets whatever."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.text import print_graph
from graphc.rewrite.certify import same_bits, special_values
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.pattern import Pattern
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.ruleset import EXACT, Formulas, Ruleset

RULES = Ruleset("exact", [r for rules in DEFAULT for r in rules if r.promise is EXACT])
NUMBERS = (0.0, -0.0, 1, -1, 2, 3, 0.5, 8)
PROGRAMS = 1500


class Maker:
    """Programs of a seed: a pool of tensors, and steps that add one to it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.dtype = self.random.choice(["float32", "float64", "int8", "int64"])
        shapes = [("n", 3), ("n", 1), (3,), (), (2, "n", 3)]
        self.inputs = [gc.placeholder(f"x{i}", s, self.dtype) for i, s in enumerate(shapes)]
        self.mask = gc.placeholder("mask", ("n", 3), "bool")
        self.pool = list(self.inputs)

    def tensor(self) -> Tensor:
        return self.random.choice(self.pool[-8:] + self.inputs)

    def like(self, x: Tensor) -> Tensor:
        return self.random.choice([t for t in self.pool if t.shape == x.shape] + self.inputs[3:4])

    def step(self) -> None:
        made = self.random.choice([self.unary, self.binary, self.binary, self.move, self.choose])()
        if made.ndim <= 4:
            self.pool.append(made)

    def unary(self) -> Tensor:
        x = self.tensor()
        names = ["negative", "abs", "relu", "square", "stop_gradient"]
        if x.dtype.is_float:
            names += ["floor", "round", "sqrt", "tanh"]
        return getattr(gc, self.random.choice(names))(x)

    def binary(self) -> Tensor:
        x = self.tensor()
        names = ["add", "subtract", "multiply", "minimum", "maximum"]
        names += ["divide"] if x.dtype.is_float else ["bitwise_and"]
        y = self.random.choice([self.like(x), self.like(x), self.number(x)])
        pair = [x, y] if self.random.random() < 0.7 else [y, x]
        return getattr(gc, self.random.choice(names))(*pair)

    def number(self, x: Tensor) -> Tensor:
        value = self.random.choice(NUMBERS)
        return gc.constant(value if x.dtype.is_float else int(value), x.dtype)

    def choose(self) -> Tensor:
        x = self.random.choice([t for t in self.pool if t.shape == self.mask.shape])
        mask = self.random.choice([self.mask, gc.logical_not(self.mask), gc.constant(True)])
        return gc.where(mask, *self.random.sample([x, self.like(x)], 2))

    def move(self) -> Tensor:
        x = self.tensor()
        kind = self.random.randrange(8)
        if kind == 0:
            return gc.expand_dims(x, self.random.randint(0, x.ndim))
        if kind == 1:
            return gc.squeeze(x)
        if kind == 2:
            return gc.permute_dims(x, self.random.sample(range(x.ndim), x.ndim))
        if kind == 3:
            return gc.broadcast_to(x, (2, *x.shape))
        if kind == 4:
            return gc.reshape(x, (x.size,))
        if x.ndim == 0:
            return -x
        axis = self.random.randrange(x.ndim)
        if kind == 5:
            return gc.flip(x, axis)
        if kind == 6:
            other = self.like(x)
            return gc.concat([x, other if other.ndim == x.ndim else x], axis)
        size = x.shape[axis]
        low = self.random.choice([0, 1]) if isinstance(size, int) and size > 1 else 0
        step = self.random.choice([1, 2])
        return x[(slice(None),) * axis + (slice(low, None, step),)]

    def program(self) -> Graph:
        for _ in range(self.random.randint(4, 25)):
            self.step()
        return Graph([*self.inputs, self.mask], self.pool[-12:], name="random")


def _arrays(graph: Graph, n: int, seed: int) -> list[np.ndarray]:
    numbers = np.random.default_rng(seed)
    return [
        numbers.choice(special_values(t.dtype), [s if isinstance(s, int) else n for s in t.shape])
        for t in graph.inputs
    ]


def _differing(rules: Ruleset, seeds: range, report: RewriteReport) -> str:
    """The first program that `rules` change the meaning of, with what they make of it; or ''."""
    for seed in seeds:
        graph = Maker(seed).program()
        simplified = apply_rules(graph, rules, report=report)
        for n in (0, 1, 4):
            arrays = _arrays(graph, n, seed)
            pairs = zip(
                evaluate_graph(graph, arrays), evaluate_graph(simplified, arrays), strict=True
            )
            if not all(same_bits(old, new).all() for old, new in pairs):
                return f"seed {seed}, n = {n}\n{print_graph(graph)}\n{print_graph(simplified)}"
    return ""


@pytest.mark.parametrize("first", range(0, PROGRAMS, 300))
def test_exact_rules_change_no_bit(first: int) -> None:
    report = RewriteReport()
    assert not _differing(RULES, range(first, first + 300), report)
    assert len(report.hits) > 20


def _drop_zero(x: Pattern) -> Formulas:
    """x + 0 -> x, which is not exact for -0.0"""
    return x + 0, x


def _lose_nan(x: Pattern) -> Formulas:
    """x * 0 -> 0"""
    return x * 0, 0


def _swap(x: Pattern, y: Pattern) -> Formulas:
    """x - y -> y + x"""
    return x - y, y + x


@pytest.mark.parametrize("wrong", [_drop_zero, _lose_nan, _swap], ids=lambda f: f.__name__)
def test_a_wrong_rule_is_seen(wrong: Callable[..., Formulas]) -> None:
    rules = Ruleset("wrong")
    rules.rule(EXACT, kinds="iuf")(wrong)
    assert _differing(rules, range(300), RewriteReport())
