"""The kernels that a platform's compiler makes of a network, without building it."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx

from measure.client import Worker
from measure.device import Platform
from relay_frontend import module_generation
from relay_frontend.errors import InputError, NetworkError
from relay_frontend.kernel import Kernel


@contextmanager
def saved_model(model: onnx.ModelProto) -> Iterator[Path]:
    """The path of a file that holds ``model`` for a worker to read, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tvm-costmodel-") as scratch:
        path = Path(scratch) / "network.onnx"
        path.write_bytes(model.SerializeToString())
        yield path


class KernelFinder:
    """Finds the kernels of ONNX networks on a platform, by a worker of its toolchain."""

    def __init__(self, platform: str) -> None:
        self._worker = Worker(Platform.parse(platform).toolchain)

    def __enter__(self) -> KernelFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    @cached_property
    def _target(self) -> str:
        return self._worker.describe().target

    def find(self, model: onnx.ModelProto) -> Sequence[Kernel]:
        """The kernels that a build of ``model`` would have."""
        with saved_model(model) as path:
            return self._worker.kernels(model.graph.name or "network", path, self._target)


def module_kernels(module: Any, platform: str, params: Collection[str] | None) -> Sequence[Kernel]:
    """The kernels of an ``IRModule``, found in this process by the TVM that made it."""
    from measure.toolchains import load_toolchain  # noqa: PLC0415 (imports TVM)

    name = Platform.parse(platform).toolchain
    generation = module_generation(module)
    if name != f"tvm-{generation}":
        raise NetworkError(
            f"platform {platform} compiles with {name}, but the network is a {generation} module; "
            "kernels are the compiler's own: give the network as ONNX"
        )
    target = load_toolchain(name).default_target()
    if generation == "relax":
        from relay_frontend.relax.kernels import kernels as relax_kernels  # noqa: PLC0415

        return relax_kernels(module, target)
    from relay_frontend.relay.kernels import kernels as relay_kernels  # noqa: PLC0415

    if params is not None and not isinstance(params, Mapping):
        raise InputError("Relay folds parameters into kernels: give params as a mapping to arrays")
    return relay_kernels(module, target, params or {})
