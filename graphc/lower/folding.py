"""Instructions of LLVM IR whose results are known when they are printed: they need not be there.

The driver is translated as it stands, so what its text computes of constants a call would compute.
"""

from __future__ import annotations

import operator
import re

_OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "and": operator.and_,
    "or": operator.or_,
    "icmp eq": operator.eq,
    "icmp ne": operator.ne,
    "icmp slt": operator.lt,
    "icmp sle": operator.le,
    "icmp sgt": operator.gt,
    "icmp sge": operator.ge,
}
_PLAIN = re.compile(rf"({'|'.join(_OPERATORS)}) (i64|i1) ([^ ,]+), ([^ ,]+)")
_EXTREMUM = re.compile(r"call i64 @llvm\.s(min|max)\.i64\(i64 ([^ ,]+), i64 ([^ ,]+)\)")
_WORDS = {"true": 1, "false": 0}


def folded(text: str) -> str | None:
    """What an instruction gives, a constant or one of its operands; None if it has to run."""
    if found := _PLAIN.fullmatch(text):
        name, kind, left, right = found.groups()
        a, b = _number(left), _number(right)
        if a is not None and b is not None:
            return _constant(_OPERATORS[name](a, b), "i1" if name.startswith("icmp") else kind)
        if name == "sub":
            return left if b == 0 else None
        for known, other in ((a, right), (b, left)):
            if known is not None and (same := _with(name, kind, known, other)):
                return same
    elif found := _EXTREMUM.fullmatch(text):
        a, b = _number(found[2]), _number(found[3])
        if a is not None and b is not None:
            return str(min(a, b) if found[1] == "min" else max(a, b))
    return None


def _with(name: str, kind: str, known: int, other: str) -> str | None:
    """An operation, of which the order is the same, with a number that leaves nothing to do."""
    if known == {"add": 0, "mul": 1, "or": 0, "and": 1 if kind == "i1" else -1}.get(name):
        return other
    if known == 0 and name in ("mul", "and"):
        return _constant(0, kind)
    if kind == "i1" and (name, known) == ("or", 1):
        return "true"
    return None


def _number(value: str) -> int | None:
    if value in _WORDS:
        return _WORDS[value]
    return int(value) if value.lstrip("-").isdecimal() else None


def _constant(value: int, kind: str) -> str | None:
    if kind == "i1":
        return "true" if value else "false"
    return str(value) if -(1 << 63) <= value < 1 << 63 else None
