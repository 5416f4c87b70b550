"""Write the figures of a data set into its card, data/README.md, between the two marks.

    .venv/bin/python tools/data_card.py data/v1

What is stated is read from the Parquet files alone, so that the card is as the data is.
"""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
CARD = ROOT / "data" / "README.md"
BEGIN, END = "<!-- figures of {name}: begin -->", "<!-- figures of {name}: end -->"
EDGES_MS = (0.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, float("inf"))
BARS = " ▁▂▃▄▅▆▇█"
HOURS_APART_S = 3600.0

sys.path.insert(0, str(ROOT))

from measure.database import Database  # noqa: E402
from measure.database.connection import platform_id  # noqa: E402
from measure.database.parquet import load_parquet  # noqa: E402
from measure.database.stored import stored_rounds  # noqa: E402
from measure.records import Latency, PlatformStats  # noqa: E402


def figures(database: Database) -> Iterator[str]:
    """The lines of the card."""
    stats = database.stats()
    yield from platform_table(database, stats)
    families = {network.digest: network.family for network in database.networks()}
    for entry in stats:
        if entry.networks:
            yield ""
            yield f"### Latencies on `{entry.platform}`"
            yield ""
            yield from histogram(database.latencies(entry.platform), families)


def platform_table(database: Database, stats: Sequence[PlatformStats]) -> Iterator[str]:
    """A row for each platform."""
    yield (
        "| platform | networks | trusted labels | latency ms (min, median, max) "
        "| rounds (disturbed) | kernel calls (networks with none undisturbed) "
        "| label noise % within the hour (median, mean, 90th percentile; networks) "
        "| hours apart (the same) | failures |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for entry in stats:
        if entry.latency_ms is None:
            continue
        near, far = noises(database, entry.platform)
        low, median, high = entry.latency_ms.min, entry.latency_ms.median, entry.latency_ms.max
        failures = ", ".join(f"{n} {s}: {c}" for (s, c), n in sorted(entry.failures.items()))
        cells = (
            f"`{entry.platform}`",
            str(entry.networks),
            str(entry.trusted),
            f"{low:.3g}, {median:.3g}, {high:.3g}",
            f"{entry.rounds:,} ({entry.disturbed_rounds})",
            f"{entry.kernel_calls:,} ({entry.disturbed_kernels})",
            spread(near),
            spread(far),
            failures or "none",
        )
        yield f"| {' | '.join(cells)} |"


def noises(database: Database, platform: str) -> tuple[list[float], list[float]]:
    """Errors of one round's label against another's by network: near rounds, rounds far apart."""
    with database.session() as session:
        stored = stored_rounds(session, platform_id(session, platform), None)
    rounds = [
        [(e.started_at.timestamp(), e.label_ms) for e in found if not e.disturbed]
        for found in stored.values()
    ]
    near, far = [], []
    for entries in rounds:
        errors: tuple[list[float], list[float]] = ([], [])
        for (t0, a), (t1, b) in itertools.permutations(entries, 2):
            errors[abs(t1 - t0) >= HOURS_APART_S].append(abs(a - b) / b)
        for found, of_network in zip((near, far), errors, strict=True):
            if of_network:
                found.append(float(np.mean(of_network)))
    return near, far


def spread(values: Sequence[float]) -> str:
    """Median, mean and 90th percentile in %, and of how many."""
    if not values:
        return "none"
    percent = 100 * np.array(values)
    median, mean, p90 = np.median(percent), np.mean(percent), np.quantile(percent, 0.9)
    return f"{median:.2f}, {mean:.2f}, {p90:.2f}; {len(values)}"


def histogram(latencies: dict[str, Latency], families: dict[str, str]) -> Iterator[str]:
    """Networks by family and latency, and a bar chart of each row."""
    edges = [f"< {EDGES_MS[1]:g}"]
    edges += [f"{a:g}-{b:g}" for a, b in itertools.pairwise(EDGES_MS[1:-1])]
    edges += [f"> {EDGES_MS[-2]:g}"]
    yield f"| family | networks | {' | '.join(edges)} ms | |"
    yield f"|---|---|{'---|' * len(edges)}---|"
    by_family: dict[str, list[float]] = defaultdict(list)
    for digest, latency in latencies.items():
        by_family[families[digest]].append(latency.label_ms)
    everything = [value for values in by_family.values() for value in values]
    for family, values in [*sorted(by_family.items()), ("all", everything)]:
        counts, _ = np.histogram(values, bins=EDGES_MS)
        bars = "".join(
            BARS[int(np.ceil(count / counts.max() * (len(BARS) - 1)))] for count in counts
        )
        cells = " | ".join(str(count) if count else "" for count in counts)
        yield f"| {family} | {len(values)} | {cells} | `{bars}` |"


def main(directory: Path) -> None:
    """Rewrite what stands between the marks of this data set."""
    begin, end = (mark.format(name=directory.name) for mark in (BEGIN, END))
    card = CARD.read_text(encoding="utf-8")
    before, found, rest = card.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{CARD} has no lines '{begin}' and '{end}'")
    with load_parquet(directory) as database:
        lines = "\n".join(figures(database))
    CARD.write_text(f"{before}{begin}\n{lines}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
