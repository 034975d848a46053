"""A model's variables by their paths: as arrays, and as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import ArgumentError, FileError, GraphcError
from graphc.ir import origin
from graphc.ir.given import fitting_array
from graphc.ir.node import Variable
from graphc.ir.shape import show
from graphc.nn import safetensors

Array: TypeAlias = np.ndarray[Any, Any]


class Saved:
    """What a layer can do with all of its variables, which `paths()` gives by their paths."""

    name: str

    def paths(self) -> dict[str, Variable]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Array]:
        """A copy of the value of every variable, trainable or not, by its path.

        Errors: `ArgumentError` for a layer that has none yet.
        """
        return {path: np.array(v.value) for path, v in self.paths().items()}

    def load_state_dict(self, arrays: Mapping[str, Any], strict: bool = True) -> None:
        """Assign arrays to variables by their paths: all of them, or none where one does not fit.

        Without `strict` paths may be missing on either side.
        Errors: `ArgumentError` that names all paths that are missing, unknown, or of another shape.
        """
        known = self.paths()
        given = {path: np.asarray(array) for path, array in arrays.items()}
        shapes = {path: array.shape for path, array in given.items()}
        check_fit(ArgumentError, "load_state_dict", known, shapes, strict)
        assign(known, given)

    def save_weights(self, path: Any) -> None:
        """Write every variable by its path, in the safetensors format: a file beside `path` that is
        synced and renamed, so that `path` is the old file or all of the new.

        Errors: as `state_dict`; `OSError` of the disk.
        """
        safetensors.write(path, self.state_dict(), {"format": "graphc weights 1"})

    def load_weights(self, path: Any, strict: bool = True) -> None:
        """Assign what `save_weights` wrote, or any safetensors file of these paths and shapes.

        Errors: `FileError` for what is no such file, or names all paths that are missing, unknown,
        or of another shape; the variables are then as they were.
        """
        known = self.paths()
        with safetensors.TensorFile(path) as file:
            shapes = {name: entry.shape for name, entry in file.entries.items()}
            check_fit(FileError, str(path), known, shapes, strict)
            assign(known, {name: file.read(name) for name in shapes if name in known})


def check_fit(
    kind: type[GraphcError],
    op: str,
    known: Mapping[str, Variable],
    given: Mapping[str, tuple[int, ...]],
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


def _listed(paths: Sequence[str]) -> str:
    shown = ", ".join(path[:120] for path in paths[:20])
    return shown + (f" and {len(paths) - 20} more" if len(paths) > 20 else "")
