"""What the tests put into a measurement database.

``python -m tests.measure.databases PATH`` makes a small one with something in every table, which
``tests/data/databases`` keeps of each schema version.
"""

from __future__ import annotations

import sys

import numpy as np

from measure.database import Database
from measure.database.device_states import DeviceStates
from measure.database.jobs import JobQueue
from measure.device import Device, Platform
from measure.errors import BuildError
from measure.protocol import Protocol
from measure.records import KernelTimes, KernelTiming, Round
from relay_frontend.graph import TensorType
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import read_onnx
from tests.measure.fake_toolchain import network

DEVICE = Device(
    cpu="AMD EPYC 9R14",
    cpu_revision="25-17-1",
    cores=2,
    memory_bytes=1 << 34,
    os="Linux 6.1",
    architecture="x86_64",
)
PLATFORM = Platform(device=DEVICE.short_name, toolchain="fake", target="fake -mcpu=z80")
NAME = PLATFORM.name
VERSIONS = {"fake": "1", "python": "3.11.1"}
LOWER_QUARTILE = Protocol.standard("v1-lq")
PROTOCOL = LOWER_QUARTILE.name
A, B = (read_onnx(network("n", layers)).digest for layers in (1, 2))


def fill(database: Database) -> None:
    database.add_platform(PLATFORM, DEVICE, VERSIONS)
    database.add_protocol(LOWER_QUARTILE)
    for digest, layers in ((A, 1), (B, 2)):
        database.add_network(digest, f"net-{layers}", "relu", layers, network("n", layers))


def finished(*samples: float, foreign_cpu: float = 0.0, started_at: float = 1.7e9) -> Round:
    return Round(
        started_at=started_at,
        duration_s=1.5,
        inner_count=10,
        samples=np.array(samples),
        conditions={"foreign_cpu": foreign_cpu},
    )


def kernel(name: str) -> Kernel:
    data = TensorType((1, 3, 8, 8))
    return Kernel(name=name, kind="relu", arguments=(data,), results=(data, data), flops=1 << 40)


def kernel_times(
    *names: str, scale: float = 1.0, foreign_cpu: float = 0.1, started_at: float = 1.7e9
) -> KernelTimes:
    return KernelTimes(
        kernels=tuple(kernel(name) for name in names),
        samples=scale * (1.0 + np.arange(3.0 * len(names)).reshape(len(names), 3)),
        timings=(
            KernelTiming(
                started_at=started_at,
                duration_s=2.5,
                inner_count=7,
                conditions={"foreign_cpu": foreign_cpu},
            ),
        ),
    )


def drifting_block(database: Database, drift: float) -> int:
    """A closed block whose one anchor became slower by this part."""
    block = database.open_block(NAME, PROTOCOL)
    database.add_anchor_round(block, A, "start", finished(1.0))
    database.add_anchor_round(block, A, "end", finished(1.0 + drift))
    database.close_block(block)
    return block


def fill_all(database: Database) -> None:
    """Something in every table; two rounds of A make a label of 2 ms, one of B is disturbed.

    So is the first of two timings of A's kernels.
    """
    fill(database)
    queue = JobQueue(database, "host:1:1:owner")
    queue.add([A, B], NAME, PROTOCOL, rounds=2, kernels=True)
    (job, _) = queue.lease([NAME], 2)
    block = drifting_block(database, 0.01)
    database.add_round(A, NAME, PROTOCOL, 0, finished(2.0, 2.0, 3.0), block=block, lease=job)
    database.add_round(A, NAME, PROTOCOL, 1, finished(2.0, 2.5), lease=job)
    names = ("first", "second")
    disturbed = kernel_times(*names, scale=3.0, foreign_cpu=1.5)
    database.add_kernels(A, NAME, disturbed, block=block, lease=job)
    database.add_kernels(A, NAME, kernel_times(*names), block=block, lease=job)
    queue.finish(job)
    block = drifting_block(database, 0.5)
    database.add_round(B, NAME, PROTOCOL, 0, finished(4.0), block=block)
    database.add_failure(B, NAME, BuildError("build", "net-2", "SIGSEGV", "crashed", "the log"))
    DeviceStates(database).record_failure("board", "rpc://host:9190/board", "no answer")


if __name__ == "__main__":
    with Database.open(sys.argv[1]) as opened:
        fill_all(opened)
