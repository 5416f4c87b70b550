"""The sum of a network's kernel times against its latency, platform by platform.

    .venv/bin/python -m benchmarks.kernel_sum data/v0

Takes a database or a directory of Parquet files. A kernel's time is the median of its samples, the
latency the label of the undisturbed rounds; networks without such a round, or whose kernels were
timed on a disturbed device, are left out and counted. Prints quantiles of sum / latency; nothing
passes or fails.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from measure.database import Database
from tvm_costmodel.measurements import open_measurements

LATENCY_CLASSES_MS = (0.0, 1.0, 10.0, 100.0, np.inf)


def print_line(name: str, ratios: Sequence[float]) -> None:
    """Count, 5th percentile, median and 95th percentile, and the median distance from 1 in %."""
    values = np.array(ratios)
    figures = "".join(f"{figure:>9.3f}" for figure in np.quantile(values, [0.05, 0.5, 0.95]))
    print(f"  {name:<28}{values.size:>9}{figures}{100 * np.median(abs(values - 1)):>9.1f}")


def print_platform(database: Database, platform: str, protocol: str | None) -> None:
    """One line for the platform, and one for each latency class and family of networks."""
    latencies = database.latencies(platform, protocol)
    timed = {
        key: times for key, times in database.kernel_times(platform).items() if key in latencies
    }
    usable = {
        key: times
        for key, times in timed.items()
        if not times.disturbed and not latencies[key].disturbed
    }
    print(f"\n{platform}: {len(usable)} networks, {len(timed) - len(usable)} more disturbed")
    if not usable:
        return
    ratios = {key: times.times_ms.sum() / latencies[key].label_ms for key, times in usable.items()}
    heading = "".join(f"{name:>9}" for name in ("networks", "5 %", "median", "95 %", "off %"))
    print(f"  {'kernel sum / latency':<28}{heading}")
    print_line("all", list(ratios.values()))
    print_groups(ratios, {key: latency_class(latencies[key].label_ms) for key in ratios})
    families = {network.digest: network.family for network in database.networks(platform)}
    print_groups(ratios, families)


def print_groups(ratios: Mapping[str, float], groups: Mapping[str, str]) -> None:
    """One line for each group of networks, sorted by name."""
    grouped: dict[str, list[float]] = defaultdict(list)
    for key, ratio in ratios.items():
        grouped[groups[key]].append(ratio)
    for name, values in sorted(grouped.items()):
        print_line(name, values)


def latency_class(latency_ms: float) -> str:
    """The class that a latency belongs to, such as ``1 to 10 ms``."""
    index = int(np.searchsorted(LATENCY_CLASSES_MS, latency_ms, side="right"))
    low, high = LATENCY_CLASSES_MS[index - 1 : index + 1]
    return f"{low:g} ms and more" if np.isinf(high) else f"{low:g} to {high:g} ms"


def main() -> None:
    """Print the lines of every platform."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="a measurement database or a directory of Parquet files")
    parser.add_argument("--protocol", help="any standard by default")
    arguments = parser.parse_args()
    with open_measurements(arguments.data) as database:
        for platform in database.platforms():
            print_platform(database, platform, arguments.protocol)


if __name__ == "__main__":
    main()
