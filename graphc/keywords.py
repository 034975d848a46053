"""What a function says of arguments that it does not take, in place of Python's bare `TypeError`.

Python refuses a wrong call before the function begins, so that no frame of it is in the traceback:
that is how `answering` knows such an error from one that comes from inside. It names the function,
what was given, what it takes, the nearest name or what a name of NumPy's, Keras's or PyTorch's is
here, and the user's line. Classes have it of the base `Answering`. Functions have it in the
namespace where users find them, `gc` and its modules: graphc's own code calls what stands behind.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, TypeVar

from graphc.elsewhere import KEYWORDS, OF_OPERATIONS, hint
from graphc.errors import CallError, GraphcError, UnreadableError

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
        except GraphcError:  # some of which are TypeErrors
            raise
        except _NOT_OURS as error:
            wrong = _from_inside(error, function, args, named)
            if wrong is error:
                raise
            if wrong is not None:
                raise wrong from error
        raise _refused(caller() if caller else function, args, named)

    if hasattr(function, "__wrapped__"):
        _decorated.add(function)
    return called  # type: ignore[return-value]


_NOT_OURS = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
_CALLED = answering(len).__code__  # of all that refuse
_decorated: set[Any] = set()  # a decorator of theirs refuses, inside a frame of its own


class Answering:
    """A class of graphc's whose constructor and public methods refuse wrong calls so."""

    @answering
    def __init__(self) -> None:
        """Of a class that has none, so that there is one which refuses."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("graphc."):
            answer_methods(cls)


def answer_methods(cls: type) -> None:
    """The constructor and the public methods of a class refuse them so, each once."""
    for name, value in list(vars(cls).items()):
        plain = isinstance(value, FunctionType) and value.__code__ is not _CALLED
        if plain and (name[0] != "_" or name == "__init__"):
            setattr(cls, name, answering(value))


def answer(module: dict[str, Any], names: Collection[str] = ()) -> None:
    """The public functions of a module, its `globals()`, that are there so far refuse them so;
    `names` are those that it has of other modules."""
    for name, value in list(module.items()):
        own = getattr(value, "__module__", "") == module["__name__"] and name[0] != "_"
        if name in names or (own and not hasattr(value, "__wrapped__")):
            module[name] = public(value, module["__name__"], name)


_public: dict[Any, Any] = {}


def public(value: Any, module: str, name: str) -> Any:
    """What stands for a function in a namespace: the same, which refuses wrong calls, and is
    pickled by this name. A function of two names stays one. A record is itself, with a constructor
    that does: `dataclass` has written it behind `Answering`. All else is itself."""
    if hasattr(value, "__dataclass_fields__") and isinstance(value, type):
        answer_methods(value)
    if not isinstance(value, FunctionType) or value.__code__ is _CALLED:
        return value
    if value not in _public:
        made = answering(value)
        made.__module__, made.__qualname__ = module, name
        _public[value] = made
    return _public[value]


def asked(op: str, form: str, function: Callable[..., Any], *args: Any) -> Any:
    """What a user's function gives for these arguments; a `CallError` that says what they are, as
    `form` does, if it does not take them. An error of its own stays as it is.

    >>> try:
    ...     asked("fit", "epoch, logs", lambda epoch: None, 3, {})
    ... except CallError as error:
    ...     print(error.op, "|", error.message, "|", error.expected)
    fit | a function takes other arguments | a function (epoch, logs)
    """
    try:
        return function(*args)
    except TypeError as error:
        if isinstance(error, GraphcError) or _fits(function, args, {}):
            raise
        raise _other_arguments(op, form, function) from None


# -- what is wrong ---------------------------------------------------------------------------------
def _refused(
    function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]
) -> CallError:
    import inspect  # only where somebody erred

    of = _class(function, args)
    op = of.__name__ if of else _name(function)
    chain = list(_constructors(of, function)) if of else [function]
    parameters = list(_parameters(inspect, chain))
    known = [p.name for p in parameters]
    unknown = {name: value for name, value in named.items() if name not in known}
    if unknown:
        name = next(iter(unknown))
        return CallError(
            f"it takes no {name}", op=op, expected=", ".join(known) or "no arguments",
            given=", ".join(f"{n}={v!r}"[:60] for n, v in unknown.items()),
            hint=hint(name, known, _here(function, name, known)),
        )  # fmt: skip
    try:
        inspect.signature(function).bind(*args, **named)
        reason = "wrong arguments"
    except TypeError as error:
        reason = str(error)
    bound = next(iter(inspect.signature(function).parameters), "") in ("self", "cls")
    needed = [p.name if p.default is p.empty else f"{p.name}=..." for p in parameters]
    return CallError(
        reason, op=op, expected=f"{op}({', '.join(needed)})", given=_shown(args[bound:], named)
    )


def _from_inside(
    error: Exception, function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]
) -> Exception | None:
    """What is raised for an error of Python's or a library's from inside of a call: itself where it
    is the user's own, None where Python has refused the call itself."""
    if error.__traceback__ is None:
        return error
    if isinstance(error, TypeError):
        inside = error.__traceback__.tb_next is not None
        if not inside or (function in _decorated and not _fits(function, args, named)):
            return None
        if (wrong := _of_a_function(error, function, (*args, *named.values()))) is not None:
            return wrong
    return _unread(error, function, args, named) or error


def _fits(function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether a function takes these arguments."""
    import inspect

    try:
        inspect.signature(function).bind(*args, **named)
    except TypeError:
        return False
    except ValueError:  # one that has no signature
        return True
    return True


def _other_arguments(op: str, form: str, function: Any, told: str = "") -> CallError:
    import inspect

    name = getattr(function, "__qualname__", type(function).__name__).rpartition(".")[2]
    signature = inspect.signature(function)
    code = getattr(inspect.unwrap(function), "__code__", None)
    place = f" of {code.co_filename}:{code.co_firstlineno}" if code else ""
    return CallError(
        f"a function takes other arguments{told}", op=op,
        expected=f"a function ({form})" if form else "", given=f"{name}{signature}{place}",
        hint=f"an object of the class: {name}()" if isinstance(function, type) else "",
    )  # fmt: skip


def _of_a_function(
    error: TypeError, function: Callable[..., Any], values: Sequence[Any]
) -> CallError | None:
    """The refusal of a function among the `values`, which graphc has called with other arguments
    than it takes; None for any other error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    ours = trace is not None and trace.tb_frame.f_globals.get("__package__", "")
    if not ours or str(ours).partition(".")[0] != __name__.partition(".")[0]:
        return None
    for value in _callables(values):
        name = getattr(value, "__qualname__", type(value).__name__)
        if str(error).startswith(f"{name}()"):
            told = str(error).removeprefix(f"{name}()")
            return _other_arguments(_name(function), "", value, f": it{told}")
    return None


def _unread(
    error: Exception, function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]
) -> UnreadableError | None:
    """What is said for an error that an argument of another kind has led to; None for one that has
    come through a function of the user's, and where nothing is given."""
    bound = next(iter(function.__code__.co_varnames), "") in ("self", "cls")
    if len(args) + len(named) == bound:
        return None
    trace = None if error.__traceback__ is None else error.__traceback__.tb_next
    while trace is not None:
        room = str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if room not in _LIBRARIES and room not in sys.stdlib_module_names:
            return None
        trace = trace.tb_next
    of = _class(function, args)
    told = str(error).partition("\n")[0]
    return UnreadableError(
        "it cannot read its arguments", op=of.__name__ if of else _name(function),
        given=_shown(args[1:] if of else args, named),
        hint=f"{type(error).__name__}: {told}"[:200],
    )  # fmt: skip


_LIBRARIES = (__name__.partition(".")[0], "numpy", "sympy", "scipy")


def _shown(args: Sequence[Any], named: Mapping[str, Any]) -> str:
    given = [repr(a)[:30] for a in args] + [f"{n}={v!r}"[:40] for n, v in named.items()]
    return " ".join(", ".join(given)[:200].split()) or "none"


def _callables(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _callables(value)
        elif callable(value):
            yield value


def _name(function: Callable[..., Any]) -> str:
    """As users write it, where Python's own name is avoided."""
    return function.__name__.rstrip("_")


def _class(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Whose constructor it is."""
    if not args or function.__name__ not in ("__init__", "__new__"):
        return None
    return args[0] if function.__name__ == "__new__" else type(args[0])


def _constructors(of: type, first: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The constructors from that of the class on, each of which hands on what it does not take."""
    for cls in of.__mro__:
        own = vars(cls).get("__init__") or vars(cls).get("__new__")
        own = getattr(own, "__func__", own)
        if isinstance(own, FunctionType) and cls.__module__.startswith("graphc."):
            yield own
            if getattr(own, "__wrapped__", own) is first:
                return


def _parameters(inspect: Any, chain: Sequence[Callable[..., Any]]) -> Iterator[Any]:
    """The parameters that have names, each once: those of all but `self`, options aside."""
    seen = {"self", "cls"}
    for function in chain:
        for p in inspect.signature(function).parameters.values():
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in seen:
                seen.add(p.name)
                yield p


def _here(function: Callable[..., Any], name: str, known: Sequence[str]) -> dict[str, str]:
    """What a keyword of another library's is here: a parameter that there is, or a sentence."""
    room = function.__module__.split(".")[1:2]
    table = OF_OPERATIONS if room in (["ops"], ["ir"]) else KEYWORDS
    meant = [text for text in table.get(name, ()) if not text.isidentifier() or text in known]
    return {name: meant[0]} if meant else {}
