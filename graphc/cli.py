"""The command line: `graphc demo`, `graphc draw model.py:loss`, `graphc cache info`.

An object is named by the file or module that defines it, a colon, and its name in there, with dots
for attributes: a tensor, tensors in lists and dicts, a graph, or a function of `gc.compile` or
`gc.jit` (the program that it compiled last). Importing the file runs it, as Python does.

A mistake of the user's ends with its message on stderr and the status 1, a wrong command line with
2, and Ctrl-C with 130.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from graphc import config
from graphc.errors import ArgumentError, GraphcError
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Tensor
from graphc.ir.op import Fact
from graphc.ir.structure import flatten
from graphc.ir.text import print_graph
from graphc.runtime.cache import KERNEL, PROGRAM, Cache
from graphc.runtime.compile import Function, compile
from graphc.runtime.jit import Jitted

_EXAMPLES = """\
examples:
  graphc demo                                    train on digits, draw and report what was built
  graphc draw model.py:loss                      loss.svg, the graph as one thinks of it
  graphc draw model.py:net --level model         net.svg, a box for each layer
  graphc draw model.py:step --view kernels -o step.svg
  graphc explain model.py:step                   what became of it, and why
  graphc latex model.py:loss                     its equations
  graphc report model.py:step -o step.html       all of it, as one page
  graphc emit model.py:step --source             the kernels in Python; --llvm, --asm, --text
  graphc cache info | clear | verify             the compiled programs on disk
  graphc info                                    versions, processor, settings
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process; the status to exit with."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int | None] = given.command
    try:
        return command(given) or 0
    except GraphcError as error:
        sys.stderr.write(f"graphc: {_told(error)}\n")
        return 1
    except BrokenPipeError:  # what read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _told(error: GraphcError) -> str:
    """What an error says; a line of graphc's own program, or of the script that starts it, is none
    that the user can mend."""
    file = error.where.rpartition(":")[0]
    ours = (str(Path(__file__).parent), os.path.abspath(sys.argv[0]))
    lines = str(error).splitlines()
    if file.startswith("<") or os.path.abspath(file).startswith(ours):  # <frozen runpy>
        lines = [line for line in lines if line != f"  at:       {error.where}"]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphc",
        description="Look at graphs and at what graphc compiles them to.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"graphc {_version('graphc')}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Callable[..., Any], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=run)
        return made

    def on_object(name: str, run: Callable[..., Any], text: str) -> argparse.ArgumentParser:
        made = command(name, run, text)
        made.add_argument(
            "object", metavar="FILE:OBJECT", help="a file or module, and a name in it"
        )
        return made

    demo = command("demo", _demo, "Train on handwritten digits; draw and report what was built.")
    demo.add_argument("-o", "--output", default="graphc-demo", help="a folder for what is written")
    demo.add_argument("--epochs", type=int, default=15)
    draw = on_object("draw", _draw, "Write a picture of a graph or of its kernels.")
    draw.add_argument("-o", "--output", help="svg, png, pdf or dot, by the suffix")
    draw.add_argument(
        "--view", default="graph", choices=("graph", "kernels", "cost", "memory", "profile", "diff")
    )
    draw.add_argument("--level", default="math", choices=("model", "math", "full"))
    draw.add_argument("--direction", default="TB", choices=("TB", "LR", "BT", "RL"))
    on_object("explain", _explain, "Say what the compiler did, and why.")
    on_object("latex", _latex, "Print the equations as LaTeX.")
    report = on_object("report", _report, "Write one HTML page with all that is known of it.")
    report.add_argument("-o", "--output", help="NAME.html, if nothing is said")
    emit = on_object("emit", _emit, "Print the graph, or the code of its kernels.")
    forms = emit.add_mutually_exclusive_group(required=True)
    for form, text in _FORMS.items():
        forms.add_argument(
            f"--{form}", dest="form", action="store_const", const=form, help=f"print {text}"
        )
    cache = command("cache", _cache, "Look after the compiled programs on disk.")
    cache.add_argument("action", choices=("info", "clear", "verify"))
    command("info", _info, "Print versions, the processor and the settings in force.")
    return parser


# -- objects ---------------------------------------------------------------------------------------
def find(name: str) -> Any:
    """The object that `FILE:OBJECT` names.

    Errors: `ArgumentError` where there is no such file, module or object, or it fails when run.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        raise _error("not an object's name", "FILE:OBJECT, as in model.py:loss", name)
    found = _module(place)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [n for n in vars(found) if n[0] != "_"] if hasattr(found, "__dict__") else []
            known = ", ".join(sorted(names)[:20]) or "nothing"
            raise _error(f"there is no {part!r} in it", f"one of {known}", name) from None
    return found


def _module(place: str) -> Any:
    path = Path(place)
    is_file = path.suffix == ".py" or os.sep in place
    if is_file and not path.is_file():
        raise _error("there is no such file", "a Python file", place)
    try:
        if not is_file:
            sys.path.insert(0, os.getcwd())  # as `python -m` has it
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise _error("not a Python file", "a name that ends in .py", place)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        sys.path.insert(0, str(path.resolve().parent))  # as `python FILE` has it
        spec.loader.exec_module(module)
        return module
    except GraphcError:
        raise
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}"
        raise _error("it cannot be imported", "a file that runs", f"{place}, {text}") from error


def _function(name: str) -> Function:
    """A compiled function: what the name says, or compiled from its tensors."""
    found = find(name)
    if isinstance(found, Function):
        return found
    if isinstance(found, Jitted):
        if not found.functions:
            raise _error(
                "a jitted function that was not called yet has no program",
                "one that the file calls once",
                name,
            )
        return found.functions[-1]
    graph = found if isinstance(found, Graph) else _graph(found, name)
    return compile(graph.inputs, graph.outputs, updates=graph.updates, name=graph.name)


def _graph(found: Any, name: str) -> Graph:
    """The graph of tensors, with the placeholders that they need as inputs."""
    tensors = flatten(found)[0]
    if not tensors or not all(isinstance(t, Tensor) for t in tensors):
        raise _error(
            "not something that graphc compiles",
            "tensors, a graph, or a function of gc.compile or gc.jit",
            f"{name}, of the type {type(found).__name__}",
        )
    inputs = [node.output() for node in walk(tensors) if Fact.INPUT in node.op.facts]
    return Graph(inputs, tensors, name="function")


def _error(message: str, expected: str, given: str) -> ArgumentError:
    return ArgumentError(message, expected=expected, given=given)


# -- commands --------------------------------------------------------------------------------------
def _draw(given: argparse.Namespace) -> None:
    compiled = given.view in ("kernels", "cost", "memory")
    what = _function(given.object) if compiled else find(given.object)
    path = given.output or f"{given.object.rpartition(':')[2]}.svg"
    from graphc.show.draw import draw

    _print(str(draw(what, path, given.view, given.direction, level=given.level)))


def _explain(given: argparse.Namespace) -> None:
    _print(_function(given.object).explain())


def _latex(given: argparse.Namespace) -> None:
    from graphc.equations.latex import latex

    _print(latex(find(given.object)))


def _report(given: argparse.Namespace) -> None:
    name = given.object.rpartition(":")[2]
    _print(str(_function(given.object).report(given.output or f"{name}.html")))


def _demo(given: argparse.Namespace) -> None:
    from graphc.demo import demo

    demo(Path(given.output), given.epochs, _print)


_FORMS = {
    "text": "the graph, as parse_graph reads it",
    "source": "the kernels, in Python",
    "llvm": "the program, in LLVM IR",
    "asm": "the program, as assembly",
}


def _emit(given: argparse.Namespace) -> None:
    function = _function(given.object)
    if given.form == "text":
        _print(print_graph(function.graph))
    else:
        _print(getattr(function, given.form))


def _cache(given: argparse.Namespace) -> int:
    settings = config.cache()
    store = Cache(settings.directory)
    if given.action == "clear":
        _print(f"{store.clear()} entries removed from {store.directory}")
        return 0
    entries = store.entries()
    if given.action == "verify":
        damaged = store.verify()
        for name in damaged:
            _print(f"damaged: {store.directory / name}")
        _print(f"{len(entries)} entries, {len(damaged)} of them damaged (they are made anew)")
        return 1 if damaged else 0
    size = sum(size for _, size in entries)
    programs, kernels = (
        sum(name.endswith(f".{kind}") for name, _ in entries) for kind in (PROGRAM, KERNEL)
    )
    for line in (
        f"directory  {store.directory}",
        f"in use     {'yes' if settings.enabled else 'no (GRAPHC_CACHE=0)'}",
        f"programs   {programs}",
        f"kernels    {kernels}",
        f"size       {size / 2**20:.1f} MiB of at most {store.limit / 2**20:.0f}",
    ):
        _print(line)
    return 0


def _info(given: argparse.Namespace) -> None:
    from graphc.lower.processor import cpu
    from graphc.runtime.blas import find_blas
    from graphc.runtime.threads import num_threads

    lines = [("graphc", _version("graphc")), ("python", platform.python_version())]
    lines += [(p, _version(p)) for p in ("numpy", "sympy", "scipy", "numba", "llvmlite")]
    lines += [
        ("platform", platform.platform()),
        ("processor", cpu()[0]),
        ("blas", str(find_blas().path)),
        ("threads", str(num_threads())),
        ("cache", str(config.cache().directory)),
    ]
    for name, value in lines:
        _print(f"{name:<10} {value}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _print(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
