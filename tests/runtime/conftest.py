"""What tests of the runtime share."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphc.runtime import cache


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_warned", {})
    return tmp_path
