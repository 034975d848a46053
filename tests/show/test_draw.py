"""Drawings: DOT goldens, hostile names, determinism, formats, errors, threads."""

from __future__ import annotations

import html
import os
import random
import re
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GraphcError
from graphc.fusion.fuse import fuse
from graphc.ir import origin
from graphc.passes.canonical import expand_composites
from graphc.show import fonts, render
from tests.counting import calls_of

MAGIC = {"svg": b"<?xml", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-", "dot": b"// "}


@pytest.fixture(autouse=True)
def no_lines() -> Any:
    """Nodes know no line of this file, so that goldens outlive its edits."""
    with origin.inherit(()):
        yield


def compiled(graph: gc.Graph) -> Any:
    return SimpleNamespace(graph=graph, optimized=fuse(expand_composites(graph)))


def at(scope: str) -> Any:
    return origin.inherit((origin.Origin("model.py", 3, scope),))


def two_layers() -> gc.Graph:
    """A linear layer, its gradient and its update."""
    x = gc.placeholder("pixels", ("n", 4))  # no other test's node, which has other lines
    with at("net/dense"):
        w = gc.variable(np.zeros((4, 3), "float32"), name="net/dense/w")
        b = gc.variable(np.zeros(3, "float32"), name="net/dense/b")
        h = gc.relu(x @ w + b)
    with at("net/head"):
        loss = gc.sum(h * h)
    gradients = gc.grad(loss, [w, b])
    with at("sgd"):
        updates = [(v, v - 0.1 * g) for v, g in zip([w, b], gradients, strict=True)]
    return gc.Graph([x], [loss], updates, "step")


def loop() -> gc.Graph:
    xs = gc.placeholder("xs", ("t", 3))
    w = gc.variable(np.ones(3, "float32"), name="w")
    last, ys = gc.scan(lambda h, x: (gc.tanh(h * w + x), h.sum()), gc.zeros((3,)), xs)
    return gc.Graph([xs], [last, ys])


def branch() -> gc.Graph:
    p, x = gc.placeholder("p", (), "bool"), gc.placeholder("x", ("n",))
    return gc.Graph([p, x], [gc.cond(p, lambda x: gc.exp(x) + 1, lambda x: x, x)])


def test_golden_graph_with_layers(golden: Callable[[str, str], None]) -> None:
    golden("draw/graph", gc.draw(two_layers(), level="full").source)


def test_golden_kernels(golden: Callable[[str, str], None]) -> None:
    golden("draw/kernels", gc.draw(compiled(two_layers()), view="kernels").source)


def test_golden_scan(golden: Callable[[str, str], None]) -> None:
    golden("draw/scan", gc.draw(loop(), level="full").source)


def test_golden_cond(golden: Callable[[str, str], None]) -> None:
    golden("draw/cond", gc.draw(branch(), direction="LR", level="full").source)


def test_golden_while_loop(golden: Callable[[str, str], None]) -> None:
    """The matrix from outside goes into the step, the limit into the condition."""
    x, limit = gc.placeholder("x", (3,)), gc.placeholder("limit")
    w = gc.variable(np.ones((3, 3), "float32"), name="w")
    found = gc.while_loop(lambda c: gc.sum(c[0]) < limit, lambda c: (w @ c[0], c[1] + 1), (x, 0))
    golden("draw/while_loop", gc.draw(gc.Graph([x, limit], found), level="full").source)


def test_golden_switch(golden: Callable[[str, str], None]) -> None:
    i, x = gc.placeholder("i", (), "int64"), gc.placeholder("x", ("n",))
    y = gc.switch(i, [gc.exp, lambda x: x, lambda x: x * x + 1], x)
    golden("draw/switch", gc.draw(gc.Graph([i, x], [y]), level="full").source)


# -- what is in a picture --------------------------------------------------------------------------
def texts(source: str) -> list[str]:
    """The texts of a rendered drawing, one for each line that is seen."""
    tree = ElementTree.fromstring(render.render(source, "svg"))
    return [t.text or "" for t in tree.iter("{http://www.w3.org/2000/svg}text")]


def test_scalar_constants_are_written_in_their_users() -> None:
    x = gc.placeholder("x", ("n",))
    seen = texts(gc.draw(1.0 / (x * 2.0) - x, level="full").source)
    assert {"× 2.0", "1.0 ÷", "a − b"} <= set(seen)
    assert "constant" not in seen


def test_arrows_carry_types() -> None:
    x = gc.placeholder("x", ("n", 128))
    source = gc.draw(gc.sum(x, 1), level="full").source
    assert {"f32[n,128]", "f32[n]"} <= {t.strip() for t in texts(source)}
    assert {"n × 128", "n"} <= {t.strip() for t in texts(gc.draw(gc.sum(x, 1)).source)}


def test_results_that_are_leaves() -> None:
    x, w = gc.placeholder("x", (2,)), gc.variable(np.zeros(2, "float32"), name="w")
    v = gc.variable(np.zeros(2, "float32"), name="v")
    graph = gc.Graph([x], [x, gc.constant(3.0), w], [(w, v), (v, w)])
    seen = texts(gc.draw(graph, level="full").source)
    assert {"x", "w", "v", "3.0", "output 0", "output 1", "output 2"} <= set(seen)


def test_a_layer_and_its_gradient_are_two_frames() -> None:
    seen = texts(gc.draw(two_layers(), level="full").source)
    assert "dense" in seen
    assert "net · visit 2" not in seen  # the loss is in the same net: no path leaves it
    x = gc.placeholder("x", (3,))
    with at("net"):
        h = gc.exp(x)
    loss = gc.sum(h * h)
    assert "net · visit 2" in texts(gc.draw(gc.grad(loss, x), level="full").source)


def test_kernels_name_their_space_and_transposes_are_in_the_product() -> None:
    seen = texts(gc.draw(compiled(two_layers()), view="kernels").source)
    assert "kernel 1 · n × 3" in seen
    assert "aᵀ @ b" in seen
    assert "transpose" not in seen


def test_host_calls_and_array_constants() -> None:
    m = gc.placeholder("m", (3, 3))
    product = gc.linalg.inv(m) @ gc.constant(np.arange(9.0, dtype="float32").reshape(3, 3))
    assert {"inv", "host call", "[0, 1, 2, 3, …]"} <= set(texts(gc.draw(product).source))


# -- names -----------------------------------------------------------------------------------------
HOSTILE = [
    'a"b', "a'b", "a\\", 'a\\"', "a\\\\", "\\N", "\\G\\L", "\\l", "\\r", "\\n", "C:\\x",
    "\\" * 10_001, "a\nb", "a\rb", "a\tb", "a\0b", "\x1b[31m", "\u202egnp.exe", "\u200b", "\ud800",
    "\n" * 999, "<b>", "<b>bold</b>", "<<b>x</b>>", "<table><tr><td>", "]]>", "</svg>",
    "</text>" * 999,
    "&lt;b&gt;", "&amp;", "&#65;", "&", "&" * 999, "{a|b}", "|", "{", "}", "[", "];", ";", "#",
    "n0", "n0 -> n1", "->", "node", "graph", "subgraph", "strict", "cluster_0", "k0", 'label="x"',
    "//", "/* x */", "charset=", 'charset="utf-16"', "é", "变量", "🦀", "a b", " a", "  ", "-", "1",
    "1.5", "-.5", "%s%n", "$(id)", "`id`", "../x", "__import__('os')", "'; drop", "http://x/",
    "javascript:x", "x" * 10_000, '"' * 999,
]  # fmt: skip


def visible(name: str) -> str:
    """What a name looks like, in an oracle's words."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in name
    ).replace("\xa0", " ")


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_any_name_is_shown_and_does_nothing_else(name: str) -> None:
    x = gc.placeholder(name, (2,))
    with at(name):
        w = gc.variable(np.zeros(2, "float32"), name=name + "w")
        y = gc.tanh(x + w)
    source = gc.draw(gc.Graph([x], [y], [(w, y)])).source
    ids = set(re.findall(r"^\s*(\w+) \[", source, re.MULTILINE))
    known = {"graph", "node", "edge", "n0", "n1", "n2", "n3", "n4"}
    assert {i for i in ids if not re.fullmatch(r"k\w+", i)} <= known
    svg = render.render(source, "svg")
    tree = ElementTree.fromstring(svg)
    groups = [g.get("id", "") for g in tree.iter("{http://www.w3.org/2000/svg}g")]
    assert not list(tree.iter("{http://www.w3.org/2000/svg}b"))
    assert all(re.fullmatch(r"(node|edge|clust|graph)[\w-]*|a_\w+", g) for g in groups if g)
    if len(name) < 20:
        seen = {t.replace("\xa0", " ") for t in texts(source)}
        assert visible(name) in seen, (visible(name), seen)
    assert len(source) < 12_000


def test_hostile_names_of_dims_and_ops_stay_short() -> None:
    x = gc.placeholder("x", ("n" * 500, "m"))
    assert max(map(len, texts(gc.draw(gc.exp(x)).source))) < 60


# -- determinism, processes, threads ---------------------------------------------------------------
PROGRAM = """
import numpy as np, graphc as gc
from types import SimpleNamespace
from graphc.passes.canonical import expand_composites
from graphc.fusion.fuse import fuse
x = gc.placeholder("x", ("n", 8)); y = gc.placeholder("y", ("n",), "int64")
with gc.scope("net"):
    ws = [gc.variable(np.ones((8, 8), "float32"), name=f"w{i}") for i in range(3)]
    h = x
    for w in ws:
        with gc.scope(w.name):
            h = gc.relu(h @ w)
loss = gc.mean(gc.softmax_cross_entropy(h, y))
ups = [(w, w - 0.1 * g) for w, g in zip(ws, gc.grad(loss, ws))]
graph = gc.Graph([x, y], [loss], ups, "step")
step = SimpleNamespace(graph=graph, optimized=fuse(expand_composites(graph)))
"""


def run_python(program: str, seed: str = "random") -> str:
    command = [sys.executable, "-c", PROGRAM + program]
    environment = {"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8", "PATH": ""}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=600, check=False,
        encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_text_does_not_depend_on_hash_seeds() -> None:
    program = "for v in ('graph', 'kernels'): print(gc.draw(step, view=v).source)"
    first, second = run_python(program, "1"), run_python(program, "2")
    assert first == second
    assert first.count("digraph") == 2


def test_the_first_drawing_of_a_process_has_all_labels() -> None:
    program = """
import sys
assert "graphc.show.draw" not in sys.modules and "pygraphviz" not in sys.modules
print(graph._repr_svg_())
"""
    svg = run_python(program)
    assert re.findall(r">n\d+</text>", svg) == []
    assert len(re.findall(">[^<>]*@ [^<>]*</text>", html.unescape(svg))) == 8
    assert ">output</text>" in svg
    assert "cross_entropy" in svg


def test_other_messages_come_through(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what fontconfig says at the first drawing of a process is kept off stderr."""
    monkeypatch.setattr(fonts, "_done", False)
    lines = b"Fontconfig warning: a\nanother\n"
    fonts.load_fonts(lambda: os.write(2, lines))
    fonts.load_fonts(lambda: os.write(2, lines))
    assert capfd.readouterr().err == "another\n"


def test_threads_draw_at_the_same_time() -> None:
    graph = two_layers()
    expected = render.render(gc.draw(graph).source, "svg")
    found: list[bytes] = []

    def work() -> None:
        for _ in range(3):
            found.append(render.render(gc.draw(graph).source, "svg"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 12


# -- files -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", MAGIC)
@pytest.mark.parametrize("view", ["graph", "kernels"])
def test_formats(tmp_path: Path, form: str, view: str) -> None:
    path = tmp_path / f"a drawing.{form.upper() if view == 'graph' else form}"
    assert gc.draw(compiled(two_layers()), str(path), view=view) == path
    assert path.read_bytes().startswith(MAGIC[form])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_tensors_and_graphs_show_themselves() -> None:
    x = gc.placeholder("x", (3,))
    assert "<svg" in x._repr_svg_()
    assert "<svg" in two_layers()._repr_svg_()
    assert "<svg" in gc.draw([x, gc.exp(x)])._repr_svg_()


@pytest.mark.parametrize("name", ["a.gif", "a", "a.svg.gz", ".svg", "a.html"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match=r"expected: \.svg, \.png, \.pdf, \.dot"):
        gc.draw(two_layers(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments() -> None:
    x = gc.placeholder("x", (3,))
    for wrong in (3, "graph", [], [1], None, SimpleNamespace(graph=3), np.zeros(3)):
        with pytest.raises(ArgumentError, match="cannot be drawn"):
            gc.draw(wrong)
    with pytest.raises(ArgumentError, match="unknown view"):
        gc.draw(x, view="costs")
    with pytest.raises(ArgumentError, match="unknown direction"):
        gc.draw(x, direction="UP")
    with pytest.raises(ArgumentError, match="not a path"):
        gc.draw(x, 3)
    with pytest.raises(ArgumentError, match="no kernels before it is compiled"):
        gc.draw(x, view="kernels")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "a.svg", tmp_path / "a\0b.svg"):
        with pytest.raises(ArgumentError, match="cannot be written"):
            gc.draw(gc.placeholder("x"), path)
    (tmp_path / "d.svg").mkdir()
    with pytest.raises(ArgumentError, match="cannot be written"):
        gc.draw(gc.placeholder("x"), tmp_path / "d.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["d.svg"]


def test_without_graphviz_the_dot_text_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GraphcError, match=r"DOT text is in .*a\.dot") as caught:
        gc.draw(two_layers(), tmp_path / "a.png")
    assert "pip install pygraphviz" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.dot"]
    assert (tmp_path / "a.dot").read_text("utf-8") == gc.draw(two_layers()).source


def test_the_systems_dot_draws_without_pygraphviz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "dot"
    program = "import sys\nprint('<?xml', sys.argv[1:], sys.stdin.read(2), '<svg></svg>')"
    fake.write_text(f"#!{sys.executable}\n{program}")
    fake.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = gc.draw(two_layers(), tmp_path / "a.svg")
    assert path.read_text().startswith("<?xml ['-Kdot', '-Tsvg']")


# -- size ------------------------------------------------------------------------------------------
def chain(length: int) -> gc.Tensor:
    t = gc.placeholder("x", (4,))
    for _ in range(length):
        t = gc.tanh(t)
    return t


def tangle(length: int) -> gc.Tensor:
    """Nothing in it is repeated."""
    rng = random.Random(5)
    ts = [gc.placeholder(name, (4,)) for name in "xyz"]
    while len(ts) < length:
        ts.append(rng.choice([gc.add, gc.subtract, gc.maximum, gc.atan2])(*rng.sample(ts[-9:], 2)))
    return gc.stack(ts[-20:])


@pytest.mark.parametrize("level", ["full", "math", "model"])
def test_large_graphs_are_drawn_simply(level: str) -> None:
    source = gc.draw(tangle(700), level=level).source
    assert "nodes: drawn without the types of values" in source
    assert not re.search(r'label=" (a: )?(f32\[4\]|4) "', source)
    assert render.render(source, "svg").startswith(MAGIC["svg"])
    assert re.search(r'label=" (a: )?(f32\[4\]|4) "', gc.draw(tangle(500), level=level).source)


def deep_network() -> gc.Graph:
    """546 nodes in 90 frames."""
    ws = [gc.variable(np.zeros((4, 4), "float32"), name=f"w{i}") for i in range(30)]
    h = x = gc.placeholder("x", ("n", 4))
    for w in ws:
        with at(f"net/{w.name}"):
            h = gc.relu(gc.tanh(h @ w) * 2 + 1)
    loss = gc.sum(h)
    gradients = gc.grad(loss, ws)
    with at("sgd"):
        updates = [(w, w - 0.1 * g) for w, g in zip(ws, gradients, strict=True)]
    return gc.Graph([x], [loss], updates)


def test_a_deep_network_gives_the_layout_little_to_do() -> None:
    """What Graphviz takes grows with marks, arrows and frames; each node has a few."""
    graph = deep_network()
    drawn, calls = calls_of(lambda: gc.draw(graph, level="full"))
    arrows, frames = drawn.source.count(" -> "), drawn.source.count("subgraph")
    marks = len(re.findall(r"^\t+\w+ \[label=", drawn.source, re.MULTILINE))
    assert len(graph.nodes) == 546
    assert 80 <= frames <= 100
    assert marks <= 1.2 * 546
    assert arrows <= 2 * 546
    assert calls <= 1_000 * 546  # 600 for each now


@pytest.mark.timed
def test_a_deep_network_is_drawn_in_time() -> None:
    source = gc.draw(deep_network()).source
    start = time.perf_counter()
    render.render(source, "svg")
    assert time.perf_counter() - start < 20


def test_larger_graphs_are_refused() -> None:
    with pytest.raises(GraphcError, match="at most 5000 boxes"):
        gc.draw(chain(21_000))
    with pytest.raises(GraphcError, match="at most 10 boxes"):
        gc.draw(chain(10), limit=10)
    assert gc.draw(chain(8), limit=10).source
