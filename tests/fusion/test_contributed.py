"""What is said of an op's kernel function that is wrong: the op, the primitive, the line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import graphc as gc
from graphc.errors import CompileError
from graphc.ir.node import apply
from graphc.ir.op import registry

FAULTS: dict[str, tuple[Any, str]] = {
    "an unknown primitive": (lambda k, x: k.nosuch(x), "no primitive is called 'nosuch'"),
    "another number of operands": (lambda k, x: k.add(x), "add does not take (f32)"),
    "another dtype": (lambda k, x: k.bitwise_and(x, x), "bitwise_and does not take (f32, f32)"),
    "a Python number": (lambda k, x: k.add(x, 2.0), "not 2.0; k.const"),
    "a fault of Python": (lambda k, x: x.nosuch, "no attribute 'nosuch'"),
    "no value": (lambda k, x: None, "it gives None"),
}
LINE = 16  # of the first fault


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_kernel_is_named_with_its_line(fault: str) -> None:
    kernel, message = FAULTS[fault]
    op = replace(
        registry()["flip"],
        name="wrong",
        facts=frozenset(),
        at=lambda k, values, index, out, **_: kernel(k, values[0](index)),
    )
    x = gc.placeholder("x", (3,))
    with pytest.raises(CompileError) as caught:
        gc.compile([x], gc.tanh(apply(op, (x,), axes=(0,)).output()))
    error = caught.value
    assert error.op == "wrong"
    assert message in error.message
    assert "defect" not in str(error)
    line = LINE + list(FAULTS).index(fault)
    assert error.where == f"{__file__}:{line}" or fault == "no value"


def test_a_wrong_elementwise_kernel_inside_other_operations() -> None:
    from graphc.ops.scalar import at

    op = replace(registry()["tanh"], name="wrong", at=at(lambda k, x: k.exp3(x)))
    x = gc.placeholder("x", (3,))
    with pytest.raises(CompileError, match="no primitive is called 'exp3'") as caught:
        gc.compile([x], gc.sum(gc.exp(apply(op, (gc.exp(x),)).output())))
    assert caught.value.op == "wrong"
    assert caught.value.where.startswith(f"{__file__}:")


def test_a_wrong_reducer() -> None:
    class Wrong:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def element(self, k: Any, operands: Any, index: Any, **attrs: Any) -> Any:
            return k.squared(operands[0](index))

    op = replace(registry()["sum"], name="wrong", reducer=Wrong(registry()["sum"].reducer))
    x = gc.placeholder("x", (3,))
    with pytest.raises(CompileError, match="no primitive is called 'squared'") as caught:
        gc.compile([x], apply(op, (x,), axes=(0,)).output())
    assert caught.value.op == "wrong"
