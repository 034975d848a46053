"""The driver: a program printed as one LLVM function that runs its steps.

    i32 entry(ptr context)     0, or the number of the site that failed

The context is an array of 64-bit words: a fixed head (`Head`), the named dims, then one pointer for
each input, output, variable and constant. Sizes and offsets are computed natively from the dims, so
one entry serves all sizes. Kernels and the BLAS are called in order; failures return at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

from graphc.ir.dim import Call as DimCall
from graphc.ir.dim import Dim, Size, named, names
from graphc.ir.dtype import DType, bool_
from graphc.loops.grammar import may_fail, parallel_loop
from graphc.lower import subnormals
from graphc.passes.program import (
    Branch,
    Call,
    Copy,
    Gemm,
    Host,
    Loop,
    Matrix,
    Program,
    Ref,
    Step,
    Storage,
    walk_steps,
)

PARALLEL_WORK = 1 << 19  # scalar operations from which threads share a loop: some 20 us
PRODUCT_BYTES = 7 << 17  # of b, for our own product: it stays in the second-level cache
PRODUCT_COLUMNS = 16  # of b at least: below, most of a vector would be wasted
PRODUCT_WORK = 1 << 22  # multiply-adds from which the threads of the BLAS pay
CHUNKS = 2  # for each thread, so that one that is held up delays little
MOST_CHUNKS = 256  # their numbers are a table in the object


class Head(IntEnum):
    """The words at the start of a context."""

    ARENA = 0
    HOST = 1  # i32 host(i64 call, i64 site, ptr operands, ptr sizes)
    CALL = 2  # passed through to `host`
    SGEMM = 3
    DGEMM = 4
    SGEMV = 5
    DGEMV = 6
    PARALLEL_FOR = 7
    THREADS = 8
    SPRODUCT = 9  # products of our own, for matrices that fit in cache; 0: there are none
    DPRODUCT = 10
    COUNT = 11


def print_driver(program: Program, blas_bits: int, flush: bool = False) -> str:
    """The LLVM IR text of `entry`; kernels are declared, to be linked. `flush`: subnormal numbers
    are taken as zero while it runs."""
    return _Driver(program, blas_bits, flush).text()


def host_sizes(step: Host) -> list[Size]:
    """The sizes that a host call is given: those of all shapes of its operands and results."""
    node = step.node
    types = [*(t.type for t in node.inputs), *node.types]
    return [s for t in types for s in t.shape]


class _Driver:
    def __init__(self, program: Program, blas_bits: int, flush: bool) -> None:
        self.program, self.integer, self.flush = program, f"i{blas_bits}", flush
        self.prologue: list[str] = []
        self.body: list[str] = []
        self.count = 0
        self.known: dict[Size, str] = {}  # sizes over the dims, computed in the prologue
        self.counters: dict[str, str] = {}
        self.pointers: dict[Storage, str] = {}
        self.block = "start"
        self.loops: list[tuple[int, str]] = []  # of open loops: where the phi goes, what leads in

    def text(self) -> str:
        program = self.program
        word = int(Head.COUNT)
        for name in program.graph.dims:
            self.known[named(name)] = self._word("i64", word)
            word += 1
        for group in (program.inputs, program.outputs, program.variables, program.constants):
            for storage in group:
                self.pointers[storage] = self._word("ptr", word)
                word += 1
        self._place_temps(program.temps)
        self._allocate()
        self._steps(program.steps)
        declarations = sorted(
            {_declaration(s) for s in walk_steps(program.steps) if isinstance(s, Call)}
        )
        name = "internal i32 @run" if self.flush else "i32 @entry"
        lines = [
            *declarations,
            "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
            "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)",
            "declare i64 @llvm.smax.i64(i64, i64)",
            "declare i64 @llvm.smin.i64(i64, i64)",
            "declare i64 @llvm.cttz.i64(i64, i1)",
            *self._workers(),
            *([subnormals.DEFINITIONS] if self.flush else []),
            f"define {name}(ptr noalias %context) {{",
            "prologue:",
            *self.prologue,
            "  br label %start",
            "start:",
            *self.body,
            "  ret i32 0",
            "}",
        ]
        return "\n".join(lines) + "\n"

    def _workers(self) -> list[str]:
        """For each kernel that threads may share, the function that runs one chunk of its loop."""
        calls = {
            s.name: s
            for s in walk_steps(self.program.steps)
            if isinstance(s, Call) and s.work is not None
        }
        if not calls:
            return []
        numbers = ", ".join(f"i64 {i}" for i in range(MOST_CHUNKS))
        lines = [f"@chunk.numbers = internal constant [{MOST_CHUNKS} x i64] [{numbers}]"]
        for name, step in calls.items():
            lines += _worker(name, len(step.buffers), len(step.sizes), self.flush)
        return lines

    # -- values ------------------------------------------------------------------------------------
    def _fresh(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def _emit(self, text: str, prologue: bool = False) -> str:
        name = self._fresh()
        (self.prologue if prologue else self.body).append(f"  {name} = {text}")
        return name

    def _word(self, kind: str, index: int) -> str:
        place = self._emit(f"getelementptr i64, ptr %context, i64 {index}", prologue=True)
        return self._emit(f"load {kind}, ptr {place}", prologue=True)

    def _size(self, size: Size) -> str:
        """A size as an i64 value; those without loop counters are computed once, at the start."""
        if isinstance(size, int):
            return str(size)
        if size in self.known:
            return self.known[size]
        fixed = not (names(size) & self.counters.keys())
        value = self._polynomial(size, fixed)
        if fixed:
            self.known[size] = value
        return value

    def _polynomial(self, size: Dim, fixed: bool) -> str:
        total = "0"
        for monomial, coefficient in size.terms:
            term = str(coefficient)
            for atom, power in monomial:
                value = self._atom(atom, fixed)
                for _ in range(power):
                    term = value if term == "1" else self._emit(f"mul i64 {term}, {value}", fixed)
            total = term if total == "0" else self._emit(f"add i64 {total}, {term}", fixed)
        return total

    def _atom(self, atom: str | DimCall, fixed: bool) -> str:
        if isinstance(atom, str):
            return self.counters.get(atom) or self.known[named(atom)]
        left, right = self._size(atom.left), self._size(atom.right)
        if atom.function in ("max", "min"):
            return self._emit(
                f"call i64 @llvm.s{atom.function}.i64(i64 {left}, i64 {right})", fixed
            )
        quotient = self._floor_divide(left, right, fixed)
        if atom.function == "//":
            return quotient
        product = self._emit(f"mul i64 {quotient}, {right}", fixed)
        return self._emit(f"sub i64 {left}, {product}", fixed)

    def _floor_divide(self, left: str, right: str, fixed: bool) -> str:
        """Rounds down; sizes divide by sizes > 0 (by 0 is taken as by 1, of an empty tensor)."""
        safe = self._emit(f"call i64 @llvm.smax.i64(i64 {right}, i64 1)", fixed)
        quotient = self._emit(f"sdiv i64 {left}, {safe}", fixed)
        rest = self._emit(f"srem i64 {left}, {safe}", fixed)
        negative = self._emit(f"icmp slt i64 {rest}, 0", fixed)
        correction = self._emit(f"sext i1 {negative} to i64", fixed)
        return self._emit(f"add i64 {quotient}, {correction}", fixed)

    def _place_temps(self, temps: Sequence[Storage]) -> None:
        if not temps:
            return
        arena = self._word("ptr", Head.ARENA)
        for storage in temps:
            offset = self._size(storage.offset)
            self.pointers[storage] = self._emit(
                f"getelementptr i8, ptr {arena}, i64 {offset}", prologue=True
            )

    def _pointer(self, ref: Ref) -> str:
        base = self.pointers[ref.storage]
        if ref.offset == 0:
            return base
        kind = _memory_type(ref.storage.dtype)
        return self._emit(f"getelementptr {kind}, ptr {base}, i64 {self._size(ref.offset)}")

    def _allocate(self) -> None:
        """Stack memory that steps share: call arguments of the BLAS, host calls and failures."""
        steps = list(walk_steps(self.program.steps))
        if any(isinstance(s, Call) for s in steps):
            self.prologue.append("  %returned = alloca [4 x i64]")
            self.prologue.append("  %failures = alloca i64")
        shared = [s for s in steps if isinstance(s, Call) and s.work is not None]
        if shared:
            words = 2 + max(len(s.buffers) + len(s.sizes) for s in shared)
            self.prologue += [
                f"  %shared.data = alloca [{words} x i64]",
                "  %shared.chunks = alloca i64",
                "  %shared.steps = alloca i64",
                "  store i64 8, ptr %shared.steps",
                "  %shared.args = alloca ptr",
                "  store ptr @chunk.numbers, ptr %shared.args",
            ]
        if any(isinstance(s, Gemm) for s in steps):
            for name in ("m", "n", "k", "lda", "ldb", "ldc"):
                self.prologue.append(f"  %gemm.{name} = alloca {self.integer}")
            for name in ("ta", "tb"):
                self.prologue.append(f"  %gemm.{name} = alloca i8")
            for name, kind in (("s", "float"), ("d", "double")):
                for constant, value in (("one", "1.0"), ("zero", "0.0")):
                    self.prologue.append(f"  %gemm.{name}{constant} = alloca {kind}")
                    self.prologue.append(f"  store {kind} {value}, ptr %gemm.{name}{constant}")
        hosts = [s for s in steps if isinstance(s, Host)]
        if hosts:
            pointers = max(len(s.operands) + len(s.results) for s in hosts)
            sizes = max(max(len(host_sizes(s)) for s in hosts), 1)
            self.prologue.append(f"  %host.pointers = alloca [{pointers} x ptr]")
            self.prologue.append(f"  %host.sizes = alloca [{sizes} x i64]")

    # -- blocks ------------------------------------------------------------------------------------
    def _label(self) -> str:
        self.count += 1
        return f"b{self.count}"

    def _open(self, label: str) -> None:
        self.body.append(f"{label}:")
        self.block = label

    def _return_if(self, failed: str, code: str) -> None:
        stop, go = self._label(), self._label()
        self.body.append(f"  br i1 {failed}, label %{stop}, label %{go}")
        self._open(stop)
        self.body.append(f"  ret i32 {code}")
        self._open(go)

    def _repeat(self, extent: str) -> tuple[str, str, str]:
        """Opens a loop: its counter, and the blocks where it starts and ends, for `_again`."""
        before, head, inside, end = self.block, self._label(), self._label(), self._label()
        self.body.append(f"  br label %{head}")
        self._open(head)
        counter = self._fresh()
        slot = len(self.body)
        self.body.append("")  # the phi, once the block that jumps back is known
        more = self._emit(f"icmp slt i64 {counter}, {extent}")
        self.body.append(f"  br i1 {more}, label %{inside}, label %{end}")
        self._open(inside)
        self.loops.append((slot, before))
        return counter, head, end

    def _again(self, counter: str, head: str, end: str) -> None:
        slot, before = self.loops.pop()
        following = self._emit(f"add i64 {counter}, 1")
        self.body[slot] = f"  {counter} = phi i64 [ 0, %{before} ], [ {following}, %{self.block} ]"
        self.body.append(f"  br label %{head}")
        self._open(end)

    # -- steps -------------------------------------------------------------------------------------
    def _steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            match step:
                case Call():
                    self._call(step)
                case Gemm():
                    self._gemm(step)
                case Copy():
                    self._copy(step)
                case Host():
                    self._host(step)
                case Loop():
                    self._loop(step)
                case Branch():
                    self._branch(step)

    def _call(self, step: Call) -> None:
        args = [f"ptr {self._pointer(r)}" for r in step.buffers]
        args += [f"i64 {self._size(s)}" for s in step.sizes]
        if step.extent is not None:
            extent = self._size(step.extent)
            if step.work is not None:
                self._share(step, args, extent)
                return
            args += ["i64 0", f"i64 {extent}"]
        if step.sites:
            args.append("ptr %failures")
        self._emit(f"call i32 @{step.name}({', '.join(['ptr %returned', 'ptr %returned', *args])})")
        if step.sites:
            word = self._emit("load i64, ptr %failures")
            failed = self._emit(f"icmp ne i64 {word}, 0")
            first = self._emit(f"call i64 @llvm.cttz.i64(i64 {word}, i1 false)")
            site = self._emit(f"add i64 {first}, {step.sites[0]}")
            self._return_if(failed, self._emit(f"trunc i64 {site} to i32"))

    def _share(self, step: Call, args: list[str], extent: str) -> None:
        """A kernel whose loop threads may share: they do if there are several and enough to do."""
        assert step.work is not None
        threads = self._word("i64", Head.THREADS)
        several = self._emit(f"icmp sgt i64 {threads}, 1", prologue=True)
        enough = self._emit(f"icmp sgt i64 {self._size(step.work)}, {PARALLEL_WORK}")
        both = self._emit(f"and i1 {several}, {enough}")
        shared, alone, end = self._label(), self._label(), self._label()
        self.body.append(f"  br i1 {both}, label %{shared}, label %{alone}")
        self._open(shared)
        parallel_for = self._word("ptr", Head.PARALLEL_FOR)
        wanted = self._emit(f"mul i64 {threads}, {CHUNKS}")
        chunks = self._emit(f"call i64 @llvm.smin.i64(i64 {wanted}, i64 {MOST_CHUNKS})")
        more = self._emit(f"add i64 {chunks}, -1")
        rounded = self._emit(f"add i64 {extent}, {more}")
        each = self._emit(f"sdiv i64 {rounded}, {chunks}")
        for i, word in enumerate([f"i64 {each}", f"i64 {extent}", *args]):
            place = self._emit(f"getelementptr i64, ptr %shared.data, i64 {i}")
            self.body.append(f"  store {word}, ptr {place}")
        self.body.append(f"  store i64 {chunks}, ptr %shared.chunks")
        count = self._emit(f"trunc i64 {threads} to i32")
        self.body.append(
            f"  call void {parallel_for}(ptr @share.{step.name}, ptr %shared.args, "
            f"ptr %shared.chunks, ptr %shared.steps, ptr %shared.data, i64 0, i64 1, i32 {count})"
        )
        self.body.append(f"  br label %{end}")
        self._open(alone)
        everything = ["ptr %returned", "ptr %returned", *args, "i64 0", f"i64 {extent}"]
        self._emit(f"call i32 @{step.name}({', '.join(everything)})")
        self.body.append(f"  br label %{end}")
        self._open(end)

    def _copy(self, step: Copy) -> None:
        target, source = self._pointer(step.target), self._pointer(step.source)
        size = self._size(step.size * step.target.storage.dtype.itemsize)
        self.body.append(
            f"  call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)"
        )

    def _gemm(self, step: Gemm) -> None:
        """Row-major c = a b is column-major c' = b' a', which is how the BLAS is called."""
        if not step.b.transposed:
            self._product_or_blas(step)
        else:
            self._blas(step)

    def _product_or_blas(self, step: Gemm) -> None:
        """Our own product where b fits in cache (and the BLAS would not bring threads to it)."""
        itemsize = step.dtype.itemsize
        product = self._word("ptr", Head.SPRODUCT if itemsize == 4 else Head.DPRODUCT)
        threads = self._word("i64", Head.THREADS)
        work = self._size(step.m * step.n * step.k)
        tests = [
            self._emit(f"icmp ne ptr {product}, null", prologue=True),
            self._emit(f"icmp sle i64 {self._size(step.k * step.n * itemsize)}, {PRODUCT_BYTES}"),
            self._emit(f"icmp sge i64 {self._size(step.n)}, {PRODUCT_COLUMNS}"),
            self._emit(f"icmp sle i64 {work}, {PRODUCT_WORK}"),
        ]
        alone = self._emit(f"icmp sle i64 {threads}, 1", prologue=True)
        tests[-1] = self._emit(f"or i1 {alone}, {tests[-1]}")
        chosen = tests[0]
        for test in tests[1:]:
            chosen = self._emit(f"and i1 {chosen}, {test}")
        own, blas, end = self._label(), self._label(), self._label()
        self.body.append(f"  br i1 {chosen}, label %{own}, label %{blas}")
        self._open(own)
        self._product(step, product)
        self.body.append(f"  br label %{end}")
        self._open(blas)
        self._blas(step)
        self.body.append(f"  br label %{end}")
        self._open(end)

    def _product(self, step: Gemm, routine: str) -> None:
        a_row, a_column = self._size(step.a.leading), "1"
        if step.a.transposed:
            a_row, a_column = a_column, a_row
        b_row, c_row = self._size(step.b.leading), self._size(step.c.leading)
        sizes = ", ".join(f"i64 {self._size(s)}" for s in (step.m, step.n, step.k))
        with self._each_matrix(step) as (a, b, c):
            self.body.append(
                f"  call void {routine}(ptr {a}, i64 {a_row}, i64 {a_column}, ptr {b}, "
                f"i64 {b_row}, ptr {c}, i64 {c_row}, {sizes})"
            )

    @contextmanager
    def _each_matrix(self, step: Gemm) -> Iterator[list[str]]:
        """The pointers of a, b and c, in loops over the batch."""
        matrices = (step.a, step.b, step.c)
        pointers = [self._pointer(m.ref) for m in matrices]
        opened = []
        for axis, extent in enumerate(step.batch):
            counter, head, end = self._repeat(self._size(extent))
            opened.append((counter, head, end))
            pointers = [
                self._advance(p, m, axis, counter, step.dtype)
                for p, m in zip(pointers, matrices, strict=True)
            ]
        yield pointers
        for counter, head, end in reversed(opened):
            self._again(counter, head, end)

    def _blas(self, step: Gemm) -> None:
        letter = "s" if step.dtype.bits == 32 else "d"
        routine = self._word("ptr", Head.SGEMM if letter == "s" else Head.DGEMM)
        for name, matrix in (("ta", step.b), ("tb", step.a)):
            code = ord("T" if matrix.transposed else "N")
            self.body.append(f"  store i8 {code}, ptr %gemm.{name}")
        for name, size in (("m", step.n), ("n", step.m), ("k", step.k)):
            self._store_integer(name, self._size(size))
        for name, matrix in (("lda", step.b), ("ldb", step.a), ("ldc", step.c)):
            leading = self._size(matrix.leading)
            self._store_integer(name, self._emit(f"call i64 @llvm.smax.i64(i64 {leading}, i64 1)"))
        with self._each_matrix(step) as (a, b, c):
            self.body.append(
                f"  call void {routine}(ptr %gemm.ta, ptr %gemm.tb, ptr %gemm.m, ptr %gemm.n, "
                f"ptr %gemm.k, ptr %gemm.{letter}one, ptr {b}, ptr %gemm.lda, ptr {a}, "
                f"ptr %gemm.ldb, ptr %gemm.{letter}zero, ptr {c}, ptr %gemm.ldc, i64 1, i64 1)"
            )

    def _advance(self, pointer: str, matrix: Matrix, axis: int, counter: str, dtype: DType) -> str:
        step = matrix.batch[axis]
        if step == 0:
            return pointer
        distance = self._emit(f"mul i64 {counter}, {self._size(step)}")
        return self._emit(f"getelementptr {_memory_type(dtype)}, ptr {pointer}, i64 {distance}")

    def _store_integer(self, name: str, value: str) -> None:
        if self.integer != "i64":
            value = self._emit(f"trunc i64 {value} to {self.integer}")
        self.body.append(f"  store {self.integer} {value}, ptr %gemm.{name}")

    def _host(self, step: Host) -> None:
        for i, ref in enumerate((*step.operands, *step.results)):
            pointer = self._pointer(ref)
            place = self._emit(f"getelementptr ptr, ptr %host.pointers, i64 {i}")
            self.body.append(f"  store ptr {pointer}, ptr {place}")
        for i, size in enumerate(host_sizes(step)):
            value = self._size(size)
            place = self._emit(f"getelementptr i64, ptr %host.sizes, i64 {i}")
            self.body.append(f"  store i64 {value}, ptr {place}")
        function = self._word("ptr", Head.HOST)
        call = self._word("i64", Head.CALL)
        mode = self._emit(subnormals.LEAVE) if self.flush else ""
        code = self._emit(
            f"call i32 {function}(i64 {call}, i64 {step.site}, ptr %host.pointers, ptr %host.sizes)"
        )
        if mode:
            self._emit(subnormals.restore(mode))
        self._return_if(self._emit(f"icmp ne i32 {code}, 0"), str(step.site))

    def _loop(self, step: Loop) -> None:
        counter, head, end = self._repeat(self._size(step.extent))
        self.counters[step.counter] = counter
        self._steps(step.body)
        del self.counters[step.counter]
        self._again(counter, head, end)

    def _branch(self, step: Branch) -> None:
        taken = self._emit(f"load i8, ptr {self._pointer(step.condition)}")
        condition = self._emit(f"icmp ne i8 {taken}, 0")
        then, otherwise, end = self._label(), self._label(), self._label()
        self.body.append(f"  br i1 {condition}, label %{then}, label %{otherwise}")
        for label, steps in ((then, step.then), (otherwise, step.otherwise)):
            self._open(label)
            self._steps(steps)
            self.body.append(f"  br label %{end}")
        self._open(end)


def _worker(name: str, buffers: int, sizes: int, flush: bool) -> list[str]:
    """Runs rows [c * each, (c + 1) * each) of a shared loop, for chunk number c."""
    lines = [
        f"define internal void @share.{name}(ptr %args, ptr %dims, ptr %steps, ptr %data) {{",
        "  %place = load ptr, ptr %args",
        "  %chunk = load i64, ptr %place",
        "  %each = load i64, ptr %data",
        "  %p1 = getelementptr i64, ptr %data, i64 1",
        "  %extent = load i64, ptr %p1",
        "  %first = mul i64 %chunk, %each",
        "  %start = call i64 @llvm.smin.i64(i64 %first, i64 %extent)",
        "  %next = add i64 %start, %each",
        "  %stop = call i64 @llvm.smin.i64(i64 %next, i64 %extent)",
        "  %returned = alloca [4 x i64]",
    ]
    args = ["ptr %returned", "ptr %returned"]
    for i, kind in enumerate(["ptr"] * buffers + ["i64"] * sizes, 2):
        lines.append(f"  %p{i} = getelementptr i64, ptr %data, i64 {i}")
        lines.append(f"  %v{i} = load {kind}, ptr %p{i}")
        args.append(f"{kind} %v{i}")
    args += ["i64 %start", "i64 %stop"]
    run = [f"  call i32 @{name}({', '.join(args)})"]
    if flush:
        run = [f"  %mode = {subnormals.ENTER}", *run, f"  {subnormals.restore('%mode')}"]
    return [*lines, *run, "  ret void", "}"]


def _memory_type(dtype: DType) -> str:
    if dtype is bool_:
        return "i8"
    if dtype.is_float:
        return "float" if dtype.bits == 32 else "double"
    return f"i{dtype.bits}"


def _declaration(step: Call) -> str:
    kernel = step.kernel
    count = len(kernel.sizes) + (2 if parallel_loop(kernel) else 0)
    kinds = ["ptr", "ptr", *["ptr"] * len(kernel.buffers), *["i64"] * count]
    return f"declare i32 @{step.name}({', '.join(kinds + ['ptr'] * may_fail(kernel))})"
