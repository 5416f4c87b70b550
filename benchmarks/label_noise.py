"""Label noise by what could be done about it: statistic, samples, rounds, disturbed rounds, time.

    .venv/bin/python -m benchmarks.label_noise data/v0

Takes a database or a directory of Parquet files. Label noise is the relative error of one round's
label as an estimate of another's; each line is over the networks (or pairs of rounds) that have
what it compares. Kernels are compared by what a statistic of their samples says of equal kernels of
other networks, and of their networks' latencies. Prints tables of percentages; nothing passes or
fails.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from measure.database import Database
from measure.database.stored import protocols_of
from measure.protocol import Samples, label
from measure.records import KernelTimes, Latency
from relay_frontend.kernel import Kernel
from tvm_costmodel.measurements import open_measurements

Statistic = Callable[[Samples], float]

STATISTICS: dict[str, Statistic] = {
    "minimum": np.min,
    **{
        f"{percent} % quantile": functools.partial(np.quantile, q=percent / 100)
        for percent in (5, 10, 25, 50)
    },
    "mean": np.mean,
}
SAMPLE_COUNTS = (1, 3, 5, 10, 20, 50)
ROUND_COUNTS = (1, 2, 3)
LATENCY_CLASSES_MS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, np.inf)
TIME_CLASSES_S = (0.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, np.inf)


@dataclass(frozen=True)
class TimedRound:
    """One timing round: start in s since the epoch, samples in ms that count, if undisturbed."""

    started_at: float
    samples: Samples
    disturbed: bool


def read_rounds(database: Database, platform: str, protocol: str) -> list[list[TimedRound]]:
    """The rounds of each network in the order in which they were timed."""
    stored = database.rounds(platform, protocol)
    return [
        sorted(
            (TimedRound(e.started_at.timestamp(), e.steady, e.disturbed) for e in rounds),
            key=lambda entry: entry.started_at,
        )
        for rounds in stored.values()
    ]


def errors(estimates: Iterable[TimedRound], truths: Iterable[TimedRound], of: Statistic) -> float:
    """Mean error of each estimate against each truth but itself; NaN where there is no pair."""
    pairs = [(a, b) for a, b in itertools.product(estimates, truths) if a is not b]
    found = [abs(of(a.samples) / of(b.samples) - 1) for a, b in pairs]
    return float(np.mean(found)) if found else np.nan


def noise(rounds: Sequence[TimedRound], of: Statistic) -> float:
    """Error of each round against each other; NaN for one round."""
    return errors(rounds, rounds, of)


def pooled_noise(rounds: Sequence[TimedRound], count: int, of: Statistic) -> float:
    """Error of the first ``count`` rounds together against the next ``count``; NaN if fewer."""
    if len(rounds) < 2 * count:
        return np.nan
    first, second = (
        of(np.concatenate([entry.samples for entry in rounds[start : start + count]]))
        for start in (0, count)
    )
    return (abs(first / second - 1) + abs(second / first - 1)) / 2


def of_first(count: int, of: Statistic) -> Statistic:
    """The statistic of the first ``count`` samples of a round."""
    return lambda samples: of(samples[:count])


def equal_kernels(timed: Mapping[str, KernelTimes], of: Statistic) -> list[float]:
    """Error of each network's kernels against the median of equal ones of other networks."""
    known: dict[Kernel, dict[str, float]] = defaultdict(dict)
    for network, times in timed.items():
        for kernel, samples in zip(times.kernels, times.samples, strict=True):
            known[replace(kernel, name="")][network] = of(samples)
    return [
        abs(time_ms / np.median([other for name, other in alike.items() if name != network]) - 1)
        for alike in known.values()
        if len(alike) > 1
        for network, time_ms in alike.items()
    ]


def sums(
    timed: Mapping[str, KernelTimes], latencies: Mapping[str, Latency], of: Statistic
) -> list[float]:
    """Error of the sum of each network's kernels as its latency, but for a factor of all."""
    ratios = np.array(
        [
            sum(map(of, times.samples)) / latencies[network].label_ms
            for network, times in timed.items()
            if network in latencies
        ]
    )
    return list(np.abs(ratios / np.median(ratios) - 1))


def by_class(
    values: Iterable[tuple[float, float]], bounds: Sequence[float], unit: str
) -> Iterator[tuple[str, list[float]]]:
    """The noises of (class variable, noise) by class, under the name of the class."""
    known = list(values)
    for low, high in itertools.pairwise(bounds):
        name = f"from {low:g} {unit}" + ("" if np.isinf(high) else f" to {high:g} {unit}")
        yield name, [value for variable, value in known if low <= variable < high]


def print_table(title: str, rows: Iterable[tuple[str, Sequence[float]]]) -> None:
    """One line per row: count, median, mean and 90th percentile in %, and how many are in 2 %."""
    print(f"\n{title:<42}{'count':>7}{'median':>9}{'mean':>9}{'90th':>9}{'<= 2 %':>9}")
    for name, values in rows:
        known = np.array([value for value in values if not np.isnan(value)])
        if known.size:
            figures = [
                np.median(known),
                known.mean(),
                np.quantile(known, 0.9),
                (known <= 0.02).mean(),
            ]
            print(f"  {name:<40}{known.size:>7}" + "".join(f"{100 * x:>9.2f}" for x in figures))


def print_platform(networks: Sequence[Sequence[TimedRound]], protocol: str) -> None:
    """All tables of one platform."""
    of: Statistic = functools.partial(label, protocol=protocol)
    quiet = [[entry for entry in rounds if not entry.disturbed] for rounds in networks]
    loud = [[entry for entry in rounds if entry.disturbed] for rounds in networks]
    print_table(
        "statistic of a round",
        (
            (name, [noise(rounds, chosen) for rounds in quiet])
            for name, chosen in STATISTICS.items()
        ),
    )
    print_table(
        "rounds",
        [
            ("undisturbed against undisturbed", [noise(rounds, of) for rounds in quiet]),
            (
                "disturbed against undisturbed",
                [errors(bad, good, of) for bad, good in zip(loud, quiet, strict=True)],
            ),
            ("any against any", [noise(rounds, of) for rounds in networks]),
        ],
    )
    print_table(
        "samples of a round, the first",
        (
            (str(count), [noise(rounds, of_first(count, of)) for rounds in quiet])
            for count in SAMPLE_COUNTS
        ),
    )
    print_table(
        "rounds that make a label",
        (
            (f"{count} against {count}", [pooled_noise(rounds, count, of) for rounds in quiet])
            for count in ROUND_COUNTS
        ),
    )
    latencies = ((of(rounds[0].samples), noise(rounds, of)) for rounds in quiet if rounds)
    print_table("latency", by_class(latencies, LATENCY_CLASSES_MS, "ms"))
    pairs = (pair for rounds in quiet for pair in itertools.combinations(rounds, 2))
    times = ((b.started_at - a.started_at, noise((a, b), of)) for a, b in pairs)
    print_table("time between two rounds", by_class(times, TIME_CLASSES_S, "s"))


def print_kernels(timed: Mapping[str, KernelTimes], latencies: Mapping[str, Latency]) -> None:
    """The tables of the kernels of one platform."""
    print_table(
        "statistic of a kernel: equal kernels",
        ((name, equal_kernels(timed, of)) for name, of in STATISTICS.items()),
    )
    print_table(
        "statistic of a kernel: sum and latency",
        ((name, sums(timed, latencies, of)) for name, of in STATISTICS.items()),
    )


def main() -> None:
    """Print the tables of every platform."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="a measurement database or a directory of Parquet files")
    parser.add_argument("--protocol", help="each standard by default")
    arguments = parser.parse_args()
    with open_measurements(arguments.data) as database:
        for platform, protocol in itertools.product(
            database.platforms(), protocols_of(arguments.protocol)
        ):
            networks = read_rounds(database, platform, protocol)
            if not networks:
                continue
            rounds = list(itertools.chain(*networks))
            disturbed = sum(entry.disturbed for entry in rounds)
            print(
                f"\n{platform}, {protocol}: {len(networks)} networks, {len(rounds)} rounds", end=""
            )
            print(f" ({disturbed} disturbed); label noise in %")
            print_platform(networks, protocol)
        for platform in database.platforms():
            if timed := database.kernel_times(platform):
                print(f"\n{platform}: kernels of {len(timed)} networks; errors in %", end="")
                print_kernels(timed, database.latencies(platform))


if __name__ == "__main__":
    main()
