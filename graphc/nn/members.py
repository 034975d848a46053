"""What belongs to a layer, and what it is called there.

Layers and variables that are attributes, also in lists, tuples and dicts, belong to it. A path is
the names from the model down: `net/block1/dense/kernel`. A name is the one that was given; else the
layer's kind; and where several of a kind are inside one layer, the attribute that holds each, with
a number in a list. Names that are still the same get a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Member(NamedTuple):
    """A value, the attribute that holds it, and its place among the values of that attribute."""

    value: Any
    attribute: str
    place: int | None


def members(attributes: Mapping[str, Any]) -> Iterator[Member]:
    """The values of attributes; those of lists, tuples and dicts one by one, to any depth."""
    for name, value in attributes.items():
        if isinstance(value, (list, tuple, dict)):
            for place, inner in enumerate(_inside(value), start=1):
                yield Member(inner, name, place)
        else:
            yield Member(value, name, None)


def _inside(container: Any) -> Iterator[Any]:
    for value in container.values() if isinstance(container, dict) else container:
        if isinstance(value, (list, tuple, dict)):
            yield from _inside(value)
        else:
            yield value


def of_kind(attributes: Mapping[str, Any], kind: type[T]) -> dict[T, Member]:
    """The members of a class, each once, in order."""
    found: dict[T, Member] = {}
    for member in members(attributes):
        if isinstance(member.value, kind):
            found.setdefault(member.value, member)
    return found


def by_attribute(name: str, alone: bool, member: Member) -> str:
    """What a member without a name of its own is called: its kind's `name` where it is `alone` of
    its kind, else the attribute that holds it.

    >>> by_attribute("dense", False, Member(None, "_blocks", 2))
    'blocks2'
    """
    attribute = member.attribute.strip("_")
    if alone or not attribute:
        return name
    return attribute if member.place is None else f"{attribute}{member.place}"


def numbered(kind: str, taken: set[str]) -> str:
    """The kind with the first number that is free, which is taken then.

    >>> taken = {"dense1"}
    >>> numbered("dense", taken), numbered("dense", taken)
    ('dense2', 'dense3')
    """
    number = 1
    while f"{kind}{number}" in taken:
        number += 1
    taken.add(f"{kind}{number}")
    return f"{kind}{number}"


def distinct(names: Collection[str]) -> list[str]:
    """The names, where one that was there before gets the next free number.

    >>> distinct(["a", "b", "a", "a2"])
    ['a', 'b', 'a3', 'a2']
    """
    counts, taken, found = Counter(names), set(names), list[str]()
    seen: set[str] = set()
    for name in names:
        new = name
        if counts[name] > 1 and name in seen:
            number = 2
            while f"{name}{number}" in taken:
                number += 1
            new = f"{name}{number}"
            taken.add(new)
        seen.add(name)
        found.append(new)
    return found
