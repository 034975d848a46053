"""How a layer is called: what its `forward` takes, and placeholders for shapes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from graphc.elsewhere import hint
from graphc.errors import ArgumentError, CallError
from graphc.ir.dim import Dim
from graphc.ir.dtype import dtype_or_default
from graphc.ir.node import Tensor
from graphc.ir.structure import Structure, flatten, flatten_like, unflatten
from graphc.nn.checks import error
from graphc.ops.leaf import placeholder

_FLAGS = ("training", "mask")  # that the caller gives by keyword


class Hook(NamedTuple):
    """The names of the inputs that a method takes, how many it must have, whether it takes any
    number of further ones; and which keywords (None: any)."""

    inputs: tuple[str, ...]
    least: int
    several: bool
    keywords: frozenset[str] | None

    @property
    def most(self) -> int | None:
        """How many inputs it takes; None for any number."""
        return None if self.several else len(self.inputs)

    def has(self, keyword: str) -> bool:
        """Whether it takes `keyword`."""
        return self.keywords is None or keyword in self.keywords


@lru_cache(maxsize=1024)
def hook(method: Callable[..., Any]) -> Hook:
    """What `method` of a layer takes besides `self`.

    >>> hook(lambda self, x, y=None, *, training: x)
    Hook(inputs=('x', 'y'), least=1, several=False, keywords=frozenset({'training'}))
    """
    inputs, least, keywords = list[str](), 0, set[str]()
    several = anything = False
    for name, p in list(inspect.signature(method).parameters.items())[1:]:
        if p.kind is p.VAR_POSITIONAL:
            several = True
        elif p.kind is p.VAR_KEYWORD:
            anything = True
        elif p.kind is p.KEYWORD_ONLY or name in _FLAGS:
            keywords.add(name)
        else:
            inputs.append(name)
            least += p.default is p.empty
    return Hook(tuple(inputs), least, several, None if anything else frozenset(keywords))


def arguments(
    layer: Any,
    called: Hook,
    inputs: Sequence[Any],
    training: Any,
    mask: Any,
    named: Mapping[str, Any],
) -> dict[str, Any]:
    """The keywords of `forward` for a call. Errors: `CallError` for another number of inputs than
    it takes, a mask or a keyword that it does not take; `ArgumentError` for a `training` that is no
    bool."""
    by_name = [name for name in called.inputs[len(inputs) :] if name in named]
    count = len(inputs) + len(by_name)
    if count < called.least or (called.most is not None and count > called.most):
        flag = len(inputs) > called.least and isinstance(inputs[called.least], bool)
        raise error(
            layer,
            CallError,
            "another number of inputs than it takes",
            expected=_inputs(called),
            given=str(count),
            hint="training is given by keyword: layer(x, training=True)"
            if flag
            else "several tensors for one input are a list: layer([a, b])"
            if called.most == 1
            else "",
        )
    if not isinstance(training, bool):
        raise error(
            layer,
            ArgumentError,
            "training is True or False",
            given=repr(training)[:80],
            hint="an input is no keyword: layer(a, b)" if isinstance(training, Tensor) else "",
        )
    options = dict(named)
    if called.has("training"):
        options["training"] = training
    if mask is not None:
        options["mask"] = mask
    elif called.keywords is not None and "mask" in called.keywords:
        options["mask"] = None
    for name in options:
        if not called.has(name) and name not in by_name:
            known = sorted({"training", *(called.keywords or ())})
            raise error(
                layer,
                CallError,
                f"it takes no {name}",
                expected=f"keywords {', '.join(known)}",
                given=f"{name}={options[name]!r}"[:80],
                hint=hint(name, known),
            )
    return options


def _inputs(called: Hook) -> str:
    if called.most is None:
        return f"at least {called.least}"
    if called.least == called.most:
        return f"{called.least} input{'s' * (called.least != 1)}"
    return f"{called.least} to {called.most} inputs"


# -- shapes ----------------------------------------------------------------------------------------
class _Shape:
    """A shape as one leaf of a structure."""

    def __init__(self, sizes: Sequence[Any]) -> None:
        names = ("n", *(f"d{i}" for i in range(1, len(sizes))))
        self.sizes = [n if s is None else s for s, n in zip(sizes, names, strict=False)]


def placeholders(op: str, shape: Any, dtype: Any) -> Any:
    """A placeholder for a shape, or a structure of them for one of shapes. Errors:
    `ArgumentError`."""
    leaves, structure = flatten(_shapes(op, shape))
    dtypes = _dtypes(op, structure, len(leaves), dtype)
    made = [
        placeholder("input" if len(leaves) == 1 else f"input{i}", leaf.sizes, kind)
        for i, (leaf, kind) in enumerate(zip(leaves, dtypes, strict=True), start=1)
    ]
    return unflatten(structure, made)


def _shapes(op: str, shape: Any) -> Any:
    if isinstance(shape, (tuple, list)) and all(_is_size(s) for s in shape):
        return _Shape(shape)
    if isinstance(shape, (tuple, list)):
        return [_shapes(op, s) for s in shape]
    if isinstance(shape, Mapping):
        return {name: _shapes(op, s) for name, s in shape.items()}
    raise ArgumentError(
        "not a shape",
        op=op,
        expected="sizes such as ('n', 784), or a list or dict of shapes",
        given=repr(shape)[:80],
        hint="the batch is an axis too: ('n', 784)" if _is_size(shape) else "",
    )


def _is_size(size: Any) -> bool:
    whole = isinstance(size, int) and not isinstance(size, bool)
    return size is None or whole or isinstance(size, (str, Dim))


def _dtypes(op: str, structure: Structure, count: int, dtype: Any) -> list[Any]:
    if isinstance(dtype, (list, tuple, dict)):
        found = flatten_like(op, "dtype", "dtype", structure, dtype)
    else:
        found = [dtype] * count
    return [dtype_or_default(d) for d in found]
