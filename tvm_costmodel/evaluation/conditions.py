"""What a run ran on: versions, processor, accelerator, threads."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

from measure.device import Device

_PACKAGES = ("tvm-costmodel", "numpy", "scikit-learn", "torch", "torch-geometric", "xgboost-cpu")


def conditions() -> dict[str, Any]:
    """Of this process now, as plain JSON values."""
    device = Device.local()
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "cpu": device.cpu,
        "cores": device.cores,
        "accelerator": torch.cuda.get_device_name() if torch is not None and cuda else None,
        "threads": os.environ.get("OMP_NUM_THREADS") if torch is None else torch.get_num_threads(),
    }


def _versions() -> dict[str, str]:
    installed = {found.name: found.version for found in metadata.distributions()}
    return {name: installed[name] for name in _PACKAGES if name in installed}
