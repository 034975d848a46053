"""One program run on batch after batch of the same arrays, natively: nothing of Python in between.

    walk = Batches(step, [x, y], size=128)
    walk.run(0, walk.count, order)

A call of `run` is a loop in native code. For each batch it copies the rows that `order` names into
a buffer (without an order the batch is where it is), points the program's context at them, and
calls the program. An output has the examples along its first axis: each batch writes its part of
one array. The loop is an object of its own, as it depends on no program; `runtime/native.py` keeps
it.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import RuntimeFailure
from graphc.ir.evaluate import learn_dims
from graphc.ir.node import elsewhere
from graphc.lower.head import Head
from graphc.memory import empty
from graphc.runtime.caller import Caller, Context
from graphc.runtime.compile import Function
from graphc.runtime.native import load
from graphc.runtime.sites import explained

Array: TypeAlias = np.ndarray[Any, Any]

_RUN = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_void_p,
)

# The rows of a batch are anywhere in memory, and no processor guesses the next: lines of the row
# after the next are asked for, up to 8 KiB, while one is copied. Of 60,000 x 784 a batch of 128
# takes 38 us so, and 55 without.
# To ask for the next batch while the products of this one run gains nothing: its copy took 24 us
# then, but the products 22 more, as they wait where lines are asked for one after the other.
#
# Threads share the rows of a batch where it is long, if they share anything of the program.
#
# The number of batches that were done; less than `count` if one failed, whose code is then in
# `code`. `inputs` has four words for each array: its rows, the bytes of one, a buffer, its word of
# the context; `outputs` has two: its word of the context, the bytes of a batch's part.
_TEXT = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)

; Copies rows of a batch, from one number up to another: words are where all rows are, the bytes of
; one, the buffer, and the batch's part of the order.
define internal i32 @rows(ptr %words, i64 %begin, i64 %end) {
start:
  %rows = load ptr, ptr %words
  %bytes.at = getelementptr i64, ptr %words, i64 1
  %bytes = load i64, ptr %bytes.at
  %buffer.at = getelementptr i64, ptr %words, i64 2
  %buffer = load ptr, ptr %buffer.at
  %order.at = getelementptr i64, ptr %words, i64 3
  %order = load ptr, ptr %order.at
  %is.short = icmp ult i64 %bytes, 8192
  %touched.bytes = select i1 %is.short, i64 %bytes, i64 8192
  br label %row
row:
  %r = phi i64 [ %begin, %start ], [ %r.next, %copy ]
  %has.row = icmp slt i64 %r, %end
  br i1 %has.row, label %ahead, label %done
ahead:
  %r.after = add i64 %r, 2
  %has.after = icmp slt i64 %r.after, %end
  %r.ahead = select i1 %has.after, i64 %r.after, i64 %r
  %ahead.at = getelementptr i64, ptr %order, i64 %r.ahead
  %row.ahead = load i64, ptr %ahead.at
  %ahead.offset = mul i64 %row.ahead, %bytes
  %from.ahead = getelementptr i8, ptr %rows, i64 %ahead.offset
  br label %touch
touch:
  %touched = phi i64 [ 0, %ahead ], [ %touched.next, %touch ]
  %line = getelementptr i8, ptr %from.ahead, i64 %touched
  call void @llvm.prefetch.p0(ptr %line, i32 0, i32 2, i32 1)
  %touched.next = add i64 %touched, 64
  %touches = icmp ult i64 %touched.next, %touched.bytes
  br i1 %touches, label %touch, label %copy
copy:
  %number.at = getelementptr i64, ptr %order, i64 %r
  %row.number = load i64, ptr %number.at
  %from.offset = mul i64 %row.number, %bytes
  %from = getelementptr i8, ptr %rows, i64 %from.offset
  %to.offset = mul i64 %r, %bytes
  %to = getelementptr i8, ptr %buffer, i64 %to.offset
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  %r.next = add i64 %r, 1
  br label %row
done:
  ret i32 0
}

define i64 @gc.batches(ptr %entry, ptr %context, i64 %count, i64 %size, ptr %order,
                       ptr %inputs, i64 %input.count, ptr %outputs, i64 %output.count,
                       ptr %code) {
start:
  %words = alloca [4 x i64]
  %ordered = icmp ne ptr %order, null
  %share.at = getelementptr i64, ptr %context, i64 SHARE_WORD
  %share = load ptr, ptr %share.at
  %can.share = icmp ne ptr %share, null
  %threads.at = getelementptr i64, ptr %context, i64 THREADS_WORD
  %threads = load i64, ptr %threads.at
  br label %batch
batch:
  %done = phi i64 [ 0, %start ], [ %done.next, %advanced ]
  %goes.on = icmp slt i64 %done, %count
  br i1 %goes.on, label %gather, label %end
gather:
  %first = mul i64 %done, %size
  br label %input
input:
  %i = phi i64 [ 0, %gather ], [ %i.next, %input.done ]
  %has.input = icmp slt i64 %i, %input.count
  br i1 %has.input, label %place, label %call
place:
  %i.word = mul i64 %i, 4
  %rows.at = getelementptr i64, ptr %inputs, i64 %i.word
  %bytes.at = getelementptr i64, ptr %rows.at, i64 1
  %buffer.at = getelementptr i64, ptr %rows.at, i64 2
  %word.at = getelementptr i64, ptr %rows.at, i64 3
  %rows = load ptr, ptr %rows.at
  %bytes = load i64, ptr %bytes.at
  %buffer = load ptr, ptr %buffer.at
  %word = load i64, ptr %word.at
  %place.at = getelementptr i64, ptr %context, i64 %word
  br i1 %ordered, label %take, label %in.place
in.place:
  %offset = mul i64 %first, %bytes
  %part = getelementptr i8, ptr %rows, i64 %offset
  store ptr %part, ptr %place.at
  br label %input.done
take:
  %order.first = getelementptr i64, ptr %order, i64 %first
  store ptr %rows, ptr %words
  %bytes.word = getelementptr i64, ptr %words, i64 1
  store i64 %bytes, ptr %bytes.word
  %buffer.word = getelementptr i64, ptr %words, i64 2
  store ptr %buffer, ptr %buffer.word
  %order.word = getelementptr i64, ptr %words, i64 3
  store ptr %order.first, ptr %order.word
  %all.bytes = mul i64 %size, %bytes
  %is.long = icmp uge i64 %all.bytes, SHARED_BYTES
  %is.shared = and i1 %is.long, %can.share
  br i1 %is.shared, label %together, label %alone
together:
  call void %share(ptr @rows, ptr %words, i64 0, i64 %size, i64 1, i64 %threads)
  br label %copied
alone:
  %zero = call i32 @rows(ptr %words, i64 0, i64 %size)
  br label %copied
copied:
  store ptr %buffer, ptr %place.at
  br label %input.done
input.done:
  %i.next = add i64 %i, 1
  br label %input
call:
  %result = call i32 %entry(ptr %context)
  %failed = icmp ne i32 %result, 0
  br i1 %failed, label %failure, label %output
failure:
  store i32 %result, ptr %code
  br label %end
output:
  %o = phi i64 [ 0, %call ], [ %o.next, %move ]
  %has.output = icmp slt i64 %o, %output.count
  br i1 %has.output, label %move, label %advanced
move:
  %o.word = mul i64 %o, 2
  %out.word.at = getelementptr i64, ptr %outputs, i64 %o.word
  %part.bytes.at = getelementptr i64, ptr %out.word.at, i64 1
  %out.word = load i64, ptr %out.word.at
  %part.bytes = load i64, ptr %part.bytes.at
  %out.at = getelementptr i64, ptr %context, i64 %out.word
  %out = load ptr, ptr %out.at
  %next = getelementptr i8, ptr %out, i64 %part.bytes
  store ptr %next, ptr %out.at
  %o.next = add i64 %o, 1
  br label %output
advanced:
  %done.next = add i64 %done, 1
  br label %batch
end:
  ret i64 %done
}
"""
_SHARED = 1 << 17  # bytes of an array's batch that threads share: some 10 us


@cache
def _native() -> Any:
    return _RUN(load("batches", _text, ("gc.batches",))[0])


def _text() -> str:
    text = _TEXT.replace("SHARED_BYTES", str(_SHARED))
    return text.replace("SHARE_WORD", str(+Head.SHARE)).replace("THREADS_WORD", str(+Head.THREADS))


class Batches:
    """The batches of `arrays`, `size` examples each and the last one less, as calls of `function`.

    Shapes: every array is [examples, ...]; so is every output that is no scalar, and `results` has
    them whole, one for each such output. Arrays are C-ordered and of the inputs' dtypes.
    Errors of `run`: those of a call. `done` then says how many batches of that run were computed;
    variables are as these left them.
    """

    def __init__(self, function: Function, arrays: Sequence[Array], size: int) -> None:
        self._function, self.size, self.done = function, size, 0
        graph = function.graph
        self._arrays = [
            np.require(a, t.dtype.numpy, ("C", "A"))
            for a, t in zip(arrays, graph.inputs, strict=True)
        ]
        self.examples = len(self._arrays[0])
        self.count = -(-self.examples // size)
        self._parts: dict[int, _Part] = {}
        self.results = [
            np.empty((self.examples, *self._rest(t.shape)), t.dtype.numpy)
            for t in graph.outputs
            if t.ndim
        ]

    def _rest(self, shape: Any) -> tuple[int, ...]:
        return tuple(int(s) for s in shape[1:])

    def run(self, first: int, count: int, order: Array | None = None) -> None:
        """Batches `first` to `first + count`, of the examples in the order that int64s give."""
        self.done = 0
        if order is not None:
            order = np.ascontiguousarray(order, np.int64)
        whole = min(count, self.examples // self.size - first)
        if whole > 0:
            self._run(first * self.size, whole, self.size, order)
        if whole < count:  # the last batch, which is smaller
            start = (first + max(whole, 0)) * self.size
            self._run(start, 1, self.examples - start, order)

    def _run(self, start: int, count: int, size: int, order: Array | None) -> None:
        caller = self._function.caller
        if caller is None:
            self._interpret(start, count, size, order)
            return
        if size not in self._parts:
            self._parts[size] = _Part(caller, self._arrays, self.results, size)
        part = self._parts[size]
        code = part.run(start, count, order)
        self.done += part.done
        if code:
            failed = slice(start + part.done * size, start + (part.done + 1) * size)
            rows = np.arange(self.examples)[failed] if order is None else order[failed]
            caller.fail(part.context, code, [a[rows] for a in self._arrays], rows)

    def _interpret(self, start: int, count: int, size: int, order: Array | None) -> None:
        """Call by call, for programs that are not native or are checked."""
        for at in range(start, start + count * size, size):
            rows: Any = slice(at, at + size)
            chosen = rows if order is None else order[rows]
            given = [a[chosen] for a in self._arrays]
            try:
                found = self._function.flat(*given)
            except RuntimeFailure as error:
                numbers = np.arange(self.examples)[rows] if order is None else chosen
                raise explained(error, self._function.graph, given, numbers) from None
            for result, array in zip(self.results, filter(np.ndim, found), strict=True):
                result[rows] = array
            self.done += 1


class _Part:
    """Batches of one size: a context, a buffer for each array, and the tables of the loop."""

    def __init__(
        self, caller: Caller, arrays: Sequence[Array], results: Sequence[Array], size: int
    ) -> None:
        self._caller, self._size, self.done = caller, size, 0
        self._kept = arrays, results  # the addresses of which are in the tables
        found = learn_dims(caller.graph, [a[:size] for a in arrays])
        self.context = Context(caller)
        caller.reserve(self.context, tuple(found[d] for d in caller.dims))
        for i, name in enumerate(caller.manifest["dims"]):
            self.context.words[Head.COUNT + i] = found[name]
        shapes = [(size, *a.shape[1:]) for a in arrays]
        self._buffers = [
            empty(size * _row_bytes(a)).view(a.dtype).reshape(shape)
            for a, shape in zip(arrays, shapes, strict=True)
        ]
        words = itertools.count(caller.input_words)
        self._inputs = _table(
            (a.ctypes.data, _row_bytes(a), buffer.ctypes.data, word)
            for a, buffer, word in zip(arrays, self._buffers, words, strict=False)
        )
        self._places, self._bytes = self._inputs[:, 0].copy(), self._inputs[:, 1].copy()
        given = [i for i, t in enumerate(caller.graph.outputs) if t.ndim]
        parts = zip(given, results, strict=True)
        self._results = [(caller.output_words + i, r.ctypes.data, _row_bytes(r)) for i, r in parts]
        self._outputs = _table((word, size * each) for word, _, each in self._results)
        self._tables = (
            *(self._inputs.ctypes.data, len(self._inputs)),
            *(self._outputs.ctypes.data, len(self._outputs)),
        )

    def run(self, start: int, count: int, order: Array | None) -> int:
        """0, or the code of the batch that failed."""
        rows = None
        if order is None:
            self._inputs[:, 0] = self._places + start * self._bytes
        else:
            self._inputs[:, 0] = self._places
            rows = order.ctypes.data + start * order.itemsize
        for word, place, each in self._results:
            self.context.words[word] = place + start * each
        code = ctypes.c_int32(0)
        inputs, input_count, outputs, output_count = self._tables
        with self._caller.locks:
            if elsewhere:
                self._caller.bring_home()
            self.done = _native()(
                self._caller.executable.address,
                self.context.address,
                count,
                self._size,
                rows,
                inputs,
                input_count,
                outputs,
                output_count,
                ctypes.byref(code),
            )
        return code.value


def _table(lines: Iterable[tuple[int, ...]]) -> Array:
    """Words of memory, line by line."""
    return np.array(list(lines), np.int64)


def _row_bytes(array: Array) -> int:
    return int(np.prod(array.shape[1:], dtype=np.int64)) * array.itemsize
