"""Feed broken and strange ONNX files to the loaders; keep what they do not survive.

    .venv/bin/python tools/fuzz.py --cases 20000 --first 0

Each case is a seed (see ``tests/relay_frontend/fuzzing.py``). It fails when the process dies,
hangs, needs more memory than :data:`MEMORY`, raises what is not one of our errors, or when the
native and the Python path differ. The files that failed go to ``tests/data/fuzz``; a test reads
all of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import sys
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "tests" / "data" / "fuzz"
SECONDS = 10
MEMORY = 4 << 30
BATCH = 500

sys.path.insert(0, str(ROOT))

from tests.relay_frontend.fuzzing import fuzz_case, outcome  # noqa: E402


def _work(first: int, last: int, results: Connection) -> None:
    """Send the outcome of each case; the parent sees where it stops."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for seed in range(first, last):
        signal.alarm(SECONDS)
        try:
            results.send(outcome(fuzz_case(seed)))
        except Exception:  # noqa: BLE001 (whatever it is, it is what we look for)
            results.send("FAILED " + traceback.format_exc().strip().splitlines()[-1])
    results.close()


def _batch(first: int, last: int) -> list[str]:
    """Outcomes of the cases from ``first`` on, up to one that the process did not survive."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_work, args=(first, last, sender))
    process.start()
    sender.close()
    outcomes: list[str] = []
    try:
        while True:
            outcomes.append(receiver.recv())
    except EOFError:
        process.join()
    if process.exitcode:
        outcomes.append(f"FAILED process ended with {process.exitcode}")
    return outcomes


def main() -> None:
    """Run the cases, print what became of them, and store those that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    seed, end = arguments.first, arguments.first + arguments.cases
    while seed < end:
        outcomes = _batch(seed, min(seed + BATCH, end))
        for offset, result in enumerate(outcomes):
            counts[result] += 1
            if result.startswith("FAILED"):
                CORPUS.mkdir(parents=True, exist_ok=True)
                (CORPUS / f"{seed + offset}.onnx").write_bytes(fuzz_case(seed + offset))
                print(f"case {seed + offset}: {result}", flush=True)
        seed += len(outcomes)
    print(f"{sum(counts.values())} cases")
    for result, count in counts.most_common():
        print(f"{count:>8}  {result}")
    sys.exit(any(result.startswith("FAILED") for result in counts))


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    main()
