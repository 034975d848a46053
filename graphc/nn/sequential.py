"""`Sequential`: layers one after another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir.node import Tensor
from graphc.nn.layers import Activation
from graphc.nn.module import Layer, error


class Sequential(Layer):
    """The layers applied in order; a plain function of a tensor counts as an `Activation`.

    Layers without a name get one from their kind and number: `dense1`, `dense2`, `dropout1`.
    Errors: `ArgumentError` for no layers, what is no layer, and two layers of one name.
    """

    def __init__(self, layers: Iterable[Any], name: str | None = None) -> None:
        super().__init__(name)
        self.stack = [self._layer(item) for item in _listed(layers)]
        if not self.stack:
            raise error(self, ArgumentError, "no layers", expected="at least one layer")
        self._name_layers()

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

    def _name_layers(self) -> None:
        distinct = dict.fromkeys(self.stack)
        taken = {layer.name for layer in distinct if layer.is_named}
        counts: dict[str, int] = {}
        owners: dict[str, Layer] = {}
        for layer in distinct:
            if not layer.is_named:
                kind = type(layer).__name__.lower()
                counts[kind] = counts.get(kind, 0) + 1
                while f"{kind}{counts[kind]}" in taken:
                    counts[kind] += 1
                layer.name, layer.is_named = f"{kind}{counts[kind]}", True
            if layer.name in owners:
                raise error(
                    self,
                    ArgumentError,
                    "two layers have one name",
                    given=repr(layer.name),
                    hint="give each layer a name of its own",
                )
            owners[layer.name] = layer

    def forward(self, x: Tensor, training: bool) -> Tensor:
        for layer in self.stack:
            x = layer(x, training)
        return x


def _listed(layers: Any) -> list[Any]:
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise ArgumentError(
            "not a list of layers", op="Sequential", given=repr(layers)[:80],
            hint="Sequential([layer, ...])",
        )  # fmt: skip
    return list(layers)
