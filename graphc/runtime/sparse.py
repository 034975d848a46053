"""`gc.sparse_jacobian` and `gc.sparse_hessian`: SciPy's matrices, by few passes in one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from graphc.autodiff.compressed import Compressed, compressed_hessian, compressed_jacobian
from graphc.errors import ArgumentError, GradientError
from graphc.ir.given import given_array
from graphc.ir.graph import walk
from graphc.ir.node import Tensor
from graphc.ir.op import Fact
from graphc.ops.leaf import placeholder
from graphc.runtime.compile import Function, compile

Array = np.ndarray[Any, Any]
Derive = Callable[[str, Tensor, Tensor], Compressed]


def sparse_jacobian(
    y: Any, wrt: Any = None, *, inputs: Sequence[Tensor] | None = None, argnums: int = 0
) -> Any:
    """The Jacobian of `y` as a sparse matrix of SciPy, in CSR form.

    Which entries may be other than zero is found from the structure of the derivative; columns that
    share no row are computed together, or rows that share no column, whichever need fewer passes.

    `gc.sparse_jacobian(y, wrt)`: of tensors of static shapes; a `SparseDerivative`, to be called
    with arrays for `inputs` (by default `wrt`, then the other placeholders of `y`). It has
    `.pattern`, `.colors`, `.values` (the entries as a tensor) and `.function` (compiled).
    `gc.sparse_jacobian(f, argnums=0)`: a function of arrays, `f`'s arguments; `.of(*arrays)` gives
    the `SparseDerivative` for arrays of their shapes.

    Shapes: [elements of y, elements of wrt], in C order. A Jacobian without zeros works too, with a
    pass for each row or column, and says that it is dense. Dtypes: float.
    Errors: `ArgumentError` for what is no tensor or has named sizes; `GradientError` for ints.

    >>> import numpy as np
    >>> import graphc as gc
    >>> f = gc.sparse_jacobian(lambda x: x[1:] * x[:-1])
    >>> f(np.array([1.0, 2.0, 3.0, 4.0])).toarray()
    array([[2., 1., 0., 0.],
           [0., 3., 2., 0.],
           [0., 0., 4., 3.]])
    >>> f.of(np.ones(4))
    <sparse Jacobian 3 x 4: 6 of 12 entries, 2 passes forward>
    """
    return _sparse("sparse_jacobian", compressed_jacobian, y, wrt, inputs, argnums)


def sparse_hessian(
    y: Any, wrt: Any = None, *, inputs: Sequence[Tensor] | None = None, argnums: int = 0
) -> Any:
    """The Hessian of a scalar as a sparse matrix of SciPy, in CSR form; all is as of
    `sparse_jacobian`. An entry is read in its row or in its column, so that a row without zeros
    needs no pass for each column.

    Errors: as of `sparse_jacobian`, and `GradientError` if `y` is no scalar.

    >>> import numpy as np
    >>> import graphc as gc
    >>> f = gc.sparse_hessian(lambda x: x[0] * gc.sum(x**2))
    >>> f(np.array([1.0, 2.0, 3.0])).toarray()
    array([[6., 4., 6.],
           [4., 2., 0.],
           [6., 0., 2.]])
    >>> f.of(np.ones(3))
    <sparse Hessian 3 x 3: 7 of 9 entries, 2 passes>
    """
    return _sparse("sparse_hessian", compressed_hessian, y, wrt, inputs, argnums)


def _sparse(op: str, derive: Derive, y: Any, wrt: Any, inputs: Any, argnums: int) -> Any:
    if callable(y):
        if wrt is not None or inputs is not None:
            raise ArgumentError(
                "a function is differentiated by its arguments",
                op=op,
                expected=f"gc.{op}(f, argnums=0)",
                given=repr(wrt if inputs is None else inputs)[:80],
            )
        return SparseFunction(op, derive, y, argnums)
    for name, t in (("y", y), ("wrt", wrt)):
        if not isinstance(t, Tensor):
            raise ArgumentError(
                f"{name} is not a tensor", op=op, expected="one tensor", given=repr(t)[:80]
            )
        if not t.dtype.is_float:
            raise GradientError(
                f"{name} is not float", op=op, expected="a float dtype", given=repr(t)
            )
    return SparseDerivative(op, derive(op, y, wrt), _inputs(y, wrt) if inputs is None else inputs)


def _inputs(y: Tensor, wrt: Tensor) -> list[Tensor]:
    leaves = [n.output() for n in walk([y]) if Fact.INPUT in n.op.facts]
    first = [wrt] if Fact.INPUT in wrt.node.op.facts else []
    return list(dict.fromkeys([*first, *leaves]))


class SparseDerivative:
    """A Jacobian or Hessian by structure: call it with arrays for a SciPy matrix in CSR form."""

    def __init__(self, op: str, made: Compressed, inputs: Sequence[Tensor]) -> None:
        self._op = op
        self.values, self.pattern, self.colors, self.mode = made
        self.passes = made.passes
        self.inputs = list(inputs)

    @property
    def shape(self) -> tuple[int, int]:
        """[rows, columns]."""
        rows, columns = self.pattern.shape
        return int(rows), int(columns)

    @property
    def dense(self) -> bool:
        """Whether there is a pass for each column, or for each row: nothing was gained."""
        rows, columns = self.shape
        every = {"forward": columns, "reverse": rows, "symmetric": columns}[self.mode]
        return self.passes == every > 1

    @cached_property
    def function(self) -> Function:
        """The compiled function that gives the entries, in the order of the pattern."""
        return compile(self.inputs, self.values, name=self._op)

    def __call__(self, /, *arrays: Any, **named: Any) -> Any:
        """The matrix. Errors: those of a call of a compiled function."""
        from scipy.sparse import csr_matrix

        entries = self.function(*arrays, **named)
        pattern = self.pattern
        parts = entries, pattern.indices.copy(), pattern.indptr.copy()
        return csr_matrix(parts, shape=self.shape)

    def __repr__(self) -> str:
        rows, columns = self.shape
        name = "Hessian" if self.mode == "symmetric" else "Jacobian"
        way = "" if self.mode == "symmetric" else f" {self.mode}"
        passes = "1 pass" if self.passes == 1 else f"{self.passes} passes"
        dense = "; it is dense" if self.dense else ""
        entries = f"{self.pattern.nnz} of {rows * columns} entries"
        return f"<sparse {name} {rows} x {columns}: {entries}, {passes}{way}{dense}>"


class SparseFunction:
    """A function's sparse derivative: a program for each tuple of shapes that it is called with."""

    def __init__(self, op: str, derive: Derive, function: Callable[..., Any], argnum: int) -> None:
        self._op, self._derive, self._function, self._argnum = op, derive, function, argnum
        self._made: dict[Any, SparseDerivative] = {}

    def __call__(self, /, *arrays: Any) -> Any:
        """The matrix. Errors: as of `sparse_jacobian`; those of a call."""
        given = self._arrays(arrays)
        return self._of(given)(*given)

    def of(self, /, *arrays: Any) -> SparseDerivative:
        """The derivative for arrays of these shapes and dtypes, to be looked at."""
        return self._of(self._arrays(arrays))

    def _arrays(self, arrays: Sequence[Any]) -> list[Array]:
        for value in arrays:
            if isinstance(value, Tensor):
                raise ArgumentError(
                    "a sparse matrix is made of arrays",
                    op=self._op,
                    given=repr(value),
                    hint=f"gc.{self._op}(y, wrt) takes tensors; its .values are one",
                )
        return [given_array(self._op, value) for value in arrays]

    def _of(self, arrays: Sequence[Array]) -> SparseDerivative:
        key = tuple((a.shape, a.dtype.str) for a in arrays)
        found = self._made.get(key)
        if found is None:
            inputs = [placeholder(f"x{i}", a.shape, a.dtype.name) for i, a in enumerate(arrays)]
            try:
                x = inputs[self._argnum]
            except (IndexError, TypeError):
                raise ArgumentError(
                    "argnums says by position which argument to differentiate by",
                    op=self._op,
                    expected=f"an int below {len(inputs)}",
                    given=repr(self._argnum)[:80],
                ) from None
            y = self._function(*inputs)
            found = _sparse(self._op, self._derive, y, x, inputs, 0)
            self._made[key] = found
        return found
