"""Layers of several tensors, and layers around a function or another layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, show
from graphc.ir.structure import flatten
from graphc.nn.checks import error
from graphc.nn.module import Layer
from graphc.ops.shape import concat


class Lambda(Layer):
    """A function of tensors as a layer: what it gives for what it is given.

    It has no variables. A function with a parameter `training` is told whether it is.
    Errors: `ArgumentError` for what is no function.

    >>> import graphc as gc
    >>> gc.nn.Lambda(lambda x: x * 2)(gc.placeholder("x", ("n", 3))).shape
    (n, 3)
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(name)
        if not callable(function):
            given = repr(function)[:80]
            raise error(self, ArgumentError, "not a function", expected="a callable", given=given)
        self.function = function

        self._told = "training" in _parameters(function)

    def forward(self, *inputs: Any, training: bool) -> Any:
        return self.function(*inputs, **({"training": training} if self._told else {}))


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # it does not say
        return []


class _Merge(Layer):
    """What they share: several tensors, as a list or one by one."""

    def _several(self, inputs: tuple[Any, ...]) -> list[Tensor]:
        found = flatten(list(inputs))[0]
        if len(found) < 2:
            raise error(
                self,
                ArgumentError,
                "it joins several tensors",
                expected="at least two: layer([a, b]) or layer(a, b)",
                given=str(len(found)),
            )
        return found


class Add(_Merge):
    """The sum of tensors of one shape: `Add()([a, b])`, or `Add()(a, b)`.

    Errors: `ShapeError` where the shapes differ; `ArgumentError` for a single tensor.
    """

    def forward(self, *inputs: Any) -> Tensor:
        first, *others = self._several(inputs)
        for other in others:
            if not may_be_equal(first.shape, other.shape):
                raise error(
                    self,
                    ShapeError,
                    "the tensors are of different shapes",
                    expected=show(first.shape),
                    given=show(other.shape),
                )
            first = first + other
        return first


class Concatenate(_Merge):
    """The tensors one after another along `axis`, by default the last.

    Errors: those of `gc.concat`; `ArgumentError` for a single tensor.
    """

    def __init__(self, axis: int = -1, name: str | None = None) -> None:
        super().__init__(name)
        self.axis = axis

    def forward(self, *inputs: Any) -> Tensor:
        return concat(self._several(inputs), axis=self.axis)


class Residual(Layer):
    """x + inner(x), for a layer whose result has the shape of its input.

    Errors: `ShapeError` for another shape; `ArgumentError` for what is no layer.
    Source: He et al., "Deep Residual Learning for Image Recognition" (2016), equation 1.
    """

    one_tensor = True

    def __init__(self, inner: Layer, name: str | None = None) -> None:
        super().__init__(name)
        if not isinstance(inner, Layer):
            raise error(
                self, ArgumentError, "not a layer", expected="a layer", given=repr(inner)[:80]
            )
        self.inner = inner

    @property
    def _heeds_mask(self) -> bool:
        return self.inner._heeds_mask

    def forward(self, x: Tensor, training: bool, mask: Any = None) -> Tensor:
        taken = mask if self.inner._heeds_mask else None
        inner: Tensor = self.inner(x, training=training, mask=taken)
        if not may_be_equal(x.shape, inner.shape):
            raise error(
                self,
                ShapeError,
                "the inner layer changes the shape",
                expected=show(x.shape),
                given=show(inner.shape),
            )
        return x + inner
