"""How the variables of layers lie in the states of PyTorch and Keras, and finding them there.

Each layer says by `layout` what its variables are called there and how they lie: as entries, each
of some variables of ours and some arrays of theirs, with a function either way. The layers of a
model are found in a state by their paths, where all of them are there; else in order, each at the
next place that has the names of its kind, so that what two libraries call a layer does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.node import Variable
from graphc.ir.shape import show

Array: TypeAlias = np.ndarray[Any, Any]
Way: TypeAlias = Callable[..., Sequence[Array]]


class Entry(NamedTuple):
    """Variables of a layer, by their names in it; the names of the arrays that they are there; and
    the functions from these to those and back. What is `optional` may be missing: it is 0 then."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    read: Way
    write: Way
    optional: bool = False


def same(ours: str, theirs: str = "", *, optional: bool = False) -> Entry:
    """The same array, by another name.

    >>> same("gamma", "weight").theirs
    ('weight',)
    """
    return Entry((ours,), (theirs or ours,), _each(np.asarray), _each(np.asarray), optional)


def permuted(ours: str, theirs: str, axes: Sequence[int]) -> Entry:
    """An array whose axis i is axis `axes[i]` of theirs.

    >>> permuted("kernel", "weight", (1, 0)).read(np.ones((2, 3)))[0].shape
    (3, 2)
    """
    back = tuple(int(i) for i in np.argsort(axes))
    read, write = _each(lambda a: a.transpose(axes)), _each(lambda a: a.transpose(back))
    return Entry((ours,), (theirs,), read, write)


def reshaped(ours: str, theirs: str, shape: Sequence[int], there: Sequence[int]) -> Entry:
    """The same elements, of `shape` here and of the shape `there`."""
    read, write = _each(lambda a: a.reshape(shape)), _each(lambda a: a.reshape(there))
    return Entry((ours,), (theirs,), read, write)


def blocks(entry: Entry, order: Sequence[int], negated: Sequence[int] = ()) -> Entry:
    """`entry` where the blocks of the last axis of ours are theirs in another order: block i is
    theirs of number `order[i]`, and those of `negated` have the other sign."""
    back = [int(i) for i in np.argsort(order)]

    def signed(parts: list[Array]) -> list[Array]:
        return [-part if i in negated else part for i, part in enumerate(parts)]

    def cut(a: Array) -> list[Array]:
        return np.split(a, len(order), axis=-1)

    def here(a: Array) -> Array:
        parts = cut(a)
        return np.concatenate(signed([parts[i] for i in order]), axis=-1)

    def there(a: Array) -> Array:
        parts = signed(cut(a))
        return np.concatenate([parts[i] for i in back], axis=-1)

    return entry._replace(
        read=lambda *arrays: [here(a) for a in entry.read(*arrays)],
        write=lambda *arrays: entry.write(*(there(a) for a in arrays)),
    )


def inside(entries: Iterable[Entry], ours: str, theirs: str) -> list[Entry]:
    """The entries of a layer inside another one, whose names begin with these."""
    return [
        e._replace(ours=tuple(ours + n for n in e.ours), theirs=tuple(theirs + n for n in e.theirs))
        for e in entries
    ]


def _each(function: Callable[[Any], Any]) -> Way:
    return lambda *arrays: [function(a) for a in arrays]


# -- the layers of a model -------------------------------------------------------------------------
class _Library(NamedTuple):
    """What separates the parts of a path, and the names of what has no counterpart here."""

    separator: str
    ignored: tuple[str, ...]


LIBRARIES = {
    "torch": _Library(".", ("num_batches_tracked",)),
    "keras": _Library("/", ("seed_generator_state",)),
}


class _Unit(NamedTuple):
    """A layer with variables of its own: its path inside the model, its entries, and the path of
    each variable by its name in the layer."""

    path: str
    entries: list[Entry]
    paths: dict[str, str]

    @property
    def names(self) -> list[str]:
        return [name for e in self.entries for name in e.theirs]

    @property
    def needed(self) -> list[str]:
        return [name for e in self.entries if not e.optional for name in e.theirs]

    def __str__(self) -> str:
        return f"{self.path or 'the model'} ({', '.join(self.names)})"


class _Place(NamedTuple):
    """Where a layer is in a state: what its names have before and behind them."""

    prefix: str
    suffix: str

    def of(self, names: Iterable[str]) -> list[str]:
        """What these names of the layer are in the state."""
        return [f"{self.prefix}{name}{self.suffix}" for name in names]


def _units(model: Any, library: str) -> list[_Unit]:
    """The layers that have variables, in order. What an outer layer has entries of is not an inner
    one's too."""
    paths = {v: path for path, v in model.paths().items()}
    known: dict[str, str] = {}
    for layer, path in model.layer_paths().items():
        known |= {f"{path}/{name}": paths[v] for v, name in layer._own_names().items()}
    units, taken = [], set[str]()
    for layer, path in model.layer_paths().items():
        start = f"{path}/"
        there = {n.removeprefix(start): p for n, p in known.items() if n.startswith(start)}
        entries = [
            e for e in type(layer).layout(layer, library)  # an attribute may be called so
            if all(n in there and there[n] not in taken for n in e.ours)
        ]  # fmt: skip
        taken |= {there[n] for e in entries for n in e.ours}
        if entries:
            units.append(_Unit(path.partition("/")[2], entries, there))
    return units


# -- finding them ----------------------------------------------------------------------------------
_OF_A_STACK = r"_l\d+(?:_reverse)?"  # which layer of a stack of torch's, and from which end


@lru_cache(maxsize=4096)
def _pattern(name: str, separator: str) -> re.Pattern[str]:
    """A relative name at its end: below a path, and of one layer of a stack of torch's."""
    return re.compile(rf"((?:.*{re.escape(separator)})?){re.escape(name)}({_OF_A_STACK})?")


class _Names:
    """The names of a state that no layer has taken, and which are right beside each other."""

    def __init__(self, names: Iterable[str], separator: str) -> None:
        self.left = dict.fromkeys(names)
        self.separator = separator
        self._beside: dict[_Place, list[str]] = {}
        for name in self.left:
            prefix = name[: name.rfind(separator) + 1]
            stacked = re.search(f"{_OF_A_STACK}$", name[len(prefix) :])
            self._beside.setdefault(_Place(prefix, stacked[0] if stacked else ""), []).append(name)

    def place(self, unit: _Unit, name: str) -> _Place | None:
        """Where a layer is, if `name` is one of its: all that it needs is there, and nothing else
        is right beside it."""
        for own in unit.names:
            found = _pattern(own, self.separator).fullmatch(name)
            if found is None:
                continue
            place = _Place(found[1], found[2] or "")
            beside = {n for n in self._beside.get(place, ()) if n in self.left}
            if all(n in self.left for n in place.of(unit.needed)) and beside <= {
                *place.of(unit.names)
            }:
                return place
        return None

    def by_path(self, unit: _Unit) -> _Place | None:
        """Where a layer is whose path is in the state too, perhaps below that of a model."""
        path = self.separator + unit.path.replace("/", self.separator) + self.separator
        inside = [n for n in self.left if path in self.separator + n]
        places = {place for n in inside if (place := self.place(unit, n)) is not None}
        same = [p for p in places if f"{self.separator}{p.prefix}".endswith(path)]
        return same[0] if len(same) == 1 else None

    def next(self, unit: _Unit) -> _Place | None:
        """The next place where a layer may be; what was before it is left out."""
        for i, name in enumerate(self.left):
            place = self.place(unit, name)
            if place is not None:
                taken = {*place.of(unit.names)}
                self.left = dict.fromkeys(n for n in [*self.left][i:] if n not in taken)
                return place
        return None


def _found(units: Sequence[_Unit], names: Sequence[str], separator: str) -> dict[str, _Place]:
    """The place of each layer that is there, by its path: by the paths, if all of them are there,
    else in order."""
    state = _Names(names, separator)
    way = state.by_path if all(map(state.by_path, units)) else state.next
    found = {unit.path: way(unit) for unit in units}
    return {path: place for path, place in found.items() if place is not None}


# -- in and out ------------------------------------------------------------------------------------
def translated(model: Any, arrays: Mapping[str, Array], library: str) -> dict[str, Array]:
    """Another library's state by our paths; what no layer takes has the name that it came with.

    Errors: `ArgumentError` for another library, and an array that does not fit its layer.
    """
    kind = _library(library)
    kept = {n: a for n, a in arrays.items() if not n.endswith(kind.ignored)}
    units = _units(model, library)
    places = _found(units, list(kept), kind.separator)
    variables = model.paths()
    found: dict[str, Array] = {}
    for unit in units:
        if unit.path not in places:
            continue
        for entry in unit.entries:
            names = places[unit.path].of(entry.theirs)
            given = [kept.pop(n) for n in names if n in kept]
            ours = [unit.paths[n] for n in entry.ours]
            made = _read(entry, names, given, [variables[path] for path in ours])
            found |= dict(zip(ours, made, strict=True))
    return found | {n if n not in variables else f"{n} of {library}": a for n, a in kept.items()}


def _read(
    entry: Entry, names: Sequence[str], given: Sequence[Array], variables: Sequence[Variable]
) -> Sequence[Array]:
    if not given:
        return [np.zeros(v.value.shape, v.dtype.numpy) for v in variables]
    try:
        return entry.read(*given)
    except (ValueError, IndexError, TypeError) as error:
        raise ArgumentError(
            "an array does not fit its layer",
            op="load_state_dict",
            expected=", ".join(f"{v.name}: {show(v.shape)}" for v in variables),
            given=", ".join(f"{n}: {show(a.shape)}" for n, a in zip(names, given, strict=False)),
            where=origin.where(),
        ) from error


def written(model: Any, library: str, like: Any) -> dict[str, Array]:
    """The variables of a model as a state of another library, which is `like` this one.

    Errors: `ArgumentError` for another library, a model that is another one, and what is no state.
    """
    kind = _library(library)
    if not isinstance(like, Mapping):
        raise ArgumentError(
            "the names are those of a state", op="state_dict", expected=f"a state of {library}",
            given=repr(like)[:80], where=origin.where(),
            hint=f'state_dict(layout="{library}", like=the state of that model)',
        )  # fmt: skip
    names = [n for n in like if not str(n).endswith(kind.ignored)]
    units, ours = _units(model, library), model.paths()
    places = _found(units, names, kind.separator)
    made: dict[str, Array] = {}
    lost = [f"{u}" for u in units if u.path not in places]
    for unit in units:
        if unit.path in places:
            for entry in unit.entries:
                given = [np.array(ours[unit.paths[n]].value) for n in entry.ours]
                theirs = places[unit.path].of(entry.theirs)
                whole = dict(zip(theirs, entry.write(*given), strict=True))
                made |= {n: a for n, a in whole.items() if n in like}
                lost += [n for n, a in whole.items() if n not in like and a.any()]
    unknown = [str(n) for n in names if n not in made]
    if lost or unknown:
        raise ArgumentError(
            "the state is of another model", op="state_dict",
            expected=_listed([str(u) for u in units]),
            given="; ".join(
                f"{what}: {_listed(found)}"
                for what, found in (("without a place", lost), ("of no layer", unknown)) if found
            ),
            where=origin.where(),
        )  # fmt: skip
    return {n: np.ascontiguousarray(made[n]) if n in made else np.array(like[n]) for n in like}


def _library(name: str) -> _Library:
    if name not in LIBRARIES:
        raise ArgumentError(
            "an unknown layout", op="state_dict", expected="None, 'torch' or 'keras'",
            given=repr(name)[:80], where=origin.where(),
        )  # fmt: skip
    return LIBRARIES[name]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
