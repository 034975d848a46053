"""Definitions of elementwise ops that leave something out: an error where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.errors import ArgumentError
from graphc.ir.op import registry
from graphc.ops.scalar import binary_function, float_function, numeric_function


def _half(s: Any, x: Any) -> Any:
    return x / 2


@pytest.mark.parametrize(
    ("define", "wanted"),
    [
        (lambda: float_function("halved", _half, "x / 2."), "numpy="),
        (lambda: numeric_function("halved", _half, "x / 2."), "numpy="),
        (lambda: float_function("halved", _half, "x / 2.", numpy=lambda x: x / 2), "kernel="),
        (lambda: binary_function("halved", np.hypot, None, "Nothing."), "kernel="),
    ],
)
def test_an_op_that_lacks_a_meaning_is_refused(define: Callable[[], Any], wanted: str) -> None:
    with pytest.raises(ArgumentError, match=r"^halved: .* is not said") as caught:
        define()
    assert wanted in caught.value.expected
    assert caught.value.where.startswith(__file__)
    assert "halved" not in registry()
