"""What an estimate costs: reading, tokenizing and predicting, apart, on one core.

    OPENBLAS_NUM_THREADS=1 taskset -c 0 .venv/bin/python benchmarks/estimate.py

Prints medians in ms; nothing passes or fails.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from relay_frontend.onnx import read_onnx
from relay_frontend.tokens import tokenize
from tvm_costmodel import CostModel, platforms
from tvm_costmodel.demo import light_networks

REPEATS = 20


def median_ms(function: Callable[[], Any]) -> float:
    """Median wall time of ``function`` in ms, after one call that is not counted."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    """Print one line per network."""
    model = CostModel.load(platforms()[0])
    _, predictor = model.nar_former_v2
    print(f"{'network':<14}{'operators':>10}{'read ONNX':>12}{'tokenize':>10}{'predict':>10}  ms")
    for network in light_networks():
        data = network.model.SerializeToString()
        graph = read_onnx(data)
        tokens = tokenize(graph)
        read, encode, predict = (
            median_ms(function)
            for function in (
                lambda data=data: read_onnx(data),
                lambda graph=graph: tokenize(graph),
                lambda tokens=tokens: predictor.predict([tokens]),
            )
        )
        print(f"{network.name:<14}{len(graph):>10}{read:>12.2f}{encode:>10.2f}{predict:>10.2f}")


if __name__ == "__main__":
    main()
