"""What caches do to kernels: in the order of an inference, each by itself, and after a flush.

    .venv-relay/bin/python -m benchmarks.cache_state resnet mobilenet_v2 bert --count 2

Builds networks of the zoo with ``tvm-relay`` and times the whole network and the sum of its kernels
in turns: as the harness times them, one after the other in the order of an inference (``in
order``); each several times in a row, so that it finds all its data in the caches as far as they go
(``alone``); and each after as many bytes as no cache holds were written (``flushed``). Prints, for
each network, sums over its latency; each time is the lower quartile of the rounds. Nothing passes
or fails.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from measure.toolchains.description import read_description
from measure.toolchains.place import LocalPlace
from measure.toolchains.relay import RelayArtifact, RelayToolchain
from measure.weights import fill_weights
from measure.zoo import sample

_FLUSHED_BYTES = 256 << 20
_IN_A_ROW = 3
_QUANTILE = 0.25
_HEADING = (
    f"{'network':<28}{'calls':>6}{'latency ms':>12}{'in order':>10}{'alone':>8}{'flushed':>9}"
)


class CacheStates(RelayArtifact):
    """A network whose kernels can be timed in other states of the caches."""

    def prepare(self) -> None:
        """Run once, as the first sweep of a debugger is cold."""
        self.time_kernels(1, 1)
        self._lines = np.zeros(_FLUSHED_BYTES // 8)

    def in_order_ms(self) -> float:
        """The sum of the kernels in the order of an inference."""
        return 1e3 * sum(self._sweep())

    def alone_ms(self) -> float:
        """The sum of the kernels, each several times in a row, of which the first is a warm-up."""
        run = self._debugger["run_individual_node"]
        times = [
            np.frombuffer(bytearray(run(node, _IN_A_ROW, 1, 0, 0, 0, 1)), dtype=np.float64)
            for node in self._nodes
        ]
        return 1e3 * float(np.concatenate(times).sum())

    def flushed_ms(self) -> float:
        """The sum of the kernels in the order of an inference, each with empty caches."""
        execute_node = self._debugger["execute_node"]
        execute_node(0)
        seconds = 0.0
        for node in self._nodes:
            self._lines += 1.0
            start = time.perf_counter()
            execute_node(node)
            seconds += time.perf_counter() - start
        return 1e3 * seconds


def quartiles_of(rounds: int, measures: list[Callable[[], float]]) -> list[float]:
    """The lower quartile of each measure over so many rounds, in which all take turns."""
    times = np.array([[measure() for measure in measures] for _ in range(rounds)])
    return [float(x) for x in np.quantile(times, _QUANTILE, axis=0)]


def columns(ratios: list[float]) -> str:
    """Three ratios under the heading."""
    return "{:>10.2f}{:>8.2f}{:>9.2f}".format(*ratios)


def networks(families: list[str], count: int) -> Iterator[tuple[str, CacheStates]]:
    """Built networks by name."""
    toolchain = RelayToolchain()
    for family in families:
        for seed in range(count):
            network = sample(family, seed)
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "artifact"
                model = fill_weights(network.model, seed)
                toolchain.build(model, toolchain.default_target(), path)
                description = read_description(path, toolchain.name, "local")
                loaded = CacheStates(path, description, seed, LocalPlace())
                loaded.prepare()
                yield network.name, loaded


def main() -> None:
    """Print a line for each network, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("families", nargs="+", help="of the network zoo")
    parser.add_argument("--count", type=int, default=1, help="networks of each family")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print(_HEADING)
    ratios = []
    for name, network in networks(arguments.families, arguments.count):
        measures = [
            lambda n=network: 1e3 * n.time(1),
            network.in_order_ms,
            network.alone_ms,
            network.flushed_ms,
        ]
        latency, *sums = quartiles_of(arguments.rounds, measures)
        ratios.append([ms / latency for ms in sums])
        start = f"{name:<28}{len(network.kernels):>6}{latency:>12.2f}"
        print(start + columns(ratios[-1]), flush=True)
    print(f"{'median':<46}" + columns(np.median(ratios, axis=0).tolist()))


if __name__ == "__main__":
    main()
