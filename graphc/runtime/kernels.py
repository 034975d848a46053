"""The kernels of a program: each distinct one once, its code from the cache or compiled.

A kernel's entry in the cache is found by its source and the types of its buffers, so models share
kernels, and a model that was changed compiles only what is new. The symbol that its code defines is
made of the same. Kernels that differ in their numbers have one code (`loops/numbers.py`), and are
two all the same for people, who see these in the source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count
from typing import Any

from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.loops.grammar import For
from graphc.pipeline.pipeline import Compiled
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from graphc.runtime import cache
from graphc.runtime.target import TARGETS, Target
from graphc.runtime.worker import Job, Worker
from graphc.shown import Formula, Shown


@dataclass(repr=False)
class KernelInfo:
    """One kernel of a program: its name, Python source, and how many calls use it."""

    name: str
    source: str
    general: str  # the same without its numbers
    calls: list[Call]

    @property
    def identity(self) -> str:
        """What its code depends on, beside the target and who compiles."""
        types = ", ".join(b.dtype.short for b in self.calls[0].kernel.buffers)
        return f"{types}\n{self.general}"

    @property
    def has_loop(self) -> bool:
        return any(isinstance(s, For) for s in self.calls[0].kernel.body)

    @property
    def symbol(self) -> str:
        """What its code defines."""
        return "kernel." + hashlib.sha256(self.identity.encode()).hexdigest()[:32]

    # -- what it computes --------------------------------------------------------------------------
    @property
    def body(self) -> Graph:
        """What it computes, as a graph."""
        body: Graph = self.calls[0].node.attrs["body"]
        return body

    @property
    def operands(self) -> list[str]:
        """The names of what it reads: a leaf's, where it is one at the first call, else a1, ..."""
        return operand_names(self.calls[0].node.inputs)

    @property
    def formula(self) -> Any:
        """The SymPy expression of an element of its result; of several results, a tuple of them.

        Operands have the indices i, j, ... of that element, and what is added up is a `Sum`.
        Errors: `ArgumentError` naming an operation that no expression of one element is: one that
        goes along an axis in order, as a running sum or a sort does.
        """
        from graphc.fusion.elements import expressions

        found = expressions(self.body, self.operands)
        return found[0] if len(found) == 1 else tuple(found)

    @property
    def latex(self) -> str:
        """Its equations."""
        from graphc.symbolic.latex import equations

        body = self.body
        named = dict(zip(body.inputs, self.operands, strict=True))
        return Formula(equations([("", t) for t in body.outputs], leaves=named))

    def _repr_latex_(self) -> str:
        return Formula(self.latex)._repr_latex_()

    def __repr__(self) -> str:
        """Its name and its operations: the rest is asked for."""
        operations = dict.fromkeys(node.op.name for node in self.body.nodes if node.inputs)
        calls = f"{len(self.calls)} calls" if len(self.calls) > 1 else "1 call"
        return f"<Kernel {self.name!r}: {', '.join(operations)}; {calls}>"

    @property
    def text(self) -> list[str]:
        """Its equations, as lines of plain text."""
        from graphc.symbolic.plain import plain

        body = self.body
        named = dict(zip(body.inputs, map(dotted, self.operands), strict=True))
        marks = [str(i) for i in range(1, len(body.outputs) + 1)] if len(body.outputs) > 1 else [""]
        return plain([(f"y{m}", t) for m, t in zip(marks, body.outputs, strict=True)], named)


def dotted(name: str) -> str:
    """A path in a line of text, where it is no fraction."""
    return name.replace("/", ".")


def operand_names(tensors: Sequence[Tensor]) -> list[str]:
    """A name for each tensor, no two the same."""
    names: list[str] = []
    fresh = map("a{}".format, count(1))
    for t in tensors:
        own = [t.name] if t.name and t.name not in names else []
        names.append(next(n for n in chain(own, fresh) if n not in names))
    return names


def distinct_kernels(compiled: Compiled, target: Target = TARGETS["cpu"]) -> list[KernelInfo]:
    """Each kernel once, by its source for a target and the types of its buffers; calls are given
    its name."""
    found: dict[tuple[str, ...], KernelInfo] = {}
    for step in walk_steps(compiled.program.steps):
        if isinstance(step, Call):
            source, general = target.print_kernel(step.kernel)
            key = (source, *(b.dtype.short for b in step.kernel.buffers))
            if key not in found:
                found[key] = KernelInfo(f"kernel{len(found)}", Shown(source), general, [])
            step.name = found[key].name
            found[key].calls.append(step)
    return list(found.values())


@dataclass(frozen=True)
class Pieces:
    """The kernels of a program, their symbols and code by name, the code of the functions that they
    call, and how many kernels were compiled."""

    kernels: list[KernelInfo]
    code: dict[str, tuple[str, Any]]
    functions: list[Any]
    compiled: int


def compile_kernels(compiled: Compiled, target: Target, stages: Stages, anew: bool) -> Pieces:
    """The code of a program's kernels. `anew`: all are compiled, whatever the cache has.

    While one kernel is optimised, the next is translated: the stage `optimize` is what is left
    when all are translated.
    """
    kernels = stages.run("print_kernels", lambda: distinct_kernels(compiled, target))
    symbols = {k.name: k.symbol for k in kernels}
    codes = {symbols[k.name]: k for k in reversed(kernels)}  # the first kernel of each code
    pieces: dict[str, Any] = {}
    if not anew:

        def find() -> dict[str, Any]:
            return {symbol: _find(k.identity, target) for symbol, k in codes.items()}

        pieces = {symbol: p for symbol, p in stages.run("find_kernels", find).items() if p}
    missing = [k for k in kernels if codes[symbols[k.name]] is k and symbols[k.name] not in pieces]

    def said(kernel: KernelInfo, stage: str) -> KernelInfo:
        stages.say(f"{stage}, {kernel.name} of {len(kernels)}")
        return kernel

    def translate(k: KernelInfo, worker: Worker) -> Job[Any]:
        symbol = symbols[said(k, "numba").name]
        text = target.compile_kernel(k.calls[0].kernel, symbol)
        return worker.put(lambda: target.compile_piece(text, symbol, k.has_loop))

    def optimized(jobs: list[Job[Any]]) -> None:
        for k, job in zip(missing, jobs, strict=True):
            piece = _kept(said(k, "optimize").identity, target, job.result())
            pieces[symbols[k.name]] = piece

    def functions() -> list[Any]:
        called = sorted({s for piece in pieces.values() for s in piece.functions})
        return [_function(symbol, target, anew) for symbol in called]

    if missing:
        shown = "\n".join(f"# {k.name}\n{k.source}" for k in missing)
        stages.run("prepare", lambda: target.prepare([k.calls[0].kernel for k in missing]))
        with Worker() as worker:
            product = worker.put(lambda: target.prepare_program(compiled.program))
            translated = stages.run(
                "numba", lambda: [translate(k, worker) for k in missing], lambda _: shown
            )
            stages.run("optimize", lambda: optimized(translated))
            product.result()
    code = {name: (symbol, pieces[symbol]) for name, symbol in symbols.items()}
    return Pieces(kernels, code, stages.run("functions", functions), len(missing))


def _function(symbol: str, target: Target, anew: bool) -> Any:
    identity = f"function {symbol}"
    found = None if anew else _find(identity, target)
    return found or _kept(identity, target, target.compile_function(symbol))


# -- the cache -------------------------------------------------------------------------------------
def _key(identity: str, target: Target) -> str:
    compiler = {**cache.environment_parts(), "target": target.name, **target.identity()}
    return cache.make_key({"kernel": identity, "compiler": _digest(tuple(compiler.items()))})


@lru_cache(maxsize=8)
def _digest(parts: tuple[tuple[str, str], ...]) -> str:
    """What kernels of one target and one process share of their keys."""
    return cache.make_key(dict(parts))


def _find(identity: str, target: Target) -> Any:
    found = cache.load(_key(identity, target), cache.KERNEL)
    return target.read_piece(*found) if found else None


def _kept(identity: str, target: Target, piece: Any) -> Any:
    """The piece, which the cache has from now on."""
    manifest, data = target.write_piece(piece)
    cache.store(_key(identity, target), dict(manifest), data, cache.KERNEL)
    return piece
