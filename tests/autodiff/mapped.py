"""How tests of `vmap` compare a program with the stack of calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.graph import walk

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)


def given(name: str, *shape: Any, dtype: str = "float64") -> gc.Tensor:
    return gc.placeholder(f"vmap.{name}", shape, dtype)


def stack_of_calls(f: Callable[..., Any], *arrays: Array) -> Array:
    """Each call by itself."""
    inputs = [given(f"each{i}", *a.shape[1:], dtype=a.dtype.name) for i, a in enumerate(arrays)]
    result = f(*inputs)
    rows = zip(*arrays, strict=True)
    return np.stack([gc.evaluate(result, dict(zip(inputs, row, strict=True))) for row in rows])


def agree(f: Callable[..., Any], *arrays: Array, size: Any = "b") -> gc.Tensor:
    """vmap(f) is the stack of calls; gives its graph."""
    inputs = [
        given(f"all{i}", size, *a.shape[1:], dtype=a.dtype.name) for i, a in enumerate(arrays)
    ]
    made: gc.Tensor = gc.vmap(f)(*inputs)
    found = gc.evaluate(made, dict(zip(inputs, arrays, strict=True)))
    np.testing.assert_allclose(found, stack_of_calls(f, *arrays), rtol=1e-12, atol=1e-13)
    return made


def kinds(*tensors: gc.Tensor) -> list[str]:
    return [node.op.name for node in walk(tensors)]
