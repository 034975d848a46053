"""Every example at small settings: the numbers in its table, and its pictures.

They run in this process, one after another, as `python NAME.py` would run them: NumPy, matplotlib
and the compiler are imported once.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Table = dict[str, list[str]]
Run = Callable[..., Table]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(name, *arguments)`: the lines that an example prints, as cells by the first one."""

    def run(name: str, *arguments: object) -> Table:
        folder = tmp_path / "pictures"  # which is not there yet
        given = [name, *map(str, arguments), "--output", str(folder)]
        monkeypatch.setattr(sys, "argv", given)
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        assert list(tmp_path.iterdir()) == [folder]
        _check_picture(folder / f"{name}.png")
        lines = capsys.readouterr().out.splitlines()
        cells = [re.split(r"\s{2,}|: ", line.strip()) for line in lines]
        return {first: rest for first, *rest in cells}

    return run


def _check_picture(path: Path) -> None:
    from matplotlib.image import imread

    pixels = imread(path)[..., :3].mean(axis=-1)
    assert min(pixels.shape) > 300
    drawn = pixels < 0.95
    assert 0.01 < drawn.mean() < 0.9
    halves = [part for half in np.array_split(drawn, 2) for part in np.array_split(half, 2, axis=1)]
    assert all(part.mean() > 0.005 for part in halves), "a quarter of the picture is empty"


def test_perceptron(run: Run) -> None:
    table = run("perceptron", "--epochs", 20, "--points", 800)
    for task in ("AND, one perceptron", "OR, one perceptron", "XOR, a layer in between"):
        assert table[task][1] == "0"
    assert int(table["XOR, one perceptron"][1]) > 0
    assert table["arrow, by hand"][1] == "0"
    assert int(table["arrow, learned"][1]) < 60


def test_regression(run: Run, tmp_path: Path) -> None:
    table = run("regression", "--epochs", 50)
    assert float(table["diabetes"][1].removeprefix("R^2 ")) > 0.3
    accuracy, area = (float(n) for n in re.findall(r"\d\.\d+", table["breast cancer"][1]))
    assert accuracy > 0.94
    assert area > 0.98
    assert float(table["wine"][1].removeprefix("accuracy ")) > 0.94
    (distance,) = re.findall(r"\d\.\d+", table["weights of the linear one"][0])
    assert float(distance) < 0.02
    assert "<svg" in (tmp_path / "pictures/regression-graph.svg").read_text(encoding="utf-8")


def test_overfitting(run: Run) -> None:
    table = run("overfitting", "--epochs", 800, "--width", 32)
    table.pop("model")
    seen, new = (
        {name: float(cells[i]) for name, cells in table.items() if len(cells) == 4} for i in (1, 2)
    )
    assert len(seen) == 6
    assert min(seen["a line"], new["a line"]) > 0.3  # too small for both
    free = "a large network"
    assert seen[free] == min(seen.values())
    for name in ("L1", "L2", "dropout", "early stopping"):
        assert new[name] < new[free]
    assert float(table["L2"][3]) < float(table[free][3])
    assert int(table["early stopping"][0]) < int(table[free][0])


def test_optimizers(run: Run) -> None:
    table = run("optimizers", "--steps", 80, "--rates", 9, "--epochs", 3)
    heights = {n: float(table[n][1]) for n in ("SGD", "Momentum", "Nesterov", "RMSProp", "Adam")}
    assert max(heights.values()) < 8.7  # where they start
    assert heights["Momentum"] < heights["SGD"]
    assert [table[n][0] for n in ("1", "16", "256")] == ["768", "48", "3"]
    loss = {n: float(table[n][1]) for n in ("1", "16", "256")}
    assert loss["1"] < 0.4
    assert loss["16"] < loss["256"]
    assert float(table["1"][2]) > float(table["16"][2])


def test_newton(run: Run) -> None:
    table = run("newton", "--epochs", 15)
    gap = {name: float(cells[1]) for name, cells in table.items() if cells[1:2] and "e" in cells[1]}
    gap.pop("optimiser", None)
    assert len(gap) == 6
    assert gap["Newton"] < 1e-10
    assert max(gap["L-BFGS"], gap["conjugate gradients"]) < 0.1 * gap["SGD"]
    assert int(table["Newton"][0]) <= 12


def test_batch_norm(run: Run) -> None:
    table = run("batch_norm", "--epochs", 5, "--layers", 6, "--width", 32)
    size = {name: [float(c) for c in table[name][:2]] for name in ("too small", "He", "too large")}
    assert size["too small"][1] < 0.1 * size["too small"][0]
    assert size["too large"][1] > 10 * size["too large"][0]
    assert 0.3 < size["He"][1] / size["He"][0] < 3
    accuracy = {name: float(cells[-1]) for name, cells in table.items() if name != "start"}
    assert len(accuracy) == 6
    assert accuracy["He"] > accuracy["too small"] + 0.2
    for name in size:
        assert accuracy[f"{name}, normalised"] > 0.8
        assert 0.3 < float(table[f"{name}, normalised"][1]) < 1


def test_sound(run: Run) -> None:
    table = run("sound", "--epochs", 8, "--sounds", 800)
    assert float(table["samples"][1]) < 0.4
    assert float(table["spectrum"][1]) > 0.85


def test_words(run: Run) -> None:
    table = run("words", "--epochs", 10, "--sentences", 800)
    right, of = map(int, re.findall(r"\d+", table["analogies"][0]))
    assert of == 20
    assert right >= 15


def test_characters(run: Run) -> None:
    table = run(
        "characters", "--epochs", 6, "--characters", 12_000, "--time", 24, "--width", 32,
        "--blocks", 1,
    )  # fmt: skip
    alone, *found = (float(table[n][1]) for n in ("how often each is", "LSTM", "transformer"))
    assert 3 < alone < 6
    assert max(found) < alone - 0.3


def test_autoencoder(run: Run) -> None:
    table = run("autoencoder", "--epochs", 25)
    error = {n: float(table[n][0]) for n in ("two components", "autoencoder", "variational")}
    assert error["autoencoder"] < error["two components"] < 0.06
    assert error["variational"] < 0.06


def test_physics(run: Run) -> None:
    table = run("physics", "--steps", 150, "--points", 100, "--width", 12)
    for name in ("height", "damping", "frequency", "phase"):
        true, value, error = map(float, table[name])
        assert 0 < error < 0.1
        assert abs(value - true) < 4 * error
    (_, off) = re.findall(r"\d\.\de-\d+", " ".join(table["the rod"]))
    assert float(off) < 0.1
