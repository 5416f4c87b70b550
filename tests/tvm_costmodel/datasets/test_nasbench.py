"""The files of NAS-Bench-101, NAS-Bench-201 and HELP, on small ones in the same format."""

from __future__ import annotations

import base64
import bz2
import json
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from measure.zoo.nasbench201 import EDGES, OPERATIONS
from relay_frontend.cells import NAS_BENCH_101, Cell
from relay_frontend.errors import InputError
from tvm_costmodel.datasets import open_dataset
from tvm_costmodel.datasets.nasbench101 import masked_crc32c, nasbench101
from tvm_costmodel.datasets.nasbench201 import nasbench201
from tvm_costmodel.datasets.nasbench201_cells import architecture, parse_architecture

TEXTS = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|none~2|",
    "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
)


# --- NAS-Bench-101 --------------------------------------------------------------------------


def metrics_message(validation: float, test: float) -> bytes:
    """A ``ModelMetrics`` of protobuf, as its description has it."""

    def double(field: int, value: float) -> bytes:
        return bytes([field << 3 | 1]) + struct.pack("<d", value)

    def evaluation(epoch: float, *accuracies: float) -> bytes:
        values = enumerate((epoch, 12.5, 0.99, *accuracies), start=1)
        content = b"".join(double(field, value) for field, value in values)
        content += bytes([6 << 3 | 2, 4]) + b"ckpt"
        return bytes([1 << 3 | 2, len(content)]) + content

    evaluations = evaluation(0, 0.1, 0.1) + evaluation(54, 0.5, 0.5)
    parameters = bytes([2 << 3]) + b"\x80\x89\x7a"  # 2 000 000 as a varint
    return evaluations + evaluation(108, validation, test) + parameters + double(3, 99.0)


def record(content: bytes) -> bytes:
    head = struct.pack("<Q", len(content))
    checksums = (struct.pack("<I", masked_crc32c(part)) for part in (head, content))
    return head + next(checksums) + content + next(checksums)


def entry(name: str, epochs: int, accuracies: tuple[float, float]) -> bytes:
    labels = ",".join((NAS_BENCH_101[0], NAS_BENCH_101[2], NAS_BENCH_101[3], NAS_BENCH_101[-1]))
    adjacency = "0110000100010000"
    metrics = base64.b64encode(metrics_message(*accuracies)).decode()
    return json.dumps([name, epochs, adjacency, labels, metrics]).encode()


def test_the_checksum_is_that_of_tfrecord_files():
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720); rotated and shifted as the format says.
    crc = 0xE3069283
    expected = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc32c(b"123456789") == expected


def test_nasbench101_means_over_the_trainings_of_a_cell(tmp_path):
    path = tmp_path / "nasbench.tfrecord"
    entries = [
        entry("cell-b", 108, (0.90, 0.80)),
        entry("cell-a", 108, (0.70, 0.60)),
        entry("cell-b", 108, (0.94, 0.84)),
        entry("cell-b", 36, (0.10, 0.10)),
    ]
    path.write_bytes(b"".join(map(record, entries)))
    dataset = open_dataset(f"nasbench101:{path}")
    assert dataset.names == ("cell-b", "cell-a")
    assert dataset.targets == pytest.approx([0.92, 0.70])
    assert dataset.expected == pytest.approx([0.82, 0.60])
    labels = ("input", "conv3x3-bn-relu", "maxpool3x3", "output")
    assert dataset.inputs[0] == Cell(labels, ((0, 1), (0, 2), (1, 3), (2, 3)))


def test_nasbench101_reads_the_export_too(tmp_path):
    path = tmp_path / "nasbench101.json"
    cell = {
        "test_accuracy": 0.9,
        "validation_accuracy": 0.91,
        "module_adjacency": [[0, 1, 0], [0, 0, 1], [0, 0, 0]],
        "module_operations": ["input", "maxpool3x3", "output"],
    }
    path.write_text(json.dumps({"0": cell}))
    dataset = nasbench101(path)
    assert dataset.inputs == (Cell(("input", "maxpool3x3", "output"), ((0, 1), (1, 2))),)
    assert (dataset.targets[0], dataset.expected[0]) == (0.91, 0.9)


def test_damaged_records_are_refused(tmp_path):
    path = tmp_path / "nasbench.tfrecord"
    good = record(entry("cell", 108, (0.9, 0.8)))
    for content, message in [
        (good[:-3], "cut off"),
        (b"\0" + good[1:], "checksum"),
        (good + b"rest", "checksum"),
        (record(b"[1]"), "not the form"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            nasbench101(path)


# --- NAS-Bench-201 --------------------------------------------------------------------------


def results(accuracy: float, *, epochs: int = 200) -> dict:
    """The state of ``ArchResults`` of one cell: two seeds of each training."""
    trainings, seeds = OrderedDict(), {}
    for image_set, parts in {
        "cifar10-valid": ("x-valid", "ori-test"),
        "cifar10": ("ori-test",),
        "cifar100": ("x-valid", "x-test", "ori-test"),
    }.items():
        seeds[image_set] = [777, 888]
        for seed, offset in ((777, -1.0), (888, 1.0)):
            last = {f"{part}@{epochs - 1}": accuracy + offset for part in parts}
            trainings[image_set, seed] = {"epochs": epochs, "eval_acc1es": last, "seed": seed}
    # Another figure where it must not be looked at.
    for seed in (777, 888):
        trainings["cifar10", seed]["eval_acc1es"][f"ori-test@{epochs - 1}"] += 2.0
        trainings["cifar100", seed]["eval_acc1es"][f"x-test@{epochs - 1}"] -= 2.0
    return {"arch_index": 0, "all_results": trainings, "dataset_seed": seeds}


def write_pickle(path, content):
    with bz2.BZ2File(path, "wb") as file:
        pickle.dump(content, file, protocol=4)


def check_accuracies(dataset):
    assert dataset.names == TEXTS[:2]
    assert dataset.inputs[0] == Cell.from_nas_bench_201(parse_architecture(TEXTS[0]))
    assert dataset.targets == pytest.approx([0.80, 0.90])
    assert dataset.expected == pytest.approx([0.82, 0.92])


def test_nasbench201_reads_the_file_of_its_first_api(tmp_path):
    torch = pytest.importorskip("torch", reason="written by torch")
    infos = {
        index: {"less": results(10.0, epochs=12), "full": results(80.0 + 10 * index)}
        for index in range(2)
    }
    content = {"meta_archs": list(TEXTS), "arch2infos": infos, "evaluated_indexes": {0, 1}}
    torch.save(content, tmp_path / "NAS-Bench-201.pth")
    check_accuracies(open_dataset(f"nasbench201:{tmp_path / 'NAS-Bench-201.pth'}"))


def test_nasbench201_reads_natsbench(tmp_path):
    infos = {
        index: {"12": results(10.0, epochs=12), "200": results(80.0 + 10 * index)}
        for index in range(2)
    }
    write_pickle(tmp_path / "NATS.pickle.pbz2", {"meta_archs": list(TEXTS), "arch2infos": infos})
    check_accuracies(nasbench201(tmp_path / "NATS.pickle.pbz2"))

    folder = tmp_path / "NATS-simple"
    folder.mkdir()
    write_pickle(folder / "meta.pickle.pbz2", {"meta_archs": list(TEXTS[:2])})
    for index, info in infos.items():
        write_pickle(folder / f"{index:06d}.pickle.pbz2", info)
    check_accuracies(nasbench201(folder))
    hundred = nasbench201(folder, image_set="cifar100")
    assert hundred.targets == pytest.approx([0.80, 0.90])
    assert hundred.expected == pytest.approx([0.78, 0.88])
    (folder / "000000.pickle.pbz2").unlink()
    with pytest.raises(InputError, match=r"lacks the files of 1 of 2 cells, 000000\.pickle\.pbz2"):
        nasbench201(folder)


def test_nasbench201_reads_the_export_too(tmp_path):
    path = tmp_path / "cifar10.json"
    exported = {
        str(index): {
            "validation_accuracy_avg": 0.8 + 0.1 * index,
            "test_accuracy_avg": 0.82 + 0.1 * index,
            "module_operations": ["input", *parse_architecture(text), "output"],
        }
        for index, text in enumerate(TEXTS[:2])
    }
    path.write_text(json.dumps(exported))
    check_accuracies(nasbench201(path))


class Malice:
    """Would run when it is unpickled."""

    def __reduce__(self):
        return print, ("it ran",)


def test_a_pickle_that_would_run_code_does_not_unless_trusted(tmp_path, capsys):
    path = tmp_path / "NATS.pickle.pbz2"
    write_pickle(path, {"meta_archs": [], "arch2infos": {}, "more": Malice()})
    with pytest.raises(InputError, match=r"builtins.print.*trust=true"):
        nasbench201(path)
    assert "it ran" not in capsys.readouterr().out
    with pytest.raises(InputError, match="no cell"):
        nasbench201(path, trust=True)
    assert "it ran" in capsys.readouterr().out


def test_numbers_of_numpy_are_plain_values(tmp_path):
    info = results(80.0)
    accuracies = info["all_results"]["cifar10-valid", 777]["eval_acc1es"]
    accuracies["x-valid@199"] = np.float64(79.0)
    content = {"meta_archs": np.array(TEXTS[:1]), "arch2infos": {0: {"200": info}}}
    write_pickle(tmp_path / "NATS.pickle.pbz2", content)
    assert nasbench201(tmp_path / "NATS.pickle.pbz2").targets == pytest.approx([0.80])


def test_files_of_another_form_are_refused(tmp_path):
    path = tmp_path / "NATS.pickle.pbz2"
    write_pickle(path, {"cells": []})
    with pytest.raises(InputError, match=r"not the form.*meta_archs"):
        nasbench201(path)
    path.write_bytes(b"text")
    with pytest.raises(InputError, match="cannot be read"):
        nasbench201(path)
    with pytest.raises(InputError, match="no images 'mnist'"):
        nasbench201(path, image_set="mnist")


def test_a_text_and_its_operations_are_the_same_cell():
    assert parse_architecture(TEXTS[0]) == (
        "avg_pool_3x3", "nor_conv_1x1", "skip_connect", "nor_conv_1x1", "skip_connect", "none",
    )  # fmt: skip
    assert all(architecture(parse_architecture(text)) == text for text in TEXTS)
    for text in ("|none~0|", TEXTS[0].replace("none", "gelu"), TEXTS[0] + "|none~3|"):
        with pytest.raises(InputError, match="no cell of NAS-Bench-201"):
            parse_architecture(text)


# --- HELP and arrays ------------------------------------------------------------------------


def test_help_has_a_latency_of_every_cell_for_each_device(tmp_path):
    torch = pytest.importorskip("torch", reason="written by torch")
    (tmp_path / "latency").mkdir()
    torch.save({TEXTS[1]: 1, TEXTS[0]: 0, TEXTS[2]: 2}, tmp_path / "str_arch2idx.pt")
    torch.save([10.5, 11.5, 9.0], tmp_path / "latency" / "1080ti_32.pt")
    torch.save(torch.tensor([1.0, 2.0, 0.5]), tmp_path / "latency" / "fpga.pt")
    dataset = open_dataset(f"help:{tmp_path}")
    assert dataset.platforms == ("1080ti_32",) * 3 + ("fpga",) * 3
    assert dataset.targets.tolist() == [10.5, 11.5, 9.0, 1.0, 2.0, 0.5]
    assert dataset.inputs[0].graph is dataset.inputs[3].graph
    assert open_dataset(f"help:{tmp_path}[count=1]", ["fpga"]).names == (TEXTS[0],)
    with pytest.raises(InputError, match="no device gpu; there are 1080ti_32, fpga"):
        open_dataset(f"help:{tmp_path}", ["gpu"])
    torch.save([1.0, 2.0], tmp_path / "latency" / "fpga.pt")
    with pytest.raises(InputError, match=r"fpga\.pt has 2 latencies, and .* a cell of number 2"):
        open_dataset(f"help:{tmp_path}", ["fpga"])


def arrays(**more):
    names = list(OPERATIONS)
    ops = [[names.index(op) for op in parse_architecture(text)] for text in TEXTS]
    return {
        "ops": np.array(ops, np.int8),
        "op_names": np.array(names),
        "edges": np.array(EDGES, np.int8),
        **more,
    }


def test_arrays_of_latencies(tmp_path):
    path = tmp_path / "gpu.npz"
    np.savez(path, **arrays(latency_ms=np.float32([1.5, 2.5, 9]), is_test=np.bool_([0, 1, 0])))
    dataset = open_dataset(f"cells:{path}")
    assert dataset.task == "latency"
    assert dataset.platforms == ("gpu", "gpu")
    assert dataset.targets.tolist() == [1.5, 2.5]
    assert dataset.is_test.tolist() == [False, True]
    values = np.float32([[1, 2, 3], [4, 5, 6]])
    np.savez(path, **arrays(latency_ms=values, devices=np.array(["a", "b"])))
    assert open_dataset(f"cells:{path}", ["b"]).targets.tolist() == [4.0, 5.0]


def test_edges_that_lead_nowhere_are_there_where_they_were_computed(tmp_path):
    path = tmp_path / "gpu.npz"
    np.savez(path, **arrays(latency_ms=np.float32([1.5, 2.5, 9])))
    compiled = open_dataset(f"cells:{path}")
    eager = open_dataset(f"cells:{path}[eager=true]")
    # The third cell has no path from its input to its output.
    assert (len(compiled), len(eager)) == (2, 3)
    assert compiled.conditions["cells without a network"] == 1
    operators = [[operator.op for operator in network.graph] for network in eager.inputs]
    # Fifteen cells, with as many multiplications by zero as they have edges `none`.
    assert [ops.count("multiply") for ops in operators] == [15, 30, 90]
    assert all("multiply" not in [o.op for o in network.graph] for network in compiled.inputs)


def test_arrays_of_edges_in_another_order_are_the_same_cells(tmp_path):
    path = tmp_path / "gpu.npz"
    content = arrays(latency_ms=np.float32([1.5, 2.5, 9]))
    turned = {**content, "edges": content["edges"][::-1], "ops": content["ops"][:, ::-1]}
    np.savez(path, **turned)
    assert open_dataset(f"cells:{path}").names == TEXTS[:2]


def test_arrays_of_accuracies_say_what_is_learned(tmp_path):
    path = tmp_path / "accuracy.npz"
    accuracies = np.float32([[80, 50], [90, 60], [10, 1]])
    sets = np.array(["cifar10", "cifar100"])
    np.savez(path, **arrays(test_acc_200ep=accuracies, datasets=sets))
    dataset = open_dataset(f"cells:{path}[image_set=cifar100]")
    assert dataset.task == "accuracy"
    assert dataset.targets == pytest.approx([0.5, 0.6, 0.01])
    assert dataset.conditions["learned"] == "test_acc_200ep of cifar100"
    np.savez(
        path, **arrays(test_acc_200ep=accuracies, valid_acc_200ep=accuracies - 1, datasets=sets)
    )
    dataset = open_dataset(f"cells:{path}[count=2]")
    assert dataset.targets == pytest.approx([0.79, 0.89])
    assert dataset.expected == pytest.approx([0.8, 0.9])


def test_arrays_with_other_keys_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, ops=np.zeros((1, 6), np.int8))
    with pytest.raises(InputError, match="op_names"):
        open_dataset(f"cells:{path}")
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"no \.npz file"):
        open_dataset(f"cells:{path}")
