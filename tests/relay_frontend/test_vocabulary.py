"""The vocabulary: what its table must hold, and what an older version makes of newer operators."""

from __future__ import annotations

import pytest

from relay_frontend import TokenConfig, tokenize, vocabulary
from relay_frontend.costs import RULES
from relay_frontend.graph import Operator, OpGraph, TensorType
from relay_frontend.vocabulary import OPERATORS, SIZES


@pytest.mark.parametrize("name", OPERATORS)
def test_an_entry_names_attributes_slots_and_a_cost_that_exist(name):
    spec = OPERATORS[name]
    assert {slot.partition("[")[0] for slot in spec.slots} <= set(spec.attrs)
    assert len(spec.slots) <= vocabulary.NUM_ATTRIBUTE_SLOTS
    assert spec.cost.partition("*")[0] in RULES
    assert spec.category in vocabulary.CATEGORIES


def test_the_first_version_has_the_32_types_of_the_paper():
    first = list(OPERATORS)[: SIZES[1]]
    assert len(first) == 32
    assert tuple(first[-5:]) == vocabulary.CATEGORIES


def test_an_older_vocabulary_has_the_category_of_a_newer_operator():
    type_ = TensorType((1, 4))
    gelu = Operator(op="gelu", attrs={"approximate": True}, inputs=(-1,), type=type_)
    graph = OpGraph((type_,), (gelu,), (0,))
    assert vocabulary.unknown_operators(graph) == ()
    assert vocabulary.unknown_operators(graph, 1) == ("gelu",)
    row = tokenize(graph, TokenConfig(vocabulary=1)).node_features[0]
    assert row[: SIZES[1]].argmax() == vocabulary.index("elementwise")
    assert row[SIZES[1] :][:5].tolist() == [0.0] * 5, "sin(0): its attributes have no slots"


@pytest.mark.parametrize(
    "name", [name for name, spec in OPERATORS.items() if spec.category == "opaque"]
)
def test_what_cannot_become_an_opaque_operator_is_opaque_too(name):
    spec = OPERATORS[name]
    sources = (*spec.onnx, *spec.relay, *spec.relax)
    assert [s for s in sources if vocabulary.category(s) != "opaque"] == []


def test_what_no_table_has_is_opaque():
    assert vocabulary.category("custom.magic") == "opaque"
    assert vocabulary.category("relax.nn.relu") == "elementwise"
