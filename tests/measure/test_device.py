"""Devices, platforms and conditions."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time

import pytest

from measure.conditions import ConditionsRecorder, is_disturbed
from measure.device import Device, Platform, short_target
from measure.errors import UnknownPlatformError

DEVICE = Device(
    cpu="AMD EPYC 9R14",
    cpu_revision="25-17-1",
    cores=2,
    memory_bytes=1 << 34,
    os="Linux 6.1",
    architecture="x86_64",
)


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        ("AMD EPYC 9R14", "epyc-9r14-2c"),
        ("AMD EPYC 7B13 64-Core Processor", "epyc-7b13-2c"),
        ("Intel(R) Xeon(R) Platinum 8488C", "xeon-platinum-8488c-2c"),
        ("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", "core-i7-8650u-2c"),
        ("", "x86_64-2c"),
    ],
)
def test_a_device_has_a_short_name(cpu: str, name: str) -> None:
    assert dataclasses.replace(DEVICE, cpu=cpu).short_name == name


def test_this_machine_has_a_fingerprint_that_is_json() -> None:
    device = Device.local()
    assert device.cores >= 1
    assert device.memory_bytes > 1 << 28
    assert Device(**json.loads(json.dumps(device.to_dict()))) == device
    assert Device.local() == device


@pytest.mark.parametrize(
    ("target", "short"),
    [
        ("llvm -mtriple=x86_64-linux-gnu -mcpu=znver4", "llvm-znver4"),
        ("llvm -mcpu=core-avx2", "llvm-core-avx2"),
        ('{"kind": "llvm", "mcpu": "znver4", "num-cores": 2}', "llvm-znver4"),
        ('{"kind": "cuda", "arch": "sm_90"}', "cuda-sm_90"),
        ("llvm", "llvm"),
        ("llvm-znver4", "llvm-znver4"),
    ],
)
def test_a_target_has_a_short_form(target: str, short: str) -> None:
    assert short_target(target) == short
    assert short_target(short) == short


def test_a_platform_name_can_be_parsed_again() -> None:
    platform = Platform(
        device="epyc-9r14-2c", toolchain="tvm-relay", target="llvm -mcpu=znver4", threads=2
    )
    assert platform.name == "epyc-9r14-2c/tvm-relay/llvm-znver4/t2/float32"
    parsed = Platform.parse(platform.name)
    assert parsed.name == platform.name
    assert (parsed.device, parsed.threads) == ("epyc-9r14-2c", 2)


@pytest.mark.parametrize(
    "name", ["", "epyc", "a/b/c/d", "a/b/c/t0/float32", "a/b/c/1/float32", "a//c/t1/float32"]
)
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownPlatformError, match="expected"):
        Platform.parse(name)


def test_conditions_tell_work_from_waiting() -> None:
    recorder = ConditionsRecorder()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    busy = recorder.finish()
    recorder = ConditionsRecorder()
    time.sleep(0.1)
    waiting = recorder.finish()
    assert waiting["cpu_per_wall"] < 0.2
    assert busy["cpu_per_wall"] * busy["wall_s"] == pytest.approx(0.1, abs=0.04)
    assert json.loads(json.dumps(busy)) == busy
    assert busy["affinity"] >= 1


def test_foreign_work_and_stolen_time_disturb() -> None:
    assert not is_disturbed({"foreign_cpu": 0.1, "steal": 0.02})
    assert not is_disturbed({"foreign_cpu": None, "steal": None})
    assert is_disturbed({"foreign_cpu": 1.0, "steal": 0.0})
    assert is_disturbed({"foreign_cpu": 0.0, "steal": 0.5})


def test_the_work_of_another_process_is_foreign() -> None:
    command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        recorder = ConditionsRecorder()
        time.sleep(0.5)
        conditions = recorder.finish()
        other.kill()
    assert conditions["foreign_cpu"] > 0.5
    assert is_disturbed(conditions)
