"""The page `docs/reference.md`, made from signatures and docstrings.

    python -m tests.reference > docs/reference.md
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from itertools import chain, groupby
from typing import Any

import graphc as gc
from graphc import config, errors
from graphc.ir.operators import functions
from graphc.ops import FAMILIES

_HEAD = """# Reference

One line for each public name; `help(gc.scan)` has shapes, dtypes, errors and examples. In the
signatures `x` and `y` are tensors, or arrays and numbers, which become constants. The page is made
from the docstrings (`python -m tests.reference > docs/reference.md`), and a test holds it to them.
"""

_TITLES = {
    "leaf": "Inputs and state",
    "create": "Constants",
    "elementwise": "Elementwise",
    "formula": "Functions of your own",
    "trigonometric": "Trigonometric and hyperbolic functions",
    "powers": "Powers and logarithms",
    "signs": "Signs and neighbours",
    "gamma": "The gamma function",
    "incomplete": "The gamma function",
    "bessel": "Bessel functions",
    "quantile": "The normal distribution and inverses",
    "activations": "Activations",
    "shape": "Shape",
    "gather": "Indexing",
    "index": "Indexing",
    "places": "Indexing",
    "dynamic": "Indexing",
    "getitem": "Indexing",
    "reduce": "Reductions",
    "statistics": "Statistics and comparison",
    "segments": "Groups and counts",
    "sorting": "Sorting and searching",
    "searching": "Sorting and searching",
    "unique": "Sorting and searching",
    "order_statistics": "Medians and quantiles",
    "cumulative": "Running reductions",
    "manipulate": "Moving and cutting",
    "diagonal": "Diagonals",
    "contract": "Matrix products",
    "einsum": "Sums of products",
    "windows": "Windows and convolutions",
    "convolution": "Windows and convolutions",
    "pooling": "Windows and convolutions",
    "resample": "Windows and convolutions",
    "softmax": "Softmax and its relatives",
    "attention": "Softmax and its relatives",
    "scan": "Control flow",
    "while_loop": "Control flow",
    "branch": "Control flow",
    "odeint": "Control flow",
    "checkpoint": "Memory",
    "custom_gradient": "Derivatives of your own",
    "linalg": "Linear algebra",
    "random": "Random numbers",
    "types": "Dtypes",
    "ensure": "Checks",
    "complex": "Complex numbers",
    "fft": "Fourier transforms",
    "signal": "Sampled signals",
}

_NUMPY = """## NumPy's functions

NumPy's functions work on tensors too where graphc has one of that name: `np.tanh(x)` is
`gc.tanh(x)`, `np.concatenate([x, y])` is `gc.concat([x, y])`, `array @ x` is a matrix product.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    parts.append(_section("Compiling and running", [
        _line(f"gc.{name}", getattr(gc, name))
        for name in (
            "compile", "jit", "evaluate", "machine", "draw", "latex", "derive", "print_graph",
            "parse_graph",
        )
    ]))  # fmt: skip
    parts.append(_section("Derivatives", [
        _line(f"gc.{name}", getattr(gc, name)) for name in (
            "grad", "value_and_grad", "vjp", "jvp", "linearize", "hvp", "jacobian", "jacfwd",
            "jacrev", "hessian", "sparse_jacobian", "sparse_hessian", "root", "stop_gradient"
        )
    ] + [_line("gc.GradientTape", gc.GradientTape)]))  # fmt: skip
    parts.append(_section("SymPy", [
        _line(f"gc.{name}", getattr(gc, name)) for name in ("lambdify", "from_sympy", "to_sympy")
    ]))  # fmt: skip
    parts.append(_section("Batches", [_line("gc.vmap", gc.vmap)]))
    parts.append(_section("Types and names", [
        *(_line(f"gc.{name}", getattr(gc, name), False)
          for name in ("Tensor", "Variable", "Graph", "Dim", "DType")),
        _line("gc.dim", gc.dim),
        _line("gc.scope", gc.scope),
        _line("gc.default_dtype", gc.default_dtype),
        _line("gc.set_default_dtype", gc.set_default_dtype),
        "- " + ", ".join(f"`gc.{n}`" for n, d in vars(gc).items() if isinstance(d, gc.DType))
        + ": the dtypes.",
        "- `gc.e`, `gc.inf`, `gc.nan`, `gc.newaxis`, `gc.pi`: numbers, and None in an index.",
    ]))  # fmt: skip
    sections = groupby(FAMILIES, lambda module: _TITLES[_family(module)])
    parts += [_section(title, chain(*map(_functions, fs))) for title, fs in sections]
    parts.append(_NUMPY)
    parts.append(_section("`gc.nn`: layers", _members(gc.nn, "gc.nn")))
    for name in ("activations", "initializers", "losses"):
        table = getattr(getattr(gc.nn, name), name.upper())
        lines = [_line(f"gc.nn.{name}.{n}", f) for n, f in table.items() if n == _name(f)]
        other = [f'`"{n}"`' for n, f in table.items() if n != _name(f)]
        also = f"\nBy name also {', '.join(other)}.\n" if other else ""
        parts.append(_section(f"`gc.nn.{name}`: by name or as functions", lines) + also)
    for name, published in _CALLED.items():
        lines = [_line(f"gc.nn.{name}.{f}", getattr(getattr(gc.nn, name), f)) for f in published]
        parts.append(_section(f"`gc.nn.{name}` with numbers of your own", lines))
    parts.append(_section("`gc.optim`: optimisers", _members(gc.optim, "gc.optim")))
    schedules = [
        _line(f"gc.optim.schedules.{n}", getattr(gc.optim.schedules, n))
        for n in ("step", "exponential", "polynomial", "cosine", "warmup", "one_cycle")
    ]
    parts.append(_section("`gc.optim.schedules`: learning rates that change", schedules))
    parts.append(_section("`gc.train`: the training loop", _members(gc.train, "gc.train")))
    several = _members(gc.distributed, "gc.distributed")
    parts.append(_section("`gc.distributed`: training by several processes", several))
    parts.append(_section("`gc.cuda`: cards and arrays there", [
        _line("gc.cuda.devices", gc.cuda.devices), _line("gc.cuda.Array", gc.cuda.Array, False)
    ]))  # fmt: skip
    found = vars(errors).items()
    kinds = [(n, k) for n, k in found if inspect.isclass(k) and issubclass(k, Exception)]
    parts.append(_section("`gc.errors`", [_line(f"gc.errors.{n}", k, False) for n, k in kinds]))
    table = [row for row in str(config.__doc__).splitlines() if row.startswith("|")]
    parts.append("## Environment variables\n\n" + "\n".join(table) + "\n")
    return "\n".join(parts)


_CALLED = {
    "initializers": (
        "constant", "normal", "uniform", "truncated_normal", "variance_scaling", "orthogonal",
        "identity",
    ),
    "regularizers": ("l1", "l2", "l1_l2"),
    "constraints": ("non_negative", "max_norm", "unit_norm", "min_max_norm"),
}


def _section(title: str, lines: Iterable[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def _family(module: Any) -> str:
    return str(module.__name__.rpartition(".")[2])


def _functions(module: Any) -> list[str]:
    family = _family(module)
    own = family in ("linalg", "random", "fft")
    prefix = f"gc.{family}" if own else "gc"
    told = getattr(module, "__all__", None)
    found = {
        n: f for n, f in vars(module).items()
        if own and not hasattr(module, "ALSO") and inspect.isfunction(f) and n[0] != "_"
        and (f.__module__ == module.__name__ if told is None else n in told)
    } or dict(module.FUNCTIONS)  # fmt: skip
    found |= getattr(module, "ALSO", {})
    known = functions()
    return [_line(f"{prefix}.{n}", known[n] if not own else f) for n, f in found.items()]


def _members(module: Any, prefix: str) -> list[str]:
    members = [(n, getattr(module, n)) for n in module.__all__]
    return [_line(f"{prefix}.{n}", m) for n, m in members if not inspect.ismodule(m)] + [
        _line(f"{prefix}.{n}.{name}", f)
        for n, m in members
        if prefix == "gc.train" and inspect.ismodule(m)
        for name, f in m.METRICS.items()
        if f.__module__ == m.__name__
    ]


def _line(name: str, thing: Any, signature: bool = True) -> str:
    shown = _signature(thing) if signature else ""
    return f"- `{name}{shown}`: {_summary(thing)}"


def _signature(thing: Callable[..., Any]) -> str:
    given = inspect.signature(thing)
    plain = [
        p.replace(annotation=inspect.Parameter.empty)
        for n, p in given.parameters.items()
        if n != "self"
    ]
    shown = str(inspect.Signature(plain))
    return "" if "<" in shown else shown  # a default that cannot be written


def _summary(thing: Any) -> str:
    """The first sentence of the docstring."""
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    sentence = re.match(r".*?[.](?= [A-Z`]|$)", text)
    assert sentence, f"{thing} has no docstring whose first sentence ends in a full stop: {text!r}"
    return sentence[0]


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", ""))


if __name__ == "__main__":
    importlib.import_module("graphc.nn")
    sys.stdout.write(page())
