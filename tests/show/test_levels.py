"""Drawings by level and view: what is in them, and that every node is there once."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.machines import Speed
from graphc.runtime import speed
from graphc.show import dark, render
from graphc.show.draw import _picture
from graphc.show.picture import Cluster, Kind, Look
from tests.properties.generator import random_graph
from tests.show.test_draw import HOSTILE, at, compiled, loop, two_layers, visible
from tests.show.test_reading import perceptron, recurrent

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def no_lines() -> Any:
    """Nodes know no line of this file, so that goldens outlive its edits."""
    with origin.inherit(()):
        yield


@pytest.fixture
def typical(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has measured this processor, whatever else ran in this process, a profile for one."""
    monkeypatch.setattr(speed, "known", lambda: None)


def boxes(source: str) -> list[str]:
    """The labels of all marks but those of the legend."""
    found = re.findall(r'^\t+n\d+ \[label=("(?:[^"\\]|\\.)*"|\w+)', source, re.MULTILINE)
    return [label.strip('"') for label in found]


def network() -> Any:
    layers = [gc.nn.Dense(8, "relu"), gc.nn.Dropout(0.5), gc.nn.Dense(3)]
    return gc.nn.Sequential(layers, name="net").init(("n", 4))


def training(model: Any, *shape: int, optimizer: Any = None) -> gc.Graph:
    x, y = gc.placeholder("x", ("n", *shape)), gc.placeholder("y", ("n",), "int64")
    loss = gc.mean(gc.softmax_cross_entropy(model(x, training=True), y))
    updates = (optimizer or gc.optim.SGD(0.1)).minimize(loss, model)
    return gc.Graph([x, y], [loss], updates.items())


# -- math ------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("no_lines")
def test_golden_math_step(golden: Any) -> None:
    golden("draw/math_step", gc.draw(perceptron()).source)


@pytest.mark.usefixtures("no_lines")
def test_golden_math_loop(golden: Any) -> None:
    golden("draw/math_loop", gc.draw(recurrent()).source)


def test_a_training_step_has_three_lanes() -> None:
    source = gc.draw(perceptron()).source
    assert re.findall(r'label="?(forward|backward|update)\\l', source) == [
        "forward", "backward", "update",
    ]  # fmt: skip
    shown = boxes(source)
    assert {"L = mean axes 0, 1", "W1 − 0.1 × dL/dW1", "b1 − 0.1 × dL/db1"} <= set(shown)
    assert sum(label.startswith("dL/dW2 = ") for label in shown) == 1


def test_many_updates_are_one_of_a_variable_w() -> None:
    """Adam, of six variables of different shapes."""
    layers = [gc.nn.Dense(n, "relu") for n in (5, 6, 3)]
    model = gc.nn.Sequential(layers, name="net").init(("n", 4))
    source = gc.draw(training(model, 4, optimizer=gc.optim.Adam(0.1))).source
    shown = boxes(source)
    assert "for each w of 6:" in source
    assert shown.count("0.9 × first_moment\n+ 0.1 × dL/dw") == 1
    assert "√(1 − 0.999^a)" in shown  # whose code is expm1(log(0.999) a)
    assert [label for label in shown if label.startswith("w")] == ["w + a / b", "w"]
    (moment,) = re.findall(r"(n\d+) \[label=\"0.9 × first_moment", source)
    (gradient,) = re.findall(r"(n\d+) \[label=\"dL/dw", source)  # one for all, drawn again there
    arrows = re.findall(r"^\t(n\d+) -> (n\d+)(?: \[(?!style=invis).*)?$", source, re.MULTILINE)
    assert gradient in {t for t, h in arrows if h == moment}
    others = set(re.findall(r"(n\d+) \[label=\"dL/d[^w]", source))
    assert len(others) == 6
    assert not others & {t for t, _ in arrows if t != gradient and _ == moment}


def test_loops_name_what_their_steps_read() -> None:
    shown = boxes(gc.draw(recurrent()).source)
    assert {"x @ W", "h @ U", "tanh", "dL/dW", "dL/dU"} <= set(shown)
    assert not any("broadcast" in label for label in shown)


def test_letters_of_formulas_are_no_names() -> None:
    """A neuron with the bias b: what stands in a formula without a name is a and c."""
    w, b = gc.variable(np.ones(3), name="w"), gc.variable(np.zeros(()), name="b")
    x, y = gc.placeholder("levels_x", (3,), "float64"), gc.placeholder("levels_y", (), "float64")
    error = gc.sigmoid(x @ w + b) - y
    step = gc.Graph([x, y], [error**2], [(b, b - gc.grad(error**2, b))])
    shown = " ".join(boxes(gc.draw(step).source))
    assert "a × c × (1 − c)" in shown


def test_slices_are_written_as_in_python() -> None:
    x = gc.placeholder("levels_s", (9, 8))
    assert "slice [:, 2:6]" in boxes(gc.draw(gc.exp(x)[:, 2:6]).source)


def test_the_legend_tells_of_gradients() -> None:
    assert "label=gradient" in gc.draw(perceptron()).source


# -- model -----------------------------------------------------------------------------------------
@pytest.mark.usefixtures("no_lines")
def test_golden_model_step(golden: Any) -> None:
    golden("draw/model_step", gc.draw(two_layers(), level="model").source)


def test_layers_are_boxes_with_their_variables() -> None:
    shown = boxes(gc.draw(network(), level="model").source)
    assert shown[0] == "x\nn × 4"
    assert [s for s in shown if "kernel" in s] == [
        "dense1\nDense\nkernel 4 × 8\nbias 8", "dense2\nDense\nkernel 8 × 3\nbias 3",
    ]  # fmt: skip


def test_a_step_updates_the_boxes_of_layers() -> None:
    source = gc.draw(training(network(), 4), level="model").source
    numbers = dict(re.findall(r"^\t+(n\d+) \[label=\"?(\w+)", source, re.MULTILINE))
    updated = re.findall(r"^\t(n\d+) -> (n\d+) .*style=dashed", source, re.MULTILINE)
    names = {(numbers[a], numbers[b]) for a, b in updated}
    assert {("dense1", "sgd"), ("dense2", "sgd")} <= names


def test_deep_models_of_large_boxes_are_short() -> None:
    """Twelve boxes of six lines each are a page; their step has an arrow for what goes between."""
    blocks = [gc.nn.TransformerBlock(2, 8) for _ in range(12)]
    model = gc.nn.Sequential([*blocks, gc.nn.Flatten(), gc.nn.Dense(3)], name="levels_deep")
    model.init(("n", 3, 4))
    shown = boxes(gc.draw(model, level="model").source)
    assert any(label.startswith("11 × transformerblock2 … transformerblock12") for label in shown)
    drawn = _picture(training(model, 3, 4), "graph", "model", 5000)
    assert len(drawn.marks) < 30
    marks = [a.tail for a in drawn.arrows if drawn.marks[a.tail].look is Look.LAYER]
    heads = Counter((a.tail, a.head, a.kind) for a in drawn.arrows if a.tail in marks)
    assert max(heads.values()) == 1
    assert any(re.fullmatch(r"\d+ tensors", a.text) for a in drawn.arrows)


@pytest.mark.parametrize("level", ["model", "math"])
def test_two_optimisers_have_a_frame_each(level: str) -> None:
    """Each counts its steps, so that one frame for both would say what is not so."""
    one, two = (
        gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dense(2)], name=f"levels_{name}").init(("n", 2))
        for name in ("left", "right")
    )
    x = gc.placeholder("x", ("n", 2))
    losses = [gc.mean(one(x) ** 2), gc.mean(two(one(x)) ** 2)]
    updates = {}
    for loss, model in zip(losses, (one, two), strict=True):
        updates |= gc.optim.Adam().minimize(loss, model)
    source = gc.draw(gc.Graph([x], losses, updates.items()), level=level).source
    if level == "math":
        assert source.count("for each w of 4:") == 2
        assert boxes(source).count("w") == 2
    assert "adam of levels_left" in source
    assert "adam of levels_right" in source
    alone = gc.Graph([x], losses[:1], gc.optim.Adam().minimize(losses[0], one).items())
    assert "adam of" not in gc.draw(alone, level=level).source


def test_a_while_loop_gives_what_its_condition_does_not_hold_of() -> None:
    """Which is what it was given, if no step is made."""
    start = gc.placeholder("levels_w")
    found = gc.while_loop(lambda c: c < 9, lambda c: c * c, start)
    picture = _picture({"found": found}, "graph", "math", 5000)
    (result,) = (a.tail for a in picture.arrows if picture.marks[a.head].look is Look.OUTPUT)
    assert picture.marks[result].look is Look.STEP
    assert [a.head for a in picture.arrows if a.kind is Kind.LOOP] == [result]


def test_equal_kernels_have_the_names_of_their_own_layers() -> None:
    x = h = gc.placeholder("levels_k", ("n", 4))
    w = gc.variable(np.ones((4, 4), "float32"), name="levels_kw")
    for name in ("first", "second"):
        with at(f"levels/{name}"):
            h = gc.exp(gc.tanh(h @ w))
    source = gc.draw(gc.compile([x], h, target="reference"), view="kernels").source
    for name in ("first", "second"):
        assert re.search(rf"kernel \d · n × 4\\l *levels/{name}", source), source


def test_an_unbuilt_model_is_an_error() -> None:
    with pytest.raises(ArgumentError, match=r"was not built") as caught:
        gc.draw(gc.nn.Sequential([gc.nn.Dense(3)], name="new"))
    assert "init" in str(caught.value)


def test_many_layers_are_one_with_a_count() -> None:
    gc.nn.seed(0)
    deep = gc.nn.Sequential([gc.nn.Dense(4) for _ in range(70)], name="deep").init(("n", 4))
    shown = boxes(gc.draw(deep, level="model").source)
    assert len(shown) < 10
    assert any(label.startswith("69 × dense2 … dense70") for label in shown)


def test_equal_frames_are_one_with_a_count() -> None:
    h = gc.placeholder("levels_x", ("n", 4))
    for i in range(40):
        with at(f"net/block{i}"):
            h = gc.tanh(h @ gc.variable(np.ones((4, 4), "float32"), name=f"net/block{i}/w"))
    source = gc.draw(h).source
    assert "39 × block1 … block39" in source  # the first one has an input with a name
    assert len(boxes(source)) < 10
    assert "39 ×" not in gc.draw(h, level="full").source


# -- what can be drawn -----------------------------------------------------------------------------
def test_results_have_the_names_of_a_dict() -> None:
    x = gc.placeholder("levels_d", (3,))
    shown = boxes(gc.draw({"total": gc.sum(x), "parts": [gc.exp(x)]}).source)
    assert {"total", "parts"} <= set(shown)


def test_functions_and_jits() -> None:
    x = gc.placeholder("levels_f", (3,))
    f = gc.compile([x], {"y": gc.exp(x)}, target="reference")
    assert "y" in boxes(gc.draw(f).source)
    jitted = gc.jit(lambda a: gc.exp(a) * 2, target="reference")
    with pytest.raises(ArgumentError, match="not called yet"):
        gc.draw(jitted)
    jitted(np.zeros(3, "float32"))
    assert "exp" in boxes(gc.draw(jitted).source)


def test_a_function_of_python_says_what_to_do() -> None:
    with pytest.raises(ArgumentError, match=r"gc\.jit"):
        gc.draw(lambda x: x)


def test_unknown_levels_and_views_are_named() -> None:
    x = gc.placeholder("levels_u", (3,))
    with pytest.raises(ArgumentError, match=r"unknown level.*\n?.*'model', 'math', 'full'"):
        gc.draw(x, level="maths")
    with pytest.raises(ArgumentError, match="unknown view"):
        gc.draw(x, view="costs")
    with pytest.raises(ArgumentError, match="only a compiled function has memory"):
        gc.draw(x, view="memory")
    with pytest.raises(ArgumentError, match="no kernels before it is compiled"):
        gc.draw(x, view="cost")


# -- views -----------------------------------------------------------------------------------------
@pytest.mark.usefixtures("no_lines", "typical")
def test_golden_cost(golden: Any) -> None:
    golden("draw/cost", gc.draw(compiled(two_layers()), view="cost").source)


@pytest.mark.usefixtures("typical")
def test_costs_say_whose_they_are_and_what_they_update() -> None:
    model = gc.nn.Sequential([gc.nn.Dense(3), gc.nn.Dense(2)], name="levels_cost").init(("n", 4))
    step = training(model, 4)
    function = gc.compile(step.inputs, step.outputs, step.updates, target="reference")
    picture = _picture(function, "cost", "math", 5000)
    products = [m.lines for m in picture.marks if " @ " in m.lines[0]]
    assert {lines[1] for lines in products} == {"levels_cost/dense1", "levels_cost/dense2"}
    updated = [picture.marks[a.head] for a in picture.arrows if a.kind is Kind.UPDATE]
    assert len(updated) == 4
    assert all(m.look is Look.VARIABLE for m in updated)


@pytest.mark.parametrize(("flops", "looks"), [(1e9, {"hexagon"}), (1e15, {"box"})])
def test_what_was_measured_decides_what_is_bound_by_what(
    flops: float, looks: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Speed(flops=flops, bandwidth=1e10, cache_bandwidth=1e10)
    monkeypatch.setattr(speed, "known", lambda: measured)
    source = gc.draw(compiled(two_layers()), view="cost").source
    steps = re.findall(r"for a byte\"[^\]]*shape=(\w+)", source)
    assert set(steps) == looks
    assert f"{measured.balance:.3g} operations for a byte (measured here)" in source


def test_an_update_arrives_in_the_lane_that_computes_it() -> None:
    """A key of a dropout is read by the forward pass and by its own update, each from its mark."""
    layers = [gc.nn.Dense(4), gc.nn.Dropout(0.5), gc.nn.Dense(3), gc.nn.Dropout(0.5)]
    net = gc.nn.Sequential(layers, name="kept").init(("n", 5))
    x = gc.placeholder("x", ("n", 5))
    loss = gc.sum(net(x, training=True))
    step = gc.Graph([x], [loss], gc.optim.SGD(0.1).minimize(loss, net).items())
    picture = _picture(step, "graph", "math", 5000)
    lane = {m: lane.lines for lane in picture.whole.children for m in all_marks(lane)}
    updates = [a for a in picture.arrows if a.kind is Kind.UPDATE]
    assert len(updates) == 6
    assert all(lane[a.tail] == lane[a.head] == ("update",) for a in updates)
    ends = {m for a in picture.arrows for m in (a.tail, a.head)}
    assert ends == set(range(len(picture.marks)))  # none stands alone


def all_marks(cluster: Cluster) -> list[int]:
    return [*cluster.marks, *(m for child in cluster.children for m in all_marks(child))]


def test_leaves_drawn_again_have_their_names() -> None:
    h = gc.placeholder("levels_a", (64, 64))
    w = gc.variable(np.ones((64, 64), "float32"), name="levels_w")
    for _ in range(5):
        h = gc.tanh(h @ w)
    shown = boxes(gc.draw(compiled(gc.Graph([gc.placeholder("levels_a", (64, 64))], [h])),
                          view="cost").source)  # fmt: skip
    assert shown.count("levels_w\nf32[64,64]") > 1


def test_the_cost_of_loops_is_inside_their_frames() -> None:
    source = gc.draw(compiled(loop()), view="cost").source
    assert "scan · t steps" in source
    assert "operations for a byte" in source


@pytest.mark.usefixtures("typical")
def test_products_of_large_matrices_are_bound_by_arithmetic() -> None:
    a, b = (gc.placeholder(f"levels_{n}", (512, 512)) for n in "ab")
    source = gc.draw(compiled(gc.Graph([a, b], [gc.tanh(a @ b)])), view="cost").source
    assert re.search(r"n\d+ \[label=\"a @ b[^]]*shape=hexagon", source)
    assert re.search(r"n\d+ \[label=\"kernel 1 · tanh[^]]*shape=box", source)


def test_the_memory_of_a_program() -> None:
    x = gc.placeholder("levels_m", (64, 64))
    f = gc.compile([x], gc.tanh(x @ x) @ x, name="memory")
    drawing = gc.draw(f, view="memory")
    assert drawing.engine == "neato"
    tree = ElementTree.fromstring(render.render(drawing.source, "svg", drawing.engine))
    texts = " ".join(t.text or "" for t in tree.iter(f"{SVG}text"))
    assert float(tree.get("width", "").removesuffix("pt")) < 1200
    assert f.cost().at().peak_bytes == 2 * 64 * 64 * 4
    assert "16.4 kB" in texts
    assert "<svg" in drawing._repr_svg_()


def test_a_difference_marks_what_only_one_has() -> None:
    x = gc.placeholder("levels_i", (3,))
    before, after = gc.Graph([x], [gc.exp(x) * 1.0]), gc.Graph([x], [gc.exp(x)])
    source = gc.draw([before, after], view="diff").source
    assert re.search(r'label="× 1.0".*style="rounded,dashed,filled"', source)
    assert len(re.findall(r"label=exp ", source)) == 1
    assert gc.draw(before, view="diff").source == source


# -- random graphs ---------------------------------------------------------------------------------
@pytest.mark.parametrize("level", ["model", "math"])
def test_random_graphs_are_drawn(level: str) -> None:
    """With their gradients; every arrow leads from a mark to a mark, and every result has one."""
    for seed in range(900, 907):
        graph = random_graph(seed).graph
        source = gc.draw(graph, level=level).source
        marks = set(re.findall(r"^\t+(n\d+) \[label=", source, re.MULTILINE))
        arrows = re.findall(r"^\t(n\d+) -> (n\d+)", source, re.MULTILINE)
        assert {mark for arrow in arrows for mark in arrow} <= marks
        outputs = [label for label in boxes(source) if re.fullmatch(r"output( \d+)?", label)]
        assert len(outputs) == len(graph.outputs)


# -- SVG -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("level", ["model", "math", "full"])
def test_an_svg_holds_every_node_once(level: str) -> None:
    gc.nn.seed(0)
    source = gc.draw(training(network(), 4), level=level).source
    tree = ElementTree.fromstring(render.render(source, "svg"))
    nodes = [
        (g.findtext(f"{SVG}title") or "")
        for g in tree.iter(f"{SVG}g")
        if g.get("class") == "node"
    ]
    declared = re.findall(r"^\t+([nk]\w*) \[label=", source, re.MULTILINE)
    assert Counter(n for n in nodes if n[0] == "n") == Counter(n for n in declared if n[0] == "n")
    edges = [g for g in tree.iter(f"{SVG}g") if g.get("class") == "edge"]
    assert len(edges) >= len(re.findall(r" -> n\d+(?! \[style=invis)", source))


def test_a_network_with_adam_fits_a_page() -> None:
    """Layers stand one below the other, gradients of many are drawn again where they are read, and
    the legend is below: at 11 points a page of A4, across, has 5 or more of them left."""
    gc.nn.seed(0)
    layers = [gc.nn.Dense(128, "relu"), gc.nn.Dense(64, "relu"), gc.nn.Dense(10)]
    net = gc.nn.Sequential(layers, name="mlp").init(("n", 784))
    svg = gc.draw(training(net, 784, optimizer=gc.optim.Adam()))._repr_svg_()
    width, height = (float(v) for v in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2])
    assert width < 1700
    assert height < 1700


def test_pictures_have_colours_for_dark_pages() -> None:
    svg = render.render(gc.draw(perceptron()).source, "svg")
    style = svg[svg.index(b"<style>") : svg.index(b"</style>")].decode()
    assert "prefers-color-scheme: dark" in style
    for colour in set(re.findall(rb'fill="(#[0-9a-f]{6})"', svg)):
        assert f'[fill="{colour.decode()}"]{{fill:{dark.dark(colour.decode())}}}' in style


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    light, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (low + 0.05)


def test_text_can_be_read_on_every_box_light_and_dark() -> None:
    from graphc.show.dot import _BOXES, _INK, _LOOKS

    fills = [a["fillcolor"] for a in (*_LOOKS.values(), *_BOXES.values())]
    fills.remove(_LOOKS[gc.show.picture.Look.BUFFER]["fillcolor"])  # a dot without text
    for fill in fills:
        assert contrast(_INK, fill) >= 7
        assert contrast(dark.dark(_INK), dark.dark(fill)) >= 4.5, fill


# -- names -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("level", ["model", "math"])
def test_any_name_is_shown_and_does_nothing_else(level: str) -> None:
    """All hostile names at once, of layers, variables and inputs, in formulas and titles."""
    for names in (HOSTILE[:32], HOSTILE[32:]):
        outputs = []
        for name in names:
            w = gc.variable(np.zeros(2, "float32"), name=name)
            with at(name):
                outputs.append(gc.tanh(gc.placeholder(name, (2,)) - w * 2))
        source = gc.draw(outputs, level=level).source
        ids = set(re.findall(r"^\s*(\w+) \[", source, re.MULTILINE))
        assert all(re.fullmatch(r"graph|node|edge|[nk]\w+", i) for i in ids)
        tree = ElementTree.fromstring(render.render(source, "svg"))
        assert not list(tree.iter(f"{SVG}b"))
        seen = "\n".join(t.text or "" for t in tree.iter(f"{SVG}text")).replace("\xa0", " ")
        short = [n for n in names if 0 < len(n) < 12 and n.isprintable() and n.strip() == n]
        assert [n for n in short if visible(n) not in seen] == []


def test_a_kernel_that_computes_nothing_moves_elements() -> None:
    x = gc.placeholder("moved_cost", (40, 30))
    f = gc.compile([x], gc.permute_dims(x, (1, 0)))
    assert "kernel 1 · moved elements" in gc.draw(f, view="cost").source
