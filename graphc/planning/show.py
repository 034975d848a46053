"""Programs as text, for dumps, goldens and explanations; and rows of text in columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from graphc.planning.program import (
    Blocks,
    Branch,
    Call,
    Copy,
    Epilogue,
    Examples,
    Gemm,
    Host,
    Leave,
    Loop,
    Matrix,
    Native,
    Passes,
    Program,
    Ref,
    Step,
    Storage,
)


def columns(rows: Sequence[Sequence[str]], numbers: Collection[int] = ()) -> list[str]:
    """A line for each row, its cells below each other; the columns `numbers` end at one place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def print_program(program: Program) -> str:
    """The steps in order, then where the temporaries are."""
    frame = "" if program.frame == 0 else f" frame={program.frame}"
    lines = [f"program {program.graph.name} arena={program.arena}{frame} {{"]
    names = {s: f"t{i}" for i, s in enumerate(program.temps)}
    _print_steps(program.steps, 1, names, lines)
    lines.append("}")
    for storage, name in names.items():
        frame = " in a frame" if storage.frame else ""
        lines.append(f"{name}: {storage.dtype}[{storage.size}] at {storage.offset}{frame}")
    return "\n".join(lines) + "\n"


def _print_steps(
    steps: Sequence[Step], depth: int, names: dict[Storage, str], lines: list[str]
) -> None:
    def ref(r: Ref) -> str:
        place = names.get(r.storage, f"{r.storage.kind}{r.storage.index}")
        return place if r.offset == 0 else f"{place}[{r.offset}:]"

    def matrix(m: Matrix) -> str:
        return ref(m.ref) + ("ᵀ" if m.transposed else "")

    def add(text: str) -> None:
        lines.append("  " * depth + text)

    for step in steps:
        match step:
            case Call():
                sizes = ", ".join(map(str, step.sizes))
                spared = "  unless it is done" if step.spared else ""
                buffers = ", ".join(map(ref, step.buffers))
                add(f"{step.name or 'kernel'}({buffers}; {sizes}){spared}")
            case Gemm():
                batch = "".join(f" for {b}" for b in step.batch)
                batch += "".join(f" over {t}" for t in step.taps)
                product = f"{matrix(step.a)} @ {matrix(step.b)}"
                if step.epilogue is not None:
                    product = _with_epilogue(product, step.epilogue, ref)
                add(f"{matrix(step.c)} = {product} [{step.m}, {step.k}, {step.n}]{batch}")
            case Blocks():
                order = "matrix by matrix:" if step.product.batch else "in blocks of rows:"
                add("by columns, then by rows:" if step.product.by_columns else order)
                _print_steps((step.product, step.call), depth + 1, names, lines)
            case Copy():
                add(f"{ref(step.target)} = copy {ref(step.source)} [{step.size}]")
            case Host():
                results = ", ".join(map(ref, step.results))
                operands = ", ".join(map(ref, step.operands))
                own = f" or {_names(step.native)}" if step.native else ""
                add(f"{results} = host {step.node.op.name}{own}({operands})")
            case Loop():
                rows = "" if step.rows is None else f", each of {step.rows} rows by itself"
                head = "loop" if step.extent is None else f"for {step.counter} in {step.extent}"
                add(f"{head}{rows}:")
                _print_steps(step.body, depth + 1, names, lines)
            case Examples():
                add(f"for {step.counter} in {step.extent} examples:")
                _print_steps(step.body, depth + 1, names, lines)
            case Leave():
                add(f"leave unless {ref(step.condition)}")
            case Branch():
                for word, side in step.cases():
                    add(f"{word.format(ref(step.selector))}:")
                    _print_steps(side, depth + 1, names, lines)


def _names(native: Native | Passes) -> str:
    if isinstance(native, Native):
        return native.routine.name
    return ", then ".join(f"{' or '.join(p.ufuncs)} along {p.axis}" for p in native.loops)


def _with_epilogue(product: str, epilogue: Epilogue, ref: Callable[[Ref], str]) -> str:
    scaled = product if epilogue.scale == 1 else f"{epilogue.scale} * {product}"
    terms = [scaled, *(ref(r) for r in (epilogue.added, epilogue.row) if r is not None)]
    found = f"max({' + '.join(terms)}, 0)" if epilogue.positive else " + ".join(terms)
    if epilogue.keeps is not None:
        found += f", where it is positive in {ref(epilogue.keeps)}"
    if epilogue.masked is not None:
        found += f", 0 but where {ref(epilogue.masked)}"
    if epilogue.sums is not None:
        found += f", sums of columns in {ref(epilogue.sums)}"
    return found
