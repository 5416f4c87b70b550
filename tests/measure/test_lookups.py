"""Which integer inputs of a network are indices, and into how many rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from measure.drawing import data, draw
from measure.lookups import index_bounds
from measure.weights import fill_weights, strip_weights
from measure.zoo import sample
from measure.zoo.builder import NetworkBuilder


def model(nodes: Sequence[NodeProto], *, results: Sequence[str] = ("y",)) -> ModelProto:
    """``ids`` and ``mask`` beside the tables ``wide`` (50 rows) and ``narrow`` (7 columns)."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, (1, 6)) for name in ("ids", "mask")
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results]
    tables = {"wide": (50, 4), "narrow": (4, 7)}
    constants = [
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in tables.items()
    ]
    return helper.make_model(helper.make_graph(nodes, "lookups", inputs, outputs, constants))


def look_up(table: str, index: str, axis: int = 0) -> NodeProto:
    return helper.make_node("Gather", [table, index], ["y"], axis=axis)


@pytest.mark.parametrize(
    ("nodes", "bound"),
    [
        ([look_up("wide", "ids")], 50),
        ([look_up("narrow", "ids", axis=1)], 7),
        ([look_up("wide", "ids"), look_up("narrow", "ids", axis=-1)], 7),
        ([helper.make_node("Cast", ["ids"], ["x"], to=6), look_up("wide", "x")], 50),
    ],
)
def test_an_index_stays_below_the_rows_of_the_smallest_table(
    nodes: Sequence[NodeProto], bound: int
) -> None:
    assert index_bounds(model(nodes)) == {"ids": bound, "mask": 1}


@pytest.mark.parametrize(
    "other",
    [
        helper.make_node("Add", ["ids", "mask"], ["z"]),
        helper.make_node("Gather", ["ids", "mask"], ["z"]),
        helper.make_node("Gather", ["computed", "ids"], ["z"]),
    ],
)
def test_what_is_used_otherwise_too_may_be_anything(other: NodeProto) -> None:
    assert set(index_bounds(model([look_up("wide", "ids"), other])).values()) == {1}


def test_an_input_that_is_a_result_too_may_be_anything() -> None:
    assert index_bounds(model([look_up("wide", "ids")], results=("y", "ids")))["ids"] == 1


def test_a_network_with_weights_has_the_bounds_of_the_one_without() -> None:
    bert = sample("bert", 0, "small").model
    (bound,) = index_bounds(bert).values()
    assert bound >= 1000
    for other in (fill_weights(bert, 0), strip_weights(fill_weights(bert, 0))):
        assert list(index_bounds(other).values()) == [bound]


def test_images_are_no_indices() -> None:
    net = NetworkBuilder.for_images(batch=1, input_size=8)
    network = net.model("image", net.classifier(net.conv(net.input, 4, 3), 2))
    assert list(index_bounds(network).values()) == [1]


def test_indices_that_are_drawn_differ_and_stay_within_the_table() -> None:
    values = draw(data((1000,), "int64", 7), 0, 0)
    assert set(values.tolist()) == set(range(7))
