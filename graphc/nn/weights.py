"""What a layer is told of one kind of its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.dtype import DType
from graphc.ir.node import Variable
from graphc.nn import constraints, initializers, regularizers
from graphc.nn.module import Layer


class Weights:
    """First values, a regulariser and a constraint, by names or as functions.

    Errors: `ArgumentError` for unknown names.
    """

    def __init__(self, initializer: Any, regularizer: Any = None, constraint: Any = None) -> None:
        self.initializer = initializers.get(initializer)
        self.given = not isinstance(initializer, str) and not callable(initializer)  # as numbers
        self.regularizer = regularizers.get(regularizer)
        self.constraint = constraints.get(constraint)

    def variable(
        self,
        layer: Layer,
        name: str,
        shape: tuple[int, ...],
        rng: np.random.Generator | None,
        dtype: DType | str | None,
        initializer: Any = None,
    ) -> Variable:
        """A new variable of `layer`, by another initialiser where one is given."""
        return layer.add_variable(
            name,
            shape,
            self.initializer if initializer is None else initializer,
            rng=rng,
            dtype=dtype,
            regularizer=self.regularizer,
            constraint=self.constraint,
        )
