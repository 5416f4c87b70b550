"""Write the torch-written test networks as weightless ONNX files to tests/data/torch."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import onnx
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from measure.weights import strip_weights  # noqa: E402 (the root is not installed)
from tests.networks import TORCH_NETWORKS  # noqa: E402
from tests.relay_frontend import torch_networks  # noqa: E402

DIRECTORY = ROOT / "tests/data/torch"
OPSET = 17


def export(name: str) -> onnx.ModelProto:
    """The network ``name`` of ``tests/relay_frontend/torch_networks.py`` without its weights."""
    module, inputs = torch_networks.build(name)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself and of constant branches
        torch.onnx.export(module, inputs, buffer, dynamo=False, opset_version=OPSET)
    model = strip_weights(onnx.load_from_string(buffer.getvalue()))
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    return model


def main() -> None:
    """Write all of them, and print their sizes in bytes."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name in TORCH_NETWORKS:
        path = DIRECTORY / f"{name}.onnx"
        path.write_bytes(export(name).SerializeToString(deterministic=True))
        print(f"{path.relative_to(ROOT)} {path.stat().st_size}")


if __name__ == "__main__":
    main()
