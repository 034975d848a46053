"""The way from a Python call to native code and back, made for one signature.

What a call does is written out as Python source, so that nothing is looked up or looped over: check
each array, take its address, fill a context, run. Contexts (with their arenas) are kept in a pool
and reused; each call in flight has its own. Scalars go by value: those of inputs and outputs lie in
the context, behind its words. The source holds compiler-made names only.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.ir.dim import Size, evaluate, named, names, substitute
from graphc.ir.evaluate import bind_dims, check_sizes, learn_dims
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, Variable, elsewhere
from graphc.ir.shape import show
from graphc.lower.head import INTERRUPTED, Head
from graphc.memory import empty
from graphc.runtime import threads
from graphc.runtime.arguments import as_input
from graphc.runtime.executable import Executable, Manifest
from graphc.runtime.signals import raise_pending
from graphc.runtime.sites import failure

_calls = itertools.count(1)
ALIGN = 64
WORD = 8  # bytes
MOST = 1 << 63  # a float that is below is one of every dtype, and so is an int
ARENAS = 1000  # arena sizes remembered, by the dims


class Context:
    """The words that one call hands to native code, and the arena that they point to.

    `given` holds the scalar inputs, as ctypes' scalars; `results` the scalar outputs, as an array
    for each dtype; `outputs` are the words that point to outputs."""

    __slots__ = (
        "address", "arena", "bytes", "call", "given", "outputs", "results", "sizes", "words",
    )  # fmt: skip

    def __init__(self, caller: Caller) -> None:
        self.words = (ctypes.c_int64 * (caller.word_count + caller.scalar_count))()
        self.address = ctypes.addressof(self.words)
        self.call = next(_calls)
        for word, value in enumerate(caller.executable.head):
            self.words[word] = value
        self.words[Head.CALL] = self.call
        self.words[Head.SHARE] = caller.share
        self.words[Head.THREADS] = caller.threads
        for word, pointer in caller.fixed:
            self.words[word] = pointer
        self.given: list[Any] = []
        self.results: list[np.ndarray[Any, Any]] = []
        self._place_scalars(caller)
        self.outputs = np.frombuffer(self.words, np.int64)[caller.output_words :][: caller.count]
        self.arena: Any = None
        self.bytes = -1
        self.sizes: tuple[int, ...] | None = None  # the dims of the last call

    def _place_scalars(self, caller: Caller) -> None:
        place = caller.word_count
        for i, kind in caller.scalar_inputs:
            self.words[caller.input_words + i] = self.address + WORD * place
            self.given.append(kind.from_buffer(self.words, WORD * place))
            place += 1
        values = np.frombuffer(self.words, np.int64)
        for dtype, positions in caller.scalar_outputs:
            own = values[place : place + len(positions)].view(dtype)
            self.results.append(own[:: WORD // dtype.itemsize])
            for i in positions:
                self.words[caller.output_words + i] = self.address + WORD * place
                place += 1

    def resize(self, sizes: tuple[int, ...], size: int) -> None:
        """Make the arena for other dims: at least `size` bytes, on a cache line."""
        self.sizes = sizes
        self.words[Head.CHANGED] = 1
        if size > self.bytes:
            self.arena = empty(size + ALIGN)
            start = self.arena.ctypes.data
            self.words[Head.ARENA] = start + (-start) % ALIGN
            self.bytes = size


class Caller:
    """Calls an executable with arrays. `call` is the generated function."""

    def __init__(
        self, graph: Graph, name: str, manifest: Manifest, executable: Executable, constants: Any
    ) -> None:
        self.graph, self.name, self.manifest = graph, name, manifest
        self.executable = executable
        dims = manifest["dims"]
        variables = [graph.variables[i] for i in manifest["variables"]]
        first = Head.COUNT + len(dims)
        self.input_words = first
        self.output_words = first + len(graph.inputs)
        self.count = len(graph.outputs)
        variable_words = self.output_words + self.count
        pointers = [v.cell.array.ctypes.data for v in variables]
        pointers += [c.ctypes.data for c in constants]
        pointers += executable.routines
        self.fixed = list(enumerate(pointers, variable_words))
        self.word_count = variable_words + len(pointers) + manifest["table"]
        self.scalar_inputs = [
            (i, _ctype(t.dtype.numpy)) for i, t in enumerate(graph.inputs) if _in_a_word(t)
        ]
        self.scalar_outputs: list[tuple[np.dtype[Any], list[int]]] = []
        for dtype in dict.fromkeys(t.dtype for t in graph.outputs if _in_a_word(t)):
            found = [i for i, t in enumerate(graph.outputs) if _in_a_word(t) and t.dtype is dtype]
            self.scalar_outputs.append((dtype.numpy, found))
        returned = sum(len(positions) for _, positions in self.scalar_outputs)
        self.scalar_count = len(self.scalar_inputs) + returned
        self.constants = constants
        self.threads = threads.num_threads()
        shares = manifest["parallel"] and self.threads > 1
        self.share = threads.share_address() if shares else 0
        self.written = [v for v, _ in graph.updates]
        self.variables = variables
        self.pool: list[Context] = []
        self.arenas: dict[tuple[int, ...], int] = {}
        self.dims = graph.dims  # of the user's inputs: the program may have fewer
        self.formulas: list[Size] = []  # composite sizes of outputs
        self.call = self._generate(_Each(self))
        self.kept = self.call  # results are where they were computed

    @cached_property
    def rows(self) -> Callable[..., Any]:
        """As `call`, but the outputs, which are of one type, are the rows of one array."""
        return self._generate(_Rows(self))

    @cached_property
    def into(self) -> Callable[..., None]:
        """A call whose results go to memory that is given: behind all arrays it takes the addresses
        of the outputs, each for as many elements as it has, and for a program that announces its
        results the file that it writes to, plus one, or 0."""
        return self._generate(_Into(self))

    @property
    def announced(self) -> list[tuple[int, list[int]]]:
        """For each announcement how many steps come behind it, and the outputs that are there."""
        return [(left, outputs) for left, outputs in self.manifest["announced"]]

    # -- what the generated function calls for anything out of the ordinary ------------------------
    def convert(self, position: int, value: Any) -> Any:
        """An argument that is not yet an array that the program can read."""
        return as_input(value, self.graph.inputs[position], self.name)

    def scalar(self, position: int, value: Any) -> Any:
        """An argument that stands for a scalar, as Python's number; as an array if it has axes."""
        array = self.convert(position, value)
        return array.item() if array.ndim == 0 else array

    def refuse(self, arrays: Sequence[Any]) -> None:
        """Raise the error of arrays whose shapes do not fit."""
        arrays = [np.asarray(a) for a in arrays]
        bind_dims(self.graph, arrays)
        raise ShapeError(
            "the arrays' shapes do not fit",
            op=self.name,
            expected=", ".join(str(t.type) for t in self.graph.inputs),
            given=", ".join(show(a.shape) for a in arrays),
        )

    def reserve(self, context: Context, sizes: tuple[int, ...]) -> None:
        """The arena for these dims, which have what operations need: that is checked, and the
        arena's size computed, once for each tuple of dims."""
        needed = self.arenas.get(sizes)
        if needed is None:
            dims = dict(zip(self.dims, sizes, strict=True))
            check_sizes(self.graph, dims)
            needed = self._arena_bytes({name: dims[name] for name in self.manifest["dims"]})
            if len(self.arenas) >= ARENAS:
                self.arenas.clear()
            self.arenas[sizes] = needed
        context.resize(sizes, needed)

    def _arena_bytes(self, dims: dict[str, int]) -> int:
        size = self.executable.arena_bytes(dims, self.threads if self.share else 1)
        if size >= 1 << 62:
            raise ShapeError(
                "the temporary memory exceeds the address space", op=self.name, given=f"{dims}"
            )
        return size

    def fail(self, context: Context, code: int, arrays: Sequence[Any], rows: Any = None) -> None:
        """Raise the error of the site that failed for these arrays, which are these rows of the
        data; or that of a signal's handler."""
        if code == INTERRUPTED:
            raise_pending(context.words)
        pending = self.executable.take_error(context.call)
        if pending is not None:
            raise pending
        if any(host["site"] == code for host in self.manifest["hosts"]):
            raise KeyboardInterrupt  # it came before the host call could take it; Python showed it
        raise failure(self.graph, self.manifest, code, arrays, rows)

    def bring_home(self) -> None:
        """Where a variable may be on a device: its array has the newest value afterwards."""
        written = {variable.cell for variable in self.written}
        with hold(self.variables):
            for variable in self.variables:
                variable.cell.bring_home(variable.cell in written)

    def run_at_home(self, context: Context) -> int:
        self.bring_home()
        return int(self.executable.entry(context.address))

    @cached_property
    def locks(self) -> Held:
        return hold(self.written)

    # -- the generated function --------------------------------------------------------------------
    def _generate(self, results: _Each | _Rows | _Into) -> Callable[..., Any]:
        source = "\n".join(self._source(results)) + "\n"
        scope: dict[str, Any] = {
            "address_of": ctypes.addressof,
            "bytes_of": ctypes.c_char.from_buffer,
            "caller": self,
            "pool": results.pool,
            "Context": Context,
            "elsewhere": elsewhere,
            "entry": self.executable.entry,
            "add_to": np.add,
            "empty": np.empty,
            "numbers": np.arange(self.count),
            "times": np.multiply,
            "ndarray": np.ndarray,
        }
        for i, t in enumerate(self.graph.inputs):
            scope[f"d{i}"] = t.dtype.numpy
        for i, t in enumerate(self.graph.outputs):
            scope[f"e{i}"] = t.dtype.numpy
        if len(self.written) == 1:
            scope["lock"] = self.written[0].cell.lock
        # A file name inside the package: errors name the first line that is outside of it.
        exec(compile(source, f"{__file__}:call", "exec"), scope)
        made: Callable[..., Any] = scope["call"]
        return made

    def _source(self, results: _Each | _Rows | _Into) -> list[str]:
        inputs = self.graph.inputs
        dims = self.manifest["dims"]
        given = [f"a{i}" for i in range(len(inputs))]
        lines = [f"def call({', '.join([*given, *results.parameters])}):"]

        def add(text: str, depth: int = 1) -> None:
            lines.append("    " * depth + text)

        scalars = [i for i, _ in self.scalar_inputs]
        for i, tensor in enumerate(inputs):
            if i in scalars:
                add(f"if not ({_fits(f'a{i}', tensor.dtype.numpy)}):")
                add(f"a{i} = caller.scalar({i}, a{i})", 2)
                continue
            add("try:")
            plain = f"a{i}.__class__ is ndarray"  # not masked, say
            add(f"if not ({plain} and a{i}.dtype is d{i}): raise TypeError", 2)
            add(f"p{i} = address_of(bytes_of(a{i}))", 2)
            if tensor.dtype.itemsize > 1:
                add(f"if p{i} % {tensor.dtype.itemsize}: raise TypeError", 2)
            add("except (TypeError, ValueError, AttributeError, BufferError):")
            add(f"a{i} = caller.convert({i}, a{i})", 2)
            add(f"p{i} = a{i}.ctypes.data", 2)
        self._add_sizes(add, given)
        add("try: context = pool.pop()")
        add("except IndexError: context = Context(caller)")
        add(f"sizes = ({self._all_dims()})")
        add("if context.sizes != sizes: caller.reserve(context, sizes)")
        add("words = context.words")
        own = [f"n{self.dims.index(d)}" for d in dims]
        for i, name in enumerate(own):
            add(f"words[{Head.COUNT + i}] = {name}")
        for i in range(len(inputs)):
            if i not in scalars:
                add(f"words[{self.input_words + i}] = p{i}")
        if scalars:
            add(f"{''.join(f'g{i}, ' for i in scalars)}= context.given")
        for i in scalars:
            add(f"g{i}.value = a{i}")
        for line in results.before():
            add(line)
        guard = {0: "", 1: "with lock: "}.get(len(self.written), "with caller.locks: ")
        run = "entry(context.address)"
        if self.variables:
            run = f"caller.run_at_home(context) if elsewhere else {run}"
        add(f"{guard}code = {run}")
        add("if code:")
        add(f"try: caller.fail(context, code, ({''.join(f'{a}, ' for a in given)}))", 2)
        add("finally: pool.append(context)", 2)
        for line in results.behind():
            add(line)
        add("pool.append(context)")
        add(f"return {results.expression}")
        return lines

    def _add_sizes(self, add: Callable[..., None], given: Sequence[str]) -> None:
        """Learn the dims from the shapes, and check every size."""
        known: dict[Size, str] = {}
        checks: list[str] = []
        arrays = f"({''.join(f'{a}, ' for a in given)})"
        dims = self.dims
        for i, tensor in enumerate(self.graph.inputs):
            if _in_a_word(tensor):  # a number, or an array that does not fit
                checks.append(f"a{i}.__class__ is ndarray")
                continue
            add(f"s{i} = a{i}.shape")
            checks.append(f"len(s{i}) != {tensor.ndim}")
            for axis, size in enumerate(tensor.shape):
                if isinstance(size, int):
                    checks.append(f"s{i}[{axis}] != {size}")
                elif str(size) in dims and size not in known:
                    known[size] = f"s{i}[{axis}]"
                elif size in known:
                    checks.append(f"s{i}[{axis}] != {known[size]}")
        if checks:
            add(f"if {' or '.join(checks)}: caller.refuse({arrays})")
        if all(named(d) in known for d in dims) and self._all_plain():
            for k, name in enumerate(dims):
                add(f"n{k} = {known[named(name)]}")
        else:
            unpacked = "".join(f"n{k}, " for k in range(len(dims)))
            add(f"{unpacked + '= ' if dims else ''}caller.solve({arrays})")

    def _all_plain(self) -> bool:
        """Whether every symbolic size of the inputs is just a name."""
        dims = set(self.dims)
        sizes = [s for t in self.graph.inputs for s in t.shape if not isinstance(s, int)]
        return all(str(s) in dims for s in sizes)

    def solve(self, arrays: Sequence[Any]) -> tuple[int, ...]:
        """The dims from shapes with composite sizes."""
        found = learn_dims(self.graph, [np.asarray(a) for a in arrays])
        return tuple(found[d] for d in self.dims)

    def shape(self, tensor: Tensor) -> str:
        """The shape of an output as Python source over the dims `n0, n1, ...`."""
        sizes = []
        for size in tensor.shape:
            if not names(size) <= set(self.dims):  # a name that only an equation determines
                size = substitute(size, self.graph.sizes.sizes)
            if isinstance(size, int):
                sizes.append(str(size))
            elif str(size) in self.dims:
                sizes.append(f"n{self.dims.index(str(size))}")
            else:
                place = len(self.formulas)
                self.formulas.append(size)
                sizes.append(f"caller.size({place}, ({self._all_dims()}))")
        return f"({''.join(s + ', ' for s in sizes)})"

    def _all_dims(self) -> str:
        return "".join(f"n{k}, " for k in range(len(self.dims)))

    def size(self, place: int, values: tuple[int, ...]) -> int:
        """A composite size at the given dims."""
        return evaluate(self.formulas[place], dict(zip(self.dims, values, strict=True)))


class _Each:
    """Results in a tuple, an array each: the lines before and behind the native call."""

    parameters = ()

    def __init__(self, caller: Caller) -> None:
        self._caller, self.pool = caller, caller.pool
        self.expression = f"({''.join(f'r{i}, ' for i in range(caller.count))})"

    def before(self) -> Iterator[str]:
        for i, tensor in enumerate(self._caller.graph.outputs):
            if not _in_a_word(tensor):
                yield f"r{i} = empty({self._caller.shape(tensor)}, e{i})"
                yield f"words[{self._caller.output_words + i}] = {_pointer(f'r{i}', tensor)}"

    def behind(self) -> Iterator[str]:
        for k, (_, positions) in enumerate(self._caller.scalar_outputs):
            yield f"{''.join(f'r{i}, ' for i in positions)}= context.results[{k}]"
        for i, tensor in enumerate(self._caller.graph.outputs):
            if not tensor.ndim and not _in_a_word(tensor):
                yield f"r{i} = r{i}[()]"


class _Rows:
    """Results of one type as the rows of one array."""

    expression = "r"
    parameters = ()

    def __init__(self, caller: Caller) -> None:
        self._caller, self.pool = caller, caller.pool
        self._first = caller.graph.outputs[0]

    def before(self) -> Iterator[str]:
        if not _in_a_word(self._first):
            yield f"r = empty(({self._caller.count}, *{self._caller.shape(self._first)}), e0)"
            yield "outputs = context.outputs"
            yield "times(numbers, r.strides[0], outputs)"
            yield f"add_to(outputs, {_pointer('r', self._first)}, outputs)"

    def behind(self) -> Iterator[str]:
        if _in_a_word(self._first):
            yield "r = context.results[0].copy()"


class _Into:
    """Results in memory that is given, scalars too; so these calls have contexts of their own."""

    expression = "None"
    parameters = ("places", "listener")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.pool: list[Context] = []

    def before(self) -> Iterator[str]:
        first = self._caller.output_words
        if self._caller.count:
            yield f"words[{first}:{first + self._caller.count}] = places"
        if "bell" in self._caller.manifest:
            yield f"words[{self._caller.manifest['bell']}] = listener"

    def behind(self) -> Iterator[str]:
        return iter(())


def _pointer(name: str, tensor: Tensor) -> str:
    """The address of an array for an output; none of what has no elements."""
    pointer = f"address_of(bytes_of({name}))"  # much faster than r.ctypes.data
    never_empty = all(isinstance(s, int) and s > 0 for s in tensor.shape)
    return pointer if never_empty else f"({pointer} if {name}.size else 0)"


def _in_a_word(tensor: Tensor) -> bool:
    """Whether it lies in the context by value. A complex number takes two words, and ctypes has no
    float16: these are arrays."""
    return tensor.ndim == 0 and tensor.dtype.is_computed


def _ctype(dtype: np.dtype[Any]) -> Any:
    """The scalar of ctypes that holds the same."""
    named = {"float32": "float", "float64": "double"}
    return getattr(ctypes, f"c_{named.get(dtype.name, dtype.name)}")


def _fits(name: str, dtype: np.dtype[Any]) -> str:
    """Python source that tells whether the scalar `name` is a number that the dtype holds as it
    is, or rounded; another argument may still be converted to one."""
    if dtype.kind == "b":
        return f"{name}.__class__ is bool"
    if dtype.kind == "f":
        return (
            f"({name}.__class__ is float or {name}.__class__ is int) and -{MOST} < {name} < {MOST}"
        )
    info = np.iinfo(dtype)
    return f"{name}.__class__ is int and {info.min} <= {name} <= {info.max}"


def aligned_constants(sizes: Sequence[int], blob: bytes) -> list[np.ndarray[Any, Any]]:
    """The program's constants, which follow each other in `blob`, on cache lines."""
    arrays, at = [], 0
    for size in sizes:
        memory = np.empty(size + ALIGN, np.uint8)
        start = (-memory.ctypes.data) % ALIGN
        aligned = memory[start : start + size]
        aligned[:] = np.frombuffer(blob[at : at + size], np.uint8)
        arrays.append(aligned)
        at += size
    return arrays


class Held:
    """Locks that are held together, inside of `with`: all, or none if taking one of them raises. It
    has no state, so threads share it."""

    __slots__ = ("_locks",)

    def __init__(self, locks: Iterable[Any]) -> None:
        self._locks = tuple(locks)

    def __enter__(self) -> None:
        taken = 0
        try:
            for lock in self._locks:
                lock.acquire()
                taken += 1
        except BaseException:  # the handler of a signal, while another thread had it
            for lock in self._locks[:taken]:
                lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        for lock in self._locks:
            lock.release()


def hold(variables: Iterable[Variable]) -> Held:
    """The locks of variables that a call writes, in one order for all callers."""
    return Held(v.cell.lock for v in sorted(variables, key=lambda v: v.cell.serial))
