"""A training on disk: one file of safetensors, whose metadata hold a manifest in JSON.

The arrays are the model's variables, those of the optimiser and what callbacks keep; the manifest
has the history, the seed, the types of the data, and the plain state of callbacks. One file is
replaced as a whole, so weights and manifest are always of one moment. The types of the data let
`load` build a model that has not seen any.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, FileError, GraphcError
from graphc.ir import origin
from graphc.ir.node import Variable
from graphc.ir.structure import LEAF, flatten, unflatten
from graphc.nn import safetensors
from graphc.nn.members import distinct
from graphc.nn.saving import assign, check_fit
from graphc.train.callbacks import Callbacks
from graphc.train.history import History
from graphc.train.step import Types

KEY = "graphc"  # of the manifest among the metadata
VERSION = 1
DTYPES = {"float32", "float64", "int64", "bool"}  # of data


def save(trainer: Any, path: Any) -> None:
    """See `Trainer.save`."""
    if trainer.types is None:
        raise ArgumentError(
            "there is nothing to save before the first training step", op="Trainer.save",
            where=origin.where(), hint="model.save_weights(path) saves a model",
        )  # fmt: skip
    arrays = {path: np.array(v.value) for path, v in _variables(trainer).items()}
    states = _apart(trainer.callbacks.states(), "callbacks", arrays)
    manifest = {
        "version": VERSION,
        "seed": trainer.seed,
        "history": _apart(trainer.history.logs, "history", arrays),
        "callbacks": states,
        "types": _types_out(trainer.types),
    }
    text = json.dumps(manifest, separators=(",", ":"))
    safetensors.write(path, arrays, {"format": f"graphc training {VERSION}", KEY: text})


def load(trainer: Any, path: Any) -> None:
    """See `Trainer.load`."""
    with safetensors.TensorFile(path) as file:
        manifest = _manifest(file.metadata, str(path))
        types = _types_in(manifest["types"], str(path))
        try:
            trainer.prepare(types)
        except MemoryError as error:  # of a model without variables yet, for types that are absurd
            raise FileError(f"its model does not fit in memory: {error}", op=str(path)) from None
        known = _variables(trainer)
        shapes = {
            name: entry.shape
            for name, entry in file.entries.items()
            if name.startswith(("model/", "optimizer/"))
        }
        check_fit(FileError, str(path), known, shapes)
        others = {name: file.read(name) for name in file.entries if name not in shapes}
        try:
            states = _together(manifest["callbacks"], others)
            logs = _together(manifest["history"], others)
            history = History({str(k): list(v) for k, v in logs.items()})
            callbacks = Callbacks((), [{"kind": s["kind"], "state": s["state"]} for s in states])
        except (KeyError, TypeError, AttributeError, ValueError):
            raise _foreign(str(path)) from None
        assign(known, {name: file.read(name) for name in shapes})
    trainer.history, trainer.callbacks = history, callbacks
    trainer.seed = manifest["seed"]


def _variables(trainer: Any) -> dict[str, Variable]:
    """All variables that training goes on from, by what they are in the file."""
    rate = trainer.optimizer.learning_rate
    own = [*trainer.optimizer.state, *([rate] if isinstance(rate, Variable) else [])]
    names = distinct([v.name for v in own])
    return {f"model/{path}": v for path, v in trainer.model.paths().items()} | {
        f"optimizer/{name}": v for name, v in zip(names, own, strict=True)
    }


# -- the manifest ----------------------------------------------------------------------------------
def _manifest(metadata: Mapping[str, str], path: str) -> dict[str, Any]:
    try:
        manifest = json.loads(metadata[KEY])
        if manifest["version"] != VERSION:
            raise FileError(
                "a file of another version", op=path, expected=str(VERSION),
                given=repr(manifest["version"])[:80],
            )  # fmt: skip
        seed = manifest["seed"]
        if not all(k in manifest for k in ("history", "callbacks", "types")):
            raise KeyError
        if seed is not None and (type(seed) is not int or not 0 <= seed < 1 << 63):
            raise ValueError
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, GraphcError):
            raise
        raise _foreign(path) from None
    return dict(manifest)


def _foreign(path: str) -> FileError:
    return FileError(
        "this is no saved training, or it is damaged", op=path,
        expected="a file that Trainer.save wrote", hint="model.load_weights(path) reads weights",
    )  # fmt: skip


def _apart(value: Any, path: str, arrays: dict[str, Any]) -> Any:
    """Plain data for JSON; arrays go to `arrays`, by where they stand. Numbers keep all bits:
    JSON has no NaN and infinities, so these are words."""
    if isinstance(value, np.ndarray) and value.ndim:
        arrays[path] = value
        return {"array": path}
    if isinstance(value, np.generic | np.ndarray):
        value = value.item()
    if isinstance(value, Mapping):
        return {"dict": {str(k): _apart(v, f"{path}/{k}", arrays) for k, v in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_apart(v, f"{path}/{i}", arrays) for i, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ArgumentError(
        "the state of a callback is plain data and arrays", op="Trainer.save",
        given=f"{path}: {type(value).__name__}",
    )  # fmt: skip


def _together(value: Any, arrays: Mapping[str, Any]) -> Any:
    """What `_apart` took apart."""
    if isinstance(value, list):
        return [_together(v, arrays) for v in value]
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == "array":
            return arrays[inner]
        if kind == "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[inner]
        if kind != "dict":
            raise ValueError(kind)
        return {k: _together(v, arrays) for k, v in inner.items()}
    return value


def _types_out(types: Types) -> Any:
    """Types as plain data: the structure with a place for each array."""
    tree = unflatten(types.structure, range(len(types.shapes)))
    return {
        "tree": _tree_out(tree),
        "arrays": [[list(s), d] for s, d in zip(types.shapes, types.dtypes, strict=True)],
    }


def _tree_out(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {"dict": [[k, _tree_out(v)] for k, v in tree.items()]}
    if isinstance(tree, tuple):
        return {"tuple": [_tree_out(v) for v in tree]}
    return tree


def _tree_in(tree: Any) -> Any:
    if isinstance(tree, dict):
        ((kind, inner),) = tree.items()
        if kind == "dict":
            return {k: _tree_in(v) for k, v in inner}
        if kind != "tuple":
            raise ValueError(kind)
        return tuple(_tree_in(v) for v in inner)
    if tree is not None and type(tree) is not int:
        raise ValueError(tree)
    return tree


def _types_in(given: Any, path: str) -> Types:
    try:
        tree, arrays = _tree_in(given["tree"]), given["arrays"]
        leaves, structure = flatten(tree)
        if leaves != list(range(len(arrays))) or not isinstance(tree, tuple) or len(tree) != 3:
            raise ValueError
        shapes = tuple(tuple(s) for s, _ in arrays)
        dtypes = tuple(str(d) for _, d in arrays)
        if not all(type(n) is int and 0 <= n < 1 << 31 for s in shapes for n in s):
            raise ValueError
        if not leaves or structure == LEAF or not set(dtypes) <= DTYPES:
            raise ValueError
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise _foreign(path) from None
    return Types(structure, shapes, dtypes)
