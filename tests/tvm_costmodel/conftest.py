"""Checkpoints of a platform that is invented, trained once for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from measure.database import Database
from tests.tvm_costmodel.measured import PLATFORM, invented_measurements
from tvm_costmodel.specs import parse_specs


@pytest.fixture(scope="session")
def measured_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database with the invented measurements; to read from."""
    path = tmp_path_factory.mktemp("measured") / "measurements.db"
    with Database.open(path) as database:
        invented_measurements(database=database)
    return path


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The directory of checkpoints, and the metrics that fitting gave."""
    pytest.importorskip("torch", reason="training needs torch")
    from tvm_costmodel.fitting import FitConfig, fit_platform  # noqa: PLC0415

    options = "preset=paper,width=16,epochs=3,batch_size=4"
    specs = parse_specs(f"nar-former-v2[{options}],kernel-sum,blend[{options}]")
    config = FitConfig(predictors=tuple(specs), folds=2)
    directory = tmp_path_factory.mktemp("checkpoints")
    with invented_measurements() as database:
        return directory, fit_platform(database, PLATFORM.name, directory, config)


@pytest.fixture(scope="session")
def fitted_contributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a checkpoint that tells what operators add, with kernels among them."""
    pytest.importorskip("torch", reason="training needs torch")
    from tvm_costmodel.fitting import FitConfig, fit_platform  # noqa: PLC0415

    options = "width=16,epochs=3,batch_size=4,readout=contributions,relations=undirected+kernel"
    config = FitConfig(predictors=tuple(parse_specs(f"nar-former-v2[{options}]")), folds=2)
    directory = tmp_path_factory.mktemp("contributions")
    with invented_measurements() as database:
        fit_platform(database, PLATFORM.name, directory, config)
    return directory
