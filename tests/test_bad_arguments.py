"""What no operation takes: each kind of fault, made from the samples of every op and the signature
of every function. A call that is wrong is an error that names the operation, what it expects or was
given, and the line; it may be right, as a scalar that broadcasts is, but nothing else is raised.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir.op import Fact, registry
from graphc.ops import FAMILIES

from .op_samples import SAMPLES
from .sampling import Case
from .test_keywords import CALLABLES

PACKAGE = str(Path(gc.__file__).parent)
X = gc.placeholder("bad_x", (3, 4))
OF_COMPILER = ("strided_slice", "check_labels")  # whose arguments a compiler makes
INNER = ("gather", "resample_back")  # whose operands others make, and check
FILES = ("test_bad_arguments", "samples")
DTYPES = ("bool", "int64", "float16", "complex64")
VALUES = (None, "spam", object(), -99, 99, 1.5, (0, 0), [], X, True)
MORE = (  # the same of NumPy's, what is nested, too large, or no number
    np.array([1, 2]), np.array(1.5), np.array([]), np.array([None]), np.datetime64("2020-01-01"),
    np.int64(-1), np.bool_(True), [[1, 2], [3]], (None,), ("n",), {"a": 1}, b"x", 10**30, 1j,
    float("nan"), lambda: 1, gc.nn.Dense,
)  # fmt: skip
LONG = ("array_split",)  # which begins to make 10**30 parts


def problem(call: Callable[[], Any]) -> str:
    """What is wrong with how a call is refused; empty if nothing is, or it is not refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except GraphcError as error:
        sizes = any(c.isdigit() for c in error.message)  # which tell what was given
        told = error.op and error.message and (error.expected or error.given or sizes)
        if not told or not any(f"{file}.py:" in error.where for file in FILES):
            return f"{type(error).__name__} with op {error.op!r} at {error.where!r}: {error}"
    except FileNotFoundError:  # what Python says of it
        pass
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = trace.tb_frame.f_code.co_filename if trace else ""
        if "tests" not in place.split("/"):  # else a sample asked the tensor itself
            return f"{type(error).__name__}: {error} ({place}:{trace.tb_lineno if trace else 0})"
    return ""


# -- operands --------------------------------------------------------------------------------------
def faulty(case: Case, tested: str) -> Iterator[tuple[str, list[Any]]]:
    """Operands of a case, one of which has another rank, size or dtype."""
    given = [(shape, case.dtype(i, tested)) for i, shape in enumerate(case.shapes)]
    for i, (shape, dtype) in enumerate(given):
        others = [
            ((), dtype), ((2, *shape), dtype), (shape[1:], dtype),
            *(((*shape[:a], 9, *shape[a + 1 :]), dtype) for a in range(len(shape))),
            *((shape, d) for d in DTYPES),
        ]  # fmt: skip
        for other in dict.fromkeys(others):
            changed = [*given[:i], other, *given[i + 1 :]]
            yield f"operand {i}: {other}", [
                gc.placeholder(f"bad{j}", s, d) for j, (s, d) in enumerate(changed)
            ]


def test_operands_of_another_rank_size_or_dtype() -> None:
    found = []
    for name, samples in SAMPLES.items():
        op = registry().get(name)
        if name in INNER or (op is not None and Fact.STEP in op.facts):
            continue
        for case in samples.cases[:2]:
            for what, inputs in faulty(case, samples.takes[-1]):
                text = problem(lambda: case.call(*inputs))  # noqa: B023
                found += [f"{name}, {what}: {text}"] if text else []
    assert not found, "\n".join([str(len(found)), *found[:40]])


# -- arguments -------------------------------------------------------------------------------------
def published() -> dict[str, Callable[..., Any]]:
    rooms: dict[str, Any] = {
        "": gc, "linalg.": gc.linalg, "fft.": gc.fft, "random.": gc.random,
    }  # fmt: skip
    found: dict[str, Callable[..., Any]] = {}
    for family in FAMILIES:
        prefix = next((p for p in rooms if p and family is rooms[p]), "")
        names = [n for n in getattr(family, "FUNCTIONS", {}) if hasattr(rooms[prefix], n)]
        names = [n for n in names if n not in OF_COMPILER]
        found |= {prefix + n: getattr(rooms[prefix], n) for n in names}
    return found


def arguments(
    function: Callable[..., Any], values: tuple[Any, ...] = VALUES
) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Calls of a function in which one argument is something else, and a matrix where one has to be
    given."""
    parameters = list(inspect.signature(function).parameters.values())
    required = [
        p for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for value in values:
            args = [value if p is parameter else X for p in required]
            named = {} if parameter in required else {parameter.name: value}
            yield f"{parameter.name}={value!r}"[:60], args, named


@pytest.mark.parametrize("prefix", ["", "linalg.", "fft.", "random."])
def test_arguments_of_another_kind(prefix: str) -> None:
    found = []
    for name, function in published().items():
        if name.startswith(prefix) and (prefix or "." not in name):
            for what, args, named in arguments(function):
                text = problem(lambda: function(*args, **named))  # noqa: B023
                found += [f"{name}({what}): {text}"] if text else []
    assert not found, "\n".join([str(len(found)), *found[:200]])


@pytest.mark.parametrize("part", range(4))
def test_every_public_callable_refuses_by_name(part: int) -> None:
    """Those that are no operation meet all values, operations those that they have not met: nothing
    but errors of graphc's is raised, with the line."""
    found, known = [], published().values()
    for name in [n for n in CALLABLES if "." not in n or n.startswith("graphc.")][part::4]:
        function = CALLABLES[name]
        if name in ("graphc.set_default_dtype", "graphc.distributed.Cluster"):
            continue  # of the process; and what `connect` makes
        if name == "graphc.distributed.connect":
            continue  # it begins a cluster
        values = MORE if function in known else (*VALUES, *MORE)
        if function.__name__ in LONG:
            values = tuple(v for v in values if v is not MORE[12])
        for what, args, named in arguments(function, values):
            text = problem(lambda: function(*args, **named))  # noqa: B023
            found += [f"{name}({what}): {text}"] if text else []
    assert not found, "\n".join([str(len(found)), *found[:200]])
