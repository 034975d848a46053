"""The rooms: who may import whom, that nothing imports in circles, and what importing costs."""

from __future__ import annotations

import ast
import graphlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "graphc"
ROOMS = {
    0: ("errors", "config", "locks", "machines", "elsewhere", "keywords", "memory", "shown"),
    1: ("ir",),
    2: ("loops", "symbolic"),
    3: ("ops",),
    4: ("rewrite",),
    5: ("autodiff", "fusion"),
    6: ("planning",),
    7: ("passes", "lower"),
    8: ("pipeline",),
    9: ("checking",),
    10: ("runtime",),
    11: ("nn", "optim"),
    12: ("train", "show", "interchange", "equations"),
    13: ("distributed", "demo"),
    14: ("cli",),
    15: ("__init__", "__main__"),  # the front door sees every room
}
OWN_MODULES, OTHER_MODULES = 124, 34  # that `import graphc` may load; 121 and up to 27 now
LEVEL = {room: level for level, rooms in ROOMS.items() for room in rooms}


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(name: str) -> Iterator[tuple[str, int]]:
    """The graphc modules that a module imports anywhere in its text, with the lines."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports are absolute"
            base = str(node.module)
            inner = [f"{base}.{alias.name}" for alias in node.names]
            found = [m if m in MODULES else base for m in inner]
        else:
            continue
        for module in found:
            if module.split(".")[0] == "graphc":
                yield module, node.lineno


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_module_has_a_room() -> None:
    assert {room(name) for name in MODULES} <= LEVEL.keys()


@pytest.mark.parametrize("name", MODULES)
def test_imports_come_from_lower_rooms(name: str) -> None:
    for target, line in imported(name):
        assert target in MODULES, f"{name}:{line} imports {target}, which does not exist"
        here, there = room(name), room(target)
        same = here == there or LEVEL[here] == LEVEL[there] == 0  # room 0 is files, not folders
        assert same or LEVEL[there] < LEVEL[here], (
            f"{name}:{line} is in room {LEVEL[here]} and imports {target} of room {LEVEL[there]}"
        )


def test_no_import_cycle() -> None:
    edges = {name: {target for target, _ in imported(name)} for name in MODULES}
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        pytest.fail("imports in a circle: " + " <- ".join(error.args[1]))


def run_python(program: str) -> str:
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_loads_no_compiler_and_no_algebra() -> None:
    heavy = ("numba", "llvmlite", "sympy", "scipy", "matplotlib")
    program = f"import graphc, sys; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(program) == "[]"


def test_import_loads_little() -> None:
    """Beyond NumPy: the rooms that building a graph needs, and little of the standard library."""
    program = "import numpy, sys; before = set(sys.modules); import graphc;"
    program += "print(*sorted(set(sys.modules) - before))"
    loaded = run_python(program).split()
    own = [m for m in loaded if room(m) in LEVEL and m.split(".")[0] == "graphc"]
    others = [m for m in loaded if m.split(".")[0] != "graphc"]
    assert {room(m) for m in own} == {
        "__init__", "elsewhere", "errors", "keywords", "locks", "machines", "memory", "ir", "loops",
        "ops", "symbolic",
    }  # fmt: skip
    assert len(own) <= OWN_MODULES
    assert len(others) <= OTHER_MODULES, others


@pytest.mark.timed
def test_import_is_quick() -> None:
    program = (
        "import numpy, time; start = time.perf_counter(); import graphc;"
        "print(time.perf_counter() - start)"
    )
    run_python(program)  # the first run may write byte code
    times = [float(run_python(program)) for _ in range(3)]
    assert statistics.median(times) <= 0.15, f"seconds beyond NumPy's own: {times}"
