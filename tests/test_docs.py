"""What the pages and docstrings say is run, and the lists in them are complete."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import operator
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import graphc as gc
from graphc.ir.operators import functions
from graphc.lower.head import Head

from . import exports, operations, reference

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "graphc"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.stat().st_size)


# -- code in pages ---------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    """In a process of its own: pages set variables of the environment and register ops."""
    if "```python" not in page.read_text(encoding="utf-8"):
        return
    if page.name == "distributed.md" and find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install graphc[distributed]")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRAPHC_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.pages", str(page)],
        cwd=tmp_path,
        env={
            **environment,
            "PYTHONPATH": str(ROOT),
            "GRAPHC_CACHE_DIR": os.environ["GRAPHC_CACHE_DIR"],
            "MPLBACKEND": "Agg",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, place in re.findall(r"\]\(([^)#]*?)(?:#([^)]*))?\)", _prose(page)):
        if "://" not in target:
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links to {target}"
            if place and there.suffix == ".md":
                assert place in _titles(there), f"{page.name} links to {target}#{place}"


def _prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def _titles(page: Path) -> set[str]:
    """The titles of a page, as links have them."""
    titles = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_names_in_the_text_exist(page: Path) -> None:
    """`gc.f` stands for any name."""
    inline = re.findall(r"`([^`\n]+)`", _prose(page))
    for name in {n for code in inline for n in re.findall(r"\bgc((?:\.[A-Za-z_]\w*)+)", code)}:
        if name != ".f":
            operator.attrgetter(name[1:])(gc)


def test_the_site_has_every_page_once() -> None:
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    listed = [line for line in text.splitlines() if (ROOT / f"docs/{line}.md").is_file()]
    pages = {p.stem for p in (ROOT / "docs").glob("*.md")} - {"index"}
    assert sorted(listed) == sorted(pages)


# -- code in docstrings ----------------------------------------------------------------------------
WITH_EXAMPLES = [p for p in FILES if ">>> " in p.read_text(encoding="utf-8")]


class Unwrapping(doctest.DocTestFinder):
    """Functions that others wrap are of their own module too."""

    def _from_module(self, module: Any, object: Any) -> bool:
        found: bool = super()._from_module(module, inspect.unwrap(object))  # type: ignore[misc]
        return found


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_docstring_examples(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in Unwrapping().find(module):
        runner.run(test, out=report.append)
    result = runner.summarize(verbose=False)
    assert not result.failed, "".join(report)
    assert result.attempted, f"{path} has examples that doctest does not find"


# -- lists in pages --------------------------------------------------------------------------------
def test_architecture_names_every_file() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/.]*\w\.py\b", text))
    outside = {name for name in named if name.split("/")[0] in ("tests", "examples")}
    assert not [name for name in sorted(outside) if not (ROOT / name).exists()]
    files = {str(p.relative_to(PACKAGE)) for p in FILES}
    assert named - outside == files


def test_architecture_names_the_stages_in_order() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    files = "pipeline/optimize", "runtime/programs", "pipeline/pipeline", "runtime/kernels"
    paths = [PACKAGE / f"{name}.py" for name in (*files, "runtime/build")]
    source = "".join(path.read_text(encoding="utf-8") for path in paths)
    stages = re.findall(r"stages\.(?:graph|run)\(\s*\"(\w+)\"", source)
    assert re.findall(r"^\d+\. `(\w+)`", text, re.MULTILINE) == stages


def test_architecture_names_tests_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", sources))
    assert not set(re.findall(r"`(test_\w+)`", text)) - defined


def test_architecture_names_the_words_of_the_context() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[A-Z].*?) \|", text, re.MULTILINE)
    assert re.findall(r"`([A-Z_]+)`", " ".join(rows)) == [w.name for w in Head if w.name != "COUNT"]


@pytest.mark.parametrize("name", ["loops/grammar.py", "planning/program.py"])
def test_ir_page_shows_the_grammars(name: str) -> None:
    source = (PACKAGE / name).read_text(encoding="utf-8")
    head = str(ast.get_docstring(ast.parse(source)))
    grammar = re.findall(r"^ +(\w+ +:= .*|\| .*)$", head, re.MULTILINE)
    assert len(grammar) > 6
    text = (ROOT / "docs/ir.md").read_text(encoding="utf-8")
    assert not [line for line in grammar if line not in text]


def test_ir_page_names_every_invariant() -> None:
    text = (ROOT / "docs/ir.md").read_text(encoding="utf-8")
    check = importlib.import_module("graphc.ir.check").check_graph.__doc__
    numbers = re.findall(r"^\s*(\d+)\. ", str(check), re.MULTILINE)
    assert re.findall(r"^(\d+)\. ", text, re.MULTILINE) == numbers


def test_reference_is_up_to_date() -> None:
    given = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert given == reference.page(), "python -m tests.reference > docs/reference.md writes it"


def test_the_site_has_what_each_docstring_says() -> None:
    """Each public name under a title of its own, with every word of its docstring."""
    text = "\n".join(reference.pages().values())
    titles = re.findall(r"^### (.*)$", text, re.MULTILINE)
    entries = [entry for section in reference.sections() for entry in section.entries]
    assert sorted(titles) == sorted(entry.name for entry in entries)
    plain = re.sub(r"```\w*|[\\*\s]", "", text)
    for entry in entries:
        said = re.sub(r"[\\*\s]", "", inspect.getdoc(entry.thing) or "")
        assert said, f"{entry.name} has no docstring"
        assert said in plain, entry.name


def test_methods_are_on_the_site() -> None:
    text = reference.pages()
    assert "#### Function.profile" in text["compiling"]
    assert "#### Trainer.fit" in text["training"]


@pytest.mark.parametrize(
    ("docstring", "shown"),
    [
        ("x * y, [*b, n], `a * b`, <b> and $1.", r"x \* y, \[\*b, n\], `a * b`, \<b\> and \$1."),
        ("One.\nShapes: a -> b.", "One.\n\n**Shapes**: a -\\> b."),
        ("- no list", r"\- no list"),
        (">>> f(1)\n2", "```pycon\n>>> f(1)\n2\n```"),
        ("    a table\n    of two", "```text\na table\nof two\n```"),
    ],
)
def test_docstrings_as_markdown(docstring: str, shown: str) -> None:
    assert reference.markdown(docstring).strip() == shown


def test_operations_page_is_up_to_date() -> None:
    given = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert given == operations.page(), "python -m tests.operations > docs/operations.md writes it"


def test_what_is_not_there_has_a_reason_and_what_is_there_has_none() -> None:
    assert set(operations.missing()) == set(operations.WHY)
    assert not operations.unlisted()


def test_reference_names_every_function() -> None:
    text = reference.page()
    public = {name for name in functions() if not name.startswith("_")}
    linalg = set(importlib.import_module("graphc.ops.linalg").FUNCTIONS)
    missing = [n for n in sorted(public - linalg) if f"`gc.{n}" not in text]
    missing += [n for n in sorted(linalg) if f"`gc.linalg.{n}(" not in text]
    missing += [n for n in gc._LAZY if f"`gc.{n}" not in text]
    assert not missing


def test_the_newest_change_is_this_version() -> None:
    """The version is written once; the changes of each version have the same three sections."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "graphc.__version__"}
    assert all((ROOT / name).exists() for name in project["project"]["license-files"])
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.split(r"^## ", changes, flags=re.MULTILINE)[1]
    assert newest.split(",")[0].split()[0] == gc.__version__
    assert re.findall(r"^### (.*)$", newest, re.MULTILINE) == ["Breaking", "New", "Mended"]


# -- what the package exports ----------------------------------------------------------------------
def test_exports_are_up_to_date() -> None:
    given = exports.FILE.read_text(encoding="utf-8")
    assert given == exports.page(), "python -m tests.exports writes them"


def test_all_is_complete() -> None:
    linalg = importlib.import_module("graphc.ops.linalg").FUNCTIONS
    public = {name for name in functions() if not name.startswith("_")} - linalg.keys()
    assert len(set(gc.__all__)) == len(gc.__all__)
    assert public | gc._LAZY.keys() <= set(gc.__all__)
    assert all(hasattr(gc, name) for name in gc.__all__)


def test_star_import_gives_what_is_exported() -> None:
    names: dict[str, object] = {}
    exec("from graphc import *", names)
    del names["__builtins__"]
    assert names == {name: getattr(gc, name) for name in gc.__all__}


def test_a_type_checker_knows_the_exports(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    uses = "\n".join(f"print(gc.{name})" for name in gc.__all__)
    program = f"""import graphc as gc

x = gc.placeholder("x", ("n", 3))
w = gc.variable([1.0, 2.0, 3.0], name="w")
loss: gc.Tensor = gc.mean(gc.tanh(x @ w))
step = gc.compile([x], loss, updates=gc.optim.SGD(0.1).minimize(loss, [w]))
gradient = gc.grad(loss, w)
model = gc.nn.Sequential([gc.nn.Dense(2, "relu")])
{uses}
gc.tahn(x)
"""
    script = tmp_path / "script.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script),
         "--config-file", str(ROOT / "pyproject.toml"),
         "--cache-dir", str(ROOT / ".mypy_cache")],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    errors = done.stdout.splitlines()
    assert len(errors) == 1, done.stdout + done.stderr
    assert '"tahn"' in errors[0]
