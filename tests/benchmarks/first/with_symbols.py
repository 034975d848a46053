"""The formula in SymEngine and in CasADi: functions of scalars, made from the same drawing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import data
from .data import Sizes


def symengine_formula(sizes: Sizes) -> Callable[[], Any]:
    """LLVM; the vjp is the gradient of the weighted sum. Without `cse` all operations that are
    shared are written out, for which no memory suffices. What SymEngine 0.15 then calls `x0`, `x1`
    and so on must not be what its inputs are called: its answers are wrong where it is."""
    import symengine

    inputs = symengine.symbols(f"given:{data.FORMULA_INPUTS}")
    weights = symengine.symbols(f"w:{data.FORMULA_OUTPUTS}")
    outputs = data.formula(inputs, sizes, symengine)
    total = sum(w * y for w, y in zip(weights, outputs, strict=True))
    pulled = [total.diff(x) for x in inputs]
    function = symengine.Lambdify(
        [*inputs, *weights], [*outputs, *pulled], backend="llvm", cse=True
    )
    return lambda: list(function(_values()))


def casadi_formula(sizes: Sizes) -> Callable[[], Any]:
    """A function of CasADi's virtual machine, as it comes."""
    import casadi

    inputs, weights = casadi.SX.sym("x", data.FORMULA_INPUTS), casadi.SX.sym("w", 26)
    outputs = casadi.vertcat(*data.formula(casadi.vertsplit(inputs), sizes, casadi))
    pulled = casadi.jtimes(outputs, inputs, weights, True)
    function = casadi.Function("formula", [inputs, weights], [outputs, pulled])

    def call() -> Any:
        values = _values()
        found = function(values[: data.FORMULA_INPUTS], values[data.FORMULA_INPUTS :])
        return [float(x) for part in found for x in np.asarray(part).ravel()]

    return call


def _values() -> list[float]:
    first = [0.1 + 0.05 * i for i in range(data.FORMULA_INPUTS)]
    return [*first, *(1.0 - 0.03 * i for i in range(data.FORMULA_OUTPUTS))]
