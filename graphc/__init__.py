"""graphc: a compiler for symbolic dataflow graphs, from NumPy-like Python to native kernels.

    import graphc as gc

Importing it loads neither Numba nor SymPy; what needs them is loaded at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from graphc import errors, ops
from graphc.autodiff.reverse import grad, vjp
from graphc.errors import GraphcError
from graphc.ir.dim import Dim, dim
from graphc.ir.dtype import (
    DType,
    bool_,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from graphc.ir.evaluate import evaluate
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, Variable
from graphc.ir.operators import functions as _functions
from graphc.ir.operators import publish as _publish
from graphc.ir.origin import scope
from graphc.ir.text import parse_graph, print_graph

__version__ = "0.1.0"

_LAZY = {  # name -> (module, attribute); an attribute of "" is the module itself
    "nn": ("graphc.nn", ""),
    "optim": ("graphc.optim", ""),
    "train": ("graphc.train", ""),
    "random": ("graphc.ops.random", ""),
    "linalg": ("graphc.ops.linalg", ""),
    "compile": ("graphc.runtime.compile", "compile"),
    "jit": ("graphc.runtime.jit", "jit"),
    "draw": ("graphc.show.draw", "draw"),
    "latex": ("graphc.symbolic.latex", "latex"),
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, attribute = _LAZY[name]
        loaded = importlib.import_module(module)
        value = getattr(loaded, attribute) if attribute else loaded
    elif name in _functions():
        value = _functions()[name]
    else:
        raise AttributeError(f"module 'graphc' has no attribute {name!r}")
    globals()[name] = value
    return value


def _svg(what: Any) -> str:
    """What a notebook shows for a tensor or a graph; loads the drawing room at first use."""
    drawing: str = __getattr__("draw")(what)._repr_svg_()
    return drawing


_publish({"_repr_svg_": _svg})


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_functions()})
