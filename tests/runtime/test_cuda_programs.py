"""Programs for a card on a driver whose card is this processor, through the real cuda-bindings: the
quick ones. Row R30 of the scoreboard runs all."""

from pathlib import Path

import pytest

from tests.runtime.cuda_stub.on_this_processor import run_programs, why_not

QUICK = "homes or lost or products or fork or devices or memory"


@pytest.mark.skipif(why_not() != "", reason=why_not())
def test_programs_on_the_stub(tmp_path: Path) -> None:
    done = run_programs(tmp_path, "-k", QUICK)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
