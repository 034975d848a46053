"""Every error that graphc raises on purpose, as one small tree under `GraphcError`.

You can catch `GraphcError` to catch them all, or the subclass for one concern. An error says which
op it is about, what was expected, what was given, and the line of the user's code that made it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_locate: Callable[[], str] = str  # the user's `file:line`; no place until `locate_with`


def locate_with(where: Callable[[], str]) -> None:
    """Errors made from now on that are given no place ask `where` for the user's line."""
    global _locate
    _locate = where


class GraphcError(Exception):
    """Base of all graphc errors.

    `message` says what is wrong, `op` names the operation (or entry point), `expected` and `given`
    the two sides of the disagreement, `where` the user's `file:line` (that of the call, unless a
    node's is given). All are optional and all are in the text.
    """

    def __init__(
        self,
        message: str = "",
        *,
        op: str = "",
        expected: str = "",
        given: str = "",
        where: str = "",
        hint: str = "",
    ) -> None:
        where = where or _locate()
        self.message = message
        self.op, self.expected, self.given, self.where, self.hint = op, expected, given, where, hint
        head = f"{op}: {message}" if op and message else op or message
        parts = [head]
        if expected:
            parts.append(f"  expected: {expected}")
        if given:
            parts.append(f"  given:    {given}")
        if where:
            parts.append(f"  at:       {where}")
        if hint:
            parts.append(f"  hint:     {hint}")
        super().__init__("\n".join(part for part in parts if part))

    def __reduce__(self) -> Any:
        """Pickled and copied as it is: making it anew would add the place of that."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[GraphcError], args: tuple[Any, ...], state: dict[str, Any]) -> GraphcError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ShapeError(GraphcError, ValueError):
    """Shapes, ranks, axes or sizes that do not fit the operation."""


class OutOfRangeError(ShapeError, IndexError):
    """An axis, or a place on an axis, that the tensor does not have."""


class DTypeError(GraphcError, TypeError):
    """A dtype that the operation does not take, or that cannot be converted safely."""


class GradientError(GraphcError):
    """A derivative that does not exist: non-scalar, integer, not connected, or not defined."""


class ArgumentError(GraphcError):
    """An argument of the wrong kind: not a tensor, missing, unexpected, or out of range."""


class CallError(ArgumentError, TypeError):
    """A function was called with other arguments than it takes: more, fewer, or not nested so."""


class UnreadableError(ArgumentError, TypeError, ValueError):
    """Arguments that a function cannot read. Its cause, an error of Python's or NumPy's, and the
    hint say why: an array where a flag is, say."""


class MissingKeyError(ArgumentError, KeyError):
    """A name that a record or a dict of graphc's does not have."""

    __str__ = Exception.__str__  # `KeyError` shows the text as Python writes a string


class SymbolicValueError(GraphcError):
    """A symbolic tensor or dim was used where Python needs a concrete value."""


class GraphError(GraphcError):
    """A graph, program or kernel that breaks an invariant, or text that does not parse."""


class CompileError(GraphcError):
    """A stage of the compiler failed; the message names the stage."""


class MemoryBudgetError(CompileError):
    """The temporaries do not fit in the budget of `gc.compile(memory_budget=...)`."""


class RuntimeFailure(GraphcError):  # noqa: N818  (an error of the compiled program's own run)
    """A compiled program failed at a site of its own, for example a singular matrix in `solve`."""


class DeviceError(GraphcError):
    """No device that the target can use: not installed, not there, too old, or out of memory."""


class ClusterError(GraphcError):
    """A cluster that does not answer or has too little, or workers that are lost or do not fit."""


class ConvergenceError(RuntimeFailure):
    """An iteration did not come to its end within the steps that it had, as in `gc.root`."""


class DivergenceError(RuntimeFailure):
    """The loss of a training step is not finite. That step changed nothing."""


class FileError(GraphcError, ValueError):
    """A file is not what it should be: foreign, cut short, damaged, or of other weights."""


class LinAlgError(RuntimeFailure):
    """A linear-algebra operation has no answer, for example a singular matrix."""


class CheckError(GraphcError):
    """A check asked for by `gc.compile(check="all")` failed: a stage, a kernel or the program."""


class NonFiniteError(CheckError):
    """A call under `gc.compile(check="nan")` made a NaN or an infinity; names the operation."""


class CacheWarning(UserWarning):
    """The compilation cache could not be read or written; graphc compiled afresh."""


class CheckpointWarning(UserWarning):
    """The state of a training could not be written; it goes on, and the last file is as it was."""


class LossWarning(UserWarning):
    """A loss is given at this line what it most likely should not be."""


class MaskWarning(UserWarning):
    """A mask is given at this line to layers of which none takes one."""


class DTypeWarning(UserWarning):
    """An all-float32 graph turned float64 at this line."""
