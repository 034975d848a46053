"""Fit a law to measurements, and solve an equation by a network that never sees a solution.

    python physics.py

First, the four numbers of a damped oscillation from noisy measurements, by Levenberg-Marquardt,
with how sure they are. Then heat in a rod, u_t = a u_xx: a network u(x, t) that has the first and
the boundary values by its form, and whose loss is how far it is from the equation at points inside.
Its derivatives are graphs like any others, which L-BFGS differentiates again. The exact solution is
only looked at in the end. Needs `pip install graphc[examples]`; writes `physics.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import trange

import graphc as gc

TRUE = {"height": 2.0, "damping": 0.4, "frequency": 3.0, "phase": 0.5}
DIFFUSION = 0.05


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Curve fitting, and a physics-informed network.")
    parser.add_argument("--measurements", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400, help="of L-BFGS")
    parser.add_argument("--points", type=int, default=400, help="where the equation is to hold")
    parser.add_argument("--width", type=int, default=20, help="of the two hidden layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def oscillation(p: Any, t: Any) -> Any:
    return p[0] * np.exp(-p[1] * t) * np.cos(p[2] * t + p[3])


def fit(t: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The four numbers, and their standard errors."""
    inputs = [gc.placeholder(name, ("n",), "float64") for name in ("t", "seen")]
    p = gc.variable([1.0, 0.1, 2.6, 0.0], "p", dtype="float64")
    residuals = oscillation(p, inputs[0]) - inputs[1]
    square = gc.sum(residuals**2)
    updates = gc.optim.LevenbergMarquardt().minimize(residuals, [p])
    step = gc.compile(inputs, square, updates=updates)
    for _ in range(30):
        step(t, seen)
    slopes = gc.jacobian(residuals, p)
    spread = gc.linalg.inv(slopes.T @ slopes) * square / (len(t) - 4)
    return p.value, np.sqrt(np.diagonal(gc.compile(inputs, spread)(t, seen)))


def heat(x: Any, t: Any) -> Any:
    """The exact solution, from sin(pi x) + sin(3 pi x) / 2: each wave decays by itself."""
    waves = ((1, 1.0), (3, 0.5))
    return sum(
        c * np.exp(-DIFFUSION * (k * np.pi) ** 2 * t) * np.sin(k * np.pi * x) for k, c in waves
    )


def solve(steps: int, points: np.ndarray, width: int) -> tuple[Any, list[float]]:
    """The network as a compiled function of x and t, and its loss after each step."""
    x, t = (gc.placeholder(name, ("n", 1), "float64") for name in "xt")
    network = gc.nn.Sequential(
        [gc.nn.Dense(width, "tanh"), gc.nn.Dense(width, "tanh"), gc.nn.Dense(1)], name="rod"
    )
    start = np.sin(np.pi * x) + 0.5 * np.sin(3 * np.pi * x)
    u = start + t * x * (1 - x) * network(gc.concat([x, t], axis=1))
    u_x, u_t = gc.grad(gc.sum(u), [x, t])
    u_xx = gc.grad(gc.sum(u_x), x)
    loss = gc.mean((u_t - DIFFUSION * u_xx) ** 2)
    step = gc.compile([x, t], loss, updates=gc.optim.LBFGS(history=30).minimize(loss, network))
    columns = points[:, :1], points[:, 1:]
    losses = [float(step(*columns)) for _ in trange(steps, unit="step")]
    return gc.compile([x, t], u), losses


def main() -> None:
    arguments = parse_arguments()
    gc.nn.seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    t = np.linspace(0, 6, arguments.measurements)
    seen = oscillation(list(TRUE.values()), t) + rng.normal(0, 0.15, t.shape)
    found, errors = fit(t, seen)
    print(f"{'':<12}{'true':>8}{'found':>10}{'+-':>8}")
    for (name, true), value, error in zip(TRUE.items(), found, errors, strict=True):
        print(f"{name:<12}{true:>8.3f}{value:>10.4f}{error:>8.4f}")

    points = rng.uniform(0, 1, (arguments.points, 2))
    solution, losses = solve(arguments.steps, points, arguments.width)
    line = np.linspace(0, 1, 101)
    times, places = np.meshgrid(line, line, indexing="ij")
    made = solution(places.reshape(-1, 1), times.reshape(-1, 1)).reshape(101, 101)
    off = made - heat(places, times)
    most = np.abs(off).max()
    print(f"\nthe rod: loss {losses[-1]:.1e}, at most {most:.1e} from the exact solution")

    figure = Figure(figsize=(13, 7), layout="constrained")
    (curve, descent), (rod, fault) = figure.subplots(2, 2)
    fine = np.linspace(0, 6, 400)
    curve.plot(t, seen, ".", color="#D55E00", label="measured")
    curve.plot(fine, oscillation(list(TRUE.values()), fine), "--", color="black", label="true")
    curve.plot(fine, oscillation(found, fine), color="#0072B2", label="fitted")
    curve.set(title="a damped oscillation", xlabel="time", ylabel="place")
    curve.legend()
    descent.semilogy(losses, color="#0072B2")
    descent.set(title="the network's distance from the equation", xlabel="step of L-BFGS")
    descent.set(ylabel="mean squared residual")
    for now, colour in ((0, "#000000"), (10, "#D55E00"), (30, "#009E73"), (100, "#0072B2")):
        rod.plot(line, made[now], color=colour, label=f"t = {line[now]:.1f}")
        rod.plot(line[::5], heat(line, line[now])[::5], "o", color=colour, markersize=4)
    rod.set(title="heat in a rod: the network, and exact points", xlabel="x", ylabel="u")
    rod.legend()
    colours = fault.pcolormesh(line, line, off.T, cmap="PuOr", shading="auto")
    colours.set_clim(-most, most)
    figure.colorbar(colours, ax=fault, label="network - exact")
    fault.set(title="error", xlabel="time", ylabel="x")
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "physics.png", dpi=120)


if __name__ == "__main__":
    main()
