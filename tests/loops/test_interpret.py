"""The interpreter of kernels refuses every element that is outside of its buffer."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir.dim import dim
from graphc.ir.dtype import bool_, float32, int64
from graphc.loops.grammar import Affine, Buffer, Const, For, Kernel, Let, Load, Stmt, Store, Var, of
from graphc.loops.interpret import interpret_kernel

n = dim("n")
X, Y = Buffer("x", float32, n), Buffer("y", float32, n + 1)
AT, V, B = Var("i", int64), Var("v", float32), Var("b", bool_)
ONE = Const(np.float32(1), float32)


def run(*body: Stmt, size: int = 3) -> np.ndarray:
    memory = {X: np.arange(size, dtype="float32"), Y: np.zeros(size + 1, "float32")}
    kernel = Kernel("k", (X, Y), [For(AT, dim("s"), list(body))], {"s": n})
    interpret_kernel(kernel, memory, {"n": size})
    return memory[Y]


@pytest.mark.parametrize("access", ["load", "store"])
@pytest.mark.parametrize(
    ("index", "place"),
    [(of(AT) + 2, "3"), (of(AT) + -1, "-1"), (of(AT) * -1, "-1"), (of(AT) + dim("s"), "3")],
)
def test_an_element_outside_is_an_error(access: str, index: Affine, place: str) -> None:
    if access == "load":
        with pytest.raises(IndexError, match=rf"element {place} of x, which has n = 3, at .*i"):
            run(Load(V, X, index))
    elif place == "-1":
        with pytest.raises(IndexError, match=r"element -1 of y, which has n \+ 1 = 4"):
            run(Store(Y, index, ONE))
    else:
        with pytest.raises(IndexError, match=r"element 4 of y"):
            run(Store(Y, index + 1, ONE))


def test_nothing_is_written_before_the_error() -> None:
    y = np.zeros(4, "float32")
    kernel = Kernel("k", (X, Y), [Store(Y, Affine((), -1), ONE)])
    with pytest.raises(IndexError):
        interpret_kernel(kernel, {X: np.zeros(3, "float32"), Y: y}, {"n": 3})
    assert not y.any()


def test_the_size_is_that_of_the_buffer_not_of_the_memory() -> None:
    memory = {X: np.zeros(10, "float32"), Y: np.zeros(10, "float32")}
    with pytest.raises(IndexError, match="element 3 of x"):
        interpret_kernel(Kernel("k", (X, Y), [Load(V, X, Affine((), 3))]), memory, {"n": 3})


def test_a_guard_keeps_what_is_outside_unread() -> None:
    inside = Let(B, "less", (Const(np.int64(0), int64), AT))
    got = run(inside, Load(V, X, of(AT) + -1, B), Store(Y, of(AT), V))
    np.testing.assert_array_equal(got, [0, 0, 1, 0])
