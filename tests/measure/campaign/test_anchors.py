"""The anchors: what they are stays, or blocks of different days say nothing of one another."""

from __future__ import annotations

import pytest

from measure.campaign.anchors import anchor_networks
from relay_frontend import load

DIGESTS = {
    "anchor-residual-160": "70126ce4f504",
    "anchor-depthwise": "ee74277e872c",
    "anchor-wide": "f39a883e20e7",
}


def test_the_anchors_stay_what_they_are() -> None:
    found = {network.name: load(network.model).digest[:12] for network in anchor_networks()}
    assert found == DIGESTS


@pytest.mark.parametrize("index", range(3))
def test_an_anchor_takes_milliseconds_on_a_good_compiler(index: int) -> None:
    """Those of 360 to 390 MFLOPs took 3.4 to 4 ms with Relay and with ONNX Runtime."""
    assert 300e6 < load(anchor_networks()[index].model).flops < 600e6
