"""From a network in memory to its tokens: native against Python, on one core.

    .venv/bin/python benchmarks/tokenizing.py          # ONNX and Relax
    .venv-relay/bin/python benchmarks/tokenizing.py    # ONNX and Relay
    .venv/bin/python benchmarks/tokenizing.py --curve  # up to 1,000,000 operators

Each path runs in a process of its own, all its networks one after the other. Prints medians in ms
and peak memory; nothing passes or fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, helper

from measure.interpreters import running_generation
from measure.weights import fill_weights
from measure.zoo import nasbench201, resnet
from relay_frontend import load, tokenize

REPEATS = 41
SECONDS_PER_CASE = 5.0
CURVE = (1_000, 10_000, 100_000, 1_000_000)

Case = tuple[str, int, Callable[[], Any]]


def networks() -> dict[str, ModelProto]:
    """ResNet-18 and a NAS-Bench-201 network of about 450 ONNX operators."""
    deep = nasbench201.NASBench201Config(cell=("nor_conv_3x3",) * 6, cells_per_stage=7)
    return {
        "ResNet-18": resnet.build(resnet.ResNetConfig()),
        "NAS-Bench-201 x 7": nasbench201.build(deep),
    }


def chain(num_operators: int) -> bytes:
    """Activations in a row, with a skip over every four of them, as the bytes of an ONNX model."""
    nodes = []
    for i in range(num_operators):
        if i % 5 == 4:
            nodes.append(helper.make_node("Add", [f"v{i}", f"v{i - 4}"], [f"v{i + 1}"]))
        else:
            op = ("Relu", "Sigmoid", "Tanh", "Exp")[i % 5]
            nodes.append(helper.make_node(op, [f"v{i}"], [f"v{i + 1}"]))
    shape = [1, 16, 8, 8]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("v0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"v{num_operators}", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def cases() -> Iterator[Case]:
    """Source and network, number of ONNX operators, and what is timed."""
    generation = running_generation()
    for name, model in networks().items():
        operators = sum(node.op_type != "ConstantOfShape" for node in model.graph.node)
        data = model.SerializeToString()
        yield f"ONNX bytes, {name}", operators, lambda data=data: tokenize(load(data))
        filled = fill_weights(model, 0)
        full = filled.SerializeToString()
        yield f"ONNX with weights, {name}", operators, lambda full=full: tokenize(load(full))
        if generation == "relax":
            from relay_frontend.relax.importer import import_onnx as to_relax  # noqa: PLC0415

            module = to_relax(model)
            yield f"Relax, {name}", operators, lambda module=module: tokenize(load(module))
        if generation == "relay":
            from tvm import relay  # noqa: PLC0415

            from relay_frontend.relay.importer import import_onnx as to_relay  # noqa: PLC0415

            module, params = to_relay(filled)
            typed = relay.transform.InferType()(module)
            for state, mod in (("typed", typed), ("untyped", module)):
                yield (
                    f"Relay {state}, {name}",
                    operators,
                    lambda mod=mod, params=params: tokenize(load(mod, params=params)),
                )


def median_ms(function: Callable[[], Any]) -> tuple[float, int]:
    """Median wall time of ``function`` in ms after one call that is not counted, and its tokens."""
    num_nodes = function().num_nodes
    times: list[float] = []
    while len(times) < REPEATS and (len(times) < 3 or sum(times) < SECONDS_PER_CASE):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times), num_nodes


def run_cases() -> None:
    """Time every case in this process and print JSON."""
    rows = []
    for name, operators, function in cases():
        ms, nodes = median_ms(function)
        rows.append({"case": name, "operators": operators, "nodes": nodes, "ms": ms})
    print(json.dumps(rows))


def run_chain(path: Path) -> None:
    """Tokenize the chain in a file in this process, which holds nothing else, and print JSON."""
    data = path.read_bytes()
    before = _peak_mib(reset=True)
    start = time.perf_counter()
    tokens = tokenize(load(data))
    seconds = time.perf_counter() - start
    row = {"nodes": tokens.num_nodes, "ms": 1e3 * seconds, "mib": _peak_mib() - before}
    print(json.dumps(row | {"features_mib": tokens.node_features.nbytes / 2**20}))


def _peak_mib(*, reset: bool = False) -> float:
    """Highest resident memory of this process in MiB since it was last reset (Linux only)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _child(native: bool, *arguments: str) -> Any:
    environment = {**os.environ, "TVM_COSTMODEL_NATIVE": "1" if native else "0"}
    command = [sys.executable, __file__, *arguments]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def print_cases() -> None:
    """Python and native side by side, one line per source and network."""
    python, native = _child(False, "--cases"), _child(True, "--cases")
    print(f"{'':<36}{'ONNX ops':>9}{'tokens':>8}{'Python':>10}{'native':>9}{'ratio':>8}   ms")
    for slow, fast in zip(python, native, strict=True):
        print(
            f"{slow['case']:<36}{slow['operators']:>9}{slow['nodes']:>8}{slow['ms']:>10.2f}"
            f"{fast['ms']:>9.3f}{slow['ms'] / fast['ms']:>8.1f}"
        )


def print_curve() -> None:
    """Time and memory against the number of operators."""
    print(
        f"{'path':<8}{'operators':>10}{'ms':>12}{'us per op':>11}{'peak MiB':>10}{'tokens MiB':>12}"
    )
    with tempfile.TemporaryDirectory() as directory:
        for size in CURVE:
            path = Path(directory) / f"{size}.onnx"
            path.write_bytes(chain(size))
            for name in ("native", "Python"):
                row = _child(name == "native", "--chain", str(path))
                print(
                    f"{name:<8}{row['nodes']:>10}{row['ms']:>12.1f}{1e3 * row['ms'] / size:>11.2f}"
                    f"{row['mib']:>10.0f}{row['features_mib']:>12.0f}",
                    flush=True,
                )


def main() -> None:
    """Print one of the two tables, or be one of the processes that fill them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curve", action="store_true", help="chains of up to a million operators")
    parser.add_argument("--cases", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--chain", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if arguments.cases:
        run_cases()
    elif arguments.chain:
        run_chain(arguments.chain)
    elif arguments.curve:
        print_curve()
    else:
        print_cases()


if __name__ == "__main__":
    main()
