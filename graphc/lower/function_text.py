"""The text of one LLVM function over a context: values, sizes, addresses, blocks and loops.

What depends on the context alone (its words, those of its table) is loaded in the prologue, once,
when it is first asked for; everything else is computed where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

from graphc.ir.dim import Call as DimCall
from graphc.ir.dim import Dim, Monomial, Size, is_nonnegative, names
from graphc.ir.dtype import DType, bool_
from graphc.lower.context import Layout
from graphc.lower.folding import folded
from graphc.lower.head import Head
from graphc.machines import LINE
from graphc.planning.program import Ref, Storage

Word: TypeAlias = tuple[str, str]  # a type of LLVM IR, and a value of it


class FunctionText:
    """A function that is being written. Its parameter is `%context`, and then come `parameters`.
    `counters`: the values of the counters of loops around it, by name. `fills`: it is the function
    that computes the table, so that it reads none of it.

    A `span` function computes a part of what threads may share, from `%first` up to `%last`. All
    else it is given in words of memory: `%context` is the first, the counters and `parameters`
    follow, so that these functions are all called in one way."""

    def __init__(
        self,
        layout: Layout,
        counters: Mapping[str, str] | None = None,
        parameters: Sequence[Word] = (),
        fills: bool = False,
        span: bool = False,
    ) -> None:
        self.layout = layout
        self.counters = dict(counters or {})
        self.parameters = parameters
        self.fills, self.span = fills, span
        self.alone = False  # whether it runs on one of several threads, so that it shares nothing
        self.shift = ""  # the bytes from the first thread's frame to the one that it works in
        self._prologue: list[str] = []
        self._body: list[str] = []
        self._count = 0
        self._sizes: dict[Size, str] = {}  # over the dims alone
        self._parts: dict[Any, str] = {}  # of the sizes in the table: calls, and multiples of them
        self._words: dict[int, str] = {}
        self._bases: dict[Storage, str] = {}
        self._stack: dict[str, tuple[str, int]] = {}
        self._block = "body"
        self._exits: list[str] = []  # behind the loops around that are left from inside
        self._early: dict[str, str] = {}  # what the prologue computes
        self._returns: dict[str, str] = {}  # by code, the block that ends the function with it

    def lines(self, name: str, linkage: str = "", first: str = "") -> list[str]:
        """The whole function, which returns 0 where nothing in it returned before; `first` is
        what it does before all else."""
        words: list[Word] = [("i64", value) for value in self.counters.values()]
        words += self.parameters
        loads: list[str] = []
        if self.span:
            head = "ptr %words, i64 %first, i64 %last"
            loads = unpacked([("ptr", "%context"), *words])
        else:
            head = ", ".join(["ptr noalias %context", *(f"{k} {v}" for k, v in words)])
        return [
            f"define {linkage}i32 @{name}({head}) #0 {{",
            "prologue:",
            *(_slot(slot, kind, n) for slot, (kind, n) in self._stack.items()),
            *loads,
            *([f"  {first}"] if first else []),
            *self._prologue,
            "  br label %body",
            "body:",
            *self._body,
            "  ret i32 0",
            *(f"{label}:\n  ret i32 {code}" for code, label in self._returns.items()),
            "}",
        ]

    # -- values ------------------------------------------------------------------------------------
    def line(self, text: str) -> None:
        """An instruction without a result."""
        self._body.append(f"  {text}")

    def emit(self, text: str, early: bool = False) -> str:
        """An instruction's result. `early`: in the prologue, once, since it depends on nothing
        later. None is printed whose result is known."""
        known = folded(text) or (self._early.get(text) if early else None)
        if known is not None:
            return known
        self._count += 1
        name = f"%v{self._count}"
        (self._prologue if early else self._body).append(f"  {name} = {text}")
        if early:
            self._early[text] = name
        return name

    def run(self, function: str, arguments: Sequence[Word]) -> None:
        """Calls a function of the module; what it returns is not looked at."""
        listed = ", ".join(f"{kind} {value}" for kind, value in arguments)
        self.line(f"call i32 @{function}({listed})")

    def stack(self, name: str, kind: str, count: int = 1) -> str:
        """Memory of the function's own: one place for a name, for the most elements asked for."""
        known = self._stack.get(name, (kind, 0))
        self._stack[name] = kind, max(count, known[1])
        return f"%{name}"

    def counter(self, name: str) -> str:
        """Memory for a number that is 0 when the function begins."""
        place = self.stack(name, "i64")
        self._prologue.append(f"  store i64 0, ptr {place}")
        return place

    def store(self, kind: str, value: str, place: str, index: int = 0) -> None:
        """`place[index] = value`."""
        if index:
            place = self.emit(f"getelementptr {kind}, ptr {place}, i64 {index}")
        self.line(f"store {kind} {value}, ptr {place}")

    def word(self, kind: str, index: int) -> str:
        """A word of the context."""
        if index not in self._words:
            place = self.emit(f"getelementptr i64, ptr %context, i64 {index}", early=True)
            self._words[index] = self.emit(f"load {kind}, ptr {place}", early=True)
        return self._words[index]

    # -- sizes -------------------------------------------------------------------------------------
    def size(self, size: Size) -> str:
        """A size as an i64 value; those without loop counters are in the table."""
        if isinstance(size, int):
            return str(size)
        if size in self._sizes:
            return self._sizes[size]
        if names(size) & self.counters.keys():
            return self._polynomial(size)
        is_computed = str(size) not in self.layout.dims and not self.fills
        self._sizes[size] = value = (
            self.word("i64", self.layout.entry(size)) if is_computed else self._polynomial(size)
        )
        return value

    def fill_table(self) -> None:
        """Compute all words of the table."""
        for what, word in list(self.layout.table.items()):
            place = self.emit(f"getelementptr i64, ptr %context, i64 {word}")
            if isinstance(what, Storage):
                self.store("ptr", self._base(what), place)
            else:
                self.store("i64", self.size(what), place)

    def _polynomial(self, size: Dim) -> str:
        total = "0"
        for monomial, coefficient in size.terms:
            term = self._once((monomial, coefficient), partial(self._term, monomial, coefficient))
            total = term if total == "0" else self.emit(f"add i64 {total}, {term}")
        return total

    def _once(self, part: Any, compute: Callable[[], str]) -> str:
        """The value of a part of sizes: the table's are computed one after the other, so that each
        can use what those before it computed."""
        if not self.fills:
            return compute()
        if part not in self._parts:
            self._parts[part] = compute()
        return self._parts[part]

    def _term(self, monomial: Monomial, coefficient: int) -> str:
        term = str(coefficient)
        for atom, power in monomial:
            value = self._once(atom, partial(self._atom, atom))
            for _ in range(power):
                term = value if term == "1" else self.emit(f"mul i64 {term}, {value}")
        return term

    def _atom(self, atom: str | DimCall) -> str:
        if isinstance(atom, str):
            counter = self.counters.get(atom)
            return counter if counter is not None else self.word("i64", self.layout.dims[atom])
        left, right = self.size(atom.left), self.size(atom.right)
        if atom.function in ("max", "min"):
            return self.emit(f"call i64 @llvm.s{atom.function}.i64(i64 {left}, i64 {right})")
        quotient = self._floor_divide(left, right, is_nonnegative(atom.left))
        if atom.function == "//":
            return quotient
        product = self.emit(f"mul i64 {quotient}, {right}")
        return self.emit(f"sub i64 {left}, {product}")

    def _floor_divide(self, left: str, right: str, is_positive: bool) -> str:
        """Rounds down; sizes divide by sizes > 0 (by 0 is taken as by 1, of an empty tensor)."""
        divisor = int(right) if right.isdecimal() else 0
        if divisor and divisor & (divisor - 1) == 0:
            return self.emit(f"ashr i64 {left}, {divisor.bit_length() - 1}")
        safe = self.emit(f"call i64 @llvm.smax.i64(i64 {right}, i64 1)")
        quotient = self.emit(f"sdiv i64 {left}, {safe}")
        if is_positive:
            return quotient
        rest = self.emit(f"srem i64 {left}, {safe}")
        negative = self.emit(f"icmp slt i64 {rest}, 0")
        correction = self.emit(f"sext i1 {negative} to i64")
        return self.emit(f"add i64 {quotient}, {correction}")

    # -- addresses ---------------------------------------------------------------------------------
    def pointer(self, ref: Ref) -> str:
        """The address of a place in memory."""
        base = self._base(ref.storage)
        return base if ref.offset == 0 else self.advance(base, ref.storage.dtype, ref.offset)

    def advance(self, pointer: str, dtype: DType, elements: Size | str) -> str:
        """An address some elements further (a size, or a value)."""
        count = elements if isinstance(elements, str) else self.size(elements)
        return self.emit(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {count}")

    def _base(self, storage: Storage) -> str:
        if storage not in self._bases:
            if storage.kind != "temp":
                place = self.word("ptr", self.layout.pointers[storage])
            elif self.fills:
                arena, offset = self.word("ptr", Head.ARENA), self.size(storage.offset)
                place = self.emit(f"getelementptr i8, ptr {arena}, i64 {offset}")
            else:
                place = self.word("ptr", self.layout.entry(storage))
                if storage.frame and self.shift not in ("", "0"):
                    moved = f"getelementptr i8, ptr {place}, i64 {self.shift}"
                    place = self.emit(moved, early=True)
            self._bases[storage] = place
        return self._bases[storage]

    # -- blocks ------------------------------------------------------------------------------------
    def _label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def _open(self, label: str) -> None:
        self._body.append(f"{label}:")
        self._block = label

    def return_if(self, failed: str, code: str) -> None:
        """Leave the function with `code`."""
        stop = self._returns.setdefault(code, f"return{len(self._returns)}")
        go = self._label()
        self.line(f"br i1 {failed}, label %{stop}, label %{go}")
        self._open(go)

    def choose(
        self, condition: str, yes: Callable[[], None], no: Callable[[], None] | None = None
    ) -> None:
        """Two branches, each written by a function; only one where it is known which."""
        if condition in ("true", "false"):
            chosen = yes if condition == "true" else no
            if chosen is not None:
                chosen()
            return
        first, end = self._label(), self._label()
        second = end if no is None else self._label()
        self.line(f"br i1 {condition}, label %{first}, label %{second}")
        for label, write in ((first, yes), (second, no)):
            if write is not None:
                self._open(label)
                write()
                self.line(f"br label %{end}")
        self._open(end)

    def switch(self, index: str, cases: Sequence[Callable[[], None]]) -> None:
        """Several branches, each written by a function; the last is for all higher indices too."""
        labels, end = [self._label() for _ in cases], self._label()
        table = " ".join(f"i64 {i}, label %{label}" for i, label in enumerate(labels[:-1]))
        self.line(f"switch i64 {index}, label %{labels[-1]} [{table}]")
        for label, write in zip(labels, cases, strict=True):
            self._open(label)
            write()
            self.line(f"br label %{end}")
        self._open(end)

    @contextmanager
    def endless_loop(self) -> Iterator[None]:
        """What is written inside runs until `leave_unless` ends it."""
        head, end = self._label(), self._label()
        self.line(f"br label %{head}")
        self._open(head)
        self._exits.append(end)
        yield
        self._exits.pop()
        self.line(f"br label %{head}")
        self._open(end)

    def leave_unless(self, condition: str) -> None:
        """End the innermost endless loop, unless the condition holds."""
        go_on = self._label()
        self.line(f"br i1 {condition}, label %{go_on}, label %{self._exits[-1]}")
        self._open(go_on)

    @contextmanager
    def loop(self, extent: str, start: str = "0", step: str = "1") -> Iterator[str]:
        """What is written inside runs for each start <= counter < extent."""
        numbers = (start, extent, step)
        if all(n.isdecimal() for n in numbers) and int(start) < int(extent) <= int(start) + int(
            step
        ):
            yield start
            return
        before, head, inside, end = self._block, self._label(), self._label(), self._label()
        self.line(f"br label %{head}")
        self._open(head)
        self._count += 1
        counter = f"%v{self._count}"
        place = len(self._body)
        self._body.append("")  # the phi, once the block that jumps back is known
        more = self.emit(f"icmp slt i64 {counter}, {extent}")
        self.line(f"br i1 {more}, label %{inside}, label %{end}")
        self._open(inside)
        yield counter
        following = self.emit(f"add i64 {counter}, {step}")
        self._body[place] = (
            f"  {counter} = phi i64 [ {start}, %{before} ], [ {following}, %{self._block} ]"
        )
        self.line(f"br label %{head}")
        self._open(end)


def _slot(name: str, kind: str, count: int) -> str:
    """Memory on the stack; what holds matrices begins with a line of the cache."""
    return f"  %{name} = alloca {kind}, i64 {count}" + (f", align {LINE}" if count > LINE else "")


def unpacked(words: Sequence[Word]) -> list[str]:
    """Lines that load values from the words of memory at `%words`, one behind the other."""
    lines = []
    for i, (kind, value) in enumerate(words):
        lines.append(f"  {value}.at = getelementptr i64, ptr %words, i64 {i}")
        lines.append(f"  {value} = load {kind}, ptr {value}.at")
    return lines


def memory_type(dtype: DType) -> str:
    """How LLVM calls an element in memory."""
    if dtype is bool_:
        return "i8"
    if dtype.is_float:
        return "float" if dtype.bits == 32 else "double"
    return f"i{dtype.bits}"
