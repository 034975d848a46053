"""Loops along tensors that lie one behind the other: cut where one ends, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.loops.grammar import For, Kernel, Let, Load, statements
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.properties.kernels import check_program

X, Y = gc.placeholder("parts_x", ("n", 5)), gc.placeholder("parts_y", ("n", 3))
Z, U = gc.placeholder("parts_z", ("n", 4, 7)), gc.placeholder("parts_u", ("n", "m"))
INPUTS = [X, Y, Z, U]
Form = Callable[[], Any]


def kernel_of(made: Any) -> Kernel:
    program = run_pipeline(Graph(INPUTS, [made]), Stages(check=True)).program
    (call,) = [s for s in walk_steps(program.steps) if isinstance(s, Call)]
    return call.kernel


def loops(kernel: Kernel) -> list[str]:
    return [str(s.extent) for s in statements(kernel.body) if isinstance(s, For)]


def guards(kernel: Kernel) -> int:
    return sum(isinstance(s, Load) and s.guard is not None for s in statements(kernel.body))


CUT: dict[str, tuple[Form, list[str]]] = {  # the extents of the loops
    "two": (lambda: gc.concat([X, Y], 1), ["n", "5", "3"]),
    "of what is computed": (lambda: gc.concat([gc.exp(X), X * Y[:, :1], Y], 1),
                            ["n", "5", "5", "3"]),
    "two that end elsewhere": (lambda: gc.concat([Y, X], 1) * gc.concat([X, Y], 1),
                               ["n", "3", "2", "3"]),
    "inner axes": (lambda: gc.concat([Z, Z * 2, Y[:, :, None] * Z[:, :1]], 1),
                   ["n", "28", "28", "3", "7"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_each_part_has_a_loop(name: str) -> None:
    form, expected = CUT[name]
    kernel = kernel_of(form())
    assert loops(kernel) == expected
    assert not guards(kernel)
    assert not any(isinstance(s, Let) and s.primitive == "select" for s in statements(kernel.body))


WHOLE: dict[str, Form] = {
    "one tensor in zeros": lambda: gc.pad(X, ((0, 0), (1, 2))),
    "along the loop that threads share": lambda: gc.concat([X, X * 2], 0),
    "many": lambda: gc.concat([X[:, i % 5 : i % 5 + 1] * (i + 1.0) for i in range(9)], 1),
    "added up": lambda: gc.sum(gc.concat([X, Y], 1), 1),
    "of named sizes": lambda: gc.concat([U, U * 2.0], 1),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_stays_whole(name: str) -> None:
    kernel = kernel_of(WHOLE[name]())
    assert len(loops(kernel)) <= 2


def test_values_of_every_layer_of_the_compiler() -> None:
    """Of the kernels as interpreted, as printed and as machine code, and of the whole program."""
    outputs = [form() for form, _ in CUT.values()] + [form() for form in WHOLE.values()]
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(6, *s)).astype("f4") for s in ((5,), (3,), (4, 7), (2,))]
    assert check_program(Graph(INPUTS, outputs), [given], "parts") > 5
    x, y, *_ = given
    found = gc.compile(INPUTS, outputs[:3], name="parts")(*given)
    both, other = np.concatenate([x, y], 1), np.concatenate([y, x], 1)
    np.testing.assert_array_equal(found[0], both)
    three = np.concatenate([np.exp(x), x * y[:, :1], y], 1)
    np.testing.assert_allclose(found[1], three, rtol=1e-6)
    np.testing.assert_array_equal(found[2], other * both)


def test_a_long_sum_along_both() -> None:
    """Of 20,000 rows, whole ones: its error does not grow with their number, for it is cut into
    runs."""
    total = gc.sum(gc.square(gc.concat([X, Y], 1)))
    rng = np.random.default_rng(1)
    x, y = (1 + rng.normal(size=(20_000, s)).astype("f4") for s in (5, 3))
    found = gc.compile([X, Y], [total, gc.sum(gc.concat([X, Y], 1), 0)], name="parts_sum")(x, y)
    both = np.concatenate([x, y], 1).astype("f8")
    np.testing.assert_allclose(found[0], np.sum(both**2), rtol=3e-7)
    np.testing.assert_allclose(found[1], both.sum(0), rtol=3e-7)
