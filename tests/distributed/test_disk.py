"""A disk that is full while a training saves itself: it goes on, and the last file is whole.
`test_pipeline.py` has that of workers, which are killed too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc

from .problems import LABELS, OPTIONS, Full, X, same, trainer


def _fit(path: Path, keep: Any, made: Any = None) -> Any:
    made = trainer() if made is None else made
    made.fit(X, LABELS, epochs=4, callbacks=[keep], **OPTIONS)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return made


def test_the_last_file_is_whole_and_is_gone_on_from(tmp_path: Path) -> None:
    undisturbed = trainer()
    undisturbed.fit(X, LABELS, epochs=4, **OPTIONS)
    path = tmp_path / "run"
    same(undisturbed, _fit(path, Full(path, (1, 3), at_the_end=True)))
    again = trainer()
    again.load(path)
    assert again.history.epochs == 3
    options = {k: v for k, v in OPTIONS.items() if k != "seed"}
    again.fit(X, LABELS, epochs=4, resume=True, **options)
    same(undisturbed, again)


def test_the_last_epoch_is_tried_again_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run"
    made = _fit(path, Full(path, (3,)))
    again = trainer()
    again.load(path)
    for name, value in made.model.state_dict().items():
        np.testing.assert_array_equal(again.model.state_dict()[name], value)
    assert again.history.epochs == 4


def test_what_is_no_full_disk_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _fit(tmp_path / "no" / "run", gc.train.Checkpoint(tmp_path / "no" / "run"))
