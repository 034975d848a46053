"""Parameters on servers: in step with the same bits, at their own pace to the same end."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.distributed.programs import _divided, check_optimizer
from graphc.errors import ArgumentError, DivergenceError

from .problems import LABELS, OPTIONS, PARTS, X, model, same, trainer


def _served(noisy: bool = True, workers: int = 2, servers: int = 2, **options: Any) -> Any:
    given = {k: options.pop(k) for k in ("mode", "staleness", "shards") if k in options}
    options = {"optimizer": gc.optim.Adam(0.03), **PARTS, **options}
    strategy = gc.distributed.ParameterServer(servers, **given)
    return gc.distributed.Trainer(model(noisy), strategy=strategy, workers=workers, **options)


@pytest.fixture(scope="module")
def expected() -> gc.train.Trainer:
    one: gc.train.Trainer = trainer()
    one.fit(X, LABELS, epochs=2, **OPTIONS)
    return one


def test_one_process_has_all_parts(expected: gc.train.Trainer) -> None:
    ours = _served(workers=0, shards=2)
    ours.fit(X, LABELS, epochs=2, **OPTIONS)
    same(expected, ours)


def test_parameters_are_divided_by_bytes() -> None:
    sizes = [40, 7, 30, 30, 1]
    variables = [gc.variable(np.zeros(n), f"part{n}") for n in sizes]
    assert _divided(variables, 2) == [[0, 1, 4], [2, 3]]


def test_in_step(cluster: Any, expected: gc.train.Trainer) -> None:
    with _served() as ours:
        ours.fit(X, LABELS, epochs=2, **OPTIONS)
        same(expected, ours)
        names = [w.name.split()[0] for w in ours.report().workers]
        assert names == ["worker", "worker", "server", "server"]


def test_killed(cluster: Any, expected: gc.train.Trainer) -> None:
    """A worker between two steps, whose place another takes; then a server, whose part is lost, so
    that the epoch begins again."""

    class Kill(gc.train.Callback):
        seen = 0

        def on_batch_end(self, step: int, logs: dict[str, Any]) -> None:
            rank = {1: 0, 6: 3}.get(self.seen)
            if rank is not None:
                os.kill(ours._crew.members[rank].about.pid, signal.SIGKILL)
            self.seen += 1

    with _served() as ours:
        ours.fit(X, LABELS, epochs=2, callbacks=[Kill()], **OPTIONS)
        same(expected, ours)
        assert len(ours.report().lost) == 2


def test_at_their_own_pace(cluster: Any) -> None:
    """Each batch is one step; one whose loss is not finite is pushed by nobody."""
    with _served(False, servers=1, mode="async", staleness=1) as ours:
        history = ours.fit(X, LABELS, epochs=8, **OPTIONS)
        assert ours.optimizer.iterations.value == 8 * 5
        assert sum(w.examples for w in ours.report().workers) == 8 * 70
        assert history["accuracy"][-1] > 0.9
        assert ours.evaluate(X, LABELS)["accuracy"] > 0.9
        x = X.copy()
        x[31] = np.nan
        with pytest.raises(DivergenceError, match="x is nan in example 31"):
            ours.fit(x, LABELS, shuffle=False, **OPTIONS)
        assert all(np.isfinite(v).all() for v in ours.model.state_dict().values())


def test_bad_arguments() -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("'sync' or 'async'", {"mode": "later"}), ("an int >= 1", {"servers": 0}),
        ("staleness is for mode='async'", {"staleness": 1}),
        ("shards is for mode='sync'", {"shards": 2, "mode": "async"}),
        ("an int >= 0", {"staleness": -1, "mode": "async"}),
    ]  # fmt: skip
    for message, options in wrong:
        with pytest.raises(ArgumentError, match=message):
            gc.distributed.ParameterServer(**options)
    with pytest.raises(ArgumentError, match="workers >= 1"):
        _served(workers=0, mode="async")
    clipped = gc.optim.accumulate(gc.optim.SGD(global_clip_norm=1.0), 2)
    with pytest.raises(ArgumentError, match="DataParallel, one server, or clip_norm"):
        check_optimizer(clipped, 2)
    with pytest.raises(ArgumentError, match="at most 1 servers"):
        _divided([gc.variable(np.zeros(2), "single")], 2)
