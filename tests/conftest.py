"""What all tests share: golden texts, and a compilation cache of their own."""

from __future__ import annotations

import difflib
import gc as collector
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Neither the time of an example nor that of drawing it decides anything.
settings.register_profile("counted", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("counted")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden texts instead of comparing"
    )
    parser.addoption(
        "--every", type=int, default=1, metavar="N", help="every Nth case of each sweep only"
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Of what collecting makes, nothing is garbage: Python's cyclic collector looks for none in it,
    now and in each of the tests."""
    collector.disable()
    try:
        return (yield)
    finally:
        collector.freeze()
        collector.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A share of the sweeps: every Nth case of each, from the first on."""
    every, seen = config.getoption("--every"), Counter[str]()
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        name = item.nodeid.split("[")[0]
        skipped = item.get_closest_marker("sweep") and seen[name] % every
        (left if skipped else kept).append(item)
        seen[name] += 1
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests want to be read, recorded as the property `shown` (it passes through xdist)."""
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == "shown":
                terminalreporter.write_line(textwrap.fill(text, 100))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: the text equals `tests/golden/<name>.txt`.

    A golden that is missing fails; `--update-golden` writes it, to be read before it is committed.
    """
    update = bool(request.config.getoption("--update-golden"))

    def compare(name: str, text: str) -> None:
        assert re.fullmatch(r"[\w-]+(/[\w-]+)*", name), f"not a golden's name: {name!r}"
        path = GOLDEN / f"{name}.txt"
        given = text.rstrip("\n") + "\n"
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(given, encoding="utf-8", newline="\n")
            return
        if not path.exists():
            pytest.fail(f"there is no golden {path}; --update-golden writes it. Given:\n{given}")
        expected = path.read_text(encoding="utf-8")
        if given != expected:
            lines = difflib.unified_diff(
                expected.splitlines(), given.splitlines(), "golden", "given", lineterm=""
            )
            pytest.fail(f"{path} differs; --update-golden accepts it.\n" + "\n".join(lines))

    return compare


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests neither read nor fill the user's cache of compiled programs."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHC_CACHE_DIR", str(directory))
        yield directory
