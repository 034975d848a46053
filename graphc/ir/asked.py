"""What in the user's program asks for the value of a tensor that has none, and what to write there.

Python's `if`, `while`, `and` and `range` take a value and cannot be given a function in its place.
Where they meet a tensor, an error is all that can be had; it says which construct of graphc does
what is meant. The frame tells the instruction, the instruction its place in the source, and the
source what stands there.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import islice
from types import FrameType

from graphc.ir.parsing import parse

NO_INT = (  # where nothing below is what asks for an int
    "use gc.take to index by a tensor; a size is a Python int, which gc.jit lets the function see, "
    "where an array's number is an operand"
)
_CONDITION = "gc.cond runs one of two functions, gc.where chooses elementwise"
_HINTS = {
    "while": "`while`: gc.while_loop(condition, step, carry) loops as long as a tensor says",
    "if": f"`if`: {_CONDITION}",
    "assert": "`assert`: compile with check= to look for NaN, or look at results",
    "and": "`and`: gc.logical_and, or &",
    "or": "`or`: gc.logical_or, or |",
    "not": "`not`: gc.logical_not, or ~",
    "a < b < c": "comparisons in a chain: gc.logical_and of two of them",
    "range": "`range`: gc.fori_loop(lower, upper, step, carry) counts up to a tensor or a size",
    "max": "`max`: gc.maximum of two, gc.max of the elements of one",
    "min": "`min`: gc.minimum of two, gc.min of the elements of one",
    "any": "`any`: gc.any",
    "all": "`all`: gc.all",
    "sorted": "`sorted`: no Python function that compares",
    "bool": '`bool`: .astype("bool")',
}
_Place = tuple[int, int, int, int]


def constructs(frame: FrameType, among: Collection[str] = tuple(_HINTS)) -> str:
    """What to write in place of what asks, in the line that a frame is at; "" where that is not
    found, or not `among` those looked for: there may be no source."""
    words = list(dict.fromkeys(_words(frame)))[::-1]
    return "; ".join(_HINTS[word] for word in words if word in among and word in _HINTS)


def _words(frame: FrameType) -> Iterator[str]:
    """The Python constructs around the place that a frame is at, the innermost first."""
    place = _place(frame)
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    if place is None or not lines:
        return
    tree = _tree("".join(lines))
    if tree is None:
        return
    path = _path(tree, place)
    for parent, child in zip(path[-2::-1], path[:0:-1], strict=True):
        yield from _word(parent, child)
        if isinstance(parent, (ast.stmt, ast.Lambda)):
            return


@lru_cache(maxsize=4)
def _tree(source: str) -> ast.AST | None:
    """A source that can be read; `gc.jit` may ask several times for one."""
    try:
        return parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _place(frame: FrameType) -> _Place | None:
    """First and last line and column of the instruction that a frame is at."""
    at = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), (None,) * 4)
    first, last, column, end = at
    if first is None or last is None or column is None or end is None:
        return None
    return first, last, column, end


def _path(tree: ast.AST, place: _Place) -> list[ast.AST]:
    """From the root to the smallest part that has all of a place."""
    path = [tree]
    while True:
        inside = [child for child in ast.iter_child_nodes(path[-1]) if _has(child, place)]
        if not inside:
            break
        path.append(inside[0])
    if isinstance(path[-1], (ast.If, ast.While)):  # the place of a jump in Python 3.11
        path.append(path[-1].test)
    if isinstance(path[-1], ast.UnaryOp):
        path.append(path[-1].operand)
    return path


def _has(node: ast.AST, place: _Place) -> bool:
    if isinstance(node, ast.comprehension):  # which has no place of its own
        return any(_has(child, place) for child in ast.iter_child_nodes(node))
    if not isinstance(node, (ast.expr, ast.stmt)):
        return any(_has(child, place) for child in ast.iter_child_nodes(node))
    end_line, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    first, last, column, stop = place
    return (node.lineno, node.col_offset) <= (first, column) and (last, stop) <= (end_line, end)


def _word(parent: ast.AST, child: ast.AST) -> Iterator[str]:
    """What asks for the value of `child`, a part of `parent`."""
    match parent:
        case ast.While(test=test) if test is child:
            yield "while"
        case ast.If(test=test) | ast.IfExp(test=test) if test is child:
            yield "if"
        case ast.Assert(test=test) if test is child:
            yield "assert"
        case ast.comprehension(ifs=tests) if child in tests:
            yield "if"
        case ast.BoolOp(op=op):
            yield "and" if isinstance(op, ast.And) else "or"
        case ast.UnaryOp(op=ast.Not()):
            yield "not"
    match child:
        case ast.Compare(ops=[_, _, *_]):
            yield "a < b < c"
        case ast.BoolOp(op=op):
            yield "and" if isinstance(op, ast.And) else "or"
        case ast.Call(func=ast.Name(id=name)):
            yield name
