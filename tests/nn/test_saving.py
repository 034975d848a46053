"""States of models that have other names, are parts of others, or have another head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, FileError


def _body(name: str | None = None, seed: int = 0) -> gc.nn.Sequential:
    layers = [gc.nn.Dense(3, "relu", seed=seed), gc.nn.BatchNorm(), gc.nn.Dense(2, seed=seed + 1)]
    return gc.nn.Sequential(layers, name=name)


def _equal(one: gc.nn.Layer, other: gc.nn.Layer) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["target", None])
def test_a_model_of_another_name(tmp_path: Path, name: str | None) -> None:
    online, target = _body("online").init(("n", 4)), _body(name, seed=7).init(("n", 4))
    assert not _equal(online, target)
    target.load_state_dict(online.state_dict())
    assert _equal(online, target)
    online.load_state_dict({path: np.zeros_like(a) for path, a in online.state_dict().items()})
    online.save_weights(tmp_path / "online")
    target.load_weights(tmp_path / "online")
    assert not any(a.any() for a in target.state_dict().values())
    bare = {path.removeprefix("online/"): a + 1 for path, a in online.state_dict().items()}
    target.load_state_dict(bare)
    assert all((a == 1).all() for a in target.state_dict().values())


def test_what_does_not_fit_below_another_name_is_named() -> None:
    state, model = _body("a").init(("n", 4)).state_dict(), _body("b").init(("n", 4))
    del state["a/dense1/bias"]
    state["a/more"] = np.ones(1)
    state["a/dense2/bias"] = np.ones(5)
    with pytest.raises(ArgumentError, match="1 missing; 1 unknown; 1 of another shape") as caught:
        model.load_state_dict(state)
    for part in ("missing: a/dense1/bias", "unknown: a/more", "a/dense2/bias: (5,) for (2,)"):
        assert part in str(caught.value)


def test_a_part_of_a_model(tmp_path: Path) -> None:
    whole = gc.nn.Sequential([_body("body"), gc.nn.Dense(5)], name="whole").init(("n", 4))
    whole.save_weights(tmp_path / "whole")
    part = _body("other", seed=9).init(("n", 4))
    with pytest.raises(FileError, match="2 unknown") as caught:
        part.load_weights(tmp_path / "whole")
    assert "unknown: whole/dense1/bias, whole/dense1/kernel" in str(caught.value)
    part.load_weights(tmp_path / "whole", strict=False)
    assert _equal(part, whole.stack[0])


def test_places_that_could_both_be_meant_are_not_chosen() -> None:
    whole = gc.nn.Sequential([gc.nn.Dense(4), gc.nn.Dense(4)], name="whole").init(("n", 4))
    head = gc.nn.Dense(4, name="head").init(("n", 4))
    with pytest.raises(ArgumentError, match="2 missing; 4 unknown"):
        head.load_state_dict(whole.state_dict())
    with pytest.raises(ArgumentError, match="nothing in the state fits") as caught:
        head.load_state_dict(whole.state_dict(), strict=False)
    assert "head/kernel" in caught.value.expected
    last = gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dense(4)], name="whole").init(("n", 4))
    head = gc.nn.Dense(4, name="head").init(("n", 3))
    head.load_state_dict(last.state_dict(), strict=False)  # one of the two has its shapes
    np.testing.assert_array_equal(head.kernel.value, last.stack[1].kernel.value)


def test_another_head(tmp_path: Path) -> None:
    old = gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dense(5)], name="net").init(("n", 4))
    new = gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dense(2)], name="net").init(("n", 4))
    old.save_weights(tmp_path / "old")
    head = new.stack[1].state_dict()
    with pytest.raises(FileError, match="2 of another shape"):
        new.load_weights(tmp_path / "old", strict=False)
    new.load_weights(tmp_path / "old", skip_mismatch=True)
    assert _equal(new.stack[0], old.stack[0])
    assert all(np.array_equal(a, head[path]) for path, a in new.stack[1].state_dict().items())
    with pytest.raises(ArgumentError, match="2 missing"):
        new.load_state_dict(old.stack[0].state_dict(), skip_mismatch=True)
