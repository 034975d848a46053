"""`Sequential`: layers one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.nn.checks import error
from graphc.nn.layers import Activation
from graphc.nn.module import Layer


class Sequential(Layer):
    """The layers applied in order; a plain function of a tensor counts as an `Activation`.

    What a layer returns, a tuple too, is the one input of the next. A mask is given to the layers
    that take one. Layers without a name get one from their kind and number: `dense1`, `dense2`,
    `dropout1`.
    Errors: `ArgumentError` for what is no layer, and no layers.

    >>> import graphc as gc
    >>> model = gc.nn.Sequential(name="net")
    >>> model.add(gc.nn.Dense(3, "relu"))
    >>> model.add(gc.nn.Dense(2, use_bias=False))
    >>> [*model.init(("n", 4)).paths()]
    ['net/dense1/kernel', 'net/dense1/bias', 'net/dense2/kernel']
    >>> [layer.name for layer in model], model[-1].name
    (['dense1', 'dense2'], 'dense2')
    """

    numbers_layers = True

    def __init__(self, layers: Iterable[Any] | None = None, name: str | None = None) -> None:
        super().__init__(name)
        self.stack = [self._layer(item) for item in _listed(layers)]
        if layers is not None and not self.stack:
            raise self._empty()
        self._name_inner()

    def add(self, layer: Any) -> None:
        """One more layer at the end. Errors: `ArgumentError` for what is none."""
        self.stack.append(self._layer(layer))
        self._name_inner()

    def __getitem__(self, place: int) -> Layer:
        """The layer at a place, from the end for negative ones. Errors: `IndexError`."""
        return self.stack[place]

    def __iter__(self) -> Iterator[Layer]:
        """The layers in order."""
        return iter(self.stack)

    def _layer(self, item: Any) -> Layer:
        if isinstance(item, Layer):
            return item
        if callable(item) and not isinstance(item, type):
            return Activation(item)
        raise error(
            self,
            ArgumentError,
            "not a layer",
            expected="layers, or functions of a tensor",
            given=repr(item)[:80],
        )

    def _empty(self) -> Exception:
        return error(self, ArgumentError, "no layers", expected="at least one layer")

    def outputs(self, x: Any, *, training: bool = False, mask: Any = None) -> list[Any]:
        """What each layer gives for `x`, in order; the last is what the model gives.

        Each may be an output of a functional model that shares the layers:
        `Model(x, model.outputs(x)[1])`. Errors: as a call.

        >>> import graphc as gc
        >>> model = gc.nn.Sequential([gc.nn.Dense(3, "relu"), gc.nn.Dense(2)], name="net")
        >>> x = gc.nn.Input(("n", 4))
        >>> [h.shape for h in model.outputs(x)]
        [(n, 3), (n, 2)]
        >>> inner = gc.nn.Model(x, model.outputs(x)[0])
        """
        with origin.scope(self.name):
            return list(self._results(x, training, mask))

    def forward(self, x: Any, training: bool, mask: Any = None) -> Any:
        for x in self._results(x, training, mask):  # noqa: B007, B020
            pass
        return x

    def _results(self, x: Any, training: bool, mask: Any) -> Iterator[Any]:
        if not self.stack:
            raise self._empty()
        for layer in self.stack:
            taken = mask if layer._heeds_mask else None
            x = layer(x, training=training, mask=taken)
            mask = layer.output_mask(mask)
            yield x

    @property
    def _heeds_mask(self) -> bool:
        return any(layer._heeds_mask for layer in self.stack)

    def output_mask(self, mask: Any) -> Any:
        for layer in self.stack:
            mask = layer.output_mask(mask)
        return mask


def _listed(layers: Any) -> list[Any]:
    if isinstance(layers, Layer) or not (layers is None or isinstance(layers, Iterable)):
        raise ArgumentError(
            "not a list of layers", op="Sequential", given=repr(layers)[:80],
            hint="Sequential([layer, ...])",
        )  # fmt: skip
    return [] if layers is None else list(layers)
