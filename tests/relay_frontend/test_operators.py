"""Each operator of the vocabulary by itself: read from ONNX, and alike from Relax and Relay."""

from __future__ import annotations

import pytest

from measure.weights import fill_weights
from relay_frontend.graph import _canonical_attrs
from relay_frontend.onnx import read_onnx
from tests.relay_frontend.operator_cases import CASES, DIFFERENCES


def _params(source):
    """All cases; those that are known to differ are expected to fail."""
    return [
        pytest.param(
            case,
            id=case.name,
            marks=[pytest.mark.xfail(reason=DIFFERENCES[case.name, source], strict=True)]
            if (case.name, source) in DIFFERENCES
            else [],
        )
        for case in CASES
    ]


def _operators(graph):
    """What the digest is made of, for a readable difference."""
    return [(o.op, _canonical_attrs(o.attrs), o.inputs, o.type) for o in graph]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_onnx_gives_the_expected_operators(case):
    graph = read_onnx(case.model)
    assert tuple(operator.op for operator in graph) == case.ops
    assert graph.unknown_ops == ()


@pytest.mark.relax
@pytest.mark.parametrize("case", _params("relax"))
def test_relax_agrees_with_onnx(case):
    from relay_frontend.relax import read_relax  # noqa: PLC0415
    from relay_frontend.relax.importer import import_onnx  # noqa: PLC0415

    graph = read_relax(import_onnx(case.model))
    expected = read_onnx(case.model)
    assert graph.unknown_ops == ()
    assert _operators(graph) == _operators(expected)
    assert graph.digest == expected.digest


@pytest.mark.relay
@pytest.mark.parametrize("case", _params("relay"))
def test_relay_agrees_with_onnx(case):
    from relay_frontend.relay import read_relay  # noqa: PLC0415
    from relay_frontend.relay.importer import import_onnx  # noqa: PLC0415

    module, params = import_onnx(fill_weights(case.model, 0))
    graph = read_relay(module, params)
    expected = read_onnx(case.model)
    assert graph.unknown_ops == ()
    assert _operators(graph) == _operators(expected)
    assert graph.digest == expected.digest


def test_differences_name_cases_and_sources():
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    assert {name for name, _ in DIFFERENCES} <= names
    assert {source for _, source in DIFFERENCES} <= {"relax", "relay"}
