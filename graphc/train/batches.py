"""Data for training: arrays in any structure, checked once, with the examples along the first axis.

Several inputs or outputs are a tuple or a dict of arrays; a list is one array, as NumPy reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphc.errors import ArgumentError, DTypeError, RuntimeFailure, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import DType, bool_, dtype_or_default, int64
from graphc.ir.given import given_array
from graphc.ir.shape import show
from graphc.ir.structure import Structure, flatten, paths

Array: TypeAlias = np.ndarray[Any, Any]


_AS_NUMBERS = {
    "O": "a column of names is an int for each: np.unique(column, return_inverse=True)[1]",
    "U": "an int for each class: np.unique(labels, return_inverse=True)[1]",
    "M": "seconds since the first: (t - t[0]) / np.timedelta64(1, 's')",
}


# -- one array -------------------------------------------------------------------------------------
def examples(op: str, name: str, value: Any, floats: DType) -> Array:
    """`value` as an array of examples along its first axis.

    Dtypes: floats become `floats`, ints int64, bools stay.
    Errors: `DTypeError` for what is not numbers; `ShapeError` for a scalar or no examples;
    `ArgumentError` for what gives batches.
    """
    if is_stream(value):
        raise ArgumentError(
            f"{name} gives batches, and an array is wanted", op=op, given=repr(value)[:80],
            where=origin.where(),
            hint="fit(batches) and evaluate(batches) take (x, y) of them; predict takes a batch",
        )  # fmt: skip
    try:
        array = given_array(op, value)
    except ValueError as error:  # rows of several lengths
        raise ShapeError(
            f"{name} is no array: {error}", op=op, where=origin.where(),
            hint="several inputs or outputs are a tuple or a dict of arrays",
        ) from None  # fmt: skip
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            f"{name} is not numbers", op=op, given=f"dtype {array.dtype}", where=origin.where(),
            hint=_AS_NUMBERS.get(array.dtype.kind, ""),
        )  # fmt: skip
    if array.ndim == 0 or array.shape[0] == 0:
        raise ShapeError(
            f"{name} holds no examples",
            op=op,
            expected="at least one, along the first axis",
            given=show(array.shape),
            where=origin.where(),
        )
    if array.dtype.kind == "b":
        return array.astype(bool_.numpy, copy=False)
    target = floats if array.dtype.kind == "f" else int64
    return array.astype(target.numpy, copy=False)


def float_dtype(op: str, dtype: Any) -> DType:
    """A dtype of floats, by default the default one. Errors: `DTypeError` for another."""
    found = dtype_or_default(dtype)
    if not found.is_float:
        raise DTypeError(
            "float data is converted to a dtype of floats", op=op,
            expected="float32 or float64", given=found.name, where=origin.where(),
        )  # fmt: skip
    return found


def positive(op: str, name: str, value: Any) -> int:
    """`value` as an int. Errors: `ArgumentError` for what is no int >= 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ArgumentError(
            f"{name} is not a positive int",
            op=op,
            expected="an int >= 1",
            given=repr(value)[:80],
            where=origin.where(),
        )
    return int(value)


# -- all of them -----------------------------------------------------------------------------------
class Data(NamedTuple):
    """Inputs, targets and weights as arrays one after another, and how they are nested.

    >>> from graphc import float32
    >>> given = data("fit", {"a": [1.0, 2.0]}, [0, 1], None, float32)
    >>> given.names, given.examples
    (("x['a']", 'y'), 2)
    """

    arrays: tuple[Array, ...]
    names: tuple[str, ...]
    structure: Structure  # of (x, y, weights); what is not given is None

    @property
    def examples(self) -> int:
        """How many there are."""
        return len(self.arrays[0])

    def part(self, rows: slice) -> Data:
        return self._replace(arrays=tuple(a[rows] for a in self.arrays))


def data(op: str, x: Any, y: Any, weights: Any, floats: DType) -> Data:
    """Inputs, targets and weights, each checked; None is not given.

    Weights are [n], or [n, time] and more axes of what the loss gives; [n, 1] are [n].
    Errors: as `examples`; `ShapeError` if their numbers of examples differ; `ArgumentError` for
    weights below 0, and for several arrays of them.
    """
    parts = {"x": x, "y": y, "sample_weight": weights}
    if isinstance(weights, Mapping) or (isinstance(weights, tuple) and np.ndim(weights[0])):
        raise ArgumentError(
            "weights are one array, for all outputs", op=op, where=origin.where(),
            expected="sample_weight=array", given=f"a {type(weights).__name__} of them",
            hint="a loss of one's own takes those of an output as a column of its targets",
        )  # fmt: skip
    tree = tuple(_arrays(op, name, part, floats) for name, part in parts.items())
    arrays, structure = flatten(tree)
    if not arrays:
        raise ArgumentError(
            "x holds no arrays", op=op, expected="arrays, or tuples and dicts of arrays",
            given=repr(x)[:80], where=origin.where(),
        )  # fmt: skip
    names = [
        path
        for name, part in zip(parts, tree, strict=True)
        for path in paths(flatten(part)[1], name)
    ]
    count = len(arrays[0])
    for name, array in zip(names, arrays, strict=True):
        if len(array) != count:
            raise ShapeError(
                f"{names[0]} and {name} hold different numbers of examples",
                op=op,
                expected=f"{count} {'targets' if name == 'y' else 'examples'}",
                given=str(len(array)),
                where=origin.where(),
                hint="a list is one array; several inputs are a tuple or a dict of arrays"
                if _is_list_of_arrays(x) or _is_list_of_arrays(y)
                else "",
            )
    if weights is not None:
        _check_weights(op, arrays[-1])
        own = arrays[-1].astype(floats.numpy)
        arrays[-1] = own[:, 0] if own.shape[1:] == (1,) else own
    return Data(tuple(arrays), tuple(names), structure)


def _arrays(op: str, name: str, value: Any, floats: DType) -> Any:
    """The same structure of arrays."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {k: _arrays(op, f"{name}[{k!r}]", v, floats) for k, v in value.items()}
    if isinstance(value, tuple) and not all(np.ndim(v) == 0 for v in value if v is not None):
        return tuple(_arrays(op, f"{name}[{i}]", v, floats) for i, v in enumerate(value))
    return examples(op, name, value, floats)


def _is_list_of_arrays(value: Any) -> bool:
    return isinstance(value, list) and any(np.ndim(v) > 1 for v in value)


def _check_weights(op: str, weights: Array) -> None:
    faulty = ~(np.isfinite(weights) & (weights >= 0))
    if faulty.any():
        bad = tuple(int(i) for i in np.argwhere(faulty)[0])
        raise ArgumentError(
            "a weight is no finite number of at least 0",
            op=op,
            given=f"sample_weight[{', '.join(map(str, bad))}] = {weights[bad]}",
            where=origin.where(),
        )


_AS_DICT = {
    **dict.fromkeys((list, tuple, np.ndarray), "dict(enumerate(weights)), of classes 0, 1, ..."),
    str: "balanced are dict(enumerate(len(y) / np.bincount(y) / classes))",
}


def class_weights(op: str, targets: Any, weights: Mapping[Any, Any]) -> Array:
    """The weight of each example by its class: whole numbers [n] or [n, 1], those of two classes
    too, or one-hot targets [n, classes].

    Errors: `ArgumentError` for what is no dict, a class without a weight, several outputs, and
    targets that are no classes: parts of several, as of smoothed labels, or labels of places.
    """
    if not isinstance(weights, Mapping) or not isinstance(targets, np.ndarray):
        raise ArgumentError(
            "class weights are a dict, for one output",
            op=op,
            expected="class_weight={class: weight}, and targets in one array",
            given=f"{repr(weights)[:80]}, targets in a {type(targets).__name__}",
            where=origin.where(),
            hint=_AS_DICT.get(type(weights), ""),
        )
    known, places = np.unique(_classes(op, targets), return_inverse=True)
    missing = [int(c) for c in known if int(c) not in weights]
    if missing:
        raise ArgumentError(
            "a class has no weight",
            op=op,
            expected=f"a weight for {missing[0]}",
            given=", ".join(map(str, weights)),
            where=origin.where(),
        )
    return np.asarray([float(weights[int(c)]) for c in known])[places]


def _classes(op: str, targets: Array) -> Array:
    """The class of each example."""
    rows = targets.reshape(len(targets), -1)
    one_hot = rows.shape[1] != 1
    if one_hot:
        faulty = ((rows != 0).sum(axis=1) != 1) | (rows.sum(axis=1) != 1)
    else:
        faulty = rows[:, 0] != np.floor(rows[:, 0])
    if targets.ndim > 2 or faulty.any():
        bad = int(faulty.argmax())
        raise ArgumentError(
            "the targets are no classes, one for each example",
            op=op,
            expected="whole numbers [n] or [n, 1], or one-hot [n, classes]",
            given=f"{show(targets.shape)}, y[{bad}] = {np.array2string(targets[bad], threshold=6)}",
            where=origin.where(),
            hint="give sample_weight, of examples or of steps, or a loss that has the weights: "
            "functools.partial(gc.nn.losses.softmax_cross_entropy, class_weight=...)"
            if targets.dtype.kind in "iu"
            else "give sample_weight, a weight for each example",
        )
    return rows.argmax(axis=1) if one_hot else rows[:, 0]


def fault(names: Sequence[str], arrays: Sequence[Array]) -> str:
    """The first element of the data that is not finite, in words; "" if all are.

    >>> fault(["x", "y"], [np.ones(3), np.array([[0.0, 1.0], [2.0, np.nan]])])
    'y is nan in example 1, column 1'
    """
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            kind = "column" if len(place) == 2 else "place"
            inside = place[1] if len(place) == 2 else place[1:]
            column = f", {kind} {inside}" if len(place) > 1 else ""
            return f"{name} is {array[place]} in example {place[0]}{column}"
    return ""


def labels(names: Sequence[str], arrays: Sequence[Array]) -> str:
    """The smallest and the largest label of the targets, in words; "" where there are no ints.

    >>> labels(["x", "y"], [np.ones(3), np.array([0, 4, 1])])
    'y is from 0 (example 0) to 4 (example 1)'
    """
    for name, array in zip(names, arrays, strict=True):
        if name.startswith("y") and array.dtype.kind in "iu" and array.size:
            places = [np.unravel_index(i, array.shape) for i in (array.argmin(), array.argmax())]
            low, high = (f"{array[place]} (example {place[0]})" for place in places)
            return f"{name} is from {low} to {high}"
    return ""


# -- streams ---------------------------------------------------------------------------------------
def is_stream(x: Any) -> bool:
    """Whether `x` gives batches itself: an iterator, a function that makes one, what can be
    iterated over and is no array, or a list of batches."""
    if isinstance(x, list) and x and all(_is_batch(part) for part in x):
        return True
    if isinstance(x, (Mapping, tuple, list, str)) or hasattr(x, "__array__"):
        return False
    return callable(x) or hasattr(x, "__iter__")


def _is_batch(x: Any) -> bool:
    """Whether it is a pair or a triple of examples, and no row of numbers."""
    several = isinstance(x, tuple) and len(x) in (2, 3)
    return several and all(isinstance(p, (Mapping, tuple)) or np.ndim(p) > 0 for p in x)


def stream(op: str, x: Any, floats: DType) -> Iterator[Data]:
    """The batches of one epoch. Errors: as `data`; `ArgumentError` for a batch that is no (x, y)
    or (x, y, weights)."""
    for number, batch in enumerate(x() if callable(x) else x):
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise ArgumentError(
                f"batch {number} is neither a pair nor a triple",
                op=op,
                expected="(x, y) or (x, y, sample_weight)",
                given=repr(type(batch).__name__),
                where=origin.where(),
            )
        x_part, y_part, *weights = batch
        yield data(op, x_part, y_part, weights[0] if weights else None, floats)


def label_named(error: RuntimeFailure, given: Data) -> RuntimeFailure:
    """A label that is no class, at the user's line; with the labels that there are where it is not
    known which it was."""
    if error.message.startswith("a label is out of range"):
        found = error.given or labels(given.names, given.arrays)
        hint = "classes are counted from 0" if found else ""
        if error.expected == "0 <= label < 1":
            hint = 'one score decides between two classes: loss="binary_cross_entropy"'
        if re.search(r"(^| )-\d", found):
            hint = "a mask leaves them out: losses.softmax_cross_entropy(p, y, mask=y >= 0)"
        return type(error)(
            error.message, op=error.op, expected=error.expected, given=found,
            where=origin.where(), hint=hint,
        )  # fmt: skip
    return error
