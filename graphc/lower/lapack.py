"""A routine of LAPACK called matrix by matrix, as LLVM IR, from what an op states of it.

Its interface is that of the BLAS: see `runtime/blas.py`. The library's integers may be narrower
than the program's (`int64`), so those of operands and results are converted, one by one.

OpenBLAS gives some routines threads however small a matrix is (`getrs`, `potrs` and `trtrs` of
several right sides, `syevd`), and these wait for each other in turns of the system's scheduler. On
an idle machine that takes as long again as the routine; where other processes want the processors
too, milliseconds for each matrix: 0.1 ms for 200 matrices of 5 x 5 became seconds. So a small
matrix is one thread's. The number is the process's: whoever finds 1 has nothing to set, and
whoever sets 1 puts back what it found, so that no order of several threads leaves a 1 behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphc.ir.dim import Size, product
from graphc.ir.routine import Argument, Count, Flag, Leading, Operand, Result, Work
from graphc.ir.shape import TensorType
from graphc.lower.function_text import FunctionText
from graphc.planning.native import matrix_size
from graphc.planning.program import Host, Native, Ref

SMALL = 2**23  # multiply-adds for a matrix, below which threads do not pay: about 1 ms


def run(
    text: FunctionText,
    step: Host,
    native: Native,
    address: str,
    integer: str,
    threads: tuple[str, str],
) -> None:
    """Call the routine at `address`, whose integers are of the type `integer`, for each matrix of
    the batch. The function ends with the number of the site if one fails. `threads`: the addresses
    of what gives and sets the number of the library's threads, null where there are none."""
    with text.loop(text.size(product(native.batch))) as number:
        call = _Call(text, step, native, integer, number)
        passed = [call.argument(i, a) for i, a in enumerate(native.routine.arguments)]
        info = text.stack("lapack.info", integer)
        text.store(integer, "0", info)
        words = [f"ptr {place}" for place in (*passed, info)]
        words += ["i64 1" for a in native.routine.arguments if isinstance(a, Flag)]
        with _on_one_thread(text, native.routine.work, *threads):
            text.line(f"call void {address}({', '.join(words)})")
        call.convert_results()
        if native.routine.failure:
            found = text.emit(f"load {integer}, ptr {info}")
            text.return_if(text.emit(f"icmp ne {integer} {found}, 0"), str(native.site))


@contextmanager
def _on_one_thread(text: FunctionText, work: Size, get: str, set: str) -> Iterator[None]:
    """What is written inside of `with` runs on one thread of the library, if `work` is small."""
    if isinstance(work, int) and work >= SMALL:
        yield
        return
    found, one = text.stack("lapack.threads", "i32"), text.stack("lapack.one", "i64")
    text.store("i32", "0", found)
    text.store("i64", "1", one)
    small = text.emit(f"icmp ult i64 {text.size(work)}, {SMALL}")
    known = text.emit(f"icmp ne ptr {set}, null")
    asks = text.emit(f"and i1 {small}, {known}")
    text.choose(asks, lambda: text.store("i32", text.emit(f"call i32 {get}()"), found))
    several = text.emit(f"icmp sgt i32 {text.emit(f'load i32, ptr {found}')}, 1")
    text.choose(several, lambda: text.line(f"call void {set}(ptr {one})"))
    yield
    text.choose(several, lambda: text.line(f"call void {set}(ptr {found})"))


class _Call:
    """The arguments of one call: for the matrix with the given number, in row-major order of the
    batch."""

    def __init__(
        self, text: FunctionText, step: Host, native: Native, integer: str, number: str
    ) -> None:
        self.text, self.step, self.native, self.integer = text, step, native, integer
        self.indices = _indices(text, native.batch, number)
        self.converted: list[tuple[str, str, Size]] = []  # from, to, how many

    def argument(self, place: int, argument: Argument) -> str:
        """The address that is passed for the argument at `place`."""
        work = self.native.work[place]
        match argument:
            case Flag(letter=letter):
                return self._stored(place, "i8", str(ord(letter)))
            case Count(size=size) | Leading(size=size):
                return self._stored(place, self.integer, self._count(argument, size))
            case Operand(position=position):
                return self._operand_as_given(position, work)
            case Result(position=position, copy=copy):
                return self._result(position, copy, work)
            case Work(copy=copy):
                assert work is not None
                return self._begun(self.text.pointer(work), copy)

    def convert_results(self) -> None:
        """Widen the integers that the routine gave."""
        for source, target, count in self.converted:
            self._convert(source, self.integer, target, "i64", count)

    def _stored(self, place: int, kind: str, value: str) -> str:
        slot = self.text.stack(f"lapack.{kind}.{place}", kind)
        self.text.store(kind, value, slot)
        return slot

    def _count(self, argument: Count | Leading, size: Size) -> str:
        value = self.text.size(size)
        if isinstance(argument, Leading):
            value = self.text.emit(f"call i64 @llvm.smax.i64(i64 {value}, i64 1)")
        if self.integer == "i64":
            return value
        return self.text.emit(f"trunc i64 {value} to {self.integer}")

    def _operand_as_given(self, position: int, work: Ref | None) -> str:
        found = self._operand(position)
        if work is None or self.integer == "i64":
            return found
        narrow = self.text.pointer(work)
        self._convert(found, "i64", narrow, self.integer, self._size_of_operand(position))
        return narrow

    def _result(self, position: int, copy: int | None, work: Ref | None) -> str:
        type, own = self.step.node.types[position], self.native.routine.results[position]
        found = self._matrix(self.step.results[position], type, self.native.result_steps[position])
        if work is None or self.integer == "i64":
            return self._begun(found, copy)
        narrow = self.text.pointer(work)
        self.converted.append((narrow, found, matrix_size(type, own)))
        return narrow

    def _begun(self, target: str, copy: int | None) -> str:
        """`target`, which begins as a copy of an operand if `copy` says of which."""
        if copy is not None:
            itemsize = self.step.node.inputs[copy].dtype.itemsize
            size = self.text.size(self._size_of_operand(copy) * itemsize)
            self.text.line(
                f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {self._operand(copy)}, "
                f"i64 {size}, i1 false)"
            )
        return target

    def _operand(self, position: int) -> str:
        type = self.step.node.inputs[position].type
        steps = self.native.operand_steps[position]
        return self._matrix(self.step.operands[position], type, steps)

    def _size_of_operand(self, position: int) -> Size:
        type = self.step.node.inputs[position].type
        return matrix_size(type, self.native.routine.operands[position])

    def _matrix(self, ref: Ref, type: TensorType, steps: Sequence[Size]) -> str:
        """The address of this matrix of a tensor."""
        text, pointer = self.text, self.text.pointer(ref)
        for index, step in zip(self.indices, steps, strict=True):
            if step != 0:
                elements = text.emit(f"mul i64 {index}, {text.size(step)}")
                pointer = text.advance(pointer, type.dtype, elements)
        return pointer

    def _convert(self, source: str, kind: str, target: str, wanted: str, count: Size) -> None:
        text = self.text
        how = "trunc" if wanted != "i64" else "sext"
        with text.loop(text.size(count)) as i:
            place = text.emit(f"getelementptr {kind}, ptr {source}, i64 {i}")
            value = text.emit(f"load {kind}, ptr {place}")
            other = text.emit(f"{how} {kind} {value} to {wanted}")
            place = text.emit(f"getelementptr {wanted}, ptr {target}, i64 {i}")
            text.store(wanted, other, place)


def _indices(text: FunctionText, batch: Sequence[Size], number: str) -> list[str]:
    """The index along each axis of the batch."""
    found = []
    for axis in reversed(range(len(batch))):
        index = number
        if axis > 0:
            extent = text.size(batch[axis])
            index = text.emit(f"urem i64 {number}, {extent}")
            number = text.emit(f"udiv i64 {number}, {extent}")
        found.append(index)
    return found[::-1]
