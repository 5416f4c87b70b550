"""A database of invented measurements, for tests of what is made from measurements."""

from __future__ import annotations

import time

import numpy as np

from measure.database import Database
from measure.device import Device, Platform
from measure.protocol import Protocol
from measure.records import KernelTimes, Round
from measure.zoo import sample
from relay_frontend.graph import OpGraph, TensorType
from relay_frontend.kernel import Kernel
from relay_frontend.onnx import read_onnx

DEVICE = Device(
    cpu="Testium 1", cpu_revision="1", cores=1, memory_bytes=1 << 30, os="Test 1",
    architecture="x86_64",
)  # fmt: skip
PROTOCOL = Protocol.standard("v1-lq")
PLATFORM = Platform(device=DEVICE.short_name, toolchain="tvm-relax", target="llvm -mcpu=znver4")

FITTED = (
    "nar-former-v2",
    "kernel-sum",
    "kernel-sum[kernels=guess]",
    "blend",
    "blend[kernels=guess]",
)
"""What the checkpoints of the fixture ``fitted`` tell errors of."""


def invented_kernels(graph: OpGraph) -> tuple[Kernel, ...]:
    """One kernel per operator."""
    return tuple(
        Kernel(
            name=f"fused_{o.op}",
            kind=o.op,
            arguments=(TensorType((o.read_bytes // 4,)),),
            results=(o.type,),
            flops=o.flops,
        )
        for o in graph
    )


def invented_latency(graph: OpGraph) -> float:
    """In ms; a law that both predictors can learn something of."""
    return 0.05 + graph.flops / 1e8 + 0.01 * len(graph)


def invented_measurements(num_networks: int = 12, database: Database | None = None) -> Database:
    """Two rounds and the kernels of networks, in ``database``, or in a new one in memory."""
    database = database or Database.in_memory()
    database.add_platform(PLATFORM, DEVICE, {"test": "1"})
    database.add_protocol(PROTOCOL)
    for index in range(num_networks):
        network = sample(("resnet", "vgg", "squeezenet")[index % 3], index, "small")
        graph = read_onnx(network.model)
        latency = invented_latency(graph)
        database.add_network(
            graph.digest, network.name, network.family, network.seed, network.model
        )
        for number in range(2):
            samples = np.full(5, latency * (1 + 0.01 * number))
            finished = Round(
                started_at=time.time(), duration_s=1.0, inner_count=1, samples=samples,
                conditions={},
            )  # fmt: skip
            database.add_round(graph.digest, PLATFORM.name, PROTOCOL.name, number, finished)
        kernels = invented_kernels(graph)
        share = np.array([[k.flops + 1e6] for k in kernels])
        times = KernelTimes(kernels=kernels, samples=np.repeat(latency * share / share.sum(), 3, 1))
        database.add_kernels(graph.digest, PLATFORM.name, times)
    return database
