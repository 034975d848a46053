"""`Layer`: a function of tensors that owns variables.

A subclass makes its variables in `build`, which runs at the first call, when the types of inputs
are known, and its result in `forward`. Variables and layers that are attributes (also in lists,
tuples and dicts) belong to it. State that a training call changes, such as a random key, is not
written: the call notes the new value, and `minimize(loss, model)` takes up what leads to `loss`.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from graphc.elsewhere import MODELS, no_member
from graphc.errors import ArgumentError, MaskWarning, ShapeError
from graphc.ir import origin
from graphc.ir.copying import Unsaved
from graphc.ir.dtype import DType, default_dtype, dtype_or_default, promote
from graphc.ir.given import as_flag
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, Variable
from graphc.ir.operators import function
from graphc.ir.shape import TensorType, show
from graphc.ir.structure import LEAF, Structure, flatten, unflatten
from graphc.nn import calls, constraints, initializers, regularizers
from graphc.nn.hooks import arguments, hook, placeholders
from graphc.nn.layouts import Entry, same
from graphc.nn.members import by_attribute, distinct, numbered, of_kind
from graphc.nn.notes import Notes
from graphc.nn.saving import Saved
from graphc.nn.summary import Row, operations, table
from graphc.ops.build import cast, settle, tensor
from graphc.ops.closure import fresh, tensors
from graphc.ops.create import zeros
from graphc.ops.leaf import placeholder, variable
from graphc.ops.random import fold_in

_outer: ContextVar[Layer | None] = ContextVar("graphc_layer", default=None)  # that is being called
_made: ContextVar[list[Layer] | None] = ContextVar("graphc_made", default=None)  # in its `forward`


class _Last(NamedTuple):
    """The last call: its inputs and keywords, with types for tensors; the types of its results."""

    given: list[Any]
    structure: Structure
    results: list[TensorType]
    result: Structure


@dataclass
class _Record:
    """What a layer remembers of its calls."""

    built: bool = False
    trainable: bool = True
    names: dict[Layer, str] = field(default_factory=dict)  # of the layers inside
    labels: dict[Variable, str] = field(default_factory=dict)  # the names of its own variables
    keys: set[Variable] = field(default_factory=set)  # those that are random keys
    notes: Notes = field(default_factory=Notes)
    last: _Last | None = None


class Layer(Saved, Unsaved):
    """Base of layers and models. Call it: `layer(x, training=False, mask=None)`.

    Inputs and results are tensors, or structures of tensors (`one_tensor` says that inputs are
    tensors only, and what else is given is an error). Nodes that it makes belong to the scope of
    its path, by which drawings group them.
    """

    _instead = "model.state_dict(), or a file by model.save_weights(path)"
    one_tensor = False
    numbers_layers = False  # whether layers inside without a name are called `dense1`, `dense2`

    is_named: bool
    name: str
    _record: _Record

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """What every layer has, whether or not a subclass calls `super().__init__()`."""
        made = super().__new__(cls)
        made.is_named, made.name, made._record = False, cls.__name__.lower(), _Record()
        if (now := _made.get()) is not None:
            now.append(made)
        return made

    def __init__(self, name: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise ArgumentError(
                "not a name",
                op=type(self).__name__,
                expected="a string that is not empty",
                given=repr(name)[:80],
                where=origin.where(),
                hint="layers are given in one list" if isinstance(name, Layer) else "",
            )
        if name is not None:
            self.is_named, self.name = True, name

    # -- what a subclass defines -------------------------------------------------------------------
    def build(self, *inputs: Any, **_: Any) -> None:
        """Make the variables, as `build(self, x)`, for an input of the type `x`: a `TensorType`, or
        for a structure of tensors one of types. Runs once, at the first call."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The result for an input, as `forward(self, x, training)`.

        It may have several inputs, and need not have `training`. It is given a `mask` where it has
        a parameter of that name, and further ones by keyword.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def output_mask(self, mask: Any) -> Any:
        """The mask of the result, for that of the input: what the next layer is given."""
        return mask

    @property
    def _heeds_mask(self) -> bool:
        """Whether it does something with a mask: what has other layers asks them."""
        return hook(type(self).forward).has("mask")

    def layout(self, library: str) -> list[Entry]:
        """How its own variables lie in a state of "torch" or "keras" (`graphc.nn.layouts`); by
        default under the same names."""
        own = self._own_names().items()
        return [same(name) for v, name in own if v not in self._record.keys]

    # -- calling -----------------------------------------------------------------------------------
    def __call__(self, *inputs: Any, training: bool = False, mask: Any = None, **named: Any) -> Any:
        outer = _outer.get()
        name = self.name if outer is None else outer._record.names.get(self, self.name)
        with origin.scope(name):
            called = hook(type(self).forward)
            options = arguments(self, called, inputs, training, mask, named)
            if mask is not None and not self._heeds_mask:
                origin.warn_once(
                    f"none of the layers of {self.name!r} takes a mask: it changes nothing",
                    MaskWarning,
                )
            given = [self._tensors(x) for x in inputs]
            options |= {n: self._tensors(options[n]) for n in called.inputs if n in options}
            self._build(given)
            token, before = _outer.set(self), self._record.notes.begin()
            inside = _made.set([])
            try:
                result = self.forward(*given, **options)
                self._check_made(_made.get() or ())
            finally:
                _made.reset(inside)
                _outer.reset(token)
                noted = self._record.notes.end(before)
            if result is None:
                raise ArgumentError(
                    "its forward gives nothing", op=f"{type(self).__name__} {self.name!r}",
                    expected="a tensor, or a structure of tensors", given="None",
                    where=origin.where(), hint="return the result at its end",
                )  # fmt: skip
            outputs, structure = tensors(self.name, result, "result")
            self._record.notes.mark(noted, outputs, training)
            if outer is None and not training:
                outputs = calls.noted(self, given, options, outputs)
            self._record.last = _Last(
                *_types((given, options)), [t.type for t in outputs], structure
            )
            return unflatten(structure, outputs)

    def _tensors(self, x: Any) -> Any:
        """An input, its leaves as tensors; a list of numbers is one."""
        leaves, structure = flatten(x)
        if structure != LEAF and leaves and all(isinstance(v, _NUMBERS) for v in leaves):
            leaves, structure = [tensor(x, self.name)], LEAF
        if self.one_tensor and structure != LEAF:
            raise ArgumentError(
                "it takes one tensor",
                op=f"{type(self).__name__} {self.name!r}",
                expected="a tensor or an array",
                given=repr(x)[:80],
                where=origin.where(),
            )
        made, _ = tensors(self.name, unflatten(structure, leaves), "x")
        floats = [settle(t, default_dtype()) if t.weak and t.dtype.is_float else t for t in made]
        return unflatten(structure, floats)

    def _build(self, given: list[Any]) -> None:
        if not self._record.built:
            types = [_typed(x) for x in given]
            taken = hook(type(self).build).most
            inside = _made.set(None)
            try:
                self.build(*types[: len(types) if taken is None else taken])
            finally:
                _made.reset(inside)
            self._record.built = True
        self._name_inner()

    def _check_made(self, made: Sequence[Layer]) -> None:
        """Errors: `ArgumentError` for a layer with variables that `forward` made and did not keep:
        each call would have one of its own, which nothing trains."""
        if not any(layer._own_names() for layer in made):
            return
        lost = set(made) - set(self.layers())
        for layer in made:
            if layer in lost and layer._own_names():
                kind, names = type(layer).__name__, layer._own_names().values()
                raise ArgumentError(
                    f"its forward makes a {kind}, whose variables are of this call only",
                    op=f"{type(self).__name__} {self.name!r}", given=", ".join(names),
                    where=origin.where(), hint="make it in __init__ or build, as an attribute",
                )  # fmt: skip

    def init(self, shape: Any, dtype: Any = None) -> Self:
        """Build without data, for an input of this shape; the model itself.

        Shapes: as of a placeholder, the batch included: `model.init(("n", 784))`; None is a size
        that is left open. Several shapes in a structure are an input of that structure.
        Dtypes: one for all inputs, or the same structure of them; by default the default one.
        Errors: `ArgumentError` for what is no shape; those of the layers.

        >>> import graphc as gc
        >>> gc.nn.Dense(3, name="head").init(("n", 4)).kernel.shape
        (4, 3)
        """
        self(placeholders("init", shape, dtype))
        return self

    def add_variable(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Any = "zeros",
        *,
        rng: np.random.Generator | None = None,
        dtype: DType | str | None = None,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Variable:
        """A new variable called `<scopes>/<layer>/<name>`; for use in `build`.

        `rng` is the layer's own generator, by default the one that `gc.nn.seed` sets; of the
        default dtype where none is given. What a regulariser makes of it is added to the loss, a
        constraint is applied to each new value.
        Errors: `ArgumentError` for an unknown initialiser, regulariser or constraint; `ShapeError`
        if its first value does not fit.
        """
        kind = dtype_or_default(dtype).numpy
        source = initializers.generator() if rng is None else rng
        first = initializers.get(initializer)(shape, source, kind)
        if np.shape(first) != shape:
            raise ShapeError(
                f"the initializer of {name!r} gave another shape",
                op=self.name,
                expected=show(shape),
                given=show(np.shape(first)),
                where=origin.where(),
            )
        path = origin.here()[0].scope
        made = variable(first, f"{path}/{name}" if path else name, trainable, kind)
        made.regularizer = regularizers.get(regularizer)
        made.constraint = constraints.get(constraint)
        self._record.labels[made] = name
        return made

    # -- what belongs to it ------------------------------------------------------------------------
    def _name_inner(self) -> dict[Layer, str]:
        """The layers right inside, and what each is called here; those without a name get one."""
        inner = of_kind(vars(self), Layer)
        kinds = Counter(layer.name for layer in inner)
        taken = {layer.name for layer in inner if layer.is_named}
        for layer, member in inner.items():
            if not layer.is_named:
                if self.numbers_layers:
                    layer.name = numbered(layer.name, taken)
                else:
                    layer.name = by_attribute(layer.name, kinds[layer.name] == 1, member)
                layer.is_named = True
        names = distinct([layer.name for layer in inner])
        self._record.names = dict(zip(inner, names, strict=True))
        return self._record.names

    if not TYPE_CHECKING:  # a checker knows what a layer has

        def __getattr__(self, name: str) -> Any:
            """What is not there: the hint for a name of Keras's or PyTorch's."""
            if name not in MODELS or hasattr(type(self), name):
                return object.__getattribute__(self, name)  # Python's own error
            raise no_member(self, name, MODELS)

    def layer_paths(self) -> dict[Layer, str]:
        """This layer and all layers inside it, each once with its path, outer before inner."""
        found: dict[Layer, str] = {}
        stack = [(self, self.name)]
        while stack:
            layer, path = stack.pop()
            if layer not in found:
                found[layer] = path
                inner = layer._name_inner()
                stack += [(part, f"{path}/{name}") for part, name in reversed(inner.items())]
        return found

    def layers(self) -> list[Layer]:
        """This layer and all layers inside it, each once, outer before inner."""
        return list(self.layer_paths())

    def paths(self) -> dict[str, Variable]:
        """All variables by their paths, such as `net/block1/dense/kernel`, in order of their
        layers. No two have one path. Errors: as `variables`."""
        found: dict[Variable, str] = {}
        for layer, path in self.layer_paths().items():
            if not layer._record.built and type(layer).build is not Layer.build:
                raise ArgumentError(
                    f"layer {layer.name!r} has no variables before its first call",
                    op=self.name,
                    where=origin.where(),
                    hint="call the model on a placeholder first: model(x), or model.init(shape)",
                )
            for v, name in layer._own_names().items():
                found.setdefault(v, f"{path}/{name}")
        return dict(zip(distinct(list(found.values())), found, strict=True))

    def _own_names(self) -> dict[Variable, str]:
        """The layer's own variables, and what each is called in it."""
        own = of_kind(vars(self), Variable)
        labels, plain = self._record.labels, (v.name.rpartition("/")[2] for v in own)
        names = [
            labels.get(v) or name or by_attribute("", False, member)
            for (v, member), name in zip(own.items(), plain, strict=True)
        ]
        return dict(zip(own, distinct(names), strict=True))

    def _random_keys(self) -> set[Variable]:
        """The variables that are random keys."""
        return set[Variable]().union(*(layer._record.keys for layer in self.layers()))

    def variables(self) -> list[Variable]:
        """All variables, in order of their layers; `paths()` has their names too.

        Errors: `ArgumentError` if a layer has not been called yet, so that it has none.
        """
        return list(self.paths().values())

    def parameters(self) -> list[Variable]:
        """The trainable variables of trainable layers, in order. Errors: as `variables`."""
        self.variables()  # all there are
        trainable = [layer._own_parameters() for layer in self.layers() if layer.trainable]
        return list(dict.fromkeys(v for own in trainable for v in own))

    def _own_parameters(self) -> list[Variable]:
        return [v for v in of_kind(vars(self), Variable) if v.trainable]

    @property
    def trainable(self) -> bool:
        """Whether `parameters()` has this layer's. Setting it sets it for all layers inside too,
        and not for the variables themselves; a step that is compiled goes on as it is."""
        return self._record.trainable

    @trainable.setter
    def trainable(self, new: bool) -> None:
        for layer in self.layers():
            layer._record.trainable = as_flag(new, self.name)

    def penalty(self) -> Tensor:
        """What the regularisers make of the parameters, summed: a scalar, 0 without any.

        A loss that is minimised has it anyhow; add it to one that is shown. Errors: as `variables`.
        """
        parts = [part for v in self.parameters() if (part := v.penalty()) is not None]
        if not parts:
            nothing: Tensor = zeros((), default_dtype())
            return nothing
        widest = reduce(promote, [part.dtype for part in parts])
        return reduce(operator.add, [cast(part, widest) for part in parts])

    # -- state that a training call changes --------------------------------------------------------
    def current(self, state: Variable) -> Tensor:
        """The value of `state` at this point of a training call: what is noted, or itself."""
        return self._record.notes.current(state)

    def note_update(self, state: Variable, value: Tensor) -> None:
        """Note the new value of `state`, for use in `forward`; `updates()` hands it on."""
        self._record.notes.add(state, value)

    def add_loss(self, value: Any) -> None:
        """Add a scalar to each loss that the running call leads to, for use in `forward`: what is
        asked of the inside, such as that experts are used evenly, or that values are sparse.

        `minimize(loss, model)` and `Trainer` add it, also to the loss of `evaluate`; `losses(loss)`
        has it for a loss that is shown.
        Errors: `ArgumentError` for what is no float scalar.

        >>> import graphc as gc
        >>> class Sparse(gc.nn.Layer):
        ...     def forward(self, x):
        ...         self.add_loss(0.1 * gc.mean(gc.abs(x)))
        ...         return x * 2
        >>> sparse, x = Sparse(), gc.placeholder("x", (2,))
        >>> gc.evaluate(sparse.losses(sparse(x))[0], {x: [2.0, -4.0]}).round(6)
        np.float32(0.3)
        """
        part = tensor(value, "add_loss")
        if part.shape != () or not part.dtype.is_float:
            raise ArgumentError(
                "what is added to a loss is a float scalar", given=str(part.type),
                op=f"{type(self).__name__} {self.name!r}", where=origin.where(),
                hint="gc.mean of it" if part.shape != () else "",
            )  # fmt: skip
        self._record.notes.add_loss(part)

    def add_key(self, name: str = "key", *, seed: int | None = None) -> Variable:
        """A variable that is a key of `gc.random`, for use in `build`; `draw` takes keys of it."""
        rng = initializers.generator(seed)
        made = self.add_variable(name, (2,), _random_key, rng=rng, dtype="uint32", trainable=False)
        self._record.keys.add(made)
        return made

    def draw(self, key: Variable) -> Tensor:
        """A key that no other call in this step has, for use in `forward`; the next step begins
        with the one after it."""
        now = self.current(key)
        self.note_update(key, fold_in(now, 1))
        return now

    def updates(self, *results: Any) -> dict[Variable, Tensor]:
        """New values of state variables by the training calls since they were last collected.

        `minimize(loss, model)` has them. Otherwise they belong into the `updates` of the compiled
        step, beside the optimiser's. Where `results` are given, such as the loss, of a layer that
        was called for several of them the calls count that lead to these. The next training call
        starts afresh.
        """
        leaves = [t for t in flatten(list(results))[0] if isinstance(t, Tensor)]
        found: dict[Variable, Tensor] = {}
        for layer in self.layers():
            found |= layer._record.notes.collect(leaves)
        return found

    def losses(self, *results: Any) -> list[Tensor]:
        """The scalars that layers added by `add_loss` in the calls that lead to `results`.

        Errors: `ArgumentError` for a training call in a loop, of which only its steps know."""
        leaves = [t for t in flatten(list(results))[0] if isinstance(t, Tensor)]
        return [part for layer in self.layers() for part in layer._record.notes.losses(leaves)]

    def traced(self) -> Graph:
        """A call without training as a graph, for placeholders of the types of the last inputs: x,
        or x1, x2, ...

        Errors: `ArgumentError` for a layer that was not called yet.
        """
        last = self._record.last
        if last is None:
            raise ArgumentError(
                f"layer {self.name!r} was not built",
                op=self.name,
                where=origin.where(),
                hint="call it on a placeholder first: model(x), or model.init(shape)"
                if type(self).__call__ is Layer.__call__
                else f"{type(self).__name__} defines __call__: forward is what a call of it does",
            )
        types = [leaf for leaf in last.given if isinstance(leaf, TensorType)]
        names = ["x"] if len(types) == 1 else [f"x{i}" for i in range(1, len(types) + 1)]
        made = [placeholder(n, t.shape, t.dtype) for n, t in zip(names, types, strict=True)]
        return Graph(made, self._again(last, made), name=self.name)

    # -- for people --------------------------------------------------------------------------------
    def summary(self, shape: Any = None, dtype: Any = None) -> str:
        """A table of the layers: path and kind, shape of the last result, number of parameters, and
        the operations of a call. With a shape, and perhaps a dtype, the model is built first, as
        `init` does.

        Errors: as `init` and `variables`.
        """
        if shape is not None:
            self.init(shape, dtype)
        paths = self.layer_paths()
        owned = {layer: layer._own_parameters() for layer in paths}
        every = {v for own in owned.values() for v in own}
        rows = [
            layer._row(path, _count(own))
            for (layer, path), own in zip(paths.items(), owned.values(), strict=True)
            if own or not layer._record.names  # a container of layers has no row of its own
        ]
        frozen = every - set(self.parameters())
        return table(self.name, rows, _count(every), _count(frozen))

    def _row(self, path: str, parameters: int) -> Row:
        kind, last = type(self).__name__, self._record.last
        if last is None:
            return Row(path, kind, "not called", parameters, None)
        shown = repr(unflatten(last.result, [_Shown(show(t.shape)) for t in last.results]))
        made = fresh("summary", [t for t in last.given if isinstance(t, TensorType)])
        return Row(path, kind, shown, parameters, operations(made, self._again(last, made)))

    def _again(self, last: _Last, made: Sequence[Tensor]) -> list[Tensor]:
        """The results of a call without training for other tensors in place of those of the last
        one."""
        given = iter(made)
        again = [next(given) if isinstance(t, TensorType) else t for t in last.given]
        inputs, options = unflatten(last.structure, again)
        results: list[Tensor] = flatten(self(*inputs, **options | {"training": False}))[0]
        return results

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _repr_svg_(self) -> str | None:
        """The picture with a box for each layer; None before it is built."""
        if self._record.last is None:
            return None
        return str(function("_draw_")(self, level="model")._repr_svg_())

    def _repr_latex_(self) -> str | None:
        found: str | None = function("_repr_latex_")(self)
        return found

    def _repr_html_(self) -> str | None:
        found: str | None = function("_repr_html_")(self)
        return found


class _Shown(str):
    """A text that reads as itself in a structure."""

    def __repr__(self) -> str:
        return str(self)


def _random_key(shape: Any, rng: np.random.Generator, dtype: Any) -> Any:
    return rng.integers(1 << 32, size=shape, dtype=dtype)


_NUMBERS = (int, float, complex, np.generic)


def _types(x: Any) -> tuple[list[Any], Structure]:
    """The leaves of a tree, with types for tensors, and its structure."""
    leaves, structure = flatten(x)
    return [t.type if isinstance(t, Tensor) else t for t in leaves], structure


def _count(variables: Iterable[Variable]) -> int:
    return sum(v.value.size for v in variables)


def _typed(x: Any) -> Any:
    """A tree of tensors as one of types."""
    types, structure = _types(x)
    return unflatten(structure, types)
