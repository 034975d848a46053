"""Trees of tensors: taken apart, put together, compared, and the names of their leaves."""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.ir.structure import flatten, paths, same_structure, unflatten


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass(frozen=True)
class Params:
    w: Any
    b: Any
    name: str = field(default="relu", metadata={"static": True})

    def __post_init__(self) -> None:
        if isinstance(self.w, str):
            raise ValueError(self.w)


@dataclass(slots=True)
class Slotted:
    inner: Any
    hidden: Any = field(default=0, init=False)


TREES = [
    None, 1, (), [], {}, (1, [2, None]), {"b": 1, "a": (2,)}, [{"x": []}, ((3,),)],
    Point(1, [Point(2, None)]), Params(1, {"b": Params(2, 3)}, "tanh"), Slotted((Slotted(1),)),
    {1: 2, "1": 3, (4,): 5},
]  # fmt: skip


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_what_is_taken_apart_is_put_together(tree: Any) -> None:
    leaves, structure = flatten(tree)
    again = unflatten(structure, leaves)
    assert again == tree
    assert repr(again) == repr(tree)  # the order of dicts too
    copied = pickle.loads(pickle.dumps(structure))
    assert copied == structure
    assert hash(copied) == hash(structure)
    assert repr(unflatten(copied, leaves)) == repr(tree)
    assert len(paths(structure, "tree")) == len(leaves)


def test_every_two_trees_differ() -> None:
    structures = [flatten(tree)[1] for tree in TREES]
    assert len(set(structures)) == len(TREES)


def test_dicts_with_the_same_keys_have_one_structure() -> None:
    first, second = flatten({"a": 1, "b": 2}), flatten({"b": 2, "a": 1})
    assert first == second
    assert list(unflatten(second[1], second[0])) == ["b", "a"]


@pytest.mark.parametrize(
    ("tree", "plain"),
    [
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (type("Tuple", (tuple,), {})((1, 2)), (1, 2)),
        (type("List", (list,), {})((1, 2)), [1, 2]),
    ],
)
def test_classes_of_containers_become_the_plain_ones(tree: Any, plain: Any) -> None:
    leaves, structure = flatten(tree)
    assert structure == flatten(plain)[1]
    assert unflatten(structure, leaves) == plain


def test_a_dataclass_is_made_without_its_checks() -> None:
    _, structure = flatten(Params(1, 2, "tanh"))
    assert unflatten(structure, ["refused", 3]).w == "refused"
    assert structure != flatten(Params(1, 2, "relu"))[1]


def test_leaves_are_named_as_they_are_written() -> None:
    tree = {"loss": [1, (2,)], 3: Point(4, Params(5, None))}
    leaves, structure = flatten(tree)
    for path, leaf in zip(paths(structure, "tree"), leaves, strict=True):
        assert eval(path, {"tree": tree}) == leaf


@pytest.mark.parametrize(
    ("expected", "given", "texts"),
    [
        ({"a": [1, 2]}, {"a": [1, (2,)]}, ("at c['a'][1]", "expected: tensor", "(tensor,)")),
        ({"a": [1, 2]}, {"a": [1]}, ("at c['a']\n", "[tensor, tensor]", "[tensor]")),
        (Point(1, 2), (1, 2), ("structure\n", "Point(x=tensor, y=tensor)", "(tensor, tensor)")),
        ({"a": 1}, {"b": 1}, ("structure\n", "{'a': tensor}", "{'b': tensor}")),
        ([None], [1], ("at c[0]", "None", "tensor")),
    ],
)
def test_the_first_difference_is_named(expected: Any, given: Any, texts: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError) as caught:
        same_structure("scan", "the carry", "c", flatten(expected)[1], flatten(given)[1])
    for text in ("scan: the carry has another structure", *texts):
        assert text in str(caught.value)


# -- where they are used ---------------------------------------------------------------------------
def test_compiled_functions_give_any_structure() -> None:
    x = gc.placeholder("structured", (2,), "float64")
    outputs = {"z": [x, (x + 1, None)], "a": Point(gc.sum(x), Params({"w": x * 2}, x, "tanh"))}
    f = gc.compile([x], outputs, target="reference")
    for function in (f, pickle.loads(pickle.dumps(f))):
        found = function([1.0, 2.0])
        assert list(found) == ["z", "a"]
        (first, (second, nothing)), (total, params) = found["z"], found["a"]
        assert nothing is None
        assert isinstance(found["a"], Point)
        assert isinstance(total, np.float64)
        assert params.name == "tanh"
        assert (first.tolist(), second.tolist(), total) == ([1, 2], [2, 3], 3)
        assert (params.w["w"].tolist(), params.b.tolist()) == ([2, 4], [1, 2])


def test_jitted_functions_take_and_give_any_structure() -> None:
    @gc.jit(target="reference")
    def step(params: Params, point: Point) -> dict[str, Any]:
        return {"sum": Params(params.w + point.x, point.y, params.name), "none": None}

    assert step(Params(np.ones(2), None), Point(np.ones(2), 3.0))["sum"].w.tolist() == [2, 2]
    found = step(Params(np.zeros(2), None), Point(np.ones(2), 3.0))
    assert isinstance(found["sum"].b, float)
    assert found["none"] is None
    assert step.programs == 1
    assert step(Params(np.ones(2), None, "tanh"), Point(np.ones(2), 3.0))["sum"].name == "tanh"
    assert step.programs == 2


def test_loops_carry_dataclasses() -> None:
    x = gc.placeholder("carried", ("n",), "float64")
    zero = gc.constant(0.0, "float64")

    def step(state: Params, x: gc.Tensor) -> tuple[Params, Point]:
        return Params(state.w + x, {"m": state.b["m"] * 2}), Point(state.w, x)

    last, ys = gc.scan(step, Params(zero, {"m": zero + 1}), x)
    last, ys = gc.evaluate([last, ys], {x: [1.0, 2.0, 3.0]})
    assert (last.w, last.b["m"], ys.x.tolist()) == (6, 8, [0, 1, 3])


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda x: gc.compile([x], {"loss": [x, 1.0]}), "outputs['loss'][1]: not a tensor"),
        (lambda x: gc.scan(lambda c, x: (c, None), {"a": ["no"]}, x), "carry['a'][0]: not a"),
        (lambda x: gc.scan(lambda c, x: (c, Point(x, "no")), x[0], x), "y.y: not a tensor"),
        (lambda x: gc.cond(x[0] > 0, lambda: {"a": "no"}, lambda: x), "result['a']: not a tensor"),
    ],
)
def test_an_error_names_the_leaf(make: Any, path: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make(gc.placeholder("leaf", (2,)))
    assert path in str(caught.value)
    assert __file__ in caught.value.where
