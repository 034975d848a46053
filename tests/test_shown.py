"""What notebooks show, and what they call their cells: without a notebook, by what IPython asks."""

from __future__ import annotations

import copy
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import graphc as gc

CELL = "/tmp/ipykernel_7/1234.py"  # what a kernel calls the third cell


class Printer:
    """What IPython hands to `_repr_pretty_`."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def text(self, text: str) -> None:
        self.written.append(text)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that knows its cells, with the one call that IPython 8 and later have for it."""

    def format_code_name(file: str) -> tuple[str, str] | None:
        return ("Cell", "In[3]") if file == CELL else None

    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=format_code_name))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]


def cell(text: str) -> dict[str, object]:
    names: dict[str, object] = {"gc": gc, "np": np}
    exec(compile(text, CELL, "exec"), names)
    return names


def step() -> object:
    x = gc.placeholder("x", ("n", 3))
    w = gc.variable(np.ones(3, "float32"), name="w")
    loss = gc.mean(gc.tanh(x @ w))
    return gc.compile([x], loss, {w: w - 0.1 * gc.grad(loss, w)}, name="step")


@pytest.mark.usefixtures("notebook")
def test_errors_name_the_cell() -> None:
    with pytest.raises(gc.GraphcError, match=r"at: +In\[3\]:2"):
        cell("x = gc.placeholder('x', (2,))\ny = x @ gc.zeros((3,))")


@pytest.mark.usefixtures("notebook")
def test_the_text_and_the_explanation_name_the_cell() -> None:
    text = "x = gc.placeholder('shown_x', ('n', 3))\ny = gc.compile([x], gc.sum(gc.tanh(x)))"
    names = cell(text)  # its nodes are in no other test, which would have them from another line
    function = names["y"]
    assert isinstance(function, gc.runtime.compile.Function)
    assert "In[3]:2" in function.explain()
    assert "1234" not in function.explain() + str(function.graph) + str(function.cost())
    assert "In[3]:2" in function.cost().steps[0].line


@pytest.mark.usefixtures("notebook")
def test_another_file_keeps_its_name() -> None:
    with pytest.raises(gc.GraphcError, match=r"test_shown\.py:"):
        gc.zeros((2,)) @ gc.zeros((3,))


def test_a_shell_of_another_kind_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one, or none, though the module is there."""
    for shell in (None, SimpleNamespace(), SimpleNamespace(compile=SimpleNamespace())):
        known = SimpleNamespace(get_ipython=lambda shell=shell: shell)
        monkeypatch.setitem(sys.modules, "IPython", known)  # type: ignore[arg-type]
        with pytest.raises(gc.GraphcError, match=r"test_shown\.py:"):
            gc.zeros((2,)) @ gc.zeros((3,))


def test_texts_are_shown_as_they_are_printed() -> None:
    function, model = step(), gc.nn.Sequential([gc.nn.Dense(2)])
    assert isinstance(function, gc.runtime.compile.Function)
    w = function.graph.variables[0]
    derived = gc.derive(function.graph.outputs[0], w)
    texts = (
        function.explain(), function.explain(markdown=True), function.source, function.llvm,
        function.asm, function.kernels[0].source, function.cost().table(), gc.latex(function),
        model.summary((3, 2)), derived.latex, derived.markdown,
    )  # fmt: skip
    for text in texts:
        printer = Printer()
        text._repr_pretty_(printer, False)  # type: ignore[attr-defined]
        assert "\n" in text
        assert printer.written == [text]
        assert pickle.loads(pickle.dumps(text)) == copy.deepcopy(text) == text


def test_formulas_and_markdown_are_set() -> None:
    function = step()
    assert isinstance(function, gc.runtime.compile.Function)
    kernel = function.kernels[0]
    for text in (gc.latex(function), gc.latex(kernel), kernel.latex):
        assert text._repr_latex_() == f"$\\displaystyle {text}$"  # type: ignore[attr-defined]
    assert kernel._repr_latex_() == f"$\\displaystyle {kernel.latex}$"
    text = function.explain(markdown=True)
    assert text._repr_markdown_() == text  # type: ignore[attr-defined]


def test_kernels_and_costs_say_what_they_are() -> None:
    function = step()
    assert isinstance(function, gc.runtime.compile.Function)
    assert repr(function.cost()) == function.cost().table()
    for kernel in function.kernels:
        assert "\n" not in repr(kernel)
        assert kernel.name in repr(kernel)
    assert "tanh" in repr(function.kernels)


def test_the_module_is_no_picture() -> None:
    """A notebook asks whatever ends a cell for its forms."""
    for form in ("svg", "html", "latex", "markdown", "png"):
        assert not hasattr(gc, f"_repr_{form}_")
    assert hasattr(gc.zeros((2,)), "_repr_svg_")
