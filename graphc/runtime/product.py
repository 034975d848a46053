"""The matrix product of our own (`lower/gemm.py`), made native once for a machine and kept.

It is an object of its own beside the programs that call it: it depends on the processor only.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from graphc.lower import gemm
from graphc.lower.link import cpu, target_machine
from graphc.runtime import cache as store


@cache
def product_addresses(bits: int) -> tuple[int, int]:
    """The addresses of the product and the transposition for floats of that width; 0 where the
    processor has no use for them.

    The code stays loaded for the life of the process.
    """
    name, features = cpu()
    if not gemm.lanes(features, bits):
        return 0, 0
    text = gemm.definition(features, bits)
    key = store.make_key(
        {
            **store.environment_parts(),
            "product": hashlib.sha256(text.encode()).hexdigest(),
            "cpu": name,
            "features": features,
        }
    )
    found = store.load(key)
    data = found[1] if found is not None else _emit(text)
    if found is None:
        store.store(key, {"product": gemm.symbols(bits)[0]}, data)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(data))
    engine.finalize_object()
    _engines.append(engine)
    product, transposition = map(engine.get_function_address, gemm.symbols(bits))
    return product, transposition


_engines: list[Any] = []


def _emit(text: str) -> bytes:
    machine = target_machine()
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    data: bytes = machine.emit_object(module)
    return data
