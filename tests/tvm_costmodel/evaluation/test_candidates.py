"""What is compared, and when two candidates are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from relay_frontend.errors import InputError
from tvm_costmodel.evaluation.candidates import Candidate, candidate
from tvm_costmodel.predictors.nar_former_v2.presets import LATENCY_PRESETS
from tvm_costmodel.specs import Spec

BEST = "nar-former-v2[preset=best]"


def made(text: str, epochs: int | None = None) -> Candidate:
    return candidate(Spec.parse(text), "latency", epochs)


def test_equal_options_are_equal_settings() -> None:
    assert made(BEST).settings == made("nar-former-v2[preset=best,width=64]").settings
    assert made(BEST).settings != made("nar-former-v2[preset=best,width=32]").settings


def test_a_preset_that_has_changed_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made(BEST)
    changed = replace(LATENCY_PRESETS["best"](), shrinkage=0.5)
    monkeypatch.setitem(LATENCY_PRESETS, "best", lambda: changed)
    assert (made(BEST).label, made(BEST).settings == before.settings) == (before.label, False)


def test_epochs_are_those_of_the_options_or_else_of_the_evaluation() -> None:
    assert made("nnlp", epochs=3).label == "nnlp[epochs=3]"
    assert made("nnlp[epochs=2]", epochs=3).label == "nnlp[epochs=2]"
    assert made("flops", epochs=3).label == "flops", "which makes no passes"


def test_seeds_are_not_options() -> None:
    with pytest.raises(InputError, match="leave out seed="):
        made("nnlp[seed=1]")
