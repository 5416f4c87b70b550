"""NAR-Former V2 exported to ONNX and run by ONNX Runtime, against the runtimes of the package.

    OPENBLAS_NUM_THREADS=1 taskset -c 0 .venv/bin/python -m benchmarks.onnx_runtime

Each network has an export of its own, whose sizes are fixed: that is the best case of ONNX Runtime.
Needs torch, onnxscript (``pip install onnxscript``) and ONNX Runtime. Prints the least CPU and wall
time of one estimate of each runtime in ms, tokens given, and how far its answer is from torch's;
nothing passes or fails.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from benchmarks.estimate import networks
from relay_frontend import load, tokenize
from relay_frontend.tokens import GraphTokens
from tvm_costmodel import CostModel
from tvm_costmodel.learning.graphs import GraphBatch
from tvm_costmodel.native import NativePredictor, instruction_sets
from tvm_costmodel.predictors.nar_former_v2.predictor import LatencyNarFormerV2, as_graph
from tvm_costmodel.runtime import NumpyPredictor, Runtime


class OneGraph(nn.Module):
    """The model of tensors alone, for one graph."""

    def __init__(self, model: nn.Module, relations: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.relations = tuple(relations)

    def forward(self, features: Tensor, edges: Tensor, *pairs: Tensor) -> Tensor:
        """The latency in ms, ``[1]``."""
        batch = GraphBatch(
            node_features_NC=features,
            edge_index_2E=edges,
            static_features_GS=features.new_zeros(1, self.model.config.num_static),
            graph_index_N=torch.zeros_like(features[:, 0], dtype=torch.int64),
            group_index_N=None,
            group_graph_K=None,
            domain_G=torch.zeros(1, dtype=torch.int64),
            relations=dict(zip(self.relations, pairs, strict=True)),
        )
        return self.model(batch)


def tensors(tokens: GraphTokens, relations: Sequence[str]) -> list[Tensor]:
    """What :class:`OneGraph` takes."""
    graph = as_graph(tokens, relations)
    arrays = [graph.node_features, graph.edge_index, *(graph.relations[r] for r in relations)]
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def session_of(model: nn.Module, example: Sequence[Tensor]) -> Callable[[], float]:
    """The latency in ms of the example by ONNX Runtime."""
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
        path = Path(scratch, "model.onnx")
        torch.onnx.export(model, tuple(example), path, dynamo=True, opset_version=18, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    arrays = {name: tensor.numpy() for name, tensor in zip(names, example, strict=True)}

    def run() -> float:
        return session.run(None, arrays)[0].item()

    return run


def least_ms(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Least CPU and wall time of ``function`` in ms, after one call that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        function()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return 1e3 * min(t[0] for t in times), 1e3 * min(t[1] for t in times)


def main() -> None:
    """Print a line for each network and runtime."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--platform", default="tvm-relay")
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    cost_model = CostModel.load(options.platform)
    checkpoint = cost_model.nar_former_v2.checkpoint
    weights, config = checkpoint.weights, checkpoint.config
    predictor = LatencyNarFormerV2.load(cost_model.nar_former_v2.directory)
    model = OneGraph(predictor.model.eval(), config.relations)
    runtimes: dict[str, Runtime] = {"numpy": NumpyPredictor(weights, config)}
    for name in instruction_sets():
        runtimes[f"native, {name}"] = NativePredictor(weights, config, name)
    print(f"{'':<38}{'CPU ms':>9}{'wall ms':>9}{'error':>10}")
    for network, source in networks().items():
        tokens = tokenize(load(source), checkpoint.token_config)
        given = tensors(tokens, config.relations)
        runs: dict[str, Callable[[], float]] = {
            "torch": lambda g=given: model(*g).item(),
            "onnxruntime": session_of(model, given),
        }
        for name, runtime in runtimes.items():
            runs[name] = lambda r=runtime, t=tokens: r.predict([t]).item()
        with torch.no_grad():
            expected = model(*given).item()
            for name, run in runs.items():
                cpu, wall = least_ms(run, options.repeats)
                error = abs(run() / expected - 1)
                print(f"{network:<20}{name:<18}{cpu:>9.3f}{wall:>9.3f}{error:>10.1e}")


if __name__ == "__main__":
    main()
