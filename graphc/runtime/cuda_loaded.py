"""A program as it lies on a card: kernels, constants, and what is the same for all sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir.dim import Size
from graphc.ir.graph import Graph
from graphc.ir.op import registry
from graphc.lower.launches import Launches, read_launches, read_size
from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_memory import Card
from graphc.runtime.executable import Manifest
from graphc.runtime.sites import host_calls, where

Data = Sequence[Any]


class LoadedProgram:
    """The code of a program on `card`: `modules` are the PTX of its kernels."""

    def __init__(
        self,
        graph: Graph,
        manifest: Manifest,
        modules: Sequence[bytes],
        constants: bytes,
        card: Card,
    ) -> None:
        self.graph, self.manifest, self.card = graph, manifest, card
        self.constants: list[int] = []
        self.modules: dict[str, Any] = {}
        self.hosts = dict(host_calls(graph, manifest))
        self.functions: dict[tuple[str, str], Any] = {}
        self.launches: dict[int, Launches] = {}
        self.sizes: dict[str, Size] = {}
        with card.waiting() as stream:
            try:
                self._load(modules, constants, stream)
            except BaseException:
                self.free()
                raise

    def _load(self, modules: Sequence[bytes], constants: bytes, stream: Any) -> None:
        at = 0
        for name, data in zip(self.manifest["kernels"], modules, strict=True):
            loaded = self.card.api.cuModuleLoadData(data + b"\0")
            self.modules[name] = done(loaded, "loading a kernel")
        for size in self.manifest["constants"]:
            array = np.frombuffer(constants[at : at + size], np.uint8)
            self.constants.append(self.card.allocate(size))
            self.card.upload(self.constants[-1], array, stream)
            at += size

    def free(self) -> None:
        for address in self.constants:
            self.card.free(address)
        for module in self.modules.values():
            done(self.card.api.cuModuleUnload(module), "unloading a kernel")

    def size(self, text: str) -> Size:
        found = self.sizes.get(text)
        if found is None:
            self.sizes[text] = found = read_size(text)
        return found

    def function(self, kernel: str, launch: str) -> Any:
        key = kernel, launch
        if key not in self.functions:
            found = self.card.api.cuModuleGetFunction(self.modules[kernel], launch.encode())
            self.functions[key] = done(found, "finding a kernel")
        return self.functions[key]

    def of(self, step: Data) -> Launches:
        """The launches of a call."""
        found = self.launches.get(id(step))
        if found is None:
            self.launches[id(step)] = found = read_launches(step[4])
        return found

    def fail(self, words: np.ndarray[Any, Any]) -> None:
        """Raise the error of the first site that failed, if one did."""
        for number in np.flatnonzero(words):
            bits = int(words[number])
            code = self.manifest["failing"][number][(bits & -bits).bit_length() - 1]
            site = self.manifest["sites"][code - 1]
            raise registry()[site["op"]].failure(
                site["message"], op=site["op"], where=where(self.graph, self.manifest, code)
            )
