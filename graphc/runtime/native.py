"""Native code that no program has to itself, made once for a machine and kept: by its name.

It is an object of its own beside the programs that call it: it depends on the processor, and on
graphc's own files, which are in every key. So its text is written only where it is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm

from graphc.lower.processor import cpu, emit_object, target_machine
from graphc.runtime import cache as store
from graphc.runtime.near import one_place

_emitted: dict[str, bytes] = {}  # by name, where `prepare` has made it
_engines: list[Any] = []


def load(name: str, text: Callable[[], str], symbols: Sequence[str]) -> list[int]:
    """The addresses of the functions `symbols` of LLVM IR, from the cache or compiled; `text`
    writes it.

    The code stays loaded for the life of the process.
    """
    key = _key(name)
    found = store.load(key)
    data = found[1] if found is not None else _emit(name, text)
    if found is None:
        store.store(key, {name: symbols[0]}, data)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    with one_place(len(data)):
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(data))
        engine.finalize_object()
    _engines.append(engine)
    return [engine.get_function_address(symbol) for symbol in symbols]


def prepare(name: str, text: Callable[[], str]) -> None:
    """Compile what `load` will ask for, if it must be."""
    if store.load(_key(name)) is None:
        _emit(name, text)


def _key(name: str) -> str:
    processor, features = cpu()
    parts = {"native": name, "cpu": processor, "features": features}
    return store.make_key({**store.environment_parts(), **parts})


def _emit(name: str, text: Callable[[], str]) -> bytes:
    if name not in _emitted:
        machine = target_machine()
        module = llvm.parse_assembly(text())
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
        _emitted[name] = emit_object(module, machine)
    return _emitted[name]
