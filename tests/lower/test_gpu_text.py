"""The text of launches for a card: what is known of it."""

import ast
import itertools

from graphc.lower.gpu_source import print_launches
from graphc.lower.launches import read_launches
from tests.lower.assembler import kernels_of
from tests.properties.launches import PROGRAMS


def _touched(source: str, names: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """Parameters of which elements are read, and written, by Python's syntax tree."""
    found: dict[type, set[str]] = {ast.Load: set(), ast.Store: set()}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Subscript(ast.Name(name), ctx=ctx):
                found[type(ctx)].add(name)
            case ast.AugAssign(ast.Subscript()):
                raise AssertionError(f"an element is read and written: {ast.unparse(node)}")
            case ast.Call(args=[ast.Name("failures"), *_]):
                found[ast.Store].add("failures")
    assert (found[ast.Load] | found[ast.Store]) <= set(names)
    return found[ast.Load], found[ast.Store]


def test_what_launches_read_and_write_is_known() -> None:
    kinds = set()
    for kernel in itertools.chain.from_iterable(kernels_of(program()) for program in PROGRAMS):
        launches = print_launches(kernel)
        for launch, kept in zip(
            launches.launches, read_launches(launches.facts()).launches, strict=True
        ):
            reads, writes = _touched(launch.source, launches.parameters)
            assert set(launch.reads) == set(kept.reads) == reads
            assert set(launch.writes) == set(kept.writes) == writes
            assert writes or launch.kind == "last"
            kinds.add(launch.kind)
    assert kinds >= {"map", "row", "column", "scatter", "fill", "plain", "finish", "last"}
