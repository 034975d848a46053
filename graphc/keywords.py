"""What a function says of arguments that it does not take, in place of Python's bare `TypeError`.

Python refuses a wrong call before the function begins, so that no frame of it is in the traceback:
that is how `answering` knows such an error from one that comes from inside. It names the function,
what was given, what it takes, the nearest name or what a name of Keras's or PyTorch's is here, and
the user's line. Classes have it of the base `Answering`, functions by one line behind them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, TypeVar

from graphc.elsewhere import KEYWORDS, hint
from graphc.errors import CallError

F = TypeVar("F", bound=Callable[..., Any])


def answering(function: F, caller: Callable[[], Any] | None = None) -> F:
    """`function`, which refuses a wrong call by a `CallError`. Where a `caller` hands it what a
    user gave, its parameters are named.

    >>> def area(width, height=1): return width * height
    >>> try:
    ...     answering(area)(2, hight=3)
    ... except CallError as error:
    ...     print(error.op, "|", error.message, "|", error.hint)
    area | it takes no hight | near it: height
    """

    @functools.wraps(function)
    def called(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # from inside
        raise _refused(caller() if caller else function, args, named)

    return called  # type: ignore[return-value]


class Answering:
    """A class of graphc's whose constructor and public methods refuse wrong calls so."""

    @answering
    def __init__(self) -> None:
        """Of a class that has none, so that there is one which refuses."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("graphc."):
            for name, value in list(vars(cls).items()):
                if isinstance(value, FunctionType) and (name[0] != "_" or name == "__init__"):
                    setattr(cls, name, answering(value))


def answer(module: dict[str, Any]) -> None:
    """The public functions of a module, its `globals()`, that are there so far refuse them so."""
    made: dict[Any, Any] = {}  # a function of two names stays one
    for name, value in list(module.items()):
        own = isinstance(value, FunctionType) and value.__module__ == module["__name__"]
        if own and name[0] != "_" and not hasattr(value, "__wrapped__"):
            module[name] = made.setdefault(value, answering(value))


# -- what is wrong ---------------------------------------------------------------------------------
def _refused(
    function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]
) -> CallError:
    import inspect  # only where somebody erred

    of = type(args[0]) if function.__name__ == "__init__" and args else None
    op = of.__name__ if of else function.__name__
    chain = list(_constructors(of, function)) if of else [function]
    parameters = list(_parameters(inspect, chain))
    known = [p.name for p in parameters]
    unknown = {name: value for name, value in named.items() if name not in known}
    if unknown:
        name = next(iter(unknown))
        return CallError(
            f"it takes no {name}", op=op, expected=", ".join(known) or "no arguments",
            given=", ".join(f"{n}={v!r}"[:60] for n, v in unknown.items()),
            hint=hint(name, known, _here(name, known)),
        )  # fmt: skip
    try:
        inspect.signature(function).bind(*args, **named)
        reason = "wrong arguments"
    except TypeError as error:
        reason = str(error)
    bound = next(iter(inspect.signature(function).parameters), "") == "self"
    given = [repr(a)[:30] for a in args[bound:]] + [f"{n}={v!r}"[:40] for n, v in named.items()]
    needed = [p.name if p.default is p.empty else f"{p.name}=..." for p in parameters]
    return CallError(
        reason, op=op, expected=f"{op}({', '.join(needed)})", given=", ".join(given)[:200] or "none"
    )


def _constructors(of: type, first: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The constructors from that of the class on, each of which hands on what it does not take."""
    for cls in of.__mro__:
        own = vars(cls).get("__init__")
        if isinstance(own, FunctionType) and cls.__module__.startswith("graphc."):
            yield own
            if getattr(own, "__wrapped__", own) is first:
                return


def _parameters(inspect: Any, chain: Sequence[Callable[..., Any]]) -> Iterator[Any]:
    """The parameters that have names, each once: those of all but `self`, options aside."""
    seen = {"self"}
    for function in chain:
        for p in inspect.signature(function).parameters.values():
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in seen:
                seen.add(p.name)
                yield p


def _here(name: str, known: Sequence[str]) -> dict[str, str]:
    """What a keyword of Keras's or PyTorch's is here: a parameter that there is, or a sentence."""
    meant = [text for text in KEYWORDS.get(name, ()) if not text.isidentifier() or text in known]
    return {name: meant[0]} if meant else {}
