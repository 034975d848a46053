"""The seam with Ray: all that this room asks of it, in functions that return at the latest when a
limit is over. Nothing else here knows Ray, which is imported when one of these is called."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphc.errors import ArgumentError, ClusterError
from graphc.ir import origin

# Read by Ray when it starts. Nothing is told to anybody, and settings of cards stay as they are.
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def ray() -> Any:
    """Ray. Errors: `ArgumentError` where it is not installed."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ArgumentError(
            "this needs Ray, which is not installed", op="distributed", where=origin.where(),
            hint="pip install graphc[distributed]",
        ) from None  # fmt: skip


def is_connected() -> bool:
    return bool(ray().is_initialized())


def session() -> str:
    """What tells this connection from others before and behind it; "" without one."""
    if not is_connected():
        return ""
    context = ray().get_runtime_context()
    return f"{context.gcs_address} {context.get_job_id()}"


def start_local(cpus: int | None, folder: str, store: int | None) -> None:
    """A cluster of this process's own, on 127.0.0.1. Errors: `ClusterError` if Ray fails."""
    engine = ray()
    try:
        with _quiet(), _loopback():
            engine.init(
                address="local",
                num_cpus=cpus,
                object_store_memory=store,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                namespace="graphc",
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )
    except (RuntimeError, ValueError, OSError) as error:
        engine.shutdown()
        raise ClusterError(
            "Ray did not start", op="connect", where=origin.where(), given=_first_line(error),
            hint=f"what it says of it is in {folder}",
        ) from error  # fmt: skip


def join(address: str, limit: float) -> None:
    """Connect to a cluster. Errors: `ClusterError` if it does not answer."""
    if address != "auto":
        _knock(address, limit)
    _try(address, limit)
    try:
        with _quiet():
            ray().init(
                address=address, log_to_driver=False, configure_logging=False, namespace="graphc"
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise no_answer(address, error) from None


def _knock(address: str, limit: float) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), limit).close()
    except (OSError, ValueError, OverflowError) as error:
        raise no_answer(address, error) from None


def _try(address: str, limit: float) -> None:
    """Ray itself waits for minutes where something accepts and says nothing: so a process that can
    be ended tries first."""
    program = (
        "import sys, ray; "
        "ray.init(address=sys.argv[1], configure_logging=False, log_to_driver=False)"
    )
    try:
        subprocess.run(
            [sys.executable, "-c", program, address], check=True, timeout=limit,
            capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise no_answer(address, TimeoutError(f"nothing within {limit:g} s")) from None
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines()
        raise no_answer(address, ConnectionError(lines[-1] if lines else "")) from None


def no_answer(address: str, reason: Exception) -> ClusterError:
    return ClusterError(
        "the cluster does not answer", op="connect", where=origin.where(),
        expected="the address of a running Ray cluster, as host:port or 'auto'",
        given=f"{address}: {_first_line(reason)}",
        hint="ray status on its head node says whether it runs; one that asks for a token needs "
        "RAY_AUTH_MODE=token in the environment; connect() starts a local one",
    )  # fmt: skip


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


def leave() -> None:
    """Disconnect; a cluster that was started here ends."""
    ray().shutdown()


def address() -> str:
    """That of this machine by which the cluster knows it."""
    return str(ray().util.get_node_ip_address())


def total(resource: str) -> float:
    """How much of a resource the cluster has in all."""
    return float(ray().cluster_resources().get(resource, 0.0))


def free(resource: str) -> float:
    """How much of a resource nobody has."""
    return float(ray().available_resources().get(resource, 0.0))


def actor(kind: type, *arguments: Any, cpus: float = 1) -> Any:
    """A new actor of a class, in a process of its own. It is not restarted when it dies."""
    made = ray().remote(num_cpus=cpus, max_restarts=0, max_task_retries=0)(kind)
    return made.remote(*arguments)


def kill(handle: Any) -> None:
    """End an actor's process, whatever it is at."""
    if is_connected():
        ray().kill(handle, no_restart=True)


def put(value: Any) -> Any:
    """A value that all workers can read, as a reference to it. Errors: `ClusterError` where the
    memory for objects and the disk behind it are full."""
    try:
        return ray().put(value)
    except ray().exceptions.RayError as error:
        raise ClusterError(
            "the cluster cannot hold what workers are to read", op="distributed",
            given=_first_line(error), where=origin.where(),
            hint="connect(store=bytes), room on the disk of its folder, or batches as a stream",
        ) from None  # fmt: skip


class Gone:
    """What stands for the result of an actor that died, or did not answer within the limit."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<gone: {self.reason}>"


def gather(references: Sequence[Any], limit: float) -> list[Any]:
    """The results of calls, and `Gone` for those that do not come."""
    if not references:
        return []  # Ray would start a cluster to say so
    engine = ray()
    ready, _ = engine.wait(list(references), num_returns=len(references), timeout=limit)
    there = set(ready)
    found: list[Any] = []
    for reference in references:
        if reference not in there:
            found.append(Gone(f"no answer within {limit:g} s"))
            continue
        try:
            found.append(engine.get(reference))
        except engine.exceptions.RayActorError:
            found.append(Gone("its process ended"))
        except engine.exceptions.RayTaskError as error:
            raise error.cause from None
    return found



def first(references: Sequence[Any], limit: float) -> int | None:
    """The place of a call that is over, or None if none is within the limit."""
    ready, _ = ray().wait(list(references), num_returns=1, timeout=limit)
    return list(references).index(ready[0]) if ready else None


@contextmanager
def _loopback() -> Iterator[None]:
    """What Ray starts meanwhile listens on 127.0.0.1 only. It does so on systems where others would
    be asked for permission, and has no setting for that on Linux; the name is that of 2.60."""
    constants: Any = importlib.import_module("ray._private.ray_constants")
    name, before = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", constants.ENABLE_RAY_CLUSTER
    os.environ[name], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        del os.environ[name]
        constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray warns of what it does when it starts; a program whose warnings are errors goes on."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
