"""Types of kernels by one walk: what Numba's own inference finds, to the letter of the LLVM IR."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numba.core import typed_passes

import graphc as gc
from graphc.errors import CompileError
from graphc.lower import numba_cpu
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.runtime.kernels import distinct_kernels

A = gc.placeholder("a_typing", ("n", 3))
B = gc.placeholder("b_typing", ("n",), "float64")
K = gc.placeholder("i_typing", ("n",), "int64")
T = gc.placeholder("t_typing", ("n",), "bool")
H = gc.placeholder("h_typing", ("n",), "float16")
C = gc.placeholder("c_typing", ("n",), "complex64")
EXPRESSIONS: dict[str, Any] = {
    "sums, maxima and rows": lambda: gc.softmax(A, axis=1) + gc.sum(A, axis=1)[:, None],
    "guards": lambda: gc.concat([gc.pad(B, (2, 1)), B]) * 2,
    "ints that wrap and shift": lambda: (K // 3 - K % 7) << (K & 3),
    "truths": lambda: gc.where(T & (B > 0), gc.exp(B), -B),
    "halves": lambda: H * 2,
    "complex numbers": lambda: C * C + gc.exp(C),
    "a running sum": lambda: gc.log(gc.cumsum(gc.exp(B))),
    "what may fail": lambda: B[K] + gc.ensure(B, B > 0, "above 0"),
    "a sort": lambda: gc.sort(B),
    "small matrices": lambda: gc.linalg.solve(gc.constant(np.eye(3, dtype="f")) + A[0], A.T),
}


def texts(graph: gc.Graph) -> list[str]:
    """The IR of a graph's kernels, without the number that Numba gives each function."""
    kernels = distinct_kernels(run_pipeline(graph, Stages()))
    made = [numba_cpu.compile_kernel(k.calls[0].kernel, k.symbol) for k in kernels]
    return [re.sub(r"B\d+v\d+B|kernel\$\d+", "", text) for text in made]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_native_types_are_those_that_numba_infers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = gc.Graph([A, B, K, T, H, C], [EXPRESSIONS[name]()])
    found = texts(graph)
    assert found
    monkeypatch.setattr(numba_cpu, "Typing", typed_passes.NopythonTypeInference)
    assert found == texts(graph)


def test_native_what_kernels_do_not_have_is_refused() -> None:
    contexts = numba_cpu.Contexts(numba_cpu.scalar_functions())
    number = numba_cpu.NUMBA_TYPES[gc.float64]
    for body in ("y = [x]", "y = 1\n    if x > 0.0:\n        y = x", "raise ValueError"):
        source = f"def kernel(x):\n    {body}\n"
        with pytest.raises(CompileError, match="Numba refused a kernel"):
            numba_cpu.to_llvm(source, "kernel", (number,), contexts)
