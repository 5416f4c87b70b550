"""Where checkpoints are: one directory per platform, those that the package ships first.

``<directory>/<platform with "__" for "/">/nar-former-v2``, ``.../kernel-sum``, and ``.../blend``,
which is made of both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from measure.errors import UnknownPlatformError

SHIPPED = Path(__file__).parent / "checkpoints"
NAR_FORMER_V2 = "nar-former-v2"
KERNEL_SUM = "kernel-sum"
BLEND = "blend"
PREDICTORS = (NAR_FORMER_V2, KERNEL_SUM, BLEND)
COMPARED = (NAR_FORMER_V2, KERNEL_SUM)
"""What is compared where nothing else is asked for."""

SPECS = f"{NAR_FORMER_V2}[preset=best],{KERNEL_SUM},{BLEND}"
"""What is trained where nothing else is asked for."""


def checkpoint_directory(chosen: str | os.PathLike[str] | None) -> Path:
    """The directory that the caller chose; by default the one that the package ships."""
    return SHIPPED if chosen is None else Path(chosen)


def platforms(directory: Path = SHIPPED) -> list[str]:
    """Names of the platforms that have a checkpoint in ``directory``, sorted."""
    if not directory.is_dir():
        return []
    return sorted(
        entry.name.replace("__", "/")
        for entry in directory.iterdir()
        if any((entry / predictor).is_dir() for predictor in PREDICTORS)
    )


def platform_directory(platform: str, directory: Path = SHIPPED) -> Path:
    """The directory of ``platform``'s checkpoints, whether it exists or not."""
    return directory / platform.replace("/", "__")


def resolve_platform(name: str, known: Sequence[str]) -> str:
    """The one platform of ``known`` that ``name`` means: its full name, or some of its parts.

    ``tvm-relay`` or ``epyc-2c/tvm-relay`` will do where only one platform has these parts.

    Raises:
        UnknownPlatformError: none has, or several have; the message lists them.
    """
    if name in known:
        return name
    wanted = [part for part in name.split("/") if part]
    matches = [platform for platform in known if wanted and set(wanted) <= set(platform.split("/"))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnknownPlatformError(f"platform {name!r} is ambiguous: {', '.join(matches)}")
    listed = ", ".join(known) or "none"
    raise UnknownPlatformError(
        f"unknown platform {name!r}; known are: {listed}. To add one, measure networks on it "
        "(tvm-costmodel measure) and train on them (tvm-costmodel train)"
    )
