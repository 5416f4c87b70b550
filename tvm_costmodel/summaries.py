"""What is known of the platforms that have checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tvm_costmodel import registry
from tvm_costmodel.checkpoint import load_checkpoint
from tvm_costmodel.predictors.kernel_sum import read_description


def platform_rows(directory: Path) -> list[dict[str, Any]]:
    """One row per platform and predictor: what it was trained on, and its errors in %."""
    return [
        _row(platform, predictor, home / predictor)
        for platform in registry.platforms(directory)
        for home in [registry.platform_directory(platform, directory)]
        for predictor in registry.PREDICTORS
        if (home / predictor).is_dir()
    ]


def _row(platform: str, predictor: str, directory: Path) -> dict[str, Any]:
    if predictor == registry.NAR_FORMER_V2:
        checkpoint = load_checkpoint(directory)
        data, metrics = checkpoint.training_data, checkpoint.metrics
    else:
        description = read_description(directory)
        data, metrics = description["training_data"], description["metrics"]
    out = metrics.get("out_of_family", {})
    noise = metrics.get("label_noise") or {}
    return {
        "platform": platform,
        "predictor": predictor,
        "networks": data["networks"],
        "latency ms": " to ".join(f"{value:.3g}" for value in data["latency_ms"]),
        "MAPE %": metrics["in_domain"]["mape"],
        "Acc(10%)": metrics["in_domain"]["acc_10"],
        "unseen family MAPE %": out.get("mape"),
        "label noise %": noise.get("median"),
    }
