"""Runs the Python of a Markdown page, block by block, and holds it to the outputs that it shows.

    python -m tests.pages docs/tutorial.md [--update]

Blocks fenced as `python` run in order and share their names, as if they were one file. An output is
shown in one of three ways, and `...` in it stands for anything:

- `print(x)  # 3` at the top level of a block: the comment is what is printed;
- a block fenced as `text` right behind a `python` one: all that the block printed, other than so;
  one fenced as `math`, which readers see as mathematics, if that is LaTeX;
- `>>> x` with its output, as in a doctest.

Errors name the page and the line. `--update` writes the `text` blocks that differ anew, to be read
before they are committed.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import linecache
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_COMMENT = re.compile(r"#\s*(.*)$")


class Block(NamedTuple):
    """The text of a fenced block, its language, and the line on which its text starts."""

    language: str
    text: str
    line: int
    adjacent: bool  # nothing but blank lines since the block before


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    inside: list[str] | None = None
    language, start, adjacent = "", 0, False
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            if inside is None:
                inside, language, start = [], line[3:].strip(), number + 1
            else:
                yield Block(language, "".join(f"{x}\n" for x in inside), start, adjacent)
                inside, adjacent = None, True
        elif inside is not None:
            inside.append(line)
        elif line.strip():
            adjacent = False


def _source(page: str) -> list[str]:
    """The Python of a page, each line where it stands in the page: what errors look up."""
    lines = ["\n"] * len(page.splitlines())
    for block in blocks(page):
        if block.language == "python" and ">>> " not in block.text:
            inside = block.text.splitlines(keepends=True)
            lines[block.line - 1 : block.line - 1 + len(inside)] = inside
    return lines


class OutputError(AssertionError):
    """The page shows another output than its code gives."""


class Page:
    """One page being run: `names` are what its blocks have defined so far."""

    def __init__(self, path: Path, update: bool = False) -> None:
        self.path, self.update = path, update
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.names: dict[str, Any] = vars(module)

    def run(self) -> int:
        """Run every block; how many there were. Errors: `OutputError`, and what the code raises."""
        printed, runs = "", 0
        text = self.path.read_text(encoding="utf-8")
        lines, moved = text.splitlines(), 0
        linecache.cache[self.path.name] = (len(text), None, _source(text), self.path.name)
        for block in blocks(text):
            if block.language == "python":
                printed, runs = self._python(block), runs + 1
            elif block.language in ("text", "math") and block.adjacent:
                if not (block.text.strip() or printed.strip()):
                    raise OutputError(f"{self.path}:{block.line}: there is no output to show")
                if self.update and not _agree(block.text, printed):
                    start, old, new = block.line - 1 + moved, block.text, printed.rstrip()
                    lines[start : start + len(old.splitlines())] = new.splitlines()
                    moved += len(new.splitlines()) - len(old.splitlines())
                else:
                    self._compare(block.text, printed, block.line)
                printed = ""
        if self.update:
            self.path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        return runs

    def _python(self, block: Block) -> str:
        if ">>> " in block.text:
            self._doctest(block)
            return ""
        lines = block.text.splitlines()
        rest = ""
        tree = ast.parse(block.text, self.path.name)
        ast.increment_lineno(tree, block.line - 1)
        for statement in tree.body:
            printed = self._execute(statement)
            shown = None
            if _is_print(statement):
                shown = _COMMENT.search(lines[(statement.end_lineno or 0) - block.line])
            if shown is None:
                rest += printed
            else:
                self._compare(shown[1], printed, statement.lineno)
        return rest

    def _execute(self, statement: ast.stmt) -> str:
        code = compile(ast.Module([statement], []), self.path.name, "exec")
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(code, self.names)
        return output.getvalue()

    def _doctest(self, block: Block) -> None:
        parser = doctest.DocTestParser()
        test = parser.get_doctest(
            block.text, self.names, self.path.name, self.path.name, block.line - 1
        )
        test.globs = self.names  # not a copy: later blocks see what this one defines
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=_FLAGS, verbose=False)
        if runner.run(test, out=report.append, clear_globs=False).failed:
            raise OutputError("".join(report))

    def _compare(self, wanted: str, given: str, line: int) -> None:
        if not _agree(wanted, given):
            raise OutputError(
                f"{self.path}:{line} shows another output than its code gives\n"
                f"shown:\n{wanted.rstrip()}\ngiven:\n{given.rstrip()}"
            )


def _agree(wanted: str, given: str) -> bool:
    wanted, given = wanted.strip() + "\n", given.strip() + "\n"
    return doctest.OutputChecker().check_output(wanted, given, _FLAGS)


def _is_print(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Name)
        and statement.value.func.id == "print"
    )


if __name__ == "__main__":
    path = Path(sys.argv[1]).resolve()
    sys.stdout.write(f"{path.name}: {Page(path, '--update' in sys.argv).run()} blocks\n")
