"""How many networks a second NAR-Former V2 answers and learns from, in batches, on a device.

    .venv/bin/python -m benchmarks.throughput --device cuda

The networks are NAS-Bench-201's, tokenized before the clock starts, and learned by their latencies
alone. Prints graphs per second, mean and standard deviation over the repeats, after two passes that
are not counted; nothing passes or fails.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from measure.zoo import sample
from relay_frontend.onnx import read_onnx
from tvm_costmodel.learning.graphs import Graph, GraphStore
from tvm_costmodel.learning.trainer import TrainingConfig, predict_store, train
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.nar_former_v2.predictor import LatencyNarFormerV2
from tvm_costmodel.predictors.nar_former_v2.presets import LATENCY_PRESETS

_DISTINCT = 64


def networks() -> list[Network]:
    """Some networks of NAS-Bench-201's search space."""
    drawn = [sample("nasbench201", seed) for seed in range(_DISTINCT)]
    return [
        Network(name=n.name, family=n.family, platform="", graph=read_onnx(n.model)) for n in drawn
    ]


def fitted(preset: str, few: Sequence[Network]) -> LatencyNarFormerV2:
    """A predictor whose weights are as good as any for the clock."""
    config = replace(LATENCY_PRESETS[preset](), kernel_weight=0.0)
    predictor = LatencyNarFormerV2(config, TrainingConfig(epochs=1, device="cpu"))
    predictor.fit(few, np.array([network.graph.flops / 1e8 for network in few]))
    return predictor


def repeated(graphs: Sequence[Graph], count: int) -> list[Graph]:
    """``count`` graphs, the same ones again and again."""
    return [graphs[i % len(graphs)] for i in range(count)]


def rates(count: int, ends: Sequence[float]) -> tuple[float, float]:
    """Graphs per second of passes that ended at these times, mean and standard deviation."""
    found = count / np.diff(ends)
    return float(np.mean(found)), float(np.std(found, ddof=1))


def time_predictions(
    model: torch.nn.Module, graphs: Sequence[Graph], repeats: int, device: str, *, amp: bool
) -> tuple[float, float]:
    """Graphs per second of answering; the graphs are on the device already, the answers go back."""
    store = GraphStore(graphs, device)
    ends = []
    with torch.autocast(device, torch.bfloat16, enabled=amp):
        for _ in range(2 + repeats):
            predict_store(model, store)
            ends.append(time.perf_counter())
    return rates(len(graphs), ends[1:])


def time_learning(
    model: torch.nn.Module, graphs: Sequence[Graph], repeats: int, config: TrainingConfig
) -> tuple[float, float]:
    """Graphs per second of learning, epoch by epoch."""
    targets = np.array([float(graph.num_nodes) for graph in graphs])
    ends: list[float] = []
    config = replace(config, epochs=2 + repeats)
    train(model, graphs, targets, config, progress=lambda _: ends.append(time.perf_counter()))
    return rates(len(graphs), ends[1:])


def main() -> None:
    """Print a line for each preset, task and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--graphs", type=int, default=2048, help="graphs of a pass")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--presets", nargs="+", default=["best", "paper"])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 256], help="of training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    few = networks()
    nodes = np.mean([len(network.graph) for network in few])
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor()
    print(
        f"{name}, {options.threads} threads, torch {torch.__version__}; passes over "
        f"{options.graphs} graphs of {nodes:.0f} nodes, {options.repeats} repeats"
    )
    print(f"{'preset':<10}{'task':<9}{'batch':>6}{'bfloat16':>10}{'graphs/s':>12}{'sd':>10}")
    for preset in options.presets:
        predictor = fitted(preset, few)
        graphs = repeated(predictor.encode(few), options.graphs)
        model = predictor.model.to(options.device)
        for amp in (False, True):
            found = time_predictions(model, graphs, options.repeats, options.device, amp=amp)
            print_line(preset, "predict", "", found, amp=amp)
        for batch, amp in ((b, a) for b in options.batches for a in (False, True)):
            training = TrainingConfig(batch_size=batch, device=options.device, amp=amp)
            found = time_learning(model, graphs, options.repeats, training)
            print_line(preset, "learn", str(batch), found, amp=amp)


def print_line(
    preset: str, task: str, batch: str, found: tuple[float, float], *, amp: bool
) -> None:
    """One line of the table."""
    start = f"{preset:<10}{task:<9}{batch:>6}{'yes' if amp else 'no':>10}"
    print(f"{start}{found[0]:>12,.0f}{found[1]:>10,.0f}", flush=True)


if __name__ == "__main__":
    main()
