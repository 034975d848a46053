"""Matrix products, as LLVM IR: by the BLAS, or by our own routine where that is faster.

The BLAS packs both operands anew for every call, so it gets a product whole. Our own routine
(`gemm.py`) packs b at most, which threads share, and computes some rows as well as all of them; or
some columns of many, with what is packed of them by the thread that computes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from graphc.ir.dim import Size, floordiv, maximum, minimum, product, total
from graphc.ir.dtype import DType
from graphc.lower.context import Layout
from graphc.lower.function_text import FunctionText, Word
from graphc.lower.gemm import ROWS_ASKED
from graphc.lower.head import Head
from graphc.lower.kernel_calls import Sharing, is_much
from graphc.machines import CPU
from graphc.planning.program import (
    PANEL_BYTES,
    Gemm,
    Matrix,
    Program,
    padded,
    panel_columns,
    walk_steps,
)

COLUMNS = CPU.least_columns, CPU.product_columns  # of b; of more it is packed
CACHED_BYTES = CPU.cached_bytes
ROWS = 8  # of a, where b is turned first
DEPTH = 16  # rows of b that are taken at once, at least
STACK_BYTES = 1 << 17  # for one b of a batch, packed
STEPS = 512  # rows of b that are packed at once, at most, where a product is computed by columns
STRIP_BYTES = 1 << 18  # of b that are
PACKING = 4  # scalar operations that take as long as packing one element
TAP_BYTES = CACHED_BYTES // 4  # of b, beside what a sum of products reads of a meanwhile


def own_widths(program: Program) -> list[int]:
    """The bits of the floats whose products our own routine may compute."""
    steps = (s for s in walk_steps(program.steps) if isinstance(s, Gemm))
    return sorted({step.dtype.bits for step in steps if _may_be_own(step)})


def _may_be_own(step: Gemm) -> bool:
    """Whether our own routine computes the product at some sizes."""
    if step.taps:
        return True
    needs_packing = CPU.is_wide(step.n) or (step.b.transposed and not step.batch)
    if needs_packing and not is_packed(step):
        return False
    return not isinstance(step.n, int) or step.n >= COLUMNS[0]


def is_own(text: FunctionText, step: Gemm) -> str:
    """Whether our own routine computes the product: an i1, known from the start."""
    if step.taps:
        return "true"
    if not _may_be_own(step):
        return "false"
    (least, most), wide = COLUMNS, CPU.is_wide(step.n)
    tests = [f"icmp ne ptr {_routine(text, step, Head.SPRODUCT)}, null"]
    if not isinstance(step.n, int):
        tests.append(f"icmp sge i64 {text.size(step.n)}, {least}")
        tests.append(f"icmp sle i64 {text.size(step.n)}, {most}")
    if step.batch:
        room = STACK_BYTES if step.b.transposed else CACHED_BYTES
        columns = padded(step.n, step.dtype) if step.b.transposed else step.n
        tests.append(f"icmp sle i64 {text.size(step.k * columns * step.dtype.itemsize)}, {room}")
    if wide or step.b.transposed:
        tests.append(f"icmp sge i64 {text.size(step.m)}, {CPU.packed_rows if wide else ROWS}")
    chosen, *others = [text.emit(test, early=True) for test in tests]
    for other in others:
        chosen = text.emit(f"and i1 {chosen}, {other}", early=True)
    return chosen


def depth(step: Gemm) -> Size:
    """How much of k our own routine takes at once: parts of b that stay in cache, about equal."""
    if step.batch:
        return step.k
    if step.by_columns:
        last = maximum(step.k, 1) - 1
        return (floordiv(last, (floordiv(last, STEPS) + 1) * DEPTH) + 1) * DEPTH
    columns = step.n if step.packed is None else padded(step.n, step.dtype)
    cached = min(CACHED_BYTES, CPU.cached(step.n)) // step.dtype.itemsize
    fits = floordiv(cached // DEPTH, maximum(columns, 1))
    parts = floordiv(step.k, maximum(fits, 1) * DEPTH) + 1
    return (floordiv(step.k, parts * DEPTH) + 1) * DEPTH


def is_last(text: FunctionText, step: Gemm, start: str) -> str:
    """Whether nothing is left behind the part of k that begins at `start` (an i1)."""
    return text.emit(f"icmp sle i64 {_left(text, step, start)}, {text.size(depth(step))}")


def _left(text: FunctionText, step: Gemm, start: str) -> str:
    """How much of k there is from `start` on."""
    return text.emit(f"sub i64 {text.size(step.k)}, {start}")


def _length(text: FunctionText, step: Gemm, start: str) -> str:
    """How much of it the part that begins at `start` has."""
    left = _left(text, step, start)
    return text.emit(f"call i64 @llvm.smin.i64(i64 {left}, i64 {text.size(depth(step))})")


def is_packed(step: Gemm) -> bool:
    """Whether our own routine gets b packed."""
    if step.by_columns or step.packed is not None:
        return True
    return bool(step.batch) and step.b.transposed


def packing(
    text: FunctionText, step: Gemm, b: str, start: str = "0", columns: str = ""
) -> list[Word]:
    """What packs b for `own`, and is given to it: the part of k that begins at `start`, of so many
    columns, or of all."""
    row, column = step.b.steps
    ahead = text.emit(f"mul i64 {start}, {text.size(row)}")
    return [
        ("ptr", _routine(text, step, Head.SPACK)),
        ("ptr", text.advance(b, step.dtype, ahead)),
        ("i64", text.size(row)),
        ("i64", text.size(column)),
        ("ptr", _packed(text, step)),
        ("i64", columns or text.size(step.n)),
        ("i64", _length(text, step, start)),
    ]


def pack(text: FunctionText, words: Sequence[Word]) -> None:
    """Pack all of what `packing` says, on one thread."""
    (_, routine), *given = words
    text.line(f"call void {routine}({', '.join(f'{kind} {value}' for kind, value in given)})")


def share_packing(sharing: Sharing, layout: Layout, dtype: DType) -> str:
    """The name of the function that packs what `packing` says, by threads where that pays."""
    names = ("routine", "b", "row", "column", "y", "n", "k")
    kinds = ("ptr", "ptr", "i64", "i64", "ptr", "i64", "i64")
    words = [(kind, f"%{name}") for kind, name in zip(kinds, names, strict=True)]
    name, part = f"pack.{dtype}", f"panels.{dtype}"
    if name not in sharing.functions:
        text = FunctionText(layout, parameters=words, span=True)
        ahead = [text.emit(f"mul i64 %first, {step}") for step in ("%column", "%k")]
        places = [text.advance(at, dtype, n) for at, n in zip(("%b", "%y"), ahead, strict=True)]
        count = text.emit("sub i64 %last, %first")
        some = dict(zip(names, (value for _, value in words), strict=True))
        some |= {"b": places[0], "y": places[1], "n": count}
        pack(text, list(zip(kinds, some.values(), strict=True)))
        sharing.functions[part] = text.lines(part, "internal ")
        text = FunctionText(layout, parameters=words)
        work = text.emit(f"mul i64 {text.emit('mul i64 %n, %k')}, {PACKING}")

        def shared() -> None:
            given = sharing.words(text, [("ptr", "%context"), *words])
            sharing.run(text, part, given, "%n", panel_columns(dtype))

        text.choose(is_much(text, work), shared, lambda: pack(text, words))
        sharing.functions[name] = text.lines(name, "internal ")
    return name


_AHEAD = "gc.ahead"  # what notes a record, once in a driver


def ahead(text: FunctionText, step: Gemm, functions: dict[str, list[str]]) -> str:
    """Memory for what the next product of a batch touches (`next` in `gemm.py`), with all but the
    addresses in it; null where all of the batch stays in cache anyway."""
    place, size = text.stack("ahead", "i64", 15), step.dtype.itemsize
    shapes = ((step.m, step.k), (step.k, step.n), (step.m, step.n))
    shares = maximum(floordiv(step.m + (ROWS_ASKED - 1), ROWS_ASKED), 1)
    for i, (matrix, shape) in enumerate(zip((step.a, step.b, step.c), shapes, strict=True)):
        rows, columns = reversed(shape) if matrix.transposed else shape
        each = floordiv(rows + shares - 1, shares)
        values = (matrix.leading * size, rows, columns * size, each)
        given = [("i64", str(i)), *(("i64", text.size(value)) for value in values)]
        text.run(_AHEAD, [("ptr", place), *given])
    if _AHEAD not in functions:
        names = ("record", "step", "rows", "bytes", "each")
        inner = FunctionText(text.layout, parameters=[("i64", f"%{name}") for name in names])
        inner.line("%first = mul i64 %record, 5")
        inner.line("%at = getelementptr i64, ptr %context, i64 %first")
        for j, name in enumerate(names[1:], 1):
            inner.store("i64", f"%{name}", "%at", j)
        functions[_AHEAD] = inner.lines(_AHEAD, "internal ")
    touched = total(x * y for x, y in shapes) * product(step.batch) * size
    much = text.emit(f"icmp sgt i64 {text.size(touched)}, {CACHED_BYTES}")
    return text.emit(f"select i1 {much}, ptr {place}, ptr null")


def look_ahead(text: FunctionText, matrices: Sequence[str]) -> None:
    """The next product's a, b and c are at these addresses."""
    place = text.stack("ahead", "i64", 15)
    for i, at in enumerate(matrices):
        text.store("ptr", at, text.emit(f"getelementptr i64, ptr {place}, i64 {5 * i}"))


def own(
    text: FunctionText,
    step: Gemm,
    matrices: Sequence[str],
    rows: str,
    start: str = "0",
    following: str = "null",
    columns: str = "",
    claimed: tuple[str, str] = ("null", "0"),
) -> None:
    """The first `rows` rows of a product, and of them the first `columns` or all, over the part of
    k that begins at `start` and added to those before it; `matrices` are the addresses of a, b
    and c. `claimed` (`gemm.py`): its address, and the elements from row to row."""
    a, b, c = matrices
    column = text.size(step.a.leading) if step.a.transposed else "1"
    a = text.advance(a, step.dtype, text.emit(f"mul i64 {start}, {column}"))
    if is_packed(step):
        b, b_row = _packed(text, step), "0"
    else:
        b_row = text.size(step.b.leading)
        b = text.advance(b, step.dtype, text.emit(f"mul i64 {start}, {b_row}"))
    add = text.emit(f"icmp ne i64 {start}, 0")
    text.line(
        f"call void {_routine(text, step, Head.SPRODUCT)}(ptr {a}, "
        f"i64 {row_step(text, step.a)}, i64 {column}, i64 0, ptr {b}, i64 {b_row}, i64 0, ptr {c}, "
        f"i64 {text.size(step.c.leading)}, i64 {rows}, i64 {columns or text.size(step.n)}, "
        f"i64 {_length(text, step, start)}, i64 1, i1 zeroext {add}, ptr {following}, "
        f"ptr {claimed[0]}, i64 {claimed[1]})"
    )


def by_columns(text: FunctionText, step: Gemm, first: str, last: str) -> None:
    """Columns [first, last) of a product that has many: a strip of them at a time, of which one
    part of k after the other is packed and all rows are multiplied by it while it is in cache."""
    a, b, c = (text.pointer(m.ref) for m in (step.a, step.b, step.c))
    panels = floordiv(STRIP_BYTES // PANEL_BYTES, depth(step))
    strip = text.size(panels * panel_columns(step.dtype))
    between = text.size(step.b.steps[1])
    with text.loop(last, first, strip) as at:
        left = text.emit(f"sub i64 {last}, {at}")
        count = text.emit(f"call i64 @llvm.smin.i64(i64 {left}, i64 {strip})")
        b_at = text.advance(b, step.dtype, text.emit(f"mul i64 {at}, {between}"))
        matrices = a, b_at, text.advance(c, step.dtype, at)
        with text.loop(text.size(maximum(step.k, 1)), step=text.size(depth(step))) as start:
            pack(text, packing(text, step, b_at, start, count))
            own(text, step, matrices, text.size(step.m), start, columns=count)


def _packed(text: FunctionText, step: Gemm) -> str:
    """Where b is packed: in the arena, or on the stack of the thread that does it, for one b of a
    batch, or part of a strip."""
    if step.packed is not None:
        return text.pointer(step.packed)
    size = STRIP_BYTES if step.by_columns else STACK_BYTES
    return text.stack("packed", "i64", size // 8)


class TapPart(NamedTuple):
    """Some of the terms of a sum of products: `terms` of the last taps from `tap` on, for index
    `number` of the outer ones; whether there are others before them, and whether behind."""

    number: str
    tap: str
    terms: str
    later: str
    last: str


@contextmanager
def tap_parts(text: FunctionText, step: Gemm) -> Iterator[TapPart]:
    """What is written inside runs for each part of the terms: for each index of the outer taps,
    those of the last one in parts of which b stays in cache."""
    *outer, last = step.taps
    several, together = product(outer), text.size(_taps_at_once(step))
    is_some = isinstance(several, int) and several > 0
    terms = text.size(last if is_some else last * minimum(several, 1))  # of none
    numbers, taps = text.size(maximum(several, 1)), text.size(maximum(last, 1))
    with text.loop(numbers) as number, text.loop(taps, step=together) as tap:
        left = text.emit(f"sub i64 {terms}, {tap}")
        count = text.emit(f"call i64 @llvm.smin.i64(i64 {left}, i64 {together})")
        before = text.emit(f"or i64 {number}, {tap}")
        later = text.emit(f"icmp ne i64 {before}, 0")
        last_number = text.emit(f"icmp eq i64 {text.emit(f'add i64 {number}, 1')}, {numbers}")
        last_tap = text.emit(f"icmp sge i64 {text.emit(f'add i64 {tap}, {together}')}, {taps}")
        yield TapPart(number, tap, count, later, text.emit(f"and i1 {last_number}, {last_tap}"))


def are_parts_large(step: Gemm) -> bool:
    """Whether b of one term alone is much of what a cache holds, so that all sums of a range get
    that term before any gets the next; else each sum is finished while it is in cache."""
    size = step.k * step.n * step.dtype.itemsize
    return isinstance(size, int) and size > TAP_BYTES


def add_up(
    text: FunctionText, step: Gemm, matrices: Sequence[str], rows: str, part: TapPart
) -> None:
    """The first `rows` rows of a part of a sum of products, at the addresses of a, b and c, added
    to those before it. The BLAS takes no rows that overlap, so where there is no routine of ours a
    plain one stands for it."""
    routine = _routine(text, step, Head.SPRODUCT)
    there = text.emit(f"icmp ne ptr {routine}, null", early=True)
    plain = f"@{_plain_name(step.dtype)}"
    chosen = text.emit(f"select i1 {there}, ptr {routine}, ptr {plain}", early=True)
    row, column = (text.size(s) for s in step.a.steps)
    steps = [step.a.taps, step.b.taps]
    places = _at(text, step, matrices[:2], part.number, step.taps[:-1], [s[:-1] for s in steps])
    ends = [text.emit(f"mul i64 {part.tap}, {text.size(own[-1])}") for own in steps]
    a_at, b_at = (text.advance(at, step.dtype, end) for at, end in zip(places, ends, strict=True))
    text.line(
        f"call void {chosen}(ptr {a_at}, i64 {row}, i64 {column}, "
        f"i64 {text.size(step.a.taps[-1])}, ptr {b_at}, i64 {text.size(step.b.leading)}, "
        f"i64 {text.size(step.b.taps[-1])}, ptr {matrices[2]}, "
        f"i64 {text.size(step.c.leading)}, i64 {rows}, i64 {text.size(step.n)}, "
        f"i64 {text.size(step.k)}, i64 {part.terms}, i1 zeroext {part.later}, ptr null, ptr null, "
        "i64 0)"
    )


@contextmanager
def parts_of_rows(text: FunctionText, step: Gemm) -> Iterator[tuple[str, str, str]]:
    """A loop over what [%first, %last) of the rows of all products of a batch have of each: which
    product, its first row, and how many."""
    height = text.size(maximum(step.m, 1))
    more = text.emit(f"add i64 {text.emit(f'add i64 %last, {height}')}, -1")
    end = text.emit(f"sdiv i64 {more}, {height}")
    begin = text.emit(f"sdiv i64 %first, {height}")
    with text.loop(end, begin) as number:
        before = text.emit(f"mul i64 {number}, {height}")
        ends = [text.emit(f"sub i64 {at}, {before}") for at in ("%first", "%last")]
        first = text.emit(f"call i64 @llvm.smax.i64(i64 {ends[0]}, i64 0)")
        stop = text.emit(f"call i64 @llvm.smin.i64(i64 {ends[1]}, i64 {text.size(step.m)})")
        yield number, first, text.emit(f"sub i64 {stop}, {first}")


def rows_at(text: FunctionText, step: Gemm, matrices: Sequence[str], first: str) -> list[str]:
    """The addresses of a, b and c from a row on."""
    a, b, c = matrices
    steps = (row_step(text, step.a), row_step(text, step.c))
    ahead = [text.emit(f"mul i64 {first}, {own}") for own in steps]
    a, c = (text.advance(at, step.dtype, n) for at, n in zip((a, c), ahead, strict=True))
    return [a, b, c]


def _taps_at_once(step: Gemm) -> Size:
    """How many of the last taps one call of our routine adds up: those whose parts of b stay in
    cache together, beside what it reads of a."""
    fits = floordiv(TAP_BYTES // step.dtype.itemsize, maximum(step.k * step.n, 1))
    return maximum(fits, 1)


def _plain_name(dtype: DType) -> str:
    return f"gc.plain.f{dtype.bits}"


def plain(dtype: DType) -> str:
    """The product element by element, with the parameters of our own routine (`gemm.py`)."""
    kind = "float" if dtype.itemsize == 4 else "double"
    return f"""\
define internal void @{_plain_name(dtype)}(ptr %a, i64 %a_row, i64 %a_column, i64 %a_tap, ptr %b, \
i64 %b_row, i64 %b_tap, ptr %c, i64 %c_row, i64 %m, i64 %n, i64 %k, i64 %taps, \
i1 zeroext %add, ptr %next, ptr %claimed, i64 %claimed_row) #0 {{
entry:
  %steps = mul i64 %k, %taps
  br label %rows
rows:
  %i = phi i64 [ 0, %entry ], [ %i.next, %row.end ]
  %i.more = icmp slt i64 %i, %m
  br i1 %i.more, label %columns, label %end
columns:
  %j = phi i64 [ 0, %rows ], [ %j.next, %store ]
  %j.more = icmp slt i64 %j, %n
  br i1 %j.more, label %terms, label %row.end
terms:
  %p = phi i64 [ 0, %columns ], [ %p.next, %term ]
  %s = phi {kind} [ 0.0, %columns ], [ %s.next, %term ]
  %p.more = icmp slt i64 %p, %steps
  br i1 %p.more, label %term, label %sum
term:
  %tap = udiv i64 %p, %k
  %inner = urem i64 %p, %k
  %ai = mul i64 %i, %a_row
  %ap = mul i64 %inner, %a_column
  %at = mul i64 %tap, %a_tap
  %aip = add i64 %ai, %ap
  %ao = add i64 %aip, %at
  %a.at = getelementptr {kind}, ptr %a, i64 %ao
  %x = load {kind}, ptr %a.at
  %bp = mul i64 %inner, %b_row
  %bt = mul i64 %tap, %b_tap
  %bpt = add i64 %bp, %bt
  %bo = add i64 %bpt, %j
  %b.at = getelementptr {kind}, ptr %b, i64 %bo
  %y = load {kind}, ptr %b.at
  %xy = fmul {kind} %x, %y
  %s.next = fadd {kind} %s, %xy
  %p.next = add i64 %p, 1
  br label %terms
sum:
  %ci = mul i64 %i, %c_row
  %co = add i64 %ci, %j
  %c.at = getelementptr {kind}, ptr %c, i64 %co
  br i1 %add, label %more, label %store
more:
  %old = load {kind}, ptr %c.at
  %both = fadd {kind} %old, %s
  br label %store
store:
  %new = phi {kind} [ %s, %sum ], [ %both, %more ]
  store {kind} %new, ptr %c.at
  %j.next = add i64 %j, 1
  br label %columns
row.end:
  %i.next = add i64 %i, 1
  br label %rows
end:
  ret void
}}"""


def blas(text: FunctionText, step: Gemm, matrices: Sequence[str]) -> None:
    """A product by the BLAS. Row-major c = a b is column-major c' = b' a', which is how it is
    called."""
    a, b, c = matrices
    routine = _routine(text, step, Head.SGEMM)
    turned = (f"i8 {ord('T' if m.transposed else 'N')}" for m in (step.b, step.a))
    sizes = (f"i64 {text.size(size)}" for size in (step.n, step.m, step.k))
    places = zip((b, a, c), (step.b, step.a, step.c), strict=True)
    given = (f"ptr {at}, i64 {text.size(matrix.leading)}" for at, matrix in places)
    passed = ", ".join((f"ptr {routine}", *turned, *sizes, *given))
    text.line(f"call void @{_blas_name(step.dtype)}({passed})")


def _blas_name(dtype: DType) -> str:
    return f"gc.blas.f{dtype.bits}"


def blas_call(dtype: DType, integer: str) -> str:
    """The function that calls the BLAS, by its interface: all is passed by address, integers of
    the type `integer`, and the lengths of both letters by value."""
    kind = "float" if dtype.itemsize == 4 else "double"
    lines = ["  %one = alloca " + kind, f"  store {kind} 1.0, ptr %one"]
    lines += ["  %zero = alloca " + kind, f"  store {kind} 0.0, ptr %zero"]
    for name in ("ta", "tb"):
        lines += [f"  %{name}.at = alloca i8", f"  store i8 %{name}, ptr %{name}.at"]
    for name in ("m", "n", "k", "lda", "ldb", "ldc"):
        value = f"%{name}"
        if name.startswith("ld"):  # 0 for a matrix without elements
            value = f"%{name}.safe"
            lines.append(f"  {value} = call i64 @llvm.smax.i64(i64 %{name}, i64 1)")
        if integer != "i64":
            lines.append(f"  %{name}.short = trunc i64 {value} to {integer}")
            value = f"%{name}.short"
        lines += [f"  %{name}.at = alloca {integer}", f"  store {integer} {value}, ptr %{name}.at"]
    return "\n".join(
        [
            f"define internal void @{_blas_name(dtype)}(ptr %routine, i8 %ta, i8 %tb, i64 %m, "
            "i64 %n, i64 %k, ptr %a, i64 %lda, ptr %b, i64 %ldb, ptr %c, i64 %ldc) #0 {",
            *lines,
            "  call void %routine(ptr %ta.at, ptr %tb.at, ptr %m.at, ptr %n.at, ptr %k.at, "
            "ptr %one, ptr %a, ptr %lda.at, ptr %b, ptr %ldb.at, ptr %zero, ptr %c, ptr %ldc.at, "
            "i64 1, i64 1)",
            "  ret void",
            "}",
        ]
    )


def row_step(text: FunctionText, matrix: Matrix) -> str:
    """The elements from one row to the next."""
    return "1" if matrix.transposed else text.size(matrix.leading)


def matrices_at(text: FunctionText, step: Gemm, number: str) -> list[str]:
    """The addresses of a, b and c for one of the products of a batch, counted in row-major order
    of the batch axes."""
    matrices = (step.a, step.b, step.c)
    pointers = [text.pointer(m.ref) for m in matrices]
    return _at(text, step, pointers, number, step.batch, [m.batch for m in matrices])


def _at(
    text: FunctionText,
    step: Gemm,
    pointers: Sequence[str],
    number: str,
    shape: Sequence[Size],
    steps: Sequence[Sequence[Size]],
) -> list[str]:
    """The addresses further on by an index into `shape`, counted in row-major order, for the steps
    that each of them takes along its axes."""
    moved = list(pointers)
    for axis in reversed(range(len(shape))):
        index = number
        if axis > 0:
            extent = text.size(shape[axis])
            index = text.emit(f"urem i64 {number}, {extent}")
            number = text.emit(f"udiv i64 {number}, {extent}")
        for i, own_steps in enumerate(steps):
            distance: Size = own_steps[axis]
            if distance != 0:
                elements = text.emit(f"mul i64 {index}, {text.size(distance)}")
                moved[i] = text.advance(moved[i], step.dtype, elements)
    return moved


def _routine(text: FunctionText, step: Gemm, single: Head) -> str:
    """A routine for the product's floats: `single` is its word for those of 32 bits."""
    return text.word("ptr", single if step.dtype.itemsize == 4 else single + 1)
