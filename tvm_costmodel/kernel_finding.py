"""The kernels that a platform's compiler makes of a network, without building it.

They are those for the platform's processor, whatever this machine has: layouts are blocked by the
width of its vectors.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx

from measure.client import Worker
from measure.device import Platform, short_target
from measure.errors import InterpreterError
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
    """Finds the kernels of ONNX networks on a platform, by a worker of its toolchain.

    Raises:
        InterpreterError: there is no such toolchain here; on entering, it cannot compile for the
            platform's processor.
    """

    def __init__(self, platform: str) -> None:
        self._platform = Platform.parse(platform)
        self._worker = Worker(self._platform.toolchain)

    def __enter__(self) -> KernelFinder:
        try:
            _ = self._target
        except BaseException:
            self._worker.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    @cached_property
    def _target(self) -> str:
        return target_of(self._platform, self._worker.describe().target)

    def find(self, model: onnx.ModelProto) -> Sequence[Kernel]:
        """The kernels that a build of ``model`` would have.

        Raises:
            NetworkError: the compiler cannot read the network.
        """
        with saved_model(model) as path:
            return self._worker.kernels(model.graph.name or "network", path, self._target)


def module_kernels(module: Any, platform: str, params: Collection[str] | None) -> Sequence[Kernel]:
    """The kernels of an ``IRModule``, found in this process by the TVM that made it."""
    from measure.toolchains import load_toolchain  # noqa: PLC0415 (imports TVM)

    parsed = Platform.parse(platform)
    name = parsed.toolchain
    generation = module_generation(module)
    if name != f"tvm-{generation}":
        raise NetworkError(
            f"platform {platform} compiles with {name}, but the network is a {generation} module; "
            "kernels are the compiler's own: give the network as ONNX"
        )
    target = target_of(parsed, load_toolchain(name).default_target())
    if generation == "relax":
        from relay_frontend.relax.kernels import kernels as relax_kernels  # noqa: PLC0415

        return relax_kernels(module, target)
    from relay_frontend.relay.kernels import kernels as relay_kernels  # noqa: PLC0415

    if params is not None and not isinstance(params, Mapping):
        raise InputError("Relay folds parameters into kernels: give params as a mapping to arrays")
    return relay_kernels(module, target, params or {})


def target_of(platform: Platform, default: str) -> str:
    """What to compile for, as ``default`` says it of this machine, with the platform's processor.

    Raises:
        InterpreterError: the platform is no CPU, or is not known by its processor.
    """
    if short_target(default) == platform.target:
        return default
    kind, _, processor = platform.target.partition("-")
    if not processor or kind != short_target(default).partition("-")[0]:
        raise InterpreterError(
            f"platform {platform.name}: {platform.toolchain} on this machine compiles for "
            f"{default!r} and cannot list the kernels for {platform.target!r}: guess them "
            "(kernels='guess', or --kernels guess)"
        )
    if default.lstrip().startswith("{"):
        return json.dumps({**json.loads(default), "mcpu": processor})
    return re.sub(r"-mcpu=\S+", f"-mcpu={processor}", default)
