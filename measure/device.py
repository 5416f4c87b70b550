"""Devices and platforms: where a latency was measured, and what it belongs to."""

from __future__ import annotations

import dataclasses
import json
import os
import platform as _platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure.errors import UnknownPlatformError

_NOISE = re.compile(
    r"\((?:r|tm|c)\)|\b(?:amd|intel|cpu|processor|\d+-core)\b|@.*$", flags=re.IGNORECASE
)
_PART = re.compile(r"[a-z0-9][a-z0-9._+-]*")
_FORM = "device/toolchain/target/t<threads>/dtype"
_CPUINFO = Path("/proc/cpuinfo")
_REVISION = ("cpu family", "model", "stepping")
_ARM_NAME = ("CPU implementer", "CPU part")
_ARM_REVISION = (*_ARM_NAME, "CPU variant", "CPU revision")


def slug(text: str) -> str:
    """``text`` in lower case with every run of other characters than ``a-z0-9._+`` as a dash."""
    return re.sub(r"[^a-z0-9._+]+", "-", text.lower()).strip("-._+")


@dataclass(frozen=True, kw_only=True)
class Device:
    """Fingerprint of a machine: what its latencies depend on.

    Args:
        cpu: model name as the system gives it, which a hypervisor may shorten; on ARM, which has
            none, the architecture with implementer and part of each kind of core.
        cpu_revision: vendor's family, model and stepping, which tell shortened names apart; on ARM
            implementer, part, variant and revision of each kind of core.
        cores: logical cores that this process may use.
        memory_bytes: main memory.
        os: name and release of the kernel.
        architecture: such as ``x86_64``.
    """

    cpu: str
    cpu_revision: str
    cores: int
    memory_bytes: int
    os: str
    architecture: str

    @classmethod
    def local(cls) -> Device:
        """The machine that this process runs on."""
        cpu, revision = _cpu(_read_cpuinfo())
        return cls(
            cpu=cpu,
            cpu_revision=revision,
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            os=f"{_platform.system()} {_platform.release()}",
            architecture=_platform.machine(),
        )

    @classmethod
    def named(cls, name: str) -> Device:
        """A machine of which nothing is known but the name that its user gave it."""
        return cls(cpu=name, cpu_revision="", cores=0, memory_bytes=0, os="", architecture="")

    @property
    def short_name(self) -> str:
        """CPU and cores without the vendor's marks, such as ``epyc-9r14-2c``."""
        return f"{slug(_NOISE.sub(' ', self.cpu)) or slug(self.architecture)}-{self.cores}c"

    def to_dict(self) -> dict[str, Any]:
        """The fingerprint as plain JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """A device as a toolchain compiles for it.

    Args:
        device: the machine.
        toolchain: name of the toolchain that runs there.
        target: what the toolchain compiles for by default on that machine.
        versions: of the toolchain there.
    """

    device: Device
    toolchain: str
    target: str
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fingerprint:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**values, "device": Device(**values["device"])})


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What a latency belongs to.

    Args:
        device: short name of the device.
        toolchain: name of the toolchain.
        target: what the toolchain compiles for, in full (``llvm -mcpu=znver4 ...``).
        threads: threads that one inference may use.
        dtype: element type of weights and activations.
    """

    device: str
    toolchain: str
    target: str
    threads: int = 1
    dtype: str = "float32"

    def __post_init__(self) -> None:
        parts = (self.device, self.toolchain, short_target(self.target), self.dtype)
        if self.threads < 1 or not all(_PART.fullmatch(part) for part in parts):
            raise UnknownPlatformError(
                f"no platform name can be made of {self!r}: expected {_FORM}, each part of the "
                "characters a-z0-9._+-, and at least one thread"
            )

    @property
    def name(self) -> str:
        """``device/toolchain/target/t<threads>/dtype``, the target in its short form."""
        target = short_target(self.target)
        return f"{self.device}/{self.toolchain}/{target}/t{self.threads}/{self.dtype}"

    @classmethod
    def parse(cls, name: str) -> Platform:
        """The platform that ``name`` names; its target is known in the short form only.

        Raises:
            UnknownPlatformError: ``name`` has another form.
        """
        parts = name.split("/")
        if len(parts) != 5 or not re.fullmatch(r"t[1-9]\d*", parts[3]):
            raise UnknownPlatformError(
                f"platform {name!r}: expected {_FORM}, such as "
                "epyc-9r14-2c/tvm-relay/llvm-znver4/t1/float32"
            )
        device, toolchain, target, threads, dtype = parts
        return cls(
            device=device, toolchain=toolchain, target=target, threads=int(threads[1:]), dtype=dtype
        )


def deciding_versions(versions: Mapping[str, str]) -> dict[str, str]:
    """Those of a toolchain's versions that decide the code: a new patch of Python changes none."""
    return {name: version for name, version in versions.items() if name != "python"}


def short_target(target: str) -> str:
    """Kind and processor of a target string or of its JSON form: ``llvm-znver4``, ``cuda-sm_90``.

    A target without a processor, and a short form, stay as they are.

    Raises:
        UnknownPlatformError: it begins as JSON does, and is none or names no kind.
    """
    if target.lstrip().startswith("{"):
        kind, processor = _json_parts(target)
    else:
        kind = target.partition(" ")[0]
        found = re.search(r"-(?:mcpu|arch)=(\S+)", target)
        processor = found.group(1) if found else None
    return "-".join(
        re.sub(r"[^a-z0-9._+-]+", "_", part.lower()) for part in (kind, processor) if part
    )


def _json_parts(target: str) -> tuple[str, str | None]:
    """Kind and processor of a target in JSON."""
    try:
        values = json.loads(target)
        return str(values["kind"]), str(values.get("mcpu") or values.get("arch") or "")
    except (ValueError, KeyError) as error:
        raise UnknownPlatformError(
            f"target {target!r}: expected a JSON object with a kind, such as "
            '{"kind": "llvm", "mcpu": "znver4"}, or the form \'llvm -mcpu=znver4\''
        ) from error


def _cpu(cpuinfo: str) -> tuple[str, str]:
    """Name and revision of the CPU that ``cpuinfo`` is about, on ARM of each kind of core."""
    cores = [_fields(section) for section in cpuinfo.split("\n\n")]
    machine = _platform.machine()
    arm = [core for core in cores if "CPU part" in core]
    if arm:
        return f"{machine}-{_kinds(arm, _ARM_NAME)}", _kinds(arm, _ARM_REVISION)
    name = cores[0].get("model name") or _platform.processor() or machine
    return name, _kinds(cores[:1], _REVISION)


def _kinds(cores: Iterable[Mapping[str, str]], keys: Sequence[str]) -> str:
    """What the fields ``keys`` say of ``cores``, of equal ones once."""
    told = ("-".join(core.get(key, "") for key in keys).strip("-") for core in cores)
    return "+".join(dict.fromkeys(told))


def _fields(section: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in section.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _read_cpuinfo() -> str:
    """Empty where there is none."""
    try:
        return _CPUINFO.read_text()
    except OSError:
        return ""
