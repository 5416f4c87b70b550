"""NNLQP's folder, on a small one of the same form."""

from __future__ import annotations

import pytest

from relay_frontend.errors import InputError
from tests.networks import conv_bn_relu
from tvm_costmodel.datasets import open_dataset
from tvm_costmodel.datasets.nnlqp import nnlqp

LINES = """\
00001 onnx/nnmeter_alexnet/alexnet_0000.onnx 1 2.06137 alexnet 1 train
00002 onnx/nnmeter_alexnet/alexnet_0001.onnx 8 1.24849 alexnet 1 test
00003 onnx/nnmeter_vgg/vgg_0000.onnx 1 3.5 vgg16 23 train
"""


@pytest.fixture
def folder(tmp_path):
    for line in LINES.splitlines():
        path = tmp_path / line.split()[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(conv_bn_relu().SerializeToString())
    (tmp_path / "gt_stage.txt").write_text(LINES)
    return tmp_path


def test_each_line_is_a_network_with_its_batch_platform_and_stage(folder):
    dataset = nnlqp(folder)
    assert dataset.names == ("alexnet_0000", "alexnet_0001", "vgg_0000")
    assert dataset.families == ("alexnet", "alexnet", "vgg16")
    assert dataset.targets.tolist() == [2.06137, 1.24849, 3.5]
    assert dataset.platforms[0] == "gpu-gtx1660-trt7.1-fp32"
    assert dataset.platforms[2] == "mul270-neuware-int8"
    assert dataset.is_test.tolist() == [False, True, False]
    assert [network.graph.batch_size for network in dataset.inputs] == [1, 8, 1]


def test_platforms_can_be_chosen_by_name(folder):
    dataset = open_dataset(f"nnlqp:{folder}", ["gpu-gtx1660-trt7.1-fp32"])
    assert set(dataset.families) == {"alexnet"}
    with pytest.raises(InputError, match="no platform 'tpu'; there are gpu-gtx1660"):
        nnlqp(folder, platforms=["tpu"])


def test_a_list_without_stages_brings_no_split(folder):
    (folder / "gt_stage.txt").unlink()
    lines = [line.rsplit(" ", 1)[0] for line in LINES.splitlines()]
    (folder / "gt.txt").write_text("\n".join(lines))
    assert nnlqp(folder).is_test is None


def test_networks_that_cannot_be_read_are_counted(folder):
    (folder / "onnx/nnmeter_vgg/vgg_0000.onnx").unlink()
    (folder / "onnx/nnmeter_alexnet/alexnet_0000.onnx").write_bytes(b"no network")
    dataset = nnlqp(folder)
    assert dataset.names == ("alexnet_0001",)
    assert dataset.conditions["networks left out"] == 2


@pytest.mark.parametrize("line", ["00001 a.onnx 1", "1 a.onnx one 2.0 vgg 1", "1 a 1 2 vgg 1 dev"])
def test_a_line_of_another_form_is_named(folder, line):
    (folder / "gt_stage.txt").write_text(LINES + line)
    with pytest.raises(InputError, match=r"gt_stage.txt, line 4: expected"):
        nnlqp(folder)


def test_a_folder_without_a_list_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"gt_stage.txt, gt.txt"):
        nnlqp(tmp_path)
