"""What the tests of one toolchain are about: a network, built for the target that a module names.

A module that asks for it has a ``TOOLCHAIN`` and a ``TARGET``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import ModelProto

from measure.toolchains.base import Artifact
from measure.zoo.inverted_residual import InvertedResiduals
from measure.zoo.mobilenet_v2 import MobileNetV2Config, build


@pytest.fixture(scope="module")
def network() -> ModelProto:
    """A MobileNetV2 of four blocks on images of 32 pixels, with repeated kernels."""
    stages = (
        InvertedResiduals(expansion=4, width=16, depth=2, stride=1),
        InvertedResiduals(expansion=4, width=32, depth=1, stride=2),
    )
    return build(MobileNetV2Config(stem_width=16, stages=stages, head_width=64, input_size=32))


@pytest.fixture(scope="module")
def directory(
    request: pytest.FixtureRequest, network: ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "network"
    request.module.TOOLCHAIN.build(network, request.module.TARGET, path)
    return path


@pytest.fixture(scope="module")
def artifact(request: pytest.FixtureRequest, directory: Path) -> Artifact:
    return request.module.TOOLCHAIN.load(directory)
