"""A model's variables by their paths: as arrays, and as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphc.errors import ArgumentError, FileError, GraphcError
from graphc.ir import origin
from graphc.ir.given import fitting_array
from graphc.ir.node import Variable
from graphc.ir.shape import show
from graphc.keywords import Answering
from graphc.nn import safetensors
from graphc.nn.layouts import translated, written

Array: TypeAlias = np.ndarray[Any, Any]
Shapes: TypeAlias = Mapping[str, tuple[Any, ...]]


class Saved(Answering):
    """What a layer can do with all of its variables, which `paths()` gives by their paths."""

    name: str

    def paths(self) -> dict[str, Variable]:
        raise NotImplementedError

    def _random_keys(self) -> set[Variable]:
        raise NotImplementedError

    def state_dict(self, *, layout: str | None = None, like: Any = None) -> dict[str, Array]:
        """A copy of the value of every variable, trainable or not, by its path.

        With `layout="torch"` or `"keras"` it is a state of that library, with the names of `like`,
        a state of such a model, from which comes what has no counterpart here.
        Errors: `ArgumentError` for a layer that has none yet, and a state of another model.
        """
        if layout is not None:
            return written(self, layout, like)
        return {path: np.array(v.value) for path, v in self.paths().items()}

    def load_state_dict(
        self,
        arrays: Mapping[str, Any],
        strict: bool = True,
        *,
        layout: str | None = None,
        skip_mismatch: bool = False,
    ) -> None:
        """Assign arrays to variables by their paths: all of them, or none where one does not fit.

        The model's own name does not count: where no path is there as it is, those below another
        name are read, of a model of that name, or of a part of one. With `layout="torch"` or
        `"keras"` the arrays are those of a model of that library of like layers in the same order,
        `{w.path: w.numpy() for w in model.weights}` of Keras. Random keys stay as they are. Without
        `strict` paths may be missing on either side; with `skip_mismatch` what has another shape
        is left out.
        Errors: `ArgumentError` that names all paths that are missing, unknown, or of another shape,
        or where nothing fits.

        >>> import graphc as gc
        >>> head = gc.nn.Dense(2, name="head").init(("n", 3))
        >>> head.load_state_dict({"weight": np.ones((2, 3)), "bias": np.zeros(2)}, layout="torch")
        >>> head.kernel.value.sum()
        np.float32(6.0)
        """
        fit = Fit(ArgumentError, "load_state_dict", strict, skip_mismatch)
        self._load(fit, _arrays(arrays), layout)

    def _load(self, fit: Fit, given: Mapping[str, Array], layout: str | None) -> None:
        known = self.paths()
        needed = dict(known)
        if layout is not None:
            given, keys = translated(self, given, layout), self._random_keys()
            needed = {path: v for path, v in known.items() if v not in keys}
        shapes = {path: array.shape for path, array in given.items()}
        assign(fit.checked(below(needed, self.name, shapes), shapes), given)

    def save_weights(self, path: Any) -> None:
        """Write every variable by its path, in the safetensors format: a file beside `path` that is
        synced and renamed, so that `path` is the old file or all of the new.

        Errors: as `state_dict`; `OSError` of the disk.
        """
        safetensors.write(path, self.state_dict(), {"format": "graphc weights 1"})

    def load_weights(
        self,
        path: Any,
        strict: bool = True,
        *,
        layout: str | None = None,
        skip_mismatch: bool = False,
    ) -> None:
        """Assign what `save_weights` wrote, or any safetensors file of these paths and shapes, or
        of a model of PyTorch's or Keras's with a `layout`; all is as `load_state_dict` has it.

        Errors: `FileError` for what is no such file, or names all paths that are missing, unknown,
        or of another shape; the variables are then as they were.
        """
        known = self.paths()
        fit = Fit(FileError, str(path), strict, skip_mismatch)
        with safetensors.TensorFile(path) as file:
            if layout is None:
                shapes = {name: entry.shape for name, entry in file.entries.items()}
                found = fit.checked(below(known, self.name, shapes), shapes)
                assign(found, {name: file.read(name) for name in found})
            else:
                self._load(fit, {name: file.read(name) for name in file.entries}, layout)


class Fit(NamedTuple):
    """How closely a state has to fit: the error if it does not, and what may be left out."""

    kind: type[GraphcError]
    op: str
    strict: bool
    skip_mismatch: bool

    def checked(self, known: Mapping[str, Variable], given: Shapes) -> dict[str, Variable]:
        """The variables that are assigned, by their paths in the state. Errors: as `check_fit`, and
        where nothing of the state fits."""
        if self.skip_mismatch:
            other = {path for path, v in known.items() if given.get(path, v.shape) != v.shape}
            known = {path: v for path, v in known.items() if path not in other}
            given = {path: shape for path, shape in given.items() if path not in other}
        check_fit(self.kind, self.op, known, given, self.strict)
        found = {path: v for path, v in known.items() if path in given}
        if given and known and not found:
            raise self.kind(
                "nothing in the state fits", op=self.op, where=origin.where(),
                expected=f"paths such as {next(iter(known))}",
                given=f"{_listed(list(given)[:3])}, {len(given)} in all",
            )  # fmt: skip
        return found


def below(known: Mapping[str, Variable], name: str, given: Shapes) -> dict[str, Variable]:
    """The variables of a model called `name` by their paths in a state, which may have it below
    another name: where no path is there as it is, those with the prefix by which most are, if
    there is one such prefix."""
    inner = {path.removeprefix(f"{name}/"): v for path, v in known.items()}
    if len(inner) < len(known) or any(path in given for path in known):
        return dict(known)
    found: dict[str, list[int]] = {}  # by prefix: how many paths are there, and with their shapes
    for path, shape in given.items():
        start = 0
        while start >= 0:
            v = inner.get(path[start:])
            if v is not None:
                counts = found.setdefault(path[:start], [0, 0])
                counts[0] += 1
                counts[1] += v.shape == shape
            start = path.find("/", start) + 1 or -1
    best = max(found.values(), default=[])
    prefixes = [prefix for prefix, counts in found.items() if counts == best]
    if len(prefixes) != 1:
        return dict(known)
    return {f"{prefixes[0]}{path}": v for path, v in inner.items()}


def check_fit(
    kind: type[GraphcError],
    op: str,
    known: Mapping[str, Variable],
    given: Shapes,
    strict: bool = True,
) -> None:
    """Errors: one of `kind`, with all paths that are missing, unknown, or of another shape."""
    missing = [path for path in known if path not in given] if strict else []
    unknown = [path for path in given if path not in known] if strict else []
    misshapen = [
        f"{path}: {show(given[path])} for {show(v.shape)}"
        for path, v in known.items()
        if path in given and v.shape != given[path]
    ]
    groups = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    if any(groups.values()):
        raise kind(
            "; ".join(f"{len(found)} {what}" for what, found in groups.items() if found),
            op=op,
            given="\n            ".join(
                f"{what}: {_listed(found)}" for what, found in groups.items() if found
            ),
            expected=f"the {len(known)} variables of the model by their paths",
            where=origin.where(),
        )


def assign(known: Mapping[str, Variable], given: Mapping[str, Any]) -> None:
    """Assign arrays; those that do not fit are found before the first is assigned."""
    fitting = {
        path: fitting_array(path, given[path], v.type) for path, v in known.items() if path in given
    }
    for path, array in fitting.items():
        known[path].value = array


def _arrays(given: Any) -> dict[str, Array]:
    """What a user gives for a state. Errors: `ArgumentError` for what is no dict of arrays."""
    if not isinstance(given, Mapping):
        raise ArgumentError(
            "not a state", op="load_state_dict", expected="a dict from path to array",
            given=repr(given)[:80], where=origin.where(),
            hint="the state_dict() of that model" if hasattr(given, "state_dict") else "",
        )  # fmt: skip
    found = {}
    for name, array in given.items():
        try:
            found[str(name)] = np.asarray(array)
        except Exception as error:  # of whichever library made it
            raise ArgumentError(
                f"{name} is no array that NumPy can read", op="load_state_dict",
                given=f"{type(array).__name__}: {error}"[:160], where=origin.where(),
                hint="of a tensor of PyTorch's: x.detach().cpu().float().numpy()",
            ) from None  # fmt: skip
    return found


def _listed(paths: Sequence[str]) -> str:
    shown = ", ".join(path[:120] for path in paths[:20])
    return shown + (f" and {len(paths) - 20} more" if len(paths) > 20 else "")
