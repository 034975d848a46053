"""`gc.compile`: from tensors to a function that runs natively.

The program is looked up in the cache; only if it is not there does the compiler run: `programs.py`.
What a user may ask of the function later (kernels, source, the optimised graph) is then made again
from the graph, when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, GraphError
from graphc.ir.dim import SIZE_HINT
from graphc.ir.evaluate import check_dims, evaluate_graph
from graphc.ir.given import as_flag, whole_number
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.operators import function
from graphc.ir.structure import Structure, at_leaf, flatten, unflatten
from graphc.keywords import answering
from graphc.ops.at import Selected
from graphc.ops.build import cast
from graphc.pipeline.options import Options
from graphc.pipeline.timings import Timings
from graphc.runtime.arguments import as_input
from graphc.runtime.caller import Caller, hold
from graphc.runtime.checked import Checked, check_mode
from graphc.runtime.programs import load_program, statistics
from graphc.runtime.target import AUTO, TARGETS, find_target
from graphc.shown import Markdown, Shown

REFERENCE = "reference"  # no target: the interpreter
RESULTS = ("host", "device")


@answering
def compile(
    inputs: Sequence[Tensor],
    outputs: Any,
    updates: Any = (),
    *,
    target: str = "cpu",
    name: str = "function",
    check: bool | str = False,
    flush_subnormals: bool = False,
    fastmath: bool = False,
    memory_budget: int | None = None,
    sizes: Mapping[str, int] | None = None,
    device: int | None = None,
    results: str = "host",
    tf32: bool = False,
) -> Function:
    """A function that computes `outputs` from arrays for `inputs` and then applies `updates`.

    `outputs` is a tensor, or tensors in lists, tuples, dicts and dataclasses, in any of each other;
    the function returns the same structure of arrays. `updates` maps variables to their new values
    (or is a list of pairs); all outputs and updates read the values from before the call, and a
    call that fails changes none.
    `target` is "cpu", "cuda" for NVIDIA's cards, "auto" for a card where one can be used and else
    the CPU, or "reference" for the NumPy interpreter. `device` is the number of the card, which
    is else the first one of `gc.cuda.devices()`. With `results="device"` results stay where they
    are computed: on a card they are `gc.cuda.Array`s. Arrays that are on the card already are
    read there.
    `check=True` verifies the graph after every stage; `check="all"` compares every stage, kernel
    and call with the interpreter, slowly, and raises `CheckError` naming the first that differs;
    `check="nan"` raises
    `NonFiniteError` naming the operation and your line that made a NaN or infinity of a result.
    `flush_subnormals=True` allows numbers below the normal range (1.2e-38 in float32) to be taken
    as zero, as XLA does and NumPy does not; training is up to a sixth faster on a CPU, because
    moments of gradients that stay zero shrink into that range. Cards keep them at no cost.
    `fastmath=True` also uses identities that hold for real numbers but not for floats, such as
    `x / x -> 1`: right for finite operands at which nothing overflows, but for the last digits.
    `memory_budget` is how many bytes of temporaries a call may allocate: values are computed again
    rather than kept where they would be more. `sizes` gives typical sizes of named dims, 64 for the
    others: budgets are judged, memory is planned and costs are compared for these.
    `tf32=True` allows cards to round the operands of float32 products to 10 bits behind the point.
    Errors: `ArgumentError` for what are no tensors, an unknown target or check, a device of a
    target that has none, or a variable updated twice;
    `GraphError` if an output needs an input that is not listed; `MemoryBudgetError` where no
    program was found that fits in the budget.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n",))
    >>> f = gc.compile([x], gc.tanh(x) * 2)
    >>> f(np.zeros(3, "float32"))
    array([0., 0., 0.], dtype=float32)
    """
    _one_of("target", target, (*TARGETS, AUTO, REFERENCE))
    _one_of("place of results", results, RESULTS)
    if not isinstance(name, str):
        raise ArgumentError("a name is a string", op="compile", given=repr(name)[:80])
    flat, structure = _flatten(outputs)
    graph = Graph(_inputs(inputs), flat, _updates(updates), name)
    check_dims(graph)
    mode = check_mode(check)
    flush_subnormals, fastmath, tf32 = (
        as_flag(flag, "compile", name)
        for name, flag in (
            ("flush_subnormals", flush_subnormals), ("fastmath", fastmath), ("tf32", tf32)
        )
    )  # fmt: skip
    if fastmath and mode == "all":
        raise ArgumentError(
            "fastmath changes results, so that they cannot be compared",
            op="compile",
            expected="fastmath=False beside check='all'",
            given="fastmath=True",
        )
    options = Options(
        mode in (True, "all"),
        flush_subnormals,
        fastmath,
        _budget(memory_budget),
        _sizes(sizes, graph),
        tf32,
    )
    return Function(graph, structure, target, mode, options, _device(device), results)


def compile_announcing(inputs: Sequence[Tensor], outputs: Sequence[Tensor], name: str) -> Function:
    """A function of the processor that says while it runs which results are there, where it is
    called by `caller.into`; subnormal numbers may be taken as zero."""
    flat, structure = _flatten(list(outputs))
    graph = Graph(_inputs(inputs), flat, (), name)
    check_dims(graph)
    options = Options(flush_subnormals=True, announces=True)
    return Function(graph, structure, "cpu", False, options)


def compile_statistics() -> dict[str, int]:
    """How many programs this process has compiled, how many it found in the cache (as they are, or
    with other numbers), and how many kernels it has compiled for those that it did not find."""
    return dict(statistics)


# -- the arguments of `compile` --------------------------------------------------------------------
def _inputs(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        inputs = [inputs]
    if not isinstance(inputs, Sequence) or isinstance(inputs, str):
        raise ArgumentError("not inputs", op="compile", expected="a list", given=repr(inputs)[:80])
    return [_tensor(t, "an input") for t in inputs]


def _tensor(value: Any, what: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise ArgumentError(
            f"{what} is not a tensor", op="compile", expected="a tensor", given=repr(value)[:80],
            hint="gc.jit(function) takes arguments that are nested; here tensors stand one by one"
            if isinstance(value, (list, tuple, Mapping)) else "",
        )  # fmt: skip
    return value


def _updates(updates: Any) -> list[tuple[Variable, Tensor]]:
    if not isinstance(updates, (Mapping, Sequence)) or isinstance(updates, str):
        raise ArgumentError(
            "not updates",
            op="compile",
            expected="a dict, or a list of pairs",
            given=repr(updates)[:80],
        )
    pairs = list(updates.items()) if isinstance(updates, Mapping) else list(updates)
    result: list[tuple[Variable, Tensor]] = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ArgumentError(
                "not an update", op="compile", expected="(variable, tensor)", given=repr(pair)[:80]
            )
        variable, value = pair
        if not isinstance(variable, Variable):
            raise ArgumentError(
                "only variables can be updated",
                op="compile",
                expected="a variable",
                given=repr(variable)[:80],
            )
        result.append((variable, cast(_tensor(value, "an update"), variable.dtype)))
    seen: set[Variable] = set()
    for variable, _ in result:
        if variable in seen:
            raise GraphError("a variable is updated twice", op="compile", given=variable.name)
        seen.add(variable)
    return result


def _flatten(outputs: Any) -> tuple[list[Tensor], Structure]:
    leaves, structure = flatten(outputs, sort=False)
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, Selected):
            raise at_leaf(leaf.no_tensor(), structure, i, "outputs")
        if not isinstance(leaf, Tensor):
            error = ArgumentError(
                "not a tensor",
                op="compile",
                expected="a tensor, or tensors in lists, tuples, dicts and dataclasses",
                given=repr(leaf)[:80],
            )
            raise at_leaf(error, structure, i, "outputs")
    return leaves, structure


def _one_of(what: str, given: Any, known: Sequence[str]) -> None:
    if given not in known:
        raise ArgumentError(
            f"unknown {what}", op="compile", expected=" or ".join(known), given=repr(given)[:80]
        )


def _budget(given: Any) -> int | None:
    if given is None:
        return None
    number = whole_number(given)
    if number is not None and number > 0:
        return number
    raise ArgumentError(
        "a memory budget is a number of bytes",
        op="compile",
        expected="an int above 0, or None",
        given=repr(given)[:80],
    )


def _device(given: Any) -> int | None:
    if given is None:
        return None
    number = whole_number(given)
    if number is not None and number >= 0:
        return number
    raise ArgumentError(
        "a device is given by its number",
        op="compile",
        expected="the index of one of gc.cuda.devices(), or None",
        given=repr(given)[:80],
    )


def _sizes(given: Any, graph: Graph, op: str = "compile") -> dict[str, int]:
    """The typical sizes of named dims."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ArgumentError(
            "not sizes", op=op, expected="a dict of named dims", given=repr(given)[:80]
        )
    sizes = {}
    for name, size in given.items():
        if name not in graph.dims:
            raise ArgumentError(
                "the size of a dim that no input has",
                op=op,
                expected=", ".join(graph.dims) or "no named dims",
                given=repr(name)[:80],
            )
        number = whole_number(size)
        if number is None or number < 0:
            raise ArgumentError(
                f"not a size of {name!r}",
                op=op,
                expected="an int of at least 0",
                given=repr(size)[:80],
            )
        sizes[name] = number
    return {name: sizes[name] for name in graph.dims if name in sizes}


# -- the compiled function -------------------------------------------------------------------------
class Function:
    """What `gc.compile` gives. Call it with arrays, in the order of the inputs or by name."""

    def __init__(
        self,
        graph: Graph,
        structure: Structure,
        target: str,
        check: bool | str,
        options: Options,
        device: int | None = None,
        results: str = "host",
    ) -> None:
        self.graph = graph
        self._structure, self._options = structure, options
        self._given = target, check, options, device, results
        self._check = check
        self._seconds = Timings()
        # What the compiler makes it for, or would.
        self._target = find_target("cpu" if target == REFERENCE else target, device)
        self._caller = None
        self._call = self._interpret
        if target != REFERENCE:
            self._caller = caller = load_program(graph, options, self._target, self._seconds)
            self._call = caller.call if results == "host" else caller.kept
        self._names = [t.name for t in graph.inputs]
        if isinstance(check, str):
            part = partial(compile, target=self._target.name, device=device)
            machine = self._target.machine
            self._call = Checked(graph, self._call, check, part, options, machine).call

    def __copy__(self) -> Function:
        return self  # it never changes; its variables are shared

    def __reduce__(self) -> Any:
        """Pickled as its graph's text, variables and options: reading it compiles, or finds the
        program in the cache. A deep copy has copies of the variables."""
        return Function, (self.graph, self._structure, *self._given)

    def __call__(self, /, *arrays: Any, **named: Any) -> Any:
        """Run. Errors: those of the inputs (`ArgumentError`, `DTypeError`, `ShapeError`), and
        `RuntimeFailure` if an op of the program fails; variables are then as they were."""
        if named or len(arrays) != len(self._names):
            arrays = self._arguments(arrays, named)
        return unflatten(self._structure, self._call(*arrays))

    @property
    def caller(self) -> Caller | None:
        """What calls the processor's native program; None where calls are interpreted or checked,
        or run elsewhere."""
        checked = isinstance(self._check, str)
        return self._caller if isinstance(self._caller, Caller) and not checked else None

    def flat(self, *arrays: Any) -> Any:
        """A call with all arrays, in order; its results in order, without their structure."""
        return self._call(*arrays)

    @cached_property
    def rows(self) -> Callable[..., np.ndarray[Any, Any]]:
        """This function with its outputs, which are of one type, as the rows of one array: one
        allocation instead of one for each. It takes all arrays, in order.
        Errors: `ArgumentError` for outputs of several types."""
        types = dict.fromkeys(str(t.type) for t in self.graph.outputs)
        if len(types) != 1:
            raise ArgumentError(
                "rows of one array are of one type",
                op=self.graph.name,
                expected="outputs of one type",
                given=", ".join(types) or "no outputs",
            )
        if self._caller is None or isinstance(self._check, str):
            return lambda *arrays: np.stack(self._call(*arrays))
        rows: Callable[..., np.ndarray[Any, Any]] = self._caller.rows
        return rows

    def _arguments(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        placed, rest = self._names[: len(arrays)], self._names[len(arrays) :]
        missing = [n for n in rest if n not in named]
        for problem, names in (
            ("no input has this name", [n for n in named if n not in self._names]),
            ("inputs that are given twice", [n for n in named if n in placed]),
            ("inputs are missing", missing),
            ("too many inputs", [f"{len(arrays)} arrays"] * (len(arrays) > len(self._names))),
        ):
            if names:
                given = [n for n in self._names if n not in missing] if names is missing else names
                raise ArgumentError(
                    f"{problem}: {', '.join(names)}",
                    op=self.graph.name,
                    expected=", ".join(map(str, self._names)) or "no inputs",
                    given=", ".join(given) or "none",
                )
        return (*arrays, *(named[n] for n in rest))

    def _interpret(self, *arrays: Any) -> list[Any]:
        converted = [
            as_input(a, t, self.graph.name) for a, t in zip(arrays, self.graph.inputs, strict=True)
        ]
        count = len(self.graph.outputs)
        with hold(v for v, _ in self.graph.updates):
            results = evaluate_graph(self.graph, converted)
            for (variable, _), value in zip(self.graph.updates, results[count:], strict=True):
                variable.value = value
        return [np.array(r) if r.ndim else r[()] for r in map(np.asarray, results[:count])]

    @property
    def outputs(self) -> Any:
        """The tensors that it computes, in the structure of its results."""
        return unflatten(self._structure, self.graph.outputs)

    # -- what the compiler made --------------------------------------------------------------------
    @cached_property
    def compilation(self) -> Any:
        """Everything the compiler made, built again from the graph if it came from the cache."""
        from graphc.runtime.build import build

        return build(self.graph, self._options, self._target)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by stage that making this function took: `key` and `cache`, the stages of the
        compiler where the program was not in the cache (those up to `order_operands`, where one
        was that differs in numbers alone), and `load`."""
        return dict(self._seconds)

    @property
    def optimized(self) -> Graph:
        """The graph after optimisation: regions, contractions, loops."""
        graph: Graph = self.compilation.optimized
        return graph

    @property
    def kernels(self) -> list[Any]:
        """The distinct kernels of the program, each with `.name`, `.source` and `.calls`."""
        kernels: list[Any] = self.compilation.kernels
        return kernels

    @property
    def source(self) -> str:
        """The Python source of all kernels."""
        return Shown("\n".join(f"# {k.name}\n{k.source}" for k in self.kernels))

    @property
    def llvm(self) -> str:
        """The optimised LLVM IR of the whole program."""
        return Shown(self.compilation.object.llvm_ir)

    @property
    def asm(self) -> str:
        """The machine code of the whole program, as assembly."""
        return Shown(self.compilation.object.asm)

    @property
    def ptx(self) -> str:
        """The code of a card, as PTX. Errors: `ArgumentError` for another target than "cuda"."""
        text = getattr(self.compilation.object, "ptx", None)
        if text is None:
            raise ArgumentError(
                "PTX is what cards run",
                op="ptx",
                expected='gc.compile(..., target="cuda")',
                given=f"target={self._target.name!r}, whose code is .asm",
            )
        return Shown(text)

    def cost(self) -> Any:
        """What a call costs: `.flops`, `.bytes`, `.peak_bytes` and `.intensity` as expressions of
        SymPy in the dims, `.at(n=32)` as numbers, `.compute_bound(gc.machine())`, `.steps`, and a
        table as text."""
        from graphc.planning.cost import program_cost
        from graphc.runtime.explain import launch_shapes

        shape = launch_shapes(self._options, self._target)
        return program_cost(self.compilation.compiled.program, shape)

    @property
    def launches(self) -> dict[Node, str]:
        """What a card runs for each region of `optimized`, at typical sizes; empty for a CPU."""
        from graphc.planning.program import Call, walk_steps
        from graphc.runtime.explain import launch_shapes

        shape = launch_shapes(self._options, self._target)
        steps = walk_steps(self.compilation.compiled.program.steps)
        shapes = {step.node: shape(step) for step in steps if isinstance(step, Call)}
        return {node: text for node, text in shapes.items() if text}

    @answering
    def profile(self, inputs: Any = (), runs: int = 20) -> Any:
        """How long each step takes, measured inside of the native program: `.steps` (name, kind,
        calls, seconds, share of the call, operations, bytes, share of what this machine can do),
        `.records()` for data frames, and a table as text.

        `inputs` are the arrays of a call in a list, or by name in a dict. It is run `runs` times,
        and once before; the quicker half of the runs counts. Variables keep their values.
        Errors: `ArgumentError` for a number of runs that is none, or a function that is checked,
        interpreted or run on a card; those of a call.
        """
        from graphc.runtime.stopwatch import profile

        arrays, named = (inputs, {}) if isinstance(inputs, (list, tuple)) else ((inputs,), {})
        if isinstance(inputs, Mapping):
            arrays, named = (), dict(inputs)
        placed = self._arguments(tuple(arrays), named)
        return profile(self, placed, runs, self._target, self._options)

    @answering
    def report(
        self,
        path: Any,
        inputs: Any = None,
        *,
        runs: int = 20,
        sizes: Mapping[str, int] | None = None,
    ) -> Any:
        """Writes one HTML page that needs nothing else, and gives its path: drawings, each kernel
        with its equations, code, lines of yours, cost and neighbours, the graph after each pass,
        the arena, the roofline, and the seconds of each stage.

        With `inputs`, as for `profile`, there are also the times of the steps. Numbers are for the
        sizes of these arrays, else for `sizes`, which says them for named dims (64 for others).
        Errors: `ArgumentError` for a path that cannot be written, sizes that are none; those of
        `profile`.
        """
        profile = None if inputs is None else self.profile(inputs, runs)
        given = _sizes(sizes, self.graph, "report") if profile is None else profile.dims
        dims = {**dict.fromkeys(self.graph.dims, SIZE_HINT), **self._options.sizes, **given}
        return function("_report_")(self, path, self._options, self._target, dims, profile)

    @answering
    def explain(self, markdown: bool = False) -> str:
        """What became of the graph: its steps with the equations of their kernels and the lines of
        yours that each is for, why neighbouring kernels are two, and which rules fired where. As
        text; as Markdown with the equations in LaTeX where asked for."""
        from graphc.runtime.explain import explain

        text = explain(self.graph, self._options, self._target, markdown)
        return Markdown(text) if markdown else Shown(text)

    def _repr_svg_(self) -> str:
        return str(function("_repr_svg_")(self))

    def _repr_latex_(self) -> str | None:
        found: str | None = function("_repr_latex_")(self)
        return found

    def _repr_html_(self) -> str | None:
        found: str | None = function("_repr_html_")(self)
        return found

    def __repr__(self) -> str:
        inputs = ", ".join(f"{t.name}: {t.type}" for t in self.graph.inputs)
        outputs = ", ".join(str(t.type) for t in self.graph.outputs)
        return f"<graphc function {self.graph.name}({inputs}) -> {outputs}>"
