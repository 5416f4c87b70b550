"""Devices, platforms and conditions."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

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


XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 207
model name\t: Intel(R) Xeon(R) Processor
stepping\t: 2

processor\t: 1
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 207
model name\t: Intel(R) Xeon(R) Processor
stepping\t: 2
"""
CORTEX = """\
processor\t: {}
BogoMIPS\t: 108.00
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {}
CPU part\t: {}
CPU revision\t: {}
"""
CORTEX_A72 = ("0x0", "0xd08", 3)
CORTEX_A55 = ("0x2", "0xd05", 0)
CORTEX_A76 = ("0x4", "0xd0b", 0)


def arm(*cores: tuple[str, str, int]) -> str:
    """/proc/cpuinfo of a board with these cores."""
    sections = [CORTEX.format(number, *core) for number, core in enumerate(cores)]
    return "\n".join([*sections, "Hardware\t: BCM2835\nModel\t\t: A board\n"])


@pytest.mark.parametrize(
    ("cpuinfo", "cpu", "revision"),
    [
        (XEON, "Intel(R) Xeon(R) Processor", "6-207-2"),
        (arm(*[CORTEX_A72] * 4), "aarch64-0x41-0xd08", "0x41-0xd08-0x0-3"),
        (
            arm(*[CORTEX_A55] * 4, *[CORTEX_A76] * 4),
            "aarch64-0x41-0xd05+0x41-0xd0b",
            "0x41-0xd05-0x2-0+0x41-0xd0b-0x4-0",
        ),
    ],
    ids=["x86", "arm", "arm-of-two-kinds"],
)
def test_a_cpu_is_told_by_what_the_system_says_of_it(
    cpuinfo: str, cpu: str, revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    monkeypatch.setattr("measure.device._CPUINFO", path)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    device = Device.local()
    assert (device.cpu, device.cpu_revision) == (cpu, revision)
    assert Platform(device=device.short_name, toolchain="fake", target="llvm").name


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


@pytest.mark.parametrize("target", ['{"kind": "llvm"', '{"mcpu": "znver4"}', "{kind: llvm}"])
def test_json_that_is_no_target_is_refused(target: str) -> None:
    with pytest.raises(UnknownPlatformError, match="expected a JSON object with a kind") as caught:
        Platform(device="epyc-9r14-2c", toolchain="tvm-relax", target=target)
    assert target in str(caught.value)


def test_a_platform_name_can_be_parsed_again() -> None:
    named = Platform(
        device="epyc-9r14-2c", toolchain="tvm-relay", target="llvm -mcpu=znver4", threads=2
    )
    assert named.name == "epyc-9r14-2c/tvm-relay/llvm-znver4/t2/float32"
    parsed = Platform.parse(named.name)
    assert parsed.name == named.name
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
