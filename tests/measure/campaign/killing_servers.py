"""Kill the RPC server of a device again and again while a campaign measures on it.

``python -m tests.measure.campaign.killing_servers --kills 20`` needs a TVM with Relax.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure.campaign import CampaignConfig, Event, Summary, run_campaign
from measure.client import Limits
from measure.database import Database
from measure.protocol import Protocol
from measure.zoo import ZooNetwork
from measure.zoo.builder import NetworkBuilder
from tests.measure.rpc.servers import server, tracker

PROTOCOL = Protocol(name="kill-lq", warmup_s=0.0, min_sample_s=0.02, min_samples=5, max_samples=5)
TOOLCHAIN = "tvm-relax"
ROUNDS = 2


def conv_network(channels: int) -> ZooNetwork:
    """A network that is built in a second and runs in no time."""
    name = f"conv-{channels}"
    net = NetworkBuilder.for_images(batch=1, input_size=8)
    logits = net.classifier(net.relu(net.conv(net.input, channels, 3)), 4)
    return ZooNetwork(name=name, family="conv", seed=0, model=net.model(name, logits))


def kill_servers(kills: int, count: int, seed: int, directory: Path) -> Summary:
    """Measure ``count`` networks while the one server is killed ``kills`` times.

    Each time at a random moment after the next round was stored; another takes its place.
    """
    rng = random.Random(seed)
    stored = threading.Event()

    def progress(event: Event) -> None:
        if event.kind == "round":
            stored.set()

    with (
        tracker(TOOLCHAIN, directory) as its_tracker,
        server(TOOLCHAIN, its_tracker, "board", directory) as board,
        Database.open(directory / "latencies.db") as database,
        ThreadPoolExecutor(1) as pool,
    ):
        its_tracker.wait_for_servers("board", 1)
        config = CampaignConfig(
            watch_s=0.0,
            devices=(its_tracker.device("board"),),
            rounds=ROUNDS,
            max_retakes=0,
            kernels=False,
            anchors=False,
            limits=Limits(round_s=20.0),
        )
        networks = [conv_network(channels) for channels in range(1, count + 1)]
        campaign = pool.submit(
            run_campaign, networks, [TOOLCHAIN], database, PROTOCOL, config, progress
        )
        for kill in range(kills):
            while not stored.wait(0.1):
                assert not campaign.done(), f"done after {kill} kills: measure more networks"
            time.sleep(rng.uniform(0.0, 1.0))
            board.kill()
            board.start()
            stored.clear()
            print(f"\r{kill + 1} kills", end="", flush=True)
        print()
        summary = campaign.result()
        check_complete(database, count)
    return summary


def check_complete(database: Database, count: int) -> None:
    """See that each network has its rounds, no more and no fewer, and none was blamed."""
    (platform,) = database.platforms()
    assert database.failures(platform) == []
    (stats,) = database.stats(PROTOCOL.name)
    assert (stats.networks, stats.rounds) == (count, count * ROUNDS)
    assert stats.jobs == {"queued": 0, "leased": 0, "done": count, "failed": 0}


def main() -> None:
    """Kill as often as is said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(kill_servers(arguments.kills, arguments.networks, arguments.seed, Path(directory)))


if __name__ == "__main__":
    main()
