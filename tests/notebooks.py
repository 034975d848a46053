"""Runs the code cells of a notebook in order, as Jupyter would, and holds it to its outputs.

    python -m tests.notebooks docs/first_course.ipynb [--update]

What a cell prints is a stream; its last expression is a result, with all that it has to show:
`_repr_html_`, `_repr_svg_`, `_repr_latex_`, `_repr_markdown_`, `repr`. Compared is all of that but
pictures, which another Graphviz may draw otherwise. `--update` writes the outputs anew, to be
looked at before they are committed.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
import types
from pathlib import Path
from typing import Any

_SHOWN = {
    "text/html": "_repr_html_",
    "image/svg+xml": "_repr_svg_",
    "text/latex": "_repr_latex_",
    "text/markdown": "_repr_markdown_",
}
_PICTURES = ("text/html", "image/svg+xml")


class OutputError(AssertionError):
    """The notebook has another output than its cell gives."""


def run(path: Path, update: bool = False) -> int:
    """Run every cell; how many there were. Errors: `OutputError`, and what the code raises."""
    book = json.loads(path.read_text(encoding="utf-8"))
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    count = 0
    for cell in book["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        found = _outputs("".join(cell["source"]), vars(module), f"cell {count}", count)
        if update:
            cell["outputs"], cell["execution_count"] = found, count
        elif _compared(found) != _compared(cell["outputs"]):
            raise OutputError(
                f"{path.name}, cell {count}, has other outputs than its code gives\n"
                f"has:\n{_compared(cell['outputs'])}\ngives:\n{_compared(found)}"
            )
    if update:
        text = json.dumps(book, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")
    return count


def _outputs(source: str, names: dict[str, Any], place: str, count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source, place)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    stream, value = io.StringIO(), None
    with contextlib.redirect_stdout(stream):
        exec(compile(tree, place, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), place, "eval"), names)
    found: list[dict[str, Any]] = []
    if stream.getvalue():
        found.append(
            {"name": "stdout", "output_type": "stream", "text": _lines(stream.getvalue())}
        )
    if value is not None:
        found.append(
            {"data": _data(value), "execution_count": count, "metadata": {},
             "output_type": "execute_result"}
        )  # fmt: skip
    return found


def _data(value: Any) -> dict[str, list[str]]:
    data = {"text/plain": _lines(repr(value))}
    for kind, method in _SHOWN.items():
        shown = getattr(value, method, lambda: None)()
        if shown is not None and not (kind == "image/svg+xml" and "text/html" in data):
            data[kind] = _lines(shown)
    return data


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _compared(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is the same wherever it is run."""
    found = []
    for output in outputs:
        data = output.get("data", {"text": output.get("text")})
        found.append({kind: v for kind, v in data.items() if kind not in _PICTURES})
    return found


if __name__ == "__main__":
    book = Path(sys.argv[1]).resolve()
    sys.stdout.write(f"{book.name}: {run(book, '--update' in sys.argv)} cells\n")
