"""Kernels are those for the platform's processor, not for this machine's."""

from __future__ import annotations

import json

import pytest
from onnx import helper

from measure.device import Platform, short_target
from measure.errors import InterpreterError
from tests.networks import model
from tvm_costmodel.kernel_finding import KernelFinder, target_of

PLATFORM = Platform.parse("some-2c/tvm-relay/llvm-znver4/t1/float32")


@pytest.mark.parametrize(
    "default",
    [
        "llvm -mtriple=x86_64-linux-gnu -mcpu=haswell",
        "llvm -mtriple=x86_64-linux-gnu -mcpu=znver4",
        json.dumps({"kind": "llvm", "mcpu": "haswell", "num-cores": 2}),
    ],
)
def test_a_target_has_the_processor_of_the_platform(default: str) -> None:
    target = target_of(PLATFORM, default)
    assert short_target(target) == "llvm-znver4"
    assert target.replace("znver4", "haswell") == default.replace("znver4", "haswell")


@pytest.mark.parametrize("target", ["cuda-sm_90", "llvm"])
def test_another_kind_of_target_is_refused(target: str) -> None:
    platform = Platform(device="some", toolchain="tvm-relay", target=target)
    with pytest.raises(
        InterpreterError, match=f"cannot list the kernels for '{target}': guess them"
    ):
        target_of(platform, "llvm -mtriple=x86_64-linux-gnu -mcpu=haswell")


@pytest.mark.worker
def test_layouts_are_blocked_as_the_platform_does_it() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    convolution = model([node], (1, 32, 16, 16), {"w": (32, 32, 3, 3)})
    blocks = []
    for processor in ("haswell", "znver4"):
        with KernelFinder(f"some-2c/tvm-relay/llvm-{processor}/t1/float32") as finder:
            kernels = finder.find(convolution)
        blocks.append({t.shape[-1] for k in kernels for t in k.results if len(t.shape) == 5})
    assert blocks == [{8}, {16}]
