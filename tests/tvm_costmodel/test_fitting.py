"""From measurements to checkpoints."""

from __future__ import annotations

import pytest

from relay_frontend.errors import InputError
from tests.tvm_costmodel.measured import FITTED, PLATFORM, invented_measurements
from tvm_costmodel.errors import CheckpointError
from tvm_costmodel.registry import platform_directory
from tvm_costmodel.specs import parse_specs
from tvm_costmodel.summaries import platform_rows


def test_both_predictors_are_assessed_in_and_out_of_their_families(fitted):
    _, metrics = fitted
    for result in metrics.values():
        assert result["in_domain"]["num_networks"] == 12
        assert set(result["out_of_family_by_family"]) == {"resnet", "vgg", "squeezenet"}
        low, high = result["interval"]
        assert 0 < low <= high
        assert result["label_noise"]["median"] == pytest.approx(1.0, abs=0.05)


def test_kernel_sum_is_assessed_with_both_sorts_of_kernels(fitted):
    found = fitted[1]["kernel-sum"]
    guessing = found["guess"]
    assert guessing["in_domain"]["num_networks"] == found["in_domain"]["num_networks"]
    assert set(guessing["out_of_family_by_family"]) == set(found["out_of_family_by_family"])
    assert guessing["interval"] != found["interval"]


def test_runs_that_are_kept_are_not_done_again(tmp_path):
    pytest.importorskip("torch", reason="training needs torch")
    from tvm_costmodel.fitting import FitConfig, fit_platform  # noqa: PLC0415

    specs = tuple(parse_specs("nnlp[width=8,epochs=1]"))
    config = FitConfig(predictors=specs, folds=2, runs=tmp_path / "runs")
    with invented_measurements(6) as database:
        told: list[list[str]] = []
        results = []
        for name in ("first", "second"):
            told.append([])
            results.append(
                fit_platform(database, PLATFORM.name, tmp_path / name, config, told[-1].append)
            )
    assert len(told[0]) == 2 + 3 + 1
    assert told[1] == ["nnlp: fitting to all 6 networks"]
    assert results[0] == results[1]
    assert (platform_directory(PLATFORM.name, tmp_path / "second") / "nnlp").is_dir()


def test_checkpoints_that_are_there_are_kept_or_refused_before_anything_is_fitted(tmp_path):
    pytest.importorskip("torch", reason="training needs torch")
    from tvm_costmodel.fitting import FitConfig, fit_platform  # noqa: PLC0415

    def fit(specs: str, *, keep_runs: bool = True) -> tuple[list[str], object]:
        told: list[str] = []
        config = FitConfig(
            predictors=tuple(parse_specs(specs)),
            folds=2,
            runs=tmp_path / "runs" if keep_runs else None,
        )
        return told, fit_platform(database, PLATFORM.name, tmp_path / "out", config, told.append)

    with invented_measurements(6) as database:
        _, first = fit("nnlp[width=8,epochs=1]")
        told, both = fit("nnlp[width=8,epochs=1],brp-nas[width=8,epochs=1]")
        assert both["nnlp"] == first["nnlp"]
        assert told
        assert not any("nnlp" in line for line in told)
        with pytest.raises(CheckpointError, match=r"nnlp exists, .* with other settings"):
            fit("tpu[width=8,epochs=1],nnlp[width=9,epochs=1]")
        with pytest.raises(CheckpointError, match=r"nnlp exists, .* never overwritten"):
            fit("tpu[width=8,epochs=1],nnlp[width=8,epochs=1]", keep_runs=False)
    home = platform_directory(PLATFORM.name, tmp_path / "out")
    assert sorted(path.name for path in home.iterdir()) == ["brp-nas", "nnlp"]
    assert all((home / name / "known-networks").is_dir() for name in ("brp-nas", "nnlp"))


def test_an_interrupted_fit_leaves_no_blend_without_its_parts(tmp_path):
    pytest.importorskip("torch", reason="training needs torch")
    from tvm_costmodel.fitting import FitConfig, fit_platform  # noqa: PLC0415

    def interrupt(message: str) -> None:
        if message.endswith("fitting to all 6 networks"):
            raise KeyboardInterrupt

    options = "preset=paper,width=8,epochs=1"
    specs = tuple(parse_specs(f"blend[{options}],nar-former-v2[{options}],kernel-sum"))
    config = FitConfig(predictors=specs, folds=2)
    with invented_measurements(6) as database, pytest.raises(KeyboardInterrupt):
        fit_platform(database, PLATFORM.name, tmp_path, config, interrupt)
    assert not list(platform_directory(PLATFORM.name, tmp_path).glob("blend*"))


@pytest.mark.parametrize(
    ("predictors", "message"),
    [
        ("flops", "flops has no checkpoint that could name"),
        ("kernel-sum,kernel-sum", "one checkpoint of each"),
        ("", "none were named"),
        ("oracle", "unknown predictor 'oracle'"),
        ("nar-former-v2[attention=global]", "attention='global'"),
        ("kernel-sum,blend", r"nar-former-v2\[preset=best\], kernel-sum: name these"),
        ("nar-former-v2[preset=best],kernel-sum,blend[width=32]", "name these"),
    ],
)
def test_predictors_that_cannot_be_kept_are_refused(tmp_path, predictors, message):
    pytest.importorskip("torch", reason="training needs torch")
    from tvm_costmodel.fitting import FitConfig, fit_platform  # noqa: PLC0415

    config = FitConfig(predictors=tuple(parse_specs(predictors)), folds=2)
    refused = pytest.raises((InputError, CheckpointError), match=message)
    with invented_measurements(4) as database, refused:
        fit_platform(database, PLATFORM.name, tmp_path, config)


def test_too_few_networks_are_refused(tmp_path):
    pytest.importorskip("torch", reason="training needs torch")
    from tvm_costmodel.fitting import fit_platform  # noqa: PLC0415

    with (
        invented_measurements(3) as database,
        pytest.raises(InputError, match=r"3 measured networks.* needs at least 10"),
    ):
        fit_platform(database, PLATFORM.name, tmp_path)


def test_platforms_are_listed_with_their_quality(fitted):
    rows = platform_rows(fitted[0])
    assert tuple(row["predictor"] for row in rows) == FITTED
    assert {row["platform"] for row in rows} == {PLATFORM.name}
    assert all(row["MAPE %"] > 0 for row in rows)
