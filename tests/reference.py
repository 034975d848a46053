"""The reference, made from signatures and docstrings: `docs/reference.md`, a line for each public
name, and the pages of the site that have all that the docstrings say.

    python -m tests.reference > docs/reference.md
    python -m tests.reference FOLDER                the pages, as `docs/conf.py` makes them
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

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
    "repeats": "Moving and cutting",
    "differences": "Differences",
    "numbers": "Numbers in parts",
    "polynomials": "Polynomials",
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
    "types": "Dtypes and axes",
    "ensure": "Checks",
    "complex": "Complex numbers",
    "fft": "Fourier transforms",
    "signal": "Sampled signals",
}

_NUMPY = """\
NumPy's functions work on tensors too where graphc has one of that name: `np.tanh(x)` is
`gc.tanh(x)`, `np.concatenate([x, y])` is `gc.concat([x, y])`, `array @ x` is a matrix product.
"""


class Entry(NamedTuple):
    """A public name, what it is, and whether it is called."""

    name: str
    thing: Any
    called: bool = True


class Section(NamedTuple):
    """Entries under one title, and what else stands there in Markdown."""

    title: str
    entries: list[Entry]
    more: str = ""


def page() -> str:
    """The page with a line for each name."""
    parts = [_HEAD]
    for section in sections():
        lines = "".join(f"{_line(entry)}\n" for entry in section.entries)
        parts.append("\n".join(filter(None, (f"## {section.title}\n", lines, section.more))))
    return "\n".join(parts)


def sections() -> list[Section]:
    """All public names, in the order in which the reference has them."""
    found = [_gc("Compiling and running", (
        "compile", "jit", "evaluate", "machine", "draw", "latex", "derive", "print_graph",
        "parse_graph",
    ))]  # fmt: skip
    found.append(Section("What these give", [Entry(*told) for told in _given()]))
    found.append(_gc("Derivatives", (
        "grad", "value_and_grad", "vjp", "jvp", "linearize", "hvp", "jacobian", "jacfwd",
        "jacrev", "hessian", "sparse_jacobian", "sparse_hessian", "root", "stop_gradient",
        "GradientTape",
    )))  # fmt: skip
    found.append(_gc("SymPy", ("lambdify", "from_sympy", "to_sympy")))
    found.append(_gc("Batches", ("vmap",)))
    dtypes = ", ".join(f"`gc.{n}`" for n, d in vars(gc).items() if isinstance(d, gc.DType))
    numbers = "- `gc.e`, `gc.inf`, `gc.nan`, `gc.newaxis`, `gc.pi`: numbers, and None in an index."
    types = ("Tensor", "Variable", "Graph", "Dim", "DType")
    found.append(Section(
        "Types and names",
        [Entry(f"gc.{name}", getattr(gc, name), False) for name in types]
        + _gc("", ("dim", "scope", "default_dtype", "set_default_dtype")).entries,
        f"- {dtypes}: the dtypes.\n{numbers}\n",
    ))  # fmt: skip
    families = groupby(FAMILIES, lambda module: _TITLES[_family(module)])
    found += [Section(title, list(chain(*map(_functions, fs)))) for title, fs in families]
    found.append(Section("NumPy's functions", [], _NUMPY))
    found.append(Section("`gc.nn`: layers", _members(gc.nn, "gc.nn")))
    for name in ("activations", "initializers", "losses"):
        table = getattr(getattr(gc.nn, name), name.upper())
        entries = [Entry(f"gc.nn.{name}.{n}", f) for n, f in table.items() if n == _name(f)]
        other = [f'`"{n}"`' for n, f in table.items() if n != _name(f)]
        also = f"By name also {', '.join(other)}.\n" if other else ""
        found.append(Section(f"`gc.nn.{name}`: by name or as functions", entries, also))
    for name, published in _CALLED.items():
        entries = [Entry(f"gc.nn.{name}.{f}", getattr(getattr(gc.nn, name), f)) for f in published]
        found.append(Section(f"`gc.nn.{name}` with numbers of your own", entries))
    found.append(Section("`gc.optim`: optimisers", _members(gc.optim, "gc.optim")))
    schedules = [
        Entry(f"gc.optim.schedules.{n}", getattr(gc.optim.schedules, n))
        for n in ("step", "exponential", "polynomial", "cosine", "warmup", "one_cycle")
    ]
    found.append(Section("`gc.optim.schedules`: learning rates that change", schedules))
    found.append(Section("`gc.train`: the training loop", _members(gc.train, "gc.train")))
    several = _members(gc.distributed, "gc.distributed")
    found.append(Section("`gc.distributed`: training by several processes", several))
    cards = [
        Entry("gc.cuda.devices", gc.cuda.devices), Entry("gc.cuda.Array", gc.cuda.Array, False)
    ]  # fmt: skip
    found.append(Section("`gc.cuda`: cards and arrays there", cards))
    kinds = [
        Entry(f"gc.errors.{n}", kind, False) for n, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    ]  # fmt: skip
    found.append(Section("`gc.errors`", kinds))
    table = [row for row in str(config.__doc__).splitlines() if row.startswith("|")]
    found.append(Section("Environment variables", [], "\n".join(table) + "\n"))
    return found


def _gc(title: str, names: Iterable[str]) -> Section:
    return Section(title, [Entry(f"gc.{name}", getattr(gc, name)) for name in names])


def _given() -> Iterator[tuple[str, Any, bool]]:
    """The classes of results, which have no name of their own in `gc`."""
    for place, name in (
        ("runtime.compile", "Function"), ("runtime.jit", "Jitted"),
        ("runtime.kernels", "KernelInfo"), ("planning.cost", "Cost"),
        ("runtime.profile", "Profile"), ("show.draw", "Drawing"),
        ("equations.derivation", "Derivation"), ("machines", "Speed"),
    ):  # fmt: skip
        yield name, getattr(importlib.import_module(f"graphc.{place}"), name), False


_CALLED = {
    "initializers": (
        "constant", "normal", "uniform", "truncated_normal", "variance_scaling", "orthogonal",
        "identity",
    ),
    "regularizers": ("l1", "l2", "l1_l2"),
    "constraints": ("non_negative", "max_norm", "unit_norm", "min_max_norm"),
}


def _family(module: Any) -> str:
    return str(module.__name__.rpartition(".")[2])


def _functions(module: Any) -> list[Entry]:
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
    return [Entry(f"{prefix}.{n}", known[n] if not own else f) for n, f in found.items()]


def _members(module: Any, prefix: str) -> list[Entry]:
    members = [(n, getattr(module, n)) for n in module.__all__]
    return [Entry(f"{prefix}.{n}", m) for n, m in members if not inspect.ismodule(m)] + [
        Entry(f"{prefix}.{n}.{name}", f)
        for n, m in members
        if prefix == "gc.train" and inspect.ismodule(m)
        for name, f in m.METRICS.items()
        if f.__module__ == m.__name__ and hasattr(m, name)
    ]


def _line(entry: Entry) -> str:
    shown = _signature(entry.thing) if entry.called else ""
    return f"- `{entry.name}{shown}`: {_summary(entry.thing)}"


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


# -- pages of the site -----------------------------------------------------------------------------
_PAGES = {  # by file: a title, and the titles of sections, or how they begin
    "compiling": ("Compile, run, look", ("Compiling", "What these", "SymPy", "Environment")),
    "derivatives": ("Derivatives and batches", ("Derivatives", "Batches")),
    "tensors": ("Tensors, sizes, dtypes", (
        "Types", "Inputs", "Constants", "Dtypes", "Checks", "Complex", "NumPy"
    )),
    "elementwise": ("Functions of elements", (
        "Elementwise", "Functions of", "Trigonometric", "Powers", "Signs", "The gamma", "Bessel",
        "The normal", "Activations", "Numbers in", "Polynomials",
    )),
    "arrays": ("Shapes and places", ("Shape", "Indexing", "Moving", "Differences", "Diagonals")),
    "reductions": ("Reductions, statistics, sorting", (
        "Reductions", "Statistics", "Groups", "Running", "Sorting", "Medians"
    )),
    "products": ("Products, windows, transforms", (
        "Matrix", "Sums of", "Windows", "Softmax", "Fourier", "Sampled"
    )),
    "linear_algebra": ("Linear algebra", ("Linear",)),
    "control": ("Loops, branches, memory", ("Control", "Memory")),
    "random": ("Random numbers", ("Random",)),
    "layers": ("Layers", ("`gc.nn`",)),
    "parts_of_layers": ("Losses, initialisers and their kin", ("`gc.nn.",)),
    "optimisers": ("Optimisers", ("`gc.optim",)),
    "training": ("Training", ("`gc.train", "`gc.distributed")),
    "cards_and_errors": ("Cards, errors", ("`gc.cuda", "`gc.errors")),
}  # fmt: skip
_LABELS = re.compile(r"^((?:Shapes|Dtypes|Errors|Sources?)(?: and \w+)?)(?=:)", re.MULTILINE)


def pages() -> dict[str, str]:
    """The pages of the site by the names of their files: what every docstring says."""
    left = sections()
    found = {}
    for name, (title, starts) in _PAGES.items():
        inside = [s for s in left if s.title.startswith(starts)]
        left = [s for s in left if s not in inside]
        found[name] = "\n".join([f"# {title}\n", *map(_detailed, inside)])
    assert not left, f"no page of the site has {[s.title for s in left]}"
    return found


def _detailed(section: Section) -> str:
    entries = "\n".join(map(_entry, section.entries))
    return "\n".join(filter(None, (f"## {section.title}\n", entries, section.more)))


def _entry(entry: Entry) -> str:
    """A name with its signature, its docstring, and what a class has."""
    parts = [f"### {entry.name}\n", *_described(entry.name, entry.thing, entry.called)]
    if inspect.isclass(entry.thing) and not issubclass(entry.thing, Exception):
        for name, member in vars(entry.thing).items():
            held = member.fget if isinstance(member, property) else member
            held = held.func if isinstance(held, cached_property) else held
            held = getattr(held, "__func__", held)
            if name[0] != "_" and inspect.isfunction(held) and inspect.getdoc(held):
                is_called = held is member or isinstance(member, (classmethod, staticmethod))
                parts += [f"#### {entry.name.rpartition('.')[2]}.{name}\n"]
                parts += _described(name, held, is_called)
    return "\n".join(parts)


def _described(name: str, thing: Any, called: bool) -> Iterator[str]:
    if called and (shown := _signature(thing)):
        yield f"```python\n{name}{shown}\n```\n"
    yield markdown(inspect.getdoc(thing) or "")


def markdown(docstring: str) -> str:
    """A docstring as Markdown: examples as code, what is indented as it is, all else as prose in
    which only backticks mean something."""
    parts = []
    for paragraph in docstring.split("\n\n"):
        if paragraph.startswith(">>> "):
            parts.append(f"```pycon\n{paragraph}\n```\n")
        elif all(line.startswith("    ") for line in paragraph.splitlines()):
            parts.append(f"```text\n{inspect.cleandoc(paragraph)}\n```\n")
        else:
            broken = _LABELS.sub(r"\n\1", paragraph).strip()
            parts += [f"{_prose(part)}\n" for part in broken.split("\n\n")]
    return "\n".join(parts)


def _prose(text: str) -> str:
    """A paragraph, with the word that says what it is about in bold."""
    label = _LABELS.match(text)
    rest = text[label.end() :] if label else text
    pieces = re.split(r"(`+[^`]+`+)", rest)
    shown = "".join(
        piece if i % 2 else re.sub(r"([\\*_\[\]<>{}$#|~^!&])", r"\\\1", piece)
        for i, piece in enumerate(pieces)
    )
    shown = re.sub(r"^([-+]|\d+)(?=[.)]? )", r"\\\1", shown, flags=re.MULTILINE)
    return f"**{label[0]}**{shown}" if label else shown


if __name__ == "__main__":
    importlib.import_module("graphc.nn")
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages().items():
            (folder / f"{name}.md").write_text(text, encoding="utf-8", newline="\n")
    else:
        sys.stdout.write(page())
