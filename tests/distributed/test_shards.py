"""What a training over shards comes to, computed in one process: no Ray is needed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DivergenceError
from graphc.train.metric import Metric

from .problems import LABELS, OPTIONS, PARTS, X, model, same, trainer


def _plain(noisy: bool = True, **options: Any) -> gc.train.Trainer:
    return gc.train.Trainer(
        model(noisy), **({"optimizer": gc.optim.Adam(0.03), **PARTS} | options)
    )


def test_what_a_dataclass_refuses_names_the_users_line() -> None:
    with pytest.raises(ArgumentError) as caught:
        gc.distributed.Limits(step=0)
    assert caught.value.where.startswith(__file__)


def test_one_shard_is_the_plain_training() -> None:
    ours, plain = trainer(shards=1), _plain()
    for each in (ours, plain):
        each.fit(X, LABELS, epochs=2, **OPTIONS)
    same(ours, plain)


def test_three_shards_are_near_the_plain_training() -> None:
    weights = np.random.default_rng(0).uniform(0, 2, len(X))
    options = OPTIONS | {"sample_weight": weights, "validation_split": 0.2}
    ours, plain = trainer(False, shards=3), _plain(False)
    for each in (ours, plain):
        each.fit(X, LABELS, epochs=2, **options)
    for path, value in plain.model.state_dict().items():
        np.testing.assert_allclose(ours.model.state_dict()[path], value, rtol=1e-5, atol=1e-5)
    for name, values in plain.history.logs.items():
        np.testing.assert_allclose(ours.history[name], values, rtol=1e-5)


def test_penalties_and_averages_count_once() -> None:
    """The penalty of a regulariser is in each shard's loss, its gradient is in the step once."""

    def layers() -> gc.nn.Sequential:
        first = gc.nn.Dense(5, "tanh", seed=0, kernel_regularizer=gc.nn.regularizers.l2(0.1))
        return gc.nn.Sequential([first, gc.nn.Dense(1, seed=1)])

    parts: dict[str, Any] = {"loss": "mse", "optimizer": "sgd", "metrics": ["r2"]}
    y = X[:, :1] * 2
    ours = gc.distributed.Trainer(
        layers(), workers=0, strategy=gc.distributed.DataParallel(4), **parts
    )
    plain = gc.train.Trainer(layers(), **parts)
    for each in (ours, plain):
        each.fit(X, y, epochs=2, **OPTIONS)
    for name, values in plain.history.logs.items():
        np.testing.assert_allclose(ours.history[name], values, rtol=1e-5)
    for path, value in plain.model.state_dict().items():
        np.testing.assert_allclose(ours.model.state_dict()[path], value, rtol=1e-5, atol=1e-6)


def test_shards_draw_their_own_numbers() -> None:
    """Both halves of a batch are the same examples: what dropout leaves of them differs."""
    layer = gc.nn.Sequential([gc.nn.Dropout(0.5, seed=3), gc.nn.Dense(1, seed=0)])
    twice = gc.distributed.Trainer(
        layer, loss="mse", optimizer=gc.optim.SGD(0.0), workers=0,
        strategy=gc.distributed.DataParallel(2),
    )  # fmt: skip
    ones, zeros = np.ones((8, 32), np.float32), np.zeros((8, 1), np.float32)
    function = twice.step(ones, zeros)
    losses = [float(function.flat(ones, zeros, 0.5, shard)[0]) for shard in (0, 1)]
    assert losses[0] != losses[1]


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    x = X.copy()
    x[40] = np.nan
    ours, other = trainer(), trainer()
    with pytest.raises(DivergenceError, match="epoch 1, step 3, and x is nan in example 40"):
        ours.fit(x, LABELS, epochs=2, shuffle=False, **OPTIONS)
    other.fit(X[:32], LABELS[:32], epochs=1, shuffle=False, **OPTIONS)
    for path, value in other.model.state_dict().items():
        np.testing.assert_array_equal(ours.model.state_dict()[path], value)


def test_a_metric_says_how_it_is_merged() -> None:
    class Largest(Metric):
        def start(self, predictions: Any, targets: Any) -> dict[str, Any]:
            return {"most": -np.inf}

        def update(self, state: Any, predictions: Any, targets: Any, weights: Any) -> Any:
            here = gc.max(predictions).astype("float64")
            return {"most": gc.maximum(state["most"], here)}

        def result(self, state: Any) -> float:
            return float(state["most"])

    class Merged(Largest):
        def merge(self, state: Any, other: Any) -> Any:
            return {"most": gc.maximum(state["most"], other["most"])}

    with pytest.raises(ArgumentError, match=r"define Largest.merge\(state, other\)"):
        trainer(metrics=[Largest()]).fit(X, LABELS, **OPTIONS)
    still = trainer(False, metrics=[Merged("most")], optimizer=gc.optim.SGD(0.0), shards=4)
    still.fit(X, LABELS, **OPTIONS)
    assert still.history["most"] == [pytest.approx(float(still.predict(X).max()), rel=1e-6)]


def test_bad_arguments() -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("at most 2 workers", {"workers": 3}), ("an int >= 1", {"workers": -1}),
        ("an int >= 1", {"workers": True}), ("an int >= 1", {"shards": 0}),
        (r"gc.distributed.Limits\(", {"limits": 3.0}),
    ]  # fmt: skip
    for message, options in wrong:
        with pytest.raises(ArgumentError, match=message):
            trainer(**options)
    with pytest.raises(ArgumentError, match=r"gc.distributed.DataParallel\(...\) or"):
        gc.distributed.Trainer(model(), strategy="data", optimizer="sgd", loss="mse")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="seconds, a number above 0"):
        gc.distributed.Limits(step=0)
    with pytest.raises(ArgumentError, match="batch_size >= 2"):
        trainer().fit(X, LABELS, batch_size=1)
    with pytest.raises(ArgumentError, match="sees the loss itself"):
        trainer(optimizer=gc.optim.LBFGS()).fit(X, LABELS, **OPTIONS)


def test_nothing_of_ray_is_loaded_and_its_absence_is_named() -> None:
    program = (
        "import sys; sys.modules['ray'] = None\n"
        "import graphc as gc\n"
        "gc.distributed.DataParallel()\n"
        "try: gc.distributed.connect()\n"
        "except gc.errors.ArgumentError as error: print(error.hint)\n"
        "model = gc.nn.Dense(1)\n"
        "one = gc.distributed.Trainer(model, loss='mse', optimizer='sgd', workers=1)\n"
        "try: one.fit([[1.0]], [[1.0]], verbose=False)\n"
        "except gc.errors.ArgumentError as error: print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True,
        timeout=600, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["pip install graphc[distributed]"] * 2
