"""The main job on real networks: estimate them, build and measure them here, compare.

The networks are the classic ones that the ``onnx`` package ships without weights for its own tests
(``onnx/backend/test/data/light``); nobody here wrote them, and no training set holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from relay_frontend.errors import MissingDependencyError
from tvm_costmodel.campaigns import LocalNetwork

_ORDER = (
    "squeezenet",
    "shufflenet",
    "bvlc_alexnet",
    "zfnet512",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "densenet121",
    "vgg19",
)


def light_networks() -> Iterator[LocalNetwork]:
    """The light networks of the installed ``onnx`` package, the cheapest ones first.

    Raises:
        MissingDependencyError: this build of ``onnx`` lacks them.
    """
    directory = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    if not directory.is_dir():
        raise MissingDependencyError(
            f"the installed onnx {onnx.__version__} has no networks in {directory}: "
            "pip install --force-reinstall onnx"
        )
    for name in _ORDER:
        model = onnx.load(directory / f"light_{name}.onnx")
        yield LocalNetwork(name=name, family="onnx-light", seed=0, model=model)
