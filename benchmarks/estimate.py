"""What an estimate costs inside TVM and in a search loop, on the cores that it is given.

    OPENBLAS_NUM_THREADS=1 taskset -c 0 .venv/bin/python benchmarks/estimate.py     # one core
    .venv/bin/python benchmarks/estimate.py --part many --networks 10000            # all cores
    .venv-relay/bin/python benchmarks/estimate.py                                   # from Relay

``one``: from a module or ONNX bytes in memory to its estimate, reading, tokenizing and predicting
apart; predicting by numpy and, where they are there, by native code and by torch. ``first``: the
first estimate of a fresh process, imports included, that of TVM apart. ``many``: ``estimate_many``
over networks of NAS-Bench-201's size, and how memory grows. Prints medians; nothing passes or
fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from measure.interpreters import running_generation
from measure.weights import fill_weights
from measure.zoo import nasbench201, resnet
from relay_frontend import load, tokenize
from relay_frontend.fusion import fuse
from tvm_costmodel import CostModel, CostModelError, Estimate
from tvm_costmodel.answering import load_torch_runtime
from tvm_costmodel.checkpoint import Checkpoint
from tvm_costmodel.native import NativePredictor
from tvm_costmodel.runtime import NumpyPredictor

_DISTINCT = 2048
_PARTS = ("one", "first", "many")


def median_ms(function: Callable[[], Any], repeats: int) -> float:
    """Median wall time of ``function`` in ms, after one call that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


# --- One network --------------------------------------------------------------------------------


def networks() -> dict[str, Any]:
    """ResNet-18 and a network of 466 ONNX operators, weightless."""
    deep = nasbench201.NASBench201Config(cell=("nor_conv_3x3",) * 6, cells_per_stage=7)
    return {
        "ResNet-18": resnet.build(resnet.ResNetConfig()),
        "NAS-Bench-201 x 7": nasbench201.build(deep),
    }


def sources() -> Iterator[tuple[str, Any, Any]]:
    """Name, network in memory, and its parameters."""
    generation = running_generation()
    for name, model in networks().items():
        yield f"ONNX bytes, {name}", model.SerializeToString(), None
        if generation == "relax":
            from relay_frontend.relax.importer import import_onnx as to_relax  # noqa: PLC0415

            yield f"Relax module, {name}", to_relax(model), None
        if generation == "relay":
            from relay_frontend.relay.importer import import_onnx as to_relay  # noqa: PLC0415

            yield (f"Relay module, {name}", *to_relay(fill_weights(model, 0)))


def print_one(platform: str, checkpoints: str | None, repeats: int) -> None:
    """One line for each source and network: the estimate, and its parts."""
    model = CostModel.load(platform, checkpoints=checkpoints)
    checkpoint = model.nar_former_v2.checkpoint
    config = checkpoint.token_config
    runtimes = _runtimes(model)
    macs = multiply_adds(checkpoint)
    print(f"{model.platform}, width {checkpoint.config.width}; {matrix_rate() / 1e9:.0f} GFLOP/s")
    columns = ("tokens", "estimate", "read", "tokenize", *runtimes, "limit")
    print(f"{'':<34}" + "".join(f"{column:>10}" for column in columns) + "   ms")
    for name, network, params in sources():
        graph = load(network, params=params)
        tokens = tokenize(graph, config)
        kernels = [fuse(graph)]
        times = [
            median_ms(lambda n=network, p=params: model.estimate(n, params=p), repeats),
            median_ms(lambda n=network, p=params: load(n, params=p), repeats),
            median_ms(lambda g=graph: tokenize(g, config), repeats),
            *(
                median_ms(lambda r=runtime, t=tokens, k=kernels: r.predict([t], k), repeats)
                for runtime in runtimes.values()
            ),
        ]
        times.append(1e3 * 2 * macs * len(graph) / matrix_rate())
        print(f"{name:<34}{len(graph):>10}" + "".join(f"{t:>10.3f}" for t in times), flush=True)


def _runtimes(model: CostModel) -> dict[str, Any]:
    """The runtimes of this process by their names, numpy the first."""
    checkpoint, chosen = model.nar_former_v2.checkpoint, model.nar_former_v2.runtime
    runtimes: dict[str, Any] = {"numpy": NumpyPredictor(checkpoint.weights, checkpoint.config)}
    if isinstance(chosen, NativePredictor):
        runtimes["native"] = chosen
    with suppress(CostModelError):
        runtimes["torch"] = load_torch_runtime(model.nar_former_v2.directory, "cpu")
    return runtimes


def multiply_adds(checkpoint: Checkpoint) -> int:
    """What products of matrices cost for one node: each of their weights counts once."""
    return sum(w.size for name, w in checkpoint.weights.items() if name.endswith(".weight"))


def matrix_rate() -> float:
    """Floating-point operations per second that numpy reaches on large matrices."""
    a = np.ones((512, 512), dtype=np.float32)
    best = min(_seconds(lambda: a @ a) for _ in range(20))
    return 2 * 512**3 / best


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# --- The first estimate -------------------------------------------------------------------------

_FIRST = """
import json, sys, time
start = time.perf_counter()
if {with_tvm}:
    import tvm
after_tvm = time.perf_counter()
from tvm_costmodel import CostModel
imported = time.perf_counter()
CostModel.load({platform!r}).estimate(sys.argv[1])
end = time.perf_counter()
print(json.dumps([after_tvm - start, imported - after_tvm, end - imported]))
"""


def print_first(platform: str, scratch: Path, repeats: int) -> None:
    """The first estimate of a fresh process, of a ResNet-18 in an ONNX file."""
    path = scratch / "network.onnx"
    path.write_bytes(networks()["ResNet-18"].SerializeToString())
    print(f"{'first estimate':<34}{'TVM':>10}{'import':>10}{'estimate':>10}   s")
    for with_tvm in (False, True) if running_generation() else (False,):
        code = _FIRST.format(with_tvm=with_tvm, platform=platform)
        command = [sys.executable, "-c", code, str(path)]
        runs = []
        for _ in range(repeats):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        medians = map(statistics.median, zip(*runs, strict=True))
        name = "beside a TVM" if with_tvm else "alone"
        print(f"{name:<34}" + "".join(f"{seconds:>10.3f}" for seconds in medians), flush=True)


# --- Many networks ------------------------------------------------------------------------------


def cells() -> Iterator[bytes]:
    """Endlessly many networks of NAS-Bench-201's skeleton, its cells drawn, as ONNX bytes."""
    rng = random.Random(0)
    while True:
        cell = tuple(rng.choice(nasbench201.OPERATIONS) for _ in nasbench201.EDGES)
        if nasbench201.live_edges(cell):
            config = nasbench201.NASBench201Config(cell=cell, width=rng.randrange(8, 65, 4))
            yield nasbench201.build(config).SerializeToString()


def print_many(platform: str, count: int, workers: int | None, device: str) -> None:
    """Networks per second, and the resident memory after each tenth of them.

    The networks come again and again, and what was predicted is forgotten each time: a cache that
    answers shows nothing.
    """
    distinct = list(islice(cells(), min(count, _DISTINCT)))
    sizes = [len(load(network)) for network in distinct[:64]]
    CostModel.load(platform).estimate(distinct[0])
    step, done, memory = max(1, count // 10), 0, []
    start = time.perf_counter()
    for passes in range(-(-count // len(distinct))):
        networks = islice(distinct, min(len(distinct), count - passes * len(distinct)))
        model = CostModel.load(platform)
        for estimate in model.estimate_many(networks, workers=workers, device=device):
            assert isinstance(estimate, Estimate)
            done += 1
            if done % step == 0:
                memory.append(resident_mib())
    seconds = time.perf_counter() - start
    cores = len(os.sched_getaffinity(0))
    print(
        f"{count} networks of {np.mean(sizes):.0f} tokens on {cores} cores, predicted on {device}: "
        f"{count / seconds:.0f} networks/s"
    )
    print("resident MiB:", *(f"{mib:.0f}" for mib in memory))


def resident_mib() -> float:
    """Resident memory of this process (Linux only)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def main() -> None:
    """Print the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=_PARTS, nargs="+", default=_PARTS)
    parser.add_argument("--platform", default=f"tvm-{running_generation() or 'relay'}")
    parser.add_argument("--checkpoints", help="directory, such as of one of the paper's width")
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--networks", type=int, default=2048, help="for the part many")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    if "one" in options.part:
        print_one(options.platform, options.checkpoints, options.repeats)
    if "first" in options.part:
        with tempfile.TemporaryDirectory() as scratch:
            print_first(options.platform, Path(scratch), min(7, options.repeats))
    if "many" in options.part:
        print_many(options.platform, options.networks, options.workers, options.device)


if __name__ == "__main__":
    main()
