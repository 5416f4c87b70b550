"""A network for the tests of toolchains, and what object files they make."""

from __future__ import annotations

import tarfile
from pathlib import Path

from onnx import ModelProto

from measure.zoo.inverted_residual import InvertedResiduals
from measure.zoo.mobilenet_v2 import MobileNetV2Config, build

_MACHINE_OFFSET = 18
"""Of the field ``e_machine`` in the header of an ELF file."""


def small_mobilenet() -> ModelProto:
    """A MobileNetV2 of four blocks on images of 32 pixels, with repeated kernels."""
    stages = (
        InvertedResiduals(expansion=4, width=16, depth=2, stride=1),
        InvertedResiduals(expansion=4, width=32, depth=1, stride=2),
    )
    return build(MobileNetV2Config(stem_width=16, stages=stages, head_width=64, input_size=32))


def elf_machines(archive: Path) -> set[int]:
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
