"""Pickle and copy: what comes back is the same thing, or a graph of the same text and values."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GraphError
from graphc.ir.dtype import DTYPES
from graphc.ir.node import ArrayValue
from graphc.ir.op import Fact, Kind, registry

COPIES = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
n, m = gc.dim("n"), gc.dim("m")
x = gc.placeholder("x", (n, 3))


@pytest.mark.parametrize("again", COPIES)
def test_what_is_compared_by_identity_comes_back_as_itself(again: Any) -> None:
    y = gc.scan(lambda c, row: (c + row, c), x[0], x)[0]
    graph = gc.Graph([x], [y, gc.tanh(x)], name="two")
    interned = [*DTYPES, *registry().values(), *Kind, *Fact, x, y, y.node, gc.tanh(x), graph]
    for value in interned:
        assert again(value) is value


@pytest.mark.parametrize("again", COPIES)
def test_what_is_compared_by_value_comes_back_equal(again: Any) -> None:
    sizes = [2 * n + 1, n // 3 + m % (n + 1), gc.zeros((n,)).shape[0] * m - 5]
    array = ArrayValue(np.arange(6.0).reshape(2, 3))
    for value in (*sizes, x.type, array, *x.node.origins):
        assert again(value) == value
        assert hash(again(value)) == hash(value)


def test_sizes_and_graphs_are_read_in_another_process(tmp_path: Path) -> None:
    """Hashes of strings differ there: none may be in a pickle."""
    w = gc.variable(np.arange(3, dtype="int8"), "w", trainable=False)
    graph = gc.Graph([x], [gc.sum(x * 2.5 + w, axis=1)], [(w, w * 3)], "step")
    stored = [n // 2 + m, x.type, graph, w, ArrayValue(np.ones(2)), np.float32]
    (tmp_path / "stored").write_bytes(pickle.dumps(stored))
    code = f"""
import pickle, numpy as np, graphc as gc
from graphc.ir.node import ArrayValue
size, kind, graph, w, array, _ = pickle.load(open({str(tmp_path / "stored")!r}, "rb"))
assert {{gc.dim("n // 2 + m"): 1}}[size] == 1
assert {{gc.placeholder("x", ("n", 3)).type: 1}}[kind] == 1 and {{ArrayValue(np.ones(2)): 1}}[array]
assert graph.variables == (w,) and w.value.tolist() == [0, 1, 2] and w.value.dtype == "int8"
print(graph)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.stderr) == (f"{graph}\n", "")


def test_a_variable_comes_back_new_and_stays_the_one_of_what_was_pickled_with_it() -> None:
    w = gc.variable([1.0, 2.0], "w", trainable=False)
    graph = gc.Graph([], [w * 2], [(w, w + 1)])
    for again in COPIES[1:]:
        new, tensor, other = again([w, gc.exp(w) + x[0, :2], graph])
        assert new is not w
        assert (new.name, new.trainable) == ("w", False)
        assert other.variables == (new,)
        assert gc.Graph([x], [tensor]).variables == (new,)
        assert str(other) == str(graph)
        new.value = [5, 6]
        assert w.value.tolist() == [1, 2]
        expected = np.exp([5, 6]) + np.float32(3)
        given = gc.evaluate(tensor, {x: np.full((1, 3), 3, "float32")})
        np.testing.assert_allclose(given, expected, rtol=1e-6)


def test_a_chain_of_20_000_nodes() -> None:
    y = x
    for _ in range(10_000):
        y = gc.tanh(y + x)
    assert pickle.loads(pickle.dumps(y)) is copy.deepcopy(y) is y


def test_an_operation_that_is_not_known() -> None:
    stored = pickle.dumps(registry()["tanh"]).replace(b"tanh", b"tank")
    with pytest.raises(GraphError, match="no operation has this name"):
        pickle.loads(stored)


# -- errors ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("again", COPIES)
def test_an_error_comes_back_as_it_was(again: Any) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        gc.placeholder("x", (2, 3)) @ gc.placeholder("y", (4,))
    caught.value.add_note("a note")
    error = again(caught.value)
    assert type(error) is type(caught.value)
    assert str(error) == str(caught.value)
    assert str(error).count("at:") == 1
    assert vars(error) == vars(caught.value)
    assert error.__notes__ == ["a note"]


# -- models ----------------------------------------------------------------------------------------
def test_models_and_optimisers_refuse_with_the_way_out_and_are_copied() -> None:
    model = gc.nn.Sequential([gc.nn.Dense(2, "relu"), gc.nn.Dense(1)])
    optimizer = gc.optim.Adam()
    loss = gc.sum(model(x))
    optimizer.minimize(loss, model.parameters())
    for value, way in ((model, "model.save_weights(path)"), (optimizer, "optimizer.state")):
        with pytest.raises(ArgumentError, match="cannot be pickled") as caught:
            pickle.dumps([value])
        assert way in caught.value.hint
    both: Any = copy.deepcopy({"model": model, "optimizer": optimizer})
    new = both["model"].variables()
    assert not set(new) & set(model.variables())
    assert [v.value.tolist() for v in new] == [v.value.tolist() for v in model.variables()]
    assert {w for w, _ in both["optimizer"]._slots} >= set(both["model"].parameters())
    assert copy.copy(model).variables() == model.variables()
