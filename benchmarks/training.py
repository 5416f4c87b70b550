"""How fast NAR-Former V2 trains on this CPU, against a dense loop over samples.

    .venv/bin/python -m benchmarks.training

The loop stands for what the authors' public code does: one graph at a time, all N x N scores masked
by the adjacency matrix, gradients summed over a batch of 16. Both train the same weights on the
same graphs. Last come the networks of the zoo with the preset ``best``, as its ``fit`` learns them,
against the dense loop of the paper's width. Prints graphs per second, the best of the repeats;
nothing passes or fails.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measure.zoo import FAMILIES, sample
from relay_frontend.onnx import read_onnx
from relay_frontend.tokens import GraphTokens, TokenConfig, tokenize, undirected_edges
from tvm_costmodel.learning.graphs import Graph, GraphBatch, GraphStore
from tvm_costmodel.learning.losses import relative_squared
from tvm_costmodel.learning.trainer import TrainingConfig, train
from tvm_costmodel.predictors.base import Network
from tvm_costmodel.predictors.nar_former_v2.config import NarFormerV2Config
from tvm_costmodel.predictors.nar_former_v2.model import NarFormerV2
from tvm_costmodel.predictors.nar_former_v2.predictor import LatencyNarFormerV2, as_graph
from tvm_costmodel.predictors.nar_former_v2.presets import LATENCY_PRESETS

BATCH_SIZE = 16
PAPER_WIDTH = 512
TOKENS = TokenConfig()
NAS_BENCH_201_NODES = (60, 130)


def random_graphs(count: int) -> list[Graph]:
    """Graphs of the size of a NAS-Bench-201 network: a chain with a skip every few nodes."""
    rng = np.random.default_rng(0)
    return [as_graph(_random_tokens(rng)) for _ in range(count)]


def _random_tokens(rng: np.random.Generator) -> GraphTokens:
    size = int(rng.integers(*NAS_BENCH_201_NODES))
    skips = [(i, min(i + int(rng.integers(2, 6)), size - 1)) for i in range(0, size - 1, 3)]
    return GraphTokens(
        node_features=rng.uniform(-1, 1, (size, TOKENS.num_features)).astype(np.float32),
        edge_index=undirected_edges([(i, i + 1) for i in range(size - 1)] + skips),
        static_features=rng.uniform(-1, 1, TOKENS.num_static).astype(np.float32),
    )


def zoo_networks(count: int) -> list[Network]:
    """Networks of all families of the zoo, in turn."""
    families = list(FAMILIES)
    drawn = [sample(families[i % len(families)], i) for i in range(count)]
    return [
        Network(name=n.name, family=n.family, platform="", graph=read_onnx(n.model)) for n in drawn
    ]


def zoo_graphs(count: int) -> list[Graph]:
    """The same as graphs."""
    return [as_graph(tokenize(network.graph, TOKENS)) for network in zoo_networks(count)]


# --- The dense loop ------------------------------------------------------------------------------


def dense_prediction(model: NarFormerV2, graph: Graph) -> Tensor:
    """The prediction of one graph by the paper's equations as they are written, ``[1]``."""
    adjacency = torch.zeros(graph.num_nodes, graph.num_nodes)
    adjacency[graph.edge_index[1], graph.edge_index[0]] = 1.0
    degree = adjacency.sum(-1, keepdim=True)
    h = torch.from_numpy(graph.node_features)
    for block in model.blocks:
        h = _dense_block(block, h, adjacency, degree)
    readout: Any = model.readout
    static = torch.relu(readout.static(torch.from_numpy(graph.static_features)[None]))
    pooled = torch.cat([h.sum(dim=0, keepdim=True), static], dim=-1)
    prediction: Tensor = readout.head(pooled, torch.zeros(1, dtype=torch.long)) * model.scale
    return prediction


def _dense_block(block: Any, h: Tensor, adjacency: Tensor, degree: Tensor) -> Tensor:
    relation = block.relations[0]
    h = block.enhance(h, degree)
    x = torch.sigmoid(relation.attention.query(h))
    scores = (x @ x.T) / x.shape[1] ** 0.5 * adjacency
    shares = scores / scores.sum(-1, keepdim=True).clamp(min=1e-12)
    out: Tensor = block.ffn(block.normalize(relation.aggregate(shares @ h) + block.root(h)))
    return out


def train_dense(model: NarFormerV2, graphs: Sequence[Graph], targets: Tensor) -> None:
    """One epoch, one graph at a time."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for batch in _batches(len(graphs)):
        optimizer.zero_grad()
        for i in batch:
            loss = relative_squared(dense_prediction(model, graphs[i]), targets[i : i + 1])
            (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _batches(count: int) -> Iterator[range]:
    for start in range(0, count, BATCH_SIZE):
        yield range(start, min(start + BATCH_SIZE, count))


# --- Timing --------------------------------------------------------------------------------------


def graphs_per_second(run: Callable[[], None], count: int, repeats: int) -> float:
    """The best of ``repeats`` after a run that is not counted."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return count / min(seconds)


def compare(
    graphs: Sequence[Graph], width: int, repeats: int, dense: int, *, amp: bool
) -> tuple[float, float]:
    """Graphs per second of the trainer and of the dense loop, which sees ``dense`` of them."""
    config = replace(
        NarFormerV2Config(width=width),
        num_features=TOKENS.num_features,
        num_static=TOKENS.num_static,
    )
    targets = np.array([float(graph.num_nodes) for graph in graphs])
    torch.manual_seed(0)
    model = NarFormerV2(config)
    model.calibrate(GraphStore(graphs), targets)
    _check_equal(model, graphs[:2])
    training = TrainingConfig(epochs=1, batch_size=BATCH_SIZE, device="cpu", amp=amp)
    fast = graphs_per_second(lambda: train(model, graphs, targets, training), len(graphs), repeats)
    measured = torch.tensor(targets, dtype=torch.float32)
    few = graphs[:dense]
    slow = graphs_per_second(lambda: train_dense(model, few, measured), len(few), repeats)
    return fast, slow


def best_rate(networks: Sequence[Network], repeats: int) -> float:
    """Graphs per second that the preset ``best`` learns, the best of the epochs after the first."""
    training = TrainingConfig(epochs=1 + repeats, batch_size=BATCH_SIZE, device="cpu")
    predictor = LatencyNarFormerV2(LATENCY_PRESETS["best"](), training)
    targets = np.array([float(len(network.graph)) for network in networks])
    ends: list[float] = []
    predictor.fit(networks, targets, progress=lambda _: ends.append(time.perf_counter()))
    return len(networks) / float(np.diff(ends).min())


def _check_equal(model: NarFormerV2, graphs: Sequence[Graph]) -> None:
    with torch.no_grad():
        dense = torch.cat([dense_prediction(model, graph) for graph in graphs])
        torch.testing.assert_close(model(GraphBatch.from_graphs(graphs)), dense, rtol=1e-3, atol=0)


def main() -> None:
    """Print one line per width and set of graphs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=320, help="graphs of an epoch")
    parser.add_argument("--dense", type=int, default=64, help="graphs that the dense loop sees")
    parser.add_argument("--widths", type=int, nargs="+", default=[PAPER_WIDTH, 128])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--amp", action="store_true", help="ours in bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, batches of {BATCH_SIZE}, graphs per second of training")
    print(f"{'graphs':<14}{'nodes':>7}{'width':>7}{'ours':>9}{'dense loop':>12}{'ratio':>7}")
    dense = math.nan
    for name, make in (("NAS-Bench-201", random_graphs), ("zoo", zoo_graphs)):
        graphs = make(options.graphs)
        nodes = np.mean([graph.num_nodes for graph in graphs])
        for width in options.widths:
            fast, slow = compare(graphs, width, options.repeats, options.dense, amp=options.amp)
            print_line(name, nodes, str(width), fast, slow)
            if width == PAPER_WIDTH:
                dense = slow
    best = best_rate(zoo_networks(options.graphs), options.repeats)
    print_line("zoo", nodes, "best", best, dense)


def print_line(name: str, nodes: float, width: str, fast: float, slow: float) -> None:
    """One line of the table."""
    line = f"{name:<14}{nodes:>7.0f}{width:>7}{fast:>9.1f}{slow:>12.1f}{fast / slow:>7.1f}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
