"""Native code that no program has to itself, made once for a machine and kept: by its text.

It is an object of its own beside the programs that call it: it depends on the processor only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from graphc.lower.link import cpu, target_machine
from graphc.runtime import cache as store
from graphc.runtime.near import one_place

_engines: list[Any] = []


def load(name: str, text: str, symbols: Sequence[str]) -> list[int]:
    """The addresses of the functions `symbols` of LLVM IR, from the cache or compiled.

    The code stays loaded for the life of the process.
    """
    key = _key(name, text)
    found = store.load(key)
    data = found[1] if found is not None else _emit(text)
    if found is None:
        store.store(key, {name: symbols[0]}, data)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    with one_place(len(data)):
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(data))
        engine.finalize_object()
    _engines.append(engine)
    return [engine.get_function_address(symbol) for symbol in symbols]


def prepare(name: str, text: str) -> None:
    """Compile what `load` will ask for, if it must be."""
    if store.load(_key(name, text)) is None:
        _emit(text)


def _key(name: str, text: str) -> str:
    processor, features = cpu()
    parts = {name: hashlib.sha256(text.encode()).hexdigest(), "cpu": processor}
    return store.make_key({**store.environment_parts(), **parts, "features": features})


@cache
def _emit(text: str) -> bytes:
    machine = target_machine()
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    data: bytes = machine.emit_object(module)
    return data
