"""Inner loops of NumPy's generalised ufuncs, called pass by pass, as LLVM IR.

    void loop(char **args, npy_intp *dims, npy_intp *steps, void *data)

`args`: the first vector, the number that is multiplied by, the first result. `dims`: how many
vectors, the elements of one and of its result. `steps`, in bytes: from a vector to the next, from
a number to the next (0), from a result to the next, and from an element to the next in a vector and
in a result. Such a loop touches no object of Python's, so it runs without the interpreter's lock,
on any thread. https://numpy.org/doc/stable/reference/c-api/generalized-ufuncs.html

Vectors along the last axis lie behind each other, and are the `columns` of one group; along another
axis they lie beside each other, in a group for each index of the axes before it. Threads share
groups where there are enough of them, else the columns of each, by sixteens: so many or fewer,
beginning with the first, are what a loop takes into one register, and its bits may depend on that.

A loop that finds no memory raises a Python error, which nobody sees on a thread of the pool, and
writes no result. So as much as it may take is asked for before each call, and given back; where
there is not that much, the whole step calls back, and what NumPy raises there is raised. Large
vectors are left to the call back anyway, which costs nothing beside them.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.ir.dim import Size, product
from graphc.ir.shape import TensorType
from graphc.ir.vector_loop import VectorLoop
from graphc.lower.context import loop_names
from graphc.lower.function_text import FunctionText, Word
from graphc.lower.kernel_calls import Sharing, is_worth_threads, threads
from graphc.planning.program import Host, Passes, Ref

MOST = 1 << 19  # bytes of a vector
NEEDED = 800  # bytes for each element of a vector: pocketfft's plan and scratch, of any length
UNIT = 16  # vectors, of which a register of 64 bytes has an element each

MALLOC = "declare ptr @malloc(i64)\ndeclare void @free(ptr)"

Span = Callable[..., FunctionText]  # a function over part of a step, with these more parameters


def are_there(text: FunctionText, step: Host, passes: Passes) -> str:
    """Whether NumPy has all loops of a step, and its vectors are small enough."""
    found = "true"
    for place, loop in enumerate(passes.loops):
        for name in loop_names(step, place):
            word = text.word("ptr", text.layout.loops[name])
            found = _and(text, found, text.emit(f"icmp ne ptr {word}, null", early=True))
        most = MOST // max(t.dtype.itemsize for t in (*step.node.inputs, *step.node.outputs))
        small = text.emit(f"icmp sle i64 {text.size(loop.size)}, {most}")
        found = _and(text, found, small)
    return found


def _and(text: FunctionText, left: str, right: str) -> str:
    return text.emit(f"and i1 {left}, {right}")


def run(
    text: FunctionText,
    step: Host,
    passes: Passes,
    sharing: Sharing,
    span: Span,
    counters: Callable[[], list[Word]],
) -> str:
    """All passes of a step. `span` begins a function that threads share, and `counters` are what
    such a function is given first. The result is whether there was no memory for some of them."""
    missing = text.stack("loop.missing", "i64")
    text.store("i64", "0", missing)
    for place in range(len(passes.loops)):
        _Pass(step, passes, place).run(text, sharing, span, counters)
    return text.emit(f"icmp ne i64 {text.emit(f'load i64, ptr {missing}')}, 0")


class _Pass:
    def __init__(self, step: Host, passes: Passes, place: int) -> None:
        self.loop: VectorLoop = passes.loops[place]
        self.names = loop_names(step, place)
        result = step.results[0], step.node.types[0]
        self.source: tuple[Ref, TensorType] = (
            (step.operands[0], step.node.inputs[0].type) if place == 0 else result
        )
        self.target: tuple[Ref, TensorType] = result
        axis, shape = self.loop.axis, self.source[1].shape
        self.inner = product(shape[axis + 1 :])
        outer = product(shape[:axis])
        last = self.inner == 1
        self.groups, self.columns = (1, outer) if last else (outer, self.inner)

    def run(
        self,
        text: FunctionText,
        sharing: Sharing,
        span: Span,
        counters: Callable[[], list[Word]],
    ) -> None:
        groups, columns = text.size(self.groups), text.size(self.columns)
        missing = text.stack("loop.missing", "i64")

        def one_by_one() -> None:
            with text.loop(groups) as group:
                self.call(text, group, "0", columns, missing)

        def share_groups() -> None:
            inner = span(("ptr", "%missing"))
            with inner.loop("%last", "%first") as group:
                self.call(inner, group, "0", inner.size(self.columns), "%missing")
            name = f"groups{len(sharing.functions)}"
            sharing.functions[name] = inner.lines(name, "internal ")
            sharing.run(text, name, sharing.words(text, [*counters(), ("ptr", missing)]), groups)

        def share_columns() -> None:
            inner = span(("ptr", "%missing"), ("i64", "%group"))
            count = inner.emit("sub i64 %last, %first")
            self.call(inner, "%group", "%first", count, "%missing")
            name = f"columns{len(sharing.functions)}"
            sharing.functions[name] = inner.lines(name, "internal ")
            with text.loop(groups) as group:
                words = sharing.words(text, [*counters(), ("ptr", missing), ("i64", group)])
                sharing.run(text, name, words, columns, UNIT)

        def shared() -> None:
            enough = text.emit(f"icmp sge i64 {groups}, {threads(text)}")
            text.choose("false" if self.groups == 1 else enough, share_groups, share_columns)

        text.choose(is_worth_threads(text, self.loop.time), shared, one_by_one)

    def call(self, text: FunctionText, group: str, first: str, count: str, missing: str) -> None:
        """`count` columns of a group from `first` on; or a note at `missing` if memory is."""
        needed = text.size((self.loop.size + 8) * NEEDED)
        # A builtin, it would be known not to fail, and left out: nobody uses it.
        memory = text.emit(f"call ptr @malloc(i64 {needed}) nobuiltin")

        def transform() -> None:
            text.line(f"call void @free(ptr {memory}) nobuiltin")
            self._call(text, group, first, count)

        def note() -> None:
            text.line(f"store atomic i64 1, ptr {missing} monotonic, align 8")

        text.choose(text.emit(f"icmp ne ptr {memory}, null"), transform, note)

    def _call(self, text: FunctionText, group: str, first: str, count: str) -> None:
        axis, last = self.loop.axis, self.inner == 1
        sides = [self._side(text, *side, group, first) for side in (self.source, self.target)]
        (source, step_in, each_in), (target, step_out, each_out) = sides
        n_in, n_out = (text.size(side[1].shape[axis]) for side in (self.source, self.target))
        args = text.stack("loop.args", "ptr", 3)
        dims, steps = text.stack("loop.dims", "i64", 3), text.stack("loop.steps", "i64", 5)
        for i, pointer in enumerate((source, self._scale(text), target)):
            text.store("ptr", pointer, args, i)
        for i, size in enumerate((count, n_in, n_out)):
            text.store("i64", size, dims, i)
        columns = (step_in, "0", step_out) if last else (each_in, "0", each_out)
        elements = (each_in, each_out) if last else (step_in, step_out)
        for i, size in enumerate((*columns, *elements)):
            text.store("i64", size, steps, i)
        function, data = self._function(text)
        text.line(f"call void {function}(ptr {args}, ptr {dims}, ptr {steps}, ptr {data})")

    def _side(
        self, text: FunctionText, ref: Ref, type: TensorType, group: str, first: str
    ) -> tuple[str, str, str]:
        """Where the first vector begins; the bytes from a row (of the last axis: of vectors, else
        of elements) to the next, and those of an element."""
        size, itemsize = type.shape[self.loop.axis], type.dtype.itemsize
        row: Size = size if self.inner == 1 else self.inner
        whole = text.emit(f"mul i64 {group}, {text.size(size * self.inner)}")
        column = text.emit(f"mul i64 {first}, {text.size(size)}") if self.inner == 1 else first
        elements = text.emit(f"add i64 {whole}, {column}")
        place = text.emit(f"mul i64 {elements}, {itemsize}")
        begin = text.emit(f"getelementptr i8, ptr {text.pointer(ref)}, i64 {place}")
        return begin, text.size(row * itemsize), str(itemsize)

    def _scale(self, text: FunctionText) -> str:
        """The address of `size ** -power`, rounded once where that is in float32."""
        dtype = self.target[1].dtype
        single = (dtype.part if dtype.is_complex else dtype).bits == 32
        value = "1.0"
        if self.loop.power:
            value = text.emit(f"sitofp i64 {text.size(self.loop.size)} to double")
            if self.loop.power == 0.5:
                value = text.emit(f"call double @llvm.sqrt.f64(double {value})")
            value = text.emit(f"fdiv double 1.0, {value}")
        kind = "float" if single else "double"
        if single and self.loop.power:
            value = text.emit(f"fptrunc double {value} to float")
        place = text.stack(f"loop.{kind}", kind)
        text.store(kind, value, place)
        return place

    def _function(self, text: FunctionText) -> tuple[str, str]:
        """The loop to call, and its data."""
        words = [text.layout.loops[name] for name in self.names]
        if isinstance(self.loop.choice, int):
            words = [words[self.loop.choice]]
        found = [(text.word("ptr", w), text.word("ptr", w + 1)) for w in words]
        chosen = found[0]
        for i, other in enumerate(found[1:], 1):
            is_it = text.emit(f"icmp eq i64 {text.size(self.loop.choice)}, {i}")
            function, data = (
                text.emit(f"select i1 {is_it}, ptr {new}, ptr {old}")
                for new, old in zip(other, chosen, strict=True)
            )
            chosen = function, data
        return chosen
