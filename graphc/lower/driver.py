"""The driver: a program printed as one LLVM function that runs its steps.

    i32 entry(ptr context)     0, or the number of the site that failed

Sizes and offsets are computed natively from the dims in the context, so one entry serves all sizes:
by a function of its own, into the context's table, when the dims are others than in the last call.
Kernels and the BLAS are called in order; failures return at once.

Two kinds of work are ranges that threads may share: the turns of a kernel's parallel loop, and the
rows of a product (the matrices, of a batch of products). The latter are printed as functions of
their own, over the same context. With the kernel that takes the product up (a `Blocks` step) they
run it on each block of rows right behind the product, while the block is in cache. Of a product
that has many columns, these are the range, and the kernel comes behind all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from graphc.ir.dim import Size, floordiv, is_nonnegative, maximum, named, product, total
from graphc.ir.dtype import DType
from graphc.ir.evaluate import names_within
from graphc.loops.grammar import may_fail, parallel_loops
from graphc.lower import (
    announce,
    clocks,
    interrupt,
    lapack,
    products,
    rows,
    subnormals,
    vector_loops,
)
from graphc.lower.announce import Announcements
from graphc.lower.clocks import Clocks
from graphc.lower.context import Layout, routine_name
from graphc.lower.function_text import FunctionText, Word
from graphc.lower.head import GET_THREADS, INTERRUPTED, SET_THREADS, Head
from graphc.lower.kernel_calls import (
    Sharing,
    arguments,
    is_worth_threads,
    run_kernel,
    threads,
)
from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Examples,
    Gemm,
    Host,
    Leave,
    Loop,
    Passes,
    Program,
    Step,
    panel_columns,
    walk_steps,
)

MULTIPLY_ADDS = 4  # of a product: they take as long as one scalar operation of a kernel
BLAS_ALONE = 1 << 18  # multiply-adds of a product that the BLAS computes on one thread anyway

_DECLARATIONS = {
    "@llvm.memcpy.": "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
    "@llvm.smax.": "declare i64 @llvm.smax.i64(i64, i64)",
    "@llvm.smin.": "declare i64 @llvm.smin.i64(i64, i64)",
    "@llvm.cttz.": "declare i64 @llvm.cttz.i64(i64, i1)",
    "@llvm.sqrt.": "declare double @llvm.sqrt.f64(double)",
    "@malloc(": vector_loops.MALLOC,
}


class PrintedDriver(NamedTuple):
    """A driver as LLVM IR, how many words its table has, and what else its manifest needs."""

    text: str
    table: int
    facts: Mapping[str, Any] = {}


def print_driver(
    program: Program,
    blas_bits: int,
    flush: bool = False,
    timed: bool = False,
    announces: bool = False,
) -> PrintedDriver:
    """The LLVM IR text of `entry`; kernels are declared, to be linked (and given their symbols).
    `flush`: subnormal numbers are taken as zero while it runs. `timed`: it tells how long each step
    took, in the words of the context from the fact `clocks` on. `announces`: it says which results
    are there, in the order of the fact `announced`, to the file in the word of the fact `bell`."""
    driver = _Driver(program, f"i{blas_bits}", flush, timed, announces)
    text = driver.print()
    facts: dict[str, Any] = {"numbers": driver.layout.numbers.values}
    if timed:
        facts["clocks"] = driver.layout.clocks
    if announces:
        facts |= {"bell": driver.layout.bell, "announced": driver.announcements.order}
    return PrintedDriver(text, driver.layout.words, facts)


def host_sizes(step: Host) -> list[Size]:
    """The sizes that a host call is given: those of all shapes of its operands and results, and
    the named dims of its attributes."""
    node = step.node
    types = [*(t.type for t in node.inputs), *node.types]
    return [*(s for t in types for s in t.shape), *map(named, names_within(*node.attrs.values()))]


class _Driver:
    def __init__(
        self, program: Program, integer: str, flush: bool, timed: bool, announces: bool
    ) -> None:
        self.program, self.integer, self.flush = program, integer, flush
        self.clocks = Clocks(program.steps, timed)
        self.announcements = Announcements(program, announces)
        self.layout = Layout(program, self.clocks.words, self.announcements.words)
        self.text = FunctionText(self.layout)  # of the entry
        self.functions: dict[str, list[str]] = {}  # those of ranges
        self.sharing = Sharing(self.layout, self.functions)
        self.of_example: dict[int, str] = {}  # those of a chain's products, by their steps
        self.sums: set[DType] = set()  # whose products have taps
        self.blas: set[DType] = set()  # whose products the BLAS may compute
        self.may_stop = True  # no variable is written yet
        self.looks = False  # whether there is a place that looks for signals

    def print(self) -> str:
        program = self.program
        places = interrupt.places(program.steps)
        with self.clocks.whole(self.text):
            for i, step in enumerate(program.steps):
                if i in places and self.may_stop:
                    due = self.text.emit(f"icmp sgt i64 {self.text.size(places[i])}, 0")
                    self.text.choose(due, self._look)
                self.may_stop = self.may_stop and not interrupt.writes_variable(step)
                self._steps([step])
                self.announcements.announce(self.text, i)
        calls = {s.name: s for s in walk_steps(program.steps) if isinstance(s, Call)}
        lines = [self._declaration(calls[name]) for name in sorted(calls)]
        if self.clocks.words:
            lines.append(clocks.DECLARATION)
        if self.announcements.behind:
            lines.append(announce.DECLARATION)
        for function in self.functions.values():
            lines += function
        for dtype in sorted(self.sums, key=str):
            lines.append(products.plain(dtype))
        for dtype in sorted(self.blas, key=str):
            lines.append(products.blas_call(dtype, self.integer))
        if self.looks:
            lines.append(interrupt.DEFINITIONS)
        first = ""
        if self.layout.table:
            lines += self._fill_table()
            first = "call i32 @sizes(ptr %context)"
        if self.flush:
            lines += [subnormals.DEFINITIONS, *self.text.lines("run", "internal ", first)]
        else:
            lines += self.text.lines("entry", first=first)
        text = "\n".join([*lines, "attributes #0 = { nounwind }"])
        used = [declared for name, declared in _DECLARATIONS.items() if name in text]
        return "\n".join([*used, text]) + "\n"

    def _declaration(self, step: Call) -> str:
        kernel = step.kernel
        kinds = ["ptr", "ptr", *["ptr"] * len(kernel.buffers), *["i64"] * len(kernel.sizes)]
        kinds += ["ptr"] * (self.layout.numbers.of(step.name) is not None)
        kinds += ["i64"] * (2 if parallel_loops(kernel) else 0) + ["ptr"] * may_fail(kernel)
        return f"declare i32 @{step.name}({', '.join(kinds)})"

    def _steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if not self.clocks.words:
                self._step(step)
                continue
            with self.clocks.step(self.text, step):
                self._step(step)

    def _step(self, step: Step) -> None:
        match step:
            case Call():
                self._call(step)
            case Gemm():
                self._product(step)
            case Blocks():
                self._product(step.product, step)
            case Copy():
                rows.copy(self.text, step)
            case Host():
                self._host(step)
            case Loop(extent=None):
                self._while(step)
            case Loop() | Examples():
                self._loop(step)
            case Leave(condition=condition):
                taken = self.text.emit(f"load i8, ptr {self.text.pointer(condition)}")
                self.text.leave_unless(self.text.emit(f"icmp ne i8 {taken}, 0"))
            case Branch():
                rows.branch(self.text, step, [partial(self._steps, side) for side in step.sides])

    def _loop(self, step: Loop | Examples) -> None:
        """A loop: in parts of so many turns that a look for signals is due between two of them."""
        text = self.text
        assert step.extent is not None
        turns = interrupt.turns(step)
        if not self.may_stop or is_nonnegative(turns - step.extent):
            self._turns(step, text.size(step.extent))
            return
        extent, count = text.size(step.extent), text.size(turns)
        with text.loop(extent, step=count) as start:
            later = text.emit(f"icmp sgt i64 {start}, 0")
            text.choose(later, self._look)
            last = text.emit(f"add i64 {start}, {count}")
            stop = text.emit(f"call i64 @llvm.smin.i64(i64 {last}, i64 {extent})")
            self._turns(step, stop, start)

    def _turns(self, step: Loop | Examples, stop: str, start: str = "0") -> None:
        """Turns [start, stop) of a loop: threads take some examples each, or some rows where these
        go through it by themselves, and it is worth it; else they may share each step of a turn."""
        if isinstance(step, Examples):
            self._examples(step, stop, start)
            return
        if step.rows is None or self.clocks.words:  # clocks tell the steps of a turn apart
            self._in_order(step, stop, start)
            return
        text = self.text
        name = f"turns{len(self.functions)}"
        inner = self._span(("i64", "%start"), ("i64", "%stop"))
        rows.turns(inner, step, ("%first", "%last"), "%stop", "%start")
        self.functions[name] = inner.lines(name, "internal ")
        own, count = rows.are_own(text, step), text.size(step.rows)
        unit = 1 if own == "true" else rows.BLOCK_ROWS
        least = text.emit(f"mul i64 {threads(text)}, {unit}", early=True)
        worth = is_worth_threads(text, interrupt.work([step]))
        enough = text.emit(f"icmp sge i64 {count}, {least}")
        chosen = text.emit(f"and i1 {worth}, {enough}")
        more = [("i64", start), ("i64", stop)]

        def shared() -> None:
            words = self.sharing.words(text, [*self._counters(), *more])
            self.sharing.run(text, name, words, count, unit)

        text.choose(
            text.emit(f"and i1 {chosen}, {own}"),
            shared,
            lambda: self._in_order(step, stop, start),
        )

    def _examples(self, step: Examples, stop: str, start: str) -> None:
        """Examples [start, stop): if there are enough, each thread takes the next one until none is
        left, and works in a frame of its own. Else they go in order, in the first frame, and
        threads share each step. The products are the same functions, which are told the frame."""
        if self.clocks.words:
            self._in_order(step, stop, start)
            return
        text = self.text
        name, part = (f"{kind}{len(self.functions)}" for kind in ("parts", "part"))
        words: list[Word] = [("ptr", "%ticket"), ("i64", "%stop")]
        inner = FunctionText(self.layout, parameters=[("i64", "%shift"), *words])
        inner.alone, inner.shift = True, "%shift"
        self.text = inner
        with inner.endless_loop():
            example = inner.emit("atomicrmw add ptr %ticket, i64 1 monotonic")
            inner.leave_unless(inner.emit(f"icmp slt i64 {example}, %stop"))
            inner.counters[step.counter] = example
            self._steps(step.body)
            del inner.counters[step.counter]
        self.text = text
        self.functions[part] = inner.lines(part, "internal ")
        span = self._span(*words)
        with span.loop("%last", "%first") as number:
            shift = span.emit(f"mul i64 {number}, {span.size(self.program.frame)}")
            span.run(part, [("ptr", "%context"), ("i64", shift), *words])
        self.functions[name] = span.lines(name, "internal ")
        worth = is_worth_threads(text, interrupt.work([step]))
        several, count = threads(text), text.emit(f"sub i64 {stop}, {start}")
        enough = text.emit(f"icmp sge i64 {count}, {several}")
        chosen = text.emit(f"and i1 {worth}, {enough}")

        def shared() -> None:
            ticket = text.stack("ticket", "i64")
            text.store("i64", start, ticket)
            more = [*self._counters(), ("ptr", ticket), ("i64", stop)]
            self.sharing.run(text, name, self.sharing.words(text, more), several)

        text.choose(
            text.emit(f"and i1 {chosen}, {rows.are_own(text, step)}"),
            shared,
            lambda: self._in_order(step, stop, start),
        )

    def _in_order(self, step: Loop | Examples, stop: str, start: str) -> None:
        with self.text.loop(stop, start) as counter:
            self.text.counters[step.counter] = counter
            self.text.shift = "0" if isinstance(step, Examples) else self.text.shift
            self._steps(step.body)
            self.text.shift = "" if isinstance(step, Examples) else self.text.shift
            del self.text.counters[step.counter]

    def _while(self, step: Loop) -> None:
        """A loop until it is left. It counts its turns, those of earlier runs too, and looks for
        signals whenever that is due."""
        text = self.text
        count = text.counter(f"turns.{step.counter}")

        def look() -> None:
            self._look()
            text.store("i64", "0", count)

        with text.endless_loop():
            if self.may_stop:
                turns = text.emit(f"load i64, ptr {count}")
                due = text.emit(f"icmp sge i64 {turns}, {text.size(interrupt.turns(step))}")
                text.store("i64", text.emit(f"add i64 {turns}, 1"), count)
                text.choose(due, look)
            self._steps(step.body)

    def _look(self) -> None:
        """Look for signals, and end the call if a handler raised."""
        text, self.looks = self.text, True
        mode = text.emit(subnormals.LEAVE) if self.flush else ""
        raised = text.emit("call i32 @gc.look(ptr %context)")
        if mode:
            text.emit(subnormals.restore(mode))
        text.return_if(text.emit(f"icmp ne i32 {raised}, 0"), str(INTERRUPTED))

    def _fill_table(self) -> list[str]:
        """The function that computes the table, where what it depends on has changed."""
        text = FunctionText(self.layout, fills=True)
        unchanged = text.emit(f"icmp eq i64 {text.word('i64', Head.CHANGED)}, 0")
        text.return_if(unchanged, "0")
        text.fill_table()
        text.store("i64", "0", "%context", Head.CHANGED)
        return text.lines("sizes", "internal ")

    # -- kernels -----------------------------------------------------------------------------------
    def _call(self, step: Call) -> None:
        text = self.text
        words = arguments(text, step)
        whole = ("0", text.size(total(step.extents))) if step.extents else None
        if step.work is None:
            run_kernel(text, step, words, whole)
        else:
            text.choose(
                is_worth_threads(text, step.work),
                lambda: self.sharing.run_loops(text, step, words),
                lambda: run_kernel(text, step, words, whole),
            )
        if step.sites:
            word = text.emit(f"load i64, ptr {text.stack('failures', 'i64')}")
            failed = text.emit(f"icmp ne i64 {word}, 0")
            first = text.emit(f"call i64 @llvm.cttz.i64(i64 {word}, i1 false)")
            site = text.emit(f"add i64 {first}, {step.sites[0]}")
            text.return_if(failed, text.emit(f"trunc i64 {site} to i32"))

    # -- products ----------------------------------------------------------------------------------
    def _product(self, step: Gemm, blocks: Blocks | None = None) -> None:
        """A product and the kernel that takes it up: as a range of its rows or matrices, which
        threads may share, where each part is computed on one thread; else one after the other."""
        text = self.text
        inside = products.is_own(text, step)
        if step.taps:
            self.sums.add(step.dtype)
        elif step.batch:
            size = text.size(step.m * step.n * step.k)
            small = text.emit(f"icmp sle i64 {size}, {BLAS_ALONE}", early=True)
            alone = text.emit(f"icmp sle i64 {threads(text)}, 1", early=True)
            inside = text.emit(f"or i1 {inside}, {small}", early=True)
            inside = text.emit(f"or i1 {inside}, {alone}", early=True)
        if inside == "false":
            self._one_after_the_other(step, blocks)
            return
        name = self.of_example.get(id(step), "") if text.shift else ""
        if not name:
            name = f"rows{len(self.functions)}"
            one = self._columns if step.by_columns else self._rows
            write = self._sums if step.taps else self._matrices if step.batch else one
            self.functions[name] = write(name, step, blocks)
            if text.shift:
                self.of_example[id(step)] = name
        terms = product((*step.batch, *step.taps))
        work = floordiv(step.m * step.n * step.k * terms, MULTIPLY_ADDS)
        if blocks is not None and blocks.call.work is not None and not step.by_columns:
            work = work + blocks.call.work

        def run(more: Sequence[Word], extent: str, unit: int | str) -> None:
            words = self.sharing.words(text, [*self._counters(), *more])
            span = [("i64", "0"), ("i64", extent)]
            text.choose(
                is_worth_threads(text, work),
                lambda: self.sharing.run(text, name, words, extent, unit),
                lambda: text.run(name, [("ptr", words), *span]),
            )

        def matrices() -> None:
            run([], text.size(product(step.batch)), 1)

        def sums() -> None:
            if blocks is None:
                run([], text.size(product(step.batch) * step.m), self._equal_parts(step))
            else:
                run([], text.size(product(step.batch)), 1)

        def by_rows() -> None:
            once_at_least = text.size(maximum(step.k, 1))
            with text.loop(once_at_least, step=text.size(products.depth(step))) as start:
                if products.is_packed(step):
                    pack = products.share_packing(self.sharing, self.layout, step.dtype)
                    words = products.packing(text, step, text.pointer(step.b.ref), start)
                    if text.alone:
                        products.pack(text, words)
                    else:
                        text.run(pack, [("ptr", "%context"), *words])
                run([("i64", start)], text.size(step.m), rows.BLOCK_ROWS)

        def by_columns() -> None:
            run([], text.size(step.n), panel_columns(step.dtype))
            if blocks is not None:
                self._call(blocks.call)

        if step.taps:
            sums()
            return
        whole = by_columns if step.by_columns else by_rows
        text.choose(
            inside,
            matrices if step.batch else whole,
            lambda: self._one_after_the_other(step, blocks),
        )

    def _equal_parts(self, step: Gemm) -> str:
        """Of how many rows of sums of products threads get multiples: whole sums if all can get as
        many, else of each as many parts as there are threads, if these are whole blocks. What
        begins inside of a sum reads all of its operands again."""
        text = self.text
        several, height = threads(text), text.size(maximum(step.m, 1))
        rest = text.emit(f"srem i64 {text.size(product(step.batch))}, {several}")
        equal = text.emit(f"icmp eq i64 {rest}, 0")
        part = text.emit(f"sdiv i64 {height}, {several}")
        left = text.emit(f"sub i64 {height}, {text.emit(f'mul i64 {part}, {several}')}")
        odd = text.emit(f"and i64 {part}, {rows.BLOCK_ROWS - 1}")
        whole = text.emit(f"icmp eq i64 {text.emit(f'or i64 {left}, {odd}')}, 0")
        some = text.emit(f"select i1 {whole}, i64 {part}, i64 {rows.BLOCK_ROWS}")
        return text.emit(f"select i1 {equal}, i64 {height}, i64 {some}")

    def _one_after_the_other(self, step: Gemm, blocks: Blocks | None) -> None:
        """All of the product by the BLAS, then all of the kernel."""
        text = self.text
        with text.loop(text.size(product(step.batch))) as number:
            self._blas(text, step, products.matrices_at(text, step, number))
        if blocks is not None:
            self._call(blocks.call)

    def _blas(self, text: FunctionText, step: Gemm, matrices: Sequence[str]) -> None:
        self.blas.add(step.dtype)
        products.blas(text, step, matrices)

    def _matrices(self, name: str, step: Gemm, blocks: Blocks | None) -> list[str]:
        """The function that computes matrices [first, last) of a batch of products, each of them
        followed by the kernel."""
        text = self._span()
        own = products.is_own(text, step)
        ahead = products.ahead(text, step, self.functions)
        with text.loop("%last", "%first") as number:
            at = products.matrices_at(text, step, number)

            def whole() -> None:
                following = text.emit(f"add i64 {number}, 1")
                end = text.emit("sub i64 %last, 1")
                following = text.emit(f"call i64 @llvm.smin.i64(i64 {following}, i64 {end})")
                products.look_ahead(text, products.matrices_at(text, step, following))
                if products.is_packed(step):
                    products.pack(text, products.packing(text, step, at[1]))
                products.own(text, step, at, text.size(step.m), following=ahead)

            text.choose(own, whole, lambda: self._blas(text, step, at))
            if blocks is not None:
                rows.take_up(text, blocks, number, text.emit(f"add i64 {number}, 1"))
        return text.lines(name, "internal ")

    def _sums(self, name: str, step: Gemm, blocks: Blocks | None) -> list[str]:
        """The function that computes [first, last) of a batch of sums of products, each of them
        followed by the kernel; where none follows, of all their rows."""
        text = self._span()

        @contextmanager
        def some() -> Iterator[tuple[Sequence[str], str, str]]:
            if blocks is None:
                with products.parts_of_rows(text, step) as (number, first, count):
                    at = products.matrices_at(text, step, number)
                    yield products.rows_at(text, step, at, first), count, number
            else:
                with text.loop("%last", "%first") as number:
                    yield products.matrices_at(text, step, number), text.size(step.m), number

        def take_up(number: str) -> None:
            if blocks is not None:
                rows.take_up(text, blocks, number, text.emit(f"add i64 {number}, 1"))

        if products.are_parts_large(step):
            with products.tap_parts(text, step) as part, some() as (at, count, number):
                products.add_up(text, step, at, count, part)
                text.choose(part.last, partial(take_up, number))
        else:
            with some() as (at, count, number):
                with products.tap_parts(text, step) as part:
                    products.add_up(text, step, at, count, part)
                take_up(number)
        return text.lines(name, "internal ")

    def _rows(self, name: str, step: Gemm, blocks: Blocks | None) -> list[str]:
        """The function that computes rows [first, last) of a product, over the part of k that
        begins at `start`; after the last part each block of rows is followed by the kernel."""
        text = self._span(("i64", "%start"))
        rows.product(text, step, blocks, ("%first", "%last"), "%start")
        return text.lines(name, "internal ")

    def _columns(self, name: str, step: Gemm, blocks: Blocks | None) -> list[str]:
        """The function that computes columns [first, last) of a product that has many. No kernel
        follows them: it takes up whole rows."""
        text = self._span()
        products.by_columns(text, step, "%first", "%last")
        return text.lines(name, "internal ")

    def _span(self, *parameters: Word) -> FunctionText:
        """A function that computes a part of a step, over the counters of the loops around it."""
        counters = {counter: f"%{counter}" for counter in self.text.counters}
        own: list[Word] = [("i64", "%shift")] if self.text.shift else []
        text = FunctionText(self.layout, counters, [*own, *parameters], span=True)
        text.shift = self.text.shift
        return text

    def _counters(self) -> list[Word]:
        """What such a function is given first."""
        own: list[Word] = [("i64", self.text.shift)] if self.text.shift else []
        return [("ptr", "%context"), *(("i64", v) for v in self.text.counters.values()), *own]

    # -- other steps -------------------------------------------------------------------------------
    def _host(self, step: Host) -> None:
        """By a routine of LAPACK or loops of NumPy if they are there, else by a call back."""
        native, text = step.native, self.text
        if native is None:
            self._call_back(step)
            return
        run: Callable[[], str | None]
        if isinstance(native, Passes):
            known = vector_loops.are_there(text, step, native)
            more = self.sharing, self._span, self._counters
            run = partial(vector_loops.run, text, step, native, *more)
        else:
            words = self.layout.routines
            routine = text.word("ptr", words[routine_name(step)])
            threads = text.word("ptr", words[GET_THREADS]), text.word("ptr", words[SET_THREADS])
            known = text.emit(f"icmp ne ptr {routine}, null")
            run = partial(lapack.run, text, step, native, routine, self.integer, threads)

        def as_numpy_calls_it() -> None:
            mode = text.emit(subnormals.LEAVE) if self.flush else ""
            failed = run()
            if mode:
                text.emit(subnormals.restore(mode))
            if failed:
                text.choose(failed, partial(self._call_back, step))

        text.choose(known, as_numpy_calls_it, partial(self._call_back, step))

    def _call_back(self, step: Host) -> None:
        text = self.text
        if self.may_stop:  # a signal that is handled inside of the call could not end it
            self._look()
        refs = (*step.operands, *step.results)
        sizes = host_sizes(step)
        pointers = text.stack("host.pointers", "ptr", len(refs))
        numbers = text.stack("host.sizes", "i64", max(len(sizes), 1))
        for i, ref in enumerate(refs):
            text.store("ptr", text.pointer(ref), pointers, i)
        for i, size in enumerate(sizes):
            text.store("i64", text.size(size), numbers, i)
        function, call = text.word("ptr", Head.HOST), text.word("i64", Head.CALL)
        mode = text.emit(subnormals.LEAVE) if self.flush else ""
        # Where Python raises before `host` has begun, ctypes gives what it gave the last time.
        place = text.emit(f"getelementptr i64, ptr %context, i64 {int(Head.TICKET)}")
        last = text.emit(f"load i64, ptr {place}")
        ticket = text.emit(f"add i64 {last}, 1")
        text.store("i64", ticket, place)
        code = text.emit(
            f"call i64 {function}(i64 {call}, i64 {step.site}, ptr {pointers}, ptr {numbers}, "
            f"i64 {ticket})"
        )
        if mode:
            text.emit(subnormals.restore(mode))
        text.return_if(text.emit(f"icmp ne i64 {code}, {ticket}"), str(step.site))
