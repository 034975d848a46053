"""Python's parser, for text that any thread may have to read at any time.

CPython 3.11, before 3.11.8, notes in one place for all threads how deep it is in the tree that it
builds, and raises SystemError ("AST constructor recursion depth mismatch") if it comes back at
another depth. Nothing runs while it builds one but the collector, which the tree's objects set off:
that calls Python, and so gives other threads their turn, and any of this may parse as well. So the
collector is paused here. A lock would keep graphc's threads apart, but not those of the user, nor
what the collector calls in this one.

Source: python/cpython#106905, whose later versions count for each tree by itself.
"""

from __future__ import annotations

import ast

from graphc.ir.collector import paused_collector


def parse(source: str) -> ast.Module:
    """The tree of a module. Errors: those of `ast.parse`.

    >>> ast.dump(parse("pass"))
    'Module(body=[Pass()], type_ignores=[])'
    """
    with paused_collector():
        return ast.parse(source)


def parse_expression(source: str) -> ast.expr:
    """The tree of one expression. Errors: those of `ast.parse`.

    >>> ast.dump(parse_expression("-x"))
    "UnaryOp(op=USub(), operand=Name(id='x', ctx=Load()))"
    """
    with paused_collector():
        return ast.parse(source, mode="eval").body
