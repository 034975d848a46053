"""Who is measured, under which thread settings, and how many threads are really in force.

Every contender gets the same treatment: its process may run on exactly T processors, and every
thread pool is told T by environment before anything is imported. `threads_in_force` then asks the
pools, and measures the one that cannot be asked (XLA's).
"""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

TESTS, CHECKOUT = Path(__file__).resolve().parents[1:3]
POOLS = ("OMP", "OPENBLAS", "MKL", "GRAPHC", "NUMBA", "VECLIB_MAXIMUM", "BLIS")
PACKAGES = ("graphc", "numpy", "numba", "llvmlite", "jax", "jaxlib", "torch")
# Settings of the caller's that would change a contender; OPENBLAS_CORETYPE alone can cost a third.
# Without bytecode files, whoever is not installed by pip compiles its source at every start.
TUNING = (
    *("ATEN_", "BLIS_", "GOMP_", "GRAPHC_", "JAX_", "KMP_", "MALLOC_", "MKL_", "NPY_", "NUMBA_"),
    *("NUMPY_", "OMP_", "OPENBLAS_", "PYTHONDONTWRITEBYTECODE", "TORCH", "VECLIB_", "XLA_"),
)
# Left alone, glibc gives a freed array back to the system or not by the luck of the heap's layout:
# the same NumPy step takes 335 or 1,010 us. These keep memory, which is best for whoever allocates.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


@dataclass(frozen=True)
class Contender:
    """A name on the command line, the module that it needs, and whose side of a case it runs.

    folder: a checkout whose modules it runs; None for this one's.
    """

    name: str
    module: str
    side: str = ""
    folder: Path | None = None

    @property
    def installed(self) -> bool:
        """Whether the module is there; a bare directory of that name is not a package."""
        spec = importlib.util.find_spec(self.module)
        return spec is not None and spec.origin is not None


CONTENDERS = {
    c.name: c
    for c in (
        Contender("graphc", "graphc"),
        Contender("jax", "jax"),
        Contender("torch", "torch"),
        Contender("torch-compile", "torch"),
        Contender("numpy", "numpy"),
        Contender("casadi", "casadi"),
        Contender("symengine", "symengine"),
    )
}
BEFORE = "before"


def add_before(checkout: Path) -> str:
    """Make another checkout of graphc a contender, which runs this one's cases; its name."""
    CONTENDERS[BEFORE] = Contender(BEFORE, "graphc", side="graphc", folder=checkout.resolve())
    return BEFORE


DEFAULT_PEERS = ("jax", "torch", "numpy")  # the others have a few cases only


def available(names: list[str]) -> tuple[list[str], list[str]]:
    """Split names into those that can run and one line for each that cannot."""
    lines = []
    for name in names:
        contender = CONTENDERS[name]
        if not contender.installed:
            extra = "graphc" if contender.module == "graphc" else "graphc[bench]"
            lines.append(f"{name}: not installed (pip install {extra})")
    missing = {line.split(":")[0] for line in lines}
    return [name for name in names if name not in missing], lines


def tuning() -> dict[str, str]:
    """The variables of this process that contenders do not inherit."""
    return {name: value for name, value in os.environ.items() if name.startswith(TUNING)}


def environment(threads: int, contender: str = "") -> dict[str, str]:
    """This process's environment without `tuning`, every thread pool set to `threads`, with the
    modules of the contender's checkout."""
    settings = {k: v for k, v in os.environ.items() if k not in tuning()} | ALLOCATOR
    settings.update({f"{pool}_NUM_THREADS": str(threads) for pool in POOLS})
    known = CONTENDERS.get(contender)
    found = [str(TESTS), str((known and known.folder) or CHECKOUT)]
    settings["PYTHONPATH"] = os.pathsep.join([*found, settings.get("PYTHONPATH", "")])
    settings["JAX_PLATFORMS"] = "cpu"
    settings["TF_CPP_MIN_LOG_LEVEL"] = "2"
    if threads == 1:
        settings["XLA_FLAGS"] = XLA_ONE_THREAD
    return settings


def processors(threads: int) -> list[int]:
    """The processors that a contender may use: the last T of ours, as the first takes interrupts.

    Empty where the system cannot pin. Errors: ValueError when there are fewer than T.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    ours = sorted(os.sched_getaffinity(0))
    if threads > len(ours):
        raise ValueError(f"{threads} threads asked for, {len(ours)} processors are ours")
    return ours[-threads:]


def threads_in_force(contender: str, asked: int) -> dict[str, Any]:
    """What this process may use, pool by pool, after its modules are imported.

    Errors: RuntimeError when a pool is wider than asked for, which would be unfair to the others.
    """
    found: dict[str, Any] = {"asked": asked}
    if hasattr(os, "sched_getaffinity"):
        found["affinity"] = len(os.sched_getaffinity(0))
    if importlib.util.find_spec("threadpoolctl"):
        import threadpoolctl

        for pool in threadpoolctl.threadpool_info():
            found[str(pool["internal_api"])] = int(pool["num_threads"])
    else:
        found["pools"] = "unknown: threadpoolctl is not installed (pip install graphc[bench])"
    if contender.startswith("torch"):
        import torch

        found["torch"] = torch.get_num_threads()
    wide = {k: v for k, v in found.items() if isinstance(v, int) and v > asked}
    if contender == "jax":
        found["cpu/wall"] = _jax_processors_busy()
        if found["cpu/wall"] > asked + 0.25:
            wide["cpu/wall"] = found["cpu/wall"]
    if wide:
        raise RuntimeError(f"{contender} was given {asked} threads but has {wide}")
    return found


def _jax_processors_busy(seconds: float = 0.3) -> float:
    """Processor time over wall time while XLA multiplies large matrices."""
    import jax
    import jax.numpy as jnp

    multiply = jax.jit(jnp.matmul)
    a = jnp.ones((1024, 1024), jnp.float32)
    multiply(a, a).block_until_ready()
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        multiply(a, a).block_until_ready()
    return round((time.process_time() - cpu) / (time.perf_counter() - wall), 2)


def versions() -> dict[str, str]:
    """Versions of what is installed of the packages that matter to the figures."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
