"""Nodes and tensors: the graph as a value.

A `Node` is one operation applied to tensors; a `Tensor` is one output of a node. Both are
immutable and interned (weakly), so equality is identity and a common subexpression exists once.
A `Variable` is a tensor with a state cell beside it; state changes by updates only.
"""

from __future__ import annotations

import operator
import struct
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graphc import locks
from graphc.errors import ArgumentError, GraphcError, ShapeError, SymbolicValueError
from graphc.ir import conditions, origin, protocols
from graphc.ir.asked import NO_INT, constructs
from graphc.ir.dim import Size
from graphc.ir.dtype import DType
from graphc.ir.given import as_flag, fitting_array, short
from graphc.ir.op import Attrs, Fact, Op, registry
from graphc.ir.operators import Operators, functions
from graphc.ir.recording import record, recorders
from graphc.ir.shape import Shape, TensorType, show
from graphc.machines import LINE, PAGE
from graphc.memory import empty


class ArrayValue:
    """A constant's array: read-only, in C order, hashed and compared by type and bytes."""

    __slots__ = ("_hash", "array")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        native = array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
        native.setflags(write=False)
        self.array = native
        self._hash = hash((native.dtype.str, native.shape, self.data))

    @property
    def data(self) -> bytes:
        """A copy of the array's bytes."""
        return self.array.tobytes()

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> Any:
        return ArrayValue, (self.array,)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ArrayValue)
            and self._hash == other._hash
            and self.array.dtype == other.array.dtype
            and self.array.shape == other.array.shape
            and self.data == other.data
        )


class Node:
    """One operation applied to tensors. Made by `apply` only; never changed after."""

    __slots__ = (
        "__weakref__", "_outputs", "attrs", "inputs", "needs", "op", "origins", "serial", "types",
        "weak",
    )  # fmt: skip

    op: Op
    inputs: tuple[Tensor, ...]
    attrs: Attrs
    types: tuple[TensorType, ...]
    needs: tuple[conditions.Condition, ...]  # what has to hold of its sizes, and is not certain
    serial: int  # grows with creation: an input's is smaller than its user's
    origins: tuple[origin.Origin, ...]
    weak: bool  # made of Python numbers alone: see `Tensor.weak`
    _outputs: list[Callable[[], Tensor | None]]

    def output(self, index: int = 0) -> Tensor:
        """The tensor that is output `index` of this node."""
        with graph_lock:
            alive = self._outputs[index]()
            if alive is not None:
                return alive
            made = _tensor_class(self.op)(self, index)
            self._outputs[index] = weakref.ref(made)
            return made

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        if len(self.types) == 1:
            return (self.output(),)
        return tuple([self.output(i) for i in range(len(self.types))])

    def __repr__(self) -> str:
        return f"<node {self.op.name} {', '.join(map(str, self.types))}>"

    def __copy__(self) -> Node:
        return self

    def __reduce__(self) -> Any:
        return operator.attrgetter("node"), (self.output(),)


_table: weakref.WeakValueDictionary[Any, Node] = weakref.WeakValueDictionary()
graph_lock = locks.kept("graph")  # of the tables of nodes and graphs
_serial = 0


def _shared(types: tuple[TensorType, ...], operands: Sequence[Tensor]) -> tuple[TensorType, ...]:
    """`types`: the same object as those of an operand, where they are equal."""
    for t in operands[:2]:
        if t.node.types == types:
            return t.node.types
    return types


_NO_ATTRS: Attrs = MappingProxyType({})


def _dead() -> None:
    return None


def apply(op: Op, inputs: Sequence[Tensor] = (), **attrs: Any) -> Node:
    """The node `op(inputs, attrs)`: the existing one if it is alive, else a new one. Of what
    kernels do not compute with, complex numbers and float16, the node that `ops/lift.py` makes.

    Errors: those of the op's type rule, with the op's name and the user's line added.
    """
    global _serial
    operands = tuple(inputs)
    # A tensor lives as long as a node that uses it, and is one object as long as it lives.
    # Attributes are a set: in which order they are written makes no other node.
    named = frozenset([(k, _frozen(v)) for k, v in attrs.items()]) if attrs else None
    key = (op, *map(id, operands), named)
    with graph_lock:
        node = _table.get(key)
        if node is not None:
            node.origins = origin.merge(node.origins, origin.here())
            if recorders:
                record(node)
            return node
        given = [t.node.types[t.index] for t in operands]
        if Fact.AS_STORED not in op.facts and [t for t in given if not t.dtype.is_computed]:
            lifted: Node | None = functions()["_lifted_"](op, operands, attrs)
            if lifted is not None:
                return lifted
        conditions.forget()
        try:
            made = op.infer(*given, **attrs)
            types = _shared(made, operands)
            for type in made if types is made else ():  # an operand's have been seen
                conditions.require_shape(type.dtype.itemsize, type.shape)
        except GraphcError as error:
            raise located(error, op.name) from None
        node = Node()
        node.op, node.inputs, node.attrs = op, operands, attrs or _NO_ATTRS
        node.types = types
        node._outputs = [_dead] * len(types)
        node.needs = conditions.noted()
        node.weak = _is_weak(op, operands, types)
        node.origins = origin.here()
        _serial += 1
        node.serial = _serial
        _table[key] = node
        if recorders:
            record(node)
        return node


def _is_weak(op: Op, operands: tuple[Tensor, ...], types: tuple[TensorType, ...]) -> bool:
    """Whether all operands are weak that have the result's dtype (a condition has not, nor have the
    indices of a `take`); all of them, if none has."""
    marks = [t.node.weak for t in operands]
    if op.weak is not None or True not in marks:
        return bool(op.weak)
    deciding = [m for m, t in zip(marks, operands, strict=True) if t.dtype is types[0].dtype]
    return False not in (deciding or marks)


def located(error: GraphcError, op: str) -> GraphcError:
    """`error` again, with the op and the user's line filled in where they were missing."""
    return type(error)(
        error.message,
        op=error.op or op,
        expected=error.expected,
        given=error.given,
        where=error.where or origin.where(),
        hint=error.hint,
    )


def current_serial() -> int:
    """The serial of the newest node: nodes made from now on have larger ones."""
    return _serial


def _frozen(value: Any) -> Any:
    """An attribute value as a key in which 0.0 differs from -0.0, and 1 from 1.0."""
    if isinstance(value, float):
        return ("float", struct.pack("d", value))
    if isinstance(value, tuple):
        return tuple(_frozen(v) for v in value)
    return value


class Tensor(Operators):
    """One output of a node: what the user holds. Behaves like a NumPy array that has no values yet.

    `==` builds a comparison node; identity (`is`) and `hash` are those of the object.
    """

    __slots__ = ("__weakref__", "index", "node")
    __hash__ = object.__hash__
    _op_priority = 100.0  # SymPy's: the operators of its numbers leave it to who has more

    def __init__(self, node: Node, index: int) -> None:
        self.node, self.index = node, index

    @property
    def type(self) -> TensorType:
        return self.node.types[self.index]

    @property
    def dtype(self) -> DType:
        return self.node.types[self.index].dtype

    @property
    def shape(self) -> Shape:
        return self.node.types[self.index].shape

    @property
    def weak(self) -> bool:
        """Whether it is made of Python numbers alone: computed in float64 or int64, and converted
        to the dtype of what it meets."""
        return self.node.weak

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> Size:
        return self.type.size

    @property
    def name(self) -> str:
        """The user's name of a placeholder or variable, else ''."""
        return str(self.node.attrs.get("name", ""))

    def __repr__(self) -> str:
        label = f" {self.name!r}" if self.name else ""
        weak = ", weak" if self.weak else ""
        known = self._known()
        what = self.node.op.name if known is None else short(known)
        return f"<{type(self).__name__}{label} {self.type} = {what}{weak}>"

    def __str__(self) -> str:
        known = self._known()
        if known is None:
            return repr(self)
        label = f"{self.name!r}, " if self.name else ""
        head = f"{type(self).__name__}({label}"
        shown = np.array2string(known, threshold=1000, prefix=head)
        return f"{head}{shown}, shape={known.shape}, dtype={known.dtype})"

    def _known(self) -> np.ndarray[Any, Any] | None:
        """The value of a constant, and of a variable now."""
        found = self.node.attrs.get("value") if Fact.CONSTANT in self.node.op.facts else None
        return found.array if isinstance(found, ArrayValue) else None

    def numpy(self) -> Any:
        """The value of a tensor that is made of constants and variables, as these are now.

        Computed by the interpreter, as `gc.evaluate` does; a scalar is one of NumPy's.
        Errors: `SymbolicValueError` for a tensor that needs an input.
        """
        return functions()["_numpy_"](self)

    def item(self) -> Any:
        """The value of a tensor of one element as Python's number, as `numpy`."""
        return self.numpy().item()

    def tolist(self) -> Any:
        """The value as Python's numbers in nested lists, as `numpy`."""
        return self.numpy().tolist()

    def _repr_svg_(self) -> str:
        return str(functions()["_repr_svg_"](self))

    def _repr_latex_(self) -> str | None:
        found: str | None = functions()["_repr_latex_"](self)
        return found

    def _repr_html_(self) -> str | None:
        found: str | None = functions()["_repr_html_"](self)
        return found

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: Any) -> Tensor:
        """Itself, for it is a value; over copies of its variables, if it has any."""
        copy: Tensor = functions()["_deepcopy_tensors_"]([self], memo)[0]
        return copy

    def __reduce__(self) -> Any:
        return functions()["_reduce_tensor_"](self)  # as text, in copying.py

    # -- what a symbolic tensor cannot do, with the way out ----------------------------------------
    if not TYPE_CHECKING:  # a checker knows what a tensor has

        def __getattr__(self, name: str) -> Any:
            """What is not there: the hint for a name of TensorFlow's or PyTorch's."""
            from graphc.elsewhere import TENSORS, no_member  # only where somebody erred

            if name not in TENSORS:
                return object.__getattribute__(self, name)  # Python's own error
            raise no_member(self, name, TENSORS)

    def _no_value(self, wanted: str, hint: str) -> NoReturn:
        raise SymbolicValueError(
            f"a symbolic tensor has no {wanted} while the graph is being built",
            op="Tensor",
            given=repr(self),
            where=origin.outside_libraries(),
            hint=hint,
        )

    def __bool__(self) -> bool:
        hint = constructs(origin.user_frame()) or "use gc.where or gc.cond to choose by value"
        if self.node.op.name == "equal":
            hint += "; `v in tensors` compares values: use any(v is t for t in tensors)"
        self._no_value("truth value", hint)

    def __int__(self) -> int:
        self._no_value("int value", "use .astype('int64'), or compile and call the function")

    def __index__(self) -> int:
        self._no_value("int value", constructs(origin.user_frame()) or NO_INT)

    def __float__(self) -> float:
        self._no_value(
            "float value",
            "use gc.sin for math.sin, and so on, and gc.stack for a list of tensors; compile and "
            "call the function to get a number",
        )

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no_value(
            "array",
            "compile and call the function, or use gc.evaluate; gc.stack makes one of a list",
        )

    def __format__(self, spec: str) -> str:
        """`f"{t}"` is what `print` shows; digits are those of a number, which there is not yet."""
        return format(float(self), spec) if spec else str(self)

    def __round__(self, digits: int | None = None) -> NoReturn:
        self._no_value("digits", "use gc.round, or compile and call the function")

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("a scalar has no length", op="len", where=origin.where())
        if not isinstance(self.shape[0], int):
            self._no_value("length", "the first axis has a symbolic size; use .shape[0]")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.shape and not isinstance(self.shape[0], int):
            hint = "gc.scan and gc.map walk along a first axis of any size"
            self._no_value("number of elements to iterate over", hint)
        return iter([self[i] for i in range(len(self))])

    def __contains__(self, item: Any) -> bool:
        self._no_value("members", "use gc.max(x == value) or a comparison of your own")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise SymbolicValueError(
            "a tensor is a value: its elements cannot be assigned",
            op="setitem",
            given=repr(self),
            where=origin.where(),
            hint="x = x.at[key].set(value) makes a new tensor, and so does gc.where; a variable "
            "changes by updates, or by .value between calls",
        )

    # -- NumPy's protocols: np.tanh(t), ndarray @ t build nodes ------------------------------------
    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The functions of tensors by the array API's names: the module `graphc`."""
        return functions()["_namespace_"](api_version)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return protocols.call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return protocols.call_function(func, args, kwargs)


class Cell:
    """The state of a variable: its array (a copy, on a cache line), its lock, its identity.

    `remote`: its memory on devices, or None. Its `bring_home()` makes the array the newest, its
    `written_at_home()` says that only the array is.
    """

    __slots__ = (
        "__weakref__", "array", "constraint", "lock", "name", "regularizer", "remote", "serial",
        "trainable",
    )  # fmt: skip

    def __init__(self, array: np.ndarray[Any, Any], name: str, trainable: bool) -> None:
        self.regularizer: Callable[[Any], Tensor] | None = None
        self.constraint: Callable[[Any], Tensor] | None = None
        self.array, self.name, self.trainable = _on_cache_line(array), name, trainable
        self.lock = locks.private()
        self.serial = next(_cell_serials)
        self.remote: Any = None

    def bring_home(self, written: bool = False) -> None:
        """The array has the newest value; if it is `written` next, only it has. Who calls holds
        the lock."""
        if self.remote is not None:
            self.remote.bring_home()
            if written:
                self.stay_home()

    def stay_home(self) -> None:
        """The array is about to get a new value. Who calls holds the lock."""
        if self.remote is not None:
            self.remote.written_at_home()


def _on_cache_line(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy in C order whose first element starts a cache line: a vector load that crosses two
    lines costs two, and a matrix product does little else than load.

    Large ones, one after the other, start on different lines of their pages: a parameter and the
    optimiser's state of it are walked over in step, and take each other's lines in a cache else.
    """
    place, room = 0, LINE
    if array.nbytes >= _LARGE:
        place, room = next(_large) * _APART % PAGE, PAGE
    memory = empty(array.nbytes + room)
    start = (place - memory.ctypes.data) % room
    used = memory[start : start + array.nbytes]
    copy: np.ndarray[Any, Any] = used.view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


_LARGE = 8 * PAGE  # bytes of arrays that have their places in pages chosen
_APART = 11 * LINE  # from one to the next: no two of 64 in a row have the same
_large = iter(range(1 << 62))
_cell_serials = iter(range(1 << 62))
elsewhere: weakref.WeakSet[Cell] = weakref.WeakSet()  # the variables that have been on a device


class Variable(Tensor):
    """A tensor whose value lives between calls. `value` copies out, and copies in with checks."""

    __slots__ = ()
    __hash__ = object.__hash__

    @property
    def cell(self) -> Cell:
        cell: Cell = self.node.attrs["cell"]
        return cell

    @property
    def name(self) -> str:
        return self.cell.name

    def _known(self) -> np.ndarray[Any, Any] | None:
        return self.value

    @property
    def trainable(self) -> bool:
        """Whether it is one of the `parameters()` of the layer that it belongs to. Can be set; a
        function that is compiled already goes on as it is."""
        return self.cell.trainable

    @trainable.setter
    def trainable(self, new: bool) -> None:
        self.cell.trainable = as_flag(new, f"variable {self.name!r}")

    @property
    def regularizer(self) -> Callable[[Any], Tensor] | None:
        """A function of the variable whose result, a scalar, is added to a loss that is minimised
        over it; or None. Can be set."""
        return self.cell.regularizer

    @regularizer.setter
    def regularizer(self, new: Callable[[Any], Tensor] | None) -> None:
        self.cell.regularizer = _function_or_none(self, "regularizer", new)

    @property
    def constraint(self) -> Callable[[Any], Tensor] | None:
        """A function that optimisers apply to each new value before it is stored; or None. Can be
        set."""
        return self.cell.constraint

    @constraint.setter
    def constraint(self, new: Callable[[Any], Tensor] | None) -> None:
        self.cell.constraint = _function_or_none(self, "constraint", new)

    def penalty(self) -> Tensor | None:
        """What its regulariser makes of it; None without one. Errors: `ShapeError` for what is no
        scalar."""
        made = None if self.regularizer is None else self.regularizer(self)
        if made is not None and made.shape != ():
            raise ShapeError(
                "a penalty is a scalar",
                op=f"the regularizer of {self.name!r}",
                expected="()",
                given=show(made.shape),
                where=origin.where(),
            )
        return made

    def constrained(self, value: Tensor) -> Tensor:
        """`value` as its constraint allows it. Errors: `ShapeError` where that has another type."""
        made = value if self.constraint is None else self.constraint(value)
        if made.type != self.type:
            raise ShapeError(
                "a constraint gives the type of the variable",
                op=f"the constraint of {self.name!r}",
                expected=str(self.type),
                given=str(made.type),
                where=origin.where(),
            )
        return made

    def __deepcopy__(self, memo: Any) -> Tensor:
        """A new variable with this one's value, so that a copy of a model trains on its own."""
        copy = _variable(*self._state())
        copy.regularizer, copy.constraint = self.regularizer, self.constraint
        return copy

    def __reduce__(self) -> Any:
        return _variable, self._state()

    def _state(self) -> tuple[np.ndarray[Any, Any], str, bool]:
        return self.value, self.cell.name, self.cell.trainable

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """The current value, as an array that stays as it is: `np.array(v.value)` can be written.
        The value changes by updates, and by assignment: `v.value = v.value + 1`."""
        with self.cell.lock:
            self.cell.bring_home()
            copy = self.cell.array.copy()
        copy.setflags(write=False)
        return copy

    @value.setter
    def value(self, new: Any) -> None:
        array = fitting_array(f"variable {self.name!r}", new, self.type)
        if array.shape != self.shape:
            raise ShapeError(
                "the value has another shape than the variable",
                op=f"variable {self.name!r}",
                expected=show(self.shape),
                given=show(array.shape),
                where=origin.where(),
            )
        with self.cell.lock:
            self.cell.stay_home()
            np.copyto(self.cell.array, array)


def _variable(value: np.ndarray[Any, Any], name: str, trainable: bool) -> Variable:
    """A new variable; its value keeps its dtype."""
    made = apply(registry()["variable"], cell=Cell(value, name, trainable)).output()
    assert isinstance(made, Variable)
    return made


def _function_or_none(variable: Variable, name: str, given: Any) -> Any:
    """Errors: `ArgumentError` for what is no function."""
    if given is not None and not callable(given):
        raise ArgumentError(
            f"{name} is a function of a tensor, or None",
            op=f"variable {variable.name!r}",
            given=repr(given)[:80],
            where=origin.where(),
            hint=f"gc.nn.{name}s has some",
        )
    return given


def _tensor_class(op: Op) -> type[Tensor]:
    return Variable if Fact.STATE in op.facts else Tensor
