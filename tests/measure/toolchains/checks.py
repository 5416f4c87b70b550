"""What a test of each toolchain that is a TVM asks of it."""

from __future__ import annotations

import json
import multiprocessing
import tarfile
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from measure.toolchains.base import Artifact, Toolchain
from relay_frontend.errors import InputError

_MACHINE_OFFSET = 18
"""Of the field ``e_machine`` in the header of an ELF file."""
_EM_AARCH64 = 0xB7


def check_forked_child(toolchain: Toolchain, directory: Path, artifact: Artifact) -> None:
    """A forked child loads and runs what this process has loaded already."""
    expected = artifact.outputs()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_load_and_time, args=(toolchain, directory, sender))
    child.start()
    assert receiver.poll(20), "the child gave no answer"
    seconds, outputs = receiver.recv()
    child.join(5)
    assert child.exitcode == 0
    assert seconds > 0
    np.testing.assert_array_equal(outputs[0], expected[0])


def check_code_for_aarch64(
    toolchain: Toolchain, network: ModelProto, target: str, directory: Path
) -> None:
    """A build for aarch64 is an archive of object files, which this machine cannot load."""
    toolchain.build(network, target, directory)
    assert "network.so" not in {path.name for path in directory.iterdir()}
    assert _elf_machines(directory / "network.tar") == {_EM_AARCH64}
    description = json.loads((directory / "artifact.json").read_text())
    assert description["architecture"] == "aarch64"
    kernels = [kernel.to_dict() for kernel in toolchain.kernels(network, target)]
    assert json.loads(json.dumps(kernels)) == description["kernels"]
    with pytest.raises(InputError, match=r"built for aarch64.*this machine is x86_64"):
        toolchain.load(directory)


def _load_and_time(toolchain: Toolchain, directory: Path, connection: Connection) -> None:
    artifact = toolchain.load(directory)
    connection.send((artifact.time(1), artifact.outputs()))


def _elf_machines(archive: Path) -> set[int]:
    """The machines that the object files in ``archive`` are for."""
    machines = set()
    with tarfile.open(archive) as members:
        for member in members:
            content = members.extractfile(member)
            assert content is not None
            header = content.read(20)
            assert header[:4] == b"\x7fELF"
            machines.add(int.from_bytes(header[_MACHINE_OFFSET:], "little"))
    return machines
