"""Nested structures: what functions take and give is tensors in tuples, lists, dicts, namedtuples
and dataclasses, in any of each other; None is a structure without leaves.

A tree is taken apart into its leaves and its structure, a value that can be compared, hashed and
pickled, and is put together again with other leaves. Whatever is no container is a leaf. A field of
a dataclass is part of the structure, and its value no leaf, where the dataclass says so as those of
JAX do: `field(metadata={"static": True})`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from graphc.errors import ArgumentError, GraphcError

LEAF: Final = "*"
_LEAVES: Final = frozenset((np.ndarray, bool, int, float, complex, str))  # known without a look
Structure: TypeAlias = "Inner | str | None"


class Inner(NamedTuple):
    """A container: its class, the names of its parts (empty where they have numbers), the parts."""

    kind: type
    keys: tuple[Any, ...]
    parts: tuple[Structure, ...]
    static: tuple[Any, ...] = ()  # the values of a dataclass's fields after those of `keys`


class _Keys(tuple[Any, ...]):
    """The keys of a dict, sorted; `order`, which no comparison sees, has them as the dict had."""

    order: tuple[Any, ...]


# -- apart and together ----------------------------------------------------------------------------
def flatten(tree: Any, *, sort: bool = True) -> tuple[list[Any], Structure]:
    """The leaves of `tree` in order, and what puts them together again.

    The leaves of a dict are in the order of its sorted keys, so that dicts with the same keys have
    theirs in one order and are of one structure; as they come where it says `sort=False`, for
    results that are compared with none.

    >>> leaves, structure = flatten({"b": (1, None), "a": 2})
    >>> leaves, unflatten(structure, "xy")
    ([2, 1], {'b': ('y', None), 'a': 'x'})
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, sort)


def _flatten(tree: Any, leaves: list[Any], sort: bool) -> Structure:
    if tree is None:
        return None
    kind = type(tree)
    if kind in _LEAVES:
        leaves.append(tree)
        return LEAF
    if kind is tuple or kind is list:
        return Inner(kind, (), tuple([_flatten(part, leaves, sort) for part in tree]))
    if isinstance(tree, (tuple, list)):
        keys = getattr(kind, "_fields", ())
        if not keys:
            kind = tuple if isinstance(tree, tuple) else list
        return Inner(kind, keys, tuple([_flatten(part, leaves, sort) for part in tree]))
    if kind is dict or isinstance(tree, Mapping):
        keys = _Keys(sorted(tree, key=repr) if sort else tree)
        keys.order = tuple(tree)
        return Inner(dict, keys, tuple([_flatten(tree[key], leaves, sort) for key in keys]))
    if dataclasses.is_dataclass(kind):
        static, keys = _fields(kind)
        parts = tuple([_flatten(getattr(tree, key), leaves, sort) for key in keys])
        return Inner(kind, keys, parts, tuple([getattr(tree, name) for name in static]))
    leaves.append(tree)
    return LEAF


def _fields(kind: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a dataclass's fields: those that are part of the structure, and the others."""
    found: tuple[list[str], list[str]] = [], []
    for field in dataclasses.fields(kind):
        found[not field.metadata.get("static", False)].append(field.name)
    return tuple(found[0]), tuple(found[1])


def unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """The tree of a structure with these leaves.

    A dataclass is made without a call of its `__init__`, which may refuse what the leaves are while
    a function is traced.

    >>> unflatten(flatten((0, [0]))[1], "ab")
    ('a', ['b'])
    """
    return _together(structure, iter(leaves))


def _together(structure: Structure, leaves: Iterator[Any]) -> Any:
    if structure is None:
        return None
    if not isinstance(structure, Inner):
        return next(leaves)
    kind: Any = structure.kind
    parts = [next(leaves) if p == LEAF else _together(p, leaves) for p in structure.parts]
    if kind is list:
        return parts
    if kind is dict:
        found = dict(zip(structure.keys, parts, strict=True))
        return {key: found[key] for key in getattr(structure.keys, "order", found)}
    if issubclass(kind, tuple):
        return tuple.__new__(kind, parts)
    made = object.__new__(kind)
    fields = zip((*structure.keys, *_fields(kind)[0]), (*parts, *structure.static), strict=True)
    for name, value in fields:
        object.__setattr__(made, name, value)  # it may be frozen
    return made


def flatten_like(op: str, what: str, root: str, structure: Structure, tree: Any) -> list[Any]:
    """What stands in `tree`, of the name `root`, at the leaves of `structure`: anything. A list may
    stand for a tuple. Errors: `ArgumentError`, as `same_structure`, where it is built otherwise.

    >>> flatten_like("vjp", "the cotangent", "g", flatten({"a": 0, "b": 0})[1], {"a": [1], "b": 2})
    [[1], 2]
    """
    found: list[Any] = []
    if not _take_apart(structure, tree, found):
        same_structure(op, what, root, structure, flatten(tree)[1])
    return found


def _take_apart(structure: Structure, tree: Any, found: list[Any]) -> bool:
    """Whether `tree` is built as `structure`; `found` gets what stands at the leaves."""
    if structure is None:
        return tree is None
    if not isinstance(structure, Inner):
        found.append(tree)
        return True
    kind, keys = structure.kind, structure.keys
    if kind is dict:
        parts = [tree[k] for k in keys] if _is_mapping_of(keys, tree) else None
    elif keys or not issubclass(kind, (list, tuple)):
        parts = [getattr(tree, k) for k in keys] if type(tree) is kind else None
    else:
        parts = list(tree) if isinstance(tree, (list, tuple)) else None
    if parts is None or len(parts) != len(structure.parts):
        return False
    return all(_take_apart(s, part, found) for s, part in zip(structure.parts, parts, strict=True))


def _is_mapping_of(keys: tuple[Any, ...], tree: Any) -> bool:
    return isinstance(tree, Mapping) and set(keys) == set(tree)


# -- names of leaves, and differences --------------------------------------------------------------
def paths(structure: Structure, root: str) -> list[str]:
    """How each leaf is written, from the name of the tree on.

    >>> paths(flatten({"loss": [0.5, 1.5]})[1], "outputs")
    ["outputs['loss'][0]", "outputs['loss'][1]"]
    """
    if isinstance(structure, Inner):
        parts = zip(steps(structure), structure.parts, strict=True)
        return [path for step, part in parts for path in paths(part, root + step)]
    return [] if structure is None else [root]


def steps(structure: Inner) -> list[str]:
    """How each part is written behind the container."""
    if structure.kind is dict:
        return [f"[{key!r}]" for key in structure.keys]
    if structure.keys:
        return [f".{key}" for key in structure.keys]
    return [f"[{i}]" for i in range(len(structure.parts))]


def at_leaf(error: GraphcError, structure: Structure, leaf: int, root: str) -> GraphcError:
    """`error` again, with how the leaf that it is about is written before its message; but where
    that is a mere word for the whole."""
    path = paths(structure, root)[leaf]
    message = error.message if path.isidentifier() else f"{path}: {error.message}"
    return type(error)(
        message,
        op=error.op,
        expected=error.expected,
        given=error.given,
        where=error.where,
        hint=error.hint,
    )


def same_structure(
    op: str, what: str, root: str, expected: Structure, given: Structure
) -> None:
    """Errors: `ArgumentError` that says that `what`, a tree of the name `root`, has another
    structure than expected, and names the first part that differs."""
    if expected == given:
        return
    path = root
    while (
        isinstance(expected, Inner)
        and isinstance(given, Inner)
        and expected._replace(parts=given.parts) == given
        and len(expected.parts) == len(given.parts)
    ):
        parts = zip(steps(expected), expected.parts, given.parts, strict=True)
        step, expected, given = next(part for part in parts if part[1] != part[2])
        path += step
    raise ArgumentError(
        f"{what} has another structure" + (f", at {path}" if path != root else ""),
        op=op,
        expected=show(expected),
        given=show(given),
    )


def show(structure: Structure) -> str:
    """A structure as the tree would be written, with the word tensor for each leaf."""
    text = repr(unflatten(structure, repeat(_Leaf())))
    return text if len(text) <= 200 else f"{text[:197]}..."


class _Leaf:
    def __repr__(self) -> str:
        return "tensor"
