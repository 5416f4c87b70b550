"""Calibrating a platform by rounds whose device a test makes up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from measure.calibration import MIN_NETWORKS, calibrate
from measure.probes import Quiet
from relay_frontend.errors import InputError

REFERENCE = (0.3, 6.0)
KNOWN = Quiet(reference_ms=REFERENCE)


@dataclass(frozen=True)
class MadeUpRound:
    samples: np.ndarray
    conditions: Mapping[str, Any]


def rounds_of(
    rng: np.random.Generator, sensitivity: tuple[float, float], **others: float
) -> list[MadeUpRound]:
    """Three rounds of a network on a device that is slower in each, to another degree."""
    latency_ms = rng.uniform(1, 100)
    rounds = []
    for _ in range(3):
        slowdowns = rng.uniform(1, 2, 2) * rng.uniform(0.95, 1.05, (20, 2, 2))
        seen = np.sqrt(slowdowns.prod(axis=1))
        samples = latency_ms * (seen**sensitivity).prod(axis=1) * rng.normal(1, 0.005, 20)
        probes = (slowdowns * REFERENCE).reshape(20, 4).tolist()
        rounds.append(MadeUpRound(samples, {"probes_ms": probes, **KNOWN.notes(), **others}))
    return rounds


def test_exponents_are_those_by_which_rounds_agree() -> None:
    rng = np.random.default_rng(0)
    found = calibrate([rounds_of(rng, (0.15, 0.3)) for _ in range(30)], "v2-lq")
    assert found.quiet.sensitivity == pytest.approx((0.15, 0.3), abs=0.051)
    assert found.quiet.reference_ms == REFERENCE
    assert found.networks == 30
    assert found.noise < 0.01 < found.noise_before


def test_where_loud_samples_say_nothing_limits_leave_them_out() -> None:
    rng = np.random.default_rng(0)
    networks = [rounds_of(rng, (0.0, 0.0)) for _ in range(30)]
    for rounds in networks:
        for entry in rounds:
            # As long as in the reference state for half of the samples, and anything for others.
            for row in entry.conditions["probes_ms"][::2]:
                row[:] = [*REFERENCE, *REFERENCE]
            entry.samples[1::2] *= rng.uniform(1, 4)
    found = calibrate(networks, "v2-lq")
    assert found.quiet.limits == KNOWN.limits
    assert found.noise < 0.01


def test_what_is_known_stays_where_nothing_is_better() -> None:
    rng = np.random.default_rng(0)
    networks = [rounds_of(rng, KNOWN.sensitivity) for _ in range(30)]
    for rounds in networks:
        for entry in rounds:
            entry.samples[:] = 2.0
            entry.conditions["probes_ms"][:] = [[*REFERENCE, *REFERENCE]] * 20
    assert calibrate(networks, "v2-lq").quiet == KNOWN


def test_rounds_beside_other_work_and_without_probes_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    good = [rounds_of(rng, (0.15, 0.3)) for _ in range(MIN_NETWORKS - 1)]
    stolen = rounds_of(rng, (0.15, 0.3), steal=0.5)
    blind = [MadeUpRound(np.ones(5), {}), MadeUpRound(np.ones(5), {})]
    message = f"{MIN_NETWORKS - 1} networks have two or more rounds with probes.*measure more"
    with pytest.raises(InputError, match=message):
        calibrate([*good, stolen, blind, good[0][:1]], "v2-lq")
