"""How good predictors are, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tvm_costmodel import registry
from tvm_costmodel.checkpoint import load_checkpoint
from tvm_costmodel.predictors.blending import BlendDescription
from tvm_costmodel.predictors.kernel_sum import GUESS, read_description


def platform_rows(directory: Path) -> list[dict[str, Any]]:
    """One row per platform and predictor: what it was trained on, and its errors in %.

    Kernel-sum and blends have one for each sort of kernels whose errors their checkpoint tells.
    """
    return [
        row
        for platform in registry.platforms(directory)
        for home in [registry.platform_directory(platform, directory)]
        for predictor in registry.PREDICTORS
        if (home / predictor).is_dir()
        for row in _rows(platform, predictor, home / predictor)
    ]


def metrics_rows(metrics: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each predictor and test: its errors, and the median label noise, in %."""
    return [
        {
            "predictor": name,
            "test": test,
            **result[test],
            "label noise %": (result["label_noise"] or {}).get("median"),
        }
        for name, result in _by_kernels(metrics)
        for test in ("in_domain", "out_of_family")
        if test in result
    ]


def _by_kernels(
    metrics: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Metrics by predictor, those with guessed kernels as of one more predictor."""
    for predictor, found in metrics.items():
        yield predictor, found
        if (guessing := found.get(GUESS)) is not None:
            yield f"{predictor}[kernels=guess]", guessing


def _rows(platform: str, predictor: str, directory: Path) -> Iterator[dict[str, Any]]:
    said = _description(predictor, directory)
    data = said["training_data"]
    for name, found in _by_kernels({predictor: said["metrics"]}):
        yield {
            "platform": platform,
            "predictor": name,
            "networks": data["networks"],
            "latency ms": " to ".join(f"{value:.3g}" for value in data["latency_ms"]),
            "MAPE %": found["in_domain"]["mape"],
            "Acc(10%)": found["in_domain"]["acc_10"],
            "unseen family MAPE %": found.get("out_of_family", {}).get("mape"),
            "label noise %": (found.get("label_noise") or {}).get("median"),
        }


def _description(predictor: str, directory: Path) -> Mapping[str, Any]:
    """What a checkpoint says of itself, read without XGBoost."""
    if predictor == registry.NAR_FORMER_V2:
        checkpoint = load_checkpoint(directory)
        return {"training_data": checkpoint.training_data, "metrics": checkpoint.metrics}
    if predictor == registry.BLEND:
        return BlendDescription.read(directory).facts
    return read_description(directory)
